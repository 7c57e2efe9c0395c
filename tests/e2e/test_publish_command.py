"""The command ``asset-provenance publish``: the real SDK and the real client, on loopback."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aind_data_schema.components.identifiers import Code

from asset_provenance import DerivedAsset, ExternalAsset, track_process
from asset_provenance.cli import main
from asset_provenance.testing import Fault, LoopbackServices
from helpers.assets import FACTS, PEOPLE, RAW, make_asset, process, read_json, write_json
from helpers.commands import Told

RESULTS = Path("results")
RUN = "7f1eaf10-01bc-41cb-bc88-6464d0425b51"
BUCKET = ("--results-bucket", "results-bucket")
S3 = "s3://aind-scratch-data/someone/units"
PATCH = "provenance/uncommitted-0123456789abcdef0123456789abcdef01234567.patch"
CODE = "https://github.com/your-lab/your-analysis"
CREATE, SEARCH = "/data_assets", "/data_assets/search"
NOTHING_FOUND = json.dumps({"has_more": False, "results": []}).encode()


@pytest.fixture
def publish(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command in this process."""

    def run(*arguments: object) -> Told:
        capsys.readouterr()
        status = main(["publish", str(RESULTS), *map(str, arguments)])
        told = capsys.readouterr()
        assert "Traceback" not in told.out + told.err
        return Told(status, told.out, told.err)

    return run


@pytest.fixture(autouse=True)
def _code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_CODE_URL", CODE)
    monkeypatch.setenv("ASSET_PROVENANCE_CODE_VERSION", "1.0.0")


@pytest.fixture
def asset() -> str:
    """An asset that a run made in ``results``; its name."""
    return made()


def made(folder: Path = RESULTS, **facts: Any) -> str:
    given = {**FACTS, **PEOPLE, "data_summary": "Units of a model", "tags": ["model"], **facts}
    asset = DerivedAsset(
        "units", inputs=(), base_name="model", strict=True, output_dir=folder, **given
    )
    with asset, track_process("fit", outputs="units.csv"):
        (folder / "units.csv").write_text("1,2\n")
    return asset.name


@pytest.fixture
def held(services: LoopbackServices, asset: str) -> LoopbackServices:
    """The services, with a computation whose results are those in ``results``."""
    services.codeocean.polls_until_ready = 0
    services.codeocean.add_computation(RUN, folder=RESULTS)
    return services


def asked(services: LoopbackServices, method: str, path: str = "") -> int:
    """Say how often Code Ocean was asked for something."""
    requests = services.codeocean.requests
    return sum(one.method == method and one.path.endswith(path) for one in requests)


def registrations(services: LoopbackServices) -> list[Any]:
    return [one.body for one in services.docdb.requests if one.path.endswith("/assets/register")]


# What is planned


def test_without_yes_the_plan_is_shown_and_nothing_is_done(
    held: LoopbackServices, asset: str, publish: Any
) -> None:
    told = publish("--computation", RUN, *BUCKET)
    assert (told.status, told.err) == (0, "")
    assert told.out.splitlines()[0] == asset
    for words in (
        f"create a data asset from the results of {RUN} (all)",
        "tags: derived, Synthetic project, ecephys, model",
        "description: Units of a model",
        "at s3://results-bucket/<id of the data asset>",
        "write the request for its transfer to the open bucket",
    ):
        assert words in told.out
    assert held.codeocean.assets == held.docdb.records == []
    assert asked(held, "PUT") == asked(held, "POST", CREATE) == 0


def test_the_plan_ends_with_the_line_that_carries_it_out(held: LoopbackServices) -> None:
    line = ["publish", "results", "--computation", RUN, *BUCKET]
    shown = command(*line).stdout.splitlines()[-1]
    assert shown == f"-> to do it: asset-provenance {' '.join(line)} --yes"


def test_the_plan_is_given_as_json_too(held: LoopbackServices, asset: str, publish: Any) -> None:
    told = publish("--computation", RUN, *BUCKET, "--json").json
    assert told["published"] is None
    assert (told["plan"]["name"], told["plan"]["mount"]) == (asset, asset)
    assert told["plan"]["computation"] == RUN
    assert told["plan"]["existing"] is None


# What is done


def test_results_become_a_data_asset_a_record_and_a_request(
    held: LoopbackServices, asset: str, publish: Any
) -> None:
    told = publish("--computation", RUN, *BUCKET, "--yes", "--request", "request.md")
    assert (told.status, told.err) == (0, "")
    (made_asset,) = held.codeocean.assets
    assert (made_asset["name"], made_asset["mount"], made_asset["state"]) == (asset, asset, "ready")
    assert made_asset["tags"] == ["derived", "Synthetic project", "ecephys", "model"]
    assert made_asset["description"] == "Units of a model"
    assert made_asset["provenance"]["computation"] == RUN
    (record,) = held.docdb.records
    location = f"s3://results-bucket/{made_asset['id']}"
    assert (record["name"], record["location"]) == (asset, location)
    assert registrations(held) == [
        {
            "s3_location": location,
            "name": asset,
            "co_asset_id": made_asset["id"],
            "co_computation_id": RUN,
        }
    ]
    request = Path("request.md").read_text()
    page = f"{held.environ['CODEOCEAN_DOMAIN']}/data-assets/{made_asset['id']}"
    for part in (
        asset, made_asset["id"], page, location, record["_id"], "aind-open-data",
        f"{made_asset['size']:,} bytes in {made_asset['files']} files", "Synthetic project",
        "ecephys", "CC-BY-4.0", "Allen Institute", "derived", CODE, "version 1.0.0",
        "Sample Scientist", "Example Researcher", "Units of a model", "found no error",
    ):  # fmt: skip
        assert part in request
    assert "saved the request for transfer in request.md" in told.out


def test_the_request_is_printed_where_no_file_is_given(
    held: LoopbackServices, publish: Any
) -> None:
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert "# Transfer of a data asset to aind-open-data" in told.out


def test_the_result_is_given_as_json_and_nothing_else_is_printed(
    held: LoopbackServices, publish: Any
) -> None:
    told = publish("--computation", RUN, *BUCKET, "--yes", "--json").json
    (made_asset,) = held.codeocean.assets
    (record,) = held.docdb.records
    assert told["published"]["id"] == made_asset["id"]
    assert told["published"]["record"] == record["_id"]
    assert told["published"]["request"].startswith("# Transfer")


