"""Before a run: is everything known that the metadata need? After it: the files, as bytes."""

from __future__ import annotations

import enum
import importlib.metadata
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asset_provenance.capture.code import CodeIdentifier
from asset_provenance.capture.inputs import InputResolver, ResolvedInput
from asset_provenance.corefiles import DATA_DESCRIPTION, PROVENANCE_FOLDER, file_name
from asset_provenance.errors import AssemblyError, UsageError
from asset_provenance.metadata import checks, description, inheritance, writer
from asset_provenance.metadata.inheritance import InputAsset
from asset_provenance.metadata.processing import Run, build_processing
from asset_provenance.metadata.writer import FileToWrite
from asset_provenance.records import CodeRecord, InputRef, JsonValue, ProcessRecord, ProcessStatus
from asset_provenance.settings import Settings

__all__ = [
    "AssembledSet",
    "Plan",
    "assemble",
    "check_folder",
    "prepare",
    "warn_of_changed_case",
    "write",
]

_SCHEMA_SIZE_LIMIT = 500 * 1024
"""Bytes from which on aind-data-schema warns of a file's size."""

_NOT_STARTED = datetime.max.replace(tzinfo=UTC)

_log = logging.getLogger("asset_provenance")


@dataclass(slots=True)
class Plan:
    """All that is known of an asset before it runs.

    Parameters
    ----------
    process_name, base_name
        Labels in the derived name.
    process_type
        Given when the block is to be a process whatever else is tracked.
    data_root, output_dir
        Absolute folders.
    settings, given
        What was given, raw and as the schema's objects.
    inputs
        The primary inputs, or None for those that the run is seen to use.
    groups
        The primary inputs as they were declared: groups stay together.
    references
        Reference inputs.
    inherit
        ``"auto"``, ``"files"`` or ``"none"``.
    problems
        Everything that must be mended before the run can start.
    """

    process_name: str
    base_name: str | None
    process_type: str | None
    data_root: Path
    output_dir: Path
    settings: Settings
    resolver: InputResolver
    given: description.Facts = field(default_factory=description.Facts)
    inputs: list[InputAsset] | None = None
    groups: list[InputRef] = field(default_factory=list)
    references: list[InputRef] = field(default_factory=list)
    inherit: str = "auto"
    creation_time: datetime = _NOT_STARTED
    problems: list[str] = field(default_factory=list)

    @property
    def offline(self) -> bool:
        """Whether nothing on the network may be asked."""
        return self.settings.flag("offline", default=False)

    def name(self, inputs: Sequence[InputAsset]) -> str:
        """Give the name that the asset has with these inputs."""
        return description.asset_name(self.process_name, self.creation_time, inputs, self.base_name)

    def identifier(self) -> CodeIdentifier:
        """Give the finder of code for this run."""
        return CodeIdentifier(
            code_url=self.settings.text("code_url"),
            code_version=self.settings.text("code_version"),
            save_patch=self.settings.flag("save_patch", default=True),
        )

    def to_json(self) -> dict[str, JsonValue]:
        """Give what the journal must hold to finish the asset without the program."""
        return {
            "base_name": self.base_name,
            "process_type": self.process_type,
            "inherit": self.inherit,
            "facts": {name: _plain(value) for name, value in self.given.values.items()},
        }


@dataclass(frozen=True, slots=True)
class AssembledSet:
    """A whole set of metadata files, not yet written."""

    name: str
    files: tuple[FileToWrite, ...]
    header: Mapping[str, Any]


def check_folder(plan: Plan, *, overwrite: bool) -> None:
    """Finish what an earlier run was killed in writing, and find what stands in the way."""
    writer.roll_forward(plan.output_dir)
    obstacles = [] if overwrite else writer.find_obstacles(plan.output_dir, plan.process_name)
    if obstacles:
        plan.problems.append(
            f"{plan.output_dir} already holds {', '.join(obstacles)}, which this package did not "
            f"write for {plan.process_name!r} (or which were edited since): move them away, or "
            "give DerivedAsset(..., overwrite=True)"
        )


def warn_of_changed_case(plan: Plan, added: Iterable[ResolvedInput]) -> None:
    """Warn when an input that is added late changes what the asset inherits."""
    if plan.inputs is None:
        return
    pairs = [(item.ref, item.folder) for item in added if item.ref is not None]
    new = [inheritance.load_input(*pair, offline=plan.offline)[0] for pair in _flat(plan, pairs)]
    for what, shared in (
        ("acquisition", inheritance.shared_raw_root),
        ("subject", inheritance.shared_subject),
    ):
        if shared(plan.inputs) is not None and shared([*plan.inputs, *new]) is None:
            _log.warning(
                "with input %s the inputs no longer share one %s: what depends on it will not be "
                "inherited%s",
                ", ".join(asset.name for asset in new),
                what,
                "" if plan.base_name else ", and the asset cannot be named without a base_name",
            )


