"""``asset-provenance merge``: what stages of a pipeline left becomes one ``processing.json``."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from asset_provenance.corefiles import JOURNAL_FOLDER, file_name
from asset_provenance.errors import StorageError, UsageError
from asset_provenance.folder import OutputFolder
from asset_provenance.metadata import writer
from asset_provenance.metadata.intake import find_left
from asset_provenance.metadata.manifest import MERGED, find_obstacles
from asset_provenance.metadata.merging import merge_files
from asset_provenance.progress import byte_progress

__all__ = ["MergedStages", "merge_stages"]

_PROCESSING = file_name("processing")


@dataclass(frozen=True, slots=True)
class MergedStages:
    """What became of stages.

    Parameters
    ----------
    files
        How many files told of them.
    processes
        How many processes they hold, each counted once.
    faults
        What could not be merged, with its path, and why.
    is_written
        Whether the result was written.
    """

    files: int
    processes: int
    faults: tuple[str, ...]
    is_written: bool


def merge_stages(
    folders: Sequence[Path], output: Path, *, accept_invalid: bool = False, progress: bool = False
) -> MergedStages:
    """Make one processing of all that lies in folders, and write it.

    Parameters
    ----------
    folders
        Each with a ``processing.json``, fragments, or records, there or just below. Their order
        does not matter.
    output
        Where ``processing.json`` is written; made where it is missing. Where it holds a set of
        metadata files, that stays one.
    accept_invalid
        Write what is valid, although something could not be merged.
    progress
        Show on a terminal how far it is.

    Returns
    -------
    MergedStages
        What was found.

    Raises
    ------
    UsageError, StorageError
        If there is nothing to merge, or the output folder cannot be written to, or holds a
        ``processing.json`` that is not among what is merged.
    """
    if not folders:
        raise UsageError("name the folders of the stages: asset-provenance merge DIR ... --output")
    paths, faults = _files(folders)
    _refuse_to_lose(output, paths)
    total = sum(path.stat().st_size for path in paths if path.is_file())
    with byte_progress("merging", total, shown=progress) as tell:

        def watched() -> Iterator[Path]:
            for path in paths:
                yield path
                with suppress(OSError):
                    tell(path.stat().st_size)

        merged = merge_files(watched())
    faults += [f"{refused.path}: {refused.reason}" for refused in merged.refused]
    is_written = merged.content is not None and (accept_invalid or not faults)
    if is_written:
        _write(output, merged.content or b"", merged.names)
    return MergedStages(len(paths), len(merged.names), tuple(faults), is_written)


def _files(folders: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Find all files to merge, each once, and the folders that have none."""
    found: dict[str, Path] = {}
    faults = []
    for folder in folders:
        if not folder.is_dir():
            faults.append(f"{folder}: there is no such folder")
            continue
        inside = find_left(folder, with_processing=True)
        if not inside:
            faults.append(f"{folder}: it holds no {_PROCESSING}, and nothing that a stage left")
        for path in inside:
            found.setdefault(os.path.realpath(path), path)
    return list(found.values()), faults


def _refuse_to_lose(output: Path, paths: Sequence[Path]) -> None:
    place = output / _PROCESSING
    if any(os.path.realpath(path) == os.path.realpath(place) for path in paths):
        return
    if _PROCESSING in find_obstacles(output, MERGED):
        raise StorageError(
            f"{place} is there already, and is not among what is merged: name {output} as one of "
            "the folders, too, or give another --output"
        )


def _write(output: Path, content: bytes, names: Sequence[str]) -> None:
    own = OutputFolder(output.absolute())
    staging = own.path / JOURNAL_FOLDER / os.urandom(6).hex()
    try:
        writer.roll_forward(own.path)
        writer.renew_processing(
            own.path,
            staging,
            content,
            names=names,
            header={
                "asset_provenance_version": importlib.metadata.version("asset-provenance"),
                "name": None,
                "process_name": MERGED,
                "run": staging.name,
            },
        )
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        own.give_back()
