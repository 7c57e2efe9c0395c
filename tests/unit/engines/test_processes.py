"""Work in other processes of the operating system joins the asset that is open in their parent."""

from __future__ import annotations

import asyncio
import concurrent.futures.process
import inspect
import json
import multiprocessing
import os
import pickle
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import joblib
import loky
import pytest

from asset_provenance import DerivedAsset, ProcessRecord, current_process, track_process
from helpers import workers
from helpers.assets import FACTS, PEOPLE, make_asset, read_json
from helpers.records import make

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    # A pool of the user's own has threads of its own.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

SESSIONS = tuple(f"ecephys_90010{number}_2026-03-02_18-30-05" for number in (1, 2, 3))


@pytest.fixture
def sessions(data_root: Path) -> list[str]:
    for number, name in enumerate(SESSIONS):
        make_asset(data_root, name)
        (data_root / name / "spikes.txt").write_text(f"3.{number}\n1.{number}\n")
    return [str(data_root / name) for name in SESSIONS]


@pytest.fixture(autouse=True)
def _end_of_loky() -> Iterator[None]:
    yield
    loky.get_reusable_executor(1).shutdown(kill_workers=True)


def named(asset: DerivedAsset, name: str) -> list[ProcessRecord]:
    return [record for record in asset.records if record.name == name]


def inputs(record: ProcessRecord) -> list[str | None]:
    return [ref.name for ref in record.inputs]


Map = Callable[[Callable[[Any], Any], list[Any]], list[Any]]


