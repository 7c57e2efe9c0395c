"""The files of a written set, read within bounds, and what is found wrong with them.

The folder may come from anywhere. Files are never read through a link that leaves the folder, and
whatever they hold becomes a finding.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from asset_provenance.corefiles import (
    CORE_FILES,
    DATA_DESCRIPTION,
    MANIFEST,
    file_name,
    parse_json,
    read_bytes,
)
from asset_provenance.metadata.findings import Finding, Findings, schema_findings, where_is
from asset_provenance.metadata.manifest import EXTERNAL, MANIFEST_FORMAT
from asset_provenance.redaction import REDACTED, contains_secret, is_secret_name

__all__ = [
    "MAX_PROCESSES",
    "PROCESSING",
    "PROJECT_NAME",
    "RUN_AGAIN",
    "WrittenSet",
    "digest",
]

PROCESSING = "processing"
MAX_PROCESSES = 10_000
"""Most processes of one asset that are looked at."""
RUN_AGAIN = "run the analysis again, which writes the whole set"
DESCRIBE_AGAIN = "describe the data again: asset-provenance external"

PROJECT_NAME = "external data"
"""The project of data from outside, unless it is one of AIND's."""

_SCHEMA_SIZE_LIMIT = 500 * 1024
_MAX_LISTED = 1_000
_PROCESSES = "data_processes"

Place = tuple[Any, ...]


