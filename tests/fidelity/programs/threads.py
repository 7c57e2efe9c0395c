"""Work on threads, of which each reads and writes files of its own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

DATA, RESULTS = Path("data"), Path("results")


def prepare(data: Path) -> None:
    for folder in ("raw", "sorted_units", "atlas"):
        for number in range(4):
            np.save(data / folder / f"{number}.npy", np.full(10, number))


def convert(folder: str, number: int) -> None:
    array = np.load(DATA / folder / f"{number}.npy")
    np.savetxt(RESULTS / f"{folder}_{number}.txt", array)


def pooled() -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(convert, ["raw"] * 4, range(4)))


def single() -> None:
    thread = threading.Thread(target=convert, args=("sorted_units", 1))
    thread.start()
    thread.join()


def tasks() -> None:
    async def all_of_them() -> None:
        await asyncio.gather(*(asyncio.to_thread(convert, "atlas", n) for n in range(2)))

    asyncio.run(all_of_them())


def summed() -> None:
    with ThreadPoolExecutor(2) as pool:
        arrays = pool.map(np.loadtxt, [RESULTS / "raw_3.txt", RESULTS / "atlas_1.txt"])
        np.save(RESULTS / "sum.npy", sum(arrays))


STEPS = (pooled, single, tasks, summed)
