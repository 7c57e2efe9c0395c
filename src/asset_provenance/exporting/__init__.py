"""What the metadata of an asset say, in the words of other standards."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from asset_provenance.corefiles import (
    CORE_FILES,
    LEGACY_FILES,
    MANIFEST,
    WHOLE_RECORD,
    file_name,
)
from asset_provenance.errors import StorageError, UsageError
from asset_provenance.exporting.sharing import for_others
from asset_provenance.reading import read_view
from asset_provenance.wholefile import write_whole

__all__ = ["Exported", "Format", "export_asset"]

Format: TypeAlias = Literal["ro-crate", "prov-json"]

_CRATE_FILE = "ro-crate-metadata.json"
_OF_ASSETS = {*map(file_name, (*CORE_FILES, *LEGACY_FILES)), WHOLE_RECORD, Path(MANIFEST).name}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Parameters
    ----------
    path
        The file.
    processes
        How many processes it tells of.
    faults
        What the standard asks for and the metadata do not tell, and why a metadata file could not
        be read.
    """

    path: Path
    processes: int
    faults: tuple[str, ...] = ()


def export_asset(folder: Path, form: Format, output: Path, *, overwrite: bool = False) -> Exported:
    """Write what is known of an asset in the form of another standard.

    Parameters
    ----------
    folder
        The asset's folder.
    form
        Which standard.
    output
        Of PROV-JSON, the file; of an RO-Crate, its folder, or the file of metadata in it. Where
        that is the asset's own folder, the crate refers to the files there.
    overwrite
        Whether a file that is there is replaced.

    Raises
    ------
    UsageError
        If there is nothing to export, the file may not be written there, or a library is missing.
    StorageError
        If it cannot be written.
    """
    read = read_view(folder)
    path = _crate_file(output) if form == "ro-crate" else output
    _refuse(path, overwrite)
    view = for_others(read)
    faults = list(read.problems)
    if read.unfinished:
        faults.append(
            "a run has left its record, or is still at work, and is not in the metadata: see "
            f"asset-provenance recover {shlex.quote(str(folder))}"
        )
    content: dict[str, Any]
    if form == "ro-crate":
        from asset_provenance.exporting.crate import crate_of, lacks_of  # noqa: PLC0415 - slow

        home = path.parent
        content = crate_of(view, has_data=home.is_dir() and home.samefile(folder))
        faults += lacks_of(view)
    else:
        from asset_provenance.exporting.provjson import document_of  # noqa: PLC0415 - slow

        content = document_of(view)
    _write(path, json.dumps(content, indent=1, sort_keys=True) + "\n")
    return Exported(path, len(view.processes), tuple(faults))


def _crate_file(output: Path) -> Path:
    if output.name == _CRATE_FILE:
        return output
    if output.suffix in (".json", ".jsonld", ".zip") or output.is_file():
        raise UsageError(
            f"an RO-Crate is a folder with {_CRATE_FILE} in it, and {output} is none: give the "
            "asset's folder, or that of a crate without data; it can be zipped afterwards"
        )
    return output / _CRATE_FILE


def _refuse(path: Path, overwrite: bool) -> None:
    if path.name == "-" and path.parent == Path():
        raise UsageError("nothing is exported to the terminal: give the file that is to be written")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give the file that is to be written")
    if path.name in _OF_ASSETS:
        raise UsageError(
            f"{path.name} is the name of a metadata file of assets: give the file another name"
        )
    if os.path.lexists(path) and not overwrite:
        raise UsageError(f"{path} is there already: give another, or --overwrite to replace it")


def _write(path: Path, content: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}; make its folder writable, or "
            "give another --output"
        ) from error
