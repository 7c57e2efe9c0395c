"""Which commits of a repository hold a folder of a known tree id.

A helper of :mod:`asset_provenance.resolving`.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from asset_provenance.capture.gitasking import Questions, commit_time
from asset_provenance.records import printable
from asset_provenance.redaction import redact_text

__all__ = ["Commit", "History"]

_MOST = 4_000_000_000
"""Bytes of one answer: the history of any repository must fit."""

# A stash makes commits of its own, one with the very tree of HEAD, which nobody else ever has.
_ALL = ("--exclude=refs/stash", "--exclude=refs/notes/*", "--all")


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit that holds a tree.

    Parameters
    ----------
    commit_hash
        In full.
    time
        When it was committed.
    tags
        Tags on it, the newest version last.
    path
        Of the folder with the tree; empty for the top folder. Of several the one nearest to that.
    remotes
        Those that have it on a branch; None where the clone knows no branch of any.
    """

    commit_hash: str
    time: datetime
    tags: tuple[str, ...]
    path: str
    remotes: tuple[str, ...] | None = None


class History:
    """All commits of one repository that its branches and tags lead to.

    Parameters
    ----------
    folder
        The clone, or a folder in it.
    seconds
        For all questions together.

    Raises
    ------
    NoAnswerError
        If git cannot read it.
    """

    def __init__(self, folder: str, *, seconds: float) -> None:
        self._ask = Questions(folder, seconds, most=_MOST)
        answer = self._ask("log", *_ALL, "--date-order", "--format=%H %T %ct")
        lines = [line.split() for line in answer.decode("ascii", "replace").splitlines()]
        self._commits = {commit: (tree, commit_time(time)) for commit, tree, time in lines}
        is_shallow = self._ask("rev-parse", "--is-shallow-repository").strip() == b"true"
        partial = self._ask("config", "--get-regexp", r"^remote\..*\.promisor$", accept=(0, 1))
        self.gaps = "shallow" if is_shallow else "partial" if partial else ""
        """What keeps it from holding all of its history: ``shallow`` or ``partial``."""

    def __len__(self) -> int:
        """Give the number of commits."""
        return len(self._commits)

    def find(self, trees: Collection[str]) -> Mapping[str, list[Commit]]:
        """Find the commits that hold a tree, at the top or in a folder: the newest first."""
        known = self._known(trees)
        paths = {"": frozenset(known), **self._places(known)} if known else {}
        found: dict[str, dict[str, str]] = defaultdict(dict)
        for path in sorted(paths, key=lambda path: (path.count("/"), path)):
            for commit, tree in self._at(path):
                if tree in paths[path]:
                    found[tree].setdefault(commit, path)
        if not found:
            return {}
        tags, remotes = self._tags(), self._remotes()
        return {
            tree: [
                Commit(
                    commit,
                    time,
                    tags.get(commit, ()),
                    _told(held[commit]),
                    tuple(name for name, has in remotes.items() if commit in has)
                    if any(remotes.values())
                    else None,
                )
                for commit, (_, time) in self._commits.items()
                if commit in held
            ]
            for tree, held in found.items()
        }

    def _known(self, trees: Collection[str]) -> set[str]:
        """Give those that the repository has: git refuses to look for others."""
        given = "".join(f"{tree}\n" for tree in sorted(trees)).encode()
        answer = self._ask("cat-file", "--batch-check=%(objectname) %(objecttype)", given=given)
        return {
            words[0]
            for line in answer.decode("ascii", "replace").splitlines()
            if len(words := line.split()) == 2 and words[1] == "tree"
        }

    def _places(self, trees: Iterable[str]) -> dict[str, frozenset[str]]:
        """Give the paths of folders at which any commit brought or took away one of the trees."""
        answer = self._ask(
            "log", *_ALL, "-m", "-t", "--root", "--raw", "-z", "--no-abbrev",
            "--no-renames", "--format=", *(f"--find-object={tree}" for tree in sorted(trees)),
        )  # fmt: skip
        wanted = set(trees)
        found: dict[str, set[str]] = defaultdict(set)
        parts = iter(answer.split(b"\0"))
        for part in parts:
            fields = part.lstrip(b"\n").decode("ascii", "replace").split()
            if len(fields) == 5 and fields[0].startswith(":"):
                path = os.fsdecode(next(parts, b""))
                found[path] |= wanted.intersection(fields[2:4])
        return {path: frozenset(held) for path, held in found.items() if held}

    def _at(self, path: str) -> Iterable[tuple[str, str]]:
        """Give the id of the tree at a path in every commit that has one."""
        if not path:
            return [(commit, tree) for commit, (tree, _) in self._commits.items()]
        place = os.fsencode(path)
        if b"\n" in place:  # git takes one question a line
            return []
        given = b"".join(commit.encode() + b":" + place + b"\n" for commit in self._commits)
        answer = self._ask("cat-file", "--batch-check=%(objectname)", given=given)
        return [
            (commit, line.decode("ascii"))
            for commit, line in zip(self._commits, answer.splitlines(), strict=True)
            if b" " not in line  # the answer where there is no such folder
        ]

    def _remotes(self) -> Mapping[str, frozenset[str]]:
        """Give the commits that the branches of each remote lead to."""
        names = os.fsdecode(self._ask("remote")).splitlines()
        return {
            name: frozenset(
                self._ask("rev-list", f"--remotes={name}").decode("ascii", "replace").split()
            )
            for name in names
        }

    def _tags(self) -> Mapping[str, tuple[str, ...]]:
        answer = self._ask(
            "for-each-ref", "--sort=version:refname",
            "--format=%(objectname) %(*objectname) %(refname:strip=2)", "refs/tags",
        )  # fmt: skip
        found: dict[str, list[str]] = defaultdict(list)
        for line in os.fsdecode(answer).splitlines():
            direct, pointed_at, name = line.split(" ", 2)
            found[pointed_at or direct].append(_told(name))
        return {commit: tuple(names) for commit, names in found.items()}


def _told(name: str) -> str:
    """Give a name that anybody may have given as it may be told: in text, and without secrets."""
    return printable(redact_text(name))
