"""Generators, coroutines and async generators: true times, and every way of ending."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from asset_provenance import (
    DerivedAsset,
    ProcessRecord,
    UsageError,
    current_process,
    track_process,
)
from asset_provenance.records import ProcessStatus
from helpers.assets import FACTS, PEOPLE


@pytest.fixture
def asset() -> Iterator[DerivedAsset]:
    with DerivedAsset("test", inputs=(), base_name="b", **FACTS, **PEOPLE) as opened:
        yield opened


@track_process
def count(stop: int) -> Iterator[int]:
    """Count."""
    yield from range(stop)


@track_process
async def wait(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@track_process
async def tick(stop: int) -> AsyncIterator[int]:
    for value in range(stop):
        await asyncio.sleep(0)
        yield value


def only(asset: DerivedAsset) -> ProcessRecord:
    (record,) = asset.records
    return record


def seconds(record: ProcessRecord) -> float:
    assert record.end_date_time is not None
    return (record.end_date_time - record.start_date_time).total_seconds()


def active(record: ProcessRecord) -> float:
    found = re.match(r"Active for ([0-9.]+) s of ", record.notes[0])
    assert found is not None
    return float(found[1])


def test_the_kind_of_function_and_of_what_it_returns_is_kept(asset: DerivedAsset) -> None:
    assert inspect.isgeneratorfunction(count)
    assert inspect.iscoroutinefunction(wait)
    assert inspect.isasyncgenfunction(tick)
    generator, coroutine, stream = count(1), wait(0), tick(1)
    assert inspect.isgenerator(generator)
    assert inspect.iscoroutine(coroutine)
    assert inspect.isasyncgen(stream)
    assert (generator.__name__, coroutine.__qualname__) == ("count", "wait")
    coroutine.close()


def test_outside_an_asset_the_very_object_of_the_function_is_given() -> None:
    assert list(count(3)) == [0, 1, 2]
    assert asyncio.run(wait(0)) == 0


def test_a_generator_s_time_runs_from_its_first_step_to_its_last(asset: DerivedAsset) -> None:
    generator = count(2)
    time.sleep(0.05)
    assert asset.records == ()
    began = time.monotonic()
    for _ in generator:
        time.sleep(0.05)
    whole = time.monotonic() - began + 0.001
    record = only(asset)
    assert record.parameters == {"stop": 2}
    assert record.status is ProcessStatus.COMPLETED
    assert 0.099 < seconds(record) <= whole
    assert active(record) <= whole - 0.1


def test_a_generator_that_is_always_active_has_no_note(asset: DerivedAsset) -> None:
    @track_process
    def slow() -> Iterator[int]:
        time.sleep(0.5)
        yield 1

    assert list(slow()) == [1]
    assert only(asset).notes == ()


def test_the_process_is_innermost_inside_a_step_and_not_between_steps(asset: DerivedAsset) -> None:
    @track_process
    def inside() -> Iterator[None]:
        current_process().add_note("first")
        yield
        current_process().add_note("second")

    outer = current_process()
    for _ in inside():
        assert current_process() is outer
    assert only(asset).notes[:2] == ("first", "second")


def test_two_generators_in_turn_do_not_become_each_other_s_parent(asset: DerivedAsset) -> None:
    for _ in zip(count(3), count(3), strict=True):
        pass
    one, two = asset.records
    assert one.parent_id == two.parent_id


def test_values_and_exceptions_are_sent_through(asset: DerivedAsset) -> None:
    @track_process
    def echo() -> Any:
        got = []
        while len(got) < 3:
            try:
                got.append((yield len(got)))
            except KeyError as error:
                got.append(error)
        return got

    generator = echo()
    error = KeyError("x")
    assert next(generator) == 0
    assert generator.send("a") == 1
    assert generator.throw(error) == 2
    with pytest.raises(StopIteration) as stop:
        generator.send("b")
    assert stop.value.value == ["a", error, "b"]
    assert only(asset).status is ProcessStatus.COMPLETED


def test_an_exception_in_a_generator_goes_on_unchanged(asset: DerivedAsset) -> None:
    error = ValueError("no")

    @track_process
    def fail() -> Iterator[int]:
        yield 1
        raise error

    with pytest.raises(ValueError, match="no") as caught:
        list(fail())
    assert caught.value is error
    assert (only(asset).status, only(asset).error) == (ProcessStatus.FAILED, "ValueError: no")


@pytest.mark.parametrize("way", ["break", "close", "collect"])
def test_a_generator_that_is_left_early_ends_where_it_was_left(
    asset: DerivedAsset, way: str
) -> None:
    cleaned = []

    @track_process
    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            cleaned.append(current_process())

    generator = endless()
    if way == "break":
        for _ in generator:
            break
        assert asset.records == ()
        generator.close()
    else:
        next(generator)
        if way == "close":
            generator.close()
    del generator
    gc.collect()
    assert only(asset).status is ProcessStatus.COMPLETED
    # Collecting takes its time; how much of it was work may be told as well.
    (note,) = only(asset).notes
    assert note.startswith("Closed before it had given everything.")
    assert len(cleaned) == 1


def test_a_generator_that_is_never_started_is_no_process(asset: DerivedAsset) -> None:
    generator = count(3)
    del generator
    gc.collect()
    assert asset.records == ()


def test_a_wrong_call_of_a_generator_fails_at_the_call(asset: DerivedAsset) -> None:
    with pytest.raises(TypeError, match="stop"):
        count()  # type: ignore[call-arg]


def test_a_generator_used_after_the_asset_has_closed_still_gives_its_values() -> None:
    with DerivedAsset("test", inputs=(), base_name="b", **FACTS, **PEOPLE) as asset:
        begun, fresh = count(3), count(2)
        next(begun)
    assert list(begun) == [1, 2]
    assert list(fresh) == [0, 1]
    assert only(asset).status is ProcessStatus.INTERRUPTED


def test_a_coroutine_s_time_is_that_of_its_run(asset: DerivedAsset) -> None:
    began = time.monotonic()
    assert asyncio.run(wait(0.05)) == 0.05
    whole = time.monotonic() - began + 0.001
    record = only(asset)
    assert 0.049 < seconds(record) <= whole
    assert active(record) <= whole - 0.049


def test_concurrent_tasks_are_siblings_with_the_right_parent(asset: DerivedAsset) -> None:
    @track_process
    async def outer() -> None:
        await asyncio.gather(wait(0.02), wait(0.01))

    asyncio.run(outer())
    parent, *children = asset.records
    assert parent.name == "outer"
    assert [child.parent_id for child in children] == [parent.id, parent.id]


def test_a_cancelled_task_is_interrupted(asset: DerivedAsset) -> None:
    async def main() -> None:
        task = asyncio.create_task(wait(10))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    record = only(asset)
    assert (record.status, record.error) == (ProcessStatus.INTERRUPTED, "CancelledError")
    assert record.notes[0].startswith("Cancelled.")


def test_a_coroutine_that_is_closed_half_way_is_interrupted(asset: DerivedAsset) -> None:
    async def pause() -> None:
        await asyncio.sleep(10)

    @track_process
    async def half() -> None:
        await asyncio.Event().wait()

    loop = asyncio.new_event_loop()
    coroutine: Any = half()
    loop.run_until_complete(asyncio.sleep(0))

    async def step() -> None:
        coroutine.send(None)
        coroutine.close()

    loop.run_until_complete(step())
    loop.close()
    assert only(asset).status is ProcessStatus.INTERRUPTED
    assert only(asset).notes == ("Closed before it had ended.",)


def test_a_coroutine_that_is_never_awaited_warns_once_under_its_own_name(
    asset: DerivedAsset,
) -> None:
    with pytest.warns(RuntimeWarning, match="coroutine 'wait' was never awaited") as caught:
        wait(1)
        gc.collect()
    assert len(caught) == 1
    assert asset.records == ()


def test_the_user_s_context_variables_behave_as_without_us(asset: DerivedAsset) -> None:
    variable = contextvars.ContextVar("variable", default=0)

    @track_process
    async def change() -> int:
        variable.set(variable.get() + 1)
        await asyncio.sleep(0)
        return variable.get()

    async def main() -> tuple[int, int]:
        return await change(), variable.get()

    assert asyncio.run(main()) == (1, 1)


def test_an_async_generator_is_one_process_from_first_to_last(asset: DerivedAsset) -> None:
    async def main() -> list[int]:
        return [value async for value in tick(3)]

    assert asyncio.run(main()) == [0, 1, 2]
    assert (only(asset).name, only(asset).status) == ("tick", ProcessStatus.COMPLETED)


@pytest.mark.parametrize("way", ["aclose", "collect", "throw"])
def test_an_async_generator_that_is_left_early_ends_properly(asset: DerivedAsset, way: str) -> None:
    async def main() -> None:
        stream: Any = tick(5)
        assert await anext(stream) == 0
        if way == "aclose":
            await stream.aclose()
        elif way == "throw":
            with pytest.raises(KeyError):
                await stream.athrow(KeyError("x"))
        del stream
        gc.collect()
        await asyncio.sleep(0.01)

    asyncio.run(main())
    expected = ProcessStatus.FAILED if way == "throw" else ProcessStatus.COMPLETED
    assert only(asset).status is expected


def test_async_methods_are_recorded_without_self(asset: DerivedAsset) -> None:
    class Reader:
        @track_process
        async def read(self, size: int) -> int:
            return size

    assert asyncio.run(Reader().read(3)) == 3
    assert only(asset).parameters == {"size": 3}


def test_an_async_main_can_be_the_asset() -> None:
    @DerivedAsset("test", inputs=(), base_name="b", **FACTS, **PEOPLE)
    async def main(size: int) -> int:
        await wait(0)
        return size

    assert inspect.iscoroutinefunction(main)
    assert asyncio.run(main(3)) == 3


def test_a_generator_cannot_be_the_asset() -> None:
    with pytest.raises(UsageError, match="is a generator, whose end nobody may see"):

        @DerivedAsset("test")
        def main() -> Iterator[int]:
            yield 1