def test_in_a_capsule_the_computation_and_the_token_are_found(
    held: LoopbackServices, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CO_COMPUTATION_ID", RUN)
    monkeypatch.setenv("CUSTOM_KEY", os.environ["CODEOCEAN_TOKEN"])
    monkeypatch.delenv("CODEOCEAN_TOKEN")
    monkeypatch.setenv("CODEOCEAN_DOMAIN", os.environ["CODEOCEAN_DOMAIN"].removeprefix("https://"))
    assert publish(*BUCKET, "--yes").status == 0
    assert len(held.codeocean.assets) == 1


def test_a_folder_in_the_results_is_captured_alone(
    services: LoopbackServices, asset: str, publish: Any
) -> None:
    files = {f"units/{path.relative_to(RESULTS)}": path.read_bytes() for path in all_files()}
    services.codeocean.polls_until_ready = 0
    services.codeocean.add_computation(RUN, files={**files, "log.txt": "x"})
    told = publish("--computation", RUN, *BUCKET)
    assert told.status == 2
    assert "there is no data_description.json in the results" in told.err
    assert "--path" in told.err
    assert publish("--computation", RUN, "--path", "units", *BUCKET, "--yes").status == 0
    assert services.codeocean.assets[0]["files"] == len(files)


def test_files_in_a_scratch_bucket_stay_there(
    services: LoopbackServices, asset: str, publish: Any
) -> None:
    put_in_s3(services)
    told = publish("--s3", f"{S3}/", "--yes")
    assert (told.status, told.err) == (0, "")
    (made_asset,) = services.codeocean.assets
    assert made_asset["source_bucket"]["external"] is True
    assert made_asset["source_bucket"]["prefix"] == "someone/units"
    assert registrations(services) == [{"s3_location": S3}]
    assert services.docdb.records[0]["location"] == S3
    assert S3 in told.out


def test_in_a_session_the_folder_itself_is_captured(
    services: LoopbackServices, asset: str, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session(services, monkeypatch)
    assert publish(*BUCKET, "--yes").status == 0
    (made_asset,) = services.codeocean.assets
    assert made_asset["files"] == len(all_files())


def test_a_slow_data_asset_is_waited_for(held: LoopbackServices, publish: Any) -> None:
    held.codeocean.polls_until_ready = 2
    assert publish("--computation", RUN, *BUCKET, "--yes").status == 0
    assert held.codeocean.assets[0]["state"] == "ready"
    assert len(held.docdb.records) == 1


# Once is enough


def test_a_second_run_does_nothing_twice(held: LoopbackServices, publish: Any) -> None:
    line = ("--computation", RUN, *BUCKET, "--yes")
    first = publish(*line, "--json").json
    before = [one for one in held.codeocean.requests if one.method == "PUT"]
    second = publish(*line, "--json").json
    assert second["published"] == first["published"]
    assert any("was there already" in step for step in second["done"])
    assert asked(held, "POST", CREATE) == len(registrations(held)) == 1
    assert [one for one in held.codeocean.requests if one.method == "PUT"] == before
    assert "the data asset is there already" in publish(*line[:-1]).out


def test_a_data_asset_whose_creation_was_not_answered_is_found_not_made_again(
    held: LoopbackServices, publish: Any
) -> None:
    held.codeocean.fail(Fault(drop="after"), method="POST", path=CREATE)
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert (told.status, told.err) == (0, "")
    assert asked(held, "POST", CREATE) == len(held.codeocean.assets) == 1


@pytest.mark.parametrize(
    "fault", [Fault(drop="before"), Fault(status=500), Fault(status=504), Fault(body=b"<html>")]
)
def test_a_creation_that_nobody_knows_of_is_never_asked_for_twice_in_one_run(
    held: LoopbackServices, publish: Any, fault: Fault
) -> None:
    held.codeocean.fail(fault, method="POST", path=CREATE)
    told = publish("--computation", RUN, *BUCKET, "--yes", "--timeout", 1)
    assert asked(held, "POST", CREATE) == 1
    if held.codeocean.assets:  # it was done, and told of in words that nobody understands
        assert told.status == 0
        return
    assert told.status == 1
    assert "done so far: nothing" in told.err
    assert "To go on, run again: asset-provenance" in told.err
    assert publish("--computation", RUN, *BUCKET, "--yes").status == 0
    assert len(held.codeocean.assets) == 1


def test_a_lost_creation_that_shows_late_is_waited_for_by_the_same_run(
    held: LoopbackServices, publish: Any
) -> None:
    held.codeocean.fail(Fault(drop="after"), method="POST", path=CREATE)
    # The plan's own searches, and the first four that look for what became of it.
    held.codeocean.fail(Fault(body=NOTHING_FOUND), 6, method="POST", path=SEARCH)
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert (told.status, told.err) == (0, "")
    assert asked(held, "POST", CREATE) == len(held.codeocean.assets) == 1


def test_a_lost_creation_that_shows_after_the_run_is_adopted_by_the_next_one(
    held: LoopbackServices, publish: Any
) -> None:
    held.codeocean.fail(Fault(drop="after"), method="POST", path=CREATE)
    held.codeocean.fail(Fault(body=NOTHING_FOUND), None, method="POST", path=SEARCH)
    told = publish("--computation", RUN, *BUCKET, "--yes", "--timeout", 1)
    assert told.status == 1
    assert "Nobody knows whether the data asset is being made" in told.err
    assert "Wait until Code Ocean shows what it has made" in told.err
    held.codeocean.heal()
    assert publish("--computation", RUN, *BUCKET, "--yes").status == 0
    assert asked(held, "POST", CREATE) == len(held.codeocean.assets) == 1


def test_a_data_asset_of_the_same_name_from_something_else_is_refused(
    held: LoopbackServices, asset: str, publish: Any
) -> None:
    assert publish("--computation", RUN, *BUCKET, "--yes").status == 0
    other = held.codeocean.add_computation(folder=RESULTS)
    told = publish("--computation", other, *BUCKET, "--yes")
    assert told.status == 2
    assert f"has a data asset {asset} already, made from something else" in told.err
    assert len(held.codeocean.assets) == 1


def test_tags_and_a_description_that_are_not_there_are_set(
    held: LoopbackServices, publish: Any
) -> None:
    assert publish("--computation", RUN, *BUCKET, "--yes").status == 0
    (only,) = held.codeocean._assets.values()
    only.shown |= {"tags": [], "description": "", "custom_metadata": {"a": "b"}}
    assert "set its tags" in publish("--computation", RUN, *BUCKET, "--yes").out
    (made_asset,) = held.codeocean.assets
    assert made_asset["tags"] == ["derived", "Synthetic project", "ecephys", "model"]
    assert made_asset["description"] == "Units of a model"
    assert made_asset["custom_metadata"] == {"a": "b"}


def test_tags_and_a_description_that_somebody_has_set_stay_and_the_plan_says_so(
    held: LoopbackServices, publish: Any
) -> None:
    assert publish("--computation", RUN, *BUCKET, "--yes").status == 0
    (only,) = held.codeocean._assets.values()
    curated = {"tags": ["mine"], "description": "A text that the lab has written"}
    only.shown |= curated
    plan = publish("--computation", RUN, *BUCKET).out
    assert "tags: mine (left as they are there)" in plan
    assert "description: A text that the lab has written (left as it is there)" in plan
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert told.status == 0
    assert "left its tags and its description as they are there" in told.out
    (made_asset,) = held.codeocean.assets
    assert curated.items() <= made_asset.items()
    assert asked(held, "PUT") == 0


def test_an_archived_data_asset_of_the_same_name_is_not_made_again(
    held: LoopbackServices, asset: str, publish: Any
) -> None:
    assert publish("--computation", RUN, *BUCKET, "--yes").status == 0
    (only,) = held.codeocean._assets.values()
    only.archived = True
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert told.status == 2
    assert f"has a data asset {asset} already, which is archived" in told.err
    assert "take it out of the archive, or rename it" in told.err
    assert len(held.codeocean.assets) == 1
    assert len(registrations(held)) == 1


@pytest.mark.parametrize("s3_first", [True, False], ids=["S3 first", "computation first"])
def test_a_data_asset_in_s3_is_none_of_a_computation_nor_the_other_way_round(
    held: LoopbackServices, publish: Any, *, s3_first: bool
) -> None:
    put_in_s3(held)
    lines = [("--s3", S3), ("--computation", RUN, *BUCKET)]
    first, second = lines if s3_first else reversed(lines)
    assert publish(*first, "--yes").status == 0
    registered = registrations(held)
    told = publish(*second, "--yes")
    assert told.status == 2
    assert "already, made from something else" in told.err
    assert len(held.codeocean.assets) == 1
    assert registrations(held) == registered


def test_a_data_asset_of_another_folder_of_the_same_results_is_none_of_this_one(
    services: LoopbackServices, asset: str, publish: Any
) -> None:
    """Code Ocean does not tell which folder a data asset was made from; its files do."""
    files = {str(path.relative_to(RESULTS)): path.read_bytes() for path in all_files()}
    both = {f"{folder}/{path}": data for folder in "ab" for path, data in files.items()}
    manifest = "provenance/asset-provenance.json"
    services.codeocean.polls_until_ready = 0
    services.codeocean.add_computation(RUN, files=both)
    assert publish("--computation", RUN, "--path", "a", *BUCKET, "--yes").status == 0
    (only,) = services.codeocean._assets.values()
    only.files = {**only.files, manifest: only.files[manifest].replace(b"a", b"b")}
    told = publish("--computation", RUN, "--path", "b", *BUCKET, "--yes")
    assert told.status == 2
    assert f"is not what results holds now ({manifest} differ)" in told.err
    assert len(services.codeocean.assets) == len(registrations(services)) == 1


def test_in_a_session_a_folder_that_changed_since_is_not_called_published(
    services: LoopbackServices, asset: str, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session(services, monkeypatch)
    assert publish(*BUCKET, "--yes").status == 0
    assert publish(*BUCKET, "--yes").status == 0
    (RESULTS / "units.csv").write_text("other content, longer\n")
    (RESULTS / "more.csv").write_text("z")
    told = publish(*BUCKET, "--yes")
    assert told.status == 2
    assert "is not what results holds now (more.csv, units.csv differ)" in told.err
    assert "Run the analysis again" in told.err


def test_the_request_tells_where_the_record_is(held: LoopbackServices, publish: Any) -> None:
    assert publish("--computation", RUN, *BUCKET, "--yes").status == 0
    there = registrations(held)[0]["s3_location"]
    told = publish("--computation", RUN, "--results-bucket", "another-bucket", "--yes")
    assert told.status == 0
    assert f"its record is there already: {held.docdb.records[0]['_id']} at {there}" in told.out
    assert f"- Files: `{there}`" in told.out
    assert "s3://another-bucket" not in told.out
    assert len(registrations(held)) == 1


# What lies in S3


def test_a_folder_in_s3_that_holds_something_else_is_not_registered(
    services: LoopbackServices, asset: str, publish: Any
) -> None:
    put_in_s3(services)
    (RESULTS / "units.csv").write_text("1,2\n3,4\n")
    for _ in range(2):
        told = publish("--s3", S3, "--yes")
        assert told.status != 0
        assert "is not what results holds: there are" in told.err
        assert f"bytes in {S3}" in told.err
    assert len(services.codeocean.assets) == 1
    assert registrations(services) == []


def test_the_record_of_another_asset_at_the_place_is_an_error_and_nothing_is_done(
    services: LoopbackServices, asset: str, publish: Any
) -> None:
    put_in_s3(services)
    services.docdb.add_records([{"name": "another", "location": f"{S3}/"}])
    told = publish("--s3", S3, "--yes")
    assert told.status == 1
    assert f"of another at {S3}, where {asset} should be" in told.err
    assert services.codeocean.assets == registrations(services) == []


def test_what_was_registered_under_another_name_is_told_and_not_registered_again(
    services: LoopbackServices, asset: str, publish: Any
) -> None:
    files = {str(path.relative_to(RESULTS)): path.read_bytes() for path in all_files()}
    described = files["data_description.json"].replace(b"model_units", b"model_other")
    services.codeocean.polls_until_ready = 0
    services.docdb.put_files(S3, {**files, "data_description.json": described})
    for _ in range(2):
        told = publish("--s3", S3, "--yes")
        assert told.status == 1
        assert f"where {asset} should be" in told.err
    assert len(registrations(services)) == 1


def test_a_record_that_is_not_to_be_seen_yet_is_no_success_and_not_made_again(
    held: LoopbackServices, publish: Any
) -> None:
    held.docdb.fail(Fault(body=b"[]"), 5, path="/aggregate")
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert told.status == 1
    assert "its record is not to be seen yet: wait a few minutes" in told.err
    held.docdb.fail(Fault(body=b"[]"), 2, path="/aggregate")
    assert publish("--computation", RUN, *BUCKET, "--yes").status == 0
    assert len(registrations(held)) == 1


# What goes wrong at a service


def test_a_data_asset_that_fails_is_told_with_its_reason_and_made_anew_the_next_time(
    held: LoopbackServices, publish: Any
) -> None:
    held.codeocean.failure_reason = "the disk is full"
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert told.status == 1
    assert "could not make the data asset" in told.err
    assert "the disk is full. Mend that and remove this one" in told.err
    assert registrations(held) == []
    held.codeocean.failure_reason = None
    assert publish("--computation", RUN, *BUCKET, "--yes").status == 0
    assert [one["state"] for one in held.codeocean.assets] == ["failed", "ready"]


def test_a_data_asset_that_takes_too_long_is_left_to_code_ocean_and_waited_for_the_next_time(
    held: LoopbackServices, publish: Any
) -> None:
    held.codeocean.polls_until_ready = float("inf")
    told = publish("--computation", RUN, *BUCKET, "--yes", "--timeout", 1)
    assert told.status == 1
    assert "is not ready after 1 s: its state is draft" in told.err
    assert "done so far: created the data asset" in told.err
    (only,) = held.codeocean._assets.values()
    only.looks = 0
    assert publish("--computation", RUN, *BUCKET, "--yes").status == 0
    assert len(held.codeocean.assets) == 1


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "the token in CODEOCEAN_TOKEN is not valid there"),
        (403, "does not give the right to"),
        (400, "answered 400"),
    ],
)
def test_what_code_ocean_refuses_is_told_and_not_asked_again(
    held: LoopbackServices, publish: Any, status: int, words: str
) -> None:
    held.codeocean.fail(Fault(status=status), None)
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert told.status == 1
    assert words in told.err
    assert len(held.codeocean.requests) == 1


