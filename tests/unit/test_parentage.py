"""What an asset's metadata say of the assets that it was made from."""

from __future__ import annotations

from typing import Any

import pytest

from asset_provenance.parentage import parentage
from helpers.assets import RAW, process

UNITS = f"{RAW}_units_2026-03-06_10-00-00"


def uses(
    description: dict[str, Any], *inputs: dict[str, Any], name: str = UNITS
) -> list[tuple[str, str]]:
    """Give what an asset goes back to, and how that is said."""
    code = {"input_data": list(inputs)}
    said = parentage(name, description, {"data_processes": [process("fit", code=code)]})
    return [(use.asset, use.kind) for use in said.uses]


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ({"source_data": ["a", "b", "a"]}, [("a", "source"), ("b", "source")]),
        ({"data_level": "derived", "input_data_name": "a"}, [("a", "source")]),
        ({"data_level": "derived", "source_data": None}, [(RAW, "name")]),
        ({}, [(RAW, "name")]),
        ({"data_level": "raw"}, []),
        ({"data_level": "simulated"}, []),
        ({"data_level": "derived", "project_name": "external data"}, []),
        ({"data_level": 3, "source_data": [4, None, "", {"name": "a"}]}, [(RAW, "name")]),
        ({"data_level": "derived", "source_data": "s3://bucket/a/part"}, [("a", "source")]),
    ],
)
def test_sources_are_named_in_the_way_of_the_schema_version_or_by_the_name(
    description: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert uses(description) == expected


def test_what_is_used_is_a_reference_only_beside_sources_that_are_named() -> None:
    inputs = ({"name": RAW}, {"url": "s3://bucket/atlas/labels.nii"}, {"url": "https://x.org/a"})
    named = {"data_level": "derived", "source_data": [RAW]}
    references = [("atlas", "reference"), ("https://x.org/a", "reference")]
    assert uses(named, *inputs) == [(RAW, "source"), *references]
    unnamed = [("atlas", "input"), ("https://x.org/a", "input")]
    assert uses({"data_level": "derived"}, *inputs) == [(RAW, "name"), *unnamed]
    assert uses({"data_level": "raw"}, *inputs[1:]) == references


@pytest.mark.parametrize(("level", "is_external"), [("derived", True), ("raw", False)])
def test_no_raw_asset_is_external_whatever_its_project_is_called(
    level: str, is_external: bool
) -> None:
    said = parentage("atlas", {"data_level": level, "project_name": "external data"}, {})
    assert (said.is_external, said.is_origin) == (is_external, True)


def test_a_step_that_works_on_the_asset_itself_makes_no_cycle() -> None:
    assert uses({"data_level": "derived", "source_data": [RAW]}, {"name": UNITS}) == [
        (RAW, "source")
    ]
    assert uses({"data_level": "derived", "source_data": [UNITS]}) == [(UNITS, "source")]


def test_processes_of_schema_v1_name_their_inputs_by_place() -> None:
    places = ("../data", r"\\server\share", "s3://bucket/pool/x", ["s3://bucket/more", 1], None)
    steps = [{"name": "Ephys preprocessing", "input_location": place} for place in places]
    processing = {"processing_pipeline": {"data_processes": steps}}
    said = parentage("pool_2026", {"data_level": "derived"}, processing)
    assert [(use.asset, use.kind) for use in said.uses] == [("pool", "input"), ("more", "input")]
    assert said.uses[0].processes == ("Ephys preprocessing",)


@pytest.mark.parametrize(
    "processing",
    [
        {"data_processes": {"name": "x"}},
        {"data_processes": [None, {"code": []}, {"code": {"input_data": {"name": "x"}}}]},
        {"data_processes": [{"code": {"input_data": [None, {"name": 3, "assets": [4, {}]}]}}]},
        {"processing_pipeline": 3, "pipelines": [{"input_data": "x"}, 1]},
    ],
)
def test_metadata_of_any_form_are_read(processing: dict[str, Any]) -> None:
    assert parentage("x", {"source_data": {"a": 1}, "creation_time": []}, processing).uses == ()