class WrittenSet:
    """The metadata in a folder.

    Parameters
    ----------
    folder
        The folder of an asset; every core file in it, and the manifest, is read at once.

    Attributes
    ----------
    present : list of str
        The core files that are there, readable or not.
    contents : dict
        What was read, by file.
    data : dict
        What the core files hold, by their name, as far as it is JSON of schema v2.
    models : dict
        The same through the schema's models, but for the processing: that is looked at in parts.
    listed : mapping
        What the manifest says of each file.
    name : str or None
        What the manifest says that the asset is called.
    label : str or None
        What it has for the process name.
    is_external : bool
        Whether the data come from outside, and so have a description only: as the manifest says,
        or where there is none, the project's name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._root = folder.resolve()
        self.found = Findings()
        self.present = [name for name in CORE_FILES if self.has(file_name(name))]
        self.contents: dict[str, bytes] = {}
        self.data: dict[str, dict[str, Any]] = {}
        self.models: dict[str, Any] = {}
        self.listed: Mapping[str, Any] = {}
        self.name: str | None = None
        self.label: str | None = None
        self.is_external = False
        self.inherited_processes: frozenset[str] = frozenset()
        self._names: dict[int, str] = {}
        self._read_manifest()
        for name in self.present:
            self._read_core_file(name)
        if not self.has(MANIFEST) and PROCESSING not in self.present:
            project = self.data.get(DATA_DESCRIPTION, {}).get("project_name")
            self.is_external = project == PROJECT_NAME

    @property
    def process_names(self) -> list[str]:
        """The names of the processes, in their order; the type, where there is no name."""
        return list(self._names.values())

    def has(self, file: str) -> bool:
        """Say whether there is a file, folder or link of this name."""
        return os.path.lexists(self.folder / file)

    @property
    def again(self) -> str:
        """How the whole set is written anew."""
        return DESCRIBE_AGAIN if self.is_external else RUN_AGAIN

    def where(self, place: Place) -> str:
        """Give a place in the processing, or another file, for people."""
        return where_is(place, self._names)

    def error(self, file: str, where: str, what: str, mend: str) -> None:
        """Note an error, whoever made the file."""
        self.found.add(Finding("error", file, where, what, mend))

    def warn(self, file: str, where: str, what: str, mend: str) -> None:
        """Note something that may be meant."""
        self.found.add(Finding("warning", file, where, what, mend))

    def judge(self, findings: Iterable[Finding], place: Place = ()) -> None:
        """Note findings of one place, as warnings if what is there came with an input."""
        for found in findings:
            if self.is_inherited(found.file, place):
                entry = self.listed.get(found.file)
                source = entry.get("inherited_from") if isinstance(entry, dict) else None
                mend = f"in the input{f' {source}' if source else ''}: {found.mend}"
                self.found.add(replace(found, severity="warning", mend=mend))
            else:
                self.found.add(found)

    def is_inherited(self, file: str, place: Place = ()) -> bool:
        """Say whether a file, or a place in the processing, is as it came with an input."""
        if file == file_name(PROCESSING):
            if place[:1] == (_PROCESSES,):
                return len(place) > 1 and self._names.get(place[1]) in self.inherited_processes
            # Those of the inputs are among ours, and nothing tells which they are.
            return bool(self.inherited_processes) and place[:1] in (("pipelines",), ("notes",))
        entry, content = self.listed.get(file), self.contents.get(file)
        if content is None or not isinstance(entry, dict) or not entry.get("inherited_from"):
            return False
        return bool(digest(content) == entry.get("sha256"))

    def read(self, file: str) -> bytes | None:
        """Read a file; where that cannot be, note why."""
        path = self.folder / file
        mend = "put a readable file there"
        try:
            if path.resolve().is_relative_to(self._root):
                self.contents[file] = read_bytes(path)
                return self.contents[file]
            what = "it is a link that leads out of the folder, and is not read"
            mend = "put the file itself in its place"
        except OSError as error:
            what = f"it cannot be read: {error.strerror or type(error).__name__}"
        except (ValueError, RuntimeError) as error:  # RuntimeError: a link to itself
            what = f"it {str(error).removeprefix(f'{path} ')}"
        self.error(file, "", what, mend)
        return None

    def model(self, file: str, read: Callable[[Any], Any], value: Any, place: Place = ()) -> Any:
        """Read a value through a model of the schema; where that refuses it, note why."""
        try:
            return read(value)
        except Exception as error:  # noqa: BLE001 - its validators fail in any way on odd content
            self.judge(schema_findings(error, file, place, self._names), place)
            return None

    def _read_manifest(self) -> None:
        if not self.has(MANIFEST):
            what = "it is missing: nothing tells what was inherited, or edited since"
            self.warn(MANIFEST, "", what, RUN_AGAIN)
            return
        manifest = self._parse(MANIFEST, self.read(MANIFEST))
        if manifest is None:
            return
        version, files = manifest.get("format"), manifest.get("files")
        if version != MANIFEST_FORMAT:
            what = f"it is of format {version!r}; this version reads format {MANIFEST_FORMAT}"
            self.error(MANIFEST, "format", what, "pip install --upgrade asset-provenance")
        elif not isinstance(files, dict) or len(files) > _MAX_LISTED:
            self.error(MANIFEST, "files", "it lists no files, or too many", RUN_AGAIN)
        else:
            self.listed, self.name = files, manifest.get("name")
            self.label = manifest.get("process_name")
            self.is_external = manifest.get("kind") == EXTERNAL
            inherited = manifest.get("inherited_processes")
            names = inherited if isinstance(inherited, list) else []
            self.inherited_processes = frozenset(name for name in names if isinstance(name, str))
            self._look_at_texts(MANIFEST, manifest)

    def _read_core_file(self, name: str) -> None:
        file = file_name(name)
        content = self.read(file)
        data = self._parse(file, content)
        if content is None or data is None:
            return
        if len(content) > _SCHEMA_SIZE_LIMIT:
            what = f"it has {len(content) // 1024} KB, more than the 500 KB that are advised"
            mend = "record fewer or shorter parameters, results and notes"
            self.warn(file, "", what, mend)
        version = data.get("schema_version")
        if isinstance(version, str) and version.startswith(("0.", "1.")):
            what = f"it is of schema version {version}; version 2 is wanted"
            mend = "upgrade it with aind-metadata-upgrader"
            self.judge([Finding("error", file, "schema_version", what, mend)])
            return
        self.data[name] = data
        if name == PROCESSING:
            self._names = _process_names(data)
        else:
            model = self.model(file, _model(name).model_validate_json, content)
            if model is not None:
                self.models[name] = model
        self._look_at_texts(file, data)

    def _parse(self, file: str, content: bytes | None) -> dict[str, Any] | None:
        if content is None:
            return None
        path = self.folder / file
        try:
            return parse_json(content, path)
        except ValueError as error:
            what = f"it {str(error).removeprefix(f'{path} ')}"
            self.judge([Finding("error", file, "", what, f"mend it, or {self.again}")])
            return None

    def _look_at_texts(self, file: str, data: Mapping[str, Any]) -> None:
        """Look for secrets in all texts, and for parameters whose names databases do not take."""
        for link in _values(data):
            _, key, value = link
            if isinstance(value, str) and _is_secret(key, value):
                what = "it holds what looks like a password, token or key"
                mend = f"write {REDACTED} instead, and have the secret itself replaced"
            elif isinstance(key, str) and contains_secret(key):
                what = "the name itself looks like a password, token or key"
                mend = "take it out, and have the secret itself replaced"
            elif isinstance(key, str) and ("." in key or "$" in key) and _is_parameter(link):
                what = f"the name {key} holds . or $, which databases do not take"
                mend = f'name it "{key.replace(".", "_").replace("$", "_")}"'
            else:
                continue
            place = _place(link)
            self.judge([Finding("error", file, self.where(place), what, mend)], place)
            if self.found.is_full(file):
                return


def _model(name: str) -> Any:
    module = importlib.import_module(f"aind_data_schema.core.{name}")
    return getattr(module, "".join(word.capitalize() for word in name.split("_")))


def _process_names(data: Mapping[str, Any]) -> dict[int, str]:
    items = data.get(_PROCESSES)
    names = {}
    for index, item in enumerate(items[:MAX_PROCESSES] if isinstance(items, list) else ()):
        name = (item.get("name") or item.get("process_type")) if isinstance(item, dict) else None
        if isinstance(name, str):
            names[index] = name
    return names


_Link = tuple[Any, Any, Any]
"""A value with what it is in, as a link again, and its key there: in the order link, key, value."""


def _values(data: Mapping[str, Any]) -> Iterator[_Link]:
    """Give every value inside; without recursion, since nesting may be deep."""
    waiting: list[_Link] = [(None, None, data)]
    while waiting:
        parent = waiting.pop()
        inside = parent[2]
        for key, value in inside.items() if isinstance(inside, dict) else enumerate(inside):
            link = (parent, key, value)
            yield link
            if isinstance(value, dict | list):
                waiting.append(link)


def _place(link: _Link) -> Place:
    keys = []
    while link[0] is not None:
        keys.append(link[1])
        link = link[0]
    return tuple(reversed(keys))


def _is_parameter(link: _Link) -> bool:
    return not {"parameters", "output_parameters"}.isdisjoint(map(str, _place(link)[:-1]))


def _is_secret(key: Any, value: str) -> bool:
    if isinstance(key, str) and value not in ("", REDACTED) and is_secret_name(key):
        return True
    return contains_secret(value)


def digest(content: bytes) -> str:
    """Give what the manifest knows a file's content by."""
    return hashlib.sha256(content).hexdigest()
