"""Three sessions on the workers of a Dask cluster, and their comparison there too.

The tracked functions run in other processes, which might as well be on other machines: what they
did comes back over Dask's own connections. That the comparison was given the rates of each session
is seen where Dask hands them over::

    python examples/dask_cluster.py --output-dir results
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from statistics import fmean, stdev

from distributed import Client, LocalCluster
from example_data import example_session, read_table, write_table

from asset_provenance import DerivedAsset, track_process
from asset_provenance.engines.dask import track_client

Rates = dict[int, float]  # spikes per second, by unit


@track_process
def firing_rates(session: Path) -> Rates:
    """Compute each unit's mean rate over one session."""
    duration = read_table(session / "stimulus/gratings.csv")[-1]["stop_s"]
    spikes = Counter(int(row["unit_id"]) for row in read_table(session / "units/spike_times.csv"))
    return {unit: round(count / duration, 3) for unit, count in sorted(spikes.items())}


# The rates are data, not parameters: they are left out of the record.
@track_process(exclude="sessions")
def stability(sessions: list[Rates]) -> list[tuple[int, float, float]]:
    """Compare each unit's rate between the sessions: its mean and its coefficient of variation."""
    rows = []
    for unit in sessions[0]:
        rates = [session[unit] for session in sessions]
        rows.append((unit, round(fmean(rates), 3), round(stdev(rates) / fmean(rates), 4)))
    return rows


# The folder is that of this program: tasks on other machines need not reach it.
@track_process(exclude="rows")
def save(rows: list[tuple[int, float, float]], results: Path) -> None:
    """Write the comparison."""
    write_table(results / "stability.csv", ("unit_id", "mean_rate_hz", "variation"), rows)


def main(sessions: list[Path], output_dir: Path | None) -> None:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        DerivedAsset(
            "rate-stability",
            inputs=sessions,
            base_name="900101-march",
            output_dir=output_dir,
            experimenters="Example Researcher",
        ) as asset,
        track_client(client),
    ):
        rates = client.map(firing_rates, sessions)
        save(client.submit(stability, rates).result(), asset.output_dir)
    print(f"{asset.name}\nis in {asset.output_dir}")


# Workers import this file: what starts them must not run again.
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Firing rates over three sessions, on a cluster.")
    parser.add_argument("--output-dir", type=Path, help="default: ./results")
    main([example_session(day=day) for day in (2, 3, 4)], parser.parse_args().output_dir)
