"""Runs on real metadata files, where they are present."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from asset_provenance import DerivedAsset, PreflightError, track_process
from asset_provenance.metadata import checks
from asset_provenance.metadata.quiet import quiet
from helpers.assets import CARRIED, PEOPLE, read_json, write_json

RESULTS = Path("results")
REAL = [
    "zombie-squirrel/raw",
    "zombie-squirrel/derived",
    "zombie-squirrel/record",
    "aind-metadata-upgrader/rec_e87873c2",
    "aind-metadata-upgrader/rec_ffd79a36",
    "aind-metadata-upgrader/rec_4b0a4a00",
]


@track_process
def analyse(folder: Path) -> None: ...


def mount(sample: Path, data_root: Path) -> Path:
    """Put a copy of a real asset's files where an asset would be mounted."""
    folder = data_root / "mount"
    folder.mkdir()
    for path in sample.glob("*.json"):
        shutil.copyfile(path, folder / path.name)
    return folder


def load_metadata(folder: Path) -> Any:
    """Put the files of an asset together as the schema's own ``Metadata``."""
    from aind_data_schema.core.metadata import CORE_FILES, Metadata

    parts = {
        name: read_json(folder / f"{name}.json")
        for name in CORE_FILES
        if (folder / f"{name}.json").exists()
    }
    with quiet():
        return Metadata.model_validate(
            {"name": parts["data_description"]["name"], "location": "s3://bucket/asset", **parts}
        )


def check_what_was_made(folder: Path) -> None:
    from aind_data_schema.core.data_description import DataDescription
    from aind_data_schema.core.processing import Processing

    with quiet():
        described = DataDescription.model_validate(read_json(folder / "data_description.json"))
        processing = Processing.model_validate(read_json(folder / "processing.json"))
    assert checks.check_description(described) == []
    # Only the new process is ours to answer for.
    inherited = [name for name in processing.process_names if name != "analyse"]
    assert checks.check_processing(processing, inherited=inherited) == []


@pytest.mark.parametrize("sample", REAL)
def test_a_run_on_a_real_asset_writes_valid_metadata_and_carries_its_files(
    samples: Path, data_root: Path, sample: str
) -> None:
    folder = mount(samples / sample, data_root)
    source = read_json(folder / "data_description.json")
    with DerivedAsset("reanalysis", inputs=folder, strict=True, **PEOPLE) as asset:
        analyse(folder)
    check_what_was_made(RESULTS)
    for core_file in CARRIED:
        theirs, ours = folder / f"{core_file}.json", RESULTS / f"{core_file}.json"
        assert theirs.exists() == ours.exists()
        if theirs.exists():
            assert ours.read_bytes() == theirs.read_bytes()
    described = read_json(RESULTS / "data_description.json")
    assert described["source_data"] == [source["name"]]
    assert described["project_name"] == source["project_name"]
    assert described["subject_id"] == source["subject_id"]
    root = source["name"].split("_processed_")[0]
    assert (asset.name or "").startswith(f"{root}_reanalysis_")
    upstream = folder / "processing.json"
    if upstream.exists():
        theirs = [item["name"] for item in read_json(upstream)["data_processes"]]
        names = [item["name"] for item in read_json(RESULTS / "processing.json")["data_processes"]]
        assert names == [*theirs, "analyse"]


@pytest.mark.parametrize("sample", REAL)
def test_the_schema_s_own_derivation_works_on_what_we_wrote_and_so_does_ours(
    samples: Path, data_root: Path, sample: str
) -> None:
    from aind_data_schema.core.metadata import Metadata

    folder = mount(samples / sample, data_root)
    first = data_root / "first"
    with DerivedAsset("one", inputs=folder, output_dir=first, strict=True, **PEOPLE) as one:
        analyse(folder)
    written = load_metadata(first)
    with quiet():
        theirs = Metadata.from_metadata(written, process_name="theirs", location="s3://b/x")
    assert theirs.data_description.source_data == [one.name]
    with DerivedAsset("two", inputs=first, strict=True, **PEOPLE) as two:
        analyse(first)
    check_what_was_made(RESULTS)
    assert read_json(RESULTS / "data_description.json")["source_data"] == [one.name]
    assert (two.name or "").count("_one_") == 0


def test_the_self_loop_of_a_real_pipeline_is_not_handed_on(samples: Path, data_root: Path) -> None:
    folder = mount(samples / "zombie-squirrel/derived", data_root)
    with DerivedAsset("reanalysis", inputs=folder, strict=True, **PEOPLE):
        analyse(folder)
    graph = read_json(RESULTS / "processing.json")["dependency_graph"]
    assert graph == {"Pipeline": [], "analyse": ["Pipeline"]}


def test_real_assets_of_two_subjects_are_an_aggregate(samples: Path, data_root: Path) -> None:
    folders = []
    for sample in ("rec_e87873c2", "rec_ffd79a36"):
        folder = data_root / sample
        shutil.copytree(samples / "aind-metadata-upgrader" / sample, folder)
        folders.append(folder)
    with DerivedAsset("both", inputs=folders, base_name="two-mice", strict=True, **PEOPLE) as asset:
        analyse(data_root)
    check_what_was_made(RESULTS)
    assert (asset.name or "").startswith("two-mice_both_")
    assert not (RESULTS / "subject.json").exists()


def split_v1(record: dict[str, Any], folder: Path) -> None:
    """Lay out a v1 record as the files of its asset."""
    folder.mkdir(parents=True)
    for name, content in record.items():
        if isinstance(content, dict) and "schema_version" in content:
            write_json(folder / f"{name}.json", content)


def test_a_real_v1_asset_is_upgraded(samples: Path, data_root: Path) -> None:
    from aind_data_schema.core.acquisition import Acquisition
    from aind_data_schema.core.instrument import Instrument

    sample = samples / "aind-metadata-upgrader/v1_00318acb/metadata.nd.v1.json"
    record = json.loads(sample.read_bytes())
    split_v1(record, data_root / record["name"])
    with DerivedAsset("reanalysis", inputs=record["name"], strict=True, **PEOPLE) as asset:
        analyse(data_root / record["name"])
    assert (asset.name or "").startswith(f"{record['name']}_reanalysis_")
    check_what_was_made(RESULTS)
    with quiet():
        Acquisition.model_validate(read_json(RESULTS / "acquisition.json"))
        Instrument.model_validate(read_json(RESULTS / "instrument.json"))
    assert not (RESULTS / "session.json").exists()


def test_facts_that_a_v1_asset_lacks_are_asked_for_not_invented(
    samples: Path, data_root: Path
) -> None:
    sample = samples / "aind-metadata-upgrader/v1_cd2acb6f/metadata.nd.v1.json"
    record = json.loads(sample.read_bytes())
    assert record["data_description"]["funding_source"] == []
    split_v1(record, data_root / record["name"])
    with pytest.raises(PreflightError) as caught:
        DerivedAsset("reanalysis", inputs=record["name"], **PEOPLE).start()
    missing = [problem.split(" is missing")[0] for problem in caught.value.problems]
    assert missing == ["project_name", "investigators", "funding_source"]


def test_a_real_description_that_is_invalid_is_told_before_the_run(
    samples: Path, data_root: Path
) -> None:
    folder = data_root / "invalid"
    folder.mkdir()
    shutil.copyfile(
        samples / "aind-metadata-validator/data_description_invalid.json",
        folder / "data_description.json",
    )
    with pytest.raises(PreflightError, match="project_name is missing"):
        DerivedAsset("reanalysis", inputs=folder, **PEOPLE).start()
