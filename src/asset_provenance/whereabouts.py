"""Where the metadata of assets are that are known by their names: in the database, in folders."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from asset_provenance.assetrefs import recordable
from asset_provenance.corefiles import (
    DATA_DESCRIPTION,
    WHOLE_RECORD,
    file_name,
    read_or_tell,
)
from asset_provenance.records import InputRef
from asset_provenance.services import docdb
from asset_provenance.services.lookup import chosen_record

__all__ = ["Database", "Folders", "Found", "Origin", "Whereabouts", "asset_name", "is_described"]

_PROCESSING = "processing"
_CORE_FILES = (DATA_DESCRIPTION, _PROCESSING)
_MOST_FOLDERS = 20_000
"""Folders that are looked into."""

Origin = Literal["database", "folder"]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of an asset.

    Parameters
    ----------
    origin
        Where.
    place
        The URL that its record has, or its folder.
    description, processing
        Its core files; empty where it has none, or none that can be read.
    """

    origin: Origin
    place: str | None
    description: Mapping[str, Any] = field(default_factory=dict)
    processing: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Database:
    """The metadata database, asked until it fails: nobody waits for it twice.

    Parameters
    ----------
    host, version
        Of its API.
    timeout
        Seconds for one query, repetitions included.

    Attributes
    ----------
    failure : str or None
        Why it is not asked any more.
    """

    host: str
    version: str
    timeout: float
    failure: str | None = None

    def find(self, names: Sequence[str]) -> dict[str, Found]:
        """Find the records of assets: a few hundred at a time."""
        answer, self.failure = docdb.find_records(
            names,
            host=self.host,
            version=self.version,
            deadline=time.monotonic() + self.timeout,
            core_files=_CORE_FILES,
        )
        records: dict[str, list[Mapping[str, Any]]] = {}
        for record in answer:
            records.setdefault(record["name"], []).append(record)
        return {name: _of_record(name, found) for name, found in records.items()}


class Folders:
    """Assets in folders, known by the names in their descriptions, else by their folders' names.

    Parameters
    ----------
    roots
        Folders that are assets, hold assets, or hold folders of assets.
    beside
        A folder that holds assets among other things: only those directly in it count.

    Attributes
    ----------
    problems : list of str
        What could not be read, or was not looked at.
    """

    def __init__(self, roots: Sequence[Path], beside: Path | None = None) -> None:
        self.places = [*roots, *([] if beside is None else [beside])]
        self.problems: list[str] = []
        self._roots = roots
        self._beside = beside
        self._known: dict[str, Path] = {}
        self._by_name: dict[str, Path] | None = None
        self._looked_at = 0

    def know(self, name: str, folder: Path) -> None:
        """Take a folder for that of an asset, whatever else bears its name."""
        self._known[name] = folder

    def find(self, name: str) -> Found | None:
        """Find an asset."""
        folder = self._known.get(name)
        if folder is None:
            if self._by_name is None:
                self._by_name = self._names()
            folder = self._by_name.get(name)
        if folder is None:
            return None
        metadata = _metadata(folder, _CORE_FILES)
        self.problems += metadata.problems
        return Found("folder", str(folder), *(metadata.files[one] for one in _CORE_FILES))

    def _names(self) -> dict[str, Path]:
        """Find all assets; a folder without a description comes after all that have one."""
        described: dict[str, Path] = {}
        plain: dict[str, Path] = {}
        for folder in self._candidates():
            if is_described(folder):
                described.setdefault(asset_name(folder), folder)
            else:
                plain.setdefault(recordable(folder.name), folder)
        if self._looked_at > _MOST_FOLDERS:
            self.problems.append(
                f"{_MOST_FOLDERS} folders were looked into; what is in others is not found"
            )
        return plain | described

    def _candidates(self) -> Iterator[Path]:
        for root in self._roots:
            if is_described(root):
                yield root
            folders = list(self._inside(root))
            yield from folders
            for folder in folders:
                if not is_described(folder):
                    yield from filter(is_described, self._inside(folder))
        if self._beside is not None:
            yield from self._inside(self._beside)

    def _inside(self, parent: Path) -> Iterator[Path]:
        try:
            with os.scandir(parent) as entries:
                names = sorted(entry.name for entry in entries if entry.name[0] != ".")
        except OSError:
            return
        for folder in map(parent.joinpath, names):
            if os.path.isdir(folder):  # noqa: PTH112 - never raises
                self._looked_at += 1
                if self._looked_at > _MOST_FOLDERS:
                    return
                yield folder


class Whereabouts:
    """Both together: the database wins, and folders serve for what it does not tell.

    Parameters
    ----------
    folders
        Where assets lie on this machine.
    database
        None: nobody is asked.
    """

    def __init__(self, folders: Folders, database: Database | None = None) -> None:
        self.folders = folders
        self.database = database

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be asked or read, or was not looked at; each said once."""
        failure = self.database.failure if self.database is not None else None
        if self.database is None or failure is None:
            return tuple(dict.fromkeys(self.folders.problems))
        unasked = (
            f"the metadata database {self.database.host} could not be asked, only folders were "
            f"looked into: {failure}"
        )
        return tuple(dict.fromkeys([unasked, *self.folders.problems]))

    def find(self, names: Sequence[str]) -> dict[str, Found]:
        """Find a few hundred assets; those that are nowhere are not in the answer."""
        found: dict[str, Found] = {}
        if self.database is not None and self.database.failure is None:
            found = self.database.find(names)
        for name in names:
            if name not in found or not found[name].description:
                in_folder = self.folders.find(name)
                if in_folder is not None and (name not in found or in_folder.description):
                    found[name] = in_folder
        return found


def is_described(folder: Path) -> bool:
    """Say whether a folder holds the metadata of an asset."""
    names = (file_name(DATA_DESCRIPTION), WHOLE_RECORD)
    return any(os.path.isfile(folder / name) for name in names)  # noqa: PTH113 - never raises


def asset_name(folder: Path) -> str:
    """Give the name of the asset in a folder: that in its metadata, else the folder's."""
    return recordable(_metadata(folder).name or folder.name)


@dataclass(slots=True)
class _Metadata:
    name: str | None = None
    files: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def _metadata(folder: Path, core_files: Sequence[str] = (DATA_DESCRIPTION,)) -> _Metadata:
    """Read core files, out of the whole record where they have no file of their own."""
    metadata = _Metadata()
    found = {one: _read(folder / file_name(one), metadata.problems) for one in core_files}
    name = (found[DATA_DESCRIPTION] or {}).get("name")
    if found[DATA_DESCRIPTION] is None:
        record = _read(folder / WHOLE_RECORD, metadata.problems) or {}
        found = {one: found[one] or record.get(one) for one in core_files}
        name = record.get("name")
    metadata.name = name if isinstance(name, str) and name else None
    metadata.files = {one: told if isinstance(told, dict) else {} for one, told in found.items()}
    return metadata


def _read(path: Path, problems: list[str]) -> Mapping[str, Any] | None:
    """Read a file; None if there is none. One that cannot be read says nothing, and why."""
    return read_or_tell(path, problems) or ({} if os.path.lexists(path) else None)


def _of_record(name: str, records: list[Mapping[str, Any]]) -> Found:
    record = chosen_record(records, InputRef(name)) if len(records) > 1 else records[0]
    place = record.get("location")
    description, processing = (record.get(key) for key in _CORE_FILES)
    return Found(
        "database",
        recordable(place) if isinstance(place, str) and place else None,
        description if isinstance(description, dict) else {},
        processing if isinstance(processing, dict) else {},
    )
