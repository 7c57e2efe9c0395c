"""The loopback metadata database, asked by its real client."""

from __future__ import annotations

import gc
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3.session
import pytest
import requests
from aind_data_access_api.document_db import MetadataDbClient
from codeocean import CodeOcean
from codeocean.data_asset import ComputationSource, DataAssetParams, Source

from asset_provenance.errors import UsageError
from asset_provenance.testing import Fault, LoopbackServices
from helpers.assets import RAW, description, read_json

PLACE = f"s3://some-bucket/{RAW}"
RUN = "c0ffee00-0000-4000-8000-000000000001"


def database(services: LoopbackServices, version: str = "v2") -> MetadataDbClient:
    """Give the real client, as a user with credentials has it."""
    return MetadataDbClient(
        host=f"localhost:{services.port}", version=version, boto=boto3.session.Session()
    )


@pytest.fixture
def client(services: LoopbackServices) -> Iterator[MetadataDbClient]:
    with database(services) as real:
        yield real


def record(number: int = 0, **changes: Any) -> dict[str, Any]:
    name = f"ecephys_{900_000 + number}_2026-03-02_18-30-05"
    return {
        "_id": f"id-{number}",
        "name": name,
        "location": f"s3://some-bucket/{name}",
        "data_description": description(name),
        "number": number,
        **changes,
    }


# Reading


def test_a_record_is_found_as_it_was_put_in(
    services: LoopbackServices, client: MetadataDbClient
) -> None:
    held = record(z=1.50, a={"µ": [1e-7, None, True]})
    services.docdb.add_records([held])
    assert client.retrieve_docdb_records({"name": held["name"]}) == [held]
    assert client.retrieve_docdb_records({"name": "nobody"}) == []


def test_projection_sort_limit_and_the_form_of_filters_are_mongodb_s(
    services: LoopbackServices, client: MetadataDbClient
) -> None:
    services.docdb.add_records(record(number) for number in range(5))
    found = client.retrieve_docdb_records(
        {"number": {"$gte": 1}, "data_description.data_level": "raw"},
        projection={"number": 1, "_id": 0},
        sort={"number": -1},
        limit=2,
    )
    assert found == [{"number": 4}, {"number": 3}]
    assert client._count_records({"number": {"$lt": 2}}) == {
        "total_record_count": 5,
        "filtered_record_count": 2,
    }
    assert len(client._get_records({"number": {"$in": [0, 4]}})) == 2


def test_three_hundred_records_come_with_one_request(
    services: LoopbackServices, client: MetadataDbClient
) -> None:
    held = [record(number) for number in range(300)]
    services.docdb.add_records(held)
    names = [one["name"] for one in held]
    assert client.fetch_records_by_filter_list("name", names) == held
    (asked,) = services.docdb.requests
    assert (asked.method, asked.path) == ("POST", "/v2/metadata_index/data_assets/aggregate")
    assert asked.body == [{"$match": {"name": {"$in": names}}}]


def test_the_versions_know_nothing_of_each_other(services: LoopbackServices) -> None:
    services.docdb.add_records([record(1)], version="v1")
    services.docdb.add_records([record(2)])
    for version, number in {"v1": 1, "v2": 2}.items():
        with database(services, version) as client:
            assert [one["number"] for one in client.retrieve_docdb_records({})] == [number]
        assert [one["number"] for one in services.docdb.records_of(version)] == [number]


REAL = sorted(
    ["zombie-squirrel/raw", "zombie-squirrel/derived", "zombie-squirrel/record"]
    + [f"aind-metadata-upgrader/rec_{one}" for one in ("4b0a4a00", "e87873c2", "ffd79a36")]
)


@pytest.mark.parametrize("place", REAL)
def test_a_real_record_comes_back_byte_for_byte(
    services: LoopbackServices, client: MetadataDbClient, samples: Path, place: str
) -> None:
    real = read_json(samples / place / "metadata.nd.json")
    services.docdb.add_records([real])
    (found,) = client.fetch_records_by_filter_list("name", [real["name"]])
    given = found if "_id" in real else {key: found[key] for key in found if key != "_id"}
    assert json.dumps(given) == json.dumps(real)


def test_what_was_given_and_what_is_given_out_are_copies(services: LoopbackServices) -> None:
    held = record(tags=["a"])
    services.docdb.add_records([held])
    held["tags"].append("b")
    services.docdb.records[0]["tags"].append("c")
    assert services.docdb.records[0]["tags"] == ["a"]


# The gateway


