"""What must hold for written metadata, and aind-data-schema does not check.

Here is what one model alone shows; what only the files together show is looked at by
:mod:`asset_provenance.metadata.folder_checks`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, Literal

from aind_data_schema.core.data_description import DataDescription
from aind_data_schema.core.processing import DataProcess, Processing
from aind_data_schema_models.data_name_patterns import DataLevel, datetime_to_name_string
from pydantic import ValidationError

from asset_provenance.corefiles import DATA_DESCRIPTION, file_name

__all__ = [
    "Finding",
    "check_description",
    "check_processing",
    "description_findings",
    "graph_findings",
    "may_lack_outputs",
    "process_findings",
    "run_findings",
    "schema_findings",
    "where_is",
]

Severity = Literal["error", "warning"]

PROCESSING_FILE = file_name("processing")
DESCRIPTION_FILE = file_name(DATA_DESCRIPTION)

_CLOCK_SLACK = timedelta(minutes=5)
"""By how much the clocks of two machines may differ."""
_MOST_TOLD = 100
"""Most faults of one model that are told one by one."""
_NOT_DONE = re.compile(r"^(?:Failed|Interrupted)\b|of them failed|ended before it had", re.M)
"""What the notes of a process say whose outputs may be missing."""

_PEOPLE = '[{"name": "First Last"}]'
_MENDS = {
    "commit_hash": "give 7 to 60 hexadecimal digits, as `git rev-parse HEAD` prints them",
    "creation_time": 'give a date, time and zone: "creation_time": "2026-01-31T12:00:00Z"',
    "data_level": 'write "data_level": "derived", or "simulated"',
    "dependency_graph": "give it each process, and the list of processes that it depends on",
    "end_date_time": 'give a date, time and zone: "end_date_time": "2026-01-31T12:00:00Z"',
    "experimenters": 'name who ran it: "experimenters": ["First Last"]',
    "funding_source": 'name who paid: "funding_source": [{"funder": {...}}]; internal funding is '
    "the Allen Institute",
    "investigators": f'name who leads it: "investigators": {_PEOPLE}',
    "license": 'write "license": "CC-BY-4.0", or "MIT"',
    "modalities": 'name them: "modalities": [{"name": "Extracellular electrophysiology", '
    '"abbreviation": "ecephys"}]',
    "project_name": 'name it, without any of <>:;"/|?\\_: "project_name": "Thalamus in the middle"',
    "start_date_time": 'give a date, time and zone: "start_date_time": "2026-01-31T12:00:00Z"',
    "url": 'say where others find the code: "url": "https://github.com/your-lab/your-analysis"',
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with written metadata.

    Parameters
    ----------
    severity
        ``"error"``, or ``"warning"`` for what may be meant, or came with an input.
    file
        Relative to the asset's folder, in POSIX form.
    where
        The place in the file; empty for the file as a whole.
    what
        What is wrong.
    mend
        What to do or write.
    """

    severity: Severity
    file: str
    where: str
    what: str
    mend: str


def check_processing(processing: Processing, *, inherited: Iterable[str] = ()) -> list[str]:
    """Find for what a processing must not be written, although the schema accepts it.

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


def check_description(description: DataDescription) -> list[str]:
    """Find for what a derived asset's description must not be written, although it is valid."""
    return [found.what for found in description_findings(description)]


def process_findings(process: DataProcess, where: str) -> Iterator[Finding]:
    """Find what is wrong with a process by itself, wherever and whenever it ran."""

    def error(what: str, mend: str) -> Finding:
        return Finding("error", PROCESSING_FILE, where, what, mend)

    start, end = process.start_date_time, process.end_date_time
    if end is not None and end < start:
        yield error(
            f"it ends ({end}) before it starts ({start})",
            f'set end_date_time to when it ended: "end_date_time": "{start.isoformat()}" or later',
        )
    if not process.experimenters or not all(name.strip() for name in process.experimenters):
        yield error("no experimenter is named", _MENDS["experimenters"])
    if not process.code.url.strip():
        yield error("the URL of its code is empty", _MENDS["url"])
    if process.output_path is not None:
        path = PurePosixPath(process.output_path)
        if path.is_absolute() or ".." in path.parts:
            yield error(
                f"its output path {path} does not lie inside the asset",
                f'give it relative to the asset\'s folder: "output_path": "{path.name}"',
            )


