"""What the tests have done on the workers of a Dask cluster, which import it by name."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from asset_provenance import current_process, track_process


@track_process
def square(number: int) -> int:
    return number * number


def import_from(place: str, module: str) -> None:
    """Import what nobody else has."""
    if place not in sys.path:
        sys.path.append(place)
    __import__(module)


@track_process
def times(number: int, by: int) -> int:
    return number * by


@track_process
def total(numbers: list[int]) -> int:
    return sum(numbers)


@track_process
def ramp(length: int) -> np.ndarray:
    return np.arange(length)


@track_process
def mean(values: np.ndarray) -> float:
    return float(values.mean())


@track_process
def mean_of(results: dict[str, Any], name: str) -> float:
    return float(results[name].mean())


def plain_half(values: np.ndarray) -> np.ndarray:
    """Give something new, as an untracked filter does."""
    return values[::2].copy()


def both(first: np.ndarray, second: np.ndarray) -> dict[str, np.ndarray]:
    return {"first": first, "second": second}


@track_process
def outer(number: int) -> int:
    current_process().add_results(found=number)
    return square(number) + 1


@track_process
def read(path: str) -> int:
    return len(Path(path).read_bytes())


@track_process
def read_name(name: str) -> int:
    root = Path(os.environ["ASSET_PROVENANCE_DATA_ROOT"])
    return len((root / name).read_bytes())


def plain_read(path: str) -> int:
    return len(Path(path).read_bytes())


@track_process
def write(path: str) -> str:
    Path(path).write_text("result")
    return path


@track_process
def fail(text: str) -> None:
    raise ValueError(text)


@track_process
def fail_once(marker: str) -> str:
    if not os.path.exists(marker):
        Path(marker).touch()
        raise ValueError("the first time")
    return "done"


@track_process
def die_once(marker: str) -> str:
    """Kill the worker the first time, as a lack of memory does."""
    if not os.path.exists(marker):
        Path(marker).touch()
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


@track_process
def die() -> None:
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


@track_process
def wait_for_release(begun: str, released: str) -> str:
    Path(begun).touch()
    while not os.path.exists(released):
        time.sleep(0.01)
    return "released"


@track_process
def slow(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@track_process
async def waiting(number: int) -> int:
    return number


@track_process
def where() -> tuple[int, str]:
    return os.getpid(), os.getcwd()


class Counter:
    """Is used as an actor, which lives on one worker."""

    def __init__(self) -> None:
        self.count = 0

    @track_process
    def add(self, number: int) -> int:
        self.count += square(number)
        return self.count

    @track_process
    async def read(self) -> int:
        return self.count


def submit_more(number: int) -> int:
    from distributed import worker_client

    with worker_client() as client:
        return client.submit(square, number, pure=False).result()


@track_process
def submit_inside(number: int) -> int:
    return submit_more(number)


@track_process
def keep_secret(api_key: str, url: str) -> None:
    pass
