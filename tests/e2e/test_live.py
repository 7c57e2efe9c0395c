"""What somebody sees of a run who sits at a terminal."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("needs a terminal of POSIX", allow_module_level=True)

from helpers.terminals import GIVEN_BACK, Terminal

HEAD = """
import os, signal, subprocess, sys, time
from asset_provenance import DerivedAsset, track_process
FACTS = dict(inputs=(), base_name="b", project_name="p", investigators="A B", funding_source="AI",
             modalities="ecephys", experimenters="A B")

@track_process
def work(seconds):
    time.sleep(seconds)
"""
CLOSING = re.compile(
    r"wrote 4 files of b_tuning_[\d_-]+ to results; see them with: asset-provenance show results\n"
)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    # So that nothing is said of the code, which is in no repository.
    monkeypatch.setenv("ASSET_PROVENANCE_CODE_URL", "https://example.org/analysis")
    monkeypatch.setenv("ASSET_PROVENANCE_CODE_VERSION", "1.0")
    terminal = Terminal()
    yield terminal
    terminal.close()


MANY_WRITERS = """
def child(end):
    if os.fork() == 0:
        print("a forked child", flush=True)
        end(0)
    os.wait()

streams = sys.stdout, sys.stderr
with DerivedAsset("tuning", **FACTS):
    print("begun")
    work(1.8)
    print("part of a line, ", end="", flush=True)
    work(0.8)
    print("and its end")
    subprocess.run(["sh", "-c", "echo a program; sleep 0.7; echo its error >&2"])
    child(os._exit)
    child(sys.exit)
    for part in range(4):
        print(f"\\r{25 * part} %", end="", file=sys.stderr, flush=True)
        time.sleep(0.3)
    print("\\r100 %", file=sys.stderr)
assert (sys.stdout, sys.stderr) == streams
print("after")
"""


def test_all_that_others_write_is_whole_and_in_order_above_the_line(terminal: Terminal) -> None:
    program = terminal.start(HEAD + MANY_WRITERS, ASSET_PROVENANCE_LIVE="true")
    assert program.wait(60) == 0
    terminal.close()
    assert CLOSING.sub("CLOSING\n", terminal.others) == (
        "begun\npart of a line, and its end\na program\nits error\n"
        "a forked child\na forked child\n"
        "\r0 %\r25 %\r50 %\r75 %\r100 %\nCLOSING\nafter\n"
    )
    lines = terminal.lines
    assert any(re.fullmatch(r"work \| 0:00:01 \| \d\.\d GB", line) for line in lines)
    assert any(re.fullmatch(r"tuning \| 0:0\d:\d\d \| \d\.\d GB", line) for line in lines)
    assert terminal.is_clean
    # The children had the terminal, too, and left the row alone: it is given back once, at the end.
    assert terminal.all.count(GIVEN_BACK) == 1


def test_only_the_line_is_on_the_terminal_where_the_output_goes_to_a_file(
    terminal: Terminal,
) -> None:
    body = """
sys.stdout = open("out.txt", "w")
with DerivedAsset("tuning", **FACTS):
    print("to the file")
    work(0.7)
    print("and more")
"""
    assert terminal.start(HEAD + body, ASSET_PROVENANCE_LIVE="true").wait(60) == 0
    terminal.close()
    assert Path("out.txt").read_text() == "to the file\nand more\n"
    assert CLOSING.fullmatch(terminal.others)
    assert any(line.startswith("work | ") for line in terminal.lines)


def test_a_program_in_the_background_leaves_the_terminal_to_others(terminal: Terminal) -> None:
    asset = HEAD + 'with DerivedAsset("tuning", **FACTS): work(0.7)'
    starts = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {asset!r}], "
    program = terminal.start(f"{starts} process_group=0)", ASSET_PROVENANCE_LIVE="true")
    assert program.wait(60) == 0
    terminal.close()
    assert CLOSING.fullmatch(terminal.all)


ORPHAN = """
    if os.fork() == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        time.sleep(60)
    os.kill(os.getpid(), signal.SIGKILL)
"""
ENDS = {
    "raise": ('raise ValueError("no")', 1),
    "exit": ("os._exit(3)", 3),
    "kill": (ORPHAN, -signal.SIGKILL),
    "term": ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    "exec": ('os.execv("/bin/sh", ["sh", "-c", "sleep 0.5"])', 0),
    "ctrl-c": ("time.sleep(30)", -signal.SIGINT),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_terminal_is_as_it_was_however_the_program_ends(end: str, terminal: Terminal) -> None:
    what, status = ENDS[end]
    program = terminal.start(
        HEAD + f'with DerivedAsset("tuning", **FACTS):\n    work(0.6)\n    {what}\n',
        ASSET_PROVENANCE_LIVE="true",
    )
    if end == "ctrl-c":
        terminal.wait_for("work | ")
        terminal.press(b"\x03\x03")
    assert program.wait(60) == status
    terminal.wait_for(GIVEN_BACK)
    with suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)  # the orphan
    terminal.close()
    assert terminal.lines
    assert terminal.is_clean
    assert "wrote" not in terminal.others
    # What mends it is told once.
    told = terminal.others.count(f"asset-provenance recover {os.path.realpath('results')}")
    assert told == (1 if end in ("raise", "term", "ctrl-c") else 0)
