"""Records become the schema's ``Processing``, merged with what the inputs hand on."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from aind_data_schema.components.identifiers import Code, CombinedData, DataAsset
from aind_data_schema.core.processing import DataProcess, Processing
from pydantic import ValidationError

from asset_provenance import lineage
from asset_provenance.metadata.description import explain
from asset_provenance.metadata.inheritance import kept_name, shared_raw_root
from asset_provenance.metadata.inputs import InputAsset
from asset_provenance.metadata.quiet import quiet
from asset_provenance.records import CodeRecord, InputRef, ProcessRecord, ProcessStatus

__all__ = ["BuiltProcessing", "Run", "build_processing"]

_log = logging.getLogger("asset_provenance")


@dataclass(frozen=True, slots=True)
class Run:
    """What holds for every process of a run.

    Parameters
    ----------
    experimenters
        The people who ran it.
    pipelines, pipeline_name
        The schema's ``Code`` objects, and the one that the run's processes are part of.
    fallback_code
        For a process whose own code could not be found out.
    notes
        Notes on the run as a whole.
    """

    experimenters: Sequence[str]
    fallback_code: CodeRecord
    pipelines: Sequence[Code] = ()
    pipeline_name: str | None = None
    notes: Sequence[str] = ()


class BuiltProcessing(NamedTuple):
    """A processing, and what came with it.

    Parameters
    ----------
    processing
        Inherited processes as they are, then the new ones.
    inherited
        The names of the processes that inputs handed on.
    refused
        By the path it must be kept under, each inherited ``processing.json`` that the schema
        refuses.
    """

    processing: Processing
    inherited: frozenset[str]
    refused: Mapping[str, bytes]


@dataclass(slots=True)
class _Inherited:
    """The processes that inputs hand on, merged."""

    processes: dict[str, DataProcess] = field(default_factory=dict)
    originals: list[tuple[DataProcess, str]] = field(default_factory=list)
    graph: dict[str, list[str]] = field(default_factory=dict)
    last_steps: dict[str, list[str]] = field(default_factory=dict)
    pipelines: list[Code] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: dict[str, bytes] = field(default_factory=dict)


@quiet()
def build_processing(
    records: Sequence[ProcessRecord],
    run: Run,
    inputs: Sequence[InputAsset],
    *,
    given: Sequence[Mapping[str, Any]] = (),
) -> BuiltProcessing:
    """Build the asset's whole processing: inherited processes as they are, then the new ones.

    Parameters
    ----------
    records
        The ended processes to write, the block's own among them if it is one.
    run
        What holds for all of them.
    inputs
        The asset's primary inputs; inputs of one acquisition hand on their processing.
    given
        Processes that the script has written down itself, each as a ``Processing``.

    Raises
    ------
    ValueError
        If the schema refuses a new process; the message names it.
    """
    inherited = _Inherited()
    if shared_raw_root(inputs) is not None:
        for asset in inputs:
            if "processing" in asset.files:
                _take_over(inherited, asset)
    names_inherited = frozenset(inherited.processes)
    for one in given:
        _merge(inherited, Processing.model_validate(copy.deepcopy(dict(one))), "the script")
    ordered = sorted(records, key=lambda record: record.start_date_time)
    names = lineage.unique_names([record.name for record in ordered], taken=inherited.processes)
    by_id = dict(zip((record.id for record in ordered), names, strict=True))
    graph = dict(inherited.graph)
    for record_id, targets in lineage.dependencies(ordered).items():
        graph[by_id[record_id]] = [by_id[target] for target in targets]
    processes = list(inherited.processes.values())
    for record in ordered:
        name = by_id[record.id]
        before = (inherited.last_steps.get(ref.name or "", []) for ref in _members(record.inputs))
        graph[name] = list(
            dict.fromkeys([*graph[name], *(step for steps in before for step in steps)])
        )
        processes.append(_data_process(record, name, run))
    processes.sort(key=lambda process: process.start_date_time)
    pipelines = list(inherited.pipelines)
    pipelines.extend(pipeline for pipeline in run.pipelines if pipeline not in pipelines)
    notes = dict.fromkeys([*inherited.notes, *run.notes])
    try:
        processing = Processing(
            data_processes=processes,
            pipelines=pipelines or None,
            dependency_graph={process.name: graph[process.name] for process in processes},
            notes="\n".join(notes) or None,
        )
    except ValidationError as error:
        raise ValueError(f"processing: {explain(error)}") from None
    return BuiltProcessing(processing, names_inherited, inherited.refused)


def _take_over(inherited: _Inherited, asset: InputAsset) -> None:
    content = asset.files["processing"]
    try:
        # The schema's validators change the data they are given.
        upstream = Processing.model_validate(copy.deepcopy(dict(content.data)))
    except (ValidationError, ValueError) as error:
        reason = explain(error) if isinstance(error, ValidationError) else str(error)
        _log.warning("the processing of input %s is not valid: %s", asset.name, reason)
        inherited.refused[kept_name("processing", asset.name)] = content.content
        inherited.notes.append(
            f"The processing of input {asset.name} is not valid and could not be merged; "
            f"it is kept as {kept_name('processing', asset.name)}."
        )
        return
    inherited.last_steps[asset.name] = _merge(inherited, upstream, f"input {asset.name}")


def _merge(inherited: _Inherited, upstream: Processing, source: str) -> list[str]:
    """Take in processes with what belongs to them; give those that no other of them follows."""
    here = _add_processes(inherited, upstream.data_processes, source)
    graph = {name: list(targets) for name, targets in (upstream.dependency_graph or {}).items()}
    cleaned = lineage.clean_graph(graph)
    for name, targets in graph.items():
        for target in targets:
            if target not in cleaned[name]:
                _log.warning(
                    "%s: the dependency of %s on %s is dropped, since it leads to no other "
                    "process or closes a cycle",
                    source,
                    name,
                    target,
                )
        step = here[name]
        merged = [*inherited.graph.get(step, []), *(here[target] for target in cleaned[name])]
        inherited.graph[step] = list(dict.fromkeys(merged))
    inherited.pipelines.extend(
        pipeline for pipeline in upstream.pipelines or [] if pipeline not in inherited.pipelines
    )
    if upstream.notes:
        inherited.notes.append(upstream.notes)
    return [here[name] for name in lineage.last_steps(cleaned)] if graph else list(here.values())


def _add_processes(
    inherited: _Inherited, processes: Iterable[DataProcess], source: str
) -> dict[str, str]:
    """Add processes, identical ones once; give their names here by their names there."""
    here: dict[str, str] = {}
    for process in processes:
        known = next((name for one, name in inherited.originals if one == process), None)
        if known is None:
            (known,) = lineage.unique_names([process.name], taken=inherited.processes)
            if known != process.name:
                _log.warning(
                    "two different processes are named %s; that of %s becomes %s",
                    process.name,
                    source,
                    known,
                )
            inherited.originals.append((process, known))
            inherited.processes[known] = process.model_copy(update={"name": known})
            inherited.graph.setdefault(known, [])
        # Processes without a graph may share a name: each stays reachable under a key of its own.
        key = process.name if process.name not in here else known
        here[key] = known
    return here


def _members(refs: Iterable[InputRef]) -> Iterable[InputRef]:
    for ref in refs:
        yield from _members(ref.assets) if ref.assets else (ref,)


def _data_process(record: ProcessRecord, name: str, run: Run) -> DataProcess:
    code = record.code or run.fallback_code
    try:
        return DataProcess(
            process_type=record.process_type,
            name=name,
            stage=record.stage,
            code=_code(code, record),
            experimenters=list(run.experimenters),
            pipeline_name=run.pipeline_name,
            start_date_time=record.start_date_time,
            end_date_time=record.end_date_time,
            output_path=lineage.common_path(record.outputs),
            output_parameters=_copied(record.results),
            notes=_notes(record, code),
        )
    except ValidationError as error:
        raise ValueError(f"process {name}: {explain(error)}") from None


def _code(code: CodeRecord, record: ProcessRecord) -> Code:
    return Code(
        url=code.url,
        name=code.name,
        version=code.version,
        commit_hash=code.commit_hash,
        container=_copied(code.container),
        run_script=None if code.run_script is None else Path(code.run_script),
        language=code.language,
        language_version=code.language_version,
        input_data=[_data_asset(ref) for ref in record.inputs] or None,
        parameters=_copied(record.parameters),
        core_dependency=_copied(code.core_dependency),
    )


def _copied(value: Mapping[str, Any] | None) -> Any:
    return None if value is None else json.loads(json.dumps(value))


def _data_asset(ref: InputRef) -> DataAsset | CombinedData:
    if not ref.assets:
        return DataAsset(name=ref.name, url=ref.url)
    return CombinedData(
        assets=[_data_asset(member) for member in ref.assets],
        name=ref.name,
        description=ref.description,
        database_identifier=ref.database_identifier,
    )


def _notes(record: ProcessRecord, code: CodeRecord) -> str | None:
    notes = [*record.notes]
    if record.status is ProcessStatus.FAILED:
        notes.append(f"Failed: {record.error}")
    if len(record.outputs) > 1:
        notes.append(f"Outputs: {', '.join(record.outputs)}")
    return "\n".join([*notes, *code.notes]) or None
