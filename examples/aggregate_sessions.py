"""One result from three sessions of one mouse.

The sessions are one subject but not one acquisition, so the subject and the procedures are
inherited, and the instrument, the acquisition, the quality control and the sessions' own
processing are not. The result cannot be named after one of them: ``base_name`` says what it is::

    python examples/aggregate_sessions.py --output-dir results
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from pathlib import Path
from statistics import fmean, stdev

from example_data import example_session, read_table, write_table

from asset_provenance import DerivedAsset, current_process, track_process


@track_process
def firing_rates(session: Path, results: Path) -> None:
    """Compute each unit's mean rate over one session."""
    duration = read_table(session / "stimulus/gratings.csv")[-1]["stop_s"]
    spikes = Counter(int(row["unit_id"]) for row in read_table(session / "units/spike_times.csv"))
    rows = [(unit, round(count / duration, 3)) for unit, count in sorted(spikes.items())]
    path = results / "rates" / f"{session.name}.csv"
    path.parent.mkdir(exist_ok=True)
    write_table(path, ("unit_id", "rate_hz"), rows)


# A whole folder can be an input: this depends on every step that wrote into it.
@track_process
def stability(results: Path) -> None:
    """Compare each unit's rate between the sessions: its mean and its coefficient of variation."""
    rates = defaultdict(list)
    for path in sorted((results / "rates").iterdir()):
        for row in read_table(path):
            rates[int(row["unit_id"])].append(row["rate_hz"])
    rows = [
        (unit, round(fmean(values), 3), round(stdev(values) / fmean(values), 4))
        for unit, values in rates.items()
    ]
    write_table(results / "stability.csv", ("unit_id", "mean_rate_hz", "variation"), rows)
    current_process().add_results(largest_variation=max(variation for *_, variation in rows))


def main(sessions: list[Path], output_dir: Path | None) -> None:
    with DerivedAsset(
        "rate-stability",
        inputs=sessions,
        base_name="900101-march",
        output_dir=output_dir,
        experimenters=["Example Researcher"],
        data_summary="Firing rates of the same units in three sessions of March 2026.",
    ) as asset:
        for session in sessions:
            firing_rates(session, asset.output_dir)
        stability(asset.output_dir)
    print(f"{asset.name}\nis in {asset.output_dir}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Firing rates over three sessions of one mouse.")
    parser.add_argument("--output-dir", type=Path, help="default: ./results")
    main([example_session(day=day) for day in (2, 3, 4)], parser.parse_args().output_dir)
