"""What the programs read and write that an asset's process starts is seen."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asset_provenance import DerivedAsset, track_process
from asset_provenance.engines import programs, programuse
from helpers.assets import FACTS, PEOPLE, RAW, graph, make_asset, processes

RESULTS = Path("results")
OTHER = "ecephys_654322_2026-02-02_10-00-00"
UNTIL_GO = "while [ ! -e go ]; do sleep 0.01; done"


@pytest.fixture
def raw(data_root: Path) -> Path:
    folder = make_asset(data_root)
    (folder / "in.txt").write_text("b\na\na\n")
    (data_root / OTHER).mkdir()
    (data_root / OTHER / "in.txt").write_text("c\n")
    return folder


def plain() -> DerivedAsset:
    return DerivedAsset("test", inputs=(), base_name="b", **FACTS, **PEOPLE)


def inputs(name: str) -> list[str]:
    data = processes(RESULTS)[name]["code"]["input_data"]
    return [item["name"] for item in data or ()]


def output(name: str) -> str | None:
    return processes(RESULTS)[name]["output_path"]  # type: ignore[no-any-return]


@track_process
def first(function: Callable[[], Any]) -> Any:
    return function()


@track_process
def second(function: Callable[[], Any]) -> Any:
    return function()


@contextlib.contextmanager
def released_once_seen(*names: str) -> Iterator[None]:
    """Make the file ``go`` as soon as files of these names were seen in programs that run."""

    def look() -> None:
        seen: set[str] = set()
        until = time.monotonic() + 60
        while not seen.issuperset(names) and time.monotonic() < until:
            for program in tuple(programuse._Running.programs.values()):
                seen |= {Path(path).name for path, _ in tuple(program.told)}
            time.sleep(0.01)
        Path("go").touch()

    thread = threading.Thread(target=look)
    thread.start()
    yield
    thread.join()


def _popen(line: str) -> None:
    with subprocess.Popen(line, shell=True) as program:
        program.communicate()


def _polled(line: str) -> None:
    program = subprocess.Popen(line, shell=True)
    while program.poll() is None:
        time.sleep(0.01)


def _os_popen(line: str) -> None:
    with os.popen(line) as stream:
        stream.read()


def _posix_spawn(line: str) -> None:
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", line], os.environ)
    assert os.waitpid(pid, 0) == (pid, 0)


def _asyncio_shell(line: str) -> None:
    async def main() -> None:
        program = await asyncio.create_subprocess_shell(line)
        assert await program.wait() == 0

    asyncio.run(main())


def _asyncio_exec(line: str) -> None:
    async def main() -> None:
        program = await asyncio.create_subprocess_exec("sh", "-c", line)
        assert await program.wait() == 0

    asyncio.run(main())


@pytest.mark.parametrize(
    "start",
    [
        lambda line: subprocess.run(line, shell=True, check=True),
        lambda line: subprocess.call(line, shell=True),
        lambda line: subprocess.check_output(line, shell=True),
        lambda line: subprocess.run(["bash", "-c", line], check=True),
        lambda line: os.system(line),  # noqa: PLW0108 - it is replaced later
        _popen,
        _polled,
        _os_popen,
        _posix_spawn,
        _asyncio_shell,
        _asyncio_exec,
    ],
    ids=["run", "call", "out", "list", "system", "popen", "poll", "os", "spawn", "aiosh", "aio"],
)
def test_a_pipeline_reads_its_input_and_writes_its_output_however_it_is_started(
    raw: Path, start: Callable[[str], Any]
) -> None:
    with plain():
        first(lambda: start(f"sort data/{RAW}/in.txt | uniq > results/out.txt"))
        second(lambda: start("wc results/out.txt > /dev/null"))
    assert (RESULTS / "out.txt").read_text() == "a\nb\n"
    assert (inputs("first"), output("first")) == ([RAW], "out.txt")
    assert (inputs("second"), output("second")) == ([], None)
    assert graph(RESULTS)["second"] == ["first"]


def test_a_copy_with_a_working_folder_of_its_own_and_relative_paths(raw: Path) -> None:
    with plain():
        first(
            lambda: subprocess.run(["cp", "in.txt", "../../results/a b.txt"], cwd=raw, check=True)
        )
        second(lambda: subprocess.run(["mv", "a b.txt", "c.txt"], cwd=RESULTS, check=True))
    assert (inputs("first"), output("first")) == ([RAW], "a b.txt")
    assert output("second") == "c.txt"
    assert graph(RESULTS)["second"] == ["first"]


def test_names_with_spaces_and_without_any_encoding(raw: Path) -> None:
    name = b"sp ace \xff.txt"
    source = os.path.join(os.fsencode(raw), name)
    Path(os.fsdecode(source)).write_text("x")
    with plain():
        first(lambda: subprocess.run([b"cp", source, b"results/" + name], check=True))
        second(lambda: subprocess.run([b"cat", b"results/" + name], check=True, stdout=-3))
    assert inputs("first") == [RAW]
    assert graph(RESULTS)["second"] == ["first"]


def test_a_program_that_is_told_all_in_a_config_file_is_looked_at_while_it_lives(
    raw: Path,
) -> None:
    tool = Path("tool.py")
    tool.write_text(
        "import json, os, sys, time\n"
        "config = json.load(open(sys.argv[1]))\n"
        "source, target = open(config['in']), open(config['out'], 'w')\n"
        "while not os.path.exists('go'):\n"
        "    time.sleep(0.01)\n"
        "target.write(source.read())\n"
    )
    Path("config.json").write_text(
        f'{{"in": "data/{RAW}/in.txt", "out": "{RESULTS.absolute()}/fixed.txt"}}'
    )
    with released_once_seen("in.txt", "fixed.txt"), plain():
        first(lambda: subprocess.run([sys.executable, tool, "config.json"], check=True))
        second((RESULTS / "fixed.txt").read_text)
    assert (inputs("first"), output("first")) == ([RAW], "fixed.txt")
    assert graph(RESULTS)["second"] == ["first"]


def test_what_a_shell_started_by_os_system_has_open_is_seen(raw: Path) -> None:
    Path("script.sh").write_text(f"exec 3< data/{RAW}/in.txt; {UNTIL_GO}; cat <&3\n")
    with released_once_seen("in.txt"), plain():
        first(lambda: os.system("sh script.sh"))
    assert inputs("first") == [RAW]


def test_a_program_that_writes_fixed_names_where_it_runs(raw: Path) -> None:
    Path("tool.sh").write_text("echo x > log.txt; mkdir deep; echo y > deep/result.txt\n")
    place, tool = RESULTS / "sub", Path("tool.sh").absolute()
    with plain():
        first(lambda: [place.mkdir(), (place / "before.txt").write_text("x")])
        second(lambda: subprocess.run(["sh", tool], cwd=place, check=True))
    assert output("first") == "sub/before.txt"
    assert output("second") == "sub"
    assert graph(RESULTS)["second"] == []


def test_a_folder_that_is_named_holds_what_was_written_and_not_what_was_there(raw: Path) -> None:
    with plain():
        first(lambda: [(RESULTS / "sub").mkdir(), (RESULTS / "sub/old.txt").write_text("x")])
        second(lambda: subprocess.run(["cp", "-p", raw / "in.txt", "results/sub"], check=True))
    assert (inputs("second"), output("second")) == ([RAW], "sub/in.txt")
    assert graph(RESULTS)["second"] == []


def test_a_folder_that_is_named_and_left_alone_is_read(raw: Path) -> None:
    with plain():
        first(lambda: [(RESULTS / "sub").mkdir(), (RESULTS / "sub/old.txt").write_text("x")])
        second(lambda: subprocess.run(["tar", "cf", "results/all.tar", "results/sub"], check=True))
    assert output("second") == "all.tar"
    assert graph(RESULTS)["second"] == ["first"]


def test_names_that_the_program_completes(raw: Path) -> None:
    with plain():
        (RESULTS / "parts").mkdir()
        first(
            lambda: subprocess.run(["split", "-l1", raw / "in.txt", "results/parts/p_"], check=True)
        )
        second((RESULTS / "parts/p_aa").read_text)
    assert output("first") == "parts"
    assert graph(RESULTS)["second"] == ["first"]


def test_a_program_that_fails_or_is_killed_has_read_and_written_what_it_has(raw: Path) -> None:
    def killed() -> None:
        line = f"exec 3>> results/log.txt; sleep 60 < data/{RAW}/in.txt"
        program = subprocess.Popen(line, shell=True, start_new_session=True)
        while not (RESULTS / "log.txt").exists():
            time.sleep(0.01)
        os.killpg(program.pid, signal.SIGKILL)
        assert program.wait() == -signal.SIGKILL

    with plain():
        with pytest.raises(subprocess.CalledProcessError) as caught:
            first(lambda: subprocess.check_output(f"cat data/{RAW}/in.txt; exit 3", shell=True))
        second(killed)
        with pytest.raises(FileNotFoundError):
            subprocess.run(["no-such-program", f"data/{OTHER}"], check=False)
    assert (caught.value.returncode, caught.value.output) == (3, b"b\na\na\n")
    assert inputs("first") == [RAW]
    assert (inputs("second"), output("second")) == ([RAW], "log.txt")
    assert OTHER not in (RESULTS / "processing.json").read_text()


def test_programs_of_two_threads_belong_to_the_process_of_their_thread(raw: Path) -> None:
    barrier = threading.Barrier(2)

    def slowly(name: str, target: str) -> None:
        barrier.wait(10)
        Path(f"{target}.sh").write_text(
            f"exec 3< data/{name}/in.txt 4> results/{target}.txt; {UNTIL_GO}; cat <&3 >&4\n"
        )
        subprocess.run(["sh", f"{target}.sh"], check=True)

    with released_once_seen("a.txt", "b.txt"), plain():
        threads = [
            threading.Thread(target=first, args=(lambda: slowly(RAW, "a"),)),
            threading.Thread(target=second, args=(lambda: slowly(OTHER, "b"),)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (inputs("first"), output("first")) == ([RAW], "a.txt")
    assert (inputs("second"), output("second")) == ([OTHER], "b.txt")


def test_what_was_written_until_its_process_ended_belongs_to_it(raw: Path) -> None:
    started = []

    def start() -> None:
        line = f"cp data/{RAW}/in.txt results/out.txt; sleep 60"
        started.append(subprocess.Popen(line, shell=True, start_new_session=True))
        while not ((RESULTS / "out.txt").exists() and (RESULTS / "out.txt").read_bytes()):
            time.sleep(0.01)

    with plain():
        first(start)
    assert (inputs("first"), output("first")) == ([RAW], "out.txt")
    written = {path: path.read_bytes() for path in RESULTS.rglob("*") if path.is_file()}
    os.killpg(started[0].pid, signal.SIGKILL)
    assert started[0].wait() == -signal.SIGKILL
    assert {path: path.read_bytes() for path in written} == written


def test_nothing_is_seen_of_our_own_programs(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(programuse, "named_by", lambda command, **_: seen.append(command))
    subprocess.run(["git", "init", "-q", "."], check=True)
    with plain():
        first(lambda: None)
    assert seen == []


def test_the_class_looks_as_without_us_and_is_put_back(raw: Path) -> None:
    class Mine(subprocess.Popen[bytes]):
        pass

    signature, original = inspect.signature(subprocess.Popen), subprocess.Popen.__init__
    with plain():
        assert inspect.signature(subprocess.Popen) == signature
        with Mine(["cat", f"data/{RAW}/in.txt"], stdout=subprocess.PIPE) as program:
            assert isinstance(program, subprocess.Popen)
            assert program.communicate() == (b"b\na\na\n", None)
            assert program.returncode == 0
    assert inputs("test") == [RAW]
    assert subprocess.Popen.__init__ is original


def test_the_functions_of_os_are_pickled_by_name_and_seen_where_they_were_imported_to(
    raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "held", os.system, raising=False)
    with plain():
        assert b"posix" not in pickle.dumps(os.system)
        assert pickle.loads(pickle.dumps(os.system)) is os.system
        assert pickle.loads(pickle.dumps(os.posix_spawn)) is os.posix_spawn
        first(lambda: sys.modules[__name__].held(f"cat data/{RAW}/in.txt > /dev/null"))
    assert inputs("first") == [RAW]


def test_the_output_of_the_whole_program_is_no_output_of_what_it_starts(raw: Path) -> None:
    RESULTS.mkdir()
    with plain(), open(RESULTS / "log.txt", "w") as log:
        kept = os.dup(1)
        os.dup2(log.fileno(), 1)
        try:
            first(lambda: subprocess.run(["sh", "-c", "sleep 0.4; echo x"], check=True))
        finally:
            os.dup2(kept, 1)
            os.close(kept)
    assert output("first") is None


@pytest.mark.parametrize("given", [None, {"OWN": "1", "PATH": os.defpath}])
def test_a_program_can_be_given_variables_besides_its_own(
    raw: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str] | None
) -> None:
    monkeypatch.setattr(programs, "environment", lambda: {"JOINS": "it's us"})
    monkeypatch.setenv("INHERITED", "2")
    line = 'echo "$JOINS,$OWN,$INHERITED" > results/env.txt'
    expected = "it's us,,2\n" if given is None else "it's us,1,\n"
    with plain():
        subprocess.run(line, shell=True, check=True, env=given)
        assert (RESULTS / "env.txt").read_text() == expected
        pid = os.posix_spawn("/bin/sh", ["sh", "-c", line], os.environ if given is None else given)
        os.waitpid(pid, 0)
        assert (RESULTS / "env.txt").read_text() == expected
        assert os.system(line) == 0
        assert (RESULTS / "env.txt").read_text() == "it's us,,2\n"


def test_no_thread_of_ours_outlives_the_programs(raw: Path) -> None:
    with plain():
        before = set(threading.enumerate())
        program = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        assert {each.name for each in set(threading.enumerate()) - before} == {"asset-provenance"}
        program.communicate()
        assert set(threading.enumerate()) <= before
