"""What earlier stages of a pipeline left beside their results: fragments and records.

A fragment is a file ``*data_process*.json`` that holds one ``DataProcess``, a list of them, or a
whole ``Processing``. A record is a file in ``provenance/`` as ``aind-code-ocean-pipeline-utils``
writes it: a node of a graph, with the process that ran there.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aind_data_schema.components.identifiers import Code, DataAsset
from aind_data_schema.core.processing import DataProcess, Processing

from asset_provenance import lineage
from asset_provenance.assetrefs import asset_ref
from asset_provenance.corefiles import (
    DATA_DESCRIPTION,
    MANIFEST,
    PROVENANCE_FOLDER,
    file_name,
    parse_json,
    read_bytes,
)
from asset_provenance.metadata.cleaning import refuse_half_characters, told_fault, without_secrets
from asset_provenance.metadata.quiet import quiet
from asset_provenance.records import InputRef
from asset_provenance.redaction import contains_secret, redact_text

__all__ = [
    "Left",
    "Refused",
    "as_fragment",
    "assets_read",
    "find_left",
    "inputs_of_stages",
    "inputs_read",
    "is_of_stages",
    "loose_in",
    "read_left",
]

_FRAGMENT = re.compile(r".*data_process.*\.json")
_PROCESSING = file_name("processing")
_DEEPEST = 2
_MOST_ENTRIES = 100_000
_RECORD_VERSION = 1

_log = logging.getLogger("asset_provenance")


@dataclass(frozen=True, slots=True)
class Left:
    """A processing that an earlier stage left, and the file that it was in."""

    processing: Processing
    source: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that should tell of a stage, and cannot be understood."""

    path: Path
    reason: str
    content: bytes = b""


@dataclass(slots=True)
class _Records:
    """Records that tell of each other, by their node."""

    of_node: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def add(self, record: Mapping[str, Any]) -> bool:
        """Take a record in, unless another is known of the node that says something else."""
        known = self.of_node.get(record["node"])
        if known is not None and known.get("data_process") and record.get("data_process"):
            return bool(known["data_process"] == record["data_process"])
        if known is None or record.get("data_process"):
            self.of_node[record["node"]] = record
        return True


def find_left(
    folder: Path, *, deepest: int = _DEEPEST, with_processing: bool = False
) -> list[Path]:
    """Find fragments and records in a folder and the first levels below it.

    Of a folder inside that is an asset of its own nothing but its processing is taken, and that
    only if it is asked for, as is any other ``processing.json``. Pipelines stage their inputs as
    symlinks, which are followed; how much is looked at is bounded.

    Returns
    -------
    list of pathlib.Path
        In an order that is always the same.
    """
    found: list[Path] = []
    seen: set[str] = set()
    left = _MOST_ENTRIES
    waiting = [(folder, 0)]
    while waiting and left > 0:
        place, depth = waiting.pop()
        real = os.path.realpath(place)
        if real in seen:
            continue
        seen.add(real)
        is_record_folder = place.name == PROVENANCE_FOLDER and depth > 0
        try:
            with os.scandir(place) as inside:
                entries = sorted(itertools.islice(inside, left), key=lambda entry: entry.name)
        except OSError:
            continue
        left -= len(entries)
        if with_processing and any(entry.name == _PROCESSING for entry in entries):
            found.append(place / _PROCESSING)
        if depth > 0 and any(entry.name == file_name(DATA_DESCRIPTION) for entry in entries):
            continue
        for entry in entries:
            if _FRAGMENT.fullmatch(entry.name) or (is_record_folder and _may_be_record(entry.name)):
                found.append(place / entry.name)
            elif not entry.name.startswith(".") and not is_record_folder and _is_folder(entry):
                # Records may lie in the deepest of the folders that results are looked for in.
                is_near = depth < deepest or (depth == deepest and entry.name == PROVENANCE_FOLDER)
                waiting += [(place / entry.name, depth + 1)] if is_near else []
    if left <= 0:
        _log.warning(
            "%s holds more than %d files; what stages left in it may not all have been found",
            folder,
            _MOST_ENTRIES,
        )
    return sorted(found)


