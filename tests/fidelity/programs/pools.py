"""Work in other processes, forked and spawned."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

DATA, RESULTS = Path("data"), Path("results")


def prepare(data: Path) -> None:
    for folder in ("raw", "sorted_units", "atlas"):
        for number in range(3):
            (data / folder / f"{number}.txt").write_text(f"{number}")


def convert(folder: str, number: int) -> None:
    text = (DATA / folder / f"{number}.txt").read_text()
    (RESULTS / f"{folder}_{number}.txt").write_text(text * 2)


def total(names: list[str]) -> int:
    return sum(len((RESULTS / name).read_text()) for name in names)


def forked() -> None:
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(convert, ["raw"] * 3, range(3)))


def spawned() -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        list(pool.map(convert, ["sorted_units"] * 2, range(2)))


def child() -> None:
    process = multiprocessing.get_context("fork").Process(target=convert, args=("atlas", 2))
    process.start()
    process.join()


def summed() -> None:
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        size = pool.submit(total, ["raw_1.txt", "atlas_2.txt"]).result()
    (RESULTS / "size.txt").write_text(str(size))


STEPS = (forked, spawned, child, summed)