def write(plan: Plan, assembled: AssembledSet, run_folder: Path) -> None:
    """Write an assembled set, all its files at once.

    Raises
    ------
    StorageError
        If one of them cannot be written; then none has appeared.
    """
    writer.write_set(plan.output_dir, run_folder, assembled.files, header=assembled.header)


def prepare(
    plan: Plan, *, inputs: Iterable[object] | None, reference_inputs: Iterable[object]
) -> None:
    """Resolve the inputs, read their metadata, and find everything that is missing or malformed.

    Parameters
    ----------
    plan
        Completed in place; what is wrong is added to its ``problems``.
    inputs, reference_inputs
        As the user gave them.
    """
    plan.problems.extend(plan.settings.problems)
    plan.given = description.given_facts(plan.settings)
    plan.problems.extend(plan.given.problems)
    plan.references = [ref for ref, _ in _resolved(plan, reference_inputs)]
    if inputs is None:
        missing = description.missing_facts(plan.given, only=("experimenters",))
        plan.problems.extend(missing)
        _reserve_creation_time(plan)
        return
    resolved = _resolved(plan, inputs)
    plan.groups = [ref for ref, _ in resolved]
    plan.inputs = []
    for ref, folder in _flat(plan, resolved):
        asset, problems = inheritance.load_input(ref, folder, offline=plan.offline)
        plan.inputs.append(asset)
        plan.problems.extend(problems)
        if folder is None and not problems:
            _log.warning(
                "input %s was not found below %s: nothing can be inherited from it",
                asset.name,
                plan.data_root,
            )
    plan.problems.extend(
        f"input {asset.name} is given both as an input and as a reference input"
        for asset in plan.inputs
        if asset.ref in plan.references
    )
    facts = _facts(plan, plan.inputs)
    plan.problems.extend(facts.problems[len(plan.given.problems) :])
    plan.problems.extend(description.missing_facts(facts))
    plan.problems.extend(description.check_base_name(plan.base_name, plan.inputs))
    _reserve_creation_time(plan)
    if not plan.problems:
        try:
            _description(plan, facts, plan.inputs)
        except ValueError as error:
            plan.problems.append(f"the data description would not be valid: {error}")


def _reserve_creation_time(plan: Plan) -> None:
    if not plan.problems:
        given = plan.given.values.get("creation_time")
        plan.creation_time = description.reserve_creation_time(plan.process_name, given)


def _resolved(plan: Plan, values: Iterable[object]) -> list[tuple[InputRef, Path | None]]:
    found: list[tuple[InputRef, Path | None]] = []
    for value in values:
        try:
            resolved = plan.resolver.resolve(value)
        except UsageError as error:
            plan.problems.append(str(error))
            continue
        if resolved.ref is None:
            plan.problems.append(
                f"input {value} lies in the output folder {plan.output_dir}; inputs come from "
                "elsewhere"
            )
        elif resolved.ref not in [ref for ref, _ in found]:
            found.append((resolved.ref, resolved.folder))
    return found


def _flat(
    plan: Plan, resolved: Iterable[tuple[InputRef, Path | None]]
) -> list[tuple[InputRef, Path | None]]:
    """Give every single asset once, the members of groups among them."""
    result: list[tuple[InputRef, Path | None]] = []
    for ref, folder in resolved:
        inner = [(ref, folder)]
        if ref.assets:
            members = [(member, plan.resolver.locate(member)) for member in ref.assets]
            inner = _flat(plan, members)
        result.extend(item for item in inner if item[0] not in [known for known, _ in result])
    return result


def _facts(plan: Plan, inputs: Sequence[InputAsset]) -> description.Facts:
    handing_on = [] if plan.inherit == "none" else inputs
    return description.inherit_facts(plan.given, handing_on)


def _description(plan: Plan, facts: description.Facts, inputs: Sequence[InputAsset]) -> Any:
    return description.build_description(
        facts,
        name=plan.name(inputs),
        creation_time=plan.creation_time,
        inputs=inputs,
        subject_id=None if plan.inherit == "none" else inheritance.shared_subject(inputs),
    )


