"""Which files Python opens, renames and removes while an asset is open.

``open``, ``io.open``, ``os.open`` and their like are replaced while somebody watches, and put back
afterwards. An audit hook would see more, but could not be removed, and would slow the whole
program. Libraries that open files in C are told apart in :mod:`asset_provenance.capture.libraries`.
"""

from __future__ import annotations

import builtins
import io
import logging
import os
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from asset_provenance.patching import Patches, names_in

__all__ = ["Access", "State", "Watch", "Watching", "look_again", "saw", "state", "unobserved"]

_log = logging.getLogger("asset_provenance")

State = tuple[int, int, int]
"""Time of the last change, size and number of a file: what changes when it is written to."""


class Access:
    """What was done with a file; plain numbers, since every open comes this way."""

    READ = 1
    WRITE = 2
    REPLACE = 6
    """Written from the beginning: nothing of what was in it is left."""
    REMOVE = 8
    LINK = 22
    """A link has been made, which may lead anywhere."""


Moved = Callable[[str, str, bool], object]
"""Told of a file or folder that has another name now, and whether it keeps the old one, too."""
Watch = Callable[[str, int, State | None], bool]
"""Told of an absolute path, what was done, and for a file that may yet be changed its state before.

An ``s3://`` URL stands as it is. Gives whether other files that the same process reads in that
folder need not be told.
"""


class _Told:
    """Who is told: one for the whole program."""

    watch: Watch | None = None
    moved: Moved | None = None
    here: Callable[[], Any] = bool
    passed: ClassVar[dict[str, Any]] = {}
    """Folders, as they are named in calls, and for whom what is read in them is known already."""


_quiet = threading.local()


class unobserved:  # noqa: N801 - used as contextmanager makes them, which takes longer
    """Let what this thread opens meanwhile pass unseen: it is ours, not the user's."""

    def __enter__(self) -> None:
        self._before = getattr(_quiet, "on", False)
        _quiet.on = True

    def __exit__(self, *_: object) -> None:
        _quiet.on = self._before


def look_again() -> None:
    """Be told of every file again: who is here, or where, is not who or where it was."""
    _Told.passed.clear()


def saw(path: Any, access: int, before: State | None = None) -> bool:
    """Tell that a file has been opened.

    Parameters
    ----------
    path
        As the user gave it; what is no path is passed over.
    access
        What was done.
    before
        For a file that was opened to be read and changed, its state before; whether it was
        changed is seen later.

    Returns
    -------
    bool
        Whether other files that are read in the same folder need not be told.
    """
    watch = _Told.watch
    if watch is None or getattr(_quiet, "on", False):
        return False
    try:
        text = path if type(path) is str else os.fsdecode(path)
        if text.startswith("s3://"):
            return _tell(watch, text, access, before)
        is_plain = text.startswith("/") and "/." not in text and "//" not in text
        full = text if is_plain else os.path.abspath(text)  # noqa: PTH100 - keeps links
    except Exception:  # noqa: BLE001 - a descriptor, any object; a working folder that is gone
        return False
    return _tell(watch, full, access, before)


def _tell(told: Callable[..., Any], *what: Any) -> bool:
    """Tell what was seen; the file is the user's, whatever becomes of that."""
    try:
        return bool(told(*what))
    except Exception as error:  # noqa: BLE001 - as above
        with unobserved():  # a log may open files, too
            name = type(error).__name__
            _log.warning("what was done with a file could not be recorded: %s", name)
        return False


