"""The list of what a run imported, and the dependency that a user names."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from asset_provenance import DerivedAsset, PreflightError, track_process
from asset_provenance.capture.packages import ImportedPackages
from asset_provenance.deadruns import find_runs
from asset_provenance.recovery import recover
from helpers.assets import FACTS, PEOPLE, processes, read_json
from helpers.installations import make_wheel

RESULTS = Path("results")
CANARY = "ghp_CanaryCanaryCanaryCanaryCanary000000"

HEAD = """
import os, signal, subprocess, sys, time
import first_tools
from asset_provenance import DerivedAsset, track_process
FACTS = dict(inputs=(), base_name="b", project_name="p", investigators="A B", funding_source="AI",
             modalities="ecephys", experimenters="A B")

@track_process
def work(module="second_tools"):
    __import__(module)
"""


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install small packages of which each run imports some."""
    for name in ("first", "second", "third", "unused"):
        wheel = make_wheel(Path("wheels"), f"{name}-tools", "1.0", {f"{name}_tools.py": ""})
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall("installed")
    monkeypatch.setenv("PYTHONPATH", str(Path("installed").absolute()))


def run(body: str, status: int = 0) -> str:
    """Run a script; give what it prints to the log."""
    Path("script.py").write_text(f"{HEAD}\nif __name__ == '__main__':\n" + textwrap.indent(
        textwrap.dedent(body), "    "
    ))  # fmt: skip
    result = subprocess.run(
        [sys.executable, "script.py"], text=True, capture_output=True, check=False
    )
    assert result.returncode == status, result.stderr
    return result.stderr


def listed(folder: Path = RESULTS) -> list[str]:
    (path,) = folder.glob("provenance/packages-*.txt")
    return path.read_text("ascii").splitlines()


def ours(lines: list[str]) -> list[str]:
    return [line for line in lines if "-tools" in line]


def test_what_was_imported_is_listed_and_not_all_that_is_installed() -> None:
    run('with DerivedAsset("t", **FACTS): work()')
    lines = listed()
    assert ours(lines) == ["first-tools==1.0", "second-tools==1.0"]
    assert lines[1].startswith(f"# CPython {sys.version.split()[0]} on ")
    assert not any(line.startswith("pytest") for line in lines)
    for line in lines:
        if not line.startswith("#"):
            Requirement(line.partition("  #")[0])
    assert any("script.py: imported from" in line for line in lines)
    (path,) = RESULTS.glob("provenance/packages-*.txt")
    manifest = read_json(RESULTS / "provenance" / "asset-provenance.json")
    assert f"provenance/{path.name}" in manifest["files"]


def test_a_new_run_replaces_the_list_of_the_last_one() -> None:
    run('with DerivedAsset("t", **FACTS): work()')
    (before,) = RESULTS.glob("provenance/packages-*.txt")
    run('with DerivedAsset("t", **FACTS): work("third_tools")')
    assert ours(listed()) == ["first-tools==1.0", "third-tools==1.0"]
    assert not before.exists()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_what_workers_import_counts(method: str) -> None:
    run(
        f"""
        import multiprocessing
        context = multiprocessing.get_context({method!r})
        with DerivedAsset("t", **FACTS):
            with context.Pool(1) as pool:
                pool.map(work, ["second_tools", "third_tools"], chunksize=1)
        """
    )
    assert ours(listed()) == ["first-tools==1.0", "second-tools==1.0", "third-tools==1.0"]


def test_what_a_script_that_joins_imports_counts() -> None:
    Path("child.py").write_text("import third_tools\nfrom asset_provenance import track_process\n")
    run(
        """
        with DerivedAsset("t", **FACTS):
            subprocess.run([sys.executable, "child.py"], check=True)
        """
    )
    assert ours(listed()) == ["first-tools==1.0", "third-tools==1.0"]


