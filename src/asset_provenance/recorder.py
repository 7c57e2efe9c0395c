"""The open asset and its open processes: who is running inside what, from when to when."""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from asset_provenance.errors import UsageError
from asset_provenance.records import CodeRecord, InputRef, JsonValue, ProcessRecord, ProcessStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from asset_provenance.capture.code import CodeIdentifier
    from asset_provenance.capture.inputs import InputResolver, ResolvedInput
    from asset_provenance.journal import Journal

__all__ = [
    "ActiveProcess",
    "Recorder",
    "Start",
    "current_process",
    "innermost",
    "open_recorders",
    "recorder_of",
]

open_recorders: list[Recorder] = []
"""The assets open in this program, innermost last; empty means that nothing is recorded."""

_context: ContextVar[ActiveProcess | None] = ContextVar("asset_provenance_process", default=None)
_log = logging.getLogger("asset_provenance")


@dataclass(frozen=True, slots=True)
class Start:
    """What is known of a process when it starts."""

    name: str
    process_type: str
    stage: str
    code: CodeRecord | None = None
    parameters: Mapping[str, JsonValue] | None = None
    inputs: tuple[ResolvedInput, ...] = ()
    outputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class ActiveProcess:
    """The handle of a process that is being recorded.

    Given by ``with track_process(...) as process`` and by :func:`current_process`; never made by
    the user. Its methods add to the record and return nothing. After the process has ended they
    raise :class:`UsageError`.
    """

    __slots__ = ("_ended", "_monotonic", "_parent", "_record", "_recorder", "_token")

    def __init__(self, recorder: Recorder, parent: ActiveProcess | None, start: Start) -> None:
        self._recorder = recorder
        self._parent = parent
        self._token: Token[ActiveProcess | None] | None = None
        self._ended = False
        record = ProcessRecord(
            id=recorder.next_id(),
            parent_id=None if parent is None else parent._record.id,
            name=start.name,
            process_type=start.process_type,
            stage=start.stage,
            start_date_time=datetime.now(UTC),
            code=start.code,
            parameters=start.parameters,
            outputs=start.outputs,
            notes=start.notes,
        )
        self._monotonic = time.monotonic()
        self._record: ProcessRecord = _with_inputs(record, start.inputs)

    def add_inputs(self, *refs: object) -> None:
        """Add data assets that the process uses.

        Parameters
        ----------
        *refs
            Names, ``s3://`` URLs, paths, or the schema's ``DataAsset`` and ``CombinedData``. A
            path below the output folder says which earlier process's output is used.

        Raises
        ------
        UsageError
            If one is none of these, or a path that does not exist.
        """
        found = [self._recorder.resolve(ref) for ref in refs]
        self._change(lambda record: _with_inputs(record, found))

    def add_outputs(self, *paths: str | os.PathLike[str]) -> None:
        """Add files or folders that the process writes.

        Parameters
        ----------
        *paths
            Inside the asset; relative ones are meant from its output folder.

        Raises
        ------
        UsageError
            If one lies outside the output folder.
        """
        found = [self._recorder.output_path(path) for path in paths]
        self._change(lambda record: replace(record, outputs=_union(record.outputs, found)))

    def add_parameters(self, **values: object) -> None:
        """Add parameters that the code ran with; a name given again replaces its value."""
        safe = self._recorder.safe_parameters(values)
        self._change(
            lambda record: replace(record, parameters={**(record.parameters or {}), **safe})
        )

    def add_results(self, **values: object) -> None:
        """Add results worth finding again: the schema's ``output_parameters``."""
        safe = self._recorder.safe_parameters(values)
        self._change(lambda record: replace(record, results={**(record.results or {}), **safe}))

    def add_note(self, text: str) -> None:
        """Add a note for the reader of the metadata.

        Raises
        ------
        UsageError
            If it is not a text.
        """
        if not isinstance(text, str):
            raise UsageError(f"a note must be a text, not {type(text).__name__}")
        note = _redacted(text)
        self._change(lambda record: replace(record, notes=(*record.notes, note)))

    def _change(self, change: Callable[[ProcessRecord], ProcessRecord]) -> None:
        with self._recorder.lock:
            if self._ended:
                raise UsageError(
                    f"the process {self._record.name} has ended; add to it while it runs"
                )
            self._record = change(self._record)

    def _end(self, status: ProcessStatus, error: str | None, note: str | None) -> ProcessRecord:
        elapsed = time.monotonic() - self._monotonic
        with self._recorder.lock:
            self._ended = True
            self._record = replace(
                self._record,
                # The wall clock may have been set meanwhile; the monotonic one was not.
                end_date_time=self._record.start_date_time + timedelta(seconds=elapsed),
                status=status,
                error=error,
                notes=(*self._record.notes, note) if note else self._record.notes,
            )
            return self._record


