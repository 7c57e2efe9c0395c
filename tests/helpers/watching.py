"""What a library is seen to open below the working folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from asset_provenance.capture.files import State, Watching

__all__ = ["Told", "watched"]

Told = list[tuple[str, int]]
"""The name below the working folder, and what was done."""


@contextmanager
def watched(library: ModuleType) -> Iterator[Told]:
    """Have a library watched; give what is told of it as it comes."""
    told: Told = []
    here = os.getcwd()

    def watch(path: str, access: int, before: State | None) -> bool:
        if path.startswith(here):  # what Python imports meanwhile is elsewhere
            told.append((os.path.relpath(path, here), access))
        return False

    watching = Watching(watch, lambda *_: None)
    library.watch(watching.patches)
    try:
        yield told
    finally:
        watching.stop()
