"""What the inputs hand on: their names, roots, facts and files.

The four rules of inheritance are those of aind-data-schema (``utils.inheritance``), with one
difference of means: files are carried as they are, never read through the models and written
again, because the models rewrite the schema version and can lose content.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aind_data_schema_models.data_name_patterns import DataLevel, DataRegex

from asset_provenance.corefiles import INHERITED_FILES, PROVENANCE_FOLDER, file_name
from asset_provenance.metadata.inputs import CoreFile, InputAsset, why_invalid
from asset_provenance.metadata.quiet import quiet
from asset_provenance.records import printable

__all__ = [
    "QUALITY_CONTROL",
    "CarriedFile",
    "inherited_files",
    "kept_name",
    "raw_root",
    "refused_quality_controls",
    "shared_raw_root",
    "shared_subject",
]

QUALITY_CONTROL = "quality_control"

_log = logging.getLogger("asset_provenance")


@dataclass(frozen=True, slots=True)
class CarriedFile:
    """A file that the new asset takes over unchanged."""

    core_file: str
    file: CoreFile
    source: str


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
    subject = None
    if shared_raw_root(inputs) is not None:
        wanted: tuple[str, ...] = INHERITED_FILES
    elif (subject := shared_subject(inputs)) is not None:
        wanted = ("subject", "procedures")
    else:
        return []
    carried = []
    for core_file in wanted:
        holders = [
            asset
            for asset in inputs
            if core_file in asset.files and _is_of_subject(asset, core_file, subject)
        ]
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
        carried.append(CarriedFile(core_file, first.files[core_file], first.name))
    return carried


def _is_of_subject(asset: InputAsset, core_file: str, subject: str | None) -> bool:
    """Say whether a file is of the subject that the inputs share; tell where it is not."""
    told = asset.files[core_file].data.get("subject_id")
    if subject is None or told is None or told == subject:
        return True
    _log.warning(
        "%s of input %s is of subject %s, not %s; it is not inherited",
        file_name(core_file),
        asset.name,
        printable(str(told)[:100]),
        subject,
    )
    return False


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
