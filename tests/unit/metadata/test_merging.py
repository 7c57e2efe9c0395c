"""Processings become one: each process once, dependencies as they were said."""

from __future__ import annotations

import json
import logging
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from aind_data_schema.core.processing import Processing

from asset_provenance.metadata.merging import Merged, last_of, merge_files
from helpers.assets import process

NEXT = "2026-03-03T00:01:00Z"


def processing(*several: dict[str, Any], **changes: Any) -> Processing:
    return Processing.model_validate({"data_processes": list(several), **changes})


def merge(*several: Processing) -> Processing:
    merged = Merged()
    for number, one in enumerate(several):
        merged.add(one, f"stage {number}")
    merged.settle()
    return merged.processing()


def test_parallel_steps_are_no_chain_and_share_what_they_follow() -> None:
    def fan(shank: int) -> Processing:
        fit = process("fit", NEXT, code={"url": "u", "version": "1", "parameters": {"n": shank}})
        return processing(process("clean"), fit, dependency_graph={"clean": [], "fit": ["clean"]})

    found = merge(*map(fan, range(3))).dependency_graph
    assert found == {"clean": [], "fit": ["clean"], "fit_1": ["clean"], "fit_2": ["clean"]}


def test_names_that_say_the_same_side_by_side_stay_two() -> None:
    twice = processing(process("fit"), process("fit_1"), dependency_graph={"fit": [], "fit_1": []})
    assert merge(twice, twice, processing(process("fit"))).process_names == ["fit", "fit_1"]


def test_steps_that_differ_in_their_own_numbers_only_are_two() -> None:
    # As when one date is good enough for all of them.
    shards = [processing(process("shard_1")), processing(process("shard_2"))]
    assert merge(*shards).process_names == ["shard_1", "shard_2"]
    assert merge(merge(*shards), *shards).process_names == ["shard_1", "shard_2"]


def test_a_number_of_an_earlier_merge_makes_no_other_step() -> None:
    raw, other = processing(process("fit")), processing(process("fit", "2026-03-02T00:00:00Z"))
    before = merge(raw, other)
    assert before.process_names == ["fit", "fit_1"]
    assert merge(before, raw, other).model_dump_json() == before.model_dump_json()


def test_the_exact_name_is_followed_where_two_steps_say_the_same() -> None:
    twice = processing(process("fit"), process("fit_1"), dependency_graph={"fit": [], "fit_1": []})
    part = processing(
        process("fit_1"), process("next", NEXT), dependency_graph={"fit_1": [], "next": ["fit_1"]}
    )
    assert (merge(twice, part).dependency_graph or {})["next"] == ["fit_1"]


def test_a_step_whose_times_are_written_in_another_zone_is_the_same() -> None:
    here = process("fit", "2026-03-02T16:00:00-08:00")
    assert merge(processing(process("fit")), processing(here)).process_names == ["fit"]


def test_pipelines_that_share_a_name_are_told_in_the_notes() -> None:
    code = {"url": "https://example.org/p", "name": "p"}
    several = [
        processing(process(name), pipelines=[{**code, "version": version}])
        for name, version in (("a", "1"), ("b", "2"))
    ]
    merged = merge(*several)
    assert "More than one pipeline is named p" in (merged.notes or "")
    assert merge(merged, *several).notes == merged.notes


def test_stages_that_contradict_each_other_make_no_cycle(caplog: pytest.LogCaptureFixture) -> None:
    one, two = process("one"), process("two", NEXT)
    forth = processing(one, two, dependency_graph={"one": [], "two": ["one"]})
    back = processing(one, two, dependency_graph={"one": ["two"], "two": []})
    assert merge(forth, back).dependency_graph == {"one": ["two"], "two": []}
    assert "closes a cycle" in caplog.text


def test_pipelines_and_lines_of_notes_are_there_once() -> None:
    pipeline = {"url": "https://example.org/p", "name": "p", "version": "1"}
    first = processing(process("a"), pipelines=[pipeline], notes="one\nboth")
    second = processing(process("b", NEXT), pipelines=[pipeline], notes="both\ntwo")
    merged = merge(second, first)
    assert [each.name for each in merged.pipelines or ()] == ["p"]
    assert merged.notes == "one\nboth\ntwo"


def test_names_that_were_given_stay_when_more_is_added(caplog: pytest.LogCaptureFixture) -> None:
    merged = Merged()
    mentions = merged.add(processing(process("fit", NEXT)), "an input")
    merged.settle(by_time=False)
    with caplog.at_level(logging.INFO):
        merged.add(processing(process("fit")), "a stage")
        merged.settle()
    assert merged.graph() == {"fit_1": [], "fit": []}
    assert [step.name for step in last_of(mentions)] == ["fit"]
    assert "that of a stage becomes fit_1" in caplog.text


def test_memory_grows_with_the_result_and_not_with_the_number_of_stages(tmp_path: Path) -> None:
    carried = [process(f"early-{number}") for number in range(50)]
    for number in range(100):
        content = [*carried, process("fit", NEXT, notes=str(number))]
        (tmp_path / f"{number:03}_data_process.json").write_text(json.dumps(content))
    paths = sorted(tmp_path.iterdir())

    def peak(count: int) -> int:
        tracemalloc.start()
        merged = merge_files(paths[:count])
        assert len(merged.names) == 50 + count
        reached = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return reached

    peak(2)  # what is only built once
    assert peak(100) < 4 * peak(10)
