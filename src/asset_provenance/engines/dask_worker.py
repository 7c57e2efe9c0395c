"""On a Dask worker: records the tracked calls of the tasks of an asset, and sends them home.

A task runs inside a process of the client, which stands here for no more than its id. What is
recorded goes out as entries, in messages of Dask's own event channel: soon after a call starts, so
that the loss of a worker can be told, and when the task ends. That message leaves before the word
that the task is done, so whoever has the result has had its records.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from asset_provenance import observing
from asset_provenance.capture.code import CodeIdentifier
from asset_provenance.capture.inputs import InputResolver
from asset_provenance.capture.platform import default_folders
from asset_provenance.capture.resources import Sampler
from asset_provenance.engines.dask_sender import Sender
from asset_provenance.engines.dask_tasks import annotating, key_text, result_id, task_facts
from asset_provenance.fileuse import FileUse, with_files
from asset_provenance.flows import Flows
from asset_provenance.process import ActiveProcess, Start
from asset_provenance.recorder import Recorder, context, enter, leave, open_recorders
from asset_provenance.records import JsonValue, ProcessRecord, to_json
from asset_provenance.settings import load_settings
from asset_provenance.tracking import is_tracked
from asset_provenance.treeanswers import with_tree_at_once

if TYPE_CHECKING:
    from asset_provenance.journal import Journal

__all__ = ["flush", "join", "leave_asset", "local_assets"]

_MOST_PLACES = 1000
_MISSING = object()
_STANDING = Start(name="task", process_type="Analysis", stage="Analysis")

_log = logging.getLogger("asset_provenance")

local_assets: dict[str, Callable[[str], ActiveProcess | None]] = {}
"""Assets whose own program runs workers on its threads: by run, what finds a process by its id."""

_joined: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()
"""By worker and run."""


def join(worker: Any, asset: Mapping[str, Any]) -> None:
    """Record, on a worker, the tasks of an asset.

    Parameters
    ----------
    worker
        The ``distributed.Worker``.
    asset
        What the client tells of it; see :func:`asset_provenance.engines.dask.track_client`.
    """
    runs = _joined.setdefault(worker, {})
    find = local_assets.get(asset["run"])
    runs[asset["run"]] = _Asset(worker, asset) if find is None else _OwnProgram(find)
    if len(runs) == 1:
        _watch(worker)
    _watch_clients()


def leave_asset(worker: Any, run: str) -> None:
    """Record nothing more of an asset's tasks."""
    runs = _joined.get(worker, {})
    asset = runs.pop(run, None)
    if asset is not None:
        asset.close()
    if not runs:
        _unwatch(worker)
        _joined.pop(worker, None)
    _watch_clients()


def flush(run: str, dask_worker: Any = None) -> dict[str, int] | None:
    """Send what is known; give how many messages each sender here has sent.

    Returns
    -------
    dict or None
        None where nothing is known of the asset.
    """
    asset = _joined.get(dask_worker, {}).get(run)
    if asset is None:
        # One that closes has sent what it had, and let go of it.
        return None if dask_worker.status.name in ("running", "paused") else {}
    return {asset.sender.writer: asset.sender.flush()} if isinstance(asset, _Asset) else {}


def _watch(worker: Any) -> None:
    """Have each task run inside the process that it belongs to."""
    original = worker.execute
    call_actor = worker.handlers["actor_execute"]

    @functools.wraps(original)
    async def execute(key: Any, **options: Any) -> Any:
        return await _inside(_begin_task(worker, key), original(key, **options))

    @functools.wraps(call_actor)
    async def actor_execute(actor: Any = None, **options: Any) -> Any:
        task = _begin_task(worker, actor, is_call_of_actor=True)
        return await _inside(task, call_actor(actor=actor, **options))

    worker.execute = execute
    worker.handlers["actor_execute"] = actor_execute


def _unwatch(worker: Any) -> None:
    if vars(worker).pop("execute", None) is not None:
        worker.handlers["actor_execute"] = worker.actor_execute


async def _inside(task: ActiveProcess | None, work: Awaitable[Any]) -> Any:
    """Wait for what Dask does for a task, inside the process that the task belongs to."""
    if task is None:
        return await work
    token = enter(task)  # its thread is given a copy of this context
    try:
        event = await work
    finally:
        leave(token)
    if isinstance(task, _Task):
        _guarded(task.done, getattr(event, "value", _MISSING))
    return event


