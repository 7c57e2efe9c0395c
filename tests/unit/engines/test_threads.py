"""Work on other threads belongs to the process that handed it over, and nothing else changes."""

from __future__ import annotations

import contextvars
import gc
import inspect
import logging
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import joblib
import pytest

from asset_provenance import current_process, track_process
from asset_provenance.recorder import context
from asset_provenance.records import ProcessStatus
from helpers.assets import RAW, make_asset
from helpers.records import make, named, parents

own: contextvars.ContextVar[str] = contextvars.ContextVar("own", default="default")


@track_process
def work(number: int = 0) -> int:
    return number + 1


def step(name: str) -> Callable[[], None]:
    return track_process(name)(lambda: None)


class WithThreads:
    """What has threads from before any asset was opened, that know of no process."""

    executor: ThreadPoolExecutor
    pool: ThreadPool


with_threads = WithThreads()


@pytest.fixture(autouse=True)
def _threads_from_before() -> Iterator[None]:
    with ThreadPoolExecutor(1) as executor, ThreadPool(2) as pool:
        executor.submit(int).result()
        with_threads.executor, with_threads.pool = executor, pool
        yield


def in_thread(function: Callable[[], Any]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def in_timer(function: Callable[[], Any]) -> None:
    timer = threading.Timer(0.001, function)
    timer.start()
    timer.join()


def in_subclass(function: Callable[[], Any]) -> None:
    class Worker(threading.Thread):
        def run(self) -> None:
            function()

    worker = Worker(daemon=True)
    worker.start()
    worker.join()


def in_run_given_to_an_instance(function: Callable[[], Any]) -> None:
    thread = threading.Thread()
    thread.run = function  # type: ignore[method-assign]
    thread.start()
    thread.join()
    assert thread.run is function


def in_executor(function: Callable[[], Any]) -> None:
    with_threads.executor.submit(function).result()


def in_executor_map(function: Callable[[], Any]) -> None:
    assert len(list(with_threads.executor.map(lambda _: function(), [0]))) == 1


def in_executor_initializer(function: Callable[[], Any]) -> None:
    with ThreadPoolExecutor(1, initializer=function) as executor:
        executor.submit(int).result()


def in_pool_apply(function: Callable[[], Any]) -> None:
    with_threads.pool.apply(function)


def in_pool_map(function: Callable[[], Any]) -> None:
    with_threads.pool.map(lambda _: function(), [0])


def in_pool_starmap(function: Callable[[], Any]) -> None:
    with_threads.pool.starmap_async(lambda *_: function(), [(0, 1)]).get()


def in_pool_imap(function: Callable[[], Any]) -> None:
    list(with_threads.pool.imap(lambda _: function(), [0]))


def in_pool_imap_unordered(function: Callable[[], Any]) -> None:
    list(with_threads.pool.imap_unordered(lambda _: function(), [0], chunksize=2))


def in_items_that_a_pool_takes(function: Callable[[], Any]) -> None:
    list(with_threads.pool.imap(str, (function() for _ in range(1))))


def in_pool_callback(function: Callable[[], Any]) -> None:
    called = threading.Event()

    def back(_: object) -> None:
        function()
        called.set()

    with_threads.pool.apply_async(int, callback=back).get()
    assert called.wait(10)


def in_pool_error_callback(function: Callable[[], Any]) -> None:
    called = threading.Event()

    def back(_: object) -> None:
        function()
        called.set()

    with_threads.pool.map_async(int, ["no number"], error_callback=back).wait()
    assert called.wait(10)


def in_joblib_threads(function: Callable[[], Any]) -> None:
    joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(function if number == 7 else int)() for number in range(8)
    )


