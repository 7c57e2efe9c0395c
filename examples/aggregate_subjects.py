"""One result from several mice, whose recordings only the run itself finds out.

No ``inputs`` are given: every recording that a tracked step is handed counts as one. They have no
subject in common, so none of their files is inherited; the project, its people and funding, the
modalities and the tags of all are united in the one ``data_description.json``::

    python examples/aggregate_subjects.py --subjects 900101 900102 --output-dir results
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean, median

from example_data import example_session, read_table, write_table

from asset_provenance import DerivedAsset, track_process


@track_process
def summarise_running(session: Path, *, moving_cm_s: float) -> tuple[float, float, float]:
    """Give the mean and median speed of one mouse, and the share of time that it moved."""
    speeds = [row["speed_cm_s"] for row in read_table(session / "behavior/running_speed.csv")]
    moving = fmean(speed > moving_cm_s for speed in speeds)
    return round(fmean(speeds), 3), round(median(speeds), 3), round(moving, 3)


def main(subjects: list[str], output_dir: Path | None, moving_cm_s: float) -> None:
    with DerivedAsset(
        "running-summary",
        base_name="running-cohort",
        output_dir=output_dir,
        experimenters=["Example Researcher"],
    ) as asset:
        rows = []
        for subject in subjects:
            session = example_session(subject)
            rows.append((int(subject), *summarise_running(session, moving_cm_s=moving_cm_s)))
        header = ("subject_id", "mean_cm_s", "median_cm_s", "moving")
        write_table(asset.output_dir / "running.csv", header, rows)
        asset.add_outputs("running.csv")
        asset.add_results(subjects=len(rows))
    print(f"{asset.name}\nis in {asset.output_dir}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="How much several mice ran.")
    parser.add_argument("--subjects", nargs="+", default=["900101", "900102"])
    parser.add_argument("--output-dir", type=Path, help="default: ./results")
    parser.add_argument("--moving-cm-s", type=float, default=2.0)
    args = parser.parse_args()
    main(args.subjects, args.output_dir, args.moving_cm_s)
