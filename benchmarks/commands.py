"""What commands that look at an asset cost, beside what they cannot do without.

``show``: the time that processors work for the command, as a ratio to a program that only imports
what the command needs. Both are programs of their own, run in turn.

``report`` and ``export``: how their time grows with the number of processes, without that of
imports: what a process costs in an asset of 200, as a ratio to one of 50.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from asset_provenance import DerivedAsset, current_process, track_process

RUNS = 15
STEPS = 5
MOST_FOR_SHOW = 1.5
SIZES = (25, 50, 100, 200)
MOST_FOR_GROWTH = 1.5
# typer imports what it parses with when it parses; newer ones pydantic, too.
NEEDED_BY_SHOW = """
import contextlib
with contextlib.suppress(ImportError):
    import typer._adapters
import asset_provenance.cli
import asset_provenance.reading
import asset_provenance.report.terminal
"""

# Each makes of a folder what is to be written, as text or file.
GROWING = {
    "report": "from asset_provenance.reporting import make_page as make",
    "export --format ro-crate": """
from asset_provenance.exporting import export_asset
make = lambda folder: export_asset(folder, "ro-crate", folder / "crate", overwrite=True)
""",
    "export --format prov-json": """
from asset_provenance.exporting import export_asset
make = lambda folder: export_asset(folder, "prov-json", folder / "made.prov", overwrite=True)
""",
}
MEASURE = """
import sys, time
from pathlib import Path
make(Path(sys.argv[1]))  # imports what it needs
for folder in sys.argv[1:]:
    times = []
    for _ in range(5):
        start = time.process_time()
        make(Path(folder))
        times.append(time.process_time() - start)
    print(min(times))
"""


def make_asset(folder: Path, steps: int) -> None:
    """Record an analysis, each of whose steps reads what the one before it wrote."""

    @track_process
    def step(number: int, *, threshold: float = 5.0) -> None:
        if number:
            (folder / f"{number - 1}.csv").read_bytes()
        (folder / f"{number}.csv").write_text(f"{threshold}\n")
        current_process().add_results(rows=1)

    os.environ["ASSET_PROVENANCE_OFFLINE"] = "true"
    os.environ["ASSET_PROVENANCE_MAX_REPEATS"] = "1000"
    os.environ["ASSET_PROVENANCE_CODE_URL"] = "https://example.org/benchmark"
    facts = {
        "project_name": "Benchmark",
        "investigators": ["Ada Lovelace"],
        "funding_source": "AI",
        "modalities": ["ecephys"],
        "experimenters": ["Ada Lovelace"],
    }
    with DerivedAsset("steps", inputs=(), base_name="made", output_dir=folder, **facts):
        for number in range(steps):
            step(number)


def spent(*arguments: str | Path) -> float:
    """Give the seconds that processors worked for a program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_show(place: Path) -> float:
    """Print what ``show`` costs, and give the ratio."""
    folder = place / "shown"
    make_asset(folder, STEPS)
    imports, command = [], []
    for _ in range(RUNS):
        imports.append(spent("-c", NEEDED_BY_SHOW))
        command.append(spent("-m", "asset_provenance.cli", "show", folder))
    needed, whole = statistics.median(imports), statistics.median(command)
    print(f"show of an asset of {STEPS} processes          CPU ms")
    print(f"  import of what it needs           {1000 * needed:8.0f}")
    print(f"  asset-provenance show             {1000 * whole:8.0f}")
    print(f"  ratio                             {whole / needed:8.2f}   (at most {MOST_FOR_SHOW})")
    return whole / needed


def measure_growth(place: Path) -> float:
    """Print how the cost of commands grows, and give the most of it as a ratio to a line."""
    folders = [place / f"of-{size}" for size in SIZES]
    for folder, size in zip(folders, SIZES, strict=True):
        make_asset(folder, size)
    print(f"CPU ms of an asset of processes {''.join(f'{size:8}' for size in SIZES)}")
    growths = []
    for name, program in GROWING.items():
        command = [sys.executable, "-c", program + MEASURE, *folders]
        answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        seconds = dict(zip(SIZES, map(float, answer.stdout.split()), strict=True))
        growths.append(seconds[200] / 200 / (seconds[50] / 50))
        told = "".join(f"{1000 * seconds[size]:8.0f}" for size in SIZES)
        print(f"  {name:<30}{told}")
        print(
            f"    a process of 200 to one of 50   {growths[-1]:6.2f}   (at most {MOST_FOR_GROWTH})"
        )
    return max(growths)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        ratio = measure_show(Path(place))
        growth = measure_growth(Path(place))
    if ratio > MOST_FOR_SHOW:
        sys.exit(f"show costs more than {MOST_FOR_SHOW} times the import of what it needs")
    if growth > MOST_FOR_GROWTH:
        sys.exit("report or export grows faster than the number of processes")


if __name__ == "__main__":
    main()
