"""What a program uses of its machine while it runs: processors, memory and GPUs, children included.

One thread looks now and then, whatever number of processes is recorded; each gets the slice of its
own time. Where there is a GPU, a second one asks its driver, since a broken driver may never
answer. All of it costs its own fact at most: nothing here raises.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from asset_provenance.capture.gpu import Gpus
from asset_provenance.capture.machine import machine
from asset_provenance.capture.pulse import Pulse, resume_all
from asset_provenance.records import ResourceRecord
from asset_provenance.series import Point, Series, thinned

if TYPE_CHECKING:
    import psutil

__all__ = ["MOST_POINTS", "SHORTEST", "Sampler"]

_log = logging.getLogger("asset_provenance")

SHORTEST = 10.0
"""Processes that take fewer seconds have no series."""
MOST_POINTS = 100
"""As many points has a series of one process at most."""

_OFTEN, _SELDOM = 0.5, 1.0
_AT_FIRST = 60.0
"""Seconds between two looks: more often in the first seconds, where all may be over soon."""
_SHARE = 0.01
"""So much of one processor may looking take; where it costs more, it is done less often."""


class Sampler:
    """Looks at what this program and its children use, from start to stop.

    Parameters
    ----------
    only_children
        Whether this program itself does not count: it only waits for what it has started.
    """

    def __init__(self, *, only_children: bool = False) -> None:
        self._only_children = only_children
        self._process_id = os.getpid()
        self._lock = threading.Lock()
        self._began = self._last = self._gpu_last = time.monotonic()
        self._machine: ResourceRecord | None = None
        self._tree: _Tree | None = None
        self._gpus: Gpus | None = None
        self._gpu: str | None = None
        self._gpu_is_whole = False
        self.memory: int | None = None
        """Bytes that the program and its children had when they were last looked at."""
        self._cpu_usage, self._ram_usage = Series(), Series()
        self._gpu_usage, self._gpu_memory = Series(), Series()
        self._pulses = (Pulse(self._look), Pulse(self._look_at_gpus))

    def start(self) -> None:
        """Begin to look; called again, it does nothing."""
        for pulse in self._pulses:
            pulse.start()

    def stop(self) -> None:
        """Look no more; what was seen can still be had."""
        for pulse in self._pulses:
            pulse.stop()

    def resume(self) -> None:
        """Go on after a fork that nobody told of; costs next to nothing where none was."""
        resume_all()

    def slice(self, start: float, end: float) -> ResourceRecord | None:
        """Give what was used in a stretch of time, by all that the program does beside each other.

        Parameters
        ----------
        start, end
            As ``time.monotonic`` gives them.

        Returns
        -------
        ResourceRecord or None
            Without series for a time too short; None in a child, at which its parent looks.
        """
        if os.getpid() != self._process_id:
            return None
        try:
            record = self._facts()
            if end - start < SHORTEST:
                return record
            with self._lock:
                cpu, ram, gpu, gpu_memory = (
                    series.between(start, end)
                    for series in (
                        self._cpu_usage,
                        self._ram_usage,
                        self._gpu_usage,
                        self._gpu_memory,
                    )
                )
            most = max((value for _, value in gpu_memory), default=0.0)
            return replace(
                record,
                cpu_usage=_since(start, cpu),
                ram_usage=tuple((at, float(round(size))) for at, size in _since(start, ram)),
                gpu_usage=_since(start, gpu),
                gpu_memory=int(most) or None,
                gpu_is_whole=self._gpu_is_whole,
            )
        except Exception:  # noqa: BLE001 - costs its own fact only
            _log.debug("what was used could not be told", exc_info=True)
            return None

    def _facts(self) -> ResourceRecord:
        found = self._machine
        if found is None:
            found = machine()
        if found.gpu != self._gpu:
            found = replace(found, gpu=self._gpu)
        self._machine = found
        return found

    def _look(self) -> float:
        if self._tree is None:
            self._tree = _Tree(only_children=self._only_children)
            self._facts()
        spent = time.thread_time()
        now = time.monotonic()
        try:
            used, memory = self._tree.look()
        except OSError:  # such as for want of descriptors, which may be over soon
            return self._pause(time.thread_time() - spent)
        with self._lock:
            if used is not None and now > self._last:
                self._cpu_usage.add(self._last, now, 100 * used / (now - self._last))
            self._ram_usage.add(self._last, now, memory)
            self.memory = memory
            self._last = now
        return self._pause(time.thread_time() - spent)

    def _look_at_gpus(self) -> float | None:
        if self._gpus is None:
            self._gpus = Gpus.find()
            if self._gpus is None:
                return None
            self._gpu = self._gpus.names
        spent = time.thread_time()
        now = time.monotonic()
        use = self._gpus.use(self._process_ids())
        with self._lock:
            if use.percent is not None:
                self._gpu_usage.add(self._gpu_last, now, use.percent)
            if use.memory is not None:
                self._gpu_memory.add(self._gpu_last, now, use.memory)
            self._gpu_is_whole = self._gpu_is_whole or use.is_whole
            self._gpu_last = now
        return self._pause(time.thread_time() - spent)

    def _process_ids(self) -> Collection[int]:
        return (self._process_id,) if self._tree is None else self._tree.process_ids

    def _pause(self, cost: float) -> float:
        usual = _OFTEN if time.monotonic() - self._began < _AT_FIRST else _SELDOM
        return max(usual, cost / _SHARE)


def _since(start: float, points: list[Point]) -> tuple[Point, ...]:
    kept = [(round(at - start, 2), round(value, 1)) for at, value in thinned(points, MOST_POINTS)]
    if len({value for _, value in kept}) == 1:  # such as a GPU that nobody uses
        kept = kept[:1] + kept[1:][-1:]
    return tuple(kept)


_Times: TypeAlias = "dict[psutil.Process, tuple[float, float]]"
"""By process: psutil tells one from a later one of its number, also where the clock is set."""


class _Tree:
    """The program and its children: what they have used since they were last looked at."""

    def __init__(self, *, only_children: bool) -> None:
        import psutil  # noqa: PLC0415 - takes time, and is not needed at import

        self._only_children = only_children
        self._psutil = psutil
        self._root = psutil.Process()
        self._before: _Times | None = None
        self.process_ids: frozenset[int] = frozenset((self._root.pid,))

    def look(self) -> tuple[float | None, int]:
        """Give the seconds that processors worked since the last look, and the memory in bytes.

        The former is None at first.
        """
        before, now = self._before or {}, {}
        memory = 0
        for process in (self._root, *self._root.children(recursive=True)):
            try:
                with process.oneshot():
                    own, total = _times(process)
                    if self._only_children and process is self._root:
                        # What those that have ended handed on counts, as it did before.
                        now[process] = 0.0, total - own
                        continue
                    now[process] = own, total
                    memory += process.memory_info().rss
            except self._psutil.NoSuchProcess:
                continue
            except (self._psutil.Error, OSError):  # one that may not be looked at, this time
                if process in before:
                    now[process] = before[process]
        used = None if self._before is None else _used(before, now)
        self._before = now
        self.process_ids = frozenset(process.pid for process in now)
        return used, memory


def _times(process: psutil.Process) -> tuple[float, float]:
    """Give the seconds that a process itself used, and with the children that it outlived."""
    times = process.cpu_times()
    own = times.user + times.system
    return own, own + getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)


def _used(before: _Times, now: _Times) -> float:
    # A child that ended hands its time on to its parent, so that the sum misses none, not even of
    # those that came and went in between. One whose parent has ended before it, or does not wait
    # for it, takes its time away: then what those alive used by themselves is what can be told.
    whole = sum(total for _, total in now.values()) - sum(total for _, total in before.values())
    alive = sum(own - before.get(key, (0.0, 0.0))[0] for key, (own, _) in now.items())
    return max(0.0, whole, alive)
