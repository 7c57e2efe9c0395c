"""Places for the boxes of a graph in layers, from top to bottom, and ways for its lines.

Pure functions of numbers. A box stands below all that it follows, and above what follows it. A
line that passes layers has a place of its own in each, which all lines of one box share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import TypeAlias

__all__ = ["Layout", "lay_out"]

Point: TypeAlias = tuple[float, float]

_SWEEPS = 6
_FIRST = 4
_LANE = 0.12
"""The width of a place of a line, in boxes."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is, in widths of a box and in layers.

    Parameters
    ----------
    places
        The middle of each box.
    lines
        By edge, the points that it passes, its ends included.
    width, layers
        Of the whole.
    """

    places: tuple[Point, ...]
    lines: Mapping[tuple[int, int], tuple[Point, ...]]
    width: float
    layers: int


def lay_out(count: int, edges: Sequence[tuple[int, int]], *, most_lanes: int) -> Layout | None:
    """Lay a graph out.

    Parameters
    ----------
    count
        How many boxes there are.
    edges
        From a box to one that follows it. An edge that closes a circle is not laid out.
    most_lanes
        How many places lines may take.

    Returns
    -------
    Layout or None
        None where lines would take more.
    """
    following: list[list[int]] = [[] for _ in range(count)]
    for source, target in dict.fromkeys(edges):
        following[source].append(target)
    order = _without_circles(following)
    layer = _layers(following, order)
    # Places of lines are numbered on from the boxes.
    links: list[tuple[int, int]] = []
    routes: dict[tuple[int, int], tuple[int, ...]] = {}
    for source in range(count):
        lanes = [source]
        furthest = max((layer[target] for target in following[source]), default=0)
        for level in range(layer[source] + 1, furthest):
            layer.append(level)
            links.append((lanes[-1], len(layer) - 1))
            lanes.append(len(layer) - 1)
            if len(layer) - count > most_lanes:
                return None
        for target in following[source]:
            passed = lanes[: layer[target] - layer[source]]
            links.append((passed[-1], target))
            routes[source, target] = (*passed, target)
    width = [1.0 if index < count else _LANE for index in range(len(layer))]
    rows = _ordered(layer, links, order)
    across = _across(rows, links, width, count)
    left = min((x - width[i] / 2 for i, x in enumerate(across)), default=0.0)
    right = max((x + width[i] / 2 for i, x in enumerate(across)), default=0.0)
    points = [(x - left, float(layer[i])) for i, x in enumerate(across)]
    return Layout(
        places=tuple(points[:count]),
        lines={edge: tuple(points[at] for at in passed) for edge, passed in routes.items()},
        width=right - left,
        layers=len(rows),
    )


def _without_circles(following: list[list[int]]) -> list[int]:
    """Take away the edges that close circles; give the boxes so that what follows comes later."""
    state = [0] * len(following)  # not seen, on the way here, done
    done: list[int] = []
    # From the last to the first: what comes first is then given first, of equals.
    for root in reversed(range(len(following))):
        stack = [(root, reversed(list(following[root])))] if not state[root] else []
        state[root] = state[root] or 1
        while stack:
            box, targets = stack[-1]
            target = next(targets, None)
            if target is None:
                state[box] = 2
                done.append(box)
                stack.pop()
            elif state[target] == 1:
                following[box].remove(target)
            elif not state[target]:
                state[target] = 1
                stack.append((target, reversed(list(following[target]))))
    return done[::-1]


def _layers(following: list[list[int]], order: Sequence[int]) -> list[int]:
    layer = [0] * len(following)
    is_first = [True] * len(following)
    for box in order:
        for target in following[box]:
            layer[target] = max(layer[target], layer[box] + 1)
            is_first[target] = False
    for box, targets in enumerate(following):
        if is_first[box] and targets:  # close to what uses it
            layer[box] = min(layer[target] for target in targets) - 1
    return layer


def _ordered(
    layer: Sequence[int], links: Sequence[tuple[int, int]], order: Sequence[int]
) -> list[list[int]]:
    """Put each layer in an order in which lines cross little: by the median of the neighbours."""
    rows: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for index in [*order, *range(len(order), len(layer))]:
        rows[layer[index]].append(index)
    above, below = _neighbours(len(layer), links)
    at = {index: float(place) for row in rows for place, index in enumerate(row)}
    for sweep in range(_SWEEPS):
        near = above if sweep % 2 == 0 else below
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = {
                index: median(at[other] for other in near[index]) if near[index] else at[index]
                for index in row
            }
            row.sort(key=wanted.__getitem__)
            at |= {index: float(place) for place, index in enumerate(row)}
    return rows


def _across(
    rows: Sequence[Sequence[int]],
    links: Sequence[tuple[int, int]],
    width: Sequence[float],
    count: int,
) -> list[float]:
    """Place each layer's members in their order, as near to their neighbours as they have room."""
    across = [0.0] * len(width)
    above, below = _neighbours(len(width), links)
    # Lines give way to boxes, and boxes that nothing follows to those in the middle of a chain.
    weight = [1.0 if below[index] else 0.01 for index in range(count)]
    weight += [0.0001] * (len(width) - count)
    for row in rows:
        _place(row, [0.0] * len(row), width, weight, across)
    for sweep in range(2 * _SWEEPS):
        near = (above, below)[sweep % 2]
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = [_wanted(index, near[index], across, weight, count) for index in row]
            _place(row, wanted, width, weight, across)
    return across


def _wanted(
    index: int, near: Sequence[int], across: Sequence[float], weight: Sequence[float], count: int
) -> float:
    # Boxes go by boxes and lines by lines, so that neither is drawn aside by the other; and by the
    # first of many, so that what they all come from is not far off in a wide graph.
    alike = [other for other in near if (other < count) == (index < count)] or near
    if not alike:
        return across[index]
    first = sorted(alike, key=across.__getitem__)[:_FIRST]
    return fmean([across[other] for other in first], [weight[other] for other in first])


def _place(
    row: Sequence[int],
    wanted: Sequence[float],
    width: Sequence[float],
    weight: Sequence[float],
    across: list[float],
) -> None:
    """Find the places nearest to those wanted, in this order and apart from each other."""
    offsets, at = [], 0.0
    for index in row:
        offsets.append(at + width[index] / 2)
        at += width[index] * 1.12 + 0.02
    # Neighbours that want to be at one place are moved together: least squares, in one pass.
    blocks: list[tuple[float, float, int]] = []
    for index, want, offset in zip(row, wanted, offsets, strict=True):
        mean, heavy, size = want - offset, weight[index], 1
        while blocks and blocks[-1][0] > mean:
            other, others, count = blocks.pop()
            mean = (mean * heavy + other * others) / (heavy + others)
            heavy, size = heavy + others, size + count
        blocks.append((mean, heavy, size))
    spread = [mean for mean, _, size in blocks for _ in range(size)]
    for index, mean, offset in zip(row, spread, offsets, strict=True):
        across[index] = mean + offset


def _neighbours(
    count: int, links: Sequence[tuple[int, int]]
) -> tuple[list[list[int]], list[list[int]]]:
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for source, target in links:
        above[target].append(source)
        below[source].append(target)
    return above, below
