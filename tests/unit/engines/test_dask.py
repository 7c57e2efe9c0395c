"""Tracked functions on a Dask cluster of other processes, in other folders and environments."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import distributed
import pytest

from asset_provenance import DerivedAsset, track_process
from asset_provenance.engines.dask import track_client
from asset_provenance.errors import UsageError
from asset_provenance.records import ProcessStatus
from helpers import cluster_work
from helpers.assets import FACTS, PEOPLE, RAW, graph, make_asset, processes
from helpers.clusters import cluster
from helpers.installations import make_wheel
from helpers.records import make, named, parents
from helpers.schema import validate_set

PROJECT = Path(__file__).parents[3]
CANARY = "canary-tok3n-9x"


@pytest.fixture(scope="module")
def worker_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("of-the-workers")


@pytest.fixture(scope="module")
def worker_data(worker_folder: Path) -> Path:
    """The data root of the workers, which is not that of the client."""
    folder = worker_folder / "mounted"
    make_asset(folder)
    return folder


@pytest.fixture(scope="module", params=[1, 2], ids=["one thread", "two threads"])
def client(
    request: pytest.FixtureRequest, worker_folder: Path, worker_data: Path
) -> Iterator[distributed.Client]:
    root = str(worker_data)
    with cluster(worker_folder, 2, request.param, ASSET_PROVENANCE_DATA_ROOT=root) as found:
        yield found


def sources(asset: DerivedAsset, name: str) -> set[str]:
    """The names of the processes whose results one was given."""
    names = {record.id: record.name for record in asset.records}
    return {names[one] for one in named(asset, name).follows}


def test_calls_on_workers_come_back_with_times_parameters_and_code(client: Any) -> None:
    before = time.time()
    with make() as asset, track_client(client):
        assert client.submit(cluster_work.square, 3, pure=False).result() == 9
        pid, folder = client.submit(cluster_work.where, pure=False).result()
    after = time.time()
    assert pid != os.getpid()
    assert folder != os.getcwd()
    record = named(asset, "square")
    assert (record.status, record.parameters) == (ProcessStatus.COMPLETED, {"number": 3})
    assert record.end_date_time is not None
    assert before <= record.start_date_time.timestamp() <= record.end_date_time.timestamp() <= after
    assert record.code is not None
    assert (record.code.run_script or "").endswith("helpers/cluster_work.py")
    assert validate_set(asset.output_dir)["processing"]["data_processes"][0]["name"] == "square"


def test_each_way_to_submit_records_its_calls(client: Any) -> None:
    with make() as asset, track_client(client):
        assert client.gather(client.map(cluster_work.square, range(4), pure=False)) == [0, 1, 4, 9]
        delayed = dask.delayed(cluster_work.total, pure=False)(
            [dask.delayed(cluster_work.outer, pure=False)(number) for number in (1, 2)]
        )
        assert client.compute(delayed).result() == 7
        assert client.submit(cluster_work.waiting, 1, pure=False).result() == 1
    names = sorted(record.name for record in asset.records)
    assert names == ["outer"] * 2 + ["square"] * 6 + ["total", "waiting"]
    assert {record.status for record in asset.records} == {ProcessStatus.COMPLETED}


def test_a_call_inside_a_call_has_it_as_parent_and_tasks_that_of_their_submission(
    client: Any,
) -> None:
    with make() as asset, track_client(client):
        with track_process("on the client"):
            future = client.submit(cluster_work.outer, 4, pure=False)
        assert future.result() == 17
        assert client.submit(cluster_work.submit_inside, 5, pure=False).result() == 25
    found = [(record.name, record.parent_id) for record in asset.records]
    ids = {record.name: record.id for record in asset.records}
    assert ("outer", ids["on the client"]) in found
    assert ("square", ids["outer"]) in found
    assert ("square", ids["submit_inside"]) in found
    assert named(asset, "outer").results == {"found": 4}


def test_methods_of_an_actor_are_recorded_each_time(client: Any) -> None:
    with make() as asset, track_client(client):
        with track_process("making"):
            counter = client.submit(cluster_work.Counter, actor=True).result()
        assert [counter.add(2).result(), counter.add(3).result()] == [4, 13]
        assert counter.read().result() == 13
    names = {record.id: record.name for record in asset.records}
    found = [
        (record.name, names.get(record.parent_id or ""), record.parameters)
        for record in asset.records
    ]
    assert found == [
        ("making", None, None),
        ("add", "making", {"number": 2}),
        ("square", "add", {"number": 2}),
        ("add", "making", {"number": 3}),
        ("square", "add", {"number": 3}),
        ("read", "making", None),
    ]
    assert {record.status for record in asset.records} == {ProcessStatus.COMPLETED}


def test_a_result_that_is_handed_to_another_task_gives_an_edge_whatever_it_is(client: Any) -> None:
    with make() as asset, track_client(client):
        numbers = client.map(cluster_work.square, range(3), pure=False)
        total = client.submit(cluster_work.total, numbers, pure=False)
        assert total.result() == 5
    squares = {record.id for record in asset.records if record.name == "square"}
    assert set(named(asset, "total").follows) == squares
    assert sorted(graph(asset.output_dir)["total"]) == ["square", "square_1", "square_2"]


def test_a_function_with_some_arguments_given_is_tracked_as_it_is(client: Any) -> None:
    with make() as asset, track_client(client):
        doubled = functools.partial(cluster_work.times, by=2)
        numbers = client.map(doubled, range(3), pure=False)
        total = client.submit(functools.partial(cluster_work.total), numbers, pure=False)
        assert total.result() == 6
    found = [record for record in asset.records if record.name == "times"]
    assert {"number": 0, "by": 2} in [record.parameters for record in found]
    assert len(found) == 3
    assert set(named(asset, "total").follows) == {record.id for record in found}


def test_a_result_inside_others_gives_an_edge_and_one_that_was_filtered_none(client: Any) -> None:
    addresses = list(client.scheduler_info()["workers"])
    with make() as asset, track_client(client):
        first = client.submit(cluster_work.ramp, 10, pure=False, workers=addresses[0])
        both = client.submit(cluster_work.both, first, first, pure=False, workers=addresses[1])
        assert client.submit(cluster_work.mean_of, both, "first", pure=False).result() == 4.5
        half = client.submit(cluster_work.plain_half, first, pure=False)
        assert client.submit(cluster_work.mean, half, pure=False).result() == 4
    assert sources(asset, "mean_of") == {"ramp"}
    assert sources(asset, "mean") == set()


def test_results_have_their_origin_on_the_way_to_the_client_and_back(client: Any) -> None:
    with make() as asset, track_client(client):
        (values,) = client.gather([client.submit(cluster_work.ramp, 5, pure=False)])
        assert cluster_work.mean(values) == 2
        assert client.submit(cluster_work.read, __file__, pure=False).result() > 0
        made = track_process("made")(lambda: values + 1)()
        assert client.submit(cluster_work.mean_of, {"a": made}, "a", pure=False).result() == 3
    assert sources(asset, "mean") == {"ramp"}
    assert sources(asset, "mean_of") == {"made"}


def test_files_below_the_data_root_of_a_worker_are_its_inputs(
    client: Any, worker_data: Path
) -> None:
    path = str(worker_data / RAW / "subject.json")
    with make() as asset, track_client(client):
        read = client.submit(cluster_work.read_name, f"{RAW}/subject.json", pure=False)
        assert read.result() > 0
        with track_process("plain") as plain:
            assert client.submit(cluster_work.plain_read, path, pure=False).result() > 0
        assert plain is not None
    for name in ("read_name", "plain"):
        assert [ref.name for ref in named(asset, name).inputs] == [RAW]
        assert named(asset, name).observed == (RAW,)


def test_files_that_tasks_write_and_read_in_a_shared_output_folder_are_seen(client: Any) -> None:
    with make() as asset, track_client(client):
        path = str(asset.output_dir / "a.txt")
        assert client.submit(cluster_work.write, path, pure=False).result() == path
        assert client.submit(cluster_work.read, path, pure=False).result() == 6
        with track_process("here"):
            assert Path(path).read_text() == "result"
    assert list(named(asset, "write").written_files) == ["a.txt"]
    assert sources(asset, "read") == {"write"}
    assert sources(asset, "here") == {"write"}
    assert processes(asset.output_dir)["write"]["output_path"] == "a.txt"


def test_a_call_that_fails_is_failed_and_one_that_is_tried_again_is_one_process(
    client: Any, tmp_path: Path
) -> None:
    with make() as asset, track_client(client):
        with pytest.raises(ValueError, match="wrong"):
            client.submit(cluster_work.fail, "wrong", pure=False).result()
        marker = str(tmp_path / "marker")
        again = client.submit(cluster_work.fail_once, marker, pure=False, retries=2)
        assert again.result() == "done"
    failed = named(asset, "fail")
    assert (failed.status, failed.error) == (ProcessStatus.FAILED, "ValueError: wrong")
    record = named(asset, "fail_once")
    assert (record.status, record.error) == (ProcessStatus.COMPLETED, None)
    (note,) = record.notes
    assert note.startswith("An earlier attempt, on worker tcp://127.0.0.1:")
    assert note.endswith(", failed: ValueError: the first time.")


def test_a_call_whose_worker_is_killed_is_one_process_that_tells_of_the_lost_attempt(
    client: Any, tmp_path: Path
) -> None:
    with make() as asset, track_client(client):
        others = client.map(cluster_work.slow, [0.05] * 8, pure=False)
        future = client.submit(cluster_work.die_once, str(tmp_path / "marker"), pure=False)
        assert future.result(timeout=30) == "done"
        client.gather(others)
    record = named(asset, "die_once")
    assert record.status is ProcessStatus.COMPLETED
    (note,) = record.notes
    assert note.startswith("An earlier attempt, on worker tcp://127.0.0.1:")
    assert note.endswith(", was lost.")
    assert sum(record.name == "slow" for record in asset.records) == 8
    assert {record.status for record in asset.records} == {ProcessStatus.COMPLETED}
    client.wait_for_workers(2, timeout=30)


def test_a_result_that_was_lost_and_made_anew_is_one_process(client: Any) -> None:
    with make() as asset, track_client(client):
        workers = client.run(os.getpid)
        address = next(iter(workers))
        future = client.submit(
            cluster_work.ramp, 7, pure=False, workers=address, allow_other_workers=True
        )
        distributed.wait(future)
        os.kill(workers[address], signal.SIGKILL)
        mean = client.submit(cluster_work.mean, future, pure=False)
        assert mean.result(timeout=30) == 3
    record = named(asset, "ramp")
    assert record.status is ProcessStatus.COMPLETED
    (note,) = record.notes
    assert note == f"An earlier attempt, on worker {address}, had completed; its result was lost."
    assert sources(asset, "mean") == {"ramp"}
    client.wait_for_workers(2, timeout=30)


def test_a_worker_that_comes_later_is_followed_too(client: Any) -> None:
    with make() as asset, track_client(client):
        client.restart(timeout=30)
        assert client.gather(client.map(cluster_work.square, range(4), pure=False)) == [0, 1, 4, 9]
    assert len(asset.records) == 4


def test_what_still_runs_when_the_cluster_is_left_is_interrupted(
    client: Any, tmp_path: Path
) -> None:
    begun, released = tmp_path / "begun", tmp_path / "released"
    with make() as asset:
        with track_client(client):
            paths = str(begun), str(released)
            future = client.submit(cluster_work.wait_for_release, *paths, pure=False)
            while not begun.exists():
                time.sleep(0.01)
        released.touch()
        assert future.result(timeout=60) == "released"
    record = named(asset, "wait_for_release")
    assert record.status is ProcessStatus.INTERRUPTED
    assert record.notes == ("Still running on the cluster when it was left.",)


def test_calls_before_and_after_and_those_of_other_clients_are_not_recorded(client: Any) -> None:
    with make() as asset:
        client.submit(cluster_work.square, 1, pure=False).result()
        with track_client(client), distributed.Client(client.scheduler.address) as other:
            other.submit(cluster_work.square, 2, pure=False).result()
            client.submit(cluster_work.outer, 3, pure=False).result()
        client.submit(cluster_work.square, 4, pure=False).result()
    assert [record.name for record in asset.records] == ["outer", "square"]


def test_two_assets_on_one_cluster_keep_their_calls_apart(client: Any, tmp_path: Path) -> None:
    with make(output_dir=tmp_path / "a") as one, track_client(client):
        client.submit(cluster_work.square, 1, pure=False).result()
        with make(output_dir=tmp_path / "b") as other, track_client(client):
            client.submit(cluster_work.outer, 2, pure=False).result()
        client.submit(cluster_work.total, [3], pure=False).result()
    assert [record.name for record in one.records] == ["square", "total"]
    assert [record.name for record in other.records] == ["outer", "square"]


def test_nothing_of_ours_is_left_on_the_client_or_the_workers(client: Any) -> None:
    def hooks(dask_worker: Any) -> list[str]:
        from asset_provenance.recorder import open_recorders

        found = [name for name in dask_worker.plugins if "asset" in name]
        found += [name for name in vars(dask_worker) if name == "execute"]
        is_plain = dask_worker.handlers["actor_execute"] == dask_worker.actor_execute
        found += [] if is_plain else ["actor_execute"]
        found += ["open"] * (repr(open) != "<built-in function open>")
        return [*found, *map(repr, open_recorders)]

    with make(), track_client(client):
        client.submit(cluster_work.square, 1, pure=False).result()
        assert all(client.run(hooks).values())
    assert not any(client.run(hooks).values())
    assert not {"submit", "_gather", "_graph_to_futures"} & set(vars(client))


def test_what_workers_import_is_listed(client: Any, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "worker-tools", "1.0", {"worker_tools.py": ""})
    with DerivedAsset("t", inputs=(), base_name="b", strict=True, **FACTS, **PEOPLE) as asset:
        with track_client(client):
            client.submit(cluster_work.import_from, str(wheel), "worker_tools").result()
    (listed,) = asset.output_dir.glob("provenance/packages-*.txt")
    assert "worker-tools==1.0" in listed.read_text().splitlines()
    assert "worker_tools" not in sys.modules


def test_no_secret_leaves_a_worker(client: Any) -> None:
    seen: list[Any] = []
    with make() as asset, track_client(client):
        (topic,) = [topic for topic in client._event_handlers if topic.startswith("asset-prov")]
        handle = client._event_handlers[topic]
        client._event_handlers[topic] = lambda event: (seen.append(event), handle(event))[1]
        client.submit(
            cluster_work.keep_secret, CANARY, f"https://user:{CANARY}@example.com", pure=False
        ).result()
        with pytest.raises(ValueError):
            client.submit(cluster_work.fail, f"password={CANARY}", pure=False).result()
    assert seen
    assert CANARY not in repr(seen)
    assert CANARY not in repr(asset.records)


@pytest.mark.long
def test_many_tasks_are_few_processes_that_tell_how_many_and_what_varied(client: Any) -> None:
    count = 10_000 if 2 in client.nthreads().values() else 500
    with make() as asset, track_client(client):
        futures = client.map(cluster_work.square, range(count), pure=False)
        total = client.submit(cluster_work.total, futures, pure=False)
        assert total.result() == sum(number * number for number in range(count))
    squares = [record for record in asset.records if record.name == "square"]
    assert len(squares) == 101
    (together,) = [record for record in squares if record.notes]
    (note,) = together.notes
    told = f"{count - 100} further calls of square, together one process. Varied: number "
    assert note.startswith(told)
    assert {record.status for record in squares} == {ProcessStatus.COMPLETED}
    assert set(named(asset, "total").follows) == {record.id for record in squares}


def test_without_an_open_asset_nothing_happens(client: Any) -> None:
    with track_client(client) as same:
        assert same is client
        assert client.submit(cluster_work.square, 2, pure=False).result() == 4
    assert not [name for name in client._event_handlers if name.startswith("asset-prov")]


def test_what_is_no_client_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match=r"takes a distributed.Client, not str"):
        track_client("tcp://127.0.0.1:8786")


def test_a_cluster_of_threads_of_this_program_records_as_threads_do() -> None:
    with distributed.Client(processes=False, n_workers=1, dashboard_address=":0") as client:
        with make() as asset, track_client(client):
            with track_process("outside"):
                assert client.submit(cluster_work.outer, 3, pure=False).result() == 10
    assert parents(asset) == {"outside": None, "outer": "outside", "square": "outer"}


def test_code_without_git_is_known_alike_on_the_client_and_the_workers(tmp_path: Path) -> None:
    (tmp_path / "setup.cfg").touch()
    (tmp_path / "steps.py").write_text(
        "from asset_provenance import track_process\n"
        "@track_process\ndef here(): return 1\n"
        "@track_process\ndef there(): return 1\n"
    )
    (tmp_path / "main.py").write_text(
        f"""
