"""Recordings in NWB, and cubes in netCDF: pynwb, and xarray with h5netcdf."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import xarray
from pynwb import NWBHDF5IO, NWBFile, TimeSeries

DATA, RESULTS = Path("data"), Path("results")


def prepare(data: Path) -> None:
    session = NWBFile("session", "session", datetime(2024, 1, 2, tzinfo=UTC))
    session.add_acquisition(TimeSeries(name="x", data=np.arange(6.0), unit="V", rate=10.0))
    with NWBHDF5IO(data / "raw" / "session.nwb", "w") as io:
        io.write(session)
    cube = xarray.Dataset({"x": (("row", "column"), np.ones((2, 3)))})
    cube.to_netcdf(data / "atlas" / "cube.nc", engine="h5netcdf")


def extract() -> None:
    with NWBHDF5IO(DATA / "raw" / "session.nwb", "r") as io:
        x = io.read().acquisition["x"].data[:]
    xarray.Dataset({"x": ("time", x)}).to_netcdf(RESULTS / "x.nc", engine="h5netcdf")


def weigh() -> None:
    with (
        xarray.open_dataset(RESULTS / "x.nc", engine="h5netcdf") as x,
        xarray.open_dataset(DATA / "atlas" / "cube.nc", engine="h5netcdf") as cube,
    ):
        weighed = x["x"][:3].to_numpy() * cube["x"].to_numpy()[0]
    session = NWBFile("weighed", "weighed", datetime(2024, 1, 2, tzinfo=UTC))
    session.add_acquisition(TimeSeries(name="w", data=weighed, unit="V", rate=10.0))
    with NWBHDF5IO(RESULTS / "weighed.nwb", "w") as io:
        io.write(session)


def append() -> None:
    with NWBHDF5IO(RESULTS / "weighed.nwb", "a") as io:
        session = io.read()
        session.add_acquisition(TimeSeries(name="v", data=np.ones(3), unit="V", rate=10.0))
        io.write(session)


STEPS = (extract, weigh, append)
