"""An asset at a glance, drawn for a terminal of any width."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from typing import NamedTuple

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from asset_provenance.endings import status_in_notes
from asset_provenance.records import ProcessStatus
from asset_provenance.report.words import (
    code_in_short,
    counted,
    duration,
    input_in_short,
    listed,
    machine_in_short,
    moment,
    reason,
    shown,
    size,
    values_in_short,
)
from asset_provenance.views import AssetView, ProcessView, ResourceView, as_text

__all__ = ["AssetDrawing"]

_ROWS = 100
"""So many processes are in the table, unless all are wanted."""
_DETAILED = 20
"""So many are told in detail."""
_MOST_LINES = 5
"""So many lines of notes are told, and so many machines."""
_NAME_WIDTH = 17
"""Columns that names are left, before columns of the table are left out."""
_DEEPEST = 6
"""What is inside of more processes than this is not moved further to the right."""

_ASCII_BOX = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
"""A line below the head, as of ``box.SIMPLE_HEAD``."""
_STYLES = {ProcessStatus.FAILED: "bold red", ProcessStatus.INTERRUPTED: "bold yellow"}
_WARNING = "bold yellow"


class _Column(NamedTuple):
    title: str
    width: int
    tell: Callable[[ProcessView], str]


def _started(process: ProcessView) -> str:
    return moment(process.start) if process.start else ""


def _took(process: ProcessView) -> str:
    return "" if process.seconds is None else duration(process.seconds)


def _memory(process: ProcessView) -> str:
    peak = (process.resources or ResourceView()).peak_ram
    return "" if peak is None else size(peak)


def _cpus(process: ProcessView) -> str:
    cores = (process.resources or ResourceView()).mean_cores
    return "" if cores is None else f"{cores:.1f}"


def _ended(process: ProcessView) -> str:
    return "" if process.told_status is None else process.told_status.value


_STARTED = _Column("started (UTC)", 19, _started)
_MEMORY = _Column("memory", 7, _memory)
_CPUS = _Column("CPUs", 5, _cpus)
_ENDED = _Column("ended", 11, _ended)
_COLUMNS = (_STARTED, _Column("took", 11, _took), _MEMORY, _CPUS, _ENDED)
_DISPENSABLE = (_CPUS, _MEMORY, _STARTED, _ENDED)
"""The columns that a narrow terminal does without, the first first."""


class AssetDrawing:
    """What was read of an asset, for people.

    Parameters
    ----------
    view
        Of the asset.
    everything
        Whether all processes are shown, however many there are.
    """

    def __init__(self, view: AssetView, *, everything: bool = False) -> None:
        self._view = view
        inherited = tuple(one for one in view.processes if one.is_inherited)
        own = view.own_processes
        self._groups = {
            title: _nested(group)
            for title, group in (("inherited", inherited), ("this run" if inherited else "", own))
            if group
        }
        self._inside: dict[str | None, set[str]] = {}
        for one in view.processes:
            self._inside.setdefault(one.parent, set()).add(one.name)
        self._everything = everything

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it within the columns that there are."""
        yield Text(shown(self._view.name), style="bold", overflow="fold")
        yield _facts(_of_asset(self._view))
        yield from _warnings(self._view)
        yield Text(f"\n{_summary(self._view)}\n")
        if self._groups:
            columns = self._columns(options.max_width)
            yield self._table(columns, _ASCII_BOX if options.ascii_only else box.SIMPLE_HEAD)
            yield Text()
            left_out = [one for one in (_STARTED, _MEMORY, _CPUS) if one not in columns]
            yield from self._trees(left_out)

    def _columns(self, width: int) -> list[_Column]:
        columns = [one for one in _COLUMNS if any(map(one.tell, self._view.processes))]
        for one in _DISPENSABLE:
            needed = _NAME_WIDTH + sum(2 + each.width for each in columns)
            if one in columns and needed > width:
                columns.remove(one)
        return columns

    def _table(self, columns: Sequence[_Column], lines: box.Box) -> Group:
        table = Table(box=lines, show_edge=False, pad_edge=False, padding=(0, 1))
        table.add_column("process", overflow="fold")
        for column in columns:
            table.add_column(column.title, justify="right", no_wrap=True)
        kept = self._chosen(_ROWS)
        day: date | None = None
        for title, nodes in self._groups.items():
            if title:
                table.add_row(Text(title, style="italic"))
            for process, depth in nodes:
                if process.name not in kept:
                    continue
                cells = {column: column.tell(process) for column in columns}
                if _STARTED in cells and process.start is not None:
                    if process.start.date() == day:  # which is told once
                        cells[_STARTED] = cells[_STARTED].partition(" ")[2]
                    day = process.start.date()
                margin = "  " * (min(depth, _DEEPEST) + bool(title))
                style = _STYLES.get(process.status, "")
                name = Text(margin + shown(process.name), style=style)
                if process.status is not ProcessStatus.COMPLETED and _ENDED not in cells:
                    name.append(f" {process.status}")
                table.add_row(name, *(Text(cell, style=style) for cell in cells.values()))
        return Group(table, *self._rest(kept))

    def _trees(self, left_out: Sequence[_Column]) -> Iterator[Tree | Text]:
        kept = self._chosen(_DETAILED)
        for title, nodes in self._groups.items():
            tree = Tree(Text(title or "processes", style="italic"), guide_style="dim")
            branches: dict[str | None, Tree] = {}
            for process, depth in nodes:
                if process.name in kept:
                    above = branches.get(process.parent, tree)
                    facts = _of_process(process, self._inside.get(process.name, set()), left_out)
                    branch = above.add(Group(_title(process), _facts(facts)))
                    branches[process.name] = above if depth >= _DEEPEST else branch
            if tree.children:
                yield tree
        yield from self._rest(kept)

    def _chosen(self, most: int) -> set[str]:
        """Choose the processes to show: of too many, this run's, and those that did not end well.

        So that what went wrong is seen however many others went right.
        """
        every = [process for nodes in self._groups.values() for process, _ in nodes]
        if self._everything or len(every) <= most:
            return {one.name for one in every}
        first = sorted(
            every,
            key=lambda one: (one.status is ProcessStatus.COMPLETED, bool(one.is_inherited)),
        )
        return {one.name for one in first[:most]}

    def _rest(self, kept: set[str]) -> Iterator[Text]:
        rest = [one for one in self._view.processes if one.name not in kept]
        if rest:
            bad = sum(one.status is not ProcessStatus.COMPLETED for one in rest)
            told = f", {bad:,} of which did not complete" if bad else ""
            yield Text(f"and {len(rest):,} more{told}: see them with --all", style="italic")


