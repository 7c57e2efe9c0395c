"""The output folder while a run has it: made, locked, and given back as it should be."""

from __future__ import annotations

import logging
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from asset_provenance.corefiles import JOURNAL_FOLDER
from asset_provenance.errors import StorageError

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["OutputFolder", "is_taken"]

_LOCK = "lock"

_log = logging.getLogger("asset_provenance")


class OutputFolder:
    """An output folder that this run alone may write metadata to.

    Parameters
    ----------
    path
        Absolute; made with its parents where it is missing.

    Raises
    ------
    StorageError
        If it cannot be made or written to, or another run has it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made = [folder for folder in (path, *path.parents) if not folder.exists()]
        self._journals = path / JOURNAL_FOLDER
        try:
            self._journals.mkdir(parents=True, exist_ok=True)
            self._lock = self._acquire()
        except OSError as error:
            self._forget()
            raise StorageError(
                f"the output folder {path} cannot be written to: {error.strerror or error}; make "
                'it writable, or give another with output_dir="..."'
            ) from error

    def _acquire(self) -> BaseFileLock:
        import filelock  # noqa: PLC0415 - imported when a run starts, not with the package

        lock = filelock.FileLock(self._journals / _LOCK, timeout=0)
        try:
            # It warns where the file system knows no locks, which must not end the program.
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                lock.acquire()
            for warning in caught:
                _log.warning("the output folder %s: %s", self.path, warning.message)
        except filelock.Timeout:
            raise StorageError(
                f"another run has the output folder {self.path}; wait until it has ended (unless "
                "it is the one that started this program), or give each run a folder of its own"
            ) from None
        return lock

    def give_back(self) -> None:
        """Unlock; remove the journals' folder when nothing is left in it."""
        # Removed while it is locked: nobody else can hold what is about to vanish.
        with suppress(OSError):
            if {path.name for path in self._journals.iterdir()} <= {_LOCK}:
                (self._journals / _LOCK).unlink(missing_ok=True)  # the run may have removed it
                self._journals.rmdir()
        self._lock.release()

    def abandon(self) -> None:
        """Unlock, and leave no trace: the run does not start."""
        self.give_back()
        self._forget()

    def _forget(self) -> None:
        for folder in (self._journals, *self._made):
            with suppress(OSError):
                folder.rmdir()


def is_taken(path: Path) -> bool:
    """Say whether a run has an output folder now; one that cannot be locked at all has none."""
    import filelock  # noqa: PLC0415 - as above

    place = path / JOURNAL_FOLDER / _LOCK
    if not place.exists():
        return False
    lock = filelock.FileLock(place, timeout=0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lock.acquire()
    except filelock.Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False
