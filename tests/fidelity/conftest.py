"""How programs are run so that their system calls are kept."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from fidelity.calls import TRACED


@pytest.fixture(scope="session")
def traced(tmp_path_factory: pytest.TempPathFactory) -> list[str | Path]:
    """The words before a command that keep its system calls in ``calls.*`` where it runs."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    calls = ",".join(f"?{name}" for name in TRACED)
    words: list[str | Path] = [strace, "-f", "-ff", "-ttt", "-y", "-qq", "-s", "0"]
    words += ["--seccomp-bpf", "-e", f"trace={calls}", "-o", "calls"]
    place = tmp_path_factory.mktemp("allowed")
    done = subprocess.run([*words, "true"], cwd=place, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no program may be traced here: {done.stderr.strip()}")
    return words
