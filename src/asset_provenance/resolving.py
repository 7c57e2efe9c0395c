"""``asset-provenance resolve``: the commits of code that is known by the id of its folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from asset_provenance.amending import Amendment
from asset_provenance.capture.code import ONE_MACHINE
from asset_provenance.capture.gitasking import NoAnswerError
from asset_provenance.capture.gitfiles import find_root
from asset_provenance.capture.githistory import Commit, History
from asset_provenance.capture.gitremotes import clone_urls
from asset_provenance.errors import UsageError

__all__ = ["Resolution", "Resolved", "resolve"]

_TREE = re.compile(r"tree:([0-9a-f]{40})")
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
    """

    process: str
    tree: str
    commit: Commit | None
    others: int = 0
    url: str | None = None


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
    """

    resolved: tuple[Resolved, ...]
    commits: int
    gaps: str


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
        What was found; it is written.

    Raises
    ------
    UsageError, StorageError
        If one of the two cannot be read, or the result cannot be written.
    """
    amendment = Amendment(folder)
    wanted = [
        (name, known[1], code)
        for name, code in amendment.codes()
        if not code.get("commit_hash") and (known := _TREE.fullmatch(str(code.get("version"))))
    ]
    if not repository.is_dir():
        raise UsageError(f"there is no folder {repository}: give a clone of the code's repository")
    try:
        root = find_root(str(repository.absolute())) or str(repository.absolute())
        history = History(root, seconds=_SECONDS)
        urls = clone_urls(root)
        found = history.find({tree for _, tree, _ in wanted}) if wanted else {}
    except NoAnswerError as error:
        raise UsageError(f"{repository} cannot be searched: {error}") from error
    begun = {
        str(process.get("name")): process.get("start_date_time")
        for process in amendment.processes()
    }
    resolved: list[Resolved] = []
    chosen: dict[str, Commit] = {}
    for name, tree, code in wanted:
        holding = found.get(tree, [])
        commit = choose(holding, _time(begun.get(name)))
        url = None if commit is None else _url(commit, urls)
        resolved.append(Resolved(name, tree, commit, max(0, len(holding) - 1), url))
        if commit is not None:
            chosen.setdefault(tree, commit)
            _fill(code, commit, url)
            if url is not None:
                amendment.drop_note(name, ONE_MACHINE)
    if chosen:
        amendment.tell_commits({tree: one.commit_hash for tree, one in chosen.items()})
        amendment.write()
    return Resolution(tuple(resolved), len(history), history.gaps)


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


def _time(text: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _url(commit: Commit, urls: Mapping[str | None, str]) -> str | None:
    """Give the URL of a remote that has the commit; if none is known to, the clone's own."""
    having = [url for name, url in urls.items() if name in (commit.remotes or ())]
    return next(iter([*having, *urls.values()]), None)


def _fill(code: dict[str, Any], commit: Commit, url: str | None) -> None:
    code["commit_hash"] = commit.commit_hash
    if commit.tags:
        code["version"] = max(reversed(commit.tags), key=_is_of_a_release)
    if url is not None:
        code["url"] = url
    # Of a folder of one machine it stays relative to that folder.
    script = code.get("run_script")
    if isinstance(script, str) and not str(code.get("url")).startswith("file://"):
        code["run_script"] = (PurePosixPath(commit.path) / script).as_posix()
