"""The example scripts, run as a user runs them, and everything that they write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from asset_provenance.corefiles import CORE_FILES, INHERITED_FILES
from asset_provenance.metadata.folder_checks import check_folder
from helpers.schema import one_record, read_core_file, validate_set

PROJECT = Path(__file__).parents[2]
CANARY = "canary-tok3n-9x"
REMOTE, CODE_URL = (
    f"https://{CANARY}:x@example.com/lab/analysis.git",
    "https://example.com/lab/analysis",
)
SESSION = "ecephys_900101_2026-03-02_18-30-05"
OTHER_SESSIONS = ("ecephys_900101_2026-03-03_18-30-05", "ecephys_900101_2026-03-04_18-30-05")
OTHER_MOUSE = "ecephys_900102_2026-03-02_18-30-05"
OF_THE_SESSION = {"File format conversion": [], "Spike sorting": ["File format conversion"]}
TUNING = {
    **OF_THE_SESSION,
    "count_spikes": ["Spike sorting"],
    "tuning_curves": ["count_spikes"],
    "preferred_orientations": ["tuning_curves"],
}


@dataclass(frozen=True)
class Expected:
    """What an example's metadata must say; the start of its name, without the time."""

    name: str
    graph: dict[str, list[str]]
    outputs: tuple[str, ...]
    source_data: tuple[str, ...] = (SESSION,)
    subject_id: str | None = "900101"
    inherited: tuple[str, ...] = INHERITED_FILES


EXAMPLES = {
    "tuning": Expected(
        name=f"{SESSION}_unit-tuning",
        graph=TUNING,
        outputs=("responses.csv", "tuning_curves.csv", "preferred_orientations.json"),
    ),
    "capsule_main": Expected(
        name=f"{SESSION}_running-bouts",
        graph={**OF_THE_SESSION, "running-bouts": ["Spike sorting"]},
        outputs=("bouts.csv",),
    ),
    "multi_step": Expected(
        name=f"{SESSION}_tuning-width",
        graph={
            **OF_THE_SESSION,
            "count_spikes": ["Spike sorting"],
            "tuning_width": ["align_to_preferred", "fit_width_1"],
            "align_to_preferred": ["count_spikes"],
            "fit_width": ["align_to_preferred"],
            "fit_width_1": ["align_to_preferred"],
        },
        outputs=("spike_counts.csv", "tuning_width.csv"),
    ),
    "aggregate_sessions": Expected(
        name="900101-march_rate-stability",
        graph={
            "firing_rates": [],
            "firing_rates_1": [],
            "firing_rates_2": [],
            "stability": ["firing_rates", "firing_rates_1", "firing_rates_2"],
        },
        outputs=("rates", "stability.csv"),
        source_data=(SESSION, *OTHER_SESSIONS),
        inherited=("subject", "procedures"),
    ),
    "parallel": Expected(
        name="900101-march_spiking-irregularity",
        graph={
            "spiking_irregularity": [],
            "spiking_irregularity_1": [],
            "spiking_irregularity_2": [],
            "compare": [
                "spiking_irregularity",
                "spiking_irregularity_1",
                "spiking_irregularity_2",
            ],
        },
        outputs=("irregularity.csv",),
        source_data=(SESSION, *OTHER_SESSIONS),
        inherited=("subject", "procedures"),
    ),
    "aggregate_subjects": Expected(
        name="running-cohort_running-summary",
        graph={"summarise_running": [], "summarise_running_1": []},
        outputs=("running.csv",),
        source_data=(SESSION, OTHER_MOUSE),
        subject_id=None,
        inherited=(),
    ),
    "second_analysis": Expected(
        name=f"{SESSION}_response-range",
        graph={**TUNING, "response-range": ["preferred_orientations"]},
        outputs=("response_range.csv",),
        source_data=("the result of tuning.py",),
    ),
}


