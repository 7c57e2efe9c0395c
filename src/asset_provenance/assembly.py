"""After a run: its records and facts become the files of the asset."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asset_provenance.capture.inputs import ResolvedInput
from asset_provenance.checksums import CHECKSUMS, checksum_list
from asset_provenance.corefiles import (
    DATA_DESCRIPTION,
    FRAGMENT_ENDING,
    PROVENANCE_FOLDER,
    file_name,
)
from asset_provenance.errors import AssemblyError
from asset_provenance.metadata import checks, description, inheritance, writer
from asset_provenance.metadata.given import given_outputs, not_inherited
from asset_provenance.metadata.inputs import InputAsset, why_invalid
from asset_provenance.metadata.intake import as_fragment
from asset_provenance.metadata.processing import (
    Run,
    StageFiles,
    build_fragment,
    build_processing,
)
from asset_provenance.metadata.writer import FileToWrite
from asset_provenance.packagelist import LIST_ENDING, list_name, lists_of_stages
from asset_provenance.plan import Plan, describe, reserve_name
from asset_provenance.records import CodeRecord, InputRef, ProcessRecord, ProcessStatus
from asset_provenance.runinputs import (
    given_refs,
    inputs_and_facts,
    stage_files,
    tell_unread,
    tell_use,
)
from asset_provenance.treeanswers import TreeAnswer, with_tree

__all__ = ["AssembledSet", "assemble", "write"]

_SCHEMA_SIZE_LIMIT = 500 * 1024
"""Bytes from which on aind-data-schema warns of a file's size."""

_log = logging.getLogger("asset_provenance")


@dataclass(frozen=True, slots=True)
class AssembledSet:
    """A whole set of metadata files, not yet written; of a stage, its files without header."""

    name: str
    files: tuple[FileToWrite, ...]
    header: Mapping[str, Any] | None

    @property
    def count(self) -> int:
        """How many files are written, the manifest of a whole set among them."""
        return len(self.files) + (self.header is not None)


def write(output_dir: Path, assembled: AssembledSet, run_folder: Path, *, overwrite: bool) -> None:
    """Write an assembled set, all its files at once.

    Raises
    ------
    StorageError
        If one of them cannot be written; then none has appeared.
    """
    writer.write_set(
        output_dir,
        run_folder,
        assembled.files,
        header=None if assembled.header is None else {**assembled.header, "run": run_folder.name},
        overwrite=overwrite,
    )


