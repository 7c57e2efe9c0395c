"""What a git work tree says of the code in it: remote, commit, uncommitted changes.

A helper of :mod:`asset_provenance.capture.code`; the two are one collector.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asset_provenance.capture.gitasking import BrokenGitError, NoAnswerError, Questions
from asset_provenance.capture.gitfiles import OBJECT_ID, read_config, read_head
from asset_provenance.records import printable
from asset_provenance.redaction import clean_url, contains_secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Git", "WorkTree", "clone_url"]

_logger = logging.getLogger("asset_provenance")

MAX_PATCH = 1_000_000
"""A larger patch is not kept beside the metadata."""

_MAX_NAMES = 10
_TIMEOUT = 10.0


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
    answers
        Whether git can be asked about single files of it.
    """

    root: str
    url: str
    commit: str | None
    notes: tuple[str, ...]
    answers: bool


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

    def __init__(self, *, save_patch: bool, timeout: float) -> None:
        self._save_patch = save_patch
        self._timeout = timeout
        self._unusable: str | None = None
        self.patches: dict[str, bytes] = {}

    def work_tree(self, root: str) -> WorkTree:
        """Find out what there is to know of the work tree with this top folder."""
        ask = _Questions(root, self._timeout)
        commit, branch = read_head(root)
        remote, url = _choose_remote(read_config(root), branch)
        notes: list[str] = []
        changed: list[str] = []
        untracked: list[str] = []
        answers = shallow = False
        try:
            shallow = self._first_question(ask)
            remote, url = ask.remote(branch)
            commit, changed, untracked = ask.status()
            answers = True
        except NoAnswerError as error:
            notes.append(f"uncommitted changes were not looked for: {error}")
            _logger.warning("%s: %s", printable(root), notes[-1])
        url = _public_url(url, root, notes)
        if commit is None:
            no_commit = "the branch has no commits yet"
            notes.append(no_commit if answers else "the commit could not be read")
        elif answers and remote is not None:
            notes.extend(_note_on_push(ask, commit, remote, shallow))
        if changed:
            notes.append(self._note_on_changes(ask, commit, changed))
        if untracked:
            count = _count(
                len(untracked), "untracked file or folder is", "untracked files or folders are"
            )
            notes.append(f"{count} not in the commit: {_names(untracked)}")
        return WorkTree(root, url, commit, tuple(notes), answers)

    def is_committed(self, tree: WorkTree, path: str) -> bool | None:
        """Tell whether a file (relative to the root) is in the commit; None if unknown."""
        if tree.commit is None or not tree.answers:
            return None
        try:
            found = _Questions(tree.root, self._timeout)(
                "ls-tree", "-z", "--name-only", "--full-tree", tree.commit, "--", path
            )
        except NoAnswerError:
            return None
        return bool(found)

    def _first_question(self, ask: _Questions) -> bool:
        """Ask what costs nothing; a git that does not run for it is not asked again.

        Returns
        -------
        bool
            Whether the clone is shallow.
        """
        if self._unusable:
            raise NoAnswerError(self._unusable)
        try:
            return ask("rev-parse", "--is-shallow-repository").strip() == b"true"
        except BrokenGitError as error:
            self._unusable = str(error)
            raise

    def _note_on_changes(self, ask: _Questions, commit: str | None, changed: list[str]) -> str:
        text = f"{_count(len(changed), 'file has', 'files have')} uncommitted changes"
        if commit is None:
            return f"{text}: {_names(changed)}"
        try:
            patch = ask.patch(commit)
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
            return f"{text}, kept as provenance/uncommitted-{commit}.patch"
        digest = hashlib.sha256(patch).hexdigest()
        text += f": {_names(changed)}; the patch is not kept, {reason}"
        return f"{text}; its SHA-256 is {digest}"


