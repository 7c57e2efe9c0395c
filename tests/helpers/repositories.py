"""Git for the repositories that tests make, with nothing of this machine's settings."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

__all__ = ["git"]

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
