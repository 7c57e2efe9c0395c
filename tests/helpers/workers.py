"""What workers in other processes of the operating system are given to do in the tests."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from asset_provenance import current_process, track_process


@track_process
def sort_spikes(session: str, counts: Any = None) -> list[float]:
    """Read a session; give the spikes in order."""
    times = [float(line) for line in Path(session, "spikes.txt").read_text().split()]
    return sorted([*times, 0.5])


@track_process
def merge(sorted_spikes: Any) -> int:
    """Use what others returned."""
    return len(sorted_spikes)


@track_process
def count(number: int) -> int:
    """Be called often."""
    return number + 1


def count_many(numbers: list[int]) -> int:
    """Call it as often as there are numbers; not tracked itself."""
    return sum(map(count, numbers))


def look(session: str) -> str:
    """Open files and give a note, without being tracked."""
    text = Path(session, "spikes.txt").read_text()
    found = Path("results", "seen")
    found.mkdir(exist_ok=True)
    (found / f"{Path(session).name}.txt").write_text(text)
    current_process().add_note(f"Looked at {Path(session).name}.")
    current_process().add_parameters(looked=True)
    return text


def read_and_be_synced(path: str) -> None:
    """Open a file, and live until all that is known of it has been written down."""
    threading.excepthook = lambda _: os._exit(1)
    Path(path).read_text()
    while any(thread.name == "asset-provenance-sync" for thread in threading.enumerate()):
        time.sleep(0.01)


def fail(number: int) -> int:
    """Fail, as a user's function may."""
    raise ValueError(f"no {number}")


@track_process
def kill_or_stay(number: int) -> int:
    """Be killed, of four workers as one."""
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return number


@track_process
def be_killed_later(session: str) -> None:
    """Be killed, once it is in the journal what was read and written."""
    Path("results/first.txt").read_text()
    look(session)
    until = time.monotonic() + 20
    counts = Path("results/.asset-provenance")
    while not any("looked" in path.read_text() for path in counts.rglob("*.counts")):
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGKILL)


@track_process
def need_memory(number: int) -> int:
    """Ask for more memory than there is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (400_000_000, hard))
    try:
        return len(bytearray(4_000_000_000)) + number
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@track_process
def outlive(ready: str, done: str) -> None:
    """Go on after the asset has closed, and use tracked functions and files of the asset."""
    Path(ready).touch()
    until = time.monotonic() + 20
    while not Path(done).exists() and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.7)  # what was written before has been synced
    for number in range(300):
        count(number)
    time.sleep(1.2)  # what is written later has been written
    Path(done).with_suffix(".over").write_text("fine")


if __name__ == "__main__":  # a script that a program starts
    for each in sys.argv[1:]:
        sort_spikes(each)
        look(each)
