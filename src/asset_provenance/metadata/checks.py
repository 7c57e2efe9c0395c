"""What must hold for written metadata, and aind-data-schema does not check.

Here is what the description or the processing shows by itself; what only the files together show
is looked at by :mod:`asset_provenance.metadata.folder_checks`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from aind_data_schema.components.identifiers import Code
from aind_data_schema.core.data_description import DataDescription
from aind_data_schema.core.processing import DataProcess, Processing
from aind_data_schema_models.data_name_patterns import DataLevel, datetime_to_name_string

from asset_provenance.corefiles import DATA_DESCRIPTION, file_name
from asset_provenance.endings import ended_early
from asset_provenance.metadata.findings import MENDS, Finding, Severity

__all__ = [
    "CLOCK_SLACK",
    "check_description",
    "check_processing",
    "description_findings",
    "graph_findings",
    "is_inside",
    "may_lack_outputs",
    "order_findings",
    "pipeline_findings",
    "process_findings",
    "run_findings",
]

CLOCK_SLACK = timedelta(minutes=5)
"""By how much the clocks of two machines may differ."""

_DESCRIPTION = file_name(DATA_DESCRIPTION)
_PROCESSING = file_name("processing")


def check_processing(processing: Processing, *, inherited: Iterable[str] = ()) -> list[str]:
    """Find why a processing must not be written, although the schema accepts it.

    Parameters
    ----------
    processing
        The processing as a whole.
    inherited
        Names of processes that came from an input: their own content is that input's, so only
        what concerns the graph is looked at.

    Returns
    -------
    list of str
        One text for each fault; empty when all is well.
    """
    theirs = frozenset(inherited)
    findings = [*graph_findings(processing.process_names, processing.dependency_graph)]
    for process in processing.data_processes:
        if process.name not in theirs:
            findings += process_findings(process, f"process {process.name}")
    return [f"{found.where}: {found.what}" for found in findings]


def check_description(description: DataDescription, *, is_external: bool = False) -> list[str]:
    """Find why an asset's description must not be written, although it is valid."""
    findings = description_findings(description, is_external=is_external)
    return [f"{found.where}: {found.what}" for found in findings]


def description_findings(
    description: DataDescription, *, is_external: bool = False
) -> Iterator[Finding]:
    """Find what is wrong with the description of a derived asset, or of data from outside."""

    def error(where: str, what: str, mend: str) -> Finding:
        return Finding("error", _DESCRIPTION, where, what, mend)

    name = description.name or ""
    time = datetime_to_name_string(description.creation_time)
    # What comes from outside has no input: a label and a time, as the schema parses raw names.
    level, kind, parts = (
        (DataLevel.RAW, "data from outside", "<label>_<time>")
        if is_external
        else (DataLevel.DERIVED, "a derived asset", "<input>_<process>_<time>")
    )
    try:
        parsed = DataDescription.parse_name(name, level)
    except ValueError:
        yield error(
            "name",
            f"{name!r} is not the name of {kind}",
            f"name it {parts}, with the creation time {time}",
        )
    else:
        if parsed["creation_time"] != description.creation_time.replace(tzinfo=None, microsecond=0):
            yield error(
                "name",
                f"the time in the name {name!r} is not the creation time",
                f"let the name end in {time}, or mend creation_time",
            )
        elif not name.endswith(f"_{time}"):
            yield error(
                "name", f"the name {name!r} goes on after its time", f"let the name end in {time}"
            )
    if description.data_level == DataLevel.RAW.value:
        yield error("data_level", "what was derived is not raw", MENDS["data_level"])
    if not description.modalities:
        yield error("modalities", "no modality is named", MENDS["modalities"])
    if not all(person.name.strip() for person in description.investigators):
        yield error("investigators", "an investigator has no name", MENDS["investigators"])
    if is_external and not (description.data_summary or "").strip():
        what = "nothing says where the data come from, and when they were got"
        yield error("data_summary", what, 'write "Downloaded from <URL or API call> on <date>"')
    if name in (description.source_data or ()):
        yield error("source_data", "the asset is its own source", f'remove "{name}" from it')


def process_findings(process: DataProcess, where: str) -> Iterator[Finding]:
    """Find what is wrong with a process, wherever and whenever it ran."""

    def error(what: str, mend: str) -> Finding:
        return Finding("error", _PROCESSING, where, what, mend)

    start, end = process.start_date_time, process.end_date_time
    if end is not None and end < start:
        yield error(
            f"it ends ({end}) before it starts ({start})",
            "set end_date_time to when it ended, or start_date_time to when it started",
        )
    if not process.experimenters or not all(name.strip() for name in process.experimenters):
        yield error("no experimenter is named", MENDS["experimenters"])
    if not process.code.url.strip():
        yield error("the URL of its code is empty", MENDS["url"])
    if process.output_path is not None and not is_inside(process.output_path):
        yield error(
            f"its output path {process.output_path} does not lie inside the asset",
            'give it relative to the asset\'s folder: "output_path": "tables/rates.csv"',
        )


