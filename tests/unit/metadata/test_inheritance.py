"""What inputs hand on when several have it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from make_input import make_session

from asset_provenance import DerivedAsset, track_process
from helpers.assets import PEOPLE, make_asset, read_json, write_json
from helpers.schema import validate_set

RESULTS = Path("results")


def derive(raw: Path, folder: Path, label: str) -> Path:
    with DerivedAsset(label, inputs=raw, output_dir=folder, **PEOPLE), track_process(label) as step:
        step.add_inputs(raw)
    return folder


@pytest.fixture
def two(data_root: Path) -> tuple[Path, Path]:
    """Two results of one recording; the second has a quality control of its own."""
    raw = make_session(data_root)
    one, other = (derive(raw, data_root / label, label) for label in ("one", "other"))
    quality = read_json(other / "quality_control.json")
    quality["metrics"][0]["name"] = "Looked at again"
    quality["notes"] = "Second look."
    write_json(other / "quality_control.json", quality)
    return one, other


def test_differing_quality_controls_of_one_acquisition_are_merged_each_metric_once(
    two: tuple[Path, Path],
) -> None:
    with DerivedAsset("both", inputs=two, **PEOPLE), track_process("both", inputs=two):
        pass
    merged = validate_set(RESULTS)["quality_control"]
    names = [metric["name"] for metric in merged["metrics"]]
    first = [metric["name"] for metric in read_json(two[0] / "quality_control.json")["metrics"]]
    assert names == [*first, "Looked at again"]
    assert merged["notes"] == "Second look."
    assert list(merged["status"]) == sorted(merged["status"])


def test_equal_quality_controls_are_carried_byte_for_byte(two: tuple[Path, Path]) -> None:
    one, other = two
    shutil.copyfile(one / "quality_control.json", other / "quality_control.json")
    with DerivedAsset("both", inputs=two, **PEOPLE):
        pass
    written = (RESULTS / "quality_control.json").read_bytes()
    assert written == (one / "quality_control.json").read_bytes()


def test_a_quality_control_that_cannot_be_merged_is_kept_beside_the_others(
    two: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    one, other = two
    (other / "quality_control.json").write_text('{"metrics": "none"}')
    with DerivedAsset("both", inputs=[other, one], **PEOPLE):
        pass
    name = read_json(other / "data_description.json")["name"]
    kept = RESULTS / "provenance" / f"inherited-quality_control-{name}.json"
    assert kept.read_text() == '{"metrics": "none"}'
    written = (RESULTS / "quality_control.json").read_bytes()
    assert written == (one / "quality_control.json").read_bytes()
    assert kept.name in read_json(RESULTS / "processing.json")["notes"]
    assert "could not be merged" in caplog.text


def test_a_file_that_differs_comes_from_the_first_input_with_a_warning(
    two: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    one, other = two
    subject = read_json(other / "subject.json")
    subject["notes"] = "Another hand."
    write_json(other / "subject.json", subject)
    with DerivedAsset("both", inputs=[other, one], **PEOPLE):
        pass
    assert (RESULTS / "subject.json").read_bytes() == (other / "subject.json").read_bytes()
    assert "subject.json differs between inputs" in caplog.text


def test_an_aggregate_does_not_inherit_the_file_of_another_subject(
    data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = make_asset(data_root, "ecephys_900101_2026-03-02_18-30-05")
    other = make_asset(data_root, "ecephys_900101_2026-03-04_18-30-05", carried=("subject",))
    for core_file in ("subject", "procedures"):
        told = read_json(one / f"{core_file}.json")
        write_json(one / f"{core_file}.json", {**told, "subject_id": "777"})
    with DerivedAsset("both", inputs=[one, other], base_name="two-days", **PEOPLE):
        pass
    assert (RESULTS / "subject.json").read_bytes() == (other / "subject.json").read_bytes()
    assert not (RESULTS / "procedures.json").exists()
    assert f"subject.json of input {one.name} is of subject 777, not 900101" in caplog.text


def test_a_file_that_only_the_second_input_has_is_inherited_from_it(data_root: Path) -> None:
    name = "ecephys_900101_2026-03-02_18-30-05"
    one = make_asset(data_root, name, carried=("subject",))
    other = make_asset(data_root, name, mount="again", carried=("instrument",))
    description = json.loads((other / "data_description.json").read_text())
    description |= {"name": f"{name}_x_2026-03-03_00-00-00", "data_level": "derived"}
    write_json(other / "data_description.json", description)
    with DerivedAsset("both", inputs=[one, other], **PEOPLE):
        pass
    written = (RESULTS / "instrument.json").read_bytes()
    assert written == (other / "instrument.json").read_bytes()