class _IdleProcess(ActiveProcess):
    """Stands for the process where none is recorded, so that library code need not ask."""

    __slots__ = ()

    def __init__(self) -> None:
        """Belong to no asset."""

    def add_inputs(self, *refs: object) -> None:
        """Do nothing."""

    def add_outputs(self, *paths: str | os.PathLike[str]) -> None:
        """Do nothing."""

    def add_parameters(self, **values: object) -> None:
        """Do nothing."""

    def add_results(self, **values: object) -> None:
        """Do nothing."""

    def add_note(self, text: str) -> None:
        """Do nothing."""


IDLE_PROCESS = _IdleProcess()


class Recorder:
    """Everything recorded for one open asset; safe to use from several threads.

    Parameters
    ----------
    output_dir
        The asset's folder.
    resolver, identifier, journal
        Where references, code and records go.
    """

    def __init__(
        self,
        *,
        output_dir: Path,
        data_root: Path,
        resolver: InputResolver,
        identifier: CodeIdentifier,
        journal: Journal,
        block: Start,
    ) -> None:
        self.output_dir = output_dir
        self.identifier = identifier
        self.journal = journal
        self.lock = threading.RLock()
        self.process_id = os.getpid()
        # Imported with the first asset, not with the package.
        from asset_provenance.capture.parameters import safe_parameters  # noqa: PLC0415

        self._roots = (str(data_root), str(output_dir))
        self._safe_parameters = safe_parameters
        self._resolver = resolver
        self._real_output_dir = os.path.realpath(output_dir)
        self._records: list[ProcessRecord] = []
        self._folders: dict[str, Path] = {}
        self._open: dict[str, ActiveProcess] = {}
        self._count = 0
        self.block = ActiveProcess(self, None, block)
        self._open[self.block._record.id] = self.block
        journal.start(self.block._record)

    @property
    def records(self) -> tuple[ProcessRecord, ...]:
        """The ended processes, in the order of their start; without the block's own."""
        with self.lock:
            return tuple(sorted(self._records, key=lambda record: record.start_date_time))

    @property
    def folders(self) -> Mapping[str, Path]:
        """The root folder of each input seen so far that has one, by asset name."""
        return dict(self._folders)

    def next_id(self) -> str:
        """Give an identifier that no other process of this run has."""
        with self.lock:
            self._count += 1
            return f"{self.journal.writer}-{self._count}"

    def resolve(self, ref: object) -> ResolvedInput:
        """Find what a declared input means.

        Raises
        ------
        UsageError
            If it means nothing.
        """
        found = self._resolver.resolve(ref)
        self._remember(found)
        return found

    def path_arguments(self, arguments: Mapping[str, Any]) -> list[ResolvedInput]:
        """Find the arguments that are existing paths below the data root."""
        found = list(self._resolver.find_paths(arguments))
        for item in found:
            self._remember(item)
        return found

    def _remember(self, found: ResolvedInput) -> None:
        if found.ref is not None and found.ref.name and found.folder is not None:
            self._folders.setdefault(found.ref.name, found.folder)

    def output_path(self, path: str | os.PathLike[str]) -> str:
        """Give a path relative to the output folder, in POSIX form.

        Raises
        ------
        UsageError
            If it lies outside.
        """
        if not isinstance(path, str | os.PathLike):
            raise UsageError(f"an output must be a path, not {type(path).__name__}")
        text = os.fsdecode(os.fspath(path))
        full = os.path.normpath(os.path.join(self.output_dir, text))  # noqa: PTH118
        for root, candidate in (
            (str(self.output_dir), full),
            (self._real_output_dir, os.path.realpath(full)),
        ):
            if candidate == root or candidate.startswith(root.rstrip(os.sep) + os.sep):
                return _posix(os.path.relpath(candidate, root))
        raise UsageError(
            f"output {text} lies outside the output folder {self.output_dir}; "
            "give a path inside it, relative to it or absolute"
        )

    def safe_parameters(
        self,
        values: Mapping[str, Any],
        *,
        exclude: Collection[str] = (),
        redact: Collection[str] = (),
    ) -> dict[str, JsonValue]:
        """Make values JSON-safe and free of secrets."""
        return self._safe_parameters(values, exclude=exclude, redact=redact, roots=self._roots)

    def begin(self, parent: ActiveProcess, start: Start) -> ActiveProcess:
        """Start a process inside another one, in the journal and in this context."""
        process = ActiveProcess(self, parent, start)
        with self.lock:
            self._open[process._record.id] = process
        self.journal.start(process._record)
        process._token = _context.set(process)
        return process

    def end(self, process: ActiveProcess, error: BaseException | None = None) -> None:
        """End a process as its code ended; the error is described, never kept."""
        status, text, note = outcome(error)
        self._finish(process, status, text, note)
        if process._token is not None:
            leave(process._token)

    def _finish(
        self, process: ActiveProcess, status: ProcessStatus, text: str | None, note: str | None
    ) -> None:
        with self.lock:
            if self._open.pop(process._record.id, None) is None:
                return  # already ended: the asset was closed first
            record = process._end(status, text, note)
            if process is not self.block:
                self._records.append(record)
        self.journal.end(record)

    def close(self, error: BaseException | None = None) -> ProcessRecord:
        """Close the asset: what still runs is recorded as interrupted; give the block's record."""
        with self.lock:
            running = [process for process in self._open.values() if process is not self.block]
        for process in running:
            note = "Still running when the asset was closed."
            self._finish(process, ProcessStatus.INTERRUPTED, None, note)
        self._finish(self.block, *outcome(error))
        known = {record.id for record in self._records}
        for record in self.journal.of_other_writers():
            if record.id not in known:
                self._records.append(record)
        if self in open_recorders:
            open_recorders.remove(self)
        return self.block._record

    def enter(self) -> Token[ActiveProcess | None]:
        """Make this the innermost open asset."""
        open_recorders.append(self)
        return _context.set(self.block)

    def continue_in_child(self) -> None:
        """Go on in a forked child, whose records reach the parent through the journal."""
        self.lock = threading.RLock()
        self.journal.continue_as_new_writer()
        self._records = []


