"""Tracked functions among other decorators, in classes, and on their way elsewhere."""

from __future__ import annotations

import abc
import copy
import functools
import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cloudpickle
import joblib
import pytest

from asset_provenance import DerivedAsset, track_process
from helpers.assets import FACTS, PEOPLE


@pytest.fixture
def asset() -> Iterator[DerivedAsset]:
    with DerivedAsset("test", inputs=(), base_name="b", parameters={}, **FACTS, **PEOPLE) as opened:
        yield opened


@track_process
def square(x: int) -> int:
    """Square."""
    return x * x


class Model:
    def __init__(self, gain: int) -> None:
        self.gain = gain

    @track_process
    def fit(self, x: int) -> int:
        return self.gain * x


def test_a_cache_outside_hides_repeated_calls_and_one_inside_does_not(asset: DerivedAsset) -> None:
    @functools.lru_cache
    @track_process
    def outside(x: int) -> int:
        return x

    @track_process
    @functools.lru_cache
    def inside(x: int) -> int:
        return x

    assert [outside(1), outside(1), inside(2), inside(2)] == [1, 1, 2, 2]
    assert [record.name for record in asset.records] == ["outside", "inside", "inside"]
    assert asset.records[1].parameters == {"x": 2}
    assert inside.cache_info().hits == 1  # type: ignore[attr-defined]


def test_a_partial_of_a_tracked_function_and_a_tracked_partial(asset: DerivedAsset) -> None:
    add: Callable[..., int] = track_process("add")(functools.partial(lambda a, b: a + b, 1))
    assert functools.partial(square, 3)() == 9
    assert add(2) == 3
    assert [record.parameters for record in asset.records] == [{"x": 3}, {"b": 2}]


def test_abstract_methods_stay_abstract_and_their_bodies_are_recorded(asset: DerivedAsset) -> None:
    class Base(abc.ABC):
        @abc.abstractmethod
        @track_process
        def run(self, x: int) -> int: ...

    class Child(Base):
        @track_process
        def run(self, x: int) -> int:
            return x

    with pytest.raises(TypeError, match="abstract"):
        Base()  # type: ignore[abstract]
    assert Child().run(2) == 2
    assert asset.records[0].parameters == {"x": 2}


def test_methods_of_data_classes_and_properties(asset: DerivedAsset) -> None:
    @dataclass(frozen=True)
    class Session:
        size: int

        @track_process
        def scaled(self, by: int = 2) -> int:
            return self.size * by

        @property
        @track_process
        def doubled(self) -> int:
            return self.scaled()

    session = Session(3)
    assert (session.scaled(5), session.doubled) == (15, 6)
    assert session == Session(3)
    assert [record.name for record in asset.records] == ["scaled", "doubled", "scaled"]


def test_an_override_that_calls_its_parent_s_method(asset: DerivedAsset) -> None:
    class Base:
        @track_process
        def run(self) -> str:
            return "base"

    class Child(Base):
        @track_process
        def run(self) -> str:
            return "child of " + super().run()

    assert Child().run() == "child of base"
    child, base = asset.records
    assert base.parent_id == child.id


def test_a_compiled_like_object_is_recorded_under_its_function_s_name(asset: DerivedAsset) -> None:
    class Dispatcher:
        """As numba makes it: an object that is called and names the function it came from."""

        def __init__(self, function: Callable[..., Any]) -> None:
            functools.update_wrapper(self, function)
            self.py_func = function

        def __call__(self, *args: Any) -> Any:
            return self.py_func(*args)

    @track_process
    @Dispatcher
    def kernel(x: int, y: int) -> int:
        return x + y

    assert kernel(1, 2) == 3
    (record,) = asset.records
    assert (record.name, record.parameters) == ("kernel", {"x": 1, "y": 2})


def test_the_same_function_decorated_twice_is_two_processes(asset: DerivedAsset) -> None:
    twice = track_process("outer")(square)
    assert twice(2) == 4
    assert [record.name for record in asset.records] == ["outer", "square"]


@pytest.mark.parametrize("module", [pickle, cloudpickle])
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_functions_and_methods_come_back_from_pickle(module: Any, protocol: int) -> None:
    assert pickle.loads(module.dumps(square, protocol))(3) == 9
    assert pickle.loads(module.dumps(Model(2).fit, protocol))(3) == 6
    assert pickle.loads(module.dumps(Model.fit, protocol))(Model(2), 3) == 6


def test_copies_of_methods_belong_to_copies_of_their_objects() -> None:
    model = Model(2)
    shallow, deep = copy.copy(model.fit), copy.deepcopy(model.fit)
    model.gain = 5
    assert (shallow(1), deep(1)) == (5, 2)
    assert copy.copy(square) is square


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_tracked_functions_go_to_the_workers_of_a_pool(
    asset: DerivedAsset, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(square, [1, 2]) == [1, 4]
        assert pool.map(Model(3).fit, [1]) == [3]


@pytest.mark.parametrize("backend", ["threading", "sequential", "loky"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tracked_functions_run_under_joblib(
    asset: DerivedAsset, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    calls = (joblib.delayed(square)(x) for x in (2, 3))
    assert joblib.Parallel(n_jobs=2, backend=backend)(calls) == [4, 9]
    if backend != "loky":
        assert len(asset.records) == 2
