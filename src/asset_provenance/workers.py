"""What other processes of the operating system recorded of an asset, brought together.

Each writes a file of its own; see :mod:`asset_provenance.journal`. It tells what it began and ended
itself, what had come to those that were still open, and what it saw of processes that others began:
files that a forked worker opened, a note that it gave.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from asset_provenance.journalfiles import host, read_entries, read_processes, read_seen, started
from asset_provenance.lineage import by_path, latest_uses, users_of
from asset_provenance.records import ProcessRecord, ProcessStatus, writer_of

__all__ = ["Written", "added", "how_it_ended", "read", "records_of", "with_seen"]

_T = TypeVar("_T")

_KILLED_FOR_MEMORY = "The system was short of memory meanwhile, and ended processes for it."


@dataclass(frozen=True, slots=True)
class Written:
    """What one process of the operating system has written.

    Parameters
    ----------
    writer
        What the ids of its processes begin with.
    process_id, started, host
        Which process of the operating system it is; None where it does not say.
    max_repeats
        So many calls of one function are a process each.
    ended, begun
        The processes that it ended, and those that it only began.
    seen
        Of processes that others began, what it adds to them. What had come to those that it only
        began itself is in these, with the last time of it as their end.
    exits
        How processes of the operating system ended that it started, by their number.
    folders
        Where inputs lie that it found, by their name.
    """

    writer: str
    process_id: int | None
    started: float | None
    host: str | None
    max_repeats: int | None
    ended: tuple[ProcessRecord, ...]
    begun: tuple[ProcessRecord, ...]
    seen: tuple[ProcessRecord, ...]
    exits: Mapping[int, int]
    folders: Mapping[str, Path]

    @property
    def lives(self) -> bool:
        """Whether that process of the operating system still runs, as far as can be seen here."""
        if self.process_id is None or self.started is None or self.host != host():
            return False
        return started(self.process_id) == self.started

    @property
    def last(self) -> datetime:
        """The last time of which it tells anything."""
        records = (*self.ended, *self.begun)
        return max(record.end_date_time or record.start_date_time for record in records)


def read(path: Path) -> Written:
    """Read the file of one writer."""
    who: Mapping[str, Any] = {}
    exits: dict[int, int] = {}
    folders: dict[str, Path] = {}
    for entry in read_entries(path):
        if entry.get("kind") == "writer" and not who:
            who = entry
        elif entry.get("kind") == "exit":
            process_id, code = entry.get("process_id"), entry.get("code")
            if isinstance(process_id, int) and isinstance(code, int):
                exits[process_id] = code
        elif entry.get("kind") == "folder":
            folders[str(entry.get("name"))] = Path(str(entry.get("path")))
    # One that leaves the blocks of its parent may say that they ended, but only for itself.
    own = f"{path.stem}-"
    ended, begun = (
        tuple(record for record in records if record.id.startswith(own))
        for records in read_processes(path)
    )
    seen = read_seen(path)
    so_far = {one.id: one for one in seen if one.id.startswith(own)}
    begun = tuple(
        replace(_with(record, found), end_date_time=found.end_date_time)
        if (found := so_far.get(record.id))
        else record
        for record in begun
    )
    return Written(
        writer=path.stem,
        process_id=who.get("process_id"),
        started=who.get("started"),
        host=who.get("host"),
        max_repeats=who.get("max_repeats"),
        ended=ended,
        begun=begun,
        seen=tuple(one for one in seen if one.id not in so_far),
        exits=exits,
        folders=folders,
    )


def records_of(
    written: Sequence[Written], exits: Mapping[int, int], *, memory_was_short: bool
) -> list[ProcessRecord]:
    """Give the records of other writers when the asset closes; what is open is interrupted.

    Parameters
    ----------
    written
        What they wrote.
    exits
        How processes of the operating system ended that the program itself started.
    memory_was_short
        Whether the system ended processes for want of memory while the asset was open.
    """
    known = {number: code for one in written for number, code in one.exits.items()} | {**exits}
    found: list[ProcessRecord] = []
    for one in written:
        found += one.ended
        if not one.begun:
            continue
        if one.lives:
            end, error, note = datetime.now(UTC), None, "Still running when the asset was closed."
        else:
            code = None if one.process_id is None else known.get(one.process_id)
            end = one.last
            error, note = how_it_ended(code, memory_was_short=memory_was_short)
        found += [
            replace(
                record,
                status=ProcessStatus.INTERRUPTED,
                end_date_time=max(end, record.start_date_time),
                error=error,
                notes=(*record.notes, note),
            )
            for record in one.begun
        ]
    return found


def how_it_ended(code: int | None, *, memory_was_short: bool = False) -> tuple[str | None, str]:
    """Say how a process of the operating system ended in the middle of its work.

    Parameters
    ----------
    code
        As :attr:`multiprocessing.Process.exitcode` has it; None if it is not known.

    Returns
    -------
    tuple
        The error in one word, where there is one, and a note.
    """
    error, note = None, "The process that ran it ended before it had."
    if code is not None and code < 0:
        try:
            error = signal.Signals(-code).name
        except ValueError:
            error = f"signal {-code}"
        note = f"{note} It was ended by {error}."
    elif code is not None:
        note = f"{note} Its exit status was {code}."
    if memory_was_short and (code is None or -code == signal.SIGKILL):
        note = f"{note} {_KILLED_FOR_MEMORY}"
    return error, note


def added(now: ProcessRecord, was: ProcessRecord) -> ProcessRecord:
    """Give what has come to a record since, as a record of nothing else."""
    return ProcessRecord(
        id=now.id,
        name=now.name,
        process_type=now.process_type,
        stage=now.stage,
        start_date_time=now.start_date_time,
        end_date_time=now.end_date_time,
        parameters=_new_values(now.parameters, was.parameters),
        results=_new_values(now.results, was.results),
        inputs=_new(now.inputs, was.inputs),
        reads=_new(now.reads, was.reads),
        outputs=_new(now.outputs, was.outputs),
        notes=now.notes[len(was.notes) :],
        observed=_new(now.observed, was.observed),
        read_files=now.read_files,
        written_files=now.written_files,
        read_inside=now.read_inside,
        follows=_new(now.follows, was.follows),
    )


def _new(now: tuple[_T, ...], was: tuple[_T, ...]) -> tuple[_T, ...]:
    return tuple(one for one in now if one not in was)


def _new_values(now: Mapping[str, Any] | None, was: Mapping[str, Any] | None) -> Any:
    before = was or {}
    return {
        name: value
        for name, value in (now or {}).items()
        if name not in before or before[name] != value
    } or None


def with_seen(
    records: Sequence[ProcessRecord], written: Iterable[Written]
) -> tuple[ProcessRecord, ...]:
    """Give records with what other writers saw of them, in the same order."""
    by_id = {record.id: record for record in records}
    seen = [one for each in written for one in each.seen if one.id in by_id]
    if not seen:
        return tuple(records)
    for one in seen:
        by_id[one.id] = _with(by_id[one.id], one)
    for reader, writer in _between(list(by_id.values()), seen):
        record = by_id[reader]
        if writer not in record.follows:
            by_id[reader] = replace(record, follows=(*record.follows, writer))
    return tuple(by_id.values())


def _with(record: ProcessRecord, seen: ProcessRecord) -> ProcessRecord:
    known = {ref.identity for each in record.inputs for ref in (each, *each.assets)}
    return replace(
        record,
        parameters={**(record.parameters or {}), **(seen.parameters or {})} or None,
        results={**(record.results or {}), **(seen.results or {})} or None,
        inputs=(*record.inputs, *(ref for ref in seen.inputs if ref.identity not in known)),
        reads=_united(record.reads, seen.reads),
        outputs=_united(record.outputs, seen.outputs),
        notes=_united(record.notes, seen.notes),
        observed=_united(record.observed, seen.observed),
        read_files=latest_uses((record.read_files, seen.read_files)),
        written_files=latest_uses((record.written_files, seen.written_files)),
        read_inside={
            name: _united(record.read_inside.get(name, ()), seen.read_inside.get(name, ()))
            for name in _united(tuple(record.read_inside), tuple(seen.read_inside))
        },
        follows=_united(record.follows, seen.follows),
    )


def _united(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def _between(
    records: Sequence[ProcessRecord], seen: Sequence[ProcessRecord]
) -> Iterator[tuple[str, str]]:
    """Give who read what whom wrote, of two processes whose program did not see it itself.

    What processes of different programs read and wrote is compared elsewhere.
    """
    readers, writers = by_path(records, "read_files"), by_path(records, "written_files")
    for one in seen:
        program = writer_of(one.id)
        for path, time in one.read_files.items():
            for other, written in users_of(writers, path):
                if writer_of(other) == program and other != one.id and written <= time:
                    yield one.id, other
        for path, time in one.written_files.items():
            for other, read_at in users_of(readers, path):
                if writer_of(other) == program and other != one.id and time <= read_at:
                    yield other, one.id
