"""The names of the metadata files, and how files that come from elsewhere are read.

An input asset is data from somebody else: a file in it is read only within bounds, and never
followed out of the form it claims to have.
"""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

__all__ = [
    "CORE_FILES",
    "DATA_DESCRIPTION",
    "FRAGMENT_ENDING",
    "INHERITED_FILES",
    "JOURNAL_FOLDER",
    "LEGACY_FILES",
    "MANIFEST",
    "MAX_BYTES",
    "MAX_DEPTH",
    "PROVENANCE_FOLDER",
    "WHOLE_RECORD",
    "file_name",
    "parse_json",
    "read_bytes",
    "read_or_tell",
]

DATA_DESCRIPTION = "data_description"
INHERITED_FILES = ("subject", "procedures", "instrument", "acquisition", "quality_control")
"""What one acquisition hands on, besides its processing."""
CORE_FILES = (DATA_DESCRIPTION, "processing", *INHERITED_FILES, "model")
"""The core files of aind-data-schema v2, by the name of their field in ``Metadata``."""
LEGACY_FILES = ("session", "rig")
"""Core files that only schema v1 had."""
WHOLE_RECORD = "metadata.nd.json"
"""A file that has all core files in one, as the metadata database has them."""

JOURNAL_FOLDER = ".asset-provenance"
PROVENANCE_FOLDER = "provenance"
MANIFEST = f"{PROVENANCE_FOLDER}/asset-provenance.json"

FRAGMENT_ENDING = "_data_process.json"
"""How the name of the file ends that a stage of a pipeline leaves."""

MAX_BYTES = 64 * 1024 * 1024
"""Largest metadata file that is read."""
MAX_DEPTH = 100
"""Deepest nesting of a metadata file that is read."""


def file_name(core_file: str) -> str:
    """Give the standard file name of a core file."""
    return f"{core_file}.json"


def read_bytes(path: Path) -> bytes:
    """Read a metadata file of another asset.

    Pipelines stage their inputs as symlinks, so a link is followed, but only to a file that bears
    the same name: one that leads to something else of the machine's is no metadata file.

    Raises
    ------
    ValueError
        If it is not a regular file, larger than :data:`MAX_BYTES`, or a link to another name.
    OSError
        If it cannot be read.
    """
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise ValueError(f"{path} is not a regular file")
    if state.st_size > MAX_BYTES:
        raise ValueError(
            f"{path} has {state.st_size} bytes; metadata files of at most {MAX_BYTES} are read"
        )
    if path.is_symlink() and path.resolve().name != path.name:
        raise ValueError(f"{path} is a link to a file of another name, {path.resolve()}")
    return path.read_bytes()


def parse_json(content: bytes, path: Path) -> dict[str, Any]:
    """Read the JSON object that a metadata file holds.

    Raises
    ------
    ValueError
        If it is not JSON, not an object, or nested deeper than :data:`MAX_DEPTH`; the message
        says in which line where it can.
    """
    try:
        value = json.loads(content, parse_constant=_refuse_constant, parse_float=_float)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        ) from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not valid JSON: it is not UTF-8 text") from None
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply to be metadata") from None
    except ValueError as error:  # a constant that is no JSON, or a number of too many digits
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds {type(value).__name__}, not a JSON object")
    if _depth(value) > MAX_DEPTH:
        raise ValueError(f"{path} is nested too deeply to be metadata: over {MAX_DEPTH} levels")
    return value


def read_or_tell(path: Path, problems: list[str]) -> dict[str, Any] | None:
    """Read a metadata file; None where there is none, or none that can be read.

    Parameters
    ----------
    path
        Of the file.
    problems
        Is told why it cannot be read.
    """
    if not os.path.lexists(path):
        return None
    try:
        return parse_json(read_bytes(path), path)
    except OSError as error:
        problems.append(f"{path} cannot be read: {error.strerror or type(error).__name__}")
    except ValueError as error:
        problems.append(str(error))
    return None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, which JSON does not know")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):  # which could not be written as JSON again
        raise ValueError(f"it holds {text[:20]}, a number that is too large")
    return value


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, dict | list)
        ]
    return depth
