"""What holds for the merging of any processings, whatever they have in common."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from aind_data_schema.components.identifiers import Code
from aind_data_schema.core.processing import DataProcess, Processing
from hypothesis import given
from hypothesis import strategies as st

from asset_provenance import lineage
from asset_provenance.metadata.merging import Merged

START = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = st.sampled_from(["fit", "fit_1", "fit_2", "fit_1_1", "block_7"])


def made(name: str, minute: int, kind: int, pipeline: str | None) -> DataProcess:
    start = START + timedelta(minutes=minute)
    return DataProcess(
        process_type="Analysis",
        name=name,
        stage="Analysis",
        code=Code(url="https://example.org/code", version="1", parameters={"kind": kind}),
        experimenters=["Sample Scientist"],
        start_date_time=start,
        end_date_time=start,
        pipeline_name=pipeline,
    )


@st.composite
def processings(draw: st.DrawFn) -> Processing:
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    pipeline = draw(st.sampled_from([None, "p", "q"]))
    # No source says the same of two processes; what of them would be which, nobody could tell.
    said = st.tuples(st.integers(0, 2), st.integers(0, 1))
    told = draw(st.lists(said, min_size=len(names), max_size=len(names), unique=True))
    processes = [made(name, *what, pipeline) for name, what in zip(names, told, strict=True)]
    edges = st.lists(st.sampled_from([*names, "nobody"]), max_size=3)
    graph = draw(st.one_of(st.none(), st.fixed_dictionaries(dict.fromkeys(names, edges))))
    return Processing(
        data_processes=sorted(processes, key=lambda process: process.start_date_time),
        dependency_graph=graph,
        pipelines=None
        if pipeline is None
        else [Code(url="https://example.org/p", name=pipeline, version="1")],
        notes=draw(st.sampled_from([None, "a", "b", "a\nb", "c\nc"])),
    )


def merge(several: list[Processing]) -> Processing:
    merged = Merged()
    for number, one in enumerate(several):
        merged.add(one.model_copy(deep=True), f"stage {number}")
    merged.settle()
    return merged.processing()


def content(process: DataProcess) -> str:
    return process.model_dump_json(exclude={"name", "pipeline_name"})


def counted(processing: Processing) -> Counter[str]:
    return Counter(map(content, processing.data_processes))


def contents(several: list[Processing]) -> set[str]:
    return {content(process) for one in several for process in one.data_processes}


@given(st.lists(processings(), min_size=1, max_size=4))
def test_the_graph_is_whole_and_has_no_cycle(several: list[Processing]) -> None:
    result = merge(several)
    names, graph = result.process_names, result.dependency_graph or {}
    assert len(set(names)) == len(names)
    assert list(graph) == names
    assert lineage.clean_graph(graph) == graph


@given(st.lists(processings(), min_size=1, max_size=4))
def test_no_process_is_lost_and_none_is_there_twice(several: list[Processing]) -> None:
    result = merge(several)
    assert contents([result]) == contents(several)
    there = counted(result)
    for what in contents(several):
        counts = [sum(content(one) == what for one in each.data_processes) for each in several]
        assert there[what] >= max(counts)
        names = {p.name for one in several for p in one.data_processes if content(p) == what}
        assert there[what] <= len(names)


@given(st.lists(processings(), min_size=1, max_size=4), st.randoms())
def test_the_order_of_the_sources_does_not_matter(
    several: list[Processing], shuffler: random.Random
) -> None:
    shuffled: list[Any] = list(several)
    shuffler.shuffle(shuffled)
    assert merge(shuffled).model_dump_json() == merge(several).model_dump_json()


@given(st.lists(processings(), min_size=1, max_size=4), st.data())
def test_merging_a_result_with_its_own_sources_changes_nothing(
    several: list[Processing], data: st.DataObject
) -> None:
    result = merge(several)
    assert merge([result]).model_dump_json() == result.model_dump_json()
    again = data.draw(st.lists(st.sampled_from(several), max_size=4))
    once_more = merge([*again, result, *several])
    counts = counted(result)
    assert counted(once_more) == counts
    # Of processes that say the same and differ in their numbers, which is which is not told.
    if max(counts.values()) == 1:
        assert once_more.model_dump_json() == result.model_dump_json()
        assert merge([result, *several]).model_dump_json() == result.model_dump_json()
