"""Threads of this program: work done on one belongs to the process that handed it over.

A new thread starts with an empty context, and a thread of a pool with that of some task before, so
neither knows where its work comes from. Only our own variable is handed over: copying the whole
context would give the user's code values that it does not see without us.

Tasks need nothing of this: asyncio gives each a copy of the context, and hands what runs on other
threads (``to_thread``, ``run_in_executor``) to an executor.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from asset_provenance.recorder import enter, innermost, leave

if TYPE_CHECKING:
    from asset_provenance.patching import Patches
    from asset_provenance.process import ActiveProcess

__all__ = ["watch"]

_MISSING = object()


def watch(patches: Patches) -> None:
    """Hand over the innermost process wherever work goes to another thread.

    Parameters
    ----------
    patches
        What is replaced, and put back together with the rest.
    """
    patches.wrap(threading.Thread, "start", _handing_over_start)
    patches.when_imported("concurrent.futures.thread", functools.partial(_watch_executors, patches))
    patches.when_imported("multiprocessing.pool", functools.partial(_watch_pools, patches))


def _handing_over_start(start: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(start)
    def start_thread(self: threading.Thread) -> None:
        process = innermost()
        if process is None:
            return start(self)
        # Past the class: a subclass may do anything when an attribute is set.
        attributes = vars(self)
        own = attributes.get("run", _MISSING)
        attributes["run"] = _first_run(self, process, own)
        try:
            return start(self)
        except BaseException:
            _put_back(self, own)  # it was started before, or no thread could be
            raise

    return start_thread


def _first_run(thread: threading.Thread, process: ActiveProcess, own: object) -> Callable[[], None]:
    def run() -> None:
        # First of all, so that the thread is what it was: no cycle, and its own method again.
        _put_back(thread, own)
        token = enter(process)
        try:
            thread.run()
        finally:
            leave(token)

    return run


def _put_back(thread: threading.Thread, own: object) -> None:
    if own is _MISSING:
        vars(thread).pop("run", None)
    else:
        vars(thread)["run"] = own


def _watch_executors(patches: Patches, module: ModuleType) -> None:
    def make(submit: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(submit)
        def submit_inside(self: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            process = None if _has_own_interpreters(self) else innermost()
            if process is None or not callable(fn):
                return submit(self, fn, *args, **kwargs)
            return submit(self, _inside(process, fn), *args, **kwargs)

        return submit_inside

    patches.wrap(module.ThreadPoolExecutor, "submit", make)


def _has_own_interpreters(executor: object) -> bool:
    """Tell whether an executor's threads run other interpreters, which are sent pickles."""
    module = sys.modules.get("concurrent.futures.interpreter")
    return isinstance(executor, getattr(module, "InterpreterPoolExecutor", ()))


def _watch_pools(patches: Patches, module: ModuleType) -> None:
    # Its base, the pool of processes, has the same methods: those stay as they are.
    pool = module.ThreadPool
    patches.wrap(pool, "apply_async", _handing_over_one)
    patches.wrap(pool, "_map_async", _handing_over_many)
    for name in ("imap", "imap_unordered"):
        patches.wrap(pool, name, _handing_over_items)


def _handing_over_one(apply_async: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(apply_async)
    def apply_inside(
        self: Any,
        func: Callable[..., Any],
        args: Any = (),
        kwds: Any = {},  # noqa: B006 - as the original has it, which only reads it
        callback: Any = None,
        error_callback: Any = None,
    ) -> Any:
        process = innermost()
        if process is not None:
            func = _inside(process, func)
            callback, error_callback = _called_back(process, callback, error_callback)
        return apply_async(self, func, args, kwds, callback, error_callback)

    return apply_inside


def _handing_over_many(map_async: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(map_async)
    def map_inside(
        self: Any,
        func: Callable[..., Any],
        iterable: Any,
        mapper: Any,
        chunksize: Any = None,
        callback: Any = None,
        error_callback: Any = None,
    ) -> Any:
        process = innermost()
        if process is not None:
            func = _inside(process, func)
            callback, error_callback = _called_back(process, callback, error_callback)
        return map_async(self, func, iterable, mapper, chunksize, callback, error_callback)

    return map_inside


def _handing_over_items(imap: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(imap)
    def imap_inside(self: Any, func: Callable[..., Any], iterable: Any, chunksize: Any = 1) -> Any:
        process = innermost()
        if process is not None:
            func, iterable = _inside(process, func), _items(process, iterable)
        return imap(self, func, iterable, chunksize)

    return imap_inside


def _inside(process: ActiveProcess, function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function that runs inside a process, whatever thread it runs on."""

    def run(*args: Any, **kwargs: Any) -> Any:
        token = enter(process)
        try:
            return function(*args, **kwargs)
        finally:
            leave(token)

    return run


def _called_back(process: ActiveProcess, *functions: Any) -> list[Any]:
    """Give functions that a pool calls back on a thread of its own."""
    return [function and _inside(process, function) for function in functions]


def _items(process: ActiveProcess, iterable: Iterable[Any]) -> Iterator[Any]:
    """Give items that a pool takes one by one on a thread of its own."""
    advance = _inside(process, functools.partial(next, iter(iterable)))
    while True:
        try:
            item = advance()
        except StopIteration:
            return
        yield item
