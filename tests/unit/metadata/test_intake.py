"""What earlier stages of a pipeline left is found and read, in each of its forms."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from asset_provenance import DerivedAsset, track_process
from asset_provenance.metadata.intake import Left, Refused, find_left, read_left
from asset_provenance.metadata.merging import Merged
from helpers.assets import (
    PEOPLE,
    RAW,
    graph,
    make_asset,
    process,
    processes,
    read_json,
    write_json,
)
from helpers.schema import validate_set

CANARY = "ghp_c4naryC4NARY0123456789"

PIPELINE = {"url": "https://example.org/pipeline", "name": "registration", "version": "2"}


def record(node: str, *parents: str, **changes: Any) -> dict[str, Any]:
    """Give a record in the form of aind-code-ocean-pipeline-utils."""
    return {
        "v": 1,
        "node": node,
        "parents": list(parents),
        "data_process": process(node),
        **changes,
    }


def leave(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)
    return path


def read(folder: Path) -> tuple[dict[str, list[str]], list[Refused]]:
    """Give the graph of all that a folder holds, and what was refused."""
    merged, refused = Merged(), []
    for left in read_left(find_left(folder)):
        if isinstance(left, Left):
            merged.add(left.processing, left.source)
        else:
            refused.append(left)
    merged.settle()
    return merged.graph(), refused


def test_each_form_of_a_fragment_is_read(tmp_path: Path) -> None:
    leave(tmp_path, "data_process.json", process("one"))
    leave(tmp_path, "my_data_process_2.json", [process("two"), process("three")])
    whole = {
        "schema_version": "2.3.3",
        "data_processes": [process("four"), process("five")],
        "dependency_graph": {"four": [], "five": ["four"]},
    }
    leave(tmp_path, "x_data_process.json", whole)
    found, refused = read(tmp_path)
    assert found == {"one": [], "two": [], "three": [], "four": [], "five": ["four"]}
    assert refused == []


def test_fragments_are_found_just_below_and_behind_links_but_not_in_other_assets(
    tmp_path: Path,
) -> None:
    place = tmp_path / "place"
    leave(place, "a_data_process.json", process("here"))
    leave(place, "one/two/b_data_process.json", process("below"))
    leave(place, "one/two/three/c_data_process.json", process("too_deep"))
    leave(tmp_path, "elsewhere/d_data_process.json", process("linked"))
    (place / "link").symlink_to(tmp_path / "elsewhere")
    (place / "round").symlink_to(place)
    leave(make_asset(place, carried=()), "e_data_process.json", process("of_an_asset"))
    assert set(read(place)[0]) == {"here", "below", "linked"}


def test_what_is_no_process_is_refused_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "a_data_process.json").write_text("{")
    leave(tmp_path, "b_data_process.json", {"some": "thing"})
    old = {"name": "Spike sorting", "software_version": "0.1", "code_url": "https://example.org"}
    leave(tmp_path, "c_data_process.json", old)
    lacking = process("lacking")
    del lacking["experimenters"]
    leave(tmp_path, "d_data_process.json", lacking)
    leave(tmp_path, "e_data_process.json", process("fine"))
    (tmp_path / "f_data_process.json").mkdir()
    found, refused = read(tmp_path)
    assert list(found) == ["fine"]
    reasons = {each.path.name[0]: each.reason for each in refused}
    assert reasons["a"].startswith("is not valid JSON: line 1")
    assert "neither a DataProcess" in reasons["b"]
    assert "schema v1" in reasons["c"]
    assert "experimenters" in reasons["d"]
    assert "not a regular file" in reasons["f"]


def test_records_become_one_graph_through_nodes_that_left_no_process(tmp_path: Path) -> None:
    people = {
        "experimenters": ["Launch Person"],
        "pipeline": {"name": "registration", "code": PIPELINE},
    }
    launch = record("launch", **people)
    launch["data_process"]["experimenters"] = []
    leave(tmp_path, "provenance/launch.json", launch)
    stub = {"v": 1, "node": "split", "parents": ["launch"]}
    leave(tmp_path, "provenance/split.json", stub)
    leave(tmp_path, "a/provenance/align_0.json", record("align_0", "split"))
    leave(tmp_path, "b/provenance/align_1.json", record("align_1", "split", "gone"))
    leave(tmp_path, "b/provenance/launch.json", launch)
    # Our own files beside them are no records.
    leave(tmp_path, "provenance/asset-provenance.json", {"v": 1, "node": "x", "parents": []})
    leave(tmp_path, "provenance/inherited-processing-x.json", {"v": 1, "node": "y", "parents": []})
    leave(tmp_path, "provenance/packages.json", {"numpy": "2"})
    merged = Merged()
    (left,) = read_left(find_left(tmp_path))
    assert isinstance(left, Left)
    merged.add(left.processing, left.source)
    merged.settle()
    processing = merged.processing()
    assert processing.dependency_graph == {
        "align_0": ["launch"],
        "align_1": ["launch"],
        "launch": [],
    }
    by_name = {each.name: each for each in processing.data_processes}
    assert by_name["launch"].experimenters == ["Launch Person"]
    assert by_name["align_0"].pipeline_name == "registration"
    assert [each.name for each in processing.pipelines or ()] == ["registration"]


def test_two_records_of_a_node_that_differ_are_both_kept(tmp_path: Path) -> None:
    leave(tmp_path, "a/provenance/fit.json", record("fit"))
    other = record("fit", data_process=process("fit", "2026-03-04T00:00:00Z"))
    leave(tmp_path, "b/provenance/fit.json", other)
    assert read(tmp_path)[0] == {"fit": [], "fit_1": []}


@pytest.mark.parametrize("is_loose", [True, False])
def test_a_step_follows_the_stage_whose_results_it_read(data_root: Path, is_loose: bool) -> None:
    raw = make_asset(data_root, carried=())
    place = data_root if is_loose else data_root / "stage"
    leave(place, "a_data_process.json", process("early", output_path="rates.csv"))
    leave(place, "b_data_process.json", process("other", output_path="other.csv"))
    (place / "rates.csv").write_text("1")

    @track_process
    def plot(path: Path) -> None:
        path.read_text()

    with DerivedAsset("look", inputs=raw, strict=True, **PEOPLE) as asset:
        plot(place / "rates.csv")
    validate_set(asset.output_dir)
    assert graph(asset.output_dir) == {"early": [], "other": [], "plot": ["early"]}
    assert read_json(asset.output_dir / "data_description.json")["source_data"] == [raw.name]


@pytest.mark.parametrize("how", ["declared", "late", "seen"])
def test_a_folder_of_a_stage_is_no_source_however_it_is_told(
    data_root: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    raw = make_asset(data_root, carried=())
    place = data_root / "stage"
    leave(place, "a_data_process.json", process("early"))
    inputs: list[Path] | None = [raw, place] if how == "declared" else [raw]
    with DerivedAsset(
        "look", inputs=None if how == "seen" else inputs, strict=True, **PEOPLE
    ) as asset:
        if how == "late":
            asset.add_inputs(place)
        with track_process("read", inputs=[place, raw]):
            pass
    assert read_json(asset.output_dir / "data_description.json")["source_data"] == [raw.name]
    assert (asset.name or "").startswith(f"{raw.name}_look_")
    assert graph(asset.output_dir) == {"early": [], "read": ["early"]}
    assert not [text for text in caplog.messages if "stage" in text]


def test_an_invalid_fragment_is_kept_and_said(
    data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = make_asset(data_root, carried=())
    bad = leave(data_root, "bad_data_process.json", {"some": "thing"})
    leave(data_root, "c_data_process.json", process("fine", pipeline_name="unheard"))
    with DerivedAsset("look", inputs=raw, strict=True, **PEOPLE) as asset:
        pass
    validate_set(asset.output_dir)
    kept = asset.output_dir / "provenance" / "inherited-bad_data_process-data.json"
    assert kept.read_bytes() == bad.read_bytes()
    notes = read_json(asset.output_dir / "processing.json")["notes"]
    assert "bad_data_process.json, which an earlier stage left, is not valid" in notes
    assert "fine is part of the pipeline unheard, which nobody describes" in notes
    assert set(processes(asset.output_dir)) == {"fine", "look"}
    assert "bad_data_process.json cannot be taken in" in caplog.text


@pytest.mark.parametrize("content", ["[5]", '[true, "x"]', '{"data_processes": [1], "notes": 2}'])
def test_an_odd_fragment_costs_itself_only(data_root: Path, content: str) -> None:
    raw = make_asset(data_root, carried=(), processing={"data_processes": [7]})
    (data_root / "odd_data_process.json").write_text(content)
    (data_root / "half_data_process.json").write_text(
        json.dumps(process("half", notes="HALF")).replace("HALF", "\\ud83d")
    )
    with DerivedAsset("look", inputs=raw, strict=True, **PEOPLE) as asset:
        pass
    assert set(processes(asset.output_dir)) == {"look"}
    kept = {path.name for path in (asset.output_dir / "provenance").glob("inherited-*")}
    assert kept == {
        f"inherited-processing-{RAW}.json",
        "inherited-odd_data_process-data.json",
        "inherited-half_data_process-data.json",
    }


def test_secrets_in_what_stages_left_reach_no_file(
    data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = make_asset(data_root, carried=())
    code = {
        "url": f"https://{CANARY}@github.com/your-lab/sorting.git",
        "version": "1",
        "parameters": {"api_token": CANARY, "command": f"sort --password={CANARY}"},
    }
    leave(data_root, "a_data_process.json", process("early", code=code))
    leave(data_root, "b_data_process.json", {"process_type": "None such", "code": code})
    with DerivedAsset("look", inputs=raw, strict=True, **PEOPLE) as asset:
        pass
    written = {path: path.read_text() for path in asset.output_dir.rglob("*") if path.is_file()}
    assert not [path for path, text in written.items() if CANARY in text]
    assert CANARY not in caplog.text
    found = processes(asset.output_dir)["early"]["code"]
    assert found["url"] == "https://github.com/your-lab/sorting"
    assert "b_data_process.json" in read_json(asset.output_dir / "processing.json")["notes"]


def test_with_inherit_none_nothing_is_taken_in(data_root: Path) -> None:
    raw = make_asset(data_root, carried=())
    leave(data_root, "c_data_process.json", process("early"))
    facts = {"project_name": "P", "investigators": "Example Researcher", "funding_source": "AI"}
    with DerivedAsset(
        "look", inputs=raw, inherit="none", modalities="ecephys", strict=True, **facts, **PEOPLE
    ) as asset:
        pass
    assert set(processes(asset.output_dir)) == {"look"}


def test_a_folder_that_cannot_be_read_has_nothing(tmp_path: Path) -> None:
    assert find_left(tmp_path / "missing") == []
    os.mkfifo(tmp_path / "pipe_data_process.json")
    (refused,) = read_left(find_left(tmp_path))
    assert isinstance(refused, Refused)
