"""What the examples share: invented recordings to analyse, and tables as CSV files.

The recordings lie in ``./data``, or where ``ASSET_PROVENANCE_DATA_ROOT`` says, and are made when
they are first asked for. In your own script there is none of this, only a path to your data.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

# Invented data have no record in any database: nothing on the network is asked.
os.environ.setdefault("ASSET_PROVENANCE_OFFLINE", "true")

DATA_ROOT = Path(os.environ.get("ASSET_PROVENANCE_DATA_ROOT", "data"))


def example_session(subject_id: str = "900101", day: int = 2) -> Path:
    """Give the folder of a recorded session of March 2026, made now if it is not there yet."""
    start = datetime(2026, 3, day, 18, 30, 5, tzinfo=UTC)
    folder = DATA_ROOT / f"ecephys_{subject_id}_{start:%Y-%m-%d_%H-%M-%S}"
    if not (folder / "quality_control.json").exists():  # the last file of a whole session
        from make_input import make_session  # noqa: PLC0415 - slow to import, and needed once

        make_session(DATA_ROOT, subject_id=subject_id, start=start)
    return folder


def read_table(path: Path) -> list[dict[str, float]]:
    """Read a CSV file of numbers, one dictionary a row."""
    with path.open(encoding="ascii", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[float]]) -> None:
    """Write a CSV file of numbers."""
    with path.open("w", encoding="ascii", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
