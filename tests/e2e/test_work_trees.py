"""Whole runs of programs in a git work tree, with their data and results inside it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from helpers.assets import FACTS, PEOPLE, make_asset
from helpers.repositories import PUBLIC, commit, git, new_repository, push, script

PROGRAM = """
import json, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from asset_provenance import DerivedAsset, track_process

@track_process
def work(number):
    return number

facts = json.loads(sys.argv[1])

def main():
    with DerivedAsset("counts", inputs=(), base_name="none", output_dir=sys.argv[2], **facts):
        Path(sys.argv[2], "counts.csv").write_text("1")
        work(1)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(work, 2).result()

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    repo = new_repository(tmp_path / "repo")
    (repo / "code" / "run.py").write_text(PROGRAM)
    commit(repo)
    push(repo)
    return repo


def run(repo: Path, output: str, **facts: Any) -> subprocess.CompletedProcess[str]:
    given = json.dumps({**FACTS, **PEOPLE, **facts})
    command = [sys.executable, "code/run.py", given, output]
    return subprocess.run(command, cwd=repo, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("output", ["results", "made here/at last"])
def test_the_runs_own_folders_are_no_uncommitted_code(repo: Path, output: str) -> None:
    make_asset(repo / "data")
    for _ in range(2):  # the second finds what the first has left
        done = run(repo, output)
        assert done.returncode == 0, done.stderr
        processing = json.loads((repo / output / "processing.json").read_text())
        processes = processing["data_processes"]
        assert len(processes) == 2
        for process in processes:
            assert process["code"]["url"] == PUBLIC
            assert process["code"]["commit_hash"] == git(repo, "rev-parse", "HEAD")
            assert "untracked" not in (process["notes"] or "")
        assert "untracked" not in (processing["notes"] or "")
    (repo / "made here").mkdir(exist_ok=True)
    (repo / "made here" / "own.py").write_text("A = 1\n")
    assert run(repo, output).returncode == 0
    (process, _) = json.loads((repo / output / "processing.json").read_text())["data_processes"]
    assert "1 untracked file or folder is not in the commit: made here/" in process["notes"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell script named git")
def test_what_git_was_asked_ahead_is_not_asked_again(repo: Path, programs: Path) -> None:
    script(programs / "git", f'echo "$*" >> {programs}/asked; PATH="${{PATH#*:}}" exec git "$@"')
    assert run(repo, "results").returncode == 0
    asked = (programs / "asked").read_text().splitlines()
    here = [line for line in asked if line.startswith(f"-C {repo} ") and " status " in line]
    assert len(here) == 2  # of the program, and of its worker


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell script named git")
def test_git_that_was_asked_ahead_is_gone_with_a_run_that_is_refused(
    repo: Path, programs: Path
) -> None:
    hangs = f"echo $$ >> {programs}/asked; exec sleep 54321"
    script(
        programs / "git",
        f'case "$*" in *\\ status\\ *) {hangs};; *) PATH="${{PATH#*:}}" exec git "$@";; esac',
    )
    done = run(repo, "results", funding_source="nobody")
    assert "the run counts was not started" in done.stderr
    (asked,) = (programs / "asked").read_text().split()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(int(asked)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(int(asked))
