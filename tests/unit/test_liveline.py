"""The line that is shown while a run goes on, and what its end tells."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import redirect_stderr
from typing import Any

import pytest

from asset_provenance import DerivedAsset, ExternalAsset, track_process
from helpers.records import make

if sys.platform == "win32":
    pytest.skip("needs a terminal of POSIX", allow_module_level=True)

import fcntl

from helpers.terminals import GIVEN_BACK, Terminal


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    yield terminal
    terminal.close()


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_LIVE", "true")


def is_closing(text: str, asset: DerivedAsset, folder: str = "results") -> bool:
    """Say whether a text is the last line of a run, and true."""
    count = sum(len(files) for _, _, files in os.walk(folder))
    wrote = f"wrote {count} files of {asset.name} to {folder}"
    return text == f"{wrote}; see them with: asset-provenance show {folder}\n"


def test_a_terminal_is_told_what_was_written_where_and_shown_nothing_meanwhile(
    terminal: Terminal,
) -> None:
    with terminal.as_stderr(), make() as asset:
        time.sleep(0.7)
        assert terminal.all == ""
    assert is_closing(terminal.all, asset)


def test_who_wants_nothing_is_told_nothing(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_LIVE", "false")
    with terminal.as_stderr(), make():
        time.sleep(0.7)
    assert terminal.all == ""


def test_a_log_gets_the_last_line_only_if_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with make():
        pass
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("ASSET_PROVENANCE_LIVE", "true")
    with make(output_dir="out") as asset:
        pass
    out, err = capsys.readouterr()
    assert out == ""
    assert is_closing(err, asset, "out")


def test_a_folder_is_given_as_one_would_type_it(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    with terminal.as_stderr():
        for folder in ("my results", "-x", str(tmp_path / "else where\n")):
            with make(output_dir=folder):
                pass
    shown = re.findall("asset-provenance show (.*)\n", terminal.all)
    assert shown == ["'my results'", f"{os.getcwd()}/-x", rf"'{tmp_path}/else where\n'"]


def test_of_a_stage_the_end_tells_how_it_is_taken_in(terminal: Terminal) -> None:
    with terminal.as_stderr(), DerivedAsset("t", fragment=True, inputs=(), experimenters="A B"):
        pass
    wrote, then = terminal.all.split("; ")
    assert re.fullmatch(r"wrote 2 files of t_[\w-]+ to results", wrote)
    assert then == (
        "the last stage takes them in, or: asset-provenance merge results ... --output DIR\n"
    )


@pytest.mark.usefixtures("live")
def test_what_could_not_be_written_is_not_said_to_be(
    terminal: Terminal, caplog: pytest.LogCaptureFixture
) -> None:
    with terminal.as_stderr(), make() as asset:
        (asset.output_dir / "data_description.json").write_text("somebody else's")
    assert "could not be written" in caplog.text
    assert terminal.others == ""
    assert terminal.is_clean


def test_data_from_outside_are_told_as_well_but_not_to_who_is_given_the_path(
    terminal: Terminal,
) -> None:
    asset = ExternalAsset(
        "atlas",
        source="https://example.org/atlas",
        creation_time="2024-01-01",
        institution="AI",
        investigators=["A B"],
        modalities=["ecephys"],
        funding_source="UNKNOWN",
        license="CC-BY-4.0",
        output_dir="atlas",
    )
    with terminal.as_stderr():
        with asset:
            (asset.output_dir / "atlas.txt").write_text("data")
        told = f"wrote 2 files of {asset.name} to atlas; see them with: asset-provenance show atlas"
        asset.write()
    assert terminal.all == told + "\n"


@pytest.mark.usefixtures("live")
def test_the_innermost_process_is_shown_and_how_many_others_run(terminal: Terminal) -> None:
    @track_process
    def fit(seconds: float) -> None:
        time.sleep(seconds)

    with terminal.as_stderr(), make(), track_process("outer"):
        terminal.wait_for("outer")
        others = [threading.Thread(target=fit, args=(1.0,)) for _ in range(2)]
        for thread in others:
            thread.start()
        fit(0.7)
        for thread in others:
            thread.join()
    names = list(dict.fromkeys(line.split(" | ")[0] for line in terminal.lines))
    assert names.index("outer") < names.index("fit and 2 others")


@pytest.mark.usefixtures("live")
def test_of_many_calls_the_count_is_shown(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_MAX_REPEATS", "3")

    @track_process
    def fit(trial: int) -> None:
        time.sleep(0.001)

    with terminal.as_stderr(), make():
        for trial in range(100):
            fit(trial)
        terminal.wait_for("fit, 97 calls so far | 0:00:0")


@pytest.mark.usefixtures("live")
def test_assets_in_each_other_and_beside_each_other_have_one_line(terminal: Terminal) -> None:
    def one(name: str) -> None:
        with DerivedAsset(name, **{**facts, "output_dir": name}):
            terminal.wait_for(f"{name} | ")

    facts = {"inputs": (), "base_name": "b", **make()._request["facts"]}
    with terminal.as_stderr():
        with make():
            one("inner")
            seen = len(terminal.lines)
            thread = threading.Thread(target=one, args=("beside",))
            thread.start()
            thread.join()
            terminal.wait_for("test | 0:00:01")
        assert terminal.lines[seen:]
    assert terminal.is_clean
    assert terminal.all.count(GIVEN_BACK) == 1
    assert len(re.findall("^wrote ", terminal.others, re.MULTILINE)) == 3


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize(
    ("name", "columns", "encoding", "shown"),
    [
        (
            "bad\x1b[2J\nname\x07",
            80,
            "utf-8",
            r"bad\\x1b\[2J\\nname\\x07 \| 0:00:00( \| \d\.\d GB)?",
        ),
        ("x" * 300, 80, "utf-8", r"x{58,68}… \| 0:00:00( \| \d\.\d GB)?"),
        ("漢字" * 100, 80, "utf-8", r"[漢字]{28,34} ?… \| 0:00:00( \| \d\.\d GB)?"),
        ("Größe", 80, "ascii", r"Gr\\xf6\\xdfe \| 0:00:00( \| \d\.\d GB)?"),
        ("a long name", 20, "utf-8", r"a long … \| 0:00:00.?…?"),
    ],
    ids=["control characters", "long", "wide", "ascii", "narrow"],
)
def test_any_name_is_one_row_of_plain_text(
    name: str, columns: int, encoding: str, shown: str, terminal: Terminal
) -> None:
    terminal.resize(24, columns)
    with terminal.as_stderr(encoding), make(), track_process(name):
        time.sleep(0.6)
    assert any(re.fullmatch(shown, line) for line in terminal.lines), terminal.lines
    assert "\n" not in "".join(terminal.lines)


@pytest.mark.usefixtures("live")
def test_the_row_moves_with_the_size_of_the_terminal(terminal: Terminal) -> None:
    with terminal.as_stderr(), make():
        terminal.wait_for("\x1b[1;23r")
        terminal.resize(40, 100)
        terminal.wait_for("\x1b[1;39r")
        terminal.resize(2, 100)  # too small for a row of ours
        terminal.wait_for(GIVEN_BACK)
    assert terminal.is_clean


@pytest.mark.usefixtures("live")
def test_a_row_that_another_program_has_is_left_to_it(terminal: Terminal) -> None:
    with terminal.as_stderr() as stream:
        other = os.open(os.ttyname(stream.fileno()), os.O_WRONLY | os.O_NOCTTY)
        fcntl.flock(other, fcntl.LOCK_EX)
        with make():
            time.sleep(0.7)
            assert terminal.all == ""
            os.close(other)
            terminal.wait_for("test | 0:00:01")
        assert fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB) is None


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_knows_no_rows_is_told_at_the_end_only(
    term: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    with terminal.as_stderr(), make() as asset:
        time.sleep(0.1)
    assert is_closing(terminal.all, asset)


@pytest.mark.usefixtures("live")
def test_a_terminal_that_breaks_costs_the_line_only(
    terminal: Terminal, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), terminal.as_stderr(), make() as asset:
        terminal.wait_for("test")
        terminal.hang_up()
        time.sleep(0.7)
    assert (asset.output_dir / "processing.json").exists()
    assert "wrote the metadata" in caplog.text


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize("stderr", [None, object(), "closed"])
def test_a_program_without_a_usable_standard_error_runs_as_it_would(
    stderr: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    if stderr == "closed":
        stderr = io.StringIO()
        stderr.close()
    with redirect_stderr(stderr), make() as asset:
        pass
    assert (asset.output_dir / "processing.json").exists()
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("live")
def test_a_file_that_takes_the_place_of_the_standard_error_gets_nothing_of_the_line(
    terminal: Terminal,
) -> None:
    with terminal.as_stderr() as stream:
        with make():
            terminal.wait_for("test")
            with open("data.bin", "wb", buffering=0) as file:
                os.dup2(file.fileno(), stream.fileno())
            sys.stderr = None
            before = len(terminal.lines)
            time.sleep(0.7)
        assert len(terminal.lines) > before
    assert os.stat("data.bin").st_size == 0
    assert terminal.is_clean


@pytest.mark.usefixtures("live")
def test_nothing_of_ours_is_alive_at_a_fork_nor_left_at_the_end(terminal: Terminal) -> None:
    with terminal.as_stderr():
        before = set(os.listdir("/dev/fd"))
        threads = threading.active_count()
        with make():
            terminal.wait_for("test")
            child = os.fork()
            if child == 0:
                # Neither a thread nor a descriptor of the line.
                os._exit(len(threading.enumerate()) - 1)
            _, status = os.waitpid(child, 0)
            seen = len(terminal.lines)
            time.sleep(1.2)
            assert len(terminal.lines) > seen
        assert threading.active_count() == threads
        assert set(os.listdir("/dev/fd")) == before
    assert status == 0