def state(path: Any) -> State | None:
    """Give the state of a file; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError, TypeError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Watching:
    """Has somebody told of what Python opens, until it is stopped.

    Parameters
    ----------
    watch
        Told of each file.
    moved
        Told of what was renamed or linked: from where, to where.
    here
        Gives who is running now, by which it is known whether a folder is known.
    """

    def __init__(self, watch: Watch, moved: Moved, here: Callable[[], Any] = bool) -> None:
        _Told.watch, _Told.moved, _Told.here = watch, moved, here
        look_again()
        self.patches = Patches()
        try:
            with self.patches.together():
                self._replace()
            self._replace_in_numpy()
        except BaseException:
            self.stop()
            raise

    def _replace(self) -> None:
        _put_back()
        are_one = io.open is builtins.open
        self._stand_in(builtins, "open", _opening)
        if not are_one:  # somebody else has put another into the place of one of them
            self._stand_in(io, "open", _opening)
        for make, names in (
            (_os_opening, ("open",)),
            (_renaming, ("rename", "replace")),
            (_linking, ("link", "symlink")),
            (_removing, ("unlink", "remove")),
            (_truncating, ("truncate",)),
            (_going, ("chdir", "fchdir")),
        ):
            for name in names:
                if hasattr(os, name):
                    self._stand_in(os, name, make)

    def _stand_in(self, module: Any, name: str, make: Callable[[Any], Any]) -> None:
        original = getattr(module, name)
        replacement = _Standing(_named_like(make(original), original))
        self.patches.replace_everywhere(module, name, replacement)
        # The standard library asks these sets what a function can do.
        for group in ("supports_dir_fd", "supports_fd", "supports_follow_symlinks"):
            if any(original is known for known in getattr(os, group)):
                self.patches.wrap(os, group, lambda known: known | {replacement})

    def stop(self) -> None:
        """Put everything back, also where a module has taken its ``open`` meanwhile."""
        self.patches.undo()
        _put_back()
        _Told.watch = _Told.moved = None
        look_again()

    def _replace_in_numpy(self) -> None:
        # loadtxt and genfromtxt open by a table that numpy filled when it was imported.
        source = getattr(sys.modules.get("numpy.lib._datasource"), "_file_openers", None)
        table = getattr(source, "_file_openers", None)
        if isinstance(table, dict) and None in table:
            openers: tuple[Any, ...] = (io.open, builtins.open)
            standing = {one.__wrapped__.__wrapped__: one for one in openers}
            opener = standing.get(table[None])
            if opener is not None:
                self.patches.wrap(source, "_file_openers", lambda known: {**known, None: opener})


class _Standing(staticmethod):  # type: ignore[type-arg]
    """A function that stands for one in C: like that one it is no method of a class it is in."""

    def __reduce_ex__(self, protocol: Any) -> str:
        return self.__name__


def _put_back() -> None:
    """Put back what others have put into place again, or taken, of an earlier time."""
    for module in tuple(sys.modules.values()):
        names = names_in(module)
        # As in Patches. By identity: classes may say of themselves what they are equal to.
        if id(_Standing) not in map(id, map(type, tuple(names.values()))):
            continue
        for key in [key for key, value in tuple(names.items()) if type(value) is _Standing]:
            setattr(module, key, names[key].__wrapped__.__wrapped__)


_MISSING = object()
_MOST_PASSED = 4096
_WARNS = sys.flags.warn_default_encoding
"""Whether Python was told to warn of a file that is opened without an encoding."""


def _opening(original: Any) -> Any:
    passed = _Told.passed

    def open(  # noqa: A001 - it stands in its place
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        if _WARNS and encoding is None and type(mode) is str and "b" not in mode:
            encoding = io.text_encoding(None)  # of the line that opens: C would warn of this one
        # Programs read many files of few folders, and this is on the way of every one of them.
        if (mode == "rb" or mode == "r") and opener is None and type(file) is not int:  # noqa: PLR1714 - a tuple takes longer
            opened = original(file, mode, buffering, encoding, errors, newline, closefd)
            text = file if type(file) is str else _text(file)
            folder = text.rpartition("/")[0]
            here = _Told.here()
            if passed.get(folder, _MISSING) is not here and saw(text, Access.READ):
                if len(passed) > _MOST_PASSED:
                    passed.clear()
                passed[folder] = here
            return opened
        is_told = type(file) is not int and opener is None  # else who opened it is told of it
        may_change = is_told and type(mode) is str and "+" in mode and "r" in mode
        before = state(file) if may_change else None
        opened = original(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if is_told:
            saw(file, Access.READ if may_change else _by_mode(mode), before)
        return opened

    return open


def _text(path: Any) -> str:
    try:
        return os.fsdecode(path)
    except TypeError:
        return ""


def _by_mode(mode: str) -> int:
    if "w" in mode or "x" in mode:
        return Access.REPLACE
    return Access.WRITE if "a" in mode else Access.READ


def _os_opening(original: Any) -> Any:
    def open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:  # noqa: A001
        full = path if dir_fd is None else _inside(dir_fd, path)
        before = state(full) if isinstance(flags, int) and _may_change(flags) else None
        descriptor: int = original(path, flags, mode, dir_fd=dir_fd)
        is_open = _Told.watch is not None and not flags & getattr(os, "O_PATH", 0)
        # A folder is opened to be listed, or to be the base of other paths.
        if is_open and not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            _saw_flags(full, flags, before)
        return descriptor

    return open


def _may_change(flags: int) -> bool:
    return bool(flags & os.O_CREAT or (flags & os.O_RDWR and not flags & os.O_TRUNC))


def _saw_flags(path: Any, flags: int, before: State | None) -> None:
    if flags & os.O_RDWR and not flags & os.O_TRUNC and before is not None:
        saw(path, Access.READ, before)
    elif flags & (os.O_WRONLY | os.O_RDWR):
        replaces = flags & os.O_TRUNC or (flags & os.O_CREAT and before is None)
        saw(path, Access.REPLACE if replaces else Access.WRITE)
    else:
        saw(path, Access.READ)


def _inside(dir_fd: int, path: Any) -> Any:
    """Give the path that one relative to an open folder means."""
    try:
        text = os.fsdecode(path)
        return os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), text)  # noqa: PTH115, PTH118
    except (OSError, TypeError):
        return path


def _renaming(original: Any) -> Any:
    def rename(
        src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        original(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        _saw_moved(src, dst, src_dir_fd, dst_dir_fd)

    return rename


def _saw_moved(
    src: Any, dst: Any, src_dir_fd: int | None, dst_dir_fd: int | None, *, stays: bool = False
) -> None:
    moved = _Told.moved
    if moved is None or getattr(_quiet, "on", False):
        return
    try:
        source = src if src_dir_fd is None else _inside(src_dir_fd, src)
        target = dst if dst_dir_fd is None else _inside(dst_dir_fd, dst)
        full = [os.path.abspath(os.fsdecode(path)) for path in (source, target)]  # noqa: PTH100
    except Exception:  # noqa: BLE001 - as for what is opened
        return
    _tell(moved, *full, stays)


def _linking(original: Any) -> Any:
    if original.__name__ == "link":

        def link(
            src: Any,
            dst: Any,
            *,
            src_dir_fd: int | None = None,
            dst_dir_fd: int | None = None,
            follow_symlinks: bool = True,
        ) -> None:
            original(
                src,
                dst,
                src_dir_fd=src_dir_fd,
                dst_dir_fd=dst_dir_fd,
                follow_symlinks=follow_symlinks,
            )
            _saw_moved(src, dst, src_dir_fd, dst_dir_fd, stays=True)

        return link

    def symlink(
        src: Any, dst: Any, target_is_directory: bool = False, *, dir_fd: int | None = None
    ) -> None:
        original(src, dst, target_is_directory, dir_fd=dir_fd)
        look_again()
        saw(dst if dir_fd is None else _inside(dir_fd, dst), Access.LINK)

    return symlink


def _going(original: Any) -> Any:
    def go(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        look_again()

    return go


def _removing(original: Any) -> Any:
    def unlink(path: Any, *, dir_fd: int | None = None) -> None:
        original(path, dir_fd=dir_fd)
        saw(path if dir_fd is None else _inside(dir_fd, path), Access.REMOVE)

    return unlink


def _truncating(original: Any) -> Any:
    def truncate(path: Any, length: int) -> None:
        original(path, length)
        saw(path, Access.WRITE)

    return truncate


def _named_like(replacement: Any, original: Any) -> Any:
    for name in ("__name__", "__qualname__", "__doc__"):
        with suppress(AttributeError, TypeError):  # another may stand in its place already
            setattr(replacement, name, getattr(original, name))
    module = getattr(original, "__module__", None)
    with suppress(TypeError):
        replacement.__module__ = module
    replacement.__wrapped__ = original
    return replacement
