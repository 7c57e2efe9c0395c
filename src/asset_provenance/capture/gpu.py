"""NVIDIA's GPUs and what a program uses of them, asked of their driver (the extra ``gpu``).

That there is no GPU, no driver or no ``nvidia-ml-py`` is found out once, and quietly.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeVar

from asset_provenance.records import printable

__all__ = ["GpuUse", "Gpus"]

_log = logging.getLogger("asset_provenance")

_T = TypeVar("_T")


class _Driver:
    """What has been found out about this program's driver."""

    is_missing = False


@dataclass(frozen=True, slots=True)
class GpuUse:
    """What was used of all GPUs together.

    Parameters
    ----------
    percent
        100 is one GPU that works all the time.
    memory
        In bytes.
    is_whole
        Whether it is what everybody used, since the driver does not tell whose it is.
    """

    percent: float | None = None
    memory: int | None = None
    is_whole: bool = False

    def __add__(self, other: GpuUse) -> GpuUse:
        return GpuUse(
            _sum(self.percent, other.percent),
            _sum(self.memory, other.memory),
            self.is_whole or other.is_whole,
        )


class Gpus:
    """The GPUs of this machine, as its driver tells of them.

    Parameters
    ----------
    nvml
        The module ``pynvml``, initialised.
    """

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        found = (
            self._asked(nvml.nvmlDeviceGetHandleByIndex, index)
            for index in range(nvml.nvmlDeviceGetCount())
        )
        # It counts also those that this program may not use, and those that are broken.
        self._devices = [device for device in found if device is not None]
        self._seen = [0] * len(self._devices)

    @classmethod
    def find(cls) -> Gpus | None:
        """Give the GPUs, or None where there are none."""
        if _Driver.is_missing:
            return None
        try:
            import pynvml  # noqa: PLC0415 - an extra

            pynvml.nvmlInit()
            found = cls(pynvml)  # never shut down: a driver that hangs would hold up the end
        except Exception as error:  # noqa: BLE001 - a broken driver may do anything
            _log.debug("no GPU can be asked: %s", type(error).__name__)
            _Driver.is_missing = True
            return None
        _Driver.is_missing = not found._devices
        return found if found._devices else None

    @property
    def names(self) -> str | None:
        """The names of the GPUs, equal ones counted."""
        names = Counter(
            printable(self._asked(self._nvml.nvmlDeviceGetName, device) or "GPU of unknown name")
            for device in self._devices
        )
        return ", ".join(
            f"{count} x {name}" if count > 1 else name for name, count in names.items()
        )[:200]

    def use(self, pids: Collection[int]) -> GpuUse:
        """Give what these processes use.

        Where the driver cannot tell whose it is (it may know the processes of a container by other
        numbers), what all use of the GPU is given.
        """
        total = GpuUse()
        for index in range(len(self._devices)):
            total += self._use(index, pids)
        return total

    def _use(self, index: int, pids: Collection[int]) -> GpuUse:
        device = self._devices[index]
        running = self._running(device)
        if running is None:
            return self._whole(device)
        ours = [pid for pid in running if pid in pids]
        if ours:
            memory = [running[pid] for pid in ours]
            return GpuUse(
                self._percent(index, ours),
                None if None in memory else sum(size or 0 for size in memory),
            )
        if running and all(os.access(f"/proc/{pid}", os.F_OK) for pid in running):
            return GpuUse(0.0, 0)  # others use it
        return self._whole(device)

    def _running(self, device: Any) -> dict[int, int | None] | None:
        """Give the memory of each process on a GPU, or None where the driver does not tell."""
        asked = [
            self._asked(ask, device)
            for ask in (
                self._nvml.nvmlDeviceGetComputeRunningProcesses,
                self._nvml.nvmlDeviceGetGraphicsRunningProcesses,
            )
        ]
        if all(answer is None for answer in asked):
            return None
        # One that does both is told of twice, with all its memory each time.
        return {each.pid: each.usedGpuMemory for answer in asked for each in answer or ()}

    def _percent(self, index: int, pids: Collection[int]) -> float | None:
        """Give how busy processes kept a GPU since they were last asked for."""
        nvml, since = self._nvml, self._seen[index]
        try:
            told = nvml.nvmlDeviceGetProcessUtilization(self._devices[index], since)
        except nvml.NVMLError as error:
            # Where no process did anything, the driver has found nothing.
            idle = error.value in (nvml.NVML_SUCCESS, nvml.NVML_ERROR_NOT_FOUND)
            return 0.0 if idle else None
        fresh = [each for each in told if each.timeStamp > since]
        self._seen[index] = max((each.timeStamp for each in fresh), default=since)
        return min(100.0, float(sum(each.smUtil for each in fresh if each.pid in pids)))

    def _whole(self, device: Any) -> GpuUse:
        rates = self._asked(self._nvml.nvmlDeviceGetUtilizationRates, device)
        if rates is None:
            return GpuUse()
        if not rates.gpu:
            return GpuUse(0.0)  # what is taken of its memory is the driver's own
        memory = self._asked(self._nvml.nvmlDeviceGetMemoryInfo, device)
        return GpuUse(float(rates.gpu), None if memory is None else int(memory.used), is_whole=True)

    def _asked(self, ask: Callable[..., _T], *args: Any) -> _T | None:
        try:
            return ask(*args)
        except Exception as error:  # noqa: BLE001 - drivers and GPUs differ in what they answer
            _log.debug("a GPU did not answer: %s", error)
            return None


def _sum(first: float | None, second: float | None) -> Any:
    if first is None or second is None:
        return second if first is None else first
    return first + second
