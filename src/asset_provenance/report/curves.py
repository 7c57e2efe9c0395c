"""What a process used of its machine, as small curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from asset_provenance.report.words import duration, size
from asset_provenance.series import thinned
from asset_provenance.views import ProcessView, ResourceView, Series

__all__ = ["Curve", "curves"]

_MOST_POINTS = 200
_STEPS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


@dataclass(frozen=True, slots=True)
class Curve:
    """One measurement over time.

    Parameters
    ----------
    what
        What was measured.
    meaning
        What its numbers mean.
    line, area
        Paths in a box of 100 by 100.
    peak, top, end
        The most that was used, the upper end of the axis, and the last time, with their units.
    """

    what: str
    meaning: str
    line: str
    area: str
    peak: str
    top: str
    end: str


def curves(process: ProcessView) -> tuple[Curve, ...]:
    """Give the curves of all that was measured of a process."""
    if process.resources is None:
        return ()
    return tuple(_curves(process, process.resources))


def _curves(process: ProcessView, used: ResourceView) -> Iterator[Curve]:
    unit = used.unit or ""
    is_ours = used.peak_ram is not None or "of one core" in unit

    def as_told(value: float) -> str:
        return f"{_amount(value)} {'%' if is_ours else unit}".strip()

    whole = process.seconds or 0.0
    if used.cpu_usage:
        meaning = "100 % is one processor that works all the time" if is_ours else ""
        yield _curve("CPU", meaning, used.cpu_usage, whole, as_told)
    if used.ram_usage:
        if used.peak_ram is None or used.ram is None:
            yield _curve("Memory", "", used.ram_usage, whole, as_told)
        else:
            in_bytes = tuple((at, value / 100 * (used.ram or 0)) for at, value in used.ram_usage)
            meaning = f"of {size(used.ram)}"
            yield _curve("Memory", meaning, in_bytes, whole, size)
    if used.gpu_usage:
        meaning = "100 % is one GPU that works all the time" if is_ours else ""
        yield _curve("GPU", meaning, used.gpu_usage, whole, as_told)


def _curve(
    what: str, meaning: str, series: Series, whole: float, told: Callable[[float], str]
) -> Curve:
    points = thinned(series, _MOST_POINTS)
    end = max(whole, points[-1][0]) or 1.0
    peak = max(value for _, value in points)
    top = _round_up(peak)
    places = [
        (f"{100 * max(0.0, at) / end:.2f}", f"{100 - 100 * max(0.0, value) / top:.2f}")
        for at, value in points
    ]
    (first_x, first_y), *others = places
    # A value holds for the time since the point before.
    steps = f"H{first_x}" + "".join(f"V{y}H{x}" for x, y in others)
    return Curve(
        what=what,
        meaning=meaning,
        line=f"M0 {first_y}{steps}",
        area=f"M0 100V{first_y}{steps}V100Z",
        peak=told(peak),
        top=told(top),
        end=duration(end),
    )


def _round_up(value: float) -> float:
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((step * power for step in _STEPS if step * power >= value), value)


def _amount(number: float) -> str:
    """Give a number to three digits, without an exponent where it can be read without."""
    if number == 0 or 0.001 <= abs(number) < 1e9:
        digits = 0 if abs(number) >= 100 else 1 if abs(number) >= 10 else 3
        text = f"{number:,.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{number:.3g}"
