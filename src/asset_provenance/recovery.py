"""The metadata of a run that ended without: made from its journal, and from what is given now."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from asset_provenance import assembly, preflight
from asset_provenance.capture.inputs import InputResolver, ResolvedInput
from asset_provenance.capture.platform import default_folders
from asset_provenance.corefiles import (
    DATA_DESCRIPTION,
    JOURNAL_FOLDER,
    file_name,
    parse_json,
    read_bytes,
)
from asset_provenance.deadruns import DeadRun, mapping
from asset_provenance.errors import AssemblyError, StorageError, UsageError
from asset_provenance.folder import OutputFolder
from asset_provenance.journalfiles import read_patches
from asset_provenance.metadata.manifest import find_obstacles
from asset_provenance.packagelist import read_list
from asset_provenance.plan import Plan
from asset_provenance.records import AssetRecord, InputRef, ProcessRecord, code_from_json
from asset_provenance.settings import FACTS, SERVICE_OPTIONS, load_settings, parse_text
from asset_provenance.suggestions import did_you_mean
from asset_provenance.treeanswers import TreeAnswer, read_trees

__all__ = ["Recovery", "read_assignments", "recover"]

_OF_THE_PLAN = ("base_name", "process_type", "inherit", "fragment")
_SETTABLE = (*FACTS, "data_root", *SERVICE_OPTIONS)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What can be made of a run.

    Parameters
    ----------
    assembled
        The asset's name and the files of its set; None when something is missing for it.
    problems, advice
        What must be mended before it can be written, and what holds for all of it.
    is_written
        Whether the files are in their places.
    """

    assembled: assembly.AssembledSet | None = None
    problems: tuple[str, ...] = ()
    advice: str = ""
    is_written: bool = False


def read_assignments(texts: Iterable[str]) -> dict[str, Any]:
    """Read facts that are given as ``NAME=VALUE``, each value as an environment variable holds it.

    Raises
    ------
    UsageError
        If one has another form, or names nothing that can be given.
    """
    given: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if name not in _SETTABLE and not equals:
            raise UsageError(f"{text!r} is no NAME=VALUE, as in --set experimenters='Ada Lovelace'")
        if name not in _SETTABLE:
            raise UsageError(f"{name!r} cannot be set{did_you_mean(name, _SETTABLE)}")
        if not equals or not value:
            raise UsageError(f"{name} is given no value; write --set {name}=VALUE")
        try:
            given[name] = parse_text(name, value)
        except ValueError as error:
            raise UsageError(f"--set {name}: {error}") from None
    return given


def recover(
    run: DeadRun,
    *,
    facts: Mapping[str, Any] | None = None,
    base_name: str | None = None,
    inputs: Sequence[str] = (),
    accept_failed: bool = False,
    overwrite: bool = False,
) -> Recovery:
    """Make metadata of what a run has left.

    Parameters
    ----------
    run
        As :func:`find_runs` gave it.
    facts
        Facts that were missing or wrong, and settings such as ``data_root``; what is not among
        them is as it was given to the run, else from environment and toml files.
    base_name
        As in :class:`DerivedAsset`, in place of the run's own.
    inputs
        Primary inputs, in place of those that the record has.
    accept_failed
        Write the files and remove the run's record. Otherwise nothing is changed.
    overwrite
        Replace metadata files that are in the way: those of a later run among them.

    Returns
    -------
    Recovery
        The set, or what is missing for it; with ``accept_failed``, it is written unless anything
        is missing.

    Raises
    ------
    StorageError
        If the run cannot be recovered, or its files cannot be written.
    """
    if run.refusal is not None:
        raise StorageError(f"the run {run.id} cannot be recovered: {run.refusal}")
    if not accept_failed:
        return _made(run, facts or {}, base_name, inputs, overwrite=overwrite)
    own = OutputFolder(run.output_dir)
    try:
        if not all(place.exists() for place in run.places):
            raise StorageError(f"the run {run.id} is not there any more; look again what is")
        recovery = _made(run, facts or {}, base_name, inputs, overwrite=overwrite)
        if recovery.assembled is None or recovery.problems:
            return recovery
        # Staged on the file system of the output folder, wherever the record is.
        staging = run.output_dir / JOURNAL_FOLDER / run.id
        assembly.write(run.output_dir, recovery.assembled, staging, overwrite=overwrite)
        for place in {staging, *run.places}:
            shutil.rmtree(place, ignore_errors=True)
    finally:
        own.give_back()
    return replace(recovery, is_written=True)


def _made(
    run: DeadRun,
    facts: Mapping[str, Any],
    base_name: str | None,
    inputs: Sequence[str],
    *,
    overwrite: bool,
) -> Recovery:
    if run.asset is None or run.block is None:
        raise StorageError(f"nothing is known of the run {run.id}")
    plan = _plan(run, run.asset, facts, base_name)
    try:
        folders = _input_folders(plan, run)
        _prepare(plan, run.asset, folders, inputs)
        return _assembled(run, run.block, plan, folders, overwrite=overwrite)
    finally:
        plan.close()


