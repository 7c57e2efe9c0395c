"""A thread that looks at something now and then, and is never alive at a fork.

A thread of ours that is alive at a fork makes Python 3.12 and newer warn, and could hold a lock
that the child then waits for. So all are stopped before a fork. They go on as soon as the function
that forked has returned: ``os.fork`` and its like are replaced while a thread of ours runs. From
within the hooks that Python runs after a fork they must not be started, since Python 3.13 counts
the threads after those. A fork of which neither knows (by a function of C) leaves them standing
until the next one, or until :func:`resume_all`.
"""

from __future__ import annotations

import contextvars
import functools
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from asset_provenance.capture.files import unobserved
from asset_provenance.patching import Patches

__all__ = ["Pulse", "resume_all"]

_log = logging.getLogger("asset_provenance")

_PATIENCE = 1.0
"""So many seconds a fork waits for a look to end; a driver may never answer."""


class _Running:
    """The pulses of this program, and what is replaced for them."""

    lock = threading.RLock()
    pulses: tuple[Pulse, ...] = ()
    patches: Patches | None = None


class Pulse:
    """Does something again and again on a thread of its own, forks excepted.

    Parameters
    ----------
    beat
        Gives the seconds until it is wanted again, or None when it is not. If it raises, it is
        not called again.
    """

    def __init__(self, beat: Callable[[], float | None]) -> None:
        self._beat = beat
        self._due = 0.0
        self._over = self._is_stuck = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; called again, it does nothing."""
        with _Running.lock:
            if self in _Running.pulses:
                return
            _Running.pulses += (self,)
            if _Running.patches is None:
                _Running.patches = _patched()
            self.resume()

    def stop(self) -> None:
        """End for good."""
        with _Running.lock:
            _Running.pulses = tuple(one for one in _Running.pulses if one is not self)
            if not _Running.pulses and _Running.patches is not None:
                _Running.patches.undo()
                _Running.patches = None
            self._over = True
        self.halt()

    def halt(self) -> None:
        """Have no thread, until it is resumed."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        self._stop.set()
        thread.join(0 if self._is_stuck else _PATIENCE)
        self._is_stuck = thread.is_alive()
        if not self._is_stuck:
            _await_end(thread.native_id)
            self._thread = None

    def resume(self) -> None:
        """Have a thread again, if it has none and is wanted."""
        with _Running.lock:
            if self._over:
                return
            self._stop.clear()  # one that is stuck goes on once it is answered
            if self._thread is not None and self._thread.is_alive():
                return
            thread = threading.Thread(target=self._run, name="asset-provenance", daemon=True)
            try:
                # It may outlive what the user's context holds, and must not keep it alive.
                contextvars.Context().run(thread.start)
            except RuntimeError:  # no more threads, or the program is ending
                _log.debug("no thread could be started", exc_info=True)
            else:
                self._thread = thread

    def _run(self) -> None:
        if hasattr(signal, "pthread_sigmask"):
            # A signal that the user's threads block and wait for must not end up here.
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        with unobserved():
            while not self._stop.wait(max(0.0, self._due - time.monotonic())):
                try:
                    pause = self._beat()
                except Exception:  # noqa: BLE001 - costs what it would have seen
                    _log.debug("looking at resources failed", exc_info=True)
                    pause = None
                self._is_stuck = False
                if pause is None or self._over:
                    self._over = True
                    return
                self._due = time.monotonic() + pause


def _await_end(thread: int | None) -> None:
    """Wait until the system has no such thread: in Python 3.12 it outlives its join a little."""
    place = f"/proc/self/task/{thread}"
    end = time.monotonic() + 0.1
    # Not time.sleep, which fails where the clock of a program is set by others (libfaketime).
    moment = threading.Event()
    while os.access(place, os.F_OK) and time.monotonic() < end:
        moment.wait(0.0001)


def resume_all() -> None:
    """Have every pulse go on that a fork has stopped."""
    for pulse in _Running.pulses:
        pulse.resume()


def _patched() -> Patches:
    patches = Patches()
    for owner, name in ((os, "fork"), (os, "forkpty"), (subprocess, "_fork_exec")):
        patches.wrap(owner, name, _resuming)
    return patches


def _resuming(original: Any) -> Any:
    @functools.wraps(original)
    def forking(*args: Any) -> Any:
        try:
            return original(*args)
        finally:
            if _Running.pulses:  # in the child there are none
                resume_all()

    return forking


def _before_fork() -> None:
    for pulse in _Running.pulses:
        pulse.halt()


def _after_fork_in_child() -> None:
    # The program that opened the asset looks at its children; none looks at itself.
    _Running.lock = threading.RLock()
    _Running.pulses = ()
    if _Running.patches is not None:
        _Running.patches.undo()
        _Running.patches = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
