"""Records for the loopback database, from the files of a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from asset_provenance.corefiles import (
    CORE_FILES,
    DATA_DESCRIPTION,
    LEGACY_FILES,
    file_name,
    parse_json,
    read_bytes,
)
from asset_provenance.errors import UsageError

__all__ = ["load_records"]

_RECORD_FILE = "metadata.nd.json"
_MARKS = ("name", "location", DATA_DESCRIPTION)
"""What a JSON object has that is a record."""

Record = dict[str, Any]


def load_records(folder: Path) -> dict[str, list[Record]]:
    """Find all records and all assets below a folder.

    A record is a ``metadata.nd.json``, or any other JSON file that holds one. An asset is a
    folder with a ``data_description.json``; it becomes a record whose location is
    ``s3://loopback/NAME``. What lies deeper in an asset is its data, and is not looked at.

    Parameters
    ----------
    folder
        Where to look.

    Returns
    -------
    dict of str to list
        The records by the version of the database that they are for.

    Raises
    ------
    UsageError
        If there is none, or some cannot be read; with everything that is wrong.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder")
    records: dict[str, list[Record]] = {"v1": [], "v2": []}
    places: dict[tuple[str, Any], Path] = {}
    faults: list[str] = []
    for path in _candidates(folder):
        try:
            record = (
                _asset(path.parent) if path.name == file_name(DATA_DESCRIPTION) else _read(path)
            )
        except (OSError, ValueError) as error:
            if path.name in {_RECORD_FILE, file_name(DATA_DESCRIPTION)}:
                faults.append(str(error))
            continue
        if not _is_record(record):
            if path.name == _RECORD_FILE:
                faults.append(f"{path} is no record: it has no {', '.join(_MARKS)}")
            continue
        version = _version(record)
        first = places.setdefault((version, record.get("_id", path)), path)
        if first != path:
            faults.append(f"{first} and {path} have the same _id")
        records[version].append(record)
    if not faults and not any(records.values()):
        faults.append(
            f"there is no {_RECORD_FILE} and no folder with a data_description.json below {folder}"
        )
    if faults:
        raise UsageError("\n".join(faults))
    return records


def _candidates(folder: Path) -> Iterator[Path]:
    """Give the files that may be records, and the descriptions of assets."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        telling = [name for name in (_RECORD_FILE, file_name(DATA_DESCRIPTION)) if name in files]
        if telling:
            folders.clear()
        names = telling[:1] or sorted(name for name in files if name.endswith(".json"))
        yield from (Path(place, name) for name in names)


def _read(path: Path) -> Record:
    return parse_json(read_bytes(path), path)


def _asset(folder: Path) -> Record:
    """Make a record of the core files in a folder."""
    found = {
        core_file: _read(folder / file_name(core_file))
        for core_file in (*CORE_FILES, *LEGACY_FILES)
        if (folder / file_name(core_file)).exists()
    }
    description = found[DATA_DESCRIPTION]
    name = description.get("name") or folder.resolve().name
    return {
        "object_type": "Metadata",
        "schema_version": description.get("schema_version"),
        "name": name,
        "location": f"s3://loopback/{name}",
        **{core_file: found.get(core_file) for core_file in CORE_FILES},
        **{core_file: found[core_file] for core_file in LEGACY_FILES if core_file in found},
    }


def _is_record(value: Mapping[str, Any]) -> bool:
    return all(name in value for name in _MARKS)


def _version(record: Mapping[str, Any]) -> str:
    """Give the version of the database: schema 2 and later is in v2."""
    major = str(record.get("schema_version") or "2").partition(".")[0]
    return "v1" if major in {"0", "1"} else "v2"
