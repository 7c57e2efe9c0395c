"""``asset-provenance export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from asset_provenance.cli.terminal import counted, say, say_json

__all__ = ["export"]


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that holds the asset.")],
    form: Annotated[
        Literal["ro-crate", "prov-json"], typer.Option("--format", help="Which standard.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", metavar="PATH", help="The crate's folder; the PROV-JSON file."),
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file, if it is there.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was written as JSON.")
    ] = False,
) -> None:
    """Tell the provenance of DIR in the words of RO-Crate or PROV.

    ro-crate: a Process Run Crate, that is a folder with ro-crate-metadata.json in it. With DIR as
    PATH, DIR becomes the crate, and the file refers to the results beside it; it can then be
    zipped or uploaded as it is. Any other folder becomes a crate without data, which names the
    results but holds none of them. Nothing is copied.

    prov-json: a W3C PROV document.

    Secrets are redacted, and places that only the machine knew (file: URLs, absolute paths of
    code, inputs and outputs) are left out. The same metadata give the same file each time.

    Exit status: 0 when it is written, 1 when it is written and lacks something that the standard
    asks for or that could not be read, 2 when it cannot be written.
    """
    from asset_provenance.exporting import export_asset  # noqa: PLC0415 - not for other commands

    told = export_asset(folder, form, output, overwrite=overwrite)
    if as_json:
        say_json(
            {
                "output": str(told.path),
                "format": form,
                "processes": told.processes,
                "faults": told.faults,
            }
        )
    else:
        for fault in told.faults:
            say(f"warning: {fault}", style="bold yellow", error=True)
        say(f"{told.path}: {counted(told.processes, 'process', 'es')}")
    raise typer.Exit(1 if told.faults else 0)
