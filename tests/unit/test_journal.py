"""The journal: on disk at once, in one file for each writer."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from asset_provenance import ProcessRecord, StorageError, track_process, workers
from asset_provenance.journal import Journal
from asset_provenance.journalfiles import read_entries
from asset_provenance.recorder import open_recorders
from asset_provenance.records import RECORD_VERSION, AssetRecord, ProcessStatus
from helpers.records import make

RECORD = ProcessRecord(
    id="x",
    name="sort",
    process_type="Spike sorting",
    stage="Processing",
    start_date_time=datetime(2026, 3, 2, tzinfo=UTC),
)


def kinds(journal: Journal) -> list[str]:
    return [
        entry["kind"]
        for path in sorted(journal.folder.glob("*.jsonl"))
        for entry in read_entries(path)
    ]


def test_every_line_is_readable_when_its_method_returns() -> None:
    journal = Journal(Path.cwd())
    asset = AssetRecord("tuning", datetime(2026, 3, 2, tzinfo=UTC), "/results", "/data")
    journal.asset(asset)
    assert kinds(journal) == ["asset"]
    journal.start(RECORD)
    assert kinds(journal) == ["asset", "start"]
    journal.end(RECORD)
    journal.close("failed")
    (path,) = journal.folder.glob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["asset", "start", "end", "close"]
    assert lines[0]["version"] == RECORD_VERSION
    assert lines[-1]["reason"] == "failed"


def test_a_run_that_is_removed_takes_only_its_own_folder() -> None:
    one, two = Journal(Path.cwd()), Journal(Path.cwd())
    one.start(RECORD)
    two.start(RECORD)
    one.remove()
    assert [path.parent for path in Path.cwd().glob(".asset-provenance/*/*")] == [two.folder]
    two.remove()


def test_a_line_that_a_kill_cut_short_is_left_out() -> None:
    journal = Journal(Path.cwd())
    journal.start(RECORD)
    journal.close("x")
    (path,) = journal.folder.glob("*.jsonl")
    path.write_bytes(path.read_bytes() + b'{"kind":"end","id"')
    assert kinds(journal) == ["start", "close"]
    path.write_bytes(b"\xff\xfe\n[1]\n" + path.read_bytes())
    assert kinds(journal) == ["start", "close"]


def test_lines_of_many_threads_stay_whole() -> None:
    journal = Journal(Path.cwd())
    record = replace(RECORD, notes=("x" * 5000,))
    threads = [
        threading.Thread(target=lambda: [journal.end(record) for _ in range(50)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kinds(journal) == ["end"] * 400
    journal.remove()


def test_no_thread_of_ours_lives_on_when_nothing_is_written() -> None:
    journal = Journal(Path.cwd())
    journal.start(RECORD)
    assert any("asset-provenance" in thread.name for thread in threading.enumerate())
    until = time.monotonic() + 5
    while any("asset-provenance" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.05)
    journal.remove()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_no_thread_of_ours_is_alive_when_the_program_forks() -> None:
    journal = Journal(Path.cwd())
    journal.start(RECORD)
    child = os.fork()  # from Python 3.12 on, this warns where other threads are alive
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    journal.remove()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_writes_a_file_of_its_own_that_the_parent_reads() -> None:
    journal = Journal(Path.cwd())
    journal.start(RECORD)
    child = os.fork()
    if child == 0:
        journal.continue_as_new_writer()
        journal.end(replace(RECORD, id=f"{journal.writer}-1", name="from the child"))
        journal.end(replace(RECORD, name="of the parent"))
        os._exit(0)
    os.waitpid(child, 0)
    written = [workers.read(path) for path in journal.paths_of_others()]
    records = workers.records_of(written, {}, memory_was_short=False)
    assert [record.name for record in records] == ["from the child"]
    journal.remove()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_that_has_nothing_to_write_may_be_asked_to() -> None:
    journal = Journal(Path.cwd())
    child = os.fork()
    if child == 0:
        status = 1
        with suppress(ValueError):
            journal.continue_as_new_writer()
            journal.sync()
            status = 0
        os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert journal.paths_of_others() == []
    journal.remove()


def test_what_was_seen_is_written_when_it_is_new_and_only_then() -> None:
    journal = Journal(Path.cwd())
    counts = journal.folder / f"{journal.writer}.counts"
    journal.seen = lambda: [RECORD]
    journal.sync()
    first = counts.stat().st_ino
    kept = counts.with_name("kept")
    kept.hardlink_to(counts)  # so that its number is not used again
    journal.sync()
    assert counts.stat().st_ino == first
    journal.seen = lambda: [replace(RECORD, notes=("new",))]
    journal.sync()
    assert counts.stat().st_ino != first
    assert json.loads(counts.read_text())[0]["notes"] == ["new"]
    journal.remove()


def test_a_folder_that_cannot_be_made_is_told() -> None:
    Path(".asset-provenance").write_text("a file")
    with pytest.raises(StorageError, match="cannot be kept"):
        Journal(Path.cwd())


def full(journal: Journal) -> None:
    """Let every further write find a full disk."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), journal._file)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_journal_on_a_full_disk_goes_on_in_the_user_s_own_folder_with_all_it_had(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal = Journal(Path.cwd())
    journal.asset(AssetRecord("tuning", datetime(2026, 3, 2, tzinfo=UTC), "/results", "/data"))
    ended = replace(RECORD, id="y", status=ProcessStatus.COMPLETED)
    journal.history = lambda: [ended, RECORD]
    journal.seen = lambda: [RECORD]
    journal.sync()
    full(journal)
    journal.start(RECORD)
    journal.end(RECORD)
    assert journal.folder.parent == Path(os.environ["HOME"]) / ".local/state/asset-provenance/runs"
    assert kinds(journal) == ["asset", "end", "start", "start", "end"]
    journal.sync()
    assert [json.loads(path.read_text())[0]["id"] for path in journal.folder.glob("*.counts")] == [
        "x"
    ]
    assert caplog.text.count("No space left on device") == 1
    assert str(journal.folder) in caplog.text
    journal.remove()
    assert not journal.folder.exists()
    assert not journal.run_folder.exists()


def test_a_journal_whose_folder_is_removed_goes_on_in_the_user_s_own_folder() -> None:
    journal = Journal(Path.cwd())
    journal.asset(AssetRecord("tuning", datetime(2026, 3, 2, tzinfo=UTC), "/results", "/data"))
    shutil.rmtree(journal.folder)
    journal.end(RECORD)
    journal.history = lambda: [replace(RECORD, status=ProcessStatus.COMPLETED)]
    journal.close("failed")
    assert kinds(journal) == ["asset", "end"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_where_no_journal_can_be_kept_the_run_goes_on_and_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/nowhere")
    journal = Journal(Path.cwd())
    full(journal)
    journal.start(RECORD)
    journal.end(RECORD)
    assert caplog.text.count("would be lost if it were killed") == 1
    journal.remove()


def test_a_journal_that_goes_elsewhere_waits_for_nobody_who_ends_a_process() -> None:
    with make(), track_process("before"):
        (recorder,) = open_recorders
        shutil.rmtree("results")
        with recorder.lock:  # as one has who ends a process in another thread
            threading.Thread(target=recorder.journal.sync).start()
            until = time.monotonic() + 20
            while "start" not in kinds(recorder.journal) and time.monotonic() < until:
                time.sleep(0.02)
            assert kinds(recorder.journal).count("start") == 2
    assert not Path("results/.asset-provenance").exists()
