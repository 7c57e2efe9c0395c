"""Files as the loopback services hold them: by path, in folders and in buckets."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Buckets", "Content", "Files", "below", "listing", "read_files", "read_folder"]

Files = dict[str, bytes]
"""By their paths, in POSIX form and relative to the asset."""
Content = Mapping[str, Any]
"""Files as a caller gives them: bytes, text, or a value that becomes JSON."""


def read_files(content: Content) -> Files:
    """Make files of what a caller gives for each path."""
    return {path.strip("/"): _as_bytes(value) for path, value in content.items()}


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def read_folder(folder: Path) -> Files:
    """Read all files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def below(files: Files, path: str) -> Files:
    """Give the files below a folder by their paths in it; for an empty path, all."""
    prefix = f"{path.strip('/')}/" if path.strip("/") else ""
    return {
        name.removeprefix(prefix): data for name, data in files.items() if name.startswith(prefix)
    }


def listing(files: Files, path: str) -> list[dict[str, Any]]:
    """List a folder as Code Ocean does: its own files and folders, each with its whole path."""
    folder = path.strip("/")
    items: dict[str, dict[str, Any]] = {}
    for name, data in below(files, folder).items():
        first, slash, _ = name.partition("/")
        item: dict[str, Any] = {"name": first, "path": f"{folder}/{first}".lstrip("/")}
        item |= {"type": "folder"} if slash else {"type": "file", "size": len(data)}
        items.setdefault(first, item)
    return list(items.values())


class Buckets:
    """Files at locations of S3, which is not here."""

    def __init__(self) -> None:
        self._files: dict[str, Files] = {}
        self._lock = threading.Lock()

    def put(self, location: str, content: Content) -> None:
        """Put files at a location, in place of those that were there."""
        with self._lock:
            self._files[location.rstrip("/")] = read_files(content)

    def get(self, location: str) -> Files:
        """Give the files below a location."""
        wanted = location.rstrip("/")
        found: Files = {}
        with self._lock:
            for place, files in self._files.items():
                if place == wanted or place.startswith(f"{wanted}/"):
                    folder = place.removeprefix(wanted).lstrip("/")
                    found |= {f"{folder}/{path}".lstrip("/"): data for path, data in files.items()}
                elif wanted.startswith(f"{place}/"):
                    found |= below(files, wanted.removeprefix(place))
        return found
