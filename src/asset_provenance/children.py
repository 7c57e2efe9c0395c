"""Programs of our own that run beside the user's: Python again, with the same libraries.

What may hang, print, or take seconds to import is done in one of them: it can be killed, and no
thread of ours is alive when the user's program forks.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

__all__ = ["Program", "command", "environment"]

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {} import {} as run; run()"
_SHELL = "/bin/sh"
# A shell gives a program in the background no input unless told.
_DETACHED = [_SHELL, "-c", 'exec 3<&0; "$@" <&3 3<&- &', _SHELL]


def command(module: str, function: str) -> list[str]:
    """Give the command that calls a function of ours, without arguments, in a new Python.

    Parameters
    ----------
    module, function
        Where the function is, and its name.

    Raises
    ------
    OSError
        If there is no Python that could be started: a frozen program would be, again, in its place.
    """
    if getattr(sys, "frozen", False) or not sys.executable:
        raise OSError(errno.ENOEXEC, "this program has no Python of its own to start")
    code = _START.format(module, function)
    return [sys.executable, "-P", "-W", "ignore", "-c", code, json.dumps(_import_path())]


class Program:
    """A program of ours at work: it reads a request as JSON, and writes its answer.

    A user's program that waits for any child of its own must not meet one of ours, so it leaves us
    at once where there is a shell for that.

    Parameters
    ----------
    module, function
        What it calls.
    request
        What stands in its standard input.
    answer
        The file that its standard output goes to: neither side ever waits for the other to read.

    Raises
    ------
    OSError
        If it cannot be started.
    """

    def __init__(
        self, module: str, function: str, request: Mapping[str, Any], answer: IO[bytes]
    ) -> None:
        self._is_detached = os.path.exists(_SHELL)  # noqa: PTH110 - a plain question
        called = command(module, function)
        with tempfile.TemporaryFile() as question:
            question.write(json.dumps(request).encode())
            question.seek(0)
            self._process = subprocess.Popen(
                [*_DETACHED, *called] if self._is_detached else called,
                stdin=question,
                stdout=answer,
                stderr=subprocess.PIPE,  # nobody reads it: that it closes tells of the end
                env=environment(),
                start_new_session=True,  # Ctrl-C is for the user's program
            )
        if self._is_detached:
            self._process.wait()

    def wait(self, seconds: float) -> bool:
        """Wait for its end, for so long at most; say whether it has ended."""
        if self._process.stderr is None or self._process.stderr.closed:
            return True
        if not self._is_detached:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.0, seconds))
            return self._process.poll() is not None
        poll = select.poll()
        poll.register(self._process.stderr, select.POLLIN)
        until = time.monotonic() + seconds
        while events := poll.poll(max(0.0, until - time.monotonic()) * 1000):
            if events[0][1] & select.POLLHUP:
                return True
            os.read(self._process.stderr.fileno(), 65536)  # last words of a Python that failed
        return False

    def end(self) -> None:
        """End it if it has not ended."""
        if not self.wait(0):
            if self._is_detached:
                # The group is the program's own, and outlives the shell that has left it.
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
                self._process.wait()
        self.leave()

    def leave(self) -> None:
        """Let it go on by itself: nobody here will ask for its answer."""
        if self._process.stderr is not None:
            self._process.stderr.close()


def environment() -> dict[str, str]:
    """Give the environment for such a program."""
    return {
        key: value
        for key, value in os.environ.items()
        if key not in {"PYTHONPATH", "PYTHONINSPECT"}  # the path is given; the other would linger
    }


def _import_path() -> list[str]:
    """Give where the child imports from: as here, but the user's own folders come last.

    Otherwise a script or a file beside it, named like a module that the child imports, would run
    in the child.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    try:
        cwd = Path.cwd()
    except OSError:  # it is gone; nothing can be imported from it
        cwd = Path(os.sep)
    folders = [str(Path(cwd, entry)) for entry in sys.path]
    own = {str(cwd), str(Path(cwd, script).parent)} if script else {str(cwd)}
    return [*sorted(folders, key=own.__contains__), str(Path(__file__).parents[1])]
