"""One opening of an ``ExternalAsset``: a folder that is filled, then described."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from asset_provenance.checksums import CHECKSUMS, NOT_OUTSIDE_DATA, checksum_list, data_files
from asset_provenance.copying import copy_into, finish_copy
from asset_provenance.corefiles import (
    CORE_FILES,
    DATA_DESCRIPTION,
    FRAGMENT_ENDING,
    JOURNAL_FOLDER,
    MANIFEST,
    WHOLE_RECORD,
    file_name,
)
from asset_provenance.errors import PreflightError, StorageError, UsageError
from asset_provenance.folder import OutputFolder
from asset_provenance.liveline import tell_written
from asset_provenance.metadata import external, writer
from asset_provenance.metadata.external import ExternalFacts
from asset_provenance.metadata.manifest import EXTERNAL, find_obstacles
from asset_provenance.process import outcome
from asset_provenance.records import ProcessStatus

__all__ = ["ExternalRun"]

_RUN = "external-"
"""With what the folders begin that a description is staged in."""

_log = logging.getLogger("asset_provenance")


class ExternalRun:
    """A folder that is being filled, and described when it is closed."""

    def __init__(
        self,
        facts: ExternalFacts,
        folder: Path,
        source: Path | None,
        *,
        checksums: bool,
        live: bool | None,
    ) -> None:
        self.folder = folder
        self.is_open = True
        self._facts = facts
        self._checksums = checksums
        self._live = live
        self._process_id = os.getpid()
        self._accessed = facts.accessed or datetime.now().astimezone().date()
        # A label of a derived asset has no colon: neither replaces what describes the other.
        self._label = f"external:{facts.name}"
        if source is not None:
            _check_source(source, folder)
        self._is_copied = False
        self._own = OutputFolder(folder)
        try:
            self._clear()
            self._refuse_metadata()
            if source is not None:
                self._copy(source)
        except BaseException:
            self._own.abandon()
            raise

    def close(self, error: BaseException | None) -> None:
        """Describe the folder, unless an exception ended the block; give it back in any case."""
        if self._process_id != os.getpid():
            return  # a forked child leaves its parent's block
        self.is_open = False
        is_complete = outcome(error).status is ProcessStatus.COMPLETED
        try:
            if is_complete:
                self._describe()
        except BaseException:
            self._own.abandon()
            if self._is_copied:
                _log.warning(
                    "the copy in %s is whole, but not described: describe it where it is, without "
                    "copying it again",
                    self.folder,
                )
            raise
        if is_complete:
            self._own.give_back()
            tell_written(self._live, *self._written, self.folder)
        else:
            self._own.abandon()

    def _clear(self) -> None:
        """Finish or remove what was left by a program that was killed."""
        writer.roll_forward(self.folder)
        for run in writer.runs_kept(self.folder):
            if run.name.startswith(_RUN):
                if finish_copy(run, self.folder):
                    _log.warning("finished a copy to %s that was cut short at its end", self.folder)
                shutil.rmtree(run, ignore_errors=True)

    def _refuse_metadata(self) -> None:
        found = find_obstacles(
            self.folder, self._label, {CHECKSUMS: b""} if self._checksums else {}
        )
        found += _other_metadata(self.folder)
        if found:
            raise PreflightError(
                f"{self.folder} cannot be described as {self._facts.label}:", [_in_the_way(found)]
            )

    def _copy(self, source: Path) -> None:
        held = sorted(path.name for path in self.folder.iterdir() if path.name != JOURNAL_FOLDER)
        if held:
            raise PreflightError(
                f"{source} cannot be copied to {self.folder}:",
                [
                    f"it holds {', '.join(held[:5])}{', ...' if len(held) > 5 else ''} already: "
                    "give an empty folder, or describe what is there without copying"
                ],
            )
        copy_into(source, self.folder, self._new_run(), show_progress=True)
        self._is_copied = True

    def _describe(self) -> None:
        self._refuse_metadata()
        if not any(_holds_data(self.folder / name) for name, _ in self._data_files()):
            raise UsageError(
                f"{self.folder} holds no data to describe: put them there first, or in the block"
            )
        try:
            described = external.build_external(self._facts, self._accessed)
        except ValueError as error:
            raise PreflightError("the description would not be valid:", [str(error)]) from error
        content = described.model_dump_json(indent=3).encode()
        files = [writer.FileToWrite(file_name(DATA_DESCRIPTION), content), *self._listed()]
        with self._run_folder() as run:
            header = {
                "asset_provenance_version": importlib.metadata.version("asset-provenance"),
                "kind": EXTERNAL,
                "name": described.name,
                "process_name": self._label,
                "run": run.name,
            }
            writer.write_set(self.folder, run, files, header=header)
        _log.info("wrote the description of %s to %s", described.name, self.folder)
        self._written = described.name, len(files) + 1  # and the manifest

    def _listed(self) -> list[writer.FileToWrite]:
        if not self._checksums:
            return []
        content = checksum_list(self.folder, exclude=NOT_OUTSIDE_DATA, show_progress=True)
        return [writer.FileToWrite(CHECKSUMS, content)]

    def _data_files(self) -> Iterator[tuple[str, int]]:
        return data_files(self.folder, exclude=NOT_OUTSIDE_DATA)

    def _new_run(self) -> Path:
        return self.folder / JOURNAL_FOLDER / f"{_RUN}{uuid.uuid4().hex[:12]}"

    @contextmanager
    def _run_folder(self) -> Iterator[Path]:
        folder = self._new_run()
        try:
            folder.mkdir()
        except OSError as error:
            raise StorageError(f"{folder} cannot be made: {error.strerror or error}") from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _other_metadata(folder: Path) -> list[str]:
    """Find what else tells that data are described: a whole record, or fragments of stages."""
    names = [WHOLE_RECORD] if os.path.lexists(folder / WHOLE_RECORD) else []
    return names + sorted(path.name for path in folder.glob(f"*{FRAGMENT_ENDING}"))


def _holds_data(path: Path) -> bool:
    """Say whether something can be read there: a pipe or a link to nowhere holds nothing."""
    return path.is_file() or path.is_dir()


def _in_the_way(found: Sequence[str]) -> str:
    return (
        f"it holds {', '.join(found)}, so that it has metadata already: move them away, or give "
        "another folder; a data file that only has such a name must be renamed"
    )


def _check_source(source: Path, folder: Path) -> None:
    """Refuse a folder that cannot be copied, before anything is."""
    if not source.is_dir():
        raise UsageError(f"there is no folder {source}: give the folder that holds the data")
    inner, outer = source.resolve(), folder.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise UsageError(f"{source} and {folder} lie in each other: copy to another place")
    found = [name for name in map(file_name, CORE_FILES) if os.path.lexists(source / name)]
    found += [name for name in (MANIFEST, JOURNAL_FOLDER) if os.path.lexists(source / name)]
    found += _other_metadata(source)
    if found:
        raise PreflightError(f"{source} is not copied:", [_in_the_way(found)])
