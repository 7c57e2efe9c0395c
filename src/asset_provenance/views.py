"""What the metadata of an asset say, as plain values, without the schema."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asset_provenance.records import InputRef, ProcessStatus, valid_text

__all__ = [
    "AssetView",
    "CodeView",
    "FileView",
    "ProcessView",
    "ResourceView",
    "Series",
    "as_json",
    "as_objects",
    "as_text",
    "as_texts",
    "as_time",
]

Series = tuple[tuple[float, float], ...]
"""Points of a measurement: seconds since the process began, and the value."""


@dataclass(frozen=True, slots=True)
class CodeView:
    """Which code ran.

    Parameters
    ----------
    url, name, version, commit_hash, run_script, language, language_version
        As the schema has them.
    container, core_dependency
        The schema's objects.
    is_dirty
        Whether it had uncommitted changes; None where nothing tells.
    beyond_commit
        What the notes say of files beside it that are not in the commit.
    """

    url: str | None = None
    name: str | None = None
    version: str | None = None
    commit_hash: str | None = None
    run_script: str | None = None
    language: str | None = None
    language_version: str | None = None
    container: Mapping[str, Any] | None = None
    core_dependency: Mapping[str, Any] | None = None
    is_dirty: bool | None = None
    beyond_commit: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResourceView:
    """What a process ran on, and what it used of it.

    Parameters
    ----------
    os, architecture, cpu, cpu_cores, gpu
        As the schema has them.
    ram
        Bytes of memory; None where unknown.
    cpu_usage, ram_usage, gpu_usage
        What was used, over time.
    unit
        Of all three, in the words of who wrote it.
    peak_ram
        The most bytes that were used, where the unit tells.
    mean_cores
        As many processors were at work in the mean, where the unit tells.
    """

    os: str | None = None
    architecture: str | None = None
    cpu: str | None = None
    cpu_cores: int | None = None
    gpu: str | None = None
    ram: float | None = None
    cpu_usage: Series = ()
    ram_usage: Series = ()
    gpu_usage: Series = ()
    unit: str | None = None
    peak_ram: float | None = None
    mean_cores: float | None = None


@dataclass(frozen=True, slots=True)
class ProcessView:
    """One process.

    Parameters
    ----------
    name
        Unique within the asset; of schema v1, the type with a number.
    process_type, stage, pipeline_name
        As the schema has them.
    start, end
        Aware times; a time that was written without a zone is taken for UTC.
    status
        How it ended, as its notes tell.
    code
        Which code ran.
    parameters, results
        The schema's ``code.parameters`` and ``output_parameters``.
    inputs
        What it used.
    output_path
        Where it wrote, relative to the asset.
    experimenters
        Who ran it.
    notes
        In lines.
    depends_on
        The processes that it follows, by name.
    parent
        The process that it ran inside of, by name: as the manifest tells; where it does not, one
        that depends on it and lasted from before its start until after its end.
    is_inherited
        Whether it came with an input; None where no manifest tells.
    is_given
        Whether the script wrote it down itself, so that nobody saw it run.
    resources
        What it ran on and used.
    repeats
        What its notes say of many calls that together are this process.
    """

    name: str
    process_type: str | None = None
    stage: str | None = None
    pipeline_name: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    status: ProcessStatus = ProcessStatus.COMPLETED
    code: CodeView = field(default_factory=CodeView)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[InputRef, ...] = ()
    output_path: str | None = None
    experimenters: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    parent: str | None = None
    is_inherited: bool | None = None
    is_given: bool = False
    resources: ResourceView | None = None
    repeats: str | None = None

    @property
    def told_status(self) -> ProcessStatus | None:
        """How it ended, where that is told.

        Of processes that others recorded, no word of failure does not mean that all went well.
        """
        is_ours = self.is_inherited is False and not self.is_given
        is_told = is_ours or self.status is not ProcessStatus.COMPLETED
        return self.status if is_told else None

    @property
    def seconds(self) -> float | None:
        """How long it took; None where that is unknown."""
        if self.start is None or self.end is None:
            return None
        return max(0.0, (self.end - self.start).total_seconds())


@dataclass(frozen=True, slots=True)
class FileView:
    """A metadata file of the asset.

    Parameters
    ----------
    path
        Relative to the asset's folder, in POSIX form.
    size
        In bytes.
    inherited_from
        The input whose file this is, unchanged.
    """

    path: str
    size: int
    inherited_from: str | None = None


@dataclass(frozen=True, slots=True)
class AssetView:
    """What is known of an asset.

    Parameters
    ----------
    folder
        Where it lies.
    description
        Its data description, as it is written.
    processes
        In the order of the file.
    pipelines
        The pipelines that processes belong to.
    notes
        On all processes, in lines.
    files
        The metadata files that are there.
    label
        What the manifest has for the process name.
    packages
        Of ``provenance``, the lists of imported packages.
    unfinished
        How many runs have left their records in the folder without having written their metadata,
        or are still at work.
    problems
        Why a file could not be read.
    """

    folder: Path
    description: Mapping[str, Any] = field(default_factory=dict)
    processes: tuple[ProcessView, ...] = ()
    pipelines: tuple[CodeView, ...] = ()
    notes: tuple[str, ...] = ()
    files: tuple[FileView, ...] = ()
    label: str | None = None
    packages: tuple[Path, ...] = ()
    unfinished: int = 0
    problems: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name in the data description, else that of the folder."""
        return as_text(self.description.get("name")) or valid_text(self.folder.absolute().name)

    @property
    def data_level(self) -> str | None:
        """Such as raw or derived."""
        return as_text(self.description.get("data_level"))

    @property
    def source_data(self) -> tuple[str, ...]:
        """The assets that it was made from."""
        names = self.description.get("source_data")
        if names is None:
            names = [self.description.get("input_data_name")]  # of schema v1
        return as_texts(names)

    @property
    def creation_time(self) -> datetime | None:
        """When it was created."""
        return as_time(self.description.get("creation_time"))

    @property
    def own_processes(self) -> tuple[ProcessView, ...]:
        """The processes that are not known to have come with an input."""
        return tuple(one for one in self.processes if not one.is_inherited)


def as_json(view: AssetView) -> dict[str, Any]:
    """Give all that is known of an asset as one JSON object.

    Its names are those of :class:`AssetView` and of what that holds. Times are in ISO 8601, a
    point of a series is a pair of seconds and value, and what is unknown is null. ``name`` and
    ``seconds``, which are derived of others, are told, too; ``status`` is what is told of it.

    Parameters
    ----------
    view
        Of the asset.
    """
    told: dict[str, Any] = {"name": view.name, **_plain(view)}
    for one, process in zip(told["processes"], view.processes, strict=True):
        one["seconds"], one["status"] = process.seconds, process.told_status
    return told


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return valid_text(str(value)) if isinstance(value, Path) else value


def as_text(value: Any) -> str | None:
    """Give a text that says something, as every file and terminal can hold it."""
    return valid_text(value) if isinstance(value, str) and value.strip() else None


def as_objects(items: Any) -> list[dict[str, Any]]:
    """Give those of a list that are JSON objects."""
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def as_texts(values: Any) -> tuple[str, ...]:
    """Give those of a list that are such texts."""
    found = map(as_text, values) if isinstance(values, list) else ()
    return tuple(text for text in found if text is not None)


def as_time(value: Any) -> datetime | None:
    """Give a time that is written in ISO 8601, in UTC; without a zone it is taken for that."""
    try:
        time = datetime.fromisoformat(value)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
