"""What a program uses while it runs: real children that work and hold memory, forks and faults."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from asset_provenance.capture.files import Watching
from asset_provenance.capture.resources import MOST_POINTS, Sampler
from asset_provenance.records import ResourceRecord, resource_from_json, to_json

LONG = 20.0
"""What is asked for: the end may lie ahead, so that no test waits for it."""
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def sampler() -> Iterator[Sampler]:
    running = Sampler()
    running.start()
    yield running
    running.stop()


def seen(sampler: Sampler, start: float) -> ResourceRecord:
    record = sampler.slice(start, start + LONG)
    assert record is not None
    return record


def work(seconds: float, *, hold: int = 0) -> subprocess.Popen[bytes]:
    code = f"""
        import time
        held = bytearray({hold})
        end = time.process_time() + {seconds}
        while time.process_time() < end: pass
    """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])


@contextmanager
def worked(seconds: float, *, hold: int = 0) -> Iterator[None]:
    """Have a child that has worked for so long, and holds its memory, for as long as the block."""
    code = f"""
        import sys, time
        held = bytearray({hold})
        end = time.process_time() + {seconds}
        while time.process_time() < end: pass
        print(flush=True)
        sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield
        child.communicate()


def spent() -> float:
    """Give the seconds that this program worked, and the children that it waited for."""
    return sum(os.times()[:4])


def cpu_seconds(record: ResourceRecord, start: float = 0.0) -> float:
    """Add up what the series says: percent of one core, for the time since the point before."""
    before, total = start, 0.0
    for at, percent in record.cpu_usage:
        total += percent / 100 * (at - before)
        before = at
    return total


def ours() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "asset-provenance"]


def wait_for_look(sampler: Sampler) -> None:
    """Wait until it has looked once more; among many processes it does so less often."""
    now = time.monotonic()
    while time.monotonic() < now + 60:
        record = sampler.slice(now, now + LONG)
        if record is not None and record.ram_usage:
            return
        time.sleep(0.02)
    pytest.fail("it did not look")


def wait_for_thread() -> None:
    end = time.monotonic() + 60
    while not ours() and time.monotonic() < end:
        time.sleep(0.01)
    assert ours()


def test_what_children_use_counts_and_so_does_what_they_hold(sampler: Sampler) -> None:
    before = spent()
    wait_for_look(sampler)
    start = time.monotonic()
    with worked(1.0, hold=200 * 2**20):
        wait_for_look(sampler)
    wait_for_look(sampler)
    used = spent() - before

    record = seen(sampler, start)

    # Of a look that began before, the part inside counts.
    assert 0.5 < cpu_seconds(record) < used + 0.2
    assert max(size for _, size in record.ram_usage) > 200 * 2**20
    assert record.ram_usage[-1][1] < max(size for _, size in record.ram_usage) - 150 * 2**20
    assert all(0 <= at <= LONG for at, _ in record.cpu_usage)


def test_a_program_that_only_waits_for_another_does_not_count_itself() -> None:
    sampler = Sampler(only_children=True)
    sampler.start()
    try:
        wait_for_look(sampler)
        start = time.monotonic()
        child = work(0.5)
        end = time.process_time() + 1.0
        while time.process_time() < end:
            pass
        child.wait()
        wait_for_look(sampler)
        record = seen(sampler, start)
    finally:
        sampler.stop()

    assert 0.3 < cpu_seconds(record) < 0.9
    # Of other tests, some small program may be left: one that keeps watch for multiprocessing.
    assert record.ram_usage[-1][1] < psutil.Process().memory_info().rss / 2


@pytest.mark.skipif(sys.platform != "linux", reason="where processes began by the clock")
def test_a_clock_that_is_set_makes_no_use(sampler: Sampler, monkeypatch: Any) -> None:
    with worked(2.0):
        wait_for_look(sampler)
        before = spent()
        wait_for_look(sampler)
        start = time.monotonic()
        booted = psutil.boot_time()
        monkeypatch.setattr(f"{psutil._psplatform.__name__}.boot_time", lambda: booted + 3600)
        wait_for_look(sampler)
        wait_for_look(sampler)
        used = spent() - before

        assert cpu_seconds(seen(sampler, start)) < used + 1.0


