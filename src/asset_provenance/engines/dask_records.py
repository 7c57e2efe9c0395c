"""What the workers of a Dask cluster tell of an asset, made the records of the client.

A cluster may run a task more than once: after a worker was lost, or a result with it, or because it
was told to try again. All attempts of a call are one process here: the last that completed, with
the others in its notes.
"""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from asset_provenance.capture.code import Patch
from asset_provenance.capture.files import Access
from asset_provenance.capture.inputs import ResolvedInput
from asset_provenance.engines.dask_inbox import Inbox
from asset_provenance.engines.dask_tasks import result_of
from asset_provenance.errors import UsageError
from asset_provenance.process import ActiveProcess, Outcome, Start
from asset_provenance.recorder import Recorder, context
from asset_provenance.records import ProcessRecord, ProcessStatus, ResourceRecord, process_from_json
from asset_provenance.repeats import Repeat, RepeatedCalls
from asset_provenance.variation import Variation

__all__ = ["Attempts"]

_SAME_CLOCK = 0.05
"""Monotonic clocks of one machine are the same, but two are not read at the same moment."""
_MOST_COUNTED = 10_000
"""So many of the calls that were counted are known yet, for what their tasks say of results."""
_LEFT = Outcome(ProcessStatus.INTERRUPTED, note="Still running on the cluster when it was left.")

_log = logging.getLogger("asset_provenance")


class _Call:
    """One tracked call, however often the cluster ran it."""

    __slots__ = ("address", "ended", "failed", "notes", "process", "repeat", "writer")

    def __init__(self, process: ActiveProcess, repeat: Repeat | None) -> None:
        self.process = process
        self.repeat = repeat
        self.ended: ProcessStatus | None = None
        self.failed: tuple[Outcome, float] | None = None
        self.notes: tuple[str, ...] = ()
        self.address = self.writer = ""


class _Attempt:
    """One run of a call on a worker, until it ends."""

    __slots__ = ("call", "is_whole", "monotonic", "record", "task")

    def __init__(self, call: _Call, entry: Mapping[str, Any], monotonic: float) -> None:
        self.call = call
        self.record: dict[str, Any] = entry["record"]
        self.task: str = entry["task"][0]
        self.is_whole: bool = entry["is_whole"]
        self.monotonic = monotonic


