"""Ctrl-C at the command line: told in a word, with the status that shells have for it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path


def test_an_interrupt_is_told_by_a_command_that_says_nothing_of_it_itself() -> None:
    source = Path("source")
    source.mkdir()
    for number in range(20_000):
        (source / f"f{number}").touch()
    line = (
        "external kim --source https://example.org/a.zip --creation-time 2024-04-21 "
        "--institution UPENN --modality MRI --funding NIMH:RF1 --license CC-BY-4.0 "
        "--investigator X --from source --output-dir kim"
    )
    running = subprocess.Popen(
        [sys.executable, "-m", "asset_provenance.cli", *line.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with running:
        until = time.monotonic() + 60
        while not any(path.is_file() for path in Path("kim").rglob("f*")):
            assert running.poll() is None
            assert time.monotonic() < until
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "asset-provenance: interrupted" in err
    assert "Traceback" not in err