class Laboratory:
    """A git repository that holds the examples, folders for data and results, and a clean home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "analysis"
        self.data = folder / "data"
        self.told: list[str] = []
        self._done: dict[str, Path] = {}
        shutil.copytree(
            PROJECT / "examples",
            self.repository / "examples",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        (folder / "home").mkdir()
        (self.repository / ".gitignore").write_text("__pycache__/\n/demo/\n")
        self._git("init", "--quiet", "--initial-branch=main")
        self._git("add", ".")
        self._git("commit", "--quiet", "--message=Add the analysis")
        self._git("remote", "add", "origin", REMOTE)
        self._git("update-ref", "refs/remotes/origin/main", "HEAD")
        self.commit = self._git("rev-parse", "HEAD").strip()

    def run(self, script: str, *arguments: object, cwd: Path | None = None, **env: str) -> str:
        """Run a script, which must succeed; give what it prints."""
        done = subprocess.run(
            [sys.executable, self.repository / "examples" / script, *map(str, arguments)],
            cwd=cwd or self.folder,
            env=self._environment(**env),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        self.told += [done.stdout, done.stderr]
        assert done.returncode == 0, done.stderr
        return done.stdout

    def result(self, example: str) -> Path:
        """Give the folder that an example wrote, run now if it was not run yet."""
        if example not in self._done:
            folder = self.folder / "results" / example
            self.run(
                f"{example}.py",
                "--output-dir",
                folder,
                ASSET_PROVENANCE_DATA_ROOT=str(self.data),
                ASSET_PROVENANCE_OFFLINE="true",
            )
            self._done[example] = folder
        return self._done[example]

    def _environment(self, **more: str) -> dict[str, str]:
        home = str(self.folder / "home")
        own = ("ASSET_PROVENANCE_", "GIT_", "CO_", "PYTHONWARNINGS")
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith(own)},
            "HOME": home,
            "XDG_CONFIG_HOME": home,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            # This package, which they import, may have uncommitted changes while it is written.
            "ASSET_PROVENANCE_SAVE_PATCH": "false",
            "GIT_ACCESS_TOKEN": CANARY,
            "CODEOCEAN_TOKEN": f"cop_{CANARY}",
            **more,
        }

    def _git(self, *arguments: str) -> str:
        someone = {
            f"GIT_{role}_{fact}": value
            for role in ("AUTHOR", "COMMITTER")
            for fact, value in (("NAME", "Example Researcher"), ("EMAIL", "example@example.com"))
        }
        return subprocess.run(
            ["git", *arguments],
            cwd=self.repository,
            env=self._environment(**someone),
            capture_output=True,
            text=True,
            check=True,
        ).stdout


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    return Laboratory(tmp_path_factory.mktemp("laboratory"))


def read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def own_processes(metadata: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Give the processes that the run itself added, by name."""
    return {
        process["name"]: process
        for process in metadata["processing"]["data_processes"]
        if process["name"] not in OF_THE_SESSION
    }


def first_input(laboratory: Laboratory, example: str) -> Path:
    return laboratory.data / ("unit-tuning" if example == "second_analysis" else SESSION)


def expected_sources(laboratory: Laboratory, example: str) -> list[str]:
    if example == "second_analysis":
        return [read(first_input(laboratory, example) / "data_description.json")["name"]]
    return list(EXAMPLES[example].source_data)


each_example = pytest.mark.parametrize("example", EXAMPLES)


@each_example
def test_an_example_writes_a_valid_set_that_says_where_the_result_came_from(laboratory, example):
    expected = EXAMPLES[example]
    folder = laboratory.result(example)
    metadata = validate_set(folder)
    description = metadata["data_description"]
    created = datetime.fromisoformat(description["creation_time"])
    assert description["name"] == f"{expected.name}_{created:%Y-%m-%d_%H-%M-%S}"
    assert description["data_level"] == "derived"
    assert description["source_data"] == expected_sources(laboratory, example)
    assert description["subject_id"] == expected.subject_id
    assert description["project_name"] == "Synthetic orientation tuning"
    assert [modality["abbreviation"] for modality in description["modalities"]] == [
        "ecephys",
        "behavior",
    ]


@each_example
def test_an_example_has_exactly_the_dependencies_that_its_steps_have(laboratory, example):
    processing = read(laboratory.result(example) / "processing.json")
    found = processing["dependency_graph"]
    # Workers beside each other come in no order.
    assert {name: sorted(after) for name, after in found.items()} == {
        name: sorted(after) for name, after in EXAMPLES[example].graph.items()
    }
    assert [process["name"] for process in processing["data_processes"]] == list(
        EXAMPLES[example].graph
    )


@each_example
def test_an_example_inherits_byte_for_byte_what_its_inputs_share_and_nothing_else(
    laboratory, example
):
    folder, inherited = laboratory.result(example), EXAMPLES[example].inherited
    for core_file in inherited:
        original = first_input(laboratory, example) / f"{core_file}.json"
        assert (folder / original.name).read_bytes() == original.read_bytes()
    written = {"data_description", "processing", *inherited}
    assert {name for name in CORE_FILES if (folder / f"{name}.json").exists()} == written


