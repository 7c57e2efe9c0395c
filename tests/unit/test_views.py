"""What is read of an asset's metadata, whoever wrote them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from asset_provenance import DerivedAsset, StorageError, UsageError, current_process, track_process
from asset_provenance.differing import differ
from asset_provenance.reading import read_view
from asset_provenance.records import ProcessStatus
from asset_provenance.views import AssetView, as_json

FACTS: dict[str, Any] = {
    "inputs": (),
    "base_name": "made",
    "project_name": "Views",
    "investigators": ["Ada Lovelace"],
    "funding_source": "AI",
    "modalities": ["ecephys"],
    "experimenters": ["Ada Lovelace"],
}


def written(folder: Path, **files: object) -> AssetView:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return read_view(folder)


@pytest.fixture
def own(tmp_path: Path) -> AssetView:
    @track_process
    def inner(number: int) -> None:
        if number:
            raise ValueError("not this one")

    @track_process
    def outer() -> None:
        current_process().add_results(rows=3)
        inner(0)
        with pytest.raises(ValueError, match="not this one"):
            inner(1)

    with DerivedAsset("views", output_dir=tmp_path, **FACTS):
        outer()
    return read_view(tmp_path)


def test_what_this_package_wrote_is_told_with_status_and_nesting(own: AssetView) -> None:
    outer, first, second = own.processes

    assert own.name.startswith("made_views_")
    assert (own.label, own.data_level, own.problems, own.unfinished) == ("views", "derived", (), 0)
    assert [one.parent for one in own.processes] == [None, "outer", "outer"]
    assert [one.status for one in own.processes] == ["completed", "completed", "failed"]
    assert outer.depends_on == (first.name,)
    assert outer.results == {"rows": 3}
    assert second.parameters == {"number": 1}
    assert not any(one.is_inherited for one in own.processes)
    assert own.own_processes == own.processes
    assert [file.path for file in own.files] == ["data_description.json", "processing.json"]
    assert len(own.packages) == 1


def test_without_a_manifest_a_process_that_lasted_around_what_it_follows_is_its_parent(
    own: AssetView,
) -> None:
    (own.folder / "provenance" / "asset-provenance.json").unlink()

    again = read_view(own.folder)

    assert [one.parent for one in again.processes] == [None, "outer", None]
    assert again.processes[0].is_inherited is None


def test_of_several_that_lasted_around_it_the_innermost_is_the_parent(tmp_path: Path) -> None:
    def lasting(name: str, begun: int, ended: int) -> dict[str, str]:
        times = (f"2026-01-01T{hour:02}:00:00Z" for hour in (begun, ended))
        return {"name": name, **dict(zip(("start_date_time", "end_date_time"), times, strict=True))}

    items = [lasting("inside", 4, 5), lasting("inner", 3, 6), lasting("outer", 1, 9)]
    items.append(lasting("as outer", 1, 9))
    graph = {"inner": ["inside"], "outer": ["inner", "inside"], "as outer": ["inner"]}

    view = written(tmp_path, processing={"data_processes": items, "dependency_graph": graph})

    assert [one.parent for one in view.processes] == ["inner", "as outer", None, None]


def test_a_whole_record_is_read_where_there_are_no_files_of_it(tmp_path: Path) -> None:
    record = {"data_description": {"name": "whole", "source_data": ["a"]}, "processing": None}
    (tmp_path / "metadata.nd.json").write_text(json.dumps(record))

    view = read_view(tmp_path)

    assert (view.name, view.source_data, view.processes) == ("whole", ("a",), ())


@pytest.mark.parametrize(
    ("processing", "count"),
    [
        ({"data_processes": {"name": "no list"}}, 0),
        ({"data_processes": [None, 3, {}, {"code": [], "notes": 7, "start_date_time": "soon"}]}, 2),
        ({"data_processes": [{"name": "x", "start_date_time": "0001-01-01T00:00:00+14:00"}]}, 1),
        ({"data_processes": [{"name": "\ud800", "resources": {"ram": "1e999"}}]}, 1),
        ({"data_processes": [{"resources": {"ram": 1e308, "ram_unit": "Terabyte"}}]}, 1),
        ({"data_processes": [{"name": "x"}, {"name": "x_1"}, {"name": "x"}, {"name": "x_1"}]}, 4),
        (
            {"data_processes": [{"name": "x"}, {"name": "x"}], "dependency_graph": {"x": ["x", 1]}},
            2,
        ),
    ],
)
def test_whatever_a_file_holds_is_read_as_far_as_it_can_be_understood(
    tmp_path: Path, processing: dict[str, object], count: int
) -> None:
    view = written(tmp_path, processing=processing)

    assert len(view.processes) == count
    assert len({one.name for one in view.processes}) == count
    json.dumps(as_json(view), allow_nan=False)
    assert all(one.name.encode() and not one.depends_on for one in view.processes)


def test_processes_that_claim_to_be_inside_of_each_other_are_not(tmp_path: Path) -> None:
    (tmp_path / "provenance").mkdir()
    manifest = {"parents": {"a": "b", "b": "a", "c": "a", "d": "nobody"}}
    (tmp_path / "provenance" / "asset-provenance.json").write_text(json.dumps(manifest))
    names = [{"name": name} for name in "abcd"]

    view = written(tmp_path, processing={"data_processes": names})

    parents = {one.name: one.parent for one in view.processes}
    assert parents["d"] is None
    tops = [name for name in parents if parents[name] is None]
    reached = list(tops)
    for name in reached:
        reached += [inside for inside in parents if parents[inside] == name]
    assert sorted(reached) == ["a", "b", "c", "d"]


def test_a_file_that_cannot_be_read_is_told_and_the_other_is_read(tmp_path: Path) -> None:
    (tmp_path / "processing.json").write_text("{")

    view = written(tmp_path, data_description={"name": "half"})

    assert view.name == "half"
    assert "processing.json is not valid JSON" in view.problems[0]


def test_a_folder_without_anything_to_read_is_an_error_that_says_what_to_give(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        read_view(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="neither data_description.json nor processing.json"):
        read_view(tmp_path)
    (tmp_path / ".asset-provenance" / "run").mkdir(parents=True)
    with pytest.raises(UsageError, match="asset-provenance recover"):
        read_view(tmp_path)
    (tmp_path / "processing.json").write_text("[]")
    with pytest.raises(StorageError, match="not a JSON object"):
        read_view(tmp_path)


@pytest.mark.parametrize(
    ("note", "is_dirty"),
    [
        ("", False),
        ("1 file has uncommitted changes, kept as provenance/uncommitted-1.patch", True),
        ("1 submodule has uncommitted changes of its own: lib", True),
        ("uncommitted changes were not looked for: git is missing", None),
        (
            "2 files were not compared with the commit, since git would run a filter for that: a",
            None,
        ),
        ("the work tree was at commit 2222222", None),
        ("1 untracked file or folder is not in the commit: extra.py", None),
        ("run.py itself is not in the commit", None),
    ],
)
def test_code_is_clean_only_if_nothing_speaks_against_it(
    own: AssetView, note: str, is_dirty: bool | None
) -> None:
    content = json.loads((own.folder / "processing.json").read_text())
    content["data_processes"][0]["code"]["commit_hash"] = "1" * 40
    content["data_processes"][0]["notes"] = f"Of the data.\n{note}"

    code = written(own.folder, processing=content).processes[0].code

    assert code.is_dirty is is_dirty
    assert code.beyond_commit == ((note,) if "not in the commit" in note else ())

    del content["data_processes"][0]["code"]["language"]  # as of code="url@commit"
    named = written(own.folder, processing=content).processes[0].code
    assert named.is_dirty is (is_dirty or None)


def test_of_many_calls_that_are_one_process_it_is_told_how_many_and_what_varied(
    tmp_path: Path,
) -> None:
    @track_process
    def step(number: int) -> None: ...

    folders = [tmp_path / "few", tmp_path / "more"]
    for folder, calls in zip(folders, (150, 160), strict=True):
        with DerivedAsset("steps", output_dir=folder, parameters={}, **FACTS):
            for number in range(calls):
                step(number)

    told = read_view(folders[0]).processes[-1].repeats
    assert told == "50 further calls of step, together one process. Varied: number from 100 to 149."
    (found,) = differ(*folders).comparison.differences
    assert (found.topic, found.path, found.before) == ("parameters", "further calls", told)


def test_real_assets_are_read(samples: Path) -> None:
    derived = read_view(samples / "zombie-squirrel" / "derived")
    assert [(one.name, one.process_type) for one in derived.processes] == [("Pipeline", "Pipeline")]
    assert derived.processes[0].depends_on == ()
    assert derived.processes[0].start == datetime(2026, 2, 14, 12, 38, 14, 649960, tzinfo=UTC)
    assert [file.path for file in derived.files][-1] == "metadata.nd.json"


def test_processes_of_schema_v1_have_their_type_code_and_inputs(
    samples: Path, tmp_path: Path
) -> None:
    old = samples / "aind-metadata-upgrader" / "v1_2ebb0312" / "metadata.nd.v1.json"
    (tmp_path / "metadata.nd.json").write_bytes(old.read_bytes())

    first, second = read_view(tmp_path).processes

    assert (first.name, second.name) == ("Other", "Other_1")
    assert first.process_type == "Other"
    assert first.inputs[0].url.endswith("/slap2")
    assert first.status is ProcessStatus.COMPLETED
    assert first.seconds == pytest.approx(121.16, abs=0.01)


def test_what_a_process_used_is_told_where_the_unit_says_what_was_measured(tmp_path: Path) -> None:
    points = [(0, 0.0), (10, 100.0), (40, 300.0)]  # each for the time since the one before
    usage = [{"timestamp": f"2026-03-01T00:00:{at:02}Z", "usage": value} for at, value in points]
    resources = {
        "ram": "64.0",
        "ram_unit": "Gigabyte",
        "cpu_usage": usage,
        "ram_usage": usage[:2],
        "usage_unit": "percent (cpu_usage: of one core; ram_usage: of ram; gpu_usage: of one GPU)",
    }
    process = {"name": "fit", "start_date_time": "2026-03-01T00:00:00Z", "resources": resources}
    theirs = {**process, "name": "theirs", "resources": {**resources, "usage_unit": "percent"}}

    ours, others = written(tmp_path, processing={"data_processes": [process, theirs]}).processes

    assert ours.resources is not None
    assert others.resources is not None
    assert (ours.resources.mean_cores, ours.resources.peak_ram) == (2.5, 64e9)
    assert (others.resources.mean_cores, others.resources.peak_ram) == (None, None)