def test_an_answer_over_the_gateway_s_limit_is_refused_or_cut(
    services: LoopbackServices, client: MetadataDbClient
) -> None:
    services.docdb.add_records(record(number, much="x" * 1000) for number in range(10))
    services.docdb.max_payload = 5000
    with pytest.raises(requests.HTTPError, match="413"):
        client.aggregate_docdb_records([{"$match": {}}])
    with pytest.raises(requests.HTTPError, match="413"):
        client._get_records({})
    assert 0 < len(client._find_records({})) < 10
    # Its client asks for the rest.
    assert len(client.retrieve_docdb_records({})) == 10


def test_a_url_that_is_too_long_is_refused(
    services: LoopbackServices, client: MetadataDbClient
) -> None:
    for length in (9_000, 100_000):
        with pytest.raises(requests.HTTPError, match="414"):
            client.retrieve_docdb_records({"name": "x" * length})
    assert client.retrieve_docdb_records({}) == []


def test_a_pipeline_that_writes_is_refused(
    services: LoopbackServices, client: MetadataDbClient
) -> None:
    services.docdb.add_records([record()])
    inner = {"$facet": {"a": [{"$out": "elsewhere"}]}}
    for stage in ({"$out": "elsewhere"}, {"$merge": "elsewhere"}, inner):
        with pytest.raises(requests.HTTPError, match="403"):
            client.aggregate_docdb_records([stage])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "?filter=[1]", 400),
        ("GET", "?filter={", 400),
        ("GET", "?limit=-1", 400),
        ("GET", '?filter={"$wish":1}', 400),
        ("POST", "/aggregate", 400),
        ("GET", "/aggregate", 405),
        ("GET", "/wishes", 404),
        ("POST", "/insert_one", 403),
    ],
)
def test_what_nobody_can_answer_is_refused(
    services: LoopbackServices, method: str, path: str, status: int
) -> None:
    url = f"https://localhost:{services.port}/v2/metadata_index/data_assets{path}"
    answer = requests.request(method, url, data=b"{", timeout=10)
    assert answer.status_code == status
    assert answer.json()["message"]
    assert requests.get(f"https://localhost:{services.port}/v3/x", timeout=10).status_code == 404


# Writing


def test_records_are_written_by_whoever_signs(
    services: LoopbackServices, client: MetadataDbClient
) -> None:
    client.insert_one_docdb_record(record(1))
    client.upsert_one_docdb_record({"_id": "id-1", "number": 11})
    client.upsert_one_docdb_record(record(2))
    assert [one["number"] for one in services.docdb.records] == [11, 2]
    assert services.docdb.records[0]["name"] == record(1)["name"]
    client.upsert_list_of_docdb_records([record(2) | {"number": 22}, record(3)])
    assert [one["number"] for one in services.docdb.records] == [11, 22, 3]
    client.delete_one_record("id-1")
    client.delete_many_records(["id-2", "id-3"])
    assert services.docdb.records == []


def test_a_second_record_of_an_id_is_refused(
    services: LoopbackServices, client: MetadataDbClient
) -> None:
    services.docdb.add_records([record()])
    with pytest.raises(requests.HTTPError, match="400"):
        client.insert_one_docdb_record(record())


# Registration


def test_an_asset_in_s3_is_registered_in_both_services_and_again_without_doing_it_twice(
    services: LoopbackServices, client: MetadataDbClient
) -> None:
    files = {
        "data_description.json": description(RAW),
        "subject.json": {"subject_id": "900101"},
        "data/spikes.csv": b"1,2",
    }
    services.docdb.put_files(PLACE, files)
    told = client.register_asset(PLACE)
    assert told["message"] == f"Inserted new DocDB record for {PLACE}."
    (held,) = services.docdb.records
    assert (held["name"], held["location"]) == (RAW, PLACE)
    assert held["subject"] == {"subject_id": "900101"}
    assert held["acquisition"] is None
    (asset,) = services.codeocean.assets
    assert held["other_identifiers"] == {"Code Ocean": [asset["id"]]}
    assert (asset["state"], asset["files"], asset["source_bucket"]["external"]) == (
        "ready",
        3,
        True,
    )

    services.docdb.put_files(PLACE, files | {"subject.json": {"subject_id": "900102"}})
    again = client.register_asset(f"{PLACE}/")
    assert again["message"] == f"Updated existing DocDB record for {PLACE}."
    assert again["docdb_record_id"] == told["docdb_record_id"]
    (held,) = services.docdb.records
    assert held["subject"] == {"subject_id": "900102"}
    assert len(services.codeocean.assets) == 1

    client.deregister_asset(PLACE)
    assert services.docdb.records == services.codeocean.assets == []
    with pytest.raises(requests.HTTPError, match="400"):
        client.deregister_asset(PLACE)


