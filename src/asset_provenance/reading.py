"""The metadata files of an asset, read into views.

The files may be of any version and from anybody. What cannot be understood is left out, and said
where a whole file is concerned; it is never an error, but where there is nothing to read at all.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from asset_provenance.corefiles import (
    CORE_FILES,
    DATA_DESCRIPTION,
    FRAGMENT_ENDING,
    JOURNAL_FOLDER,
    MANIFEST,
    PROVENANCE_FOLDER,
    WHOLE_RECORD,
    file_name,
    read_or_tell,
)
from asset_provenance.endings import status_in_notes
from asset_provenance.errors import StorageError, UsageError
from asset_provenance.lineage import unique_names
from asset_provenance.records import InputRef
from asset_provenance.suggestions import no_folder
from asset_provenance.views import (
    AssetView,
    CodeView,
    FileView,
    ProcessView,
    ResourceView,
    Series,
    as_objects,
    as_text,
    as_texts,
    as_time,
)

__all__ = ["read_view"]

_PROCESSING = "processing"
_MOST_PROCESSES = 10_000
_DIRTY = re.compile(r"(?m)^[1-9]\d* (?:file|submodule)s? (?:has|have) uncommitted changes")
_UNKNOWN = re.compile(
    r"(?m)^uncommitted changes (?:of .* )?were not looked for|^the work tree was at commit "
    r"|^\d+ (?:file was|files were) not compared with the commit"
)
_BEYOND = re.compile(
    r"^\d+ untracked (?:file or folder is|files or folders are) not in the commit: "
    r"|^.+ itself is not in the commit$"
)
_REPEATS = re.compile(r"^\d+ further calls of .+, together one process\.")
_OWN_UNIT = "of one core"
"""In the unit of our own measurements: there, the memory is in percent of what there is."""
_BYTES = {"byte": 1, "kilobyte": 1e3, "megabyte": 1e6, "gigabyte": 1e9, "terabyte": 1e12}


def read_view(folder: Path) -> AssetView:
    """Read the metadata of an asset.

    Parameters
    ----------
    folder
        The asset's folder.

    Raises
    ------
    UsageError
        If there is no such folder, or neither a data description nor a processing in it.
    StorageError
        If there are, and neither can be read.
    """
    if not folder.is_dir():
        raise UsageError(f"{no_folder(folder)}: give the folder that holds the asset")
    problems: list[str] = []
    found = {name: read_or_tell(folder / file_name(name), problems) for name in CORE_FILES[:2]}
    if not any(found.values()):
        record = read_or_tell(folder / WHOLE_RECORD, problems)
        if record is not None:
            inside = {name: record.get(name) for name in found}
            found = {name: one if isinstance(one, dict) else None for name, one in inside.items()}
    unfinished = _unfinished(folder)
    if not any(found.values()):
        if problems:
            raise StorageError("\n".join(problems))
        hint, named = "give the folder that holds the asset", shlex.quote(str(folder))
        if unfinished:
            hint = f"a run has left its record there; see asset-provenance recover {named}"
        elif next(folder.glob(f"*{FRAGMENT_ENDING}"), None) is not None:
            hint = (
                "it holds a stage of a pipeline; put all stages together with: asset-provenance "
                f"merge {named} ... --output DIR"
            )
        raise UsageError(
            f"there is neither {file_name(DATA_DESCRIPTION)} nor {file_name(_PROCESSING)} in "
            f"{folder}: {hint}"
        )
    manifest = read_or_tell(folder / MANIFEST, problems) or {}
    processing = found[_PROCESSING] or {}
    return AssetView(
        folder=folder,
        description=found[DATA_DESCRIPTION] or {},
        processes=tuple(_processes(processing, manifest, problems)),
        pipelines=tuple(
            _code(item, "", is_seen=False) for item in as_objects(processing.get("pipelines"))
        ),
        notes=_lines(processing.get("notes")),
        files=tuple(_files(folder, manifest)),
        label=as_text(manifest.get("process_name")),
        packages=tuple(sorted((folder / PROVENANCE_FOLDER).glob("packages-*.txt"))),
        unfinished=unfinished,
        problems=tuple(problems),
    )


def _unfinished(folder: Path) -> int:
    try:
        return sum(one.is_dir(follow_symlinks=False) for one in os.scandir(folder / JOURNAL_FOLDER))
    except OSError:
        return 0


def _files(folder: Path, manifest: Mapping[str, Any]) -> Iterator[FileView]:
    listed = manifest.get("files")
    entries: Mapping[str, Any] = listed if isinstance(listed, dict) else {}
    for name in (*map(file_name, CORE_FILES), WHOLE_RECORD):
        try:
            size = (folder / name).stat().st_size
        except OSError:
            continue
        entry = entries.get(name)
        source = entry.get("inherited_from") if isinstance(entry, dict) else None
        yield FileView(name, size, as_text(source))


def _processes(
    processing: Mapping[str, Any], manifest: Mapping[str, Any], problems: list[str]
) -> Iterator[ProcessView]:
    pipeline = processing.get("processing_pipeline")  # of schema v1
    holder = pipeline if isinstance(pipeline, dict) else processing
    items = [*as_objects(holder.get("data_processes")), *as_objects(processing.get("analyses"))]
    if len(items) > _MOST_PROCESSES:
        problems.append(f"only the first {_MOST_PROCESSES:,} of {len(items):,} processes are read")
    kept = items[:_MOST_PROCESSES]
    names = [as_text(one.get("name")) or as_text(one.get("process_type")) or "?" for one in kept]
    named = list(zip(_told_apart(names), kept, strict=True))
    known = dict.fromkeys(name for name, _ in named)  # in their order, so that files are the same
    graph = processing.get("dependency_graph")
    edges = {
        name: tuple(
            target
            for target in dict.fromkeys(
                as_texts(graph.get(name) if isinstance(graph, dict) else ())
            )
            if target in known and target != name
        )
        for name in known
    }
    inherited = manifest.get("inherited_processes")
    # The manifest of what was merged has no name: it came from stages, and nothing tells which of
    # it had come with an input.
    is_of_run = isinstance(inherited, list) and manifest.get("name") is not None
    of_inputs = set(as_texts(inherited)) if is_of_run else None
    given = set(as_texts(manifest.get("given_processes")))
    times = {name: (as_time(item.get("start_date_time")), _end(item)) for name, item in named}
    parents = _parents(manifest.get("parents"), edges, times)
    for name, item in named:
        yield _process(
            name,
            item,
            depends_on=edges[name],
            parent=parents.get(name),
            is_inherited=None if of_inputs is None else name in of_inputs,
            is_given=name in given,
        )


def _told_apart(names: Sequence[str]) -> list[str]:
    """Give the second process of a name another one, which no process has."""
    first = {name: place for place, name in reversed(list(enumerate(names)))}
    again = [name for place, name in enumerate(names) if first[name] != place]
    new = iter(unique_names(again, taken=names))
    return [name if first[name] == place else next(new) for place, name in enumerate(names)]


def _parents(
    told: Any,
    edges: Mapping[str, tuple[str, ...]],
    times: Mapping[str, tuple[datetime | None, datetime | None]],
) -> dict[str, str]:
    """Give the process that each ran inside of; without a circle."""
    parents: dict[str, str] = {}
    for parent, targets in edges.items():
        start, end = times[parent]
        for name in targets:
            begun, ended = times[name]
            if start is None or end is None or begun is None or ended is None:
                continue
            if start <= begun and ended <= end:
                known = parents.get(name)
                if known is None or (times[known][0] or start) <= start:
                    parents[name] = parent  # the innermost of several
    parents |= {
        name: parent
        for name, parent in (told.items() if isinstance(told, dict) else ())
        if isinstance(parent, str) and name in edges and parent in edges
    }
    for name in list(parents):
        seen = {name}
        above = parents.get(name)
        while above is not None and above not in seen:
            seen.add(above)
            above = parents.get(above)
        if above is not None:
            del parents[name]
    return parents


def _process(name: str, item: Mapping[str, Any], **known: Any) -> ProcessView:
    is_v2 = isinstance(item.get("code"), dict)
    code = item["code"] if is_v2 else _code_of_v1(item)
    notes = as_text(item.get("notes"))
    start = as_time(item.get("start_date_time"))
    parameters = code.get("parameters")
    results = item.get("output_parameters", item.get("outputs"))
    return ProcessView(
        name=name,
        process_type=as_text(item.get("process_type"))
        or (None if is_v2 else as_text(item.get("name"))),
        stage=as_text(item.get("stage")),
        pipeline_name=as_text(item.get("pipeline_name")),
        start=start,
        end=_end(item),
        status=status_in_notes(notes),
        code=_code(
            code, notes or "", is_seen=known["is_inherited"] is False and not known["is_given"]
        ),
        parameters=parameters if isinstance(parameters, dict) else {},
        results=results if isinstance(results, dict) else {},
        inputs=tuple(map(_input, as_objects(code.get("input_data")))),
        output_path=as_text(item.get("output_path", item.get("output_location"))),
        experimenters=as_texts(item.get("experimenters")),
        notes=_lines(notes),
        resources=_resources(item.get("resources"), start),
        repeats=next(filter(_REPEATS.match, _lines(notes)), None),
        **known,
    )


def _code_of_v1(item: Mapping[str, Any]) -> dict[str, Any]:
    source = item.get("input_location")
    return {
        "url": item.get("code_url"),
        "version": item.get("code_version") or item.get("software_version") or item.get("version"),
        "parameters": item.get("parameters"),
        "input_data": [
            {"url": one} for one in as_texts(source if isinstance(source, list) else [source])
        ],
    }


def _code(code: Mapping[str, Any], notes: str, *, is_seen: bool) -> CodeView:
    commit = as_text(code.get("commit_hash"))
    beyond = tuple(filter(_BEYOND.match, _lines(notes)))
    is_dirty: bool | None = None
    if _DIRTY.search(notes):
        is_dirty = True
    elif (
        # Of a commit that a user named, with code="url@commit", nobody has looked at the files:
        # such code has no language.
        commit and code.get("language") and is_seen
    ) and not (beyond or _UNKNOWN.search(notes)):
        is_dirty = False  # this package would have said so
    container, dependency = code.get("container"), code.get("core_dependency")
    return CodeView(
        url=as_text(code.get("url")),
        name=as_text(code.get("name")),
        version=as_text(code.get("version")),
        commit_hash=commit,
        run_script=as_text(code.get("run_script")),
        language=as_text(code.get("language")),
        language_version=as_text(code.get("language_version")),
        container=container if isinstance(container, dict) else None,
        core_dependency=dependency if isinstance(dependency, dict) else None,
        is_dirty=is_dirty,
        beyond_commit=beyond,
    )


def _input(item: Mapping[str, Any]) -> InputRef:
    return InputRef(
        name=as_text(item.get("name")),
        url=as_text(item.get("url")),
        assets=tuple(
            InputRef(name=as_text(one.get("name")), url=as_text(one.get("url")))
            for one in as_objects(item.get("assets"))
        ),
        description=as_text(item.get("description")),
    )


def _resources(item: Any, start: datetime | None) -> ResourceView | None:
    if not isinstance(item, dict):
        return None
    unit = as_text(item.get("usage_unit"))
    ram = _number(item.get("ram"))
    in_bytes = _BYTES.get(str(item.get("ram_unit")).lower())
    ram = None if ram is None or in_bytes is None else _number(ram * in_bytes)
    ram_usage = _series(item.get("ram_usage"), start)
    peak = None
    if ram is not None and ram_usage and _OWN_UNIT in (unit or ""):
        peak = max(value for _, value in ram_usage) / 100 * ram
    cpu_usage = _series(item.get("cpu_usage"), start)
    cores = _number(item.get("cpu_cores"))
    return ResourceView(
        os=as_text(item.get("os")),
        architecture=as_text(item.get("architecture")),
        cpu=as_text(item.get("cpu")),
        cpu_cores=None if cores is None else int(cores),
        gpu=as_text(item.get("gpu")),
        ram=ram,
        cpu_usage=cpu_usage,
        ram_usage=ram_usage,
        gpu_usage=_series(item.get("gpu_usage"), start),
        unit=unit,
        peak_ram=peak,
        mean_cores=_mean(cpu_usage) / 100 if cpu_usage and _OWN_UNIT in (unit or "") else None,
    )


def _series(items: Any, start: datetime | None) -> Series:
    points = []
    for item in as_objects(items):
        time, value = as_time(item.get("timestamp")), _number(item.get("usage"))
        if time is not None and value is not None:
            start = start or time
            points.append(((time - start).total_seconds(), value))
    return tuple(sorted(points))


def _mean(points: Series) -> float:
    """Give the mean of a series, in which a value holds for the time since the point before."""
    before = [0.0, *(at for at, _ in points[:-1])]
    spans = [max(0.0, at - begun) for begun, (at, _) in zip(before, points, strict=True)]
    whole = sum(spans)
    if not whole:
        return points[-1][1]
    return sum(span * value for span, (_, value) in zip(spans, points, strict=True)) / whole


def _end(item: Mapping[str, Any]) -> datetime | None:
    return as_time(item.get("end_date_time"))


def _lines(value: Any) -> tuple[str, ...]:
    return tuple((as_text(value) or "").splitlines())


def _number(value: Any) -> float | None:
    if isinstance(value, str):  # as the schema writes decimals
        try:
            value = float(value)
        except ValueError:
            return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        return float(value) if is_number and math.isfinite(value) else None
    except OverflowError:
        return None
