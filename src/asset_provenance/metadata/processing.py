"""Records become the schema's ``Processing``, merged with what the inputs hand on."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from aind_data_schema.components.identifiers import Code, CombinedData, DataAsset
from aind_data_schema.core.processing import DataProcess, Processing
from pydantic import ValidationError

from asset_provenance import lineage
from asset_provenance.metadata.cleaning import refuse_half_characters, told_fault
from asset_provenance.metadata.description import explain
from asset_provenance.metadata.inheritance import kept_name, shared_raw_root
from asset_provenance.metadata.inputs import InputAsset
from asset_provenance.metadata.intake import Left, inputs_read, read_left
from asset_provenance.metadata.merging import Mention, Merged, last_of
from asset_provenance.metadata.quiet import quiet
from asset_provenance.metadata.resources import (
    fit_series,
    points_in,
    resource_notes,
    resource_usage,
)
from asset_provenance.records import CodeRecord, InputRef, ProcessRecord, ProcessStatus

__all__ = ["BuiltProcessing", "Run", "StageFiles", "build_fragment", "build_processing"]

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
        By the path it must be kept under, each inherited ``processing.json``, or file of an
        earlier stage, that the schema refuses.
    notes
        All notes but those on what is refused.
    read_by_stages
        What the processes of earlier stages say they read.
    given
        The names of the processes that the script has written down itself.
    parents
        Of each new process that ran inside another, that one, by their names.
    """

    processing: Processing
    inherited: frozenset[str]
    refused: Mapping[str, bytes]
    notes: Sequence[str]
    read_by_stages: Sequence[InputRef]
    given: frozenset[str]
    parents: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StageFiles:
    """The files in which earlier stages of a pipeline told of themselves, in one place.

    Parameters
    ----------
    name
        The input that they lie in; empty for the data root itself.
    paths
        As :func:`asset_provenance.metadata.intake.find_left` gives them.
    """

    name: str
    paths: Sequence[Path]