import distributed
from asset_provenance import DerivedAsset
from asset_provenance.engines.dask import track_client
import steps

if __name__ == "__main__":
    facts = {{"inputs": (), "base_name": "b", **{FACTS!r}, **{PEOPLE!r}}}
    with (
        distributed.LocalCluster(n_workers=1, processes=True, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
        DerivedAsset("t", output_dir="results", **facts) as asset,
        track_client(client),
    ):
        (asset.output_dir / "found.txt").write_text("1")  # which is no code
        steps.here()
        client.submit(steps.there).result()
"""
    )
    environ = {**os.environ, "DASK_TEMPORARY_DIRECTORY": str(tmp_path.parent / "of-dask")}
    subprocess.run([sys.executable, "main.py"], cwd=tmp_path, env=environ, check=True)
    found = validate_set(tmp_path / "results")["processing"]["data_processes"]
    versions = {process["name"]: process["code"]["version"] for process in found}
    assert versions["here"] == versions["there"]
    assert versions["here"].startswith("tree:")


def test_the_example_runs_and_its_graph_says_what_was_done(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, PROJECT / "examples/dask_cluster.py", "--output-dir", tmp_path / "out"],
        cwd=tmp_path,
        env={**os.environ, "ASSET_PROVENANCE_DATA_ROOT": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = graph(tmp_path / "out")
    rates = [name for name in found if name.startswith("firing_rates")]
    assert len(rates) == 3
    assert sorted(found["stability"]) == sorted(rates)
