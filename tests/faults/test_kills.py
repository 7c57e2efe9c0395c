"""Programs killed at any moment: nothing that had ended is lost, and no set is half-written."""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import random
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from asset_provenance.corefiles import CORE_FILES, MANIFEST, file_name
from asset_provenance.deadruns import find_runs, finish_written
from asset_provenance.folder import is_taken
from asset_provenance.metadata.folder_checks import check_folder
from asset_provenance.metadata.writer import FileToWrite, write_set
from asset_provenance.recovery import recover
from faults.program import WRITERS, Report, analyse, step
from helpers.assets import read_json
from helpers.schema import validate_set

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

KILLS = 200 if os.environ.get("CI") == "true" else 30
OLD = "2026-03-01T00:00:00Z"


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> random.Random:
    """Give the same moments in every run of the tests; warm up what the children inherit."""
    monkeypatch.setenv("ASSET_PROVENANCE_CODE_VERSION", "1.0")  # wherever the tests lie
    analyse(Path("warm"), lambda name: None)
    validate_set(Path("warm"))
    return random.Random(20260302)


@dataclass
class Victim:
    """A child, in a group of its own with its workers, and what it has told."""

    process: int
    pipe: int
    told: bytes = b""

    def wait_for(self, name: str) -> None:
        while f"{name}\n".encode() not in self.told:
            part = os.read(self.pipe, 65536)
            assert part, f"the program ended before it told {name}"
            self.told += part

    def end(self, number: int | None) -> list[str]:
        """Kill all of it, or let it end by itself; give what it told."""
        if number is not None:
            os.killpg(self.process, number)
        return self.ended((0,) if number is None else (0, -number))

    def ended(self, expected: Collection[int]) -> list[str]:
        """Wait for its end; give what it told."""
        assert os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1]) in expected
        while part := os.read(self.pipe, 65536):
            self.told += part
        os.close(self.pipe)
        return self.told.decode().split()


