"""Patches of uncommitted changes in written sets: found, and taken out of them.

A patch is code that its author has not shown to anybody yet. It belongs to the record, and is
published only when that is wanted. Where an asset's folder holds those of others, theirs count too.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from asset_provenance.corefiles import (
    JOURNAL_FOLDER,
    MANIFEST,
    PROVENANCE_FOLDER,
    file_name,
    parse_json,
    read_bytes,
)
from asset_provenance.errors import StorageError
from asset_provenance.folder import OutputFolder

__all__ = ["files_below", "is_patch", "take_out"]

_PREFIX, _SUFFIX = "uncommitted-", ".patch"
_MEND = "or publish them too: --with-patches"
_PROCESSING = file_name("processing")


def files_below(folder: Path) -> Iterator[str]:
    """Give the files below a folder, at any depth, relative to it in POSIX form."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        inside = Path(place).relative_to(folder)
        for name in sorted(files):
            yield (inside / name).as_posix()


def is_patch(path: str) -> bool:
    """Say whether a file is a patch, by its path: it lies in a folder ``provenance``."""
    parts = path.split("/")[-2:]
    return (
        len(parts) > 1
        and parts[0] == PROVENANCE_FOLDER
        and parts[1].startswith(_PREFIX)
        and parts[1].endswith(_SUFFIX)
    )


def take_out(folder: Path, patches: list[str], keep_in: Path) -> None:
    """Take patches out of the written sets in a folder; each stays whole, and its notes true.

    Parameters
    ----------
    folder
        Of the asset.
    patches
        Their paths in it, as :func:`files_below` gives them.
    keep_in
        Another folder, where the patches are kept by the same paths. A file that it has already
        is never replaced by one of other content, which goes beside it.

    Raises
    ------
    StorageError
        If that cannot be done; then the set is as it was, and nothing is kept that was not.
    """
    of_sets: dict[Path, list[str]] = {}
    for patch in patches:
        of_sets.setdefault(folder / PurePosixPath(patch).parent.parent, []).append(
            f"{PROVENANCE_FOLDER}/{PurePosixPath(patch).name}"
        )
    for place in of_sets:
        if not (place / MANIFEST).is_file():
            raise StorageError(
                f"the patches cannot be taken out of {place}: there is no {MANIFEST}, which says "
                f"what belongs together; move them away by hand, {_MEND}"
            )
    new_files: list[Path] = []
    new_folders: list[Path] = []
    try:
        for patch in patches:
            _keep(folder / patch, keep_in / patch, new_files, new_folders)
    except OSError as error:
        _undo(new_files, new_folders)
        raise StorageError(
            f"the patches cannot be kept in {keep_in}: {error.strerror or error}; move away what "
            f"is in the way, {_MEND}"
        ) from error
    done = 0
    try:
        for place, own in of_sets.items():
            _take_out_of_set(place, own)
            done += 1
    except StorageError:
        if not done:
            _undo(new_files, new_folders)
        raise


def _keep(source: Path, target: Path, new_files: list[Path], new_folders: list[Path]) -> None:
    missing = [one for one in (target.parent, *target.parent.parents) if not one.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    new_folders += missing
    content = source.read_bytes()
    number = 1
    place = target
    while os.path.lexists(place):
        if place.is_file() and place.read_bytes() == content:
            return
        number += 1
        place = target.with_name(f"{target.stem}-{number}{target.suffix}")
    new_files.append(place)
    shutil.copyfile(source, place)


def _undo(new_files: list[Path], new_folders: list[Path]) -> None:
    for file in new_files:
        with suppress(OSError):
            file.unlink()
    for folder in sorted(new_folders, key=lambda one: len(one.parts), reverse=True):
        with suppress(OSError):
            folder.rmdir()


def _take_out_of_set(folder: Path, patches: list[str]) -> None:
    from asset_provenance.metadata.writer import FileToWrite, write_set  # noqa: PLC0415 - slow

    try:
        own = OutputFolder(folder.absolute())
    except StorageError as error:
        reason = getattr(error.__cause__, "strerror", None) or error
        raise StorageError(
            f"the patches cannot be taken out of {folder}: {reason}; make it writable, {_MEND}"
        ) from None
    run_folder = folder / JOURNAL_FOLDER / uuid.uuid4().hex
    try:
        manifest = parse_json(read_bytes(folder / MANIFEST), folder / MANIFEST)
        listed: dict[str, Any] = manifest.pop("files")
        files = [
            FileToWrite(file, _content(folder, file, patches), entry.get("inherited_from"))
            for file, entry in listed.items()
            if file not in patches
        ]
        write_set(folder, run_folder, files, header=manifest, overwrite=True)
        for patch in patches:
            (folder / patch).unlink(missing_ok=True)  # one that the manifest did not list
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise StorageError(
            f"the patches cannot be taken out of {folder}: {error}; make it writable, {_MEND}"
        ) from error
    finally:
        shutil.rmtree(run_folder, ignore_errors=True)  # it holds what was replaced
        own.give_back()


def _content(folder: Path, file: str, patches: list[str]) -> bytes:
    content = read_bytes(folder / file)
    if file == _PROCESSING:
        for patch in patches:
            content = content.replace(
                f"kept as {patch}".encode(),
                b"whose patch was left out when this was published",
            )
    return content
