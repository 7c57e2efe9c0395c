"""A file for a person is there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, text: str) -> None:
    """Write a file at once, in the place of one that is there.

    Parameters
    ----------
    path
        The file.
    text
        What it is to hold, in UTF-8.

    Raises
    ------
    OSError
        If it cannot be written; then what was there is as it was.
    """
    part = path.with_name(f".{path.name[:50]}.{os.urandom(4).hex()}.part")
    try:
        with part.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