def as_fragment(processing: Processing) -> DataProcess | Processing:
    """Give the form in which a stage is written.

    Other tools read a ``DataProcess`` from a fragment, so one that is all there is stands alone.
    """
    is_all = not (processing.pipelines or processing.notes)
    if is_all and len(processing.data_processes) == 1:
        return processing.data_processes[0]
    return processing


def is_of_stages(folder: Path) -> bool:
    """Say whether a folder is no asset, but holds what stages of a pipeline left."""
    is_asset = os.path.lexists(folder / file_name(DATA_DESCRIPTION))
    return not is_asset and bool(find_left(folder))


def loose_in(data_root: Path) -> list[Path]:
    """Find what lies in the data root itself, where steps that collect results may leave it."""
    return find_left(data_root, deepest=0)


def _may_be_record(name: str) -> bool:
    ours = name == Path(MANIFEST).name or name.startswith("inherited-")
    return name.endswith(".json") and not ours


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def read_left(paths: Iterable[Path]) -> Iterator[Left | Refused]:
    """Read what earlier stages left; records, which tell of each other, come last.

    Parameters
    ----------
    paths
        Fragments, records, and files that are named ``processing.json``.
    """
    pools: list[_Records] = []
    where: dict[str, tuple[Path, bytes]] = {}
    for path in paths:
        is_record = path.parent.name == PROVENANCE_FOLDER and not _FRAGMENT.fullmatch(path.name)
        content = b""
        try:
            content = read_bytes(path)
            data = without_secrets(_parsed(content, path))
            if is_record:
                if _is_record(data):
                    where.setdefault(json.dumps(data, sort_keys=True), (path, content))
                continue
            yield Left(_processing(data), str(path))
        except OSError as error:
            yield Refused(path, error.strerror or str(error))
        except (ValueError, TypeError, RecursionError) as error:  # the schema's own, among them
            if not is_record:
                yield _refused(path, told_fault(error).removeprefix(f"{path} "), content)
    for text in sorted(where):
        record = json.loads(text)
        if not any(pool.add(record) for pool in pools):
            pools.append(_Records({record["node"]: record}))
    places = {json.loads(text)["node"]: place for text, place in where.items()}
    for pool in pools:
        yield from _from_records(pool.of_node, places)


def inputs_read(processes: Iterable[DataProcess]) -> list[InputRef]:
    """Give the assets that processes say they read, each once; members of a group one by one."""
    return list(dict.fromkeys(asset_ref(one.name, one.url) for one in assets_read(processes)))


def assets_read(processes: Iterable[DataProcess]) -> Iterator[DataAsset]:
    """Give the assets as the processes name them, members of groups one by one."""
    for process in processes:
        for entry in process.code.input_data or ():
            yield from getattr(entry, "assets", (entry,))


def inputs_of_stages(paths: Iterable[Path]) -> list[InputRef]:
    """Give the assets that stages say they read, from the files that they left."""
    several = (left.processing for left in read_left(paths) if isinstance(left, Left))
    return inputs_read(process for one in several for process in one.data_processes)


def _refused(path: Path, reason: str, content: bytes) -> Refused:
    if not contains_secret(content):
        return Refused(path, redact_text(reason), content)
    return Refused(path, f"{redact_text(reason)}; it holds what looks like a secret, too", b"")


def _parsed(content: bytes, path: Path) -> dict[str, Any]:
    if content.lstrip()[:1] == b"[":
        content = b'{"data_processes":' + content + b"}"
    data = parse_json(content, path)
    refuse_half_characters(data)
    return data