def _begin_task(worker: Any, key: Any, *, is_call_of_actor: bool = False) -> ActiveProcess | None:
    def begin() -> ActiveProcess | None:
        state = worker.state.tasks[key]
        facts = task_facts(state.annotations)
        asset = _joined.get(worker, {}).get(str(facts.get("run")))
        if asset is None:
            return None
        if is_call_of_actor:
            # Each is a call of its own; the cluster runs none of them again.
            facts = {**facts, "submission": f"{facts['submission']}/{os.urandom(6).hex()}"}
        return cast("ActiveProcess", asset.begin(state, facts))

    return cast("ActiveProcess | None", _guarded(begin))


def _guarded(do: Callable[..., Any], *args: Any) -> Any:
    try:
        return do(*args)
    except Exception:  # noqa: BLE001 - whatever goes wrong costs the record, never the task
        _log.warning("something of a task could not be recorded", exc_info=True)
        return None


_unwatch_clients: list[Callable[[], None]] = []


def _watch_clients() -> None:
    """Let tasks that tasks submit belong to the process that submitted them."""
    if any(_joined.values()) and not _unwatch_clients:
        from distributed import Client  # noqa: PLC0415 - present wherever a worker runs

        clients: Any = Client
        original = clients._graph_to_futures

        @functools.wraps(original)
        def submit(self: Any, *args: Any, **kwargs: Any) -> Any:
            process = context.get()
            recorder = None if process is None else process._owner
            if process is None or not isinstance(recorder, _Recorder):
                return original(self, *args, **kwargs)
            # They may tell of themselves before this worker would tell of what they are in.
            recorder.sender.flush()
            with annotating(recorder.run, process._record.id, recorder.next_id()):
                return original(self, *args, **kwargs)

        clients._graph_to_futures = submit

        def undo() -> None:
            if clients._graph_to_futures is submit:
                clients._graph_to_futures = original

        _unwatch_clients.append(undo)
    elif not any(_joined.values()) and _unwatch_clients:
        _unwatch_clients.pop()()


class _OwnProgram:
    """The asset is open in this very program, and records by itself."""

    def __init__(self, find: Callable[[str], ActiveProcess | None]) -> None:
        self._find = find

    def begin(self, _state: Any, facts: Mapping[str, Any]) -> ActiveProcess | None:
        """Give the process that a task belongs to."""
        return self._find(facts["parent"])

    def close(self) -> None:
        """Do nothing."""


class _Asset:
    """An asset elsewhere, whose tasks run on this worker."""

    def __init__(self, worker: Any, asset: Mapping[str, Any]) -> None:
        self._worker = worker
        self.sender = Sender(worker, asset["topic"])
        self._recorder = _Recorder(self.sender, asset)
        self._sampler = Sampler()
        self._sampler.start()
        self._recorder.usage = self._sampler.slice
        open_recorders.append(self._recorder)
        observing.begin(self._recorder)

    def begin(self, state: Any, facts: Mapping[str, Any]) -> _Task:
        """Begin a task."""
        task = _Task(self._recorder, self.sender, state, facts)
        self.sender.expect()
        for needed in state.dependencies:
            value = self._worker.data.get(needed.key, _MISSING)
            if value is not _MISSING:
                task.is_given(key_text(needed.key), value)
        return task

    def close(self) -> None:
        """Send what is left."""
        observing.end(self._recorder)
        self._sampler.stop()
        if self._recorder in open_recorders:
            open_recorders.remove(self._recorder)
        self.sender.flush()


class _Task(ActiveProcess):
    """Stands, while a task runs, for the process of the client that it belongs to."""

    __slots__ = ("calls", "first", "given", "is_tracked", "key", "numbers",
                 "sender", "submission", "was")  # fmt: skip

    def __init__(
        self, recorder: _Recorder, sender: Sender, state: Any, facts: Mapping[str, Any]
    ) -> None:
        super().__init__(recorder, None, _STANDING)
        self._record = self.was = replace(self._record, id=str(facts["parent"]))
        self.sender = sender
        self.key = key_text(state.key)
        self.submission = str(facts["submission"])
        self.calls: dict[object, int] = {}
        self.numbers: dict[str, int] = {}
        self.given: dict[int, list[str]] = {}
        self.first: str | None = None
        spec = state.run_spec
        self.is_tracked = is_tracked(
            spec[0] if isinstance(spec, tuple) else getattr(spec, "func", None)
        )

    def is_given(self, key: str, value: Any) -> None:
        """Take note of another task's result that this one is given."""
        self.given.setdefault(id(value), []).append(result_id(key, 0))
        count = 1
        if isinstance(value, dict | list | tuple):
            count = min(1 + 4 * len(value), _MOST_PLACES)
        flows = cast("Recorder", self._owner).flows
        flows.tag(value, ((place, result_id(key, place)) for place in range(count)))

    def done(self, value: Any) -> None:
        """Tell what came of the task; the word that it is done goes out after this."""
        recorder = cast("_Recorder", self._owner)
        recorder.close_repeats(self)
        recorder.files.settle(self)
        now = with_files(self._record, self._files)
        if now != self.was:
            self.sender.put({"kind": "seen", "process": now.id, "record": to_json(now)})
        tags = [] if value is _MISSING else recorder.flows.tags(value)
        if value is not _MISSING and self.is_tracked and self.first and (not tags or tags[0][0]):
            tags.insert(0, (0, self.first))
        if tags:
            self.sender.put({"kind": "result", "task": self.key, "tags": tags})
        with suppress(Exception):  # it costs a fact
            self.sender.write_imported()
        self.sender.flush()


