"""Whatever assets say of their sources, the walk ends, and what is wrong with them is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from asset_provenance.ancestry import walk
from asset_provenance.whereabouts import Found
from helpers.assets import process

NAMES = [f"a{number}" for number in range(7)]
_TARGETS = st.lists(st.sampled_from(NAMES), max_size=3, unique=True)
_GRAPHS = st.dictionaries(st.sampled_from(NAMES), st.tuples(_TARGETS, _TARGETS))
_Graph = Mapping[str, tuple[Sequence[str], Sequence[str]]]


def found_in(graph: _Graph, names: Sequence[str]) -> dict[str, Found]:
    """Give assets with the sources and the inputs that the graph has for them."""
    found = {}
    for name in names:
        if name in graph:
            sources, inputs = graph[name]
            code = {"input_data": [{"name": each} for each in inputs]}
            found[name] = Found(
                "folder",
                None,
                {"data_level": "derived" if sources else "raw", "source_data": list(sources)},
                # Any two may be the same process, inherited.
                {"data_processes": [process("p", code=code)]},
            )
    return found


def reachable(steps: Mapping[str, Sequence[str]], start: str) -> set[str]:
    """Give what a step or more lead to."""
    seen: set[str] = set()
    left = list(steps.get(start, ()))
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += steps.get(name, ())
    return seen


@given(_GRAPHS)
def test_each_missing_asset_and_each_step_of_a_cycle_is_told(graph: _Graph) -> None:
    graph = {"a0": ([], []), **graph}
    asked: list[str] = []

    def find(names: Sequence[str]) -> dict[str, Found]:
        asked.extend(names)
        return found_in(graph, names)

    ancestry = walk("a0", found_in(graph, ["a0"])["a0"], find)
    stated = {name: [*sources, *inputs] for name, (sources, inputs) in graph.items()}
    expected = {"a0"} | reachable(stated, "a0")
    assert set(ancestry.assets) == expected
    assert sorted(asked) == sorted(expected - {"a0"})
    assert set(ancestry.missing) == expected - set(graph)

    steps = {
        name: [use.asset for use in asset.said.uses] for name, asset in ancestry.assets.items()
    }
    on_cycles = {
        (name, target)
        for name, targets in steps.items()
        for target in targets
        if name == target or name in reachable(steps, target)
    }
    told = {step for cycle in ancestry.cycles for step in pairwise(cycle)}
    assert told == on_cycles
    # Each is shown once, below one that names it.
    for name, asset in ancestry.assets.items():
        if name == "a0":
            assert asset.reached_from is None
        else:
            assert asset.reached_from is not None
            assert name in steps[asset.reached_from]


@given(_GRAPHS)
def test_sources_are_kept_and_references_lead_to_no_raw_root(graph: _Graph) -> None:
    graph = {"a0": ([], []), **graph}
    ancestry = walk("a0", found_in(graph, ["a0"])["a0"], lambda names: found_in(graph, names))
    sources = {name: graph[name][0] for name in graph}
    for name, asset in ancestry.assets.items():
        kept = {use.asset for use in asset.said.uses if use.kind == "source"}
        assert kept == set(sources.get(name, ()))
    for name in ancestry.raw_roots:
        steps = {
            one: [use.asset for use in asset.said.uses if use.kind != "reference"]
            for one, asset in ancestry.assets.items()
        }
        assert name == "a0" or name in reachable(steps, "a0")
