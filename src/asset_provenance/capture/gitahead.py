"""Git asked about work trees before the answers are wanted.

A helper of :mod:`asset_provenance.capture.code`. An asset that opens has much to do before it asks
which code runs; git looks at every file of the work tree meanwhile, on another processor.
"""

from __future__ import annotations

from collections.abc import Iterable

from asset_provenance.capture.gitasking import TIMEOUT, BrokenGitError, Questions
from asset_provenance.capture.gitfiles import find_root
from asset_provenance.capture.gitstatus import Survey

__all__ = ["AskedAhead"]


class AskedAhead:
    """What git was asked, and nobody has taken yet.

    Parameters
    ----------
    folders
        Real paths; git is asked about the work trees around them.
    """

    def __init__(self, folders: Iterable[str]) -> None:
        self._surveys: dict[str, Survey] = {}
        for root in dict.fromkeys(find_root(folder) for folder in folders):
            if root is not None:
                survey = self._surveys[root] = Survey(root, Questions(root, TIMEOUT))
                if isinstance(survey.failure, BrokenGitError):
                    break  # it will not answer for the next one either

    def take(self, root: str) -> Survey | None:
        """Give what was asked about a work tree; once."""
        return self._surveys.pop(root, None)

    def end(self) -> None:
        """End what nobody has taken."""
        while self._surveys:
            self._surveys.popitem()[1].end()
