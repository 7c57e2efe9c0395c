"""What the programs that run now have read and written, told to the processes that started them."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asset_provenance.capture.commands import Named, named_by
from asset_provenance.capture.files import Access, State, state, unobserved
from asset_provenance.capture.proc import is_over, open_files, tree
from asset_provenance.capture.pulse import Pulse
from asset_provenance.fileuse import root_of
from asset_provenance.recorder import innermost, open_recorders, recorder_of, still_open

if TYPE_CHECKING:
    from asset_provenance.process import ActiveProcess

__all__ = ["Program", "begin", "end", "sampling", "tell_reads"]

_SHORT = 0.05
"""A program that lives no longer is not looked at while it lives: its arguments must do."""
_QUICKEST, _SLOWEST = 0.05, 0.2
_SHARE = 0.01
"""So much of one core, at most, is spent on looking."""
_MOST_ENTRIES = 10_000
_NEVER: State = (-1, -1, -1)
_KERNEL_CLOCK = 5
"""``CLOCK_REALTIME_COARSE``, by which Linux dates files; it steps some milliseconds at a time."""
_MOST_WAITS = 2_000
"""A step takes longer on a busy machine; but there are clocks that stand still, or are set."""


@dataclass(eq=False, slots=True)
class Program:
    """A program that was started while an asset is open.

    Parameters
    ----------
    process
        Whose it is.
    reads
        Existing paths that its arguments name, outside the output folder.
    files
        Paths in the output folder that they name and that are no folders: their states before.
    replaced
        Those of them that are written anew before it starts.
    folders
        Folders in the output folder that they name.
    place
        Its working folder, if that is in the output folder; or all of that, if nobody else writes
        there.
    since
        When it started, by the clock of the files.
    """

    process: ActiveProcess
    reads: list[str]
    files: dict[str, State | None]
    replaced: set[str]
    folders: list[str]
    place: str | None
    since: int = 0
    born: float = 0.0
    roots: Callable[[], Sequence[int]] = tuple
    was_over: bool = False
    told: set[tuple[str, int]] = field(default_factory=set)
    is_done: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)


class _Running:
    """The programs that run now, by their number, and what looks at them."""

    programs: dict[int, Program] = {}  # noqa: RUF012
    pulse: Pulse | None = None


def begin(
    command: Any,
    *,
    shell: bool = False,
    cwd: Any = None,
    environment: Mapping[Any, Any] | None = None,
    executable: Any = None,
    opened: Sequence[tuple[Any, int]] = (),
    is_alone: bool = False,
) -> Program | None:
    """Look at what a command names, before it starts; None where nobody is to be told.

    Parameters
    ----------
    command, shell, cwd, environment, executable
        As ``subprocess.Popen`` has them.
    opened
        Files that are opened for it, with the flags.
    is_alone
        Whether nobody else writes to the output folder while it runs.
    """
    process = innermost()
    if process is None:
        return None
    with suppress(Exception), unobserved():
        folder = os.path.abspath(os.fsdecode(cwd or "."))  # noqa: PTH100 - keeps links
        values = None
        if environment is not None:
            values = {os.fsdecode(key): os.fsdecode(value) for key, value in environment.items()}
        named = named_by(command, shell=shell, cwd=folder, environment=values)
        if executable is not None and "/" in os.fsdecode(executable):
            named.add(os.fsdecode(executable), folder)
        for path, flags in opened:
            full = named.add(os.fsdecode(path), folder)
            if full is not None and flags & os.O_TRUNC:
                named.replaced.add(full)
        return _looked_at(process, named, folder, is_alone=is_alone)
    return None


def _looked_at(process: ActiveProcess, named: Named, cwd: str, *, is_alone: bool) -> Program:
    roots = recorder_of(process).files.roots
    program = Program(process, [], {}, set(named.replaced), [], None)
    known: dict[str, bool] = {}
    for path in named.paths:
        folder = path.rpartition("/")[0]
        if folder not in known:
            known[folder] = _is_inside(folder, roots)
        if path in roots:
            program.place = path
        elif not known[folder]:
            program.reads += _existing(path)
        elif os.path.isdir(path):  # noqa: PTH112
            program.folders.append(path)
        else:
            program.files[path] = state(path)
    if is_alone:
        program.place = roots[0]
    elif program.place is None and _is_inside(cwd, roots):
        program.place = cwd
    program.since = _next_kernel_time() if program.folders or program.place else _kernel_time()
    return program


def _existing(path: str) -> list[str]:
    try:
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116
    except (OSError, ValueError):
        return []
    # With a slash at its end, it is said to be read rather than a file in its parent.
    return [f"{path}/" if is_folder else path]


def _is_inside(folder: str, roots: Sequence[str]) -> bool:
    return any(root_of(path, roots) for path in (folder, os.path.realpath(folder)))


def _kernel_time() -> int:
    try:
        return time.clock_gettime_ns(_KERNEL_CLOCK)
    except (OSError, AttributeError):
        return time.time_ns()


def _next_kernel_time() -> int:
    """Wait until what was written a moment ago bears an earlier time than what is written next."""
    # Linux dates a file by the clock that steps, or by the exact one, from Linux 6.13 on.
    now, moment = time.time_ns(), threading.Event()
    for _ in range(_MOST_WAITS):
        if _kernel_time() > now:
            break
        moment.wait(0.0005)  # not time.sleep; see capture.pulse
    return _kernel_time()


def sampling(
    program: Program, key: int, *, roots: Callable[[], Sequence[int]] | None = None
) -> None:
    """Take note that a program has started.

    Parameters
    ----------
    program
        What was looked at before.
    key
        Its number, by which its end is told.
    roots
        Finds the number, where it is not the key.
    """
    with suppress(Exception), unobserved():
        program.born = time.monotonic()
        program.roots = roots or (lambda: (key,))
        _Running.programs[key] = program
        tell_reads(program)
        for path, before in program.files.items():
            # Should the process end first, it is seen then whether the file has changed.
            _tell(program, path, 0, before or _NEVER)
        _start_looking()


def tell_reads(program: Program) -> None:
    """Tell of what a program's arguments name below the data root."""
    with suppress(Exception), unobserved():
        for path in program.reads:
            _tell(program, path, Access.READ)


