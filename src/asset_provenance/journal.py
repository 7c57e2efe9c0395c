"""The journal: what a run has recorded so far, on disk, whatever becomes of the program.

A run has a folder of its own below ``<output_dir>/.asset-provenance/``, with one append-only file
for each process of the operating system that writes. A line is one JSON object with a ``kind``:

``asset``
    The run as a whole; the first line of the first file.
``start``
    A process has started; everything known of it so far.
``end``
    A process has ended; its whole record.
``input``
    A primary input that was added while the run went on.
``folder``
    Where an input lies.
``given``
    Processes that the script has written down itself; as the schema's ``Processing``.
``signal``
    A signal has come; its name.
``close``
    The run ended without metadata; why.
``writer``
    Which process of the operating system writes a further file; its first line.
``exit``
    How a process of the operating system ended that this one had started.

Repeated calls are not written one by one: beside the file of a writer, one with the ending
``.counts`` holds the records of the processes that they are so far, and is replaced within the
second when there is anything new. There too, as records of the kind ``seen``, is what has come to
processes that are open, and what the writer saw of processes that others began.
What each has imported is in a file with the ending ``.imported``.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from asset_provenance.corefiles import JOURNAL_FOLDER
from asset_provenance.errors import StorageError
from asset_provenance.journalfiles import (
    COUNTS,
    IMPORTED,
    OVER,
    PATCH,
    host,
    is_over,
    read_entries,
    read_patches,
    started,
)
from asset_provenance.records import (
    RECORD_VERSION,
    AssetRecord,
    InputRef,
    ProcessRecord,
    ProcessStatus,
    to_json,
)

__all__ = ["Journal", "user_journals"]

_SYNC_DELAY = 0.5
"""Seconds from a line to its being forced to the disk; the promise is one second."""

_LONGEST_JOIN = 2.0
_CLOSED = -1
_MOST_REMOVALS = 10

_log = logging.getLogger("asset_provenance")
_open_journals: weakref.WeakSet[Journal] = weakref.WeakSet()


class Journal:
    """The open journal of one run; every line is in the page cache when its method returns.

    A journal that cannot be written any more (a full disk, a folder that was removed) says so and
    goes on in a folder of the user's; where that fails too, the run goes on without one.

    Parameters
    ----------
    output_dir
        The asset's folder.

    Raises
    ------
    StorageError
        If the folder or the file cannot be made.
    """

    def __init__(self, output_dir: Path) -> None:
        self.folder = output_dir / JOURNAL_FOLDER / os.urandom(6).hex()
        try:
            self.folder.mkdir(parents=True)
        except OSError as error:
            raise StorageError(
                f"the journal cannot be kept in {self.folder.parent}: {error.strerror}"
            ) from error
        self._prepare(self.folder, self.folder)
        self._open_file()
        _open_journals.add(self)

    def _prepare(self, run_folder: Path, folder: Path) -> None:
        self.run_folder, self.folder = run_folder, folder
        self.writer = os.urandom(4).hex()
        self._file = _CLOSED
        self._is_begun = True
        # A signal may come while a line is being written, and write another.
        self._lock = threading.RLock()
        self._failed = False
        self._syncer: _Syncer | None = None
        self._facts: list[dict[str, Any]] = []
        self._kept_patches: set[str] = set()
        self._kept_imported: dict[str, Mapping[str, Any]] = {}
        self.is_first = True
        """Whether it is the program's that began the run, not of a worker that joined."""
        self._counted: tuple[list[ProcessRecord], list[ProcessRecord]] = [], []
        self.max_repeats = 0
        """So many calls of one function are a process each; told where several write."""
        self.exits: dict[int, int] = {}
        """How processes of the operating system ended that this one started, by their number."""
        self.counts: Callable[[], list[ProcessRecord]] = list
        """Gives the processes that repeated calls are, as far as they have come."""
        self.over: Callable[[], object] = list
        """Called in a worker that finds that the run is over."""
        self.seen: Callable[[], list[ProcessRecord]] = list
        """Gives what has come to open processes, and to those that other writers began."""
        self._imported: Mapping[str, Any] | None = None
        self.imported: Callable[[Callable[[], bool]], Mapping[str, Any] | None] = lambda _: None
        """Gives what this writer has imported, as far as nobody waits; nothing if it is as it was.
        """
        self.history: Callable[[], list[ProcessRecord]] = list
        """Gives all processes so far, for a journal that has to begin anew elsewhere."""

    def _open_file(self) -> None:
        path = self.folder / f"{self.writer}.jsonl"
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageError(f"the journal {path} cannot be written: {error.strerror}") from error

    def asset(self, record: AssetRecord) -> None:
        """Note what the run is."""
        self._append_fact({"kind": "asset", "version": RECORD_VERSION, **to_json(record)})

    def input(self, ref: InputRef) -> None:
        """Note a primary input that is added while the run goes on."""
        self._append_fact({"kind": "input", **to_json(ref)})

    def input_folder(self, name: str, folder: Path) -> None:
        """Note where an input lies."""
        self._append_fact({"kind": "folder", "name": name, "path": str(folder)})

    def given(self, processing: Mapping[str, Any]) -> None:
        """Note processes that the script has written down itself."""
        self._append_fact({"kind": "given", "processing": processing})

    def start(self, record: ProcessRecord) -> None:
        """Note that a process has started."""
        self._append({"kind": "start", **to_json(record)})

    def end(self, record: ProcessRecord) -> None:
        """Note that a process has ended, with all that is known of it."""
        self._append({"kind": "end", **to_json(record)})

    def exited(self, process_id: int, code: int) -> None:
        """Note how a process of the operating system ended that this one had started."""
        if self.exits.get(process_id) != code:
            self.exits[process_id] = code
            self._append({"kind": "exit", "process_id": process_id, "code": code})

    def signal(self, name: str) -> None:
        """Note that a signal has come."""
        self._append({"kind": "signal", "name": name})

    def close(self, reason: str) -> None:
        """Note why the run ended without metadata, and stop writing."""
        self._append({"kind": "close", "reason": reason})
        self._notice_removal()
        with suppress(OSError):
            (self.run_folder / OVER).touch()
        self._stop()

    def remove(self) -> None:
        """Remove this run's folder; and the journals' folder, when nothing else is in it."""
        self._stop()
        for folder in {self.run_folder, self.folder}:
            for _ in range(_MOST_REMOVALS):
                shutil.rmtree(folder, ignore_errors=True)
                if not folder.exists():  # a worker that lives on may just have written to it
                    break

    def place(self) -> Path:
        """Give the folder that the record is in now: another, if its own was removed."""
        self._notice_removal()
        return self.folder

    def paths_of_others(self) -> list[Path]:
        """Give the files of other processes of this run, for instance forked workers."""
        paths: list[Path] = []
        for folder in dict.fromkeys((self.run_folder, self.folder)):
            with suppress(OSError):  # it may not be read any more
                paths += sorted(folder.glob("*.jsonl"))
        return [path for path in paths if path.stem != self.writer]

    def given_to_other_writers(self) -> list[dict[str, Any]]:
        """Give what was given to other processes of this run, for instance forked workers."""
        return [
            entry["processing"]
            for path in self.paths_of_others()
            for entry in read_entries(path)
            if entry.get("kind") == "given"
        ]

    def keep_patches(self, patches: Iterable[Any]) -> None:
        """Keep patches of uncommitted changes, for whoever writes the metadata."""
        for patch in patches:
            if patch.commit_hash not in self._kept_patches:
                self._kept_patches.add(patch.commit_hash)
                with suppress(OSError):
                    part = self.folder / f"{self.writer}-{patch.commit_hash}.part"
                    part.write_bytes(patch.content)
                    part.replace(self.folder / f"{patch.commit_hash}{PATCH}")

    def patches(self) -> dict[str, bytes]:
        """Give the patches that the processes of this run have kept, by commit."""
        return read_patches(self.folder)

    def write_imported(self, is_hurried: Callable[[], bool] = lambda: False) -> None:
        """Keep what this writer has imported, if there is anything new."""
        self._imported = self.imported(is_hurried) or self._imported
        if self._imported:
            self.keep_imported(self._imported, self.writer)

    def keep_imported(self, found: Mapping[str, Any], writer: str) -> None:
        """Keep what a writer has imported, for whoever writes the metadata."""
        if found is not self._kept_imported.get(writer):
            with suppress(OSError):
                part = self.folder / f"{self.writer}-{writer}.part"
                is_first = self.is_first and writer == self.writer
                part.write_text(json.dumps({"is_first": is_first, **found}))
                part.replace(self.folder / f"{writer}{IMPORTED}")
                self._kept_imported[writer] = found

    def later(self) -> None:
        """Have the counts of repeated calls, and what was seen, written within the second."""
        with self._lock:
            if not self._failed:
                self._sync_soon()

    def sync(self) -> None:
        """Write counts and what was seen, and force to the disk what has been written."""
        self._notice_removal()
        if not self._failed:
            self.write_counts()
            descriptor = self._file  # a forked child may have had nothing to write yet
            if descriptor != _CLOSED:
                with suppress(OSError):
                    os.fsync(descriptor)

    def write_counts(self) -> None:
        """Write the counts of repeated calls, and what was seen of processes, if that is new."""
        counted = counts, seen = self.counts(), self.seen()
        if any(counted) and counted != self._counted:
            entries = [to_json(record) for record in counts]
            entries += [{"kind": "seen", **to_json(record)} for record in seen]
            text = json.dumps(entries)
            with suppress(OSError), self._lock:
                self._notice_end()
                if self._failed:
                    return
                if not self._is_begun:
                    self._begin_further()
                path = self.folder / f"{self.writer}{COUNTS}"
                part = path.with_suffix(".part")
                part.write_text(text)
                part.replace(path)  # whole at any moment, however often it is written
                self._counted = counted

    def _append_fact(self, entry: dict[str, Any]) -> None:
        self._facts.append(entry)
        self._append(entry)

    def _append(self, entry: dict[str, Any]) -> None:
        line = _line(entry)
        with self._lock:
            if not self._is_awake:
                self._notice_end()
            if not (self._is_begun or self._failed):
                self._begin_further()
            if self._failed or not line:
                return
            try:
                self._write(line)
            except OSError as error:
                self._go_elsewhere(error.strerror or str(error))
                with suppress(OSError):
                    self._write(line)
            self._sync_soon()

    def _write(self, line: bytes) -> None:
        # One write call a line: lines of threads and of a killed program stay whole.
        if os.write(self._file, line) != len(line):
            raise OSError(None, "a line was written only in part")

    def _notice_removal(self) -> None:
        with self._lock, suppress(OSError):
            if self._file == _CLOSED:
                return
            if os.fstat(self._file).st_nlink == 0:
                self._go_elsewhere("it was removed")
            else:
                self._notice_end()

    def _notice_end(self) -> None:
        """Stop quietly in a worker that lives longer than the run."""
        if not (self.is_first or self._failed) and is_over(self.run_folder):
            self._failed = True
            self.over()

    def _go_elsewhere(self, reason: str) -> None:
        """Begin the journal anew in the user's own folder, with all that it had."""
        # A worker that lives longer than the run has nothing to say any more, and to nobody.
        if self.folder != self.run_folder or not self.is_first:
            self._failed = True
            self.over()
            return
        elsewhere = user_journals() / self.run_folder.name
        try:
            elsewhere.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(
                elsewhere / f"{self.writer}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644
            )
        except OSError as error:
            self._failed = True
            _log.warning(
                "the journal %s cannot be written (%s), nor one in %s (%s): the run goes on, but "
                "would be lost if it were killed",
                self.folder,
                reason,
                elsewhere,
                error.strerror,
            )
            return
        with suppress(OSError):
            os.close(self._file)
        self._file, self.folder = descriptor, elsewhere
        self._kept_patches.clear()
        self._counted = [], []
        self._kept_imported.clear()
        _log.warning(
            "the journal %s cannot be written (%s); the record of the run goes on in %s",
            self.run_folder,
            reason,
            elsewhere,
        )
        with suppress(OSError):
            for fact in self._facts:
                self._write(_line(fact))
            for record in self.history():
                kind = "start" if record.status is ProcessStatus.RUNNING else "end"
                self._write(_line({"kind": kind, **to_json(record)}))

    @property
    def _is_awake(self) -> bool:
        """Whether there was a line within the last half second."""
        return self._syncer is not None and self._syncer.is_pending

    def _sync_soon(self) -> None:
        if not self._is_awake:
            self._syncer = _Syncer(self)
            try:
                self._syncer.start()
            except RuntimeError:  # no thread can be had, for instance while Python shuts down
                self._syncer = None
                self.sync()

    def _stop(self) -> None:
        self.finish_sync()
        _open_journals.discard(self)
        with self._lock:
            self._failed = True
            if self._file != _CLOSED:
                os.close(self._file)
                self._file = _CLOSED

    def finish_sync(self) -> None:
        """Sync at once and end the thread that would have done so."""
        syncer = self._syncer
        if syncer is not None:
            syncer.finish()

    def continue_as_new_writer(self) -> None:
        """Go on in a forked child: with a lock of its own, and a file once there is a line."""
        self.writer = os.urandom(4).hex()
        self.is_first = self._is_begun = False
        self._lock = threading.RLock()
        self._syncer = None
        self._counted = [], []
        self._imported = None  # it is in the parent's file
        self.exits = {}
        with suppress(OSError):
            if self._file != _CLOSED:
                os.close(self._file)
        self._file = _CLOSED

    @classmethod
    def join(cls, run_folder: Path, folder: Path, max_repeats: int) -> Journal | None:
        """Write to the journal of a run that another process began; None if that is over."""
        journal = cls.__new__(cls)
        journal._prepare(run_folder, folder)
        journal.max_repeats = max_repeats
        journal._begin_further()
        if journal._failed:
            return None
        _open_journals.add(journal)
        return journal

    def _begin_further(self) -> None:
        self.is_first, self._is_begun = False, True
        try:
            self._open_file()
        except StorageError:
            self._failed = True
            return
        self._append({
            "kind": "writer",
            "process_id": os.getpid(),
            "parent": os.getppid(),
            "started": started(os.getpid()),
            "host": host(),
            "max_repeats": self.max_repeats,
        })  # fmt: skip