@quiet()
def _processing(data: Mapping[str, Any]) -> Processing:
    """Read a fragment, in whichever of its forms.

    Raises
    ------
    ValueError
        If it has none of them, or the schema refuses it.
    """
    listed = data.get("data_processes")
    if isinstance(listed, list) and data.keys() != {"data_processes"}:
        return Processing.model_validate(dict(data))
    several = listed if isinstance(listed, list) else [data]
    if not isinstance(listed, list) and "process_type" not in data:
        is_old = {"processing_pipeline", "software_version", "code_url"} & data.keys()
        raise ValueError(
            "it is of schema v1: let the stage write it with aind-data-schema 2"
            if is_old
            else "it holds neither a DataProcess nor a Processing"
        )
    # The schema wants every pipeline described, and a bare process cannot do that.
    return Processing.model_construct(
        data_processes=[DataProcess.model_validate(one) for one in several],
        pipelines=None,
        dependency_graph=None,
        notes=None,
    )


def _is_record(data: Mapping[str, Any]) -> bool:
    node, parents = data.get("node"), data.get("parents")
    return (
        data.get("v") == _RECORD_VERSION
        and isinstance(node, str)
        and bool(node)
        and isinstance(parents, list)
    )


@quiet()
def _from_records(
    records: Mapping[str, Mapping[str, Any]], places: Mapping[str, tuple[Path, bytes]]
) -> Iterator[Left | Refused]:
    """Turn records into one processing; what a node lacks to be a process is passed through."""
    people, run_pipelines = _of_the_run(records.values())
    processes: dict[str, DataProcess] = {}
    for node, record in sorted(records.items()):
        payload = record.get("data_process")
        if not isinstance(payload, Mapping):
            continue
        data = {**payload, "name": record.get("label") or node}
        if "label" not in record:  # else it came from elsewhere, and the run says nothing of it
            data["experimenters"] = data.get("experimenters") or people
            if len(run_pipelines) == 1:
                data["pipeline_name"] = data.get("pipeline_name") or run_pipelines[0]
        try:
            processes[node] = DataProcess.model_validate(data)
        except (ValueError, TypeError) as error:
            yield _refused(places[node][0], told_fault(error), places[node][1])
    if not processes:
        return
    names = lineage.unique_names([process.name for process in processes.values()])
    by_node = dict(zip(processes, names, strict=True))
    first = next(iter(processes))
    yield Left(
        Processing.model_construct(
            data_processes=[
                process.model_copy(update={"name": by_node[node]})
                for node, process in processes.items()
            ],
            pipelines=list(_pipelines(records.values())),
            dependency_graph={
                by_node[node]: [by_node[parent] for parent in _parents(node, records, processes)]
                for node in processes
            },
            notes=None,
        ),
        str(places[first][0].parent),
    )


def _of_the_run(records: Iterable[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """Give the people and pipelines that hold for all steps which name none."""
    people: dict[str, None] = {}
    pipelines: dict[str, None] = {}
    for record in records:
        if "label" not in record:
            named = record.get("experimenters")
            several = named if isinstance(named, list) else []
            people.update((name, None) for name in several if isinstance(name, str))
            block = record.get("pipeline")
            if isinstance(block, Mapping) and isinstance(block.get("name"), str):
                pipelines[block["name"]] = None
    return sorted(people), list(pipelines)


def _pipelines(records: Iterable[Mapping[str, Any]]) -> Iterator[Code]:
    for record in records:
        block = record.get("pipeline")
        if isinstance(block, Mapping) and isinstance(block.get("code"), Mapping):
            try:
                yield Code.model_validate({**block["code"], "name": block.get("name")})
            except (ValueError, TypeError):
                continue  # it is then a pipeline that nobody describes


def _parents(
    node: str, records: Mapping[str, Mapping[str, Any]], processes: Mapping[str, DataProcess]
) -> list[str]:
    """Give what a node depends on, through nodes that are no process."""
    found: dict[str, None] = {}
    waiting, seen = [node], {node}
    while waiting:
        for parent in records.get(waiting.pop(), {}).get("parents", ()):
            if isinstance(parent, str) and parent not in seen:
                seen.add(parent)
                if parent in processes:
                    found[parent] = None
                else:
                    waiting.append(parent)
    return list(found)