def run_findings(
    process: DataProcess, where: str, *, now: datetime, acquired: datetime | None
) -> Iterator[Finding]:
    """Find what is wrong with a process given when and where it can have run.

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
    late = next((time for time in (process.end_date_time, start) if time and time > now), None)
    if late is not None and late > now + _CLOCK_SLACK:
        yield Finding(
            "error",
            PROCESSING_FILE,
            where,
            f"it ran in the future ({late})",
            "set the clock of the machine that ran it, and its times to when it really ran",
        )
    if acquired is not None and start <= acquired <= now:
        yield Finding(
            "error",
            PROCESSING_FILE,
            where,
            f"it starts ({start}) before the acquisition that it is about ({acquired})",
            "set its start_date_time to when it really started, with the right time zone",
        )
    is_local = code.url.startswith("file:")
    if not code.commit_hash and not code.version:
        yield Finding(
            # A folder of one machine has been warned of when it ran, and may have no version.
            "warning" if is_local else "error",
            PROCESSING_FILE,
            f"{where}, code",
            "neither a commit nor a version says which code ran",
            'give the commit, "commit_hash": "<git rev-parse HEAD>", or the release, '
            '"version": "1.0.0"',
        )
    if is_local:
        yield Finding(
            "warning",
            PROCESSING_FILE,
            f"{where}, code.url",
            f"the URL {code.url} is of one machine: others cannot reach it",
            "push the code, and run again or give ASSET_PROVENANCE_CODE_URL=https://...",
        )


def may_lack_outputs(process: DataProcess) -> bool:
    """Say whether the notes tell that the process did not come to its end."""
    return _NOT_DONE.search(process.notes or "") is not None


def graph_findings(names: Sequence[str], graph: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Find what is wrong with the names of processes and the graph between them.

    Takes time in proportion to the graph, whatever its form.
    """

    def error(where: str, what: str, mend: str) -> Finding:
        return Finding("error", PROCESSING_FILE, where, what, mend)

    for name, count in Counter(names).items():
        if count > 1:
            yield error(
                "data_processes",
                f"the name {name} is borne by {count} processes",
                f'give each a name of its own: "{name}", "{name}_1"',
            )
    if graph is None:
        return
    known, keys = set(names), set(graph)
    for name in dict.fromkeys(name for name in names if name not in keys):
        yield error(
            "dependency_graph",
            f"it lacks the process {name}",
            f'add "{name}": [], or the processes that it depends on',
        )
    for name in graph:
        if name not in known:
            yield error(
                "dependency_graph",
                f"it has the process {name}, which does not exist",
                f'remove "{name}" from it, or add the process',
            )
    for name, targets in graph.items():
        for target in dict.fromkeys(targets):
            where = f"dependency_graph, {name}"
            if target == name:
                yield error(where, "it depends on itself", f'remove "{target}" from its list')
            elif target not in known and target not in keys:
                yield error(
                    where,
                    f"it depends on {target}, which does not exist",
                    f'remove "{target}" from its list, or add the process',
                )
    for name, target in _closing_edges(graph):
        yield error(
            f"dependency_graph, {name}",
            f"it depends on {target}, which closes a cycle",
            f'remove "{target}" from its list',
        )


