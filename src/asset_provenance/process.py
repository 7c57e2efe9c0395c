"""A process that is being recorded, its public handle, and how it can end."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from asset_provenance.clock import both
from asset_provenance.errors import UsageError
from asset_provenance.fileuse import ProcessFiles, with_files
from asset_provenance.records import (
    CodeRecord,
    InputRef,
    JsonValue,
    ProcessRecord,
    ProcessStatus,
    valid_text,
)

if TYPE_CHECKING:
    from asset_provenance.capture.inputs import ResolvedInput

__all__ = [
    "COMPLETED",
    "IDLE_PROCESS",
    "STILL_RUNNING",
    "ActiveProcess",
    "Outcome",
    "Start",
    "describe",
    "outcome",
    "redacted",
]


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
    observed: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a process ended: its status, the error in one line, and a note."""

    status: ProcessStatus
    error: str | None = None
    note: str | None = None


COMPLETED = Outcome(ProcessStatus.COMPLETED)
CANCELLED = Outcome(ProcessStatus.INTERRUPTED, "CancelledError", "Cancelled.")
STILL_RUNNING = Outcome(ProcessStatus.INTERRUPTED, note="Still running when the asset was closed.")


class Owner(Protocol):
    """What a process asks of the open asset it belongs to."""

    lock: threading.RLock

    def next_id(self) -> str: ...

    def resolve(self, ref: object) -> ResolvedInput: ...

    def output_path(self, path: str | os.PathLike[str]) -> str: ...

    def safe_parameters(self, values: Mapping[str, object]) -> dict[str, JsonValue]: ...

    def changed(self, process: ActiveProcess) -> None: ...


class ActiveProcess:
    """The handle of a process that is being recorded.

    Given by ``with track_process(...) as process`` and by :func:`current_process`; never made by
    the user. Its methods add to the record and return nothing. After the process has ended they
    raise :class:`UsageError`.
    """

    __slots__ = (
        "_ended", "_files", "_monotonic", "_owner", "_parent", "_record", "_repeats", "_so_far",
        "_told",
    )  # fmt: skip

    def __init__(self, owner: Owner, parent: ActiveProcess | None, start: Start) -> None:
        self._owner = owner
        self._parent = parent
        self._ended = False
        self._files = ProcessFiles()
        # Of calls inside it: by function, what finds the process that a repeated call belongs to.
        self._repeats: dict[object, Any] = {}
        process_id, name = owner.next_id(), redacted(start.name)
        began, self._monotonic = both()
        record = ProcessRecord(
            id=process_id,
            parent_id=None if parent is None else parent._record.id,
            name=name,
            process_type=start.process_type,
            stage=start.stage,
            start_date_time=began,
            code=start.code,
            parameters=start.parameters,
            outputs=start.outputs,
            notes=start.notes,
            observed=start.observed,
            follows=start.follows,
        )
        self._record: ProcessRecord = _with_inputs(record, start.inputs)
        # As the journal has it, and what has come to it since, as the journal was told last.
        self._told = self._record
        self._so_far: ProcessRecord | None = None

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
        found = [self._owner.resolve(ref) for ref in refs]
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
        found = [self._owner.output_path(path) for path in paths]
        self._change(lambda record: replace(record, outputs=_union(record.outputs, found)))

    def add_parameters(self, **values: object) -> None:
        """Add parameters that the code ran with; a name given again replaces its value."""
        safe = self._owner.safe_parameters(values)
        self._change(
            lambda record: replace(record, parameters={**(record.parameters or {}), **safe})
        )

    def add_results(self, **values: object) -> None:
        """Add results worth finding again: the schema's ``output_parameters``."""
        safe = self._owner.safe_parameters(values)
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
        note = redacted(text)
        self._change(lambda record: replace(record, notes=(*record.notes, note)))

    def _change(self, change: Callable[[ProcessRecord], ProcessRecord]) -> None:
        with self._owner.lock:
            if self._ended:
                raise UsageError(
                    f"the process {self._record.name} has ended; add to it while it runs"
                )
            self._record = change(self._record)
            self._files.is_new = True
        self._owner.changed(self)

    def _as_ended(self, how: Outcome, at: float) -> ProcessRecord:
        """Give the record that this would be had it ended at that monotonic time."""
        # The wall clock may have been set meanwhile; the monotonic one was not.
        elapsed = timedelta(seconds=max(0.0, at - self._monotonic))
        return replace(
            with_files(self._record, self._files),
            end_date_time=self._record.start_date_time + elapsed,
            status=how.status,
            error=how.error,
            notes=(*self._record.notes, how.note) if how.note else self._record.notes,
        )

    def _end(self, record: ProcessRecord) -> None:
        with self._owner.lock:
            self._ended = True
            self._record = record


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


def outcome(error: BaseException | None) -> Outcome:
    """Say how code ended that raised this, or nothing; the error is described, never kept.

    ``sys.exit()`` and ``sys.exit(0)`` are how a program says that all went well, so they complete
    a process; any other exit status is a failure.
    """
    if error is None:
        return COMPLETED
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return Outcome(ProcessStatus.COMPLETED, note="Ended by sys.exit with status 0.")
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and isinstance(error, asyncio.CancelledError):
        return CANCELLED
    return Outcome(ProcessStatus.FAILED, describe(error))


def describe(error: BaseException) -> str:
    """Give an exception in one redacted line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - a user's __str__ may raise anything
        text = ""
    name = type(error).__name__
    # Redacted before it is cut, so that no half of a secret is left.
    return redacted(f"{name}: {text[:10_000]}" if text else name)[:1_000]


def redacted(text: str) -> str:
    """Give a text as it may stand in a record: free of secrets, and valid in every file."""
    from asset_provenance.redaction import redact_text  # noqa: PLC0415 - its patterns take time

    return redact_text(valid_text(text))


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