def _start_looking() -> None:
    pulse = _Running.pulse
    if pulse is None:
        _Running.pulse = pulse = Pulse(_look)
    pulse.start()


def _tell(program: Program, path: str, access: int, before: State | None = None) -> None:
    """Tell the process that started the program, or the one around it that is still open."""
    process = still_open(program.process)
    if process is None:
        return
    recorder = recorder_of(process)
    if recorder in open_recorders:
        recorder.saw(process, path, access, before)


def end(key: int) -> None:
    """See what a program has done that is over now; any number may be given."""
    program = _Running.programs.get(key)
    if program is None:
        return
    # A collection of garbage may end one program while another thread looks at it: no long waits.
    if program.lock.acquire(timeout=1.0):
        try:
            if not program.is_done:
                program.is_done = True
                with suppress(Exception), unobserved():
                    _settle(program)
        finally:
            program.lock.release()
    if _Running.programs.get(key) is program:
        del _Running.programs[key]
    pulse = _Running.pulse
    if not _Running.programs and pulse is not None:
        _Running.pulse = None
        pulse.stop()


def _settle(program: Program) -> None:
    _no_longer_doubtful(program)
    gone: dict[int, str] = {}
    new: dict[str, State] = {}
    for path, before in program.files.items():
        now = state(path)
        if now is None and before is not None:
            gone[before[2]] = path
        elif now is None:
            _tell_beginning_with(program, path)
        elif before is None:
            new[path] = now
        else:
            _tell_known(program, path, is_changed=now != before)
    for number, path in gone.items():
        if any(now[2] == number for now in new.values()):
            _tell(program, path, Access.READ)  # it has another name now
        _tell(program, path, Access.REMOVE)
    for path in new:
        if os.path.isdir(path):  # noqa: PTH112
            _tell_changed(program, path, is_named=False)
        else:
            _tell(program, path, Access.REPLACE)
    for folder in program.folders:
        _tell_changed(program, folder, is_named=True)
    if program.place is not None:
        _tell_changed(program, program.place, is_named=False)


