"""What has come to processes since the journal was told that they began.

A program may be killed while they are open: then this is all that is known of what they read and
wrote. A process of the operating system tells in the same way what it has seen of processes that
another one began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING

from asset_provenance.capture.files import state
from asset_provenance.process import Outcome
from asset_provenance.records import ProcessRecord, ProcessStatus, valid_text
from asset_provenance.workers import added

if TYPE_CHECKING:
    from asset_provenance.process import ActiveProcess

__all__ = ["SoFar"]

_RUNNING = Outcome(ProcessStatus.RUNNING)


class SoFar:
    """Tells the journal what has come to processes, as often as there is anything new.

    Parameters
    ----------
    later
        Has the journal ask for it within the second.
    """

    def __init__(self, later: Callable[[], None]) -> None:
        self._later = later
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget everything: this is another process of the operating system now."""
        self.foreign: list[ActiveProcess] = []
        """Processes that others have begun, and end."""
        self._foreign_ids: set[str] = set()
        self._is_expected = False

    def add_foreign(self, process: ActiveProcess) -> None:
        """Take in a process that another process of the operating system has begun."""
        process._told, process._so_far = process._record, None
        self.foreign.append(process)
        self._foreign_ids.add(process._record.id)

    def is_foreign(self, process: ActiveProcess) -> bool:
        """Say whether a process is another's to end."""
        return process._record.id in self._foreign_ids

    def changed(self, process: ActiveProcess) -> None:
        """Have it told what has come to a process, if anything has."""
        # On the way of every file: once it is expected, there is nothing more to do.
        if process._files.is_new and not self._is_expected:
            self._is_expected = True
            self._later()

    def records(self, open_here: Iterable[ActiveProcess]) -> list[ProcessRecord]:
        """Give what has come to processes; for one to which nothing has, the very same as before.

        Parameters
        ----------
        open_here
            Those that are open, of which some may be foreign.
        """
        # First, so that what comes meanwhile is told the next time.
        self._is_expected = False
        own = [process for process in open_here if not self.is_foreign(process)]
        found = []
        for process in (*own, *self.foreign):
            if process._files.is_new:
                process._files.is_new = False
                process._so_far = _since_told(process)
            if process._so_far is not None:
                found.append(process._so_far)
        return found


def _since_told(process: ActiveProcess) -> ProcessRecord:
    now = monotonic()
    record = added(process._as_ended(_RUNNING, now), process._told)
    changed = {
        valid_text(path): now
        for path, (full, before) in process._files.doubtful.copy().items()
        if state(full) not in (None, before)
    }
    return replace(record, written_files={**record.written_files, **changed})
