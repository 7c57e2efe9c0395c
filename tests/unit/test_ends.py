"""Ends that no ``with`` block sees: signals, interrupts, exits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

HEAD = """
import os, signal, sys, time
from asset_provenance import DerivedAsset, track_process
# A program that a shell started in the background ignores SIGINT, and so would this one.
signal.signal(signal.SIGINT, signal.default_int_handler)
FACTS = dict(inputs=(), base_name="b", project_name="p", investigators="A B", funding_source="AI",
             modalities="ecephys", experimenters="A B")

@track_process
def work(seconds=30.0):
    print("ready", flush=True)
    time.sleep(seconds)
"""


def start(body: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + textwrap.dedent(body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def send(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str, str]:
    """Wait until the program is at work, send the signal, and wait for the end."""
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def entries() -> list[dict[str, Any]]:
    (path,) = Path("results").glob(".asset-provenance/*/*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_sigterm_completes_the_record_and_then_ends_the_program() -> None:
    status, _, err = send(start('with DerivedAsset("t", **FACTS): work()'))
    assert status == -signal.SIGTERM
    found = entries()
    assert [entry["kind"] for entry in found[-4:]] == ["signal", "end", "end", "close"]
    work, block = found[-3], found[-2]
    assert (work["name"], work["status"]) == ("work", "interrupted")
    assert work["notes"] == block["notes"] == ["Ended by SIGTERM."]
    assert found[-1]["reason"] == "interrupted"
    assert "was interrupted, so no metadata were written; its record is kept in" in err
    assert not list(Path("results").glob("*.json"))


def test_sigterm_writes_the_metadata_where_failures_are_to_be_written() -> None:
    status, _, _ = send(start('with DerivedAsset("t", on_failure="write", **FACTS): work()'))
    assert status == -signal.SIGTERM
    processing = json.loads(Path("results/processing.json").read_text())
    assert "Ended by SIGTERM." in processing["data_processes"][0]["notes"]
    assert not Path("results/.asset-provenance").exists()


def test_the_user_s_own_handler_is_called_and_decides() -> None:
    program = start("""
        def stop(number, frame):
            print("my handler", flush=True)
            sys.exit(7)
        signal.signal(signal.SIGTERM, stop)
        with DerivedAsset("t", **FACTS): work()
    """)
    status, out, _ = send(program)
    assert (status, out) == (7, "my handler\n")
    assert [entry["kind"] for entry in entries()[-4:]] == ["signal", "end", "end", "close"]
    assert entries()[-3]["error"] == "SystemExit: 7"


def test_a_handler_that_goes_on_lets_the_run_complete() -> None:
    program = start("""
        signal.signal(signal.SIGTERM, lambda number, frame: print("go on", flush=True))
        with DerivedAsset("t", process_type="Analysis", **FACTS): work(0.5)
    """)
    status, out, _ = send(program)
    assert (status, out) == (0, "go on\n")
    processing = json.loads(Path("results/processing.json").read_text())
    assert "The program got SIGTERM." in processing["data_processes"][0]["notes"]


def test_an_ignored_sigterm_stays_ignored() -> None:
    program = start("""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with DerivedAsset("t", **FACTS): work(0.5)
    """)
    assert send(program)[0] == 0
    assert Path("results/processing.json").exists()


def test_the_handler_is_as_before_when_the_last_asset_has_closed() -> None:
    program = start("""
        with DerivedAsset("t", **FACTS):
            with DerivedAsset("u", output_dir="inner", **FACTS): pass
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        with DerivedAsset("t", **FACTS):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    """)
    _, err = program.communicate(timeout=30)
    assert program.returncode == 0, err


def test_a_pool_can_end_its_forked_workers() -> None:
    program = start("""
        import multiprocessing
        with DerivedAsset("t", **FACTS):
            with multiprocessing.get_context("fork").Pool(2) as pool:
                assert pool.map(abs, [1, -2]) == [1, 2]
    """)
    _, err = program.communicate(timeout=30)
    assert program.returncode == 0, err
    assert "interrupted" not in err
    assert Path("results/processing.json").exists()


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_once_and_twice_ends_as_without_us_and_keeps_the_record(times: int) -> None:
    program = start('with DerivedAsset("t", **FACTS): work()')
    assert program.stdout is not None
    program.stdout.readline()
    for _ in range(times):
        program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=30)
    assert program.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    found = entries()
    assert found[0]["kind"] == "asset"
    assert any(entry.get("name") == "work" for entry in found)
    assert not list(Path("results").glob("*.json"))


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("os._exit(5)", 5),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV),
    ],
)
def test_a_sudden_end_leaves_every_ended_process_in_the_journal(end: str, status: int) -> None:
    program = start(f"""
        with DerivedAsset("t", **FACTS):
            work(0)
            with track_process("last"):
                {end}
    """)
    program.communicate(timeout=30)
    assert program.returncode == status
    assert [(entry["kind"], entry.get("name")) for entry in entries()] == [
        ("asset", None),
        ("start", "t"),
        ("start", "work"),
        ("end", "work"),
        ("start", "last"),
    ]


FAKETIME = next(iter(sorted(Path("/usr/lib").glob("**/libfaketime.so.1"))), None)


@pytest.mark.skipif(FAKETIME is None, reason="needs libfaketime (Debian: faketime)")
def test_a_clock_that_is_set_back_never_gives_an_end_before_its_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Path("clock").absolute()
    clock.write_text("+0")
    for name, value in {
        "LD_PRELOAD": FAKETIME,
        "FAKETIME_TIMESTAMP_FILE": clock,
        "FAKETIME_NO_CACHE": 1,
        "FAKETIME_DONT_FAKE_MONOTONIC": 1,
    }.items():
        monkeypatch.setenv(name, str(value))
    program = start(f"""
        with DerivedAsset("t", strict=True, process_type="Analysis", **FACTS):
            with track_process("step"):
                begun = time.time()
                open({str(clock)!r}, "w").write("-1h")
                sum(range(5_000_000))
                assert time.time() < begun - 3000
            with track_process("later"):
                pass
    """)
    monkeypatch.delenv("LD_PRELOAD")
    _, err = program.communicate(timeout=60)
    assert program.returncode == 0, err
    starts = {}
    for item in json.loads(Path("results/processing.json").read_text())["data_processes"]:
        begin, end = (
            datetime.fromisoformat(item[f"{name}_date_time"]) for name in ("start", "end")
        )
        assert 0 < (end - begin).total_seconds() < 60
        starts[item["name"]] = begin
    # A clock that was set right is believed from then on.
    assert (starts["step"] - starts["later"]).total_seconds() > 3000


def test_an_output_folder_that_is_removed_costs_neither_the_run_nor_its_record() -> None:
    program = start("""
        import glob, shutil
        with DerivedAsset("t", **FACTS):
            work(0)
            shutil.rmtree("results")
            work(0)
            time.sleep(1)
            print(glob.glob(os.environ["HOME"] + "/.local/state/asset-provenance/runs/*/*.jsonl"))
    """)
    out, err = program.communicate(timeout=30)
    assert program.returncode == 0
    assert ".jsonl" in out.splitlines()[-1]
    assert "it was removed); the record of the run goes on in" in err
    # The folder is made again for the metadata, and then nothing is kept elsewhere.
    processing = json.loads(Path("results/processing.json").read_text())
    assert [item["name"] for item in processing["data_processes"]] == ["work", "work_1"]
    assert not list(Path(os.environ["HOME"]).glob(".local/state/asset-provenance/runs/*"))


def test_code_is_known_though_the_output_folder_is_removed_at_last() -> None:
    Path("code.py").touch()
    program = start("""
        import shutil
        with DerivedAsset("t", **FACTS):
            shutil.rmtree("results")  # with the answer which code it is
    """)
    program.communicate(timeout=30)
    (process,) = json.loads(Path("results/processing.json").read_text())["data_processes"]
    assert "has no tree id" not in process["notes"]
    assert process["code"]["version"].startswith("tree:")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to mount")
def test_a_disk_that_fills_up_while_it_runs_costs_the_metadata_only(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=256k tmpfs {disk} 2>/dev/null"):
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        program = start(f"""
            with DerivedAsset("t", output_dir={str(disk)!r}, **FACTS):
                work(0)
                try:
                    with open({str(disk / "big")!r}, "wb") as file:
                        file.write(bytes(1_000_000))
                except OSError:
                    pass
                work(0)
            print("went on")
        """)
        out, err = program.communicate(timeout=30)
        assert (program.returncode, out.splitlines()[-1]) == (0, "went on")
        assert "No space left on device" in err
        assert not list(disk.glob("*.json"))
        kept = Path(err.split("the record of the run is kept in ")[1].split(":")[0])
        assert "work" in b"".join(path.read_bytes() for path in kept.glob("*.jsonl")).decode()
    finally:
        os.system(f"umount {disk}")


def test_a_second_program_on_the_same_folder_is_refused_and_a_dead_one_is_no_hindrance() -> None:
    first = start('with DerivedAsset("t", **FACTS): work()')
    assert first.stdout is not None
    first.stdout.readline()
    second = start('with DerivedAsset("t", **FACTS): pass')
    _, err = second.communicate(timeout=30)
    assert second.returncode == 1
    assert "another run has the output folder" in err
    first.kill()
    first.communicate()
    third = start('with DerivedAsset("t", **FACTS): pass')
    _, err = third.communicate(timeout=30)
    assert third.returncode == 0
    assert "1 earlier run(s) in" in err
    assert Path("results/processing.json").exists()
