"""After a run: which inputs it turned out to have, and the facts that follow from them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from asset_provenance.assetrefs import asset_ref
from asset_provenance.capture.inputs import InputResolver
from asset_provenance.errors import AssemblyError
from asset_provenance.metadata import description, inheritance
from asset_provenance.metadata.given import given_inputs
from asset_provenance.metadata.inputs import InputAsset
from asset_provenance.metadata.intake import find_left, loose_in
from asset_provenance.metadata.processing import StageFiles
from asset_provenance.plan import Plan, judge, single_assets
from asset_provenance.records import InputRef, ProcessRecord

__all__ = ["given_refs", "inputs_and_facts", "stage_files", "tell_unread", "tell_use"]

_log = logging.getLogger("asset_provenance")


def stage_files(
    plan: Plan,
    inputs: Sequence[InputAsset],
    used: Iterable[InputRef],
    folders: Mapping[str, Path],
) -> list[StageFiles]:
    """Find what earlier stages left: in the inputs, in folders that were used, in the data root."""
    if plan.inherit == "none" and plan.fragment is None:
        return []
    known = {asset.ref.identity for asset in inputs} | plan.stages.keys()
    seen = [(ref, folders.get(ref.name or "")) for ref in used if ref.identity not in known]
    places = plan.stages | plan.find_stages(seen)
    if plan.inherit != "docdb" and inheritance.shared_raw_root(inputs) is not None:
        places |= {asset.name: asset.folder for asset in inputs if asset.folder is not None}
    found = [StageFiles(name, find_left(folder)) for name, folder in places.items()]
    found.append(StageFiles("", loose_in(plan.data_root)))
    return [stage for stage in found if stage.paths]


def given_refs(given: Iterable[Mapping[str, Any]]) -> Iterator[InputRef]:
    """Give the inputs that given processes name."""
    for asset in (asset for one in given for asset in given_inputs(one)):
        yield asset_ref(asset.get("name"), asset.get("url"))


def inputs_and_facts(
    plan: Plan,
    used: Sequence[InputRef],
    late_inputs: Sequence[InputRef],
    folders: Mapping[str, Path],
    read_outside: Iterable[str] | None,
) -> tuple[list[InputAsset], description.Facts]:
    """Give the primary inputs, and the facts that follow from them and from what was given.

    Parameters
    ----------
    plan
        As it was prepared.
    used, late_inputs
        What the run used, and inputs that were added while it ran.
    folders
        Where inputs were found, by name.
    read_outside
        Folders outside the data root in which files were read; None if that is not known.

    Raises
    ------
    AssemblyError
        If facts are missing, or an input's metadata cannot be read.
    """
    if plan.catalog is not None:
        plan.catalog.renew_limit()
    added = _added_inputs(plan, used, late_inputs, folders)
    early = list(plan.inputs or [])
    inputs = [*plan.load_final(early), *added]
    judgement = judge(plan, inputs)
    if not judgement.problems:
        if not inputs and plan.inputs is None:
            _log.warning("%s, or inputs=() if there is none", _why_none(plan, used, read_outside))
        return inputs, judgement.facts
    by_folders = judge(plan, [*early, *added])
    if early and not by_folders.problems:
        _log.warning(
            "what the metadata database says of the inputs would not do; the files in their "
            "folders are used: %s",
            "; ".join(judgement.problems),
        )
        return [*early, *added], by_folders.facts
    cause = [] if inputs or plan.inputs is not None else [_why_none(plan, used, read_outside)]
    raise AssemblyError("the metadata lack facts:", [*cause, *judgement.problems])


def _why_none(plan: Plan, used: Sequence[InputRef], read_outside: Iterable[str] | None) -> str:
    """Say why there is no input, which is why facts are missing."""
    names = ", ".join(dict.fromkeys(ref.identity for ref in used))
    if names:
        return f"no input asset was seen that hands on facts, only {names}; give inputs=..."
    if read_outside is None:
        return (
            f"no input asset is known: the record tells of nothing below {plan.data_root} that was "
            "read, and of a run that was killed it may lack the last second; give inputs=..."
        )
    said = (
        f"no input asset was seen: nothing below {plan.data_root} was read; give inputs=... or "
        "data_root=..."
    )
    elsewhere = _assets_around(read_outside)
    if elsewhere:
        said += f" (what was read lies in {' and '.join(elsewhere)}, outside of it)"
    return said


def _assets_around(folders: Iterable[str]) -> list[str]:
    """Give the described assets that folders are, or lie in."""
    found: list[str] = []
    seen: set[str] = set()
    for start in folders:
        folder = start
        while folder and folder not in seen:
            seen.add(folder)
            if InputResolver.is_described(folder):
                found.append(folder)
                break
            folder = folder.rpartition("/")[0]
    return found


def _added_inputs(
    plan: Plan,
    used: Sequence[InputRef],
    late_inputs: Sequence[InputRef],
    folders: Mapping[str, Path],
) -> list[InputAsset]:
    """Give the inputs that were added while it ran, or else those seen to be used."""
    added = []
    seen = plan.reference_names
    seen |= {asset.ref.identity for asset in plan.inputs or ()}
    candidates = [(ref, True) for ref in late_inputs]
    if plan.inputs is None:
        candidates += [(ref, False) for ref in used]
    singles: dict[str, tuple[InputRef, Path | None, bool]] = {}
    for ref, is_declared in candidates:
        for single, folder in single_assets(plan, [(ref, folders.get(ref.name or ""))]):
            if single.identity not in seen:
                singles.setdefault(single.identity, (single, folder, is_declared))
    if plan.catalog is not None:
        plan.catalog.ask(ref for ref, _, _ in singles.values())
    stages = plan.find_stages((ref, folder) for ref, folder, _ in singles.values())
    for ref, folder, is_declared in singles.values():
        if ref.identity in stages or (not is_declared and plan.is_unknown(ref)):
            continue
        asset, problems = plan.load_input(ref, folder)
        if problems:
            raise AssemblyError("an input's metadata cannot be read:", problems)
        # What has no subject is an atlas, a model, a table: it only helps.
        if is_declared or asset.subject_id is not None:
            added.append(asset)
    return added


def tell_use(
    plan: Plan,
    inputs: Sequence[InputAsset],
    used: Iterable[InputRef],
    stages: Iterable[StageFiles],
) -> None:
    """Warn of what was used and not declared, where the inputs were."""
    of_stages = {stage.name for stage in stages} - {asset.name for asset in inputs}
    seen = [(ref, None) for ref in used if ref.name not in of_stages]
    declared = {asset.ref.identity for asset in inputs}
    singles = {ref.identity for ref, _ in single_assets(plan, seen)}
    for name in sorted(singles - declared - plan.reference_names):
        _log.warning(
            "asset %s was used, but is neither among the inputs nor the reference inputs", name
        )


def tell_unread(
    plan: Plan,
    records: Sequence[ProcessRecord],
    read: Iterable[InputRef],
    folders: Mapping[str, Path],
    stages: Iterable[StageFiles],
) -> None:
    """Warn of what was declared, by the asset or a process, and that nothing was seen to read.

    Parameters
    ----------
    plan
        Knows what the asset declared.
    records
        All processes, the block's own among them.
    read
        What earlier stages, or processes that the script wrote down itself, say they read.
    folders
        Where inputs were found, by name. What lies on no disk of this machine cannot be seen.
    stages
        What earlier stages left: taking it in is use enough.
    """
    seen = {name for record in records for name in record.observed}
    seen |= {name for ref in read for name in (ref.identity, ref.name) if name}
    seen |= {stage.name for stage in stages if stage.paths}
    places = [folders[name] for name in seen if name in folders]
    declared = [(asset.ref, asset.folder) for asset in plan.inputs or ()]
    declared += single_assets(plan, [(ref, None) for ref in plan.references])
    of_processes = [ref for record in records for ref in record.inputs]
    declared += single_assets(plan, [(ref, folders.get(ref.name or "")) for ref in of_processes])
    for name, folder in {ref.identity: folder for ref, folder in declared}.items():
        # One asset can lie inside another.
        if name in seen or folder is None or any(place.is_relative_to(folder) for place in places):
            continue
        _log.warning(
            "input %s was declared, but nothing was seen to read it: take it out, if it was not "
            "used (what ran elsewhere, or opens files in ways of its own, cannot be seen)",
            name,
        )
