"""What a check of a written set finds, and that it finds nothing in what we write."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_input import make_session

from asset_provenance import DerivedAsset, StorageError, UsageError, track_process
from asset_provenance.metadata.findings import Finding, Findings
from asset_provenance.metadata.folder_checks import check_folder
from asset_provenance.metadata.writer import may_be_finished
from helpers.assets import make_asset, read_json, write_json

MANIFEST = "provenance/asset-provenance.json"
PIPELINE = {"name": "spikes", "url": "https://example.org/spikes", "version": "1.2.0"}
FACTS: dict[str, Any] = {
    "experimenters": ["Sample Scientist"],
    "pipelines": [PIPELINE],
    "pipeline_name": "spikes",
}
SETTINGS = {
    "ASSET_PROVENANCE_CODE_URL": "https://example.org/lab/analysis",
    "ASSET_PROVENANCE_CODE_VERSION": "1.0.0",
    "ASSET_PROVENANCE_DATA_ROOT": "data",
    "ASSET_PROVENANCE_OFFLINE": "true",
    "ASSET_PROVENANCE_SAVE_PATCH": "false",
}


@track_process(outputs="rates.csv")
def rates(session: Path, *, bins: int = 12) -> None:
    Path("results/rates.csv").write_text("1")


@track_process(inputs="rates.csv", outputs="fast.csv")
def fast(*, options: dict[str, Any]) -> None:
    Path("results/fast.csv").write_text("1")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A set that a run really wrote: two inherited processes, and then rates and fast."""
    place = tmp_path_factory.mktemp("original")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        patch.setenv("HOME", str(place))
        patch.setenv("XDG_CONFIG_HOME", str(place))
        patch.chdir(place)
        session = make_session(Path("data")).absolute()
        with DerivedAsset("rates", inputs=session, strict=True, **FACTS):
            rates(session)
            fast(options={"least_hz": 4.0})
    yield place / "results"


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "asset"
    shutil.copytree(original, copy)
    return copy


def seal(folder: Path, file: str, **entry: Any) -> None:
    """Let the manifest hold what a file is now, as if we had written it so."""
    manifest = read_json(folder / MANIFEST)
    digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    manifest["files"][file] = {"sha256": digest, **entry}
    write_json(folder / MANIFEST, manifest)


Change = Callable[[Any], object]


def change(folder: Path, file: str, do: Change, **entry: Any) -> None:
    data = read_json(folder / file)
    do(data)
    write_json(folder / file, data)
    seal(folder, file, **entry)


def processing(do: Change) -> Callable[[Path], None]:
    return lambda folder: change(folder, "processing.json", do)


def ours(**fields: Any) -> Callable[[Path], None]:
    """Change fields of the process `rates`; dots lead into objects."""

    def do(data: Any) -> None:
        item = next(item for item in data["data_processes"] if item["name"] == "rates")
        for path, value in fields.items():
            *way, last = path.split("__")
            inner = item
            for key in way:
                inner = inner[key]
            inner[last] = value

    return processing(do)


def edges(graph: dict[str, list[str]]) -> Callable[[Path], None]:
    return processing(lambda data: data["dependency_graph"].update(graph))


def description(**fields: Any) -> Callable[[Path], None]:
    return lambda folder: change(folder, "data_description.json", lambda data: data.update(fields))


def manifest(do: Change) -> Callable[[Path], None]:
    def plant(folder: Path) -> None:
        data = read_json(folder / MANIFEST)
        do(data)
        write_json(folder / MANIFEST, data)

    return plant


def rename(change_name: Callable[[str], str], **fields: Any) -> Callable[[Path], None]:
    def plant(folder: Path) -> None:
        name = change_name(read_json(folder / "data_description.json")["name"])
        description(name=name, **fields)(folder)
        manifest(lambda data: data.update(name=name))(folder)

    return plant


def put(file: str, content: str | bytes, **entry: Any) -> Callable[[Path], None]:
    def plant(folder: Path) -> None:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if not file.startswith(".asset-provenance"):
            seal(folder, file, **entry)

    return plant


