"""The open asset and its open processes: who is running inside what, from when to when."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from contextvars import ContextVar, Token
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from asset_provenance.capture.files import look_again, unobserved
from asset_provenance.capture.memory import out_of_memory_kills
from asset_provenance.errors import UsageError
from asset_provenance.fileuse import FileUse, ProcessFiles
from asset_provenance.flows import Flows
from asset_provenance.process import (
    IDLE_PROCESS,
    ActiveProcess,
    Outcome,
    Start,
    redacted,
)
from asset_provenance.records import JsonValue, ProcessRecord, ResourceRecord

if TYPE_CHECKING:
    from asset_provenance.capture.code import CodeIdentifier
    from asset_provenance.capture.files import State
    from asset_provenance.capture.inputs import InputResolver, ResolvedInput
    from asset_provenance.capture.packages import Imported
    from asset_provenance.journal import Journal
    from asset_provenance.repeats import Repeat
    from asset_provenance.variation import Variation

__all__ = [
    "Recorder",
    "context",
    "current_process",
    "enter",
    "innermost",
    "leave",
    "open_recorders",
    "recorder_of",
    "still_open",
]

_STANDING = Start(name="", process_type="Analysis", stage="Analysis")

open_recorders: list[Recorder] = []
"""The assets open in this program, innermost last; empty means that nothing is recorded."""

context: ContextVar[ActiveProcess | None] = ContextVar("asset_provenance_process", default=None)
"""The innermost process of a thread or task."""


class Recorder:
    """Everything recorded for one open asset; safe to use from several threads.

    Parameters
    ----------
    output_dir
        The asset's folder.
    resolver, identifier, journal
        Where references, code and records go.
    block
        The process that the block as a whole is; None in a process of the operating system that
        joins the asset.
    max_repeats
        So many calls of one function are a process each.
    stands_for
        In one that joins: the id of the process that stands for the block, which another has begun
        and ends.
    """

    def __init__(
        self,
        *,
        output_dir: Path,
        data_root: Path,
        resolver: InputResolver,
        identifier: CodeIdentifier,
        journal: Journal,
        block: Start | None,
        max_repeats: int,
        stands_for: str = "",
    ) -> None:
        self.output_dir = output_dir
        self.identifier = identifier
        self.journal = journal
        self.lock = threading.RLock()
        self.usage: Callable[[float, float], ResourceRecord | None] | None = None
        """Gives what the program used between two times of the monotonic clock."""
        self.process_id = os.getpid()
        self.is_nested = False
        self._thread = 0
        # Imported with the first asset, not with the package.
        from asset_provenance.capture.packages import imported  # noqa: PLC0415
        from asset_provenance.capture.parameters import safe_parameters  # noqa: PLC0415
        from asset_provenance.sofar import SoFar  # noqa: PLC0415

        self._roots = (str(data_root), str(output_dir))
        self._safe_parameters = safe_parameters
        self._look_at_imports = imported
        self._told_imported: Imported | None = None
        self._resolver = resolver
        self._real_output_dir = os.path.realpath(output_dir)
        self._records: list[ProcessRecord] = []
        self._folders: dict[str, Path] = {}
        self._open: dict[str, ActiveProcess] = {}
        self._count = 0
        self.max_repeats = max_repeats
        self._kills = out_of_memory_kills()
        self._calls: dict[object, int] = {}
        self._repeats: dict[str, Repeat] = {}
        self.files = FileUse(resolver, str(output_dir))
        self.flows = Flows()
        self._so_far = SoFar(journal.later)
        self.is_begun_here = block is not None
        """Whether it is this program's to end; a worker's records go to it through the journal."""
        journal.counts = self._repeated
        journal.seen = self._seen
        journal.history = self._all_records
        journal.imported = self._imported
        journal.max_repeats = max_repeats
        journal.over = self.abandon
        if block is None:
            self.block = self.stand_in(stands_for)
            return
        self.block = ActiveProcess(self, None, block)
        self._open[self.block._record.id] = self.block
        self._journal_start(self.block)

    @property
    def records(self) -> tuple[ProcessRecord, ...]:
        """The ended processes, in the order of their start; without the block's own."""
        with self.lock:
            return tuple(sorted(self._records, key=lambda record: record.start_date_time))

    @property
    def folders(self) -> Mapping[str, Path]:
        """The root folder of each input seen so far that has one, by asset name."""
        return dict(self._folders)

    @property
    def patches(self) -> dict[str, bytes]:
        """Uncommitted changes of the code seen so far, by commit."""
        return {patch.commit_hash: patch.content for patch in self.identifier.patches}

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
        with unobserved():
            found = self._resolver.resolve(ref)
        self._remember(found)
        return found

    def path_arguments(self, arguments: Mapping[str, Any]) -> list[ResolvedInput]:
        """Find the arguments that are existing paths below the data root."""
        with unobserved():
            found = list(self._resolver.find_paths(arguments))
        for item in found:
            self._remember(item)
        return found

    def _remember(self, found: ResolvedInput) -> None:
        if found.ref is not None and found.ref.name and found.folder is not None:
            name = found.ref.name
            if name not in self._folders:
                self._folders[name] = found.folder
                self.files.look_again()
                self.journal.input_folder(name, found.folder)

    def output_path(self, path: str | os.PathLike[str]) -> str:
        """Give a path relative to the output folder, in POSIX form.

        Raises
        ------
        UsageError
            If it lies outside.
        """
        if not isinstance(path, str | os.PathLike):
            raise UsageError(f"an output must be a path, not {type(path).__name__}")
        # Redacted while it has the form it was given in; normalising makes "https:/" of "https://".
        text = redacted(os.fsdecode(os.fspath(path)))
        full = os.path.normpath(os.path.join(self.output_dir, text))  # noqa: PTH118
        for root, candidate in (
            (str(self.output_dir), full),
            (self._real_output_dir, os.path.realpath(full)),
        ):
            if candidate == root or candidate.startswith(root.rstrip(os.sep) + os.sep):
                return os.path.relpath(candidate, root).replace(os.sep, "/")
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

    def begin(self, parent: ActiveProcess, start: Start, *, told: str = "") -> ActiveProcess:
        """Start a process inside another one; it is in the journal when this returns.

        Parameters
        ----------
        parent, start
            The process outside, and what is known of this one.
        told
            A note for the journal alone: what holds if nothing more comes to be known.
        """
        process = ActiveProcess(self, parent, start)
        with self.lock:
            self._open[process._record.id] = process
        self._journal_start(process, told)
        return process

    def _journal_start(self, process: ActiveProcess, told: str = "") -> None:
        # Whoever writes the metadata in the end may not have seen what this process found.
        self.journal.keep_patches(self.identifier.patches)
        record = process._record
        self.journal.start(replace(record, notes=(*record.notes, told)) if told else record)

    def end(self, process: ActiveProcess, how: Outcome, *, at: float | None = None) -> None:
        """End a process, now or at an earlier moment of the monotonic clock."""
        with self.lock:
            if process._record.id not in self._open:
                return  # already ended: the asset was closed first
            now = time.monotonic() if at is None else at
            self.files.settle(process)
            self._close(process, process._as_ended(how, now))

    def saw(
        self, process: ActiveProcess, path: str, access: int, before: State | None = None
    ) -> bool:
        """Take note of a file that a process opened; see :meth:`FileUse.saw`."""
        if process._ended:
            return False
        is_known = self.files.saw(process, path, access, before)
        self._so_far.changed(process)
        with suppress(IndexError):  # another thread may take what this one sees
            while self.files.found:
                self._remember(self.files.found.pop())
        return is_known

    def moved(
        self, process: ActiveProcess, source: str, target: str, *, stays: bool = False
    ) -> None:
        """Take note of a file or folder that has another name now; see :meth:`FileUse.moved`."""
        self.files.moved(process, source, target, stays=stays)
        self._so_far.changed(process)

    def changed(self, process: ActiveProcess) -> None:
        """Have what a process was told of itself in the journal within the second."""
        self._so_far.changed(process)

    def _close(self, process: ActiveProcess, record: ProcessRecord) -> None:
        self.close_repeats(process)
        record = self._with_resources(record, process._monotonic)
        del self._open[record.id]
        is_foreign = self._so_far.is_foreign(process)
        if is_foreign:  # it is another's to end, and to say how
            record = replace(record, notes=process._record.notes)
        process._end(record)
        look_again()
        if is_foreign:
            return
        if process is not self.block and self.is_begun_here:
            self._records.append(record)
        self.journal.end(record)

    def close_repeats(self, process: ActiveProcess) -> None:
        """End what alike calls inside a process are together."""
        with self.lock:
            for repeats in tuple(process._repeats.values()):
                for repeat in repeats:
                    if self._repeats.pop(repeat.process._record.id, None) is not None:
                        self.files.settle(repeat.process)
                        self._close(repeat.process, repeat.record())

    def _with_resources(self, record: ProcessRecord, start: float) -> ProcessRecord:
        if self.usage is None or record.end_date_time is None:
            return record
        taken = (record.end_date_time - record.start_date_time).total_seconds()
        return replace(record, resources=self.usage(start, start + taken))

    def count_call(self, call: object) -> int:
        """Count a call of a function; give how many came before."""
        with self.lock:
            before = self._calls.get(call, 0)
            self._calls[call] = before + 1
            return before

    def repeat(self, parent: ActiveProcess, start: Start, variation: Variation | None) -> Repeat:
        """Start the one process that alike calls are."""
        told = f"Stands for further calls of {start.name}, of which none had been counted yet."
        process = self.begin(parent, start, told=told)
        from asset_provenance.repeats import Repeat  # noqa: PLC0415 - as above

        repeat = Repeat(process, variation, self.journal.later, self.flows)
        with self.lock:
            self._repeats[process._record.id] = repeat
        return repeat

    def running(self) -> list[tuple[ActiveProcess, Repeat | None]]:
        """Give the processes that are open here; with those that are alike calls, their count."""
        # Without the lock: who looks on must not have to wait, nor let others wait.
        repeats = self._repeats.copy()
        return [
            (process, repeats.get(process_id))
            for process_id, process in self._open.copy().items()
            if process._record.name  # what stands for another program's has none
        ]

    def _repeated(self) -> list[ProcessRecord]:
        with self.lock:
            return [repeat.record() for repeat in self._repeats.values()]

    def _all_records(self) -> list[ProcessRecord]:
        # Without the lock: who ends a process holds it, and may wait for the journal, which asks.
        running = self._open.copy()
        return [*self._records.copy(), *(process._record for process in running.values())]

    def close(self, how: Outcome, running: Outcome) -> ProcessRecord:
        """Close the asset.

        Parameters
        ----------
        how
            How the block ended.
        running
            How the processes end that still run.

        Returns
        -------
        ProcessRecord
            The block's.
        """
        if self in open_recorders:
            open_recorders.remove(self)
        with self.lock:
            for process in list(self._open.values()):
                if process is not self.block and process._record.id not in self._repeats:
                    self.end(process, running)
            self.end(self.block, how)
            self.flows.forget()
            self._take_in_others()
        return self.block._record

    def _take_in_others(self) -> None:
        """Take in what other processes of the operating system have recorded."""
        paths = self.journal.paths_of_others()
        if not paths:
            return
        # Only where there were workers.
        from asset_provenance import folding, workers  # noqa: PLC0415
        from asset_provenance.capture.code import tell_unreachable  # noqa: PLC0415

        written = [workers.read(path) for path in paths]
        theirs = {name: folder for one in written for name, folder in one.folders.items()}
        self._folders = theirs | self._folders
        found = workers.records_of(written, self.journal.exits, memory_was_short=self._was_short())
        for code in dict.fromkeys(one.code.url for one in found if one.code is not None):
            tell_unreachable(code)
        began, known = self.block._monotonic, self.block._record.start_date_time

        def resources(one: ProcessRecord) -> ProcessRecord:
            since = (one.start_date_time - known).total_seconds()
            return self._with_resources(one, began + since)

        found = [resources(one) for one in found]
        records = workers.with_seen([self.block._record, *self._records, *found], written)
        self.block._record, *folded = folding.fold(records, self.max_repeats)
        self._records = [resources(one) if one.calls is not None else one for one in folded]

    def _was_short(self) -> bool:
        kills = out_of_memory_kills()
        return kills > self._kills

    def open(self) -> Token[ActiveProcess | None]:
        """Make this the innermost open asset, and its block the innermost process."""
        inside = context.get()
        outer = open_recorders[-1] if open_recorders else None
        self._thread = threading.get_ident()
        self.is_nested = outer is not None and (
            outer._thread == self._thread or (inside is not None and inside._owner is outer)
        )
        open_recorders.append(self)
        look_again()
        return enter(self.block)

    def stand_in(self, process_id: str) -> ActiveProcess:
        """Give what stands here for a process that another process of the system has begun."""
        with self.lock:
            found = self._open.get(process_id)
            if found is None:
                found = ActiveProcess(self, None, _STANDING)
                found._record = replace(found._record, id=process_id)
                self._open[process_id] = found
                self._so_far.add_foreign(found)
            return found

    def _seen(self) -> list[ProcessRecord]:
        """Give what has come to processes that are open, or that others have begun."""
        with self.lock:
            is_counted = self._repeats.__contains__
            return self._so_far.records(
                process for process in self._open.values() if not is_counted(process._record.id)
            )

    def flush(self) -> None:
        """Have all that is known in the journal: this process may be killed when it idles."""
        with self.lock:
            for process in self._so_far.foreign:
                if process._files.doubtful:
                    self.files.settle(process)
        self.journal.write_counts()
        self.journal.write_imported()

    def _imported(self, is_hurried: Callable[[], bool]) -> Mapping[str, Any] | None:
        found = self._look_at_imports(is_hurried)
        if found is self._told_imported:
            return None
        self._told_imported = found
        return found.to_json()

    def abandon(self) -> None:
        """Let go of an asset that another process of the operating system has closed."""
        with suppress(ValueError):
            open_recorders.remove(self)
        look_again()

    def token(self, process_id: str) -> dict[str, JsonValue]:
        """Give what another process of the operating system needs to join, inside a process."""
        return {
            "process": process_id,
            "run_folder": str(self.journal.run_folder),
            "folder": str(self.journal.folder),
            "output_dir": self._roots[1],
            "data_root": self._roots[0],
            "outside": [str(folder) for folder in self._resolver.known()],
            "code": dict(self.identifier.options),
            "max_repeats": self.max_repeats,
        }

    def continue_in_child(self) -> None:
        """Go on in a forked child, whose records reach the parent through the journal."""
        self.lock = threading.RLock()
        self.files.lock = threading.RLock()
        self.flows.lock = threading.RLock()
        self.files.found = []
        self.journal.continue_as_new_writer()
        self.usage = None  # its parent looks at what it uses, too
        self.identifier.is_quiet = True  # and tells what there is to tell of the code
        self._records = []
        self.is_begun_here = False
        self._repeats = {}
        self._so_far.begin_anew()
        for process in self._open.values():
            process._repeats = {}
            process._files = ProcessFiles()
            self._so_far.add_foreign(process)
        look_again()


