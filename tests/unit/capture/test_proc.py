"""What a program has open is read from /proc, and one that is gone has nothing open."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from asset_provenance.capture.files import Access
from asset_provenance.capture.proc import (
    ancestors,
    children_of_thread,
    is_over,
    is_stopped,
    open_files,
    program_name,
    started_with,
    tree,
)

_TOOL = """
import mmap, os, subprocess, sys
read = open("read.txt")
write = open("write.txt", "w")
add = open("add.txt", "a")
both = open("both.txt", "r+")
gone = open("gone.txt", "w"); os.unlink("gone.txt")
folder = os.open(".", os.O_RDONLY)
with open("mapped.bin", "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
with open("shared.bin", "r+b") as file:
    shared = mmap.mmap(file.fileno(), 0)
child = subprocess.Popen(["sh", "-c", "exec 3< child.txt; echo; read x"], stdin=0)
child.wait()
"""


@pytest.fixture
def running() -> Iterator[subprocess.Popen[bytes]]:
    for name in ("read.txt", "both.txt", "child.txt"):
        Path(name).write_text("x")
    for name in ("mapped.bin", "shared.bin"):
        Path(name).write_bytes(bytes(mmap.PAGESIZE))
    command = [sys.executable, "-c", _TOOL]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        yield program
        if program.returncode is None:
            program.communicate(b"\n")


def _names(process_ids: list[int]) -> dict[str, int]:
    here = os.getcwd()
    return {
        os.path.basename(path): access
        for process_id in process_ids
        for path, access in open_files(process_id)
        if path.startswith(here)
    }


def test_files_are_told_with_what_may_be_done_with_them(running: subprocess.Popen[bytes]) -> None:
    assert _names([running.pid]) == {
        "read.txt": Access.READ,
        "write.txt": Access.REPLACE,
        "add.txt": Access.WRITE,
        "both.txt": Access.READ | Access.WRITE,
        "mapped.bin": Access.READ,
        "shared.bin": Access.READ | Access.WRITE,
    }


def test_what_a_program_has_started_belongs_to_it(running: subprocess.Popen[bytes]) -> None:
    found = tree([running.pid])
    assert len(found) == 2
    assert _names(found)["child.txt"] == Access.READ
    assert running.pid in children_of_thread(os.getpid(), os.getpid())


def test_a_program_that_is_gone_has_nothing_open(running: subprocess.Popen[bytes]) -> None:
    assert not is_over(running.pid)
    running.communicate(b"\n")
    assert is_over(running.pid)
    assert list(open_files(running.pid)) == []
    assert tree([running.pid]) == [running.pid]
    assert children_of_thread(running.pid, running.pid) == []


def test_who_started_a_program_and_with_what_environment_is_told_while_it_is_there() -> None:
    marked = {**os.environ, "MARK": f"of {os.getpid()}"}
    with subprocess.Popen(["sh", "-c", "sleep 50 & read x"], stdin=-1, env=marked) as shell:
        try:
            until = time.monotonic() + 30
            found: dict[str, int] = {}
            while set(found) != {"sh", "sleep"} and time.monotonic() < until:
                numbers = started_with(f"MARK=of {os.getpid()}".encode())
                found = {program_name(number): number for number in numbers}
            assert found["sh"] == shell.pid
            assert list(ancestors(found["sleep"]))[:2] == [shell.pid, os.getpid()]
            assert not is_stopped(found["sleep"])
            os.kill(found["sleep"], signal.SIGSTOP)
            while not is_stopped(found["sleep"]) and time.monotonic() < until:
                pass
            assert is_stopped(found["sleep"])
        finally:
            for number in found.values():
                os.kill(number, signal.SIGKILL)
    assert not is_stopped(shell.pid)
    assert list(ancestors(shell.pid)) == []
    assert program_name(shell.pid) == ""
