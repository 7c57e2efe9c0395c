"""Arrays and tables: numpy and pandas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

DATA, RESULTS = Path("data"), Path("results")


def prepare(data: Path) -> None:
    np.save(data / "raw" / "signal.npy", np.arange(100.0))
    np.savetxt(data / "raw" / "gains.txt", np.ones(4))
    pd.DataFrame({"unit": [1, 2], "rate": [3.0, 4.0]}).to_csv(
        data / "sorted_units" / "units.csv", index=False
    )
    np.savez(data / "atlas" / "atlas.npz", labels=np.zeros((3, 3)))


def load() -> None:
    signal = np.load(DATA / "raw" / "signal.npy", mmap_mode="r")
    gains = np.loadtxt(DATA / "raw" / "gains.txt")
    np.save(RESULTS / "scaled.npy", signal[:4] * gains)


def tabulate() -> None:
    units = pd.read_csv(DATA / "sorted_units" / "units.csv")
    scaled = np.load(RESULTS / "scaled.npy")
    units.assign(scaled=scaled[:2]).to_pickle(RESULTS / "units.pkl")
    units.to_json(RESULTS / "units.json.gz")


def label() -> None:
    with np.load(DATA / "atlas" / "atlas.npz") as atlas:
        labels = atlas["labels"]
    total = np.memmap(RESULTS / "labels.dat", dtype="f8", mode="w+", shape=labels.shape)
    total[:] = labels
    total.flush()


def report() -> None:
    units = pd.read_pickle(RESULTS / "units.pkl")
    labels = np.memmap(RESULTS / "labels.dat", dtype="f8", mode="r", shape=(3, 3))
    units.assign(label=labels[0, 0]).to_csv(RESULTS / "report.csv")


STEPS = (load, tabulate, label, report)
