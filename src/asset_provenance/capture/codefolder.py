"""Which folder is the code, where no repository tells.

A helper of :mod:`asset_provenance.capture.code`.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from asset_provenance.capture.capsule import find_capsule

__all__ = ["code_folder"]

_MARKS = ("pyproject.toml", "setup.py", "setup.cfg", ".gitignore")
"""What lies in the top folder of code, and hardly ever below it."""


def code_folder(folder: str, script: str | None) -> str | None:
    """Give the top folder of the code around a folder.

    In a capsule that is its folder of code; elsewhere the nearest folder upward that has the marks
    of a project, else the main script's if it is around this one, else the folder itself.

    Parameters
    ----------
    folder
        A real path, where no repository is around it.
    script
        That of the main script, if there is one.

    Returns
    -------
    str or None
        None where it would be a folder for all and everything: a home, the whole disk.
    """
    capsule = find_capsule(folder)
    if capsule is not None and capsule.code is not None:
        return capsule.code
    shared = _shared_folders()
    for candidate in (Path(folder), *Path(folder).parents):
        if str(candidate) in shared:
            break
        if any(os.path.exists(candidate / mark) for mark in _MARKS):  # noqa: PTH110 - never raises
            return str(candidate)
    found = script if script is not None and Path(folder).is_relative_to(script) else folder
    return None if found in shared else found


def _shared_folders() -> set[str]:
    """Give folders that hold anything, code among it."""
    return {
        os.path.realpath(place)
        for place in (os.path.abspath(os.sep), os.path.expanduser("~"), tempfile.gettempdir())  # noqa: PTH100, PTH111
    }
