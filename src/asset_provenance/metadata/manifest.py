"""What the manifest of a written set says is ours, and so what stands in the way of another set."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asset_provenance.corefiles import CORE_FILES, MANIFEST, file_name, parse_json, read_bytes

__all__ = [
    "EXTERNAL",
    "MANIFEST_FORMAT",
    "MERGED",
    "digest",
    "find_obstacles",
    "is_as_written",
    "read_manifest",
]

MANIFEST_FORMAT = 1
EXTERNAL = "external"
"""What the manifest says of the kind of a set that describes data from outside."""
MERGED = "merge"
"""What it has for a label where nothing but stages were merged."""


def find_obstacles(
    output_dir: Path, process_name: str, new: Mapping[str, bytes] | None = None
) -> list[str]:
    """Find files that are in the way of a new set, by their names.

    Metadata files of a set that this package wrote for the same process, and that nobody has
    edited since, are not in the way: they will be replaced. Nor is what stands beside the metadata
    of any set of ours.

    Parameters
    ----------
    output_dir
        The asset's folder.
    process_name
        The label of the new set.
    new
        The files of the new set by their paths, where they are known already.
    """
    manifest = read_manifest(output_dir)
    written = manifest.get("files")
    ours: Mapping[str, Any] = written if isinstance(written, dict) else {}
    same = ours if manifest.get("process_name") == process_name else {}
    obstacles = []
    for name in map(file_name, CORE_FILES):
        path = output_dir / name
        if os.path.lexists(path) and not is_as_written(path, same.get(name)):
            obstacles.append(name)
    for name, content in (new or {}).items():
        path = output_dir / name
        if (
            name not in map(file_name, CORE_FILES)
            and os.path.lexists(path)
            and not is_as_written(path, ours.get(name))
            and not is_as_written(path, {"sha256": digest(content)})
        ):
            obstacles.append(name)
    if os.path.lexists(output_dir / MANIFEST) and not isinstance(written, dict):
        obstacles.append(MANIFEST)
    return obstacles


def is_as_written(path: Path, entry: object) -> bool:
    """Say whether a file is still what an entry of a manifest says of it."""
    if not isinstance(entry, dict):
        return False
    try:
        return digest(path.read_bytes()) == entry.get("sha256")
    except OSError:
        return False


def read_manifest(output_dir: Path) -> Mapping[str, Any]:
    """Read the manifest of the set in a folder; nothing where there is none, or none of ours."""
    path = output_dir / MANIFEST
    try:
        return parse_json(read_bytes(path), path)
    except (OSError, ValueError):
        return {}


def digest(content: bytes) -> str:
    """Give the SHA-256 that the manifest keeps of a file."""
    return hashlib.sha256(content).hexdigest()
