"""Which process was handed what another one returned."""

from __future__ import annotations

import collections.abc
import enum
import functools
import gc
import logging
import re
import sys
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest

from asset_provenance import DerivedAsset, track_process
from asset_provenance.flows import Flows
from helpers.assets import FACTS, PEOPLE, graph

RESULTS = Path("results")


def plain(**options: Any) -> DerivedAsset:
    return DerivedAsset("test", inputs=(), base_name="b", **FACTS, **PEOPLE, **options)


@track_process
def make() -> Any:
    return numpy.arange(10.0)


@track_process
def frame() -> Any:
    return pandas.DataFrame({"a": range(5)})


@track_process
def use(value: Any, *more: Any, **others: Any) -> None: ...


@pytest.mark.parametrize(
    "handed",
    [
        lambda value: value,
        lambda value: (1, value),
        lambda value: [[value]],
        lambda value: {"deep": {"er": [value]}},
    ],
)
def test_an_object_that_another_returned_gives_an_edge(handed: Any) -> None:
    with plain():
        use(handed(make()))
    assert graph(RESULTS) == {"make": [], "use": ["make"]}


@pytest.mark.parametrize("place", ["argument", "further", "keyword"])
def test_it_does_not_matter_as_which_argument(place: str) -> None:
    with plain():
        value = make()
        if place == "argument":
            use(value)
        elif place == "further":
            use(0, value)
        else:
            use(0, other=value)
    assert graph(RESULTS)["use"] == ["make"]


def test_objects_inside_a_result_are_told_apart() -> None:
    @track_process
    def pair() -> Any:
        return {"x": numpy.zeros(3), "y": [numpy.ones(3)]}

    with plain():
        result = pair()
        use(result["y"][0])
    assert graph(RESULTS)["use"] == ["pair"]


def test_what_was_made_of_an_object_is_another_object() -> None:
    with plain():
        table = frame()
        use(table[table.a > 1])
        use({"table": table})
        use(make()[2:])
    assert graph(RESULTS) == {"frame": [], "use": [], "use_1": ["frame"], "make": [], "use_2": []}


def test_the_last_to_return_an_object_is_who_is_followed() -> None:
    @track_process
    def scale(values: Any) -> Any:
        values *= 2
        return values

    with plain():
        use(scale(make()))
    assert graph(RESULTS) == {"make": [], "scale": ["make"], "use": ["scale"]}


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    "value",
    [
        5,
        2.5,
        "text",
        b"bytes",
        None,
        True,
        (),
        (2, 2),
        frozenset(),
        range(3),
        Colour.RED,
        collections.abc.Mapping,
        logging.getLogger("x"),
        re.compile("x"),
        functools.lru_cache(len),
        sys.stdout,
        use,
    ],
)
def test_what_everybody_shares_says_nothing(value: Any) -> None:
    @track_process
    def give() -> Any:
        return value

    with plain():
        use(give())
    assert graph(RESULTS)["use"] == []


@pytest.mark.parametrize("content", [[1.5, 2], {"a": 1}, {1, 2}])
def test_a_small_container_of_plain_values_is_known_again(content: Any) -> None:
    @track_process
    def give() -> Any:
        return type(content)(content)

    with plain():
        kept = give()
        use(kept)
        use(type(kept)(kept))
    assert graph(RESULTS) == {"give": [], "use": ["give"], "use_1": []}


def test_a_number_that_is_used_again_for_another_object_gives_no_edge() -> None:
    @track_process
    def give() -> Any:
        return numpy.zeros(3)

    with plain():
        for _ in range(50):
            give()  # dropped at once, so that the next array takes its place
            use(numpy.ones(3))
    assert {name: after for name, after in graph(RESULTS).items() if after} == {}


def test_a_parent_that_hands_on_what_it_was_given_is_not_followed() -> None:
    @track_process
    def outer(value: Any) -> None:
        use(value)

    with plain():
        outer(make())
    assert graph(RESULTS) == {"make": [], "outer": ["make", "use"], "use": ["make"]}


def test_what_a_generator_yields_is_its_result() -> None:
    @track_process
    def parts() -> Iterator[Any]:
        for _ in range(2):
            yield numpy.zeros(2)

    with plain():
        for part in parts():
            use(part)
    assert graph(RESULTS)["use"] == graph(RESULTS)["use_1"] == ["parts"]


def test_further_calls_follow_all_that_they_were_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_MAX_REPEATS", "2")
    with plain():
        for _ in range(5):
            use(numpy.zeros(2))
        use(make())
        use(frame())
    assert graph(RESULTS)["use_2"] == ["make", "frame"]


def test_an_array_lives_no_longer_for_being_tracked() -> None:
    with plain():
        value = make()
        use([value], other={"value": value})
        watched = weakref.ref(value)
        del value
        gc.collect()
        assert watched() is None


def test_a_list_that_takes_an_array_later_does_not_keep_it() -> None:
    flows = Flows()
    kept: list[Any] = [1, 2]
    flows.returned(kept, "a")
    value = numpy.zeros(10)
    kept.append(value)
    watched = weakref.ref(value)
    del value, kept
    flows.returned([3, 4], "b")
    assert watched() is None


def test_memory_stays_bounded_however_much_is_returned() -> None:
    flows = Flows()
    for number in range(20_000):
        flows.returned([number, number + 1], "a")
        flows.returned(numpy.zeros(4), "a")
    assert len(flows.marks) <= 1
    assert len(flows._held) <= 64


def test_a_copy_that_is_sent_on_can_carry_who_returned_what() -> None:
    here, there = Flows(), Flows()
    value = numpy.zeros(3)
    here.returned(value, "a-1")
    sent, arrived = {"x": [1, value]}, {"x": [1, value.copy()]}
    there.tag(arrived, here.tags(sent))
    assert there.find([arrived]) == ("a-1",)
    assert there.find([arrived["x"][1]]) == ("a-1",)


def test_many_threads_may_return_small_containers_at_once() -> None:
    @track_process
    def mean(number: int) -> Any:
        return {"mean": number * 1.0, "n": number}

    with plain() as opened, ThreadPoolExecutor(8) as pool:
        list(pool.map(mean, range(2_000)))
    assert {record.status.value for record in opened.records} == {"completed"}


@pytest.mark.parametrize(
    "data",
    [
        [[[0.5] * 300] * 300] * 300,
        [[[float(x) for x in range(100)] for _ in range(50)] for _ in range(50)],
    ],
)
def test_deeply_nested_data_cost_little(data: Any) -> None:
    flows = Flows()
    start = time.process_time()
    flows.returned(data, "a")
    flows.find([data])
    assert time.process_time() - start < 2  # without a bound, minutes


def test_a_list_that_holds_itself_is_gone_through_once() -> None:
    data: list[Any] = []
    data += [data] * 1_000
    flows = Flows()
    flows.returned(data, "a")
    assert flows.find([data]) == ()


def test_the_object_that_a_method_is_called_on_counts() -> None:
    class Model:
        @track_process
        def predict(self) -> None: ...

    @track_process
    def fit() -> Model:
        return Model()

    with plain():
        fit().predict()
    assert graph(RESULTS) == {"fit": [], "predict": ["fit"]}


def test_nothing_is_held_once_the_asset_has_closed() -> None:
    @track_process
    def give() -> Any:
        return [1, 2, 3]

    with plain():
        kept = give()
    assert sys.getrefcount(kept) <= 2 + (sys.version_info < (3, 11))
