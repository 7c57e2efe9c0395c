"""What is known of an input: its record in the metadata database, and the files in its folder.

The database comes first. What it lacks, and what it holds in a form that the schema refuses, comes
from the folder. Either is carried as it is, never read through the models and written again.
"""

from __future__ import annotations

import functools
import importlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from asset_provenance.corefiles import (
    CORE_FILES,
    DATA_DESCRIPTION,
    LEGACY_FILES,
    file_name,
    parse_json,
    read_bytes,
)
from asset_provenance.errors import ProvenanceError
from asset_provenance.metadata import upgrade
from asset_provenance.metadata.quiet import quiet
from asset_provenance.records import InputRef, printable

__all__ = ["CoreFile", "InputAsset", "is_described", "load_input", "why_invalid"]

Origin = Literal["folder", "database"]
Record = Mapping[str, Any]

_ASSET_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f/\\]{1,255}")
_NEVER_INVENTED = ("project_name", "investigators", "funding_source")
_MUST_BE_VALID = (DATA_DESCRIPTION, "processing")
"""What is read, and not only carried: of two, the one that the schema accepts."""

_log = logging.getLogger("asset_provenance")


@dataclass(frozen=True, slots=True)
class CoreFile:
    """A core metadata file of an input: its bytes, what they say, and where they are from."""

    content: bytes
    data: Mapping[str, Any]
    is_upgraded: bool = False
    origin: Origin = "folder"


@dataclass(frozen=True, slots=True)
class InputAsset:
    """An input with the metadata that were found for it.

    Parameters
    ----------
    ref
        Its name, and URL where that was given.
    folder
        Where it lies, or None.
    files
        Its core files by field name; empty for an asset without metadata.
    is_final
        Whether the answer of the metadata database is in it, where that is asked.
    """

    ref: InputRef
    folder: Path | None = None
    files: Mapping[str, CoreFile] = field(default_factory=dict)
    is_final: bool = True

    @property
    def name(self) -> str:
        """The asset's name; its URL, where it has none."""
        return self.ref.name or self.ref.url or ""

    @property
    def description(self) -> Mapping[str, Any]:
        """What its ``data_description.json`` says; empty when there is none."""
        found = self.files.get(DATA_DESCRIPTION)
        return {} if found is None else found.data

    @property
    def subject_id(self) -> str | None:
        """The subject, as its description has it, else its ``subject.json``."""
        subject = self.files.get("subject")
        for data in (self.description, {} if subject is None else subject.data):
            value = data.get("subject_id")
            if isinstance(value, str) and value:
                return value
        return None


def load_input(
    ref: InputRef,
    folder: Path | None,
    *,
    record: Record | None = None,
    from_folder: bool = True,
    offline: bool = False,
    upgrades: bool = True,
    service_timeout: float = 10.0,
) -> tuple[InputAsset, list[str]]:
    """Put together what is known of an input, upgrading what is of schema v1.

    Parameters
    ----------
    ref, folder
        The asset, and where it lies if that is known.
    record
        Its record in the metadata database.
    from_folder
        Whether the files in its folder count.
    offline
        Whether an upgrade may ask services on the network.
    upgrades
        Whether metadata of schema v1 are wanted at all; else only its description is read.
    service_timeout
        Seconds that an upgrade may wait for services on the network.

    Returns
    -------
    tuple
        The asset, and one text for each file that cannot be used at all.
    """
    read, unreadable = _read_folder(folder) if folder and from_folder else ({}, {})
    recorded = {} if record is None else _read_record(ref, record)
    files = _united(ref, recorded, read)
    problems = []
    for core_file, reason in unreadable.items():
        if core_file in files:
            _log.warning("input %s: %s; the metadata database has it", ref.name, reason)
        else:
            problems.append(f"input {ref.name}: {reason}")
    name = files[DATA_DESCRIPTION].data.get("name") if DATA_DESCRIPTION in files else None
    if isinstance(name, str) and not _ASSET_NAME.fullmatch(name):
        problems.append(
            f"input {ref.name}: the name {printable(name[:100])!r} in its data_description.json "
            "cannot be that of an asset"
        )
    if not problems and upgrades:
        try:
            files = _upgraded(ref, folder, files, offline=offline, service_timeout=service_timeout)
        except ProvenanceError as error:
            problems.append(str(error))
    return InputAsset(ref, folder, files), problems


def is_described(asset: InputAsset) -> bool:
    """Say whether a folder alone tells all that the facts of a run can need from an input."""
    is_old = upgrade.is_v1({name: file.data for name, file in asset.files.items()})
    return DATA_DESCRIPTION in asset.files and not is_old


