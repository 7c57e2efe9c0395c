"""What importing the package and calling a tracked function cost, as ratios to wrapt's own cost.

The peer is wrapt: its import, and a wrapper of it that does nothing. Both run here, in turn, so
that a slow or busy machine slows both.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import timeit
from collections.abc import Callable

import wrapt

from asset_provenance import track_process

ROUNDS = 15
CALLS = 100_000
IMPORTS = 9


def plain(x: int, y: int = 2, z: int = 3) -> int:
    return x


@wrapt.decorator
def nothing(wrapped, instance, args, kwargs):  # type: ignore[no-untyped-def]
    return wrapped(*args, **kwargs)


def measure_calls(*functions: Callable[[int, int, int], int]) -> list[float]:
    """Give the median time of a call of each function, in microseconds."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(ROUNDS):
        for function, taken in zip(functions, times, strict=True):
            seconds = timeit.timeit(lambda f=function: f(1, 2, 3), number=CALLS)  # type: ignore[misc]
            taken.append(seconds / CALLS * 1e6)
    return [statistics.median(taken) for taken in times]


def measure_imports(*statements: str) -> list[float]:
    """Give the median time that a new Python takes for each statement, in milliseconds."""
    times: list[list[float]] = [[] for _ in statements]
    code = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
    for _ in range(IMPORTS):
        for statement, taken in zip(statements, times, strict=True):
            command = [sys.executable, "-c", code.format(statement)]
            answer = subprocess.run(command, capture_output=True, check=True, text=True)
            taken.append(float(answer.stdout) * 1e3)
    return [statistics.median(taken) for taken in times]


def main() -> None:
    wrapt_import, package, names = measure_imports(
        "import wrapt",
        "import asset_provenance",
        "from asset_provenance import DerivedAsset, current_process, track_process",
    )
    print("import                                   ms     times wrapt")
    for name, taken in (("wrapt", wrapt_import), ("package", package), ("and its names", names)):
        print(f"  {name:<34}{taken:8.1f}{taken / wrapt_import:10.2f}")

    untracked, wrapper, tracked = measure_calls(plain, nothing(plain), track_process(plain))
    print("call outside an asset                    us     times wrapt")
    for name, taken in (
        ("plain function", untracked),
        ("wrapt wrapper that does nothing", wrapper),
        ("tracked function", tracked),
    ):
        print(f"  {name:<34}{taken:8.3f}{taken / wrapper:10.2f}")


if __name__ == "__main__":
    main()
