"""Whole scripts whose functions run in other processes, read back from the metadata they wrote."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.assets import FACTS, PEOPLE, make_asset, read_json

SCRIPT = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import joblib

from asset_provenance import DerivedAsset, track_process

@track_process
def load(session):
    return [float(line) for line in Path(session, "spikes.txt").read_text().split()]

@track_process
def sort(spikes, session):
    Path("results/sorted").mkdir(exist_ok=True)
    Path("results/sorted", Path(session).name).write_text("x")
    return {"sorted": sorted(spikes)}

def one(session):
    return sort(load(session), session=session)

def run(how, sessions):
    if how == "joblib":
        return joblib.Parallel(2)(joblib.delayed(one)(session) for session in sessions)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(how)) as pool:
        return list(pool.map(one, sessions))

@track_process
def merge(parts):
    return sum(len(part["sorted"]) for part in parts)

@track_process
def check():
    return [path.read_text() for path in Path("results/sorted").iterdir()]

def main(how, *sessions):
    with DerivedAsset("test", inputs=sessions, base_name="all", **FACTS):
        with track_process("per_session"):
            parts = run(how, sessions)
        assert merge(parts) == 4
        check()

if __name__ == "__main__":
    main(*sys.argv[1:])
"""


@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver", "joblib"])
def test_a_script_s_own_functions_are_recorded_in_its_workers(how: str, data_root: Path) -> None:
    names = [f"ecephys_90010{number}_2026-03-02_18-30-05" for number in (1, 2)]
    for name in names:
        make_asset(data_root, name)
        (data_root / name / "spikes.txt").write_text("2\n1\n")
    script = Path("analysis.py").absolute()
    script.write_text(SCRIPT.replace("**FACTS", f"**{ {**FACTS, **PEOPLE}!r}"))
    subprocess.run(
        [sys.executable, script, how, *(data_root / name for name in names)],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        check=True,
        timeout=60,
    )
    processing = read_json(Path("results/processing.json"))
    graph: dict[str, Any] = processing["dependency_graph"]
    own = {one["name"]: one for one in processing["data_processes"]}
    loads, sorts = ["load", "load_1"], ["sort", "sort_1"]
    assert sorted(graph["per_session"]) == [*loads, *sorts]
    assert sorted(graph[one] for one in sorts) == [["load"], ["load_1"]]
    assert sorted(graph["merge"]) == sorted(graph["check"]) == sorts
    assert sorted(own[one]["code"]["input_data"][0]["name"] for one in loads) == names
    assert {own[one]["code"]["run_script"] for one in (*loads, *sorts)} == {"analysis.py"}
    assert sorted(own[one]["output_path"] for one in sorts) == [f"sorted/{name}" for name in names]
    assert own["per_session"]["code"]["input_data"] is None
    assert not Path("results/.asset-provenance").exists()
