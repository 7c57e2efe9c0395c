"""Other processes of the operating system: what they do belongs to the process that started it.

Workers of ``multiprocessing``, of ``concurrent.futures`` and of loky, which joblib uses, join the
open asset when they start, or with the first work that they are given. Work done by a pool belongs
to the process that handed it over, whichever the worker was started in.
"""

from __future__ import annotations

import copy
import functools
import logging
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import ModuleType
from typing import Any
from weakref import WeakSet

from asset_provenance import joining
from asset_provenance.patching import Patches
from asset_provenance.process import ActiveProcess
from asset_provenance.recorder import enter, innermost, leave, open_recorders, recorder_of

__all__ = ["look", "watch"]

_TOKEN = "_asset_provenance_join"  # noqa: S105 - the name of an attribute
_LOKY = ("joblib.externals.loky", "loky")

_log = logging.getLogger("asset_provenance")

_started: WeakSet[Any] = WeakSet()


def watch(patches: Patches) -> None:
    """Have workers join the open asset, until the patches are undone."""
    patches.wrap(os, "_exit", _flushing)
    patches.when_imported(
        "multiprocessing.process",
        lambda module: patches.wrap(module.BaseProcess, "start", _joining_start),
    )
    patches.when_imported("multiprocessing.pool", functools.partial(_watch_pools, patches))
    executors = ("concurrent.futures.process", *(f"{name}.process_executor" for name in _LOKY))
    for module in executors:
        patches.when_imported(
            module,
            lambda module: patches.wrap(module.ProcessPoolExecutor, "submit", _handing_submit),
        )
    ends = ("multiprocessing.popen_fork", "multiprocessing.popen_forkserver")
    for module in (*ends, *(f"{name}.backend.popen_loky_posix" for name in _LOKY)):
        patches.when_imported(
            module, lambda module: patches.wrap(module.Popen, "poll", _telling_poll)
        )
    for module in ("cloudpickle.cloudpickle", "joblib.externals.cloudpickle.cloudpickle"):
        patches.when_imported(
            module, lambda module: patches.wrap(module.Pickler, "_function_reduce", _reducing)
        )
    patches.when_imported(
        "asyncio.base_subprocess",
        lambda module: patches.wrap(
            module.BaseSubprocessTransport, "_process_exited", _telling_exited
        ),
    )
    patches.when_imported(
        "subprocess",
        lambda module: patches.wrap(module.Popen, "_handle_exitstatus", _telling_status),
    )


def _watch_pools(patches: Patches, module: ModuleType) -> None:
    threads = module.ThreadPool
    for name in ("apply_async", "_map_async", "imap", "imap_unordered"):
        make = _handing_apply if name == "apply_async" else _handing_map
        patches.wrap(module.Pool, name, functools.partial(make, threads))


