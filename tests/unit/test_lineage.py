"""Names and dependencies."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_provenance import lineage
from asset_provenance.records import ProcessRecord, ProcessStatus

START = datetime(2026, 3, 2, tzinfo=UTC)


def record(
    name: str,
    begin: float,
    end: float,
    *,
    parent: str | None = None,
    reads: tuple[str, ...] = (),
    outputs: tuple[str, ...] = (),
    status: ProcessStatus = ProcessStatus.COMPLETED,
) -> ProcessRecord:
    return ProcessRecord(
        id=name,
        parent_id=parent,
        name=name,
        process_type="Analysis",
        stage="Analysis",
        start_date_time=START + timedelta(seconds=begin),
        end_date_time=START + timedelta(seconds=end),
        status=status,
        reads=reads,
        outputs=outputs,
    )


def test_names_are_counted_and_never_taken_twice() -> None:
    names = lineage.unique_names(["fit", "fit", "plot", "fit_1", "fit"], taken=["plot"])
    assert names == ["fit", "fit_1", "plot_1", "fit_1_1", "fit_2"]


@given(st.lists(st.sampled_from(["a", "a_1", "a_2", "b"])), st.sets(st.sampled_from(["a", "b"])))
def test_names_are_always_unique_and_keep_their_own_as_a_stem(
    names: list[str], taken: set[str]
) -> None:
    unique = lineage.unique_names(names, taken)
    assert len(set(unique) | taken) == len(unique) + len(taken)
    assert all(new.startswith(old) for new, old in zip(unique, names, strict=True))


def test_a_process_depends_on_those_whose_output_it_reads() -> None:
    graph = lineage.dependencies(
        [
            record("sort", 0, 1, outputs=("sorted",)),
            record("other", 0, 1, outputs=("sorted-not",)),
            record("fit", 2, 3, reads=("sorted/units.csv",), outputs=("fit.json",)),
            record("plot", 4, 5, reads=(".",)),
        ]
    )
    assert graph == {"sort": [], "other": [], "fit": ["sort"], "plot": ["sort", "other", "fit"]}


def test_nobody_depends_on_what_had_not_ended_when_it_started() -> None:
    graph = lineage.dependencies(
        [record("late", 1, 5, outputs=("x",)), record("early", 0, 2, reads=("x",))]
    )
    assert graph == {"late": [], "early": []}


def test_a_parent_depends_on_its_direct_children_that_completed() -> None:
    graph = lineage.dependencies(
        [
            record("top", 0, 9),
            record("child", 1, 2, parent="top"),
            record("grandchild", 1, 2, parent="child"),
            record("failed", 3, 4, parent="top", status=ProcessStatus.FAILED),
        ]
    )
    assert graph == {"top": ["child"], "child": ["grandchild"], "grandchild": [], "failed": []}


def test_a_process_that_reads_its_own_or_its_parents_output_does_not_depend_on_it() -> None:
    graph = lineage.dependencies(
        [
            record("top", 0, 0, outputs=("x",)),
            record("child", 0, 0, parent="top", reads=("x",), outputs=("x",)),
        ]
    )
    assert graph == {"top": ["child"], "child": []}


def test_edges_to_nobody_to_oneself_and_into_a_cycle_are_dropped() -> None:
    graph = {"a": ["a", "ghost", "b", "b"], "b": ["c"], "c": ["a"]}
    assert lineage.clean_graph(graph) == {"a": ["b"], "b": ["c"], "c": []}


names = st.sampled_from("abcdef")


@given(st.dictionaries(names, st.lists(names | st.just("ghost"))))
def test_a_cleaned_graph_is_always_acyclic_and_only_loses_edges(
    graph: dict[str, list[str]],
) -> None:
    cleaned = lineage.clean_graph(graph)
    assert list(cleaned) == list(graph)
    assert all(set(cleaned[node]) <= set(graph[node]) for node in graph)
    remaining = dict(cleaned)
    while remaining:
        free = [node for node, targets in remaining.items() if not set(targets) & set(remaining)]
        assert free, "a cycle is left"
        for node in free:
            del remaining[node]


@given(st.data())
def test_dependencies_of_any_records_are_acyclic(data: st.DataObject) -> None:
    paths = st.lists(st.sampled_from([".", "a", "a/b", "c"]), max_size=2).map(tuple)
    records = []
    for index in range(data.draw(st.integers(0, 8))):
        begin = data.draw(st.integers(0, 5))
        records.append(
            record(
                str(index),
                begin,
                begin + data.draw(st.integers(0, 5)),
                parent=data.draw(st.sampled_from([None, *(item.id for item in records)])),
                reads=data.draw(paths),
                outputs=data.draw(paths),
            )
        )
    graph = lineage.dependencies(records)
    assert lineage.clean_graph(graph) == graph


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ((), None),
        (("a/b.csv",), "a/b.csv"),
        (("a/b.csv", "a/c.csv"), "a"),
        (("a/b", "a/b/c"), "a/b"),
        (("a", "b"), None),
        ((".",), None),
    ],
)
def test_several_paths_have_their_common_folder(paths: tuple[str, ...], expected: str) -> None:
    assert lineage.common_path(paths) == expected


def test_what_a_process_depends_on_is_in_the_order_of_the_records_whatever_was_used_first() -> None:
    first, second = record("first", 0, 1), record("second", 0, 2)
    for follows in (("first", "second"), ("second", "first")):
        reader = replace(record("reader", 3, 4), follows=follows)
        assert lineage.dependencies([first, second, reader])["reader"] == ["first", "second"]
