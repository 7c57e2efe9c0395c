"""Generators, coroutines and async generators: processes that run in steps.

Each step makes the process the innermost one and then gives the place back: a context that stayed
set across a ``yield`` would leak to whoever takes the next value. The time of such a process runs
from its first step to its last; what it really ran for is told in the notes when it is less.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from asset_provenance.process import ActiveProcess, Outcome, outcome
from asset_provenance.recorder import enter, innermost, leave
from asset_provenance.records import ProcessStatus

__all__ = ["in_steps"]

_CLOSED = Outcome(ProcessStatus.COMPLETED, note="Closed before it had given everything.")
_ABANDONED = Outcome(ProcessStatus.INTERRUPTED, note="Closed before it had ended.")

_SMALLEST_DIFFERENCE = 0.01
"""Seconds by which active time must be shorter than the whole to be worth telling."""


class Execution(Protocol):
    """A call that is being recorded."""

    process: ActiveProcess

    def gave(self, value: Any) -> None: ...

    def end(self, how: Outcome, *, at: float | None = None) -> None: ...


class _Steps:
    """The process of one generator or coroutine.

    Parameters
    ----------
    begin
        Starts it, given the process that is innermost at the first step.
    """

    def __init__(self, begin: Callable[[ActiveProcess], Execution]) -> None:
        self._begin = begin
        self._execution: Execution | None = None
        self._active = 0.0
        self._first = self._last = 0.0

    def gave(self, value: Any) -> Any:
        """Take note of a value that goes out to the caller, and give it on."""
        if self._execution is not None:
            self._execution.gave(value)
        return value

    def __call__(self, advance: Callable[..., Any], *args: Any) -> Any:
        """Run one step inside the process; the first one starts it."""
        execution = self._execution
        if execution is None:
            parent = innermost()
            if parent is None:  # made inside an asset, used after it was closed
                return advance(*args)
            execution = self._execution = self._begin(parent)
            self._first = time.monotonic()
        token = enter(execution.process)
        begin = time.monotonic()
        try:
            return advance(*args)
        finally:
            self._last = time.monotonic()
            self._active += self._last - begin
            leave(token)

    @contextmanager
    def ending(self, closed: Outcome) -> Iterator[None]:
        """End the process with the code inside; ``closed`` is how it ends when it is closed."""
        try:
            yield
        except GeneratorExit:
            self._end(closed)
            raise
        except BaseException as error:
            self._end(outcome(error))
            raise
        else:
            self._end(outcome(None))

    def _end(self, how: Outcome) -> None:
        if self._execution is None:
            return
        whole = self._last - self._first
        if whole - self._active > max(_SMALLEST_DIFFERENCE, whole / 10):
            active = f"Active for {self._active:.3f} s of {whole:.3f} s."
            how = Outcome(how.status, how.error, f"{how.note} {active}" if how.note else active)
        self._execution.end(how, at=self._last)


def _delegate(steps: _Steps, inner: Any, *, gives: bool = False) -> Generator[Any, Any, Any]:
    """Run an iterator as ``yield from`` does, each step inside the process."""
    advance, argument = inner.send, None
    while True:
        try:
            value = steps(advance, argument)
        except StopIteration as stop:
            return stop.value
        try:
            # What a coroutine yields is between it and its loop.
            argument = yield steps.gave(value) if gives else value
        except GeneratorExit:
            steps(inner.close)
            raise
        except BaseException as error:  # noqa: BLE001 - whatever is thrown in is for the code inside
            advance, argument = inner.throw, error
        else:
            advance = inner.send


class _Awaiting:
    """Awaits something, each step inside the process."""

    def __init__(self, steps: _Steps, awaitable: Any) -> None:
        self._steps, self._awaitable = steps, awaitable

    def __await__(self) -> Generator[Any, Any, Any]:
        return _delegate(self._steps, self._awaitable.__await__())


def _generator(steps: _Steps, inner: Any) -> Generator[Any, Any, Any]:
    with steps.ending(_CLOSED):
        return steps.gave((yield from _delegate(steps, inner, gives=True)))


async def _coroutine(steps: _Steps, call: Callable[[], Any]) -> Any:
    with steps.ending(_ABANDONED):
        return steps.gave(await _Awaiting(steps, call()))


async def _async_generator(steps: _Steps, inner: Any) -> AsyncGenerator[Any, Any]:
    advance, argument = inner.asend, None
    with steps.ending(_CLOSED):
        while True:
            try:
                value = await _Awaiting(steps, advance(argument))
            except StopAsyncIteration:
                return
            try:
                argument = yield steps.gave(value)
            except GeneratorExit:
                await _Awaiting(steps, inner.aclose())
                raise
            except BaseException as error:  # noqa: BLE001 - as above
                advance, argument = inner.athrow, error
            else:
                advance = inner.asend


def in_steps(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """Give what runs calls of a function in steps; None for a function that runs at once.

    Returns
    -------
    callable or None
        Takes ``begin``, which starts the process inside the one that is innermost at the first
        step, and ``call``, which makes what the function returns. Gives an object of the same
        kind: a generator, coroutine or async generator.
    """
    if inspect.isgeneratorfunction(function):
        return lambda begin, call: _named(_generator(_Steps(begin), call()), function)
    if inspect.iscoroutinefunction(function):
        # Made inside, so that one that is never awaited warns once, and under its own name.
        return lambda begin, call: _named(_coroutine(_Steps(begin), call), function)
    if inspect.isasyncgenfunction(function):
        return lambda begin, call: _named(_async_generator(_Steps(begin), call()), function)
    return None


def _named(made: Any, function: Callable[..., Any]) -> Any:
    made.__name__ = getattr(function, "__name__", made.__name__)
    made.__qualname__ = getattr(function, "__qualname__", made.__name__)
    return made
