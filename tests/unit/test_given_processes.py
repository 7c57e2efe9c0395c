"""Processes that a half-migrated script has written down itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from asset_provenance import DerivedAsset, UsageError, track_process
from asset_provenance.cli import main
from asset_provenance.reading import read_view
from helpers.assets import FACTS, PEOPLE, RAW, graph, make_asset, process, processes, read_json
from helpers.schema import validate_set

CODE = "https://github.com/your-lab/your-analysis"
CANARY = "cop_0123456789abcdefghijklmn"


def schema() -> Any:
    import aind_data_schema.core.processing as ps

    return ps


def data_process(name: str = "by_hand", **changes: Any) -> Any:
    ps = schema()
    code = ps.Code(
        url=CODE,
        version="1.0",
        parameters={"size": 7, "api_token": CANARY},
        input_data=[ps.DataAsset(name=RAW)],
    )
    fields = {
        "name": name,
        "process_type": ps.ProcessName.ANALYSIS,
        "stage": ps.ProcessStage.ANALYSIS,
        "experimenters": ["Analysis Owner"],
        "start_date_time": datetime(2026, 3, 5, 8, tzinfo=UTC),
        "end_date_time": datetime(2026, 3, 5, 9, tzinfo=UTC),
        "code": code,
    }
    return ps.DataProcess(**{**fields, **changes})


def test_a_given_process_stands_beside_what_was_recorded(data_root: Path) -> None:
    with DerivedAsset("look", inputs=make_asset(data_root, carried=()), **PEOPLE) as asset:
        asset.add_process(data_process())
        with track_process("seen", inputs=RAW):
            pass
    validate_set(asset.output_dir)
    assert graph(asset.output_dir) == {"by_hand": [], "seen": []}
    written = processes(asset.output_dir)["by_hand"]
    assert written["code"]["parameters"]["size"] == 7
    assert written["experimenters"] == ["Analysis Owner"]
    assert [record.name for record in asset.records] == ["seen"]


def test_of_a_given_process_nothing_is_told_that_nobody_saw(data_root: Path) -> None:
    named = schema().Code(url=CODE, commit_hash="a" * 40, language="Python")
    with DerivedAsset("look", inputs=make_asset(data_root, carried=()), **PEOPLE) as asset:
        asset.add_process(data_process(code=named))
        with track_process("seen", inputs=RAW):
            pass
    told = {one.name: one for one in read_view(asset.output_dir).processes}
    assert told["by_hand"].is_given
    assert (told["by_hand"].told_status, told["by_hand"].code.is_dirty) == (None, None)
    assert told["seen"].told_status == "completed"


def test_where_given_processes_are_all_there_is_the_block_is_none(data_root: Path) -> None:
    with DerivedAsset("look", inputs=make_asset(data_root, carried=()), **PEOPLE) as asset:
        asset.add_process(data_process())
        asset.add_note("said of the run")
    assert set(processes(asset.output_dir)) == {"by_hand"}
    assert "said of the run" in read_json(asset.output_dir / "processing.json")["notes"]


def test_a_block_that_is_a_process_claims_no_given_one_as_its_child(data_root: Path) -> None:
    with DerivedAsset(
        "look", inputs=make_asset(data_root, carried=()), process_type="Analysis", **PEOPLE
    ) as asset:
        asset.add_process(data_process())
    assert graph(asset.output_dir) == {"by_hand": [], "look": []}


def test_the_object_is_taken_as_it_is_when_it_is_given(data_root: Path) -> None:
    given = data_process()
    with DerivedAsset("look", inputs=make_asset(data_root, carried=()), **PEOPLE) as asset:
        asset.add_process(given)
        given.code.version = "2.0"
    assert processes(asset.output_dir)["by_hand"]["code"]["version"] == "1.0"
    assert given.name == "by_hand"


def test_secrets_in_given_processes_reach_no_file(data_root: Path) -> None:
    with (
        pytest.raises(RuntimeError),
        DerivedAsset(
            "look", inputs=make_asset(data_root, carried=()), on_failure="write", **PEOPLE
        ) as asset,
    ):
        asset.add_process(data_process(notes=f"called with --token {CANARY}"))
        held = [path.read_bytes() for path in asset.output_dir.rglob("*") if path.is_file()]
        raise RuntimeError
    held += [path.read_bytes() for path in asset.output_dir.rglob("*") if path.is_file()]
    assert not any(CANARY.encode() in content for content in held)


def test_a_given_processing_keeps_its_graph_its_pipelines_and_its_notes(data_root: Path) -> None:
    ps = schema()
    first, second = data_process("first"), data_process("second", pipeline_name="the pipeline")
    given = ps.Processing(
        data_processes=[first, second],
        dependency_graph={"first": [], "second": ["first"]},
        pipelines=[ps.Code(name="the pipeline", url=CODE, version="3")],
        notes="by hand",
    )
    with DerivedAsset("look", inputs=make_asset(data_root, carried=()), **PEOPLE) as asset:
        asset.add_processing(given)
        with track_process("first", inputs=RAW):
            pass
    validate_set(asset.output_dir)
    assert graph(asset.output_dir) == {"first": [], "second": ["first"], "first_1": []}
    written = read_json(asset.output_dir / "processing.json")
    assert [pipeline["name"] for pipeline in written["pipelines"]] == ["the pipeline"]
    assert "by hand" in written["notes"]


def test_what_the_script_inherited_by_hand_is_there_once(data_root: Path) -> None:
    ps = schema()
    upstream = {"data_processes": [process("sort")], "dependency_graph": {"sort": []}}
    folder = make_asset(data_root, processing=upstream)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inherited = ps.Processing.model_validate_json((folder / "processing.json").read_bytes())
        mine = ps.Processing(data_processes=[data_process()])
        both = inherited + mine
    with DerivedAsset("look", inputs=folder, **PEOPLE) as asset:
        asset.add_processing(both)
    assert graph(asset.output_dir) == {"sort": [], "by_hand": ["sort"]}


def test_the_data_that_given_processes_name_are_the_inputs_of_the_run(data_root: Path) -> None:
    make_asset(data_root)
    with DerivedAsset("look", **PEOPLE) as asset:
        asset.add_process(data_process())
    described = read_json(asset.output_dir / "data_description.json")
    assert described["source_data"] == [RAW]


def test_a_given_process_follows_what_was_done_to_the_data_that_it_names(data_root: Path) -> None:
    code = {"url": CODE, "version": "1", "input_data": [{"object_type": "Data asset", "name": RAW}]}
    later = process("later", "2026-03-06T00:00:00Z")
    handed_on = {"data_processes": [process("sort", code=code), later]}
    make_asset(data_root, carried=(), processing=handed_on)
    with DerivedAsset("look", inputs=RAW, **PEOPLE) as asset:
        asset.add_process(data_process())
        # What was handed on may be given back, and follows nothing but what it did.
        asset.add_process(schema().DataProcess.model_validate(handed_on["data_processes"][0]))
        graphed = schema().Processing(
            data_processes=[data_process("apart")], dependency_graph={"apart": []}
        )
        asset.add_processing(graphed)  # it says itself what depends on what
    expected = {"sort": [], "by_hand": ["sort"], "apart": [], "later": []}
    assert graph(asset.output_dir) == expected


def test_an_output_that_is_not_there_is_told(
    data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with DerivedAsset("look", inputs=make_asset(data_root, carried=()), **PEOPLE) as asset:
        asset.add_process(data_process(output_path="tables/rates.csv"))
    assert "process by_hand names an output tables/rates.csv that is not there" in caplog.text


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("add_process", {"name": "a mapping"}, "takes a DataProcess .* not builtins.dict"),
        ("add_process", "text", "takes a DataProcess"),
        ("add_processing", 5, "takes a Processing"),
        ("add_process", {"data_processes": []}, r"build one with DataProcess\(\.\.\.\)"),
    ],
)
def test_anything_else_is_refused_at_once(
    data_root: Path, method: str, given: object, message: str
) -> None:
    with DerivedAsset("look", inputs=make_asset(data_root, carried=()), **PEOPLE) as asset:
        with pytest.raises(UsageError, match=message):
            getattr(asset, method)(given)
    assert set(processes(asset.output_dir)) == {"look"}


def test_the_other_object_is_sent_to_the_other_method(data_root: Path) -> None:
    whole = schema().Processing(data_processes=[data_process()])
    with DerivedAsset("look", inputs=make_asset(data_root, carried=()), **PEOPLE) as asset:
        with pytest.raises(UsageError, match="give a Processing to add_processing"):
            asset.add_process(whole)
        with pytest.raises(UsageError, match="give one DataProcess to add_process"):
            asset.add_processing(data_process())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"end_date_time": datetime(2026, 3, 5, 7, tzinfo=UTC)}, "before it starts"),
        ({"experimenters": []}, "no experimenter is named"),
        ({"output_path": "/results/here"}, "does not lie inside the asset"),
    ],
)
def test_what_would_be_refused_in_the_end_is_refused_at_once(
    data_root: Path, changes: dict[str, Any], message: str
) -> None:
    with DerivedAsset("look", inputs=make_asset(data_root, carried=()), **PEOPLE) as asset:
        with pytest.raises(UsageError, match=message):
            asset.add_process(data_process(**changes))


def test_a_closed_asset_takes_no_process(data_root: Path) -> None:
    with DerivedAsset("look", inputs=make_asset(data_root, carried=()), **PEOPLE) as asset:
        pass
    with pytest.raises(UsageError, match="the asset is not open"):
        asset.add_process(data_process())


def test_a_given_process_survives_a_kill(data_root: Path) -> None:
    make_asset(data_root)
    code = f"""
