"""When processes ran: rows in the order of their nesting, on one axis without its idle times."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from asset_provenance.report.words import duration
from asset_provenance.views import ProcessView

__all__ = ["Axis", "Row", "Tick", "Timeline", "timeline"]

_MOST_BREAKS = 11
_BREAK = 3.0
"""What an idle time that is cut out takes of the axis, in percent."""
_APART = 28.0
"""What a label takes of it."""
_STEPS = (
    *(base * 10.0**power for power in range(-3, 1) for base in (1, 2, 5)),
    *(10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200),
    *(base * 10.0**power * 86_400 for power in range(5) for base in (1, 2, 5)),
)
"""Seconds between ticks that people count in."""


_Stretch: TypeAlias = tuple[datetime, datetime, float, float]


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on the axis, in percent, and what is said there."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Axis:
    """From the first start to the last end.

    Parameters
    ----------
    start, end
        The whole time.
    ticks
        Where it is labelled: the time since the start, or dates where idle times are cut out.
    breaks
        Where idle times are cut out: from, to, in percent.
    stretches
        The times in between, and where they lie.
    """

    start: datetime
    end: datetime
    ticks: tuple[Tick, ...]
    breaks: tuple[tuple[float, float], ...]
    stretches: tuple[_Stretch, ...]

    def place(self, time: datetime) -> float:
        """Give where a time lies, in percent."""
        for start, end, left, right in self.stretches:
            if time <= end:
                whole = (end - start).total_seconds()
                share = (time - start).total_seconds() / whole if whole else 0.0
                return left + (right - left) * max(0.0, share)
        return 100.0


@dataclass(frozen=True, slots=True)
class Row:
    """A process in the timeline.

    Parameters
    ----------
    process
        What it is about.
    depth
        How many processes it ran inside of.
    left, width
        Of its bar, in percent; None where its times are unknown.
    """

    process: ProcessView
    depth: int
    left: float | None = None
    width: float | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Rows, and the axis that they share; none where no times are known."""

    rows: tuple[Row, ...]
    axis: Axis | None

    @property
    def is_nested(self) -> bool:
        """Whether any ran inside another."""
        return any(row.depth for row in self.rows)

    @property
    def is_of_one_day(self) -> bool:
        """Whether the time of day is enough to tell when something started."""
        return self.axis is not None and self.axis.start.date() == self.axis.end.date()


def timeline(processes: Sequence[ProcessView]) -> Timeline:
    """Lay processes out in time.

    Parameters
    ----------
    processes
        Those inside others follow these, in the order of their start.
    """
    spans = sorted((one.start, one.end or one.start) for one in processes if one.start)
    axis = _axis(spans) if spans else None
    return Timeline(tuple(_row(one, depth, axis) for one, depth in _nested(processes)), axis)


def _row(process: ProcessView, depth: int, axis: Axis | None) -> Row:
    if process.start is None or axis is None:
        return Row(process, depth)
    left = axis.place(process.start)
    right = axis.place(max(process.start, process.end or process.start))
    return Row(process, depth, round(left, 3), round(right - left, 3))


def _nested(processes: Sequence[ProcessView]) -> Iterator[tuple[ProcessView, int]]:
    here = {one.name for one in processes}
    inside: dict[str | None, list[ProcessView]] = {}
    for one in processes:
        inside.setdefault(one.parent if one.parent in here else None, []).append(one)
    for several in inside.values():
        several.sort(key=lambda one: (one.start is None, one.start and one.start.timestamp()))
    left = [(one, 0) for one in reversed(inside.get(None, []))]
    while left:
        one, depth = left.pop()
        yield one, depth
        left += [(child, depth + 1) for child in reversed(inside.get(one.name, []))]


def _axis(spans: Sequence[tuple[datetime, datetime]]) -> Axis:
    busy: list[tuple[datetime, datetime]] = []
    for start, end in spans:
        if busy and start <= busy[-1][1]:
            busy[-1] = (busy[-1][0], max(busy[-1][1], end))
        else:
            busy.append((start, max(start, end)))
    stretches = _without_idle(busy)
    lengths = [(end - start).total_seconds() for start, end in stretches]
    room = 100.0 - _BREAK * (len(stretches) - 1)
    # Each is wide enough to be seen, and what is left goes by their lengths.
    least = room / (4 * len(stretches)) if len(stretches) > 1 else 0.0
    share = room - least * len(stretches)
    total = sum(lengths) or 1.0
    placed, at = [], 0.0
    for (start, end), length in zip(stretches, lengths, strict=True):
        wide = least + share * (length / total if sum(lengths) else 1 / len(stretches))
        placed.append((start, end, at, at + wide))
        at += wide + _BREAK
    breaks = tuple((one[3], other[2]) for one, other in itertools.pairwise(placed))
    ticks = _dates(placed) if breaks else _elapsed(lengths[0])
    return Axis(stretches[0][0], stretches[-1][1], tuple(ticks), breaks, tuple(placed))


def _without_idle(
    busy: Sequence[tuple[datetime, datetime]],
) -> list[tuple[datetime, datetime]]:
    """Join the busy times, but where the time between is longer than all of them together."""
    worked = sum(((end - start) for start, end in busy), timedelta())
    gaps = [later[0] - earlier[1] for earlier, later in itertools.pairwise(busy)]
    most = sorted(gaps, reverse=True)[:_MOST_BREAKS]
    joined = [busy[0]]
    for gap, (start, end) in zip(gaps, busy[1:], strict=True):
        if gap > worked and gap >= most[-1] and len(joined) <= _MOST_BREAKS:
            joined.append((start, end))
        else:
            joined[-1] = (joined[-1][0], end)
    return joined


def _elapsed(seconds: float) -> Iterator[Tick]:
    yield Tick(0.0, "0")
    step = next((one for one in _STEPS if seconds / one <= 100 / _APART), None)
    if step is not None and seconds:
        for count in range(1, int(seconds / step + 1e-9) + 1):
            yield Tick(round(100 * count * step / seconds, 3), _round(duration(count * step)))


def _dates(stretches: Sequence[_Stretch]) -> Iterator[Tick]:
    last, day = -_APART, None
    for start, _, left, _ in stretches:
        if left < last + _APART:
            yield Tick(round(left, 3), "")
            continue
        yield Tick(round(left, 3), f"{start:%H:%M}" if start.date() == day else f"{start:%Y-%m-%d}")
        last, day = left, start.date()


def _round(told: str) -> str:
    """Leave out what is nothing: ``5 min``, not ``5 min 00 s``."""
    return re.sub(r" 0+ (?:s|min|h)$|\.0(?= s$)", "", told)
