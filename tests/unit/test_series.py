"""Series of measurements: what is kept of many points, in how little memory."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_provenance.series import Series, thinned

values = st.floats(0, 1e12, allow_nan=False)


@given(st.lists(values, min_size=1, max_size=600), st.integers(3, 100))
def test_a_series_never_has_too_many_points_and_keeps_its_first_last_and_peak(
    taken: list[float], most: int
) -> None:
    points = [(float(at), value) for at, value in enumerate(taken)]

    kept = thinned(points, most)

    assert len(kept) == min(most, len(points))
    assert kept[0] == points[0]
    assert kept[-1] == points[-1]
    assert max(value for _, value in kept) <= max(taken)
    assert next(point for point in points if point[1] == max(taken)) in kept
    assert all(first[0] < second[0] for first, second in pairwise(kept))


@given(st.lists(values, min_size=4, max_size=50))
def test_too_few_points_for_first_last_and_peak_are_none(taken: list[float]) -> None:
    assert thinned(list(enumerate(taken)), 1) == []


def test_between_the_kept_points_means_are_given() -> None:
    points = [(0.0, 5.0), (1.0, 0.0), (2.0, 100.0), (4.0, 10.0), (5.0, 40.0), (6.0, 1.0)]

    # 10 held for two seconds, 40 for one; the 0 before the peak, for one.
    assert thinned(points, 4) == [(0.0, 5.0), (2.0, 100.0), (5.0, 15.0), (6.0, 1.0)]


@settings(deadline=None)
@given(
    st.integers(1, 9000),
    st.dictionaries(st.integers(0, 8999), st.floats(50, 100), max_size=3),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_in_days_of_points_the_peak_of_any_stretch_is_found(
    count: int, peaks: dict[int, float], stretch: tuple[float, float]
) -> None:
    series = Series()
    for at in range(count):
        series.add(at - 1.0, at, peaks.get(at, 10.0))
    start, end = sorted(count * part for part in stretch)

    found = series.between(start, end)

    assert all(start <= at <= end for at, _ in found)
    # Old points are merged with neighbours: at the edges some may count for the stretch beside it.
    edge = count / 250
    inside = [value for at, value in peaks.items() if start + edge <= at <= min(end, count) - edge]
    assert max((value for _, value in found), default=100) >= max(inside, default=0)


def test_a_peak_just_before_a_stretch_does_not_hide_the_one_inside() -> None:
    series = Series()
    for at in range(9_000):
        series.add(at - 1.0, at, {320: 100.0, 635: 50.0}.get(at, 10.0))
    # By now the first is in a point that reaches into the stretch from before it.
    assert max(value for _, value in series.between(321, 735)) == 50


def test_a_week_of_seconds_takes_little_memory_and_keeps_its_mean() -> None:
    series, seconds = Series(), 2 * 24 * 3600
    for at in range(seconds):
        series.add(at - 1.0, at, 100.0 if at % 4 == 0 else 20.0)

    points = series.between(0, seconds)

    assert len(points) < 2100
    assert sum(map(sys.getsizeof, points)) < 1_000_000
    assert points[10][1] == pytest.approx(40, rel=0.05)
    # A process of the last minutes is still seen as it was.
    assert len(series.between(seconds - 301, seconds)) == 301