def _tell_known(program: Program, path: str, *, is_changed: bool) -> None:
    """Tell of a file that was there before, and still is."""
    if not is_changed:
        _tell(program, path, Access.READ)
    else:
        _tell(program, path, Access.REPLACE if path in program.replaced else Access.WRITE)


def _no_longer_doubtful(program: Program) -> None:
    process = still_open(program.process)
    if process is None:
        return
    doubtful = process._files.doubtful
    for key, (full, before) in tuple(doubtful.items()):
        if full in program.files and before is (program.files[full] or _NEVER):
            doubtful.pop(key, None)


def _tell_beginning_with(program: Program, path: str) -> None:
    """Tell of files whose names begin as an argument says: ``results/part_`` makes ``part_aa``."""
    folder, _, name = path.rpartition("/")
    beginning = name.partition("%")[0]
    if beginning:
        for found, changed in _files_in(folder, deep=False):
            if found.startswith(f"{folder}/{beginning}") and changed >= program.since:
                _tell(program, found, Access.REPLACE)


def _tell_changed(program: Program, folder: str, *, is_named: bool) -> None:
    """Tell which files in a folder were written; or that they were read, if none was."""
    found = list(_files_in(folder, deep=True))
    others = {
        path
        for other in tuple(_Running.programs.values())
        if other is not program
        for path in other.files
    }
    written = [path for path, changed in found if changed >= program.since and path not in others]
    for path in written:
        # Somebody else may have written it meanwhile, and remains known for it.
        _tell(program, path, Access.WRITE)
    if is_named and not written:
        for path, _ in found:
            _tell(program, path, Access.READ)


def _files_in(folder: str, *, deep: bool) -> Iterator[tuple[str, int]]:
    """Give the files in a folder, and when they were last changed."""
    waiting, count = [folder], 0
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    count += 1
                    if count > _MOST_ENTRIES:
                        return
                    if entry.is_dir(follow_symlinks=False):
                        if deep:
                            waiting.append(entry.path)
                        continue
                    with suppress(OSError):
                        found = entry.stat(follow_symlinks=False)
                        yield entry.path, max(found.st_mtime_ns, found.st_ctime_ns)
        except OSError:
            continue


def _look() -> float | None:
    """Look at the programs that run now; give the seconds until that is wanted again."""
    started = time.thread_time()
    for key, program in tuple(_Running.programs.items()):
        if recorder_of(program.process) not in open_recorders:
            # It outlives the asset, which has nothing to do with it any more.
            _Running.programs.pop(key, None)
            continue
        if time.monotonic() - program.born < _SHORT or program.is_done:
            continue
        roots = program.roots()
        if key > 0 and is_over(key):
            # Who started it will say so in a moment; but somebody else may have waited for it.
            if program.was_over:
                end(key)
            program.was_over = True
            continue
        with program.lock:
            if not program.is_done:
                _sample(program, tree(roots))
    if not _Running.programs:
        pulse, _Running.pulse = _Running.pulse, None
        if pulse is not None:
            pulse.stop()
        if _Running.programs:  # one more was started just now
            _start_looking()
        return None
    spent = time.thread_time() - started
    return max(_QUICKEST, min(_SLOWEST, spent / _SHARE), spent / _SHARE)


def _sample(program: Program, process_ids: list[int]) -> None:
    ours = _standard_files()
    for process_id in process_ids:
        for path, access in open_files(process_id):
            if (path, access) in program.told or path in ours:
                continue
            program.told.add((path, access))
            if access == Access.READ | Access.WRITE:
                _tell_updated(program, path)
            else:
                _tell(program, path, access)


def _standard_files() -> set[str]:
    """Give where this program's own output goes: every program it starts inherits that."""
    found = set()
    for descriptor in range(3):
        with suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115
    return found


def _tell_updated(program: Program, path: str) -> None:
    """Tell of a file that is open for reading and writing: which of them, its dates say."""
    now = state(path)
    if now is None:
        return
    if now[0] >= program.since:
        _tell(program, path, Access.WRITE)
    else:
        program.told.discard((path, Access.READ | Access.WRITE))  # it may yet be written
        _tell(program, path, Access.READ, now)


def _after_fork_in_child() -> None:
    # They are no children of this one.
    _Running.programs = {}
    _Running.pulse = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
