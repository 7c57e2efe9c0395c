"""Tasks of asyncio: whose process each is, and how one that is cancelled ends."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from asset_provenance import track_process
from asset_provenance.records import ProcessStatus
from helpers.assets import RAW, make_asset, processes
from helpers.records import make, named, parents

own: contextvars.ContextVar[str] = contextvars.ContextVar("own", default="default")


@track_process
def work(number: int = 0) -> int:
    return number + 1


@track_process
async def wait_for_ever() -> None:
    await asyncio.sleep(600)


async def cancelled(coroutine: Any) -> None:
    """Run a coroutine as a task for a moment, then cancel it."""
    task = asyncio.ensure_future(coroutine)
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_tasks_side_by_side_keep_their_calls_apart() -> None:
    async def one(name: str) -> None:
        with track_process(name):
            for number in range(3):
                await asyncio.sleep(0)
                track_process(f"{name}-{number}")(lambda: None)()

    async def main() -> None:
        await asyncio.gather(one("a"), one("b"))

    with make() as asset:
        asyncio.run(main())
    found = parents(asset)
    assert all(found[f"{name}-{number}"] == name for name in "ab" for number in range(3))
    assert found["a"] is None
    assert found["b"] is None


def test_a_task_belongs_to_the_process_that_made_it() -> None:
    @track_process
    async def inner() -> None:
        await asyncio.sleep(0.001)

    async def main() -> None:
        with track_process("outside"):
            task = asyncio.create_task(inner())
            with track_process("later"):
                await task

    with make() as asset:
        asyncio.run(main())
    assert parents(asset) == {"outside": None, "later": "outside", "inner": "outside"}


@pytest.mark.parametrize("way", ["to_thread", "run_in_executor", "own_executor"])
def test_what_a_task_has_done_on_a_thread_belongs_to_the_task(way: str, data_root: Path) -> None:
    file = make_asset(data_root) / "subject.json"

    def on_thread() -> str:
        file.read_bytes()
        work()
        return own.get()

    async def main() -> str:
        own.set("of the task")
        with track_process("inside"):
            if way == "to_thread":
                return await asyncio.to_thread(on_thread)
            loop = asyncio.get_running_loop()
            if way == "run_in_executor":
                return await loop.run_in_executor(None, on_thread)
            with ThreadPoolExecutor(1) as executor:
                return await loop.run_in_executor(executor, on_thread)

    without = asyncio.run(main())
    with make() as asset:
        assert asyncio.run(main()) == without
    assert parents(asset) == {"inside": None, "work": "inside"}
    assert [ref.name for ref in named(asset, "inside").inputs] == [RAW]
    assert not named(asset, "work").inputs


def test_a_loop_on_another_thread_runs_what_it_is_given_in_the_process_that_gave_it() -> None:
    loop = asyncio.new_event_loop()

    async def coroutine() -> None:
        await asyncio.sleep(0.001)
        work()

    with make() as asset:
        thread = Thread(target=loop.run_forever)
        thread.start()
        with track_process("inside"):
            asyncio.run_coroutine_threadsafe(coroutine(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert parents(asset)["work"] == "inside"


def test_a_cancelled_task_that_runs_a_tracked_coroutine_is_told_as_cancelled() -> None:
    with make() as asset:
        asyncio.run(cancelled(wait_for_ever()))
    record = named(asset, "wait_for_ever")
    assert record.status is ProcessStatus.INTERRUPTED
    assert "Cancelled." in " ".join(record.notes)
    notes = processes(asset.output_dir)["wait_for_ever"]["notes"]
    assert "ancelled" in notes


def test_a_cancelled_block_in_a_task_is_told_as_cancelled() -> None:
    async def block() -> None:
        with track_process("block"):
            await asyncio.sleep(600)

    with make() as asset:
        asyncio.run(cancelled(block()))
    record = named(asset, "block")
    assert record.status is ProcessStatus.INTERRUPTED
    assert record.error == "CancelledError"
    assert record.notes[-1] == "Cancelled."


def test_a_cancelled_task_tells_of_every_process_it_was_in() -> None:
    async def block() -> None:
        with track_process("outer"):
            async for _ in endless():
                pass

    @track_process
    async def endless() -> AsyncIterator[int]:
        yield 1
        await wait_for_ever()

    with make() as asset:
        asyncio.run(cancelled(block()))
    assert parents(asset) == {"outer": None, "endless": "outer", "wait_for_ever": "endless"}
    assert {record.status for record in asset.records} == {ProcessStatus.INTERRUPTED}


def test_a_block_that_runs_out_of_time_is_told_as_cancelled() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                with track_process("slow"):
                    await asyncio.sleep(600)

    with make() as asset:
        asyncio.run(main())
    assert named(asset, "slow").status is ProcessStatus.INTERRUPTED


def test_a_task_that_takes_its_cancellation_back_has_completed() -> None:
    @track_process
    async def stubborn() -> int:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            return 7
        return 0

    async def main() -> int:
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0.01)
        task.cancel()
        return await task

    with make() as asset:
        assert asyncio.run(main()) == 7
    assert named(asset, "stubborn").status is ProcessStatus.COMPLETED


def test_work_on_a_thread_goes_on_when_its_task_is_cancelled() -> None:
    @track_process
    def slow() -> None:
        time.sleep(0.1)

    async def block() -> None:
        with track_process("block"):
            await asyncio.to_thread(slow)

    with make() as asset:
        asyncio.run(cancelled(block()))
    assert named(asset, "block").status is ProcessStatus.INTERRUPTED
    slow_one = named(asset, "slow")
    assert slow_one.status is ProcessStatus.COMPLETED
    assert slow_one.parent_id == named(asset, "block").id


def test_the_cancelled_rest_of_a_group_is_told_apart_from_what_failed() -> None:
    @track_process
    async def failing() -> None:
        await asyncio.sleep(0.01)
        raise LookupError("no such unit")

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(failing())
            group.create_task(wait_for_ever())

    with make() as asset, pytest.raises(ExceptionGroup):
        asyncio.run(main())
    assert named(asset, "failing").status is ProcessStatus.FAILED
    assert named(asset, "wait_for_ever").status is ProcessStatus.INTERRUPTED


def test_inputs_of_tasks_side_by_side_are_kept_apart(data_root: Path) -> None:
    other = RAW.replace("900101", "900102")
    files = {name: make_asset(data_root, name) / "subject.json" for name in (RAW, other)}

    @track_process
    async def read(name: str) -> None:
        await asyncio.sleep(0.001)
        await asyncio.to_thread(files[name].read_bytes)

    async def main() -> None:
        await asyncio.gather(*(read(name) for name in files))

    with make(inputs=None) as asset:
        asyncio.run(main())
    found = {
        (record.parameters or {})["name"]: [ref.name for ref in record.inputs]
        for record in asset.records
        if record.name == "read"
    }
    assert found == {name: [name] for name in files}


# Cells of a notebook, each of which may run in a context or task of its own


def in_own_context(function: Any, *args: Any) -> Any:
    return contextvars.Context().run(function, *args)


def test_an_asset_spans_code_that_runs_in_contexts_of_its_own() -> None:
    first = make(output_dir="first")
    in_own_context(first.start)
    in_own_context(work, 1)
    in_own_context(in_block)
    in_own_context(first.finish)
    assert [record.name for record in first.records] == ["work", "block", "work"]
    assert parents(first)["block"] is None
    assert (first.output_dir / "processing.json").exists()


def in_block() -> None:
    with track_process("block"):
        work(2)


def test_an_asset_after_another_gets_what_runs_where_the_other_was_started() -> None:
    first, second = make(output_dir="first"), make(output_dir="second")
    earlier = contextvars.Context()
    earlier.run(first.start)
    in_own_context(first.finish)
    in_own_context(second.start)
    earlier.run(work)  # this context still knows the block that has ended
    in_own_context(second.finish)
    assert [record.name for record in second.records] == ["work"]
    assert "work" not in {record.name for record in first.records}


def test_an_asset_spans_tasks() -> None:
    async def main() -> None:
        await asyncio.create_task(cell(asset.start))
        await asyncio.create_task(cell(in_block))
        await asyncio.create_task(cell(asset.finish))

    async def cell(function: Any) -> None:
        function()

    asset = make()
    asyncio.run(main())
    assert parents(asset) == {"block": None, "work": "block"}
