"""Run the first example in a fresh folder, and show what it left: ``make demo``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parent
DEMO = EXAMPLES.parent / "demo"
PREFIX = "ASSET_PROVENANCE_"
DATA, RESULTS = DEMO / "data", DEMO / "results"


def run(script: str, *arguments: object) -> str:
    """Run an example as anybody would, apart from what this machine sets for real work."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    folders = {f"{PREFIX}DATA_ROOT": str(DATA), f"{PREFIX}OUTPUT_DIR": str(RESULTS)}
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=DEMO,
        env=own | folders,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{script} failed; what it wrote so far is in {DEMO}")
    return done.stdout


def load(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def show(label: str, value: object) -> None:
    print(f"  {label:<12}{value}")


def show_description() -> None:
    description = load("data_description.json")
    show("name", description["name"])
    show("source_data", ", ".join(description["source_data"]))
    show("subject", description["subject_id"])
    show("project", description["project_name"])


def show_processing() -> None:
    processing = load("processing.json")
    print(f"  {'process':<24}{'started (UTC)':<21}{'seconds':>9}  depends on")
    for process in processing["data_processes"]:
        start, end = (
            datetime.fromisoformat(process[key]) for key in ("start_date_time", "end_date_time")
        )
        before = ", ".join(processing["dependency_graph"][process["name"]]) or "-"
        seconds = (end - start).total_seconds()
        print(f"  {process['name']:<24}{start:%Y-%m-%d %H:%M:%S}  {seconds:>9,.3f}  {before}")
    last = processing["data_processes"][-1]
    print(f"\n  The last of them, {last['name']}:")
    show("code", last["code"]["url"])
    show("commit", last["code"]["commit_hash"] or "unknown")
    show("script", last["code"]["run_script"])
    show("wrote", last["output_path"])
    results = last["output_parameters"].items()
    show("results", ", ".join(f"{key} = {value}" for key, value in results))


def main() -> None:
    if DEMO.exists():
        shutil.rmtree(DEMO)
    DEMO.mkdir()
    print("1. Make an invented recording: a raw data asset with complete metadata.\n", flush=True)
    session = run("make_input.py", DATA).splitlines()[0]
    print(f"  {session}")
    print("\n2. Analyse it with examples/tuning.py: three tracked steps.\n", flush=True)
    run("tuning.py")
    files = load("provenance/asset-provenance.json")["files"]
    inherited = [name for name, facts in files.items() if "inherited_from" in facts]
    print(f"  {RESULTS}")
    print("\n3. Read what was recorded while it ran.\n\ndata_description.json\n")
    show_description()
    print("\nprocessing.json: first what came with the recording, then the three steps\n")
    show_processing()
    print("\nInherited from the recording, byte for byte\n")
    print("".join(f"  {name}\n" for name in inherited), end="")


if __name__ == "__main__":
    main()
