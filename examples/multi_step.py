"""Steps inside steps, a block of code as a step, and a step that fails and is tried again.

A parent depends on the steps inside it that were completed. The attempt that failed stays in
``processing.json`` with its error in the notes, and nothing depends on it::

    python examples/multi_step.py --output-dir results
"""

from __future__ import annotations

import argparse
import cmath
import math
from bisect import bisect
from collections import defaultdict
from pathlib import Path
from statistics import linear_regression

from example_data import example_session, read_table, write_table

from asset_provenance import DerivedAsset, current_process, track_process

DELAY_S = 0.05  # from the eye to the visual cortex

Points = list[tuple[float, float]]  # radians from the preferred orientation, spikes a grating


# What is read and written is seen, and which step was given what another one returned.
@track_process
def align_to_preferred(counts: Path) -> Points:
    """Put the curves of all units on top of each other."""
    curves = defaultdict(list)
    for row in read_table(counts):
        curves[row["unit_id"]].append((math.radians(row["orientation_deg"]), row["spikes"]))
    points = []
    for curve in curves.values():
        preferred = cmath.phase(sum(n * cmath.exp(2j * angle) for angle, n in curve)) / 2
        points += [(angle - preferred, n) for angle, n in curve]
    return points


# The points are data, not parameters: they are left out of the record.
@track_process(exclude="points")
def fit_width(points: Points, *, most_steps: int) -> float:
    """Fit ``base + height * exp(k * (cos(2 * angle) - 1))``; give the half width in degrees."""

    def error(k: float) -> float:
        shape = [math.exp(k * (math.cos(2 * angle) - 1)) for angle, _ in points]
        height, base = linear_regression(shape, [n for _, n in points])
        return sum((base + height * s - n) ** 2 for s, (_, n) in zip(shape, points, strict=True))

    k, step = 0.5, 0.25
    for _ in range(most_steps):
        best = min((k, k + step, max(k - step, 0.01)), key=error)
        k, step = best, step / 2 if best == k else step
        if step < 0.001:
            width = math.degrees(math.acos(1 + math.log(0.5) / k)) / 2
            current_process().add_results(k=round(k, 2), half_width_deg=round(width, 1))
            return width
    raise RuntimeError(f"the fit did not converge in {most_steps} steps")


@track_process
def tuning_width(counts: Path) -> None:
    """Say how sharply the units are tuned. What it calls is recorded as steps inside this one."""
    points = align_to_preferred(counts)
    try:
        width = fit_width(points, most_steps=5)
    except RuntimeError:
        width = fit_width(points, most_steps=100)
    write_table(counts.with_name("tuning_width.csv"), ["half_width_deg"], [[round(width, 1)]])


def main(session: Path, output_dir: Path | None) -> None:
    with DerivedAsset(
        "tuning-width", output_dir=output_dir, experimenters="Example Researcher"
    ) as asset:
        counts = asset.output_dir / "spike_counts.csv"
        # A block has no arguments that could be recorded: what it ran with is said.
        with track_process("count_spikes", parameters={"delay_s": DELAY_S}) as process:
            totals: dict[tuple[int, float], int] = defaultdict(int)
            times = defaultdict(list)
            for spike in read_table(session / "units/spike_times.csv"):
                times[int(spike["unit_id"])].append(spike["time_s"])
            for row in read_table(session / "stimulus/gratings.csv"):
                for unit, spikes in times.items():
                    count = bisect(spikes, row["stop_s"]) - bisect(spikes, row["start_s"] + DELAY_S)
                    totals[unit, row["orientation_deg"]] += count
            rows = [(*key, count) for key, count in sorted(totals.items())]
            write_table(counts, ("unit_id", "orientation_deg", "spikes"), rows)
            process.add_results(spikes=sum(totals.values()))
        tuning_width(counts)
    print(f"{asset.name}\nis in {asset.output_dir}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="How sharply the units are tuned.")
    parser.add_argument("--output-dir", type=Path, help="default: ./results")
    main(example_session(), parser.parse_args().output_dir)
