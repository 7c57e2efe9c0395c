"""A small analysis that tells of each process that has ended; to be killed at any moment."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asset_provenance import DerivedAsset, current_process, track_process

FACTS: dict[str, Any] = {
    "base_name": "example",
    "project_name": "Synthetic project",
    "investigators": ["Example Researcher"],
    "funding_source": "AI",
    "modalities": ["ecephys"],
    "experimenters": ["Sample Scientist"],
}
WRITERS = 3
"""So many processes at most end at one time: of the main thread, another one, and a worker."""

Report = Callable[[str], None]


@track_process
def count(number: int) -> int:
    return number + 1


@track_process(outputs="steps")
def save(folder: Path, number: int) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{number}.txt").write_text(str(number))
    current_process().add_results(number=number)


def step(name: str, report: Report) -> None:
    """Do something that is a process, and tell when it is over."""
    with track_process(name) as process:
        process.add_parameters(text="x" * 500)
        time.sleep(0.001)
    report(name)


def work(folder: Path, report: Report) -> None:
    """Do what an analysis does: nested steps, repeated calls, a thread, a forked worker."""
    for number in range(3):
        with track_process(f"outer-{number}"):
            step(f"inner-{number}", report)
            save(folder / "steps", number)
        report(f"outer-{number}")
    thread = threading.Thread(target=step, args=("in-a-thread", report))
    thread.start()
    for number in range(150):
        count(number)
    thread.join()
    worker = os.fork()
    if worker == 0:
        try:
            step("in-a-worker", report)
        finally:
            os._exit(0)
    for number in range(3):
        step(f"last-{number}", report)
    os.waitpid(worker, 0)


def analyse(
    folder: Path,
    report: Report,
    *,
    work: Callable[[Path, Report], None] = work,
    **options: Any,
) -> None:
    """Run it all as one asset."""
    with DerivedAsset("killed", inputs=(), output_dir=folder, **FACTS, **options):
        report("begun")
        work(folder, report)
        report("all")
