"""Which commits lie between two.

A helper of :mod:`asset_provenance.differing`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from asset_provenance.capture.gitasking import Questions, commit_time
from asset_provenance.records import printable
from asset_provenance.redaction import redact_text

__all__ = ["CommitRange", "LoggedCommit", "find_range"]

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_MOST = 100
"""Commits that are told one by one."""
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class LoggedCommit:
    """A commit, as a log tells it.

    Parameters
    ----------
    commit_hash
        In full.
    time
        When it was committed.
    subject
        The first line of its message.
    """

    commit_hash: str
    time: datetime
    subject: str


@dataclass(frozen=True, slots=True)
class CommitRange:
    """What one commit has that another lacks.

    Parameters
    ----------
    before, after
        The two, as they were asked for.
    missing
        Those of the two that the clone does not have.
    added, dropped
        What only the history of the second has, and what only that of the first has: the newest
        first, and not more than a log is read of.
    count_added, count_dropped
        How many each are.
    """

    before: str
    after: str
    missing: tuple[str, ...] = ()
    added: tuple[LoggedCommit, ...] = ()
    dropped: tuple[LoggedCommit, ...] = ()
    count_added: int = 0
    count_dropped: int = 0


def find_range(ask: Questions, before: str, after: str) -> CommitRange:
    """Find the commits between two.

    Parameters
    ----------
    ask
        Of the clone.
    before, after
        Ids of commits.

    Raises
    ------
    NoAnswerError
        If git does not answer.
    """
    missing = tuple(one for one in (before, after) if not _is_there(ask, one))
    if missing:
        return CommitRange(before, after, missing)
    return CommitRange(
        before,
        after,
        added=_log(ask, before, after),
        dropped=_log(ask, after, before),
        count_added=_count(ask, before, after),
        count_dropped=_count(ask, after, before),
    )


def _is_there(ask: Questions, commit: str) -> bool:
    if not _COMMIT.fullmatch(commit):  # which git could take for anything
        return False
    answer = ask("cat-file", "--batch-check=%(objecttype)", given=f"{commit}^{{commit}}\n".encode())
    return answer.strip() == b"commit"


def _log(ask: Questions, known: str, wanted: str) -> tuple[LoggedCommit, ...]:
    answer = ask(
        "log", "-z", f"--max-count={_MOST}", "--encoding=UTF-8", "--format=%H%n%ct%n%s",
        f"{known}..{wanted}", "--",
    )  # fmt: skip
    parts = (part.split("\n", 2) for part in answer.decode("utf-8", "replace").split("\0"))
    return tuple(
        LoggedCommit(
            commit, commit_time(seconds), printable(redact_text(subject.strip()))[:_LONGEST]
        )
        for commit, seconds, subject in (part for part in parts if len(part) == 3)
    )


def _count(ask: Questions, known: str, wanted: str) -> int:
    return int(ask("rev-list", "--count", f"{known}..{wanted}", "--"))