def test_another_version_in_another_process_is_told_where_pip_takes_one_only() -> None:
    wheel = make_wheel(Path("wheels"), "first-tools", "2.0", {"first_tools.py": ""})
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall("newer")
    Path("child.py").write_text("import first_tools\nfrom asset_provenance import track_process\n")
    run(
        """
        with DerivedAsset("t", **FACTS):
            newer = {**os.environ, "PYTHONPATH": os.path.abspath("newer")}
            subprocess.run([sys.executable, "child.py"], check=True, env=newer)
        """
    )
    assert ours(listed()) == ["first-tools==1.0", "# first-tools==2.0 was imported, too"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_of_a_killed_run_the_list_is_there_as_far_as_it_is_known() -> None:
    run(
        """
        with DerivedAsset("t", **FACTS) as asset:
            work()
            until = time.monotonic() + 60
            while not list(asset.output_dir.glob(".asset-provenance/*/*.imported")):
                assert time.monotonic() < until
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)
        """,
        -signal.SIGKILL,
    )
    (dead,) = find_runs(RESULTS)
    assert recover(dead, accept_failed=True).is_written
    assert ours(listed()) == ["first-tools==1.0", "second-tools==1.0"]


def test_of_a_run_that_raises_the_list_is_kept_for_recover() -> None:
    run('with DerivedAsset("t", **FACTS):\n    work()\n    raise ValueError', 1)
    (dead,) = find_runs(RESULTS)
    assert recover(dead, accept_failed=True).is_written
    assert ours(listed()) == ["first-tools==1.0", "second-tools==1.0"]


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"is_first": 1, "python": 1, "packages": [{"name": null}], "folders": []}',
     '{"is_first": true, "python": [], "packages": [{"name": 1, "version": 1, "line": 5}], '
     '"folders": []}'],
)  # fmt: skip
def test_what_cannot_be_read_of_a_dead_run_costs_its_list_only(content: str) -> None:
    run('with DerivedAsset("t", **FACTS): raise ValueError', 1)
    (kept,) = RESULTS.glob(".asset-provenance/*/*.imported")
    kept.write_text(content)
    (dead,) = find_runs(RESULTS)
    assert recover(dead, accept_failed=True).is_written
    assert not list(RESULTS.glob("provenance/packages-*.txt"))


def test_each_stage_leaves_a_list_of_its_own_and_the_last_one_takes_them_in(
    data_root: Path,
) -> None:
    for number in range(2):
        run(
            f"""
            with DerivedAsset("t", output_dir="stage-{number}", fragment=True, inputs=(),
                              experimenters="A B"):
                work({["second_tools", "third_tools"][number]!r})
            """
        )
    names = [{path.name for path in Path(f"stage-{number}").iterdir()} for number in range(2)]
    assert all(len(each) == 2 for each in names)
    assert not names[0] & names[1]  # equal names would end a pipeline's step that collects
    stages = data_root / "stages"
    stages.mkdir()
    for number in range(2):
        for path in Path(f"stage-{number}").iterdir():
            path.rename(stages / path.name)
    with DerivedAsset("last", inputs="stages", base_name="b", strict=True, **FACTS, **PEOPLE):
        pass
    lists = [path.read_text().splitlines() for path in RESULTS.glob("provenance/packages-*.txt")]
    assert len(lists) == 3
    assert ["first-tools==1.0", "second-tools==1.0"] in map(ours, lists)
    assert ["first-tools==1.0", "third-tools==1.0"] in map(ours, lists)


def test_no_secret_of_a_package_s_source_is_listed() -> None:
    (info,) = Path("installed").glob("second_tools*.dist-info")
    direct = {"url": f"https://user:{CANARY}@host.org/x.whl?token={CANARY}", "archive_info": {}}
    (info / "direct_url.json").write_text(json.dumps(direct))
    run('with DerivedAsset("t", **FACTS): work()')
    lines = listed()
    assert CANARY not in "".join(path.read_text() for path in RESULTS.rglob("*") if path.is_file())
    told = "# second-tools==1.0 was installed from https://host.org/x.whl"
    assert f"{told}, with a query that is not kept" in lines


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ("Name: first-tools\nVersion: not a version\n", "has no version that pip knows"),
        ("Version: 1\n", "has no name that pip knows"),
        ("", "has no name that pip knows"),
    ],
)
def test_a_package_with_broken_metadata_is_told_and_costs_nothing_else(
    metadata: str, told: str
) -> None:
    (info,) = Path("installed").glob("first_tools*.dist-info")
    (info / "METADATA").write_text(metadata)
    run('with DerivedAsset("t", strict=True, **FACTS): work()')
    assert any(line.startswith("#") and line.endswith(told) for line in listed())
    assert "second-tools==1.0" in listed()


def test_a_package_that_cannot_be_judged_costs_its_own_line_only() -> None:
    (info,) = Path("installed").glob("first_tools*.dist-info")
    (info / "METADATA").write_bytes(b"Name: first-tools\xff\nVersion: 1.0\n")
    run('with DerivedAsset("t", strict=True, **FACTS): work()')
    assert ours(listed()) == ["second-tools==1.0"]


