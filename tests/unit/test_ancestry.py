"""The bounds of a way back: metadata from elsewhere can name as much as they please."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from asset_provenance import ancestry
from asset_provenance.whereabouts import Found


def test_what_the_sources_lead_to_anyway_is_no_reference() -> None:
    def made(*sources: str, used: str) -> Found:
        fit = {"name": "fit", "code": {"input_data": [{"name": used}]}}
        return Found("folder", None, {"source_data": [*sources]}, {"data_processes": [fit]})

    assets = {
        "a": made("b", used="c"),
        "b": made("c", used="c"),
        "c": Found("folder", None, {"data_level": "raw"}),
    }
    way = ancestry.walk("a", assets["a"], lambda names: {name: assets[name] for name in names})
    edges = [(name, use.asset) for name, asset in way.assets.items() for use in asset.said.uses]
    assert edges == [("a", "b"), ("b", "c")]


def walk(sources: Callable[[int], Sequence[int]]) -> ancestry.Ancestry:
    """Walk back from 0, where each number has the sources that the function gives."""

    def find(names: Sequence[str]) -> dict[str, Found]:
        return {
            name: Found("folder", None, {"source_data": [str(each) for each in sources(int(name))]})
            for name in names
        }

    return ancestry.walk("0", find(["0"])["0"], find)


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (lambda number: [number + 1], "more than 100 levels"),
        (
            lambda number: range(0 if number else 20_000),
            "10000 assets and 10000 steps between them are shown",
        ),
        (lambda number: range(10 * number + 1, 10 * number + 11), "10000 assets and "),
        (lambda number: range(number + 1, number + 300), "50000 steps between them are shown"),
    ],
    ids=["long", "broad", "tree", "dense"],
)
def test_more_than_can_be_followed_is_told(
    sources: Callable[[int], Sequence[int]], said: str
) -> None:
    found = walk(sources)
    assert any(said in problem for problem in found.problems)
    assert not found.is_complete
    assert len(found.assets) <= ancestry.MOST_ASSETS


def test_more_cycles_than_can_be_told_are_told_as_such() -> None:
    found = walk(lambda number: range(20))
    assert len(found.cycles) == ancestry.MOST_CYCLES
    assert "more than 50 cycles" in " ".join(found.problems)


def test_a_way_of_the_greatest_length_is_followed_to_its_end() -> None:
    found = walk(lambda number: [number + 1] if number < ancestry.MOST_LEVELS - 1 else [])
    assert (len(found.assets), found.problems) == (ancestry.MOST_LEVELS, ())
