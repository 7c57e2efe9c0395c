"""Run the tests on every Python found, 3.11 to 3.13, with the lowest and the newest dependencies.

What is tested is the wheel, installed with all extras in an environment of its own below
``.matrix/``; only the test tools are always the newest that fit. Called by ``make matrix``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
FOLDER = PROJECT / ".matrix"
UV = Path(sys.executable).with_name("uv")
PYTHONS = ("3.11", "3.12", "3.13")
RESOLUTIONS = {"lowest": "lowest-direct", "newest": "highest"}
DEPENDENCIES = (
    "aind-data-schema",
    "aind-data-schema-models",
    "aind-data-access-api",
    "aind-metadata-upgrader",
    "pydantic",
    "wrapt",
    "psutil",
)


def run(*command: object) -> subprocess.CompletedProcess[str]:
    """Run a command in the project, apart from any environment that is active."""
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    return subprocess.run(
        [str(part) for part in command],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def candidates(version: str) -> Iterator[Path]:
    """Give the programs that may be a Python of this version."""
    for folder in os.get_exec_path():
        yield Path(folder, f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}*/bin/python{version}"))


def find_python(version: str) -> Path | None:
    """Give the first of them that can make environments; the shims of pyenv need not start."""
    for path in candidates(version):
        if path.exists() and run(path, "-c", "import ensurepip, venv").returncode == 0:
            return path
    return None


def install(python: Path, folder: Path, resolution: str, wheel: Path) -> str | None:
    """Make the environment; give what went wrong, or None."""
    shutil.rmtree(folder, ignore_errors=True)
    requirements = folder / "requirements.txt"
    new = folder / "bin/python"
    options = ("--quiet", "--python", new)
    compiled = ("--resolution", resolution, "--extra", "all", "pyproject.toml", "-o", requirements)
    for command in (
        (UV, "venv", "--quiet", "--python", python, folder),
        (UV, "pip", "compile", *options, *compiled),
        (UV, "pip", "install", *options, "--group", "dev", "-r", requirements),
        (UV, "pip", "install", *options, "--no-deps", wheel),
    ):
        done = run(*command)
        if done.returncode:
            return done.stdout
    return None


def versions(folder: Path) -> str:
    """Say which versions of our own dependencies an environment has."""
    listed = run(UV, "pip", "freeze", "--quiet", "--python", folder / "bin/python").stdout
    pairs = dict(line.split("==") for line in listed.splitlines() if "==" in line)
    return ", ".join(f"{name} {pairs[name]}" for name in DEPENDENCIES if name in pairs)


def test(version: str, label: str, wheel: Path) -> tuple[bool, str]:
    """Run the tests in one environment; give whether they passed, and what they said last."""
    python = find_python(version)
    if python is None:
        return True, "not found, not tested"
    folder = FOLDER / f"{version}-{label}"
    began = time.monotonic()
    fault = install(python, folder, RESOLUTIONS[label], wheel)
    if fault is not None:
        print(fault)
        return False, "cannot be installed"
    print(versions(folder), flush=True)
    options = ("-q", "-n", "auto", "--dist", "worksteal", "--maxfail", "20")
    done = run(folder / "bin/python", "-m", "pytest", *options, "-p", "no:cacheprovider")
    if done.returncode:
        print(done.stdout)
    last = done.stdout.strip().splitlines()[-1].strip("= ")
    return done.returncode == 0, f"{last}; {time.monotonic() - began:.0f} s with its installation"


def main() -> int:
    """Build the wheel, test it everywhere, and print a table; 1 if it failed anywhere."""
    FOLDER.mkdir(exist_ok=True)
    shutil.rmtree(FOLDER / "dist", ignore_errors=True)
    built = run(UV, "build", "--quiet", "--wheel", "--out-dir", FOLDER / "dist")
    if built.returncode:
        print(built.stdout)
        return 1
    wheel = next((FOLDER / "dist").glob("*.whl"))
    results = {}
    for version in PYTHONS:
        for label in RESOLUTIONS:
            print(f"\nPython {version}, {label} dependencies", flush=True)
            results[version, label] = test(version, label, wheel)
            print(results[version, label][1], flush=True)
    print("\n| Python | dependencies | passed | result |\n|---|---|---|---|")
    for (version, label), (passed, said) in results.items():
        print(f"| {version} | {label} | {'yes' if passed else 'NO'} | {said} |")
    return 0 if all(passed for passed, _ in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
