"""Makes a data asset with complete metadata, from data that are attached to the capsule.

A template: replace the two steps by your own, and delete the cases that you do not need.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from pathlib import Path

from asset_provenance import DerivedAsset, ExternalAsset, current_process, track_process

CAPSULE = Path(__file__).resolve().parents[1]
DATA, RESULTS = CAPSULE / "data", CAPSULE / "results"


# Your analysis. Each function that is tracked becomes a process in processing.json: its times,
# its arguments, the code it came from, the data it was given, and where it wrote.


@track_process(outputs="files.csv")
def list_files(inputs: list[Path]) -> list[tuple[str, str, int]]:
    rows = [
        (folder.name, path.suffix, path.stat().st_size)
        for folder in inputs
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    write_table("files.csv", ("asset", "type", "bytes"), rows)
    return rows


@track_process(inputs="files.csv", outputs="types.csv")
def count_types(*, least_files: int) -> None:
    with (RESULTS / "files.csv").open(encoding="utf-8", newline="") as file:
        counts = Counter(row["type"] for row in csv.DictReader(file))
    rows = [(kind, count) for kind, count in counts.most_common() if count >= least_files]
    write_table("types.csv", ("type", "files"), rows)
    current_process().add_results(types=len(rows))


def write_table(name: str, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    with (RESULTS / name).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


# The three cases. What is inherited follows from the inputs, and need not be said.


def single_input(least_files: int) -> None:
    """One attached asset: the result is named after it, and inherits all its metadata."""
    session = only_one(attached())
    with DerivedAsset("file-types", inputs=session):
        list_files([session])
        count_types(least_files=least_files)


def aggregate(least_files: int, base_name: str) -> None:
    """Several attached assets: the result has a name of its own."""
    sessions = attached()
    with DerivedAsset("file-types", inputs=sessions, base_name=base_name):
        list_files(sessions)
        count_types(least_files=least_files)


def outside_data() -> None:
    """Data from outside AIND: a copy, with a data description only."""
    ExternalAsset(
        "",  # a short name of the data, such as "KimLab-DevCCF-v1"
        source="",  # the URL or API call that they were got from
        creation_time="",  # when they were posted, or a related publication: "2024-04-21"
        accessed=None,  # the day they were got, unless it was today: "2025-03-01"
        institution="",  # the one that collected them: "UPENN"
        investigators=[],  # ["Yongsoo Kim"]
        modalities=[],  # ["MRI", "SPIM"]
        funding_source=[],  # ["NIMH:RF1MH12460501"]
        license="",  # "CC-BY-4.0"
    ).write(copy_from=only_one(attached()))


def attached() -> list[Path]:
    """Give the folders of the attached data assets."""
    folders = sorted(path for path in DATA.iterdir() if path.is_dir()) if DATA.is_dir() else []
    if not folders:
        sys.exit(f"no data are attached: there is no folder in {DATA}")
    return folders


def only_one(folders: list[Path]) -> Path:
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders)
        sys.exit(f"this case is for one attached asset, not for {names}: see --case aggregate")
    return folders[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=("single", "aggregate", "outside"), default="single")
    parser.add_argument("--least-files", type=int, default=1)
    parser.add_argument("--base-name", default="all-sessions")
    args = parser.parse_args()
    if args.case == "single":
        single_input(args.least_files)
    elif args.case == "aggregate":
        aggregate(args.least_files, args.base_name)
    else:
        outside_data()


if __name__ == "__main__":
    main()
