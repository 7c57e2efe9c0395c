"""Records and their JSON form."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_provenance import records
from asset_provenance.records import AssetRecord, CodeRecord, InputRef, ProcessRecord, ProcessStatus

FIELDS = {
    "InputRef": "name url assets description database_identifier",
    "CodeRecord": "url name version commit_hash run_script language language_version container "
    "core_dependency notes tree",
    "ProcessRecord": "id name process_type stage start_date_time parent_id end_date_time status "
    "code parameters results inputs reads outputs notes error observed read_files written_files "
    "read_inside follows resources calls",
    "AssetRecord": "process_name creation_time output_dir data_root inputs reference_inputs "
    "settings host process_id user",
}


def test_the_record_version_changes_whenever_a_field_does() -> None:
    found = {
        name: " ".join(field.name for field in dataclasses.fields(getattr(records, name)))
        for name in FIELDS
    }
    assert (records.RECORD_VERSION, found) == (2, FIELDS)


text = st.text()
times = st.datetimes(timezones=st.just(UTC))
some_json = st.dictionaries(text, st.none() | st.booleans() | st.integers() | text)
inputs = st.builds(InputRef, name=st.none() | text, url=st.none() | text)
codes = st.builds(CodeRecord, url=text, version=st.none() | text, notes=st.lists(text).map(tuple))
groups = st.builds(InputRef, name=text, assets=st.lists(inputs).map(tuple), description=text)
process_records = st.builds(
    ProcessRecord,
    id=text,
    parent_id=st.none() | text,
    name=text,
    process_type=text,
    stage=text,
    start_date_time=times,
    end_date_time=st.none() | times,
    status=st.sampled_from(ProcessStatus),
    code=st.none() | codes,
    parameters=st.none() | some_json,
    results=st.none() | some_json,
    inputs=st.lists(inputs | groups).map(tuple),
    reads=st.lists(text).map(tuple),
    outputs=st.lists(text).map(tuple),
    notes=st.lists(text).map(tuple),
    error=st.none() | text,
)
asset_records = st.builds(
    AssetRecord,
    process_name=text,
    creation_time=times,
    output_dir=text,
    data_root=text,
    inputs=st.none() | st.lists(inputs).map(tuple),
    reference_inputs=st.lists(inputs).map(tuple),
    settings=some_json,
    host=text,
    process_id=st.integers(),
    user=text,
)


def through_json(record: Any) -> Any:
    return json.loads(json.dumps(records.to_json(record)))


@given(process_records)
def test_any_process_record_comes_back_from_json_as_it_was(record: ProcessRecord) -> None:
    assert records.process_from_json(through_json(record)) == record


@given(asset_records)
def test_any_asset_record_comes_back_from_json_as_it_was(record: AssetRecord) -> None:
    assert records.asset_from_json(through_json(record)) == record


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"start_date_time": "2026-01-01T00:00:00"},
        {"start_date_time": "yesterday"},
        {"start_date_time": datetime.now(UTC).isoformat(), "unknown": 1},
    ],
)
def test_what_is_no_process_record_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        records.process_from_json(data)