class _Questions(Questions):
    """What is asked about one work tree."""

    def remote(self, branch: str | None) -> tuple[str | None, str | None]:
        """Give name and URL of the remote that the branch follows, else origin, else the first."""
        answer = self(
            "config", "--null", "--get-regexp", r"^(remote\..*\.url|branch\..*\.remote)$",
            accept=(0, 1),
        )  # fmt: skip
        config = [
            (key, value)
            for key, _, value in (os.fsdecode(x).partition("\n") for x in answer.split(b"\0") if x)
        ]
        name, url = _choose_remote(config, branch)
        if name is not None:
            # Asked for by name, since git rewrites URLs (url.<base>.insteadOf).
            with contextlib.suppress(NoAnswerError):
                url = os.fsdecode(self("remote", "get-url", "--", name)).rstrip("\n")
        return name, url

    def status(self) -> tuple[str | None, list[str], list[str]]:
        """Give the commit of HEAD, the changed files, and the untracked ones."""
        answer = self(
            "-c", "status.renames=false", "status", "--porcelain=v2", "--branch", "-z",
            "--no-ahead-behind", "--untracked-files=normal", "--ignore-submodules=untracked",
        )  # fmt: skip
        commit: str | None = None
        changed: list[str] = []
        untracked: list[str] = []
        # Fields before the path, by the kind of entry.
        fields = {b"1": 8, b"2": 9, b"u": 10}
        entries = iter(answer.split(b"\0"))
        for entry in entries:
            kind, _, rest = entry.partition(b" ")
            if kind == b"#" and rest.startswith(b"branch.oid "):
                oid = rest.removeprefix(b"branch.oid ").decode("ascii", "replace")
                commit = oid if OBJECT_ID.fullmatch(oid) else None
            elif kind == b"?":
                untracked.append(printable(rest))
            elif kind in fields:
                changed.append(printable(entry.split(b" ", fields[kind])[-1]))
                if kind == b"2":
                    next(entries, None)  # the name before it was renamed
        return commit, changed, untracked

    def patch(self, commit: str) -> bytes:
        """Give the uncommitted changes as git writes them."""
        return self(
            "diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv",
            "--submodule=short", "--ignore-submodules=untracked", commit, "--",
        )  # fmt: skip

    def remote_branches(self, *conditions: str) -> list[str]:
        """Give the names of the remote-tracking branches, all or those that meet conditions."""
        answer = self("for-each-ref", "--format=%(refname)", *conditions, "refs/remotes")
        return os.fsdecode(answer).splitlines()


def clone_url(root: str) -> str | None:
    """Give the URL that others have a clone under; None where it has none that they can reach.

    Raises
    ------
    NoAnswerError
        If git does not tell.
    """
    _, branch = read_head(root)
    _, url = _Questions(root, _TIMEOUT).remote(branch)
    public = _public_url(url, root, [])
    return None if public.startswith("file://") else public


def _note_on_push(ask: _Questions, commit: str, remote: str, shallow: bool) -> Iterator[str]:
    try:
        holders = ask.remote_branches("--contains", commit)
        known = bool(holders or ask.remote_branches("--count=1"))
    except NoAnswerError:
        return
    if any(name.startswith(f"refs/remotes/{remote}/") for name in holders):
        return
    short = commit[:12]
    if holders:
        other = printable(holders[0].removeprefix("refs/remotes/"))
        yield f"commit {short} is on no branch of the remote {printable(remote)}, but on {other}"
    elif not known:
        yield f"whether the remote has commit {short} is unknown: this clone knows no remote branch"
    elif shallow:
        yield f"whether the remote has commit {short} is unknown: the clone is shallow"
    else:
        yield f"commit {short} is on no remote branch: others cannot get it until it is pushed"


def _choose_remote(
    config: Iterable[tuple[str, str]], branch: str | None
) -> tuple[str | None, str | None]:
    urls: dict[str, str] = {}
    upstream = None
    for key, value in config:
        if key.startswith("remote."):
            urls.setdefault(key.removeprefix("remote.").removesuffix(".url"), value)
        elif branch is not None and key == f"branch.{branch}.remote":
            upstream = value
    if upstream not in (None, ".") and upstream not in urls:
        return None, upstream  # git allows a URL in the place of a remote's name
    for name in (upstream, "origin", *urls):
        if name is not None and name in urls:
            return name, urls[name]
    return None, None


def _public_url(url: str | None, root: str, notes: list[str]) -> str:
    """Give the URL of a remote without credentials; a ``file://`` URI where it is no other."""
    if url is None:
        notes.append("the repository has no remote")
        return Path(root).as_uri()
    cleaned = clean_url(url)
    if cleaned.startswith("file://"):
        return cleaned
    if "://" in cleaned:
        return printable(cleaned)
    return Path(os.path.normpath(Path(root, cleaned))).as_uri()


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _names(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
