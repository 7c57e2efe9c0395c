"""Frozen records of what happened, free of any schema, and their JSON form.

Everything captured during a run ends up here first. The records go to the journal as JSON and
become AIND metadata once, at the end; nothing in this module knows how.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

__all__ = [
    "RECORD_VERSION",
    "AssetRecord",
    "CodeRecord",
    "InputRef",
    "JsonValue",
    "ProcessRecord",
    "ProcessRecords",
    "ProcessStatus",
    "ResourceRecord",
    "asset_from_json",
    "code_from_json",
    "inputs_from_json",
    "printable",
    "process_from_json",
    "resource_from_json",
    "to_json",
    "valid_text",
    "writer_of",
]

RECORD_VERSION = 2
"""Version of the JSON form; changes whenever a field does."""

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"


class ProcessStatus(StrEnum):
    """How a process, or the run as a whole, ended."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class InputRef:
    """One input of a process: a data asset, or a named group of them.

    Parameters
    ----------
    name
        Name of the data asset (preferred), or of the group.
    url
        Where the asset lies, for one that was given by its ``s3://`` URL, or whose name is unknown.
    assets
        The members, for a group (the schema's ``CombinedData``); empty for a single asset.
    description
        Why a group was put together.
    database_identifier
        Identifiers of a group in databases, by the database's name.
    """

    name: str | None = None
    url: str | None = None
    assets: tuple[InputRef, ...] = ()
    description: str | None = None
    database_identifier: Mapping[str, JsonValue] | None = field(default=None, hash=False)

    @property
    def identity(self) -> str:
        """What tells one asset from another, however it was named: its name, else its URL."""
        return self.name or self.url or ""


@dataclass(frozen=True, slots=True)
class CodeRecord:
    """Which code ran.

    Parameters
    ----------
    url
        Where others find the code; a ``file://`` URI where no better one can be known.
    name
        Name of the code, where it was given.
    version
        Version of the distribution or release.
    commit_hash
        Full git commit, 40 hexadecimal digits (or as given by the user).
    run_script
        File that defines the function, in POSIX form, relative to its repository or distribution.
    language, language_version
        Programming language and its version.
    container, core_dependency
        The schema's ``Container`` and ``Software`` as JSON objects, where they were given.
    notes
        What the reader must know besides: uncommitted changes, commits nobody else has.
    tree
        The folder whose git tree id is to be the version, once it has been computed.
    """

    url: str
    name: str | None = None
    version: str | None = None
    commit_hash: str | None = None
    run_script: str | None = None
    language: str | None = None
    language_version: str | None = None
    container: Mapping[str, JsonValue] | None = None
    core_dependency: Mapping[str, JsonValue] | None = None
    notes: tuple[str, ...] = ()
    tree: str | None = None


