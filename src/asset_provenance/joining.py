"""How another process of the operating system joins an asset that is open in its parent.

A token says where the asset's journal is and which process the work belongs to. It goes to workers
with the work that they are given, and to scripts in an environment variable. Who has it writes a
file of its own in the journal; whoever wrote the token needs not be asked again.

A token outlives its asset: then the journal is gone or marked as over, and nothing happens.
"""

from __future__ import annotations

import atexit
import functools
import json
import logging
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asset_provenance.journal import Journal
from asset_provenance.journalfiles import is_over
from asset_provenance.process import describe
from asset_provenance.recorder import (
    Recorder,
    enter,
    innermost,
    open_recorders,
    recorder_of,
)

if TYPE_CHECKING:
    from asset_provenance.process import ActiveProcess

__all__ = [
    "VARIABLE",
    "environment",
    "flush",
    "join_by_environment",
    "join_for_good",
    "sent",
    "standing",
    "token",
]

VARIABLE = "_ASSET_PROVENANCE_JOIN"
"""The environment variable with the token for scripts; no setting, as its name says."""

_log = logging.getLogger("asset_provenance")
_lock = threading.RLock()
_program = os.urandom(8).hex()
"""Which program this is: the number of its process goes on to one that takes its place."""


def token(process: ActiveProcess) -> str:
    """Give the token for work that belongs to a process."""
    return json.dumps({**recorder_of(process).token(process._record.id), "program": _program})


def environment() -> dict[str, str]:
    """Give what a program that is started now is to find in its environment, to join the asset."""
    process = innermost()
    if process is None:
        return {}
    try:
        return {VARIABLE: token(process)}
    except Exception:  # noqa: BLE001 - the program is to start, whatever we cannot tell it
        _log.debug("a program could not be told of the open asset", exc_info=True)
        return {}


def join_by_environment() -> None:
    """Join the asset that was open where this program was started, if it still is."""
    if not open_recorders:  # a worker of such a program has been told better
        join_for_good(os.environ[VARIABLE])


def join_for_good(text: str) -> None:
    """Let all that this process of the operating system does belong to the token's process."""
    process = standing(text)
    if process is not None:
        recorder_of(process).block = process
        enter(process)


def standing(text: str) -> ActiveProcess | None:
    """Give what stands here for the process that a token names; None where its asset is over."""
    try:
        facts = _facts(text)
        recorder = _recorder(facts)
        return None if recorder is None else recorder.stand_in(facts["process"])
    except Exception as error:  # noqa: BLE001 - the work is the user's, and is to be done
        _tell_once(describe(error))
        return None


@functools.lru_cache(maxsize=1)
def _tell_once(reason: str) -> None:
    _log.warning("what process %d does is not recorded in the asset: %s", os.getpid(), reason)


def flush() -> None:
    """Have all that is known here in the journals: this process is about to end or to idle."""
    for recorder in tuple(open_recorders):
        with suppress(Exception):
            recorder.flush()


@functools.lru_cache(maxsize=256)
def _facts(text: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(text)
    return facts


def _recorder(facts: dict[str, Any]) -> Recorder | None:
    """Find the asset of a token among those open here, or join it."""
    run_folder = Path(facts["run_folder"])
    with _lock:
        for recorder in tuple(open_recorders):
            if _run_folder(recorder) == run_folder:
                if recorder.journal.is_first or not is_over(run_folder):
                    return recorder
                _leave(recorder)
                return None
        # Who wrote it has closed the asset since, and kept the journal.
        if facts["program"] == _program or is_over(run_folder):
            return None
        for recorder in tuple(open_recorders):  # a worker is lent to one asset after the other
            other = _run_folder(recorder)
            if other is not None and not recorder.journal.is_first and is_over(other):
                _leave(recorder)
        return _join(facts, run_folder)


def _run_folder(recorder: Recorder) -> Path | None:
    """Give the folder of its journal; None on a cluster, where there is none."""
    return getattr(recorder.journal, "run_folder", None)


def _join(facts: dict[str, Any], run_folder: Path) -> Recorder | None:
    # As for the asset itself: only what records needs these.
    from asset_provenance import observing  # noqa: PLC0415
    from asset_provenance.capture.code import CodeIdentifier  # noqa: PLC0415
    from asset_provenance.capture.inputs import InputResolver  # noqa: PLC0415

    journal = Journal.join(run_folder, Path(facts["folder"]), facts["max_repeats"])
    if journal is None:
        return None
    output_dir, data_root = Path(facts["output_dir"]), Path(facts["data_root"])
    resolver = InputResolver(data_root, output_dir)
    for folder in facts["outside"]:
        resolver.know(Path(folder))
    identifier = CodeIdentifier(**facts["code"])
    identifier.is_quiet = True  # there may be many of us: who closes the asset tells it, once
    recorder = Recorder(
        output_dir=output_dir,
        data_root=data_root,
        resolver=resolver,
        identifier=identifier,
        journal=journal,
        max_repeats=facts["max_repeats"],
        block=None,
        stands_for=facts["process"],
    )
    recorder.open()
    observing.begin(recorder)
    atexit.register(flush)
    return recorder


def _leave(recorder: Recorder) -> None:
    from asset_provenance import observing  # noqa: PLC0415

    recorder.abandon()
    observing.end(recorder)


class _Sent:
    """A value on its way to another process of the operating system, which gets the value itself.

    Who returned the objects inside goes along.
    """

    __slots__ = ("_tags", "_token", "_value")

    def __init__(self, value: Any, tags: list[tuple[int, str]], text: str) -> None:
        self._value, self._tags, self._token = value, tags, text

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (self._value, self._tags, self._token)


def sent(value: Any, process: ActiveProcess, text: str) -> Any:
    """Give what is to be pickled in place of a value; the value itself where nothing is known."""
    try:
        tags = recorder_of(process).flows.tags(value)
    except Exception:  # noqa: BLE001 - it costs the edges
        return value
    return _Sent(value, tags, text) if tags else value


def _received(value: Any, tags: list[tuple[int, str]], text: str) -> Any:
    with suppress(Exception):
        recorder = _recorder(_facts(text))
        if recorder is not None:
            recorder.flows.tag(value, tags)
    return value


def _after_fork_in_child() -> None:
    global _lock, _program  # noqa: PLW0603
    _lock = threading.RLock()  # another thread may have held it
    _program = os.urandom(8).hex()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