def _reducing(reduce: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    @functools.wraps(reduce)
    def reduce_function(self: Any, obj: Any) -> Any:
        # It takes what stands for a function for the function, which would not be tracked there.
        by_value = getattr(type(obj), "_by_value", None)
        found = reduce(self, obj)
        if by_value is None or found is NotImplemented:
            return found
        try:
            return reduce(self, by_value(obj, sys.modules[type(self).__module__].dumps))
        except Exception:  # noqa: BLE001 - what cannot be sent costs the record, not the work
            _log.warning("%s cannot be recorded where it is sent", obj.__name__, exc_info=True)
            return found

    return reduce_function


def look() -> None:
    """See how workers ended that nobody has asked about yet."""
    for process in tuple(_started):
        with suppress(Exception):  # it may be closed, or another process's
            process.exitcode  # noqa: B018 - asking is what has it looked at


def _flushing(leave_at_once: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(leave_at_once)
    def _exit(*args: Any, **kwargs: Any) -> Any:
        joining.flush()
        return leave_at_once(*args, **kwargs)

    return _exit


class _Joining:
    """What has the process of the operating system join that unpickles it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __reduce__(self) -> tuple[Any, ...]:
        return joining.join_for_good, (self._text,)


def _joining_start(start: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @functools.wraps(start)
    def start_process(self: Any) -> Any:
        process = innermost()
        # A worker of Dask lives on after the asset, and is told of it with each task.
        target = getattr(vars(self).get("_target"), "__module__", None) or ""
        if process is None or target.startswith("distributed."):
            return start(self)
        # Past the class: a subclass may do anything when an attribute is set.
        with suppress(Exception):
            vars(self)[_TOKEN] = _Joining(joining.token(process))
        try:
            return start(self)
        finally:
            vars(self).pop(_TOKEN, None)
            with suppress(TypeError):
                _started.add(self)

    return start_process


def _telling_poll(poll: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(poll)
    def telling(self: Any, *args: Any, **kwargs: Any) -> Any:
        was_known = self.returncode is not None
        code = poll(self, *args, **kwargs)
        if code and not was_known:
            _tell_exit(self.pid, code)
        return code

    return telling


def _telling_status(handle: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handle)
    def telling(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = handle(self, *args, **kwargs)
        # Programs of all kinds end with a status that says something to their caller only.
        if self.returncode is not None and self.returncode < 0:
            _tell_exit(self.pid, self.returncode)
        return result

    return telling


def _telling_exited(exited: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(exited)
    def telling(self: Any, returncode: int) -> Any:
        if returncode < 0:  # as of programs that subprocess starts
            _tell_exit(self.get_pid(), returncode)
        return exited(self, returncode)

    return telling


def _tell_exit(process_id: int, code: int) -> None:
    with suppress(Exception):
        for recorder in tuple(open_recorders):
            recorder.journal.exited(process_id, code)


class _Task:
    """A function as it is handed to a worker: there it runs inside the process it belongs to."""

    def __init__(self, function: Callable[..., Any], text: str, program: int | None) -> None:
        self._function, self._token, self._program = function, text, program

    def __reduce__(self) -> tuple[Any, ...]:
        return _Task, (self._function, self._token, None)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        process = None if self._program == os.getpid() else joining.standing(self._token)
        if process is None:
            return self._function(*args, **kwargs)
        inside = enter(process)
        try:
            result = self._function(*args, **kwargs)
        finally:
            leave(inside)
            # A worker that idles is killed at any time, and may live longer than the asset.
            with suppress(Exception):
                recorder_of(process).flush()
        return joining.sent(result, process, self._token)


class _Handing:
    """Hands work over to other processes of the operating system."""

    def __init__(self, process: ActiveProcess) -> None:
        self._process = process
        self._text = joining.token(process)
        flows = recorder_of(process).flows
        self._knows_objects = bool(flows.marks or flows._held)

    def task(self, function: Callable[..., Any]) -> Any:
        """Give what is handed over in place of a function."""
        if self._knows_objects and type(function).__module__.startswith("joblib."):
            with suppress(Exception):
                function = self._batch(function)
        return _Task(function, self._text, os.getpid())

    def _batch(self, batch: Any) -> Any:
        """Give a batch of joblib's with its arguments as they are sent."""
        other = copy.copy(batch)
        if hasattr(batch, "func"):  # around the batch, in a pool
            other.func = self._batch(batch.func)
            return other
        other.items = [
            (
                function,
                tuple(map(self.value, args)),
                {name: self.value(value) for name, value in kwargs.items()},
            )
            for function, args, kwargs in batch.items
        ]
        return other

    def value(self, value: Any) -> Any:
        """Give what is sent in place of a value."""
        return joining.sent(value, self._process, self._text) if self._knows_objects else value

    def values(self, values: Iterable[Any]) -> Iterable[Any]:
        """Give what is sent in place of several values, of which some may yet have to be made."""
        if not self._knows_objects:
            return values
        if hasattr(values, "__len__"):
            return [self.value(value) for value in values]
        return map(self.value, values)


def _handing() -> _Handing | None:
    process = innermost()
    if process is None:
        return None
    try:
        return _Handing(process)
    except Exception:  # noqa: BLE001 - the work is the user's, and is to be done
        return None


def _handing_submit(submit: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(submit)
    def hand_over(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        handing = _handing() if args and callable(args[0]) else None
        if handing is None:
            return submit(self, *args, **kwargs)
        fn, *given = args
        named = {name: handing.value(value) for name, value in kwargs.items()}
        return submit(self, handing.task(fn), *map(handing.value, given), **named)

    return hand_over


def _handing_apply(threads: type, apply: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(apply)
    def hand_over(
        self: Any, func: Any, args: Any = (), kwds: Any = None, *rest: Any, **named: Any
    ) -> Any:
        given = {} if kwds is None else kwds
        handing = None if isinstance(self, threads) or not callable(func) else _handing()
        if handing is None:
            return apply(self, func, args, given, *rest, **named)
        if type(args) in (tuple, list):
            args = tuple(map(handing.value, args))
        if type(given) is dict:
            given = {name: handing.value(value) for name, value in given.items()}
        return apply(self, handing.task(func), args, given, *rest, **named)

    return hand_over


def _handing_map(threads: type, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def hand_over(self: Any, func: Any, iterable: Any, *rest: Any, **named: Any) -> Any:
        handing = None if isinstance(self, threads) or not callable(func) else _handing()
        if handing is None:
            return original(self, func, iterable, *rest, **named)
        return original(self, handing.task(func), handing.values(iterable), *rest, **named)

    return hand_over
