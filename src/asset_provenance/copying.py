"""A folder is copied as a whole or not at all."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from asset_provenance.errors import StorageError
from asset_provenance.progress import byte_progress

__all__ = ["copy_into"]

_BLOCK = 1 << 20
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
        A folder on the target's file system that is not there yet, for what is not complete.
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
        moved: list[Path] = []
        try:
            with byte_progress(f"copying {source.name}", survey.size, shown=show_progress) as tell:
                _copy(source, staging, tell)
            for entry in sorted(staging.iterdir()):
                entry.rename(target / entry.name)
                moved.append(target / entry.name)
        except BaseException:
            for path in moved:
                _remove(path)
            raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        raise StorageError(
            f"{source} cannot be copied to {target}:{place}: {error.strerror or error}; "
            "nothing of it was kept there"
        ) from error


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
    for name, entry in _entries(source):
        place = target / name
        if entry.is_symlink():
            # The same place in the copy, however the link was written.
            goal = os.path.relpath(os.path.realpath(entry.path), Path(root, name).parent)
            place.symlink_to(goal, target_is_directory=entry.is_dir())
        elif entry.is_dir():
            place.mkdir()
        else:
            _copy_file(Path(entry.path), place, tell)


def _copy_file(source: Path, target: Path, tell: Callable[[int], None]) -> None:
    with source.open("rb") as original, target.open("xb") as copy:
        before = os.fstat(original.fileno())
        while block := original.read(_BLOCK):
            copy.write(block)
            tell(len(block))
        after = os.fstat(original.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise StorageError(f"{source} was written while it was copied; wait until it is complete")
    target.chmod(stat.S_IMODE(before.st_mode) | stat.S_IWUSR)
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