def assemble(
    plan: Plan,
    block: ProcessRecord,
    records: Sequence[ProcessRecord],
    *,
    late_inputs: Sequence[ResolvedInput],
    folders: Mapping[str, Path],
    identifier: CodeIdentifier,
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
    folders
        Where inputs were found, by name.
    identifier
        What was found out about code.

    Returns
    -------
    AssembledSet
        Every file of the set.

    Raises
    ------
    AssemblyError
        If facts are missing, or the schema or our own checks refuse the result.
    """
    late = [item.ref for item in late_inputs if item.ref is not None]
    inputs = _final_inputs(plan, block, records, late, folders)
    facts = _facts(plan, inputs)
    problems = [*facts.problems, *description.missing_facts(facts)]
    problems += description.check_base_name(plan.base_name, inputs)
    if problems:
        raise AssemblyError("the metadata lack facts:", problems)
    inherited = [] if plan.inherit == "none" else inputs
    try:
        described = _description(plan, facts, inputs)
        built = build_processing(
            _written(plan, block, records, late),
            _run(plan, facts, block, records, identifier),
            inherited,
        )
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
    files += [FileToWrite(path, content) for path, content in built.refused.items()]
    files += [
        FileToWrite(f"{PROVENANCE_FOLDER}/uncommitted-{patch.commit_hash}.patch", patch.content)
        for patch in identifier.patches
    ]
    for file in files:
        if len(file.content) > _SCHEMA_SIZE_LIMIT and file.inherited_from is None:
            _log.warning(
                "%s has %d KB, more than the 500 KB that are advised",
                file.path,
                len(file.content) // 1024,
            )
    _tell_inheritance(facts, files)
    header = {
        "asset_provenance_version": importlib.metadata.version("asset-provenance"),
        "name": described.name,
        "process_name": plan.process_name,
    }
    return AssembledSet(described.name, tuple(files), header)


def _final_inputs(
    plan: Plan,
    block: ProcessRecord,
    records: Sequence[ProcessRecord],
    late_inputs: Sequence[InputRef],
    folders: Mapping[str, Path],
) -> list[InputAsset]:
    """Give the primary inputs: declared before, added while it ran, or else seen to be used."""
    known = list(plan.inputs or [])
    used = [ref for record in (block, *records) for ref in record.inputs]
    candidates = [(ref, True) for ref in late_inputs]
    if plan.inputs is None:
        candidates += [(ref, False) for ref in used]
    for ref, is_declared in candidates:
        for single, folder in _flat(plan, [(ref, folders.get(ref.name or ""))]):
            if single in plan.references or any(asset.ref == single for asset in known):
                continue
            asset, problems = inheritance.load_input(single, folder, offline=plan.offline)
            if problems:
                raise AssemblyError("an input's metadata cannot be read:", problems)
            # What has no subject is an atlas, a model, a table: it only helps.
            if is_declared or asset.subject_id is not None:
                known.append(asset)
    if plan.inputs is not None:
        names = {asset.name for asset in known} | {ref.name for ref in plan.references}
        for name in dict.fromkeys(ref.name for ref, _ in _flat(plan, [(r, None) for r in used])):
            if name and name not in names:
                _log.warning(
                    "asset %s was used, but is neither among the inputs nor the reference inputs",
                    name,
                )
    return known


def _written(
    plan: Plan,
    block: ProcessRecord,
    records: Sequence[ProcessRecord],
    late_inputs: Sequence[InputRef],
) -> list[ProcessRecord]:
    """Give the processes to write; the block is one if it was asked for, or is all there is."""
    if records and plan.process_type is None:
        return list(records)
    inputs = dict.fromkeys([*plan.groups, *late_inputs, *plan.references, *block.inputs])
    return [replace(block, inputs=tuple(inputs)), *records]


def _run(
    plan: Plan,
    facts: description.Facts,
    block: ProcessRecord,
    records: Sequence[ProcessRecord],
    identifier: CodeIdentifier,
) -> Run:
    main = identifier.of_main()
    notes = []
    if records and plan.process_type is None:
        notes += _notes_of_run(block)
    if main is not None and any(not _same_code(record.code, main) for record in records):
        where = f" ({main.run_script})" if main.run_script else ""
        state = main.commit_hash or main.version or "an unknown version"
        notes.append(f"Main script: {main.url}{where} at {state}.")
        notes += main.notes
    return Run(
        experimenters=facts.values["experimenters"],
        pipelines=facts.values.get("pipelines", ()),
        pipeline_name=facts.values.get("pipeline_name"),
        fallback_code=main or CodeRecord(url=Path.cwd().as_uri(), notes=("The code is unknown.",)),
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


def _carried(file: inheritance.CarriedFile) -> FileToWrite:
    fault = inheritance.why_invalid(file.core_file, file.content)
    if fault is not None:
        _log.warning(
            "%s of input %s is not valid under aind-data-schema and is carried over as it is: %s",
            file_name(file.core_file),
            file.source,
            fault,
        )
    return FileToWrite(file_name(file.core_file), file.content, inherited_from=file.source)


def _tell_inheritance(facts: description.Facts, files: Sequence[FileToWrite]) -> None:
    by_source: dict[str, list[str]] = {}
    for name, source in facts.sources.items():
        if source.startswith("input "):
            by_source.setdefault(source, []).append(name)
    for file in files:
        if file.inherited_from is not None:
            by_source.setdefault(f"input {file.inherited_from}", []).append(file.path)
    said = "; ".join(f"{', '.join(names)} from {source}" for source, names in by_source.items())
    _log.info("inherited: %s", said or "nothing")


def _dumped(model: Any) -> bytes:
    return model.model_dump_json(indent=3).encode()  # type: ignore[no-any-return]


def _plain(value: Any) -> JsonValue:
    """Give a fact as JSON, whatever object of the schema it is."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")  # type: ignore[no-any-return]
    return str(value)