WAYS = [
    in_thread,
    in_timer,
    in_subclass,
    in_run_given_to_an_instance,
    in_executor,
    in_executor_map,
    in_executor_initializer,
    in_pool_apply,
    in_pool_map,
    in_pool_starmap,
    in_pool_imap,
    in_pool_imap_unordered,
    in_items_that_a_pool_takes,
    in_pool_callback,
    in_pool_error_callback,
    in_joblib_threads,
]
ways = pytest.mark.parametrize("run", WAYS, ids=lambda way: way.__name__)


@ways
def test_a_call_belongs_to_the_process_that_handed_it_over(
    run: Callable[[Callable[[], Any]], None],
) -> None:
    with make() as asset, track_process("outside"), track_process("inside"):
        run(work)
    assert parents(asset)["work"] == "inside"
    record = named(asset, "work")
    assert record.status is ProcessStatus.COMPLETED
    outside = named(asset, "outside")
    assert outside.start_date_time <= record.start_date_time
    assert outside.end_date_time is not None
    assert record.end_date_time is not None
    assert record.end_date_time <= outside.end_date_time


@ways
def test_a_file_that_other_code_opens_belongs_to_the_process_that_handed_it_over(
    run: Callable[[Callable[[], Any]], None], data_root: Path
) -> None:
    file = make_asset(data_root) / "subject.json"

    def read_and_write() -> None:
        (asset.output_dir / "out.json").write_bytes(file.read_bytes())

    with make() as asset, track_process("outside"):
        with track_process("inside"):
            run(read_and_write)
    inside, outside = named(asset, "inside"), named(asset, "outside")
    assert [ref.name for ref in inside.inputs] == [RAW]
    assert not outside.inputs


@ways
def test_the_users_context_variables_are_as_without_us(
    run: Callable[[Callable[[], Any]], None],
) -> None:
    def look() -> None:
        here = contextvars.copy_context()
        seen.append({var.name: value for var, value in here.items() if var is not context})

    def all_of_it() -> list[dict[str, Any]]:
        token = own.set("of the caller")
        seen.clear()
        run(look)
        own.reset(token)
        return list(seen)

    seen: list[dict[str, Any]] = []
    without = all_of_it()
    with make(), track_process("block"):
        assert all_of_it() == without


def test_each_task_of_an_executor_belongs_to_the_process_that_submitted_it() -> None:
    with make() as asset, ThreadPoolExecutor(1) as executor:
        for name in ("a", "b", "c"):
            with track_process(name):
                executor.submit(step(f"work-{name}")).result()
        executor.submit(step("of-the-block")).result()
    found = parents(asset)
    assert {found[f"work-{name}"]: name for name in "abc"} == {"a": "a", "b": "b", "c": "c"}
    assert found["of-the-block"] is None


