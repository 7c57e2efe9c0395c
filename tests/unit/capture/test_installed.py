"""What is found of packages that are really built and installed, and how they are listed."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from helpers.installations import (
    MODULE,
    install,
    make_environment,
    make_project,
    make_wheel,
    site_of,
)
from helpers.repositories import git

CANARY = "ghp_CanaryCanaryCanaryCanaryCanary000000"
PUBLIC = "https://github.com/org/tiny-tuning"
SOURCE = Path(__file__).parents[3] / "src"
PACKAGE = {"tinytuning/__init__.py": "", "tinytuning/core.py": MODULE}

needs_setuptools = pytest.mark.skipif(
    importlib.util.find_spec("setuptools") is None, reason="setuptools is not installed"
)

SHOW = """
import importlib, json, pathlib, sys
sys.path.append({source!r})
from asset_provenance.capture.code import CodeIdentifier
from asset_provenance.capture.packages import imported
from asset_provenance.packagelist import finish_list
from asset_provenance.records import to_json
identifier = CodeIdentifier()
def shown(path):
    module, _, name = path.partition(":")
    return to_json(identifier.of_function(getattr(importlib.import_module(module), name)))
codes = [shown(path) for path in sys.argv[2:]]
folder = pathlib.Path(sys.argv[1])
found = json.dumps({{"is_first": True, **imported().to_json()}})
(folder / "writer.imported").write_text(found)
listed = finish_list([folder], identifier.work_tree).decode()
print(json.dumps([codes, listed]))
"""


def show(
    python: Path, folder: Path, *functions: str, path: Path | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Give which code functions are in an environment, and the lines on what was imported."""
    record = folder / "record"
    record.mkdir(exist_ok=True)
    result = subprocess.run(
        [str(python), "-c", SHOW.format(source=str(SOURCE)), str(record), *functions],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(path or "")},
        cwd=folder,
        text=True,
        capture_output=True,
        check=True,
    )
    assert CANARY not in result.stdout + result.stderr
    codes, listed = json.loads(result.stdout.splitlines()[-1])
    assert listed.splitlines()[1].startswith("# CPython 3.")
    for line in listed.splitlines():
        if not line.startswith("#"):
            Requirement(line.partition("  #")[0])
    return codes, [line for line in listed.splitlines()[2:] if "asset_provenance" not in line]


@pytest.fixture
def python(tmp_path: Path) -> Path:
    return make_environment(tmp_path / "env")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = make_project(tmp_path / "repo")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "-m", "work")
    git(folder, "remote", "add", "origin", f"https://{CANARY}@github.com/org/tiny-tuning.git")
    git(folder, "update-ref", "refs/remotes/origin/main", "HEAD")
    return folder


def lines_on(lines: list[str], name: str) -> list[str]:
    """Give the line that names something, and those that are indented below it."""
    start = next(number for number, line in enumerate(lines) if name in line)
    below = start + 1
    while below < len(lines) and lines[below].startswith("#   "):
        below += 1
    return lines[start : below + 1]


