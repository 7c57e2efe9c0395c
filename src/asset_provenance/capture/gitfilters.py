"""What git's filters would say of changed files, without running them.

A helper of :mod:`asset_provenance.capture.gitstatus`. To compare a file with the commit, git runs
the program that its configuration names for it. We let it run none, so a file that such a program
changes on its way into git seems changed when git looks at its content. Of Git LFS, the common one,
we know what it would say.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from typing import IO

from asset_provenance.capture.gitasking import Questions

__all__ = ["LFS", "filters_of", "large_file_id", "lfs_pointer", "running_filters"]

LFS = "lfs"
_CHUNK = 1 << 20
_POINTER = b"version https://git-lfs.github.com/spec/v1\n"


def running_filters(config: Iterable[tuple[str, str]]) -> dict[str, bool]:
    """Give the names of the configured filters, and whether each would run to compare a file."""
    programs: dict[str, dict[str, str]] = {}
    for key, value in config:
        section, _, rest = key.partition(".")
        name, dot, kind = rest.rpartition(".")
        if section == "filter" and dot:
            programs.setdefault(name, {})[kind] = value
    return {
        name: bool(kinds.get("clean") or kinds.get("process")) for name, kinds in programs.items()
    }


def filters_of(ask: Questions, paths: Iterable[bytes]) -> Mapping[bytes, str]:
    """Tell which filter the attributes of each of these paths name."""
    answer = ask("check-attr", "-z", "--stdin", "filter", given=b"".join(p + b"\0" for p in paths))
    fields = answer.split(b"\0")
    return dict(zip(fields[::3], map(os.fsdecode, fields[2::3]), strict=False))


def lfs_pointer(file: IO[bytes], size: int, go_on: Callable[[], None]) -> bytes:
    """Give what Git LFS has git keep of a file.

    Parameters
    ----------
    file
        Open at its start.
    size
        Of the file.
    go_on
        Called now and then; raises when it must not.
    """
    first = file.read(_CHUNK)
    if first.startswith(_POINTER) or not first:
        return first
    inside = hashlib.sha256(first)
    while chunk := file.read(_CHUNK):
        go_on()
        inside.update(chunk)
    return _POINTER + f"oid sha256:{inside.hexdigest()}\nsize {size}\n".encode()


def large_file_id(path: bytes, like: str, go_on: Callable[[], None]) -> str:
    """Give the id of the blob that Git LFS has git keep of a file.

    Parameters
    ----------
    path
        The file.
    like
        Another id of the repository, which tells how long its ids are.
    go_on
        As for :func:`lfs_pointer`.
    """
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - no name of any encoding
        pointer = lfs_pointer(file, os.fstat(file.fileno()).st_size, go_on)
    algorithm = "sha1" if len(like) == 40 else "sha256"
    content = f"blob {len(pointer)}\0".encode() + pointer
    return hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
