"""``asset-provenance check``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asset_provenance.cli.terminal import counted, say, say_json
from asset_provenance.errors import StorageError

if TYPE_CHECKING:
    from asset_provenance.metadata.findings import Finding

__all__ = ["check", "finish_interrupted_write", "show"]

_STYLES = {"error": "bold red", "warning": "bold yellow"}


def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that holds the asset.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check the metadata in DIR, beyond what the schema asks for.

    Looks at each file, at all of them together, and at what became of them since they were
    written. If a run was killed while it put its files into place, that is finished first.
    Faults that came with an input are only warned of.

    Exit status: 0 without errors, 1 with errors, 2 if DIR cannot be checked.
    """
    from asset_provenance.metadata.folder_checks import check_folder  # noqa: PLC0415 - slow

    finish_interrupted_write(folder)
    findings = check_folder(folder)
    errors = sum(found.severity == "error" for found in findings)
    warnings = len(findings) - errors
    if as_json:
        listed = [dataclasses.asdict(found) for found in findings]
        name = str(folder)
        say_json({"folder": name, "errors": errors, "warnings": warnings, "findings": listed})
    else:
        for found in findings:
            show(found)
        told = f"{counted(errors, 'error')}, {counted(warnings, 'warning')}"
        say(f"{folder}: {told if findings else 'nothing is wrong'}")
    raise typer.Exit(1 if errors else 0)


def finish_interrupted_write(folder: Path) -> None:
    """Put the rest of a set into place whose writer was killed, unless somebody is at it."""
    from asset_provenance.folder import OutputFolder  # noqa: PLC0415 - rarely needed
    from asset_provenance.metadata import writer  # noqa: PLC0415 - slow

    if not writer.interrupted_writes(folder) or not writer.may_be_finished(folder):
        return
    try:
        own = OutputFolder(folder.absolute())
        try:
            writer.roll_forward(folder)
        finally:
            own.give_back()
    except StorageError as error:
        say(str(error), error=True)  # the check finds what is left


def show(found: Finding, *, error: bool = False) -> None:
    """Print a finding, and what mends it."""
    place = ", ".join(filter(None, (found.file or "all files together", found.where)))
    say(f"{found.severity}: {place}", style=_STYLES[found.severity], error=error)
    say(found.what, indent=4, error=error)
    say(f"-> {found.mend}", indent=4, error=error)
