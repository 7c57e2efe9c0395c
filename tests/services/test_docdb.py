"""Inputs whose metadata come from the database: the real client, over HTTPS, on loopback."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from aind_data_schema.components.identifiers import CombinedData, DataAsset

from asset_provenance import DerivedAsset, PreflightError, track_process
from asset_provenance.cli import main
from asset_provenance.testing import Fault, LoopbackServices
from helpers import assets
from helpers.assets import FACTS, PEOPLE, RAW, description, make_asset, process, read_json

OTHER = "ecephys_900101_2026-03-04_18-30-05"


def record(name: str = RAW, *, number: int = 0, **changes: Any) -> dict[str, Any]:
    """Give a record as the database holds it; its keys in an order that is not the alphabet's."""
    subject = {"subject_id": "900101", "schema_version": "2.0.0", "of": "the database", "z": 1.50}
    return {
        "_id": f"{number:08d}-0000-4000-8000-{abs(hash(name)) % 10**12:012d}",
        "object_type": "Metadata",
        "schema_version": "2.2.2",
        "name": name,
        "location": f"s3://example-bucket/{name}",
        "subject": subject,
        "data_description": description(name, project_name="Project of the database"),
        "procedures": {"subject_id": "900101", "b": {"y": 1, "x": [1e-7, 2]}, "a": "µ"},
        "instrument": None,
        "acquisition": {"of": "the database", "schema_version": "2.0.0"},
        "processing": None,
        "quality_control": None,
        "model": None,
        "_created": "2026-03-03T00:00:00.000Z",
        "_last_modified": "2026-03-03T00:00:00.000Z",
        **changes,
    }


def run(inputs: object, **options: Any) -> Path:
    """Make an asset of these inputs, and give its folder."""
    with DerivedAsset("look", inputs=inputs, **PEOPLE | options) as asset:
        pass
    return asset.output_dir


def project_of(folder: Path) -> str:
    return str(read_json(folder / "data_description.json")["project_name"])


def queries(services: LoopbackServices) -> list[Any]:
    return [request for request in services.docdb.requests if "aggregate" in request.path]


def test_a_name_alone_brings_facts_and_files_as_the_database_has_them(
    services: LoopbackServices,
) -> None:
    held = record()
    services.docdb.add_records([held])
    folder = run(RAW)
    assert project_of(folder) == "Project of the database"
    for core_file in ("subject", "procedures", "acquisition"):
        written = (folder / f"{core_file}.json").read_bytes()
        assert json.dumps(json.loads(written)) == json.dumps(held[core_file])
    assert not (folder / "instrument.json").exists()
    assert len(services.docdb.requests) == 1