def assemble(
    plan: Plan,
    block: ProcessRecord,
    records: Sequence[ProcessRecord],
    *,
    late_inputs: Sequence[ResolvedInput],
    given: Sequence[Mapping[str, Any]],
    folders: Mapping[str, Path],
    patches: Mapping[str, bytes],
    trees: Mapping[str, TreeAnswer],
    packages: bytes | None,
    run: str,
    read_outside: Iterable[str] | None = None,
) -> AssembledSet:
    """Turn the records of a run into the asset's files.

    Parameters
    ----------
    plan
        As it was prepared.
    block
        The record of the block as a whole.
    records
        The ended processes inside it.
    late_inputs
        Inputs that were added to the run while it ran.
    given
        Processes that the script has written down itself, each as a ``Processing``.
    folders
        Where inputs were found, by name.
    patches
        Uncommitted changes of the code that ran, by commit.
    trees
        Ids of folders of code, by folder.
    packages
        The list of what was imported, if there is one.
    run
        What the run's record is known by; no other run has it.
    read_outside
        Folders outside the data root in which files were read; None if that is not known.

    Returns
    -------
    AssembledSet
        Every file of the set.

    Raises
    ------
    AssemblyError
        If facts are missing, or the schema or our own checks refuse the result.
    """
    if plan.main_code is not None:
        plan.main_code = _completed(plan.main_code, plan, trees)
    block, *records = (
        record
        if record.code is None
        else replace(record, code=_completed(record.code, plan, trees))
        for record in (block, *records)
    )
    late = [item.ref for item in late_inputs if item.ref is not None]
    used = [ref for record in (block, *records) for ref in record.inputs]
    is_block = plan.process_type is not None or not (records or given)
    if plan.fragment is not None:
        # The one process of a stage may stand alone, and then says itself where it ran.
        written = [
            replace(one, notes=(*one.notes, *plan.surroundings))
            for one in _written(plan, block, records, late, is_block=is_block)
        ]
        fragment_run = _run(plan, plan.given, block, records, [], is_block=is_block)
        stages = stage_files(plan, [], used, folders)
        return _fragment(plan, written, fragment_run, given, stages, packages)
    all_used = [*used, *given_refs(given)]
    inputs, facts = inputs_and_facts(plan, all_used, late, folders, read_outside)
    # A script may give back what its inputs handed on: that is neither its use nor its outputs.
    new = not_inherited(given, inputs)
    stages = stage_files(plan, inputs, used, folders)
    if plan.inputs is None:
        reserve_name(plan, inputs)
    inherited = [] if plan.inherit == "none" else inputs
    try:
        described = describe(plan, facts, inputs)
        built = build_processing(
            _written(plan, block, records, late, is_block=is_block),
            _run(plan, facts, block, records, inherited, is_block=is_block),
            inherited,
            given=given,
            stages=stages,
        )
        if plan.inputs is not None:
            tell_use(plan, inputs, [*used, *given_refs(new)], stages)
        told = [*built.read_by_stages, *given_refs(new)]
        tell_unread(plan, [block, *records], told, folders, stages)
        quality = inheritance.merged_quality_control(inherited)
    except ValueError as error:
        raise AssemblyError("the metadata would not be valid:", [str(error)]) from error
    faults = checks.check_description(described)
    faults += checks.check_processing(built.processing, inherited=built.inherited)
    if faults:
        raise AssemblyError("the metadata would not be right:", faults)
    files = [
        FileToWrite(file_name(DATA_DESCRIPTION), _dumped(described)),
        FileToWrite(file_name("processing"), _dumped(built.processing)),
    ]
    files += [_carried(file) for file in inheritance.inherited_files(inherited)]
    if quality is not None:
        files.append(FileToWrite(file_name("quality_control"), _dumped(quality)))
    files += [
        FileToWrite(
            inheritance.kept_name(inheritance.QUALITY_CONTROL, asset.name),
            asset.files[inheritance.QUALITY_CONTROL].content,
        )
        for asset in inheritance.refused_quality_controls(inherited)
    ]
    files += [FileToWrite(path, content) for path, content in built.refused.items()]
    files += [
        FileToWrite(f"{PROVENANCE_FOLDER}/uncommitted-{commit}.patch", content)
        for commit, content in patches.items()
    ]
    files += _package_lists(packages, run, stages)
    if plan.settings.flag("checksums", default=False):
        listed = checksum_list(plan.output_dir, show_progress=True)
        files.append(FileToWrite(CHECKSUMS, listed))
    _tell_sizes(files)
    outputs = [(record.name, path) for record in (block, *records) for path in record.outputs]
    outputs += [output for one in new for output in given_outputs(one)]
    _tell_missing_outputs(plan, outputs)
    _tell_inheritance(facts, files, inputs)
    header = {
        "asset_provenance_version": importlib.metadata.version("asset-provenance"),
        "name": described.name,
        "process_name": plan.process_name,
        "inherited_processes": [
            name for name in built.processing.process_names if name in built.inherited
        ],
        "given_processes": [name for name in built.processing.process_names if name in built.given],
        "parents": built.parents,
    }
    return AssembledSet(described.name, tuple(files), header)


def _completed(code: CodeRecord, plan: Plan, trees: Mapping[str, TreeAnswer]) -> CodeRecord:
    """Give a record of code with what is said of the code of all processes."""
    if code.core_dependency is None and plan.core_dependency is not None:
        code = replace(code, core_dependency=plan.core_dependency)
    return with_tree(code, trees)


def _fragment(
    plan: Plan,
    records: Sequence[ProcessRecord],
    run: Run,
    given: Sequence[Mapping[str, Any]],
    stages: Sequence[StageFiles],
    packages: bytes | None,
) -> AssembledSet:
    """Make the files of a stage: its processes, with those of earlier stages they follow.

    Each has a name of its own: files of equal names from parallel stages would collide.
    """
    try:
        processing, inherited = build_fragment(records, run, given=given, stages=stages)
    except ValueError as error:
        raise AssemblyError("the metadata would not be valid:", [str(error)]) from error
    faults = checks.check_processing(processing, inherited=inherited)
    if faults:
        raise AssemblyError("the metadata would not be right:", faults)
    _tell_missing_outputs(plan, [(each.name, path) for each in records for path in each.outputs])
    name = plan.name(())
    content = _dumped(as_fragment(processing))
    files = [FileToWrite(f"{name}{FRAGMENT_ENDING}", content)]
    if packages is not None:
        files.append(FileToWrite(f"{name}{LIST_ENDING}", packages))
    return AssembledSet(name, tuple(files), header=None)


def _written(
    plan: Plan,
    block: ProcessRecord,
    records: Sequence[ProcessRecord],
    late_inputs: Sequence[InputRef],
    *,
    is_block: bool,
) -> list[ProcessRecord]:
    """Give the processes to write; the block is one if it was asked for, or is all there is."""
    if not is_block:
        return list(records)
    inputs = dict.fromkeys([*plan.groups, *late_inputs, *plan.references, *block.inputs])
    return [replace(block, inputs=tuple(inputs)), *records]


