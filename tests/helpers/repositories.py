"""The repositories that tests make, with nothing of this machine's settings."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from asset_provenance.capture.code import CodeIdentifier

if TYPE_CHECKING:
    from asset_provenance.records import CodeRecord

__all__ = [
    "CANARY",
    "PUBLIC",
    "REMOTE",
    "ask",
    "commit",
    "git",
    "new_repository",
    "notes",
    "push",
    "script",
]

CANARY = "ghp_CanaryCanaryCanaryCanaryCanary000000"
REMOTE = f"https://someone:{CANARY}@github.com/AllenNeuralDynamics/unit-tuning.git"
PUBLIC = "https://github.com/AllenNeuralDynamics/unit-tuning"

_VARIABLES = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


def git(folder: Path, *command: str) -> str:
    """Run git in a folder, and give what it prints."""
    result = subprocess.run(
        # Submodules and remotes of tests are folders, which git refuses unless told.
        ["git", "-C", str(folder), "-c", "protocol.file.allow=always", *command],
        env={**os.environ, **_VARIABLES},
        check=True,
        capture_output=True,
    )
    return result.stdout.decode().strip()


def commit(folder: Path, message: str = "work") -> str:
    """Commit all there is, and give the commit."""
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def push(folder: Path, remote: str = "origin") -> None:
    """Stand for a push: the remote-tracking branch that one leaves."""
    git(folder, "update-ref", f"refs/remotes/{remote}/main", "HEAD")


def new_repository(folder: Path, *, remote: str | None = REMOTE) -> Path:
    """Make a repository with code/run.py committed and pushed."""
    (folder / "code").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    (folder / "code" / "run.py").write_text("def analyse():\n    return 1\n")
    (folder / "helper.py").write_text("A = 1\n")
    commit(folder)
    if remote is not None:
        git(folder, "remote", "add", "origin", remote)
        push(folder)
    return folder


def ask(folder: Path, file: str = "code/run.py", **options: object) -> CodeRecord:
    """Ask what code a file of a repository is."""
    return CodeIdentifier(**options).of_file(str(folder / file))  # type: ignore[arg-type]


def notes(record: CodeRecord) -> str:
    """Give all notes on some code as one text."""
    return "\n".join(record.notes)


def script(path: Path, text: str) -> Path:
    """Write a program of the shell."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path
