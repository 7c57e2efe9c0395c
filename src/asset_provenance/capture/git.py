"""What a git work tree says of the code in it: remote, commit, uncommitted changes.

A helper of :mod:`asset_provenance.capture.code`; the two are one collector.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asset_provenance.capture.gitasking import BrokenGitError, NoAnswerError, Questions
from asset_provenance.capture.gitfiles import read_config, read_head, read_ref
from asset_provenance.capture.gitremotes import (
    choose_remote,
    public_url,
    pushed,
    remote_of,
)
from asset_provenance.capture.gitstatus import State, Survey
from asset_provenance.records import printable
from asset_provenance.redaction import contains_secret

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

__all__ = ["Git", "WorkTree"]

_logger = logging.getLogger("asset_provenance")

MAX_PATCH = 1_000_000
"""A larger patch is not kept beside the metadata."""

_MAX_NAMES = 10
_LONGEST_LINE = 100_000
"""Bytes of names in a command line, which some systems hold to 128 KB."""


@dataclass(frozen=True, slots=True)
class WorkTree:
    """What is known of one git work tree.

    Parameters
    ----------
    root
        Top folder of the work tree.
    url
        Of its remote, free of credentials; else a ``file://`` URI.
    commit
        Full commit of HEAD, or None where there is none or it cannot be read.
    notes
        Sentences on what the reader of the record must know besides.
    state
        What git says of its files; None where it does not answer.
    is_pushed
        Whether a branch of the remote holds the commit; None where that is not known.
    """

    root: str
    url: str
    commit: str | None
    notes: tuple[str, ...]
    state: State | None
    is_pushed: bool | None = None


class Git:
    """Asks git about work trees, within a time limit and without running anything of theirs.

    Parameters
    ----------
    save_patch
        Whether patches of uncommitted changes may be kept.
    timeout
        Seconds that all questions about one work tree may take together.

    Attributes
    ----------
    patches : dict
        The patches to keep, by full commit.
    """

    def __init__(self, *, save_patch: bool, timeout: float, without: Collection[str] = ()) -> None:
        self._save_patch = save_patch
        self._timeout = timeout
        self._without = without
        self._unusable: str | None = None
        self.patches: dict[str, bytes] = {}

    def work_tree(self, root: str, survey: Survey | None = None) -> WorkTree:
        """Find out what there is to know of the work tree with this top folder.

        Parameters
        ----------
        root
            The folder.
        survey
            Where git was asked about it before.
        """
        commit, branch = read_head(root)
        remote, url = choose_remote(read_config(root), branch)
        notes: list[str] = []
        state = None
        is_pushed: bool | None = None
        try:
            survey, state = self._survey(root, survey)
            commit = state.commit
            remote, url = remote_of(survey.ask, survey.config, state.branch)
        except NoAnswerError as error:
            notes.append(f"uncommitted changes were not looked for: {error}")
            _logger.warning("%s: %s", printable(root), notes[-1])
        if url is None:
            notes.append("the repository has no remote")
        url = Path(root).as_uri() if url is None else public_url(url, root)
        if commit is None:
            no_commit = "the branch has no commits yet"
            notes.append("the commit could not be read" if state is None else no_commit)
        if survey is not None and state is not None:
            tip = read_ref(root, f"refs/remotes/{remote}/{state.branch}")
            if commit is not None and remote is not None:
                is_pushed, note = (
                    (True, None) if tip == commit else pushed(survey.ask, commit, remote)
                )
                notes.extend([note] if note else [])
            notes.extend(self._notes_on(survey, state))
        return WorkTree(root, url, commit, tuple(notes), state, is_pushed)

    def _survey(self, root: str, survey: Survey | None) -> tuple[Survey, State]:
        """Ask for the state; a git that does not run for it is not asked again."""
        if self._unusable:
            raise NoAnswerError(self._unusable)
        # In a forked child, git is not its own to wait for.
        if survey is None or survey.process_id != os.getpid():
            survey = Survey(root, Questions(root, self._timeout))
        survey.ask.start_clock()
        try:
            return survey, survey.state(self._without)
        except BrokenGitError as error:
            self._unusable = str(error)
            raise

    def is_committed(self, tree: WorkTree, path: str) -> bool | None:
        """Tell whether a file (relative to the root) is in the commit; None if unknown."""
        if tree.commit is None or tree.state is None:
            return None
        if tree.state.is_committed(os.fsencode(path)):
            return True
        try:
            found = Questions(tree.root, self._timeout)(
                "ls-tree", "-z", "--name-only", "--full-tree", tree.commit, "--", path
            )
        except NoAnswerError:
            return None
        return bool(found)

    def _notes_on(self, survey: Survey, state: State) -> Iterator[str]:
        if state.changed:
            yield self._note_on_changes(survey.ask, state)
        if state.unknown:
            count = _count(len(state.unknown), "file was", "files were")
            yield (
                f"{count} not compared with the commit, since git would run a filter for that: "
                f"{_names(state.unknown)}"
            )
        if state.unseen:
            count = _count(len(state.unseen), "file was", "files were")
            yield (
                f"{count} not compared with the commit, being marked assume-unchanged or "
                f"skip-worktree in git: {_names(state.unseen)}"
            )
        if state.untracked:
            count = _count(
                len(state.untracked),
                "untracked file or folder is",
                "untracked files or folders are",
            )
            yield f"{count} not in the commit: {_names(state.untracked)}"
        yield from _notes_on_submodules(survey)

    def _note_on_changes(self, ask: Questions, state: State) -> str:
        changed, commit = state.changed, state.commit
        text = f"{_count(len(changed), 'file has', 'files have')} uncommitted changes"
        if commit is None:
            return f"{text}: {_names(changed)}"
        large = set(state.unpatched)
        try:
            patch = _patch(ask, state)
        except NoAnswerError as error:
            return f"{text}: {_names(changed)}; there is no patch of them: {error}"
        if not self._save_patch:
            reason = "as was asked"
        elif len(patch) > MAX_PATCH:
            reason = "being over 1 MB"
        elif contains_secret(patch):
            reason = "as it seems to hold a secret"
        elif self.patches.setdefault(commit, patch) != patch:
            reason = "as another work tree at the same commit has its own"
        else:
            text = f"{text}, kept as provenance/uncommitted-{commit}.patch"
            return text + (f", without the large {_names(sorted(large))}" if large else "")
        digest = hashlib.sha256(patch).hexdigest()
        text += f": {_names(changed)}; the patch is not kept, {reason}"
        return f"{text}; its SHA-256 is {digest}"


def _patch(ask: Questions, state: State) -> bytes:
    """Give the uncommitted changes as git writes them, of the files where it can."""
    left_out = {*state.unpatched, *state.unknown}
    shown = [path for path in state.changed if path not in left_out]
    if not shown:
        raise NoAnswerError("they are of large files")
    # Told the files, git need not look at all others once more; but a command line has an end.
    if sum(map(len, shown)) + len(shown) > _LONGEST_LINE:
        if left_out:
            raise NoAnswerError("they are too many")
        shown = []
    return ask(
        "diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--submodule=short",
        "--ignore-submodules=dirty", str(state.commit), "--", *map(os.fsdecode, shown),
    )  # fmt: skip


def _notes_on_submodules(survey: Survey) -> Iterator[str]:
    changed = []
    try:
        for path, state in survey.submodules():
            if isinstance(state, NoAnswerError):
                yield f"uncommitted changes of {printable(path)} were not looked for: {state}"
            elif state.changed:
                changed.append(path)
    except NoAnswerError as error:
        yield f"uncommitted changes of submodules were not looked for: {error}"
    if changed:
        count = _count(len(changed), "submodule has", "submodules have")
        yield f"{count} uncommitted changes of its own: {_names(changed)}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _names(names: Sequence[bytes]) -> str:
    more = len(names) - _MAX_NAMES
    return ", ".join(map(printable, names[:_MAX_NAMES])) + (f" and {more} more" if more > 0 else "")
