"""What git says of the state of a work tree: commit, changed and untracked files.

A helper of :mod:`asset_provenance.capture.git`. The main question starts early and is answered
late: git looks at every file meanwhile, on another processor.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from asset_provenance.capture.gitasking import NoAnswerError, Question, Questions
from asset_provenance.capture.gitfiles import OBJECT_ID, find_root, git_folder
from asset_provenance.capture.gitfilters import LFS, filters_of, large_file_id, running_filters
from asset_provenance.capture.gitremotes import REMOTE_SETTINGS
from asset_provenance.corefiles import JOURNAL_FOLDER, MANIFEST

__all__ = ["State", "Survey"]

_SETTINGS = rf"{REMOTE_SETTINGS}|filter\..*|core\.worktree|core\.sparsecheckout"
_GITLINK = b"160000"
_FIELDS = {b"1": 8, b"2": 9, b"u": 10}
"""Fields before the path in git's answer, by the kind of entry."""
_DEEPEST = 5
_SPECIAL = re.compile(r"([\\*?\[\]! #])")


@dataclass(slots=True)
class State:
    """The state of a work tree. Paths are relative to its root.

    Parameters
    ----------
    commit, branch
        Of HEAD; None where there is none.
    changed
        Files that differ from the commit.
    unpatched
        Those of them that a patch cannot show: large files, of which git keeps a pointer.
    untracked
        Files and folders that git neither has nor is told to ignore.
    unknown
        Files that git cannot compare without running a filter.
    unseen
        Files whose changes git was told not to look for.
    new
        Files that git has noted, and the commit may lack.
    noted
        All files that git has noted, as it lists them: to be searched, seldom to be split.
    """

    commit: str | None = None
    branch: str | None = None
    changed: list[bytes] = field(default_factory=list)
    unpatched: list[bytes] = field(default_factory=list)
    untracked: list[bytes] = field(default_factory=list)
    unknown: list[bytes] = field(default_factory=list)
    unseen: list[bytes] = field(default_factory=list)
    new: set[bytes] = field(default_factory=set)
    noted: bytes = b""

    def is_committed(self, path: bytes) -> bool:
        """Say whether a file surely is in the commit."""
        line = b" " + path + b"\0"
        place = self.noted.find(line)
        while place > 1 and self.noted[place - 2] != 0:  # a name that ends like this one
            place = self.noted.find(line, place + 1)
        return place > 0 and path not in self.new


