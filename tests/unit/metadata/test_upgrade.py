from __future__ import annotations

import importlib
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asset_provenance import children
from asset_provenance.errors import AssemblyError, UsageError
from asset_provenance.metadata.upgrade import is_v1, upgrade, v1_files

SAMPLES = Path(__file__).resolve().parents[4] / "shared" / "samples"
RECORDS = sorted((SAMPLES / "aind-metadata-upgrader").glob("v1_*"))

NAME = "ecephys_634569_2022-08-09_16-14-38_sorted_2023-05-11_19-29-48"
PARENT = "ecephys_634569_2022-08-09_16-14-38_clipped_2023-05-10_12-00-00"
LOCATION = f"s3://some-bucket/{NAME}"
SUBJECT = {
    "schema_version": "1.0.3",
    "subject_id": "634569",
    "sex": "Male",
    "date_of_birth": "2022-01-01",
    "genotype": "wt/wt",
    "species": {"name": "Mus musculus"},
}
DESCRIPTION = {
    "schema_version": "1.0.3",
    "name": NAME,
    "creation_time": "2023-05-11T19:29:48-07:00",
    "institution": {"name": "Allen Institute for Neural Dynamics", "abbreviation": "AIND"},
    "funding_source": [{"funder": {"name": "Allen Institute"}, "fundee": "Ada Lovelace"}],
    "investigators": [{"name": "Ada Lovelace Ångström"}],
    "data_level": "derived",
    "project_name": "Thalamus in the middle",
    "modality": [{"name": "Extracellular electrophysiology", "abbreviation": "ecephys"}],
    "subject_id": "634569",
    "license": "CC-BY-4.0",
}
PROCESS = {
    "name": "Spike sorting",
    "start_date_time": "2023-05-09T14:22:40+00:00",
    "end_date_time": "2023-05-09T15:19:38+00:00",
    "output_location": "sorted",
    "code_url": "https://github.com/o/sorter",
    "code_version": "1.5",
    "parameters": {"threshold": 5},
}
PIPELINE = {"data_processes": [PROCESS], "pipeline_version": "2", "pipeline_url": "https://h/p"}
PROCESSING = {
    "schema_version": "1.1.3",
    "processing_pipeline": {**PIPELINE, "processor_full_name": "Ada Lovelace"},
}
V2_PROCEDURES = {"schema_version": "2.2.3", "subject_id": "634569", "subject_procedures": []}
RECORD = {
    "data_description": DESCRIPTION,
    "subject": SUBJECT,
    "processing": PROCESSING,
    "procedures": V2_PROCEDURES,
}


def upgraded(**core_files: dict[str, Any]) -> dict[str, Any]:
    files = upgrade(NAME, LOCATION, core_files, offline=True, timeout=60)
    return {key: json.loads(content) for key, content in files.items()}


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Put another upgrader in front of the installed one, on the import path as a user can."""
    package = folder / "aind_metadata_upgrader"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "upgrade.py").write_text("TYPE_MAPPING = {}\n" + code)
    monkeypatch.syspath_prepend(folder)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("subject", {"schema_version": "1.0.3"}, True),
        ("processing", {"schema_version": "0.2.5"}, True),
        ("data_description", {"schema_version": "2.0.12"}, False),
        ("data_description", {"schema_version": "10.0.0"}, False),
        ("data_description", {"name": "x"}, False),
        ("data_description", {"schema_version": None}, False),
        ("data_description", {"schema_version": "one"}, False),
        ("data_description", {"schema_version": 1.0}, False),
        ("data_description", {}, False),
        ("session", {"session_type": "x"}, True),
        ("rig", {"schema_version": "unknown"}, True),
        ("rig", {}, False),
        ("model", {"schema_version": "1.0.0"}, False),
        ("notes", {"schema_version": "1.0.0"}, False),
    ],
)
def test_v1_is_recognised_by_version_and_by_files_that_only_v1_has(
    name: str, content: dict[str, Any], expected: bool
) -> None:
    assert is_v1({name: content}) is expected
    assert v1_files({name: content}) == [name] * expected


def test_v1_files_are_told_apart_in_a_mixed_record() -> None:
    record = {"subject": SUBJECT, "procedures": V2_PROCEDURES, "session": {"notes": "x"}}

    assert v1_files(record) == ["subject", "session"]
    assert is_v1(record)
    assert not is_v1({"procedures": V2_PROCEDURES})
    assert v1_files({"subject": None}) == []  # as DocDB records have it


def test_a_record_without_v1_files_is_left_alone_without_starting_anything() -> None:
    assert upgrade(NAME, LOCATION, {"procedures": V2_PROCEDURES}, timeout=0) == {}


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """A whole record, upgraded once for the tests that look at it."""
    before = json.dumps(RECORD)
    result = upgrade(NAME, LOCATION, RECORD, offline=True, timeout=60)
    assert json.dumps(RECORD) == before  # the caller's record is not changed
    return result


def test_a_v1_record_is_upgraded_without_a_network(files: dict[str, bytes]) -> None:
    content = {key: json.loads(text) for key, text in files.items()}

    assert all(file["schema_version"].startswith("2.") for file in content.values())
    assert content["data_description"]["name"] == NAME
    assert content["data_description"]["project_name"] == "Thalamus in the middle"
    assert content["subject"]["subject_id"] == "634569"
    (process,) = content["processing"]["data_processes"]
    assert process["code"]["url"] == "https://github.com/o/sorter"
    assert process["experimenters"] == ["Ada Lovelace"]


def test_files_that_are_v2_already_stay_the_callers(files: dict[str, bytes]) -> None:
    assert sorted(files) == ["data_description", "processing", "subject"]


def test_upgraded_files_look_as_the_schema_writes_them(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    from aind_data_schema.core.data_description import DataDescription

    DataDescription.model_validate_json(files["data_description"]).write_standard_file(tmp_path)

    written = (tmp_path / "data_description.json").read_text(encoding="utf-8")
    assert files["data_description"].decode() == written
    assert "Ångström" in written


def test_the_same_record_gives_the_same_result_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upgrader walks sets of names, whose order differs from one interpreter to the next."""
    stand_in(tmp_path, monkeypatch, "raise RuntimeError(' '.join(map(str, set('abcdefghijkl'))))")
    said = set()
    for _ in range(3):
        with pytest.raises(AssemblyError) as caught:
            upgraded(subject=SUBJECT)
        said.add(str(caught.value))

    assert len(said) == 1


