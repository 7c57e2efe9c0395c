"""``python -m asset_provenance.testing``, as somebody uses it in a terminal."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aind_data_access_api.document_db import MetadataDbClient

from helpers.assets import RAW, description, make_asset, write_json

COMMAND = [sys.executable, "-m", "asset_provenance.testing"]
PRINT_RECORDS = """
import json, os
from aind_data_access_api.document_db import MetadataDbClient
for version in ("v1", "v2"):
    client = MetadataDbClient(host=os.environ["ASSET_PROVENANCE_DOCDB_HOST"], version=version)
    for record in client.retrieve_docdb_records(filter_query={}):
        print(version, record["name"], record["location"])
"""


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def printed_records(folder: Path) -> list[str]:
    """Give what the real client finds once a folder is loaded."""
    done = run("--records", folder, "--", sys.executable, "-c", PRINT_RECORDS)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@contextmanager
def running(*arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Start the services, and give the environment that they print."""
    words = [*COMMAND, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, text=True, **pipes) as process:
        try:
            exports = {}
            while "AWS_EC2_METADATA_DISABLED" not in exports:
                line = process.stdout.readline()
                assert line, process.stderr.read()
                if line.startswith("export "):
                    name, _, value = line.removeprefix("export ").partition("=")
                    (exports[name],) = shlex.split(value)
            yield process, exports
        finally:
            process.kill()


def record(name: str = RAW, **changes: object) -> dict[str, object]:
    return {
        "name": name,
        "location": f"s3://somewhere/{name}",
        "data_description": description(name),
        **changes,
    }


def test_assets_and_records_below_a_folder_are_in_the_database(data_root: Path) -> None:
    folder = make_asset(data_root)
    (folder / "inside").mkdir()
    write_json(folder / "inside" / "metadata.nd.json", record("part_of_the_data"))
    (data_root / "deep" / "deeper").mkdir(parents=True)
    write_json(data_root / "deep" / "deeper" / "metadata.nd.json", record("a_record"))
    write_json(data_root / "deep" / "of_another_name.json", record("another", schema_version="1.1"))
    write_json(data_root / "deep" / "settings.json", {"no": "record"})
    (data_root / "deep" / "broken.json").write_text("{")
    assert sorted(printed_records(data_root)) == [
        "v1 another s3://somewhere/another",
        "v2 a_record s3://somewhere/a_record",
        f"v2 {RAW} s3://loopback/{RAW}",
    ]


def test_an_asset_with_its_own_record_is_there_once(data_root: Path) -> None:
    write_json(make_asset(data_root) / "metadata.nd.json", record())
    assert printed_records(data_root) == [f"v2 {RAW} s3://somewhere/{RAW}"]


def test_real_samples_are_loaded(samples: Path) -> None:
    loaded = printed_records(samples / "zombie-squirrel")
    assert len(loaded) == 3
    assert all(line.startswith("v2 ") for line in loaded)
    versions = [line[:2] for line in printed_records(samples / "aind-metadata-upgrader")]
    assert (versions.count("v1"), versions.count("v2")) == (6, 7)


def test_an_input_of_a_run_comes_from_the_database(data_root: Path, tmp_path: Path) -> None:
    make_asset(data_root)
    code = (
        "from asset_provenance import DerivedAsset\n"
        f"with DerivedAsset('look', inputs={RAW!r}, experimenters=['A B'], inherit='docdb'): pass"
    )
    away = data_root.rename(tmp_path / "away")
    done = run("--records", away, "--", sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert json.loads(Path("results/data_description.json").read_bytes())["source_data"] == [RAW]


def test_the_printed_lines_lead_another_program_there(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_asset(data_root)
    with running("--records", data_root) as (process, exports):
        for name, value in exports.items():
            monkeypatch.setenv(name, value)
        client = MetadataDbClient(host=exports["ASSET_PROVENANCE_DOCDB_HOST"], version="v2")
        with client.session:
            assert [one["name"] for one in client.retrieve_docdb_records({"name": RAW})] == [RAW]
        assert process.poll() is None


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_quietly_and_leaves_nothing(how: signal.Signals) -> None:
    with running() as (process, exports):
        folder = Path(exports["REQUESTS_CA_BUNDLE"]).parent
        assert folder.is_dir()
        process.send_signal(how)
        _, told = process.communicate(timeout=20)
        assert (process.returncode, told) == (0, "")
        assert not folder.exists()


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 128 + 9)]
)
def test_the_exit_status_is_the_command_s(script: str, status: int) -> None:
    assert run("--", "sh", "-c", script).returncode == status


def test_the_command_s_own_options_are_its_own() -> None:
    assert run("--", "echo", "--records", "--", "--help").stdout == "--records -- --help\n"


def test_ctrl_c_is_for_the_command_to_deal_with(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"trap 'exit 5' INT; touch {ready}; while :; do sleep 0.05; done"
    words = [*COMMAND, "--", "sh", "-c", script]
    with subprocess.Popen(words, start_new_session=True) as process:
        until = time.monotonic() + 30
        while not ready.exists() and time.monotonic() < until:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.wait(timeout=20) == 5


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--records", "nowhere"], "nowhere is not a folder"),
        (["--records", "."], "there is no metadata.nd.json and no folder with"),
        (["--port", "many"], "invalid int value"),
        (["--port", "70000"], "port 70000 cannot be used: it must be from 0 to 65535"),
        (["--"], "a command must follow --"),
        (["--", "no-such-command"], "no-such-command cannot be run: No such file"),
        (["--colour"], "unrecognized arguments"),
    ],
)
def test_what_cannot_be_is_told_with_exit_status_2(arguments: list[str], reason: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_somebody_else_has_is_told() -> None:
    with running() as (_, exports):
        port = exports["CODEOCEAN_DOMAIN"].rpartition(":")[2]
        done = run("--port", port)
    assert done.returncode == 2
    assert f"port {port} cannot be used: Address already in use" in done.stderr


def test_all_records_that_cannot_be_used_are_told_at_once(data_root: Path) -> None:
    for name, text in {"a": "{", "b": "{}", "c": json.dumps(record(_id="1"))}.items():
        (data_root / name).mkdir()
        (data_root / name / "metadata.nd.json").write_text(text)
    write_json(data_root / "second.json", record(_id="1"))
    done = run("--records", data_root)
    assert done.returncode == 2
    assert f"{data_root}/a/metadata.nd.json is not valid JSON" in done.stderr
    assert f"{data_root}/b/metadata.nd.json is no record" in done.stderr
    assert f"{data_root}/c/metadata.nd.json have the same _id" in done.stderr
