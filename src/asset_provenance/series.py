"""Series of measurements in bounded memory: what is kept of many points, and what of few.

A point is a time and a value, and the value holds for the time since the point before. Pure
functions of numbers, used where series are taken and where they are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

__all__ = ["Point", "Series", "thinned"]

Point: TypeAlias = tuple[float, float]
"""A time in seconds, and a value."""

_MOST = 2048
_RECENT = 512
"""As many of the newest slots stay as they are: a short process in a long run is seen as well."""
_OLD = 500
"""Older ones are merged until each spans this part of the whole time, or more."""


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """Give so many points at most: the first, the last and the peak as they are, means between.

    Parameters
    ----------
    points
        In the order of their times.
    most
        How many are wanted.

    Returns
    -------
    list
        Empty where first, last and peak are more than that.
    """
    if len(points) <= most:
        return list(points)
    last = len(points) - 1
    peak = max(range(len(points)), key=lambda index: points[index][1])
    kept = {0, peak, last}
    count = most - len(kept)
    if count < 0:
        return []
    others = [index for index in range(len(points)) if index not in kept]
    found = [points[index] for index in kept]
    for group in range(count):
        members = others[group * len(others) // count : (group + 1) * len(others) // count]
        if members:
            found.append(_mean(points, members))
    return sorted(found)


def _mean(points: Sequence[Point], members: Sequence[int]) -> Point:
    weights = [points[index][0] - points[index - 1][0] for index in members]
    if not sum(weights) > 0:
        weights = [1.0] * len(members)
    weighted = (points[index][1] * weight for index, weight in zip(members, weights, strict=True))
    return points[members[-1]][0], sum(weighted) / sum(weights)


class _Slot(NamedTuple):
    """What is kept of a stretch of time: the mean, and the peak with its time."""

    start: float
    end: float
    mean: float
    peak_at: float
    peak: float


class Series:
    """One quantity over days, in bounded memory.

    The newest points stay as they were taken. Older ones are merged with their neighbours, the
    more the longer it lasts; each keeps its mean and its peak.
    """

    def __init__(self) -> None:
        self._slots: list[_Slot] = []

    def add(self, start: float, end: float, value: float) -> None:
        """Add a value that holds from one time to another, later than those before."""
        self._slots.append(_Slot(start, end, value, end, value))
        if len(self._slots) >= _MOST:
            self._merge_old()

    def between(self, start: float, end: float) -> list[Point]:
        """Give the points from one time to another, their peak among them."""
        found = [slot for slot in self._slots if start <= slot.end <= end]
        points = {slot.end: slot.mean for slot in found}
        # Of a point that reaches in from before, the peak may have been before.
        inside = [slot for slot in found if slot.peak_at >= start]
        if inside:
            highest = max(inside, key=lambda slot: slot.peak)
            points[highest.peak_at] = highest.peak
        return sorted(points.items())

    def _merge_old(self) -> None:
        width = (self._slots[-1].end - self._slots[0].start) / _OLD
        merged = self._slots[:1]
        for slot in self._slots[1:-_RECENT]:
            before = merged[-1]
            if slot.end - before.start > width:
                merged.append(slot)
            else:
                merged[-1] = _together(before, slot)
        self._slots = merged + self._slots[-_RECENT:]


def _together(first: _Slot, second: _Slot) -> _Slot:
    # A gap between the two, such as a program that slept with its machine, counts for neither.
    weights = (first.end - first.start, second.end - second.start)
    whole = sum(weights)
    mean = (
        (first.mean * weights[0] + second.mean * weights[1]) / whole
        if whole > 0
        else (first.mean + second.mean) / 2
    )
    peak_at, peak = max(first, second, key=lambda slot: slot.peak)[3:]
    return _Slot(first.start, second.end, mean, peak_at, peak)