@pytest.mark.parametrize("subfolder", ["", "python/tiny"])
def test_a_package_from_git_gives_url_and_commit(
    tmp_path: Path, python: Path, subfolder: str
) -> None:
    repo = tmp_path / "repo"
    make_project(repo / subfolder)
    git(repo, "init", "-q", "-b", "main")
    git(repo, "add", "--all")
    git(repo, "commit", "-q", "-m", "work")
    url = f"https://user:{CANARY}@github.com/org/tiny-tuning.git"
    at = f"#subdirectory={subfolder}" if subfolder else ""
    install(
        python,
        f"git+{url}@main{at}",
        GIT_CONFIG_COUNT="1",
        GIT_CONFIG_KEY_0=f"url.file://{repo}.insteadOf",
        GIT_CONFIG_VALUE_0=url,
    )
    (code,), lines = show(python, tmp_path, "tinytuning.core:analyse")
    commit = git(repo, "rev-parse", "HEAD")
    assert (code["url"], code["commit_hash"], code["version"]) == (PUBLIC, commit, "1.2.3")
    assert code["run_script"] == "tinytuning/core.py"
    assert f"tiny-tuning @ git+{PUBLIC}@{commit}{at}  # version 1.2.3" in lines


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """Serve a folder on loopback, and give its URL."""
    (tmp_path / "served").mkdir()
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "served")
    )
    handler.func.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_package_from_a_url_gives_it_and_pip_can_install_what_is_listed(
    tmp_path: Path, python: Path, served: str
) -> None:
    wheel = make_wheel(tmp_path / "served", "tiny-tuning", "1.2.3", PACKAGE)
    install(python, f"http://user:{CANARY}@{served}/{wheel.name}")
    (code,), lines = show(python, tmp_path, "tinytuning.core:analyse")
    assert (code["url"], code["version"]) == (f"http://{served}/{wheel.name}", "1.2.3")
    (line,) = [line for line in lines if line.startswith("tiny-tuning @ ")]
    assert f"http://{served}/{wheel.name}#sha256=" in line
    again = make_environment(tmp_path / "again")
    (tmp_path / "packages.txt").write_text("\n".join(lines))
    install(again, "-r", str(tmp_path / "packages.txt"))
    assert (site_of(again) / "tinytuning" / "core.py").exists()


def test_a_package_from_a_folder_is_told_where_nobody_can_install_it(
    tmp_path: Path, python: Path
) -> None:
    project = make_project(tmp_path / "project")
    install(python, str(project))
    (code,), lines = show(python, tmp_path, "tinytuning.core:analyse")
    assert (code["url"], code["version"]) == (project.as_uri(), "1.2.3")
    where = f"# tiny-tuning==1.2.3 was installed from {project.as_uri()}"
    assert f"{where}, which others cannot reach" in lines


@needs_setuptools
@pytest.mark.parametrize("kind", ["path", "finder", "develop"])
def test_an_editable_install_is_followed_to_its_work_tree(
    tmp_path: Path, python: Path, repo: Path, kind: str
) -> None:
    if kind == "develop":
        (repo / "setup.py").write_text(
            "import setuptools\n"
            "setuptools.setup(name='tiny-tuning', version='1.2.3', packages=['tinytuning'])\n"
        )
        (repo / "pyproject.toml").unlink()
    if kind == "finder":
        (repo / "with-finder").touch()
    git(repo, "add", "--all")
    git(repo, "commit", "-q", "-m", kind, "--allow-empty")
    git(repo, "update-ref", "refs/remotes/origin/main", "HEAD")
    if kind == "develop":
        site = site_of(python)
        subprocess.run(
            [sys.executable, "-W", "ignore", "setup.py", "-q", "develop", "-d", str(site)],
            cwd=repo,
            env={**os.environ, "PYTHONPATH": str(site)},
            check=True,
            capture_output=True,
        )
    else:
        # Where setuptools is, whose finder the backend leaves.
        own = sysconfig.get_path("purelib")
        install(python, "--editable", str(repo), PYTHONPATH=own)
    (code,), lines = show(python, tmp_path, "tinytuning.core:analyse")
    commit = git(repo, "rev-parse", "HEAD")
    assert (code["url"], code["commit_hash"]) == (PUBLIC, commit)
    assert code["run_script"] == "tinytuning/core.py"
    assert lines_on(lines, "tiny-tuning") == [
        f"# tiny-tuning==1.2.3, editable: imported from {repo}",
        f"#   of {PUBLIC}, at {commit}",
        "#   without uncommitted changes",
        f"tiny-tuning @ git+{PUBLIC}@{commit}",
    ]


