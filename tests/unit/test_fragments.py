"""``fragment=True``: a stage of a pipeline writes one file, under a name of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aind_data_schema.core.processing import DataProcess, Processing

from asset_provenance import DerivedAsset, PreflightError, track_process
from asset_provenance.cli import main
from asset_provenance.metadata import folder_checks
from helpers.assets import FACTS, PEOPLE, RAW, graph, make_asset, process, read_json, write_json

STAGE = """
import os, signal
from asset_provenance import DerivedAsset, track_process
with DerivedAsset("stage", inputs=(), fragment=True, experimenters="Sample Scientist"):
    with track_process("fit"):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def _code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_CODE_URL", "https://github.com/your-lab/sorting")
    monkeypatch.setenv("ASSET_PROVENANCE_CODE_VERSION", "1.2")


def fragment(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("*_data_process.json")
    return dict(read_json(path))


def test_one_process_alone_is_a_data_process_that_other_tools_read(data_root: Path) -> None:
    raw = make_asset(data_root)
    with DerivedAsset("fit", inputs=raw, fragment=True, strict=True, **PEOPLE) as asset:
        pass
    path = asset.output_dir / f"{asset.name}_data_process.json"
    # Beside it nothing but its list of packages, under a name that no other stage has.
    assert set(asset.output_dir.iterdir()) == {
        path,
        asset.output_dir / f"{asset.name}_packages.txt",
    }
    assert re.fullmatch(r"fit_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_[0-9a-f]{8}", asset.name or "")
    read = DataProcess.model_validate(read_json(path))
    assert (read.name, read.experimenters) == ("fit", PEOPLE["experimenters"])
    assert [each.name for each in read.code.input_data or ()] == [RAW]


def test_several_processes_are_a_processing_with_their_graph(data_root: Path) -> None:
    with DerivedAsset("stage", inputs=(), fragment=True, strict=True, **PEOPLE) as asset:
        with track_process("one", outputs="a.txt"):
            (asset.output_dir / "a.txt").write_text("x")
        with track_process("two", inputs="a.txt"):
            pass
    read = Processing.model_validate(fragment(asset.output_dir))
    assert read.dependency_graph == {"one": [], "two": ["one"]}


def test_facts_of_the_whole_asset_are_not_asked_for_but_people_are(data_root: Path) -> None:
    stage = DerivedAsset("stage", inputs=["some_model", "other_model"], fragment=True)
    with pytest.raises(PreflightError) as caught:
        stage.start()
    assert len([each for each in caught.value.problems if "missing" in each]) == 1
    assert any("experimenters" in each for each in caught.value.problems)
    assert not Path("results").exists()


def test_a_stage_carries_the_steps_that_it_follows_and_no_others(data_root: Path) -> None:
    for stage, names in {"used": ["early"], "unused": ["other"]}.items():
        (data_root / stage).mkdir()
        for name in names:
            write_json(data_root / stage / f"{name}_data_process.json", process(name))
    inputs = [data_root / "used", data_root / "unused"]
    with (
        DerivedAsset("stage", inputs=inputs, fragment=True, strict=True, **PEOPLE) as asset,
        track_process("next", inputs="used"),
    ):
        pass
    assert fragment(asset.output_dir)["dependency_graph"] == {"early": [], "next": ["early"]}


def test_whatever_else_lies_in_the_folder_stays_and_is_not_in_the_way(data_root: Path) -> None:
    results = Path("results")
    results.mkdir()
    write_json(results / "x_data_process.json", process("passed_on"))
    write_json(results / "data_description.json", {"not": "ours"})
    with DerivedAsset("stage", inputs=(), fragment=True, strict=True, **PEOPLE):
        pass
    assert len(list(results.glob("*_data_process.json"))) == 2
    assert read_json(results / "data_description.json") == {"not": "ours"}
    assert not (results / "provenance").exists()
    assert not (results / ".asset-provenance").exists()


def test_stages_of_one_second_have_names_of_their_own(
    data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moment = datetime(2026, 3, 5, tzinfo=UTC)
    for _ in range(2):
        with DerivedAsset(
            "stage", inputs=(), fragment=True, creation_time=moment, strict=True, **PEOPLE
        ):
            pass
    assert len(list(Path("results").glob("stage_2026-03-05_00-00-00_*_data_process.json"))) == 2
    assert "holds 1 fragment(s) of stage already" in caplog.text


def test_a_stage_that_fails_leaves_its_record_only_or_what_it_did(data_root: Path) -> None:
    def fail(**options: Any) -> None:
        with (
            pytest.raises(RuntimeError),
            DerivedAsset("stage", inputs=(), fragment=True, **options, **PEOPLE),
        ):
            raise RuntimeError("no convergence")

    fail(output_dir="kept")
    assert not list(Path("kept").glob("*.json"))
    fail(output_dir="written", on_failure="write")
    assert "no convergence" in fragment(Path("written"))["notes"]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_of_a_stage_that_was_killed_recover_writes_the_fragment(
    data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = subprocess.run([sys.executable, "-c", STAGE], env=os.environ, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert main(["recover", "results"]) == 1
    told = re.search(r"stage_\S+_data_process\.json", capsys.readouterr().out)
    assert told is not None
    assert main(["recover", "results", "--accept-failed"]) == 0
    (path,) = Path("results").iterdir()
    assert path.name == told.group()
    assert read_json(path)["notes"]


# What the last stage makes of fragments

HISTORY = {
    "data_processes": [process("sorting"), process("curation", "2026-03-04T00:00:00Z")],
    "dependency_graph": {"sorting": [], "curation": ["sorting"]},
}


def parallel_stages(raw: Path, *others: Path) -> list[Path]:
    """Give the folders of two stages that read the recording, as the next stage has them."""
    places = []
    for part in ("a", "b"):
        with DerivedAsset(
            "part", inputs=[raw, *others], fragment=True, output_dir=f"{part}/part", **PEOPLE
        ):
            read = track_process("sort_part", inputs=[raw.name, *(o.name for o in others)])
            with read, track_process("inner"):
                pass
        places.append(raw.parent / f"part_{part}")
        Path(f"{part}/part").rename(places[-1])
    return places


def read_parts(data_root: Path, inputs: Any, **options: Any) -> Path:
    asset = DerivedAsset("whole", inputs=inputs, strict=True, **options, **PEOPLE)
    with asset, track_process("collect", inputs=[data_root / "part_a", data_root / "part_b"]):
        pass
    assert folder_checks.check_folder(asset.output_dir) == []
    return asset.output_dir


def test_the_steps_of_stages_follow_what_was_done_to_the_recording_before(
    data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = make_asset(data_root, processing=HISTORY, carried=())
    parts = parallel_stages(raw)
    results = read_parts(data_root, [raw, *parts])
    assert graph(results) == {
        "sorting": [],
        "curation": ["sorting"],
        "inner": [],
        "sort_part": ["inner", "curation"],
        "inner_1": [],
        "sort_part_1": ["inner_1", "curation"],
        "collect": ["sort_part", "sort_part_1"],
    }
    assert "no process says" not in caplog.text


def test_where_only_stages_are_given_the_inputs_are_what_they_read(
    data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = make_asset(data_root, processing=HISTORY, carried=())
    atlas = make_asset(data_root, "atlas_2026-01-01_00-00-00", subject_id=None, carried=())
    caplog.set_level("INFO")
    results = read_parts(data_root, parallel_stages(raw, atlas))
    assert read_json(results / "data_description.json")["source_data"] == [RAW]
    assert graph(results)["sort_part"] == ["inner", "curation"]
    assert f"inputs, as the stages part_a, part_b tell: {RAW}" in caplog.text


def test_check_says_how_a_stage_and_what_is_merged_become_an_asset(
    data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part, _ = parallel_stages(make_asset(data_root))
    assert main(["check", str(part)]) == 1
    assert "-> this is what a stage left: give the folder as an input" in capsys.readouterr().out
    assert main(["merge", str(part), "--output", "merged"]) == 0
    assert main(["check", "merged"]) == 1
    assert "-> merge writes a processing.json only" in capsys.readouterr().out


def test_stages_of_which_nothing_is_known_are_told_with_what_to_give(data_root: Path) -> None:
    raw = make_asset(data_root)
    parts = parallel_stages(raw)
    raw.rename(data_root.parent / "elsewhere")
    with pytest.raises(PreflightError) as caught:
        read_parts(data_root, parts)
    assert caught.value.problems[0] == (
        "part_a, part_b: what stages left is no asset, and hands on no facts; give the asset that "
        f"they began with, too: inputs=[..., '{RAW}']"
    )
    # With all facts given there is nothing to find out.
    results = read_parts(data_root, parts, base_name="all-parts", **FACTS)
    assert not read_json(results / "data_description.json")["source_data"]


def write_stage(folder: Path, read: list[dict[str, str]]) -> None:
    """Write what a stage leaves that read these assets."""
    assets = [{"object_type": "Data asset", **each} for each in read]
    code = {"url": "https://example.org/x", "version": "1", "input_data": assets}
    folder.mkdir()
    write_json(folder / "fit_data_process.json", process("fit", code=code))


def test_names_that_a_stage_tells_and_nobody_understands_do_not_stop_the_start(
    data_root: Path,
) -> None:
    make_asset(data_root)
    told = [
        {"name": RAW},
        {"name": "atlas/v1"},
        {"name": "two\nlines"},
        {"url": "file:///no/where"},
        {"url": "s3://bucket"},
    ]
    write_stage(data_root / "stage", told)
    with DerivedAsset("look", inputs="stage", strict=True, **PEOPLE) as asset:
        pass
    assert read_json(asset.output_dir / "data_description.json")["source_data"] == [RAW]


def test_a_reference_input_that_a_stage_read_is_no_input(data_root: Path) -> None:
    make_asset(data_root)
    make_asset(data_root, "atlas", subject_id="another")
    told = [{"name": RAW}, {"name": "atlas"}]
    write_stage(data_root / "stage", told)
    with DerivedAsset(
        "look", inputs="stage", reference_inputs="atlas", strict=True, **PEOPLE
    ) as asset:
        pass
    assert read_json(asset.output_dir / "data_description.json")["source_data"] == [RAW]


def test_a_step_that_reads_one_file_of_many_stages_follows_who_wrote_that_one(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_asset(data_root)
    stages = data_root / "stages"
    for name in ("a", "b"):
        with DerivedAsset(name, inputs=(), fragment=True, output_dir=stages, **PEOPLE):
            with track_process(f"make_{name}"):
                (stages / f"{name}.txt").write_text("x")
    with DerivedAsset("last", inputs=RAW, **PEOPLE):
        with track_process("use_b"):
            (stages / "b.txt").read_text()
        with track_process("use_both"):
            (stages / "a.txt").read_text()
            (stages / "b.txt").read_text()
    found = graph(Path("results"))
    assert found["use_b"] == ["make_b"]
    assert found["use_both"] == ["make_a", "make_b"]
