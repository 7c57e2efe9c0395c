"""Notebooks, run in real kernels."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import indent
from typing import Any

import nbclient
import nbformat
import pytest

from helpers.assets import processes
from helpers.repositories import git

START = """
from asset_provenance import DerivedAsset, track_process

asset = DerivedAsset(
    "notebook", inputs=(), base_name="base", project_name="Synthetic project",
    investigators=["Example Researcher"], funding_source="AI", modalities=["ecephys"],
    experimenters=["Sample Scientist"], strict=True,
).start()
"""
REMOTE = "https://github.com/example/analysis"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A kernel of this Python, with nothing of this machine's Jupyter."""
    folder = tmp_path / "jupyter" / "kernels" / "tested"
    folder.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "tested", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    return "tested"


@pytest.fixture
def notebook() -> Path:
    """A notebook that lies committed in a repository, which is not the working folder."""
    repository = Path("analysis")
    (repository / "notebooks").mkdir(parents=True)
    path = repository / "notebooks" / "tuning.ipynb"
    path.write_text("{}")
    git(repository, "init", "--initial-branch", "main")
    git(repository, "remote", "add", "origin", REMOTE + ".git")
    git(repository, "add", ".")
    git(repository, "commit", "--message", "a notebook")
    return path.absolute()


def run(kernel: str, *cells: str, **environment: str) -> list[str]:
    """Run cells in a kernel of their own; give what each has printed."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(
        made, kernel_name=kernel, timeout=120, resources={"metadata": {"path": os.getcwd()}}
    )
    client.execute(env={**os.environ, **environment})
    return [
        "".join(output.get("text", "") for output in cell.outputs).strip() for cell in made.cells
    ]


def test_a_first_cell_that_runs_again_is_told_how_to_go_on(kernel: str) -> None:
    again = f"try:\n{indent(START, '    ')}except Exception as error:\n    print(error)"
    told = run(kernel, START, again, "asset.finish()")
    assert "if its cell ran again, finish() the first or restart the kernel" in told[1]
    assert Path("results/processing.json").exists()


def texts(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.rglob("*.json"))


def test_cells_that_run_tracked_code_are_processes_of_the_notebook(
    kernel: str, notebook: Path
) -> None:
    cells = [
        START,
        "@track_process\ndef align(shift):\n    return shift + 1\n",
        "align(1)",
        "align(2)",
        """
with track_process("block") as process:
    process.add_results(found=3)
    align(3)
""",
        """