def test_an_editable_install_is_listed_as_it_was_and_not_as_others_could_have_it(
    tmp_path: Path, python: Path, repo: Path
) -> None:
    install(python, "--editable", str(repo))
    (repo / "tinytuning" / "core.py").write_text(f"{MODULE}\n# changed\n")
    git(repo, "commit", "-q", "-a", "-m", "not pushed")
    (repo / "tinytuning" / "core.py").write_text(f"{MODULE}\n# changed again\n")
    _, lines = show(python, tmp_path, "tinytuning.core:analyse")
    commit = git(repo, "rev-parse", "HEAD")
    told = lines_on(lines, "tiny-tuning")
    assert told[1] == f"#   of {PUBLIC}, at {commit}"
    assert "others cannot get it until it is pushed" in told[2]
    assert told[3].startswith("#   1 file has uncommitted changes")
    assert not any(line.startswith("tiny-tuning") for line in lines)


def test_what_pythonpath_put_in_front_counts_and_not_what_is_installed(
    tmp_path: Path, python: Path, repo: Path
) -> None:
    install(python, str(make_wheel(tmp_path / "wheels", "tiny-tuning", "0.9", PACKAGE)))
    (code,), lines = show(python, tmp_path, "tinytuning.core:analyse", path=repo)
    commit = git(repo, "rev-parse", "HEAD")
    assert (code["url"], code["commit_hash"]) == (PUBLIC, commit)
    assert lines_on(lines, "tinytuning")[:3] == [
        f"# tinytuning: imported from {repo}, on PYTHONPATH",
        f"#   of {PUBLIC}, at {commit}",
        "#   without uncommitted changes",
    ]
    assert not any("tiny-tuning==" in line for line in lines)


def test_a_package_from_an_index_gives_version_and_the_projects_url(
    tmp_path: Path, python: Path
) -> None:
    make_wheel(
        tmp_path / "index", "tiny-tuning", "1.2.3", PACKAGE,
        f"Project-URL: Source, https://{CANARY}@github.com/org/tiny-tuning.git\n",
    )  # fmt: skip
    install(python, "--find-links", str(tmp_path / "index"), "tiny-tuning")
    functions = ("analyse", "decorated", "squared", "added", "Unit", "unit", "made")
    codes, lines = show(python, tmp_path, *(f"tinytuning.core:{name}" for name in functions))
    for code in codes:
        assert (code["url"], code["version"]) == (PUBLIC, "1.2.3")
        assert code["run_script"] == "tinytuning/core.py"
    assert lines.count("tiny-tuning==1.2.3") == 1


def test_a_target_folder_on_pythonpath_wins_over_what_is_installed(
    tmp_path: Path, python: Path
) -> None:
    for version in ("0.9", "1.2.3"):
        make_wheel(tmp_path / version, "tiny-tuning", version, PACKAGE)
    install(python, "--find-links", str(tmp_path / "0.9"), "tiny-tuning")
    install(
        python, "--find-links", str(tmp_path / "1.2.3"), "--target", str(tmp_path / "target"),
        "tiny-tuning",
    )  # fmt: skip
    (code,), lines = show(python, tmp_path, "tinytuning.core:analyse", path=tmp_path / "target")
    assert (code["url"], code["version"]) == ("https://pypi.org/project/tiny-tuning/", "1.2.3")
    assert "tiny-tuning==1.2.3" in lines
    assert not any("0.9" in line for line in lines)


def test_a_wheel_that_is_imported_as_a_zip_is_known_by_its_own_metadata(
    tmp_path: Path, python: Path
) -> None:
    wheel = make_wheel(tmp_path, "tiny-tuning", "1.2.3", PACKAGE, "Home-page: https://tiny.org\n")
    (code,), lines = show(python, tmp_path, "tinytuning.core:analyse", path=wheel)
    assert (code["url"], code["version"]) == ("https://tiny.org", "1.2.3")
    assert code["run_script"] == "tinytuning/core.py"
    assert "tiny-tuning==1.2.3" in lines