def test_the_database_wins_over_the_files_and_the_difference_is_told(
    services: LoopbackServices, data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    services.docdb.add_records([record()])
    folder = run(make_asset(data_root))
    assert project_of(folder) == "Project of the database"
    assert read_json(folder / "subject.json")["of"] == "the database"
    # What the database lacks comes from the folder, byte for byte.
    carried = (folder / "instrument.json").read_bytes()
    assert carried == (data_root / RAW / "instrument.json").read_bytes()
    assert "subject.json" in caplog.text
    assert "differ between the metadata database and its folder" in caplog.text


def test_an_s3_url_is_looked_up_by_its_name(services: LoopbackServices) -> None:
    services.docdb.add_records([record()])
    folder = run(f"s3://example-bucket/{RAW}/units/spikes.csv")
    assert project_of(folder) == "Project of the database"


def test_hundreds_of_inputs_take_one_query(services: LoopbackServices) -> None:
    names = [f"ecephys_{900_000 + number}_2026-03-02_18-30-05" for number in range(300)]
    records = [
        record(name, data_description=description(name, subject_id=name.split("_")[1]))
        for name in names
    ]
    services.docdb.add_records(records)
    folder = run(names, base_name="cohort")
    assert read_json(folder / "data_description.json")["source_data"] == names
    assert not (folder / "subject.json").exists()
    assert len(services.docdb.requests) == 1


def test_of_several_records_the_newest_is_used_with_a_warning(
    services: LoopbackServices, caplog: pytest.LogCaptureFixture
) -> None:
    newest = record(number=1, _last_modified="2026-04-01T00:00:00.000Z")
    newest["data_description"] = description(RAW, project_name="Newest project")
    services.docdb.add_records([record(number=0), newest, record(number=2)])
    assert project_of(run(RAW)) == "Newest project"
    assert f"3 records of {RAW}; the newest is used" in caplog.text


def test_of_several_records_the_one_at_the_given_place_is_used(services: LoopbackServices) -> None:
    here = record(number=0, location=f"s3://other-bucket/{RAW}")
    here["data_description"] = description(RAW, project_name="The other bucket")
    services.docdb.add_records([here, record(number=1, _last_modified="2027-01-01T00:00:00Z")])
    assert project_of(run(f"s3://other-bucket/{RAW}")) == "The other bucket"


def test_the_place_of_a_record_may_end_with_a_slash(services: LoopbackServices) -> None:
    here = record(number=0, location=f"s3://other-bucket/{RAW}/")
    here["data_description"] = description(RAW, project_name="The other bucket")
    services.docdb.add_records([here, record(number=1, _last_modified="2027-01-01T00:00:00Z")])
    assert project_of(run(f"s3://other-bucket/{RAW}/")) == "The other bucket"


@pytest.mark.parametrize("newest", ["2026-04-01 10:00:00+00:00", "2026-04-01T11:00:00+02:00"])
def test_the_newest_record_is_found_whatever_form_its_time_has(
    services: LoopbackServices, newest: str
) -> None:
    older = {"_last_modified": "2026-04-01T08:30:00Z"}
    told = description(RAW, project_name="Newest project")
    services.docdb.add_records(
        [
            record(number=0, **older),
            record(number=1, _last_modified=newest, data_description=told),
            record(number=2, _last_modified="of late"),
        ]
    )
    assert project_of(run(RAW)) == "Newest project"


def test_an_asset_that_the_database_does_not_know_has_its_files(
    services: LoopbackServices, data_root: Path
) -> None:
    services.docdb.add_records([record(OTHER)])
    assert project_of(run(make_asset(data_root))) == "Synthetic project"


def test_an_asset_that_nobody_knows_is_said_to_be_unknown(services: LoopbackServices) -> None:
    with pytest.raises(PreflightError) as caught:
        run("ecephys_000000_2026-03-02_18-30-05")
    assert f"nor in the metadata database localhost:{services.port}" in str(caught.value)
    assert "project_name is missing" in str(caught.value)


def test_an_asset_of_whose_record_nothing_is_left_is_said_to_have_no_core_files(
    services: LoopbackServices,
) -> None:
    nothing = dict.fromkeys(("data_description", "subject", "procedures", "acquisition"))
    services.docdb.add_records([record(**nothing)])
    with pytest.raises(PreflightError) as caught:
        run(RAW)
    said = f"its record in the metadata database localhost:{services.port} holds no core files"
    assert said in str(caught.value)


def test_a_database_that_cannot_be_asked_is_not_said_to_lack_the_asset(
    services: LoopbackServices,
) -> None:
    services.docdb.fail(Fault(status=403), times=None)
    with pytest.raises(PreflightError) as caught:
        run(RAW)
    assert f"localhost:{services.port} could not be asked (it answered 403" in str(caught.value)
    assert "nor in the metadata database" not in str(caught.value)


@pytest.mark.parametrize("value", ["a text", 7, ["a list"]])
def test_a_core_file_in_the_database_that_is_no_object_is_not_used(
    services: LoopbackServices, data_root: Path, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    services.docdb.add_records([record(subject=value)])
    folder = run(make_asset(data_root))
    assert read_json(folder / "subject.json")["of"] == "subject"
    assert "subject.json holds" in caplog.text


def test_a_description_that_the_schema_refuses_gives_way_to_the_folder_s(
    services: LoopbackServices, data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = description(RAW)
    del broken["project_name"]
    services.docdb.add_records([record(data_description=broken)])
    folder = run(make_asset(data_root))
    assert project_of(folder) == "Synthetic project"
    assert read_json(folder / "subject.json")["of"] == "the database"
    assert "in the metadata database is not valid" in caplog.text


def test_an_invalid_file_of_the_database_alone_is_carried_with_a_warning(
    services: LoopbackServices, caplog: pytest.LogCaptureFixture
) -> None:
    services.docdb.add_records([record()])
    run(RAW)
    assert f"procedures.json of input {RAW} is not valid under aind-data-schema" in caplog.text


def test_facts_that_only_the_files_make_whole_come_from_the_files(
    services: LoopbackServices, data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Two inputs agree on their project in their folders, but not in the database.
    second = description(OTHER, project_name="Another project")
    services.docdb.add_records([record(), record(OTHER, data_description=second)])
    folder = run([make_asset(data_root), make_asset(data_root, OTHER)], base_name="two-days")
    assert project_of(folder) == "Synthetic project"
    assert "would not do; the files in their folders are used: project_name differs" in caplog.text


def test_inputs_that_are_seen_to_be_used_are_looked_up_at_the_end_with_one_query(
    services: LoopbackServices, data_root: Path
) -> None:
    services.docdb.add_records([record(), record(OTHER)])
    first, second = make_asset(data_root), make_asset(data_root, OTHER)
    with DerivedAsset("look", base_name="two-days", **PEOPLE) as asset:
        asset.add_note("nothing is asked before there is an input")
        assert services.docdb.requests == []
        with track_process("read", inputs=[first, second]):
            pass
    assert project_of(asset.output_dir) == "Project of the database"
    assert len(services.docdb.requests) == 1


def test_an_input_that_is_added_late_is_looked_up(services: LoopbackServices) -> None:
    services.docdb.add_records([record(), record(OTHER)])
    with DerivedAsset("look", inputs=RAW, base_name=None, on_failure="write", **PEOPLE) as asset:
        asset.add_inputs(RAW)
    assert project_of(asset.output_dir) == "Project of the database"


# Where the files do not tell enough to start


def without(folder: Path, *fields: str) -> Path:
    """Take fields out of the description in a folder."""
    told = read_json(folder / "data_description.json")
    kept = {key: value for key, value in told.items() if key not in fields}
    assets.write_json(folder / "data_description.json", kept)
    return folder


def test_facts_that_the_folder_lacks_are_waited_for(
    services: LoopbackServices, data_root: Path
) -> None:
    services.docdb.add_records([record()])
    folder = run(without(make_asset(data_root), "project_name", "investigators"))
    assert project_of(folder) == "Project of the database"


def test_folders_that_contradict_each_other_start_if_the_database_agrees(
    services: LoopbackServices, data_root: Path
) -> None:
    services.docdb.add_records([record(), record(OTHER)])
    inputs = [make_asset(data_root, project_name="Old"), make_asset(data_root, OTHER)]
    assert project_of(run(inputs, base_name="two-days")) == "Project of the database"


def test_an_asset_is_named_after_an_input_that_only_the_database_calls_raw(
    services: LoopbackServices, data_root: Path
) -> None:
    services.docdb.add_records([record()])
    folder = run(without(make_asset(data_root), "data_level"))
    assert read_json(folder / "data_description.json")["name"].startswith(f"{RAW}_look_")


def test_facts_that_neither_tells_stop_the_start(
    services: LoopbackServices, data_root: Path
) -> None:
    held = record()
    del held["data_description"]["funding_source"]
    services.docdb.add_records([held])
    with pytest.raises(PreflightError, match="funding_source is missing"):
        run(without(make_asset(data_root), "funding_source"))


@pytest.mark.parametrize("is_path", [True, False])
def test_an_asset_that_the_database_knows_is_one_whatever_stages_left_in_its_folder(
    services: LoopbackServices, data_root: Path, is_path: bool
) -> None:
    services.docdb.add_records([record()])
    folder = data_root / RAW
    folder.mkdir()
    assets.write_json(folder / "sorted_data_process.json", process("sort"))
    result = run(folder if is_path else RAW)
    assert project_of(result) == "Project of the database"
    assert set(assets.processes(result)) == {"sort", "look"}


def test_a_start_that_has_to_ask_twice_waits_for_its_time_limit_once(
    services: LoopbackServices, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_SERVICE_TIMEOUT", "6")
    services.docdb.fail(Fault(delay=60), times=None)
    (data_root / "stage").mkdir()
    read = {"object_type": "Data asset", "name": RAW}
    code = {"url": "https://example.org/x", "version": "1", "input_data": [read]}
    assets.write_json(data_root / "stage" / "data_process.json", process("sort", code=code))
    began = time.monotonic()
    with pytest.raises(PreflightError, match="what stages left is no asset"):
        run("stage")
    assert time.monotonic() - began < 6 + 2.5


@pytest.mark.parametrize("is_in_group", [True, False])
def test_an_object_with_nothing_but_an_s3_url_is_looked_up_by_its_name(
    services: LoopbackServices, is_in_group: bool
) -> None:
    services.docdb.add_records([record()])
    asset = DataAsset(url=f"s3://example-bucket/{RAW}/units.csv")
    folder = run(CombinedData(name="all", assets=[asset]) if is_in_group else asset)
    told = read_json(folder / "data_description.json")
    assert (told["project_name"], told["source_data"]) == ("Project of the database", [RAW])


def test_an_input_that_is_added_late_is_judged_by_its_record(
    services: LoopbackServices, data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    derived = f"{RAW}_sort_2026-04-01_00-00-00"
    services.docdb.add_records(
        [record(), record(derived, data_description=description(derived, data_level="derived"))]
    )
    with DerivedAsset("look", inputs=make_asset(data_root), **PEOPLE) as asset:
        asset.add_inputs(derived)
        assert "no longer share" not in caplog.text
    told = read_json(asset.output_dir / "data_description.json")
    assert told["source_data"] == [RAW, derived]


# What is too large


def test_an_answer_over_the_gateway_s_limit_is_asked_for_in_parts(
    services: LoopbackServices,
) -> None:
    names = [f"ecephys_{900_000 + number}_2026-03-02_18-30-05" for number in range(8)]
    services.docdb.add_records(
        record(name, data_description=description(name, subject_id=name.split("_")[1]))
        for name in names
    )
    services.docdb.max_payload = 4_000  # one or two records
    folder = run(names, base_name="cohort")
    assert read_json(folder / "data_description.json")["source_data"] == names
    assert len(services.docdb.requests) > 3


def test_a_record_over_the_gateway_s_limit_is_asked_for_file_by_file(
    services: LoopbackServices, data_root: Path
) -> None:
    held = record()
    held["procedures"]["much"] = "x" * 9_000
    held["acquisition"]["too much"] = "x" * 30_000
    services.docdb.add_records([held])
    services.docdb.max_payload = 12_000
    folder = run(make_asset(data_root))
    assert project_of(folder) == "Project of the database"
    assert read_json(folder / "procedures.json") == held["procedures"]
    # What nothing passes on is in the folder.
    assert read_json(folder / "acquisition.json")["of"] == "acquisition"


def test_a_record_without_a_proper_name_does_not_cost_the_others(
    services: LoopbackServices,
) -> None:
    answer = json.dumps([{"name": ["x"]}, record(), {"name": {"a": 1}}, 5]).encode()
    services.docdb.fail(Fault(body=answer), times=None)
    assert project_of(run(RAW)) == "Project of the database"


# What goes wrong on the way


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429),
        Fault(status=500),
        Fault(status=503),
        Fault(status=504),
        Fault(drop="before"),
        Fault(drop="after"),
        Fault(delay=20),
    ],
    ids=lambda fault: str(fault.status or fault.drop or "slow"),
)
def test_what_may_pass_is_tried_again(
    services: LoopbackServices, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_SERVICE_TIMEOUT", "8")
    services.docdb.add_records([record()])
    services.docdb.fail(fault, times=1)
    assert project_of(run(RAW)) == "Project of the database"
    assert len(services.docdb.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_what_will_not_pass_is_not_tried_again(
    services: LoopbackServices, data_root: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    services.docdb.fail(Fault(status=status), times=None)
    assert project_of(run(make_asset(data_root))) == "Synthetic project"
    assert len(services.docdb.requests) == 1
    assert f"it answered {status}" in caplog.text


FOREVER = {
    "overloaded": (Fault(status=503), "it answered 503"),
    "dropped": (Fault(drop="before"), "the connection failed"),
    "silent": (Fault(delay=60), "did not answer"),
    "dripping": (Fault(drip=0.3), "did not "),
    "no JSON": (
        Fault(body=b"<html>Sign in</html>", content_type="text/html"),
        "that its client cannot read",
    ),
    "other JSON": (Fault(body=b'{"message": "hello"}'), "instead of records"),
    "deep JSON": (Fault(body=b"[" * 100_000), "that its client cannot read"),
}


@pytest.mark.parametrize(("fault", "reason"), FOREVER.values(), ids=FOREVER)
def test_a_database_that_is_no_help_costs_its_time_limit_and_the_files_serve(
    services: LoopbackServices,
    data_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: Fault,
    reason: str,
) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_SERVICE_TIMEOUT", "3")
    services.docdb.add_records([record()])
    services.docdb.fail(fault, times=None)
    folder = make_asset(data_root)
    with DerivedAsset("look", inputs=folder, **PEOPLE) as asset:
        began = time.monotonic()
    assert time.monotonic() - began < 3 + 4  # the limit, and what writing takes on a busy machine
    assert project_of(asset.output_dir) == "Synthetic project"
    assert reason in caplog.text


def test_the_start_of_a_run_whose_folder_tells_enough_waits_for_nobody(
    services: LoopbackServices, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_SERVICE_TIMEOUT", "20")
    services.docdb.add_records([record()])
    services.docdb.fail(Fault(delay=5), times=1)
    folder = make_asset(data_root)
    began = time.monotonic()
    with DerivedAsset("look", inputs=folder, **PEOPLE) as asset:
        assert time.monotonic() - began < 5
    # At the end the answer is waited for, and used.
    assert project_of(asset.output_dir) == "Project of the database"


def test_where_neither_answers_what_is_missing_is_told_within_the_limit(
    services: LoopbackServices, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_SERVICE_TIMEOUT", "2")
    services.docdb.fail(Fault(delay=60), times=None)
    began = time.monotonic()
    with pytest.raises(PreflightError, match="project_name is missing"):
        run(RAW)
    assert time.monotonic() - began < 2 + 4
    assert "could not be asked: it did not answer" in caplog.text


def test_where_neither_answers_and_nothing_is_missing_the_run_goes_on(
    services: LoopbackServices,
) -> None:
    services.docdb.fail(Fault(status=403), times=None)
    folder = run(RAW, base_name="alone", **FACTS)
    assert read_json(folder / "data_description.json")["source_data"] == [RAW]


def test_a_certificate_that_is_not_trusted_is_told(
    services: LoopbackServices,
    data_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    assert project_of(run(make_asset(data_root))) == "Synthetic project"
    assert "its certificate is not one that this machine trusts" in caplog.text


# Who is asked


def test_offline_asks_nobody(
    services: LoopbackServices, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_OFFLINE", "true")
    services.docdb.add_records([record()])
    assert project_of(run(make_asset(data_root))) == "Synthetic project"
    assert services.docdb.requests == []


@pytest.mark.parametrize("inherit", ["files", "none"])
def test_who_wants_no_database_asks_nobody(
    services: LoopbackServices, data_root: Path, inherit: str
) -> None:
    services.docdb.add_records([record()])
    run(make_asset(data_root), inherit=inherit, **FACTS)
    assert services.docdb.requests == []


def test_with_the_database_alone_the_files_do_not_count(
    services: LoopbackServices, data_root: Path
) -> None:
    services.docdb.add_records([record()])
    folder = run(make_asset(data_root), inherit="docdb")
    assert project_of(folder) == "Project of the database"
    assert not (folder / "instrument.json").exists()


def test_with_the_database_alone_what_is_seen_to_be_used_and_it_does_not_know_is_a_reference(
    services: LoopbackServices, data_root: Path
) -> None:
    services.docdb.add_records([record()])
    folder, atlas = make_asset(data_root), make_asset(data_root, "atlas", subject_id="another")
    with DerivedAsset("look", inherit="docdb", strict=True, **PEOPLE) as asset:
        with track_process("read", inputs=[folder, atlas]):
            pass
    told = read_json(asset.output_dir / "data_description.json")
    assert (told["source_data"], told["subject_id"]) == ([RAW], "900101")
    used = assets.processes(asset.output_dir)["read"]["code"]["input_data"]
    assert [each["name"] for each in used] == [RAW, "atlas"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(None, "it has no record of that name"), (Fault(status=403), "it answered 403")],
)
def test_with_the_database_alone_an_asset_that_it_does_not_give_stops_the_start(
    services: LoopbackServices, data_root: Path, fault: Fault | None, reason: str
) -> None:
    if fault is not None:
        services.docdb.fail(fault, times=None)
    with pytest.raises(PreflightError) as caught:
        run(make_asset(data_root), inherit="docdb")
    assert reason in str(caught.value)
    assert 'give inherit="auto"' in str(caught.value)


def test_the_database_alone_and_offline_contradict_each_other(data_root: Path) -> None:
    with pytest.raises(PreflightError, match="`offline` is set"):
        run(make_asset(data_root), inherit="docdb")


@pytest.mark.parametrize("host", ["http://example.org", "user:cop_0123456789abcdefghij@x", "a b"])
def test_a_host_that_is_none_is_told_without_its_secrets(
    data_root: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_OFFLINE", "false")
    monkeypatch.setenv("ASSET_PROVENANCE_DOCDB_HOST", host)
    with pytest.raises(PreflightError, match="docdb_host must be the name of a host") as caught:
        run(make_asset(data_root))
    assert "cop_0123456789abcdefghij" not in str(caught.value)


def test_a_host_may_be_given_as_its_url(
    services: LoopbackServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_DOCDB_HOST", f"https://localhost:{services.port}/")
    services.docdb.add_records([record()])
    assert project_of(run(RAW)) == "Project of the database"


# Schema v1


def test_a_v1_record_gives_way_to_a_folder_of_v2(
    services: LoopbackServices, data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = record(data_description={"schema_version": "1.0.0", "name": RAW}, session={"a": 1})
    services.docdb.add_records([old])
    assert project_of(run(make_asset(data_root))) == "Synthetic project"
    assert "is of schema v1; the files in its folder are used" in caplog.text


def test_what_is_left_of_v1_in_a_record_of_v2_gives_way_alone(
    services: LoopbackServices, data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    held = record(rig={"schema_version": "0.5.0", "rig_id": "x"})
    services.docdb.add_records([held])
    folder = run(make_asset(data_root, carried=("instrument",)))
    assert project_of(folder) == "Project of the database"
    assert read_json(folder / "subject.json") == held["subject"]
    assert read_json(folder / "instrument.json")["of"] == "instrument"
    assert "holds rig.json of schema v1 beside files of v2" in caplog.text


def test_a_v2_record_saves_the_upgrade_of_a_folder_of_v1(
    services: LoopbackServices, data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_asset(data_root, carried=())
    assets.write_json(folder / "data_description.json", {"schema_version": "0.13.2", "name": RAW})
    assets.write_json(folder / "rig.json", {"schema_version": "0.3.0"})
    services.docdb.add_records([record()])
    with caplog.at_level(logging.INFO, logger="asset_provenance"):
        result = run(folder)
    assert project_of(result) == "Project of the database"
    assert "upgraded" not in caplog.text
    assert f"as the metadata database has them: {RAW}" in caplog.text


def test_a_real_v1_record_is_upgraded(
    services: LoopbackServices, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = samples / "aind-metadata-upgrader" / "v1_ddeb27a6" / "metadata.nd.v1.json"
    old = read_json(path)
    monkeypatch.setenv("ASSET_PROVENANCE_DOCDB_VERSION", "v1")
    services.docdb.add_records([old], version="v1")
    folder = run(old["name"], **FACTS)
    assert main(["check", str(folder)]) == 0
    assert "upgraded from schema v1" in read_json(folder / "processing.json")["notes"]


# Real records


REAL = (
    "zombie-squirrel/raw",
    "zombie-squirrel/derived",
    "zombie-squirrel/record",
    "aind-metadata-upgrader/rec_e87873c2",
)


@pytest.mark.parametrize("place", REAL)
def test_what_is_inherited_from_a_real_record_is_the_record_s_own_json(
    services: LoopbackServices, samples: Path, place: str
) -> None:
    real = read_json(samples / place / "metadata.nd.json")
    services.docdb.add_records([real])
    folder = run(real["name"])
    carried = 0
    for core_file in assets.CARRIED:
        if real.get(core_file) is not None:
            written = json.loads((folder / f"{core_file}.json").read_bytes())
            assert json.dumps(written) == json.dumps(real[core_file])
            carried += 1
    assert carried >= 3
    names = [
        item["name"] for item in (real["processing"] or {"data_processes": []})["data_processes"]
    ]
    assert set(names) <= set(assets.processes(folder))


# The program that asks


def test_no_thread_and_no_child_of_ours_is_in_the_user_s_program_while_it_is_asked(
    services: LoopbackServices, data_root: Path
) -> None:
    services.docdb.add_records([record()])
    services.docdb.fail(Fault(delay=2), times=1)
    folder = make_asset(data_root)
    before, children = set(threading.enumerate()), set(psutil.Process().children())
    with DerivedAsset("look", inputs=folder, **PEOPLE) as asset:
        ours = {thread.name for thread in set(threading.enumerate()) - before}
        assert not {name for name in ours if "asset" in name} - {
            "asset-provenance",
            "asset-provenance-sync",
        }
        # Other tests may have left children that live on, such as multiprocessing's tracker.
        assert set(psutil.Process().children()) <= children
    assert project_of(asset.output_dir) == "Project of the database"


def asking() -> list[psutil.Process]:
    """Give the programs that ask for this test; others may run beside it."""
    found = []
    for other in psutil.process_iter(["cmdline", "environ"]):
        words, environ = other.info["cmdline"] or [], other.info["environ"] or {}
        is_of_this_test = environ.get("HOME") == os.environ["HOME"]
        if is_of_this_test and any("asset_provenance.services.docdb" in word for word in words):
            found.append(other)
    return found


def test_the_program_that_asks_ends_with_a_run_that_needs_no_answer_any_more(
    services: LoopbackServices, data_root: Path
) -> None:
    services.docdb.fail(Fault(delay=60), times=None)
    with (
        pytest.raises(RuntimeError),
        DerivedAsset("look", inputs=make_asset(data_root), **PEOPLE),
    ):
        assert asking()
        raise RuntimeError
    until = time.monotonic() + 5
    while asking() and time.monotonic() < until:
        time.sleep(0.05)
    assert not asking()


def test_the_program_that_asks_does_not_outlive_a_killed_run_for_long(
    services: LoopbackServices, data_root: Path
) -> None:
    services.docdb.fail(Fault(delay=60), times=None)
    make_asset(data_root)
    code = (
        "import os, signal; from asset_provenance import DerivedAsset\n"
        f"DerivedAsset('look', inputs={RAW!r}, experimenters=['A B']).start()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "ASSET_PROVENANCE_SERVICE_TIMEOUT": "2"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode < 0
    until = time.monotonic() + 10
    while asking() and time.monotonic() < until:
        time.sleep(0.1)
    assert not asking()


def test_recover_asks_the_database_that_the_run_asked(
    services: LoopbackServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.docdb.add_records([record(processing={"data_processes": [process("sort")]})])
    with pytest.raises(RuntimeError), DerivedAsset("look", inputs=RAW, **PEOPLE) as asset:
        raise RuntimeError
    monkeypatch.delenv("ASSET_PROVENANCE_DOCDB_HOST")
    monkeypatch.delenv("ASSET_PROVENANCE_OFFLINE")
    assert main(["recover", str(asset.output_dir), "--accept-failed"]) == 0
    assert project_of(asset.output_dir) == "Project of the database"
    assert set(assets.processes(asset.output_dir)) == {"sort", "look"}