def enter(process: ActiveProcess) -> Token[ActiveProcess | None]:
    """Make a process the innermost one of this context."""
    return context.set(process)


def leave(token: Token[ActiveProcess | None]) -> None:
    """Go back to the process outside; a context that never entered this one goes its own way."""
    try:
        context.reset(token)
    except ValueError:  # another thread, task or notebook cell
        return


def recorder_of(process: ActiveProcess) -> Recorder:
    """Give the open asset that a process belongs to."""
    return cast("Recorder", process._owner)


def still_open(process: ActiveProcess | None) -> ActiveProcess | None:
    """Give a process, or the nearest around it, that has not ended."""
    while process is not None and process._ended:
        process = process._parent
    return process


def innermost() -> ActiveProcess | None:
    """Give the innermost process that is recorded here, or None.

    A thread that knows no process belongs to the innermost asset open in the program, unless
    several are open beside each other: then nobody can say to which.
    """
    if not open_recorders:
        return None
    process = still_open(context.get())
    if process is not None:
        return process
    if all(recorder.is_nested for recorder in open_recorders[1:]):
        return open_recorders[-1].block
    return None


def current_process() -> ActiveProcess:
    """Give the innermost process being recorded.

    Returns
    -------
    ActiveProcess
        Outside any, a handle that does nothing, so that library code may always call it.
    """
    return innermost() or IDLE_PROCESS


def _after_fork_in_child() -> None:
    for recorder in open_recorders:
        recorder.continue_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
