"""Files that pyarrow opens in C++, and through it pandas and others.

What Python sees of it are few deep places, which everything else comes through; the rest are
functions that open by themselves. A dataset's files are told when a scan of it is made: those that
its partitions leave, although a scan that ends early opens only some of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from asset_provenance.capture.files import Access, saw, state
from asset_provenance.capture.libraries.sealed import Sealed
from asset_provenance.capture.libraries.wrapping import (
    Tell,
    argument,
    replace_everywhere,
    telling,
)
from asset_provenance.patching import Patches

__all__ = ["CALLS", "METHODS", "Opens", "watch"]


@dataclass(frozen=True)
class Opens:
    """Which argument of a call names a file, and what is done with that."""

    argument: str
    position: int = 0
    access: int = Access.READ


CALLS: dict[str, dict[str, Opens]] = {
    "pyarrow.lib": {
        "input_stream": Opens("source"),
        "output_stream": Opens("source", access=Access.REPLACE),
        "create_memory_map": Opens("path", access=Access.REPLACE),
        "read_schema": Opens("obj"),
    },
    "pyarrow._csv": {
        "read_csv": Opens("input_file"),
        "open_csv": Opens("input_file"),
        "write_csv": Opens("output_file", 1, Access.REPLACE),
        "CSVWriter": Opens("sink", access=Access.REPLACE),
    },
    "pyarrow._json": {"read_json": Opens("input_file"), "open_json": Opens("input_file")},
    "pyarrow._feather": {
        "FeatherReader": Opens("source"),
        "write_feather": Opens("dest", 1, Access.REPLACE),
    },
    "pyarrow.dataset": {"parquet_dataset": Opens("metadata_path")},
}
"""Functions and classes, by the module that has them, that open what they are given in C++."""

METHODS: dict[str, dict[str, dict[str, Opens]]] = {
    "pyarrow.lib": {
        "_RecordBatchFileReader": {"_open": Opens("source")},
        "_RecordBatchStreamReader": {"_open": Opens("source")},
        "_RecordBatchFileWriter": {"_open": Opens("sink", access=Access.REPLACE)},
        "_RecordBatchStreamWriter": {"_open": Opens("sink", access=Access.REPLACE)},
    },
    "pyarrow._parquet": {
        "ParquetReader": {"open": Opens("source")},
        "FileMetaData": {"write_metadata_file": Opens("where", access=Access.REPLACE)},
    },
    "pyarrow._orc": {
        "ORCReader": {"open": Opens("source")},
        "ORCWriter": {"open": Opens("where", access=Access.REPLACE)},
    },
}
"""Methods likewise, by the class that has them."""

_FILE_SYSTEM = {
    "open_input_file": Opens("path"),
    "open_input_stream": Opens("path"),
    "open_output_stream": Opens("path", access=Access.REPLACE),
    "open_append_stream": Opens("path", access=Access.WRITE),
    "delete_file": Opens("path", access=Access.REMOVE),
}


def watch(patches: Patches) -> None:
    """See the files that pyarrow opens, until the patches are undone."""
    for name in sorted({*CALLS, *METHODS}):
        patches.when_imported(name, partial(_watch_paths, patches))
    patches.when_imported("pyarrow.lib", partial(_watch_modes, patches))
    patches.when_imported("pyarrow._fs", partial(_watch_file_systems, patches))
    patches.when_imported("pyarrow._dataset", partial(_watch_scans, patches))
    patches.when_imported("pyarrow._dataset_parquet", partial(_watch_footers, patches))
    patches.when_imported("pyarrow.dataset", partial(_watch_written_datasets, patches))


def _watch_paths(patches: Patches, module: Any) -> None:
    calls = CALLS.get(module.__name__, {})
    replace_everywhere(
        patches, module, {name: partial(_telling, opens=opens) for name, opens in calls.items()}
    )
    for owner, methods in METHODS.get(module.__name__, {}).items():
        for name, opens in methods.items():
            patches.wrap(Sealed(getattr(module, owner)), name, partial(_telling, opens=opens))


def _telling(original: Any, opens: Opens) -> Any:
    def look(_instance: Any, args: Any, kwargs: Any) -> Tell | None:
        path = argument(args, kwargs, opens.argument, opens.position)
        # Bytes are contents here, and no path.
        if not isinstance(path, str | os.PathLike):
            return None
        return lambda _result: saw(path, opens.access)

    return telling(original, look)


def _watch_modes(patches: Patches, module: Any) -> None:
    makes: dict[str, Callable[[Any], Any]] = dict.fromkeys(
        ("OSFile", "memory_map"), lambda original: telling(original, _by_mode)
    )
    replace_everywhere(patches, module, makes)


def _by_mode(_instance: Any, args: Any, kwargs: Any) -> Tell | None:
    path = argument(args, kwargs, "path", 0)
    mode = argument(args, kwargs, "mode", 1, "r")
    if mode in ("r+", "r+b", "rb+"):
        before = state(path)
        return lambda _result: saw(path, Access.READ, before)
    access = {"w": Access.REPLACE, "a": Access.WRITE}.get(mode[:1], Access.READ)
    return lambda _result: saw(path, access)


def _located(file_system: Any, path: str) -> str | None:
    """Say where a path of a file system of pyarrow is; None if that is not known."""
    kind = file_system.type_name
    if kind == "local":
        return path
    if kind == "subtree":
        return _located(file_system.base_fs, f"{file_system.base_path.rstrip('/')}/{path}")
    # What is opened through Python (of fsspec) is seen there.
    return f"s3://{path}" if kind == "s3" else None


def _watch_file_systems(patches: Patches, module: Any) -> None:
    sealed = Sealed(module.FileSystem)
    for name, opens in _FILE_SYSTEM.items():
        patches.wrap(sealed, name, partial(_telling_of_file_system, opens=(opens,)))
    source, target = Opens("src"), Opens("dest", 1, Access.REPLACE)
    patches.wrap(sealed, "copy_file", partial(_telling_of_file_system, opens=(source, target)))
    removed = Opens("src", access=Access.REMOVE)
    patches.wrap(sealed, "move", partial(_telling_of_file_system, opens=(target, removed)))


def _telling_of_file_system(original: Any, opens: tuple[Opens, ...]) -> Any:
    def look(instance: Any, args: Any, kwargs: Any) -> Tell:
        def tell(_result: Any) -> None:
            for each in opens:
                path = argument(args, kwargs, each.argument, each.position)
                _saw_in(instance, path, each.access)

        return tell

    return telling(original, look)


def _saw_in(file_system: Any, path: Any, access: int) -> None:
    place = _located(file_system, os.fspath(path))
    if place is not None:
        saw(place, access)


def _watch_scans(patches: Patches, module: Any) -> None:
    scanner = Sealed(module.Scanner)

    def dataset_scanned(_instance: Any, args: Any, kwargs: Any) -> Tell:
        dataset = argument(args, kwargs, "dataset", 0)
        return lambda _scanner: _saw_fragments(_left_of(dataset, kwargs.get("filter")))

    def fragment_scanned(_instance: Any, args: Any, kwargs: Any) -> Tell:
        return lambda _scanner: _saw_fragments([argument(args, kwargs, "fragment", 0)])

    def finished(_instance: Any, args: Any, kwargs: Any) -> Tell | None:
        if argument(args, kwargs, "schema", 0) is not None:
            return None
        # The schema is that of the first file.
        return _saw_first

    patches.wrap(scanner, "from_dataset", lambda original: telling(original, dataset_scanned))
    patches.wrap(scanner, "from_fragment", lambda original: telling(original, fragment_scanned))
    factory = Sealed(module.DatasetFactory)
    patches.wrap(factory, "finish", lambda original: telling(original, finished))
    fragment = Sealed(module.FileFragment)
    patches.wrap(fragment, "open", lambda original: telling(original, _of_fragment))
    patches.wrap(
        Sealed(module.FileFormat), "inspect", lambda original: telling(original, _inspected)
    )


def _saw_first(dataset: Any) -> None:
    for path in dataset.files[:1]:
        _saw_in(dataset.filesystem, path, Access.READ)


def _watch_footers(patches: Patches, module: Any) -> None:
    sealed = Sealed(module.ParquetFileFragment)
    patches.wrap(sealed, "ensure_complete_metadata", lambda held: telling(held, _of_fragment))


def _of_fragment(instance: Any, _args: Any, _kwargs: Any) -> Tell:
    return lambda _result: _saw_fragments([instance])


def _inspected(_instance: Any, args: Any, kwargs: Any) -> Tell | None:
    path = argument(args, kwargs, "file", 0)
    file_system = argument(args, kwargs, "filesystem", 1)
    if not isinstance(path, str | os.PathLike):
        return None
    if file_system is None:
        return lambda _schema: saw(path, Access.READ)
    return lambda _schema: _saw_in(file_system, path, Access.READ)


def _left_of(dataset: Any, wanted: Any) -> Iterator[Any]:
    """Give the fragments of a dataset that a filter leaves, by their partitions alone."""
    for child in getattr(dataset, "children", ()):
        yield from _left_of(child, wanted)
    if not hasattr(dataset, "files"):
        return
    own = dataset._scan_options.get("filter")
    if own is not None:
        wanted = own if wanted is None else own & wanted
    yield from dataset._get_fragments(wanted)


def _saw_fragments(fragments: Any) -> None:
    for fragment in fragments:
        if getattr(fragment, "buffer", None) is None and hasattr(fragment, "path"):
            _saw_in(fragment.filesystem, fragment.path, Access.READ)


def _watch_written_datasets(patches: Patches, module: Any) -> None:
    replace_everywhere(
        patches, module, {"write_dataset": lambda original: telling(original, _dataset_written)}
    )


def _dataset_written(_instance: Any, args: Any, kwargs: Any) -> Tell:
    file_system = kwargs.get("filesystem")
    base = argument(args, kwargs, "base_dir", 1)
    is_remote = isinstance(base, str) and base.startswith("s3://")
    theirs = kwargs.get("file_visitor")
    paths: list[str] = []

    def visit(written: Any) -> None:
        # In a thread of pyarrow's, which nobody's context comes along to.
        paths.append(written.path)
        if theirs is not None:
            theirs(written)

    def tell(_result: Any) -> None:
        for path in paths:
            if hasattr(file_system, "type_name"):
                _saw_in(file_system, path, Access.REPLACE)
            elif file_system is None:
                saw(f"s3://{path}" if is_remote else path, Access.REPLACE)

    # pyarrow tells whoever asks of each file that it has written.
    kwargs["file_visitor"] = visit
    return tell
