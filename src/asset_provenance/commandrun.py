"""A program of any kind run as an asset: one process, with those that join it inside."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asset_provenance import joining
from asset_provenance.capture.commandcode import CommandCode
from asset_provenance.capture.files import Access, unobserved
from asset_provenance.capture.proc import program_name, standard_input, started_with
from asset_provenance.engines import programuse
from asset_provenance.errors import UsageError
from asset_provenance.options import process_name_from
from asset_provenance.process import COMPLETED, Outcome
from asset_provenance.records import ProcessStatus, printable
from asset_provenance.redaction import redact_arguments

if TYPE_CHECKING:
    from asset_provenance.run import Run

__all__ = ["Command"]

_GRACE = 0.5
"""Seconds in which programs may end that the command has left: what it pipes to, for instance."""
_MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class Command:
    """A command that can be run.

    Parameters
    ----------
    words
        As they were given.
    program
        The path of the program.
    code
        What its words say of the code that it runs.
    """

    words: tuple[str, ...]
    program: str
    code: CommandCode

    @classmethod
    def of(cls, words: Sequence[str]) -> Command:
        """Find what a command runs.

        Raises
        ------
        UsageError
            If there is no such program, or it cannot be run here.
        """
        if not sys.platform.startswith("linux"):
            raise UsageError(
                "run needs Linux: it sees in /proc what a program does; elsewhere, open a "
                "DerivedAsset in a Python script and start the program from there"
            )
        if not words or not words[0]:
            raise UsageError("no command was given; write it after --: ... run -- COMMAND ARGS")
        program = _found(words[0])
        try:
            cwd = os.getcwd()  # noqa: PTH109 - plain text
        except OSError as error:
            raise UsageError(
                f"the working folder cannot be found ({error.strerror}); go to one that is there"
            ) from error
        place = os.path.normpath(os.path.join(cwd, program))  # noqa: PTH118 - keeps links
        return cls(tuple(words), program, CommandCode.of(words, place, cwd))

    @property
    def process_name(self) -> str:
        """What it is called unless it is given a name."""
        return process_name_from(self.code.label) or "command"

    @property
    def parameters(self) -> dict[str, list[str]]:
        """The command line as it may be kept."""
        return {"command": redact_arguments(self.words)}

    def carry_out(self, run: Run) -> int:
        """Run it for an asset that was opened for it, and end that.

        Parameters
        ----------
        run
            The open asset.

        Returns
        -------
        int
            Its exit status, or the number of the signal that ended it made negative.
        """
        try:
            status = self._carry_out(run)
        except _NotStartedError as error:
            run.abandon()
            raise UsageError(_not_run(self.words[0], str(error))) from None
        except BaseException as error:
            run.close(error)
            raise
        # As shells tell it.
        run.recorder.block.add_results(exit_status=128 - status if status < 0 else status)
        run.end(_outcome(status))
        return status

    def _carry_out(self, run: Run) -> int:
        from asset_provenance.foreground import Foreground  # noqa: PLC0415 - not for every system

        block = run.recorder.block
        given = standard_input()
        program = programuse.begin(list(self.words), cwd=self.code.cwd, is_alone=True)
        marked = json.dumps(str(run.journal.run_folder)).encode()
        environment = {**os.environ, **joining.environment()}
        with Foreground(run.tell_signal) as foreground:
            try:
                number = foreground.start(self.program, self.words, environment)
            except OSError as error:
                raise _NotStartedError(_reason(error)) from None
            if program is not None:
                programuse.sampling(program, number)
            if given is not None:
                with unobserved():
                    run.recorder.saw(block, given, Access.READ)
            status = foreground.wait()
            left = _left_running(marked)
            programuse.end(number)
        if left:
            names = ", ".join(left[:_MOST_NAMES]) + (", ..." if len(left) > _MOST_NAMES else "")
            block.add_note(
                f"Left running when it ended: {len(left)} of the programs that it started "
                f"({names}); what they do later is not recorded."
            )
        return status


class _NotStartedError(Exception):
    """The system cannot run a program; says why."""


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "its first line names a program that is not there"
    return error.strerror or str(error)


def _found(word: str) -> str:
    found = shutil.which(word)
    if found is not None:
        return found
    shown = printable(word)
    if "/" not in word:
        raise UsageError(f"there is no program {shown} on the PATH; nothing was run")
    if not os.path.lexists(word):
        raise UsageError(f"there is no program {shown}; nothing was run")
    if os.path.isdir(word):  # noqa: PTH112
        raise UsageError(_not_run(word, "it is a folder"))
    make = f"chmod +x {shlex.quote(shown)}"
    raise UsageError(
        _not_run(word, f"it is not executable; make it so ({make}), or name what runs it")
    )


def _not_run(word: str, reason: str) -> str:
    return f"{printable(word)} cannot be run: {reason}; nothing was run"


def _outcome(status: int) -> Outcome:
    from asset_provenance.foreground import ENDINGS, name_of  # noqa: PLC0415 - as above

    if status == 0:
        return COMPLETED
    if status > 0:
        return Outcome(ProcessStatus.FAILED, f"it ended with exit status {status}")
    name = name_of(-status)
    if -status in ENDINGS:
        return Outcome(ProcessStatus.INTERRUPTED, name, f"Ended by {name}.")
    return Outcome(ProcessStatus.FAILED, f"it was ended by {name}")


def _left_running(marked: bytes) -> list[str]:
    """Give the names of programs that were started for a run and have not ended."""
    until = time.monotonic() + _GRACE
    while True:
        with unobserved():
            found = [number for number in started_with(marked) if number != os.getpid()]
        if not found or time.monotonic() > until:
            return [f"{printable(program_name(number)) or 'unknown'} {number}" for number in found]
        threading.Event().wait(_GRACE / 10)
