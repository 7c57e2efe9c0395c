"""Runs the steps of one program: ``runner.py PROGRAM plain`` or ``runner.py PROGRAM tracked``.

Plain, each step stands between two calls that a log shows, and nothing is imported of the package.
Tracked, each step is a tracked function of one asset that declares nothing, and what was recorded
is left in ``seen.json``.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

Steps = tuple[Callable[[], Any], ...]


def plain(steps: Steps) -> None:
    """Run the steps between marks."""
    from fidelity.calls import mark

    for step in steps:
        mark("begin", step.__name__)
        step()
        mark("end", step.__name__)


def tracked(steps: Steps) -> None:
    """Run the steps in an asset."""
    from asset_provenance import DerivedAsset, track_process
    from helpers.assets import PEOPLE

    with DerivedAsset("fidelity", **PEOPLE) as asset:
        for step in steps:
            track_process(step)()
    results = Path(asset.output_dir)
    seen = {
        "steps": {
            record.name: {"assets": list(record.observed), "written": list(record.written_files)}
            for record in asset.records
        },
        "graph": json.loads((results / "processing.json").read_text())["dependency_graph"],
    }
    Path("seen.json").write_text(json.dumps(seen, indent=1))


def main() -> None:
    """Run what the command line says."""
    name, mode = sys.argv[1:]
    program = importlib.import_module(f"fidelity.programs.{name}")
    {"plain": plain, "tracked": tracked}[mode](program.STEPS)


if __name__ == "__main__":
    main()