def _assembled(
    run: DeadRun,
    block: ProcessRecord,
    plan: Plan,
    folders: Mapping[str, Path],
    *,
    overwrite: bool,
) -> Recovery:
    if plan.problems:
        return Recovery(problems=tuple(plan.problems), advice=plan.advice)
    patches: dict[str, bytes] = {}
    trees: dict[str, TreeAnswer] = {}
    for place in run.places:
        patches |= read_patches(place)
        trees |= read_trees(place)
    try:
        assembled = assembly.assemble(
            plan,
            block,
            run.records,
            late_inputs=[ResolvedInput(ref) for ref in run.late_inputs],
            given=run.given,
            folders=folders,
            patches=patches,
            trees=trees,
            packages=read_list(run.places),
            run=run.id,
        )
    except AssemblyError as error:
        return Recovery(problems=error.problems or (str(error),), advice=plan.advice)
    return Recovery(assembled, () if overwrite else tuple(_in_the_way(run, plan)))


def _plan(
    run: DeadRun, asset: AssetRecord, facts: Mapping[str, Any], base_name: str | None
) -> Plan:
    """Make the plan of the run again, from its record and from what is given now."""
    recorded = {
        name: value
        for part, known in (("facts", FACTS), ("services", SERVICE_OPTIONS))
        for name, value in mapping(asset, part).items()
        if name in known
    }
    # The name holds the time when the run began, and must be the same however often it is made.
    recorded["creation_time"] = asset.creation_time
    if os.path.isdir(asset.data_root):  # noqa: PTH112 - never raises
        recorded["data_root"] = asset.data_root
    settings = load_settings(facts, script_folder=None, recorded=recorded)
    data_root = Path(settings.text("data_root") or default_folders().data_root).absolute()
    text = {name: asset.settings.get(name) for name in _OF_THE_PLAN}
    texts = {name: value for name, value in text.items() if isinstance(value, str)}
    # A stage's file is named after them.
    fragment = texts.get("fragment", "")
    if fragment and not re.fullmatch(
        r"[A-Za-z0-9-]+/[0-9a-f]{8}", f"{asset.process_name}/{fragment}"
    ):
        raise StorageError(f"the record of the run {run.id} names no stage")
    plan = Plan(
        process_name=asset.process_name,
        base_name=base_name or texts.get("base_name"),
        process_type=texts.get("process_type"),
        data_root=data_root,
        output_dir=run.output_dir,
        settings=settings,
        resolver=InputResolver(data_root, run.output_dir),
        inherit=texts.get("inherit", "auto"),
        fragment=fragment or None,
    )
    plan.core_dependency = mapping(asset, "core_dependency") or None
    told = asset.settings.get("surroundings")
    plan.surroundings = tuple(map(str, told)) if isinstance(told, list) else ()
    with suppress(ValueError, KeyError, TypeError):
        plan.main_code = code_from_json(mapping(asset, "main_code"))
    return plan


def _input_folders(plan: Plan, run: DeadRun) -> dict[str, Path]:
    """Give where inputs were found that are still there, and still the same asset."""
    found = {}
    for name, folder in run.input_folders.items():
        with suppress(UsageError):
            ref = plan.resolver.resolve(folder).ref
            if ref is not None and ref.name == name:
                found[name] = folder
    return found


def _prepare(
    plan: Plan, asset: AssetRecord, folders: Mapping[str, Path], inputs: Sequence[str]
) -> None:
    def given(ref: InputRef) -> object:
        is_plain = ref.url is None and not ref.assets
        return folders.get(ref.name or "", ref) if is_plain else ref

    recorded = None if asset.inputs is None else [given(ref) for ref in asset.inputs]
    preflight.prepare(plan, inputs=inputs or recorded, reference_inputs=asset.reference_inputs)


def _in_the_way(run: DeadRun, plan: Plan) -> Iterable[str]:
    if plan.fragment is not None:
        return  # its name is its own, whatever else lies there
    obstacles = find_obstacles(run.output_dir, plan.process_name)
    if obstacles:
        yield (
            f"{run.output_dir} already holds {', '.join(obstacles)}, which this package did not "
            f"write for {plan.process_name!r} (or which were edited since): move them away, or "
            "give --overwrite"
        )
    path = run.output_dir / file_name(DATA_DESCRIPTION)
    with suppress(OSError, ValueError, TypeError):
        described = parse_json(read_bytes(path), path)
        created = datetime.fromisoformat(described["creation_time"])
        if not obstacles and created > plan.creation_time:
            yield (
                f"{run.output_dir} holds the metadata of a later run, {described['name']}: remove "
                f"{' and '.join(map(str, run.places))}, or give --overwrite to replace them"
            )
