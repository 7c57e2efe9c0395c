"""Workers that are killed, have no memory left, or live longer than the asset."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from asset_provenance import DerivedAsset, ProcessRecord, track_process
from asset_provenance.deadruns import find_runs
from asset_provenance.metadata.folder_checks import check_folder
from helpers import workers
from helpers.assets import FACTS, PEOPLE, RAW, make_asset, read_json

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def make(**options: Any) -> DerivedAsset:
    facts = {"inputs": (), "base_name": "base", "parameters": {}, **FACTS, **PEOPLE, **options}
    return DerivedAsset("test", **facts)


def named(asset: DerivedAsset, name: str) -> list[ProcessRecord]:
    return [record for record in asset.records if record.name == name]


def is_gone(path: Path) -> bool:
    return not path.exists()


def wait_for(path: Path) -> None:
    until = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_one_of_four_workers_that_is_killed_is_recorded_so_and_the_others_as_they_ended(
    method: str,
) -> None:
    with make() as asset, track_process("outer"):
        context: Any = multiprocessing.get_context(method)
        processes = [
            context.Process(target=workers.kill_or_stay, args=(number,)) for number in range(4)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0, -signal.SIGKILL, 0]
    found = {record.parameters["number"]: record for record in named(asset, "kill_or_stay")}  # type: ignore[index]
    assert [found[n].status for n in range(4)] == ["completed"] * 2 + ["interrupted", "completed"]
    assert found[2].error == "SIGKILL"
    assert "It was ended by SIGKILL." in found[2].notes[-1]
    written = read_json(Path("results/processing.json"))
    (killed,) = [
        one
        for one in written["data_processes"]
        if (one["code"]["parameters"] or {}).get("number") == 2
    ]
    assert "SIGKILL" in killed["notes"]
    assert killed["name"] not in written["dependency_graph"]["outer"]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_what_a_worker_that_is_killed_was_seen_to_use_is_recorded(
    method: str, data_root: Path
) -> None:
    session = make_asset(data_root)
    (session / "spikes.txt").write_text("1")
    with make() as asset:
        with track_process("first"):
            Path("results/first.txt").write_text("1")
        context: Any = multiprocessing.get_context(method)
        process = context.Process(target=workers.be_killed_later, args=("data/" + session.name,))
        process.start()
        process.join()
    (first,), (killed,) = named(asset, "first"), named(asset, "be_killed_later")
    assert (killed.status, killed.error) == ("interrupted", "SIGKILL")
    assert [ref.name for ref in killed.inputs] == [RAW]
    assert killed.observed == (RAW,)
    assert list(killed.written_files) == [f"seen/{RAW}.txt"]
    assert f"Looked at {RAW}." in killed.notes
    assert killed.end_date_time is not None
    assert killed.end_date_time > killed.start_date_time
    written = read_json(Path("results/processing.json"))
    assert written["dependency_graph"]["be_killed_later"] == [first.name]


def test_a_pool_of_four_of_which_one_is_killed_breaks_as_it_does_without_us() -> None:
    with make(on_failure="write") as asset, ProcessPoolExecutor(4) as pool:
        futures = [pool.submit(workers.kill_or_stay, number) for number in range(4)]
        with pytest.raises(BrokenProcessPool):
            futures[2].result()
    found = {record.parameters["number"]: record for record in named(asset, "kill_or_stay")}  # type: ignore[index]
    assert (found[2].status, found[2].error) == ("interrupted", "SIGKILL")
    for number, future in enumerate(futures):
        if future.exception() is None:
            assert found[number].status == "completed"


def test_a_child_that_is_terminated_as_soon_as_it_is_forked_ends_as_without_us() -> None:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with make():
        for _ in range(100):
            child = os.fork()
            if child == 0:
                time.sleep(20)
                os._exit(0)
            os.kill(child, signal.SIGTERM)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
        ended = subprocess.run(
            ["grep", "SigBlk", "/proc/self/status"], capture_output=True, check=True
        )
        assert int(ended.stdout.split()[1], 16) == sum(1 << number - 1 for number in mask)


def test_a_worker_without_memory_fails_and_says_so() -> None:
    with make() as asset, ProcessPoolExecutor(1) as pool, pytest.raises(MemoryError):
        pool.submit(workers.need_memory, 1).result()
    (record,) = named(asset, "need_memory")
    assert (record.status, record.error) == ("failed", "MemoryError")


def test_that_the_system_ended_processes_for_want_of_memory_is_told(tmp_path: Path) -> None:
    from asset_provenance.capture.memory import out_of_memory_kills
    from asset_provenance.workers import how_it_ended

    for group, name in (
        ("0::/job", "job/memory.events"),
        ("9:memory:/job", "memory/job/memory.oom_control"),
    ):
        root = tmp_path / name.replace("/", "-")
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/self/cgroup").write_text(f"{group}\n")
        counters = root / "sys/fs/cgroup" / name
        counters.parent.mkdir(parents=True)
        counters.write_text("low 0\noom 4\noom_kill 3\n")
        assert out_of_memory_kills(root) == 3
    assert out_of_memory_kills(tmp_path / "none") == 0
    error, note = how_it_ended(-signal.SIGKILL, memory_was_short=True)
    assert error == "SIGKILL"
    assert "short of memory" in note
    assert "short of memory" not in how_it_ended(-signal.SIGTERM, memory_was_short=True)[1]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_that_outlives_the_asset_changes_nothing_of_it(method: str) -> None:
    ready, done = Path("ready").absolute(), Path("done").absolute()
    context: Any = multiprocessing.get_context(method)
    process = context.Process(target=workers.outlive, args=(str(ready), str(done)))
    with make() as asset:
        process.start()
        wait_for(ready)
    (record,) = named(asset, "outlive")
    assert record.status == "interrupted"
    assert record.notes[-1] == "Still running when the asset was closed."
    assert is_gone(Path("results/.asset-provenance"))
    before = {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()}
    done.touch()
    process.join()
    assert process.exitcode == 0
    assert Path("done.over").exists()
    assert {p: p.read_bytes() for p in Path("results").rglob("*") if p.is_file()} == before
    assert is_gone(Path("results/.asset-provenance"))
    assert is_gone(Path(os.environ["HOME"], ".local/state/asset-provenance"))
    assert {finding.severity for finding in check_folder(Path("results"))} == {"warning"}


def test_a_worker_that_outlives_a_run_that_failed_adds_nothing_to_its_record() -> None:
    ready, done = Path("ready").absolute(), Path("done").absolute()
    process = multiprocessing.get_context("fork").Process(
        target=workers.outlive, args=(str(ready), str(done))
    )
    with pytest.raises(ValueError, match="mine"), make():
        process.start()
        wait_for(ready)
        raise ValueError("mine")
    done.touch()
    process.join()
    assert process.exitcode == 0
    (run,) = find_runs(Path("results"))
    assert [record.name for record in run.records] == ["outlive"]


def test_what_workers_did_is_recovered_from_a_program_that_was_killed() -> None:
    script = (
        "import os, signal\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from asset_provenance import DerivedAsset, track_process\n"
        "from helpers import workers\n"
        f"with DerivedAsset('test', inputs=(), base_name='x', **{ {**FACTS, **PEOPLE}!r}):\n"
        "    with track_process('outer'), ProcessPoolExecutor(2) as pool:\n"
        "        list(pool.map(workers.count_many, [list(range(90))] * 4))\n"
        "        list(pool.map(workers.look, ['session']))\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    Path("session").mkdir()
    Path("session/spikes.txt").write_text("1")
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    program = subprocess.Popen(
        [sys.executable, "-c", script], env=environment, start_new_session=True
    )
    assert program.wait() == -signal.SIGKILL
    with suppress(ProcessLookupError):  # its workers wait for work that nobody will send
        os.killpg(program.pid, signal.SIGKILL)
    (run,) = find_runs(Path("results"))
    assert [record.name for record in run.records].count("count") == 101
    (outer,) = [record for record in run.records if record.name == "outer"]
    assert outer.status == "interrupted"
    assert "Looked at session." in outer.notes
    assert list(outer.written_files) == ["seen/session.txt"]
