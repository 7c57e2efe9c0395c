"""Which files a program has open now, and those it started, as the system tells in ``/proc``.

A program that is gone, or that may not be looked at, has none open.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

from asset_provenance.capture.files import Access

__all__ = [
    "ancestors",
    "children_of_thread",
    "is_over",
    "is_stopped",
    "open_files",
    "program_name",
    "standard_input",
    "started_with",
    "tree",
]

_MOST_PROGRAMS = 256
_MOST_FILES = 1_024
"""Of one program, so many descriptors are looked at, and so many lines of its memory map."""
_MOST_MAPS = 1_000_000
_SYSTEM = ("/usr/", "/lib", "/bin/", "/sbin/", "/proc/", "/dev/", "/sys/", "/etc/")


def children_of_thread(process_id: int, thread: int | str) -> list[int]:
    """Give the programs that one thread has started and that have not been waited for."""
    try:
        with _reading(f"/proc/{process_id}/task/{thread}/children") as descriptor:
            return [int(text) for text in os.read(descriptor, 65_536).split()]
    except (OSError, ValueError):
        return []


def is_over(process_id: int) -> bool:
    """Say whether a program has ended, waited for or not."""
    try:
        return _state(process_id)[0] in {b"Z", b"X"}
    except (OSError, IndexError):
        return True


def is_stopped(process_id: int) -> bool:
    """Say whether a program stands still until it is told to go on."""
    try:
        return _state(process_id)[0] in {b"T", b"t"}
    except (OSError, IndexError):
        return False


def ancestors(process_id: int) -> Iterator[int]:
    """Give the program that started a program, and the one that started that, and so on."""
    for _ in range(_MOST_PROGRAMS):
        try:
            process_id = int(_state(process_id)[1])
        except (OSError, IndexError, ValueError):
            return
        yield process_id


def program_name(process_id: int) -> str:
    """Give the short name of a program; empty if it is gone."""
    try:
        with _reading(f"/proc/{process_id}/comm") as descriptor:
            return os.read(descriptor, 4_096).decode("utf-8", "backslashreplace").strip()
    except OSError:
        return ""


def standard_input() -> str | None:
    """Give the file that the standard input of this program comes from; None if it is none."""
    try:
        path = os.readlink("/proc/self/fd/0")  # noqa: PTH115
    except OSError:
        return None
    return path if os.path.isfile(path) else None  # noqa: PTH113


def started_with(text: bytes) -> list[int]:
    """Give the programs that have a text in the environment they were started with."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            try:
                with _reading(f"/proc/{name}/environ") as descriptor:
                    if text in _all_of(descriptor):
                        found.append(int(name))
            except OSError:
                continue
    return found


def _state(process_id: int) -> list[bytes]:
    """Give what the system says of a program: its state, who started it, and so on."""
    with _reading(f"/proc/{process_id}/stat") as descriptor:
        return os.read(descriptor, 4_096).rpartition(b")")[2].split()


def tree(roots: Iterable[int]) -> list[int]:
    """Give programs with all they have started, as far as these still belong to them."""
    found = dict.fromkeys(roots)
    waiting = list(found)
    while waiting and len(found) < _MOST_PROGRAMS:
        process_id = waiting.pop()
        try:
            threads = os.listdir(f"/proc/{process_id}/task")  # noqa: PTH208
        except OSError:
            continue
        for thread in threads:
            for child in children_of_thread(process_id, thread):
                if child not in found:
                    found[child] = None
                    waiting.append(child)
    return list(found)


def open_files(process_id: int) -> Iterator[tuple[str, int]]:
    """Give the files a program has open or mapped, with what it may do with them.

    Those of the system are left out, and so are folders and what has no name.
    """
    folder = f"/proc/{process_id}"
    try:
        descriptors = os.listdir(f"{folder}/fd")[:_MOST_FILES]  # noqa: PTH208
    except OSError:
        return
    for descriptor in descriptors:
        try:
            path = os.readlink(f"{folder}/fd/{descriptor}")  # noqa: PTH115
            if _is_of_interest(path) and _is_file(f"{folder}/fd/{descriptor}"):
                yield path, _access(_flags(f"{folder}/fdinfo/{descriptor}"))
        except (OSError, ValueError):
            continue  # closed meanwhile
    yield from _mapped(folder)


def _is_of_interest(path: str) -> bool:
    return path.startswith("/") and not path.startswith(_SYSTEM) and not path.endswith(" (deleted)")


def _is_file(path: str) -> bool:
    return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116


def _flags(path: str) -> int:
    with _reading(path) as descriptor:
        for line in os.read(descriptor, 4_096).splitlines():
            if line.startswith(b"flags:"):
                return int(line.split()[1], 8)
    raise ValueError(path)


def _access(flags: int) -> int:
    mode = flags & os.O_ACCMODE
    if mode == os.O_RDONLY:
        return Access.READ
    if mode == os.O_WRONLY:
        return Access.WRITE if flags & os.O_APPEND else Access.REPLACE
    return Access.READ | Access.WRITE


def _mapped(folder: str) -> Iterator[tuple[str, int]]:
    found: dict[str, int] = {}
    programs = set()
    try:
        with _reading(f"{folder}/maps") as descriptor:
            lines = _all_of(descriptor).splitlines()
    except OSError:
        return
    for line in lines:
        fields = line.split(None, 5)
        if len(fields) < 6 or not fields[5].startswith(b"/"):
            continue
        path = os.fsdecode(fields[5]).replace("\\012", "\n")
        if b"x" in fields[1]:
            programs.add(path)
        if _is_of_interest(path):
            is_shared = fields[1].endswith(b"s") and b"w" in fields[1]
            found[path] = found.get(path, 0) | (
                Access.READ | Access.WRITE if is_shared else Access.READ
            )
    # A library is mapped to be run, also in parts that are not code.
    yield from ((path, access) for path, access in found.items() if path not in programs)


def _all_of(descriptor: int) -> bytes:
    parts, size = [], 0
    while size < _MOST_MAPS and (part := os.read(descriptor, 65_536)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


class _reading:  # noqa: N801 - used like the function open
    """A descriptor of a file below ``/proc``, closed at the end."""

    def __init__(self, path: str) -> None:
        # Never the name that a user's code has replaced, nor one of ours that tells.
        self._descriptor = _open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


_open = os.open
