"""Takes the place of a journal on a Dask worker: what would be its lines goes to the client.

Entries are sent in messages of Dask's own event channel, soon after the first of them, and when a
task ends.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asset_provenance.records import CodeRecord, JsonValue, ProcessRecord, to_json

__all__ = ["Sender"]

_MOST_WAITING = 64
_DELAY = 0.05
"""Seconds until what has begun is told; most tasks are done by then, and tell it all at once."""

_FIELDS = tuple(field.name for field in fields(ProcessRecord))
_NOTHING = ProcessRecord("", "", "", "", datetime.min.replace(tzinfo=UTC))


class Sender:
    """Takes the place of a journal: what would be its lines goes to the client.

    Parameters
    ----------
    worker
        Where this is.
    topic
        What the client listens to.
    """

    def __init__(self, worker: Any, topic: str) -> None:
        self.writer = os.urandom(4).hex()
        self.run_folder = self.folder = Path(os.devnull, self.writer)
        self.is_first = True
        self.counts: Callable[[], list[ProcessRecord]] = list
        self.history: Callable[[], list[ProcessRecord]] = list
        self.seen: Callable[[], list[ProcessRecord]] = list
        self.imported: Callable[[Callable[[], bool]], Mapping[str, Any] | None] = lambda _: None
        self._worker, self._topic = worker, topic
        self._started: dict[str, ProcessRecord] = {}
        self._codes: dict[int, tuple[CodeRecord, dict[str, JsonValue]]] = {}
        self._waiting: list[dict[str, Any]] = []
        self._sent = 0
        self._is_pending = False
        self._kept_patches: set[str] = set()
        self._lock = threading.RLock()

    def put(self, entry: dict[str, Any]) -> None:
        """Send an entry with the next message."""
        with self._lock:
            self._waiting.append(entry)
            if len(self._waiting) >= _MOST_WAITING:
                self.flush()
            elif not self._is_pending and self._worker is not None:
                self._is_pending = True
                self._worker.loop.add_callback(self.soon)

    def expect(self) -> None:
        """Be ready to send; called by the worker's event loop, which a thread has to wake."""
        if not self._is_pending:
            self.soon()

    def soon(self) -> None:
        """Send what waits in a moment; called by the worker's event loop."""
        self._is_pending = True
        self._worker.loop.call_later(_DELAY, self._send_late)

    def _send_late(self) -> None:
        with self._lock:
            self._is_pending = False
            self.flush()

    def flush(self) -> int:
        """Send what waits; give the number of messages so far."""
        with self._lock:
            if self._waiting and self._worker is not None:
                message = {
                    "writer": self.writer,
                    "number": self._sent,
                    "address": self._worker.address,
                    "clocks": [time.time(), time.monotonic()],
                    # Not every number of JSON can be sent as it is.
                    "entries": json.dumps(self._waiting, separators=(",", ":")),
                }
                self._waiting = []
                self._sent += 1
                with suppress(Exception):  # a worker that is closing; the client says so
                    self._worker.log_event(self._topic, message)
            return self._sent

    def start(self, record: ProcessRecord) -> None:
        """Do nothing: what has begun is told with the task that it is in."""

    def start_of(self, record: ProcessRecord) -> dict[str, Any]:
        """Give a record that has begun, and remember it, so that its end tells only what is new."""
        self._started[record.id] = record
        code = record.code
        if code is None:
            return to_json(record)
        known = self._codes.get(id(code))
        if known is None:
            known = self._codes[id(code)] = code, to_json(code)
        return {**to_json(replace(record, code=None)), "code": known[1]}

    def end(self, record: ProcessRecord) -> None:
        """Tell that a process has ended."""
        was = self._started.pop(record.id, None)
        if was is not None:
            now = {name: getattr(record, name) for name in _FIELDS}
            changed = {name: it for name, it in now.items() if it != getattr(was, name)}
            told = to_json(replace(_NOTHING, **changed))
            found = {name: told.get(name) for name in changed}
            self.put({"kind": "end", "process": record.id, "record": found})

    def keep_patches(self, patches: Iterable[Any]) -> None:
        """Tell of uncommitted changes."""
        for patch in patches:
            if patch.commit_hash not in self._kept_patches:
                self._kept_patches.add(patch.commit_hash)
                content = patch.content.decode("latin-1")
                self.put({"kind": "patch", "commit": patch.commit_hash, "content": content})

    def write_imported(self) -> None:
        """Tell what this worker has imported, if there is anything new."""
        found = self.imported(lambda: False)
        if found:
            self.put({"kind": "imported", "writer": self.writer, "found": dict(found)})

    def input_folder(self, name: str, _folder: Path) -> None:
        """Tell of a data asset, which the client may have as well."""
        self.put({"kind": "input", "name": name})

    def later(self) -> None:
        """Do nothing: counts of repeated calls are told when their task ends."""

    def write_counts(self) -> None:
        """Do nothing, as above."""

    def exited(self, process_id: int, code: int) -> None:
        """Do nothing: what a task starts is told of by itself."""

    def continue_as_new_writer(self) -> None:
        """Send nothing more: a forked child has none of the worker's connections."""
        self._lock = threading.RLock()
        self._worker = None
