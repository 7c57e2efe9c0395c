"""After a run: which inputs it turned out to have, and the facts that follow from them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from asset_provenance.errors import AssemblyError, UsageError
from asset_provenance.metadata import description, inheritance
from asset_provenance.metadata.given import given_inputs
from asset_provenance.metadata.inputs import InputAsset
from asset_provenance.metadata.intake import find_left, is_of_stages, loose_in
from asset_provenance.metadata.processing import StageFiles
from asset_provenance.plan import Plan, all_facts, single_assets
from asset_provenance.records import InputRef

__all__ = ["given_refs", "inputs_and_facts", "stage_files", "tell_use"]

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
    places = dict(plan.stages)
    for ref in used:
        folder = folders.get(ref.name or "")
        if folder is not None and is_of_stages(folder):
            places.setdefault(ref.name or "", folder)
    if plan.inherit != "docdb" and inheritance.shared_raw_root(inputs) is not None:
        places |= {asset.name: asset.folder for asset in inputs if asset.folder is not None}
    found = [StageFiles(name, find_left(folder)) for name, folder in places.items()]
    found.append(StageFiles("", loose_in(plan.data_root)))
    return [stage for stage in found if stage.paths]


def given_refs(plan: Plan, given: Iterable[Mapping[str, Any]]) -> Iterator[InputRef]:
    """Give the inputs that given processes name; of those named by URL alone, the name as well."""
    for asset in (asset for one in given for asset in given_inputs(one)):
        ref = InputRef(name=asset.get("name"), url=asset.get("url"))
        if not ref.name and str(ref.url).startswith("s3://"):
            with suppress(UsageError):
                ref = plan.resolver.resolve(ref.url).ref or ref
        yield ref


def inputs_and_facts(
    plan: Plan,
    used: Sequence[InputRef],
    late_inputs: Sequence[InputRef],
    folders: Mapping[str, Path],
) -> tuple[list[InputAsset], description.Facts]:
    """Give the primary inputs, and the facts that follow from them and from what was given."""
    added = _added_inputs(plan, used, late_inputs, folders)
    early = list(plan.inputs or [])
    inputs = [*_final(plan, early), *added]
    facts, problems = _facts(plan, inputs)
    if problems and early and not _facts(plan, [*early, *added])[1]:
        _log.warning(
            "what the metadata database says of the inputs would not do; the files in their "
            "folders are used: %s",
            "; ".join(problems),
        )
        inputs = [*early, *added]
        facts, problems = _facts(plan, inputs)
    if problems:
        raise AssemblyError("the metadata lack facts:", problems)
    return inputs, facts


def _facts(plan: Plan, inputs: Sequence[InputAsset]) -> tuple[description.Facts, list[str]]:
    facts = all_facts(plan, inputs)
    problems = [*facts.problems, *description.missing_facts(facts)]
    return facts, problems + description.check_base_name(plan.base_name, inputs)


def _final(plan: Plan, early: Sequence[InputAsset]) -> list[InputAsset]:
    """Give the declared inputs as the metadata database knows them by now."""
    final = []
    for asset in early:
        known = asset
        if not asset.is_final:
            loaded, problems = plan.load_input(asset.ref, asset.folder)
            for problem in problems:
                _log.warning("%s; the files in its folder are used", problem)
            known = asset if problems else loaded
        final.append(known)
    return final


def _added_inputs(
    plan: Plan,
    used: Sequence[InputRef],
    late_inputs: Sequence[InputRef],
    folders: Mapping[str, Path],
) -> list[InputAsset]:
    """Give the inputs that were added while it ran, or else those seen to be used."""
    added = []
    seen = {ref.identity for ref in plan.references}
    seen |= {asset.ref.identity for asset in plan.inputs or ()}
    candidates = [(ref, True) for ref in late_inputs]
    if plan.inputs is None:
        candidates += [(ref, False) for ref in used]
    singles: dict[str, tuple[InputRef, Path | None, bool]] = {}
    for ref, is_declared in candidates:
        for single, folder in single_assets(plan, [(ref, folders.get(ref.name or ""))]):
            is_asset = folder is None or not is_of_stages(folder)
            if single.identity not in seen and is_asset:
                singles.setdefault(single.identity, (single, folder, is_declared))
    if plan.catalog is not None:
        plan.catalog.ask(ref for ref, _, _ in singles.values())
    for ref, folder, is_declared in singles.values():
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
    read_by_stages: Sequence[InputRef],
    *,
    is_block: bool,
) -> None:
    """Warn where what was declared and what was used are not the same."""
    of_stages = {stage.name for stage in stages} - {asset.name for asset in inputs}
    seen = [(ref, None) for ref in used if ref.name not in of_stages]
    declared = {asset.ref.identity for asset in inputs}
    references = {ref.identity for ref in plan.references}
    singles = {ref.identity for ref, _ in single_assets(plan, seen)}
    for name in sorted(singles - declared - references):
        _log.warning(
            "asset %s was used, but is neither among the inputs nor the reference inputs", name
        )
    # The block's own process has all that was declared.
    read = singles | {ref.identity for ref in read_by_stages} | {ref.name for ref in read_by_stages}
    for name in () if is_block else sorted(declared - read):
        _log.warning(
            "input %s was declared, but no process says that it used it: give the process "
            "inputs=..., or the path as an argument",
            name,
        )
