"""Which script a command runs is read from its words; nothing of the user's is run for it."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from asset_provenance.capture.code import CodeIdentifier
from asset_provenance.capture.commandcode import CommandCode
from helpers.repositories import PUBLIC, commit, new_repository

FILES = {
    "fit.R": "x <- 1\n",
    "fit.m": "x = 1;\n",
    "steps.py": "print(1)\n",
    "run.sh": "#!/bin/bash\necho\n",
    "tool": "#!/usr/bin/env -S bash -e\necho\n",
    "package/__init__.py": "",
    "package/__main__.py": "",
    "package/part.py": "",
    "notebook.ipynb": "{}",
    "data.csv": "1\n",
}


@pytest.fixture
def work() -> Path:
    """A repository with scripts, which is the working folder."""
    folder = new_repository(Path.cwd())
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    commit(folder)
    return folder


def of(line: str) -> CommandCode:
    words = shlex.split(line)
    program = shutil.which(words[0]) or f"/usr/bin/{words[0]}"
    return CommandCode.of(words, os.path.normpath(Path.cwd() / program), str(Path.cwd()))


@pytest.mark.parametrize(
    ("line", "script", "language"),
    [
        ("bash run.sh fit.R", "run.sh", "Bash"),
        ("./tool data.csv", "tool", "Bash"),
        ("env A=1 nice -n 5 ./tool data.csv", "tool", "Bash"),
        ("timeout 10 sh run.sh", "run.sh", "Shell"),
        ("Rscript --vanilla fit.R data.csv", "fit.R", "R"),
        ("Rscript -e 'source(\"fit.R\")'", "fit.R", "R"),
        ("R CMD BATCH fit.R out.txt", "fit.R", "R"),
        ("R --no-save --file=fit.R", "fit.R", "R"),
        ("matlab -batch \"run('fit.m')\"", "fit.m", "MATLAB"),
        ("matlab -nodisplay -r 'fit(3); exit'", "fit.m", "MATLAB"),
        ("python3 -u -W ignore steps.py fit.R", "steps.py", "Python"),
        ("python3 -m package", "package/__main__.py", "Python"),
        ("python3 -m package.part fit.R", "package/part.py", "Python"),
        ("uv run steps.py", "steps.py", "Python"),
        ("papermill notebook.ipynb out.ipynb", "notebook.ipynb", None),
        ('sh -c "sort data.csv | python3 steps.py > out"', "steps.py", "Python"),
        ('sh -c "cd package && python3 part.py"', "package/part.py", "Python"),
        ('env A=1 bash -eo pipefail -c "R --no-save < fit.R | gzip"', "fit.R", "R"),
        ("sh -c 'for i in 1 2; do ./tool $i; done'", "tool", "Bash"),
        ("sh -c 'cp run.sh out/; test -f tool && echo fit.m | cat && Rscript fit.R'", "fit.R", "R"),
        ("cp steps.py out", None, None),
        ("gzip -c data.csv", None, None),
        ("python3 -c 'print(1)'", None, None),
        ("python3 -m http.server", None, None),
        ("sh -c 'echo steps.py.txt'", None, None),
    ],
)
def test_the_script_is_the_first_file_of_code_that_the_words_name(
    work: Path, line: str, script: str | None, language: str | None
) -> None:
    found = of(line)
    assert found.script == (None if script is None else str(work / script))
    assert found.language == language


@pytest.mark.parametrize(
    ("line", "version"),
    [
        (f"{sys.executable} steps.py", platform.python_version()),
        (f"sh -c 'cat data.csv | {sys.executable} steps.py'", platform.python_version()),
        (f"env A=1 {sys.executable} -m package", platform.python_version()),
        ("sh -c '. ./run.sh; python3 steps.py'", None),  # which may have set another python3
        ("env PATH=/elsewhere python3 steps.py", None),
        ("sh -c 'PATH=/elsewhere; python3 steps.py'", None),
        ("uv run python3 steps.py", None),  # of an environment of its own
        ("./python3 steps.py", None),  # which is the user's
    ],
)
def test_a_version_is_told_where_it_is_clear_which_interpreter_runs(
    work: Path, line: str, version: str | None
) -> None:
    (work / "python3").write_text("#!/bin/sh\ntouch was-run\necho Python 9.9.9\n")
    (work / "python3").chmod(0o755)
    found = of(line)
    assert (found.language, found.version) == ("Python", version)
    assert not (work / "was-run").exists()


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("bash run.sh", "run"),
        ("python3 -m package", "package"),
        ("sh -c 'sort data.csv | head'", "sort"),
        ("env A=1 nice sort data.csv", "sort"),
    ],
)
def test_the_label_is_that_of_the_script_or_of_the_program(
    work: Path, line: str, label: str
) -> None:
    assert of(line).label == label


def test_a_script_in_a_work_tree_comes_before_one_in_none(work: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.sh"
    outside.write_text("#!/bin/sh\n")
    assert of(f"bash {outside}").script == str(outside)
    assert of(f"bash {outside} fit.R").script == str(work / "fit.R")


def test_where_no_script_is_named_the_notes_say_whose_work_tree_it_is(work: Path) -> None:
    record = of("gzip -c data.csv").identify(CodeIdentifier())
    assert record.url == PUBLIC
    assert record.commit_hash is not None
    assert (record.run_script, record.language) == (None, None)
    assert any("names no script" in note for note in record.notes)


def test_outside_any_work_tree_no_more_is_told_than_where_the_program_is() -> None:
    gzip = shutil.which("gzip")
    assert gzip is not None
    record = of("gzip -c data.csv").identify(CodeIdentifier())
    assert record.url == Path(gzip).as_uri()
    assert (record.version, record.tree, record.language) == (None, None, None)
    record = of("sh -c 'echo'").identify(CodeIdentifier())
    assert record.url == Path.cwd().as_uri()  # never that of the shell


def test_an_installed_program_is_its_distribution_and_an_editable_one_its_work_tree(
    work: Path, tmp_path: Path
) -> None:
    record = of(shutil.which("pytest", path=str(Path(sys.executable).parent)) or "").identify(
        CodeIdentifier()
    )
    assert (record.name, record.language) == ("pytest", "Python")
    environment = tmp_path / "environment"
    (environment / "bin").mkdir(parents=True)
    site = environment / "lib" / "python3.99" / "site-packages"
    site.mkdir(parents=True)
    (environment / "pyvenv.cfg").touch()
    (site / "_editable.pth").write_text(f"import something\n{work}\n")
    program = environment / "bin" / "analyse"
    program.write_text(f"#!{sys.executable}\nfrom package.part import main\nmain()\n")
    program.chmod(0o755)
    assert of(f"{program} data.csv").script == str(work / "package" / "part.py")
