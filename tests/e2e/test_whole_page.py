"""The way of scientist-derived data from start to end, and the template capsule that goes it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asset_provenance import DerivedAsset, ExternalAsset, track_process
from asset_provenance.cli import main
from asset_provenance.testing import LoopbackServices
from helpers.assets import RAW, description, graph, make_asset, process, processes, read_json

TEMPLATE = Path(__file__).parents[2] / "examples" / "template_capsule"
COMPUTATION = "7f1eaf10-01bc-41cb-bc88-6464d0425b51"
OTHER = "ecephys_900102_2026-03-02_18-30-05"


def record(name: str, subject_id: str) -> dict[str, Any]:
    """Give a record as the database holds it."""
    return {
        "_id": f"id-of-{name}",
        "name": name,
        "schema_version": "2.2.2",
        "location": f"s3://aind-open-data/{name}",
        "data_description": description(name, subject_id=subject_id),
        "processing": {
            "schema_version": "2.3.3",
            "data_processes": [process("sort")],
            "dependency_graph": {"sort": []},
        },
        "_created": "2026-03-03T00:00:00Z",
        "_last_modified": "2026-03-03T00:00:00Z",
    }


@pytest.fixture(autouse=True)
def _reachable_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_CODE_URL", "https://github.com/your-lab/your-analysis")
    monkeypatch.setenv("ASSET_PROVENANCE_CODE_VERSION", "1.0.0")


def publish(folder: Path, services: LoopbackServices, *options: str) -> Any:
    """Publish a folder as the results of a computation, and give what the command prints."""
    services.codeocean.polls_until_ready = 0
    services.codeocean.add_computation(COMPUTATION, folder=folder)
    words = ["publish", str(folder), "--computation", COMPUTATION, *options]
    assert main([*words, "--results-bucket", "results-bucket", "--yes"]) == 0
    return None


def test_from_a_record_in_the_database_to_the_request_for_transfer(
    services: LoopbackServices, data_root: Path
) -> None:
    services.docdb.add_records([record(RAW, "900101")])
    results = Path("results")

    @track_process(process_type="Ephys postprocessing", inputs=RAW, outputs="rates.csv")
    def rates(bins: int) -> None:
        (results / "rates.csv").write_text("1\n" * bins)

    @track_process(inputs="rates.csv", outputs="tuning.csv")
    def tuning() -> None:
        (results / "tuning.csv").write_text("2\n")

    with DerivedAsset("unit-tuning", inputs=RAW, experimenters=["Ada Lovelace"]) as asset:
        rates(bins=3)
        tuning()

    assert asset.name is not None
    assert graph(results) == {"sort": [], "rates": ["sort"], "tuning": ["rates"]}
    assert read_json(results / "data_description.json")["source_data"] == [RAW]
    assert main(["check", "results"]) == 0

    publish(results, services, "--request", "request.md")
    (created,) = services.codeocean.assets
    assert created["name"] == created["mount"] == asset.name
    assert asset.name in [one["name"] for one in services.docdb.records]
    request = Path("request.md").read_text()
    for fact in (asset.name, created["id"], "900101", "Synthetic project", "CC-BY-4.0", RAW):
        assert fact in request


def test_data_from_outside(services: LoopbackServices) -> None:
    results = Path("results")
    with ExternalAsset(
        "ExampleLab-atlas-v1",
        source="https://example.org/atlas/v1",
        creation_time="2024-04-21",
        accessed="2025-03-01",
        institution="UPENN",
        investigators=["Ada Lovelace"],
        modalities=["MRI", "SPIM"],
        funding_source=["NIMH:RF1MH000000", "NINDS:R01NS000000"],
        license="CC-BY-4.0",
    ):
        (results / "atlas.csv").write_text("1,2,3\n")
    described = read_json(results / "data_description.json")
    assert described["name"] == "ExampleLab-atlas-v1_2024-04-21_00-00-00"
    assert described["project_name"] == "external data"
    assert "https://example.org/atlas/v1" in described["data_summary"]
    assert "2025-03-01" in described["data_summary"]
    assert main(["check", "results"]) == 0
    publish(results, services)
    (created,) = services.codeocean.assets
    assert created["name"] == described["name"]


# The template capsule


@pytest.fixture
def capsule(tmp_path: Path) -> Path:
    """A copy of the template, laid out as in Code Ocean."""
    folder = tmp_path / "capsule"
    shutil.copytree(TEMPLATE, folder)
    for name in ("data", "results", "scratch"):
        (folder / name).mkdir()
    fill_in(folder / "code" / "asset-provenance.toml", {"# experimenters": "experimenters"})
    return folder


def fill_in(file: Path, changes: dict[str, str]) -> None:
    """Fill a file of the template in, as somebody does who copies it."""
    text = file.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)


def start_capsule(capsule: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the capsule as a Reproducible Run does."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(capsule / "code" / "run"), *arguments],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def run_capsule(capsule: Path, *arguments: str) -> Path:
    """Run the capsule, and give its results."""
    done = start_capsule(capsule, *arguments)
    assert done.returncode == 0, done.stderr
    return capsule / "results"


def test_the_template_makes_an_asset_of_a_single_input(
    capsule: Path, services: LoopbackServices
) -> None:
    services.docdb.add_records([record(RAW, "900101")])
    make_asset(capsule / "data", carried=())
    results = run_capsule(capsule, "--least-files", "1")
    described = read_json(results / "data_description.json")
    assert described["name"].startswith(f"{RAW}_file-types_")
    assert graph(results) == {"sort": [], "list_files": ["sort"], "count_types": ["list_files"]}
    assert processes(results)["count_types"]["code"]["parameters"] == {"least_files": 1}
    assert main(["check", str(results)]) == 0


def test_the_template_makes_an_asset_of_several_inputs(capsule: Path) -> None:
    make_asset(capsule / "data", carried=())
    make_asset(capsule / "data", OTHER, subject_id="900102", carried=())
    results = run_capsule(capsule, "--case", "aggregate", "--base-name", "two-mice")
    described = read_json(results / "data_description.json")
    assert described["name"].startswith("two-mice_file-types_")
    assert described["subject_id"] is None
    assert described["source_data"] == [RAW, OTHER]
    assert main(["check", str(results)]) == 0


def test_the_template_describes_data_from_outside(capsule: Path) -> None:
    downloaded = capsule / "data" / "download"
    downloaded.mkdir()
    (downloaded / "atlas.csv").write_text("1,2\n")
    fill_in(
        capsule / "code" / "run_capsule.py",
        {
            '"",  # a short name': '"KimLab-DevCCF-v1",  # a short name',
            'source=""': 'source="https://example.org/atlas.zip"',
            'creation_time=""': 'creation_time="2024-04-21"',
            'institution=""': 'institution="UPENN"',
            "investigators=[]": 'investigators=["Yongsoo Kim"]',
            "modalities=[]": 'modalities=["MRI", "SPIM"]',
            "funding_source=[]": 'funding_source=["NIMH:RF1MH12460501"]',
            'license=""': 'license="CC-BY-4.0"',
        },
    )
    results = run_capsule(capsule, "--case", "outside")
    assert (results / "atlas.csv").read_text() == "1,2\n"
    assert not (results / "processing.json").exists()
    assert main(["check", str(results)]) == 0


def test_the_template_asks_for_what_it_cannot_know(capsule: Path) -> None:
    done = start_capsule(capsule)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no data are attached" in done.stderr
    make_asset(capsule / "data", carried=())
    fill_in(capsule / "code" / "asset-provenance.toml", {"experimenters": "# experimenters"})
    assert "experimenters is missing" in start_capsule(capsule).stderr
    make_asset(capsule / "data", OTHER, carried=())
    assert f"not for {RAW}, {OTHER}: see --case aggregate" in start_capsule(capsule).stderr
    shutil.rmtree(capsule / "data" / OTHER)
    told = start_capsule(capsule, "--case", "outside").stderr
    assert all(f"{fact} is missing" in told for fact in ("source", "license", "investigators"))
    assert list((capsule / "results").iterdir()) == []


def test_the_template_publishes_its_results(capsule: Path, services: LoopbackServices) -> None:
    make_asset(capsule / "data", carried=())
    results = run_capsule(capsule)
    services.codeocean.polls_until_ready = 0
    services.codeocean.add_computation(COMPUTATION, folder=results)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", str(capsule / "code" / "publish"), "--yes", "--json"]
    options = ["--results-bucket", "results-bucket", "--computation", COMPUTATION]
    done = subprocess.run(
        [*command, *options],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    published = json.loads(done.stdout)["published"]
    assert [published["id"]] == [one["id"] for one in services.codeocean.assets]
