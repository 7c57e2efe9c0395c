"""``asset-provenance merge``, as somebody uses it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from asset_provenance import DerivedAsset, track_process
from asset_provenance.cli import main
from helpers.assets import PEOPLE, graph, make_asset, process, processes, read_json, write_json

CANARY = "cop_0123456789abcdefghijklmn"


def stage(name: str, *several: dict[str, Any], edges: dict[str, list[str]] | None = None) -> Path:
    """Leave a processing.json in a folder of its own."""
    folder = Path(name)
    folder.mkdir()
    content: dict[str, Any] = {"schema_version": "2.3.3", "data_processes": list(several)}
    if edges is not None:
        content["dependency_graph"] = edges
    write_json(folder / "processing.json", content)
    return folder


def merge(*arguments: object) -> int:
    return main(["merge", *map(str, arguments)])


@pytest.fixture
def stages() -> list[Path]:
    """Three stages, of which the second has the first one's process as well, and a fragment."""
    first, second = process("clean"), process("fit", "2026-03-03T00:01:00Z")
    other = process("fit", "2026-03-03T00:02:00Z")
    third = Path("third")
    third.mkdir()
    write_json(third / "x_data_process.json", other)
    return [
        stage("first", first, edges={"clean": []}),
        stage("second", first, second, edges={"clean": [], "fit": ["clean"]}),
        third,
    ]


def test_each_step_is_there_once_with_the_edges_that_were_said(
    stages: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert merge(*stages, "--output", "all") == 0
    assert "3 processes of 3 files" in capsys.readouterr().out
    assert graph(Path("all")) == {"clean": [], "fit": ["clean"], "fit_1": []}
    assert merge(*reversed(stages), "--output", "again") == 0
    assert Path("all/processing.json").read_bytes() == Path("again/processing.json").read_bytes()


def test_what_was_merged_is_shown_as_nothing_that_came_with_an_input(
    stages: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert merge(*stages, "--output", "all") == 0
    capsys.readouterr()
    assert main(["show", "all"]) == 0
    out = capsys.readouterr().out
    assert "3 processes, " in out
    assert "inherited" not in out
    assert main(["show", "third"]) == 2
    assert "asset-provenance merge third ... --output DIR" in capsys.readouterr().err


def test_stages_a_folder_below_and_assets_among_them_are_merged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("all").mkdir()
    stage("all/one", process("clean"))
    asset = stage("all/two", process("fit", "2026-03-03T00:01:00Z"))
    write_json(asset / "data_description.json", {})
    write_json(asset / "old_data_process.json", process("taken in already"))
    assert merge("all", "--output", "merged") == 0
    assert graph(Path("merged")) == {"clean": [], "fit": []}
    assert "2 processes of 2 files" in capsys.readouterr().out


def test_what_other_software_wrote_beside_it_is_not_called_foreign(
    data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_asset(data_root, carried=(), processing={"data_processes": [process("clean")]})
    part = stage("part", process("fit", "2026-03-03T00:01:00Z"))
    assert merge(folder, part, "--output", folder) == 0
    main(["check", str(folder)])
    assert "does not belong to this set" not in capsys.readouterr().out


def test_what_is_missing_or_invalid_is_told_and_nothing_is_written(
    stages: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    bad = stage("bad", {"name": "nothing else"})
    (bad / "y_data_process.json").write_text("{,")
    given = [*stages, "empty", "missing", bad]
    assert merge(*given, "--output", "all") == 1
    told = capsys.readouterr()
    assert "empty: it holds no processing.json" in told.err
    assert "missing: there is no such folder" in told.err
    assert "bad/processing.json: data_processes" in told.err
    assert "bad/y_data_process.json: is not valid JSON: line 1" in told.err
    assert "nothing was written" in told.out
    assert not Path("all").exists()
    assert merge(*given, "--output", "all", "--accept-invalid", "--json") == 1
    told_json = json.loads(capsys.readouterr().out)
    assert told_json["is_written"] is True
    assert len(told_json["faults"]) == 4
    assert set(processes(Path("all"))) == {"clean", "fit", "fit_1"}


def test_a_processing_that_is_not_merged_is_not_replaced(
    stages: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    there = stage("there", process("by_hand"))
    before = (there / "processing.json").read_bytes()
    assert merge(*stages, "--output", there) == 2
    assert "name there as one of the folders" in capsys.readouterr().err
    assert (there / "processing.json").read_bytes() == before
    assert merge(*stages, there, "--output", there) == 0
    assert set(processes(there)) == {"by_hand", "clean", "fit", "fit_1"}


def test_a_result_of_its_own_is_replaced_by_a_fuller_one(stages: list[Path]) -> None:
    assert merge(stages[0], "--output", "all") == 0
    assert merge(*stages, "--output", "all") == 0
    assert set(processes(Path("all"))) == {"clean", "fit", "fit_1"}
    assert not Path("all/.asset-provenance").exists()
    edited = read_json(Path("all/processing.json"))
    write_json(Path("all/processing.json"), {**edited, "notes": "by hand"})
    assert merge(*stages, "--output", "all") == 2


def test_a_whole_set_stays_one_that_check_is_content_with(
    data_root: Path,
    stages: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_CODE_URL", "https://github.com/your-lab/sorting")
    monkeypatch.setenv("ASSET_PROVENANCE_CODE_VERSION", "1.2")
    raw = make_asset(data_root, carried=(), processing={"data_processes": [process("upstream")]})
    with DerivedAsset("look", inputs=raw, strict=True, **PEOPLE) as asset, track_process("new"):
        pass
    assert main(["check", "results"]) == 0
    assert merge(*stages, "results", "--output", "results") == 0
    assert set(processes(asset.output_dir)) == {"upstream", "clean", "fit", "fit_1", "new"}
    manifest = read_json(asset.output_dir / "provenance" / "asset-provenance.json")
    assert manifest["process_name"] == "look"
    assert manifest["inherited_processes"] == ["clean", "upstream", "fit", "fit_1"]
    capsys.readouterr()
    assert main(["check", "results"]) == 0, capsys.readouterr().out


def test_a_secret_in_a_broken_file_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("stage")
    folder.mkdir()
    write_json(folder / "a_data_process.json", {**process("fit"), "experimenters": CANARY})
    write_json(folder / "b_data_process.json", {**process("fit"), CANARY: 1})
    assert merge(folder, "--output", "all") == 1
    assert merge(folder, "--output", "all", "--json") == 1
    told = capsys.readouterr()
    assert CANARY not in told.out + told.err


def test_where_nothing_can_be_written_nothing_is_left(stages: list[Path]) -> None:
    Path("file").write_text("in the way")
    assert merge(*stages, "--output", "file/below") == 2
    os.makedirs("all/processing.json")
    assert merge(*stages, "--output", "all") == 2
    assert os.listdir("all") == ["processing.json"]
