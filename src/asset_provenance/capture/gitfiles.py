"""Reads ``.git`` without git, for where git is missing, hangs or refuses.

A helper of :mod:`asset_provenance.capture.git`.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

__all__ = [
    "OBJECT_ID",
    "find_clone",
    "find_root",
    "git_folder",
    "read_config",
    "read_head",
    "read_ref",
]

OBJECT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

_LARGEST = 64_000_000
"""Bytes that are read of one file: a list of all refs is the largest."""


def find_root(folder: str) -> str | None:
    """Give the top folder of the git work tree around a folder, or None outside any."""
    for candidate in (Path(folder), *Path(folder).parents):
        if git_folder(str(candidate)) is not None:
            return str(candidate)
    return None


def find_clone(folder: str) -> str:
    """Give the top folder of a clone that a folder is in; one without a work tree is its own."""
    is_bare = Path(folder, "HEAD").is_file() and Path(folder, "objects").is_dir()
    return (None if is_bare else find_root(folder)) or folder


def _text(path: Path) -> str:
    """Give a small file's text; nothing for what is missing or not a plain file."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return file.read(_LARGEST).decode("utf-8", "surrogateescape")
    except (OSError, ValueError):
        return ""


def git_folder(root: str) -> Path | None:
    """Give where the repository of a work tree is; None if the folder is none."""
    entry = Path(root, ".git")
    text = _text(entry)
    if text.startswith("gitdir:"):
        return Path(root, text.removeprefix("gitdir:").strip())
    with contextlib.suppress(OSError):
        if (entry / "HEAD").exists():
            return entry
    return None


def _common_folder(folder: Path) -> Path:
    """Give where a linked worktree keeps what it shares with the others."""
    return folder / _text(folder / "commondir").strip()


def read_head(root: str) -> tuple[str | None, str | None]:
    """Give the commit of HEAD and the branch, as far as they can be read."""
    folder = git_folder(root)
    if folder is None:
        return None, None
    common = _common_folder(folder)
    value = _text(folder / "HEAD").strip()
    branch = None
    for _ in range(5):  # a symbolic ref may name another
        if not value.startswith("ref:"):
            break
        ref = value.removeprefix("ref:").strip()
        branch = branch or ref.removeprefix("refs/heads/")
        value = _ref(folder, common, ref)
    return (value if OBJECT_ID.fullmatch(value) else None), branch


def read_ref(root: str, ref: str) -> str | None:
    """Give the commit that a ref names; None if it names none, or another ref."""
    folder = git_folder(root)
    return None if folder is None else _ref(folder, _common_folder(folder), ref) or None


def _ref(folder: Path, common: Path, ref: str) -> str:
    return (_text(folder / ref) or _text(common / ref)).strip() or _packed(common, ref)


def _packed(common: Path, ref: str) -> str:
    for line in _text(common / "packed-refs").splitlines():
        commit, _, name = line.partition(" ")
        if name == ref:
            return commit
    return ""


def read_config(root: str) -> list[tuple[str, str]]:
    """Give the remotes' URLs and the branches' remotes, as ``git config`` names them."""
    folder = git_folder(root)
    if folder is None:
        return []
    result: list[tuple[str, str]] = []
    section = ""
    for line in _text(_common_folder(folder) / "config").splitlines():
        if header := re.match(r'\s*\[(\w+)\s+"(.*)"\]', line):
            section = f"{header[1].lower()}.{header[2]}"
        elif line.lstrip().startswith("["):
            section = ""
        elif section and (item := re.match(r"\s*(url|remote)\s*=\s*(.*)", line, re.IGNORECASE)):
            result.append((f"{section}.{item[1].lower()}", item[2].strip().strip('"')))
    return result
