"""The id that git would give a folder: the code that ran can be found by it in any clone.

A helper of :mod:`asset_provenance.capture.code`. The form is that of git's objects: a blob for each
file, a tree for each folder. What is left out is what git would not commit: ``.git``, and what the
``.gitignore`` files of the folder name; besides, the caches that Python makes while it runs. Of a
file that ``.gitattributes`` has git convert, the converted content counts.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asset_provenance.capture.gitfiles import read_head
from asset_provenance.capture.gitfilters import LFS, lfs_pointer
from asset_provenance.capture.gitpatterns import (
    Attributes,
    Patterns,
    read_attributes,
    read_ignored,
)
from asset_provenance.records import printable

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["MOST_BYTES", "MOST_FILES", "TreeError", "tree_id"]

MOST_FILES = 100_000
MOST_BYTES = 2_000_000_000

_MADE_BY_RUNNING = frozenset(("__pycache__", ".ipynb_checkpoints"))
_PLACEHOLDERS = frozenset((".gitignore", ".gitkeep", ".keep"))
"""What keeps a folder in a repository whose content is not."""
_CHUNK = 1 << 20
_ID = re.compile(rb"\$Id:[^$\n]*\$")


class TreeError(Exception):
    """A folder has no id; the text says why."""


@dataclass(frozen=True, slots=True)
class _Level:
    """What the pattern files of one folder say of what is below it."""

    depth: int
    ignored: Patterns | None
    attributes: Patterns | None


def tree_id(folder: str, *, without: Collection[str] = (), seconds: float | None = None) -> str:
    """Compute the id of the tree object that git would make of a folder.

    Parameters
    ----------
    folder
        The folder.
    without
        Absolute real paths of folders inside it that are no code: data, results.
    seconds
        How long it may take; without, as long as it needs.

    Returns
    -------
    str
        40 hexadecimal digits.

    Raises
    ------
    TreeError
        If the folder cannot be read whole, has too much in it, or nothing.
    """
    until = None if seconds is None else time.monotonic() + seconds
    try:
        found = _Walk(frozenset(without), until).tree(os.path.realpath(folder), "", ())
    except OSError as error:
        name = printable(os.fsdecode(error.filename or folder))
        raise TreeError(f"{name} cannot be read ({error.strerror})") from error
    except RecursionError as error:
        raise TreeError("its folders are nested too deep") from error
    if found is None:
        raise TreeError("there is nothing in it that git would keep")
    return found.hex()


class _Walk:
    """One pass over a folder, within its bounds."""

    def __init__(self, without: frozenset[str], until: float | None) -> None:
        self._without = without
        self._until = until
        self._files = self._bytes = 0

    def tree(
        self,
        folder: str,
        path: str,
        levels: tuple[_Level, ...],
        only: Collection[str] | None = None,
    ) -> bytes | None:
        """Give the id of the tree of a folder; None if there is nothing in it.

        Parameters
        ----------
        folder
            The folder.
        path
            Its path below the root, with a slash at its end, one character a byte.
        levels
            What the pattern files of the folders around it say.
        only
            The names that count in it; without, all.
        """
        with os.scandir(folder) as listing:
            entries = [entry for entry in listing if only is None or entry.name in only]
        levels = (*levels, *_level(path, entries))
        lines = []
        for entry in entries:
            name = os.fsencode(entry.name)
            found = self._entry(entry, path + name.decode("latin-1"), levels)
            if found is not None:
                mode, object_id = found
                # Git sorts a folder as if its name ended in a slash.
                key = name + b"/" if mode == b"40000" else name
                lines.append((key, mode + b" " + name + b"\0" + object_id))
        if not lines:
            return None
        content = b"".join(line for _, line in sorted(lines))
        return _object("tree", len(content), content).digest()

    def _entry(
        self, entry: os.DirEntry[str], path: str, levels: tuple[_Level, ...]
    ) -> tuple[bytes, bytes] | None:
        """Give mode and id of an entry of a folder; None of what git would not keep."""
        is_folder = entry.is_dir(follow_symlinks=False)
        if entry.name == ".git" or (is_folder and entry.name in _MADE_BY_RUNNING):
            return None
        if _is_ignored(path, levels, is_folder=is_folder):
            return None
        if not is_folder:
            return self._file(entry, path, levels)
        if entry.path in self._without:
            if not any(os.path.isfile(os.path.join(entry.path, name)) for name in _PLACEHOLDERS):  # noqa: PTH113, PTH118
                return None
            inside = self.tree(entry.path, path + "/", levels, _PLACEHOLDERS)
            return None if inside is None else (b"40000", inside)
        commit, _ = read_head(entry.path)
        if commit is not None:  # a repository of its own: git keeps its commit
            return b"160000", bytes.fromhex(commit)
        inside = self.tree(entry.path, path + "/", levels)
        return None if inside is None else (b"40000", inside)

    def _file(
        self, entry: os.DirEntry[str], path: str, levels: tuple[_Level, ...]
    ) -> tuple[bytes, bytes] | None:
        self._count()
        if entry.is_symlink():
            target = os.fsencode(os.readlink(entry.path))  # noqa: PTH115
            return b"120000", _object("blob", len(target), target).digest()
        if not entry.is_file(follow_symlinks=False):
            return None
        attributes = _attributes_of(path, levels)
        with open(entry.path, "rb", buffering=0) as file:  # noqa: PTH123 - of many small files
            state = os.fstat(file.fileno())
            self._bytes += state.st_size
            if self._bytes > MOST_BYTES:
                raise TreeError(f"it holds more than {MOST_BYTES // 1_000_000_000} GB")
            if attributes.get("filter") == LFS:
                pointer = lfs_pointer(file, state.st_size, self._check_time)
                blob = _object("blob", len(pointer), pointer)
            elif not _stays(file, attributes):
                content = _converted(self._content(file), attributes)
                blob = _object("blob", len(content), content)
            else:
                blob = self._blob(file, state.st_size)
        mode = b"100755" if state.st_mode & stat.S_IXUSR else b"100644"
        return mode, blob.digest()

    def _blob(self, file: Any, size: int) -> _Hash:
        first = file.read(_CHUNK)
        if len(first) == size:
            return _object("blob", size, first)
        blob, read = _object("blob", size, first), len(first)
        while chunk := file.read(_CHUNK):
            self._check_time()
            blob.update(chunk)
            read += len(chunk)
        if read != size:
            raise TreeError("a file changed while it was read")
        return blob

    def _content(self, file: Any) -> bytes:
        parts = []
        while chunk := file.read(_CHUNK):
            self._check_time()
            parts.append(chunk)
        return b"".join(parts)

    def _count(self) -> None:
        self._files += 1
        if self._files > MOST_FILES:
            raise TreeError(f"it holds more than {MOST_FILES} files")
        if self._files % 64 == 0:
            self._check_time()

    def _check_time(self) -> None:
        if self._until is not None and time.monotonic() > self._until:
            raise TreeError("there was not enough time to read it")


def _object(kind: str, size: int, content: bytes) -> _Hash:
    begun = hashlib.sha1(f"{kind} {size}\0".encode(), usedforsecurity=False)
    begun.update(content)
    return begun


def _level(path: str, entries: Collection[os.DirEntry[str]]) -> Iterator[_Level]:
    contents = {}
    for entry in entries:
        # Git does not follow a link here either.
        if entry.name in (".gitignore", ".gitattributes") and entry.is_file(follow_symlinks=False):
            with open(entry.path, "rb") as file:  # noqa: PTH123 - as above
                contents[entry.name] = file.read()
    if contents:
        ignored, attributes = contents.get(".gitignore"), contents.get(".gitattributes")
        yield _Level(
            len(path),
            None if ignored is None else read_ignored(ignored),
            None if attributes is None else read_attributes(attributes),
        )


def _is_ignored(path: str, levels: tuple[_Level, ...], *, is_folder: bool) -> bool:
    name = path.rpartition("/")[2]
    for level in reversed(levels):
        if level.ignored is not None:
            for pattern in level.ignored.matching(path[level.depth :], name, is_folder=is_folder):
                return not pattern.is_negative
    return False


_CONVERTING = ("text", "eol", "crlf", "ident", "working-tree-encoding")


def _attributes_of(path: str, levels: tuple[_Level, ...]) -> Attributes:
    name = path.rpartition("/")[2]
    found: Attributes = {}
    for level in reversed(levels):
        if level.attributes is not None:
            for pattern in level.attributes.matching(path[level.depth :], name, is_folder=False):
                found = {**pattern.attributes, **found}
    return found


def _converted(content: bytes, attributes: Attributes) -> bytes:
    """Give the content as git keeps it."""
    encoding = _encoding(attributes)
    if encoding is not None:
        try:
            content = content.decode(encoding).encode()
        except (LookupError, UnicodeError) as error:
            raise TreeError(
                f"a file is not in the encoding {encoding} that it should be"
            ) from error
    line_ends = _line_ends(attributes)
    if line_ends == "text" or (line_ends == "auto" and not _is_binary(content)):
        content = content.replace(b"\r\n", b"\n")
    if attributes.get("ident"):
        content = _ID.sub(b"$Id$", content)
    return content


def _stays(file: Any, attributes: Attributes) -> bool:
    """Tell whether a file is kept as it is; one that begins as no text is not read whole for it."""
    if not any(attributes.get(name) for name in _CONVERTING):
        return True
    if attributes.get("ident") or _encoding(attributes) or _line_ends(attributes) == "text":
        return False
    is_binary = b"\0" in file.read(_CHUNK)
    file.seek(0)
    return is_binary


def _encoding(attributes: Attributes) -> str | None:
    encoding = attributes.get("working-tree-encoding")
    # From UTF-8 to UTF-8 git converts nothing, whatever is in the file.
    if not isinstance(encoding, str) or encoding.lower() in ("utf-8", "utf8"):
        return None
    return encoding


def _line_ends(attributes: Attributes) -> str:
    """Tell whether line ends are changed: ``text``, ``auto`` (of what is text), or nothing."""
    for name in ("text", "crlf"):
        value = attributes.get(name)
        if value in (True, False, "auto", "input"):  # any other is as none
            return "auto" if value == "auto" else "text" if value else ""
    return "text" if attributes.get("eol") in ("lf", "crlf") else ""


def _is_binary(content: bytes) -> bool:
    """Judge as git does whether a file is text whose line ends may be changed."""
    if b"\0" in content:
        return True
    if content.count(b"\r") != content.count(b"\r\n"):
        return True
    # The end-of-file sign of old systems is no control character to git.
    body = content.removesuffix(b"\x1a")
    control = sum(body.count(bytes([sign])) for sign in _CONTROL)
    printable = len(body) - control - body.count(b"\r") - body.count(b"\n")
    return (printable >> 7) < control


_CONTROL = (*(sign for sign in range(1, 32) if sign not in b"\b\t\x1b\f\r\n"), 127)