@needs_setuptools
@pytest.mark.parametrize("is_zipped", [True, False])
def test_an_egg_is_known_by_its_metadata(tmp_path: Path, python: Path, is_zipped: bool) -> None:
    project = make_project(tmp_path / "project")
    (project / "setup.py").write_text(
        "import setuptools\nsetuptools.setup(name='tiny-tuning', version='1.2.3',"
        "packages=['tinytuning'], url='https://tiny.org')\n"
    )
    (project / "pyproject.toml").unlink()
    subprocess.run(
        [sys.executable, "-W", "ignore", "setup.py", "-q", "bdist_egg", "-d", str(tmp_path)],
        cwd=project,
        check=True,
        capture_output=True,
    )
    (egg,) = tmp_path.glob("*.egg")
    if not is_zipped:
        with zipfile.ZipFile(egg) as archive:
            archive.extractall(tmp_path / "egg")
        egg = (tmp_path / "egg").rename(site_of(python) / egg.name)
    (site_of(python) / "easy-install.pth").write_text(f"{egg}\n")
    (code,), lines = show(python, tmp_path, "tinytuning.core:analyse")
    assert (code["url"], code["version"]) == ("https://tiny.org", "1.2.3")
    assert code["run_script"] == "tinytuning/core.py"
    assert "tiny-tuning==1.2.3" in lines


def test_a_zip_without_metadata_is_a_folder_that_others_cannot_reach(
    tmp_path: Path, python: Path
) -> None:
    path = tmp_path / "app.pyz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in PACKAGE.items():
            archive.writestr(name, text)
    (code,), lines = show(python, tmp_path, "tinytuning.core:analyse", path=path)
    assert code["url"].startswith("file://")
    assert "version" not in code
    assert f"# tinytuning: imported from {path}, on PYTHONPATH" in lines


@pytest.mark.parametrize("token", ["", f"t/{CANARY}/", "t/tk-1234-abcd/"])
def test_a_package_of_conda_gives_where_conda_had_it_from(
    tmp_path: Path, python: Path, token: str
) -> None:
    # As conda leaves a package: a dist-info with its name, and a record beside the environment's.
    make_wheel(tmp_path / "index", "tiny-tuning", "1.2.3", PACKAGE)
    install(python, "--find-links", str(tmp_path / "index"), "tiny-tuning")
    (info,) = site_of(python).glob("tiny_tuning*.dist-info")
    (info / "INSTALLER").write_text("conda")
    record = python.parents[1] / "conda-meta" / "tiny-tuning-1.2.3-py_0.json"
    record.parent.mkdir()
    place = f"https://conda.anaconda.org/{token}conda-forge/noarch/tiny-tuning-1.2.3-py_0.conda"
    record.write_text(json.dumps({"name": "tiny-tuning", "version": "1.2.3", "url": place}))
    (code,), lines = show(python, tmp_path, "tinytuning.core:analyse")
    assert code["url"] == place.replace(token, "")
    assert code["version"] == "1.2.3"
    assert "tiny-tuning==1.2.3  # installed by conda" in lines


def test_packages_that_share_a_namespace_are_told_apart(tmp_path: Path, python: Path) -> None:
    for name in ("one", "two", "three"):
        files = {f"lab/{name}.py": MODULE}
        make_wheel(tmp_path / "index", f"lab-{name}", f"{len(name)}.0", files)
    install(python, "--find-links", str(tmp_path / "index"), "lab-one", "lab-two", "lab-three")
    (one, three), lines = show(python, tmp_path, "lab.one:analyse", "lab.three:analyse")
    assert (one["name"], one["version"], one["run_script"]) == ("lab-one", "3.0", "lab/one.py")
    assert (three["name"], three["version"]) == ("lab-three", "5.0")
    assert "lab-one==3.0" in lines
    assert "lab-three==5.0" in lines
    assert not any("lab-two" in line for line in lines)  # installed, and not imported