def _closing_edges(graph: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give an edge of each cycle that is met when the graph is walked through once."""
    done: set[str] = set()
    for root in graph:
        open_nodes = {root: iter(graph[root])}  # the way from the root, and what is left to see
        while open_nodes:
            node = next(reversed(open_nodes))
            target = next(open_nodes[node], None)
            if node in done or target is None:
                done.add(node)
                del open_nodes[node]
            elif target in open_nodes:
                if target != node:
                    yield node, target
            elif target in graph and target not in done:
                open_nodes[target] = iter(graph[target])


def description_findings(description: DataDescription) -> Iterator[Finding]:
    """Find what is wrong with a derived asset's description by itself."""

    def error(where: str, what: str, mend: str) -> Finding:
        return Finding("error", DESCRIPTION_FILE, where, what, mend)

    name = description.name or ""
    time = datetime_to_name_string(description.creation_time)
    try:
        parsed = DataDescription.parse_name(name, DataLevel.DERIVED)
    except ValueError:
        yield error(
            "name",
            f"the name {name!r} is not that of a derived asset",
            f"name it <input>_<process>_<time>, with the creation time {time}",
        )
    else:
        if parsed["creation_time"] != description.creation_time.replace(tzinfo=None, microsecond=0):
            yield error(
                "name",
                f"the time in the name {name!r} is not the creation time",
                f"let the name end in {time}, or mend the creation_time",
            )
        elif not name.endswith(f"_{time}"):
            yield error(
                "name",
                f"the name {name!r} does not end with its time",
                f"let the name end in {time}",
            )
    if description.data_level == DataLevel.RAW.value:
        yield error("data_level", "a derived asset cannot be raw", _MENDS["data_level"])
    if not description.modalities:
        yield error("modalities", "no modality is named", _MENDS["modalities"])
    if not all(person.name.strip() for person in description.investigators):
        yield error("investigators", "an investigator has no name", _MENDS["investigators"])
    if name and name in (description.source_data or ()):
        yield error("source_data", "the asset is its own source", f'remove "{name}" from it')


def schema_findings(
    error: Exception, file: str, place: Sequence[Any], names: Mapping[int, str]
) -> Iterator[Finding]:
    """Tell in words what the schema refuses, one finding for each field.

    Parameters
    ----------
    error
        What a model of the schema raised.
    file
        The file that it refuses.
    place
        Where in the file the model lies.
    names
        Names of the file's processes, by their place.
    """
    if not isinstance(error, ValidationError):
        # The schema's own validators trip over content of a kind that they do not expect.
        what = f"aind-data-schema cannot read it ({type(error).__name__})"
        yield Finding("error", file, where_is(place, names), what, "give it the schema's form")
        return
    if error.error_count() > _MOST_TOLD:
        what = f"aind-data-schema refuses it at {error.error_count()} places"
        yield Finding("error", file, where_is(place, names), what, "give it the schema's form")
        return
    for fault in error.errors(include_url=False, include_context=False):
        path = [*place, *fault["loc"]]
        yield Finding("error", file, where_is(path, names), *_words(fault))


def _words(fault: Mapping[str, Any]) -> tuple[str, str]:
    kind, field = fault["type"], str(fault["loc"][-1]) if fault["loc"] else ""
    mend = _MENDS.get(field)
    if kind == "missing":
        return f"{field} is missing", mend or f'add "{field}"'
    if kind == "extra_forbidden":
        return f"the schema knows no field {field}", f'remove "{field}"'
    mend = mend or "give it the form that aind-data-schema has for it"
    if fault["input"] is None and field:
        return f"{field} is null", mend
    if kind == "too_short":
        return f"{field} is empty", mend
    message = fault["msg"].removeprefix("Value error, ")
    return f"the schema refuses it: {message}", mend


def where_is(path: Sequence[Any], names: Mapping[int, str]) -> str:
    """Give a place in a file for people: ``data_processes[2] sort_units, code.url``."""
    text = ""
    for index, part in enumerate(path):
        if isinstance(part, int):
            text += f"[{part}]"
            if index == 1 and path[0] == "data_processes" and part in names:
                text += f" {names[part]},"
        elif text.endswith(","):
            text += f" {part}"
        else:
            text += f".{part}" if text else str(part)
    return text.removesuffix(",")
