"""The bottom row of a terminal, kept for a line of ours while all else scrolls above it.

The program, its threads, workers and children write to the terminal as they would without us:
nothing of what they write passes through us, and no stream of theirs is replaced. The terminal
scrolls what is above its bottom row only, and where the cursor was it is again after each of our
writes. What must not stay when the program is killed is put right by a shell that waits for that.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

__all__ = ["BottomRow"]

_FEWEST_ROWS, _FEWEST_COLUMNS = 3, 10

_SAVE, _RESTORE = "\x1b7", "\x1b8"
_WHOLE_SCREEN = "\x1b[r"
"""All rows scroll. It moves the cursor, as do the two below."""
_ALL_BUT_BOTTOM = "\x1b[1;{}r"
_CLEAR_BOTTOM = "\x1b[999;1H\x1b[2K"
_OFF_BOTTOM = "\x1bD\x1b[A"
"""Down one row and up again: where the cursor is in the last one, everything scrolls up."""
_RELEASE = f"{_SAVE}{_WHOLE_SCREEN}{_CLEAR_BOTTOM}{_RESTORE}"

_ARRANGE_AGAIN = 5.0
"""Seconds after which the rows are arranged again: a program in between may have changed them."""

# It leaves the program that starts it, which may wait for all children of its own.
_GUARD = ["/bin/sh", "-c", 'exec 3<&0; { read -r _ <&3 || printf %s "$1" >&2; } &', "sh", _RELEASE]


class BottomRow:
    """The bottom row of the terminal that the standard error is.

    Parameters
    ----------
    descriptor
        The terminal; it is closed with this.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size: os.terminal_size | None = None
        self._arranged = 0.0
        self._guard: int | None = None

    @classmethod
    def find(cls, stream: TextIO | None) -> BottomRow | None:
        """Give the row, if the stream is a terminal that knows how to keep one."""
        if stream is None or sys.platform == "win32":
            return None
        if not stream.isatty() or os.environ.get("TERM", "") in ("", "dumb", "unknown"):
            return None
        # Opened anew: under the number of the stream may lie a file of the user's, later; and
        # what children inherit does not hold our lock.
        return cls(os.open(os.ttyname(stream.fileno()), os.O_WRONLY | os.O_NOCTTY))

    def show(self, text: Callable[[int], bytes]) -> None:
        """Show a text; where it would be in somebody's way, do not.

        Parameters
        ----------
        text
            Gives it for a number of columns, as the terminal takes it.

        Raises
        ------
        OSError
            If the terminal is gone.
        """
        size = os.get_terminal_size(self._descriptor)
        is_large = size.lines >= _FEWEST_ROWS and size.columns >= _FEWEST_COLUMNS
        if not (is_large and self._is_foreground()):
            self.release()
        elif self._takes_more() and (self._size is not None or self._hold(True)):
            self._write(f"{self._arrangement(size)}{_SAVE}{_CLEAR_BOTTOM}", text(size.columns))

    def release(self) -> None:
        """Empty the row and let it scroll with the others."""
        if self._size is not None:
            self._size = None
            self._write(_RELEASE)
            self._leave_guard()
            self._hold(False)

    def close(self) -> None:
        """Release the row, and need the terminal no more."""
        try:
            with suppress(OSError):
                self.release()
        finally:
            self.forget()

    def forget(self) -> None:
        """Need the terminal no more, and leave it as it is: to whoever has it, or to the guard."""
        descriptors, self._descriptor, self._guard = (self._descriptor, self._guard), -1, None
        for descriptor in descriptors:
            with suppress(OSError):
                if descriptor is not None:
                    os.close(descriptor)

    def _arrangement(self, size: os.terminal_size) -> str:
        """Give what makes the terminal keep the row, if it is not known to."""
        now = time.monotonic()
        if size == self._size and now - self._arranged < _ARRANGE_AGAIN:
            return ""
        if self._size is None:
            self._start_guard()
        self._size, self._arranged = size, now
        above = _ALL_BUT_BOTTOM.format(size.lines - 1)
        return f"{_SAVE}{_WHOLE_SCREEN}{_RESTORE}{_OFF_BOTTOM}{_SAVE}{above}{_RESTORE}"

    def _is_foreground(self) -> bool:
        """Say whether the terminal is this program's now, and not the shell's or another job's."""
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError:  # it is not the one that this program is controlled from
            return True

    def _hold(self, wanted: bool) -> bool:
        """Take the row or give it back; say whether it is nobody else's.

        It may be a program's that has started this one.
        """
        import fcntl  # noqa: PLC0415 - not on Windows

        how = fcntl.LOCK_EX | fcntl.LOCK_NB if wanted else fcntl.LOCK_UN
        try:
            fcntl.flock(self._descriptor, how)
        except BlockingIOError:
            return False
        except OSError:  # this system locks no terminals
            return True
        return True

    def _takes_more(self) -> bool:
        """Say whether a write would return at once: not where output is stopped (Ctrl-S)."""
        return bool(select.select([], [self._descriptor], [], 0)[1])

    def _write(self, before: str, text: bytes | None = None) -> None:
        after = b"" if text is None else text + _RESTORE.encode()
        # In one piece, so that nothing of what others write comes in between.
        os.write(self._descriptor, before.encode() + after)

    def _start_guard(self) -> None:
        with suppress(OSError):
            waits, self._guard = os.pipe()
            try:
                subprocess.Popen(
                    _GUARD,
                    stdin=waits,
                    stdout=subprocess.DEVNULL,
                    stderr=self._descriptor,
                    start_new_session=True,  # Ctrl-C is for the user's program
                ).wait()
            finally:
                os.close(waits)

    def _leave_guard(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            with suppress(OSError):
                os.write(guard, b"\n")
            os.close(guard)
