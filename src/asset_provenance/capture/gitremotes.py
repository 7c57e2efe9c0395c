"""Where others get the code of a work tree: remotes, their URLs, and whether they have a commit.

A helper of :mod:`asset_provenance.capture.git`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from asset_provenance.capture.gitasking import TIMEOUT, NoAnswerError, Questions
from asset_provenance.capture.gitfiles import read_config, read_head
from asset_provenance.records import printable
from asset_provenance.redaction import clean_url

__all__ = [
    "REMOTE_SETTINGS",
    "choose_remote",
    "clone_urls",
    "glance",
    "public_url",
    "pushed",
    "remote_of",
]

REMOTE_SETTINGS = r"remote\..*\.url|branch\..*\.remote|url\..*\.insteadof"
"""The settings that tell which remote there is, as a regular expression."""


def clone_urls(root: str) -> dict[str | None, str]:
    """Give the URLs of a clone's remotes that others can reach, by name.

    The first is that of the remote that the clone's branch follows, which may have no name.

    Raises
    ------
    NoAnswerError
        If git does not tell.
    """
    _, branch = read_head(root)
    ask = Questions(root, TIMEOUT)
    config = ask.config(REMOTE_SETTINGS)
    first, url = remote_of(ask, config, branch)
    urls = {first: url}
    for key, _ in config:
        name = key.removeprefix("remote.").removesuffix(".url")
        if key.startswith("remote.") and name not in urls:
            alone = [item for item in config if item[0] == key or item[0].startswith("url.")]
            urls[name] = remote_of(ask, alone, None)[1]
    public = {name: public_url(url, root) for name, url in urls.items() if url}
    return {name: url for name, url in public.items() if not url.startswith("file://")}


def glance(root: str) -> tuple[str, str | None]:
    """Give the URL of a work tree and the commit of HEAD, without asking git."""
    commit, branch = read_head(root)
    _, url = choose_remote(read_config(root), branch)
    return Path(root).as_uri() if url is None else public_url(url, root), commit


def pushed(ask: Questions, commit: str, remote: str) -> tuple[bool | None, str | None]:
    """Tell whether a remote has a commit, and what the reader must know of that."""
    try:
        holders = _remote_branches(ask, "--contains", commit)
        if any(name.startswith(f"refs/remotes/{remote}/") for name in holders):
            return True, None
        is_known = bool(holders or _remote_branches(ask, "--count=1"))
        is_shallow = ask("rev-parse", "--is-shallow-repository").strip() == b"true"
    except NoAnswerError:
        return None, None
    short = commit[:12]
    if holders:
        other = printable(holders[0].removeprefix("refs/remotes/"))
        told = f"commit {short} is on no branch of the remote {printable(remote)}, but on {other}"
        return False, told
    unknown = f"whether the remote has commit {short} is unknown"
    if not is_known:
        return None, f"{unknown}: this clone knows no remote branch"
    if is_shallow:
        return None, f"{unknown}: the clone is shallow"
    told = f"commit {short} is on no remote branch: others cannot get it until it is pushed"
    return False, told


def choose_remote(
    config: Iterable[tuple[str, str]], branch: str | None
) -> tuple[str | None, str | None]:
    """Give name and URL of the remote that a branch follows, else origin, else the first.

    Parameters
    ----------
    config
        Settings as git names them.
    branch
        None where HEAD is on none.
    """
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


def public_url(url: str, root: str) -> str:
    """Give the URL of a remote without credentials; a ``file://`` URI where it is no other."""
    cleaned = clean_url(url)
    if cleaned.startswith("file://"):
        return cleaned
    if "://" in cleaned:
        return printable(cleaned)
    return Path(os.path.normpath(Path(root, cleaned))).as_uri()


def remote_of(
    ask: Questions, config: Sequence[tuple[str, str]], branch: str | None
) -> tuple[str | None, str | None]:
    """Give name and URL of the remote of a branch, as :func:`choose_remote`, as git uses it."""
    name, url = choose_remote(config, branch)
    # Git rewrites URLs (url.<base>.insteadOf).
    if name is not None and any(key.startswith("url.") for key, _ in config):
        with contextlib.suppress(NoAnswerError):
            url = os.fsdecode(ask("remote", "get-url", "--", name)).rstrip("\n")
    return name, url


def _remote_branches(ask: Questions, *conditions: str) -> list[str]:
    """Give the names of the remote-tracking branches, all or those that meet conditions."""
    answer = ask("for-each-ref", "--format=%(refname)", *conditions, "refs/remotes")
    return os.fsdecode(answer).splitlines()