@dataclass(frozen=True, slots=True)
class ResourceRecord:
    """What a process ran on, and what the program used of it meanwhile, children included.

    A point of a series is the seconds since the process began, and a value that holds for the
    time since the point before.

    Parameters
    ----------
    os, architecture, cpu
        Of the machine, as it calls them.
    cpu_cores, ram
        As many processors and bytes as the program may use, which in a container are fewer than
        the machine has.
    gpu
        The names of the GPUs that it may use.
    cpu_usage
        In percent: 100 is one processor that works all the time.
    ram_usage
        Bytes of resident memory, summed over the processes; what several share counts for each.
    gpu_usage
        In percent: 100 is one GPU that works all the time.
    gpu_memory
        The most bytes of GPU memory that were used at a time.
    gpu_is_whole
        Whether the last two are of the whole GPU, since its driver does not tell whose they are.
    """

    os: str
    architecture: str
    cpu: str | None = None
    cpu_cores: int | None = None
    ram: int | None = None
    gpu: str | None = None
    cpu_usage: tuple[tuple[float, float], ...] = ()
    ram_usage: tuple[tuple[float, float], ...] = ()
    gpu_usage: tuple[tuple[float, float], ...] = ()
    gpu_memory: int | None = None
    gpu_is_whole: bool = False


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process as it was seen; complete when it has ended.

    Parameters
    ----------
    id
        Unique within the run.
    name
        As given or as the function is called; made unique only in the metadata.
    process_type, stage
        Values of the schema's ``ProcessName`` and ``ProcessStage``.
    parent_id
        The process that was open when this one started, or None at the top.
    start_date_time, end_date_time
        Aware times in UTC. The end is the start plus the monotonic time that passed.
    status
        How it ended.
    code
        Which code ran, or None where that could not be found out.
    parameters, results
        JSON-safe and redacted; the schema's ``parameters`` and ``output_parameters``.
    inputs
        Data assets used, each once, in the order seen.
    reads
        What it was given from below the output folder, relative to it, in POSIX form: files that
        other processes of the same asset wrote.
    outputs
        Where it was said to write, relative to the output folder, in POSIX form.
    notes
        The user's notes.
    error
        For a failed process, the exception in one line, redacted.
    observed
        Of the inputs, the identity of each that it was seen to open, or was given the path of.
    read_files, written_files
        Paths below the output folder that it was seen to read and write, with the time of the
        last use on the monotonic clock, in seconds. A path that ends with a slash stands for all
        the files in that folder.
    read_inside
        Of inputs that are no described assets, the paths that it was seen to read in each: several
        earlier steps may have left files there.
    follows
        The ids of the processes whose files it read, or whose results it was given.
    resources
        What it ran on, and what the program used meanwhile.
    calls
        Of one that is many alike calls: what was counted of them; see ``repeats.calls_note``.
    """

    id: str
    name: str
    process_type: str
    stage: str
    start_date_time: datetime
    parent_id: str | None = None
    end_date_time: datetime | None = None
    status: ProcessStatus = ProcessStatus.RUNNING
    code: CodeRecord | None = None
    parameters: Mapping[str, JsonValue] | None = None
    results: Mapping[str, JsonValue] | None = None
    inputs: tuple[InputRef, ...] = ()
    reads: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None
    observed: tuple[str, ...] = ()
    read_files: Mapping[str, float] = field(default_factory=dict, hash=False)
    written_files: Mapping[str, float] = field(default_factory=dict, hash=False)
    read_inside: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    follows: tuple[str, ...] = ()
    resources: ResourceRecord | None = None
    calls: Mapping[str, JsonValue] | None = field(default=None, hash=False)

    def _repr_html_(self) -> str:
        """Show it in Jupyter."""
        from asset_provenance.report.notebook import record_html  # noqa: PLC0415 - Jupyter asks

        return record_html(self)


class ProcessRecords(tuple[ProcessRecord, ...]):
    """Records in the order of their start: a tuple that Jupyter shows as a table."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        """Show them in Jupyter."""
        from asset_provenance.report.notebook import records_html  # noqa: PLC0415 - Jupyter asks

        return records_html(self)


@dataclass(frozen=True, slots=True)
class AssetRecord:
    """The run as a whole: what the journal must hold to finish it without the program.

    Parameters
    ----------
    process_name
        The short label in the derived name.
    creation_time
        Taken once at entry, UTC, whole seconds: the time in the name.
    output_dir, data_root
        Absolute paths on the machine that ran it.
    inputs, reference_inputs
        As they were resolved, or None for inputs that only the run itself can tell.
    settings
        Facts and options given by call, environment or files, as JSON.
    host, process_id, user
        Who wrote the journal.
    """

    process_name: str
    creation_time: datetime
    output_dir: str
    data_root: str
    inputs: tuple[InputRef, ...] | None = None
    reference_inputs: tuple[InputRef, ...] = ()
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    host: str = ""
    process_id: int = 0
    user: str = ""


def writer_of(record_id: str) -> str:
    """Give the writer of the journal that a record's id is of: one for each program."""
    return record_id.rpartition("-")[0]


def valid_text(text: str) -> str:
    """Give text that every file can hold: of names that are no UTF-8, the bytes written out."""
    if text.isascii():
        return text
    try:
        content = text.encode("utf-8", "surrogateescape")  # as Python reads names from the system
    except UnicodeEncodeError:
        content = text.encode("utf-8", "backslashreplace")
    return content.decode("utf-8", "backslashreplace")


