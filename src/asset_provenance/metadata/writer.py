"""The metadata files of an asset appear all together or not at all, with their manifest.

All files are written and synced in a staging folder on the same file system. A commit marker then
lists what is to be moved where. Only after that are the files renamed to their places, so that a
kill in between leaves the marker, and whoever looks next rolls the set forward.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from asset_provenance.corefiles import (
    JOURNAL_FOLDER,
    MANIFEST,
    file_name,
    parse_json,
    read_bytes,
)
from asset_provenance.errors import StorageError
from asset_provenance.metadata.manifest import (
    EXTERNAL,
    MANIFEST_FORMAT,
    digest,
    find_obstacles,
    is_as_written,
    read_manifest,
)

__all__ = [
    "FileToWrite",
    "interrupted_writes",
    "may_be_finished",
    "renew_processing",
    "roll_forward",
    "runs_kept",
    "write_set",
]

_STAGING = "staged"
_MARKER = "commit.json"
_BACKUP = "replaced"

_log = logging.getLogger("asset_provenance")


@dataclass(frozen=True, slots=True)
class FileToWrite:
    """One file of the set.

    Parameters
    ----------
    path
        Relative to the output folder, in POSIX form.
    content
        Its bytes.
    inherited_from
        The input whose file this is, unchanged; None for one made anew.
    """

    path: str
    content: bytes
    inherited_from: str | None = None


def write_set(
    output_dir: Path,
    run_folder: Path,
    files: Iterable[FileToWrite],
    *,
    header: Mapping[str, Any] | None,
    overwrite: bool = False,
) -> list[Path]:
    """Write a set of files so that they appear together, replacing what stands in their places.

    Parameters
    ----------
    output_dir
        The asset's folder.
    run_folder
        The run's own folder below it, where the files are staged.
    files
        The whole set, without its manifest.
    header
        What the manifest says besides: the asset's name, its process name, our version. None for
        files that stand beside whatever set is there, and belong to none.
    overwrite
        Whether metadata files that are not ours, or were edited, may be replaced.

    Returns
    -------
    list of pathlib.Path
        The files written, the manifest last if there is one.

    Raises
    ------
    StorageError
        If one of them cannot be written, or would replace what is not ours; then none has
        appeared, and what stood there before still stands.
    """
    several = list(files)
    if header is None:
        return _write(output_dir, run_folder, several, [])
    obstacles = (
        []
        if overwrite
        else find_obstacles(
            output_dir, header["process_name"], {file.path: file.content for file in several}
        )
    )
    if obstacles:
        raise StorageError(
            f"{output_dir} now holds {', '.join(obstacles)}, which this package did not write: "
            "move them away"
            + (
                ""
                if header.get("kind") == EXTERNAL
                else ", or give DerivedAsset(..., overwrite=True)"
            )
        )
    manifest = {
        **header,
        "format": MANIFEST_FORMAT,
        "files": {
            file.path: {
                "sha256": digest(file.content),
                **({"inherited_from": file.inherited_from} if file.inherited_from else {}),
            }
            for file in several
        },
    }
    content = json.dumps(manifest, indent=1).encode()
    several.append(FileToWrite(MANIFEST, content))
    new = [file.path for file in several]
    # Of a set that is replaced, what the new one no longer has must go with it.
    old = read_manifest(output_dir).get("files")
    stale = [
        path
        for path, entry in (old.items() if isinstance(old, dict) else ())
        if path not in new and _is_inside(path) and is_as_written(output_dir / path, entry)
    ]
    return _write(output_dir, run_folder, several, stale)


def renew_processing(
    output_dir: Path,
    run_folder: Path,
    content: bytes,
    *,
    names: Iterable[str],
    header: Mapping[str, Any],
) -> None:
    """Replace the processing of the set that is there, or begin one with it.

    Parameters
    ----------
    output_dir, run_folder
        As for :func:`write_set`.
    content
        The new ``processing.json``.
    names
        Its processes. Those that were not the set's own have come from elsewhere.
    header
        What the manifest says of a set that begins with this file.

    Raises
    ------
    StorageError
        If it cannot be written; then nothing has changed.
    """
    path = file_name("processing")
    manifest = read_manifest(output_dir)
    files = manifest.get("files")
    own: set[str] = set()
    if isinstance(files, dict) and manifest.get("process_name") != header["process_name"]:
        inherited = manifest.get("inherited_processes")
        own = set(_process_names(output_dir / path)).difference(
            inherited if isinstance(inherited, list) else ()
        )
        header = manifest
    new = {
        **header,
        "format": MANIFEST_FORMAT,
        "inherited_processes": [name for name in names if name not in own],
        "files": {**(files if isinstance(files, dict) else {}), path: {"sha256": digest(content)}},
    }
    several = [
        FileToWrite(path, content),
        FileToWrite(MANIFEST, json.dumps(new, indent=1).encode()),
    ]
    _write(output_dir, run_folder, several, [])


def replace_file(output_dir: Path, run_folder: Path, path: str, content: bytes) -> None:
    """Replace one file of the set that is there, and what its manifest says of that file.

    Parameters
    ----------
    output_dir, run_folder
        As for :func:`write_set`.
    path
        Of the file, relative to the asset's folder.
    content
        Its new content.

    Raises
    ------
    StorageError
        If it cannot be written; then nothing has changed.
    """
    several = [FileToWrite(path, content)]
    manifest = read_manifest(output_dir)
    files = manifest.get("files")
    # What was edited by hand since stays known as such.
    if isinstance(files, dict) and is_as_written(output_dir / path, files.get(path)):
        entry = {**files[path], "sha256": digest(content)}
        new = {**manifest, "files": {**files, path: entry}}
        several.append(FileToWrite(MANIFEST, json.dumps(new, indent=1).encode()))
    _write(output_dir, run_folder, several, [])


def _process_names(path: Path) -> list[str]:
    try:
        listed = parse_json(read_bytes(path), path)["data_processes"]
        return [process["name"] for process in listed]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _write(
    output_dir: Path, run_folder: Path, several: Sequence[FileToWrite], stale: list[str]
) -> list[Path]:
    new = [file.path for file in several]
    moved: list[str] = []
    try:
        for file in several:
            _write_synced(run_folder / _STAGING / file.path, file.content)
        # Whoever rolls forward later must not take what has come there meanwhile for this.
        present = {path: _digest_of(output_dir / path) for path in [*new, *stale]}
        marker = json.dumps({"files": new, "stale": stale, "present": present}).encode()
        _write_synced(run_folder / f"{_MARKER}.part", marker)
        (run_folder / f"{_MARKER}.part").replace(run_folder / _MARKER)
        _sync_folder(run_folder)
        _apply(output_dir, run_folder, new, stale, moved)
    except OSError as error:
        _undo(output_dir, run_folder, moved, [*new, *stale])
        place = f" {error.filename}:" if error.filename else ""
        raise StorageError(
            f"the metadata cannot be written to {output_dir}:{place} {error.strerror or error}"
        ) from error
    (run_folder / _MARKER).unlink(missing_ok=True)
    return [output_dir / path for path in new]


def runs_kept(folder: Path) -> list[Path]:
    """Give the folders that runs keep their records in; none that a link leads to."""
    journals = folder / JOURNAL_FOLDER
    try:
        is_own = journals.is_dir() and not journals.is_symlink()
        inside = sorted(journals.iterdir()) if is_own else []
        return [run for run in inside if run.is_dir() and not run.is_symlink()]
    except OSError:
        return []


def interrupted_writes(folder: Path) -> list[Path]:
    """Give the folders of runs that were killed while their files were put into place."""
    return [run for run in runs_kept(folder) if (run / _MARKER).is_file()]


def may_be_finished(folder: Path) -> bool:
    """Say whether putting what those runs left into place would touch the folder's own files only.

    The folder may come from anywhere: no marker is followed through a link, or to a pipe.
    """
    runs = interrupted_writes(folder)
    if sorted((folder / JOURNAL_FOLDER).glob(f"*/{_MARKER}")) != [run / _MARKER for run in runs]:
        return False
    try:
        for run in runs:
            plan = parse_json(read_bytes(run / _MARKER), run)
            paths = [path for key in ("files", "stale", "present") for path in plan[key]]
            places = (folder, run / _STAGING, run / _BACKUP)
            if not all(_is_plain(place, path) for path in paths for place in places):
                return False
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


def _is_plain(place: Path, file: str) -> bool:
    """Say whether a path leads to a file or to nothing, by no other way than through folders."""
    for part in PurePosixPath(file).parts:
        place /= part
        if place.is_symlink() or (place.exists() and not (place.is_dir() or place.is_file())):
            return False
    return True


def roll_forward(output_dir: Path) -> list[Path]:
    """Finish the sets of runs that were killed while their files were renamed.

    Returns
    -------
    list of pathlib.Path
        The folders of those runs, which are then done with and removed.

    Raises
    ------
    StorageError
        If a set cannot be finished.
    """
    if not may_be_finished(output_dir):
        raise StorageError(
            f"what an earlier run left in {output_dir / JOURNAL_FOLDER} leads out of the folder "
            "and is not put in place; look at it, and remove it"
        )
    done = []
    for run_folder in interrupted_writes(output_dir):
        try:
            plan = json.loads((run_folder / _MARKER).read_bytes())
            new, stale = (list(filter(_is_inside, plan[key])) for key in ("files", "stale"))
            _refuse_changed(output_dir, run_folder, plan["present"])
            _apply(output_dir, run_folder, new, stale, [])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"the metadata of an earlier run in {run_folder} cannot be put in place: {error}"
            ) from error
        _log.warning("finished writing the metadata of an earlier run, killed while it wrote them")
        shutil.rmtree(run_folder, ignore_errors=True)
        done.append(run_folder)
    return done


def _refuse_changed(output_dir: Path, run_folder: Path, present: Mapping[str, str | None]) -> None:
    """Refuse to roll over what somebody has put into a place since the run was killed."""
    for path, before in present.items():
        if _is_inside(path) and (run_folder / _STAGING / path).exists():
            now = _digest_of(output_dir / path)
            if now not in (before, None):
                raise ValueError(
                    f"{path} was written since; remove it, or else the folder of that run"
                )


def _digest_of(path: Path) -> str | None:
    try:
        return digest(path.read_bytes())
    except FileNotFoundError:
        return None


def _apply(
    output_dir: Path, run_folder: Path, new: list[str], stale: list[str], moved: list[str]
) -> None:
    """Move the staged files into place, noting each; what stands there goes to a backup folder."""
    for path in [*new, *stale]:
        staged, target, backup = _places(output_dir, run_folder, path)
        if path in new and not staged.exists():
            continue  # moved before a kill
        if os.path.lexists(target):
            if target.is_dir() and not target.is_symlink():
                raise IsADirectoryError(21, "a folder stands where a file must go", str(target))
            backup.parent.mkdir(parents=True, exist_ok=True)
            target.replace(backup)
        if path in new:
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.replace(target)
            moved.append(path)
    for folder in {(output_dir / path).parent for path in new}:
        _sync_folder(folder)


def _undo(output_dir: Path, run_folder: Path, moved: list[str], paths: list[str]) -> None:
    """Give every place back to what stood there before."""
    with suppress(OSError):
        (run_folder / _MARKER).unlink(missing_ok=True)
    for path in paths:
        _, target, backup = _places(output_dir, run_folder, path)
        with suppress(OSError):
            if path in moved:
                target.unlink()
            if os.path.lexists(backup):
                backup.replace(target)
    with suppress(OSError):
        (output_dir / MANIFEST).parent.rmdir()  # only if nothing is in it


def _places(output_dir: Path, run_folder: Path, path: str) -> tuple[Path, Path, Path]:
    return run_folder / _STAGING / path, output_dir / path, run_folder / _BACKUP / path


def _is_inside(path: object) -> bool:
    """Refuse a path in a manifest or marker that leads out of the output folder."""
    return isinstance(path, str) and not path.startswith("/") and ".." not in Path(path).parts


def _write_synced(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some file systems cannot sync a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
