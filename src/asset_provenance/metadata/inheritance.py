"""What the inputs hand on: their names, roots, facts and files.

The four rules of inheritance are those of aind-data-schema (``utils.inheritance``), with one
difference of means: files are carried as they are, never read through the models and written
again, because the models rewrite the schema version and can lose content.
"""

from __future__ import annotations

import functools
import importlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aind_data_schema_models.data_name_patterns import DataLevel, DataRegex
from pydantic import ValidationError

from asset_provenance.corefiles import (
    CORE_FILES,
    DATA_DESCRIPTION,
    INHERITED_FILES,
    LEGACY_FILES,
    PROVENANCE_FOLDER,
    file_name,
    parse_json,
    read_bytes,
)
from asset_provenance.errors import ProvenanceError
from asset_provenance.metadata import upgrade
from asset_provenance.metadata.quiet import quiet
from asset_provenance.records import InputRef, printable

__all__ = [
    "QUALITY_CONTROL",
    "CarriedFile",
    "CoreFile",
    "InputAsset",
    "inherited_files",
    "kept_name",
    "load_input",
    "raw_root",
    "refused_quality_controls",
    "shared_raw_root",
    "shared_subject",
    "why_invalid",
]

_ASSET_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f/\\]{1,255}")
QUALITY_CONTROL = "quality_control"
_NEVER_INVENTED = ("project_name", "investigators", "funding_source")

_log = logging.getLogger("asset_provenance")


