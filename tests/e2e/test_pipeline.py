"""A pipeline of three stages with a fan-out of four, each stage a program of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from asset_provenance import DerivedAsset, track_process
from asset_provenance.cli import main
from helpers.assets import PEOPLE, RAW, graph, make_asset, processes, read_json
from helpers.schema import validate_set

FAN_OUT = 4
CODE = {
    "ASSET_PROVENANCE_CODE_URL": "https://github.com/your-lab/sorting",
    "ASSET_PROVENANCE_CODE_VERSION": "1.2",
}
STAGE = """
import sys, time
from pathlib import Path
from asset_provenance import DerivedAsset, track_process

stage, work, begin, *options = sys.argv[1:]
work = Path(work)
pipelines = [{"url": "https://github.com/your-lab/pipeline", "name": "sorting", "version": "3"}]

@track_process(outputs=lambda a: a["name"])
def preprocess(recording, name):
    time.sleep(max(0, float(begin) - time.time()))
    (work / "results" / name).write_text("x")

@track_process(outputs=lambda a: a["name"])
def fit(path, shank, name):
    # All of them at the same second: nothing but chance tells their names apart.
    time.sleep(max(0, float(begin) - time.time()))
    (work / "results" / name).write_text("x")

with DerivedAsset(stage, inputs=sorted((work / "data").iterdir()), fragment=True,
                  experimenters=["Sample Scientist"], pipelines=pipelines, pipeline_name="sorting",
                  output_dir=work / "results"):
    if stage == "first":
        preprocess(work / "data" / "RAW", "clean.txt")
    else:
        fit(work / "data" / "first" / "clean.txt", int(options[0]), f"shank{options[0]}.txt")
""".replace("RAW", RAW)


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The raw asset that goes through the pipeline."""
    for name, value in CODE.items():
        monkeypatch.setenv(name, value)
    return make_asset(tmp_path / "assets", carried=())


def start(
    script: Path, work: Path, stage: str, staged: dict[str, Path], begin: float, *options: str
) -> subprocess.Popen[str]:
    data = work / "data"
    data.mkdir(parents=True)
    for name, target in staged.items():
        (data / name).symlink_to(target)
    environment = {**os.environ, **CODE, "ASSET_PROVENANCE_DATA_ROOT": str(data)}
    return subprocess.Popen(
        [sys.executable, script, stage, work, str(begin), *options],
        env=environment,
        cwd=work,
        text=True,
        stderr=subprocess.PIPE,
    )


def finish(running: subprocess.Popen[str]) -> None:
    _, errors = running.communicate(timeout=100)
    assert running.returncode == 0, errors


def collect(folders: list[Path], target: Path) -> Path:
    """Copy all results into one folder, as Collect does: two of one name end the pipeline."""
    target.mkdir()
    for folder in folders:
        for path in folder.iterdir():
            if path.name in os.listdir(target):
                raise FileExistsError(path.name)
            shutil.copy2(path, target)
    return target


@pytest.fixture
def collected(tmp_path: Path, raw: Path) -> Path:
    """What the first two stages left, collected into one folder."""
    import time

    script = tmp_path / "stage.py"
    script.write_text(STAGE)
    finish(start(script, tmp_path / "w1", "first", {RAW: raw}, 0))
    staged = {RAW: raw, "first": tmp_path / "w1" / "results"}
    begin = time.time() + 8
    running = [
        start(script, tmp_path / f"w2-{number}", "second", staged, begin, str(number))
        for number in range(FAN_OUT)
    ]
    for one in running:
        finish(one)
    results = [tmp_path / "w1" / "results"]
    results += [tmp_path / f"w2-{number}" / "results" for number in range(FAN_OUT)]
    for folder in results:
        fragments = [path.name for path in folder.iterdir() if path.suffix == ".json"]
        assert len(fragments) == 1
        assert fragments[0].endswith("_data_process.json")
        # The result, the fragment, and its list of packages.
        assert len(list(folder.iterdir())) == 3
    return collect(results, tmp_path / "collected")


EDGES = {"preprocess": [], "fit": ["preprocess"], "fit_1": ["preprocess"],
         "fit_2": ["preprocess"], "fit_3": ["preprocess"]}  # fmt: skip


def test_the_last_stage_takes_in_what_all_others_left(
    data_root: Path, raw: Path, collected: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (data_root / RAW).symlink_to(raw)
    (data_root / "collected").symlink_to(collected)
    inputs = [data_root / RAW, data_root / "collected"]
    with DerivedAsset("sorted", inputs=inputs, strict=True, **PEOPLE) as asset:
        with track_process("summarise", inputs=data_root / "collected"):
            pass
        with track_process("look", inputs=RAW):
            pass
    validate_set(asset.output_dir)
    assert (asset.name or "").startswith(f"{RAW}_sorted_")
    described = read_json(asset.output_dir / "data_description.json")
    assert described["source_data"] == [RAW]
    fits = ["fit", "fit_1", "fit_2", "fit_3"]
    assert graph(asset.output_dir) == {**EDGES, "summarise": fits, "look": []}
    written = read_json(asset.output_dir / "processing.json")
    assert [pipeline["name"] for pipeline in written["pipelines"]] == ["sorting"]
    shanks = [processes(asset.output_dir)[name]["code"]["parameters"]["shank"] for name in fits]
    assert sorted(shanks) == list(range(FAN_OUT))
    assert processes(asset.output_dir)["fit"]["pipeline_name"] == "sorting"
    assert main(["check", str(asset.output_dir)]) == 0
    assert "neither among the inputs" not in caplog.text


def test_merge_makes_the_same_of_them(
    tmp_path: Path, collected: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = [str(tmp_path / f"w2-{number}" / "results") for number in range(FAN_OUT)]
    stages.append(str(tmp_path / "w1" / "results"))
    assert main(["merge", *stages, "--output", "one"]) == 0
    assert main(["merge", str(collected), "--output", "other"]) == 0
    assert graph(Path("one")) == EDGES
    assert Path("one/processing.json").read_bytes() == Path("other/processing.json").read_bytes()
    capsys.readouterr()
    assert main(["merge", *stages, str(collected), "one", "--output", "one", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["processes"] == 1 + FAN_OUT
    assert Path("one/processing.json").read_bytes() == Path("other/processing.json").read_bytes()
