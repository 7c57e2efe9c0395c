"""A program that runs in the place of this one: its files, its signals and its terminal are ours.

Signals are taken one by one while it runs, with what the system tells of who has sent them: a key
reaches the program without us, and what is sent to this program alone is passed on to it. When it
is stopped from the terminal this program stops as well, so that the shell takes over.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import NoReturn, Self

from asset_provenance.capture.proc import ancestors, is_stopped

__all__ = ["ENDINGS", "Foreground", "end_like", "name_of"]

_SHELL = "/bin/sh"

ENDINGS = frozenset(
    (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGTERM, signal.SIGXCPU)
)
"""Signals by which programs are ended from outside."""
_UNTAKEN = frozenset((signal.SIGKILL, signal.SIGSTOP))
_OF_THE_PROGRAM = _UNTAKEN | frozenset(
    getattr(signal, name)
    for name in (
        *("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT", "SIGSYS"),
        *("SIGPIPE", "SIGXFSZ", "SIGTTIN", "SIGTTOU"),
        *("SIGWINCH", "SIGURG"),  # nothing happens, and the terminal's is for all
    )
    if hasattr(signal, name)
)
"""Signals by which the system tells a program of what it does itself."""
_OF_THE_TERMINAL = frozenset((signal.SIGHUP, signal.SIGCONT))
"""When it is gone, the system tells the first program of a session alone; keys it tells all."""
_STOPS = frozenset((signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU))
_UNTOLD = frozenset((signal.SIGTSTP, signal.SIGCONT))
# Python has them ignored, which programs would inherit.
_AS_USUAL = (signal.SIGPIPE, signal.SIGXFSZ)
_A_MOMENT, _LONGEST_WAIT = 0.05, 1.0


def name_of(number: int) -> str:
    """Give the name of a signal; those of real time have none."""
    return next((one.name for one in signal.Signals if one == number), f"signal {number}")


def end_like(status: int) -> NoReturn:
    """End this program as the other one has ended.

    After a Ctrl-C, a shell ends its loop or script only if a signal has ended what it ran.

    Parameters
    ----------
    status
        As :meth:`Foreground.wait` gives it.
    """
    if status < 0:
        # A core of this program would take the place of that one's.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        if -status not in _UNTAKEN:
            signal.signal(-status, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-status})
        os.kill(os.getpid(), -status)
    # Nothing but its own end stops the first program of a container.
    sys.exit(128 - status if status < 0 else status)


class Foreground:
    """Starts a program, passes signals on to it, and waits for its end.

    A context manager: while it is entered, no signal does anything to this program.

    Parameters
    ----------
    tell
        Is told the name of each signal that came, once.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._told: set[int] = set()
        self._process_id = 0
        self._mask: set[int] = set()
        self._taken: set[int] = set()

    def __enter__(self) -> Self:
        """Take the signals from here on."""
        if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:  # its end would not be told
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._taken = {
            number
            for number in signal.valid_signals() - _OF_THE_PROGRAM
            if signal.getsignal(number) != signal.SIG_IGN
        } | {signal.SIGCHLD}
        self._mask = set(signal.pthread_sigmask(signal.SIG_BLOCK, self._taken))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let signals be as they were; those that came for the program do nothing any more."""
        while (info := signal.sigtimedwait(self._taken, 0)) is not None:
            self._told_of(info.si_signo)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def start(self, path: str, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Start the program, with all files that this one was given.

        Returns
        -------
        int
            Its number.

        Raises
        ------
        OSError
            If the system cannot run it.
        """
        try:
            self._process_id = self._spawn(path, command, environment)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            # A script without a first line that says what runs it: as shells do.
            script = [_SHELL, path, *command[1:]]
            self._process_id = self._spawn(_SHELL, script, environment)
        return self._process_id

    def _spawn(self, path: str, command: Sequence[str], environment: Mapping[str, str]) -> int:
        return os.posix_spawn(
            path, list(command), environment, setsigmask=self._mask, setsigdef=_AS_USUAL
        )

    def wait(self) -> int:
        """Wait for its end; give its exit status, or the number of the signal made negative."""
        while True:
            found = os.waitid(os.P_PID, self._process_id, os.WEXITED | os.WSTOPPED | os.WNOHANG)
            if found is None:
                # Its end may be told to a thread of somebody's, such as a monitor of all Python.
                info = signal.sigtimedwait(self._taken, _LONGEST_WAIT)
                if info is not None:
                    self._pass_on(info)
            elif found.si_code == os.CLD_STOPPED:
                if found.si_status in _STOPS:
                    self._stop_too(found.si_status)
            elif found.si_code == os.CLD_EXITED:
                return found.si_status
            else:
                return -found.si_status

    def _pass_on(self, info: signal.struct_siginfo) -> None:
        number = info.si_signo
        if number == signal.SIGCHLD:
            return
        self._told_of(number)
        is_sent = info.si_code <= 0 or number in _OF_THE_TERMINAL  # not by the system, to us
        # What the program sends to all of its group, itself among them (kill 0).
        is_its_own = info.si_pid == self._process_id or self._process_id in ancestors(info.si_pid)
        if is_sent and not is_its_own:
            os.kill(self._process_id, number)

    def _told_of(self, number: int) -> None:
        if number not in self._told and number not in _UNTOLD and number != signal.SIGCHLD:
            self._told.add(number)
            self._tell(name_of(number))

    def _stop_too(self, number: int) -> None:
        # It may be told late of a stop that is over: both were told to go on.
        threading.Event().wait(_A_MOMENT)
        if not is_stopped(self._process_id):
            return
        while signal.sigtimedwait({number}, 0) is not None:
            pass  # the terminal's own, which would stop this program once more
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_BLOCK, {number} & self._taken)
        os.kill(self._process_id, signal.SIGCONT)