def remove(file: str, *, also_listed: bool = True) -> Callable[[Path], None]:
    def plant(folder: Path) -> None:
        (folder / file).unlink()
        if also_listed:
            manifest(lambda data: data["files"].pop(file))(folder)

    return plant


def same_names(data: Any) -> None:
    data["data_processes"][-1]["name"] = "rates"


def swapped(data: Any) -> None:
    data["data_processes"][-2:] = reversed(data["data_processes"][-2:])


def start_early(data: Any) -> None:
    process = {**data["data_processes"][-1], "name": "early", "output_path": None}
    data["data_processes"].insert(0, {**process, "start_date_time": "2026-03-01T00:00:00Z"})
    data["dependency_graph"]["early"] = []


def edit(folder: Path) -> None:
    path = folder / "subject.json"
    path.write_bytes(path.read_bytes() + b" ")


def add_pipeline(**fields: Any) -> Callable[[Path], None]:
    """Add a pipeline to an asset that inherited no process, so that it is its own."""

    def do(data: Any) -> None:
        data["pipelines"].append({**PIPELINE, "name": "more", **fields})

    def plant(folder: Path) -> None:
        processing(do)(folder)
        manifest(lambda data: data.update(inherited_processes=[]))(folder)
        processing(without_inherited)(folder)

    return plant


def without_inherited(data: Any) -> None:
    del data["data_processes"][:2]
    data["dependency_graph"] = {"rates": [], "fast": ["rates"]}


FUTURE = (datetime.now(UTC) + timedelta(days=400)).isoformat()
RATES = "data_processes[2] rates"
DESCRIPTION, PROCESSING = "data_description.json", "processing.json"
TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"


@dataclass(frozen=True)
class Case:
    """A fault to plant, and what must be said of it."""

    plant: Callable[[Path], object]
    file: str
    where: str
    words: str
    mend: str
    severity: str = "error"
    unknown: str = ""
    """Another file, of which nothing tells any more what came with an input."""