class Attempts:
    """Makes records of what comes to its ``inbox``, one of each call.

    Parameters
    ----------
    recorder
        Of the open asset.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._parents: dict[str, ActiveProcess] = {}
        self._calls: dict[tuple[Any, ...], _Call] = {}
        self._attempts: dict[str, _Attempt] = {}
        self._processes: dict[str, ActiveProcess] = {}
        self._results: dict[str, dict[int, tuple[str, ...]]] = {}
        self._given: dict[str, tuple[str, ...]] = {}
        self._again: dict[str, int] = {}
        self._repeats: set[object] = set()
        self._counted: deque[str] = deque()
        self.inbox = Inbox(self._take)

    def parent(self, process: ActiveProcess) -> None:
        """Take note of a process inside which tasks are submitted."""
        self._parents[process._record.id] = process

    def find(self, process_id: str) -> ActiveProcess | None:
        """Give a process inside which tasks were submitted."""
        return self._parents.get(process_id)

    def give(self, key: str, process_ids: tuple[str, ...]) -> None:
        """Take note of the processes whose results a task is given by the client itself."""
        if process_ids:
            self._given[key] = process_ids

    def results(self, key: str) -> list[tuple[int, str]]:
        """Say what in the result of a task came from whom, as :meth:`Flows.tags` does."""
        with self.inbox.lock:
            found = self._results.get(key, {})
            return [(place, ids[-1]) for place, ids in found.items() if ids]

    def finish(self, workers: Collection[str] | None) -> None:
        """Take what came out of order, and end what was begun and has not ended.

        Parameters
        ----------
        workers
            The addresses of those that are there; None if nobody can say.
        """
        with self.inbox.lock:
            self.inbox.take_rest()
            begun: dict[str, int] = {}
            with self._recorder.lock:
                self._finish_calls(begun, workers)
                self._note_repeats(begun)
                self._end_repeats()

    def _finish_calls(self, begun: dict[str, int], workers: Collection[str] | None) -> None:
        for call in self._calls.values():
            if call.repeat is not None:
                if call.failed is not None:
                    call.repeat.end(call.failed[0], at=call.failed[1])
                elif call.ended is None:
                    name = call.process._record.id
                    begun[name] = begun.get(name, 0) + 1
            elif call.ended is None:
                self._note(call, call.notes)
                is_lost = workers is not None and call.address not in workers
                lost = f"Worker {call.address}, on which it ran, was lost."
                how = Outcome(ProcessStatus.INTERRUPTED, note=lost) if is_lost else _LEFT
                self._end_elsewhere(call.process, how)

    def _end_repeats(self) -> None:
        recorder = self._recorder
        for within in [one for one in recorder.block._repeats if one in self._repeats]:
            for repeat in recorder.block._repeats.pop(within):
                if recorder._repeats.pop(repeat.process._record.id, None) is not None:
                    with self._used(None):
                        recorder._close(repeat.process, repeat.record())

    def _end_elsewhere(
        self,
        process: ActiveProcess,
        how: Outcome,
        at: float | None = None,
        resources: ResourceRecord | None = None,
    ) -> None:
        with self._used(resources):
            self._recorder.end(process, how, at=at)

    @contextmanager
    def _used(self, resources: ResourceRecord | None) -> Iterator[None]:
        """Say of processes that end what they used on their worker; not what was used here."""
        recorder = self._recorder
        with recorder.lock:
            usage, recorder.usage = recorder.usage, lambda _start, _end: resources
            try:
                yield
            finally:
                recorder.usage = usage

    def _note_repeats(self, begun: Mapping[str, int]) -> None:
        for text, counts in (
            ("of them had begun and did not end.", begun),
            ("of them were run again by the cluster; each counts once.", self._again),
        ):
            for process in {call.process for call in self._calls.values() if call.repeat}:
                count = counts.get(process._record.id)
                if count and not process._ended:
                    process.add_note(f"{count} {text}")

    def _take(self, message: Mapping[str, Any]) -> None:
        wall, monotonic = message["clocks"]
        shift = (wall - monotonic) - (time.time() - time.monotonic())
        shift = 0.0 if abs(shift) < _SAME_CLOCK else shift
        for entry in json.loads(message["entries"]):
            try:
                if entry["kind"] == "start":
                    self._start(entry, message, shift)
                else:
                    getattr(self, f"_{entry['kind']}")(entry)
            except Exception:  # noqa: BLE001 - whatever it is, the rest is worth having
                _log.warning("something of a task could not be recorded", exc_info=True)

    def _start(self, entry: Mapping[str, Any], message: Mapping[str, Any], shift: float) -> None:
        record = process_from_json(entry["record"])
        parent = self._of(record.parent_id or "")
        identity = tuple(entry["task"])
        call = self._calls.get(identity)
        # The clock of a worker counts from the start of its machine.
        monotonic = entry["monotonic"] + shift
        if call is None:
            call = self._calls[identity] = self._begin(parent, record, monotonic)
        elif call.repeat is not None:
            name = call.process._record.id
            self._again[name] = self._again.get(name, 0) + 1
        else:
            before = f"An earlier attempt, on worker {call.address}"
            if call.ended is None:
                # The worker may be there yet, and the word of its end on the way.
                call.notes += (f"{before}, was lost.",)
                call.process._record = self._as_here(call, record)
                call.process._monotonic = monotonic
            elif call.ended is ProcessStatus.COMPLETED:
                call.notes += (f"{before}, had completed; its result was lost.",)
            else:
                failed = self._ended_record(call)
                how = "" if failed is None or failed.error is None else f": {failed.error}"
                call.notes += (f"{before}, failed{how}.",)
        call.address, call.writer = message["address"], message["writer"]
        self._attempts[record.id] = _Attempt(call, entry, monotonic)
        self._processes[record.id] = call.process

    def _of(self, process_id: str) -> ActiveProcess:
        found = self._processes.get(process_id) or self._parents.get(process_id)
        return found or self._recorder.block

    def _begin(self, parent: ActiveProcess, record: ProcessRecord, monotonic: float) -> _Call:
        recorder = self._recorder
        start = Start(
            name=record.name,
            process_type=record.process_type,
            stage=record.stage,
            code=record.code,
            parameters=record.parameters,
            inputs=tuple(_resolved(record)),
            outputs=record.outputs,
            notes=record.notes,
            observed=record.observed,
        )
        code = record.code
        function = ("dask", record.name, code and code.url, code and code.run_script)
        if recorder.count_call(function) < recorder.max_repeats:
            process = recorder.begin(parent, start)
            process._record = replace(process._record, start_date_time=record.start_date_time)
            process._monotonic = monotonic
            return _Call(process, None)
        # Their parent may end before they do.
        within = (id(self), function, parent._record.id)
        self._repeats.add(within)
        calls = recorder.block._repeats.get(within)
        if calls is None:
            calls = recorder.block._repeats[within] = RepeatedCalls(recorder.max_repeats, context)
        parameters = record.parameters or {}

        def make() -> Repeat:
            variation = Variation(parameters, lambda values: values)
            repeat = recorder.repeat(parent, start, variation)
            process = repeat.process
            process._record = replace(process._record, start_date_time=record.start_date_time)
            process._monotonic = monotonic
            return repeat

        repeat: Repeat = calls.find((record.inputs, record.outputs), make)
        repeat.begin(parameters)
        return _Call(repeat.process, repeat)

    def _end(self, entry: Mapping[str, Any]) -> None:
        attempt = self._attempts.pop(entry["process"], None)
        if attempt is None:
            return
        data = {**attempt.record, **entry["record"]}
        record = process_from_json({name: it for name, it in data.items() if it is not None})
        given = self._given.get(attempt.task, ()) if attempt.is_whole else ()
        follows = tuple(dict.fromkeys((*self._followed(record.follows), *given)))
        record = replace(record, follows=follows)
        elapsed = (record.end_date_time or record.start_date_time) - record.start_date_time
        at = attempt.monotonic + elapsed / timedelta(seconds=1)
        how = Outcome(record.status, record.error)
        call = attempt.call
        if call.repeat is not None:
            self._count(call, call.repeat, record, how, at)
            self._counted.append(entry["process"])
            if len(self._counted) > _MOST_COUNTED:
                self._processes.pop(self._counted.popleft(), None)
        elif call.ended is None:
            process = call.process
            process._record = self._as_here(call, record)
            self._replay(process, record)
            process._monotonic = attempt.monotonic
            self._end_elsewhere(process, how, at, record.resources)
            call.ended = record.status
        else:
            self._amend(call, record)

    def _as_here(self, call: _Call, record: ProcessRecord) -> ProcessRecord:
        """Give a worker's record as it is to be kept; it ends when the recorder says so."""
        here = call.process._record
        return replace(
            record,
            id=here.id,
            parent_id=here.parent_id,
            notes=(*record.notes, *call.notes),
            end_date_time=None,
            status=ProcessStatus.RUNNING,
            error=None,
            read_files={},
            written_files={},
        )

    def _note(self, call: _Call, notes: tuple[str, ...]) -> None:
        record = call.process._record
        new = tuple(note for note in notes if note not in record.notes)
        call.process._record = replace(record, notes=(*record.notes, *new))

    def _count(
        self, call: _Call, repeat: Repeat, record: ProcessRecord, how: Outcome, at: float
    ) -> None:
        """Count one of many calls, the first time that it completes."""
        if call.ended is ProcessStatus.COMPLETED:
            return
        call.ended = record.status
        call.failed = None
        repeat.follow(record.follows)
        files = repeat.process._files
        for ref in record.inputs:
            files.inputs.setdefault(ref.identity, ref)
        self._replay(repeat.process, record)
        if record.status is ProcessStatus.COMPLETED:
            repeat.end(how, at=at)
        else:
            call.failed = how, at  # the cluster may try again

    def _amend(self, call: _Call, record: ProcessRecord) -> None:
        """Let a further attempt take the place of one that had ended."""
        recorder = self._recorder
        with recorder.lock:
            was = self._ended_record(call)
            if was is None:
                return
            is_better = record.status is ProcessStatus.COMPLETED or was.status is not record.status
            if not is_better:
                record = was
            own = tuple(note for note in record.notes if note not in call.notes)
            new = replace(
                record,
                id=was.id,
                parent_id=was.parent_id,
                notes=(*own, *call.notes),
                read_files=was.read_files,
                written_files=was.written_files,
                follows=tuple(dict.fromkeys((*was.follows, *record.follows))),
            )
            call.ended = new.status
            call.process._end(new)
            recorder._records[recorder._records.index(was)] = new
            recorder.journal.end(new)

    def _ended_record(self, call: _Call) -> ProcessRecord | None:
        wanted = call.process._record.id
        return next((one for one in self._recorder._records if one.id == wanted), None)

    def _replay(self, process: ActiveProcess, record: ProcessRecord) -> None:
        """Let the client know which files of the asset were read and written, in this order."""
        recorder = self._recorder
        for paths, access in (
            (record.read_files, Access.READ),
            (record.written_files, Access.WRITE),
        ):
            for path in paths:
                recorder.files.saw(process, f"{recorder.output_dir}/{path}", access, None)

    def _followed(self, names: Iterable[str]) -> Iterator[str]:
        """Give the processes, by the ids that they have here."""
        for name in names:
            result = result_of(name)
            if result is None:
                process = self._processes.get(name) or self._parents.get(name)
                yield name if process is None else process._record.id
            else:
                key, place = result
                found = self._results.get(key, {})
                # One object inside may be all that came from a process, or the whole did.
                yield from found.get(place, ())

    def _result(self, entry: Mapping[str, Any]) -> None:
        found: dict[int, tuple[str, ...]] = {}
        for place, name in entry["tags"]:
            found[place] = (*found.get(place, ()), *self._followed((name,)))
        self._results[entry["task"]] = found

    def _seen(self, entry: Mapping[str, Any]) -> None:
        """Add to a process what its tasks did outside any tracked call."""
        process = self._of(entry["process"])
        new = process_from_json(entry["record"])
        for ref in new.inputs:
            process._files.inputs.setdefault(ref.identity, ref)
        process._files.follows.update(dict.fromkeys(self._followed(new.follows)))
        with self._recorder.lock:
            self._replay(process, new)
            record = process._record
            process._record = replace(
                record,
                notes=tuple(dict.fromkeys((*record.notes, *new.notes))),
                outputs=tuple(dict.fromkeys((*record.outputs, *new.outputs))),
                reads=tuple(dict.fromkeys((*record.reads, *new.reads))),
                parameters=_joined(record.parameters, new.parameters),
                results=_joined(record.results, new.results),
            )

    def _patch(self, entry: Mapping[str, Any]) -> None:
        content = entry["content"].encode("latin-1")
        self._recorder.journal.keep_patches([Patch(entry["commit"], content)])

    def _imported(self, entry: Mapping[str, Any]) -> None:
        self._recorder.journal.keep_imported(entry["found"], entry["writer"])

    def _input(self, entry: Mapping[str, Any]) -> None:
        try:
            self._recorder.resolve(entry["name"])
        except UsageError:
            _log.debug("the asset %s is not to be found here", entry["name"])


def _joined(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> Any:
    return {**(one or {}), **(other or {})} or None


def _resolved(record: ProcessRecord) -> Iterator[ResolvedInput]:
    for ref in record.inputs:
        yield ResolvedInput(ref)
    for path in record.reads:
        yield ResolvedInput(None, read=path)
