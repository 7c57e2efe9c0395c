"""``asset-provenance lineage``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_provenance.cli.terminal import counted, draw, say, say_json, waiting

if TYPE_CHECKING:
    from asset_provenance.ancestry import Ancestor, Ancestry

__all__ = ["lineage"]

_BAD = "bold red"
_UNSURE = "bold yellow"


def lineage(
    asset: Annotated[
        str, typer.Argument(metavar="NAME_OR_DIR", help="The name of an asset, or its folder.")
    ],
    data_roots: Annotated[
        list[Path] | None,
        typer.Option(
            "--data-root",
            metavar="DIR",
            help="A folder with assets; can be given several times [default: the data root].",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what is found as JSON.")] = False,
) -> None:
    """Show what NAME_OR_DIR was made from, back to the raw assets.

    Each asset is looked up in the metadata database (DocDB), and where that has it not, in the
    folders below the data root and beside DIR. What its data description names as source data, and
    what its processes used besides (references, such as an atlas), is looked up in turn. An asset
    is shown in full once. Assets that are nowhere, and cycles, are told.

    The JSON holds the assets by name, and the edges from each asset to those that it was made from.

    Exit status: 0 if all ways lead back to raw, simulated or external assets, 1 if an asset is
    missing, names no source, is a source of which only the URL is known, or goes back to itself, 2
    if nothing is known of NAME_OR_DIR.
    """
    from asset_provenance.ancestry import find_ancestry  # noqa: PLC0415 - slow

    with waiting("looking for assets"):
        ancestry = find_ancestry(asset, data_roots or ())
    for problem in ancestry.problems:
        say(problem, style=_UNSURE, error=True)
    if as_json:
        say_json(_as_json(ancestry))
    else:
        _show(ancestry)
    raise typer.Exit(0 if ancestry.is_complete else 1)


def _show(ancestry: Ancestry) -> None:
    from asset_provenance.report.ancestry import AncestryDrawing  # noqa: PLC0415 - as above
    from asset_provenance.report.words import listed  # noqa: PLC0415

    draw(AncestryDrawing(ancestry))
    roots, missing, unexplained = ancestry.raw_roots, ancestry.missing, ancestry.unexplained
    if roots == [ancestry.root]:
        say("it is a raw asset")
    else:
        told = counted(len(roots), "raw asset")
        say(f"goes back to {told}{': ' if roots else ''}{listed(roots)}")
    if missing:
        say(f"{counted(len(missing), 'asset')} missing: {listed(missing)}", style=_BAD)
        say("-> give folders that have them with --data-root DIR", indent=4)
    if ancestry.unidentified:
        say(
            f"{counted(len(ancestry.unidentified), 'source')} known by URL only, so that nothing "
            f"could be looked up: {listed(ancestry.unidentified)}",
            style=_BAD,
        )
    if unexplained:
        say(
            f"{counted(len(unexplained), 'asset')} without a source, though neither raw, simulated "
            f"nor external: {listed(unexplained)}",
            style=_BAD,
        )
    for cycle in ancestry.cycles:
        say(f"cycle: {' <- '.join(cycle)}", style=_BAD)


def _as_json(ancestry: Ancestry) -> dict[str, Any]:
    return {
        "root": ancestry.root,
        "complete": ancestry.is_complete,
        "raw_roots": ancestry.raw_roots,
        "missing": ancestry.missing,
        "without_source": ancestry.unexplained,
        "known_by_url": ancestry.unidentified,
        "cycles": [list(cycle) for cycle in ancestry.cycles],
        "remarks": list(ancestry.problems),
        "assets": {
            name: {
                "status": _status(asset),
                "data_level": asset.said.level,
                "external": asset.said.is_external,
                "reference": asset.is_reference,
                "created": asset.said.created and asset.said.created.isoformat(),
                "found_in": asset.origin,
                "location": asset.place,
            }
            for name, asset in ancestry.assets.items()
        },
        "edges": [
            {
                "from": name,
                "to": use.asset,
                "kind": use.kind,
                "processes": list(use.processes),
                "groups": list(use.groups),
            }
            for name, asset in ancestry.assets.items()
            for use in asset.said.uses
        ],
    }


def _status(asset: Ancestor) -> str:
    if asset.is_url:
        return "url"
    if asset.origin is not None:
        return "found"
    return "missing" if asset.is_missing else "not followed"