def test_a_package_inside_another_is_of_the_other(tmp_path: Path, python: Path) -> None:
    vendored = {
        "tinytuning/_vendor/__init__.py": "import sys\nsys.path.append(__path__[0])\n",
        "tinytuning/_vendor/inner/__init__.py": MODULE,
        "tinytuning/_vendor/inner-7.dist-info/METADATA": "Name: inner\nVersion: 7\n",
        "tinytuning/_vendor/inner-7.dist-info/RECORD": "inner/__init__.py,,\n",
    }
    make_wheel(tmp_path / "index", "tiny-tuning", "1.2.3", {**PACKAGE, **vendored})
    install(python, "--find-links", str(tmp_path / "index"), "tiny-tuning")
    (code, _, inner), lines = show(
        python, tmp_path, "tinytuning._vendor.inner:analyse", "tinytuning.core:analyse",
        "inner:analyse",
    )  # fmt: skip
    for each in (code, inner):
        assert (each["name"], each["version"]) == ("tiny-tuning", "1.2.3")
        assert each["run_script"] == "tinytuning/_vendor/inner/__init__.py"
    assert "tiny-tuning==1.2.3" in lines
    assert not any("inner" in line for line in lines)


EXTENSION = """
#include <Python.h>
static PyObject *sort(PyObject *self, PyObject *args) { Py_RETURN_NONE; }
static PyMethodDef methods[] = {{"sort", sort, METH_NOARGS, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "fast", NULL, -1, methods};
PyMODINIT_FUNC PyInit_fast(void) { return PyModule_Create(&module); }
"""


@pytest.fixture
def extension(tmp_path: Path) -> Path:
    """Build a module in C."""
    path = tmp_path / f"fast{sysconfig.get_config_var('EXT_SUFFIX')}"
    include = sysconfig.get_path("include")
    if shutil.which("cc") is None or not Path(include, "Python.h").exists():
        pytest.skip("needs a compiler of C, and Python's headers")
    command = ["cc", "-shared", "-fPIC", f"-I{include}", "-x", "c", "-", "-o", str(path)]
    subprocess.run(command, input=EXTENSION.encode(), check=True)
    return path


def test_a_function_in_c_is_of_the_package_that_holds_its_module(
    tmp_path: Path, python: Path, extension: Path
) -> None:
    files = {**PACKAGE, f"tinytuning/{extension.name}": extension.read_bytes()}
    make_wheel(tmp_path / "index", "tiny-tuning", "1.2.3", files)
    install(python, "--find-links", str(tmp_path / "index"), "tiny-tuning")
    (code,), lines = show(python, tmp_path, "tinytuning.fast:sort")
    assert (code["name"], code["version"]) == ("tiny-tuning", "1.2.3")
    assert code["run_script"] == f"tinytuning/{extension.name}"
    assert "tiny-tuning==1.2.3" in lines


def test_a_function_in_c_that_was_built_in_a_work_tree_is_of_its_repository(
    tmp_path: Path, python: Path, repo: Path, extension: Path
) -> None:
    extension.rename(repo / "tinytuning" / extension.name)
    install(python, "--editable", str(repo))
    (code,), _ = show(python, tmp_path, "tinytuning.fast:sort")
    assert (code["url"], code["commit_hash"]) == (PUBLIC, git(repo, "rev-parse", "HEAD"))
    assert any(f"{extension.name} itself is not in the commit" in note for note in code["notes"])


def test_a_command_that_a_package_installs_is_of_the_package(tmp_path: Path, python: Path) -> None:
    files = {**PACKAGE, "tinytuning/__main__.py": "import tinytuning.core\n"}
    info = "tiny_tuning-1.2.3.dist-info/entry_points.txt"
    files[info] = "[console_scripts]\ntiny = tinytuning.core:analyse\n"
    make_wheel(tmp_path / "index", "tiny-tuning", "1.2.3", files)
    install(python, "--find-links", str(tmp_path / "index"), "tiny-tuning")
    result = subprocess.run(
        [str(python), "-c", FILE.format(source=str(SOURCE)), str(python.parent / "tiny")],
        text=True,
        capture_output=True,
        check=True,
    )
    code = json.loads(result.stdout)
    assert (code["name"], code["version"]) == ("tiny-tuning", "1.2.3")
    assert code["run_script"] == "bin/tiny"


FILE = """
import json, sys
sys.path.append({source!r})
from asset_provenance.capture.code import CodeIdentifier
from asset_provenance.records import to_json
print(json.dumps(to_json(CodeIdentifier().of_file(sys.argv[1]))))
"""
