"""Dask clusters with which something is wrong: the work is done, and what is missing is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
import pytest

from asset_provenance.engines import dask
from asset_provenance.engines.dask import track_client
from asset_provenance.records import ProcessStatus
from helpers import cluster_work
from helpers.assets import FACTS, PEOPLE
from helpers.clusters import cluster, hiding_package, program, scheduler
from helpers.records import make, named

QUICK = ("--no-nanny", "--nthreads", "1")

SCRIPT = """
import json, sys
import distributed
from asset_provenance import DerivedAsset, track_process
from asset_provenance.engines.dask import track_client

@track_process
def inside(number):
    return number + 1

@track_process(parameters=lambda given: {"told": given["number"]})
def outside(number):
    return inside(number) * 2

@track_process
async def later(number):
    return number

class Box:
    def __init__(self, number):
        self.number = number

    @track_process
    def get(self, more):
        return self.number + more

    @staticmethod
    @track_process
    def plain(number):
        return number

def boxed(number):
    return Box(number).get(1) + Box.plain(number)

client = distributed.Client(sys.argv[1])
client.wait_for_workers(1, timeout=60)
facts = json.loads(sys.argv[2])
with DerivedAsset("test", **facts) as asset, track_client(client):
    values = [client.submit(function, 1, pure=False).result(timeout=60)
              for function in (outside, later, boxed)]
    first = client.submit(outside, 2, pure=False)
    values.append(client.submit(inside, first, pure=False).result(timeout=60))
print(json.dumps([values, [[one.name, one.parameters, len(one.follows),
                           one.code.run_script] for one in asset.records]]))
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[distributed.Client]:
    with cluster(tmp_path_factory.mktemp("of-the-workers"), 1, 1) as found:
        yield found


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def run_script(folder: Path, environ: dict[str, str]) -> tuple[list[Any], list[Any]]:
    """Run the script with a scheduler and a worker in programs of their own."""
    (folder / "script.py").write_text(SCRIPT)
    facts = {
        "inputs": [],
        "base_name": "base",
        "output_dir": str(folder / "out"),
        **FACTS,
        **PEOPLE,
    }
    with scheduler(folder, environ=environ) as (_, address):
        with program("worker", address, *QUICK, environ=environ):
            done = subprocess.run(
                [sys.executable, folder / "script.py", address, json.dumps(facts)],
                capture_output=True,
                text=True,
                check=False,
            )
    assert done.returncode == 0, done.stderr
    values, records = json.loads(done.stdout.splitlines()[-1])
    return values, records


def test_functions_of_a_script_are_recorded_though_they_pass_a_scheduler_elsewhere(
    tmp_path: Path,
) -> None:
    values, records = run_script(tmp_path, {})
    assert values == [4, 1, 3, 7]
    assert [record[:3] for record in records] == [
        ["outside", {"told": 1}, 0],
        ["inside", {"number": 1}, 0],
        ["later", {"number": 1}, 0],
        ["get", {"more": 1}, 0],
        ["plain", {"number": 1}, 0],
        ["outside", {"told": 2}, 0],
        ["inside", {"number": 2}, 0],
        ["inside", {"number": 6}, 1],
    ]
    assert {Path(record[3]).name for record in records} == {"script.py"}


def test_functions_of_a_script_do_their_work_where_the_package_is_missing(tmp_path: Path) -> None:
    values, records = run_script(tmp_path, hiding_package(tmp_path))
    assert values == [4, 1, 3, 7]
    assert records == []


def test_a_worker_without_the_package_does_its_work_and_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, client: Any
) -> None:
    environ = hiding_package(tmp_path)
    arguments = (client.scheduler.address, *QUICK, "--name", "other")
    with program("worker", *arguments, environ=environ):
        client.wait_for_workers(2, timeout=60)
        with make() as asset, track_client(client):
            assert client.submit(sum, [1, 2], workers="other").result(timeout=60) == 3
    assert asset.records == ()
    (told,) = [text for text in messages(caplog) if "not recorded" in text]
    assert "not installed here; install the same asset-provenance there as here" in told


def test_a_worker_that_cannot_follow_the_asset_does_its_work_and_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, client: Any
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    leaving = ("sh", "-c", 'cd "$0" && rmdir "$0" && exec "$@"', str(gone))
    arguments = (client.scheduler.address, *QUICK, "--name", "other")
    local = ("--local-directory", str(tmp_path))
    with program("worker", *arguments, *local, before=leaving):
        client.wait_for_workers(2, timeout=60)
        with make() as asset, track_client(client):
            future = client.submit(cluster_work.square, 3, pure=False, workers="other")
            assert future.result(timeout=60) == 9
    assert asset.records == ()
    (told,) = [text for text in messages(caplog) if "not recorded" in text]
    assert told.endswith("FileNotFoundError: [Errno 2] No such file or directory")


