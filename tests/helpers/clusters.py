"""Dask clusters whose workers are other programs, in other folders and environments."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dask
import distributed

__all__ = ["cluster", "hiding_package", "program", "scheduler"]

_TESTS = str(Path(__file__).parents[1])
_QUIET: dict[str, Any] = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL}


@contextlib.contextmanager
def cluster(folder: Path, workers: int, threads: int, **environ: str) -> Iterator[Any]:
    """Start a cluster whose workers have a folder and an environment of their own."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        with (
            dask.config.set({"distributed.logging.distributed": "critical"}),
            distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=threads,
                processes=True,
                local_directory=str(folder),
                env={"ASSET_PROVENANCE_SAVE_PATCH": "false", **environ},
                **_QUIET,
            ) as running,
            distributed.Client(running) as client,
        ):
            os.chdir(here)
            yield client
    finally:
        os.chdir(here)


@contextlib.contextmanager
def program(
    name: str, *arguments: str, environ: dict[str, str] | None = None, before: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``dask-scheduler`` or ``dask-worker``, perhaps as the arguments of another command."""
    command = [sys.executable, "-m", f"distributed.cli.dask_{name}", "--no-dashboard", *arguments]
    running = subprocess.Popen(
        [*before, *command],
        env={**os.environ, "PYTHONPATH": _TESTS, **(environ or {})},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield running
    finally:
        running.kill()
        running.wait()


@contextlib.contextmanager
def scheduler(
    folder: Path, environ: dict[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a scheduler as a program of its own; give it, and its address."""
    file = folder / "scheduler.json"
    arguments = ("--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
    with program("scheduler", *arguments, environ=environ) as running:
        while not file.exists():
            assert running.poll() is None
            time.sleep(0.05)
        yield running, json.loads(file.read_text())["address"]


def hiding_package(folder: Path) -> dict[str, str]:
    """Give an environment in which asset_provenance cannot be imported."""
    hidden = folder / "hidden" / "asset_provenance"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('not installed here')\n")
    return {"PYTHONPATH": f"{hidden.parent}:{_TESTS}"}