import os, signal
from datetime import datetime, UTC
import aind_data_schema.core.processing as ps
from asset_provenance import DerivedAsset
asset = DerivedAsset("look", inputs={RAW!r}, experimenters=["A B"]).start()
now = datetime.now(UTC)
asset.add_process(ps.DataProcess(
    name="by_hand", process_type="Analysis", stage="Analysis", experimenters=["A B"],
    start_date_time=now, end_date_time=now, code=ps.Code(url={CODE!r}, version="1"),
))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env={**os.environ}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert main(["recover", "results", "--accept-failed"]) == 0
    assert set(processes(Path("results"))) == {"by_hand"}


def test_simulated_data_may_have_given_processes_and_no_inputs() -> None:
    with DerivedAsset(
        "model", inputs=(), base_name="network", data_level="simulated", **FACTS, **PEOPLE
    ) as asset:
        asset.add_process(data_process())
    assert set(processes(asset.output_dir)) == {"by_hand"}


# What is said of them


def test_several_in_a_list_are_to_be_given_one_by_one(data_root: Path) -> None:
    with DerivedAsset("look", inputs=make_asset(data_root, carried=()), **PEOPLE) as asset:
        with pytest.raises(UsageError, match="give each by itself"):
            asset.add_process([data_process()])


def test_all_faults_of_one_processing_are_told_at_once_and_nothing_of_it_is_taken(
    data_root: Path,
) -> None:
    ps = schema()
    early = datetime(2026, 3, 5, 7, tzinfo=UTC)
    given = ps.Processing(
        data_processes=[
            data_process("one", end_date_time=early),
            data_process("two", experimenters=[" "]),
        ],
        pipelines=[ps.Code(url=CODE, version="1")],
    )
    with DerivedAsset("look", inputs=make_asset(data_root, carried=()), **PEOPLE) as asset:
        with pytest.raises(UsageError) as caught:
            asset.add_processing(given)
    for told in (
        "process one: it ends",
        "process two: no experimenter",
        "the pipeline has no name",
    ):
        assert told in str(caught.value)
    assert set(processes(asset.output_dir)) == {"look"}


