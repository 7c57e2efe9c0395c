"""Wherever a text is taken, the schema's own object is, and says the same."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from aind_data_schema.components.identifiers import (
    Code,
    CombinedData,
    Container,
    DataAsset,
    Person,
    Software,
)
from aind_data_schema.core.data_description import Funding
from aind_data_schema.core.processing import ProcessStage
from aind_data_schema_models.data_name_patterns import DataLevel, Group
from aind_data_schema_models.licenses import License
from aind_data_schema_models.modalities import Modality
from aind_data_schema_models.organizations import Organization
from aind_data_schema_models.process_names import ProcessName
from pydantic import BaseModel

from asset_provenance import DerivedAsset, UsageError, current_process, track_process
from helpers.assets import FACTS, PEOPLE, RAW, make_asset, processes, read_json

URL = "https://github.com/your-lab/your-analysis"
ATLAS = "atlas_2026-01-01_00-00-00"
CANARY = "cop_0123456789abcdefghijklmn"
TIME = datetime(2026, 3, 5, 8, 30, tzinfo=UTC)
PIPELINE = Code(name="sorting", url=URL, version="v3")


class Settings(BaseModel):
    """Parameters as a capsule may hold them."""

    size: int = 7


def written(tmp_path: Path, label: str, **options: Any) -> tuple[Any, Any]:
    """Write an asset of one process; give what both files of ours say, but for its times."""
    folder = tmp_path / label
    given = {"inputs": (), "base_name": "all", **FACTS, **PEOPLE, "creation_time": TIME, **options}
    with DerivedAsset("look", output_dir=folder, **given):
        pass
    return contents(folder)


def contents(folder: Path) -> tuple[Any, Any]:
    processing = read_json(folder / "processing.json")
    for process in processing["data_processes"]:
        del process["start_date_time"], process["end_date_time"]
    return read_json(folder / "data_description.json"), processing


# Of a whole asset

FACTS_IN_BOTH_FORMS: list[tuple[str, Any, Any]] = [
    ("investigators", "Ada Lovelace", Person(name="Ada Lovelace")),
    ("investigators", ["Ada Lovelace", "Mary Lee"], [Person(name="Ada Lovelace"), "Mary Lee"]),
    ("funding_source", "AI", Funding(funder=Organization.AI)),
    (
        "funding_source",
        ["NIMH:RF1MH123", "AI"],
        [Funding(funder=Organization.NIMH, grant_number="RF1MH123"), Organization.AI],
    ),
    (
        "funding_source",
        {"funder": "NIMH", "fundee": ["Ada Lovelace"]},
        Funding(funder=Organization.NIMH, fundee=[Person(name="Ada Lovelace")]),
    ),
    ("modalities", "ecephys", Modality.ECEPHYS),
    ("modalities", ["MRI", "SPIM"], [Modality.MRI, Modality.SPIM]),
    ("institution", "UPENN", Organization.UPENN),
    ("license", "CC-BY-4.0", License.CC_BY_40),
    ("license", "MIT", License.MIT),
    ("group", "ephys", Group.EPHYS),
    ("data_level", "simulated", DataLevel.SIMULATED),
    ("data_level", "derived", DataLevel.DERIVED),
    ("creation_time", TIME.isoformat(), TIME),
    ("experimenters", ["Ada Lovelace"], [Person(name="Ada Lovelace")]),
    ("experimenters", "Ada Lovelace", Person(name="Ada Lovelace")),
    ("pipelines", {"name": "sorting", "url": URL, "version": "v3"}, PIPELINE),
    ("pipelines", f"{URL}@v3", Code(name="your-analysis", url=URL, version="v3")),
    ("core_dependency", "wrapt", Software(name="wrapt", version=version("wrapt"))),
    ("process_type", "Spike sorting", ProcessName.SPIKE_SORTING),
    ("parameters", {"size": 7}, Settings()),
    ("parameters", {"size": 7}, argparse.Namespace(size=7)),
    ("inputs", ATLAS, DataAsset(name=ATLAS)),
    ("inputs", f"s3://aind-open-data/{ATLAS}", DataAsset(url=f"s3://aind-open-data/{ATLAS}")),
    ("inputs", [ATLAS, RAW], [DataAsset(name=ATLAS), DataAsset(name=RAW)]),
    ("reference_inputs", ATLAS, DataAsset(name=ATLAS)),
    ("reference_inputs", [ATLAS], [DataAsset(name=ATLAS)]),
]


@pytest.mark.parametrize(
    ("fact", "text", "given"), FACTS_IN_BOTH_FORMS, ids=lambda value: str(value)[:40]
)
def test_a_fact_says_the_same_in_both_forms(
    tmp_path: Path, fact: str, text: Any, given: Any
) -> None:
    as_text = written(tmp_path, "text", **{fact: text})
    assert written(tmp_path, "object", **{fact: given}) == as_text
    # It did change something, or was the default.
    assert as_text != written(tmp_path, "without") or fact in {
        "creation_time", "data_level", "funding_source", "license", "modalities",
    }  # fmt: skip


def test_every_fact_that_the_schema_has_an_object_for_is_among_these() -> None:
    import inspect

    from asset_provenance.settings import FACTS as ALL_FACTS

    plain = {"project_name", "tags", "restrictions", "data_summary", "pipeline_name"}
    tested = {fact for fact, _, _ in FACTS_IN_BOTH_FORMS}
    assert set(ALL_FACTS) - plain <= tested
    options = set(inspect.signature(DerivedAsset).parameters) - set(ALL_FACTS)
    assert options - tested == {
        "process_name", "base_name", "output_dir", "inherit", "on_failure", "overwrite", "strict",
        "fragment",
    }  # fmt: skip


def test_a_run_names_its_pipeline_by_name_or_by_the_object_itself(tmp_path: Path) -> None:
    by_name = written(tmp_path, "name", pipelines=PIPELINE, pipeline_name="sorting")
    by_object = written(tmp_path, "object", pipelines=[PIPELINE], pipeline_name=PIPELINE)
    assert by_object == by_name
    assert by_name[1]["data_processes"][0]["pipeline_name"] == "sorting"


def test_a_pipeline_keeps_the_parameters_and_input_data_of_its_object(tmp_path: Path) -> None:
    whole = Code(
        name="sorting",
        url=f"https://user:{CANARY}@github.com/your-lab/your-analysis.git",
        version="v3",
        parameters={"size": 7, "api_token": CANARY},
        input_data=[DataAsset(name=RAW)],
    )
    _, processing = written(tmp_path, "whole", pipelines=whole)
    (pipeline,) = processing["pipelines"]
    assert pipeline["url"] == URL
    assert pipeline["parameters"] == {"size": 7, "api_token": "[redacted]"}
    assert pipeline["input_data"][0]["name"] == RAW


# Of one process

OPTIONS_IN_BOTH_FORMS: list[tuple[str, Any, Any]] = [
    ("process_type", "Spike sorting", ProcessName.SPIKE_SORTING),
    ("stage", "Processing", ProcessStage.PROCESSING),
    ("code", f"{URL}@v2", Code(url=URL, version="v2")),
    ("code", f"{URL}@{'ab' * 20}", Code(url=URL, commit_hash="ab" * 20)),
    (
        "code",
        {
            "url": URL,
            "name": "analysis",
            "version": "v2",
            "run_script": "code/run.py",
            "language": "MATLAB",
            "language_version": "R2024b",
            "container": {"container_type": "Docker", "tag": "1", "uri": "ghcr.io/x"},
            "core_dependency": {"name": "Bonsai", "version": "2.8"},
            "parameters": {"size": 7, "deep": {"er": [1, 2]}},
            "input_data": [{"name": RAW}, {"assets": [{"name": ATLAS}], "name": "both"}],
        },
        Code(
            url=URL,
            name="analysis",
            version="v2",
            run_script=Path("code/run.py"),
            language="MATLAB",
            language_version="R2024b",
            container=Container(container_type="Docker", tag="1", uri="ghcr.io/x"),
            core_dependency=Software(name="Bonsai", version="2.8"),
            parameters={"size": 7, "deep": {"er": [1, 2]}},
            input_data=[
                DataAsset(name=RAW),
                CombinedData(name="both", assets=[DataAsset(name=ATLAS)]),
            ],
        ),
    ),
    ("inputs", ATLAS, DataAsset(name=ATLAS)),
    ("inputs", [ATLAS, RAW], [DataAsset(name=ATLAS), DataAsset(name=RAW)]),
    ("inputs", lambda _: ATLAS, lambda _: DataAsset(name=ATLAS)),
    ("parameters", {"size": 7}, Settings()),
]


def recorded(tmp_path: Path, label: str, **options: Any) -> Any:
    """Record a block and a call with these options; give their processes, but for their times."""
    is_for_calls = any(callable(value) for value in options.values())

    def body() -> None:
        """Do nothing."""

    folder = tmp_path / label
    with DerivedAsset("look", inputs=(), base_name="all", output_dir=folder, **FACTS, **PEOPLE):
        track_process("call", **options)(body)()
        if not is_for_calls:
            with track_process("block", **options):
                pass
    return contents(folder)[1]


@pytest.mark.parametrize(
    ("option", "text", "given"),
    OPTIONS_IN_BOTH_FORMS,
    # A function is told by its address, which is another in each worker of pytest.
    ids=lambda value: None if callable(value) else str(value)[:40],
)
def test_an_option_of_a_process_says_the_same_in_both_forms(
    tmp_path: Path, option: str, text: Any, given: Any
) -> None:
    if isinstance(given, Settings):  # of a call, parameters are a mapping or a function
        text, given = (lambda _: {"size": 7}), (lambda _: Settings())
    as_text = recorded(tmp_path, "text", **{option: text})
    assert recorded(tmp_path, "object", **{option: given}) == as_text
    assert as_text != recorded(tmp_path, "without")


def test_inputs_added_while_it_runs_are_texts_or_objects(tmp_path: Path) -> None:
    def added(label: str, *refs: object) -> Any:
        folder = tmp_path / label
        with DerivedAsset("look", inputs=(), base_name="b", output_dir=folder, **FACTS, **PEOPLE):
            with track_process("block") as process:
                process.add_inputs(*refs)
        return contents(folder)[1]

    group = CombinedData(assets=[DataAsset(name=ATLAS), DataAsset(name=RAW)], name="both")
    assert added("text", ATLAS) == added("object", DataAsset(name=ATLAS))
    (process,) = added("group", group)["data_processes"]
    assert [asset["name"] for asset in process["code"]["input_data"][0]["assets"]] == [ATLAS, RAW]


# What a Code of the schema holds besides the code


def code_details(**changes: Any) -> Code:
    """Give a ``Code`` as scripts have it that write their metadata themselves."""
    fields: dict[str, Any] = {
        "url": URL,
        "version": "v2",
        "parameters": {"size": 7, "api_token": CANARY},
        "input_data": [DataAsset(name=ATLAS), DataAsset(name=RAW)],
    }
    return Code(**{**fields, **changes})


def code_of(body: Callable[[], object], **options: Any) -> Any:
    with DerivedAsset("look", inputs=(), base_name="b", **FACTS, **PEOPLE) as asset:
        body()
    (process,) = processes(asset.output_dir).values()
    return process["code"]


def test_nothing_that_a_code_object_holds_gets_lost(data_root: Path) -> None:
    make_asset(data_root, ATLAS)

    @track_process(code=code_details(), inputs="more")
    def fit(folder: Path, *, bins: int = 12) -> None: ...

    code = code_of(lambda: fit(data_root / ATLAS))
    assert code["parameters"] == {
        "size": 7, "api_token": "[redacted]", "folder": ATLAS, "bins": 12,
    }  # fmt: skip
    assert [asset["name"] for asset in code["input_data"]] == ["more", ATLAS, RAW]
    assert CANARY.encode() not in b"".join(
        path.read_bytes() for path in Path("results").rglob("*") if path.is_file()
    )


def test_the_value_that_a_call_had_wins_over_the_one_that_its_code_names() -> None:
    @track_process(code=code_details(parameters={"bins": 99, "size": 7}))
    def fit(bins: int = 12) -> None: ...

    assert code_of(fit)["parameters"] == {"bins": 12, "size": 7}


def test_a_code_object_s_parameters_are_kept_where_those_of_the_call_are_not() -> None:
    @track_process(code=code_details(parameters={"size": 7}), parameters=False)
    def fit(bins: int = 12) -> None: ...

    assert code_of(fit)["parameters"] == {"size": 7}


def test_a_code_object_s_parameters_are_kept_for_a_block_and_added_to() -> None:
    def body() -> None:
        with track_process("block", code=code_details(parameters={"size": 7, "bins": 1})):
            current_process().add_parameters(bins=2)

    assert code_of(body)["parameters"] == {"size": 7, "bins": 2}


def test_a_code_object_s_parameters_stay_in_the_summary_of_many_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ASSET_PROVENANCE_MAX_REPEATS", "1")

    @track_process(code=code_details(parameters={"size": 7}))
    def fit(bins: int) -> None: ...

    with DerivedAsset("look", inputs=(), base_name="b", **FACTS, **PEOPLE) as asset:
        for bins in range(5):
            fit(bins)
    code = processes(asset.output_dir)["fit_1"]["code"]
    assert code["parameters"] == {"size": 7}
    assert [asset["name"] for asset in code["input_data"]] == [ATLAS, RAW]


def test_excluded_and_redacted_names_hold_for_a_code_object_too() -> None:
    def body() -> None:
        details = code_details(parameters={"size": 7, "who": "Ada", "room": 5})
        with track_process("block", code=details, exclude="room", redact="who"):
            pass

    assert code_of(body)["parameters"] == {"size": 7, "who": "[redacted]"}


def test_an_item_of_input_data_that_names_nothing_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="input_data without"):
        track_process(code={"url": URL, "input_data": [{"nmae": ATLAS}]})