def captured(services: LoopbackServices, files: dict[str, Any], looks: int = 2) -> str:
    """Make a data asset of results through the real SDK."""
    services.codeocean.add_computation(id=RUN, files=files)
    ocean = CodeOcean(domain=services.environ["CODEOCEAN_DOMAIN"], token=services.token)
    with ocean.session:
        source = Source(computation=ComputationSource(id=RUN))
        params = DataAssetParams(name=RAW, tags=[], mount=RAW, source=source)
        made = ocean.data_assets.create_data_asset(params)
        for _ in range(looks):
            ocean.data_assets.get_data_asset(made.id)
    return str(made.id)


def register(client: MetadataDbClient, asset_id: str, computation: str = RUN) -> dict[str, Any]:
    return client.register_co_result(PLACE, RAW, asset_id, computation)


def test_a_result_is_registered_with_the_metadata_that_lie_in_it(
    services: LoopbackServices, client: MetadataDbClient
) -> None:
    asset_id = captured(services, {"data_description.json": description(RAW), "a.csv": "1"})
    told = register(client, asset_id)
    assert told["co_asset_id"] == asset_id
    (held,) = services.docdb.records
    assert held["data_description"] == description(RAW)
    assert held["other_identifiers"] == {"Code Ocean": [asset_id]}


def test_a_v1_record_names_its_data_asset_as_v1_does(services: LoopbackServices) -> None:
    asset_id = captured(services, {"data_description.json": description(RAW)})
    with database(services, "v1") as client:
        register(client, asset_id)
    (held,) = services.docdb.records_of("v1")
    assert held["external_links"] == {"Code Ocean": [asset_id]}
    assert services.docdb.records == []


@pytest.mark.parametrize(
    ("files", "looks", "computation", "reason"),
    [
        ({"a.csv": "1"}, 2, RUN, "there is no data_description.json"),
        ({"data_description.json": "{"}, 2, RUN, "is not JSON"),
        ({"data_description.json": {}}, 0, RUN, "is not ready: draft"),
        ({"data_description.json": {}}, 2, "another", "is not of computation another"),
    ],
)
def test_a_result_that_cannot_be_registered_is_refused(
    services: LoopbackServices,
    client: MetadataDbClient,
    files: dict[str, Any],
    looks: int,
    computation: str,
    reason: str,
) -> None:
    asset_id = captured(services, files, looks)
    with pytest.raises(requests.HTTPError, match="400") as caught:
        register(client, asset_id, computation)
    assert reason in caught.value.response.json()["message"]
    assert services.docdb.records == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"s3_location": PLACE}, "there is no data_description.json"),
        ({"s3_location": "/results"}, "must be a URL as s3://bucket/prefix"),
        ({}, "must be a URL as s3://bucket/prefix"),
        ({"s3_location": PLACE, "name": RAW}, "must hold s3_location alone, or with"),
        ({"s3_location": PLACE, "colour": "red"}, "must hold s3_location alone, or with"),
        (
            {"s3_location": PLACE, "name": RAW, "co_asset_id": "x", "co_computation_id": RUN},
            "there is no data asset x",
        ),
    ],
)
def test_a_registration_of_another_form_is_refused(
    services: LoopbackServices, client: MetadataDbClient, body: dict[str, Any], reason: str
) -> None:
    url, data = client._register_asset_url, json.dumps(body)
    assert client.session.post(url, data=data).status_code == 403  # not signed
    signed = client._signed_request(method="POST", url=url, data=data)
    answer = client.session.post(url, headers=dict(signed.headers), data=data)
    assert answer.status_code == 400
    assert reason in answer.json()["message"]


# Faults


@pytest.mark.parametrize("status", [400, 403, 429, 500, 503, 504])
def test_a_status_is_answered_as_often_as_was_asked_for(
    services: LoopbackServices, client: MetadataDbClient, status: int
) -> None:
    services.docdb.fail(Fault(status=status), times=2)
    for _ in range(2):
        with pytest.raises(requests.HTTPError, match=str(status)):
            client.aggregate_docdb_records([])
    assert client.aggregate_docdb_records([]) == []
    assert len(services.docdb.requests) == 3


@pytest.mark.parametrize(("drop", "number"), [("before", 0), ("after", 1)])
def test_a_dropped_connection_is_dropped_before_or_after_the_deed(
    services: LoopbackServices, client: MetadataDbClient, drop: Any, number: int
) -> None:
    services.docdb.fail(Fault(drop=drop))
    with pytest.raises(requests.ConnectionError):
        client.insert_one_docdb_record(record())
    assert len(services.docdb.records) == number


def test_a_delay_and_a_drip_take_their_time(services: LoopbackServices) -> None:
    url = f"https://localhost:{services.port}/v2/metadata_index/data_assets/find"
    services.docdb.fail(Fault(delay=30))
    with pytest.raises(requests.Timeout):
        requests.get(url, timeout=0.3)
    services.docdb.fail(Fault(drip=0.02))
    began = time.monotonic()
    assert requests.get(url, timeout=5).json() == []
    assert time.monotonic() - began > 1