def test_processes_side_by_side_keep_their_tasks_apart() -> None:
    with make() as asset, ThreadPoolExecutor(2) as shared:

        def one(name: str) -> None:
            with track_process(name):
                barrier.wait(10)
                futures = [shared.submit(step(f"{name}-{number}")) for number in range(5)]
                for future in futures:
                    future.result()
                barrier.wait(10)

        barrier = threading.Barrier(2)
        threads = [threading.Thread(target=one, args=(name,)) for name in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = parents(asset)
    assert all(found[f"{name}-{number}"] == name for name in "ab" for number in range(5))
    assert found["a"] is None
    assert found["b"] is None


def test_threads_that_threads_start_go_on_in_the_same_line() -> None:
    @track_process
    def middle() -> None:
        in_thread(work)

    with make() as asset, track_process("outside"):
        in_thread(middle)
    assert parents(asset) == {"outside": None, "middle": "outside", "work": "middle"}


def test_the_time_is_that_of_the_work_not_of_the_hand_over() -> None:
    @track_process
    def sleep() -> None:
        time.sleep(0.05)

    with make() as asset, ThreadPoolExecutor(1) as executor, track_process("block"):
        first, second = executor.submit(sleep), executor.submit(sleep)
        first.result()
        second.result()
    one, two = (record for record in asset.records if record.name == "sleep")
    for record in (one, two):
        assert record.end_date_time is not None
        assert record.end_date_time - record.start_date_time > timedelta(seconds=0.049)
    assert one.end_date_time is not None
    assert two.start_date_time >= one.end_date_time


def test_a_thread_that_outlives_its_process_belongs_to_the_one_outside() -> None:
    ended = threading.Event()

    def late() -> None:
        assert ended.wait(10)
        work()

    with make() as asset, track_process("outside"):
        with track_process("inside"):
            thread = threading.Thread(target=late)
            thread.start()
        ended.set()
        thread.join()
    assert parents(asset)["work"] == "outside"


def test_a_thread_that_outlives_the_asset_goes_on_and_is_not_recorded(
    data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    closed = threading.Event()
    results: list[Any] = []
    file = make_asset(data_root) / "subject.json"

    def late() -> None:
        assert closed.wait(10)
        results.extend([work(1), file.read_bytes(), current_process()])
        in_thread(lambda: results.append(work(2)))
        with track_process("block"):
            results.append("block")

    with make() as asset:
        thread = threading.Thread(target=late)
        thread.start()
    closed.set()
    thread.join()
    assert len(results) == 5
    assert not asset.records or {record.name for record in asset.records} == {"test"}
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_what_a_thread_still_runs_when_the_asset_closes_is_told() -> None:
    running, closed = threading.Event(), threading.Event()

    @track_process
    def long() -> None:
        running.set()
        assert closed.wait(10)

    with make() as asset:
        thread = threading.Thread(target=long)
        thread.start()
        assert running.wait(10)
    closed.set()
    thread.join()
    record = named(asset, "long")
    assert record.status is ProcessStatus.INTERRUPTED
    assert any("Still running" in note for note in record.notes)


def test_work_of_an_executor_that_waits_when_the_asset_closes_is_not_recorded() -> None:
    closed = threading.Event()
    executor = ThreadPoolExecutor(1)
    with make() as asset:
        executor.submit(closed.wait, 10)
        waiting = executor.submit(work, 1)
    closed.set()
    assert waiting.result() == 2
    executor.shutdown()
    assert "work" not in {record.name for record in asset.records}


# What users see of threads


def test_an_exception_reaches_the_excepthook_with_its_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", told.append)

    def fail() -> None:
        raise LookupError("no such unit")

    with make():
        thread = threading.Thread(target=fail, name="mine")
        thread.start()
        thread.join()
    (args,) = told
    assert args.exc_type is LookupError
    assert args.thread is thread
    assert traceback.extract_tb(args.exc_traceback)[-1].name == "fail"


def test_an_exception_of_a_task_is_that_of_its_future() -> None:
    error = LookupError("no such unit")

    def fail() -> None:
        raise error

    with make(), ThreadPoolExecutor(1) as executor, ThreadPool(1) as pool:
        assert executor.submit(fail).exception() is error
        with pytest.raises(LookupError):
            pool.apply(fail)


def test_a_thread_looks_as_it_does_without_us() -> None:
    def attributes(thread: threading.Thread) -> set[str]:
        thread.start()
        during = dict(vars(thread))
        finish.set()
        thread.join()
        finish.clear()
        assert "run" not in vars(thread)
        assert not hasattr(thread, "_target")
        return set(during)

    finish = threading.Event()
    without = attributes(threading.Thread(target=finish.wait, args=(10,), daemon=True))
    with make():
        thread = threading.Thread(target=finish.wait, args=(10,), daemon=True, name="mine")
        assert attributes(thread) - {"run"} == without - {"run"}
        assert thread.name == "mine"
        assert thread.daemon


def test_a_thread_is_freed_as_soon_as_it_is_without_us() -> None:
    class Big:
        pass

    big = Big()
    with make():
        thread = threading.Thread(target=lambda _: None, args=(big,))
        thread.start()
        thread.join()
        freed, thread_freed = weakref.ref(big), weakref.ref(thread)
        gc.disable()
        try:
            del big, thread
            assert freed() is None
            assert thread_freed() is None
        finally:
            gc.enable()


def test_an_argument_of_a_task_is_freed_as_soon_as_it_is_without_us() -> None:
    class Big:
        pass

    big = Big()
    freed = weakref.ref(big)
    with make(), ThreadPoolExecutor(1) as executor:
        future = executor.submit(lambda _: None, big)
        del big
        future.result()
        executor.submit(int).result()  # the worker has let go of the one before
        assert freed() is None


def test_a_thread_cannot_be_started_twice_and_says_so() -> None:
    with make():
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        with pytest.raises(RuntimeError, match="started once"):
            thread.start()
        assert "run" not in vars(thread)


def test_a_thread_that_was_never_made_says_so() -> None:
    class Wrong(threading.Thread):
        def __init__(self) -> None:
            pass

    with make(), pytest.raises(RuntimeError, match="__init__"):
        Wrong().start()


def test_a_thread_that_could_not_be_started_is_left_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    name = "_start_new_thread"
    if not hasattr(threading, name):
        name = "_start_joinable_thread"  # from Python 3.13 on
    with make():
        thread = threading.Thread(target=int)
        with monkeypatch.context() as patch:
            patch.setattr(threading, name, none_left)
            with pytest.raises(RuntimeError, match="can't start"):
                thread.start()
        assert "run" not in vars(thread)
        thread.start()
        thread.join()


def test_wrong_calls_fail_as_without_us() -> None:
    def wrong() -> Iterator[str]:
        with ThreadPoolExecutor(1) as executor, ThreadPool(1) as pool:
            for call in (
                executor.submit,
                partial(executor.submit, None),
                pool.apply_async,
                pool.imap,
                partial(pool.map, int, 5),
            ):
                with pytest.raises(TypeError) as told:
                    future = call()  # type: ignore[operator]
                    future.result()
                yield str(told.value).rpartition(".")[2]
            with pytest.raises(TypeError) as told:
                list(pool.imap(str, 5))  # type: ignore[arg-type]
            yield str(told.value)

    without = list(wrong())
    with make():
        assert list(wrong()) == without


def test_what_is_called_has_the_signature_it_has_without_us_and_goes_back() -> None:
    def methods() -> list[Any]:
        owners: list[tuple[Any, str]] = [
            (threading.Thread, "start"),
            (ThreadPoolExecutor, "submit"),
            *((ThreadPool, name) for name in ("apply_async", "_map_async", "imap", "map")),
        ]
        return [getattr(*owner) for owner in owners]

    before = methods()
    signatures = [inspect.signature(method) for method in before]
    own_attributes = set(vars(ThreadPool))
    with make():
        assert [inspect.signature(method) for method in methods()] == signatures
        assert methods() != before
    assert methods() == before
    assert set(vars(ThreadPool)) == own_attributes


def test_a_subclass_of_an_executor_hands_over_too() -> None:
    class Counting(ThreadPoolExecutor):
        count = 0

        def submit(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
            self.count += 1
            return super().submit(*args, **kwargs)

    executor: Executor
    with make() as asset, Counting(1) as executor, track_process("inside"):
        assert list(executor.map(work, [1, 2])) == [2, 3]
        assert executor.count == 2
    assert parents(asset)["work"] == "inside"


def test_nothing_is_handed_over_where_no_asset_is_open() -> None:
    seen: list[Any] = []

    def look() -> None:
        seen.append((context.get(), traceback.extract_stack()))

    with make():
        in_executor(int)
        in_pool_map(int)
    for run in (in_thread, in_executor, in_pool_apply, in_pool_map):
        run(look)
    for process, stack in seen:
        assert process is None
        assert not [frame for frame in stack if "asset_provenance/engines" in frame.filename]
