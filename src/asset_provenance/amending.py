"""Facts that become known after a run are written into its ``processing.json``, all at once."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from asset_provenance.corefiles import JOURNAL_FOLDER, file_name, parse_json, read_bytes
from asset_provenance.errors import StorageError, UsageError
from asset_provenance.folder import OutputFolder
from asset_provenance.metadata import writer
from asset_provenance.views import as_objects

__all__ = ["FOUND_BY", "Amendment", "add_note", "drop_note", "found_by"]

_PROCESSING = file_name("processing")
_TREE = re.compile(r" at tree:([0-9a-f]{40})")
FOUND_BY = "the commit was found by tree:"
"""The note of a process whose commit is known by the id of its folder of code."""
_FOUND = re.compile(rf"^{FOUND_BY}([0-9a-f]{{40}})$", re.MULTILINE)


def found_by(process: Mapping[str, Any]) -> str | None:
    """Give the id of the folder by which the commit of a process was found; None if it was not."""
    found = _FOUND.search(str(process.get("notes") or ""))
    return found[1] if found else None


def add_note(process: dict[str, Any], line: str) -> None:
    """Add a line to the notes of a process, unless it is there."""
    notes = process.get("notes")
    lines = notes.split("\n") if isinstance(notes, str) else []
    if line not in lines:
        process["notes"] = "\n".join([*lines, line])


def drop_note(process: dict[str, Any], line: str) -> bool:
    """Take a line out of the notes of a process; say whether it was there."""
    notes = process.get("notes")
    lines = notes.split("\n") if isinstance(notes, str) else []
    if line not in lines:
        return False
    process["notes"] = "\n".join(one for one in lines if one != line) or None
    return True


class Amendment:
    """The processing of a written set, to be read, changed and written back.

    Nothing but what is changed becomes another: the file is not read through the schema's models.

    Parameters
    ----------
    folder
        Of the set.

    Raises
    ------
    UsageError
        If there is none in it.
    StorageError
        If it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.path = self.folder / _PROCESSING
        if not self.path.is_file():
            raise UsageError(
                f"there is no {_PROCESSING} in {folder}: give the folder of a result, as it was "
                "written"
            )
        try:
            self._read = read_bytes(self.path)
            self.processing: dict[str, Any] = parse_json(self._read, self.path)
        except (OSError, ValueError) as error:
            raise StorageError(f"{self.path} cannot be read: {error}") from error

    def codes(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Give each process with its code, and each pipeline, which is code itself."""
        for key in ("data_processes", "pipelines"):
            for item in as_objects(self.processing.get(key)):
                code = item.get("code") if key == "data_processes" else item
                if isinstance(code, dict):
                    yield item, code

    def processes(self) -> list[dict[str, Any]]:
        """Give the processes."""
        return as_objects(self.processing.get("data_processes"))

    def tell_commits(self, commits: Mapping[str, str]) -> None:
        """Tell the commit wherever the notes of all name the id of a folder, by those ids."""

        def told(found: re.Match[str]) -> str:
            commit = commits.get(found[1])
            return found[0] if commit is None else f" at {commit} (tree:{found[1]})"

        if isinstance(self.processing.get("notes"), str):
            self.processing["notes"] = _TREE.sub(told, self.processing["notes"])

    def write(self) -> None:
        """Write the file with what was changed.

        Raises
        ------
        StorageError
            If it cannot be written, or was changed by somebody else since it was read; then it
            stays as it is.
        """
        own = OutputFolder(self.folder)
        staging = own.path / JOURNAL_FOLDER / os.urandom(6).hex()
        try:
            writer.roll_forward(own.path)
            if read_bytes(self.path) != self._read:
                raise StorageError(f"{self.path} was changed meanwhile; try again")
            content = json.dumps(self.processing, indent=3, ensure_ascii=False).encode(
                "utf-8",
                "backslashreplace",  # half a sign stays as JSON writes it: it is no UTF-8
            )
            writer.replace_file(own.path, staging, _PROCESSING, content)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            own.give_back()