class _TaskFlows(Flows):
    """Knows besides what Dask itself has handed to a task, numbers and texts included."""

    def find(self, values: Iterable[Any]) -> tuple[str, ...]:
        values = tuple(values)
        found = super().find(values)
        task = context.get()
        if isinstance(task, _Task) and task.given:
            items = _items(values, _MOST_PLACES + 4 * len(task.given))
            given = [one for item in items for one in task.given.get(id(item), ())]
            found = tuple(dict.fromkeys((*found, *given)))
        return found


def _items(values: Iterable[Any], most: int, depth: int = 0) -> Iterator[Any]:
    """Give objects, and what plain containers that are not too large hold."""
    for value in values:
        yield value
        if depth < 3 and type(value) in (list, tuple, dict) and len(value) <= most:
            inside = value.values() if type(value) is dict else value
            yield from _items(tuple(inside), most, depth + 1)


def _task_of(process: ActiveProcess | None) -> _Task | None:
    while process is not None and process._parent is not None:
        process = process._parent
    return process if isinstance(process, _Task) else None


class _Recorder(Recorder):
    """Records the calls inside tasks; what no task of the asset does is nobody's."""

    def __init__(self, sender: Sender, asset: Mapping[str, Any]) -> None:
        own = load_settings({}, script_folder=None).text("data_root")
        told = asset["data_root"]
        is_here = os.path.isdir(told)  # noqa: PTH112
        data_root = Path(own or (told if is_here else default_folders().data_root)).absolute()
        output_dir = Path(asset["output_dir"])
        resolver = InputResolver(data_root, output_dir)
        for folder in asset["outside"]:
            resolver.know(Path(folder))
        super().__init__(
            output_dir=output_dir,
            data_root=data_root,
            resolver=resolver,
            identifier=CodeIdentifier(
                **asset["code"],
                settle_tree=functools.partial(with_tree_at_once, without=asset["code"]["without"]),
            ),
            journal=cast("Journal", sender),
            block=_STANDING,
            max_repeats=asset["max_repeats"],
        )
        self.run = asset["run"]
        self._asset = asset
        self.block = None  # type: ignore[assignment]
        self._open.clear()
        self.flows = _TaskFlows()
        self.sender = sender
        if not os.path.isdir(asset["run_folder"]):  # noqa: PTH112
            # A folder of the same name on another machine is not the asset's.
            self.files = FileUse(resolver, f"{os.devnull}/{self.run}")

    def begin(self, parent: ActiveProcess, start: Start, *, told: str = "") -> ActiveProcess:
        """Start a process inside a task."""
        process = ActiveProcess(self, parent, start)
        record = process._record
        task = _task_of(parent)
        self.sender.keep_patches(self.identifier.patches)
        with self.lock:
            self._open[record.id] = process
        if task is not None:
            number = task.numbers[record.name] = task.numbers.get(record.name, 0) + 1
            is_first = task.first is None
            is_whole = is_first and task.is_tracked
            if parent is task and is_first:
                task.first = record.id
            entry = {
                "kind": "start",
                "task": [task.key, task.submission, record.name, number],
                "monotonic": process._monotonic,
                "is_whole": is_whole,
                "record": self.sender.start_of(
                    replace(record, notes=(*record.notes, told)) if told else record
                ),
            }
            self.sender.put(entry)
        return process

    def _close(self, process: ActiveProcess, record: ProcessRecord) -> None:
        super()._close(process, record)
        self._records.clear()  # the client has them

    def token(self, process_id: str) -> dict[str, JsonValue]:
        """Give what other processes need that a task starts: theirs is the task's own parent.

        The ids of calls on workers mean nothing in the journal.
        """
        task = _task_of(context.get())
        names = ("run_folder", "folder", "output_dir")
        known = {name: self._asset[name] for name in names}
        process_id = self._asset["process"] if task is None else task._record.id
        return {**super().token(process_id), **known}

    def count_call(self, call: object) -> int:
        """Count a call; the client counts those of other tasks."""
        task = _task_of(context.get())
        if task is None:
            return 0
        with self.lock:
            before = task.calls.get(call, 0)
            task.calls[call] = before + 1
            return before