def test_an_object_that_was_made_invalid_since_is_refused_at_once(data_root: Path) -> None:
    given = data_process()
    with DerivedAsset("look", inputs=make_asset(data_root, carried=()), **PEOPLE) as asset:
        object.__setattr__(given, "start_date_time", "whenever")
        with pytest.raises(UsageError, match="not valid: .*start_date_time"):
            asset.add_process(given)
        given.code.__dict__["parameters"].size = object()
        with pytest.raises(UsageError, match="cannot be written as JSON"):
            asset.add_process(given)


def test_a_process_of_a_pipeline_needs_the_pipeline(data_root: Path) -> None:
    ps = schema()
    raw = make_asset(data_root, carried=())
    pipeline = ps.Code(name="sorting", url=CODE, version="3")
    given = data_process(pipeline_name="sorting")
    with DerivedAsset("look", inputs=raw, **PEOPLE) as asset:
        with pytest.raises(UsageError, match=r"names the pipeline 'sorting'.*pipelines=\["):
            asset.add_process(given)
        asset.add_processing(ps.Processing(data_processes=[], pipelines=[pipeline]))
        asset.add_process(given)
    validate_set(asset.output_dir)
    with DerivedAsset("look", inputs=raw, pipelines=pipeline, **PEOPLE) as asset:
        asset.add_process(given)
    validate_set(asset.output_dir)
    written = read_json(asset.output_dir / "processing.json")
    assert [item["name"] for item in written["pipelines"]] == ["sorting"]
    assert written["data_processes"][0]["pipeline_name"] == "sorting"


def test_numbers_that_json_does_not_know_are_kept_as_texts(data_root: Path) -> None:
    ps = schema()
    values = {"low": float("-inf"), "deep": [{"er": float("nan")}], "none": None, "five": 5.0}
    given = data_process(
        code=ps.Code(url=CODE, version="1", parameters=values), output_parameters=values
    )
    with DerivedAsset("look", inputs=make_asset(data_root, carried=()), **PEOPLE) as asset:
        asset.add_process(given)
    kept = {"low": "-Infinity", "deep": [{"er": "NaN"}], "none": None, "five": 5.0}
    written = processes(asset.output_dir)["by_hand"]
    assert (written["code"]["parameters"], written["output_parameters"]) == (kept, kept)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        (f"https://user:{CANARY}@github.com/your-lab/your-analysis.git", CODE),
        ("git@github.com:your-lab/your-analysis.git", CODE),
        (f"{CODE}.git", f"{CODE}.git"),
        (
            "https://codeocean.example.org/capsule/1?x=2",
            "https://codeocean.example.org/capsule/1?x=2",
        ),
    ],
)
def test_credentials_are_taken_out_of_urls_and_other_urls_stay(
    data_root: Path, url: str, kept: str
) -> None:
    ps = schema()
    pipeline = ps.Code(name="pipe", url=url, version="1")
    given = ps.Processing(
        data_processes=[data_process(code=ps.Code(url=url, version="1"))], pipelines=[pipeline]
    )
    with DerivedAsset("look", inputs=make_asset(data_root, carried=()), **PEOPLE) as asset:
        asset.add_processing(given)
    written = read_json(asset.output_dir / "processing.json")
    assert written["data_processes"][0]["code"]["url"] == kept
    assert written["pipelines"][0]["url"] == kept


