"""The tree ids of folders of code, computed by a program of our own while the user's goes on.

Each answer is a file in the folder of the run, so that it is there for whoever writes the metadata,
however the run ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asset_provenance.capture.trees import TreeError, tree_id
from asset_provenance.children import Program
from asset_provenance.records import CodeRecord, printable

__all__ = ["TreeAnswer", "TreeAsker", "read_trees", "with_tree", "with_tree_at_once"]

_ENDING = ".tree"
_LONGEST = 60.0
"""Seconds that the reading of one folder may take."""
_SHORTEST = 2.0
"""Seconds that it may take where a task waits for it."""


@dataclass(frozen=True, slots=True)
class TreeAnswer:
    """The id of a folder, or why it has none."""

    tree: str | None
    reason: str = ""


def with_tree(code: CodeRecord, answers: Mapping[str, TreeAnswer]) -> CodeRecord:
    """Give a record of code whose version is the id of its folder, where that was wanted."""
    if code.tree is None:
        return code
    answer = answers.get(code.tree, TreeAnswer(None, "it was not computed before the run ended"))
    if answer.tree is not None:
        return replace(code, version=f"tree:{answer.tree}", tree=None)
    note = f"the folder {printable(code.tree)} has no tree id: {answer.reason}"
    return replace(code, notes=(*code.notes, note), tree=None)


def with_tree_at_once(code: CodeRecord, without: Collection[str]) -> CodeRecord:
    """Give a record of code with the id of its folder, which another machine does not have.

    Parameters
    ----------
    code
        The record.
    without
        Absolute real paths of folders that hold no code.
    """
    if code.tree is None:
        return code
    try:
        answer = TreeAnswer(tree_id(code.tree, without=without, seconds=_SHORTEST))
    except TreeError as error:
        answer = TreeAnswer(None, str(error))
    return with_tree(code, {code.tree: answer})


class TreeAsker:
    """Has the ids of folders computed.

    Parameters
    ----------
    answers
        Gives the folder where the answers are put.
    without
        Folders that hold no code, wherever they lie: data and results.
    """

    def __init__(self, answers: Callable[[], Path], without: Iterable[Path]) -> None:
        self._answers = answers
        self._without = sorted({os.path.realpath(folder) for folder in without})
        self._programs: dict[str, Program] = {}

    def ask(self, folder: str) -> None:
        """Begin to compute the id of a folder; once for each."""
        if folder in self._programs:
            return
        request = {"folder": folder, "without": self._without}
        # Without an answer, the record says so.
        with suppress(OSError), (self._answers() / _name(folder)).open("wb") as answer:
            self._programs[folder] = Program(__name__, "_answer_request", request, answer)

    def begin(self, code: CodeRecord) -> CodeRecord:
        """Begin to compute the id that is to be the version of code; give the code as it is."""
        if code.tree is not None:
            self.ask(code.tree)
        return code

    def wait(self, folders: Iterable[str], seconds: float) -> dict[str, TreeAnswer]:
        """Give the answers for folders; those that are not there yet are waited for.

        Parameters
        ----------
        folders
            Those that are wanted: other processes of the run may have met more than were asked for.
        seconds
            For all of them together.
        """
        until = time.monotonic() + seconds
        wanted = dict.fromkeys(folders)
        for _ in range(2):  # the folder may have been removed with what was in it
            for folder in wanted:
                self.ask(folder)
            for folder in self._programs.keys() & wanted.keys():
                self._programs[folder].wait(until - time.monotonic())
            found = read_trees(self._answers())
            if wanted.keys() <= found.keys():
                break
            for folder in self._programs.keys() - found.keys():
                self._programs.pop(folder).end()
        return found

    def end(self) -> None:
        """End what is still at work: nobody will want the answer."""
        for program in self._programs.values():
            program.end()

    def leave(self) -> None:
        """Let what is still at work go on: somebody may want the answer later."""
        for program in self._programs.values():
            program.leave()


def read_trees(folder: Path) -> dict[str, TreeAnswer]:
    """Give the answers that are in the folder of a run, by the folder that each is for."""
    found = {}
    for path in sorted(folder.glob(f"*{_ENDING}")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            answer = json.loads(path.read_bytes())
            found[str(answer["folder"])] = TreeAnswer(answer["tree"], str(answer["reason"]))
    return found


def _name(folder: str) -> str:
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:16] + _ENDING


def _answer_request() -> None:
    """Read a request from the standard input, and print the answer."""
    request: dict[str, Any] = json.load(sys.stdin)
    folder, without = request["folder"], request["without"]
    with suppress(OSError, AttributeError):
        os.nice(5)  # the user's program comes first
    answer: dict[str, Any] = {"folder": folder, "tree": None, "reason": ""}
    try:
        answer["tree"] = tree_id(folder, without=without, seconds=_LONGEST)
    except TreeError as error:
        answer["reason"] = str(error)
    sys.stdout.write(json.dumps(answer))
