"""Patches of uncommitted changes in a written set: found, and taken out of it.

A patch is code that its author has not shown to anybody yet. It belongs to the record, and is
published only when that is wanted.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
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

__all__ = ["find_patches", "is_patch", "take_out"]

_PREFIX, _SUFFIX = "uncommitted-", ".patch"
_MEND = "make it writable, or publish them too: --with-patches"
_PROCESSING = file_name("processing")


def is_patch(name: str) -> bool:
    """Say whether a file of this name, in ``provenance/``, is a patch."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def find_patches(folder: Path) -> list[str]:
    """Give the patches in a folder, relative to it."""
    try:
        found = [path.name for path in (folder / PROVENANCE_FOLDER).iterdir()]
    except OSError:
        return []
    return [f"{PROVENANCE_FOLDER}/{name}" for name in sorted(found) if is_patch(name)]


def take_out(folder: Path, patches: list[str], keep_in: Path) -> None:
    """Take patches out of a written set; the set stays whole, and its notes stay true.

    Parameters
    ----------
    folder
        Of the asset.
    patches
        As :func:`find_patches` gives them.
    keep_in
        Another folder, where the patches are kept.

    Raises
    ------
    StorageError
        If that cannot be done; then the set is as it was.
    """
    from asset_provenance.metadata.writer import FileToWrite, write_set  # noqa: PLC0415 - slow

    try:
        own = OutputFolder(folder.absolute())
    except StorageError as error:
        reason = getattr(error.__cause__, "strerror", None) or error
        raise StorageError(
            f"the patches cannot be taken out of {folder}: {reason}; {_MEND}"
        ) from None
    run_folder = folder / JOURNAL_FOLDER / uuid.uuid4().hex
    try:
        keep_in.mkdir(parents=True, exist_ok=True)
        for patch in patches:
            shutil.copyfile(folder / patch, keep_in / Path(patch).name, follow_symlinks=False)
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
            f"the patches cannot be taken out of {folder}: {error}; {_MEND}"
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
