"""Analyse what another analysis wrote: the result of ``tuning.py``, as an asset among the data.

The new name goes back to the recording and is not chained to that of the first analysis, which is
named in ``source_data``. ``processing.json`` tells the whole story: the recording's own steps,
those of the first analysis and the new one, each depending on those before it::

    python examples/second_analysis.py --output-dir results
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import tuning
from example_data import DATA_ROOT, example_session, read_table, write_table

from asset_provenance import DerivedAsset


def first_result() -> Path:
    """Give the folder of the first analysis' result, computed now if it is not there yet."""
    # Like a mount in a capsule, the folder need not bear the asset's name.
    folder = DATA_ROOT / "unit-tuning"
    if not (folder / "processing.json").exists():
        tuning.analyse(example_session(), folder)
    return folder


def main(args: argparse.Namespace) -> None:
    curves = first_result()
    with DerivedAsset(
        "response-range",
        inputs=curves,
        parameters=args,
        process_type="Ephys postprocessing",
        output_dir=args.output_dir,
        experimenters=["Example Researcher"],
    ) as asset:
        rates = defaultdict(list)
        for row in read_table(curves / "tuning_curves.csv"):
            rates[int(row["unit_id"])].append(row["rate_hz"])
        ranges = {unit: max(values) - min(values) for unit, values in rates.items()}
        rows = [
            (unit, round(size, 3)) for unit, size in ranges.items() if size >= args.least_range_hz
        ]
        write_table(asset.output_dir / "response_range.csv", ("unit_id", "range_hz"), rows)
        asset.add_outputs("response_range.csv")
        asset.add_results(units=len(rows), mean_range_hz=round(fmean(ranges.values()), 2))
    print(f"{asset.name}\nis in {asset.output_dir}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="How widely each unit's rate is modulated.")
    parser.add_argument("--output-dir", type=Path, help="default: ./results")
    parser.add_argument("--least-range-hz", type=float, default=5.0)
    main(parser.parse_args())
