"""Calls beyond ``max_repeats``: counted, summarised, and never lost."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from asset_provenance import DerivedAsset, current_process, track_process
from asset_provenance.journalfiles import read_processes
from asset_provenance.records import ProcessStatus
from helpers.assets import FACTS, PEOPLE, graph, make_asset, processes

RESULTS = Path("results")


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_MAX_REPEATS", "3")


def opened() -> DerivedAsset:
    return DerivedAsset("test", inputs=(), base_name="b", parameters={}, **FACTS, **PEOPLE)


@track_process
def scale(value: Any, factor: float = 2.0, mode: str = "a", token: str = "") -> Any:
    if value == -1:
        raise ValueError("negative")
    return value


def test_calls_up_to_the_limit_are_a_process_each_and_the_rest_are_one() -> None:
    with opened():
        for value in range(10):
            scale(value)
    found = processes(RESULTS)
    assert list(found) == ["scale", "scale_1", "scale_2", "scale_3"]
    rest = found["scale_3"]
    assert rest["notes"].startswith(
        "7 further calls of scale, together one process. Varied: value from 3 to 9."
    )
    assert rest["code"]["parameters"] == {"factor": 2.0, "mode": "a", "token": "[redacted]"}
    assert rest["start_date_time"] <= rest["end_date_time"]


def test_failures_are_counted_and_go_on_unchanged() -> None:
    with opened() as asset:
        for value in [0, 0, 0, 1, -1, 2, -1]:
            if value == -1:
                with pytest.raises(ValueError, match="negative"):
                    scale(value)
            else:
                scale(value)
    record = asset.records[-1]
    assert record.status is ProcessStatus.COMPLETED
    assert "4 further calls" in record.notes[0]
    assert "2 of them failed, the first with ValueError: negative." in record.notes[0]


def test_calls_that_all_failed_are_a_failure() -> None:
    with opened() as asset:
        for _ in range(6):
            with pytest.raises(ValueError, match="negative"):
                scale(-1)
    assert asset.records[-1].status is ProcessStatus.FAILED
    assert asset.records[-1].error == "ValueError: negative"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1, 1, 1, 1, 1], None),
        ([1, 1, 1, 2.5, -3, True], "value from -3 to 2.5"),
        (["x", "x", "x", "x", "y", "x", "z"], 'value over "x", "y", "z"'),
        ([1, 1, 1, 1, 2, "x"], 'value over 1, 2, "x"'),
        ([{"a": 1}] * 4 + [{"a": 2}], 'value over {"a": 1}, {"a": 2}'),
        ([numpy.zeros(2)] * 4 + [numpy.zeros(3)], "ndarray of shape (3,)"),
        ([numpy.zeros(2), numpy.ones(2)] * 3, None),
        ([[1]] * 4 + [[2]], "value over [1], [2]"),
        ([None] * 4 + [3], "value over null, 3"),
        ([*range(3), *"abcdefghijklmnop"], '"h", "i", "j", ...'),
    ],
)
def test_what_the_parameters_varied_over_is_said(values: list[Any], said: str | None) -> None:
    @track_process
    def take(value: Any) -> None: ...

    with opened() as asset:
        for value in values:
            take(value)
    record = asset.records[-1]
    if said is None:
        assert "Varied" not in record.notes[0]
        assert list(record.parameters or {}) == ["value"]
    else:
        assert said in record.notes[0]
        assert record.parameters is None


def test_secrets_are_neither_compared_nor_shown() -> None:
    with opened() as asset:
        for index in range(6):
            scale(0, token=f"canary-{index}")
    record = asset.records[-1]
    assert (record.parameters or {})["token"] == "[redacted]"
    assert "canary" not in json.dumps(record.notes)


def test_keywords_in_any_form_are_summarised_under_their_names() -> None:
    with opened() as asset:
        for index in range(4):
            scale(index)
        for index in range(4):
            scale(value=10, factor=index)
            scale(mode="b", value=index)
    note = asset.records[-1].notes[0]
    assert "9 further calls" in note
    for said in ("value from 0 to 10", "factor from 0 to 3", 'mode over "a", "b"'):
        assert said in note


def test_calls_with_other_inputs_or_outputs_are_another_process(data_root: Path) -> None:
    one = make_asset(data_root, "a_1_2026-03-02_10-00-00")
    two = make_asset(data_root, "a_2_2026-03-02_10-00-00")

    @track_process
    def read(folder: Path, index: int) -> None: ...

    with opened() as asset:
        for index in range(8):
            read(one, index)
            read(two, index)
    notes = {record.inputs[0].name: record.notes for record in asset.records[3:]}
    assert list(notes) == [two.name, one.name]
    assert notes[one.name][0].startswith("6 further calls")
    assert notes[two.name][0].startswith("7 further calls")


def test_calls_with_ever_new_outputs_stay_bounded() -> None:
    @track_process(outputs=lambda arguments: f"{arguments['index']}.csv")
    def save(index: int) -> None: ...

    with opened() as asset:
        for index in range(50):
            save(index)
    assert len(asset.records) == 3 + 3 + 1
    assert sum(int(record.notes[0].split()[0]) for record in asset.records[3:]) == 47


def test_each_parent_has_processes_of_its_own_and_depends_on_them() -> None:
    @track_process
    def inner(index: int) -> None:
        current_process().add_results(last=index)

    with opened() as asset:
        for name in ("one", "two"):
            with track_process(name):
                for index in range(5):
                    inner(index)
    assert [record.name for record in asset.records] == [
        "one", "inner", "inner", "inner", "inner", "two", "inner",
    ]  # fmt: skip
    assert graph(RESULTS)["two"] == ["inner_4"]
    assert asset.records[-1].results == {"last": 4}


def test_calls_inside_repeated_calls_are_inside_their_process() -> None:
    @track_process
    def leaf() -> None: ...

    @track_process
    def node() -> None:
        leaf()

    with opened() as asset:
        for _ in range(9):
            node()
    records = {record.id: record for record in asset.records}
    last = [record for record in asset.records if record.name == "leaf"][-1]
    assert last.notes[0].startswith("6 further calls of leaf")
    assert records[last.parent_id or ""].notes[0].startswith("6 further calls of node")


def test_generators_are_counted_too() -> None:
    @track_process
    def count() -> Iterator[int]:
        yield 1

    with opened() as asset:
        for _ in range(7):
            list(count())
    assert len(asset.records) == 4
    assert asset.records[-1].notes[0].startswith("4 further calls of count")


def test_recursion_is_recorded_call_by_call_and_then_counted() -> None:
    @track_process
    def down(depth: int) -> int:
        return 0 if depth == 0 else down(depth - 1)

    with opened() as asset:
        assert down(20) == 0
    assert len(asset.records) <= 21
    assert {record.status for record in asset.records} == {ProcessStatus.COMPLETED}


def test_an_argument_does_not_live_longer_for_having_been_one() -> None:
    with opened():
        for _ in range(10):
            array = numpy.zeros(10)
            with pytest.raises(ValueError, match="ambiguous"):
                scale(array)
            reference = weakref.ref(array)
            del array
            gc.collect()
            assert reference() is None


def test_the_counts_are_in_the_journal_within_a_second() -> None:
    with opened() as asset:
        for value in range(10):
            scale(value)
        assert asset._run is not None
        asset._run.journal.sync()
        (path,) = asset._run.journal.folder.glob("*.jsonl")
        ended, begun = read_processes(path)
        assert [record.name for record in begun] == ["test"]
        last = ended[-1]
        assert last.notes[0].startswith("7 further calls of scale")
        scale(1)


def test_a_million_calls_cost_neither_memory_nor_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    monkeypatch.delenv("ASSET_PROVENANCE_MAX_REPEATS")

    @track_process
    def step(index: int, gain: float = 1.0) -> None: ...

    with opened() as asset:
        for index in range(1000):
            step(index)
        assert asset._run is not None
        folder = asset._run.journal.folder
        tracemalloc.start()
        for index in range(100_000):
            step(index)
        # What is written just now is renamed at any moment.
        kept = [path for path in folder.iterdir() if path.suffix != ".part"]
        size = sum(path.stat().st_size for path in kept)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert held < 2_000_000
    assert size < 500_000
    assert (RESULTS / "processing.json").stat().st_size < 500_000
    assert "100900 further calls of step" in asset.records[-1].notes[0]