@dataclass(frozen=True, slots=True)
class CoreFile:
    """A core metadata file of an input: its bytes, what they say, and whether it was v1."""

    content: bytes
    data: Mapping[str, Any]
    is_upgraded: bool = False


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
    """

    ref: InputRef
    folder: Path | None = None
    files: Mapping[str, CoreFile] = field(default_factory=dict)

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


@dataclass(frozen=True, slots=True)
class CarriedFile:
    """A file that the new asset takes over unchanged."""

    core_file: str
    content: bytes
    source: str


def load_input(
    ref: InputRef, folder: Path | None, *, offline: bool = False, upgrades: bool = True
) -> tuple[InputAsset, list[str]]:
    """Read the core files of an input, upgrading those of schema v1.

    Parameters
    ----------
    ref, folder
        The asset, and where it lies if that is known.
    offline
        Whether an upgrade may ask services on the network.
    upgrades
        Whether metadata of schema v1 are wanted at all; else only its description is read.

    Returns
    -------
    tuple
        The asset, and one text for each file that cannot be used at all.
    """
    if folder is None:
        return InputAsset(ref), []
    files: dict[str, CoreFile] = {}
    problems: list[str] = []
    for core_file in (*CORE_FILES, *LEGACY_FILES):
        path = folder / file_name(core_file)
        try:
            content = read_bytes(path)
            files[core_file] = CoreFile(content, parse_json(content, path))
        except FileNotFoundError:
            continue
        except (ValueError, OSError) as error:
            problems.append(f"input {ref.name}: {error}")
    name = files[DATA_DESCRIPTION].data.get("name") if DATA_DESCRIPTION in files else None
    if isinstance(name, str) and not _ASSET_NAME.fullmatch(name):
        problems.append(
            f"input {ref.name}: the name {printable(name[:100])!r} in its data_description.json "
            "cannot be that of an asset"
        )
    if not problems and upgrades:
        try:
            files = _upgraded(ref, folder, files, offline=offline)
        except ProvenanceError as error:
            problems.append(str(error))
    return InputAsset(ref, folder, files), problems


def _upgraded(
    ref: InputRef, folder: Path, files: dict[str, CoreFile], *, offline: bool
) -> dict[str, CoreFile]:
    data = {name: dict(file.data) for name, file in files.items()}
    if not upgrade.is_v1(data):
        return files
    name = ref.name or folder.name
    location = ref.url or folder.as_uri()
    upgraded = upgrade.upgrade(name, location, data, offline=offline)
    kept = {name: file for name, file in files.items() if name not in upgrade.v1_files(data)}
    for core_file, content in upgraded.items():
        found = parse_json(content, folder / file_name(core_file))
        if core_file == DATA_DESCRIPTION:
            # Where v1 had none, the upgrader invents "unknown" people and internal funding.
            invented = [name for name in _NEVER_INVENTED if not data.get(core_file, {}).get(name)]
            found = {name: value for name, value in found.items() if name not in invented}
        kept.setdefault(core_file, CoreFile(content, found, is_upgraded=True))
    _log.info("input %s has metadata of schema v1; they were upgraded", name)
    return kept


def raw_root(asset: InputAsset) -> str | None:
    """Give the acquisition that an asset goes back to.

    Its own name if it is raw, the input part of its name if that is of DERIVED form. An aggregate,
    an external or simulated asset, or one without metadata has none.
    """
    level, name = asset.description.get("data_level"), asset.description.get("name") or asset.name
    if not isinstance(name, str):
        return None
    if level == DataLevel.RAW.value:
        return name
    match = re.match(DataRegex.DERIVED.value, name) if level == DataLevel.DERIVED.value else None
    return None if match is None else match["input"]


def shared_raw_root(inputs: Sequence[InputAsset]) -> str | None:
    """Give the one acquisition that all inputs go back to, or None."""
    return _shared(inputs, raw_root)


def shared_subject(inputs: Sequence[InputAsset]) -> str | None:
    """Give the one subject that all inputs have, or None."""
    return _shared(inputs, lambda asset: asset.subject_id)


def _shared(inputs: Sequence[InputAsset], fact: Callable[[InputAsset], str | None]) -> str | None:
    values = {fact(asset) for asset in inputs}
    return values.pop() if len(values) == 1 else None


def inherited_files(inputs: Sequence[InputAsset]) -> list[CarriedFile]:
    """Choose the files that the new asset takes over as they are.

    Each from the first input, in the order given, that has it, with a warning where another's
    differs. Quality controls that differ are not among them: they are merged.
    """
    if shared_raw_root(inputs) is not None:
        wanted: tuple[str, ...] = INHERITED_FILES
    elif shared_subject(inputs) is not None:
        wanted = ("subject", "procedures")
    else:
        return []
    carried = []
    for core_file in wanted:
        holders = [asset for asset in inputs if core_file in asset.files]
        if core_file == QUALITY_CONTROL:
            holders, _ = _mergeable(holders)
            if len(_distinct(holders, core_file)) > 1:
                continue
        if not holders:
            continue
        first = holders[0]
        for other in holders[1:]:
            if other.files[core_file].data != first.files[core_file].data:
                _log.warning(
                    "%s differs between inputs; that of %s is inherited, not that of %s",
                    file_name(core_file),
                    first.name,
                    other.name,
                )
        carried.append(CarriedFile(core_file, first.files[core_file].content, first.name))
    return carried


def _mergeable(
    holders: Sequence[InputAsset],
) -> tuple[list[InputAsset], list[InputAsset]]:
    """Tell the inputs whose quality control can be merged, or is all there is, from the others."""
    if len(_distinct(holders, QUALITY_CONTROL)) < 2:
        return list(holders), []
    valid = [
        asset
        for asset in holders
        if why_invalid(QUALITY_CONTROL, asset.files[QUALITY_CONTROL].content) is None
    ] or list(holders[:1])
    return valid, [asset for asset in holders if asset not in valid]


def refused_quality_controls(inputs: Sequence[InputAsset]) -> list[InputAsset]:
    """Give the inputs whose quality control the schema refuses, so that it cannot be merged."""
    if shared_raw_root(inputs) is None:
        return []
    return _mergeable([asset for asset in inputs if QUALITY_CONTROL in asset.files])[1]


def kept_name(core_file: str, input_name: str) -> str:
    """Give the place of an inherited file that could not be merged."""
    safe = re.sub(r"[^A-Za-z0-9._+-]", "_", input_name)
    return f"{PROVENANCE_FOLDER}/inherited-{core_file}-{safe}.json"


def _distinct(holders: Sequence[InputAsset], core_file: str) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for asset in holders:
        if asset.files[core_file].data not in found:
            found.append(asset.files[core_file].data)
    return found


@quiet()
def merged_quality_control(inputs: Sequence[InputAsset]) -> Any:
    """Merge the quality control of inputs of one acquisition, where several have differing ones.

    Returns
    -------
    QualityControl or None
        None when there is nothing to merge.
    """
    if shared_raw_root(inputs) is None:
        return None
    holders, _ = _mergeable([asset for asset in inputs if QUALITY_CONTROL in asset.files])
    distinct = _distinct(holders, QUALITY_CONTROL)
    if len(distinct) < 2:
        return None
    from aind_data_schema.core.quality_control import QualityControl  # noqa: PLC0415 - rarely needed

    parts = [QualityControl.model_validate(dict(data)) for data in distinct]
    merged = functools.reduce(lambda one, other: one + other, parts)
    # A metric that two derived assets inherited from the same raw asset is one metric.
    unique = []
    for metric in merged.metrics:
        if metric not in unique:
            unique.append(metric)
    # The schema computes the status by way of sets; sorted, equal inputs give equal files.
    status = dict(sorted((merged.status or {}).items()))
    return merged.model_copy(update={"metrics": unique, "status": status})


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