def test_a_process_that_is_given_twice_is_there_once(data_root: Path) -> None:
    with DerivedAsset("look", inputs=make_asset(data_root, carried=()), **PEOPLE) as asset:
        asset.add_process(data_process())
        asset.add_process(data_process())
        asset.add_process(data_process(notes="another one"))
    assert set(processes(asset.output_dir)) == {"by_hand", "by_hand_1"}


def test_edges_of_a_given_graph_that_lead_nowhere_are_dropped_and_told(
    data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = schema().Processing(
        data_processes=[data_process("one"), data_process("two", notes="second")],
        dependency_graph={"one": ["one", "nobody"], "two": ["one"]},
    )
    with DerivedAsset("look", inputs=make_asset(data_root, carried=()), **PEOPLE) as asset:
        asset.add_processing(given)
    assert graph(asset.output_dir) == {"one": [], "two": ["one"]}
    assert "nobody" in caplog.text


def test_what_a_script_gives_back_of_its_inputs_is_not_taken_for_its_own(
    data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ps = schema()
    code = {
        "url": CODE,
        "version": "1",
        "input_data": [{"object_type": "Data asset", "name": "other_asset"}],
    }
    upstream = {"data_processes": [process("sort", code=code, output_path="sorted")]}
    folder = make_asset(data_root, processing=upstream)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inherited = ps.Processing.model_validate_json((folder / "processing.json").read_bytes())
        both = inherited + ps.Processing(data_processes=[data_process()])
    with DerivedAsset("look", inputs=folder, **PEOPLE) as asset:
        asset.add_processing(both)
    assert set(processes(asset.output_dir)) == {"sort", "by_hand"}
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert not [text for text in told if "other_asset" in text or "sorted" in text], told


def test_an_input_that_a_given_process_names_by_its_url_is_the_one_that_was_declared(
    data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ps = schema()
    data = [ps.DataAsset(url=f"s3://some-bucket/{RAW}/")]
    code = ps.Code(url=CODE, version="1", input_data=data)
    with DerivedAsset("look", inputs=make_asset(data_root, carried=()), **PEOPLE) as asset:
        asset.add_process(data_process(code=code))
    assert "was used, but" not in caplog.text
    assert "was declared, but" not in caplog.text


def test_an_asset_that_a_given_process_used_and_nobody_declared_is_told(
    data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ps = schema()
    code = ps.Code(url=CODE, version="1", input_data=[ps.DataAsset(name="other_asset")])
    with DerivedAsset("look", inputs=make_asset(data_root, carried=()), **PEOPLE) as asset:
        asset.add_process(data_process(code=code))
    assert "asset other_asset was used, but" in caplog.text
    assert f"input {RAW} was declared, but" in caplog.text


def test_the_script_that_wrote_given_processes_down_is_named_in_the_notes(data_root: Path) -> None:
    make_asset(data_root)
    script = Path("by_hand.py")
    script.write_text(f"""
from datetime import datetime, UTC
import aind_data_schema.core.processing as ps
from asset_provenance import DerivedAsset
now = datetime.now(UTC)
with DerivedAsset("look", inputs={RAW!r}, experimenters=["A B"]) as asset:
    asset.add_process(ps.DataProcess(
        name="by_hand", process_type="Analysis", stage="Analysis", experimenters=["A B"],
        start_date_time=now, end_date_time=now, code=ps.Code(url={CODE!r}, version="1"),
    ))
""")
    subprocess.run([sys.executable, "-W", "ignore", script], env={**os.environ}, check=True)
    assert "by_hand.py" in read_json(Path("results/processing.json"))["notes"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_a_forked_worker_gives_is_in_it(data_root: Path) -> None:
    given = data_process()
    with DerivedAsset("look", inputs=make_asset(data_root, carried=()), **PEOPLE) as asset:
        child = os.fork()
        if child == 0:
            try:
                asset.add_process(given)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
    assert set(processes(asset.output_dir)) == {"by_hand"}
