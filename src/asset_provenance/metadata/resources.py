"""What a process used becomes the schema's ``ResourceUsage``; the series of a file stay small."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from aind_data_schema.core.processing import ResourceTimestamped, ResourceUsage
from aind_data_schema_models.system_architecture import CPUArchitecture
from aind_data_schema_models.units import MemoryUnit

from asset_provenance.records import ResourceRecord
from asset_provenance.series import Point, thinned

__all__ = ["SERIES_BYTES", "Fitted", "fit_series", "points_in", "resource_notes", "resource_usage"]

SERIES_BYTES = 200_000
"""So much of a file may all series of its processes take."""
_POINT_BYTES = 200
"""What a point takes in a file that is written with its indentation."""
_FEWEST = 3
"""A series of fewer points would lack its first, its last or its peak."""

_SERIES = ("cpu_usage", "gpu_usage", "ram_usage")
_UNIT = "percent (cpu_usage: of one core; ram_usage: of ram; gpu_usage: of one GPU)"
_ARCHITECTURES = {
    "x86_64": CPUArchitecture.X86_64,
    "amd64": CPUArchitecture.X86_64,
    "i686": CPUArchitecture.X86_32,
    "aarch64": CPUArchitecture.ARM64,
    "arm64": CPUArchitecture.ARM64,
    "armv7l": CPUArchitecture.ARM,
    "riscv64": CPUArchitecture.RISC_V,
}


def resource_usage(record: ResourceRecord, start: datetime) -> ResourceUsage:
    """Give what the schema says of a process's resources.

    Parameters
    ----------
    record
        What was used.
    start
        When the process began.
    """
    known = _ARCHITECTURES.get(record.architecture.lower())
    ram_usage = [(at, 100 * size / record.ram) for at, size in record.ram_usage if record.ram]
    return ResourceUsage(
        os=record.os,
        architecture=record.architecture if known is None else known.value,
        cpu=record.cpu,
        cpu_cores=record.cpu_cores,
        gpu=record.gpu,
        ram=None if record.ram is None else round(record.ram / 1e9, 2),
        ram_unit=None if record.ram is None else MemoryUnit.GB,
        cpu_usage=_stamped(record.cpu_usage, start),
        gpu_usage=_stamped(record.gpu_usage, start),
        ram_usage=_stamped(ram_usage, start),
        usage_unit=_UNIT,
    )


def resource_notes(record: ResourceRecord) -> list[str]:
    """Give what the schema has no place for, as notes on the process."""
    notes = []
    if record.gpu_memory:
        size = f"{record.gpu_memory / 1e9:.2g} GB"
        notes.append(f"At most {size} of GPU memory was used.")
    if record.gpu_is_whole:
        notes.append(
            "The use of the GPU is that of all programs on it: its driver did not tell them apart."
        )
    return notes


def points_in(usages: Sequence[ResourceUsage | None]) -> int:
    """Count the points of all series."""
    return sum(len(getattr(usage, name, None) or ()) for usage in usages for name in _SERIES)


class Fitted(NamedTuple):
    """Resources whose series fit into a file.

    Parameters
    ----------
    usages
        In the order given.
    left_out
        How many processes lost their series: the shortest, where there are too many to give each
        the points that a series needs.
    """

    usages: list[ResourceUsage | None]
    left_out: int


def fit_series(usages: Sequence[ResourceUsage | None], taken: int = 0) -> Fitted:
    """Thin the series of a file, so that all together stay within its bound.

    Short series stay as they are, long ones share what is left. First, last and peak are kept.

    Parameters
    ----------
    usages
        Those of the new processes; they are not changed.
    taken
        As many points have the file's other processes, which stay as they are.
    """
    most = max(0, SERIES_BYTES // _POINT_BYTES - taken)
    lengths = [[len(getattr(usage, name, None) or ()) for name in _SERIES] for usage in usages]
    longest_first = sorted(
        (index for index, of_one in enumerate(lengths) if any(of_one)),
        key=lambda index: -_duration(usages[index]),
    )
    kept: set[int] = set()
    needed = 0
    for index in longest_first:
        needed += sum(min(length, _FEWEST) for length in lengths[index])
        if needed > most:
            break
        kept.add(index)
    share = _share([length for index in kept for length in lengths[index]], most)
    fitted = [
        usage if usage is None else _cut(usage, share if index in kept else 0)
        for index, usage in enumerate(usages)
    ]
    return Fitted(fitted, len(longest_first) - len(kept))


def _share(lengths: Sequence[int], most: int) -> int:
    """Give the length that all series can have at most, so that they fit together."""
    left = most
    ordered = sorted(lengths)
    for index, length in enumerate(ordered):
        share = left // (len(ordered) - index)
        if share < length:
            return share
        left -= length
    return most


def _duration(usage: ResourceUsage | None) -> float:
    spans = [
        (series[-1].timestamp - series[0].timestamp).total_seconds()
        for series in (getattr(usage, name, None) for name in _SERIES)
        if series
    ]
    return max(spans, default=0.0)


def _cut(usage: ResourceUsage, most: int) -> ResourceUsage:
    changes: dict[str, list[ResourceTimestamped] | None] = {}
    for name in _SERIES:
        series = getattr(usage, name)
        if series is not None and len(series) > most:
            stamps = {each.timestamp.timestamp(): each.timestamp for each in series}
            points = [(each.timestamp.timestamp(), each.usage) for each in series]
            changes[name] = [
                ResourceTimestamped(timestamp=stamps[at], usage=round(value, 2))
                for at, value in thinned(points, most)
            ] or None
    return usage.model_copy(update=changes) if changes else usage


def _stamped(points: Sequence[Point], start: datetime) -> list[ResourceTimestamped] | None:
    return [
        ResourceTimestamped(timestamp=start + timedelta(seconds=at), usage=round(value, 2))
        for at, value in points
    ] or None