def leave(token: Token[ActiveProcess | None]) -> None:
    """Go back to the process outside; a context that never entered this one goes its own way."""
    with suppress(ValueError):  # another thread, task or notebook cell
        _context.reset(token)


def recorder_of(process: ActiveProcess) -> Recorder:
    """Give the open asset that a process belongs to."""
    return process._recorder


def innermost() -> ActiveProcess | None:
    """Give the innermost process that is recorded here, or None.

    A thread that knows no process belongs to the innermost asset open in the program.
    """
    if not open_recorders:
        return None
    process = _context.get()
    while process is not None and process._ended:
        process = process._parent
    return open_recorders[-1].block if process is None else process


def current_process() -> ActiveProcess:
    """Give the innermost process being recorded.

    Returns
    -------
    ActiveProcess
        Outside any, a handle that does nothing, so that library code may always call it.
    """
    return innermost() or IDLE_PROCESS


def outcome(error: BaseException | None) -> tuple[ProcessStatus, str | None, str | None]:
    """Say how code ended: its status, the error in one line, and a note.

    ``sys.exit()`` and ``sys.exit(0)`` are how a program says that all went well, so they complete
    a process; any other exit status is a failure.
    """
    if error is None:
        return ProcessStatus.COMPLETED, None, None
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return ProcessStatus.COMPLETED, None, "Ended by sys.exit with status 0."
    return ProcessStatus.FAILED, _describe(error), None


def _describe(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - a user's __str__ may raise anything
        text = ""
    name = type(error).__name__
    return _redacted(f"{name}: {text}"[:1000] if text else name)


def _redacted(text: str) -> str:
    from asset_provenance.redaction import redact_text  # noqa: PLC0415 - its patterns take time

    return redact_text(text)


def _with_inputs(record: ProcessRecord, found: Iterable[ResolvedInput]) -> ProcessRecord:
    refs: list[InputRef] = list(record.inputs)
    reads: list[str] = list(record.reads)
    for item in found:
        if item.ref is not None and item.ref not in refs:
            refs.append(item.ref)
        if item.read is not None and item.read not in reads:
            reads.append(item.read)
    return replace(record, inputs=tuple(refs), reads=tuple(reads))


def _union(present: tuple[str, ...], new: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*present, *new)))


def _posix(path: str) -> str:
    return path.replace(os.sep, "/")


def _after_fork_in_child() -> None:
    for recorder in open_recorders:
        recorder.continue_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
