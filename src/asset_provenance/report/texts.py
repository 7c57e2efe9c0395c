"""Text from anybody, as it may stand in a page: free of secrets, and never acting on it."""

from __future__ import annotations

import re
from functools import lru_cache
from unicodedata import east_asian_width
from urllib.parse import quote, urlsplit

from asset_provenance.records import valid_text
from asset_provenance.redaction import redact_text

__all__ = ["LONGEST", "commit_link", "fitted", "link", "script_link", "shown", "width"]

LONGEST = 20_000
"""Most characters of one text that a page shows."""

_NAME = 200
_KEPT = frozenset("\n\t\u200c\u200d")  # the last two join letters, and parts of an emoji
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_FORGE = re.compile(r"(github|gitlab)(?:\.[\w\-]+)+")


def shown(text: str) -> str:
    """Give a text as a page shows it.

    Secrets are taken out, and characters that are not seen, or that turn the direction of what
    follows, are written out.
    """
    return _cached(text) if len(text) <= _NAME else _shown(text)


def _shown(text: str) -> str:
    # Redacted before it is cut, so that no half of a secret is left.
    safe = redact_text(valid_text(text[: 4 * LONGEST]))
    if len(text) > LONGEST:
        safe = f"{safe[:LONGEST]}… ({len(text):,} characters in all)"
    if safe.isascii() and safe.isprintable():
        return safe
    safe = safe.replace("\r\n", "\n")
    return "".join(
        c if c.isprintable() or c in _KEPT else c.encode("unicode_escape").decode() for c in safe
    )


# Names come again and again on a page; long texts would only fill the memory of a notebook.
_cached = lru_cache(maxsize=4096)(_shown)


def link(url: str | None) -> str | None:
    """Give the address that a URL of http or https leads to; None for every other text."""
    text = shown(url or "").strip()
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        return None
    return None if re.search(r"[\s\\]", text) else text


def commit_link(url: str | None, commit: str | None) -> str | None:
    """Give the page of a commit, where the code lies on a GitHub or GitLab."""
    base = _repository(url)
    if base is None or commit is None or not _COMMIT.fullmatch(commit):
        return None
    return f"{base}commit/{commit}"


def script_link(url: str | None, commit: str | None, script: str | None) -> str | None:
    """Give the page of a file at a commit, where the code lies on a GitHub or GitLab."""
    base = _repository(url)
    if base is None or not script or commit is None or not _COMMIT.fullmatch(commit):
        return None
    return f"{base}blob/{commit}/{quote(shown(script))}"


def _repository(url: str | None) -> str | None:
    address = link(url)
    if address is None:
        return None
    parts = urlsplit(address)
    forge = _FORGE.fullmatch(parts.hostname or "")
    path = parts.path.strip("/").removesuffix(".git")
    if parts.scheme != "https" or forge is None or path.count("/") < 1:
        return None
    inside = "-/" if forge.group(1) == "gitlab" else ""
    return f"https://{parts.netloc}/{path}/{inside}"


def width(text: str) -> int:
    """Count the cells that a text takes: two for wide letters and for most emoji."""
    return sum(2 if east_asian_width(c) in "WF" else 1 for c in text)


def fitted(text: str, cells: int) -> str:
    """Shorten a text in its middle to so many cells: names differ at their beginning and end."""
    line = " ".join(text.split())
    if width(line) <= cells:
        return line
    head, tail, left = "", "", cells - 1
    front, back = iter(line), reversed(line)
    while True:
        is_front = width(head) <= width(tail)
        letter = next(front if is_front else back)
        left -= width(letter)
        if left < 0:
            return f"{head}…{tail}"
        head, tail = (head + letter, tail) if is_front else (head, letter + tail)
