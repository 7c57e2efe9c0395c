"""What a program did with files, read from the log that ``strace -ff -ttt -y`` keeps of it.

It knows nothing of how the package sees files: only what the kernel was asked to do, and when.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["TRACED", "Log", "Step", "mark", "read_log"]

_MARK = "/fidelity/"

TRACED = (
    *("open", "openat", "openat2", "creat", "chdir", "fchdir", "readlink", "readlinkat", "mmap"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "link", "linkat"),
    *("symlink", "symlinkat", "truncate", "ftruncate", "fallocate", "getdents64"),
    *("write", "pwrite64", "writev", "pwritev", "pwritev2", "copy_file_range", "sendfile"),
    *("splice", "execve"),
)
"""The system calls that a log must hold."""

_LINE = re.compile(r"(\d+\.\d+) (\w+)\((.*)\)\s+= (-?\d+)(?:<(.*)>)?", re.DOTALL)
_HERE = re.compile(r"AT_FDCWD<((?:[^>\\]|\\.)*)>")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_DESCRIPTOR = re.compile(r"^\d+<((?:[^>\\]|\\.)*)>$", re.DOTALL)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f"}


def mark(edge: str, step: str) -> None:
    """Make a system call that a log shows, and that changes nothing: there is no such path."""
    try:
        os.readlink(f"{_MARK}{edge}/{step}")
    except OSError:
        return


@dataclass
class Step:
    """What was done between the marks of one step.

    Parameters
    ----------
    read
        Files outside the results that were opened for reading.
    written
        Files in the results that were written, and were there when it ended.
    follows
        The earlier steps that had written what it read.
    """

    read: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    follows: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Call:
    time: float
    name: str
    arguments: list[str]
    result: str
    """The path of the descriptor that it gave, if any."""
    here: str
    """The working folder."""


class Log:
    """What the steps did, as their calls are taken one after the other.

    Parameters
    ----------
    data, results
        The folders that matter, without links.
    """

    def __init__(self, data: Path, results: Path) -> None:
        self._data, self._results = f"{data}/", f"{results}/"
        self._step: str | None = None
        self._folders: set[str] = set()
        self._writers: dict[str, list[str]] = {}
        """Who made what is in each file now; also of files that are in neither folder."""
        self.steps: dict[str, Step] = {}

    def take(self, call: _Call) -> None:
        """See what one call has done."""
        handle = getattr(self, f"_{call.name}", None)
        if handle is not None:
            handle(call)

    # -- marks ------------------------------------------------------------------------------------

    def _readlink(self, call: _Call) -> None:
        path = _path(call)
        if not path.startswith(_MARK):
            return
        edge, name = path.removeprefix(_MARK).split("/")
        if edge == "begin":
            self._step = name
            self.steps[name] = Step()
        else:
            self._step = None

    _readlinkat = _readlink

    # -- opening ----------------------------------------------------------------------------------

    def _openat(self, call: _Call) -> None:
        flags, path = set(re.split(r"[|,\s]+", ",".join(call.arguments[1:]))), call.result
        if flags & {"O_DIRECTORY", "O_PATH", "O_TMPFILE"} or Path(path).is_dir():
            return
        updates = bool(flags & {"O_RDWR", "O_WRONLY"})
        is_new = "O_CREAT" in flags and path not in self._writers and self._is_ours(path)
        if "O_WRONLY" not in flags and "O_TRUNC" not in flags and not is_new:
            self._reads(path)
            # Who reads through a link also depends on who made it.
            given = _path(call)
            if given != path:
                self._reads_if_made(given)
        if updates and (is_new or "O_TRUNC" in flags):
            self._writes(path, replaces=True)

    _open = _openat2 = _openat

    def _creat(self, call: _Call) -> None:
        self._writes(call.result, replaces=True)

    # -- writing ----------------------------------------------------------------------------------

    def _write(self, call: _Call) -> None:
        self._writes(_of_descriptor(call.arguments[0]))

    _pwrite64 = _writev = _pwritev = _pwritev2 = _ftruncate = _fallocate = _sendfile = _write

    def _copy_file_range(self, call: _Call) -> None:
        self._writes(_of_descriptor(call.arguments[2]))

    _splice = _copy_file_range

    def _mmap(self, call: _Call) -> None:
        if "PROT_WRITE" in call.arguments[2] and "MAP_SHARED" in call.arguments[3]:
            self._writes(_of_descriptor(call.arguments[4]))

    def _truncate(self, call: _Call) -> None:
        self._writes(_path(call))

    # -- names ------------------------------------------------------------------------------------

    def _rename(self, call: _Call) -> None:
        source, target = _paths(call)
        moved = [path for path in self._writers if path == source or path.startswith(f"{source}/")]
        if not moved and self._is_ours(target):
            self._writes(target, replaces=True)
        for old in moved:
            self._reads(old)
            writers = self._writers[old]
            self._gone(old)
            new = target + old[len(source) :]
            self._writes(new, replaces=True)
            before = [one for one in writers if one not in self._writers.get(new, ())]
            self._writers[new] = [*before, *self._writers.get(new, ())]

    _renameat = _renameat2 = _rename

    def _link(self, call: _Call) -> None:
        # One more name for what somebody made, as a rename gives it another.
        source, target = _paths(call)
        self._reads_if_made(source)
        writers = self._writers.get(source, [])
        self._writes(target, replaces=True)
        after = self._writers.get(target, [])
        self._writers[target] = [*(one for one in writers if one not in after), *after]

    def _reads_if_made(self, path: str) -> None:
        if path in self._writers:
            self._reads(path)

    _linkat = _link

    def _symlink(self, call: _Call) -> None:
        # The first text is what the link says, and no path of this call.
        path = _TEXT.findall(", ".join(call.arguments))[-1]
        self._writes(_full(call, path), replaces=True)

    _symlinkat = _symlink

    def _unlink(self, call: _Call) -> None:
        self._gone(_path(call))

    _unlinkat = _unlink

    # -- what it means ----------------------------------------------------------------------------

    def _is_ours(self, path: str) -> bool:
        """Say whether nothing was there before the program began."""
        return path.startswith(self._results)

    def _reads(self, path: str) -> None:
        step = self.steps.get(self._step or "")
        if step is None:
            return
        if self._is_ours(path):
            step.follows.update(one for one in self._writers.get(path, ()) if one != self._step)
        else:
            step.read.add(path)

    def _writes(self, path: str, *, replaces: bool = False) -> None:
        if self._step is None or not path.startswith("/"):
            return
        before = [] if replaces else self._writers.get(path, [])
        self._writers[path] = [*(one for one in before if one != self._step), self._step]
        if self._is_ours(path):
            self.steps[self._step].written.add(path)

    def _gone(self, path: str) -> None:
        self._writers.pop(path, None)
        if self._step is not None:
            self.steps[self._step].written.discard(path)


def read_log(prefix: Path, data: Path, results: Path, here: Path) -> dict[str, Step]:
    """Read the log of a program, thread by thread, in the order in which things happened.

    Parameters
    ----------
    prefix
        As strace was given it with ``-o``.
    data, results
        The folders that matter, without links.
    here
        Where the program was started.
    """
    calls = [
        call
        for path in prefix.parent.glob(f"{prefix.name}.*")
        for call in _calls(path.read_text("latin-1"), str(here))
    ]
    log = Log(data, results)
    for call in sorted(calls, key=lambda call: call.time):
        log.take(call)
    for step in log.steps.values():
        step.written = {path for path in step.written if not _is_folder(Path(path))}
    return log.steps


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _calls(text: str, here: str) -> Iterator[_Call]:
    """Give the calls of one thread that did not fail; of reading a link, those that did."""
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        time, name, inside, result, path = found.groups()
        place = _HERE.search(inside)
        if place is not None:
            here = _plain(place[1])
        if int(result) < 0 and not name.startswith("readlink"):
            continue
        call = _Call(float(time), name, _arguments(inside), _plain(path or ""), here)
        if name == "chdir":
            here = _path(call)
        elif name == "fchdir":
            here = _of_descriptor(call.arguments[0])
        yield call


def _arguments(inside: str) -> list[str]:
    """Take the arguments apart, at the commas that are in no text and no bracket."""
    parts, start, level, quoted, at = [], 0, 0, False, 0
    while at < len(inside):
        char = inside[at]
        if char == "\\":
            at += 1
        elif char == '"':
            quoted = not quoted
        elif not quoted and char in "[{<(":
            level += 1
        elif not quoted and char in "]}>)":
            level -= 1
        elif char == "," and not quoted and not level:
            parts.append(inside[start:at])
            start = at + 2
        at += 1
    return [*parts, inside[start:]]


def _paths(call: _Call) -> list[str]:
    """Give the paths of a call, each after the folder that it is relative to, if it says one."""
    found, base = [], call.here
    for argument in call.arguments:
        text = _TEXT.match(argument)
        if text is not None:
            found.append(
                os.path.normpath(f"{base}/{_plain(text[1])}")
                if text[1][:1] != "/"
                else os.path.normpath(_plain(text[1]))
            )
            base = call.here
        elif argument.startswith("AT_FDCWD"):
            base = call.here
        elif "<" in argument:
            base = _of_descriptor(argument)
    return [_without_links(path) for path in found]


def _path(call: _Call) -> str:
    return _paths(call)[0]


def _full(call: _Call, text: str) -> str:
    path = _plain(text)
    base = call.here
    for argument in call.arguments[1:]:
        base = _of_descriptor(argument) or base
    return _without_links(os.path.normpath(path if path.startswith("/") else f"{base}/{path}"))


def _without_links(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{os.path.realpath(folder)}/{name}" if folder else path


def _of_descriptor(argument: str) -> str:
    found = _DESCRIPTOR.match(argument)
    return _plain(found[1]) if found else ""


def _plain(text: str) -> str:
    """Give a text as it was, without the escapes that the log writes it with."""

    def letter(found: re.Match[bytes]) -> bytes:
        escaped = found[1]
        return bytes([int(escaped, 8)]) if escaped.isdigit() else _LETTERS.get(escaped, escaped)

    return os.fsdecode(_ESCAPE.sub(letter, text.encode("latin-1")))
