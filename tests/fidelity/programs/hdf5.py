"""HDF5 files with links to others, which one step follows and another does not."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

DATA, RESULTS = Path("data"), Path("results")


def prepare(data: Path) -> None:
    with h5py.File(data / "sorted_units" / "spikes.h5", "w") as file:
        file["times"] = np.arange(10.0)
    with h5py.File(data / "raw" / "session.h5", "w") as file:
        file["rate"] = 30000.0
        file["spikes"] = h5py.ExternalLink("../sorted_units/spikes.h5", "/times")
    with h5py.File(data / "atlas" / "regions.h5", "w") as file:
        file["names"] = np.arange(3)


def rate_only() -> None:
    with (
        h5py.File(DATA / "raw" / "session.h5") as session,
        h5py.File(RESULTS / "rate.h5", "w") as out,
    ):
        out["rate"] = session["rate"][()]
        out["linked"] = h5py.ExternalLink("later.h5", "/x")


def through_the_link() -> None:
    with h5py.File(DATA / "raw" / "session.h5") as session:
        times = session["spikes"][:]
    with h5py.File(RESULTS / "later.h5", "w") as out:
        out["x"] = times


def add() -> None:
    with h5py.File(RESULTS / "later.h5", "r+") as out:
        out["mean"] = out["x"][:].mean()


def summarise() -> None:
    with h5py.File(RESULTS / "rate.h5") as rate, h5py.File(RESULTS / "summary.h5", "w") as out:
        out["sum"] = rate["rate"][()] + rate["linked"][:].sum()


STEPS = (rate_only, through_the_link, add, summarise)