def test_an_answer_can_be_something_else(
    services: LoopbackServices, client: MetadataDbClient
) -> None:
    services.docdb.fail(Fault(body=b"<html>Sign in</html>", content_type="text/html"))
    with pytest.raises(requests.exceptions.JSONDecodeError):
        client.aggregate_docdb_records([])
    services.docdb.fail(Fault(body=b'{"message": "hello"}', headers={"X-Cache": "Hit"}))
    answer = client.session.get(client._find_url)
    assert (answer.json(), answer.headers["X-Cache"]) == ({"message": "hello"}, "Hit")


def test_a_fault_meets_only_what_it_is_for_and_can_be_taken_back(
    services: LoopbackServices, client: MetadataDbClient
) -> None:
    services.docdb.fail(Fault(status=503), times=None, method="POST", path="/insert_one")
    assert client.aggregate_docdb_records([]) == []
    for _ in range(3):
        with pytest.raises(requests.HTTPError, match="503"):
            client.insert_one_docdb_record(record())
    services.docdb.heal()
    client.insert_one_docdb_record(record())
    assert len(services.docdb.records) == 1


def test_a_fault_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="drop is 'sometimes'"):
        Fault(drop="sometimes")  # type: ignore[arg-type]


def test_the_services_have_their_faults_apart(
    services: LoopbackServices, client: MetadataDbClient
) -> None:
    services.codeocean.fail(Fault(status=503), times=None)
    assert client.aggregate_docdb_records([]) == []
    assert services.codeocean.requests == []


# The server


def test_twenty_threads_are_served_at_once(services: LoopbackServices) -> None:
    services.docdb.add_records(record(number) for number in range(100))
    services.docdb.fail(Fault(delay=1), times=20)

    def work(number: int) -> int:
        with database(services) as own:
            own.insert_one_docdb_record(record(1000 + number))
            return len(own.aggregate_docdb_records([{"$match": {"number": {"$lt": 100}}}]))

    began = time.monotonic()
    with ThreadPoolExecutor(20) as threads:
        assert set(threads.map(work, range(20))) == {100}
    # The delays pass beside one another.
    assert time.monotonic() - began < 15
    assert len(services.docdb.records) == 120


def test_nothing_is_left_when_the_block_ends(caplog: pytest.LogCaptureFixture) -> None:
    before = set(threading.enumerate())
    waiting = ThreadPoolExecutor(3)
    with caplog.at_level(logging.WARNING), LoopbackServices([record()]) as running:
        bundle = running.environ["REQUESTS_CA_BUNDLE"]
        url = f"https://localhost:{running.port}/v2/metadata_index/data_assets/find"
        session = requests.Session()  # whose connection stays open
        assert len(session.get(url, verify=bundle, timeout=10).json()) == 1
        running.docdb.fail(Fault(delay=60), times=1)
        running.docdb.fail(Fault(drip=60), times=1)
        asked = [waiting.submit(requests.get, url, verify=bundle, timeout=30) for _ in range(2)]
        until = time.monotonic() + 10
        while len(running.docdb.requests) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        began = time.monotonic()
    assert time.monotonic() - began < 3
    assert all(isinstance(one.exception(10), requests.ConnectionError) for one in asked)
    waiting.shutdown()
    session.close()
    assert set(threading.enumerate()) <= before
    assert not Path(bundle).parent.exists()
    with pytest.raises(requests.ConnectionError):
        requests.get(url, verify=False, timeout=5)
    gc.collect()  # what was not closed would warn, and a warning is an error
    assert caplog.text == ""


def test_a_certificate_of_one_s_own_is_needed(
    services: LoopbackServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"https://localhost:{services.port}/", timeout=10)
    # Somebody who speaks no TLS at all disturbs nobody.
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://localhost:{services.port}/", timeout=10)
    bundle = services.environ["REQUESTS_CA_BUNDLE"]
    url = f"https://localhost:{services.port}/v2/metadata_index/data_assets/find"
    assert requests.get(url, verify=bundle, timeout=10).json() == []


def test_two_can_run_side_by_side_and_one_can_run_again(services: LoopbackServices) -> None:
    with LoopbackServices([record(7)]) as other:
        assert other.port != services.port
        assert other.token != services.token
        assert services.docdb.records == []
    port = other.port
    with pytest.raises(UsageError, match="cannot be used"), LoopbackServices(port=services.port):
        pass
    with LoopbackServices([record(7)], port=port) as again:
        assert again.port == port


def test_the_environment_of_this_process_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "example.org")
    before = dict(os.environ)
    with LoopbackServices() as running:
        assert dict(os.environ) == before
        assert running.environ["NO_PROXY"] == "example.org,localhost,127.0.0.1"
