"""One processing from many: what inputs hand on, what stages of a pipeline left, what is given.

A process is known by what it says and by its name. The name may have been taken when it was merged
before, and then it got a number: a number may be such a one where the same source has the name
without it. What is merged of the same sources is the same, in whatever order they come, and merging
a result with its own sources changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any, NamedTuple

from aind_data_schema.components.identifiers import Code
from aind_data_schema.core.processing import DataProcess, Processing

from asset_provenance import lineage
from asset_provenance.metadata.intake import Left, Refused, read_left
from asset_provenance.metadata.quiet import quiet

__all__ = ["Mention", "Merged", "MergedFiles", "Step", "last_of", "merge_files"]

_NUMBER = re.compile(r"(.+)_\d+", re.DOTALL)
_NUMBERS = re.compile(r"(?<=.)(?:_\d+)+$")
_NOT_OF_THE_CONTENT = {"name", "pipeline_name", "start_date_time", "end_date_time"}

_log = logging.getLogger("asset_provenance")


@dataclass(slots=True, eq=False)
class Step:
    """A process of the result.

    Parameters
    ----------
    process
        As its first source has it.
    source
        Where that is.
    order
        Where it belongs among others, whichever source was read first.
    wanted
        What it is called if nobody else is.
    name
        What it is called.
    """

    process: DataProcess
    source: str
    order: tuple[Any, ...]
    wanted: str
    name: str = ""


@dataclass(slots=True, eq=False)
class Mention:
    """A process as a source has it.

    Parameters
    ----------
    name
        Its name there.
    targets
        What it depends on there.
    step
        The process of the result that it is; known once it is settled.
    """

    name: str
    targets: dict[Mention, None] = field(default_factory=dict)
    step: Step | None = None


_Signature = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(slots=True)
class _Alike:
    """Processes that say the same, but for the number that their names end in."""

    process: DataProcess
    source: str
    # Sources that mention them alike are kept once: a thousand stages may carry one process. Each
    # has the names there, with those that they may have had before they were merged there.
    sources: dict[_Signature, dict[str, Mention]] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)
    pipelines: set[str] = field(default_factory=set)


class _Note(NamedTuple):
    order: str
    text: str


class Merged:
    """A processing that others are merged into.

    Each source is added as a whole; what was added since the last time is given its names by
    :meth:`settle`. Names that were given stay.
    """

    def __init__(self) -> None:
        self._alike: dict[str, _Alike] = {}
        self._unsettled: dict[str, None] = {}
        self._named: dict[str, Step] = {}
        self._pipelines: dict[str, Code] = {}
        self._pipeline_names: set[str | None] = set()
        self._notes: dict[_Note, None] = {}

    @property
    def names(self) -> frozenset[str]:
        """The names that are given."""
        return frozenset(self._named)

    def add(self, processing: Processing, source: str) -> list[Mention]:
        """Take in processes with their dependencies, pipelines and notes.

        Parameters
        ----------
        processing
            A source; its processes may share names where it has no graph.
        source
            What to call it in warnings.

        Returns
        -------
        list of Mention
            Its processes.
        """
        by_name = self._mentioned(processing.data_processes, source)
        graph = {name: list(on) for name, on in (processing.dependency_graph or {}).items()}
        cleaned = lineage.clean_graph(graph)
        for name, targets in graph.items():
            for target in targets:
                if target not in cleaned[name]:
                    _tell_dropped(source, name, target)
            by_name[name][0].targets |= {by_name[target][0]: None for target in cleaned[name]}
        self.add_pipelines(processing.pipelines or ())
        if processing.notes:
            first = min(
                (p.start_date_time.isoformat() for p in processing.data_processes), default=""
            )
            self._notes.setdefault(_Note(first, processing.notes))
        return [mention for mentions in by_name.values() for mention in mentions]

    def add_pipelines(self, pipelines: Iterable[Code]) -> None:
        """Take in pipelines, each once."""
        for pipeline in pipelines:
            key = _canonical(pipeline)
            if key not in self._pipelines and pipeline.name in self._pipeline_names:
                self._notes.setdefault(
                    _Note(
                        "~",
                        f"More than one pipeline is named {pipeline.name}; which of them a "
                        "process was part of, its name does not tell.",
                    )
                )
            self._pipelines.setdefault(key, pipeline)
            self._pipeline_names.add(pipeline.name)

    def _mentioned(self, processes: Sequence[DataProcess], source: str) -> dict[str, list[Mention]]:
        """Note each process; give the mentions by the names that the source has for them."""
        found: dict[str, dict[str, None]] = {}
        for process in processes:
            digest = _digest(process)
            alike = self._alike.setdefault(digest, _Alike(process, source))
            if process.pipeline_name:
                alike.pipelines.add(process.pipeline_name)
            found.setdefault(digest, {})[process.name] = None
        by_name: dict[str, list[Mention]] = {}
        present = {process.name for process in processes}
        for digest, names in found.items():
            in_order = sorted(names, key=_by_length)
            signature = tuple((name, _before_numbers(name, present)) for name in in_order)
            sources = self._alike[digest].sources
            if signature not in sources:
                sources[signature] = {name: Mention(name) for name in in_order}
                self._unsettled[digest] = None
            for name, mention in sources[signature].items():
                by_name.setdefault(name, []).append(mention)
        return by_name

    def settle(self, *, by_time: bool = True) -> None:
        """Give names to what was added since the last time.

        Parameters
        ----------
        by_time
            Whether what started first keeps a name that several have; else what was added first.
        """
        new: list[Step] = []
        for digest in self._unsettled:
            new += _settled(digest, self._alike[digest])
        self._unsettled.clear()
        if by_time:
            new.sort(key=lambda step: step.order)
        names = lineage.unique_names([step.wanted for step in new], taken=self._named)
        for step, name in zip(new, names, strict=True):
            if name != step.wanted:
                # Parallel stages are the same program, and so their processes share names.
                _log.log(
                    logging.INFO if by_time else logging.WARNING,
                    "two different processes are named %s; that of %s becomes %s",
                    step.wanted,
                    step.source,
                    name,
                )
            step.name = name
            self._named[name] = step

    def graph(self, *, by_name: bool = False) -> lineage.Graph:
        """Give the dependencies between what is settled, by name; never a cycle.

        What started at the same time is in the order in which it was named, or of its names.
        """
        targets: dict[Step, dict[Step, None]] = {}
        for alike in self._alike.values():
            for mentions in alike.sources.values():
                for mention in mentions.values():
                    on = (target.step for target in mention.targets)
                    known = targets.setdefault(_step(mention), {})
                    known.update((step, None) for step in on if step is not None)
        in_order = sorted(self._named.values(), key=lambda step: step.name if by_name else "")
        in_order.sort(key=lambda step: step.process.start_date_time)
        place = {step: number for number, step in enumerate(in_order)}
        graph = {
            step.name: [other.name for other in sorted(targets[step], key=place.__getitem__)]
            for step in in_order
        }
        cleaned = lineage.clean_graph(graph)
        for step in in_order:
            for target in set(graph[step.name]).difference(cleaned[step.name]):
                _tell_dropped(step.source, step.name, target)
        return cleaned

    def processes(self) -> Iterator[DataProcess]:
        """Give what is settled, under the names it has here, in no order."""
        pipelines = {pipeline.name for pipeline in self._pipelines.values()}
        for alike in self._alike.values():
            pipeline = min(alike.pipelines & pipelines, default=None)
            for step in dict.fromkeys(alike.steps.values()):
                if alike.pipelines and pipeline is None:
                    # The schema refuses the name of a pipeline that is not described.
                    named = ", ".join(sorted(alike.pipelines))
                    self._notes.setdefault(
                        _Note(
                            "~",
                            f"{step.name} is part of the pipeline {named}, which nobody describes.",
                        )
                    )
                yield step.process.model_copy(update={"name": step.name, "pipeline_name": pipeline})

    @property
    def pipelines(self) -> list[Code]:
        """The pipelines, in the order in which they came."""
        return list(self._pipelines.values())

    @property
    def notes(self) -> list[str]:
        """The notes, in the order in which they came."""
        return [note.text for note in self._notes]

    def processing(self) -> Processing:
        """Give the result of sources that none is before, whatever their order was.

        Raises
        ------
        pydantic.ValidationError
            If the schema refuses it.
        """
        graph = self.graph(by_name=True)
        place = {name: number for number, name in enumerate(graph)}
        processes = sorted(self.processes(), key=lambda process: place[process.name])
        return Processing(
            data_processes=processes,
            pipelines=[self._pipelines[key] for key in sorted(self._pipelines)] or None,
            dependency_graph=graph,
            notes="\n".join(_united(sorted(self._notes))) or None,
        )


def last_of(mentions: Sequence[Mention]) -> list[Step]:
    """Give of these processes those that no other of them follows."""
    followed = {target.step for mention in mentions for target in mention.targets}
    steps = dict.fromkeys(_step(mention) for mention in mentions)
    return [step for step in steps if step not in followed]


class MergedFiles(NamedTuple):
    """What became of many files.

    Parameters
    ----------
    content
        The ``processing.json`` that they make; None if there is no process in them.
    names
        The processes in it.
    refused
        The files that could not be merged.
    """

    content: bytes | None
    names: list[str]
    refused: list[Refused]


@quiet()
def merge_files(paths: Iterable[Path]) -> MergedFiles:
    """Merge files that stages of a pipeline left; only the result is held in memory."""
    merged, refused = Merged(), []
    for left in read_left(paths):
        if isinstance(left, Left):
            merged.add(left.processing, left.source)
        else:
            refused.append(left)
    merged.settle()
    if not merged.names:
        return MergedFiles(None, [], refused)
    processing = merged.processing()
    content = processing.model_dump_json(indent=3).encode()
    return MergedFiles(content, processing.process_names, refused)


def _settled(digest: str, alike: _Alike) -> Iterator[Step]:
    """Find out which of what says the same is the same process; give what is new.

    What has the same name is the same, and so are names that differ by numbers of earlier merges.
    Names that one source has side by side are processes of their own.
    """
    related = _related(alike.sources)
    owners: dict[str, Step | list[str]] = dict(alike.steps)
    for source in sorted(alike.sources, key=lambda source: (-len(source), source)):
        names = [name for name, _ in source]
        taken = {id(owners[name]) for name in names if name in owners}
        for name in (name for name in names if name not in owners):
            others = (owners[other] for other in related[name] if other in owners)
            owner = next((other for other in others if id(other) not in taken), [])
            taken.add(id(owner))
            owners[name] = owner
            if isinstance(owner, list):
                owner.append(name)
    steps: dict[int, Step] = {}
    for name, owner in owners.items():
        if isinstance(owner, list) and id(owner) not in steps:
            wanted = min(owner, key=_by_length)
            order = (alike.process.start_date_time, wanted, digest)
            steps[id(owner)] = Step(alike.process, alike.source, order, wanted)
            yield steps[id(owner)]
        alike.steps[name] = steps[id(owner)] if isinstance(owner, list) else owner
    for mentions in alike.sources.values():
        for name, mention in mentions.items():
            mention.step = alike.steps[name]


def _related(sources: Iterable[_Signature]) -> dict[str, list[str]]:
    """Give for each name those that differ from it by numbers of earlier merges, nearest first."""
    histories: dict[str, tuple[str, ...]] = {}
    for source in sources:
        for name, before in source:
            known = histories.get(name, ())
            histories[name] = max(known, (name, *before), key=len)
    related = {}
    for name, history in histories.items():
        apart = {other: _apart(history, before) for other, before in histories.items()}
        near = [(count, _by_length(other)) for other, count in apart.items() if count is not None]
        related[name] = [other for _, (_, other) in sorted(near)]
    return related


def _apart(one: Sequence[str], other: Sequence[str]) -> int | None:
    """Count the numbers between two names, through the nearest that both had; None if none."""
    counts = (at + other.index(name) for at, name in enumerate(one) if name in other)
    return min(counts, default=None)


def _before_numbers(name: str, present: Container[str]) -> tuple[str, ...]:
    """Give what a name may have been before it got numbers among the names that are present."""
    before: list[str] = []
    while (found := _NUMBER.fullmatch(before[-1] if before else name)) and found[1] in present:
        before.append(found[1])
    return tuple(before)


def _by_length(name: str) -> tuple[int, str]:
    return len(name), name


def _step(mention: Mention) -> Step:
    if mention.step is None:
        raise RuntimeError(f"{mention.name} is not settled")
    return mention.step


def _digest(process: DataProcess) -> str:
    times = (process.start_date_time, process.end_date_time)
    in_utc = [time and time.astimezone(UTC).isoformat() for time in times]
    said = _canonical(process, exclude=_NOT_OF_THE_CONTENT) + _NUMBERS.sub("", process.name)
    said += json.dumps(in_utc)
    return hashlib.sha256(said.encode()).hexdigest()


def _canonical(model: Any, exclude: set[str] | None = None) -> str:
    return json.dumps(model.model_dump(mode="json", exclude=exclude), sort_keys=True)


def _tell_dropped(source: str, name: str, target: str) -> None:
    _log.warning(
        "%s: the dependency of %s on %s is dropped, since it leads to no other process or closes "
        "a cycle",
        source,
        name,
        target,
    )


def _united(notes: Iterable[_Note]) -> Iterator[str]:
    """Give the lines of all notes; one that an earlier note has is not said again."""
    said: set[str] = set()
    for note in notes:
        lines = note.text.split("\n")
        yield from (line for line in lines if line not in said)
        said.update(lines)
