"""What seeing files costs: opening and reading many, also of HDF5; copying objects, asking for ids.

The peer is the same work without an open asset, in turn, by CPU time: other programs on the
machine do not count.
"""

from __future__ import annotations

import copy
import json
import os
import statistics
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path

import h5py

from asset_provenance import DerivedAsset, track_process

FILES = 20_000
HDF5_FILES, GROUPS = 500, 100
ROUNDS = 7
FACTS = {
    "project_name": "Benchmark",
    "investigators": "Example Researcher",
    "funding_source": "AI",
    "modalities": "ecephys",
    "experimenters": "Example Researcher",
}


def make_files(folder: Path) -> list[str]:
    """Write the small files of an asset, a hundred in a folder, as a chunked array has them."""
    paths = []
    for number in range(FILES):
        path = folder / f"{number // 100}" / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 200)
        paths.append(str(path))
    return paths


def make_hdf5_files(folder: Path) -> list[str]:
    """Write HDF5 files with groups of a small dataset each, as a session of recordings has them."""
    paths = [folder / f"{number}.h5" for number in range(HDF5_FILES)]
    for path in paths:
        with h5py.File(path, "w") as file:
            for group in range(GROUPS):
                file[f"{group}/samples"] = range(100)
    return list(map(str, paths))


def read_datasets(paths: list[str]) -> None:
    for path in paths:
        with h5py.File(path, "r") as file:
            file["0/samples"][:]


def look_up_groups(paths: list[str]) -> None:
    for path in paths[: HDF5_FILES // 10]:
        with h5py.File(path, "r") as file:
            for group in range(GROUPS):
                file[f"{group}"]["samples"]


def read_all(paths: list[str]) -> None:
    for path in paths:
        with open(path, "rb") as file:  # noqa: PTH123 - as most programs do
            file.read()


def write_all(paths: list[str]) -> None:
    for path in paths:
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(b"x")


def cpu_seconds(work: Callable[[list[str]], None], paths: list[str]) -> float:
    start = time.process_time()
    work(paths)
    return time.process_time() - start


def compare(work: Callable[[list[str]], None], paths: list[str]) -> tuple[float, float]:
    """Give the median CPU time of some work without an asset, and inside one."""
    without, within = [], []

    @track_process
    def tracked(paths: list[str]) -> None:
        work(paths)

    for _ in range(ROUNDS):
        without.append(cpu_seconds(work, paths))
        with DerivedAsset("benchmark", inputs=(), base_name="none", **FACTS):
            tracked([])  # what a process costs by itself is measured in calls.py
            within.append(cpu_seconds(tracked, paths))
    return statistics.median(without), statistics.median(within)


def microseconds(statement: str, **names: object) -> float:
    return min(timeit.repeat(statement, globals=names, number=20_000, repeat=7)) / 20_000 * 1e6


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        asset = Path("data/ecephys_1_2026-01-01_00-00-00")
        inputs = make_files(asset)
        (asset / "data_description.json").write_text(json.dumps({"name": asset.name}))
        Path("results").mkdir()
        outputs = [f"results/{number}.bin" for number in range(FILES)]
        elsewhere = make_files(Path("elsewhere"))
        hdf5 = make_hdf5_files(asset)
        print(f"{FILES} small files, CPU seconds        without  inside an asset   times")
        for name, work, paths in (
            ("read below the data root", read_all, inputs),
            ("read below it, absolute", read_all, [str(Path(path).absolute()) for path in inputs]),
            ("read elsewhere", read_all, elsewhere),
            ("write below the output folder", write_all, outputs),
            (f"open {HDF5_FILES} of HDF5, read of each", read_datasets, hdf5),
            (f"look up {HDF5_FILES * GROUPS // 5} HDF5 objects", look_up_groups, hdf5),
        ):
            without, within = compare(work, paths)
            print(f"  {name:<34}{without:8.3f}{within:16.3f}{within / without:9.2f}")
        value = {"a": [1, 2, {"b": (3, 4)}] * 5}
        names = {"copy": copy, "value": value}
        print("one call, microseconds")
        for statement in ("copy.deepcopy(value)", "id(value)"):
            without_us = microseconds(statement, **names)
            with DerivedAsset("benchmark", inputs=(), base_name="none", **FACTS):
                within_us = microseconds(statement, **names)
            ratio = within_us / without_us
            print(f"  {statement:<34}{without_us:8.3f}{within_us:16.3f}{ratio:9.2f}")


if __name__ == "__main__":
    main()
