"""What each library opens below the data root, and writes, is recorded with nothing declared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pandas
import pytest
import SimpleITK as sitk  # noqa: N813 - its users call it so
import tifffile
import xarray
import zarr

from asset_provenance import DerivedAsset, track_process
from helpers.assets import PEOPLE, RAW, graph, make_asset, processes

RESULTS = Path("results")
OTHER = "ecephys_900102_2026-03-02_18-30-05"


@dataclass(frozen=True)
class Library:
    """A library, by how it writes and reads an array of six numbers."""

    name: str
    file: str
    write: Callable[[Path], Any]
    read: Callable[[Path], Any]


SIX = np.arange(6, dtype="u1").reshape(2, 3)


def write_h5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = SIX


def read_h5(path: Path) -> Any:
    with h5py.File(path) as file:
        return file["x"][:]


def write_nwb(path: Path) -> None:
    from datetime import UTC, datetime

    from pynwb import NWBHDF5IO, NWBFile, TimeSeries

    session = NWBFile("session", "session", datetime(2024, 1, 2, tzinfo=UTC))
    session.add_acquisition(TimeSeries(name="x", data=SIX, unit="V", rate=10.0))
    with NWBHDF5IO(path, "w") as io:
        io.write(session)


def read_nwb(path: Path) -> Any:
    from pynwb import NWBHDF5IO

    with NWBHDF5IO(path, "r") as io:
        return io.read().acquisition["x"].data[:]


def read_netcdf(path: Path) -> Any:
    with xarray.open_dataset(path, engine="h5netcdf") as data:
        return data["x"].to_numpy()


def write_netcdf(path: Path) -> None:
    xarray.Dataset({"x": (("row", "column"), SIX)}).to_netcdf(path, engine="h5netcdf")


def write_zarr(number: int) -> Callable[[Path], Any]:
    kind = {"zarr_format": number} if int(zarr.__version__.split(".")[0]) >= 3 else {}

    def write(path: Path) -> None:
        array = zarr.open(str(path), mode="w", shape=(2, 3), chunks=(1, 3), dtype="u1", **kind)
        array[:] = SIX

    return write


def write_video(path: Path) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (16, 16))
    writer.write(np.zeros((16, 16, 3), np.uint8))
    writer.release()


def read_video(path: Path) -> Any:
    assert cv2.VideoCapture(str(path)).read()[0]
    return SIX


def write_settings(path: Path) -> None:
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write("x", SIX)
    storage.release()


def read_settings(path: Path) -> Any:
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
    return storage.getNode("x").mat()


def write_memory_map(path: Path) -> None:
    np.memmap(path, dtype="u1", mode="w+", shape=(2, 3))[:] = SIX


def write_image(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(SIX), path)


def read_image(path: Path) -> Any:
    return sitk.GetArrayFromImage(sitk.ReadImage(path))


LIBRARIES = (
    Library("h5py", "x.h5", write_h5, read_h5),
    Library("pynwb", "x.nwb", write_nwb, read_nwb),
    Library("xarray", "x.nc", write_netcdf, read_netcdf),
    Library("zarr 2", "x.zarr", write_zarr(2), lambda path: zarr.open(str(path), mode="r")[:]),
    Library("zarr 3", "x.zarr", write_zarr(3), lambda path: zarr.open(str(path), mode="r")[:]),
    Library("SimpleITK", "x.mhd", write_image, read_image),
    Library(
        "OpenCV",
        "x.png",
        lambda path: cv2.imwrite(str(path), SIX),
        lambda path: cv2.imread(str(path), cv2.IMREAD_GRAYSCALE),
    ),
    Library("OpenCV video", "x.avi", write_video, read_video),
    Library(
        "OpenCV settings",
        "x.yml",
        write_settings,
        read_settings,
    ),
    Library("tifffile", "x.tif", lambda path: tifffile.imwrite(path, SIX), tifffile.imread),
    Library("numpy", "x.npy", lambda path: np.save(path, SIX), np.load),
    Library(
        "numpy archive",
        "x.npz",
        lambda path: np.savez(path, x=SIX),
        lambda path: np.load(path)["x"],
    ),
    Library(
        "numpy map",
        "x.bin",
        write_memory_map,
        lambda path: np.asarray(np.memmap(path, dtype="u1", mode="r", shape=(2, 3))),
    ),
    Library("numpy raw", "x.raw", SIX.tofile, lambda path: np.fromfile(path, "u1").reshape(2, 3)),
    Library("numpy text", "x.txt", lambda path: np.savetxt(path, SIX), np.loadtxt),
    Library(
        "pandas",
        "x.csv",
        lambda path: pandas.DataFrame(SIX).to_csv(path, index=False),
        lambda path: pandas.read_csv(path).to_numpy(),
    ),
    Library(
        "pandas pickle",
        "x.pkl",
        lambda path: pandas.DataFrame(SIX).to_pickle(path),
        lambda path: pandas.read_pickle(path).to_numpy(),
    ),
)

each_library = pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)


@track_process
def load(library: Library) -> None:
    """Read the array from the asset."""
    assert np.array_equal(library.read(Path("data") / RAW / library.file), SIX)


@track_process
def save(library: Library) -> None:
    """Write the array."""
    library.write(RESULTS / "arrays" / library.file)


@track_process
def load_result(library: Library) -> None:
    """Read the array that another process wrote."""
    assert np.array_equal(library.read(RESULTS / "arrays" / library.file), SIX)


@each_library
def test_what_is_read_and_written_is_recorded_with_nothing_declared(
    library: Library, data_root: Path
) -> None:
    raw = make_asset(data_root)
    make_asset(data_root, OTHER)
    library.write(raw / library.file)
    with DerivedAsset("arrays", **PEOPLE) as asset:
        (asset.output_dir / "arrays").mkdir()
        load(library)
        save(library)
        load_result(library)

    recorded = processes(RESULTS)
    assert [each["name"] for each in recorded["load"]["code"]["input_data"]] == [RAW]
    assert not recorded["load"].get("output_path")
    assert not recorded["save"]["code"].get("input_data")
    written = recorded["save"]["output_path"]
    # A header and its pixels have their folder in common.
    has_several_files = len(list((RESULTS / "arrays").iterdir())) > 1
    assert written == ("arrays" if has_several_files else f"arrays/{library.file}")
    assert graph(RESULTS)["load_result"] == ["save"]
    assert graph(RESULTS)["save"] == []


def test_a_link_to_another_asset_is_an_input_only_where_it_is_followed(data_root: Path) -> None:
    raw, other = make_asset(data_root), make_asset(data_root, OTHER)
    write_h5(other / "x.h5")
    with h5py.File(raw / "linked.h5", "w") as file:
        file["own"] = 1
        file["there"] = h5py.ExternalLink(f"../{OTHER}/x.h5", "/x")

    @track_process
    def own() -> None:
        with h5py.File(raw / "linked.h5") as file:
            assert file["own"][()] == 1

    @track_process
    def both() -> None:
        with h5py.File(raw / "linked.h5") as file:
            assert file["there"].shape == (2, 3)

    with DerivedAsset("links", base_name="links", **PEOPLE):
        own()
        both()
    recorded = processes(RESULTS)
    assert [each["name"] for each in recorded["own"]["code"]["input_data"]] == [RAW]
    assert {each["name"] for each in recorded["both"]["code"]["input_data"]} == {RAW, OTHER}


def test_a_file_that_is_added_to_is_an_output_of_who_adds_to_it(data_root: Path) -> None:
    raw = make_asset(data_root)
    write_h5(raw / "x.h5")
    path = RESULTS / "x.h5"

    @track_process
    def create() -> None:
        with h5py.File(raw / "x.h5") as source, h5py.File(path, "w") as file:
            file["x"] = source["x"][:]

    @track_process
    def look() -> None:
        with h5py.File(path) as file:
            assert file["x"].shape == (2, 3)

    @track_process
    def extend() -> None:
        with h5py.File(path, "a") as file:
            file["more"] = 1

    with DerivedAsset("changes", **PEOPLE):
        create()
        look()
        extend()
    recorded = processes(RESULTS)
    assert recorded["create"]["output_path"] == "x.h5"
    assert not recorded["look"].get("output_path")
    assert recorded["extend"]["output_path"] == "x.h5"
    assert graph(RESULTS) == {"create": [], "look": ["create"], "extend": ["create"]}