class _Syncer(threading.Thread):
    """Lives for half a second after a line, then forces the file to the disk."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(name="asset-provenance-sync", daemon=True)
        self._journal = journal
        self._wake = threading.Event()
        self.is_pending = True

    def run(self) -> None:
        if hasattr(signal, "pthread_sigmask"):
            # A signal that the user's threads block and wait for must not end up here.
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        is_hurried = self._wake.wait(_SYNC_DELAY)
        # Lines that come after this belong to the next one.
        self.is_pending = False
        self._journal.sync()
        if not is_hurried:  # nobody waits for this thread, for instance to fork
            with suppress(Exception):  # it costs a fact
                self._journal.write_imported(self._wake.is_set)

    def finish(self) -> None:
        self._wake.set()
        # A signal handler may ask for this, while the thread it interrupted holds what this waits
        # for; or before the thread has even begun.
        if self is not threading.current_thread() and self.ident is not None:
            self.join(_LONGEST_JOIN)


def user_journals() -> Path:
    """Give the folder of the user's where journals go on that an output folder does not take."""
    import platformdirs  # noqa: PLC0415 - only when something is wrong

    return platformdirs.user_state_path("asset-provenance", appauthor=False) / "runs"


def _line(entry: dict[str, Any]) -> bytes:
    try:
        return json.dumps(entry, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
    except (TypeError, ValueError) as error:  # whatever it is, it must not end the user's run
        _log.warning("an entry of the journal could not be written: %s", error)
        return b""


def _before_fork() -> None:
    # A thread of ours alive at a fork would warn from Python 3.12 on, and could hold a lock.
    for journal in list(_open_journals):
        journal.finish_sync()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)
