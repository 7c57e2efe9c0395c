"""Other programs: a shell pipeline, a copy, a script with fixed file names."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

DATA, RESULTS = Path("data"), Path("results")
SCRIPT = """
exec 3< data/atlas/labels.txt 4> results/labels.txt
sleep 0.6
cat <&3 >&4
"""


def prepare(data: Path) -> None:
    (data / "raw" / "lines.txt").write_text("b\na\nb\n")
    (data / "sorted_units" / "units.txt").write_text("1\n2\n")
    (data / "atlas" / "labels.txt").write_text("x\n")
    (data.parent / "fixed.sh").write_text(SCRIPT)


def pipeline() -> None:
    subprocess.run(
        "sort < data/raw/lines.txt | uniq -c > results/counts.txt", shell=True, check=True
    )


def copied() -> None:
    subprocess.run(["cp", DATA / "sorted_units" / "units.txt", RESULTS / "units.txt"], check=True)
    os.system("cat results/counts.txt >> results/units.txt")


def fixed_names() -> None:
    subprocess.run(["sh", "fixed.sh"], check=True)


def gathered() -> None:
    with (RESULTS / "all.txt").open("w") as out:
        subprocess.run(
            ["cat", RESULTS / "labels.txt", RESULTS / "units.txt"], stdout=out, check=True
        )
    subprocess.run(["mv", "results/all.txt", "results/final.txt"], check=True)


STEPS = (pipeline, copied, fixed_names, gathered)
