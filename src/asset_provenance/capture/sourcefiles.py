"""Which file holds the code of a function, and of a run."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asset_provenance.capture.distributions import is_library
from asset_provenance.capture.gitahead import AskedAhead
from asset_provenance.capture.notebook import notebook_file

__all__ = ["ask_ahead", "is_source", "main_file", "unwrap"]


def ask_ahead(
    file: str | None, function: Callable[..., Any] | None, main: str | None = None
) -> AskedAhead:
    """Have git begin with the code that a run will ask for: the main script's and its own.

    Parameters
    ----------
    file, function
        The file of a block, or the decorated function.
    main
        As :class:`CodeIdentifier` has it.
    """
    folders = []
    code = getattr(unwrap(function), "__code__", None)
    main = main or main_file()
    for path in dict.fromkeys((main, file, getattr(code, "co_filename", None))):
        with contextlib.suppress(OSError, ValueError):
            folder = os.path.dirname(os.path.realpath(path or ""))  # noqa: PTH120
            if path and is_source(path) and not is_library(folder):
                folders.append(folder)
    return AskedAhead(folders)


def main_file() -> str | None:
    """Give the main script or notebook; None where none is known."""
    path = notebook_file() or getattr(sys.modules.get("__main__"), "__file__", None)
    return path if isinstance(path, str) and is_source(path) else None


def unwrap(function: Any) -> Any:
    """Give the innermost function; bounded, since a proxy may claim to wrap for ever."""
    for _ in range(100):
        inner = getattr(function, "__wrapped__", None)
        if inner is None and isinstance(function, (functools.partial, functools.partialmethod)):
            inner = function.func
        elif inner is None and isinstance(function, types.MethodType):
            inner = function.__func__
        if inner is None:
            break
        function = inner
    return function


def is_source(path: str) -> bool:
    """Tell whether a name is that of a file, or of one inside an archive."""
    try:
        nearest = next(item for item in (Path(path), *Path(path).parents) if item.exists())
        return nearest.is_file()
    except (OSError, ValueError, StopIteration):
        return False