def test_processes_of_the_first_form_are_not_lost() -> None:
    """Before v0.3 they had no pipeline around them, and the upgrader alone finds none."""
    content = upgraded(processing={"schema_version": "0.2.5", **PIPELINE}, subject=SUBJECT)

    (process,) = content["processing"]["data_processes"]
    assert process["process_type"] == "Spike sorting"
    assert content["processing"]["pipelines"][0]["url"] == "https://h/p"
    assert sorted(content) == ["processing", "subject"]  # no empty procedures


def test_a_description_alone_is_upgraded_though_the_schema_wants_no_such_record() -> None:
    assert upgraded(data_description=DESCRIPTION)["data_description"]["name"] == NAME


@pytest.mark.parametrize(
    ("acquisition", "expected"),
    [({"schema_version": "2.5.4"}, ["subject"]), (None, ["acquisition", "subject"])],
)
def test_a_v1_session_does_not_replace_a_v2_acquisition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, acquisition: Any, expected: list[str]
) -> None:
    code = (
        "from aind_data_schema.core.subject import Subject\n"
        "class Upgrade:\n"
        "    def __init__(self, record, **_):\n"
        "        self.metadata = self\n"
        "        self.acquisition = self.subject = Subject.model_construct()\n"
    )
    stand_in(tmp_path, monkeypatch, code)

    content = upgraded(session={"notes": "x"}, acquisition=acquisition, subject=SUBJECT)

    assert sorted(content) == expected


@pytest.mark.filterwarnings("ignore")  # the schema warns of much in these records
@pytest.mark.skipif(not RECORDS, reason=f"no sample records in {SAMPLES}")
@pytest.mark.parametrize("folder", RECORDS, ids=lambda folder: folder.name)
def test_real_v1_records_are_upgraded(folder: Path) -> None:
    record = json.loads((folder / "metadata.nd.v1.json").read_text())
    expected = json.loads((folder / "metadata.nd.v2_upgraded.json").read_text())
    core_files = {key: value for key, value in record.items() if isinstance(value, dict)}
    assert is_v1(core_files)

    files = upgrade(record["name"], record["location"], core_files, offline=True)

    new_names = {"session": "acquisition", "rig": "instrument"}
    assert set(files) == {new_names.get(key, key) for key in v1_files(core_files)}
    got = {key: json.loads(content) for key, content in files.items()}
    for core_file, field in (("data_description", "name"), ("subject", "subject_id")):
        if core_file in got:
            assert got[core_file][field] == expected[core_file][field]
    for key, content in files.items():
        module = importlib.import_module(f"aind_data_schema.core.{key}")
        model = getattr(module, key.title().replace("_", ""))
        try:
            model.model_validate(expected[key])
        except ValueError:
            continue
        model.model_validate_json(content)


def test_an_upgrader_that_hangs_is_ended_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, "import time\ntime.sleep(60)\n")
    start = time.monotonic()

    with pytest.raises(AssemblyError, match=r"did not finish within 0\.5 s"):
        upgrade(NAME, LOCATION, {"subject": SUBJECT}, timeout=0.5)

    assert time.monotonic() - start < 10