class Survey:
    """Questions about the state of one work tree; git works on them from here on.

    Parameters
    ----------
    root
        Top folder of the work tree.
    ask
        The questions about it.
    """

    def __init__(self, root: str, ask: Questions) -> None:
        self.root = root
        self.ask = ask
        self.process_id = os.getpid()
        self.config: list[tuple[str, str]] = []
        self.failure: NoAnswerError | None = None
        self._filters: dict[str, bool] = {}
        self._begun: list[Question] = []
        try:
            self._begin()
        except NoAnswerError as error:
            self.failure = error
            self.end()

    def _begin(self) -> None:
        # This looks at no file, so that no filter is run.
        self._begun.append(self.ask.begin("ls-files", "-v", "-z"))
        self.config = self.ask.config(_SETTINGS)
        self._check_place()
        self._filters = running_filters(self.config)
        self.ask.leave_out_filters(self._filters)
        # Into submodules git would go with the filters that their own configuration names.
        self._begun.append(self.ask.begin(
            "-c", "status.renames=false", "status", "--porcelain=v2", "--branch", "-z",
            "--no-ahead-behind", "--untracked-files=normal", "--ignore-submodules=dirty",
        ))  # fmt: skip

    def _check_place(self) -> None:
        """See that git would look at this folder, which a setting can keep it from."""
        place = self._setting("core.worktree")
        folder = git_folder(self.root)
        if place and folder and os.path.realpath(folder / place) != os.path.realpath(self.root):
            raise NoAnswerError("git is told that the files of this repository are elsewhere")

    def _setting(self, name: str) -> str | None:
        return next((value for key, value in reversed(self.config) if key == name), None)

    def end(self) -> None:
        """End what git works on: nobody wants the answer."""
        for question in self._begun:
            question.end()

    def state(self, without: Collection[str] = ()) -> State:
        """Wait for the answers, and put them together.

        Parameters
        ----------
        without
            Folders whose untracked files are no code; absolute real paths.

        Raises
        ------
        NoAnswerError
            If git does not answer.
        """
        if self.failure is not None:
            raise self.failure
        try:
            flags, status = (question.answer() for question in self._begun)
        finally:
            self.end()
        state = State()
        self._read(state, status)
        state.noted = flags
        state.unseen = list(self._unseen(flags))
        state.untracked = [path for path in state.untracked if not self._is_left_out(path, without)]
        return state

    def _read(self, state: State, answer: bytes) -> None:
        seeming: dict[bytes, str] = {}
        entries = iter(answer.split(b"\0"))
        for entry in entries:
            kind, _, rest = entry.partition(b" ")
            if kind == b"#":
                _read_header(state, rest)
            elif kind == b"?":
                state.untracked.append(rest)
            elif kind in _FIELDS:
                fields = entry.split(b" ", _FIELDS[kind])
                state.changed.append(fields[-1])
                if kind != b"1" or not fields[1].startswith((b".", b"M", b"T")):
                    state.new.add(fields[-1])
                if kind == b"2":
                    next(entries, None)  # the name before it was renamed
                # Nothing but the content of the file differs from what git has.
                elif kind == b"1" and fields[1] == b".M" and fields[4] == fields[5] != _GITLINK:
                    seeming[fields[-1]] = fields[7].decode("ascii", "replace")
        if seeming and any(self._filters.values()):
            self._compare(state, seeming)

    def _compare(self, state: State, seeming: dict[bytes, str]) -> None:
        """Judge files that seem changed, of which a filter that was not run might say else."""
        unchanged = set()
        for path, name in filters_of(self.ask, seeming).items():
            if not self._filters.get(name):
                continue
            found = self._large_file_id(path, seeming[path]) if name == LFS else None
            if found is None:
                state.unknown.append(path)
            elif found != seeming[path]:
                state.unpatched.append(path)
                continue
            unchanged.add(path)
        state.changed = [path for path in state.changed if path not in unchanged]

    def _large_file_id(self, path: bytes, like: str) -> str | None:
        def go_on() -> None:
            if time.monotonic() > self.ask.deadline:
                raise TimeoutError

        try:
            return large_file_id(os.path.join(os.fsencode(self.root), path), like, go_on)  # noqa: PTH118
        except OSError:
            return None

    def _unseen(self, answer: bytes) -> Iterator[bytes]:
        # The common case, told at once: every path has the same mark.
        if answer.count(b"\0H ") + answer.startswith(b"H ") == answer.count(b"\0"):
            return
        is_sparse = self._setting("core.sparsecheckout")
        for line in answer.split(b"\0"):
            mark, _, path = line.partition(b" ")
            # In a sparse checkout, git marks what is not there.
            if mark.islower() or (mark == b"S" and is_sparse in (None, "false")):
                yield path

    def _is_left_out(self, path: bytes, without: Collection[str]) -> bool:
        """Say whether an untracked file or folder is no code, but data or results."""
        name = os.fsdecode(path).rstrip("/")
        if JOURNAL_FOLDER in name.split("/"):
            return True
        if path.endswith(b"/") and os.path.isfile(os.path.join(self.root, name, MANIFEST)):  # noqa: PTH113, PTH118
            return True  # the results of an earlier run
        inside = []
        for folder in without:
            relative = os.path.relpath(folder, os.path.realpath(self.root)).replace(os.sep, "/")
            if relative == "." or relative.startswith("../") or relative == "..":
                continue
            if f"{name}/".startswith(f"{relative}/"):
                return True
            if f"{relative}/".startswith(f"{name}/"):
                inside.append(relative)
        return bool(inside) and not self._holds_more(path, inside)

    def _holds_more(self, path: bytes, folders: list[str]) -> bool:
        """Ask git whether there is anything in an untracked folder besides some folders."""
        patterns = ("/" + _SPECIAL.sub(r"\\\1", folder) + "/" for folder in folders)
        return bool(self.ask(
            "ls-files", "-z", "--others", "--exclude-standard", "--directory",
            "--no-empty-directory", *(f"--exclude={pattern}" for pattern in patterns),
            "--", os.fsdecode(path),
        ))  # fmt: skip

    def submodules(self, depth: int = 1) -> Iterator[tuple[bytes, State | NoAnswerError]]:
        """Give the state of each submodule that is here, or why it has none.

        They are asked one by one, each without running what its own configuration names.
        """
        if depth > _DEEPEST or not os.path.isfile(os.path.join(self.root, ".gitmodules")):  # noqa: PTH113, PTH118
            return
        paths = self.ask.config(r"submodule\..*\.path", file=".gitmodules")
        for _, path in paths:
            folder = os.path.realpath(os.path.join(self.root, path))  # noqa: PTH118
            is_inside = folder.startswith(os.path.join(os.path.realpath(self.root), ""))  # noqa: PTH118
            if not path or not is_inside or find_root(folder) != folder:
                continue
            inner = Survey(folder, self.ask.elsewhere(folder))
            try:
                yield os.fsencode(path), inner.state()
            except NoAnswerError as error:
                yield os.fsencode(path), error
                continue
            for deeper, state in inner.submodules(depth + 1):
                yield os.fsencode(path) + b"/" + deeper, state


def _read_header(state: State, header: bytes) -> None:
    name, _, value = header.partition(b" ")
    text = os.fsdecode(value)
    if name == b"branch.oid":
        state.commit = text if OBJECT_ID.fullmatch(text) else None
    elif name == b"branch.head":
        state.branch = None if text == "(detached)" else text