def _read_folder(folder: Path) -> tuple[dict[str, CoreFile], dict[str, str]]:
    """Read the core files in a folder; give the reason for each that cannot be read."""
    files: dict[str, CoreFile] = {}
    unreadable: dict[str, str] = {}
    for core_file in (*CORE_FILES, *LEGACY_FILES):
        path = folder / file_name(core_file)
        try:
            content = read_bytes(path)
            files[core_file] = CoreFile(content, parse_json(content, path))
        except FileNotFoundError:
            continue
        except (ValueError, OSError) as error:
            unreadable[core_file] = str(error)
    return files, unreadable


def _read_record(ref: InputRef, record: Record) -> dict[str, CoreFile]:
    """Take the core files out of a record: the database's own JSON, value for value."""
    files: dict[str, CoreFile] = {}
    for core_file in (*CORE_FILES, *LEGACY_FILES):
        value = record.get(core_file)
        if value is None or value == {}:
            continue
        try:
            content = json.dumps(value, indent=3).encode()
            files[core_file] = CoreFile(
                content, parse_json(content, Path(file_name(core_file))), origin="database"
            )
        except (ValueError, RecursionError) as error:
            _log.warning("the record of input %s: %s; it is not used", ref.name, error)
    return files


def _united(
    ref: InputRef, recorded: dict[str, CoreFile], read: dict[str, CoreFile]
) -> dict[str, CoreFile]:
    """Choose for each core file between the database and the folder."""
    if not recorded or not read:
        return recorded or read
    old_record = upgrade.v1_files({name: file.data for name, file in recorded.items()})
    old_folder = upgrade.v1_files({name: file.data for name, file in read.items()})
    is_leftover = DATA_DESCRIPTION not in old_record and len(old_record) < len(recorded)
    if old_record and not old_folder and is_leftover:
        _log.warning(
            "the record of input %s in the metadata database holds %s of schema v1 beside files of "
            "v2; what is of v1 is not used",
            ref.name,
            ", ".join(map(file_name, old_record)),
        )
        recorded = {name: file for name, file in recorded.items() if name not in old_record}
    elif old_record and not old_folder:
        _log.warning(
            "the record of input %s in the metadata database is of schema v1; the files in its "
            "folder are used",
            ref.name,
        )
        return read
    if not old_record:
        # Files that were upgraded in the database only: those in the folder are what they were.
        read = {name: file for name, file in read.items() if name not in old_folder}
    united = {**read, **recorded}
    differing = [
        name for name in recorded if name in read and read[name].data != recorded[name].data
    ]
    for name in [name for name in differing if name in _MUST_BE_VALID]:
        fault = why_invalid(name, recorded[name].content)
        if fault is not None and why_invalid(name, read[name].content) is None:
            _log.warning(
                "%s of input %s in the metadata database is not valid (%s); that in its folder is "
                "used",
                file_name(name),
                ref.name,
                fault,
            )
            united[name] = read[name]
            differing.remove(name)
    if differing:
        _log.warning(
            "%s of input %s differ between the metadata database and its folder; those of the "
            "database are used",
            ", ".join(map(file_name, differing)),
            ref.name,
        )
    return united


def _upgraded(
    ref: InputRef,
    folder: Path | None,
    files: dict[str, CoreFile],
    *,
    offline: bool,
    service_timeout: float,
) -> dict[str, CoreFile]:
    data = {name: dict(file.data) for name, file in files.items()}
    if not upgrade.is_v1(data):
        return files
    name = ref.name or ref.url or ""
    location = ref.url or (folder.as_uri() if folder else name)
    upgraded = upgrade.upgrade(
        name, location, data, offline=offline, service_timeout=service_timeout
    )
    old = upgrade.v1_files(data)
    kept = {name: file for name, file in files.items() if name not in old}
    for core_file, content in upgraded.items():
        found = parse_json(content, Path(file_name(core_file)))
        if core_file == DATA_DESCRIPTION:
            # Where v1 had none, the upgrader invents "unknown" people and internal funding.
            invented = [name for name in _NEVER_INVENTED if not data.get(core_file, {}).get(name)]
            found = {name: value for name, value in found.items() if name not in invented}
        kept.setdefault(core_file, CoreFile(content, found, is_upgraded=True))
    _log.info("input %s has metadata of schema v1; they were upgraded", name)
    return kept


@functools.lru_cache(maxsize=64)
@quiet()
def why_invalid(core_file: str, content: bytes) -> str | None:
    """Say in one line why a core file does not validate under the schema's model, or None.

    The models of subject, procedures, instrument and acquisition take about a second to import,
    so this is asked at the end of a run, and once for equal files.
    """
    module = importlib.import_module(f"aind_data_schema.core.{core_file}")
    model = getattr(module, "".join(part.capitalize() for part in core_file.split("_")))
    try:
        model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"{error.error_count()} fault(s), first at {place or 'the top'}: {first['msg']}"
    except ValueError as error:
        return str(error)
    return None
