"""SIGTERM completes the record of the open runs, then takes the course it would have taken.

Schedulers and Code Ocean end a job with SIGTERM, which no ``with`` block sees.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

__all__ = ["forget", "watch"]


class Watched(Protocol):
    """A run that a signal may end."""

    def tell_signal(self, name: str) -> None:
        """Note that the signal has come; what it does is the user's handler's to say."""

    def terminate(self, name: str) -> None:
        """Complete the record: the signal ends the program."""


_watched: list[Watched] = []
_previous: Callable[[int, FrameType | None], Any] | int | None = None
_program = 0
"""The process of the operating system whose runs these are."""


def watch(run: Watched) -> None:
    """Have SIGTERM complete the record of a run.

    Only the main thread can set a handler, and where the signal is ignored or handled outside
    Python it is left alone.
    """
    global _previous, _program  # noqa: PLW0603 - a program has one handler
    if threading.current_thread() is not threading.main_thread():
        return
    if not _watched:
        present = signal.getsignal(signal.SIGTERM)
        if present is signal.SIG_IGN or present is None:
            return
        _previous = present
        signal.signal(signal.SIGTERM, _on_signal)
    _program = os.getpid()
    _watched.append(run)


def forget(run: Watched) -> None:
    """Let SIGTERM be as it was, once the last run has ended; a handler set since stays."""
    if run in _watched:
        _watched.remove(run)
        if not _watched:
            _restore()


def _restore() -> None:
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is _on_signal:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if _previous is None else _previous)


def _on_signal(number: int, frame: FrameType | None) -> Any:
    name = signal.Signals(number).name
    if os.getpid() != _program:
        _watched.clear()  # a worker that is ended before it has forgotten what is its parent's
    if callable(_previous):
        for run in _watched:
            run.tell_signal(name)
        return _previous(number, frame)
    for run in reversed(list(_watched)):
        run.terminate(name)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return None


class _Forking(threading.local):
    mask: set[int] | None = None


_forking = _Forking()


def _before_fork() -> None:
    # A child that gets the signal before it has forgotten what is its parent's would not end:
    # Python drops what came before a handler was taken away.
    if _watched:
        _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))


def _after_fork() -> None:
    mask, _forking.mask = _forking.mask, None
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _after_fork_in_child() -> None:
    # Pools end their workers with SIGTERM; the record is the parent's to complete.
    _restore()
    _watched.clear()
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child
    )
