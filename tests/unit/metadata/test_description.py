"""Names, times and facts of the description."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from aind_data_schema.core.data_description import DataDescription
from aind_data_schema_models.data_name_patterns import DataLevel
from hypothesis import given
from hypothesis import strategies as st

from asset_provenance.metadata import description
from asset_provenance.metadata.inheritance import raw_root
from asset_provenance.metadata.inputs import CoreFile, InputAsset
from asset_provenance.records import InputRef
from asset_provenance.settings import Given, Settings
from helpers.assets import description as describe


def asset(name: str, **changes: Any) -> InputAsset:
    return InputAsset(
        InputRef(name=name), None, {"data_description": CoreFile(b"", describe(name, **changes))}
    )


@pytest.mark.parametrize(
    ("name", "level", "root"),
    [
        ("ecephys_1_2026-03-02_10-00-00", "raw", "ecephys_1_2026-03-02_10-00-00"),
        ("a_2026-03-02_10-00-00_sorted_2026-03-03_10-00-00", "derived", "a_2026-03-02_10-00-00"),
        (
            "a_2026-03-02_10-00-00_x_2026-03-03_10-00-00_y_2026-03-04_10-00-00",
            "derived",
            "a_2026-03-02_10-00-00",
        ),
        ("cohort_maps_2026-03-03_10-00-00", "derived", None),
        ("KimLab-DevCCF-v1_2024-04-21_00-00-00", "derived", None),
        ("toy_2026-03-02_10-00-00_x_2026-03-03_10-00-00", "simulated", None),
        ("anything", None, None),
    ],
)
def test_the_raw_root_is_the_acquisition_an_asset_goes_back_to(
    name: str, level: str | None, root: str | None
) -> None:
    assert raw_root(asset(name, data_level=level)) == root


def test_an_asset_without_metadata_has_no_raw_root() -> None:
    assert raw_root(InputAsset(InputRef(name="ecephys_1_2026-03-02_10-00-00"))) is None


labels = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,20}[A-Za-z0-9])?", fullmatch=True)
times = st.datetimes(datetime(1990, 1, 1), datetime(2099, 1, 1)).map(
    lambda time: time.replace(tzinfo=UTC, microsecond=0)
)


@given(labels, labels, times)
def test_every_name_we_build_is_parsed_by_the_schema(
    base: str, process: str, time: datetime
) -> None:
    name = description.asset_name(process, time, [], base)
    parsed = DataDescription.parse_name(name, DataLevel.DERIVED)
    assert parsed["creation_time"] == time.replace(tzinfo=None)
    raw = asset(f"{base}_2026-03-02_10-00-00")
    derived = description.asset_name(process, time, [raw], None)
    assert DataDescription.parse_name(derived, DataLevel.DERIVED)["input"] == raw.name


def test_a_name_that_this_program_has_used_takes_the_next_second() -> None:
    time = datetime(2026, 3, 2, tzinfo=UTC)
    names = {label: [] for label in ("one", "two")}  # type: dict[str, list[datetime]]
    for label in ("one", "two", "one", "one"):
        names[label].append(description.reserve(lambda at, of=label: f"{of}_{at}", time))  # type: ignore[misc]
    assert [(at - time).total_seconds() for at in names["one"]] == [0, 1, 2]
    assert names["two"] == [time]


def facts(**given_values: Any) -> description.Facts:
    return description.given_facts(
        Settings({name: Given(value, "the call") for name, value in given_values.items()}, [])
    )


def test_plain_texts_become_objects_of_the_schema() -> None:
    found = facts(
        modalities=["ecephys", "behavior"],
        funding_source="NIMH:RF1MH123",
        institution="AIND",
        license="CC-BY-4.0",
        investigators="Example Researcher",
        group="ephys",
    )
    assert found.problems == []
    assert [item.abbreviation for item in found.values["modalities"]] == ["ecephys", "behavior"]
    (funding,) = found.values["funding_source"]
    assert (funding.funder.abbreviation, funding.grant_number) == ("NIMH", "RF1MH123")
    assert found.values["investigators"][0].name == "Example Researcher"


def test_a_pipeline_name_must_be_declared() -> None:
    pipeline = {"name": "sorting", "url": "https://example.org/sorting", "version": "1"}
    assert facts(pipelines=[pipeline], pipeline_name="sorting").problems == []
    (problem,) = facts(pipelines=[pipeline], pipeline_name="sortin").problems
    assert "'sortin' is not among the pipelines ('sorting')" in problem


def test_a_fact_of_an_input_that_the_schema_lacks_is_told_with_the_input_s_name() -> None:
    (problem,) = description.inherit_facts(facts(), [asset("x", license="CC0")]).problems
    assert problem.startswith("license of input x cannot be inherited")


def test_what_was_given_is_not_asked_of_the_inputs() -> None:
    found = description.inherit_facts(facts(license="MIT"), [asset("x", license="CC0")])
    assert found.problems == []
    assert found.sources["license"] == "the call"
