"""``asset-provenance show``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asset_provenance.cli.terminal import draw, say_json

__all__ = ["show"]


def show(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that holds the asset.")],
    everything: Annotated[
        bool, typer.Option("--all", help="Show all processes, however many there are.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all that is known as JSON.")
    ] = False,
) -> None:
    """Show the asset in DIR at a glance.

    What it is and was made from; each process with its times, how it ended, what it used of the
    machine, its code, inputs, output, parameters and results. Whoever wrote the metadata, they are
    read as they are; to find faults in them, see asset-provenance check.

    Exit status: 0 if there is anything to show, 2 if not.
    """
    from asset_provenance.reading import read_view  # noqa: PLC0415 - for this command only
    from asset_provenance.redaction import redact_json  # noqa: PLC0415
    from asset_provenance.report.terminal import AssetDrawing  # noqa: PLC0415
    from asset_provenance.views import as_json as told  # noqa: PLC0415

    view = read_view(folder)
    if as_json:
        say_json(redact_json(told(view)))
    else:
        draw(AssetDrawing(view, everything=everything))
