"""What looking at 20 child processes takes of one core, beside the same program without us.

Both are measured in this one, in turn, by the time that its processors worked. The peer is a bare
loop over psutil that looks as often and keeps nothing.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import psutil

from asset_provenance.capture.resources import Sampler

CHILDREN = 20
SECONDS = 10.0
INTERVAL = 0.5


def measure(run: Callable[[], None]) -> float:
    """Give what a function takes of one core, in percent."""
    wall, spent = time.perf_counter(), time.process_time()
    run()
    return 100 * (time.process_time() - spent) / (time.perf_counter() - wall)


def nothing() -> None:
    time.sleep(SECONDS)


def ours() -> None:
    sampler = Sampler()
    sampler.start()
    time.sleep(SECONDS)
    sampler.stop()


def bare() -> None:
    end = time.perf_counter() + SECONDS
    root = psutil.Process()
    while time.perf_counter() < end:
        for process in (root, *root.children(recursive=True)):
            process.cpu_times()
            process.memory_info()
        time.sleep(INTERVAL)


def main() -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        for _ in range(CHILDREN)
    ]
    try:
        time.sleep(1)
        without, with_us, peer = measure(nothing), measure(ours), measure(bare)
    finally:
        for child in children:
            child.kill()
            child.wait()
    print(f"sampling {CHILDREN} child processes         % of one core")
    print(f"  without                           {without:8.3f}")
    print(f"  with us                           {with_us:8.3f}   (at most 2)")
    print(f"  bare psutil, as often             {peer:8.3f}")
    print(f"  ratio to bare psutil              {(with_us - without) / peer:8.3f}")
    if with_us - without > 2:
        sys.exit("sampling takes more than 2 % of one core")


if __name__ == "__main__":
    main()
