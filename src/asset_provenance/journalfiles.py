"""The files of a journal as they are read back; what is in them is said in ``journal``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from asset_provenance.records import ProcessRecord, process_from_json

__all__ = [
    "COUNTS",
    "IMPORTED",
    "OVER",
    "PATCH",
    "count_damaged",
    "host",
    "is_over",
    "read_entries",
    "read_patches",
    "read_processes",
    "read_seen",
    "started",
]

COUNTS = ".counts"
PATCH = ".patch"
IMPORTED = ".imported"
"""What one writer has imported, as JSON."""
OVER = "over"
"""A file of this name says that a run has ended whose journal is kept."""


def is_over(run_folder: Path) -> bool:
    """Say whether a run has ended, so that nobody is to write to its journal any more."""
    return not run_folder.is_dir() or (run_folder / OVER).exists()


def started(process_id: int) -> float | None:
    """Give when a process of the operating system started; None where none of that number lives.

    The number is to be compared with another of the same machine, and says nothing else.
    """
    try:
        # After the name, which may hold anything; the fields are those of proc(5).
        fields = Path(f"/proc/{process_id}/stat").read_bytes().rpartition(b")")[2].split()
        return None if fields[0] in {b"Z", b"X"} else float(fields[19])
    except (OSError, ValueError, IndexError):
        if os.path.exists("/proc/self/stat"):  # noqa: PTH110
            return None
    import psutil  # noqa: PLC0415 - where there is no /proc

    try:
        process = psutil.Process(process_id)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except (psutil.Error, OSError):
        return None


def host() -> str:
    """Give the name of this machine."""
    if hasattr(os, "uname"):
        return os.uname().nodename
    import socket  # noqa: PLC0415 - slow to import

    return socket.gethostname()


def read_entries(path: Path) -> Iterator[dict[str, Any]]:
    """Give the entries of one journal file; a line that a kill cut short is left out."""
    return (entry for entry in _read_lines(path) if entry is not None)


def count_damaged(path: Path) -> int:
    """Count the lines of a journal file that a kill cut short, or a power cut lost."""
    return sum(entry is None for entry in _read_lines(path))


def _read_lines(path: Path) -> Iterator[dict[str, Any] | None]:
    try:
        content = path.read_bytes()
    except OSError:
        return
    for line in content.split(b"\n"):
        if line:
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                entry = None
            yield entry if isinstance(entry, dict) else None


def read_patches(folder: Path) -> dict[str, bytes]:
    """Give the patches that were kept in the folder of a run, by commit."""
    return {path.stem: path.read_bytes() for path in folder.glob(f"*{PATCH}")}


def read_processes(path: Path) -> tuple[list[ProcessRecord], list[ProcessRecord]]:
    """Give the processes of one writer: those that ended, and those that had only begun.

    Processes that repeated calls are count as ended, as far as they had come.
    """
    found: dict[str, dict[str, ProcessRecord]] = {"start": {}, "end": {}}
    for entry in (*read_entries(path), *_counted(path)):
        kind = entry.pop("kind", None)
        if kind in found:
            with suppress(ValueError, KeyError, TypeError):
                record = process_from_json(entry)
                found[kind].setdefault(record.id, record)
    ended = found["end"]
    return list(ended.values()), [one for name, one in found["start"].items() if name not in ended]


def read_seen(path: Path) -> list[ProcessRecord]:
    """Give what had come to processes that one writer had open, or that others began; only that."""
    seen = []
    for entry in _counted(path):
        if entry.pop("kind") == "seen":
            with suppress(ValueError, KeyError, TypeError):
                seen.append(process_from_json(entry))
    return seen


def _counted(path: Path) -> list[dict[str, Any]]:
    try:
        counted = json.loads(path.with_suffix(COUNTS).read_bytes())
    except (OSError, ValueError):
        return []
    return [{"kind": "end", **entry} for entry in counted if isinstance(entry, dict)]