def run_findings(
    process: DataProcess, where: str, *, now: datetime, acquired: datetime | None
) -> Iterator[Finding]:
    """Find what is wrong with a process, given when it can have run, and who can find its code.

    Parameters
    ----------
    process, where
        The process, and its place in the file.
    now
        No process has run after this.
    acquired
        When the acquisition started that it is about, if that is known.
    """
    code, start = process.code, process.start_date_time

    def found(severity: Severity, what: str, mend: str) -> Finding:
        return Finding(severity, _PROCESSING, where, what, mend)

    last = max(start, process.end_date_time or start)
    if last > now + CLOCK_SLACK:
        yield found(
            "error",
            f"it ran in the future (until {last})",
            "set its times to when it really ran, and the clock of the machine that ran it",
        )
    if acquired is not None and start <= acquired <= now:
        yield found(
            "error",
            f"it starts ({start}) before the acquisition that it is about ({acquired})",
            "set start_date_time to when it really started, with the right time zone",
        )
    is_local = code.url.startswith("file:")
    if not code.commit_hash and not code.version:
        yield found(
            # A script outside of any repository has neither, and that it has no URL is told.
            "warning" if is_local else "error",
            "neither a commit nor a version says which code ran",
            'give in "code" the commit, "commit_hash": "<git rev-parse HEAD>", or the release, '
            '"version": "1.0.0"',
        )
    if is_local:
        is_known = (code.version or "").startswith("tree:")
        yield found(
            "warning",
            f"its code is in a folder of one machine, where others cannot reach it: {code.url}",
            "if it was committed, find it in a clone: asset-provenance resolve DIR --repo CLONE; "
            "else put it under git with a remote and run again"
            if is_known
            else "put the code, or the script that runs it, under git with a remote and run again, "
            "or give its URL: "
            "ASSET_PROVENANCE_CODE_URL=https://...",
        )


def is_inside(path: PurePosixPath | str) -> bool:
    """Say whether a path stays inside the folder that it is relative to."""
    path = PurePosixPath(path)
    return not path.is_absolute() and ".." not in path.parts


def may_lack_outputs(process: DataProcess) -> bool:
    """Say whether the notes tell that a process did not come to its end."""
    return ended_early(process.notes)


def graph_findings(
    names: Sequence[str], graph: Mapping[str, Sequence[str]] | None
) -> Iterator[Finding]:
    """Find what is wrong with the names of processes and the graph between them.

    Takes time in proportion to the size of the graph, whatever is in it.
    """

    def error(where: str, what: str, mend: str) -> Finding:
        return Finding("error", _PROCESSING, where, what, mend)

    for name, count in Counter(names).items():
        if count > 1:
            yield error(
                "data_processes",
                f"the name {name} is borne by {count} processes",
                f'give each a name of its own: "{name}", "{name}_1"',
            )
    if graph is None:
        return
    known = set(names)
    for name in dict.fromkeys(names):
        if name not in graph:
            yield error(
                "dependency_graph",
                f"the process {name} is not in it",
                f'add "{name}": [], with the processes that it depends on',
            )
    for name, targets in graph.items():
        if name not in known:
            yield error(
                "dependency_graph",
                f"it has the process {name}, which does not exist",
                f'remove "{name}", or add the process',
            )
        for target in dict.fromkeys(targets):
            if target == name:
                what = "it depends on itself"
            elif target not in known:
                what = f"it depends on {target}, which does not exist"
            else:
                continue
            yield error(f"dependency_graph, {name}", what, f'remove "{target}" from its list')
    for name, target in _closing_edges(graph):
        yield error(
            f"dependency_graph, {name}",
            f"it depends on {target}, which closes a cycle",
            f'remove "{target}" from its list',
        )


def _closing_edges(graph: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Give an edge of each cycle of several processes, by walking through the graph once."""
    done: set[str] = set()
    for root in graph:
        if root in done:
            continue
        way = {root: iter(graph[root])}  # from the root to here, each with what is left to follow
        while way:
            node, targets = next(reversed(way.items()))
            target = next(targets, None)
            if target is None:
                done.add(node)
                del way[node]
            elif target in way:
                if target != node:
                    yield node, target
            elif target in graph and target not in done:
                way[target] = iter(graph[target])


def order_findings(
    processes: Sequence[DataProcess], graph: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    """Find processes that are not in the order of time, or follow one that came later."""
    for before, after in itertools.pairwise(processes):
        if after.start_date_time < before.start_date_time:
            yield Finding(
                "error",
                _PROCESSING,
                "data_processes",
                f"{after.name} stands after {before.name}, but started earlier",
                "sort the processes by start_date_time",
            )
    by_name = {process.name: process for process in processes}
    for name, targets in graph.items():
        for target in targets:
            first, then = by_name.get(target), by_name.get(name)
            if first is None or then is None or then.end_date_time is None:
                continue
            if first.start_date_time > then.end_date_time:
                yield Finding(
                    "warning",  # clocks of two machines may differ, and one may be set meanwhile
                    _PROCESSING,
                    f"dependency_graph, {name}",
                    f"it depends on {target}, which started only after it had ended",
                    f'mend the times, or remove "{target}" from its list',
                )


def pipeline_findings(pipeline: Code, where: str) -> Iterator[Finding]:
    """Find what is wrong with one of the pipelines."""
    for field, value in (("name", pipeline.name), ("url", pipeline.url)):
        if not (value or "").strip():
            yield Finding(
                "error",
                _PROCESSING,
                where,
                f"the pipeline has no {field}",
                f'add "{field}": "..." to it; processes name it in pipeline_name',
            )
