"""Code Ocean through its real SDK, on loopback: what is sent, understood, and asked again."""

from __future__ import annotations

import gc
import math
import socket
import threading
import time
import traceback
from contextlib import suppress
from typing import Any

import pytest

from asset_provenance.errors import ServiceError
from asset_provenance.services.access import Token, find_domain, find_token
from asset_provenance.services.codeocean import CodeOceanService
from asset_provenance.services.remote import AssetSource
from asset_provenance.services.requesting import RefusedError, UnansweredError
from asset_provenance.testing import Fault, LoopbackServices

RUN = "7f1eaf10-01bc-41cb-bc88-6464d0425b51"
NAME = "ecephys_900101_2026-03-02_18-30-05_units_2026-03-03_10-00-00"
RESULTS = AssetSource(RUN)


@pytest.fixture
def code_ocean(services: LoopbackServices) -> CodeOceanService:
    services.codeocean.add_computation(RUN, files={"a/b.csv": "1", "a.json": "{}"})
    return service()


def service(seconds: float = 5.0) -> CodeOceanService:
    domain, token = find_domain(), find_token()
    assert domain is not None
    assert token is not None
    return CodeOceanService(domain, token, seconds=seconds)


def create(code_ocean: CodeOceanService, source: AssetSource = RESULTS) -> Any:
    return code_ocean.create(NAME, source, tags=("derived",), description="What it is")


# Who asks, and where


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({"CODEOCEAN_API_TOKEN": "a", "CODEOCEAN_TOKEN": "b"}, "CODEOCEAN_TOKEN"),
        ({"CODE_OCEAN_API_TOKEN": "a", "CODEOCEAN_API_TOKEN": "b"}, "CODEOCEAN_API_TOKEN"),
        ({"API_SECRET": "a", "CODE_OCEAN_API_TOKEN": "b"}, "CODE_OCEAN_API_TOKEN"),
        ({"CUSTOM_KEY": "a", "API_SECRET": "b"}, "API_SECRET"),
        ({"MINE": "cop_b", "CUSTOM_KEY": "b"}, "CUSTOM_KEY"),
        ({"Z": "cop_x", "MINE": "cop_b", "OTHER": "b"}, "MINE"),
        ({"CODEOCEAN_TOKEN": " ", "API_SECRET": "b"}, "API_SECRET"),
    ],
)
def test_the_token_is_looked_for_where_capsules_have_it_in_order(
    environ: dict[str, str], variable: str
) -> None:
    found = find_token(environ)
    assert found is not None
    assert (found.variable, found.value) == (variable, environ[variable])


def test_without_a_token_there_is_none() -> None:
    assert find_token({"PATH": "/bin", "CODEOCEAN_TOKEN": ""}) is None


def test_a_token_is_not_in_what_is_printed_of_it() -> None:
    assert "cop_x" not in repr(Token("CODEOCEAN_TOKEN", "cop_x"))


@pytest.mark.parametrize("text", ["codeocean.example.org", "https://codeocean.example.org/"])
def test_the_domain_is_taken_with_and_without_its_scheme(text: str) -> None:
    assert find_domain({"CODEOCEAN_DOMAIN": text}) == "https://codeocean.example.org"


def test_without_a_domain_there_is_none() -> None:
    assert find_domain({}) is None


# What is sent and understood


def test_a_data_asset_is_made_from_all_results_or_from_a_folder_in_them(
    code_ocean: CodeOceanService, services: LoopbackServices
) -> None:
    services.codeocean.polls_until_ready = 0
    for path, files in (("", 2), ("a", 1)):
        asset = code_ocean.wait(
            create(code_ocean, AssetSource(RUN, path)), seconds=5, progress=lambda *_: None
        )
        assert (asset.is_ready, asset.files, asset.computation) == (True, files, RUN)
        assert asset.may_be_from(RESULTS)
        assert not asset.may_be_from(AssetSource("another"))
        assert not asset.may_be_from(AssetSource(bucket="bucket", prefix="some/where"))


@pytest.mark.parametrize(
    ("told", "of_results", "of_s3"),
    [
        ({"provenance": None}, True, False),
        ({"provenance": None, "source_bucket": None}, True, True),
        ({"provenance": None, "source_bucket": {"origin": "aws"}}, False, False),
        ({"source_bucket": {"origin": "aws", "bucket": "b", "external": True}}, True, False),
    ],
    ids=["no computation", "nothing", "S3", "results that were moved"],
)
def test_what_is_not_told_of_a_data_asset_speaks_for_nothing(
    code_ocean: CodeOceanService,
    services: LoopbackServices,
    told: dict[str, Any],
    of_results: bool,
    of_s3: bool,
) -> None:
    made = create(code_ocean)
    services.codeocean._assets[made.id].shown |= told
    asset = code_ocean.asset(made.id)
    assert asset.may_be_from(RESULTS) is of_results
    assert asset.may_be_from(AssetSource(bucket="b", prefix="x")) is of_s3


def test_archived_data_assets_are_found_and_told_apart(
    code_ocean: CodeOceanService, services: LoopbackServices
) -> None:
    first, second = create(code_ocean), create(code_ocean)
    services.codeocean._assets[first.id].archived = True
    found = code_ocean.find(NAME)
    assert [(one.id, one.is_archived) for one in found] == [(second.id, False), (first.id, True)]


def test_files_are_read_from_where_they_lie_without_the_token(
    code_ocean: CodeOceanService, services: LoopbackServices
) -> None:
    services.codeocean.polls_until_ready = 0
    asset = code_ocean.wait(create(code_ocean), seconds=5, progress=lambda *_: None)
    assert code_ocean.result_file(RUN, "a/b.csv") == b"1"
    assert code_ocean.files(asset.id, "a") == {"b.csv": 1}
    assert code_ocean.file(asset.id, "a/b.csv") == b"1"
    downloads = [one for one in services.codeocean.requests if one.path.startswith("/files/")]
    assert len(downloads) == 2
    assert [one.header("Authorization") for one in downloads] == ["", ""]


@pytest.mark.parametrize("url", [b'"http://localhost/x"', b'"file:///etc/passwd"', b"null", b"1"])
def test_a_file_is_read_over_an_encrypted_connection_only(
    code_ocean: CodeOceanService, services: LoopbackServices, url: bytes
) -> None:
    body = b'{"download_url": ' + url + b', "view_url": "x"}'
    services.codeocean.fail(Fault(body=body), path="/results/urls")
    with pytest.raises(UnansweredError, match="its client cannot read"):
        code_ocean.result_file(RUN, "a.json")


def test_a_file_that_is_refused_or_not_there_is_told(
    code_ocean: CodeOceanService, services: LoopbackServices
) -> None:
    with pytest.raises(RefusedError, match="asked for none of the computation"):
        code_ocean.result_file(RUN, "none")
    services.codeocean.fail(Fault(status=403), path="/a.json")
    with pytest.raises(RefusedError, match="answered 403"):
        code_ocean.result_file(RUN, "a.json")


def test_a_data_asset_in_s3_keeps_its_files_there(
    code_ocean: CodeOceanService, services: LoopbackServices
) -> None:
    services.docdb.put_files("s3://bucket/some/where", {"a.json": "{}"})
    source = AssetSource(bucket="bucket", prefix="some/where")
    asset = create(code_ocean, source)
    assert (asset.is_external, asset.bucket, asset.prefix) == (True, "bucket", "some/where")
    assert asset.may_be_from(source)
    assert not asset.may_be_from(AssetSource(bucket="bucket", prefix="some"))
    assert not asset.may_be_from(RESULTS)
    assert source.url == "s3://bucket/some/where"


def test_a_data_asset_is_found_by_its_whole_name_only(code_ocean: CodeOceanService) -> None:
    first, second = create(code_ocean), create(code_ocean)
    code_ocean.create(f"{NAME}_more", RESULTS, tags=(), description="")
    found = code_ocean.find(NAME)
    assert {asset.id for asset in found} == {first.id, second.id}
    assert code_ocean.find('"name') == []


def test_results_are_listed_with_their_sizes(code_ocean: CodeOceanService) -> None:
    assert code_ocean.results(RUN, "") == {"a": None, "a.json": 2}
    assert code_ocean.results(RUN, "a") == {"b.csv": 1}


def test_describing_keeps_what_others_have_set(
    code_ocean: CodeOceanService, services: LoopbackServices
) -> None:
    asset = create(code_ocean)
    services.codeocean._assets[asset.id].shown["custom_metadata"] = {"a": "b"}
    told = code_ocean.describe(code_ocean.asset(asset.id), tags=("x",), description="New")
    assert (told.name, told.mount, told.tags, told.description) == (NAME, NAME, ("x",), "New")
    assert told.custom_metadata == {"a": "b"}


@pytest.mark.parametrize("identity", ["../capsules", "a/b", "?x=1", "#", "%2e%2e"])
def test_an_identity_stays_one_part_of_the_path(
    code_ocean: CodeOceanService, services: LoopbackServices, identity: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        code_ocean.computation(identity)
    assert caught.value.status == 404
    assert services.codeocean.requests[-1].target.startswith("/api/v1/computations/")


# Waiting


def test_progress_is_told_while_it_is_waited(
    code_ocean: CodeOceanService, services: LoopbackServices
) -> None:
    services.codeocean.polls_until_ready = 1
    told: list[tuple[str, float]] = []
    asset = create(code_ocean)
    assert code_ocean.wait(asset, seconds=20, progress=lambda *x: told.append(x)).is_ready
    assert [state for state, _ in told] == ["draft", "draft"]


def test_waiting_outlasts_a_service_that_is_away_for_a_while(
    code_ocean: CodeOceanService, services: LoopbackServices
) -> None:
    services.codeocean.polls_until_ready = 0
    asset = create(code_ocean)
    services.codeocean.fail(Fault(status=503), 5)  # more than one question is asked again
    assert code_ocean.wait(asset, seconds=60, progress=lambda *_: None).is_ready


def test_waiting_ends_with_its_time(
    code_ocean: CodeOceanService, services: LoopbackServices
) -> None:
    services.codeocean.polls_until_ready = math.inf
    asset, begin = create(code_ocean), time.monotonic()
    with pytest.raises(ServiceError, match="not ready after 1.5 s"):
        code_ocean.wait(asset, seconds=1.5, progress=lambda *_: None)
    assert time.monotonic() - begin < 4


# What goes wrong


@pytest.mark.parametrize(
    "fault",
    [Fault(status=500), Fault(status=503), Fault(status=429), Fault(drop="before")],
    ids=["500", "503", "429", "dropped"],
)
def test_a_question_is_asked_again_where_that_may_help(
    code_ocean: CodeOceanService, services: LoopbackServices, fault: Fault
) -> None:
    services.codeocean.fail(fault, 3)
    assert code_ocean.computation(RUN).state == "completed"
    assert len(services.codeocean.requests) == 4


def test_a_question_is_given_up_in_the_end(
    code_ocean: CodeOceanService, services: LoopbackServices
) -> None:
    services.codeocean.fail(Fault(status=500), None)
    with pytest.raises(UnansweredError, match=f"asked for the computation {RUN} and answered 500"):
        code_ocean.computation(RUN)
    assert len(services.codeocean.requests) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409])
def test_a_refusal_is_not_asked_again(
    code_ocean: CodeOceanService, services: LoopbackServices, status: int
) -> None:
    services.codeocean.fail(Fault(status=status), None)
    with pytest.raises(RefusedError) as caught:
        code_ocean.computation(RUN)
    assert caught.value.status == status
    assert len(services.codeocean.requests) == 1


@pytest.mark.parametrize(
    "fault",
    [Fault(drop="after"), Fault(drop="before"), Fault(status=500), Fault(body=b"no JSON")],
    ids=["after", "before", "500", "unreadable"],
)
def test_a_creation_that_may_have_been_heard_is_not_asked_for_again(
    code_ocean: CodeOceanService, services: LoopbackServices, fault: Fault
) -> None:
    services.codeocean.fail(fault, None)
    with pytest.raises(UnansweredError):
        create(code_ocean)
    assert len(services.codeocean.requests) == 1


def test_a_creation_that_was_refused_for_its_number_is_asked_for_again_when_told(
    code_ocean: CodeOceanService, services: LoopbackServices
) -> None:
    services.codeocean.fail(Fault(status=429, headers={"Retry-After": "2"}))
    begin = time.monotonic()
    create(code_ocean)
    assert time.monotonic() - begin >= 2
    assert len(services.codeocean.assets) == 1


def test_a_creation_that_never_left_is_asked_for_again(services: LoopbackServices) -> None:
    services.codeocean.add_computation(RUN, files={"a": "b"})
    token = find_token()
    assert token is not None
    with closed_port() as entrance:
        address = entrance.getsockname()
        code_ocean = CodeOceanService(f"https://localhost:{address[1]}", token, seconds=5)
        thread = threading.Thread(target=open_after, args=(0.2, entrance, services.port))
        thread.start()
        create(code_ocean)
        code_ocean._assets.client.close()
        gc.collect()  # the pool is in a cycle with the failed attempt, and closes when it goes
        thread.join()
    assert len(services.codeocean.assets) == 1


@pytest.mark.parametrize(
    "fault",
    [Fault(delay=20), Fault(drip=0.05), Fault(body=b"[" * 3_000_000, drip=None, delay=20)],
    ids=["hangs", "drips", "large and late"],
)
def test_no_request_takes_longer_than_its_time(services: LoopbackServices, fault: Fault) -> None:
    services.codeocean.add_computation(RUN, files={"a": "b"})
    services.codeocean.fail(fault)
    begin = time.monotonic()
    with pytest.raises(UnansweredError, match="did not answer in time"):
        create(service(seconds=0.5))
    assert time.monotonic() - begin < 3


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"null", b"{}", b'{"id": 1}', b"\xff\xfe", b"[" * 100_000],
    ids=["empty", "page", "list", "null", "object", "part", "bytes", "deep"],
)
def test_an_answer_that_makes_no_sense_is_told_as_such(
    code_ocean: CodeOceanService, services: LoopbackServices, body: bytes
) -> None:
    services.codeocean.fail(Fault(body=body), None)
    with pytest.raises(UnansweredError, match="its client cannot read"):
        code_ocean.computation(RUN)


def test_a_host_that_is_not_there_is_told(services: LoopbackServices) -> None:
    token = find_token()
    assert token is not None
    with closed_port() as entrance:
        domain = f"https://localhost:{entrance.getsockname()[1]}"
        absent = CodeOceanService(domain, token, seconds=5)
        with pytest.raises(UnansweredError, match="the connection failed: Connection refused"):
            absent.computation(RUN)


def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(
    services: LoopbackServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(UnansweredError, match="not one that this machine trusts"):
        service().computation(RUN)
    assert services.codeocean.requests == []


def test_an_error_holds_the_token_nowhere(
    code_ocean: CodeOceanService, services: LoopbackServices
) -> None:
    token = services.token
    services.codeocean.fail(Fault(status=400, body=f'{{"message": "{token}"}}'.encode()))
    with pytest.raises(RefusedError) as caught:
        code_ocean.computation(RUN)
    assert "[redacted]" in str(caught.value)
    assert token not in "".join(traceback.format_exception(caught.value))


def closed_port() -> socket.socket:
    """Hold a port of this machine where nobody listens."""
    entrance = socket.socket()
    entrance.bind(("127.0.0.1", 0))
    return entrance


def open_after(seconds: float, entrance: socket.socket, port: int) -> None:
    """Let a port lead to another one from some time on, for one connection."""
    time.sleep(seconds)
    entrance.listen()
    client, _ = entrance.accept()
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        back = threading.Thread(target=pass_on, args=(server, client))
        back.start()
        pass_on(client, server)
        back.join()


def pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
