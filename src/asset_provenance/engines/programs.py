"""Which files the programs read and write that an asset's process starts.

What their arguments name below the data root counts as read; below the output folder, what has
changed when they are over was written by them. What no argument names is looked for in ``/proc``
while a program lives. Nothing waits for a program but who waited for it anyway.
"""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from asset_provenance.capture.libraries.wrapping import replace_everywhere
from asset_provenance.capture.proc import children_of_thread
from asset_provenance.engines.programuse import Program, begin, end, sampling, tell_reads
from asset_provenance.joining import environment, flush
from asset_provenance.patching import Patches

__all__ = ["watch"]

_POPEN = (
    *("args", "bufsize", "executable", "stdin", "stdout", "stderr"),
    *("preexec_fn", "close_fds", "shell", "cwd", "env"),
)
_PASSED_OVER = frozenset(("subprocess", "os", "functools", __name__))


class _Inside(threading.local):
    popen = False


_inside = _Inside()


def watch(patches: Patches) -> None:
    """See which programs are started, and when they are over."""
    patches.wrap(subprocess.Popen, "__init__", _starting)
    patches.wrap(subprocess.Popen, "_handle_exitstatus", _reaping)
    patches.when_imported(
        "asyncio.base_subprocess",
        lambda module: patches.wrap(module.BaseSubprocessTransport, "_process_exited", _exiting),
    )
    starts = {"system": _system, "posix_spawn": _spawning, "posix_spawnp": _spawning}
    starts |= {"execv": _executing, "execve": _executing_with}
    replace_everywhere(patches, os, starts)
    for name in ("waitpid", "wait", "wait3", "wait4"):
        patches.wrap(os, name, _waiting)


def _is_ours() -> bool:
    """Say whether it is this package that starts a program, and not the user."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") in _PASSED_OVER:
        frame = frame.f_back  # type: ignore[assignment]
    return frame is not None and str(frame.f_globals.get("__name__")).startswith(
        "asset_provenance."
    )


def _starting(original: Any) -> Any:
    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - it is one
        program = None
        if not _is_ours():
            given = {**dict(zip(_POPEN, args, strict=False)), **kwargs}
            program = begin(
                given.get("args"),
                shell=bool(given.get("shell")),
                cwd=given.get("cwd"),
                environment=given.get("env"),
                executable=given.get("executable"),
            )
        if program is not None:
            args, kwargs = _with_environment(args, kwargs)
        outer, _inside.popen = _inside.popen, True
        try:
            original(self, *args, **kwargs)
        finally:
            _inside.popen = outer
        if program is not None and self.pid:
            sampling(program, self.pid)

    return __init__


def _with_environment(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    more = environment()
    if not more:
        return args, kwargs
    place = _POPEN.index("env")
    if len(args) > place:
        return (*args[:place], _environment(args[place], more), *args[place + 1 :]), kwargs
    return args, {**kwargs, "env": _environment(kwargs.get("env"), more)}


def _environment(given: Mapping[Any, Any] | None, more: Mapping[str, str]) -> dict[Any, Any]:
    return {**(os.environ if given is None else given), **more}


def _reaping(original: Any) -> Any:
    @functools.wraps(original)
    def _handle_exitstatus(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(self, *args, **kwargs)
        finally:
            with suppress(Exception):  # also while Python shuts down
                end(self.pid)

    return _handle_exitstatus


def _exiting(original: Any) -> Any:
    @functools.wraps(original)
    def _process_exited(self: Any, *args: Any, **kwargs: Any) -> Any:
        with suppress(Exception):
            end(self.get_pid())
        return original(self, *args, **kwargs)

    return _process_exited


def _waiting(original: Any) -> Any:
    @functools.wraps(original)
    def wait(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        with suppress(Exception):
            end(result[0])
        return result

    wait.__module__ = "os"
    return wait


def _system(original: Any) -> Any:
    @functools.wraps(original)
    def system(command: Any) -> int:
        program = None if _is_ours() else begin(command, shell=True)  # noqa: S604 - it only reads the line
        if program is None:
            return original(command)  # type: ignore[no-any-return]
        # Nobody tells the number of this program: it is the newest one of this thread.
        here, thread = os.getpid(), threading.get_native_id()
        others = frozenset(children_of_thread(here, thread))
        key = -thread
        sampling(
            program,
            key,
            roots=lambda: [pid for pid in children_of_thread(here, thread) if pid not in others],
        )
        try:
            return original(_exporting(command, environment()))  # type: ignore[no-any-return]
        finally:
            end(key)

    system.__module__ = "os"  # where pickle finds it
    return system


def _exporting(command: Any, more: Mapping[str, str]) -> Any:
    """Give a shell line its variables; those of this program belong to all its threads."""
    if not more:
        return command
    exports = "".join(f"export {name}={shlex.quote(value)};" for name, value in more.items())
    return os.fsencode(exports) + os.fsencode(command)


def _spawning(original: Any) -> Any:
    @functools.wraps(original)
    def posix_spawn(path: Any, argv: Any, env: Any, /, **kwargs: Any) -> int:
        program: Program | None = None
        if not _inside.popen and not _is_ours():
            program = begin(argv, environment=env, executable=path, opened=_opened_by(kwargs))
        if program is None:
            return original(path, argv, env, **kwargs)  # type: ignore[no-any-return]
        more = environment()
        pid: int = original(path, argv, _environment(env, more) if more else env, **kwargs)
        sampling(program, pid)
        return pid

    posix_spawn.__module__ = "os"
    return posix_spawn


def _executing(original: Any) -> Any:
    @functools.wraps(original)
    def execv(path: Any, argv: Any, /) -> Any:
        more = _before_executing(path, argv, None)
        # Not by the mapping of Python, which does not know what a library in C has set.
        for name, value in more.items():
            os.putenv(name, value)
        try:
            return original(path, argv)
        finally:  # there is no such program
            for name in more:
                os.unsetenv(name)
                if name in os.environ:
                    os.putenv(name, os.environ[name])

    execv.__module__ = "os"
    return execv


def _executing_with(original: Any) -> Any:
    @functools.wraps(original)
    def execve(path: Any, argv: Any, env: Any) -> Any:
        more = _before_executing(path, argv, env)
        return original(path, argv, _environment(env, more) if more else env)

    execve.__module__ = "os"
    return execve


def _before_executing(path: Any, argv: Any, env: Any) -> dict[str, str]:
    """Have all written down before another program takes the place of this one."""
    if _is_ours():
        return {}
    program = begin(argv, environment=env, executable=path)
    if program is not None:
        tell_reads(program)
    flush()
    return environment()


def _opened_by(kwargs: Mapping[str, Any]) -> list[tuple[Any, int]]:
    """Give the files that are opened for a program before it starts, and how."""
    opens = getattr(os, "POSIX_SPAWN_OPEN", None)
    actions = kwargs.get("file_actions")
    if not isinstance(actions, list | tuple):
        return []
    return [(action[2], action[3]) for action in actions if action and action[0] == opens]
