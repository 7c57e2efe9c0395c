"""The SHA-256 of every data file of an asset, in the form that ``sha256sum --check`` reads."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from asset_provenance.corefiles import (
    CORE_FILES,
    JOURNAL_FOLDER,
    MANIFEST,
    PROVENANCE_FOLDER,
    file_name,
)
from asset_provenance.progress import byte_progress
from asset_provenance.redaction import contains_secret, redact_text

__all__ = ["CHECKSUMS", "NOT_DATA", "NOT_OUTSIDE_DATA", "checksum_list", "data_files"]

CHECKSUMS = f"{PROVENANCE_FOLDER}/checksums-sha256.txt"
"""Where the list is kept in an asset."""
_METADATA = frozenset({*map(file_name, CORE_FILES), JOURNAL_FOLDER})
NOT_DATA = _METADATA | {PROVENANCE_FOLDER}
"""What stands beside the data in the folder of an asset."""
NOT_OUTSIDE_DATA = _METADATA | {MANIFEST, CHECKSUMS}
"""What is not the owners' in a folder of data from outside, who may have a ``provenance``, too."""

_BLOCK = 1 << 20
_FILES_A_TASK, _BYTES_A_TASK = 64, 16 << 20
"""What one task reads: a million small files are not a million tasks, large ones go apart."""
_MOST_THREADS = 8
_MOST_TOLD = 10

_log = logging.getLogger("asset_provenance")


def _parts(files: Sequence[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    part: list[tuple[str, int]] = []
    for file in files:
        part.append(file)
        if len(part) == _FILES_A_TASK or sum(size for _, size in part) >= _BYTES_A_TASK:
            yield part
            part = []
    if part:
        yield part


def checksum_list(
    folder: Path, *, exclude: Collection[str] = NOT_DATA, show_progress: bool = False
) -> bytes:
    """Give the SHA-256 of each data file, a line a file, sorted by name.

    ``sha256sum --check`` takes it when it is started in the folder. A file that vanishes, changes
    while it is read, cannot be read, is a link that leads out of the folder, or has what looks
    like a secret in its name, is left out and told in the log.

    Parameters
    ----------
    folder
        The folder of an asset.
    exclude
        What is no data: its path in the folder.
    show_progress
        Show on a terminal how far it is.

    Returns
    -------
    bytes
        The list; names stand in it with the bytes that they have on the disk.
    """
    files = sorted(data_files(folder, exclude=exclude), key=lambda found: os.fsencode(found[0]))
    parts = list(_parts(files))
    left_out: list[str] = []
    stopped = threading.Event()
    total = sum(size for _, size in files)
    with byte_progress("checksums", total, shown=show_progress) as advance:

        def digest_part(part: Sequence[tuple[str, int]]) -> bytes:
            lines = []
            for name, _ in part:
                try:
                    digest = _digest(folder, name, advance, stopped)
                    lines.append(_line(name, digest))
                except (OSError, ValueError) as error:
                    reason = getattr(error, "strerror", None) or str(error)
                    left_out.append(f"{repr(redact_text(name))[1:-1]} ({reason})")
            return b"".join(lines)

        workers = min(_MOST_THREADS, os.cpu_count() or 1)
        with ThreadPoolExecutor(workers, thread_name_prefix="checksums") as pool:
            try:
                result = b"".join(pool.map(digest_part, parts))
            except BaseException:  # Ctrl-C: a large file is not read to its end
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    if left_out:
        told = ", ".join(sorted(left_out)[:_MOST_TOLD])
        more = f" and {len(left_out) - _MOST_TOLD} more" if len(left_out) > _MOST_TOLD else ""
        _log.warning("the list of checksums lacks %s%s", told, more)
    return result


def data_files(folder: Path, *, exclude: Collection[str] = NOT_DATA) -> Iterator[tuple[str, int]]:
    """Give each file below a folder, relative to it in POSIX form, with its size.

    Whatever else stands among them, such as a link or a pipe, is given too; no link is followed.

    Parameters
    ----------
    folder
        The folder of an asset.
    exclude
        What is no data: its path in the folder.
    """
    waiting = [""]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(folder / place) as entries:
                for entry in entries:
                    name = f"{place}{entry.name}"
                    if name in exclude:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(f"{name}/")
                    else:
                        yield name, entry.stat(follow_symlinks=False).st_size
        except OSError as error:
            if not place:
                raise
            _log.warning("%s cannot be looked into: %s", folder / place, error.strerror)


def _digest(
    folder: Path, name: str, advance: Callable[[int], None], stopped: threading.Event
) -> str:
    path = folder / name
    if path.is_dir():
        raise ValueError("it is a link to a folder")
    if not path.is_file():
        raise ValueError("it is no file")
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError("it is a link that leads out of the folder")
    # Not blocking: something else may stand there by now, such as a pipe.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    digest = hashlib.sha256()
    with open(os.open(path, flags), "rb", buffering=0) as file:  # noqa: PTH123 - by its number
        before = os.fstat(file.fileno())
        if not stat.S_ISREG(before.st_mode):
            raise ValueError("it is no file")
        while block := file.read(_BLOCK):
            if stopped.is_set():
                break
            digest.update(block)
            advance(len(block))
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ValueError("it changed while it was read")
    return digest.hexdigest()


def _line(name: str, digest: str) -> bytes:
    """Give a line as sha256sum prints it: what would break the line is escaped, and a sign says so.

    Raises
    ------
    ValueError
        If the line would hold what looks like a secret, as names of downloads can.
    """
    line = f"{digest}  {name}"
    if contains_secret(line):
        raise ValueError("its name holds what looks like a password, token or key")
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "\\" if escaped != name else ""
    return os.fsencode(f"{mark}{digest}  {escaped}\n")
