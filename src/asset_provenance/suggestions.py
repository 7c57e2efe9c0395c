"""The words that a mistyped one may have meant."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean"]


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
