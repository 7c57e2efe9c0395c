"""The errors a user can meet; each message says what is wrong, where, and what mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "AssemblyError",
    "PreflightError",
    "ProvenanceError",
    "ServiceError",
    "StorageError",
    "UsageError",
]


class ProvenanceError(Exception):
    """Root of every error this package raises."""


class UsageError(ProvenanceError):
    """A mistake in the call itself; raised at once, before any user code has run."""


class _ListedError(ProvenanceError):
    """An error that names everything found wrong, not just the first thing.

    Parameters
    ----------
    summary
        One line that says what could not be done.
    problems
        One text for each thing that is wrong, with the way to mend it.
    advice
        What holds for all of them.
    """

    def __init__(self, summary: str, problems: Sequence[str] = (), advice: str = "") -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        self._summary, self._advice = summary, advice
        lines = [summary, *("  - " + problem.replace("\n", "\n    ") for problem in self.problems)]
        super().__init__("\n".join([*lines, advice] if advice else lines))

    def __reduce__(self) -> tuple[type[_ListedError], tuple[str, tuple[str, ...], str]]:
        """Pickle with its arguments, so that the error survives the way between processes."""
        return type(self), (self._summary, self.problems, self._advice)


class PreflightError(_ListedError):
    """Facts that the metadata need are missing or malformed; raised before the run starts.

    Attributes
    ----------
    problems : tuple of str
        Every missing or malformed fact, each with the ways to give it.
    """


class AssemblyError(_ListedError):
    """The records of a run cannot be made into valid metadata."""


class StorageError(ProvenanceError):
    """A file or folder of the asset cannot be written, read or locked."""


class ServiceError(ProvenanceError):
    """A service on the network did not answer, or answered with something unusable."""