@pytest.fixture
def silent_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take in every connection to other machines, and never answer."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.getsockname()[1]}")
        yield


@pytest.mark.usefixtures("silent_proxy")
def test_an_upgrader_waits_for_a_service_no_longer_than_a_service_may_take() -> None:
    start = time.monotonic()

    with pytest.raises(AssemblyError) as caught:
        upgrade(
            NAME,
            LOCATION,
            {"data_description": {**DESCRIPTION, "input_data_name": PARENT}, "subject": SUBJECT},
            service_timeout=1,
        )

    assert "asked api.allenneuraldynamics.org, which did not answer within 1 s" in str(caught.value)
    assert time.monotonic() - start < 30  # most of it is the import


@pytest.mark.usefixtures("silent_proxy")
def test_what_an_upgrader_does_by_itself_is_not_taken_for_waiting() -> None:
    assert upgrade(NAME, LOCATION, RECORD, service_timeout=0.05).keys() == {
        "data_description",
        "subject",
        "processing",
    }


def test_a_time_limit_too_short_for_anything_is_honoured() -> None:
    with pytest.raises(AssemblyError) as caught:
        upgrade(NAME, LOCATION, {"subject": SUBJECT}, timeout=0.01)

    assert NAME in str(caught.value)
    assert 'inherit="none"' in str(caught.value)


def test_an_upgrader_whose_parent_was_killed_ends_by_itself(tmp_path: Path) -> None:
    package = tmp_path / "aind_metadata_upgrader"
    package.mkdir()
    (package / "__init__.py").touch()
    started = tmp_path / "started"
    (package / "upgrade.py").write_text(
        f"import os, pathlib, time\npathlib.Path({str(started)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(60)\n"
    )
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from asset_provenance.metadata.upgrade import upgrade\n"
        "upgrade('a', 'b', {'rig': {'x': 1}}, timeout=2)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    _wait_for(lambda: started.exists() and started.read_text(), "the upgrader never started")
    parent.kill()
    parent.wait()

    child = int(started.read_text())
    _wait_for(lambda: not _alive(child), "the upgrader outlived its time")
    assert not _alive(child)


def _wait_for(condition: Any, failure: str) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, failure
        time.sleep(0.05)


