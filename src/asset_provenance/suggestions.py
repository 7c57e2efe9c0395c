"""What was likely meant by what is not there: a mistyped word, a file in place of its folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["did_you_mean", "no_folder"]


def did_you_mean(text: str, names: Iterable[str], *, count: int = 1) -> str:
    """Give the end of a sentence that offers the nearest names; empty where none is near.

    Parameters
    ----------
    text
        What was written.
    names
        What could have been meant; compared without regard to case.
    count
        How many names to offer at most.
    """
    import difflib  # noqa: PLC0415 - only for a mistake

    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(text.casefold(), folded, n=count, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(folded[name]) for name in near)}?" if near else ""


def no_folder(path: Path) -> str:
    """Give the beginning of a sentence that says that there is no such folder.

    Parameters
    ----------
    path
        What was given for a folder, and is none.
    """
    return f"there is no folder {path}{' (that is a file)' if path.is_file() else ''}"
