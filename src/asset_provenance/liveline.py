"""What somebody sees of a run: a line while it goes on, if wanted, and what was written where.

A line that fails costs itself only.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from asset_provenance.bottomrow import BottomRow
from asset_provenance.capture.files import unobserved
from asset_provenance.capture.pulse import Pulse
from asset_provenance.process import redacted
from asset_provenance.records import printable

if TYPE_CHECKING:
    from rich.console import Console

    from asset_provenance.recorder import Recorder

__all__ = ["LiveLine", "tell_written"]

_PAUSE = 0.5
_SHORTEST_NAME = 8

_log = logging.getLogger("asset_provenance")


class _Shown:
    """The line of this program: of the assets that want one, the last opened has it."""

    lock = threading.RLock()  # a signal may end a run from within
    lines: tuple[LiveLine, ...] = ()
    row: BottomRow | None = None
    pulse: Pulse | None = None


class LiveLine:
    """What is shown of one opening of an asset.

    Parameters
    ----------
    wanted
        Whether it was asked for; None if nothing was said.
    recorder
        Knows what goes on.
    memory
        Gives the bytes that the program and its children have, or None.
    """

    def __init__(
        self, wanted: bool | None, recorder: Recorder, memory: Callable[[], int | None]
    ) -> None:
        self._wanted = wanted
        self._recorder = recorder
        self._memory = memory
        self._written: tuple[str, int, Path, bool] | None = None
        if wanted:
            try:
                with unobserved():  # the terminal and what draws on it are not the user's files
                    self._begin()
            except Exception:  # noqa: BLE001 - costs the line only
                _log.debug("nothing can be shown while it runs", exc_info=True)

    def wrote(self, name: str, files: int, folder: Path, *, is_stage: bool) -> None:
        """Take note of what was written, to be told at the end."""
        self._written = name, files, folder, is_stage

    def end(self) -> None:
        """Show nothing more, and tell what was written."""
        try:
            with _Shown.lock:
                _Shown.lines = tuple(line for line in _Shown.lines if line is not self)
                if not _Shown.lines:
                    _stop()
        except Exception:  # noqa: BLE001 - as above
            _log.debug("what is shown could not be taken away", exc_info=True)
        if self._written is not None:
            tell_written(self._wanted, *self._written)

    def _begin(self) -> None:
        with _Shown.lock:
            if _Shown.row is None:
                _Shown.row = BottomRow.find(sys.stderr)
                if _Shown.row is None:
                    return
                _Shown.pulse = Pulse(_beat(_Shown.row, sys.stderr))
            _Shown.lines += (self,)
            if _Shown.pulse is not None:
                _Shown.pulse.start()

    def _says(self) -> tuple[str, str]:
        """Give what goes on, and how long and in how much memory it does."""
        what, began = _current(self._recorder)
        parts = [str(timedelta(seconds=int(time.monotonic() - began)))]
        memory = self._memory()
        if memory is not None:
            parts.append(f"{memory / 1e9:.1f} GB")
        return what, " | ".join(parts)


def _stop() -> None:
    pulse, row, _Shown.pulse, _Shown.row = _Shown.pulse, _Shown.row, None, None
    try:
        if pulse is not None:
            pulse.stop()
    finally:
        if row is not None:
            row.close()


def _beat(row: BottomRow, stream: TextIO) -> Callable[[], float | None]:
    from rich.console import Console  # noqa: PLC0415 - only where a line is shown

    console = Console(file=stream, force_terminal=True, force_jupyter=False, highlight=False)

    def beat() -> float | None:
        lines = _Shown.lines
        if not lines:
            return None
        said = lines[-1]._says()
        row.show(lambda columns: _rendered(console, *said, columns))
        return _PAUSE

    return beat


def _rendered(console: Console, what: str, more: str, columns: int) -> bytes:
    """Give the line in one row, without the last column: behind it a terminal would wrap."""
    from rich.text import Text  # noqa: PLC0415 - as above

    encoding = console.encoding
    shown = printable(what).encode(encoding, "backslashreplace").decode(encoding)
    name = Text(shown, style="bold")
    name.truncate(max(_SHORTEST_NAME, columns - len(more) - 4), overflow="ellipsis")
    text = Text.assemble(name, f" | {more}")
    text.truncate(columns - 1, overflow="ellipsis")
    with console.capture() as captured:
        console.print(text, end="", soft_wrap=True)
    return captured.get().encode(encoding, "replace")


def _current(recorder: Recorder) -> tuple[str, float]:
    """Give the innermost process at work, how many others there are, and when it began."""
    running = recorder.running()
    block = recorder.block
    if not running:
        return f"{block._record.name}: writing the metadata", block._monotonic
    parents = {process._parent for process, repeat in running if repeat is None}
    found = [
        (repeat._last if repeat else process._monotonic, process, repeat)
        for process, repeat in running
        if process not in parents
    ]
    _, process, repeat = max(found, key=lambda one: one[0])
    others = sum(other is not process._parent and repeat is None for _, other, repeat in found)
    others -= repeat is None
    what = process._record.name
    if repeat is not None:
        what += f", {repeat.count:,} calls so far"
    if others:
        what += f" and {others} other{'s' if others > 1 else ''}"
    return what, process._monotonic


def tell_written(
    wanted: bool | None, name: str, files: int, folder: Path, is_stage: bool = False
) -> None:
    """Tell on the standard error what was written where, and how to look at it.

    Parameters
    ----------
    wanted
        Whether it was asked for; None tells it on terminals only.
    name, files, folder
        The asset, how many files were written, and where.
    is_stage
        Whether it is but a stage of a pipeline.
    """
    stream = sys.stderr
    with suppress(Exception):  # closed, or any object that the user has put there
        if stream is None or wanted is False or not (wanted or stream.isatty()):
            return
        place = _short(folder)
        said = f"wrote {files} file{'' if files == 1 else 's'} of {name} to {place}"
        then = (
            "the last stage takes them in, or: asset-provenance merge {} ... --output DIR"
            if is_stage
            else "see them with: asset-provenance show {}"
        ).format(shlex.quote(place))
        print(printable(redacted(f"{said}; {then}")), file=stream)


def _short(folder: Path) -> str:
    """Give a folder as one would type it here."""
    with suppress(OSError, ValueError):
        relative = os.fspath(folder.relative_to(Path.cwd()))
        if not relative.startswith("-"):
            return relative
    return os.fspath(folder)


def _after_fork_in_child() -> None:
    # The line is the parent's, and so is the terminal's state.
    _Shown.lock = threading.RLock()
    _Shown.lines = ()
    row, _Shown.row, _Shown.pulse = _Shown.row, None, None
    if row is not None:
        row.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
