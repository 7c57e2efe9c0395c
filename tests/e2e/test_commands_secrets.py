"""No command prints or writes a secret that lies in what it looks at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from asset_provenance import DerivedAsset, track_process
from helpers.assets import FACTS, PEOPLE, make_asset

CANARY = "ghp_c4naryC4NARYc4naryC4NARYc4nary012345"
URL = f"https://user:{CANARY}@example.org/x"


def command(*arguments: str) -> str:
    """Run a command, and give all that it printed."""
    answer = subprocess.run(
        [sys.executable, "-m", "asset_provenance.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in answer.stdout + answer.stderr
    assert answer.returncode in (0, 1, 2)
    return answer.stdout + answer.stderr


def test_check_tells_of_a_secret_without_telling_it(data_root: Path) -> None:
    raw = make_asset(data_root, restrictions=URL)
    with DerivedAsset("test", inputs=raw, **PEOPLE), track_process("step"):
        pass
    path = Path("results/processing.json")
    processing = json.loads(path.read_bytes())
    process = processing["data_processes"][0]
    process["code"]["url"] = URL
    process["code"]["parameters"] = {"password": CANARY, "text": URL}
    process["notes"] = f"token={CANARY}"
    process["name"] = f"step {URL}"
    path.write_text(json.dumps(processing))
    for options in ([], ["--json"]):
        told = command("check", "results", *options)
        assert "looks like a password, token or key" in told
        assert CANARY not in told


def test_recover_neither_prints_nor_writes_a_secret() -> None:
    child = os.fork()
    if child == 0:
        asset = DerivedAsset(
            "test", inputs=(), base_name="b", parameters={"token": CANARY},
            data_summary=f"from {URL}", **FACTS, **PEOPLE,
        )  # fmt: skip
        with asset, track_process(f"step {URL}", notes=URL) as process:
            process.add_inputs(URL)
            os._exit(9)
    os.waitpid(child, 0)
    told = command("recover", "results") + command("recover", "results", "--json")
    told += command("recover", "results", "--accept-failed", "--set", f"restrictions={URL}")
    assert "example.org" in told
    assert CANARY not in told
    written = b"".join(path.read_bytes() for path in Path("results").rglob("*") if path.is_file())
    assert b"example.org" in written
    assert CANARY.encode() not in written


def test_what_is_mistyped_on_the_command_line_is_not_repeated_with_its_secret() -> None:
    for arguments in (["check", URL], ["recover", URL], ["recover", ".", "--set", f"x {URL}"]):
        assert CANARY not in command(*arguments)
