"""What it costs to know which code ran, as ratios to git's own work on the same files.

The peers are a plain ``git status``, and ``git add`` with ``git write-tree``. All run in turn; the
processor's time counts that of the programs that were started.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from asset_provenance.capture.code import CodeIdentifier
from asset_provenance.capture.trees import tree_id

FILES = 20_000
ROUNDS = 15
OPENINGS = 9
PROGRAM = """
import time
from asset_provenance import DerivedAsset
start = time.perf_counter()
with DerivedAsset("benchmark", inputs=(), base_name="none", project_name="Benchmark",
                  investigators="Example Researcher", funding_source="AI", modalities="ecephys",
                  experimenters="Example Researcher", output_dir=r"{}"):
    print(time.perf_counter() - start)
"""


def git(folder: Path, *command: str, **variables: str) -> None:
    subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example.org", *command],
        env={**os.environ, **variables},
        check=True,
        stdout=subprocess.DEVNULL,
    )


def make_repository(folder: Path, files: int, results: Path) -> Path:
    """Commit a script that opens an asset, and small modules, fifty in a folder."""
    for number in range(files):
        path = folder / "code" / f"{number // 1000}" / f"{number // 50 % 20}" / f"{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"A = {number}\n" * 20)
    folder.mkdir(exist_ok=True)
    (folder / "run.py").write_text(PROGRAM.format(results))
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=work")
    git(folder, "remote", "add", "origin", "https://example.org/org/code.git")
    git(folder, "update-ref", "refs/remotes/origin/main", "HEAD")
    time.sleep(2)  # of files as new as its index, git reads the content
    git(folder, "status")
    return folder


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Give the time that passes with some work, and what of it the processor takes."""
    start, before = time.perf_counter(), processor_seconds()
    work()
    return time.perf_counter() - start, processor_seconds() - before


def processor_seconds() -> float:
    used = (resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def compare(*works: Callable[[], object], rounds: int = ROUNDS) -> list[tuple[float, float]]:
    """Give the median times of each work, done in turn."""
    taken: list[list[tuple[float, float]]] = [[] for _ in works]
    for _ in range(rounds):
        for work, times in zip(works, taken, strict=True):
            times.append(seconds(work))
    return [
        (statistics.median(wall for wall, _ in times), statistics.median(cpu for _, cpu in times))
        for times in taken
    ]


def tell(
    peer: tuple[str, tuple[float, float]], ours: tuple[str, tuple[float, float]], limit: str = ""
) -> None:
    """Print the times of both, and what ours are to the peer's."""
    for name, (wall, processor) in (peer, ours):
        times = f"{wall / peer[1][0]:13.2f}{processor / peer[1][1]:8.2f}"
        end = times + limit if name == ours[0] else ""
        print(f"  {name:<34}{wall * 1e3:9.0f}{processor * 1e3:9.0f}{end}")


def openings(*scripts: Path) -> list[float]:
    """Give the median times from the start of a block to its first line, in new programs."""
    taken: list[list[float]] = [[] for _ in scripts]
    for _ in range(OPENINGS):
        for script, times in zip(scripts, taken, strict=True):
            command = [sys.executable, str(script)]
            answer = subprocess.run(command, capture_output=True, check=True, text=True)
            times.append(float(answer.stdout))
    return [statistics.median(times) for times in taken]


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        results = Path(place) / "results"
        repo = make_repository(Path(place) / "large", FILES, results)
        small = make_repository(Path(place) / "small", 1, results)
        script = str(repo / "run.py")

        def identify() -> None:
            record = CodeIdentifier().of_file(script)
            assert record.commit_hash and "not looked for" not in str(record.notes)

        def status() -> None:
            git(repo, "status")

        def status_and_diff() -> None:
            git(repo, "status")
            git(repo, "diff", "HEAD")

        print(f"{FILES} files                         ms wall   ms CPU   times wall     CPU")
        peer, ours = compare(status, identify)
        tell(("git status", peer), ("identity", ours), "   (at most 1.3)")
        (repo / "run.py").write_text("A = 1\n")
        peer, ours = compare(status_and_diff, identify)
        tell(("git status, git diff", peer), ("identity of a changed file", ours))
        git(repo, "checkout", "--quiet", "run.py")

        def write_tree() -> None:
            with tempfile.TemporaryDirectory() as fresh:
                variables = {
                    "GIT_INDEX_FILE": f"{fresh}/index",
                    "GIT_OBJECT_DIRECTORY": f"{fresh}",
                }
                git(repo, "add", "--all", **variables)
                git(repo, "write-tree", **variables)

        peer, ours = compare(write_tree, lambda: tree_id(str(repo)), rounds=3)
        tell(("git add, git write-tree, anew", peer), ("tree id", ours))

        of_small, of_large = openings(small / "run.py", repo / "run.py")
        print("from an asset's opening to its first line, in a new program")
        print(f"  {'with 1 file':<34}{of_small * 1e3:9.0f}")
        print(f"  {f'with {FILES} files':<34}{of_large * 1e3:9.0f}{of_large / of_small:20.2f}")


if __name__ == "__main__":
    main()
