"""The graph of inputs, processes and outputs, as boxes and lines to be drawn."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from asset_provenance.records import ProcessStatus
from asset_provenance.report.layout import Layout, lay_out
from asset_provenance.report.texts import fitted, shown, width
from asset_provenance.report.words import counted, duration
from asset_provenance.views import AssetView, ProcessView

__all__ = ["Box", "Drawing", "Line", "drawing"]

_WIDTH, _HEIGHT, _LAYER, _MARGIN = 232, 46, 84, 8
_CELLS = 34
_PIXELS = 6.9
"""What a cell of a label takes."""
_FEW = 60
_ALIKE = 4
_ROUNDS = 40
_MOST_BOXES = 400
_MOST_LANES = 4000
_NUMBER = re.compile(r"_\d+$")


@dataclass(frozen=True, slots=True)
class Box:
    """An input, a process or an output, or several processes that are alike.

    Parameters
    ----------
    kind
        What it stands for.
    name
        In full.
    note
        A second line.
    processes
        The names of its processes.
    style
        The status of a process.
    is_inherited
        Whether it came with an input.
    is_output_told
        Whether its output has no box of its own.
    x, y
        Its left upper corner.
    """

    kind: Literal["input", "process", "output"]
    name: str
    note: str
    processes: tuple[str, ...] = ()
    style: str = ""
    is_inherited: bool = False
    is_output_told: bool = False
    x: float = 0.0
    y: float = 0.0

    @property
    def label(self) -> str:
        """The name, as it fits."""
        return fitted(shown(self.name), _CELLS)

    @property
    def short_note(self) -> str:
        """The second line, as it fits."""
        return fitted(shown(self.note), _CELLS + 4)

    @property
    def label_width(self) -> int | None:
        """What a long label is squeezed to, whatever the font."""
        cells = width(self.label)
        return None if cells <= 30 else min(_WIDTH - 22, round(cells * _PIXELS))


@dataclass(frozen=True, slots=True)
class Line:
    """A line between boxes: a path, and whether it goes to the process it ran inside of."""

    path: str
    is_inside: bool


@dataclass(frozen=True, slots=True)
class Drawing:
    """The whole drawing, in pixels; without boxes where there are too many."""

    boxes: tuple[Box, ...] = ()
    lines: tuple[Line, ...] = ()
    width: int = 0
    height: int = 0
    box_width: int = _WIDTH
    box_height: int = _HEIGHT
    is_grouped: bool = False


@dataclass(slots=True)
class _Graph:
    boxes: list[Box] = field(default_factory=list)
    edges: dict[tuple[int, int], bool] = field(default_factory=dict)


def drawing(view: AssetView) -> Drawing:
    """Draw the graph of an asset.

    Of many boxes, an output of one process alone is told in the box of that, and those that are
    alike (the same kind of process between the same kinds of others) are drawn as one.
    """
    graph = _graph(view.processes, None)
    is_grouped = False
    if len(graph.boxes) > _FEW:
        graph = _graph(view.processes, Counter(one.output_path for one in view.processes))
        fewer = _grouped(graph)
        is_grouped = len(fewer.boxes) < len(graph.boxes)
        graph = fewer
    if not graph.boxes or len(graph.boxes) > _MOST_BOXES:
        return Drawing()
    layout = lay_out(len(graph.boxes), list(graph.edges), most_lanes=_MOST_LANES)
    return Drawing() if layout is None else _drawn(graph, layout, is_grouped=is_grouped)


def _graph(processes: Sequence[ProcessView], written: Mapping[str | None, int] | None) -> _Graph:
    graph = _Graph()
    places: dict[tuple[str, str], int] = {}

    def place(box: Box) -> int:
        at = places.setdefault((box.kind, box.name), len(graph.boxes))
        if at == len(graph.boxes):
            graph.boxes.append(box)
        return at

    def is_told(output: str | None) -> bool:
        return written is not None and output is not None and written[output] == 1

    inputs = {one.name: [ref.identity or "unnamed" for ref in one.inputs] for one in processes}
    for one in processes:
        for name in inputs[one.name]:
            place(Box("input", name, "input"))
        place(_box(one, is_output_told=is_told(one.output_path)))
    parents = {one.name: one.parent for one in processes}
    for one in processes:
        at = places["process", one.name]
        for name in inputs[one.name]:
            graph.edges[places["input", name], at] = False
        for name in one.depends_on:
            graph.edges[places["process", name], at] = parents[name] == one.name
        if one.output_path and not is_told(one.output_path):
            graph.edges[at, place(Box("output", one.output_path, "output"))] = False
    _leave_out_implied(graph)
    return graph


def _box(process: ProcessView, *, is_output_told: bool) -> Box:
    kind, seconds = process.process_type, process.seconds
    said = [
        "" if is_output_told else kind if kind and kind != process.name else "process",
        "" if seconds is None else duration(seconds),
        "" if process.status is ProcessStatus.COMPLETED else process.status.value,
        f"writes {fitted(shown(process.output_path or ''), 18)}" if is_output_told else "",
    ]
    return Box(
        "process",
        process.name,
        ", ".join(filter(None, said)),
        (process.name,),
        process.status.value,
        process.is_inherited is True,
        is_output_told,
    )


def _leave_out_implied(graph: _Graph) -> None:
    """Of the processes inside one, leave lines to it only to those that no other there follows."""
    inside: dict[int, set[int]] = {}
    for (source, target), is_inside in graph.edges.items():
        if is_inside:
            inside.setdefault(target, set()).add(source)
    followed: dict[int, set[int]] = {}
    for source, target in graph.edges:
        followed.setdefault(source, set()).add(target)
    for parent, children in inside.items():
        for child in children:
            if followed[child] & children:
                del graph.edges[child, parent]


def _grouped(graph: _Graph) -> _Graph:
    """Take together what is alike: of one kind, between others that are alike."""
    above: list[list[int]] = [[] for _ in graph.boxes]
    below: list[list[int]] = [[] for _ in graph.boxes]
    for source, target in graph.edges:
        above[target].append(source)
        below[source].append(target)
    kinds = _numbered([_kind(box) for box in graph.boxes])
    for _ in range(_ROUNDS):
        finer = _numbered(
            (kind, frozenset(kinds[i] for i in up), frozenset(kinds[i] for i in down))
            for kind, up, down in zip(kinds, above, below, strict=True)
        )
        if max(finer) == max(kinds):
            break
        kinds = finer
    else:
        return graph  # alike at first sight only
    members: dict[int, list[int]] = {}
    for index, kind in enumerate(kinds):
        members.setdefault(kind, []).append(index)
    result = _Graph()
    new: dict[int, int] = {}
    for several in members.values():
        if len(several) >= _ALIKE:
            new |= dict.fromkeys(several, len(result.boxes))
            result.boxes.append(_together([graph.boxes[index] for index in several]))
            continue
        for index in several:
            new[index] = len(result.boxes)
            result.boxes.append(graph.boxes[index])
    for (source, target), is_inside in graph.edges.items():
        result.edges[new[source], new[target]] = is_inside
    return result


def _numbered(keys: Iterable[Hashable]) -> list[int]:
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def _kind(box: Box) -> Hashable:
    if box.kind != "process":
        return box.kind
    return box.kind, _NUMBER.sub("", box.name), box.style, box.is_inherited


def _together(boxes: Sequence[Box]) -> Box:
    first, last = boxes[0], boxes[-1]
    count = f"{len(boxes):,}"
    if first.kind != "process":
        things = "inputs" if first.kind == "input" else "outputs"
        note = f"{fitted(shown(first.name), 16)} … {fitted(shown(last.name), 16)}"
        return replace(first, name=f"{count} {things}", note=note)
    early = "" if first.style == ProcessStatus.COMPLETED else f", {first.style}"
    told = sum(box.is_output_told for box in boxes)
    outputs = f", {counted(told, 'output')}" if told else ""
    return replace(
        first,
        name=f"{_NUMBER.sub('', first.name)} ×{count}",  # noqa: RUF001 - the sign for times
        note=f"{count} processes{early}{outputs}",
        processes=tuple(name for box in boxes for name in box.processes),
    )


def _drawn(graph: _Graph, layout: Layout, *, is_grouped: bool) -> Drawing:
    def pixels(point: tuple[float, float]) -> tuple[float, float]:
        return round(_MARGIN + point[0] * _WIDTH, 1), round(_MARGIN + point[1] * _LAYER, 1)

    boxes = []
    for box, place in zip(graph.boxes, layout.places, strict=True):
        x, y = pixels(place)
        boxes.append(replace(box, x=round(x - _WIDTH / 2, 1), y=y))
    lines = [
        Line(_path([pixels(point) for point in points]), graph.edges[edge])
        for edge, points in layout.lines.items()
    ]
    return Drawing(
        boxes=tuple(boxes),
        lines=tuple(lines),
        width=round(2 * _MARGIN + layout.width * _WIDTH),
        height=2 * _MARGIN + (layout.layers - 1) * _LAYER + _HEIGHT,
        is_grouped=is_grouped,
    )


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Draw from below a box, past the middles of places on the way, to the top of another."""
    (x, y), *others = points
    y += _HEIGHT
    path = f"M{x:g} {y:g}"
    for number, (next_x, next_y) in enumerate(others, start=1):
        half = (y + next_y) / 2
        path += f"C{x:g} {half:g} {next_x:g} {half:g} {next_x:g} {next_y:g}"
        x, y = next_x, next_y
        if number < len(others):
            y += _HEIGHT
            path += f"V{y:g}"
    return path