CASES = {
    # Processes
    "it ends before it starts": Case(
        ours(end_date_time="2026-03-04T00:00:00Z"),
        PROCESSING,
        RATES,
        "it ends (2026-03-04 00:00:00+00:00) before it starts",
        "end_date_time",
    ),
    "it ran in the future": Case(
        ours(end_date_time=FUTURE), PROCESSING, RATES, "ran in the future", "clock"
    ),
    "it ran before the acquisition": Case(
        processing(start_early),
        PROCESSING,
        "data_processes[0] early",
        "before the acquisition",
        "start_date_time",
    ),
    "nobody ran it": Case(
        ours(experimenters=[]), PROCESSING, RATES, "no experimenter", '["First Last"]'
    ),
    "an experimenter has no name": Case(
        ours(experimenters=[" "]), PROCESSING, RATES, "no experimenter", '["First Last"]'
    ),
    "the code has no URL": Case(
        ours(code__url=""), PROCESSING, RATES, "URL of its code is empty", '"url": "https://'
    ),
    "neither commit nor version": Case(
        ours(code__version=None, code__commit_hash=None),
        PROCESSING,
        RATES,
        "neither a commit nor a version",
        "git rev",
    ),
    "a commit with stray characters": Case(
        ours(code__commit_hash="89abcdef-dirty"),
        PROCESSING,
        f"{RATES}, code.commit_hash",
        "refuses it",
        "git rev-parse HEAD",
    ),
    "code on one machine only": Case(
        ours(code__url="file:///home/me/analysis"),
        PROCESSING,
        RATES,
        "others cannot reach",
        "ASSET_PROVENANCE_CODE_URL",
        "warning",
    ),
    "an absolute output path": Case(
        ours(output_path="/results/rates.csv"), PROCESSING, RATES, "not lie inside", "relative"
    ),
    "an output path that leads out": Case(
        ours(output_path="../rates.csv"), PROCESSING, RATES, "not lie inside", "relative"
    ),
    "an output that is not there": Case(
        lambda folder: (folder / "rates.csv").unlink(),
        PROCESSING,
        RATES,
        "output rates.csv is not in the folder",
        "put it there",
    ),
    "an output that a failed process did not write": Case(
        ours(output_path="never.csv", notes="Failed: ValueError"),
        PROCESSING,
        RATES,
        "output never.csv is not in the folder",
        "put it there",
        "warning",
    ),
    "a pipeline that is not among the pipelines": Case(
        ours(pipeline_name="other"), PROCESSING, RATES, "pipeline other is not among", "add it"
    ),
    "a pipeline without a name": Case(
        add_pipeline(name=None), PROCESSING, "pipelines[2]", "has no name", 'add "name"'
    ),
    "a pipeline without a URL": Case(
        add_pipeline(url=" "), PROCESSING, "pipelines[2]", "has no url", 'add "url"'
    ),
    "a parameter that databases do not take": Case(
        ours(code__parameters={"a.b": 1}),
        PROCESSING,
        f"{RATES}, code.parameters.a.b",
        "holds . or $",
        '"a_b"',
    ),
    "a start that is no time": Case(
        ours(start_date_time="yesterday"),
        PROCESSING,
        f"{RATES}, start_date_time",
        "refuses it",
        '"start_date_time": "2026',
    ),
    "a field that the schema does not know": Case(
        ours(status="done"), PROCESSING, f"{RATES}, status", "knows no field", 'remove "status"'
    ),
    "processes out of order": Case(
        processing(swapped), PROCESSING, "data_processes", "rates stands after fast", "sort"
    ),
    "no process at all": Case(
        processing(lambda data: data.update(data_processes=[], dependency_graph={})),
        PROCESSING,
        "data_processes",
        "no process is recorded",
        "run the analysis again",
    ),
    # The graph
    "a cycle": Case(
        edges({"rates": ["Spike sorting", "fast"]}),
        PROCESSING,
        "dependency_graph, fast",
        "depends on rates, which closes a cycle",
        'remove "rates"',
    ),
    "a process that depends on itself": Case(
        edges({"rates": ["rates"]}), PROCESSING, "dependency_graph, rates", "itself", "remove"
    ),
    "a process that depends on nobody": Case(
        edges({"rates": ["nobody"]}),
        PROCESSING,
        "dependency_graph, rates",
        "depends on nobody, which does not exist",
        'remove "nobody"',
    ),
    "a process that is not in the graph": Case(
        processing(lambda data: data["dependency_graph"].pop("fast")),
        PROCESSING,
        "dependency_graph",
        "the process fast is not in it",
        '"fast": []',
    ),
    "a graph with a process too many": Case(
        edges({"ghost": []}), PROCESSING, "dependency_graph", "process ghost, which", "remove"
    ),
    "two processes of one name": Case(
        processing(lambda data: (same_names(data), data["dependency_graph"].pop("fast"))),
        PROCESSING,
        "data_processes",
        "the name rates is borne by 2 processes",
        '"rates_1"',
    ),
    "two processes of one name and no graph": Case(
        processing(lambda data: (same_names(data), data.update(dependency_graph=None))),
        PROCESSING,
        "data_processes",
        "the name rates is borne by 2 processes",
        '"rates_1"',
    ),
    "a process that depends on a later one": Case(
        edges({"Spike sorting": ["File format conversion", "rates"], "rates": []}),
        PROCESSING,
        "dependency_graph, Spike sorting",
        "started only after it had ended",
        "mend the times",
        "warning",
    ),
    "a graph that is none": Case(
        processing(lambda data: data.update(dependency_graph={"rates": "fast"})),
        PROCESSING,
        "dependency_graph.rates",
        "refuses it",
        "form",
    ),
    # Secrets
    "a credential in a URL": Case(
        ours(code__url="https://someone:hunter2@example.org/lab"),
        PROCESSING,
        f"{RATES}, code.url",
        "looks like a password, token or key",
        "[redacted]",
    ),
    "a token in a note": Case(
        ours(notes=f"asked with {TOKEN}"), PROCESSING, f"{RATES}, notes", "looks like", "replaced"
    ),
    "a parameter that is a password": Case(
        ours(code__parameters={"db": {"password": "hunter2"}}),
        PROCESSING,
        f"{RATES}, code.parameters.db.password",
        "looks like",
        "replaced",
    ),
    "a key that is a token": Case(
        ours(code__parameters={TOKEN: 1}), PROCESSING, RATES, "the name itself", "replaced"
    ),
    "a token in the description": Case(
        description(data_summary=f"from https://example.org?token={TOKEN}"),
        DESCRIPTION,
        "data_summary",
        "looks like",
        "replaced",
    ),
    "a token in a kept patch": Case(
        put("provenance/uncommitted-89abcdef.patch", f'+API_TOKEN = "{TOKEN}"'),
        "provenance/uncommitted-89abcdef.patch",
        "",
        "looks like",
        "remove it",
    ),
    # The description
    "no name of a derived asset": Case(
        rename(lambda name: "my-result"), DESCRIPTION, "name", "'my-result' is not the name", "<"
    ),
    "a time in the name that is not the creation time": Case(
        description(creation_time="2026-03-05T00:00:00Z"),
        DESCRIPTION,
        "name",
        "is not the creation time",
        "2026-03-05_00-00-00",
    ),
    "a name that goes on": Case(
        rename(lambda name: name + "_v2"), DESCRIPTION, "name", "goes on after its time", "end in"
    ),
    "another name than when it was written": Case(
        manifest(lambda data: data.update(name="another")),
        DESCRIPTION,
        "name",
        "but another in",
        'name it "another"',
    ),
    "raw": Case(
        description(data_level="raw", source_data=None),
        DESCRIPTION,
        "data_level",
        "what was derived is not raw",
        '"derived"',
    ),
    "no modality": Case(
        description(modalities=[]), DESCRIPTION, "modalities", "no modality", '"ecephys"'
    ),
    "no funding": Case(
        description(funding_source=[]), DESCRIPTION, "funding_source", "is empty", "who paid"
    ),
    "no investigator": Case(
        description(investigators=[]), DESCRIPTION, "investigators", "is empty", "First Last"
    ),
    "an investigator without a name": Case(
        description(investigators=[{"name": ""}]),
        DESCRIPTION,
        "investigators",
        "has no name",
        "First Last",
    ),
    "no licence": Case(
        description(license=None), DESCRIPTION, "license", "license is null", "CC-BY-4.0"
    ),
    "no project": Case(
        lambda folder: change(folder, DESCRIPTION, lambda data: data.pop("project_name")),
        DESCRIPTION,
        "project_name",
        "project_name is missing",
        '"project_name": "',
    ),
    "a source that nothing read": Case(
        lambda folder: change(
            folder, DESCRIPTION, lambda data: data["source_data"].append("ecephys_1")
        ),
        DESCRIPTION,
        "source_data",
        "read the source ecephys_1",
        'track_process(inputs="ecephys_1")',
        "warning",
    ),
    # Files
    "another subject": Case(
        lambda folder: change(folder, "subject.json", lambda data: data.update(subject_id="7")),
        "subject.json",
        "subject_id",
        "about subject 7, but data_description.json about 900101",
        "right subject",
    ),
    "no processing": Case(remove(PROCESSING), PROCESSING, "", "it is missing", "run"),
    "no description": Case(remove(DESCRIPTION), DESCRIPTION, "", "it is missing", "run"),
    "a file of the set that is gone": Case(
        remove("quality_control.json", also_listed=False),
        MANIFEST,
        "files",
        "it lists quality_control.json, which is missing",
        "put the file back",
    ),
    "a file that was edited": Case(
        edit,
        "subject.json",
        "",
        "edited since it was written",
        '"subject.json": {"sha256": "',
    ),
    "a file of another set": Case(
        manifest(lambda data: data["files"].pop("quality_control.json")),
        "quality_control.json",
        "",
        "the manifest does not list it",
        "move it away",
    ),
    "a file that is no JSON": Case(
        put("subject.json", "{"), "subject.json", "", "it is not valid JSON: line 1", "mend it"
    ),
    "a number that JSON does not have": Case(
        put("subject.json", '{"weight": NaN}'), "subject.json", "", "NaN", "mend it"
    ),
    "a list": Case(put("subject.json", "[]"), "subject.json", "", "it holds list", "mend it"),
    "a file of schema v1": Case(
        put("subject.json", '{"schema_version": "1.0.0"}'),
        "subject.json",
        "schema_version",
        "schema version 1.0.0",
        "aind-metadata-upgrader",
    ),
    "a file that is too large": Case(
        lambda folder: change(
            folder, DESCRIPTION, lambda data: data.update(data_summary="long " * 120_000)
        ),
        DESCRIPTION,
        "",
        "more than the 500 KB",
        "shorter",
        "warning",
    ),
    # The manifest, and what runs left
    "no manifest": Case(
        lambda folder: (folder / MANIFEST).unlink(),
        MANIFEST,
        "",
        "missing",
        "run",
        "warning",
        PROCESSING,
    ),
    "a manifest of another version": Case(
        manifest(lambda data: data.update(format=2)),
        MANIFEST,
        "format",
        "format 2",
        "--upgrade",
        unknown=PROCESSING,
    ),
    "a manifest that leads out": Case(
        manifest(lambda data: data["files"].update({"../x": {}})),
        MANIFEST,
        "files",
        "../x, which lies outside",
        "remove",
    ),
    "a write that was interrupted": Case(
        put(".asset-provenance/1f/commit.json", "{}"),
        ".asset-provenance/1f",
        "",
        "killed while it put its files into place",
        "asset-provenance recover",
    ),
    "the record of a run that failed": Case(
        put(".asset-provenance/1f/2e.jsonl", '{"kind": "close"}\n'),
        ".asset-provenance/1f",
        "",
        "the record of a run that failed",
        "asset-provenance recover",
        "warning",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_fault_is_found_and_told_with_what_mends_it(folder: Path, case: Case) -> None:
    case.plant(folder)
    findings = check_folder(folder)
    assert all(other.severity == "warning" for other in findings if other.file == case.unknown)
    (found,) = [found for found in findings if found.file != case.unknown]
    assert (found.severity, found.file) == (case.severity, case.file)
    assert found.where.startswith(case.where)
    assert case.words in found.what
    assert case.mend in found.mend
    assert TOKEN not in repr(found)


def test_nothing_is_found_in_a_set_as_it_was_written(folder: Path) -> None:
    assert check_folder(folder) == []


# What came with an input


def first(**fields: Any) -> Callable[[Path], None]:
    return processing(lambda data: data["data_processes"][0].update(fields))


INHERITED = {
    "a process of the input": (first(experimenters=[], end_date_time=FUTURE), 2),
    "a note of the input": (processing(lambda data: data.update(notes=f"with {TOKEN}")), 1),
    "a pipeline of the input": (processing(lambda data: data["pipelines"].append({"url": ""})), 2),
    "an output that lies in the input's folder": (first(output_path="nwb/session.nwb"), 0),
    "a file of the input": (put("subject.json", "{}", inherited_from="raw"), 2),
    "no JSON in the input": (put("subject.json", "{", inherited_from="raw"), 1),
    "a secret in the input": (
        lambda folder: change(
            folder, "subject.json", lambda data: data.update(notes=TOKEN), inherited_from="raw"
        ),
        1,
    ),
    "an input's processing that could not be merged": (
        put("provenance/inherited-processing-x.json", f'{{"notes": "{TOKEN}"}}'),
        1,
    ),
    "files of the input that do not fit together": (
        lambda folder: change(
            folder,
            "acquisition.json",
            lambda data: data["data_streams"][0]["active_devices"].append("Nothing"),
            inherited_from="raw",
        ),
        1,
    ),
    "another subject in the input": (
        lambda folder: change(
            folder, "subject.json", lambda data: data.update(subject_id="7"), inherited_from="raw"
        ),
        1,
    ),
}


@pytest.mark.parametrize(("plant", "count"), INHERITED.values(), ids=INHERITED)
def test_what_came_with_an_input_is_only_warned_of(
    folder: Path, plant: Callable[[Path], None], count: int
) -> None:
    plant(folder)
    findings = check_folder(folder)
    assert [found.severity for found in findings] == ["warning"] * count


def test_a_warning_says_that_it_is_the_input_that_must_be_mended(folder: Path) -> None:
    first(experimenters=[])(folder)
    put("subject.json", "{}", inherited_from="ecephys_1")(folder)
    mends = [found.mend for found in check_folder(folder)]
    assert mends == [
        'in the input ecephys_1: add "subject_id"',
        'in the input ecephys_1: add "subject_details"',
        'in the input: name who ran it: "experimenters": ["First Last"]',
    ]


def test_an_inherited_file_that_was_edited_is_not_excused(folder: Path) -> None:
    (folder / "subject.json").write_text("{}")
    findings = check_folder(folder)
    assert {found.severity for found in findings} == {"error"}
    assert "it was edited since it was written" in [found.what for found in findings]


def test_files_that_do_not_fit_together_are_an_error_when_they_are_ours(folder: Path) -> None:
    def do(data: Any) -> None:
        data["data_streams"][0]["active_devices"].append("Nothing")

    change(folder, "acquisition.json", do)
    (found,) = check_folder(folder)
    assert (found.severity, found.file) == ("error", "")
    assert "Nothing" in found.what


# Other assets


def test_inputs_whose_files_the_schema_refuses_give_warnings_only(data_root: Path) -> None:
    raw = make_asset(data_root)
    with DerivedAsset("again", inputs=raw, strict=True, **FACTS):
        pass
    assert {found.severity for found in check_folder(Path("results"))} == {"warning"}


@pytest.mark.parametrize("level", ["derived", "simulated"])
def test_an_asset_without_inputs_has_nothing_wrong(
    monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    facts = {"project_name": "Synthetic", "investigators": "A B", "funding_source": "AI"}
    with DerivedAsset(
        "model",
        inputs=(),
        base_name="noise",
        modalities="ecephys",
        data_level=level,
        strict=True,
        **facts,
        **FACTS,
    ):
        pass
    assert check_folder(Path("results")) == []


def test_a_simulated_result_of_a_recording_has_nothing_wrong(folder: Path) -> None:
    description(data_level="simulated")(folder)
    assert check_folder(folder) == []


# Folders that mean harm


def deep(folder: Path) -> None:
    put("subject.json", '{"a":' * 200 + "1" + "}" * 200)(folder)


def pipe(folder: Path) -> None:
    (folder / "subject.json").unlink()
    os.mkfifo(folder / "subject.json")


def directory(folder: Path) -> None:
    (folder / "subject.json").unlink()
    (folder / "subject.json").mkdir()


def link(target: str) -> Callable[[Path], None]:
    def plant(folder: Path) -> None:
        (folder / "subject.json").unlink()
        (folder / "subject.json").symlink_to(target)

    return plant


def huge(folder: Path) -> None:
    with (folder / "subject.json").open("wb") as file:
        file.truncate(100 * 1024 * 1024)


HOSTILE = {
    "a pipe": (pipe, "it is not a regular file"),
    "a folder": (directory, "it is not a regular file"),
    "a link out of the folder": (link("/etc/hostname"), "a link that leads out of the folder"),
    "a link to a device": (link("/dev/zero"), "a link that leads out of the folder"),
    "a link to itself": (link("subject.json"), "it"),
    "a link to nothing": (link("nothing"), "it cannot be read: No such file"),
    "100 MB": (huge, "it has 104857600 bytes"),
    "deep nesting": (deep, "it is nested too deeply"),
    "no UTF-8": (put("subject.json", b'{"a": "\xff"}'), "not UTF-8"),
}


@pytest.mark.parametrize(("plant", "words"), HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_is_none_is_told_and_not_read(
    folder: Path, plant: Callable[[Path], None], words: str
) -> None:
    plant(folder)
    begin = time.monotonic()
    findings = check_folder(folder)
    assert time.monotonic() - begin < 5
    assert {found.file for found in findings} == {"subject.json"}
    assert any(words in found.what for found in findings)


ODD = [None, 5, -1.5, "x", "", [], {}, [None], {"object_type": 1}, "\ud800", "\x1b[31m", "\0", True]


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_whatever_a_file_holds_is_a_finding(original: Path, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from([PROCESSING, DESCRIPTION, MANIFEST, "acquisition.json"]))
    content = read_json(original / file)
    inner, key = content, None
    for _ in range(data.draw(st.integers(1, 6))):
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        if not keys:
            break
        outer, key = inner, data.draw(st.sampled_from(keys))
        inner = inner[key]
        if not isinstance(inner, dict | list):
            break
    outer[key] = data.draw(st.sampled_from(ODD))
    folder = original.parent / "fuzzed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
    write_json(folder / file, content)
    for found in check_folder(folder):
        assert found.what
        assert found.mend


def test_many_faults_are_told_in_few_findings(folder: Path) -> None:
    def do(data: Any) -> None:
        process = data["data_processes"][-1]
        many = [{**process, "name": f"fit_{n}", "experimenters": []} for n in range(3_000)]
        data["data_processes"] += many
        names = [item["name"] for item in many]
        # A chain, which takes for ever to search again for each of its edges.
        data["dependency_graph"] |= dict(
            zip(names, [[name] for name in names[1:]] + [[]], strict=True)
        )

    processing(do)(folder)
    begin = time.monotonic()
    findings = check_folder(folder)
    assert time.monotonic() - begin < 10
    (nobody,) = [found for found in findings if "no experimenter" in found.what]
    assert nobody.where.startswith("data_processes[4] fit_0; data_processes[5] fit_1; ")
    assert nobody.where.endswith("; and 2997 more")


def test_a_file_that_is_wrong_all_over_is_not_told_to_the_end() -> None:
    findings = Findings()
    for number in range(5_000):
        findings.add(Finding("error", "a.json", "", f"fault {number}", "mend it"))
    assert len(findings.listed()) == 101
    assert findings.listed()[-1].what == "more is wrong than is shown here"


def test_no_secret_and_no_endless_text_is_told() -> None:
    findings = Findings()
    findings.add(Finding("error", "a", f"key {TOKEN}", f"{TOKEN} is wrong", "x" * 10_000))
    (found,) = findings.listed()
    assert TOKEN not in repr(found)
    assert len(found.mend) < 500


def test_a_folder_without_metadata_is_taken_for_another_unless_a_run_left_its_record(
    tmp_path: Path,
) -> None:
    mends = {one.mend for one in check_folder(tmp_path) if one.severity == "error"}
    assert [mend.partition(";")[0] for mend in mends] == ["give the folder that holds the asset"]
    put(".asset-provenance/1f/2e.jsonl", '{"kind": "open"}\n')(tmp_path)
    mends = {one.mend for one in check_folder(tmp_path) if one.severity == "error"}
    assert mends == {f"asset-provenance recover {tmp_path}, or run the analysis again"}


@pytest.mark.parametrize("name", ["missing", "file", "pipe", "nul\0"])
def test_what_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises((UsageError, StorageError), match="folder"):
        check_folder(tmp_path / name)


# A set that is still to be put into place


def marker(folder: Path, *files: str) -> Path:
    run = folder / ".asset-provenance" / "1f"
    (run / "staged").mkdir(parents=True)
    write_json(run / "commit.json", {"files": list(files), "stale": [], "present": {}})
    return run


def test_only_a_write_that_stays_in_the_folder_may_be_finished(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "asset"
    outside.mkdir()
    folder.mkdir()
    run = marker(folder, "subject.json", "sub/x.json")
    assert may_be_finished(folder)
    (folder / "sub").symlink_to(outside)
    assert not may_be_finished(folder)
    (folder / "sub").unlink()
    (run / "staged" / "subject.json").symlink_to(outside)
    assert not may_be_finished(folder)
    (run / "staged" / "subject.json").unlink()
    os.mkfifo(folder / "subject.json")
    assert not may_be_finished(folder)


@pytest.mark.parametrize("content", ["", "{}", '{"files": 5, "stale": [], "present": {}}'])
def test_a_marker_that_cannot_be_read_may_not_be_followed(tmp_path: Path, content: str) -> None:
    run = marker(tmp_path)
    (run / "commit.json").write_text(content)
    assert not may_be_finished(tmp_path)


def test_a_pipe_for_a_marker_is_not_opened(tmp_path: Path) -> None:
    run = marker(tmp_path)
    other = run.parent / "2e"
    other.mkdir()
    os.mkfifo(other / "commit.json")
    assert not may_be_finished(tmp_path)
