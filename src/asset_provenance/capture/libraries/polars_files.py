"""Files that polars opens in Rust.

A LazyFrame reads when it is collected, so that is when its files are told: those that are left in
its plan, which polars gives cheaply. Of an IPC scan the plan says nothing; its files are told when
the scan is made. Not told is the first file of a folder where polars looked for the schema only.
"""

from __future__ import annotations

import glob
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from asset_provenance.capture.files import Access, saw
from asset_provenance.capture.libraries.wrapping import (
    Tell,
    argument,
    paths_in,
    replace_everywhere,
    telling,
)
from asset_provenance.patching import Patches

__all__ = ["COLLECTS", "READS", "WRITES", "watch"]

READS: dict[str, dict[str, str]] = {
    "": dict.fromkeys(
        (
            "read_avro",
            "read_csv",
            "read_excel",
            "read_ipc",
            "read_ipc_schema",
            "read_ipc_stream",
            "read_json",
            "read_lines",
            "read_ndjson",
            "read_ods",
            "read_parquet",
            "read_parquet_metadata",
            "read_parquet_schema",
            "scan_ipc",
        ),
        "source",
    ),
    "DataFrame": {"deserialize": "source"},
    "LazyFrame": {"deserialize": "source"},
}
"""By class (or none), what reads, and the name of its first argument, which says where from."""

WRITES: dict[str, dict[str, str]] = {
    "DataFrame": dict.fromkeys(
        (
            "serialize",
            "write_avro",
            "write_csv",
            "write_ipc",
            "write_ipc_stream",
            "write_json",
            "write_ndjson",
            "write_parquet",
        ),
        "file",
    )
    | {"write_excel": "workbook"},
    "LazyFrame": dict.fromkeys(("sink_csv", "sink_ipc", "sink_ndjson", "sink_parquet"), "path")
    | {"serialize": "file"},
}
"""By class, what writes, and the name of its first argument, which says where to."""

COLLECTS = (
    "collect",
    "collect_async",
    "collect_batches",
    "collect_schema",
    "sink_batches",
    "sink_csv",
    "sink_ipc",
    "sink_ndjson",
    "sink_parquet",
    "execute",
    "profile",
    "_collect_eager",
)
"""Methods of a LazyFrame that have its plan carried out."""

_IN_MEMORY = ("polars.dataframe", "polars.series")
_COARSE = 20_000_000
"""Nanoseconds that the time of a file may be behind the clock."""


def watch(patches: Patches) -> None:
    """See the files that polars opens, until the patches are undone."""
    patches.when_imported("polars", partial(_watch_polars, patches))


def _watch_polars(patches: Patches, module: Any) -> None:
    makes: dict[str, Callable[[Any], Any]] = {
        name: partial(_reading, given=given) for name, given in READS[""].items()
    }
    makes |= dict.fromkeys(("collect_all", "collect_all_async"), _collecting_all)
    replace_everywhere(patches, module, makes)
    for owner in ("DataFrame", "LazyFrame"):
        held = getattr(module, owner)
        for name, given in READS[owner].items():
            patches.wrap(held, name, partial(_reading, given=given))
        for name, given in WRITES[owner].items():
            patches.wrap(held, name, partial(_writing, given=given))
    for name in COLLECTS:
        patches.wrap(module.LazyFrame, name, lambda original: telling(original, _collecting))


def _reading(original: Any, given: str) -> Any:
    def look(_instance: Any, args: Any, kwargs: Any) -> Tell:
        source = argument(args, kwargs, given, 0)
        return lambda _result: [saw(path, Access.READ) for path in _files_of(source)]

    return telling(original, look)


def _files_of(source: Any) -> Iterator[Any]:
    """Give the files that a source means: one, those of a pattern, a list; a folder in a plan."""
    # Text that is a document, and bytes, are contents.
    for path in paths_in(source):
        if isinstance(path, bytes):
            continue
        text = os.fspath(path)
        if any(sign in text for sign in "*?[") and not Path(text).exists():
            yield from glob.iglob(text, recursive=True)  # noqa: PTH207 - as polars takes it
        elif Path(text).is_dir():
            yield from (file for file in Path(text).rglob("*") if file.is_file())
        elif Path(text).is_file():
            yield text


def _writing(original: Any, given: str) -> Any:
    def look(_instance: Any, args: Any, kwargs: Any) -> Tell | None:
        target = argument(args, kwargs, given, 0)
        if kwargs.get("lazy"):
            return None
        since = time.time_ns() - _COARSE
        return lambda _result: _saw_written(target, since)

    return telling(original, look)


def _saw_written(target: Any, since: int) -> None:
    if not isinstance(target, str | os.PathLike):
        # What writes by partitions says only where.
        target = getattr(getattr(target, "_pl_partition_by", None), "base_path", None)
    if target is None:
        return
    if not Path(target).is_dir():
        saw(target, Access.REPLACE)
        return
    for file in Path(target).rglob("*"):
        if file.is_file() and file.stat().st_mtime_ns >= since:
            saw(file, Access.REPLACE)


def _collecting(instance: Any, _args: Any, kwargs: Any) -> Tell | None:
    # A frame in memory does by plans what it does: those read nothing, and there may be many.
    caller = sys._getframe(2).f_globals.get("__name__", "")
    if caller.startswith(_IN_MEMORY) or kwargs.get("lazy"):
        return None
    since = time.time_ns() - _COARSE
    return lambda _result: _saw_plan(instance, since)


def _collecting_all(original: Any) -> Any:
    def look(_instance: Any, args: Any, kwargs: Any) -> Tell | None:
        frames = argument(args, kwargs, "lazy_frames", 0)
        if not isinstance(frames, list | tuple):
            return None
        since = time.time_ns() - _COARSE
        return lambda _result: _saw_plans(frames, since)

    return telling(original, look)


def _saw_plans(frames: Any, since: int) -> None:
    for frame in frames:
        _saw_plan(frame, since)


def _saw_plan(frame: Any, since: int) -> None:
    plan = frame._ldf.visit()
    waiting = [plan.get_node()]
    while waiting:
        plan.set_node(waiting.pop())
        waiting += plan.get_inputs()
        try:
            node = plan.view_current_node()
        except NotImplementedError:  # a kind of step that polars shows nobody
            continue
        kind = type(node).__name__
        if kind == "Scan":
            for path in node.paths:
                saw(path, Access.READ)
        elif kind == "Sink":
            _saw_sink(json.loads(node.payload), since)


def _saw_sink(payload: dict[str, Any], since: int) -> None:
    file, partitions = payload.get("File"), payload.get("Partitioned") or payload.get("Partition")
    if file:
        target = file["target"]
        target = target.get("inner") if isinstance(target, dict) else target
        _saw_written(target, since)
    elif partitions:
        _saw_written(partitions.get("base_path"), since)
