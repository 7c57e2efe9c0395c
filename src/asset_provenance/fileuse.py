"""Which files the processes of an asset read and write, attributed as it happens."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from asset_provenance.assetrefs import asset_ref
from asset_provenance.capture.files import Access, State, state, unobserved
from asset_provenance.corefiles import JOURNAL_FOLDER
from asset_provenance.records import InputRef, ProcessRecord, valid_text

if TYPE_CHECKING:
    from asset_provenance.capture.inputs import InputResolver, ResolvedInput
    from asset_provenance.process import ActiveProcess

__all__ = ["FileUse", "ProcessFiles", "with_files"]

_MOST_PATHS = 2000
"""Of one process, so many files are told apart; beyond, whole folders stand for theirs."""
_MOST_FOLDERS = 4096
_DATA, _OUTPUT, _OUTSIDE = range(3)


@dataclass(slots=True)
class ProcessFiles:
    """What one process was seen to use.

    Parameters
    ----------
    inputs
        The data assets that it read, by their identity.
    read, written
        Paths below the output folder, relative to it, with the monotonic time of the last use. A
        path that ends with a slash stands for all the files in that folder.
    follows
        The processes whose files it read, or whose objects it was given.
    """

    inputs: dict[str, InputRef] = field(default_factory=dict)
    read: dict[str, float] = field(default_factory=dict)
    written: dict[str, float] = field(default_factory=dict)
    follows: dict[str, None] = field(default_factory=dict)
    known_folders: set[str] = field(default_factory=set)
    """Folders of data assets that it has read from already: the usual case, and quick."""
    doubtful: dict[str, tuple[str, State]] = field(default_factory=dict)
    """Files that it may yet change: their full path, and their state before."""
    _whole: set[str] = field(default_factory=set)

    def note(self, used: dict[str, float], path: str, now: float) -> str:
        """Take note of a path; give it, or the folder that stands for it."""
        if self._whole:
            folder = path
            while folder := folder.rpartition("/")[0]:
                if f"{folder}/" in self._whole:
                    path = f"{folder}/"
                    break
        used[path] = now
        if len(used) > _MOST_PATHS:
            self._gather(used)
        return path

    def _gather(self, used: dict[str, float]) -> None:
        """Let folders stand for their files, the innermost first, until few paths are left."""
        depth = max(path.rstrip("/").count("/") for path in used)
        while depth and len(used) > _MOST_PATHS // 2:
            for path in [path for path in used if path.rstrip("/").count("/") == depth]:
                folder = f"{path.rstrip('/').rpartition('/')[0]}/"
                self._whole.add(folder)
                used[folder] = max(used.pop(path), used.get(folder, 0.0))
            depth -= 1


class FileUse:
    """What the processes of one asset read and write.

    Parameters
    ----------
    resolver
        Knows which asset a path belongs to.
    output_dir
        The asset's own folder, absolute.
    """

    def __init__(self, resolver: InputResolver, output_dir: str) -> None:
        self._resolver = resolver
        self._roots = tuple(dict.fromkeys((output_dir, os.path.realpath(output_dir))))
        self._places: dict[str, tuple[int, str]] = {}
        self._writers: dict[str, tuple[str, ...]] = {}
        self.lock = threading.RLock()
        self.found: list[ResolvedInput] = []
        """Inputs that were seen since the list was last taken."""

    def saw(self, process: ActiveProcess, path: str, access: int, before: State | None) -> None:
        """Take note of a file that a process opened, wrote or removed."""
        folder = path.rpartition("/")[0]
        files = process._files
        if folder in files.known_folders:
            return
        if path.startswith("s3://"):
            self._saw_asset(process, asset_ref(None, path), access)
            return
        kind, inside = self._place(folder)
        if kind == _OUTSIDE:
            target = _link_target(path)
            if target is None:
                return
            path, folder = target, target.rpartition("/")[0]
            kind, inside = self._place(folder)
        if kind == _OUTPUT:
            name = path.rpartition("/")[2]
            relative = valid_text(f"{inside}/{name}" if inside else name)
            self._saw_output(process, relative, path, access, before)
        elif kind == _DATA and access & Access.READ:
            with unobserved():
                found = self._resolver.of_path(path)
            if found is not None and found.ref is not None:
                self.found.append(found)
                self._saw_asset(process, found.ref, access)
                # A loose file is an asset of its own, and its folder says nothing.
                if found.folder is not None:
                    files.known_folders.add(folder)

    def _saw_asset(self, process: ActiveProcess, ref: InputRef, access: int) -> None:
        if access & Access.READ and ref.name:
            process._files.inputs.setdefault(ref.identity, ref)

    def _saw_output(
        self, process: ActiveProcess, path: str, full: str, access: int, before: State | None
    ) -> None:
        now = time.monotonic()
        files, writer = process._files, process._record.id
        with self.lock:
            if access & Access.READ:
                self._read(process, path, now)
            if before is not None and path not in files.written:
                files.doubtful.setdefault(path, (full, before))
            if access & Access.WRITE:
                key = files.note(files.written, path, now)
                others = () if access & Access.REPLACE == Access.REPLACE else self._writers_of(key)
                self._writers[key] = (*(one for one in others if one != writer), writer)
            elif access & Access.REMOVE:
                self._writers.pop(path, None)
                files.written.pop(path, None)
                files.doubtful.pop(path, None)

    def _read(self, process: ActiveProcess, path: str, now: float) -> None:
        files = process._files
        files.note(files.read, path, now)
        for writer in self._writers_of(path):
            files.follows[writer] = None

    def _writers_of(self, path: str) -> tuple[str, ...]:
        writers = self._writers
        found = writers.get(path)
        folder = path
        while found is None and (folder := folder.rpartition("/")[0]):
            found = writers.get(f"{folder}/")
        return found or ()

    def moved(self, process: ActiveProcess, source: str, target: str) -> None:
        """Take note of a file or folder that a process gave another name."""
        paths = [self._relative(path) for path in (source, target)]
        now = time.monotonic()
        files, mover = process._files, process._record.id
        before, after = paths
        with self.lock:
            moved = [] if before is None else self._below(before)
            for path in moved:
                self._read(process, path, now)
                files.read.pop(path, None)
                files.written.pop(path, None)
            if after is None:
                for path in moved:
                    self._writers.pop(path, None)
                return
            if not moved:  # what nobody was seen to write, or comes from outside
                whole = f"{after}/" if os.path.isdir(target) else after  # noqa: PTH112
                self._writers[files.note(files.written, whole, now)] = (mover,)
            for old in moved:
                path = f"{after}{old[len(before or '') :]}"
                writers = self._writers.pop(old)
                key = files.note(files.written, path, now)
                self._writers[key] = (*(one for one in writers if one != mover), mover)

    def _below(self, path: str) -> list[str]:
        start = f"{path}/"
        if path in self._writers:
            return [path]
        return [each for each in self._writers if each.startswith(start)]

    def settle(self, process: ActiveProcess) -> None:
        """See whether a process that ends has changed what it could have."""
        files = process._files
        for path, (full, before) in tuple(files.doubtful.items()):
            now = state(full)
            if now is not None and now != before:
                self._saw_output(process, path, full, Access.WRITE, None)
        files.doubtful.clear()

    def _relative(self, path: str) -> str | None:
        folder, _, name = path.rpartition("/")
        kind, inside = self._place(folder)
        if kind != _OUTPUT:
            return None
        return valid_text(f"{inside}/{name}" if inside else name)

    def _place(self, folder: str) -> tuple[int, str]:
        place = self._places.get(folder)
        if place is None:
            if len(self._places) > _MOST_FOLDERS:
                self._places.clear()
            place = self._places[folder] = self._find_place(folder)
        return place

    def _find_place(self, folder: str) -> tuple[int, str]:
        with unobserved():
            real = os.path.realpath(folder)
            for root in self._roots:
                for path in (folder, real):
                    if path == root or path.startswith(f"{root}/"):
                        inside = path[len(root) + 1 :]
                        is_ours = inside.split("/")[0] == JOURNAL_FOLDER
                        return (_OUTSIDE, "") if is_ours else (_OUTPUT, inside)
            return (_DATA, "") if self._resolver.may_hold_inputs(folder) else (_OUTSIDE, "")


def _link_target(path: str) -> str | None:
    try:
        return os.path.realpath(path) if os.path.islink(path) else None  # noqa: PTH114
    except OSError:
        return None


def with_files(record: ProcessRecord, files: ProcessFiles) -> ProcessRecord:
    """Give a record with what its process was seen to use so far."""
    if not (files.inputs or files.read or files.written or files.follows):
        return record
    known = {ref.identity for each in record.inputs for ref in (each, *each.assets)}
    new = tuple(ref for name, ref in files.inputs.items() if name not in known)
    return replace(
        record,
        inputs=(*record.inputs, *new),
        observed=tuple(dict.fromkeys((*record.observed, *files.inputs))),
        read_files=dict(files.read),
        written_files=dict(files.written),
        follows=tuple(dict.fromkeys((*record.follows, *files.follows))),
    )