def start(body: Callable[[Report], None]) -> Victim:
    """Fork a child from this warm process, so that a program starts in no time."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setpgid(0, 0)
            os.close(read)
            body(lambda name: os.write(write, f"{name}\n".encode()) and None)
            status = 0
        finally:
            os._exit(status)
    with suppress(OSError):
        os.setpgid(child, child)
    os.close(write)
    return Victim(child, read)


def kill_at_moments(
    body: Callable[[Path, Report], None],
    folders: Iterator[Path],
    moments: random.Random,
    *,
    after: Callable[[Victim, Path], None],
    kills: int = KILLS,
) -> Iterator[tuple[Path, list[str]]]:
    """Kill a program again and again, at moments spread over all the time that it takes."""

    def begin(folder: Path) -> Victim:
        victim = start(lambda report: body(folder, report))
        after(victim, folder)
        return victim

    durations = []
    for folder in itertools.islice(folders, 5):
        victim = begin(folder)
        began = time.monotonic()
        victim.end(None)
        durations.append(time.monotonic() - began)
    longest = 1.1 * statistics.median(durations)
    for folder in itertools.islice(folders, kills):
        victim = begin(folder)
        time.sleep(moments.uniform(0, longest))
        told = victim.end(signal.SIGKILL)
        until = time.monotonic() + 60
        while is_taken(folder):  # a worker that was killed may take a moment to be gone
            assert time.monotonic() < until
        yield folder, told


def copies(template: Path) -> Iterator[Path]:
    for number in itertools.count():
        folder = template.with_name(f"{template.name}-{number}").absolute()
        shutil.copytree(template, folder)
        yield folder


@pytest.mark.long
@pytest.mark.parametrize(("since", "kills"), [("the start", KILLS // 4), ("the block", KILLS)])
def test_every_process_that_had_ended_before_a_kill_is_in_the_metadata(
    moments: random.Random, monkeypatch: pytest.MonkeyPatch, since: str, kills: int
) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_MAX_REPEATS", "5")
    Path("run").mkdir()
    ends = {"nothing": 0, "interrupted": 0, "complete": 0}

    def wait(victim: Victim, folder: Path) -> None:
        if since == "the block":
            victim.wait_for("begun")

    for folder, told in kill_at_moments(
        analyse, copies(Path("run")), moments, after=wait, kills=kills
    ):
        finish_written(folder)
        for run in find_runs(folder):
            if run.refusal is None:
                assert recover(run, accept_failed=True).is_written
            else:
                assert "nothing can be recovered" in run.refusal
        if not (folder / MANIFEST).exists():
            assert told == []
            ends["nothing"] += 1
            continue
        processing = validate_set(folder)["processing"]
        assert [found for found in check_folder(folder) if found.severity == "error"] == []
        notes = {item["name"]: item["notes"] or "" for item in processing["data_processes"]}
        complete = {name for name, text in notes.items() if "Interrupted" not in text}
        # The block is a process itself when nothing inside it had begun.
        is_complete = "Interrupted" not in (processing["notes"] or "") + notes.get("killed", "")
        ends["complete" if is_complete else "interrupted"] += 1
        ended = set(told) - {"begun", "all"}
        assert ended <= complete
        # What is complete did end, even where the program was killed before it could tell.
        unsaid = {name for name in complete - ended if not name.startswith(("save", "count"))}
        unsaid.discard("killed")
        assert len(unsaid) <= WRITERS
        assert is_complete <= ("all" in told)
        assert find_runs(folder) == []
    # A handful of kills may all come before the journal begins, or after the end.
    assert kills < 50 or ends["interrupted"] > 0


def name_of_whole_set(folder: Path) -> str:
    """Give the name of the set in a folder, once every file of it, and no other, is there."""
    manifest = read_json(folder / MANIFEST)
    for path, entry in manifest["files"].items():
        assert hashlib.sha256((folder / path).read_bytes()).hexdigest() == entry["sha256"], path
    present = {name for name in map(file_name, CORE_FILES) if (folder / name).exists()}
    present |= {path.name for path in folder.glob("extra-*")}
    assert present == {path for path in manifest["files"] if "/" not in path}
    return str(manifest["name"])


def looked_at(folder: Path, old: str) -> str:
    """Give what a kill has left, after what was begun has been finished."""
    if list(folder.glob(".asset-provenance/*/commit.json")):
        assert len(finish_written(folder)) == 1
        assert name_of_whole_set(folder) != old
        return "a marker"
    # Without a marker, the set was whole before anybody looked.
    found = name_of_whole_set(folder)
    finish_written(folder)
    assert name_of_whole_set(folder) == found
    return "the old set" if found == old else "the new set"


@pytest.mark.long
def test_a_run_killed_while_it_writes_leaves_the_old_set_or_the_new(
    moments: random.Random,
) -> None:
    analyse(Path("set"), lambda name: None, creation_time=OLD)
    old = name_of_whole_set(Path("set"))
    found: dict[str, int] = {}

    def short(folder: Path, report: Report) -> None:
        analyse(folder, report, work=lambda folder, report: step("one", report))

    for folder, _ in kill_at_moments(
        short,
        copies(Path("set")),
        moments,
        after=lambda victim, folder: victim.wait_for("all"),
    ):
        left = looked_at(folder, old)
        found[left] = found.get(left, 0) + 1
        runs = find_runs(folder)
        for run in runs:
            assert recover(run, accept_failed=True).is_written
        assert len(runs) == (left == "the old set")
        assert name_of_whole_set(folder) != old
        validate_set(folder)
    assert found["the old set"] > 0


@pytest.mark.long
def test_a_kill_while_many_files_are_written_leaves_the_old_ones_or_the_new() -> None:
    def files(what: str, count: int) -> list[FileToWrite]:
        return [FileToWrite(f"extra-{n:03}.json", f"{what} {n}".encode()) for n in range(count)]

    def write(folder: Path, report: Report, last: int | None) -> None:
        """Write, and be killed before so many files have been opened, moved and removed."""
        count = 0

        def look(event: str, _: object) -> None:
            nonlocal count
            if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
                count += 1
                if count == last:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(look)
        header = {"name": "new", "process_name": "killed", "run": "run"}
        write_set(folder, folder / ".asset-provenance/run", files("new", 40), header=header)
        report(str(count))

    header = {"name": "old", "process_name": "killed", "run": "earlier"}
    write_set(Path("set"), Path("set/.asset-provenance/r"), files("old", 60), header=header)
    shutil.rmtree("set/.asset-provenance")
    folders = copies(Path("set"))
    whole = next(folders)
    (told,) = start(functools.partial(write, whole, last=None)).ended((0,))
    found: dict[str, int] = {}
    for number, folder in zip(range(KILLS), folders, strict=False):
        last = 1 + number * int(told) // KILLS
        start(functools.partial(write, folder, last=last)).ended((-signal.SIGKILL,))
        left = looked_at(folder, "old")
        found[left] = found.get(left, 0) + 1
    assert found["the old set"] > 0
    assert found["a marker"] > 0