def test_what_the_metadata_database_refuses_leaves_the_data_asset_and_a_way_on(
    held: LoopbackServices, publish: Any
) -> None:
    held.docdb.fail(Fault(status=403), path="/assets/register")
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert told.status == 1
    assert "do not give the right to register" in told.err
    assert f"done so far: created the data asset {held.codeocean.assets[0]['id']}" in told.err
    assert len(registrations(held)) == 1
    assert publish("--computation", RUN, *BUCKET, "--yes").status == 0
    assert len(held.codeocean.assets) == len(held.docdb.records) == 1


def test_a_registration_whose_answer_was_lost_is_found_not_made_again(
    held: LoopbackServices, publish: Any
) -> None:
    held.docdb.fail(Fault(drop="after"), path="/assets/register")
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert (told.status, told.err) == (0, "")
    assert len(registrations(held)) == len(held.docdb.records) == 1


def test_what_passes_is_asked_again(held: LoopbackServices, publish: Any) -> None:
    held.codeocean.fail(Fault(status=503), 2)
    held.codeocean.fail(Fault(drop="before"), path=RUN)
    held.codeocean.fail(Fault(status=429, headers={"Retry-After": "1"}), method="POST", path=CREATE)
    held.docdb.fail(Fault(status=502))
    assert publish("--computation", RUN, *BUCKET, "--yes").status == 0
    assert len(held.codeocean.assets) == len(held.docdb.records) == 1