def test_children_that_came_and_went_between_two_looks_are_not_missed(sampler: Sampler) -> None:
    wait_for_look(sampler)
    start = time.monotonic()
    for _ in range(8):
        work(0.1).wait()
    wait_for_look(sampler)

    assert cpu_seconds(seen(sampler, start)) > 0.4


def test_a_child_that_is_killed_or_left_by_its_parent_costs_nothing(sampler: Sampler) -> None:
    wait_for_look(sampler)
    start = time.monotonic()
    killed = work(30)
    code = """
        import os, subprocess, sys, time
        subprocess.Popen([sys.executable, "-c", sys.argv[1]])
        time.sleep(1.3)
        os._exit(0)
    """
    orphan = "import time; end = time.time() + 1.8\nwhile time.time() < end: pass"
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), orphan], check=True)
    time.sleep(0.3)
    killed.kill()
    killed.wait()
    wait_for_look(sampler)

    record = seen(sampler, start)

    assert len(record.cpu_usage) >= 2
    # What left with its own time hides nothing of what the others used meanwhile.
    assert all(percent > 0 for _, percent in record.cpu_usage[:3])


def test_a_process_under_ten_seconds_has_the_machine_and_no_series(sampler: Sampler) -> None:
    wait_for_look(sampler)
    now = time.monotonic()

    record = sampler.slice(now - 9.9, now)

    assert record is not None
    assert record.cpu_cores
    assert record.ram
    assert (record.cpu_usage, record.ram_usage, record.gpu_usage) == ((), (), ())


def test_a_long_run_has_a_hundred_points_of_each_series() -> None:
    sampler = Sampler()
    for second in range(30_000):
        value = 777.0 if second == 12_345 else 50.0
        sampler._cpu_usage.add(second - 1, second, value)
        sampler._ram_usage.add(second - 1, second, value)

    record = sampler.slice(100, 29_000)

    assert record is not None
    for series in (record.cpu_usage, record.ram_usage):
        assert len(series) == MOST_POINTS
        assert max(series, key=lambda point: point[1]) == (12_245.0, 777.0)


def test_a_record_is_the_same_when_it_is_read_back(sampler: Sampler) -> None:
    start = time.monotonic() - 0.1
    wait_for_look(sampler)
    wait_for_look(sampler)
    record = seen(sampler, start)

    assert record.cpu_usage
    assert resource_from_json(to_json(record)) == record  # type: ignore[arg-type]
    assert pickle.loads(pickle.dumps(record)) == record


def test_its_own_reading_of_files_is_not_taken_for_the_users() -> None:
    opened: list[str] = []
    watching = Watching(lambda path, _access, _before: opened.append(path), lambda *_: None)
    sampler = Sampler()
    try:
        sampler.start()
        wait_for_look(sampler)
    finally:
        sampler.stop()
        watching.stop()

    assert opened == []


def test_when_it_is_stopped_nothing_of_it_is_left() -> None:
    before = {name: getattr(os, name, None) for name in ("fork", "forkpty")}
    first, second = Sampler(), Sampler()
    first.start()
    second.start()
    first.stop()
    wait_for_thread()
    second.stop()
    second.stop()

    assert not ours()
    assert {name: getattr(os, name, None) for name in before} == before
    assert second.slice(0, 5) is not None


@needs_fork
def test_after_a_fork_the_parent_goes_on_looking_without_being_asked(sampler: Sampler) -> None:
    wait_for_look(sampler)
    start = time.monotonic()
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    wait_for_look(sampler)
    wait_for_look(sampler)

    assert len(seen(sampler, start).cpu_usage) >= 2


