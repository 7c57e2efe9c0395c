"""Registering in the metadata database through its real client, on loopback."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest

from asset_provenance.errors import ServiceError
from asset_provenance.services.registry import Registry, known_record
from asset_provenance.services.requesting import RefusedError, UnansweredError
from asset_provenance.testing import Fault, LoopbackServices
from helpers.assets import description

NAME = "model_units_2026-03-03_10-00-00"
LOCATION = "s3://aind-scratch-data/someone/units"


@pytest.fixture
def registry(services: LoopbackServices) -> Registry:
    services.docdb.put_files(LOCATION, {"data_description.json": description(NAME)})
    return made()


def made(seconds: float = 5.0) -> Registry:
    return Registry(os.environ["ASSET_PROVENANCE_DOCDB_HOST"], "v2", seconds=seconds)


def test_what_lies_in_s3_is_registered_by_its_location(
    registry: Registry, services: LoopbackServices
) -> None:
    assert registry.records(NAME) == []
    registry.register_external(LOCATION)
    (record,) = registry.records(NAME)
    (held,) = services.docdb.records
    assert (record.id, record.location) == (held["_id"], LOCATION)
    assert record.asset_ids == (services.codeocean.assets[0]["id"],)


def test_records_of_v1_name_their_data_assets_elsewhere(
    registry: Registry, services: LoopbackServices
) -> None:
    services.docdb.add_records(
        [
            {"name": NAME, "location": "s3://a/b", "external_links": {"Code Ocean": ["x", 3]}},
            {"name": NAME, "location": "s3://a/c", "external_links": "y"},
            {"name": f"{NAME}_more", "location": "s3://a/d"},
        ]
    )
    assert [one.asset_ids for one in registry.records(NAME)] == [("x",), ()]


def test_records_are_found_by_their_place_whatever_their_name(
    registry: Registry, services: LoopbackServices
) -> None:
    services.docdb.add_records(
        [{"name": "other", "location": f"{LOCATION}/"}, {"name": NAME, "location": "s3://a/b"}]
    )
    found = registry.records(NAME, LOCATION)
    assert {(one.name, one.location) for one in found} == {
        ("other", LOCATION),
        (NAME, "s3://a/b"),
    }
    with pytest.raises(ServiceError, match=f"of other at {LOCATION}, where {NAME} should be"):
        known_record(registry, NAME, LOCATION, "an-id")


def test_a_record_elsewhere_is_known_by_the_data_asset_that_it_names(
    registry: Registry, services: LoopbackServices
) -> None:
    links = {"Code Ocean": ["an-id"]}
    services.docdb.add_records([{"name": NAME, "location": "s3://a/b", "other_identifiers": links}])
    known = known_record(registry, NAME, LOCATION, "an-id")
    assert known is not None
    assert known.location == "s3://a/b"
    assert known_record(registry, NAME, LOCATION, "another") is None
    assert known_record(registry, NAME, None, None) is None


def test_requests_are_signed_with_the_user_s_credentials(
    registry: Registry, services: LoopbackServices
) -> None:
    registry.register_external(LOCATION)
    signature = services.docdb.requests[-1].header("Authorization")
    assert f"Credential={os.environ['AWS_ACCESS_KEY_ID']}/" in signature
    assert "/us-west-2/execute-api/" in signature


def test_without_a_region_requests_are_signed_for_the_database_s(
    registry: Registry, services: LoopbackServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    made().register_external(LOCATION)
    assert "/us-west-2/execute-api/" in services.docdb.requests[-1].header("Authorization")


def test_without_credentials_it_says_so_and_can_still_be_read(
    registry: Registry, services: LoopbackServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert registry.missing_rights is None
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    without = made()
    assert without.missing_rights == "no AWS credentials (there are none)"
    assert without.records(NAME) == []


def test_half_of_the_credentials_is_told(
    services: LoopbackServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "Partial credentials found" in (made().missing_rights or "")


def test_a_broken_file_of_credentials_is_told(
    services: LoopbackServices, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "credentials"
    broken.write_text("[default\nnothing")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(broken))
    assert "no AWS credentials (Unable to parse config file" in (made().missing_rights or "")


def test_what_a_program_that_should_give_credentials_prints_is_not_told(
    services: LoopbackServices, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\ncredential_process = sh -c 'echo C4nary >&2; exit 1'\n")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    assert made().missing_rights == "no AWS credentials (custom-process gave none)"


@pytest.mark.parametrize(("status", "words"), [(400, "400"), (403, "do not give the right")])
def test_a_refusal_is_told_and_not_asked_again(
    registry: Registry, services: LoopbackServices, status: int, words: str
) -> None:
    services.docdb.fail(Fault(status=status), None)
    with pytest.raises(RefusedError, match=words):
        registry.register_external(LOCATION)
    assert len(services.docdb.requests) == 1


@pytest.mark.parametrize(
    "fault",
    [Fault(drop="after"), Fault(drop="before"), Fault(status=502), Fault(body=b"<html>")],
    ids=["after", "before", "502", "unreadable"],
)
def test_a_registration_that_may_have_been_heard_is_not_asked_for_again(
    registry: Registry, services: LoopbackServices, fault: Fault
) -> None:
    services.docdb.fail(fault, None)
    with pytest.raises(UnansweredError):
        registry.register_external(LOCATION)
    assert len(services.docdb.requests) == 1


@pytest.mark.parametrize("body", [b'{"message": "no"}', b"[1]", b"<html>", b"null"], ids=str)
def test_records_that_make_no_sense_are_told_as_such(
    registry: Registry, services: LoopbackServices, body: bytes
) -> None:
    services.docdb.fail(Fault(body=body), None)
    with pytest.raises(UnansweredError, match="its client cannot read"):
        registry.records(NAME)


def test_reading_is_asked_again_where_that_may_help(
    registry: Registry, services: LoopbackServices
) -> None:
    services.docdb.fail(Fault(status=503))
    services.docdb.fail(Fault(drop="before"))
    assert registry.records(NAME) == []
    assert len(services.docdb.requests) == 3


def test_an_error_holds_no_key(registry: Registry, services: LoopbackServices) -> None:
    keys = [os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
    services.docdb.fail(Fault(status=400, body=" ".join(keys).encode()))
    with pytest.raises(RefusedError) as caught:
        registry.register_external(LOCATION)
    assert "[redacted] [redacted]" in str(caught.value)
    told = "".join(traceback.format_exception(caught.value))
    assert not any(key in told for key in keys)
