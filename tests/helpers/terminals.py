"""A terminal of a test's own: what a program writes to it, apart from the row that is ours."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from typing import TextIO

__all__ = ["GIVEN_BACK", "Terminal"]

GIVEN_BACK = "\x1b7\x1b[r\x1b[999;1H\x1b[2K\x1b8"
"""All rows scroll, and the last one is empty."""

_SHOWN = re.compile(
    r"(?:\x1b7\x1b\[r\x1b8\x1bD\x1b\[A\x1b7\x1b\[1;(?P<above>\d+)r\x1b8)?"
    r"\x1b7\x1b\[999;1H\x1b\[2K(?P<line>[^\x1b]*(?:\x1b\[[\d;]*m[^\x1b]*)*)\x1b8"
)
_STYLE = re.compile(r"\x1b\[[\d;]*m")
_BECOME_ITS_OWN = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"


class Terminal:
    """A terminal that keeps all that is written to it."""

    def __init__(self, rows: int = 24, columns: int = 80) -> None:
        self._master, self._slave = os.openpty()
        self._written = b""
        self.resize(rows, columns)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @contextmanager
    def as_stderr(self, encoding: str = "utf-8") -> Iterator[TextIO]:
        """Have it for the standard error of this program; then all of it has been written."""
        stream = os.fdopen(
            os.dup(self._slave), "w", buffering=1, encoding=encoding, errors="backslashreplace"
        )
        with suppress(OSError), stream, redirect_stderr(stream):
            yield stream
        self.close()

    def start(self, program: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start a Python program that has this terminal, and it alone."""
        return subprocess.Popen(
            [sys.executable, "-c", _BECOME_ITS_OWN + program],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", **environ},
        )

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def wait_for(self, text: str) -> None:
        """Wait until a text was shown, in our row or above it."""
        end = time.monotonic() + 30
        while text not in self.all and text not in _STYLE.sub("", self.all):
            assert time.monotonic() < end, self.all
            time.sleep(0.02)

    def close(self) -> None:
        """Let the last program go; what was written can still be had."""
        if self._slave >= 0:
            os.close(self._slave)
            self._slave = -1
            self._reader.join(10)

    def hang_up(self) -> None:
        os.close(self._master)

    @property
    def all(self) -> str:
        """Every byte, as text."""
        return self._written.decode(errors="replace").replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        """What stood in our row, one after the other, without its style."""
        return [_STYLE.sub("", shown["line"]) for shown in _SHOWN.finditer(self.all)]

    @property
    def others(self) -> str:
        """What everybody else wrote."""
        return _SHOWN.sub("", self.all).replace(GIVEN_BACK, "")

    @property
    def is_clean(self) -> bool:
        """Whether the last that was done to our row was to give it back."""
        drawn = [shown.end() for shown in _SHOWN.finditer(self.all)]
        return not drawn or self.all.rfind(GIVEN_BACK) >= drawn[-1]

    def _read(self) -> None:
        while True:
            try:
                self._written += os.read(self._master, 65536)
            except OSError:  # nobody has it open any more
                return