def test_a_worker_that_was_not_told_of_the_asset_is_told_of(
    caplog: pytest.LogCaptureFixture, client: Any
) -> None:
    with make() as asset, track_client(client):
        (plugin,) = client.run(lambda dask_worker: [*dask_worker.plugins][-1]).values()
        client.unregister_worker_plugin(plugin)
        assert client.submit(cluster_work.square, 3, pure=False).result(timeout=60) == 9
    assert asset.records == ()
    (told,) = [text for text in messages(caplog) if "not recorded" in text]
    assert told.endswith("it was not told of the asset, or has forgotten it")


def test_a_worker_that_leaves_in_order_is_no_reason_to_warn(
    caplog: pytest.LogCaptureFixture, client: Any
) -> None:
    with program("worker", client.scheduler.address, *QUICK, "--name", "other"):
        client.wait_for_workers(2, timeout=60)
        with make() as asset, track_client(client):
            future = client.submit(cluster_work.square, 3, pure=False, workers="other")
            assert future.result(timeout=60) == 9
            (address,) = client.who_has(future)[future.key]
            client.retire_workers([address])
    assert named(asset, "square").status is ProcessStatus.COMPLETED
    assert not [text for text in messages(caplog) if "recorded" in text]


def test_a_worker_that_stands_still_does_not_keep_the_asset_open(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, client: Any
) -> None:
    monkeypatch.setattr(dask, "_LONGEST_WAIT", 1.5)
    (pid,) = client.run(os.getpid).values()
    stop = threading.Event()
    # Without a bound it would be waited for until it goes on.
    waking = threading.Thread(target=lambda: (stop.wait(60), os.kill(pid, signal.SIGCONT)))
    waking.start()
    try:
        with make() as asset:
            with track_client(client):
                assert client.submit(cluster_work.square, 3, pure=False).result(timeout=60) == 9
                os.kill(pid, signal.SIGSTOP)
            with track_client(client):
                pass
            assert waking.is_alive()
    finally:
        stop.set()
        waking.join()
    assert named(asset, "square").status is ProcessStatus.COMPLETED
    assert "Not all that the cluster recorded may be here: TimeoutError" in "".join(
        messages(caplog)
    )
    assert "Not all workers of the cluster could be followed: " in "".join(messages(caplog))


def test_a_call_that_is_lost_with_its_worker_for_good_says_so(
    monkeypatch: pytest.MonkeyPatch, client: Any
) -> None:
    monkeypatch.setattr(client.cluster.scheduler, "allowed_failures", 0)
    (address,) = client.nthreads()
    with make() as asset, track_client(client):
        with pytest.raises(distributed.KilledWorker):
            client.submit(cluster_work.die, pure=False).result(timeout=60)
    client.wait_for_workers(1, timeout=60)
    record = named(asset, "die")
    assert record.status is ProcessStatus.INTERRUPTED
    assert record.notes == (f"Worker {address}, on which it ran, was lost.",)


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_scheduler_that_is_lost_does_not_keep_the_asset_open(
    how: signal.Signals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(dask, "_LONGEST_WAIT", 1.5)
    with scheduler(tmp_path) as (running, address), program("worker", address, *QUICK):
        client = distributed.Client(address, timeout=60)
        waking = threading.Timer(60, running.kill)
        with make() as asset:
            with track_client(client):
                assert client.submit(cluster_work.square, 3, pure=False).result(timeout=60) == 9
                begun = client.submit(cluster_work.slow, 60, pure=False)
                (topic,) = [name for name in client._event_handlers if name.startswith("asset-")]
                while "slow" not in repr(client.get_events(topic)):
                    time.sleep(0.05)
                running.send_signal(how)
                waking.start()
            assert waking.is_alive()
        waking.cancel()
        running.kill()
        del begun
        client.close(timeout=1)
    assert named(asset, "square").status is ProcessStatus.COMPLETED
    assert named(asset, "slow").status is ProcessStatus.INTERRUPTED
    told = "".join(messages(caplog))
    assert "Not all that the cluster recorded may be here: " in told or "was lost; what" in told