@each_example
def test_an_example_leaves_its_results_the_metadata_and_no_trace_of_the_writing(
    laboratory, example
):
    folder = laboratory.result(example)
    core_files = {f"{name}.json" for name in CORE_FILES}
    left = {path.name for path in folder.iterdir()} - core_files
    assert left == {*EXAMPLES[example].outputs, "provenance"}
    beside = {path.name for path in (folder / "provenance").iterdir()}
    lists = {name for name in beside if name.startswith("packages-")}
    assert beside - lists == {"asset-provenance.json"}
    # Data from outside are described only.
    assert len(lists) == (0 if example == "external" else 1)


@each_example
def test_an_example_tells_which_commit_of_which_repository_ran(laboratory, example):
    for process in own_processes(validate_set(laboratory.result(example))).values():
        code = process["code"]
        assert (code["url"], code["commit_hash"]) == (CODE_URL, laboratory.commit)
        script = laboratory.repository / code["run_script"]
        assert process["name"].rpartition("_")[0] in script.read_text("utf-8")
        assert process["experimenters"] == ["Example Researcher"]
        assert process["notes"] is None or process["notes"].startswith("Failed: ")


def test_tuning_finds_the_orientations_that_the_units_were_made_to_prefer(laboratory):
    found = read(laboratory.result("tuning") / "preferred_orientations.json")
    assert len(found) == 12
    for unit, facts in found.items():
        off = (facts["preferred_deg"] - 180 * int(unit) / 12) % 180
        assert min(off, 180 - off) < 5


def test_tuning_records_what_each_step_was_given_and_gave(laboratory):
    processes = own_processes(validate_set(laboratory.result("tuning")))
    count, curves, preferred = processes.values()
    assert count["process_type"] == "Ephys postprocessing"
    assert count["stage"] == "Processing"
    assert count["code"]["parameters"]["delay_s"] == 0.05
    assert [asset["name"] for asset in count["code"]["input_data"]] == [SESSION]
    assert curves["code"]["input_data"] is None
    assert [step["output_path"] for step in (count, curves, preferred)] == list(
        EXAMPLES["tuning"].outputs
    )
    assert preferred["output_parameters"] == {"units": 12, "mean_selectivity": 0.506}


def test_a_capsule_main_is_one_process_with_the_arguments_of_main(laboratory):
    process = own_processes(validate_set(laboratory.result("capsule_main")))["running-bouts"]
    assert process["process_type"] == "Analysis"
    assert process["code"]["parameters"].keys() == {
        "session",
        "output_dir",
        "threshold_cm_s",
        "shortest_s",
    }
    assert process["code"]["parameters"]["threshold_cm_s"] == 2.0
    assert [asset["name"] for asset in process["code"]["input_data"]] == [SESSION]
    assert process["output_path"] == "bouts.csv"
    assert process["output_parameters"]["bouts"] > 10


def test_a_failed_attempt_stays_in_the_record_beside_the_one_that_worked(laboratory):
    processes = own_processes(validate_set(laboratory.result("multi_step")))
    failed, again = processes["fit_width"], processes["fit_width_1"]
    assert failed["notes"] == "Failed: RuntimeError: the fit did not converge in 5 steps"
    assert failed["code"]["parameters"] == {"most_steps": 5}
    assert again["notes"] is None
    assert again["output_parameters"]["k"] == pytest.approx(2.0, abs=0.2)
    parent = processes["tuning_width"]
    assert parent["start_date_time"] <= failed["start_date_time"]
    assert again["end_date_time"] <= parent["end_date_time"]


def test_workers_record_each_the_session_that_they_read(laboratory):
    *calls, comparison = own_processes(validate_set(laboratory.result("parallel"))).values()
    read_by = [[asset["name"] for asset in call["code"]["input_data"]] for call in calls]
    assert sorted(read_by) == [[name] for name in (SESSION, *OTHER_SESSIONS)]
    assert comparison["code"]["input_data"] is None
    assert comparison["output_path"] == "irregularity.csv"
    assert comparison["output_parameters"] == {"units": 12}


def test_the_block_of_a_second_analysis_is_recorded_with_its_options_as_parameters(laboratory):
    process = own_processes(validate_set(laboratory.result("second_analysis")))["response-range"]
    assert process["process_type"] == "Ephys postprocessing"
    assert process["code"]["parameters"]["least_range_hz"] == 5.0
    assert process["output_parameters"]["units"] == 12


def test_a_second_analysis_carries_the_processes_of_the_first_unchanged(laboratory):
    first = read(
        laboratory.result("second_analysis").parent.parent / "data/unit-tuning/processing.json"
    )
    second = read(laboratory.result("second_analysis") / "processing.json")
    assert second["data_processes"][:-1] == first["data_processes"]
    assert second["pipelines"] == first["pipelines"]


