"""Orientation tuning of one session: three tracked steps, each on what the one before it wrote.

Every call of a function under ``@track_process`` becomes a process in ``processing.json``, and
leaving the ``with`` block writes all the metadata beside the results::

    python examples/tuning.py --output-dir results
"""

from __future__ import annotations

import argparse
import cmath
import json
import math
from bisect import bisect
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from example_data import example_session, read_table, write_table

from asset_provenance import DerivedAsset, current_process, track_process


# What a step reads and writes is seen: its inputs, its output, and the step it depends on.
@track_process(process_type="Ephys postprocessing")
def count_spikes(session: Path, results: Path, *, delay_s: float = 0.05) -> None:
    """Turn spike times into each unit's firing rate during each grating."""
    times = defaultdict(list)
    for spike in read_table(session / "units/spike_times.csv"):
        times[int(spike["unit_id"])].append(spike["time_s"])
    rows = []
    for grating in read_table(session / "stimulus/gratings.csv"):
        start, stop = grating["start_s"] + delay_s, grating["stop_s"]
        for unit, spikes in sorted(times.items()):
            count = bisect(spikes, stop) - bisect(spikes, start)
            rows.append((unit, grating["orientation_deg"], round(count / (stop - start), 3)))
    write_table(results / "responses.csv", ("unit_id", "orientation_deg", "rate_hz"), rows)


@track_process
def tuning_curves(results: Path) -> None:
    """Average the responses of each unit to each orientation."""
    rates = defaultdict(list)
    for row in read_table(results / "responses.csv"):
        rates[int(row["unit_id"]), row["orientation_deg"]].append(row["rate_hz"])
    rows = [(*key, round(fmean(values), 3)) for key, values in sorted(rates.items())]
    write_table(results / "tuning_curves.csv", ("unit_id", "orientation_deg", "rate_hz"), rows)


@track_process
def preferred_orientations(results: Path) -> None:
    """Find the orientation that each unit prefers: the direction of its mean response vector."""
    vectors: dict[int, complex] = defaultdict(complex)
    totals: dict[int, float] = defaultdict(float)
    for row in read_table(results / "tuning_curves.csv"):
        unit, angle = int(row["unit_id"]), math.radians(row["orientation_deg"])
        vectors[unit] += row["rate_hz"] * cmath.exp(2j * angle)  # 180 degrees come full circle
        totals[unit] += row["rate_hz"]
    units = {
        str(unit): {
            "preferred_deg": round(math.degrees(cmath.phase(vector)) / 2 % 180, 1),
            "selectivity": round(abs(vector) / totals[unit], 3),
        }
        for unit, vector in vectors.items()
    }
    text = json.dumps(units, indent=2)
    (results / "preferred_orientations.json").write_text(text + "\n", encoding="ascii")
    # What one would like to search for later is kept with the process itself.
    current_process().add_results(
        units=len(units),
        mean_selectivity=round(fmean(unit["selectivity"] for unit in units.values()), 3),
    )


def analyse(session: Path, output_dir: Path | None = None) -> None:
    """Run the three steps on one session."""
    with DerivedAsset(
        "unit-tuning",
        inputs=session,  # optional, and so what it cannot hand on is found out before the run
        output_dir=output_dir,
        experimenters=["Example Researcher"],
    ) as asset:
        count_spikes(session, asset.output_dir)
        tuning_curves(asset.output_dir)
        preferred_orientations(asset.output_dir)
    print(f"{asset.name}\nis in {asset.output_dir}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Orientation tuning of one session.")
    parser.add_argument("--output-dir", type=Path, help="default: ./results")
    analyse(example_session(), parser.parse_args().output_dir)
