"""A capsule as most are: one ``main`` with arguments, and one line that records it.

Nothing inside is tracked, so the run as a whole becomes the one new process in
``processing.json``: of type Analysis, named after the asset, with the arguments of ``main`` as its
parameters::

    python examples/capsule_main.py --threshold-cm-s 5 --output-dir results
"""

from __future__ import annotations

import argparse
import os
from itertools import groupby
from pathlib import Path

from example_data import example_session, read_table, write_table

from asset_provenance import DerivedAsset, current_process

RESULTS = Path(os.environ.get("ASSET_PROVENANCE_OUTPUT_DIR", "results"))


# What main reads and writes is seen. The function is given its arguments, by name.
@DerivedAsset(
    "running-bouts",
    output_dir=lambda arguments: arguments["output_dir"],
    experimenters=["Example Researcher"],
)
def main(
    session: Path, output_dir: Path, *, threshold_cm_s: float = 2.0, shortest_s: float = 1.0
) -> None:
    """Find when the mouse ran: faster than a threshold, for some time."""
    samples = read_table(session / "behavior/running_speed.csv")
    bouts = []
    for runs, group in groupby(samples, lambda sample: sample["speed_cm_s"] > threshold_cm_s):
        bout = list(group)
        start, stop = bout[0]["time_s"], bout[-1]["time_s"]
        if runs and stop - start >= shortest_s:
            bouts.append((start, stop, max(sample["speed_cm_s"] for sample in bout)))
    write_table(output_dir / "bouts.csv", ("start_s", "stop_s", "top_speed_cm_s"), bouts)

    # Optional: numbers worth finding again.
    running_s = round(sum(stop - start for start, stop, _ in bouts), 1)
    current_process().add_results(bouts=len(bouts), running_s=running_s)
    print(f"{len(bouts)} bouts of running are in {output_dir / 'bouts.csv'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Find when the mouse ran.")
    parser.add_argument("--session", type=Path, help="default: an invented one")
    parser.add_argument("--output-dir", type=Path, default=RESULTS)
    parser.add_argument("--threshold-cm-s", type=float, default=2.0)
    parser.add_argument("--shortest-s", type=float, default=1.0)
    args = parser.parse_args()
    args.session = args.session or example_session()
    main(**vars(args))
