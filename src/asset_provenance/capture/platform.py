"""Where the program runs: a Code Ocean capsule or another machine, and its folders."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Folders", "absolute", "default_folders", "script_folder"]


@dataclass(frozen=True, slots=True)
class Folders:
    """Where inputs are found and results go."""

    data_root: Path
    output_dir: Path


def default_folders(root: Path = Path("/"), environ: Mapping[str, str] | None = None) -> Folders:
    """Give the folders of a capsule where this is one, else those below the working folder.

    Parameters
    ----------
    root
        Where a capsule has its ``data``, ``results`` and ``code`` folders. (Pipelines have no
        ``/root``, so ``/root/capsule`` is no evidence.)
    environ
        Environment variables; default those of this program.
    """
    variables = os.environ if environ is None else environ
    capsule = Folders(root / "data", root / "results")
    said = "CO_CAPSULE_ID" in variables or "CO_COMPUTATION_ID" in variables
    laid_out = capsule.data_root.is_dir() and capsule.output_dir.is_dir()
    if laid_out and (said or (root / "code").is_dir()):
        return capsule
    return Folders(Path.cwd() / "data", Path.cwd() / "results")


def absolute(path: str | os.PathLike[str]) -> Path:
    """Give the absolute form of a path that a user gave, its links as they are."""
    return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111 - keeps symlinks


def script_folder() -> Path | None:
    """Give the folder of the main script; None in an interpreter or a notebook."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return None if file is None else absolute(file).parent