def test_whatever_stands_among_the_modules_is_not_touched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Raises:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

    class Odd:
        __slots__ = ()

    for name, module in {"odd_raises": Raises(), "odd": Odd(), "odd_none": None}.items():
        monkeypatch.setitem(sys.modules, name, module)  # type: ignore[arg-type]
    lazy = """
        import importlib.util
        spec = importlib.util.find_spec("third_tools")
        spec.loader = importlib.util.LazyLoader(spec.loader)
        module = importlib.util.module_from_spec(spec)
        sys.modules["third_tools"] = module
        spec.loader.exec_module(module)
        with DerivedAsset("t", **FACTS): work()
        assert type(module).__name__ == "_LazyModule"
    """
    imported = ImportedPackages().look()
    assert "pytest" in [package.name for package in imported.packages]
    run(lazy)
    assert ours(listed()) == ["first-tools==1.0", "second-tools==1.0"]
    run(lazy.replace(": work()", ": work(); dir(module)").replace(" assert", " #"))
    assert ours(listed()) == ["first-tools==1.0", "second-tools==1.0", "third-tools==1.0"]


def test_only_what_is_new_is_looked_at_again() -> None:
    packages = ImportedPackages()
    assert packages.look() is packages.look()


def test_a_look_that_somebody_waits_for_is_left_for_later() -> None:
    packages = ImportedPackages()
    assert packages.look(lambda: True).packages == ()
    assert "pytest" in [package.name for package in packages.look().packages]


def test_what_is_installed_while_the_run_goes_on_is_known() -> None:
    make_wheel(Path("wheels"), "late-tools", "1.0", {"late_tools.py": ""})
    run(
        """
        import zipfile
        with DerivedAsset("t", **FACTS) as asset:
            work()
            until = time.monotonic() + 60
            while not list(asset.output_dir.glob(".asset-provenance/*/*.imported")):
                assert time.monotonic() < until
                time.sleep(0.05)
            with zipfile.ZipFile("wheels/late_tools-1.0-py3-none-any.whl") as archive:
                archive.extractall("installed")
            work("late_tools")
        """
    )
    assert "late-tools==1.0" in listed()


def test_a_second_asset_of_a_program_has_its_own_list_of_all_that_was_imported() -> None:
    run(
        """
        with DerivedAsset("t", output_dir="one", **FACTS): work()
        with DerivedAsset("t", output_dir="two", **FACTS): work("third_tools")
        """
    )
    before = ["first-tools==1.0", "second-tools==1.0"]
    assert ours(listed(Path("one"))) == before
    assert ours(listed(Path("two"))) == [*before, "third-tools==1.0"]


# The dependency that a user names


@track_process
def fit() -> None: ...


def dependencies() -> list[Any]:
    return [each["code"].get("core_dependency") for each in processes(RESULTS).values()]


def test_the_core_dependency_is_recorded_with_its_version_for_each_process() -> None:
    import numpy

    with DerivedAsset(
        "t", inputs=(), base_name="b", core_dependency="NumPy", strict=True, **FACTS, **PEOPLE
    ):
        fit()
        own = {"name": "Bonsai", "version": "2.8"}
        with track_process("b", code={"url": "https://x.org/y", "core_dependency": own}):
            pass
    first, second = dependencies()
    assert (first["name"], first["version"]) == ("numpy", numpy.__version__)
    assert (second["name"], second["version"]) == ("Bonsai", "2.8")


def test_the_core_dependency_can_be_given_for_all_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("asset-provenance.toml").write_text('core_dependency = "wrapt"\n')
    for name in ("wrapt", "psutil"):
        with DerivedAsset("t", inputs=(), base_name="b", strict=True, **FACTS, **PEOPLE):
            fit()
        assert [each["name"] for each in dependencies()] == [name]
        monkeypatch.setenv("ASSET_PROVENANCE_CORE_DEPENDENCY", "psutil")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nunpy", "no package named 'nunpy' is installed; did you mean 'numpy'?"),
        ("cv2", "no package named 'cv2' is installed; did you mean 'opencv-python-headless'?"),
        ("qqqqqqqqqq", "no package named 'qqqqqqqqqq' is installed"),
        (" ", "must be the name of an installed package"),
        (5, "must be the name of an installed package"),
    ],
)
def test_a_core_dependency_that_is_not_installed_is_told_before_the_run(
    name: Any, words: str
) -> None:
    with pytest.raises(PreflightError) as caught:
        with DerivedAsset("t", inputs=(), base_name="b", core_dependency=name, **FACTS, **PEOPLE):
            pytest.fail("the run was started")
    (problem,) = caught.value.problems
    assert problem.startswith("core_dependency (from the call)")
    assert words in problem


def test_the_core_dependency_is_the_run_s_and_not_that_of_who_recovers_it() -> None:
    script = 'with DerivedAsset("t", core_dependency="first-tools", **FACTS):\n    raise ValueError'
    run(script, 1)
    (dead,) = find_runs(RESULTS)  # here it is not installed at all
    assert recover(dead, accept_failed=True).is_written
    (found,) = dependencies()
    assert (found["name"], found["version"]) == ("first-tools", "1.0")
    assert os.listdir(RESULTS / "provenance")
