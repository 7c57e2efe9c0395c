"""``asset-provenance report``."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from asset_provenance.cli.terminal import say

__all__ = ["report"]


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that holds the asset.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE.html", help="Where to write it; - prints it."),
    ] = None,
) -> None:
    """Write what is recorded of the asset in DIR as one HTML page.

    The page has the summary, the timeline of the processes, the graph of inputs, processes and
    outputs, all that is known of each process, and what the check finds wrong. It needs no network
    and no script, and can be printed, sent and kept.

    Without --output it is written into the working folder, under the name of the asset, since DIR
    may be published as it is. An earlier page is replaced; any other file is not.

    Exit status: 0 when it is written, 2 if it cannot be.
    """
    from asset_provenance import reporting  # noqa: PLC0415 - slow

    if output == Path("-"):
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # as the page says of itself
        sys.stdout.write(reporting.make_page(folder))
        return
    say(f"wrote {reporting.write_page(folder, output)}")
