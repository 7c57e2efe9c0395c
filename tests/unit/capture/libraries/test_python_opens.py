"""Libraries that open files through Python are seen without knowing them: proof for each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import tifffile
import zarr

from asset_provenance.capture.files import Access, State, Watching

READ, WRITE, REPLACE = Access.READ, Access.WRITE, Access.REPLACE

IS_ZARR_3 = int(zarr.__version__.split(".")[0]) >= 3
# The older library knows the older format only.
ZARR_FORMATS = (2, 3) if IS_ZARR_3 else (2,)


class Seen:
    """What was told, below the working folder."""

    def __init__(self) -> None:
        self.all: list[tuple[str, int, bool]] = []
        self._here = os.getcwd()

    def __call__(self, path: str, access: int, before: State | None) -> None:
        name = os.path.relpath(path, self._here)
        if access & Access.REMOVE:
            self.all = [each for each in self.all if each[0] != name]
        elif path.startswith(f"{self._here}/"):
            self.all.append((name, access, before is not None))

    def moved(self, source: str, target: str, stays: bool) -> None:
        """A file that is renamed is there under its new name."""
        names = [os.path.relpath(path, self._here) for path in (source, target)]
        self.all = [
            (names[1], *rest) if name == names[0] else (name, *rest) for name, *rest in self.all
        ]

    def read(self) -> set[str]:
        return {name for name, access, _ in self.all if access & READ}

    def written(self) -> set[str]:
        return {name for name, access, _ in self.all if access & WRITE}

    def may_change(self) -> set[str]:
        return {name for name, _, may_change in self.all if may_change}

    def clear(self) -> None:
        self.all.clear()


@pytest.fixture
def seen() -> Iterator[Seen]:
    told = Seen()
    watching = Watching(told, told.moved)
    yield told
    watching.stop()


def files() -> set[str]:
    return {str(path) for path in Path().rglob("*") if path.is_file()}


# -- numpy ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "write", "read"),
    [
        ("a.npy", lambda: np.save("a.npy", np.arange(6)), lambda: np.load("a.npy")),
        ("a.npy", lambda: np.save(Path("a"), np.arange(6)), lambda: np.load(Path("a.npy"))),
        (
            "a.npy",
            lambda: np.save("a", np.arange(6)),
            lambda: np.asarray(np.load("a.npy", mmap_mode="r")),
        ),
        ("a.npz", lambda: np.savez("a", x=np.arange(6)), lambda: np.load("a.npz")["x"]),
        ("a.npz", lambda: np.savez_compressed("a", x=np.arange(6)), lambda: np.load("a.npz")["x"]),
        ("a.bin", lambda: np.arange(6).tofile("a.bin"), lambda: np.fromfile("a.bin", dtype=int)),
        (
            "a.bin",
            lambda: np.arange(6).tofile("a.bin"),
            lambda: np.asarray(np.memmap("a.bin", dtype=int, mode="r")),
        ),
        ("a.txt", lambda: np.savetxt("a.txt", np.arange(6)), lambda: np.loadtxt("a.txt")),
        ("a.txt", lambda: np.savetxt("a.txt", np.arange(6)), lambda: np.genfromtxt("a.txt")),
        ("a.txt.gz", lambda: np.savetxt("a.txt.gz", np.arange(6)), lambda: np.loadtxt("a.txt.gz")),
        ("a.bin", lambda: np.arange(6).dump("a.bin"), lambda: np.load("a.bin", allow_pickle=True)),
    ],
)
def test_arrays_that_numpy_writes_and_reads_are_seen(
    name: str, write: Callable[[], Any], read: Callable[[], Any], seen: Seen
) -> None:
    write()
    assert (seen.written(), seen.read()) == ({name}, set())
    seen.clear()
    found = read()
    assert np.array_equal(found, np.arange(6))
    assert (seen.written(), seen.read()) == (set(), {name})


@pytest.mark.parametrize(
    ("mode", "read", "written", "may_change"),
    [
        ("r", {"a.bin"}, set(), set()),
        ("c", {"a.bin"}, set(), set()),
        ("r+", {"a.bin"}, set(), {"a.bin"}),
        ("w+", set(), {"a.bin"}, set()),
    ],
)
def test_a_memory_map_is_told_for_what_its_mode_allows(
    mode: Any, read: set[str], written: set[str], may_change: set[str], seen: Seen
) -> None:
    np.arange(6).tofile("a.bin")
    seen.clear()
    np.memmap("a.bin", dtype=int, mode=mode, shape=(6,))
    assert (seen.read(), seen.written(), seen.may_change()) == (read, written, may_change)


def test_a_npy_file_made_as_a_memory_map_is_seen(seen: Seen) -> None:
    np.lib.format.open_memmap("a.npy", mode="w+", dtype="i8", shape=(6,))[:] = 1
    assert "a.npy" in seen.written()
    seen.clear()
    assert np.lib.format.open_memmap("a.npy", mode="r+").sum() == 6
    assert (seen.read(), seen.may_change()) == ({"a.npy"}, {"a.npy"})


# -- pandas ---------------------------------------------------------------------------------------


def frame() -> pandas.DataFrame:
    return pandas.DataFrame({"x": [1, 2, 3], "y": [0.5, 1.5, 2.5]})


@pytest.mark.parametrize("engine", ["c", "python", "pyarrow"])
def test_a_table_of_text_is_seen_by_each_engine(engine: Any, seen: Seen) -> None:
    frame().to_csv("a.csv", index=False)
    assert (seen.written(), seen.read()) == ({"a.csv"}, set())
    seen.clear()
    assert len(pandas.read_csv("a.csv", engine=engine)) == 3
    assert (seen.written(), seen.read()) == (set(), {"a.csv"})


@pytest.mark.parametrize(
    ("name", "write", "read"),
    [
        ("a.csv.gz", lambda: frame().to_csv("a.csv.gz"), lambda: pandas.read_csv("a.csv.gz")),
        ("a.zip", lambda: frame().to_csv("a.zip"), lambda: pandas.read_csv("a.zip")),
        (
            "a.csv",
            lambda: frame().to_csv("a.csv"),
            lambda: pandas.read_csv("a.csv", memory_map=True),
        ),
        (
            "a.csv",
            lambda: frame().to_csv(Path("a.csv")),
            lambda: pandas.concat(pandas.read_csv(Path("a.csv"), chunksize=2)),
        ),
        ("a.tsv", lambda: frame().to_csv("a.tsv", sep="\t"), lambda: pandas.read_table("a.tsv")),
        ("a.pkl", lambda: frame().to_pickle("a.pkl"), lambda: pandas.read_pickle("a.pkl")),
        ("a.json", lambda: frame().to_json("a.json"), lambda: pandas.read_json("a.json")),
    ],
)
def test_tables_that_pandas_writes_and_reads_are_seen(
    name: str, write: Callable[[], Any], read: Callable[[], Any], seen: Seen
) -> None:
    write()
    assert (seen.written(), seen.read()) == ({name}, set())
    seen.clear()
    assert len(read()) == 3
    assert (seen.written(), seen.read()) == (set(), {name})


# -- tifffile -------------------------------------------------------------------------------------


def pages_of_tiff() -> Any:
    with tifffile.TiffFile("a.tif") as file:
        return file.pages[0].asarray()


@pytest.mark.parametrize(
    "read",
    [
        lambda: tifffile.imread("a.tif"),
        pages_of_tiff,
        lambda: np.asarray(tifffile.memmap("a.tif", mode="r")),
        lambda: tifffile.imread(Path("a.tif"), key=0),
    ],
)
def test_an_image_in_tiff_is_seen(read: Callable[[], Any], seen: Seen) -> None:
    tifffile.imwrite("a.tif", np.arange(64, dtype="u1").reshape(8, 8))
    assert seen.written() == {"a.tif"}
    seen.clear()
    assert read().sum() == 2016
    assert (seen.written(), seen.read()) == (set(), {"a.tif"})


def test_images_in_many_tiff_files_are_each_seen(seen: Seen) -> None:
    for number in range(3):
        tifffile.imwrite(f"a{number}.tif", np.full((8, 8), number, "u1"))
    seen.clear()
    assert tifffile.imread(["a0.tif", "a2.tif"]).shape == (2, 8, 8)
    assert seen.read() == {"a0.tif", "a2.tif"}
    seen.clear()
    assert tifffile.imread("a*.tif").shape == (3, 8, 8)
    assert seen.read() == {"a0.tif", "a1.tif", "a2.tif"}


def test_a_tiff_file_that_is_added_to_is_read_and_may_change(seen: Seen) -> None:
    tifffile.imwrite("a.tif", np.zeros((8, 8), "u1"))
    seen.clear()
    tifffile.imwrite("a.tif", np.ones((8, 8), "u1"), append=True)
    assert (seen.read(), seen.may_change()) == ({"a.tif"}, {"a.tif"})


# -- zarr -----------------------------------------------------------------------------------------


def format_of(number: int) -> dict[str, int]:
    return {"zarr_format": number} if IS_ZARR_3 else {}


@pytest.mark.parametrize("number", ZARR_FORMATS)
def test_an_array_in_zarr_is_seen_chunk_by_chunk(number: int, seen: Seen) -> None:
    array = zarr.open(
        "a.zarr", mode="w", shape=(4, 6), chunks=(2, 6), dtype="i4", **format_of(number)
    )
    array[:] = np.arange(24).reshape(4, 6)
    assert len(files()) >= 3
    assert seen.written() == files()
    seen.clear()
    found = zarr.open("a.zarr", mode="r")
    assert found[2:].sum() == sum(range(12, 24))
    chunks = {name for name in seen.read() if not Path(name).name.startswith((".z", "zarr."))}
    assert len(chunks) == 1
    assert seen.read() <= files()
    assert not seen.written()
    seen.clear()
    assert found[:].sum() == 276
    assert len(seen.read() - chunks) == 1


@pytest.mark.parametrize("number", ZARR_FORMATS)
def test_a_group_in_zarr_is_seen(number: int, seen: Seen) -> None:
    group = zarr.open_group("a.zarr", mode="w", **format_of(number))
    group.create_group("inner")
    group.attrs["unit"] = "V"
    array = zarr.open(
        "a.zarr/inner/x", mode="w", shape=(4,), chunks=(2,), dtype="i4", **format_of(number)
    )
    array[:] = 1
    if number == 2:
        zarr.consolidate_metadata("a.zarr")
    assert seen.written() == files()
    seen.clear()
    found = zarr.open_group("a.zarr", mode="r")
    assert found["inner"]["x"][:].sum() == 4
    assert found.attrs["unit"] == "V"
    assert seen.read() <= files()
    assert len({name for name in seen.read() if name.startswith("a.zarr/inner/x/")}) >= 2
    assert not seen.written()


@pytest.mark.parametrize("number", ZARR_FORMATS)
def test_an_array_in_zarr_that_is_changed_is_read_and_written(number: int, seen: Seen) -> None:
    zarr.open("a.zarr", mode="w", shape=(4,), chunks=(4,), dtype="i4", **format_of(number))[:] = 1
    seen.clear()
    array = zarr.open("a.zarr", mode="r+")
    array[0] = 7
    chunks = {name for name in files() if not Path(name).name.startswith((".z", "zarr."))}
    assert chunks
    assert chunks <= seen.read()
    assert seen.written() == chunks


@pytest.mark.parametrize("number", ZARR_FORMATS)
def test_zarr_in_a_zip_file_is_seen_as_that_file(number: int, seen: Seen) -> None:
    store = zarr.storage.ZipStore("a.zip", mode="w")
    array = zarr.open(store, mode="w", shape=(4,), chunks=(2,), dtype="i4", **format_of(number))
    array[:] = 1
    store.close()
    assert seen.written() == {"a.zip"}
    seen.clear()
    store = zarr.storage.ZipStore("a.zip", mode="r")
    assert zarr.open(store, mode="r")[:].sum() == 4
    store.close()
    assert (seen.read(), seen.written()) == ({"a.zip"}, set())


if IS_ZARR_3:  # the older library has no shards

    def test_an_array_in_shards_is_seen(seen: Seen) -> None:
        array = zarr.create_array(
            "a.zarr", shape=(8,), shards=(4,), chunks=(2,), dtype="i4", zarr_format=3
        )
        array[:] = 1
        assert seen.written() == files()
        seen.clear()
        assert zarr.open("a.zarr", mode="r")[:3].sum() == 3
        assert {name for name in seen.read() if "/c/" in name} == {"a.zarr/c/0"}


def test_zarr_is_seen_through_xarray(seen: Seen) -> None:
    import xarray

    kind = {"zarr_format": 2} if IS_ZARR_3 else {}
    xarray.Dataset({"x": ("t", np.arange(4))}).to_zarr("a.zarr", consolidated=True, **kind)
    assert seen.written() == files()
    seen.clear()
    with xarray.open_zarr("a.zarr", consolidated=True, chunks=None) as data:
        assert int(data["x"].sum()) == 6
    assert "a.zarr/x/0" in seen.read()
    assert not seen.written()
