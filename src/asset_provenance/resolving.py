"""``asset-provenance resolve``: the commits of code that is known by the id of its folder."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from asset_provenance.amending import FOUND_BY, Amendment, add_note, drop_note, found_by
from asset_provenance.capture.code import ONE_MACHINE
from asset_provenance.capture.gitasking import NoAnswerError
from asset_provenance.capture.gitfiles import find_clone
from asset_provenance.capture.githistory import Commit, History
from asset_provenance.capture.gitremotes import clone_urls
from asset_provenance.errors import UsageError
from asset_provenance.views import as_time

__all__ = ["Resolution", "Resolved", "resolve"]

_TREE = re.compile(r"tree:([0-9a-f]{40})")
_IN_NOTES = re.compile(r" at (?:[0-9a-f]{7,64} \()?tree:([0-9a-f]{40})")
_REPLACED = re.compile(r"^file://|^https://[^/]+/capsule/[^/]+(/tree)?/?$")
"""URLs that stand for want of a better one: a folder, the page of a capsule."""
_SECONDS = 3600.0
_PRERELEASE = re.compile(r"\d[-_.]?(?:a|b|c|rc|alpha|beta|pre|preview|dev)[-_.]?\d*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What became of the code of one process.

    Parameters
    ----------
    process
        Its name.
    tree
        The id of the folder of code.
    commit
        The commit that was chosen; None if no commit of the clone holds the folder.
    others
        How many other commits hold it as well.
    url
        Of a repository with the commit; None where others cannot reach one.
    is_later
        Whether the commit was made after the process had begun.
    """

    process: str
    tree: str
    commit: Commit | None
    others: int = 0
    url: str | None = None
    is_later: bool = False


@dataclass(frozen=True, slots=True)
class Resolution:
    """What became of all of them.

    Parameters
    ----------
    resolved
        One for each process, or pipeline, whose code is known by its folder only.
    commits
        How many commits were looked at.
    gaps
        What keeps the clone from holding all of its history; empty if nothing does.
    is_written
        Whether anything was new.
    """

    resolved: tuple[Resolved, ...]
    commits: int
    gaps: str
    is_written: bool


def resolve(folder: Path, repository: Path) -> Resolution:
    """Find the commits of the code that ran, and write them into ``processing.json``.

    Parameters
    ----------
    folder
        Of the written set.
    repository
        A clone of the repository that the code is from.

    Returns
    -------
    Resolution
        What was found; it is written. What was found by the id of a folder before is looked for
        again: another clone may know more of it.

    Raises
    ------
    UsageError, StorageError
        If one of the two cannot be read, or the result cannot be written.
    """
    amendment = Amendment(folder)
    wanted = list(_wanted(amendment))
    if not repository.is_dir():
        raise UsageError(
            f"there is no folder {repository}: give a clone of the code's repository on this "
            "machine, made with: git clone URL"
        )
    try:
        root = find_clone(str(repository.absolute()))
        history = History(root, seconds=_SECONDS)
        urls = clone_urls(root)
        found = history.find({each.tree for each in wanted}) if wanted else {}
    except NoAnswerError as error:
        raise UsageError(f"{repository} cannot be searched: {error}") from error
    before = copy.deepcopy(amendment.processing)
    resolved: list[Resolved] = []
    chosen: dict[str, Commit] = {}
    for each in wanted:
        holding = found.get(each.tree, [])
        known = [one for one in holding if one.commit_hash == each.told]
        commit = known[0] if known else choose(holding, each.begun)
        url = None if commit is None else _url(commit, urls)
        is_later = commit is not None and each.begun is not None and commit.time > each.begun
        others = max(0, len(holding) - 1)
        resolved.append(Resolved(each.name, each.tree, commit, others, url, is_later))
        if commit is not None:
            chosen.setdefault(each.tree, commit)
            _fill(each, commit, url)
    amendment.tell_commits({tree: one.commit_hash for tree, one in chosen.items()})
    is_changed = amendment.processing != before
    if is_changed:
        amendment.write()
    return Resolution(tuple(resolved), len(history), history.gaps, is_changed)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Code that is known by the id of its folder; without code, the main script of the notes."""

    name: str
    tree: str
    begun: datetime | None = None
    code: dict[str, Any] | None = None
    process: dict[str, Any] | None = None
    """Whose code it is, if not a pipeline's."""

    @property
    def told(self) -> str | None:
        """The commit that is there already, if somebody else told it."""
        is_found = self.process is not None and found_by(self.process)
        return None if self.code is None or is_found else self.code.get("commit_hash")


def _wanted(amendment: Amendment) -> Iterator[_Wanted]:
    trees = set()
    for item, code in amendment.codes():
        version = _TREE.fullmatch(str(code.get("version")))
        tree = version[1] if version else found_by(item)
        if tree is not None:
            trees.add(tree)
            begun = as_time(item.get("start_date_time"))
            process = None if item is code else item
            yield _Wanted(str(item.get("name")), tree, begun, code, process)
    notes = str(amendment.processing.get("notes") or "")
    for tree in dict.fromkeys(_IN_NOTES.findall(notes)):
        if tree not in trees:
            yield _Wanted("main script", tree)


def choose(commits: Sequence[Commit], begun: datetime | None) -> Commit | None:
    """Choose the commit that ran, of several that hold the same code.

    Of those that were there when the process began, one with a tag is taken, else the newest that
    a remote has, else the newest.

    Parameters
    ----------
    commits
        The newest first.
    begun
        When the process began, if that is known.
    """
    there = [commit for commit in commits if begun is None or commit.time <= begun]
    # A commit that was amended or rebased since has another time, and the same code.
    pool = there or commits
    # The first of the best.
    return max(pool, key=lambda commit: (bool(commit.tags), bool(commit.remotes)), default=None)


def _is_of_a_release(tag: str) -> tuple[bool, bool]:
    """Order tags: names such as ``latest`` move, and a candidate is often tagged as the release."""
    return any(sign.isdigit() for sign in tag), _PRERELEASE.search(tag) is None


def _url(commit: Commit, urls: Mapping[str | None, str]) -> str | None:
    """Give the URL of a remote that has the commit; if none is known to, the clone's own."""
    having = [url for name, url in urls.items() if name in (commit.remotes or ())]
    return next(iter([*having, *urls.values()]), None)


def _fill(wanted: _Wanted, commit: Commit, url: str | None) -> None:
    code, process = wanted.code, wanted.process
    if code is None:
        return
    was_in_folder = not code.get("commit_hash") or str(code.get("url")).startswith("file://")
    if process is not None and not wanted.told:
        add_note(process, f"{FOUND_BY}{wanted.tree}")
    code["commit_hash"] = commit.commit_hash
    if commit.tags:
        code["version"] = max(reversed(commit.tags), key=_is_of_a_release)
    # What the user gave stays.
    if url is not None and _REPLACED.search(str(code.get("url"))):
        code["url"] = url
        if process is not None:
            drop_note(process, ONE_MACHINE)
    # Of a folder of one machine it stays relative to that folder.
    script = code.get("run_script")
    is_in_folder = str(code.get("url")).startswith("file://")
    if isinstance(script, str) and was_in_folder and not is_in_folder:
        code["run_script"] = (PurePosixPath(commit.path) / script).as_posix()