def test_a_service_that_hangs_or_drips_ends_in_an_error(
    held: LoopbackServices, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_SERVICE_TIMEOUT", "0.3")
    for fault in (Fault(delay=30), Fault(drip=0.05)):
        held.codeocean.heal()
        held.codeocean.fail(fault, None)
        told = publish("--computation", RUN, *BUCKET, "--yes")
        assert told.status == 1
        assert "it did not answer in time" in told.err


# What is refused before


def test_all_that_stands_against_publishing_is_told_at_once(
    services: LoopbackServices, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ASSET_PROVENANCE_CODE_URL")
    made(restrictions="Ask before use")
    for name in ("CODEOCEAN_DOMAIN", "CODEOCEAN_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("ASSET_PROVENANCE_OFFLINE", "true")
    told = publish("--yes")
    assert told.status == 2
    for words in (
        'it has restrictions: "Ask before use"', "--despite-restrictions",
        "others cannot reach the code of fit (file://", "ASSET_PROVENANCE_CODE_URL",
        "offline is set (ASSET_PROVENANCE_OFFLINE)", "--computation ID", "CO_COMPUTATION_ID",
        "CODEOCEAN_DOMAIN", "CODEOCEAN_TOKEN, CODEOCEAN_API_TOKEN, CODE_OCEAN_API_TOKEN",
    ):  # fmt: skip
        assert words in told.err
    assert services.codeocean.requests == services.docdb.requests == []


def test_restrictions_are_published_when_told_so(services: LoopbackServices, publish: Any) -> None:
    made(restrictions="Ask before use")
    services.codeocean.polls_until_ready = 0
    services.codeocean.add_computation(RUN, folder=RESULTS)
    line = ("--computation", RUN, *BUCKET, "--yes")
    assert publish(*line).status == 2
    told = publish(*line, "--despite-restrictions")
    assert told.status == 0
    assert "- Restrictions: `Ask before use`" in told.out


@pytest.mark.parametrize(
    "url",
    ["file:///root/capsule", "http://localhost:8080/x", "https://10.1.2.3/x", "https://git/lab/x"],
)
def test_code_that_others_cannot_reach_is_refused(
    services: LoopbackServices, publish: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_CODE_URL", url)
    made()
    services.codeocean.add_computation(RUN, folder=RESULTS)
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert told.status == 2
    assert f"others cannot reach the code of fit ({url}" in told.err
    assert services.codeocean.assets == []


def test_code_of_an_input_is_not_this_asset_s_to_mend(
    services: LoopbackServices, publish: Any, data_root: Path
) -> None:
    code = {"url": "file:///somewhere", "version": "1"}
    raw = make_asset(
        data_root, carried=(), processing={"data_processes": [process("sort", code=code)]}
    )
    with DerivedAsset("units", inputs=raw, strict=True, **PEOPLE), track_process("fit"):
        pass
    services.codeocean.add_computation(RUN, folder=RESULTS)
    told = publish("--computation", RUN, *BUCKET)
    assert (told.status, told.err) == (0, "")
    assert told.out.splitlines()[-1].startswith("-> to do it")
    assert any(line.startswith(f"{RAW}_units_") for line in told.out.splitlines())


def test_metadata_with_errors_are_not_published(held: LoopbackServices, publish: Any) -> None:
    path = RESULTS / "data_description.json"
    write_json(path, {**read_json(path), "modalities": []})
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert told.status == 1
    assert "no modality is named" in told.out
    assert "is not published: mend what is wrong first" in told.err
    assert held.codeocean.requests == []


def test_results_that_are_not_what_was_checked_are_refused(
    services: LoopbackServices, asset: str, publish: Any
) -> None:
    files = {str(path.relative_to(RESULTS)): path.read_bytes() for path in all_files()}
    services.codeocean.add_computation(RUN, files={**files, "processing.json": "{}"})
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert told.status == 2
    assert "processing.json differ" in told.err


def test_results_of_another_run_of_the_same_size_are_refused(
    services: LoopbackServices, asset: str, publish: Any
) -> None:
    files = {str(path.relative_to(RESULTS)): path.read_bytes() for path in all_files()}
    other = {path: data.replace(b"Units", b"Unity") for path, data in files.items()}
    assert {path: len(data) for path, data in other.items()} == {
        path: len(data) for path, data in files.items()
    }
    services.codeocean.add_computation(RUN, files=other)
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert told.status == 2
    assert "(data_description.json differ): what would be captured is not what was" in told.err
    assert services.codeocean.assets == []


def test_results_with_other_data_are_refused(
    services: LoopbackServices, asset: str, publish: Any
) -> None:
    services.codeocean.add_computation(RUN, folder=RESULTS)
    (RESULTS / "units.csv").write_text("1,2\n3,4\n")
    (RESULTS / "new.csv").write_text("5\n")
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert told.status == 2
    assert "(new.csv, units.csv differ): what would be captured is not what was" in told.err
    assert services.codeocean.assets == []


def test_results_with_another_manifest_are_refused(
    services: LoopbackServices, asset: str, publish: Any
) -> None:
    files = {str(path.relative_to(RESULTS)): path.read_bytes() for path in all_files()}
    manifest = "provenance/asset-provenance.json"
    files[manifest] = files[manifest].replace(b"0", b"1")
    services.codeocean.add_computation(RUN, files=files)
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert told.status == 2
    assert f"({manifest} differ)" in told.err


def test_files_that_drip_while_they_are_compared_end_in_an_error(
    held: LoopbackServices, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_SERVICE_TIMEOUT", "1")
    held.codeocean.fail(Fault(drip=0.05), None, path=f"{RUN}/data_description.json")
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert told.status == 1
    assert f"was asked for data_description.json of the computation {RUN}" in told.err
    assert "it did not answer in time" in told.err


@pytest.mark.parametrize("end_status", ["failed", "stopped"])
def test_a_computation_that_did_not_succeed_is_not_published(
    services: LoopbackServices, asset: str, publish: Any, end_status: str
) -> None:
    services.codeocean.add_computation(RUN, folder=RESULTS, end_status=end_status)
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert told.status == 2
    assert f"the computation {RUN} has {end_status}, so that its results" in told.err
    assert services.codeocean.assets == []


@pytest.mark.parametrize(
    ("path", "body"),
    [("/results", b'{"items": null}'), (SEARCH, b'{"has_more": false, "results": null}')],
)
def test_lists_that_are_none_are_told_as_a_fault_of_the_service(
    held: LoopbackServices, publish: Any, path: str, body: bytes
) -> None:
    held.codeocean.fail(Fault(body=body), None, path=path)
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert told.status == 1
    assert "it answered with something that its client cannot read" in told.err


@pytest.mark.parametrize("state", ["initializing", "running", "finalizing"])
def test_a_computation_that_still_runs_has_no_results_to_capture(
    services: LoopbackServices, asset: str, publish: Any, state: str
) -> None:
    services.codeocean.add_computation(RUN, folder=RESULTS, state=state)
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert told.status == 2
    assert f"the computation {RUN} is {state}" in told.err


def test_a_session_that_goes_on_elsewhere_is_refused(
    services: LoopbackServices, asset: str, publish: Any
) -> None:
    services.codeocean.add_computation(RUN, folder=RESULTS, state="running", cloud_workstation=True)
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert told.status == 2
    assert "is a session that goes on elsewhere" in told.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--computation", "nothing-of-it", *BUCKET), "has no computation nothing-of-it"),
        (("--computation", "../data_assets", *BUCKET), "has no computation ../data_assets"),
        (("--computation", RUN), "give --results-bucket BUCKET, or --no-register"),
        (("--computation", RUN, "--s3", S3), "give one or the other"),
        (("--computation", RUN, "--path", "../x", *BUCKET), "--path ../x"),
        (("--s3", "https://example.org/x"), "it must be as s3://bucket/folder"),
        (("--s3", "s3://bucket"), "it must be as s3://bucket/folder"),
        (("--s3", "s3://bucket/a/../b"), "it must be as s3://bucket/folder"),
        (("--s3", "s3://bucket/a//b"), "it must be as s3://bucket/folder"),
        (("--computation", RUN, "--results-bucket", "s3://a-bucket/x"), "the name of a bucket"),
        (("--computation", RUN, "--results-bucket", "A bucket"), "the name of a bucket"),
    ],
)
def test_a_source_that_cannot_be_is_refused(
    held: LoopbackServices, publish: Any, arguments: tuple[str, ...], words: str
) -> None:
    told = publish(*arguments, "--yes")
    assert told.status == 2
    assert words in told.err
    assert held.codeocean.assets == []


@pytest.mark.parametrize("domain", ["http://codeocean.example.org", "a b", "x/../y", "u:p@host"])
def test_a_token_is_sent_to_no_place_that_is_no_host_or_not_encrypted(
    held: LoopbackServices, publish: Any, domain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEOCEAN_DOMAIN", domain)
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert told.status == 2
    assert "CODEOCEAN_DOMAIN: it must be a host" in told.err


def test_a_pipeline_that_our_own_processes_name_counts_beside_inherited_ones(
    services: LoopbackServices, publish: Any, data_root: Path
) -> None:
    code = {"url": "https://github.com/up/up", "version": "1"}
    raw = make_asset(
        data_root, carried=(), processing={"data_processes": [process("sort", code=code)]}
    )
    pipeline = Code(name="P", url="file:///root/capsule", version="1")
    asset = DerivedAsset(
        "units", inputs=raw, strict=True, **PEOPLE, pipelines=[pipeline], pipeline_name="P"
    )
    with asset, track_process("fit"):
        pass
    services.codeocean.add_computation(RUN, folder=RESULTS)
    told = publish("--computation", RUN, *BUCKET)
    assert told.status == 2
    assert "others cannot reach the code of the pipeline (file:///root/capsule" in told.err


# Ended in the middle


@pytest.mark.parametrize("json_too", [False, True])
def test_an_interrupt_while_it_waits_tells_what_is_done_and_how_to_go_on(
    held: LoopbackServices, *, json_too: bool
) -> None:
    held.codeocean.polls_until_ready = float("inf")
    more = ["--json"] if json_too else []
    with started("publish", RESULTS, "--computation", RUN, *BUCKET, "--yes", *more) as running:
        wait_until(lambda: asked(held, "GET", held.codeocean.assets[0]["id"]) > 0, running)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    made_id = held.codeocean.assets[0]["id"]
    assert f"done so far: created the data asset {made_id}. To go on, run again" in err
    assert "asset-provenance: interrupted" in err
    if json_too:
        told = json.loads(out)
        assert told["done"] == [f"created the data asset {made_id}"]
        assert told["error"] == "interrupted"


def test_an_interrupt_while_the_data_asset_is_asked_for_says_to_wait(
    held: LoopbackServices,
) -> None:
    held.codeocean.fail(Fault(delay=30), method="POST", path=CREATE)
    with started("publish", RESULTS, "--computation", RUN, *BUCKET, "--yes") as running:
        wait_until(lambda: bool(held.codeocean.assets), running)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "did not wait for the answer: give Code Ocean a few minutes to show it" in err


def test_who_stops_reading_the_output_does_not_stop_the_publishing(
    held: LoopbackServices,
) -> None:
    held.codeocean.polls_until_ready = 2
    with started("publish", RESULTS, "--computation", RUN, *BUCKET, "--yes") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        while "created the data asset" not in running.stdout.readline():
            assert running.poll() is None
        running.stdout.close()
        err = running.stderr.read()
        running.wait(60)
    assert running.returncode == 1
    assert "Traceback" not in err
    assert "all was done, but nobody read it to its end" in err
    assert len(held.docdb.records) == 1


# Registration


def test_without_aws_credentials_the_request_asks_to_register_it(
    held: LoopbackServices, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    line = ("--computation", RUN, *BUCKET)
    assert "not register it: no AWS credentials" in publish(*line).out
    told = publish(*line, "--yes")
    assert (told.status, told.err) == (0, "")
    assert "please register it" in told.out
    assert held.docdb.requests == []


def test_an_aws_profile_that_is_not_there_is_told_and_ends_nothing(
    held: LoopbackServices, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert (told.status, told.err) == (0, "")
    assert "could not be found" in told.out


def test_registration_can_be_left_to_others(held: LoopbackServices, publish: Any) -> None:
    told = publish("--computation", RUN, "--no-register", "--yes")
    assert told.status == 0
    assert "please register it" in told.out
    assert "None" not in told.out
    assert held.docdb.requests == []


@pytest.mark.parametrize("bucket", ["s3://results-bucket/", "s3://results-bucket"])
def test_the_bucket_of_results_may_be_given_as_its_url(
    held: LoopbackServices, publish: Any, bucket: str
) -> None:
    assert publish("--computation", RUN, "--results-bucket", bucket, "--yes").status == 0
    made_id = held.codeocean.assets[0]["id"]
    assert held.docdb.records[0]["location"] == f"s3://results-bucket/{made_id}"


# Patches of uncommitted changes


def add_patch(folder: Path = RESULTS, content: bytes = b"diff --git a/x b/x\n") -> None:
    """Let the asset hold a patch, as a run of changed code leaves it."""
    from asset_provenance.metadata.writer import FileToWrite, write_set

    path = folder / "processing.json"
    processing = read_json(path)
    processing["data_processes"][0]["notes"] = f"1 file has uncommitted changes, kept as {PATCH}"
    manifest = read_json(folder / "provenance/asset-provenance.json")
    files = [
        FileToWrite(name, (folder / name).read_bytes())
        for name in manifest.pop("files")
        if name != "processing.json"
    ]
    files += [
        FileToWrite("processing.json", json.dumps(processing).encode()),
        FileToWrite(PATCH, content),
    ]
    run_folder = folder / ".asset-provenance" / "1f"
    write_set(folder, run_folder, files, header=manifest, overwrite=True)
    shutil.rmtree(folder / ".asset-provenance")


def test_patches_in_results_that_cannot_be_changed_are_published_only_when_asked(
    services: LoopbackServices, asset: str, publish: Any
) -> None:
    add_patch()
    services.codeocean.polls_until_ready = 0
    services.codeocean.add_computation(RUN, folder=RESULTS)
    line = ("--computation", RUN, *BUCKET, "--yes")
    told = publish(*line)
    assert told.status == 2
    assert f"uncommitted changes of the code would be published ({PATCH})" in told.err
    assert services.codeocean.assets == []
    told = publish(*line, "--with-patches")
    assert told.status == 0
    assert f"publish uncommitted code: {PATCH}" in told.out
    assert (RESULTS / PATCH).exists()


def test_patches_in_s3_are_refused_since_nothing_is_changed_there(
    services: LoopbackServices, asset: str, publish: Any
) -> None:
    add_patch()
    put_in_s3(services)
    told = publish("--s3", S3, "--yes")
    assert told.status == 2
    assert "is not changed from here" in told.err


def test_in_a_session_patches_are_left_out_kept_elsewhere_and_the_set_stays_right(
    services: LoopbackServices, asset: str, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_patch()
    session(services, monkeypatch)
    assert f"leave out {PATCH}" in publish(*BUCKET).out
    assert (RESULTS / PATCH).exists()
    told = publish(*BUCKET, "--yes")
    assert (told.status, told.err) == (0, "")
    (kept,) = Path("results-patches", asset).rglob("*.patch")
    assert kept.read_text() == "diff --git a/x b/x\n"
    (captured,) = services.codeocean._assets.values()
    assert not any(name.endswith(".patch") for name in captured.files)
    assert not any(name.startswith(".asset-provenance") for name in captured.files)
    assert b"whose patch was left out when this was published" in captured.files["processing.json"]
    assert main(["check", str(RESULTS)]) == 0


def test_in_a_session_patches_are_published_when_asked(
    services: LoopbackServices, asset: str, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_patch()
    session(services, monkeypatch)
    assert publish(*BUCKET, "--yes", "--with-patches").status == 0
    (captured,) = services.codeocean._assets.values()
    assert PATCH in captured.files


def test_a_folder_that_cannot_be_changed_keeps_its_patches_and_nothing_is_created(
    services: LoopbackServices, asset: str, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_patch()
    session(services, monkeypatch)
    with read_only(RESULTS):
        told = publish(*BUCKET, "--yes")
    assert told.status == 1
    assert "--with-patches" in told.err
    assert "Read-only file system" in told.err
    assert services.codeocean.assets == []
    assert (RESULTS / PATCH).exists()


def test_patches_in_folders_below_are_left_out_too(
    services: LoopbackServices, asset: str, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    atlas = RESULTS / "parts" / "atlas"
    made(atlas)
    add_patch()
    add_patch(atlas, b"diff --git a/y b/y\n")
    session(services, monkeypatch)
    told = publish(*BUCKET, "--yes")
    assert (told.status, told.err) == (0, "")
    assert f"leave out parts/atlas/{PATCH}, {PATCH}" in told.out
    (captured,) = services.codeocean._assets.values()
    assert not any(name.endswith(".patch") for name in captured.files)
    assert {path.read_text() for path in Path("results-patches").rglob("*.patch")} == {
        "diff --git a/x b/x\n",
        "diff --git a/y b/y\n",
    }
    assert main(["check", str(RESULTS)]) == main(["check", str(atlas)]) == 0


def test_patches_in_folders_below_results_that_cannot_be_changed_are_refused(
    services: LoopbackServices, asset: str, publish: Any
) -> None:
    atlas = RESULTS / "parts" / "atlas"
    made(atlas)
    add_patch(atlas)
    services.codeocean.polls_until_ready = 0
    services.codeocean.add_computation(RUN, folder=RESULTS)
    shutil.rmtree(RESULTS / "parts")  # what is captured counts, not what lies here
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert told.status == 2
    assert f"would be published (parts/atlas/{PATCH})" in told.err
    assert services.codeocean.assets == []
    told = publish("--computation", RUN, *BUCKET, "--yes", "--with-patches")
    assert told.status == 0
    assert "Patches of uncommitted code are part of it" in told.out


def test_the_record_of_a_run_in_a_folder_below_is_not_published(
    services: LoopbackServices, asset: str, publish: Any
) -> None:
    journal = RESULTS / "parts" / ".asset-provenance" / "1f"
    journal.mkdir(parents=True)
    (journal / "2e.jsonl").touch()
    services.codeocean.add_computation(RUN, folder=RESULTS)
    line = ("--computation", RUN, *BUCKET, "--yes")
    told = publish(*line)
    assert told.status == 2
    assert "results/parts/.asset-provenance holds the record of a run" in told.err
    assert "asset-provenance recover results/parts" in told.err
    shutil.rmtree(RESULTS / "parts")
    told = publish(*line)
    assert told.status == 2
    assert "parts/.asset-provenance in the results of the computation" in told.err
    assert services.codeocean.assets == []


def test_a_patch_that_was_kept_is_never_replaced_by_another(
    services: LoopbackServices, asset: str, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session(services, monkeypatch)
    kept = Path("results-patches", asset, PATCH)
    kept.parent.mkdir(parents=True)
    kept.write_text("of the morning\n")
    add_patch(content=b"of the afternoon\n")
    assert publish(*BUCKET, "--yes").status == 0
    assert kept.read_text() == "of the morning\n"
    assert kept.with_stem(f"{kept.stem}-2").read_text() == "of the afternoon\n"
    shutil.rmtree(RESULTS)
    other = made(data_summary="Another")
    add_patch(content=b"of the evening\n")
    services.codeocean._assets.clear()
    assert publish(*BUCKET, "--yes").status == 0
    assert kept.read_text() == "of the morning\n"
    assert "of the evening\n" in {
        one.read_text() for one in Path("results-patches", other).rglob("*.patch")
    }


def test_patches_that_the_data_asset_holds_already_are_told_and_stay_in_the_folder(
    services: LoopbackServices, asset: str, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_patch()
    session(services, monkeypatch)
    assert publish(*BUCKET, "--yes", "--with-patches").status == 0
    told = publish(*BUCKET, "--yes")
    assert told.status == 2
    assert "which is there already, holds them" in told.err
    assert (RESULTS / PATCH).exists()
    assert not Path("results-patches").exists()
    told = publish(*BUCKET, "--yes", "--with-patches")
    assert told.status == 0
    assert "Patches of uncommitted code are part of it" in told.out


def test_patches_of_a_set_without_a_manifest_stay_and_the_way_out_is_told(
    services: LoopbackServices, asset: str, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_patch()
    (RESULTS / "provenance/asset-provenance.json").unlink()
    session(services, monkeypatch)
    told = publish(*BUCKET, "--yes")
    assert told.status == 1
    assert "there is no provenance/asset-provenance.json" in told.err
    assert "move them away by hand, or publish them too: --with-patches" in told.err
    assert "writable" not in told.err
    assert (RESULTS / PATCH).exists()
    assert not Path("results-patches").exists()
    assert services.codeocean.assets == []


def test_a_file_in_the_place_of_kept_patches_is_told_and_nothing_is_left_behind(
    services: LoopbackServices, asset: str, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_patch()
    before = sorted(RESULTS.rglob("*"))
    Path("results-patches").write_text("mine")
    session(services, monkeypatch)
    told = publish(*BUCKET, "--yes")
    assert told.status == 1
    assert "the patches cannot be kept in" in told.err
    assert "move away what is in the way" in told.err
    assert Path("results-patches").read_text() == "mine"
    assert sorted(RESULTS.rglob("*")) == before


def test_a_read_only_folder_without_patches_is_published(
    held: LoopbackServices, publish: Any
) -> None:
    with read_only(RESULTS):
        assert publish("--computation", RUN, *BUCKET, "--yes").status == 0
    assert len(held.docdb.records) == 1


def test_the_record_of_a_run_without_metadata_is_not_published(
    held: LoopbackServices, publish: Any
) -> None:
    (RESULTS / ".asset-provenance" / "1f").mkdir(parents=True)
    (RESULTS / ".asset-provenance" / "1f" / "2e.jsonl").touch()
    told = publish("--computation", RUN, *BUCKET, "--yes")
    assert told.status == 2
    assert "asset-provenance recover" in told.err


# What is told, and what never is


def test_hostile_metadata_stay_text_in_the_request(
    services: LoopbackServices, publish: Any
) -> None:
    summary = "`x` [click](javascript:x) ``y`` <script> | @everyone\n\n# Approved ![i](http://h)"
    made(data_summary=summary)
    services.codeocean.polls_until_ready = 0
    services.codeocean.add_computation(RUN, folder=RESULTS)
    told = publish("--computation", RUN, *BUCKET, "--yes", "--request", "request.md")
    assert told.status == 0
    (line,) = [one for one in Path("request.md").read_text().splitlines() if "click" in one]
    assert line.startswith("- Summary: ``` `x` [click]")
    assert line.endswith(" ```")


def test_what_an_editor_would_act_upon_is_written_out_in_the_request(
    services: LoopbackServices, publish: Any
) -> None:
    made(data_summary="red \x1b[31m and turned \u202e round")
    services.codeocean.polls_until_ready = 0
    services.codeocean.add_computation(RUN, folder=RESULTS)
    line = ("--computation", RUN, *BUCKET, "--yes", "--request", "request.md")
    assert publish(*line).status == 0
    request = Path("request.md").read_text()
    assert r"red \x1b[31m and turned \u202e round" in request
    assert not {"\x1b", "\u202e"} & set(request)


def test_who_asks_is_not_an_investigator_of_data_from_outside(
    services: LoopbackServices, publish: Any
) -> None:
    RESULTS.mkdir()
    (RESULTS / "atlas.nrrd").write_text("x")
    ExternalAsset(
        "atlas", source="https://example.org/a.zip", creation_time="2024-04-21",
        institution="UPENN", investigators=["Outside Investigator"], modalities=["MRI"],
        funding_source=["NIMH:RF1"], license="CC-BY-4.0", output_dir=RESULTS,
    ).write()  # fmt: skip
    put_in_s3(services)
    told = publish("--s3", S3, "--yes")
    assert (told.status, told.err) == (0, "")
    _, asked_by = told.out.split("## Asked by")
    assert "Outside Investigator" not in asked_by
    assert "- People: (please fill in)\n" in asked_by


def test_a_token_among_the_arguments_is_not_printed(held: LoopbackServices, publish: Any) -> None:
    canary = "cop_C4naryZZZZC4naryZZZZ1234"
    told = publish("--computation", canary, *BUCKET)
    assert told.status == 2
    assert canary not in told.out + told.err
    put_in_s3(held)
    line = ("--s3", f"s3://bucket/{canary}")
    told = publish(*line)
    assert told.status == 0
    assert canary not in told.out + told.err
    told = command("publish", RESULTS, *line)
    assert "-> to do it: asset-provenance publish" in told.stdout
    assert canary not in told.stdout + told.stderr + publish(*line, "--json").out


def test_no_token_or_key_is_printed_or_written_whatever_the_services_answer(
    held: LoopbackServices, tmp_path: Path
) -> None:
    token, *keys = canaries = [
        os.environ[name]
        for name in ("CODEOCEAN_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ]
    line = ("publish", "results", "--computation", RUN, *BUCKET, "--yes", "--request", "r.md")
    told = ""
    for service, path, secrets in (
        (held.codeocean, "", [token]),
        (held.codeocean, CREATE, [token]),
        (held.docdb, "/register", keys),
    ):
        echo = json.dumps({"message": f"no: {' '.join(secrets)} you"}).encode()
        service.fail(Fault(status=400, body=echo), path=path)
        done = command(*line)
        assert done.returncode == 1
        assert f"no: {' '.join('[redacted]' for _ in secrets)} you" in done.stderr
        told += done.stdout + done.stderr
    done = command(*line)
    assert done.returncode == 0
    told += done.stdout + done.stderr + command(*line, "--json").stdout
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for canary in canaries:
        assert canary not in told
        assert canary.encode() not in written


def test_a_secret_in_the_metadata_reaches_neither_service(
    services: LoopbackServices, publish: Any
) -> None:
    canary = "ghp_c4naryC4NARYc4naryC4NARYc4nary012345"
    made(data_summary=f"from https://user:{canary}@example.org/x")
    services.codeocean.polls_until_ready = 0
    services.codeocean.add_computation(RUN, folder=RESULTS)
    told = publish("--computation", RUN, *BUCKET, "--yes")
    sent = b"".join(one.content for one in services.codeocean.requests)
    assert canary.encode() not in sent
    assert canary not in told.out + told.err


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("nowhere/request.md", "there is no folder nowhere"),
        (".", "that is a folder"),
        ("/", "that is a folder"),
        ("results", "that is a folder"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_request_that_cannot_be_saved_is_told_before_anything_is_done(
    held: LoopbackServices, publish: Any, place: str, reason: str
) -> None:
    told = publish("--computation", RUN, *BUCKET, "--yes", "--request", place)
    assert told.status == 2
    assert "the request cannot be saved as" in told.err
    assert reason in told.err
    assert "give another --request" in told.err
    assert held.codeocean.requests == held.docdb.requests == []


def test_a_request_that_cannot_be_saved_in_the_end_is_printed(
    held: LoopbackServices, asset: str
) -> None:
    place = Path("requests")
    place.mkdir()
    held.codeocean.polls_until_ready = 2
    line = ("--computation", RUN, *BUCKET, "--yes", "--request", place / "request.md")
    with started("publish", RESULTS, *line) as running:
        wait_until(lambda: bool(held.codeocean.assets), running)
        place.rmdir()
        out, err = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "the request cannot be saved as requests/request.md: No such file" in err
    assert "done so far: created the data asset" in err
    assert f"Please transfer `{asset}`" in out
    assert len(held.docdb.records) == 1


def test_a_request_is_not_saved_in_a_folder_that_a_session_captures(
    services: LoopbackServices, asset: str, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session(services, monkeypatch)
    told = publish(*BUCKET, "--yes", "--request", RESULTS / "request.md")
    assert told.status == 2
    assert "give a --request beside it" in told.err
    assert services.codeocean.assets == []


def test_nothing_is_logged_as_a_warning_when_all_is_well(
    held: LoopbackServices, publish: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert publish("--computation", RUN, *BUCKET, "--yes").status == 0
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_help_names_every_option() -> None:
    told = command("publish", "--help").stdout
    for option in (
        "--yes", "--computation", "--path", "--s3", "--with-patches", "--despite-restrictions",
        "--no-register", "--request", "--timeout", "--json", "--results-bucket",
    ):  # fmt: skip
        assert re.search(rf"{option}\b", told)


# Helpers


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "asset_provenance.cli", *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


@contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run the command beside this test, which must end it."""
    running = subprocess.Popen(
        [sys.executable, "-u", "-m", "asset_provenance.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with running:
            yield running
    finally:
        running.kill()


def wait_until(is_so: Callable[[], bool], running: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with suppress(IndexError):
            if is_so():
                return
        assert running.poll() is None
        time.sleep(0.05)
    pytest.fail("it did not come so far")


def all_files() -> list[Path]:
    return [path for path in RESULTS.rglob("*") if path.is_file()]


def put_in_s3(services: LoopbackServices) -> None:
    files = {str(path.relative_to(RESULTS)): path.read_bytes() for path in all_files()}
    services.codeocean.polls_until_ready = 0
    services.docdb.put_files(S3, files)


def session(services: LoopbackServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this be a session of a cloud workstation."""
    services.codeocean.polls_until_ready = 0
    services.codeocean.add_computation(RUN, folder=RESULTS, state="running", cloud_workstation=True)
    monkeypatch.setenv("CO_COMPUTATION_ID", RUN)


class read_only:  # noqa: N801 - reads as a sentence
    """Let a folder be on a file system that takes no writes, for root either."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        place = self._folder
        bound = f"mount --bind {place} {place} 2>/dev/null"
        if os.system(f"{bound} && mount -o remount,bind,ro {place} 2>/dev/null"):
            os.system(f"umount {place} 2>/dev/null")
            pytest.skip("needs the right to mount a folder read-only")

    def __exit__(self, *_: object) -> None:
        os.system(f"umount {self._folder}")