def _run(
    plan: Plan,
    facts: description.Facts,
    block: ProcessRecord,
    records: Sequence[ProcessRecord],
    inputs: Sequence[InputAsset],
    *,
    is_block: bool,
) -> Run:
    main = plan.main_code
    notes = [
        f"The metadata of input {asset.name} were upgraded from schema v1: {', '.join(upgraded)}."
        for asset in inputs
        if (upgraded := [file_name(name) for name, file in asset.files.items() if file.is_upgraded])
    ]
    for asset in inheritance.refused_quality_controls(inputs):
        place = inheritance.kept_name(inheritance.QUALITY_CONTROL, asset.name)
        notes.append(
            f"The quality control of input {asset.name} is not valid and could not be merged; it "
            f"is kept as {place}."
        )
        _log.warning("%s", notes[-1])
    if plan.fragment is None:
        notes += plan.surroundings
    if not is_block:
        notes += _notes_of_run(block)
    # Processes that the script wrote down itself do not say which script did.
    is_only_given = not (is_block or records)
    if main is not None and (
        is_only_given or any(not _same_code(record.code, main) for record in records)
    ):
        where = f" ({main.run_script})" if main.run_script else ""
        state = main.commit_hash or main.version or "an unknown version"
        notes.append(f"Main script: {main.url}{where} at {state}.")
        notes += main.notes
    return Run(
        experimenters=facts.values["experimenters"],
        pipelines=facts.values.get("pipelines", ()),
        pipeline_name=facts.values.get("pipeline_name"),
        fallback_code=main
        or block.code
        or CodeRecord(url=Path.cwd().as_uri(), notes=("The code is unknown.",)),
        notes=notes,
    )


def _notes_of_run(block: ProcessRecord) -> list[str]:
    """Say in words what was given for the run as a whole, when the block is no process itself."""
    notes = list(block.notes)
    if block.status is ProcessStatus.FAILED:
        notes.append(f"The run failed: {block.error}")
    for label, values in (("Parameters", block.parameters), ("Results", block.results)):
        if values:
            notes.append(f"{label} of the run: {json.dumps(values)}")
    if block.outputs:
        notes.append(f"Outputs of the run: {', '.join(block.outputs)}")
    return notes


def _same_code(code: CodeRecord | None, main: CodeRecord) -> bool:
    return code is not None and (code.url, code.commit_hash, code.version) == (
        main.url,
        main.commit_hash,
        main.version,
    )


def _carried(carried: inheritance.CarriedFile) -> FileToWrite:
    core_file, content = carried.core_file, carried.file.content
    fault = why_invalid(core_file, content)
    if fault is not None:
        _log.warning(
            "%s of input %s is not valid under aind-data-schema and is carried over as it is: %s",
            file_name(core_file),
            carried.source,
            fault,
        )
    return FileToWrite(file_name(core_file), content, inherited_from=carried.source)


def _package_lists(
    own: bytes | None, run: str, stages: Iterable[StageFiles]
) -> Iterator[FileToWrite]:
    """Give the list of what was imported, and those of the stages that are taken in."""
    lists = lists_of_stages(path for stage in stages for path in stage.paths)
    if own is not None:
        lists[list_name(run)] = own
    return (FileToWrite(path, content) for path, content in lists.items())


def _tell_sizes(files: Iterable[FileToWrite]) -> None:
    for file in files:
        if len(file.content) > _SCHEMA_SIZE_LIMIT and file.inherited_from is None:
            _log.warning(
                "%s has %d KB, more than the 500 KB that are advised",
                file.path,
                len(file.content) // 1024,
            )


def _tell_missing_outputs(plan: Plan, outputs: Iterable[tuple[str, str]]) -> None:
    for name, path in dict.fromkeys(outputs):
        if not os.path.exists(plan.output_dir / path):  # noqa: PTH110 - never raises
            _log.warning("process %s names an output %s that is not there", name, path)


def _tell_inheritance(
    facts: description.Facts, files: Sequence[FileToWrite], inputs: Sequence[InputAsset]
) -> None:
    by_source: dict[str, list[str]] = {}
    for name, source in facts.sources.items():
        if source.startswith("input "):
            by_source.setdefault(source, []).append(name)
    for file in files:
        if file.inherited_from is not None:
            by_source.setdefault(f"input {file.inherited_from}", []).append(file.path)
    said = [f"{', '.join(names)} from {source}" for source, names in by_source.items()]
    recorded = [
        asset.name
        for asset in inputs
        if any(file.origin == "database" for file in asset.files.values())
    ]
    if said and recorded:
        said.append(f"as the metadata database has them: {', '.join(recorded)}")
    _log.info("inherited: %s", "; ".join(said) or "nothing")


def _dumped(model: Any) -> bytes:
    return model.model_dump_json(indent=3).encode()  # type: ignore[no-any-return]