def executor(method: str) -> Map:
    def run(function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            return list(pool.map(function, items))

    return run


def pool(method: str, how: str) -> Map:
    def run(function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
        with multiprocessing.get_context(method).Pool(2) as pool:
            if how == "apply":
                return [one.get() for one in [pool.apply_async(function, (i,)) for i in items]]
            if how == "starmap":
                return pool.starmap(function, [(item,) for item in items])
            return list(getattr(pool, how)(function, items))

    return run


def with_joblib(function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    work = (joblib.delayed(function)(item) for item in items)
    return list(joblib.Parallel(2, backend="loky")(work))


def with_joblib_s_pool(function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    work = (joblib.delayed(function)(item) for item in items)
    return list(joblib.Parallel(2, backend="multiprocessing")(work))


def with_loky(function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    return list(loky.get_reusable_executor(2).map(function, items))


WAYS: dict[str, Map] = {
    "executor-fork": executor("fork"),
    "executor-spawn": executor("spawn"),
    "executor-forkserver": executor("forkserver"),
    "pool-fork": pool("fork", "map"),
    "pool-fork-imap": pool("fork", "imap"),
    "pool-fork-apply": pool("fork", "apply"),
    "pool-fork-starmap": pool("fork", "starmap"),
    "pool-spawn": pool("spawn", "map"),
    "pool-forkserver": pool("forkserver", "imap"),
    "joblib": with_joblib,
    "joblib-pool": with_joblib_s_pool,
    "loky": with_loky,
}


@pytest.mark.parametrize("way", WAYS)
def test_what_workers_do_is_recorded_as_if_the_program_had_done_it(
    way: str, sessions: list[str]
) -> None:
    with make() as asset:
        with track_process("outer"):
            found = WAYS[way](workers.sort_spikes, sessions)
            assert found == [[0.5, 1.0 + n / 10, 3.0 + n / 10] for n in range(3)]
            workers.merge(found)
        with track_process("untracked inside"):
            WAYS[way](workers.look, sessions)

    (outer,), (merge,) = named(asset, "outer"), named(asset, "merge")
    sorts = named(asset, "sort_spikes")
    assert sorted(map(inputs, sorts)) == [[name] for name in SESSIONS]
    assert {record.parent_id for record in sorts} == {outer.id}
    assert {record.status for record in sorts} == {"completed"}
    assert set(merge.follows) == {record.id for record in sorts}
    # What nothing tracks belongs to the process that handed it over.
    (inside,) = named(asset, "untracked inside")
    assert sorted(map(str, inputs(inside))) == list(SESSIONS)
    assert {path.rstrip("/").split("/")[0] for path in inside.written_files} == {"seen"}
    assert len(inside.written_files) == 3
    assert sorted(inside.notes) == [f"Looked at {name}." for name in SESSIONS]
    assert (inside.parameters or {})["looked"] is True
    assert not outer.inputs
    assert not list(Path("results").glob(".asset-provenance/*"))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_process_that_is_started_belongs_to_the_one_that_started_it(
    method: str, sessions: list[str]
) -> None:
    context: Any = multiprocessing.get_context(method)
    with make() as asset, track_process("outer"):
        for function in (workers.sort_spikes, workers.look):
            process = context.Process(target=function, args=(sessions[0],))
            process.start()
            process.join()
            assert process.exitcode == 0
    (outer,), (sort,) = named(asset, "outer"), named(asset, "sort_spikes")
    assert sort.parent_id == outer.id
    assert inputs(sort) == inputs(outer) == [SESSIONS[0]]
    assert outer.notes == (f"Looked at {SESSIONS[0]}.",)


@pytest.mark.parametrize("way", ["executor-fork", "pool-spawn", "joblib", "joblib-pool"])
def test_an_object_that_a_worker_is_given_leads_to_who_returned_it(
    way: str, sessions: list[str]
) -> None:
    with make() as asset:
        parts = [workers.sort_spikes(session) for session in sessions]
        assert WAYS[way](workers.merge, parts) == [3, 3, 3]
        assert WAYS[way](workers.merge, [{"all": parts}]) == [1]
    sorts, merges = named(asset, "sort_spikes"), named(asset, "merge")
    follows = sorted((record.follows for record in merges), key=len)
    assert sorted(follows[:3]) == sorted((record.id,) for record in sorts)
    assert set(follows[3]) == {record.id for record in sorts}


def test_files_lead_from_worker_to_worker_and_to_the_program_and_back(
    sessions: list[str],
) -> None:
    with make() as asset:
        run = executor("fork")
        with track_process("before") as _:
            (asset.output_dir / "first.txt").write_text("1")
        with track_process("writes in a worker"):
            run(workers.look, sessions[:1])
        with track_process("reads"):
            (asset.output_dir / "seen" / f"{SESSIONS[0]}.txt").read_text()
        with track_process("reads in a worker"):
            run(Path.read_text, [asset.output_dir / "first.txt"])
    by_name = {record.name: record for record in asset.records}
    assert by_name["reads"].follows == (by_name["writes in a worker"].id,)
    assert by_name["reads in a worker"].follows == (by_name["before"].id,)


def test_workers_from_before_join_and_those_that_live_on_let_go(sessions: list[str]) -> None:
    with ProcessPoolExecutor(1) as before:
        before.submit(int).result()
        for _ in range(2):  # one asset after the other, with the same worker
            with make(overwrite=True) as asset:
                later = before.submit(workers.sort_spikes, sessions[0])
                later.result()
            assert [inputs(one) for one in named(asset, "sort_spikes")] == [[SESSIONS[0]]]
            assert before.submit(workers.sort_spikes, sessions[1]).result() == [0.5, 1.1, 3.1]
            assert len(asset.records) == 1
        assert not Path("results/.asset-provenance").exists()


@pytest.mark.parametrize("way", ["executor-fork", "pool-fork", "loky"])
def test_what_goes_wrong_goes_wrong_as_it_does_without_us(way: str) -> None:
    def told(function: Callable[[Any], Any]) -> tuple[type, str]:
        with pytest.raises(Exception) as caught:
            WAYS[way](function, [1])
        return type(caught.value), str(caught.value).replace("<lambda>", "")

    alone = told(workers.fail), told(int.from_bytes)
    with make():
        assert (told(workers.fail), told(int.from_bytes)) == alone


def test_what_cannot_be_pickled_is_told_as_without_us() -> None:
    def told() -> str:
        with ProcessPoolExecutor(1) as pool, pytest.raises(Exception) as caught:
            pool.submit(lambda: 1).result()
        return type(caught.value).__name__

    alone = told()
    with make():
        assert told() == alone


def test_calls_beyond_the_limit_are_one_process_however_many_workers_made_them() -> None:
    with make() as asset, track_process("outer"):
        executor("fork")(workers.count_many, [list(range(n, n + 90)) for n in (0, 90, 180, 270)])
    found = named(asset, "count")
    assert len(found) == 101
    (summary,) = [record for record in found if record.calls is not None]
    assert summary.status == "completed"
    assert "260 further calls of count, together one process." in summary.notes[-1]
    assert "Varied: number from " in summary.notes[-1]
    assert len({record.parent_id for record in found}) == 1


def test_scripts_that_a_program_starts_join_and_so_do_theirs(sessions: list[str]) -> None:
    program = [sys.executable, workers.__file__]
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    with make() as asset, track_process("outer"):
        subprocess.run([*program, sessions[0]], check=True, env=environment)
        script = (
            "import subprocess\n"
            "from asset_provenance import track_process\n"
            "with track_process('a'):\n"
            f"    subprocess.run({[*program, sessions[1]]!r}, check=True)\n"
        )
        subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    (outer,), (step,) = named(asset, "outer"), named(asset, "a")
    sorts = {one.inputs[0].name: one for one in named(asset, "sort_spikes")}
    assert sorts[SESSIONS[0]].parent_id == outer.id
    assert (step.parent_id, sorts[SESSIONS[1]].parent_id) == (outer.id, step.id)
    assert f"Looked at {SESSIONS[1]}." in step.notes


def _forked(start: Callable[..., Any], *args: Any) -> None:
    child = os.fork()
    if child == 0:
        start(*args)
    assert os.waitpid(child, 0)[1] == 0


def _in_a_terminal(program: str, *args: Any) -> None:
    assert pty.spawn([program, *args], lambda descriptor: os.read(descriptor, 1024)) == 0


STARTS: dict[str, Callable[..., Any]] = {
    "spawnv": lambda *argv: os.spawnv(os.P_WAIT, argv[0], argv),
    "spawnle": lambda *argv: os.spawnle(os.P_WAIT, argv[0], *argv, {**os.environ}),
    "execv": lambda *argv: _forked(os.execv, argv[0], argv),
    "execvpe": lambda *argv: _forked(os.execvpe, argv[0], argv, {**os.environ}),
    "pty": _in_a_terminal,
}


@pytest.mark.parametrize("way", STARTS)
def test_scripts_that_take_the_place_of_a_forked_child_join(
    way: str, sessions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    with make() as asset, track_process("outer"):
        STARTS[way](sys.executable, workers.__file__, sessions[0])
    (outer,), (sort,) = named(asset, "outer"), named(asset, "sort_spikes")
    assert (sort.parent_id, inputs(sort)) == (outer.id, [SESSIONS[0]])
    assert outer.notes == (f"Looked at {SESSIONS[0]}.",)


def test_what_a_program_is_told_to_read_that_takes_the_place_of_a_child_is_read(
    sessions: list[str],
) -> None:
    with make() as asset, track_process("outer"):
        assert os.spawnlp(os.P_WAIT, "test", "test", "-f", f"{sessions[0]}/spikes.txt") == 0
    assert inputs(named(asset, "outer")[0]) == [SESSIONS[0]]


def test_a_program_that_cannot_be_executed_leaves_the_environment_as_it_was() -> None:
    with make():
        with pytest.raises(FileNotFoundError):
            os.execvp("no-such-program", ["no-such-program"])
        with pytest.raises(FileNotFoundError):
            os.execve(path="/no-such-program", argv=["no-such-program"], env={})
    assert b"_ASSET_PROVENANCE_JOIN" not in subprocess.check_output(["env"])


def test_a_child_that_leaves_the_block_of_its_parent_adds_only_what_it_did() -> None:
    program = os.getpid()
    with make() as asset:
        try:
            with track_process("outer"):
                child = os.fork()
                if child == 0:
                    current_process().add_note("In the child.")
                    sys.exit(0)
                assert os.waitpid(child, 0)[1] == 0
        finally:
            if os.getpid() != program:
                os._exit(0)
    (outer,) = named(asset, "outer")
    assert (outer.status, outer.notes) == ("completed", ("In the child.",))


def test_no_thread_of_ours_fails_in_a_worker_that_has_nothing_to_tell() -> None:
    Path("other.txt").touch()
    with make():
        context: Any = multiprocessing.get_context("fork")
        process = context.Process(target=workers.read_and_be_synced, args=("other.txt",))
        process.start()
        process.join()
        assert process.exitcode == 0


def test_how_a_script_was_ended_that_asyncio_started_is_known() -> None:
    script = "from helpers import workers\nworkers.kill_or_stay(2)"

    async def main() -> int:
        environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, env=environment
        )
        return await program.wait()

    with make() as asset:
        assert asyncio.run(main()) == -signal.SIGKILL
    (killed,) = named(asset, "kill_or_stay")
    assert (killed.status, killed.error) == ("interrupted", "SIGKILL")


def test_the_token_of_an_asset_that_is_over_does_nothing(sessions: list[str]) -> None:
    from asset_provenance import joining

    with make():
        variables = joining.environment()
    assert joining.environment() == {}
    environment = {**os.environ, **variables, "PYTHONPATH": ":".join(sys.path)}
    before = sorted(Path("results").glob("*.json"))
    program = [sys.executable, workers.__file__, sessions[0]]
    Path("results/seen").mkdir()
    subprocess.run(program, check=True, env=environment)
    assert not Path("results/.asset-provenance").exists()
    assert sorted(Path("results").glob("*.json")) == before


def test_a_child_with_an_asset_of_its_own_writes_that(
    sessions: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    script = (
        "from asset_provenance import DerivedAsset\n"
        "from helpers import workers\n"
        f"with DerivedAsset('own', inputs=(), base_name='x', output_dir='other', "
        f"**{ {**FACTS, **PEOPLE}!r}):\n"
        f"    workers.sort_spikes({sessions[0]!r})\n"
    )
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    with make() as asset:
        subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    assert not named(asset, "sort_spikes")
    told = capfd.readouterr().err
    assert "not a setting" not in told
    assert "never finished" not in told
    content = read_json(Path("other/processing.json"))
    assert [one["name"] for one in content["data_processes"]] == ["sort_spikes"]


def test_everything_is_as_it_was_when_the_asset_has_closed() -> None:
    import multiprocessing.pool
    import multiprocessing.process

    places: list[tuple[Any, str]] = [
        (multiprocessing.process.BaseProcess, "start"),
        (multiprocessing.pool.Pool, "_map_async"),
        (multiprocessing.pool.Pool, "apply_async"),
        (concurrent.futures.process.ProcessPoolExecutor, "submit"),
        (os, "_exit"),
        (subprocess.Popen, "_handle_exitstatus"),
    ]
    before = [getattr(owner, name) for owner, name in places]
    signatures = [inspect.signature(one) for one in before]
    with make():
        inside = [getattr(owner, name) for owner, name in places]
        assert [inspect.signature(one) for one in inside] == signatures
        assert all(one is not was for one, was in zip(inside, before, strict=True))
    assert [getattr(owner, name) for owner, name in places] == before


def test_what_is_sent_is_the_plain_value_where_it_arrives() -> None:
    from asset_provenance import joining
    from asset_provenance.recorder import innermost

    with make():
        process = innermost()
        assert process is not None
        value = [workers.sort_spikes.__name__, {"a": 1}]
        assert joining.sent(value, process, "") is value
        process._owner.flows.returned(value, "someone-1")  # type: ignore[attr-defined]
        again = pickle.loads(pickle.dumps(joining.sent(value, process, joining.token(process))))
        assert (type(again), again) == (list, value)
        assert process._owner.flows.find([again]) == ("someone-1",)  # type: ignore[attr-defined]


def test_children_forked_while_threads_record_neither_hang_nor_lose_anything() -> None:
    def busy() -> None:
        for number in range(400):
            workers.count(number)
            Path("results", f"{number % 7}.txt").write_text("x")

    with make() as asset:
        threads = [threading.Thread(target=busy) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(20):
            child = os.fork()
            if child == 0:
                signal.alarm(20)  # one that hangs is killed, and found below
                workers.merge([number])
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        for thread in threads:
            thread.join()
    assert len(named(asset, "merge")) == 20
    assert {record.status for record in named(asset, "merge")} == {"completed"}
    assert len(named(asset, "count")) == 101


def test_that_code_cannot_be_reached_is_told_once_whoever_ran_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "elsewhere/script.py"
    script.parent.mkdir()
    script.write_text(
        "from asset_provenance import track_process\nwith track_process('a'):\n    pass\n"
    )
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    with make() as asset:
        for _ in range(3):
            subprocess.run([sys.executable, str(script)], check=True, env=environment)
    assert len(named(asset, "a")) == 3
    told = [text for text in caplog.messages if f"in {script.parent.as_uri()};" in text]
    assert len(told) == 1
    assert "others cannot reach the code" not in capfd.readouterr().err


def test_a_token_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    from asset_provenance import joining

    monkeypatch.setenv("ASSET_PROVENANCE_CODE_URL", "https://canary-tok3n:x@example.com/lab/code")
    with make():
        text = json.dumps(joining.environment())
    assert "example.com/lab/code" in text
    assert "canary" not in text
