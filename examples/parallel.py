"""Three sessions at once, each in a process of its own, and one result from all of them.

What runs in the workers of a pool is recorded as if it had run here: each session with the call
that read it, and the comparison with all the calls whose results it was given. Nothing is said of
any of that below::

    python examples/parallel.py --output-dir results
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev

from example_data import example_session, read_table, write_table

from asset_provenance import DerivedAsset, current_process, track_process


@track_process
def spiking_irregularity(session: Path) -> dict[int, float]:
    """Give for each unit the coefficient of variation of the intervals between its spikes."""
    times = defaultdict(list)
    for spike in read_table(session / "units/spike_times.csv"):
        times[int(spike["unit_id"])].append(spike["time_s"])
    intervals = {
        unit: [later - earlier for earlier, later in pairwise(sorted(found))]
        for unit, found in times.items()
    }
    return {unit: stdev(found) / fmean(found) for unit, found in sorted(intervals.items())}


# The results are data, not parameters: they are left out of the record.
@track_process(exclude="by_session")
def compare(by_session: list[dict[int, float]], path: Path) -> None:
    """Write each unit's irregularity, session beside session."""
    units = sorted(set.intersection(*map(set, by_session)))
    rows = [(unit, *(round(found[unit], 3) for found in by_session)) for unit in units]
    header = ("unit_id", *(f"session_{number}" for number, _ in enumerate(by_session, 1)))
    write_table(path, header, rows)
    current_process().add_results(units=len(rows))


def main(sessions: list[Path], output_dir: Path | None) -> None:
    with DerivedAsset(
        "spiking-irregularity",
        inputs=sessions,
        base_name="900101-march",
        output_dir=output_dir,
        experimenters="Example Researcher",
    ) as asset:
        with ProcessPoolExecutor() as pool:
            by_session = list(pool.map(spiking_irregularity, sessions))
        compare(by_session, asset.output_dir / "irregularity.csv")
    print(f"{asset.name}\nis in {asset.output_dir}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="How irregularly units spike in three sessions.")
    parser.add_argument("--output-dir", type=Path, help="default: ./results")
    main([example_session(day=day) for day in (2, 3, 4)], parser.parse_args().output_dir)