import threading
thread = threading.Thread(target=align, args=(4,))
thread.start()
thread.join()
""",
        "await_me = track_process('awaited')(lambda: 1)\nimport asyncio\n"
        "await asyncio.to_thread(await_me)",
        "asset.finish()\nprint(asset.name)",
    ]
    (*_, name) = run(kernel, *cells, JPY_SESSION_NAME=str(notebook))
    assert name.startswith("base_notebook_")
    found = processes(Path("results"))
    calls = [item for item in found.values() if item["name"].startswith("align")]
    assert [item["code"]["parameters"]["shift"] for item in calls] == [1, 2, 3, 4]
    assert len(found) == 6
    head = git(notebook.parent, "rev-parse", "HEAD").strip()
    for item in found.values():
        assert item["code"]["url"] == REMOTE
        assert item["code"]["run_script"] == "notebooks/tuning.ipynb"
        assert item["code"]["commit_hash"] == head
    assert "cells of the notebook" in found["block"]["notes"]
    assert "ipykernel_" not in texts(Path("results"))


def test_code_in_cells_of_an_unknown_notebook_names_no_script(kernel: str) -> None:
    cells = [START, "with track_process('block'):\n    pass\n", "asset.finish()"]
    run(kernel, *cells, JPY_SESSION_NAME="a name that is no file")
    code = processes(Path("results"))["block"]["code"]
    assert code.get("run_script") is None
    assert "ipykernel_" not in texts(Path("results"))


def test_the_arguments_of_a_kernel_are_no_parameters_of_what_it_runs(kernel: str) -> None:
    run(kernel, START, "asset.finish()")
    code = processes(Path("results"))["notebook"]["code"]
    assert code.get("parameters") in (None, {})
    assert "argv" not in texts(Path("results"))


def test_the_notebook_is_found_by_what_each_program_leaves_of_it(
    kernel: str, notebook: Path
) -> None:
    ask = "from asset_provenance.capture.notebook import notebook_file\nprint(notebook_file())"
    filled = notebook.with_name("filled.ipynb")
    filled.write_text("{}")
    nothing, papermill, code, session = run(
        kernel,
        ask,
        f"PAPERMILL_INPUT_PATH = {str(notebook)!r}\nPAPERMILL_OUTPUT_PATH = {str(filled)!r}\n{ask}"
        "\ndel PAPERMILL_INPUT_PATH",
        f"__vsc_ipynb_file__ = {str(notebook)!r}\n{ask}\ndel __vsc_ipynb_file__",
        f"__session__ = {str(notebook)!r}\n{ask}",
    )
    assert nothing == "None"
    assert {papermill, code, session} == {str(notebook)}


def test_a_notebook_that_was_never_finished_is_told_when_its_kernel_ends(kernel: str) -> None:
    log = "import logging\nlogging.getLogger().addHandler(logging.FileHandler('log.txt'))"
    run(kernel, log, START, "with track_process('block'):\n    pass\n")
    assert "the run notebook was started and never finished" in Path("log.txt").read_text()
    assert recovered(Path("results"))["block"]["name"] == "block"


def test_a_script_that_was_never_finished_is_told_when_it_ends() -> None:
    Path("script.py").write_text(START + "with track_process('block'):\n    print('done')\n")
    ended = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0
    assert ended.stdout == "done\n"
    (line,) = [line for line in ended.stderr.splitlines() if "never finished" in line]
    assert "call finish()" in line
    assert f"asset-provenance recover {Path('results').absolute()}" in line
    assert not Path("results/processing.json").exists()
    assert recovered(Path("results"))["block"]["name"] == "block"


def test_a_forked_child_that_ends_says_nothing_of_its_parents_run() -> None:
    child = "import os, sys\nchild = os.fork()\nif child == 0:\n    sys.exit()\n"
    Path("script.py").write_text(START + child + "os.waitpid(child, 0)\nasset.finish()\n")
    ended = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0
    assert "never finished" not in ended.stderr


def recovered(folder: Path) -> dict[str, Any]:
    """Recover a run that ended without finish(), as its message says."""
    command = [sys.executable, "-m", "asset_provenance.cli", "recover", str(folder)]
    ended = subprocess.run(
        [*command, "--accept-failed"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return processes(folder)


def test_an_asset_and_its_records_are_shown_as_summaries(kernel: str) -> None:
    cells = [
        START,
        "from asset_provenance import current_process\n"
        "@track_process\ndef align(note):\n    current_process().add_results(shift=3)\n"
        "align('<script>alert(1)</script>')",
        "asset",
        "asset.records",
        "asset.records[0]",
        "asset.finish()",
        "asset",
    ]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(
        made, kernel_name=kernel, timeout=120, resources={"metadata": {"path": os.getcwd()}}
    )
    client.execute()
    shown = [
        output["data"]["text/html"]
        for cell in made.cells
        for output in cell.outputs
        if output.output_type == "execute_result"
    ]
    so_far, records, record, written = shown
    assert "is being recorded" in so_far
    for table in (so_far, records, written):
        assert re.search(r'<th scope="row">align</th><td>.*?completed', table, re.DOTALL)
        assert "shift=3" in table
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in record
    assert "asset-provenance report" in written
    name = json.loads(Path("results/data_description.json").read_bytes())["name"]
    assert f"<strong>{name}</strong>" in written
    for html in shown:
        assert "<script" not in html
        style = html.partition("<style>")[2].partition("</style>")[0]
        selectors = [rule.partition("{")[0].strip() for rule in style.strip().splitlines()]
        assert all(one.startswith(".asset-provenance") for one in selectors)
