"""Small packages that tests really build and install, offline, in environments of their own."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

from helpers.repositories import _VARIABLES

__all__ = ["install", "make_environment", "make_project", "make_wheel", "site_of"]

MODULE = """
import functools
def analyse(x=1): return x
def decorate(function):
    @functools.wraps(function)
    def wrapper(*args): return function(*args)
    return wrapper
@decorate
def decorated(x=1): return x
squared = lambda x: x * x
added = functools.partial(analyse, 1)
class Unit:
    def method(self): return 1
    def __call__(self): return 1
unit = Unit()
space = {"__name__": __name__}
exec("def made(): pass", space)
made = space["made"]
"""

# What builds a project needs nothing that would have to be installed.
BACKEND = """
import os, zipfile
NAME, INFO = "tiny_tuning-1.2.3-py3-none-any.whl", "tiny_tuning-1.2.3.dist-info/"
METADATA = "Metadata-Version: 2.1\\nName: tiny-tuning\\nVersion: 1.2.3\\n"
WHEEL = "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
def build(folder, files):
    files = {**files, INFO + "METADATA": METADATA, INFO + "WHEEL": WHEEL}
    record = "".join(f"{name},,\\n" for name in [*files, INFO + "RECORD"])
    with zipfile.ZipFile(os.path.join(folder, NAME), "w") as archive:
        for name, text in {**files, INFO + "RECORD": record}.items():
            archive.writestr(name, text)
    return NAME
def build_wheel(folder, config_settings=None, metadata_directory=None):
    names = ["tinytuning/" + name for name in os.listdir("tinytuning") if name.endswith(".py")]
    return build(folder, {name: open(name).read() for name in names})
def build_editable(folder, config_settings=None, metadata_directory=None):
    here = os.getcwd()
    if not os.path.exists("with-finder"):
        return build(folder, {"__editable__.tiny_tuning-1.2.3.pth": here + "\\n"})
    from setuptools.command.editable_wheel import _finder_template
    name = "__editable___tiny_tuning_1_2_3_finder"
    text = _finder_template(name, {"tinytuning": os.path.join(here, "tinytuning")}, {})
    start = f"import {name}; {name}.install()"
    return build(folder, {"__editable__.tiny_tuning-1.2.3.pth": start, name + ".py": text})
"""


def make_project(folder: Path) -> Path:
    """Make the source of the distribution ``tiny-tuning`` with the module ``tinytuning.core``."""
    (folder / "tinytuning").mkdir(parents=True)
    (folder / "tinytuning" / "__init__.py").write_text("")
    (folder / "tinytuning" / "core.py").write_text(MODULE)
    (folder / "backend.py").write_text(BACKEND)
    (folder / ".gitignore").write_text("__pycache__/\n*.egg-info/\nbuild/\n")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    return folder


def make_wheel(
    folder: Path, name: str, version: str, files: Mapping[str, str | bytes], metadata: str = ""
) -> Path:
    """Make a wheel of these files by hand."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = io.StringIO()
    csv.writer(record).writerows([each, "", ""] for each in (*files, f"{info}/RECORD"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in {**files, f"{info}/RECORD": record.getvalue()}.items():
            archive.writestr(each, text)
    return path


def make_environment(folder: Path) -> Path:
    """Make an empty virtual environment, and give its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / "bin" / "python"


def site_of(python: Path) -> Path:
    """Give where the packages of an environment are."""
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    return site


def install(python: Path, *arguments: str, **variables: str) -> None:
    """Have pip install into an environment, without a network."""
    subprocess.run(
        [
            sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check",
            "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation",
            "--no-compile", *arguments,
        ],
        check=True,
        env={**os.environ, **_VARIABLES, **variables},
    )  # fmt: skip
