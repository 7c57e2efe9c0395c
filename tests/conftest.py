"""Every test has a home, a working folder and an environment of its own."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from asset_provenance.testing import LoopbackServices

PROJECT = Path(__file__).resolve().parents[1]
SAMPLES = PROJECT.parent / "shared" / "samples"

if "PYTEST_XDIST_WORKER" in os.environ:
    # This worker is measured already; what its tests start runs as it does for a user.
    os.environ.pop("COVERAGE_PROCESS_START", None)

# How long an example takes tells of the machine, which does other things at the same time.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Give two workers for each processor: many tests wait for a program or a clock."""
    return min(8, 2 * (os.cpu_count() or 1))


_OF_THE_PLACE = (
    "ASSET_PROVENANCE_", "GIT_", "CO_", "CODEOCEAN_", "COMMIT_ID", "PIPELINE_", "AWS_BATCH_",
    "APPTAINER_", "SINGULARITY_", "KUBERNETES_",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each worker begin with a long test: nobody can take one over that has begun late."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.get_closest_marker("long")]
    others = [item for item in items if not item.get_closest_marker("long")]
    # Each worker is given its share of the items in a row.
    share = -(-len(others) // workers)
    items[:] = [
        item
        for number in range(workers)
        for item in (*long[number::workers], *others[number * share : (number + 1) * share])
    ]


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in list(os.environ):
        if variable.startswith(_OF_THE_PLACE):
            monkeypatch.delenv(variable)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("ASSET_PROVENANCE_OFFLINE", "true")
    # The tests' own code may have uncommitted changes while it is being written.
    monkeypatch.setenv("ASSET_PROVENANCE_SAVE_PATCH", "false")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)


@pytest.fixture
def data_root() -> Path:
    """The folder where this test's assets find their inputs."""
    folder = Path.cwd() / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def samples() -> Path:
    """Real metadata files, where they are present."""
    if not SAMPLES.is_dir():
        pytest.skip(f"no real samples at {SAMPLES}")
    return SAMPLES


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackServices]:
    """The metadata database and Code Ocean on loopback, where all clients of this test go."""
    from asset_provenance.testing import LoopbackServices

    with LoopbackServices() as running:
        for name, value in running.environ.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a skip fail in CI, which installs and holds all that a test could want."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder that is searched first for programs."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder
