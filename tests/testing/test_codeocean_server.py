"""The loopback Code Ocean, asked by its real SDK."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from codeocean import CodeOcean
from codeocean.data_asset import (
    AWSS3Source,
    CloudWorkstationSource,
    ComputationSource,
    DataAssetParams,
    DataAssets,
    DataAssetSearchParams,
    DataAssetUpdateParams,
    GCPCloudStorageSource,
    Source,
)
from codeocean.error import Error
from codeocean.models.components import EveryoneRole, Permissions, SearchFilter, SortOrder
from codeocean.models.data_asset import DataAssetSortBy

from asset_provenance.testing import Fault, LoopbackServices

RUN = "c0ffee00-0000-4000-8000-000000000001"
FILES = {"data_description.json": {"name": "a"}, "units/spikes.csv": b"1,2\n", "notes.txt": "µ"}
SIZE = len(json.dumps({"name": "a"})) + 4 + 2


@pytest.fixture
def client(services: LoopbackServices) -> CodeOcean:
    return CodeOcean(domain=services.environ["CODEOCEAN_DOMAIN"], token=services.token)


def results(path: str | None = None, run: str = RUN) -> Source:
    return Source(computation=ComputationSource(id=run, path=path))


def params(source: Source | None = None, name: str = "units", **more: Any) -> DataAssetParams:
    given = {"tags": ["derived"], "mount": name, **more}
    return DataAssetParams(name=name, source=source or results(), **given)


def post(services: LoopbackServices, body: Any, **options: Any) -> requests.Response:
    """Send what the SDK would not."""
    url = f"{services.environ['CODEOCEAN_DOMAIN']}/api/v1/data_assets"
    return requests.post(url, json=body, auth=(services.token, ""), timeout=10, **options)


def as_sent(**changes: Any) -> dict[str, Any]:
    return {**params().to_dict(), **changes}


# Making data assets


def test_results_become_a_data_asset_that_is_ready_after_a_while(
    services: LoopbackServices, client: CodeOcean
) -> None:
    services.codeocean.add_computation(
        id=RUN,
        files=FILES,
        capsule="capsule-1",
        commit="a" * 40,
        run_script="code/run",
        docker_image="registry.example.org/image:1",
        data_assets=[{"id": "input-1", "mount": "raw"}],
        parameters=[{"name": "Bins", "param_name": "bins", "value": "12"}],
    )
    made = client.data_assets.create_data_asset(params(description="Units"))
    assert (made.state, made.files, made.size) == ("draft", None, None)
    assert client.data_assets.get_data_asset(made.id).state == "draft"
    ready = client.data_assets.get_data_asset(made.id)
    assert (ready.state, ready.files, ready.size) == ("ready", 3, SIZE)
    assert (ready.name, ready.mount, ready.tags) == ("units", "units", ["derived"])
    assert (ready.type, ready.description) == ("result", "Units")
    assert ready.provenance.to_dict() == {
        "commit": "a" * 40,
        "run_script": "code/run",
        "docker_image": "registry.example.org/image:1",
        "capsule": "capsule-1",
        "data_assets": ["input-1"],
        "computation": RUN,
    }
    assert [(one.name, one.value) for one in ready.app_parameters] == [("Bins", "12")]
    assert [one["id"] for one in services.codeocean.assets] == [made.id]


def test_a_folder_of_the_results_can_be_captured_alone(
    services: LoopbackServices, client: CodeOcean, tmp_path: Path
) -> None:
    (tmp_path / "results" / "units").mkdir(parents=True)
    (tmp_path / "results" / "units" / "spikes.csv").write_text("1")
    (tmp_path / "results" / "log").write_text("not this")
    services.codeocean.add_computation(id=RUN, folder=str(tmp_path / "results"))
    services.codeocean.polls_until_ready = 0
    made = client.data_assets.create_data_asset(params(results("units")))
    assert client.data_assets.get_data_asset(made.id).files == 1
    items = client.data_assets.list_data_asset_files(made.id).items
    assert [(one.name, one.path, one.type, one.size) for one in items] == [
        ("spikes.csv", "spikes.csv", "file", 1)
    ]


def test_names_need_not_be_unique(services: LoopbackServices, client: CodeOcean) -> None:
    services.codeocean.add_computation(id=RUN, files=FILES)
    first, second = (client.data_assets.create_data_asset(params()) for _ in range(2))
    assert first.id != second.id


def test_an_external_data_asset_leaves_its_files_where_they_are(
    services: LoopbackServices, client: CodeOcean
) -> None:
    services.docdb.put_files("s3://scratch/mine", FILES)
    services.codeocean.polls_until_ready = 0
    aws = AWSS3Source(bucket="scratch", prefix="mine", keep_on_external_storage=True)
    made = client.data_assets.create_data_asset(params(Source(aws=aws)))
    ready = client.data_assets.get_data_asset(made.id)
    assert (ready.state, ready.type, ready.files, ready.provenance) == ("ready", "dataset", 3, None)
    bucket = ready.source_bucket
    assert (bucket.origin, bucket.bucket, bucket.prefix) == ("aws", "scratch", "mine")
    assert bucket.external is True
    with pytest.raises(Error, match="are not in Code Ocean"):
        client.data_assets.list_data_asset_files(made.id)


def test_a_data_asset_of_an_empty_place_in_s3_fails_and_says_why(
    services: LoopbackServices, client: CodeOcean
) -> None:
    made = client.data_assets.create_data_asset(params(Source(aws=AWSS3Source(bucket="none"))))
    client.data_assets.get_data_asset(made.id)
    failed = client.data_assets.get_data_asset(made.id)
    assert failed.state == "failed"
    assert failed.failure_reason == "there are no files at s3://none"


def test_a_data_asset_can_be_made_to_fail_or_never_to_be_ready(
    services: LoopbackServices, client: CodeOcean
) -> None:
    services.codeocean.add_computation(id=RUN, files=FILES)
    services.codeocean.polls_until_ready, services.codeocean.failure_reason = 0, "disk is full"
    made = client.data_assets.create_data_asset(params())
    failed = client.data_assets.get_data_asset(made.id)
    assert (failed.state, failed.failure_reason) == ("failed", "disk is full")
    services.codeocean.polls_until_ready = math.inf
    made = client.data_assets.create_data_asset(params())
    assert {client.data_assets.get_data_asset(made.id).state for _ in range(20)} == {"draft"}


@pytest.mark.parametrize("place", ["/results/units", "/root/capsule/results/units"])
def test_a_folder_of_a_session_becomes_a_data_asset_while_it_goes_on(
    services: LoopbackServices, client: CodeOcean, place: str
) -> None:
    services.codeocean.add_computation(
        id=RUN,
        state="running",
        cloud_workstation=True,
        files={"/results/units/spikes.csv": "1", "/results/log": "2"},
    )
    services.codeocean.polls_until_ready = 0
    source = Source(cloud_workstation=CloudWorkstationSource(id=RUN, path=place))
    made = client.data_assets.create_data_asset(params(source))
    ready = client.data_assets.get_data_asset(made.id)
    assert (ready.files, ready.type, ready.provenance.computation) == (1, "dataset", RUN)


def test_a_session_has_the_files_of_its_folder_as_they_are_when_it_is_captured(
    services: LoopbackServices, client: CodeOcean, tmp_path: Path
) -> None:
    services.codeocean.add_computation(
        id=RUN, state="running", cloud_workstation=True, folder=tmp_path / "results"
    )
    (tmp_path / "results" / "units").mkdir(parents=True)
    (tmp_path / "results" / "units" / "late.csv").write_text("1")
    session = CloudWorkstationSource(
        id=RUN, path=str(tmp_path / "results" / "units"), run_script="code/run"
    )
    made = client.data_assets.create_data_asset(params(Source(cloud_workstation=session)))
    assert (made.type, made.provenance.run_script) == ("result", "code/run")


def add_run(**fields: Any) -> Callable[[LoopbackServices], None]:
    def prepare(services: LoopbackServices) -> None:
        services.codeocean.add_computation(id=RUN, **fields)

    return prepare


SESSION = Source(cloud_workstation=CloudWorkstationSource(id=RUN, path="/results"))
REFUSED = {
    "unknown": (lambda services: None, results(), 404, "there is no computation"),
    "running": (add_run(state="running", files=FILES), results(), 400, "not completed: running"),
    "failed": (add_run(state="failed", files=FILES), results(), 400, "not completed: failed"),
    "empty": (add_run(), results(), 400, "has no results"),
    "no folder": (add_run(files=FILES), results("none"), 400, "has no the folder none"),
    "no session": (add_run(files=FILES), SESSION, 400, "is no cloud workstation"),
    "ended session": (
        add_run(files={"/results/a": "1"}, cloud_workstation=True),
        SESSION,
        400,
        "is not running",
    ),
    "two sources": (
        add_run(files=FILES),
        Source(aws=AWSS3Source(bucket="b"), computation=ComputationSource(id=RUN)),
        400,
        "exactly one",
    ),
    "no source": (add_run(files=FILES), Source(), 400, "exactly one"),
    "Google's": (
        add_run(files=FILES),
        Source(gcp=GCPCloudStorageSource(bucket="b")),
        400,
        "not imitated",
    ),
}


@pytest.mark.parametrize(("prepare", "source", "status", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_become_a_data_asset_is_refused_and_nothing_is_made(
    services: LoopbackServices,
    client: CodeOcean,
    prepare: Callable[[LoopbackServices], None],
    source: Source,
    status: int,
    reason: str,
) -> None:
    prepare(services)
    with pytest.raises(Error) as caught:
        client.data_assets.create_data_asset(params(source))
    assert caught.value.status_code == status
    assert reason in caught.value.message
    assert services.codeocean.assets == []


FORMS = {
    "no name": (as_sent(name=None), "name is missing"),
    "empty name": (as_sent(name="  "), "name is empty"),
    "no mount": (as_sent(mount=None), "mount is missing"),
    "deep mount": (as_sent(mount="a/b"), "mount must be the name of a folder"),
    "no tags": (as_sent(tags=None), "tags is missing"),
    "one tag": (as_sent(tags="derived"), "tags must be a list of texts"),
    "odd tags": (as_sent(tags=["a", 1]), "tags must be a list of texts"),
    "unknown field": (as_sent(colour="red"), "colour is unknown"),
    "unknown source": (as_sent(source={"ftp": {}}), "source.ftp is unknown"),
    "odd source": (as_sent(source={"computation": {"id": 3}}), "source.computation.id must be"),
    "source without id": (as_sent(source={"computation": {}}), "computation.id is missing"),
    "a list": ([1], "the body must be a JSON object"),
    "a flag that is none": (
        as_sent(source={"aws": {"bucket": "b", "public": "yes"}}),
        "source.aws.public must be true or false",
    ),
}


@pytest.mark.parametrize(("body", "reason"), FORMS.values(), ids=FORMS)
def test_a_request_of_another_form_than_the_sdk_s_is_refused(
    services: LoopbackServices, body: Any, reason: str
) -> None:
    services.codeocean.add_computation(id=RUN, files=FILES)
    answer = post(services, body)
    assert answer.status_code == 400
    assert reason in answer.json()["message"]
    assert services.codeocean.assets == []


def test_all_faults_of_a_request_are_told_at_once(services: LoopbackServices) -> None:
    message = post(services, {"colour": "red", "tags": 3}).json()["message"]
    for fault in ("colour is unknown", "name is missing", "mount is missing", "tags must be"):
        assert fault in message


def test_a_body_that_is_not_said_to_be_json_is_refused(services: LoopbackServices) -> None:
    assert post(services, as_sent(), headers={"Content-Type": "text/plain"}).status_code == 415


# Who asks


@pytest.mark.parametrize("token", ["", "cop_wrong0123456789abcdefghij", "ümlaut"])
def test_another_token_is_refused_and_not_repeated(services: LoopbackServices, token: str) -> None:
    stranger = CodeOcean(domain=services.environ["CODEOCEAN_DOMAIN"], token=token.encode())
    with pytest.raises(Error) as caught:
        stranger.computations.get_computation(RUN)
    assert caught.value.status_code == 401
    assert not token or token not in json.dumps(caught.value.data, ensure_ascii=False)


def test_who_gives_no_token_or_another_kind_is_refused(services: LoopbackServices) -> None:
    url = f"{services.environ['CODEOCEAN_DOMAIN']}/api/v1/computations/{RUN}"
    assert requests.get(url, timeout=10).status_code == 401
    bearer = {"Authorization": f"Bearer {services.token}"}
    assert requests.get(url, headers=bearer, timeout=10).status_code == 401


def test_unknown_paths_and_methods_are_refused(services: LoopbackServices) -> None:
    begin, auth = services.environ["CODEOCEAN_DOMAIN"], (services.token, "")
    for path, status in {
        "/api/v1/wishes": 404,
        "/api/v2/data_assets": 404,
        "/api/v1/data_assets": 405,
        "/api/v1/data_assets/x/transfer": 404,
    }.items():
        assert requests.get(begin + path, auth=auth, timeout=10).status_code == status


# What becomes of data assets


def test_tags_and_description_are_set_and_what_is_not_given_stays(
    services: LoopbackServices, client: CodeOcean
) -> None:
    services.codeocean.add_computation(id=RUN, files=FILES)
    made = client.data_assets.create_data_asset(params(custom_metadata={"project": "p"}))
    update = DataAssetUpdateParams(tags=["a", "b"], description="What it is")
    told = client.data_assets.update_metadata(made.id, update)
    assert (told.tags, told.description, told.name) == (["a", "b"], "What it is", "units")
    assert told.custom_metadata == {"project": "p"}
    assert services.codeocean.assets[0]["tags"] == ["a", "b"]
    with pytest.raises(Error, match="name is empty"):
        client.data_assets.update_metadata(made.id, DataAssetUpdateParams(name=""))


@pytest.mark.skipif(
    not hasattr(DataAssets, "get_permissions"), reason="this SDK cannot ask for permissions"
)
def test_permissions_are_kept_and_checked(services: LoopbackServices, client: CodeOcean) -> None:
    services.codeocean.add_computation(id=RUN, files=FILES)
    made = client.data_assets.create_data_asset(params())
    everyone = Permissions(everyone=EveryoneRole.Viewer, users=[])
    client.data_assets.update_permissions(made.id, everyone)
    assert client.data_assets.get_permissions(made.id).everyone == "viewer"
    with pytest.raises(Error, match="everyone must be one of"):
        client.data_assets.update_permissions(made.id, Permissions(everyone="king"))


def test_a_deleted_data_asset_is_gone(services: LoopbackServices, client: CodeOcean) -> None:
    services.codeocean.add_computation(id=RUN, files=FILES)
    made = client.data_assets.create_data_asset(params())
    client.data_assets.delete_data_asset(made.id)
    for ask in (client.data_assets.get_data_asset, client.data_assets.delete_data_asset):
        with pytest.raises(Error) as caught:
            ask(made.id)
        assert caught.value.status_code == 404


# Searching


def found(client: CodeOcean, **wanted: Any) -> list[str]:
    several = client.data_assets.search_data_assets_iterator(DataAssetSearchParams(**wanted))
    return [asset.name for asset in several]


@pytest.fixture
def three(services: LoopbackServices, client: CodeOcean) -> list[Any]:
    services.codeocean.add_computation(id=RUN, files=FILES, commit="abc1234", run_script="code/run")
    services.docdb.put_files("s3://scratch/mine", FILES)
    aws = AWSS3Source(bucket="scratch", prefix="mine", keep_on_external_storage=True)
    wanted = [
        params(name="ecephys_1_units", tags=["derived", "ecephys"], description="Sorted spikes"),
        params(name="ecephys_2_units", tags=["derived"], custom_metadata={"age": 60, "who": "A B"}),
        params(Source(aws=aws), name="Atlas", tags=["reference"]),
    ]
    return [client.data_assets.create_data_asset(one) for one in wanted]


SEARCHES = {
    "all, the newest first": ({}, ["Atlas", "ecephys_2_units", "ecephys_1_units"]),
    "by name": ({"query": 'name:"ecephys_1_units"'}, ["ecephys_1_units"]),
    "case": ({"query": "name:ATLAS"}, ["Atlas"]),
    "same field": ({"query": "name:atlas name:_1_"}, ["Atlas", "ecephys_1_units"]),
    "other fields": ({"query": "name:ecephys tag:ecephys"}, ["ecephys_1_units"]),
    "commit": ({"query": "commit_id:abc1234 name:_2_"}, ["ecephys_2_units"]),
    "free text": ({"query": "sorted spikes"}, ["ecephys_1_units"]),
    "a phrase": ({"query": '"spikes sorted"'}, []),
    "external": ({"origin": "external"}, ["Atlas"]),
    "internal results": (
        {"origin": "internal", "type": "result", "query": "_1_"},
        ["ecephys_1_units"],
    ),
    "models": ({"type": "model"}, []),
    "shared": ({"ownership": "shared"}, []),
    "favorites": ({"favorite": True}, []),
    "archived": ({"archived": True}, []),
    "filter": ({"filters": [SearchFilter(key="name", value="atlas")]}, ["Atlas"]),
    "filter out": (
        {"filters": [SearchFilter(key="tags", values=["reference", "ecephys"], exclude=True)]},
        ["ecephys_2_units"],
    ),
    "custom filter": ({"filters": [SearchFilter(key="who", value="a b")]}, ["ecephys_2_units"]),
    "sorted": (
        {"sort_field": DataAssetSortBy.Name, "sort_order": SortOrder.Descending},
        ["ecephys_2_units", "ecephys_1_units", "Atlas"],
    ),
    "pages": ({"limit": 1}, ["Atlas", "ecephys_2_units", "ecephys_1_units"]),
    "from the second": ({"offset": 1}, ["ecephys_2_units", "ecephys_1_units"]),
}


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(("wanted", "names"), SEARCHES.values(), ids=SEARCHES)
def test_a_search_finds_what_it_asks_for(
    client: CodeOcean, wanted: dict[str, Any], names: list[str]
) -> None:
    assert found(client, **wanted) == names


@pytest.mark.usefixtures("three")
def test_pages_lead_to_one_another(services: LoopbackServices, client: CodeOcean) -> None:
    page = client.data_assets.search_data_assets(DataAssetSearchParams(limit=2))
    assert (len(page.results), page.has_more) == (2, True)
    following = DataAssetSearchParams(limit=2, next_token=page.next_token)
    page = client.data_assets.search_data_assets(following)
    assert (len(page.results), page.has_more, page.next_token) == (1, False, None)


def test_an_archived_data_asset_is_found_among_the_archived(
    client: CodeOcean, three: list[Any]
) -> None:
    client.data_assets.archive_data_asset(three[0].id, True)
    assert found(client, archived=True) == ["ecephys_1_units"]
    assert "ecephys_1_units" not in found(client)
    client.data_assets.archive_data_asset(three[0].id, False)
    assert "ecephys_1_units" in found(client)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"limit": 1001}, "limit must be from 1 to 1000"),
        ({"limit": 0}, "limit must be from 1 to 1000"),
        ({"next_token": "mine"}, "next_token is none that was given out"),
        ({"sort_field": "name"}, "go together"),
        ({"sort_field": "colour", "sort_order": "asc"}, "sort_field must be one of"),
        ({"filters": [{}]}, r"filters\[0\].key is missing"),
    ],
)
def test_a_search_of_another_form_is_refused(
    client: CodeOcean, wanted: dict[str, Any], reason: str
) -> None:
    sent = DataAssetSearchParams().to_dict() | wanted
    with pytest.raises(Error, match=reason):
        client.session.post("data_assets/search", json=sent)


# Computations, capsules, files


def test_a_computation_is_told_with_its_capsule(
    services: LoopbackServices, client: CodeOcean
) -> None:
    services.codeocean.add_computation(id=RUN, files=FILES, capsule="capsule-1", name="Sort")
    computation = client.computations.get_computation(RUN)
    assert (computation.id, computation.name, computation.state) == (RUN, "Sort", "completed")
    assert (computation.end_status, computation.has_results) == ("succeeded", True)
    capsule = client.capsules.get_capsule("capsule-1")
    assert (capsule.id, capsule.status) == ("capsule-1", "non_release")
    assert [one.id for one in client.capsules.list_computations("capsule-1")] == [RUN]
    services.codeocean.add_capsule("capsule-1", cloned_from_url="https://github.com/a/b")
    assert client.capsules.get_capsule("capsule-1").cloned_from_url == "https://github.com/a/b"
    for ask in (client.computations.get_computation, client.capsules.get_capsule):
        with pytest.raises(Error, match="there is no"):
            ask("unknown")


def test_results_are_listed_and_downloaded(services: LoopbackServices, client: CodeOcean) -> None:
    services.codeocean.add_computation(id=RUN, files=FILES)
    items = client.computations.list_computation_results(RUN).items
    assert {one.name: one.type for one in items} == {
        "data_description.json": "file",
        "units": "folder",
        "notes.txt": "file",
    }
    (inner,) = client.computations.list_computation_results(RUN, "units").items
    assert inner.path == "units/spikes.csv"
    urls = client.computations.get_result_file_urls(RUN, inner.path)
    assert requests.get(urls.download_url, timeout=10).content == b"1,2\n"
    unsigned = urls.download_url.partition("?")[0]
    assert requests.get(unsigned, timeout=10).status_code == 403
    with pytest.raises(Error, match="there is no file"):
        client.computations.get_result_file_urls(RUN, "none")
    with pytest.raises(Error, match="there is no folder"):
        client.computations.list_computation_results(RUN, "none")


def test_a_computation_that_goes_on_has_no_results_yet(
    services: LoopbackServices, client: CodeOcean
) -> None:
    services.codeocean.add_computation(id=RUN, files=FILES, state="running")
    with pytest.raises(Error, match="is not completed"):
        client.computations.list_computation_results(RUN)


# What goes wrong on the way


def test_a_connection_lost_after_the_creation_leaves_the_data_asset(
    services: LoopbackServices, client: CodeOcean
) -> None:
    services.codeocean.add_computation(id=RUN, files=FILES)
    services.codeocean.fail(Fault(drop="after"), method="POST", path="/data_assets")
    with pytest.raises(requests.ConnectionError):
        client.data_assets.create_data_asset(params())
    assert [one["name"] for one in services.codeocean.assets] == ["units"]
    assert found(client, query='name:"units"') == ["units"]


@pytest.mark.parametrize("fault", [Fault(drop="before"), Fault(status=503), Fault(status=429)])
def test_a_request_that_is_lost_or_turned_away_does_nothing(
    services: LoopbackServices, client: CodeOcean, fault: Fault
) -> None:
    services.codeocean.add_computation(id=RUN, files=FILES)
    services.codeocean.fail(fault)
    with pytest.raises((requests.ConnectionError, Error)):
        client.data_assets.create_data_asset(params())
    assert services.codeocean.assets == []
    client.data_assets.create_data_asset(params())  # once only
    assert len(services.codeocean.assets) == 1


def test_headers_and_other_bodies_reach_the_client(
    services: LoopbackServices, client: CodeOcean
) -> None:
    services.codeocean.fail(Fault(status=429, headers={"Retry-After": "7"}))
    with pytest.raises(Error) as caught:
        client.computations.get_computation(RUN)
    assert caught.value.http_err.response.headers["Retry-After"] == "7"
    assert caught.value.message == "Too Many Requests"
    services.codeocean.fail(Fault(body=b"<html>", content_type="text/html"))
    services.codeocean.add_computation(id=RUN)
    with pytest.raises(requests.exceptions.JSONDecodeError):
        client.computations.get_computation(RUN)


def test_a_slow_answer_comes_although_nobody_waits_for_it(
    services: LoopbackServices, client: CodeOcean
) -> None:
    services.codeocean.add_computation(id=RUN, files=FILES)
    services.codeocean.fail(Fault(delay=30))
    with pytest.raises(requests.Timeout):
        client.session.post("data_assets", json=params().to_dict(), timeout=0.5)
    until = time.monotonic() + 5
    while not services.codeocean.assets and time.monotonic() < until:
        time.sleep(0.01)
    assert len(services.codeocean.assets) == 1


def test_twenty_threads_make_their_data_assets_at_once(services: LoopbackServices) -> None:
    services.codeocean.add_computation(id=RUN, files=FILES)
    services.codeocean.polls_until_ready = 2

    def make(number: int) -> str:
        own = CodeOcean(domain=services.environ["CODEOCEAN_DOMAIN"], token=services.token)
        with own.session:
            made = own.data_assets.create_data_asset(params(name=f"units-{number}"))
            states = [own.data_assets.get_data_asset(made.id).state for _ in range(3)]
        assert states == ["draft", "draft", "ready"]
        return made.id

    with ThreadPoolExecutor(20) as threads:
        made = list(threads.map(make, range(40)))
    assert len(set(made)) == 40
    names = {one["name"] for one in services.codeocean.assets}
    assert names == {f"units-{number}" for number in range(40)}
