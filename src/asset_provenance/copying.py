"""A folder is copied as a whole or not at all.

All of it is copied to a staging folder first. A marker beside it then says that it is complete,
and its entries are renamed to their places; whoever finds the marker later finishes that.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from asset_provenance.errors import StorageError
from asset_provenance.progress import byte_progress

__all__ = ["copy_into", "finish_copy"]

_BLOCK = 1 << 20
_COPY, _MARKER = "copy", "copy-is-complete"
_MOST_TOLD = 10


@dataclass(slots=True)
class _Survey:
    """What is found in a folder that is to be copied."""

    size: int = 0
    problems: list[str] = field(default_factory=list)


def copy_into(source: Path, target: Path, staging: Path, *, show_progress: bool = False) -> None:
    """Copy what is in a folder into another, so that all of it appears at its end.

    Links stay links, if they lead to something inside of the folder, and then lead to its copy.

    Parameters
    ----------
    source
        The folder to copy.
    target
        The folder that is to hold it, with nothing of the same names in it.
    staging
        A folder on the target's file system that is not there yet, for what is not complete. It
        is gone at the end, unless the program is ended while the copy is put in place; then
        :func:`finish_copy` finishes it.
    show_progress
        Show on a terminal how far it is.

    Raises
    ------
    StorageError
        If it cannot be copied as it is; then nothing was.
    """
    try:
        survey = _look_at(source)
        if survey.problems:
            more = len(survey.problems) - _MOST_TOLD
            shown = [*survey.problems[:_MOST_TOLD], *([f"and {more} more"] if more > 0 else [])]
            raise StorageError(
                "\n".join([f"{source} cannot be copied as it is:", *(f"  - {it}" for it in shown)])
            )
        copy, marker = staging / _COPY, staging / _MARKER
        try:
            with byte_progress(f"copying {source.name}", survey.size, shown=show_progress) as tell:
                _copy(source, copy, tell)
            names = os.listdir(copy)  # noqa: PTH208 - as many as there are, and only names
            marker.touch()
            try:
                _move(names, copy, target)
            except BaseException:
                _move(names, target, copy)
                marker.unlink()
                raise
            marker.unlink()
        finally:
            if not marker.exists():
                shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        place = f" {error.filename}:" if error.filename else ""
        raise StorageError(
            f"{source} cannot be copied to {target}:{place} {error.strerror or error}; "
            "nothing of it was kept there"
        ) from error


def finish_copy(staging: Path, target: Path) -> bool:
    """Put in place what is left of a copy that was complete when its program was ended.

    Parameters
    ----------
    staging, target
        As of :func:`copy_into`.

    Returns
    -------
    bool
        Whether there was such a copy; what was not complete is left to be removed.

    Raises
    ------
    StorageError
        If it cannot be put in place.
    """
    if not (staging / _MARKER).exists():
        return False
    copy = staging / _COPY
    try:
        names = os.listdir(copy)  # noqa: PTH208 - as above
        for name in names:
            if os.path.lexists(target / name):
                raise FileExistsError(f"{name!r} was put into {target} since; remove either")
        _move(names, copy, target)
        (staging / _MARKER).unlink()
    except OSError as error:
        raise StorageError(
            f"the copy in {copy}, whose program was ended, cannot be put in place: {error}"
        ) from error
    return True


def _move(names: list[str], source: Path, target: Path) -> None:
    """Move what is there of the names."""
    for name in names:
        if os.path.lexists(source / name):
            (source / name).rename(target / name)


def _entries(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Give all that is in a folder, each folder before what is in it; links are not followed."""
    waiting = [""]
    while waiting:
        place = waiting.pop()
        with os.scandir(folder / place) as entries:
            for entry in entries:
                name = f"{place}{entry.name}"
                yield name, entry
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{name}/")


def _look_at(source: Path) -> _Survey:
    survey = _Survey()
    root = os.path.realpath(source)
    for name, entry in _entries(source):
        state = entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(state.st_mode):
            goal = os.path.realpath(entry.path)
            if os.path.commonpath([goal, root]) != root:
                survey.problems.append(
                    f"{name!r} is a link that leads out of the folder, to {goal}"
                )
            elif not Path(goal).exists():
                survey.problems.append(f"{name!r} is a link that leads to nothing")
        elif stat.S_ISREG(state.st_mode):
            survey.size += state.st_size
        elif not stat.S_ISDIR(state.st_mode):
            survey.problems.append(f"{name!r} is neither a file, a folder nor a link")
    return survey


def _copy(source: Path, target: Path, tell: Callable[[int], None]) -> None:
    root = os.path.realpath(source)
    target.mkdir(parents=True)
    folders = []
    for name, entry in _entries(source):
        place = target / name
        if entry.is_symlink():
            # The same place in the copy, however the link was written.
            goal = os.path.relpath(os.path.realpath(entry.path), Path(root, name).parent)
            place.symlink_to(goal, target_is_directory=entry.is_dir())
        elif entry.is_dir():
            place.mkdir()
            folders.append((place, entry.stat()))
        else:
            _copy_file(Path(entry.path), place, tell)
    for place, state in reversed(folders):  # what is written into a folder changes its time
        _keep(place, state, stat.S_IRWXU)


def _copy_file(source: Path, target: Path, tell: Callable[[int], None]) -> None:
    with source.open("rb") as original, target.open("xb") as copy:
        before = os.fstat(original.fileno())
        while block := original.read(_BLOCK):
            copy.write(block)
            tell(len(block))
        after = os.fstat(original.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise StorageError(f"{source} was written while it was copied; wait until it is complete")
    _keep(target, before, stat.S_IWUSR)


def _keep(place: Path, state: os.stat_result, needed: int) -> None:
    """Give a copy the rights and times of what it was made of, where the file system has them."""
    with suppress(PermissionError):
        place.chmod(stat.S_IMODE(state.st_mode) | needed)
        os.utime(place, ns=(state.st_atime_ns, state.st_mtime_ns))