@quiet()
def build_processing(
    records: Sequence[ProcessRecord],
    run: Run,
    inputs: Sequence[InputAsset],
    *,
    given: Sequence[Mapping[str, Any]] = (),
    stages: Sequence[StageFiles] = (),
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
    stages
        What earlier stages of the pipeline left.

    Raises
    ------
    ValueError
        If the schema refuses a new process; the message names it.
    """
    merged, refused = Merged(), _Refusals()
    places: dict[str, list[Mention]] = {}
    if shared_raw_root(inputs) is not None:
        for asset in inputs:
            if "processing" in asset.files:
                places[asset.name] = _take_over(merged, asset, refused)
    handed_on = {name: last_of(mentions) for name, mentions in places.items()}
    of_inputs = {mention.step for mentions in places.values() for mention in mentions}
    for stage in stages:
        places.setdefault(stage.name, []).extend(_take_in(merged, stage, refused))
    merged.settle()
    names_inherited = merged.names
    # Each stage said what it read, and could not know what had been done to that before.
    of_stages = {mention.step: None for mentions in places.values() for mention in mentions}
    steps = [step for step in of_stages if step is not None and step not in of_inputs]
    for one in given:
        processing = Processing.model_validate(copy.deepcopy(dict(one)))
        mentions = merged.add(processing, "the script")
        merged.settle(by_time=False)
        if not processing.dependency_graph:
            given_steps = (mention.step for mention in mentions)
            steps += [step for step in given_steps if step is not None and step not in of_inputs]
    followed = _followed(places)
    ordered = sorted(records, key=lambda record: record.start_date_time)
    names = lineage.unique_names([record.name for record in ordered], taken=merged.names)
    by_id = dict(zip((record.id for record in ordered), names, strict=True))
    graph = merged.graph()
    for step in steps:
        for ref in inputs_read([step.process]):
            before = {
                each.name
                for each in handed_on.get(ref.name or "", ())
                if _end(each.process) <= step.process.start_date_time
            }
            graph[step.name] += sorted(before.difference(graph[step.name]))
    graph = lineage.clean_graph(graph)
    for record_id, targets in lineage.dependencies(ordered).items():
        graph[by_id[record_id]] = [by_id[target] for target in targets]
    place = {name: number for number, name in enumerate(graph)}
    merged.add_pipelines(run.pipelines)
    processes = list(merged.processes())
    new: list[DataProcess] = []
    for record in ordered:
        name = by_id[record.id]
        before = {
            step
            for ref in _members(record.inputs)
            for step in _read_of(places, record, ref.name or "") or followed.get(ref.name or "", [])
        }
        graph[name] += sorted(before.difference(graph[name]), key=place.__getitem__)
        new.append(_data_process(record, name, run))
    notes_of_run = [*_fit_series(new, processes), *run.notes]
    processes += new
    processes.sort(key=lambda process: (process.start_date_time, place[process.name]))
    notes = dict.fromkeys([*merged.notes, *notes_of_run])
    told = dict.fromkeys([*merged.notes, *refused.notes, *notes_of_run])
    try:
        processing = Processing(
            data_processes=processes,
            pipelines=merged.pipelines or None,
            dependency_graph={process.name: graph[process.name] for process in processes},
            notes="\n".join(told) or None,
        )
    except ValidationError as error:
        raise ValueError(f"processing: {explain(error)}") from None
    read = inputs_read(step.process for step in of_stages if step is not None)
    parents = {
        by_id[record.id]: by_id[record.parent_id] for record in ordered if record.parent_id in by_id
    }
    return BuiltProcessing(
        processing,
        names_inherited,
        refused.files,
        list(notes),
        read,
        merged.names - names_inherited,
        parents,
    )


def _fit_series(new: Sequence[DataProcess], others: Sequence[DataProcess]) -> list[str]:
    """Keep the series of resources within what a file may hold; give what is to be said of it."""
    taken = points_in([process.resources for process in others])
    series = fit_series([process.resources for process in new], taken)
    for process, resources in zip(new, series.usages, strict=True):
        process.resources = resources
    if not series.left_out:
        return []
    return [
        f"The {series.left_out} shortest of the long processes are without series of their use."
    ]


@dataclass(slots=True)
class _Refusals:
    """Files that could not be merged, by the path they are kept under, and what is said of them."""

    files: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def _take_over(merged: Merged, asset: InputAsset, refused: _Refusals) -> list[Mention]:
    content = asset.files["processing"]
    try:
        # The schema's validators change the data they are given.
        upstream = Processing.model_validate(copy.deepcopy(dict(content.data)))
        refuse_half_characters(content.data)
    except (ValueError, TypeError) as error:  # the last is the schema's own
        reason = told_fault(error)
        _log.warning("the processing of input %s is not valid: %s", asset.name, reason)
        refused.files[kept_name("processing", asset.name)] = content.content
        refused.notes.append(
            f"The processing of input {asset.name} is not valid and could not be merged; "
            f"it is kept as {kept_name('processing', asset.name)}."
        )
        return []
    mentions = merged.add(upstream, f"input {asset.name}")
    merged.settle(by_time=False)
    return mentions


def _take_in(merged: Merged, stage: StageFiles, refused: _Refusals) -> list[Mention]:
    """Take in what earlier stages left in one place; keep what cannot be understood."""
    mentions: list[Mention] = []
    for left in read_left(stage.paths):
        if isinstance(left, Left):
            mentions += merged.add(left.processing, left.source)
            continue
        _log.warning("%s cannot be taken in: %s", left.path, left.reason)
        if not left.content:
            refused.notes.append(
                f"{left.path.name}, which an earlier stage left, could not be merged, and is not "
                f"kept: {left.reason}."
            )
        else:
            place = kept_name(left.path.stem, stage.name or "data")
            count = 1
            while refused.files.setdefault(place, left.content) != left.content:
                place = kept_name(f"{left.path.stem}-{count}", stage.name or "data")
                count += 1
            refused.notes.append(
                f"{left.path.name}, which an earlier stage left, is not valid and could not be "
                f"merged; it is kept as {place}."
            )
    return mentions


def _followed(places: Mapping[str, Sequence[Mention]]) -> dict[str, list[str]]:
    """Give what whoever read something of a name depends on: an input, or a loose file."""
    # Of what lies loose in the data root, each stage says itself which file it wrote.
    loose: dict[str, list[Mention]] = {}
    for mention in places.get("", ()):
        path = None if mention.step is None else mention.step.process.output_path
        if path is not None:
            loose.setdefault(path.as_posix().split("/")[0], []).append(mention)
    return {
        name: [step.name for step in last_of(mentions)]
        for name, mentions in {**loose, **places}.items()
        if name
    }


def _read_of(
    places: Mapping[str, Sequence[Mention]], record: ProcessRecord, name: str
) -> list[str]:
    """Give the steps that wrote the very files that a process read in an input, if known."""
    read = [path.split("/") for path in record.read_inside.get(name, ())]
    found: list[str] = []
    by_nobody = set(range(len(read)))
    for mention in places.get(name, ()) if read else ():
        path = None if mention.step is None else mention.step.process.output_path
        if mention.step is not None and path is not None:
            # Of stages that a pipeline collected, each may lie in a folder of its own.
            written = path.as_posix().split("/")
            of_it = {
                number
                for number, parts in enumerate(read)
                if any(parts[depth : depth + len(written)] == written for depth in range(3))
            }
            by_nobody -= of_it
            found += [mention.step.name] if of_it else []
    return [] if by_nobody else found


@quiet()
def build_fragment(
    records: Sequence[ProcessRecord],
    run: Run,
    *,
    given: Sequence[Mapping[str, Any]] = (),
    stages: Sequence[StageFiles] = (),
) -> tuple[Processing, frozenset[str]]:
    """Build what a stage of a pipeline says: its own processes, and those that they follow.

    Without the latter nobody could tell later which step of another stage they depend on.

    Returns
    -------
    tuple
        The processing, and the names in it that are of earlier stages.

    Raises
    ------
    ValueError
        If the schema refuses a new process; the message names it.
    """
    built = build_processing(records, run, (), given=given, stages=stages)
    graph = built.processing.dependency_graph or {}
    waiting = [name for name in graph if name not in built.inherited]
    wanted = set(waiting)
    while waiting:
        new = set(graph[waiting.pop()]) - wanted
        wanted |= new
        waiting += new
    processes = [each for each in built.processing.data_processes if each.name in wanted]
    pipelines = {each.pipeline_name for each in processes}
    earlier = wanted & built.inherited
    return (
        Processing(
            data_processes=processes,
            pipelines=[each for each in built.processing.pipelines or () if each.name in pipelines]
            or None,
            dependency_graph={each.name: graph[each.name] for each in processes},
            notes="\n".join(built.notes if earlier else run.notes) or None,
        ),
        frozenset(earlier),
    )


def _end(process: DataProcess) -> datetime:
    end: datetime = process.end_date_time or process.start_date_time
    return end


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
            output_path=lineage.common_path(lineage.written_paths(record)),
            output_parameters=_copied(record.results),
            resources=(
                None
                if record.resources is None
                else resource_usage(record.resources, record.start_date_time)
            ),
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
    if record.resources is not None:
        notes += resource_notes(record.resources)
    return "\n".join([*notes, *code.notes]) or None
