"""What a derived asset writes, from what it was given."""

from __future__ import annotations

import argparse
import logging
import os
import re
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aind_data_schema.components.identifiers import CombinedData, DataAsset

from asset_provenance import (
    AssemblyError,
    DerivedAsset,
    PreflightError,
    StorageError,
    UsageError,
    current_process,
    track_process,
)
from helpers.assets import (
    CARRIED,
    FACTS,
    PEOPLE,
    RAW,
    graph,
    make_asset,
    process,
    processes,
    read_json,
)

RESULTS = Path("results")


@track_process
def double(x: int, y: int = 2) -> int:
    return x * y


@pytest.fixture
def raw(data_root: Path) -> Path:
    return make_asset(
        data_root,
        processing={
            "data_processes": [process("convert"), process("sort", "2026-03-03T01:00:00Z")],
            "dependency_graph": {"convert": [], "sort": ["convert"]},
        },
    )


def written() -> list[str]:
    return sorted(path.relative_to(RESULTS).as_posix() for path in RESULTS.rglob("*"))


# One acquisition


def test_a_derived_asset_of_one_input_has_the_files_of_the_input_byte_for_byte(raw: Path) -> None:
    with DerivedAsset("tuning", inputs=raw, **PEOPLE):
        double(1)
    for core_file in CARRIED:
        name = f"{core_file}.json"
        assert (RESULTS / name).read_bytes() == (raw / name).read_bytes()
    assert "model.json" not in written()


def test_nothing_of_the_journal_is_left_after_success(raw: Path) -> None:
    with DerivedAsset("tuning", inputs=raw, **PEOPLE):
        double(1)
    assert written() == [
        "acquisition.json",
        "data_description.json",
        "instrument.json",
        "procedures.json",
        "processing.json",
        "provenance",
        "provenance/asset-provenance.json",
        *[f"provenance/{path.name}" for path in Path("results/provenance").glob("packages-*.txt")],
        "quality_control.json",
        "subject.json",
    ]