def _alive(process_id: int) -> bool:
    import psutil

    try:
        return psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_what_cannot_be_upgraded_is_said_without_a_traceback(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(AssemblyError) as caught:
        upgraded(subject={**SUBJECT, "sex": "yes"})

    message = str(caught.value)
    assert f"the metadata of {NAME} are of schema v1 and could not be upgraded" in message
    assert "sex Input should be 'Female' or 'Male'" in message
    assert 'inherit="none"' in message
    for noise in ("Traceback", "errors.pydantic.dev", "input_value"):
        assert noise not in message
    assert capfd.readouterr() == ("", "")


def test_an_upgrader_that_dies_is_said_with_its_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import os, sys\nprint('first\\nlast words', file=sys.stderr, flush=True)\nos._exit(3)\n"
    stand_in(tmp_path, monkeypatch, code)

    with pytest.raises(AssemblyError, match="ended with status 3: last words"):
        upgraded(subject=SUBJECT)


def test_an_interpreter_that_cannot_be_started_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")

    with pytest.raises(AssemblyError, match="could not be started"):
        upgraded(subject=SUBJECT)


def test_an_asset_whose_parents_must_be_asked_for_fails_at_once_when_offline() -> None:
    start = time.monotonic()

    with pytest.raises(AssemblyError) as caught:
        upgraded(data_description={**DESCRIPTION, "input_data_name": PARENT}, subject=SUBJECT)

    assert "the upgrader needs api.allenneuraldynamics.org, and `offline` is set" in str(
        caught.value
    )
    assert time.monotonic() - start < 30


def test_offline_refuses_every_connection_but_to_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the sockets said is carried out in the error message."""
    code = """
import socket, urllib.request
said = []
def attempt(name, call):
    try:
        call()
        said.append(name + ":open")
    except ConnectionRefusedError as error:
        said.append(name + (":refused" if "offline" in str(error) else ":closed"))
    except OSError as error:
        said.append(name + ":" + type(error).__name__)
tcp, udp, six = (socket.socket(*kind) for kind in (
    (socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET, socket.SOCK_DGRAM),
    (socket.AF_INET6, socket.SOCK_STREAM)))
attempt("connect", lambda: tcp.connect(("192.0.2.1", 80)))
attempt("connect_ex", lambda: tcp.connect_ex(("192.0.2.1", 80)))
attempt("sendto", lambda: udp.sendto(b"x", ("192.0.2.1", 80)))
attempt("six", lambda: six.connect(("2001:db8::1", 80)))
attempt("name", lambda: socket.getaddrinfo("example.org", 80))
attempt("bytes", lambda: socket.gethostbyname(b"example.org"))
attempt("loopback", lambda: tcp.connect(("127.0.0.1", PORT)))
attempt("localhost", lambda: socket.getaddrinfo("localhost", 80))
raise RuntimeError(" ".join(said))
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        stand_in(tmp_path, monkeypatch, code.replace("PORT", str(server.getsockname()[1])))
        with pytest.raises(AssemblyError) as caught:
            upgraded(subject=SUBJECT)

    message = str(caught.value)
    for name in ("connect", "connect_ex", "sendto", "six", "name", "bytes"):
        assert f"{name}:refused" in message
    assert "loopback:open" in message
    assert "localhost:open" in message


def test_what_the_upgrader_prints_stays_out_of_the_result_and_of_our_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    code = (
        "import os\nprint('a whole record' * 100_000)\nos.write(1, b'raw bytes')\n"
        "raise RuntimeError('after much noise')\n"
    )
    stand_in(tmp_path, monkeypatch, code)

    with pytest.raises(AssemblyError, match="the upgrader said: RuntimeError: after much noise"):
        upgraded(subject=SUBJECT)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_the_upgrader_drops_or_leaves_invalid_is_said_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    code = (
        "from aind_data_schema.core.subject import Subject\n"
        "class Upgrade:\n"
        "    def __init__(self, record, **_):\n"
        "        self.metadata = self\n"
        "        self.processing = None\n"
        "        self.subject = Subject.model_construct(subject_id='634569')\n"
    )
    stand_in(tmp_path, monkeypatch, code)

    with caplog.at_level(logging.WARNING, "asset_provenance"):
        files = upgraded(subject=SUBJECT, processing=PROCESSING)

    assert sorted(files) == ["subject"]
    assert f"the upgrader dropped processing of {NAME}" in caplog.text
    assert f"subject of {NAME} was upgraded from schema v1, but does not satisfy" in caplog.text


def test_without_the_extra_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Import from a copy, in links, of all that is installed but the upgrader."""
    path = []
    for number, entry in enumerate(sys.path):
        folder = Path(entry)
        if entry and (folder / "aind_metadata_upgrader").is_dir():
            copy = tmp_path / str(number)
            copy.mkdir()
            for item in folder.iterdir():
                if not item.name.startswith("aind_metadata_upgrader"):
                    (copy / item.name).symlink_to(item)
            # Installed beside the upgrader, our own package must come from the copy too.
            ours = Path(children.__file__)
            if ours.is_relative_to(folder):
                place = copy / ours.relative_to(folder)
                monkeypatch.setattr(children, "__file__", str(place))
            folder = copy
        path.append(str(folder))
    monkeypatch.setattr(sys, "path", path)

    with pytest.raises(UsageError) as caught:
        upgraded(subject=SUBJECT)

    assert 'pip install "asset-provenance[upgrade]"' in str(caught.value)
    assert NAME in str(caught.value)


def test_an_extra_installed_in_part_is_not_taken_for_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, "import no_such_package\n")

    with pytest.raises(AssemblyError, match="No module named 'no_such_package'"):
        upgraded(subject=SUBJECT)


def test_neither_the_main_script_nor_the_files_beside_it_run_in_the_child(tmp_path: Path) -> None:
    """Their names are those of modules that the upgrader imports."""
    (tmp_path / "packaging.py").write_text("print('a file beside the script ran')\n1 / 0\n")
    script = tmp_path / "zoneinfo.py"
    script.write_text(
        "print('main ran')\n"
        "from asset_provenance.metadata.upgrade import upgrade\n"
        f"print(sorted(upgrade('a', 'b', {{'subject': {SUBJECT!r}}}, offline=True)))\n"
    )

    result = subprocess.run(
        [sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert result.stdout.splitlines() == ["main ran", "['subject']"]
    assert result.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use cannot be removed there")
def test_it_works_from_a_folder_that_is_gone_with_an_odd_environment(tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "json.py").write_text("1 / 0\n")
    gone = tmp_path / "gone"
    gone.mkdir()
    code = (
        "import os, sys; os.rmdir(os.getcwd())\n"
        "from asset_provenance.metadata.upgrade import upgrade\n"
        f"os.environ['PYTHONPATH'] = {str(tmp_path / 'odd')!r}\n"
        "os.environ.update(PYTHONINSPECT='1', PYTHONWARNINGS='error', PYTHONIOENCODING='ascii')\n"
        f"print(sorted(upgrade('a', 'b', {{'subject': {SUBJECT!r}}}, offline=True)))\n"
        "del os.environ['PYTHONINSPECT']\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=gone,
        env={**os.environ, "PYTHONPATH": "relative"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.stdout == "['subject']\n", result.stderr
