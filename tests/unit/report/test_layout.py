"""Places of boxes and lines."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from asset_provenance.report.layout import Layout, lay_out


def laid_out(count: int, edges: list[tuple[int, int]]) -> Layout:
    layout = lay_out(count, edges, most_lanes=10_000)
    assert layout is not None
    return layout


@given(st.integers(1, 12), st.data())
def test_boxes_stand_apart_below_what_they_follow(count: int, data: st.DataObject) -> None:
    box = st.integers(0, count - 1)
    edges = data.draw(st.lists(st.tuples(box, box), max_size=30))
    layout = laid_out(count, edges)
    assert set(layout.lines) <= set(edges)
    for (source, target), points in layout.lines.items():
        assert (points[0], points[-1]) == (layout.places[source], layout.places[target])
        assert [y for _, y in points] == [points[0][1] + at for at in range(len(points))]
    for row in range(layout.layers):
        places = sorted(x for x, y in layout.places if y == row)
        assert all(right - left >= 1 for left, right in itertools.pairwise(places))
    assert all(x - 0.5 >= 0 and x + 0.5 <= layout.width + 1e-9 for x, _ in layout.places)


def test_of_a_circle_one_edge_is_left_out() -> None:
    edges = [(0, 1), (1, 2), (2, 0), (1, 1), (3, 0)]
    lines = set(laid_out(4, edges).lines)
    assert (3, 0) in lines
    assert len(lines & {(0, 1), (1, 2), (2, 0)}) == 2
    assert (1, 1) not in lines


def test_a_chain_is_one_straight_column_beside_the_line_of_what_all_of_it_uses() -> None:
    count = 50
    chain = [(at, at + 1) for at in range(1, count - 1)]
    layout = laid_out(count, [*chain, *((0, at) for at in range(1, count))])
    assert is_straight(x for x, _ in layout.places[1:])
    assert layout.width < 3
    lane = {point for edge, points in layout.lines.items() if not edge[0] for point in points[1:-1]}
    assert is_straight(x for x, _ in lane)


def is_straight(places: Iterable[float]) -> bool:
    ordered = sorted(places)
    return ordered[-1] - ordered[0] < 0.05


def test_a_graph_whose_lines_would_be_a_tangle_is_not_laid_out() -> None:
    edges = [(first, second) for first in range(30) for second in range(first + 1, 30)]
    assert lay_out(30, edges, most_lanes=100) is None
