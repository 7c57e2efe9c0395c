"""What an open asset sees is seen by hooks, which vanish when the last asset closes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from asset_provenance.capture import libraries
from asset_provenance.capture.files import State, Watching
from asset_provenance.recorder import context, innermost, recorder_of

if TYPE_CHECKING:
    from asset_provenance.patching import Patches
    from asset_provenance.recorder import Recorder

__all__ = ["begin", "end"]

_log = logging.getLogger("asset_provenance")

_observed: list[Recorder] = []
_watching: Watching | None = None


def begin(recorder: Recorder) -> None:
    """See what happens for an asset that opens."""
    global _watching  # noqa: PLW0603 - a program has one set of hooks
    _observed.append(recorder)
    if _watching is None:
        try:
            _watching = Watching(_saw, _moved, context.get)
            with _watching.patches.together():
                _watch(_watching.patches)
        except Exception:  # noqa: BLE001 - the run goes on with what is declared
            _log.warning("what the run reads and writes will not all be seen", exc_info=True)


def _watch(patches: Patches) -> None:
    libraries.watch(patches)
    # They record in their turn, so they come after the recorder.
    from asset_provenance.engines import processes, programs, threads  # noqa: PLC0415

    for engine in (threads, processes, programs):
        engine.watch(patches)


def end(recorder: Recorder) -> None:
    """Let everything be as it was, once the last asset closes."""
    global _watching  # noqa: PLW0603
    if recorder in _observed:
        from asset_provenance.engines import processes  # noqa: PLC0415 - as above

        processes.look()
        _observed.remove(recorder)
    if not _observed and _watching is not None:
        _watching.stop()
        _watching = None


def _saw(path: str, access: int, before: State | None) -> bool:
    process = innermost()
    return process is not None and recorder_of(process).saw(process, path, access, before)


def _moved(source: str, target: str, stays: bool) -> None:
    process = innermost()
    if process is not None:
        recorder_of(process).moved(process, source, target, stays=stays)