def printable(name: str | bytes) -> str:
    """Give a name as text that neither a terminal, a log nor JSON stumbles over."""
    text = valid_text(name) if isinstance(name, str) else name.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def to_json(
    record: InputRef | CodeRecord | ProcessRecord | AssetRecord | ResourceRecord,
) -> dict[str, JsonValue]:
    """Give the JSON form of a record; fields that hold their default are left out.

    Parameters
    ----------
    record
        Any record of this module.

    Returns
    -------
    dict
        Only JSON values; times in ISO 8601.
    """
    result: dict[str, JsonValue] = {}
    for item in dataclasses.fields(record):
        value = getattr(record, item.name)
        if value is None or value == item.default:
            continue
        if item.default_factory is not dataclasses.MISSING and value == item.default_factory():
            continue
        result[item.name] = _plain(value)
    return result


def _plain(value: Any) -> JsonValue:
    if dataclasses.is_dataclass(value):
        return to_json(value)  # type: ignore[arg-type]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: list(item) if type(item) is tuple else item for name, item in value.items()}
    return value  # type: ignore[no-any-return]


def process_from_json(data: Mapping[str, Any]) -> ProcessRecord:
    """Read back what :func:`to_json` made of a :class:`ProcessRecord`.

    Raises
    ------
    ValueError, KeyError, TypeError
        If the data are not of that form.
    """
    fields = dict(data)
    fields["start_date_time"] = _time(fields["start_date_time"])
    if "end_date_time" in fields:
        fields["end_date_time"] = _time(fields["end_date_time"])
    if "status" in fields:
        fields["status"] = ProcessStatus(fields["status"])
    if "code" in fields:
        fields["code"] = code_from_json(fields["code"])
    if "inputs" in fields:
        fields["inputs"] = inputs_from_json(fields["inputs"])
    if "read_inside" in fields:
        inside = fields["read_inside"]
        fields["read_inside"] = {name: tuple(paths) for name, paths in inside.items()}
    if "resources" in fields:
        fields["resources"] = resource_from_json(fields["resources"])
    for name in ("reads", "outputs", "notes", "observed", "follows"):
        if name in fields:
            fields[name] = tuple(fields[name])
    return ProcessRecord(**fields)


def code_from_json(data: Mapping[str, Any]) -> CodeRecord:
    """Read back what :func:`to_json` made of a :class:`CodeRecord`.

    Raises
    ------
    ValueError, KeyError, TypeError
        If the data are not of that form.
    """
    return CodeRecord(**{**data, "notes": tuple(data.get("notes", ()))})


def inputs_from_json(items: Iterable[Mapping[str, Any]]) -> tuple[InputRef, ...]:
    """Read back what :func:`to_json` made of several :class:`InputRef`.

    Raises
    ------
    ValueError, KeyError, TypeError
        If the data are not of that form.
    """
    return tuple(
        InputRef(**{**item, "assets": inputs_from_json(item.get("assets", []))}) for item in items
    )


def resource_from_json(data: Mapping[str, Any]) -> ResourceRecord:
    """Read back what :func:`to_json` made of a :class:`ResourceRecord`.

    Raises
    ------
    ValueError, KeyError, TypeError
        If the data are not of that form.
    """
    fields = dict(data)
    for name in ("cpu_usage", "ram_usage", "gpu_usage"):
        if name in fields:
            fields[name] = tuple((float(at), float(value)) for at, value in fields[name])
    return ResourceRecord(**fields)


def asset_from_json(data: Mapping[str, Any]) -> AssetRecord:
    """Read back what :func:`to_json` made of an :class:`AssetRecord`.

    Raises
    ------
    ValueError, KeyError, TypeError
        If the data are not of that form.
    """
    fields = dict(data)
    fields["creation_time"] = _time(fields["creation_time"])
    for name in ("inputs", "reference_inputs"):
        if name in fields:
            fields[name] = inputs_from_json(fields[name])
    return AssetRecord(**fields)


def _time(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError(f"a time without a time zone: {text}")
    return value
