"""``asset-provenance merge``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from asset_provenance.cli.terminal import counted, say, say_json

__all__ = ["merge"]


def merge(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="The folders that the stages wrote to.")
    ],
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Where processing.json is written.")
    ],
    accept_invalid: Annotated[
        bool,
        typer.Option("--accept-invalid", help="Write what is valid, although something is not."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what became of it as JSON.")
    ] = False,
) -> None:
    """Make one processing.json of what many stages of a pipeline left.

    Each DIR may hold a processing.json, fragments (*data_process*.json) or records (provenance/),
    also one or two folders below. Each process is written once, however many stages tell of it;
    the order of the DIRs does not matter.

    Exit status: 0 if everything was merged, 1 if something is missing or invalid, 2 if it cannot
    be done. In the case of 1 nothing is written without --accept-invalid.
    """
    from asset_provenance.stages import merge_stages  # noqa: PLC0415 - slow

    merged = merge_stages(folders, output, accept_invalid=accept_invalid, progress=not as_json)
    if as_json:
        say_json({"output": str(output), **dataclasses.asdict(merged)})
    else:
        for fault in merged.faults:
            say(f"error: {fault}", style="bold red", error=True)
        said = f"{counted(merged.processes, 'process', 'es')} of {counted(merged.files, 'file')}"
        if merged.is_written:
            say(f"{output / 'processing.json'}: {said}")
        else:
            say(f"nothing was written; {said} can be merged: mend the rest, or --accept-invalid")
    raise typer.Exit(1 if merged.faults or not merged.is_written else 0)
