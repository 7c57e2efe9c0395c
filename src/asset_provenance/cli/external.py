"""``asset-provenance external``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asset_provenance.cli.terminal import say, say_json

__all__ = ["external"]

_OPTIONS = {
    "name": "NAME",
    "investigators": "--investigator",
    "modalities": "--modality",
    "funding_source": "--funding",
}


def external(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="What the data are called.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="URL", help="The URL or API call they were got from.")
    ] = None,
    creation_time: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="When they were posted, or else published."),
    ] = None,
    institution: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which one collected them.")
    ] = None,
    investigator: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Who leads it. May be repeated.")
    ] = None,
    modality: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="What kind of data. May be repeated.")
    ] = None,
    funding: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FUNDER:GRANT",
            help="Who paid, as documented, or UNKNOWN. May be repeated.",
        ),
    ] = None,
    license_: Annotated[
        str | None, typer.Option("--license", metavar="NAME", help="The licence that they have.")
    ] = None,
    accessed: Annotated[
        str | None, typer.Option(metavar="DATE", help="When they were got; default today.")
    ] = None,
    project_name: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Another, if their collection is part of an AIND project."
        ),
    ] = "external data",
    data_summary: Annotated[str | None, typer.Option(metavar="TEXT", help="What they are.")] = None,
    subject_id: Annotated[
        str | None, typer.Option(metavar="ID", help="The one subject of them.")
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The asset's folder; default that of the results."),
    ] = None,
    copy_from: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="Copy this folder into DIR first."),
    ] = None,
    checksums: Annotated[
        bool, typer.Option("--checksums", help="Keep the SHA-256 of every data file.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Describe data from outside AIND, in the folder that holds them.

    Writes data_description.json. Nothing is assumed of what is other people's, and facts in
    settings, which are your own, are not used.

    Exit status: 0 when the data are described, 2 if they cannot be.
    """
    from asset_provenance.external import ExternalAsset, check_facts  # noqa: PLC0415 - slow

    facts = {
        "name": name,
        "source": source,
        "creation_time": creation_time,
        "institution": institution,
        "investigators": investigator,
        "modalities": modality,
        "funding_source": funding,
        "license": license_,
        "accessed": accessed,
        "project_name": project_name,
        "data_summary": data_summary,
        "subject_id": subject_id,
    }
    check_facts(facts, _as_option)
    # Without the option, the setting decides.
    asset = ExternalAsset(**facts, output_dir=output_dir, checksums=checksums or None)  # type: ignore[arg-type]
    written = asset.write(copy_from=copy_from)
    if as_json:
        folder = str(asset.output_dir)
        say_json({"name": asset.name, "folder": folder, "data_description": str(written)})
    else:
        say(f"{asset.name} is described in {written}")


def _as_option(fact: str, value: str) -> str:
    option = _OPTIONS.get(fact, f"--{fact.replace('_', '-')}")
    if fact == "name":
        return value or option
    shown = f'"{value}"' if " " in value else value
    return f"{option} {shown}".rstrip()
