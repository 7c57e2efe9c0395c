"""Which files the processes of an asset read and write, attributed as it happens."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from asset_provenance.assetrefs import asset_ref
from asset_provenance.capture.files import Access, State, look_again, state, unobserved
from asset_provenance.corefiles import JOURNAL_FOLDER
from asset_provenance.records import InputRef, ProcessRecord, valid_text

if TYPE_CHECKING:
    from asset_provenance.capture.inputs import InputResolver, ResolvedInput

__all__ = ["FileUse", "ProcessFiles", "root_of", "with_files"]

_MOST_PATHS = 2000
"""Of one process, so many files are told apart; beyond, whole folders stand for theirs."""
_MOST_FOLDERS = 4096
_MOST_ENTRIES = 10_000
_DATA, _OUTPUT, _OUTSIDE, _LINKS = range(4)
"""Where a folder is: the last is outside, and holds links, which may lead anywhere."""
_OF_NAMES = (Access.LINK, Access.REMOVE)
"""What is done with a link itself, and not with what it leads to."""


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
    known_folders: dict[str, ResolvedInput] = field(default_factory=dict)
    """Folders that it has read from already, and the data asset of each: the usual case."""
    known_since: int = 0
    """After how many changes of folders that was found out."""
    inside: dict[str, dict[str, None]] = field(default_factory=dict)
    """Of inputs without a description, the paths read in each, relative to its folder."""
    doubtful: dict[str, tuple[str, State]] = field(default_factory=dict)
    """Files that it may yet change: their full path, and their state before."""
    is_new: bool = False
    """Whether anything has come since the journal was told."""
    _whole: set[str] = field(default_factory=set)
    _limit: int = _MOST_PATHS

    def note(self, used: dict[str, float], path: str, now: float) -> str:
        """Take note of a path; give it, or the folder that stands for it."""
        if self._whole:
            folder = path
            while folder := folder.rpartition("/")[0]:
                if f"{folder}/" in self._whole:
                    path = f"{folder}/"
                    break
        used[path] = now
        if len(used) > self._limit:
            self._gather(used)
            # Files that lie in the output folder itself have no folder that would say anything.
            self._limit = max(_MOST_PATHS, 2 * len(used))
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


class Process(Protocol):
    """A process that is being recorded."""

    _files: ProcessFiles
    _record: ProcessRecord


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
        self.roots = tuple(dict.fromkeys((output_dir, os.path.realpath(output_dir))))
        """The output folder, by each way that leads to it."""
        self._places: dict[str, tuple[int, str, str]] = {}
        self._reals: dict[str, str] = {}
        self._changes = 0
        """How often a link or a folder was made to be another."""
        self._writers: dict[str, tuple[str, ...]] = {}
        self.lock = threading.RLock()
        self.found: list[ResolvedInput] = []
        """Inputs that were seen since the list was last taken."""
        self.read_outside: dict[str, None] = {}
        """Folders in which files were read that belong to nothing here; only so many."""

    def saw(self, process: Process, path: str, access: int, before: State | None) -> bool:
        """Take note of a file that a process opened, wrote or removed.

        Returns
        -------
        bool
            Whether other files that it reads in the same folder would say nothing new.
        """
        folder = path.rpartition("/")[0]
        files = process._files
        if access == Access.LINK:
            self._folders_changed()
        self._forget_folders(files)
        known = files.known_folders.get(folder)
        if known is not None:
            return _is_told(files, known, path)
        if path.startswith("s3://"):
            self._saw_asset(process, asset_ref(None, path), access)
            return False
        kind, inside, real = self._place(folder)
        if kind == _OUTSIDE:
            return self._saw_outside(real, access)
        if kind == _LINKS:
            target = _link_target(path)
            if target is None:
                return False
            path, folder = target, target.rpartition("/")[0]
            kind, inside, real = self._place(folder)
        if kind == _OUTPUT:
            self._saw_below_output(process, inside, path, access, before)
        elif kind == _DATA and access & Access.READ:
            if real != folder and root_of(folder, self.roots) is not None:
                path, folder = f"{real}/{path.rpartition('/')[2]}", real
            with unobserved():
                found = self._asset_of(files, folder, path)
            if found is not None and found.ref is not None:
                is_new = found.ref.identity not in files.inputs
                self._saw_asset(process, found.ref, access)
                # A loose file is an asset of its own, and its folder says nothing.
                if found.folder is not None:
                    files.known_folders[folder] = found
                    if is_new and not self._resolver.is_described(str(found.folder)):
                        files.inside.setdefault(found.ref.identity, {})
                    return _is_told(files, found, path)
        return False

    def _saw_outside(self, folder: str, access: int) -> bool:
        if access == Access.READ and len(self.read_outside) < _MOST_FOLDERS:
            self.read_outside[folder] = None
        return access == Access.READ

    def _saw_below_output(
        self, process: Process, inside: str, path: str, access: int, before: State | None
    ) -> None:
        relative = _joined(inside, path.rpartition("/")[2])
        target = None if access in _OF_NAMES else _link_target(path)
        if target is None or target == path:
            self._saw_output(process, relative, path, access, before)
        else:  # read is also the link, but written only what it leads to
            self._saw_output(process, relative, path, access & Access.READ, None)
            self.saw(process, target, access, before)

    def _asset_of(self, files: ProcessFiles, folder: str, path: str) -> ResolvedInput | None:
        # A folder belongs where the one around it does, unless it has a description of its own.
        around = files.known_folders.get(folder.rpartition("/")[0])
        if around is not None and not self._resolver.is_described(folder):
            return around
        found = self._resolver.of_path(path)
        if found is not None:
            self.found.append(found)
            top = str(found.folder)
            while folder.startswith(f"{top}/"):
                folder = folder.rpartition("/")[0]
                files.known_folders[folder] = found
        return found

    def _saw_asset(self, process: Process, ref: InputRef, access: int) -> None:
        inputs = process._files.inputs
        if access & Access.READ and ref.name and ref.identity not in inputs:
            inputs[ref.identity] = ref
            process._files.is_new = True

    def _saw_output(
        self, process: Process, path: str, full: str, access: int, before: State | None
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
                self._wrote(key, path, writer, replaces=access & Access.REPLACE == Access.REPLACE)
            elif access & Access.REMOVE:
                self._writers.pop(path, None)
                files.written.pop(path, None)
                files.doubtful.pop(path, None)
            files.is_new = True

    def _wrote(self, key: str, path: str, writer: str, *, replaces: bool) -> None:
        """Take note of who wrote a file last; what stands for many files has all their writers."""
        others = self._writers_of(path)
        if key == path and replaces:
            others = ()
        elif key != path:
            self._writers.pop(path, None)
            others = (*self._writers.get(key, ()), *(() if replaces else others))
        self._writers[key] = _with_last(others, writer)

    def _read(self, process: Process, path: str, now: float) -> None:
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

    def moved(self, process: Process, source: str, target: str, *, stays: bool = False) -> None:
        """Take note of a file or folder that a process gave another name, or one more."""
        if not _is_plain_file(target):
            self._folders_changed()
        paths = [self._relative(path) for path in (source, target)]
        now = time.monotonic()
        files, mover = process._files, process._record.id
        before, after = paths
        with self.lock:
            files.is_new = True
            moved = [] if before is None else self._below(before)
            for path in moved:
                self._read(process, path, now)
                if not stays:
                    files.read.pop(path, None)
                    files.written.pop(path, None)
            if after is None:
                for path in moved if not stays else ():
                    self._writers.pop(path, None)
                return
            if not moved:  # what nobody was seen to write, is told by its folder, or from outside
                whole = f"{after}/" if os.path.isdir(target) else after  # noqa: PTH112
                writers = () if before is None else self._writers_of(before)
                self._writers[files.note(files.written, whole, now)] = _with_last(writers, mover)
            for old in moved:
                path = f"{after}{old[len(before or '') :]}"
                writers = self._writers[old] if stays else self._writers.pop(old)
                self._writers[files.note(files.written, path, now)] = _with_last(writers, mover)

    def _below(self, path: str) -> list[str]:
        start = f"{path}/"
        if path in self._writers:
            return [path]
        return [each for each in self._writers if each.startswith(start)]

    def settle(self, process: Process) -> None:
        """See whether a process that ends has changed what it could have."""
        files = process._files
        for path, (full, before) in files.doubtful.copy().items():
            now = state(full)
            if now is not None and now != before:
                self._saw_output(process, path, full, Access.WRITE, None)
        files.doubtful.clear()
        with self.lock:
            for path in tuple(files.written):
                if not os.path.lexists(f"{self.roots[0]}/{path}"):  # it was there for a while only
                    del files.written[path]
        files.is_new = True

    def _relative(self, path: str) -> str | None:
        folder, _, name = path.rpartition("/")
        kind, inside, _ = self._place(folder)
        return _joined(inside, name) if kind == _OUTPUT else None

    def _place(self, folder: str) -> tuple[int, str, str]:
        place = self._places.get(folder)
        if place is None:
            if len(self._places) > _MOST_FOLDERS:
                self._places.clear()
                self._reals.clear()
            with unobserved():
                place = self._places[folder] = self._find_place(folder)
        return place

    def look_again(self) -> None:
        """Look anew where folders are: one more of them may be an asset."""
        self._places.clear()
        self._reals.clear()
        look_again()

    def _folders_changed(self) -> None:
        self._changes += 1
        self.look_again()

    def _forget_folders(self, files: ProcessFiles) -> None:
        """Let a process find out anew what may be wrong now, whoever changed it."""
        if files.known_since != self._changes:
            files.known_folders.clear()
            files.known_since = self._changes

    def _real(self, folder: str) -> str:
        """Give a folder without links; most are beside others, and need one question only."""
        parent, _, name = folder.rpartition("/")
        if not name or not parent or os.path.islink(folder):  # noqa: PTH114
            return os.path.realpath(folder)
        real = self._reals.get(parent)
        if real is None:
            real = self._reals[parent] = os.path.realpath(parent)
        return f"{real}/{name}"

    def _find_place(self, folder: str) -> tuple[int, str, str]:
        """Give what kind of folder it is, its path below the output folder, and without links."""
        real = self._real(folder)
        roots = self._resolver.roots()
        # What a link in the output folder leads to comes first: another result, or an input.
        for path in dict.fromkeys((real, folder)):
            root, inputs = root_of(path, self.roots), root_of(path, roots)
            if root is not None and (inputs is None or len(root) >= len(inputs)):
                inside = path[len(root) + 1 :]
                is_ours = inside.split("/")[0] == JOURNAL_FOLDER
                return (_OUTSIDE if is_ours else _OUTPUT, inside, real)
            if inputs is not None:
                return _DATA, "", real
        return _LINKS if _holds_links(folder) else _OUTSIDE, "", real


def _is_told(files: ProcessFiles, found: ResolvedInput, path: str) -> bool:
    """Take note of the path, where several steps may have left files; else there is no need."""
    inside = None if found.ref is None else files.inside.get(found.ref.identity)
    start = f"{found.folder}/"
    if inside is None or len(inside) >= _MOST_PATHS or not path.startswith(start):
        return True
    inside[path[len(start) :]] = None
    files.is_new = True
    return False


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _with_last(writers: Iterable[str], last: str) -> tuple[str, ...]:
    """Give the writers of a file, each once, with the one that wrote it just now at the end."""
    return (*(one for one in dict.fromkeys(writers) if one != last), last)


def root_of(path: str, roots: Iterable[str]) -> str | None:
    """Give the innermost of the folders that a path is, or lies in."""
    found = [root for root in roots if path == root or path.startswith(f"{root}/")]
    return max(found, key=len, default=None)


def _holds_links(folder: str) -> bool:
    try:
        with os.scandir(folder or "/") as entries:
            found = list(islice(entries, _MOST_ENTRIES))
    except OSError:
        return False
    return len(found) == _MOST_ENTRIES or any(map(os.DirEntry.is_symlink, found))


def _link_target(path: str) -> str | None:
    try:
        return os.path.realpath(path) if os.path.islink(path) else None  # noqa: PTH114
    except OSError:
        return None


def _is_plain_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _as_text(used: dict[str, float]) -> dict[str, float]:
    return {valid_text(path): time for path, time in used.copy().items()}


def with_files(record: ProcessRecord, files: ProcessFiles) -> ProcessRecord:
    """Give a record with what its process was seen to use so far."""
    if not (files.inputs or files.read or files.written or files.follows):
        return record
    known = {ref.identity for each in record.inputs for ref in (each, *each.assets)}
    # Copies: threads go on reading and writing. Only ``copy`` lets none of them in between.
    inputs = files.inputs.copy()
    new = tuple(ref for name, ref in inputs.items() if name not in known)
    return replace(
        record,
        inputs=(*record.inputs, *new),
        observed=tuple(dict.fromkeys((*record.observed, *inputs))),
        read_files=_as_text(files.read),
        written_files=_as_text(files.written),
        read_inside={
            name: tuple(map(valid_text, paths.copy()))
            for name, paths in files.inside.copy().items()
            if 0 < len(paths) < _MOST_PATHS
        },
        follows=tuple(dict.fromkeys((*record.follows, *files.follows.copy()))),
    )