@needs_fork
def test_after_a_fork_that_nobody_told_of_it_goes_on_when_it_is_asked(sampler: Sampler) -> None:
    wait_for_look(sampler)
    child = os.fork.__wrapped__()  # type: ignore[attr-defined] # as by a function of C
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    assert not ours()

    sampler.resume()

    wait_for_look(sampler)


@needs_fork
def test_a_child_does_not_look_at_itself(sampler: Sampler) -> None:
    wait_for_thread()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        told = f"{len(os.listdir('/proc/self/task'))} {len(ours())} {sampler.slice(0, 100)}"
        inner = Sampler()
        inner.stop()
        sampler.stop()
        os.write(write, told.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as file:
        assert file.read() == "1 0 None"
    wait_for_thread()


FORKING = """
import os
counts = set()
# Hooks run in reverse: this one sees what is left when ours has run.
os.register_at_fork(before=lambda: counts.add(len(os.listdir("/proc/self/task"))))

import subprocess, threading, time
from multiprocessing import get_context
from asset_provenance.capture.resources import Sampler

def nothing(): pass

def fork():
    begun = time.monotonic()
    for _ in range(100):
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        subprocess.run(["true"], preexec_fn=nothing, check=True)
    return time.monotonic() - begun

if __name__ == "__main__":
    without = fork()
    sampler = Sampler()
    sampler.start()
    within = fork()
    for _ in range(3):
        process = get_context("fork").Process(target=nothing)
        process.start()
        process.join()
    names = [one.name for one in threading.enumerate()]
    sampler.stop()
    print(counts, names.count("asset-provenance"))
    print(within / without)
"""


@needs_fork
def test_two_hundred_forks_meet_no_thread_of_ours_and_are_not_slow(tmp_path: Path) -> None:
    script = tmp_path / "forking.py"
    script.write_text(FORKING)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )

    assert done.stderr == ""
    counts, slower = done.stdout.splitlines()
    assert counts == "{1} 1"
    assert float(slower) < 10  # waiting for a look each time would take minutes


@pytest.mark.skipif(not hasattr(signal, "sigwait"), reason="needs sigwait")
def test_a_signal_that_the_user_waits_for_still_reaches_him() -> None:
    code = """
        import os, signal, time
        from asset_provenance.capture.resources import Sampler
        sampler = Sampler()
        sampler.start()
        time.sleep(0.3)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.1)
        print(signal.sigwait({signal.SIGUSR1}) == signal.SIGUSR1)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "True\n", done.stderr


def test_where_no_thread_can_be_had_there_is_the_machine_only(tmp_path: Path) -> None:
    code = """
        import resource, threading, time
        from asset_provenance.capture.resources import Sampler
        threading.stack_size(1 << 40)
        sampler = Sampler()
        sampler.start()
        sampler.resume()
        record = sampler.slice(0, 20)
        sampler.stop()
        print(record.ram > 0, record.cpu_usage)
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "True ()\n", done.stderr


def test_a_look_that_fails_for_want_of_descriptors_is_not_the_last() -> None:
    code = """
        import resource, time
        from asset_provenance.capture.resources import Sampler
        sampler = Sampler()
        sampler.start()
        def wait_for_look():
            now = time.monotonic()
            while not sampler.slice(now, now + 20).ram_usage:
                time.sleep(0.02)
        wait_for_look()
        usual = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, usual[1]))
        time.sleep(2)
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
        wait_for_look()
        sampler.stop()
        print("looked again")
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "looked again\n"


def test_it_looks_less_often_where_looking_costs_much() -> None:
    children = [subprocess.Popen(["sleep", "60"]) for _ in range(150)]
    try:
        sampler = Sampler()
        time.sleep(0.3)
        me = psutil.Process()
        sampler.start()
        wait_for_look(sampler)  # which tells it what a look costs
        before = sum(me.cpu_times()[:2])
        time.sleep(3)
        spent = sum(me.cpu_times()[:2]) - before
        sampler.stop()
    finally:
        for child in children:
            child.kill()
            child.wait()

    assert spent < 3 * 0.02 + 0.02  # of one core, and a tick of its clock
