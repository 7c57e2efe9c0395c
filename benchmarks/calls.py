"""What importing the package and calling a tracked function cost, as ratios to wrapt's own cost.

The peer is wrapt: its import, and a wrapper of it that does nothing. Both run here, in turn, so
that a slow or busy machine slows both.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import timeit
from collections.abc import Callable

import numpy
import pandas
import wrapt

from asset_provenance import DerivedAsset, track_process

ROUNDS = 15
CALLS = 100_000
IMPORTS = 9


FACTS = {
    "project_name": "Benchmark",
    "investigators": "Example Researcher",
    "funding_source": "AI",
    "modalities": "ecephys",
    "experimenters": "Example Researcher",
}


def plain(x: object, y: int = 2, z: int = 3) -> object:
    return x


@wrapt.decorator
def nothing(wrapped, instance, args, kwargs):  # type: ignore[no-untyped-def]
    return wrapped(*args, **kwargs)


def measure_calls(
    *functions: Callable[..., object], argument: object = 1, rounds: int = ROUNDS
) -> list[float]:
    """Give the median time of a call of each function, in microseconds."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for function, taken in zip(functions, times, strict=True):
            names = {"function": function, "argument": argument}
            # The second argument changes with every call, as in a loop over something.
            statement = "for index in range(1000): function(argument, index, 3)"
            seconds = timeit.timeit(statement, globals=names, number=CALLS // 1000)
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
    tell_calls(wrapper, ("plain function", untracked), ("wrapt wrapper that does nothing", wrapper),
               ("tracked function", tracked))  # fmt: skip

    print("call inside an asset, in a long loop     us     times wrapt")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with DerivedAsset("benchmark", inputs=(), base_name="none", **FACTS):
            for name, argument in (
                ("three scalars", 1),
                ("an array and two scalars", numpy.zeros((100, 100))),
                ("a data frame and two scalars", pandas.DataFrame({"a": range(100)})),
                ("a small dict and two scalars", {"a": 1, "b": 2.0, "c": "x"}),
            ):
                wrapper, tracked = measure_calls(
                    nothing(plain), track_process(plain), argument=argument, rounds=7
                )
                tell_calls(wrapper, (name, tracked))


def tell_calls(wrapper: float, *measured: tuple[str, float]) -> None:
    """Print times of calls, and what they are to that of the wrapper."""
    for name, taken in measured:
        print(f"  {name:<34}{taken:8.3f}{taken / wrapper:10.2f}")


if __name__ == "__main__":
    main()
