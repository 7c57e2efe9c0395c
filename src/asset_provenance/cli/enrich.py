"""``asset-provenance enrich``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_provenance.cli.terminal import acting_command, complain, say, say_json, waiting
from asset_provenance.errors import ServiceError
from asset_provenance.redaction import redact_json, redact_text

if TYPE_CHECKING:
    from asset_provenance.enriching import Enrichment

__all__ = ["enrich"]

_FOUND_WRONG = 1
_ALL = "the whole run"


def enrich(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the result.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Write it. Without, only what would change is shown.")
    ] = False,
    asset: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="The data asset of DIR in Code Ocean [default: that of its name]."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what would change as JSON.")
    ] = False,
) -> None:
    """Complete the record in DIR from what Code Ocean knows of it.

    The results in DIR have been captured as a data asset. Code Ocean keeps which commit, script and
    Docker image made it, and which data assets were attached. What the record leaves open is shown,
    and with --yes written into DIR/processing.json: only of the capsule's own code, never of
    processes of the inputs. A field that says something else already is reported and stays.

    Exit status: 0 if all agrees, 1 if something contradicts or Code Ocean does not answer, 2 if it
    cannot be done.
    """
    from asset_provenance import enriching  # noqa: PLC0415 - slow
    from asset_provenance.cli.check import finish_interrupted_write  # noqa: PLC0415 - slow

    finish_interrupted_write(folder)
    try:
        with waiting("asking Code Ocean"):
            enrichment = enriching.enrich(folder, asset)
    except ServiceError as error:
        complain(str(error))
        raise typer.Exit(_FOUND_WRONG) from None
    if yes:
        enrichment.write()
    if as_json:
        say_json(redact_json(_as_json(enrichment, is_written=yes and bool(enrichment.changes))))
    else:
        _show(enrichment, folder, is_written=yes)
    raise typer.Exit(_FOUND_WRONG if enrichment.contradictions else 0)


def _show(enrichment: Enrichment, folder: Path, *, is_written: bool) -> None:
    _say(enrichment.asset.name)
    _say(f"data asset {enrichment.asset.id} ({enrichment.page})", indent=2)
    for change in enrichment.changes:
        where = change.process or _ALL
        if change.after is None:
            _say(f'{where}: {change.field}: without "{_told(change.before)}"')
        elif change.before is None:
            _say(f"{where}: {change.field}: {_told(change.after)}")
        else:
            _say(f"{where}: {change.field}: {_told(change.before)} -> {_told(change.after)}")
    for found in enrichment.contradictions:
        _say(
            f"{found.process or _ALL}: {found.field} is {_told(found.recorded)}, and Code Ocean "
            f"tells {_told(found.told)}: it stays as it is",
            style="bold yellow",
        )
    for attached in enrichment.unnamed:
        what = f"{attached.name} ({attached.id})" if attached.name else attached.id
        _say(f"attached to the run, and named by no process: {what}")
    for remark in enrichment.remarks:
        _say(remark)
    path = folder / "processing.json"
    if not enrichment.changes:
        _say(f"{path}: there is nothing to complete")
    elif is_written:
        _say(f"{path}: written")
    else:
        _say(f"-> to write it: {acting_command()}")


def _told(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _say(text: str, *, style: str = "", indent: int = 0) -> None:
    """Print a line in which words of the record may stand, and so a secret among them."""
    say(redact_text(text), style=style, indent=indent)


def _as_json(enrichment: Enrichment, *, is_written: bool) -> dict[str, Any]:
    told = enrichment.provenance
    return {
        "asset": {
            "id": enrichment.asset.id,
            "name": enrichment.asset.name,
            "page": enrichment.page,
        },
        "provenance": {
            "commit": told.commit,
            "run_script": told.run_script,
            "docker_image": told.docker_image,
            "capsule": told.capsule,
            "computation": told.computation,
            "data_assets": list(told.data_assets),
        },
        "changes": [
            {
                "process": change.process,
                "field": change.field,
                "before": change.before,
                "after": change.after,
            }
            for change in enrichment.changes
        ],
        "contradictions": [
            {
                "process": found.process,
                "field": found.field,
                "recorded": found.recorded,
                "told": found.told,
            }
            for found in enrichment.contradictions
        ],
        "unnamed_data_assets": [
            {"id": attached.id, "name": attached.name} for attached in enrichment.unnamed
        ],
        "remarks": list(enrichment.remarks),
        "written": is_written,
    }
