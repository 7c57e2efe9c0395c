"""The log of system calls is read rightly: of a few real calls, each with what it means."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fidelity.calls import Step, read_log

MARK = """
import os, sys
sys.path.insert(0, {tests!r})
from fidelity.calls import mark
def step(name, work):
    mark("begin", name)
    work()
    mark("end", name)
"""
TESTS = str(Path(__file__).resolve().parents[1])


@pytest.fixture
def steps(tmp_path: Path, traced: list[str | Path]):  # type: ignore[no-untyped-def]
    """Run a program that calls ``step(name, function)``, and read its log."""
    place = tmp_path / "place"
    for folder in ("data/raw", "results", "aside"):
        (place / folder).mkdir(parents=True)
    (place / "data/raw/x, y.txt").write_text("x")

    def run(program: str) -> dict[str, Step]:
        text = MARK.format(tests=TESTS) + program
        subprocess.run([*traced, sys.executable, "-c", text], cwd=place, check=True)
        found = read_log(place / "calls", place / "data", place / "results", place)
        for step in found.values():
            step.read = {path.removeprefix(f"{place}/") for path in step.read if "/data/" in path}
            step.written = {path.removeprefix(f"{place}/results/") for path in step.written}
        return found

    return run


def test_a_file_is_read_where_it_was_opened_for_that_and_folders_are_not(steps) -> None:  # type: ignore[no-untyped-def]
    found = steps("""
def reads():
    open("data/raw/x, y.txt").close()
def looks():
    os.listdir("data/raw"); os.stat("data/raw/x, y.txt"); os.path.exists("data/raw/none")
    os.close(os.open("data/raw", os.O_RDONLY))
    os.close(os.open("data/raw/x, y.txt", os.O_PATH))
    try: open("data/raw/none")
    except OSError: pass
step("reads", reads)
open("data/raw/x, y.txt").close()
step("looks", looks)
""")
    assert found == {"reads": Step({"data/raw/x, y.txt"}), "looks": Step()}


def test_written_is_what_was_made_or_changed_and_is_still_there(steps) -> None:  # type: ignore[no-untyped-def]
    found = steps("""
def writes():
    open("results/empty", "w").close()
    open("results/é.txt", "w").write("x")
    open("results/gone", "w").close(); os.unlink("results/gone")
    open("results/old", "w").close(); os.rename("results/old", "results/new")
    open("aside/part", "w").close(); os.rename("aside/part", "results/whole")
    os.mkdir("aside/folder"); open("aside/folder/in", "w").close()
    os.rename("aside/folder", "results/folder")
    os.symlink("../data/raw", "results/link"); os.link("results/empty", "results/other")
def nothing():
    open("results/new", "r+").close()
    open("results/new", "a").close()
    open("data/raw/x, y.txt", "w").close()
def elsewhere():
    os.chdir("results")
    os.rename("new", "renamed")
    folder = os.open(".", os.O_RDONLY)
    os.unlink("renamed", dir_fd=folder)
    os.truncate("empty", 3)
for each in (writes, nothing, elsewhere):
    step(each.__name__, each)
""")
    assert found["writes"].written == {
        *("empty", "é.txt", "new", "whole", "folder/in", "other", "link"),
    }
    assert found["nothing"].written == set()
    assert found["elsewhere"].written == {"empty"}


def test_a_step_follows_who_left_what_it_read_as_it_is(steps) -> None:  # type: ignore[no-untyped-def]
    found = steps("""
def write(name, mode="w"):
    open("results/" + name, mode).write("x")
def read(*names):
    for name in names: open("results/" + name).read()
step("one", lambda: (write("a"), write("b"), write("c"), read("a")))
step("two", lambda: (write("a"), write("b", "a"), os.rename("results/c", "results/d")))
step("reads_a", lambda: read("a"))
step("reads_b", lambda: read("b"))
step("reads_d", lambda: read("d"))
step("reads_nothing", lambda: os.listdir("results"))
""")
    assert {name: step.follows for name, step in found.items()} == {
        "one": set(),
        "two": {"one"},
        "reads_a": {"two"},
        "reads_b": {"one", "two"},
        "reads_d": {"one", "two"},
        "reads_nothing": set(),
    }


def test_what_threads_and_other_programs_do_belongs_to_the_step_that_waits(steps) -> None:  # type: ignore[no-untyped-def]
    found = steps("""
import subprocess, threading
def threads():
    each = threading.Thread(target=lambda: open("results/thread", "w").write("x"))
    each.start(); each.join()
def programs():
    line = "cd results; cat ../data/raw/*.txt > made; mv made moved"
    subprocess.run(line, shell=True, check=True)
step("threads", threads)
step("programs", programs)
""")
    assert found["threads"].written == {"thread"}
    assert found["programs"] == Step({"data/raw/x, y.txt"}, {"moved"})