def test_the_description_is_derived_from_the_inputs(raw: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    with DerivedAsset("tuning", inputs=raw, data_summary="What it shows", **PEOPLE) as asset:
        double(1)
    described = read_json(RESULTS / "data_description.json")
    created = datetime.fromisoformat(described["creation_time"])
    assert before <= created
    assert described["name"] == asset.name == f"{RAW}_tuning_{created:%Y-%m-%d_%H-%M-%S}"
    assert described["data_level"] == "derived"
    assert described["source_data"] == [RAW]
    assert described["subject_id"] == "900101"
    assert described["project_name"] == "Synthetic project"
    assert described["data_summary"] == "What it shows"


def test_the_input_s_processes_come_first_and_keep_their_graph(raw: Path) -> None:
    @track_process(inputs=str(raw))
    def fit() -> None: ...

    with DerivedAsset("tuning", inputs=raw, **PEOPLE):
        fit()
        double(1)
    assert list(processes(RESULTS)) == ["convert", "sort", "fit", "double"]
    assert graph(RESULTS) == {"convert": [], "sort": ["convert"], "fit": ["sort"], "double": []}


def test_a_new_process_never_takes_the_name_of_an_inherited_one(raw: Path) -> None:
    with DerivedAsset("tuning", inputs=raw, **PEOPLE):
        for _ in range(2):
            with track_process("sort"):
                pass
    assert list(processes(RESULTS)) == ["convert", "sort", "sort_1", "sort_2"]


def test_the_name_of_a_second_analysis_is_not_chained(data_root: Path, raw: Path) -> None:
    first = data_root / "first"
    with DerivedAsset("tuning", inputs=raw, output_dir=first, **PEOPLE) as one:
        double(1)
    with DerivedAsset("maps", inputs=first, **PEOPLE) as two:
        double(3)
    assert two.name is not None
    assert two.name.startswith(f"{RAW}_maps_")
    assert read_json(RESULTS / "data_description.json")["source_data"] == [one.name]
    assert list(processes(RESULTS)) == ["convert", "sort", "double", "double_1"]


def test_processes_that_two_inputs_share_are_written_once(data_root: Path, raw: Path) -> None:
    folders = []
    for label in ("one", "two"):
        folders.append(data_root / label)
        with DerivedAsset(label, inputs=raw, output_dir=folders[-1], **PEOPLE):
            with track_process(label):
                pass
    with DerivedAsset("both", inputs=folders, **PEOPLE) as asset:
        double(1)
    assert asset.name is not None
    assert asset.name.startswith(f"{RAW}_both_")
    assert list(processes(RESULTS)) == ["convert", "sort", "one", "two", "double"]


def test_a_mount_folder_may_have_another_name_than_its_asset(data_root: Path) -> None:
    make_asset(data_root, mount="ecephys_clip")
    with DerivedAsset("tuning", inputs="ecephys_clip", **PEOPLE) as asset:
        pass
    assert asset.name is not None
    assert asset.name.startswith(f"{RAW}_tuning_")


def test_an_input_is_found_by_its_asset_name(data_root: Path) -> None:
    make_asset(data_root, mount="ecephys_clip")
    with DerivedAsset("tuning", inputs=RAW, **PEOPLE):
        pass
    assert (RESULTS / "subject.json").exists()


def test_an_s3_url_gives_name_and_url(data_root: Path) -> None:
    url = f"s3://aind-open-data/{RAW}/ecephys/x.dat"
    with DerivedAsset("tuning", inputs=url, base_name="base", **FACTS, **PEOPLE):
        pass
    (used,) = processes(RESULTS)["tuning"]["code"]["input_data"]
    assert (used["name"], used["url"]) == (RAW, f"s3://aind-open-data/{RAW}")


# Aggregates


def test_an_aggregate_of_one_subject_inherits_subject_and_procedures_only(data_root: Path) -> None:
    folders = [make_asset(data_root, f"ecephys_900101_2026-03-0{day}_10-00-00") for day in (2, 3)]
    with DerivedAsset("drift", inputs=folders, base_name="900101-week", **PEOPLE) as asset:
        double(1)
    assert re.fullmatch(r"900101-week_drift_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", asset.name or "")
    carried = {path.name for path in RESULTS.glob("*.json")}
    assert carried == {
        "data_description.json", "processing.json", "subject.json", "procedures.json"
    }  # fmt: skip
    described = read_json(RESULTS / "data_description.json")
    assert described["subject_id"] == "900101"
    assert described["source_data"] == [folder.name for folder in folders]


def test_an_aggregate_of_several_subjects_inherits_no_file_and_no_processing(
    data_root: Path,
) -> None:
    done = {"data_processes": [process("convert")], "dependency_graph": {"convert": []}}
    one = make_asset(data_root, "a_1_2026-03-02_10-00-00", subject_id="1", processing=done)
    two = make_asset(data_root, "a_2_2026-03-02_10-00-00", subject_id="2", processing=done)
    with DerivedAsset("cohort", inputs=[one, two], base_name="both", **PEOPLE):
        double(1)
    assert {path.name for path in RESULTS.glob("*.json")} == {
        "data_description.json", "processing.json"
    }  # fmt: skip
    assert read_json(RESULTS / "data_description.json")["subject_id"] is None
    assert list(processes(RESULTS)) == ["double"]


def test_an_aggregate_can_be_an_input(data_root: Path) -> None:
    folders = [make_asset(data_root, f"ecephys_900101_2026-03-0{day}_10-00-00") for day in (2, 3)]
    first = data_root / "week"
    with DerivedAsset("drift", inputs=folders, base_name="week", output_dir=first, **PEOPLE):
        pass
    with DerivedAsset("again", inputs=first, base_name="week-again", **PEOPLE) as asset:
        pass
    assert (asset.name or "").startswith("week-again_again_")
    assert (RESULTS / "subject.json").exists()


def test_what_inputs_say_differently_is_united_or_kept(data_root: Path) -> None:
    one = make_asset(
        data_root, "a_1_2026-03-02_10-00-00", restrictions="No commercial use", tags=["a"],
        group="ephys",
    )  # fmt: skip
    two = make_asset(
        data_root, "a_1_2026-03-03_10-00-00", restrictions="Ask first", tags=["a", "b"],
        modalities=[{"name": "Behavior", "abbreviation": "behavior"}], group="behavior",
    )  # fmt: skip
    with DerivedAsset("both", inputs=[one, two], base_name="both", **PEOPLE):
        pass
    described = read_json(RESULTS / "data_description.json")
    assert described["restrictions"] == "No commercial use\nAsk first"
    assert described["tags"] == ["a", "b"]
    assert [m["abbreviation"] for m in described["modalities"]] == ["ecephys", "behavior"]
    assert described["group"] is None


def test_differing_projects_and_licences_must_be_given(data_root: Path) -> None:
    one = make_asset(data_root, "a_1_2026-03-02_10-00-00")
    two = make_asset(data_root, "a_1_2026-03-03_10-00-00", project_name="Other", license="MIT")
    with pytest.raises(PreflightError) as caught:
        DerivedAsset("both", inputs=[one, two], base_name="both", **PEOPLE).start()
    text = str(caught.value)
    assert "project_name differs between the inputs" in text
    assert "license differs between the inputs" in text
    assert "project_name is missing" not in text


def test_another_project_s_people_and_money_are_not_inherited(raw: Path) -> None:
    with pytest.raises(PreflightError) as caught:
        DerivedAsset("own", inputs=raw, project_name="Mine", **PEOPLE).start()
    assert len(caught.value.problems) == 2
    assert caught.value.problems[0].startswith("investigators is missing")
    assert caught.value.problems[1].startswith("funding_source is missing")
    assert "internal funding is" in caught.value.problems[1]


# Other inputs


def test_reference_inputs_belong_to_the_block_but_are_no_source(raw: Path, data_root: Path) -> None:
    (data_root / "ccf-atlas").mkdir()
    with DerivedAsset("align", inputs=raw, reference_inputs="ccf-atlas", **PEOPLE) as asset:
        pass
    assert (asset.name or "").startswith(f"{RAW}_align_")
    assert read_json(RESULTS / "data_description.json")["source_data"] == [RAW]
    used = [item["name"] for item in processes(RESULTS)["align"]["code"]["input_data"]]
    assert used == [RAW, "ccf-atlas"]


def test_a_simulation_has_no_inputs() -> None:
    with DerivedAsset(
        "model", inputs=(), base_name="toy", data_level="simulated", **FACTS, **PEOPLE
    ):
        pass
    described = read_json(RESULTS / "data_description.json")
    assert described["source_data"] is None
    assert described["data_level"] == "simulated"


def test_an_input_without_metadata_gives_its_name_and_nothing_else(data_root: Path) -> None:
    (data_root / "lonely").mkdir()
    with DerivedAsset("x", inputs="lonely", base_name="b", **FACTS, **PEOPLE):
        pass
    assert read_json(RESULTS / "data_description.json")["source_data"] == ["lonely"]


def test_inputs_that_are_not_given_are_those_seen_to_be_used(raw: Path, data_root: Path) -> None:
    (data_root / "atlas").mkdir()

    @track_process
    def fit(folder: Path, atlas: Path) -> None: ...

    with DerivedAsset("tuning", **PEOPLE) as asset:
        assert asset.name is None
        fit(raw / "data_description.json", data_root / "atlas")
    assert (asset.name or "").startswith(f"{RAW}_tuning_")
    assert read_json(RESULTS / "data_description.json")["source_data"] == [RAW]
    assert (RESULTS / "subject.json").read_bytes() == (raw / "subject.json").read_bytes()
    used = [item["name"] for item in processes(RESULTS)["fit"]["code"]["input_data"]]
    assert used == [RAW, "atlas"]


def test_facts_that_only_inputs_could_supply_are_asked_for_at_the_end() -> None:
    with pytest.raises(AssemblyError, match="project_name is missing"):
        with DerivedAsset("tuning", strict=True, **PEOPLE):
            double(1)


def test_a_late_input_that_changes_the_case_warns_at_once(
    raw: Path, data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = make_asset(data_root, "a_2_2026-03-02_10-00-00", subject_id="2")
    with DerivedAsset("tuning", inputs=raw, **PEOPLE) as asset:
        asset.add_inputs(other)
        assert "no longer share one subject" in caplog.text
    assert "base_name is missing" in caplog.text


def test_an_invalid_core_file_is_carried_over_as_it_is_with_a_warning(
    raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with DerivedAsset("tuning", inputs=raw, **PEOPLE):
        pass
    assert f"subject.json of input {RAW} is not valid under aind-data-schema" in caplog.text


def test_an_invalid_inherited_processing_is_kept_beside_ours(
    data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = make_asset(data_root, processing={"data_processes": [{"name": "half"}]})
    with DerivedAsset("tuning", inputs=raw, **PEOPLE):
        double(1)
    kept = RESULTS / "provenance" / f"inherited-processing-{RAW}.json"
    assert kept.read_bytes() == (raw / "processing.json").read_bytes()
    assert kept.name in read_json(RESULTS / "processing.json")["notes"]
    assert "is not valid" in caplog.text


def test_edges_of_an_input_that_lead_nowhere_are_dropped_with_a_warning(
    data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_asset(
        data_root,
        processing={
            "data_processes": [process("Pipeline"), process("b")],
            "dependency_graph": {"Pipeline": ["Pipeline", "ghost"], "b": ["Pipeline"]},
        },
    )
    with DerivedAsset("tuning", inputs=RAW, **PEOPLE):
        pass
    assert graph(RESULTS) == {"Pipeline": [], "b": ["Pipeline"], "tuning": ["b"]}
    assert "dependency of Pipeline on ghost is dropped" in caplog.text


def test_inherited_processes_without_a_graph_get_no_edges(data_root: Path) -> None:
    make_asset(
        data_root,
        processing={"data_processes": [process("Other"), process("Other", notes="second")]},
    )
    with DerivedAsset("tuning", inputs=RAW, **PEOPLE):
        pass
    assert graph(RESULTS) == {"Other": [], "Other_1": [], "tuning": ["Other", "Other_1"]}


def test_nothing_is_inherited_when_told_so(raw: Path) -> None:
    with DerivedAsset("tuning", inputs=raw, inherit="none", **FACTS, **PEOPLE) as asset:
        double(1)
    assert (asset.name or "").startswith(f"{RAW}_tuning_")
    assert list(processes(RESULTS)) == ["double"]
    assert read_json(RESULTS / "data_description.json")["subject_id"] is None
    assert not (RESULTS / "subject.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="needs names that are no UTF-8")
def test_names_that_are_no_utf_8_are_written_out(data_root: Path) -> None:
    name = os.fsdecode(b"odd\xff name")
    (data_root / name).mkdir()
    with DerivedAsset("x", inputs=data_root / name, base_name="b", **FACTS, **PEOPLE) as asset:
        (asset.output_dir / name).write_text("x")
        with track_process("save", outputs=name) as process:
            process.add_note(f"see {name}")
    assert read_json(RESULTS / "data_description.json")["source_data"] == ["odd\\xff name"]
    assert processes(RESULTS)["save"]["output_path"] == "odd\\xff name"


# The block


def test_a_plain_block_is_one_process_with_its_command_line(
    raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "--bins", "8", "--api-key", "canary"])
    with DerivedAsset("tuning", inputs=raw, **PEOPLE):
        pass
    block = processes(RESULTS)["tuning"]
    assert (block["process_type"], block["stage"]) == ("Analysis", "Analysis")
    assert block["code"]["parameters"] == {"argv": ["--bins", "8", "--api-key", "[redacted]"]}
    assert [item["name"] for item in block["code"]["input_data"]] == [RAW]
    assert block["code"]["run_script"].endswith("test_asset.py")


def test_a_block_with_a_process_type_is_the_parent_of_what_is_inside(raw: Path) -> None:
    with DerivedAsset("tuning", inputs=raw, process_type="Pipeline", **PEOPLE):
        double(1)
    assert processes(RESULTS)["tuning"]["process_type"] == "Pipeline"
    assert graph(RESULTS)["tuning"] == ["double", "sort"]


def test_facts_of_a_block_that_is_no_process_are_kept_as_notes(raw: Path) -> None:
    with DerivedAsset("tuning", inputs=raw, parameters={"seed": 7}, **PEOPLE) as asset:
        double(1)
        asset.add_note("Run twice.")
        asset.add_results(units=3)
    notes = read_json(RESULTS / "processing.json")["notes"]
    assert "Run twice." in notes
    assert '{"seed": 7}' in notes
    assert '{"units": 3}' in notes


def test_library_code_can_add_to_the_block_when_nothing_is_tracked(raw: Path) -> None:
    with DerivedAsset("tuning", inputs=raw, parameters={}, **PEOPLE) as asset:
        current_process().add_parameters(bins=12)
        asset.add_outputs("tuning.csv")
    block = processes(RESULTS)["tuning"]
    assert block["code"]["parameters"] == {"bins": 12}
    assert block["output_path"] == "tuning.csv"


@dataclass
class Options:
    bins: int = 4
    password: str = "canary"


@pytest.mark.parametrize(
    "parameters",
    [
        {"bins": 4, "password": "canary"},
        argparse.Namespace(bins=4, password="canary"),
        Options(),
    ],
)
def test_parameters_of_the_block_come_in_every_usual_form(raw: Path, parameters: object) -> None:
    with DerivedAsset("tuning", inputs=raw, parameters=parameters, **PEOPLE):
        pass
    recorded = processes(RESULTS)["tuning"]["code"]["parameters"]
    assert recorded == {"bins": 4, "password": "[redacted]"}


# Decorating main


def test_a_decorated_main_records_its_arguments_and_returns_its_result(raw: Path) -> None:
    @DerivedAsset("tuning", inputs=raw, **PEOPLE)
    def main(threshold: float, *, bins: int = 8) -> str:
        """Do it."""
        return "done"

    assert main(2.5) == "done"
    assert main.__doc__ == "Do it."
    assert processes(RESULTS)["tuning"]["code"]["parameters"] == {"threshold": 2.5, "bins": 8}


def test_functions_of_the_bound_arguments_give_inputs_folder_and_parameters(
    raw: Path, data_root: Path
) -> None:
    @DerivedAsset(
        "tuning",
        inputs=lambda arguments: arguments["folder"],
        output_dir=lambda arguments: Path("out") / arguments["label"],
        parameters=lambda arguments: {"label": arguments["label"]},
        **PEOPLE,
    )
    def main(folder: Path, label: str) -> None: ...

    main(raw, "a")
    main(raw, label="b")
    for label in ("a", "b"):
        recorded = processes(Path("out") / label)["tuning"]["code"]["parameters"]
        assert recorded == {"label": label}


def test_a_main_that_calls_itself_is_one_asset(raw: Path) -> None:
    @DerivedAsset("tuning", inputs=raw, **PEOPLE)
    def main(depth: int) -> int:
        return depth if depth == 0 else main(depth - 1)

    assert main(3) == 0
    assert list(processes(RESULTS)) == ["convert", "sort", "tuning"]


# Notebooks, nesting, loops


def test_start_and_finish_serve_where_a_block_cannot(raw: Path) -> None:
    asset = DerivedAsset("tuning", inputs=raw, **PEOPLE).start()
    double(4)
    assert [record.name for record in asset.records] == ["double"]
    asset.finish()
    assert "double" in processes(RESULTS)
    with pytest.raises(UsageError, match="not open"):
        asset.finish()


def test_nested_assets_record_each_its_own(raw: Path) -> None:
    with DerivedAsset("outer", inputs=raw, output_dir="outer", **PEOPLE):
        double(1)
        with DerivedAsset("inner", inputs=raw, output_dir="inner", **PEOPLE):
            with track_process("inside"):
                pass
        double(2)
    assert list(processes(Path("outer"))) == ["convert", "sort", "double", "double_1"]
    assert list(processes(Path("inner"))) == ["convert", "sort", "inside"]


def test_two_open_assets_on_one_folder_are_refused(raw: Path) -> None:
    with DerivedAsset("one", inputs=raw, **PEOPLE):
        with pytest.raises(UsageError, match="already open on the output folder"):
            DerivedAsset("two", inputs=raw, output_dir="results/../results", **PEOPLE).start()
    assert (RESULTS / "processing.json").exists()


def test_many_small_assets_in_a_loop_have_names_of_their_own(raw: Path) -> None:
    names = []
    for index in range(20):
        with DerivedAsset("small", inputs=raw, output_dir=f"out/{index}", **PEOPLE) as asset:
            pass
        names.append(asset.name)
        described = read_json(Path(f"out/{index}/data_description.json"))
        assert described["name"] == asset.name
    assert len(set(names)) == 20


def test_one_asset_object_can_be_opened_again(raw: Path) -> None:
    asset = DerivedAsset("tuning", inputs=raw, **PEOPLE)
    with asset:
        double(1)
    first = asset.name
    with asset:
        double(2)
    assert asset.name != first
    assert processes(RESULTS)["double"]["code"]["parameters"] == {"x": 2, "y": 2}


# Earlier files


def test_our_own_earlier_set_is_replaced_and_what_it_had_more_goes_with_it(
    raw: Path, data_root: Path
) -> None:
    with DerivedAsset("tuning", inputs=raw, **PEOPLE):
        pass
    (RESULTS / "figure.png").write_text("a result")
    with DerivedAsset("tuning", inputs=(), base_name="b", **FACTS, **PEOPLE) as asset:
        pass
    assert read_json(RESULTS / "data_description.json")["name"] == asset.name
    assert not (RESULTS / "subject.json").exists()
    assert (RESULTS / "figure.png").read_text() == "a result"


@pytest.mark.parametrize("how", ["by hand", "for another process", "edited since"])
def test_metadata_that_are_not_ours_are_never_replaced_unasked(raw: Path, how: str) -> None:
    if how == "by hand":
        RESULTS.mkdir()
        (RESULTS / "subject.json").write_text("{}")
    else:
        name = "tuning" if how == "edited since" else "other"
        with DerivedAsset(name, inputs=raw, **PEOPLE):
            pass
    if how == "edited since":
        (RESULTS / "subject.json").write_text('{"mended": true}')
    before = {path: path.read_bytes() for path in RESULTS.glob("*.json")}
    with pytest.raises(PreflightError, match="already holds .*subject.json"):
        DerivedAsset("tuning", inputs=raw, **PEOPLE).start()
    assert {path: path.read_bytes() for path in RESULTS.glob("*.json")} == before
    with DerivedAsset("tuning", inputs=raw, overwrite=True, **PEOPLE):
        pass
    assert (RESULTS / "subject.json").read_bytes() == (raw / "subject.json").read_bytes()


# Failures


@pytest.mark.parametrize("error", [ValueError("no spikes"), KeyboardInterrupt(), SystemExit(3)])
def test_a_run_that_raises_leaves_its_record_and_no_metadata(
    raw: Path, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(type(error)) as caught, DerivedAsset("tuning", inputs=raw, **PEOPLE):
        double(1)
        raise error
    assert caught.value is error
    assert not list(RESULTS.glob("*.json"))
    (journal,) = RESULTS.glob(".asset-provenance/*/*.jsonl")
    assert '"name":"double"' in journal.read_text()
    assert str(journal.parent.absolute()) in caplog.text


def test_a_failed_run_can_be_written_with_the_failure_in_its_notes(raw: Path) -> None:
    with pytest.raises(ValueError, match="no spikes"):
        with DerivedAsset("tuning", inputs=raw, on_failure="write", **PEOPLE):
            double(1)
            raise ValueError("no spikes, password=canary")
    notes = read_json(RESULTS / "processing.json")["notes"]
    assert "The run failed: ValueError: no spikes" in notes
    assert "canary" not in notes


def test_leaving_by_exit_status_zero_is_no_failure(raw: Path) -> None:
    with pytest.raises(SystemExit), DerivedAsset("tuning", inputs=raw, **PEOPLE):
        sys.exit(0)
    assert "sys.exit with status 0" in processes(RESULTS)["tuning"]["notes"]


def test_the_run_after_a_failed_one_is_not_disturbed_and_keeps_its_record(raw: Path) -> None:
    with pytest.raises(ValueError, match="first"), DerivedAsset("tuning", inputs=raw, **PEOPLE):
        raise ValueError("first")
    with DerivedAsset("tuning", inputs=raw, **PEOPLE):
        pass
    assert (RESULTS / "processing.json").exists()
    assert len(list(RESULTS.glob(".asset-provenance/*/*.jsonl"))) == 1


def test_metadata_that_cannot_be_written_never_end_the_program(
    raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with DerivedAsset("tuning", inputs=raw, **PEOPLE):
        double(1)
        (RESULTS / "subject.json").mkdir()
    assert "could not be written" in caplog.text
    assert [record.levelname for record in caplog.records][-2:] == ["ERROR", "WARNING"]
    assert not list(RESULTS.glob("*.json")) or list(RESULTS.glob("*.json")) == [
        RESULTS / "subject.json"
    ]
    assert list(RESULTS.glob(".asset-provenance/*/*.jsonl"))


def test_strict_raises_when_the_metadata_cannot_be_written(raw: Path) -> None:
    with pytest.raises(StorageError, match=r"subject\.json"):
        with DerivedAsset("tuning", inputs=raw, strict=True, **PEOPLE):
            (RESULTS / "subject.json").mkdir()


def test_strict_never_hides_the_program_s_own_exception(raw: Path) -> None:
    with pytest.raises(ValueError, match="mine"):
        with DerivedAsset("tuning", inputs=raw, strict=True, on_failure="write", **PEOPLE):
            (RESULTS / "subject.json").mkdir()
            raise ValueError("mine")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_leaves_the_writing_to_its_parent_and_its_calls_are_kept(raw: Path) -> None:
    with DerivedAsset("tuning", inputs=raw, **PEOPLE):
        double(1)
        child = os.fork()
        if child == 0:
            double(2)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert not list(RESULTS.glob("*.json"))
    calls = processes(RESULTS)
    assert calls["double_1"]["code"]["parameters"]["x"] == 2


# Bad input, told at once


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"process_type": "Spike sortin"}, "did you mean 'Spike sorting'"),
        ({"inherit": "some"}, "inherit must be one of"),
        ({"on_failure": "ignore"}, "on_failure must be one of"),
    ],
)
def test_a_mistake_in_the_call_is_told_at_once(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DerivedAsset("tuning", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["unit_tuning", "unit tuning", "", "-x", "a/b", None])
def test_a_process_name_may_hold_letters_digits_and_hyphens_only(name: object) -> None:
    with pytest.raises(UsageError, match="letters, digits and hyphens only"):
        DerivedAsset(name)  # type: ignore[arg-type]


def test_every_missing_or_malformed_fact_is_told_in_one_error(data_root: Path) -> None:
    with pytest.raises(PreflightError) as caught:
        DerivedAsset(
            "tuning",
            inputs=("/nowhere/at-all", "unknown-asset"),
            license="CC0",
            funding_source="NIHM:1",
            pipeline_name="sorting",
        ).start()
    text = str(caught.value)
    for said in (
        "input /nowhere/at-all does not exist",
        "license (from the call)",
        "NIMH",
        "'sorting' is not among the pipelines",
        "project_name is missing",
        "investigators is missing",
        "modalities is missing",
        "experimenters is missing",
        "Mend first what could not be found or read",
        "ASSET_PROVENANCE_EXPERIMENTERS=",
        "[tool.asset-provenance]",
    ):
        assert said in text
    # What is found may give the name.
    assert "base_name" not in text
    assert not RESULTS.exists()


def test_several_people_in_one_name_are_told(raw: Path, caplog: pytest.LogCaptureFixture) -> None:
    with DerivedAsset("tuning", inputs=raw, experimenters="Ada Lovelace, Charles Babbage"):
        double(1)
    assert 'give ["Ada Lovelace", "Charles Babbage"]' in caplog.text
    caplog.clear()
    with DerivedAsset("tuning", inputs=raw, experimenters=["Lovelace, Ada", "Martin King, Jr."]):
        double(1)
    assert "name of one person" not in caplog.text


def test_people_and_money_of_another_project_are_asked_for_and_it_is_said_why(raw: Path) -> None:
    with pytest.raises(PreflightError) as caught:
        DerivedAsset("tuning", inputs=raw, project_name="Other", **PEOPLE).start()
    told = "investigators is missing (the input's is that of another project, 'Synthetic project')"
    assert any(problem.startswith(told) for problem in caught.value.problems)


def test_results_never_go_into_an_input(raw: Path) -> None:
    with pytest.raises(PreflightError, match=f"lies inside input {RAW}"):
        DerivedAsset("tuning", inputs=raw, output_dir=raw / "derived", **PEOPLE).start()


def test_an_input_that_no_process_used_is_told(raw: Path, caplog: pytest.LogCaptureFixture) -> None:
    with DerivedAsset("tuning", inputs=raw, **PEOPLE):
        double(1)
    assert f"input {RAW} was declared, but nothing was seen to read it" in caplog.text


def test_a_base_name_is_refused_where_the_raw_root_gives_the_name(raw: Path) -> None:
    with pytest.raises(PreflightError, match=f"all inputs go back to {RAW}"):
        DerivedAsset("tuning", inputs=raw, base_name="mine", **PEOPLE).start()


def test_malformed_json_in_an_input_is_told_with_its_place(raw: Path) -> None:
    (raw / "subject.json").write_text('{\n "subject_id": 1,,\n}')
    with pytest.raises(PreflightError, match=r"subject\.json is not valid JSON: line 2"):
        DerivedAsset("tuning", inputs=raw, **PEOPLE).start()


def test_an_output_folder_that_cannot_be_made_is_told_at_once(raw: Path) -> None:
    Path("results").write_text("a file")
    with pytest.raises(StorageError, match=r"results cannot be written to.*output_dir="):
        DerivedAsset("tuning", inputs=raw, **PEOPLE).start()


def test_the_log_says_what_was_inherited_from_where(
    raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="asset_provenance"):
        with DerivedAsset("tuning", inputs=raw, **PEOPLE):
            pass
    (line,) = [record.message for record in caplog.records if "inherited:" in record.message]
    assert "project_name" in line
    assert "subject.json" in line
    assert f"from input {RAW}" in line


# Reference inputs and inputs that share a name


ATLAS = "ecephys_900102_2026-03-04_18-30-05"
AS_REFERENCE = {
    "name": ATLAS,
    "object": DataAsset(name=ATLAS),
    "URL": DataAsset(url=f"s3://bucket/{ATLAS}/x.csv"),
    "group": CombinedData(name="all", assets=[DataAsset(name=ATLAS)]),
    "group of URLs": CombinedData(name="all", assets=[DataAsset(url=f"s3://bucket/{ATLAS}")]),
}


@pytest.mark.parametrize("is_declared", [True, False])
@pytest.mark.parametrize("reference", AS_REFERENCE.values(), ids=AS_REFERENCE)
def test_a_reference_input_is_no_input_however_it_was_given(
    raw: Path,
    data_root: Path,
    reference: object,
    is_declared: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    atlas = make_asset(data_root, ATLAS, subject_id="900102")
    with DerivedAsset(
        "tuning",
        inputs=raw if is_declared else None,
        reference_inputs=reference,
        strict=True,
        **PEOPLE,
    ):
        with track_process("read", inputs=[raw, atlas]):
            pass
    assert read_json(RESULTS / "data_description.json")["source_data"] == [RAW]
    assert "neither among the inputs nor the reference inputs" not in caplog.text


def test_an_input_among_the_members_of_a_reference_is_told(raw: Path) -> None:
    group = CombinedData(name="all", assets=[DataAsset(name=RAW), DataAsset(name=ATLAS)])
    with pytest.raises(PreflightError, match="both as an input and as a reference input"):
        DerivedAsset("tuning", inputs=raw, reference_inputs=group, **PEOPLE).start()


def test_two_folders_that_claim_one_name_are_told_where_they_differ(
    raw: Path, data_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(raw, data_root / "copy")
    other = make_asset(data_root, mount="other", subject_id="777")
    with DerivedAsset("tuning", inputs=[raw, data_root / "copy", other], **PEOPLE):
        pass
    (line,) = [each.message for each in caplog.records if "their metadata differ" in each.message]
    assert f"{raw} and {other} both say that they are {RAW}" in line
    assert read_json(RESULTS / "data_description.json")["subject_id"] == "900101"
