"""The analysis of which the pictures are: which units prefer an orientation, and how surely."""

from __future__ import annotations

import csv
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from asset_provenance import DerivedAsset, current_process, track_process

SESSION = Path("data/ecephys_900101_2026-03-02_18-30-05")
RESULTS = Path(sys.argv[1] if len(sys.argv) > 1 else "results")


def read_table(path):
    """Read a CSV file of numbers, column by column."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def selectivity(rates, directions):
    """Give the length of each unit's mean response vector: 1 if it likes one orientation only."""
    return np.abs((rates * directions).sum(-1)) / rates.sum(-1)


@track_process(process_type="Ephys postprocessing")
def count_spikes(session, *, delay_s=0.05):
    """Count each unit's spikes during each grating."""
    spikes = read_table(session / "units/spike_times.csv")
    gratings = read_table(session / "stimulus/gratings.csv")
    edges = np.column_stack([gratings["start_s"] + delay_s, gratings["stop_s"]])
    rates = [
        np.diff(np.searchsorted(np.sort(spikes["time_s"][spikes["unit_id"] == unit]), edges))[:, 0]
        / np.diff(edges)[:, 0]
        for unit in np.unique(spikes["unit_id"])
    ]
    np.savez(RESULTS / "responses.npz", rates=rates, angles=np.radians(gratings["orientation_deg"]))


@track_process
def bootstrap(*, samples=2_000_000, seed=1):
    """Find how far the selectivity would differ with other gratings of the same kind."""
    rates, directions = load_responses()
    random = np.random.default_rng(seed)
    found = []
    for _ in range(samples // 500):
        chosen = random.integers(rates.shape[1], size=(500, rates.shape[1]))
        found.append(selectivity(rates[:, chosen], directions[chosen]))
    low, high = np.quantile(np.concatenate(found, axis=1), [0.025, 0.975], axis=1)
    np.save(RESULTS / "interval.npy", [low, high])


@track_process
def shuffle(*, samples=2_000_000, seed=2):
    """Find the highest selectivity that comes by chance."""
    rates, directions = load_responses()
    random = np.random.default_rng(seed)
    highest = np.zeros(len(rates))
    for _ in range(samples // 500):
        mixed = random.permuted(np.tile(directions, (500, 1)), axis=1)
        highest = np.maximum(highest, selectivity(rates[:, None, :], mixed).max(axis=1))
    np.save(RESULTS / "chance.npy", highest)


@track_process
def select_units(*, least_selectivity=0.35):
    """Keep the units that are more selective than chance, and selective enough."""
    rates, directions = load_responses()
    chance = np.load(RESULTS / "chance.npy")
    low, _ = np.load(RESULTS / "interval.npy")
    tuned = np.flatnonzero(low > np.maximum(chance, least_selectivity))
    (RESULTS / "tuned_units.json").write_text(json.dumps(tuned.tolist()))
    mean = round(float(selectivity(rates, directions)[tuned].mean()), 3)
    current_process().add_results(tuned=len(tuned), all=len(rates), mean_selectivity=mean)


def load_responses():
    """Give the rates, and the orientation of each grating as a point on a circle."""
    with np.load(RESULTS / "responses.npz") as responses:
        return responses["rates"], np.exp(2j * responses["angles"])


if __name__ == "__main__":
    with DerivedAsset(
        "unit-tuning", inputs=SESSION, output_dir=RESULTS, experimenters=["Ada Lovelace"]
    ):
        count_spikes(SESSION)
        with ThreadPoolExecutor(2) as pool:
            for step in [pool.submit(bootstrap), pool.submit(shuffle)]:
                step.result()
        select_units()
