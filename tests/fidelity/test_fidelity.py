"""What is recorded with nothing declared is what the kernel was asked to do: all, and no more."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from fidelity.calls import read_log
from helpers.assets import RAW, make_asset

HERE = Path(__file__).parent
PROGRAMS = sorted(path.stem for path in (HERE / "programs").glob("*.py") if path.stem[0] != "_")
SORTED = f"{RAW}_sorted_2026-03-03_10-00-00"
PREFIX = "calls"


@dataclass(frozen=True)
class Done:
    """What one step did."""

    assets: frozenset[str]
    written: frozenset[str]
    follows: frozenset[str]


def start(place: Path, *command: str | Path) -> subprocess.Popen[str]:
    """Start a program in its place, with temporary files of its own."""
    environment = {**os.environ, "TMPDIR": str(place / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(command, cwd=place, env=environment, stderr=subprocess.PIPE, text=True)


def place_for(folder: Path, name: str) -> Path:
    """Make the place that a program runs in: some assets, of which it need not use all."""
    folder.mkdir()
    for inside in ("tmp", "results"):
        (folder / inside).mkdir()
    data = folder / "data"
    make_asset(data, mount="raw")
    make_asset(data, SORTED, mount="sorted_units", data_level="derived")
    make_asset(data, f"{RAW}_unused_2026-03-03_11-00-00", data_level="derived")
    (data / "atlas").mkdir()
    importlib.import_module(f"fidelity.programs.{name}").prepare(data)
    return folder


def names_of(data: Path) -> dict[str, str]:
    """Give the assets below the data root, by what the kernel calls their folders."""
    found = {}
    for entry in data.iterdir():
        description = entry / "data_description.json"
        told = json.loads(description.read_text())["name"] if description.exists() else entry.name
        found[os.path.realpath(entry)] = told
    return found


def from_log(place: Path) -> dict[str, Done]:
    """Give what the steps did by the log of their system calls."""
    results = place / "results"
    names = names_of(place / "data")
    steps = {}
    for name, step in read_log(place / PREFIX, place / "data", results, place).items():
        assets = {
            asset
            for path in step.read
            for folder, asset in names.items()
            if path == folder or path.startswith(f"{folder}/")
        }
        written = {os.path.relpath(path, results) for path in step.written}
        steps[name] = Done(frozenset(assets), frozenset(written), frozenset(step.follows))
    return steps


def from_records(place: Path, log: dict[str, Done]) -> dict[str, Done]:
    """Give what the steps did by what was recorded of them."""
    seen = json.loads((place / "seen.json").read_text())
    steps = {}
    for name, step in seen["steps"].items():
        written = set()
        for path in step["written"]:
            # A path with a slash at its end stands for the files in that folder.
            inside = {each for each in log[name].written if each.startswith(path)}
            written |= inside if path.endswith("/") and inside else {path}
        follows = frozenset(seen["graph"][name])
        steps[name] = Done(frozenset(step["assets"]), frozenset(written), follows)
    return steps


def differences(log: dict[str, Done], records: dict[str, Done]) -> list[str]:
    """Say in words what the one saw and the other did not."""
    lines = [f"step {name} is in one only" for name in log.keys() ^ records.keys()]
    for name in log.keys() & records.keys():
        for kind in ("assets", "written", "follows"):
            calls, ours = getattr(log[name], kind), getattr(records[name], kind)
            lines += [f"{name} {kind}: only the kernel saw {one}" for one in sorted(calls - ours)]
            lines += [f"{name} {kind}: only the record has {one}" for one in sorted(ours - calls)]
    return lines


@pytest.mark.parametrize(
    "name",
    PROGRAMS,
)
def test_a_program_is_recorded_as_the_kernel_saw_it(
    name: str, tmp_path: Path, traced: list[str | Path]
) -> None:
    runner = (sys.executable, HERE / "runner.py", name)
    plain, tracked = (place_for(tmp_path / mode, name) for mode in ("plain", "tracked"))
    runs = (start(plain, *traced, *runner, "plain"), start(tracked, *runner, "tracked"))
    traces, said = (run.communicate()[1] for run in runs)
    assert [run.returncode for run in runs] == [0, 0], f"{traces}{said}"

    log = from_log(plain)

    # A log that shows nothing would agree with a record of nothing.
    assert any(step.assets for step in log.values())
    assert any(step.written for step in log.values())
    assert any(step.follows for step in log.values())
    program = importlib.import_module(f"fidelity.programs.{name}")
    assert list(log) == [step.__name__ for step in program.STEPS]
    found = differences(log, from_records(tracked, log))
    assert not found, "\n".join([*found, said])