class _Node(NamedTuple):
    """A process, and inside of how many others it ran."""

    process: ProcessView
    depth: int


def _nested(processes: Iterable[ProcessView]) -> list[_Node]:
    """Give processes in the order of the file, each followed by those inside of it."""
    inside: dict[str | None, list[ProcessView]] = {}
    there = {one.name: one for one in processes}
    for one in there.values():
        inside.setdefault(one.parent if one.parent in there else None, []).append(one)
    found: list[_Node] = []
    waiting = [_Node(one, 0) for one in reversed(inside.get(None, []))]
    while waiting:
        node = waiting.pop()
        found.append(node)
        children = inside.get(node.process.name, [])
        waiting += [_Node(one, node.depth + 1) for one in reversed(children)]
    return found


def _facts(facts: Iterable[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="cyan")
    grid.add_column(overflow="fold")
    for name, value in facts:
        if value:
            grid.add_row(name, Text(value))
    return grid


def _of_asset(view: AssetView) -> Iterator[tuple[str, str]]:
    description = view.description
    yield "level", shown(view.data_level or "")
    yield "subject", shown(as_text(description.get("subject_id")) or "")
    yield "project", shown(as_text(description.get("project_name")) or "")
    yield "created", f"{moment(view.creation_time)} UTC" if view.creation_time else ""
    yield "made from", listed(view.source_data)
    people = (name for one in view.own_processes for name in one.experimenters)
    yield "run by", listed(dict.fromkeys(people))
    machines = dict.fromkeys(machine_in_short(one) for one in view.own_processes)
    yield "ran on", "\n".join([one for one in machines if one][:_MOST_LINES])
    yield "folder", shown(str(view.folder))
    yield "files", listed((one.path for one in view.files if one.inherited_from is None), most=20)
    for source in dict.fromkeys(one.inherited_from for one in view.files):
        if source is not None:
            paths = [one.path for one in view.files if one.inherited_from == source]
            yield "inherited", f"{listed(paths)}, from {shown(source)}"
    lines = [line for line in view.notes if line.strip()]
    # How the run ended is seen however much is noted besides.
    lines.sort(key=lambda line: status_in_notes(line) is ProcessStatus.COMPLETED)
    notes = list(map(shown, lines))
    if len(notes) > _MOST_LINES:
        more = len(notes) - _MOST_LINES
        notes[_MOST_LINES:] = [f"and {counted(more, 'more line')}: see them with --json"]
    yield "notes", "\n".join(notes)


def _warnings(view: AssetView) -> Iterator[Text]:
    folder = shown(shlex.quote(str(view.folder)))
    found = [(problem, "check") for problem in view.problems]
    if view.unfinished:
        runs = counted(view.unfinished, "run")
        found.append((f"{runs} without metadata: ended too early, or still at work", "recover"))
    for told, command in found:
        yield Text(f"warning: {shown(told)}", style=_WARNING)
        yield Text(f"-> asset-provenance {command} {folder}")


def _summary(view: AssetView) -> str:
    if not view.processes:
        return "no process is recorded"
    inherited = sum(bool(one.is_inherited) for one in view.processes)
    told = [counted(len(view.processes), "process", "es")]
    if inherited:
        told.append(f"{inherited:,} inherited")
    for status in (ProcessStatus.FAILED, ProcessStatus.INTERRUPTED):
        number = sum(one.status is status for one in view.processes)
        if number:
            told.append(f"{number:,} {status}")
    own = view.own_processes
    starts = [one.start for one in own if one.start]
    ends = [one.end for one in own if one.end]
    if starts and ends and len(own) > 1:
        whole = (max(ends) - min(starts)).total_seconds()
        told.append(f"{duration(max(0.0, whole))} from the first start to the last end")
    return ", ".join(told)


def _title(process: ProcessView) -> Text:
    title = Text(shown(process.name), style="bold", overflow="fold")
    if process.process_type and process.process_type != process.name:
        title.append(f"  {shown(process.process_type)}", style="not bold")
    if process.status is not ProcessStatus.COMPLETED:
        title.append(f"  {process.status.value}", style=_STYLES.get(process.status, ""))
    return title


def _of_process(
    process: ProcessView, inside: set[str], left_out: Iterable[_Column]
) -> Iterator[tuple[str, str]]:
    yield "why", shown(reason(process) or "")
    yield "calls", shown(process.repeats or "")
    for column in left_out:
        yield column.title, column.tell(process)
    yield "code", code_in_short(process.code)
    yield "pipeline", shown(process.pipeline_name or "")
    yield "follows", listed(name for name in process.depends_on if name not in inside)
    yield "inputs", listed(map(input_in_short, process.inputs), most=4)
    yield "output", shown(process.output_path or "")
    yield "parameters", values_in_short(process.parameters)
    yield "results", values_in_short(process.results)