def test_the_schema_itself_can_derive_from_what_was_written(laboratory):
    folder = laboratory.result("second_analysis")
    models = {
        name: read_core_file(path)
        for name in CORE_FILES
        if (path := folder / f"{name}.json").exists()
    }
    record = one_record(models)
    derived = type(record).from_metadata(
        record, process_name="third", location="s3://example-bucket"
    )
    assert derived.data_description.source_data == [record.name]
    assert derived.data_description.name.startswith(f"{SESSION}_third_")
    assert derived.processing == record.processing


def test_without_any_option_an_example_makes_data_and_results_in_the_working_folder(
    laboratory, tmp_path
):
    told = laboratory.run("tuning.py", cwd=tmp_path)
    description = validate_set(tmp_path / "results")["data_description"]
    assert description["source_data"] == [SESSION]
    assert told.splitlines() == [description["name"], f"is in {tmp_path / 'results'}"]
    assert (tmp_path / "data" / SESSION / "subject.json").exists()


def test_data_from_outside_get_a_description_and_checksums_and_nothing_else(laboratory, tmp_path):
    told = laboratory.run("external_data.py", cwd=tmp_path)
    folder = tmp_path / "results"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "region_volumes.csv",
        "data_description.json",
        "provenance/asset-provenance.json",
        "provenance/checksums-sha256.txt",
    }
    assert check_folder(folder) == []
    name = read(folder / "data_description.json")["name"]
    assert told.splitlines() == [name, f"is in {folder}"]
    assert (
        (folder / "provenance/checksums-sha256.txt").read_text().endswith("  region_volumes.csv\n")
    )


def test_the_demo_starts_afresh_and_shows_what_was_recorded_in_80_columns(laboratory, tmp_path):
    demo = laboratory.repository / "demo"
    demo.mkdir()
    (demo / "stale.txt").touch()
    told = laboratory.run("demo.py", cwd=tmp_path, ASSET_PROVENANCE_OUTPUT_DIR="elsewhere")
    assert {path.name for path in demo.iterdir()} == {"data", "results"}
    assert list(tmp_path.rglob("elsewhere")) == []
    description = validate_set(demo / "results")["data_description"]
    for fact in (description["name"], *description["source_data"], CODE_URL, laboratory.commit):
        assert fact in told
    rows = [line.split("  ")[1] for line in told.splitlines() if line.startswith("  ")]
    assert {*TUNING, *(f"{name}.json" for name in INHERITED_FILES)} <= set(rows)
    assert [line for line in told.splitlines() if len(line) > 80 and str(demo) not in line] == []


LEAKY = """
import argparse
from example_data import example_session
from asset_provenance import DerivedAsset, track_process

@track_process
def fetch(endpoint, *, api_token, session):
    raise ConnectionError(f"refused by {endpoint} with Authorization: Bearer {api_token}")

parser = argparse.ArgumentParser()
parser.add_argument("--endpoint")
parser.add_argument("--api-token")
parser.add_argument("--output-dir")
args = parser.parse_args()
with DerivedAsset("leaky", inputs=example_session(), output_dir=args.output_dir,
                  experimenters="Example Researcher") as asset:
    for options in (args, vars(args)):
        with track_process("ask", parameters=options) as process:
            process.add_note(f"asked {args.endpoint}")
    try:
        fetch(args.endpoint, api_token=args.api_token, session=example_session())
    except ConnectionError:
        pass
    asset.add_parameters(api_token=args.api_token)
    asset.add_results(endpoint=args.endpoint)
"""


def test_no_secret_reaches_a_file_or_the_terminal(laboratory, tmp_path):
    # This one has secrets in its arguments, errors and notes, and in its uncommitted changes.
    careless = Laboratory(tmp_path / "careless")
    scripts, folder = careless.repository / "examples", careless.folder / "results"
    (scripts / "leaky.py").write_text(LEAKY)
    with (scripts / "example_data.py").open("a") as file:
        file.write(f'\nAPI_TOKEN = "{CANARY}"\n')
    careless.run(
        "leaky.py",
        f"--endpoint=https://someone:{CANARY}@example.com/data",
        f"--api-token={CANARY}",
        f"--output-dir={folder}",
        ASSET_PROVENANCE_DATA_ROOT=str(laboratory.data),
    )
    said = json.dumps(validate_set(folder)["processing"])
    for place in ("api_token", "endpoint", "asked", "refused by", "patch is not kept"):
        assert place in said
    results = [laboratory.result(example) for example in EXAMPLES]
    folders = [*results, folder, laboratory.data, careless.folder / "home"]
    files = [path for place in folders for path in place.rglob("*") if path.is_file()]
    assert len(files) > 50
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
    assert CANARY not in "".join([*laboratory.told, *careless.told])
