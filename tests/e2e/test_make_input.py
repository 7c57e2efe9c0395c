"""The invented session that the other examples and tests analyse."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import warnings
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "make_input.py"
PARTS = {
    "acquisition": "Acquisition",
    "data_description": "DataDescription",
    "instrument": "Instrument",
    "procedures": "Procedures",
    "processing": "Processing",
    "quality_control": "QualityControl",
    "subject": "Subject",
}
NAME = "ecephys_900101_2026-03-02_18-30-05"


@pytest.fixture(scope="module")
def make_input():
    spec = importlib.util.spec_from_file_location("make_input", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        # The schema warns of its own deprecated coordinate systems when it is imported.
        warnings.simplefilter("ignore", DeprecationWarning)
        importlib.import_module("aind_data_schema.core.metadata")
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def session(make_input, tmp_path):
    return make_input.make_session(tmp_path / "data")


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def metadata(folder):
    return {part: json.loads((folder / f"{part}.json").read_text("utf-8")) for part in PARTS}


def rows(path):
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("part", PARTS)
def test_each_metadata_file_is_what_its_own_model_reads_and_writes(session, part, caplog):
    model = getattr(importlib.import_module(f"aind_data_schema.core.{part}"), PARTS[part])
    written = metadata(session)[part]
    read = model.model_validate(metadata(session)[part])
    assert json.loads(read.model_dump_json()) == written
    assert not caplog.records


def check_as_one_record(folder):
    from aind_data_schema.core.metadata import Metadata

    parts = metadata(folder)
    name = parts["data_description"]["name"]
    return Metadata(name=name, location=f"s3://aind-open-data/{name}", **parts)


def test_the_files_are_one_valid_record_without_a_warning(session, caplog):
    record = check_as_one_record(session)
    assert [part for part in PARTS if getattr(record, part) is None] == []
    assert not caplog.records


def test_writing_a_session_logs_nothing(make_input, tmp_path, caplog):
    make_input.make_session(tmp_path)
    assert not caplog.records


@pytest.mark.parametrize(
    "start",
    [
        datetime(2026, 1, 13, tzinfo=UTC),
        datetime(2026, 7, 4, 9, 15, tzinfo=timezone(timedelta(hours=-7))),
        datetime(2027, 12, 31, 12, 0, 0, 250_000, tzinfo=UTC),
    ],
)
def test_a_session_at_another_time_is_valid_too(make_input, tmp_path, start, caplog):
    record = check_as_one_record(make_input.make_session(tmp_path, start=start))
    assert record.acquisition.acquisition_start_time == start
    assert not caplog.records


def test_the_schema_parses_the_name_and_the_folder_bears_it(session):
    from aind_data_schema.core.data_description import DataDescription

    name = metadata(session)["data_description"]["name"]
    assert session.name == name == NAME
    assert DataDescription.parse_name(name) == {
        "label": "ecephys_900101",
        "creation_time": datetime(2026, 3, 2, 18, 30, 5),
    }


def test_a_mount_can_bear_another_name_than_the_asset(make_input, session, tmp_path):
    mounted = make_input.make_session(tmp_path / "capsule", mount="recording")
    assert mounted == tmp_path / "capsule" / "recording"
    assert contents(mounted) == contents(session)


def test_the_same_arguments_write_the_same_bytes(make_input, session, tmp_path):
    again = make_input.make_session(tmp_path / "again")
    assert contents(again) == contents(session)
    assert contents(make_input.make_session(tmp_path / "data")) == contents(again)


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_command_writes_the_same_bytes_in_any_process(session, tmp_path, hash_seed):
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path / "command"],
        env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONWARNINGS": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    folder, *listed = done.stdout.splitlines()
    assert folder == str(tmp_path / "command" / NAME)
    assert [line.split()[0] for line in listed] == sorted(contents(session))
    assert contents(Path(folder)) == contents(session)


def test_sessions_of_one_subject_share_the_subject_and_nothing_recorded(
    make_input, session, tmp_path
):
    later = make_input.make_session(
        tmp_path / "data", start=datetime(2026, 3, 4, 17, 2, 44, tzinfo=UTC)
    )
    assert later.name == "ecephys_900101_2026-03-04_17-02-44"
    first, second = contents(session), contents(later)
    same = {name for name in first if first[name] == second[name]}
    assert same == {"subject.json", "procedures.json", "instrument.json"}


def test_another_subject_has_another_name_and_its_own_files(make_input, session, tmp_path):
    other = make_input.make_session(tmp_path / "data", subject_id="900102")
    assert other.name == "ecephys_900102_2026-03-02_18-30-05"
    parts = metadata(other)
    for part in ("subject", "procedures", "acquisition", "data_description"):
        assert parts[part]["subject_id"] == "900102"
    for table in ("units/spike_times.csv", "behavior/running_speed.csv"):
        assert contents(other)[table] != contents(session)[table]


def test_another_seed_draws_another_recording_under_the_same_name(make_input, session, tmp_path):
    redrawn = make_input.make_session(tmp_path / "redrawn", seed=1)
    assert redrawn.name == session.name
    table = "units/spike_times.csv"
    assert contents(redrawn)[table] != contents(session)[table]


def test_each_unit_fires_most_to_its_preferred_orientation(make_input, session):
    gratings = rows(session / "stimulus" / "gratings.csv")
    counts = Counter()
    for spike in rows(session / "units" / "spike_times.csv"):
        trial = int(spike["time_s"] // 3.0)
        if spike["time_s"] >= gratings[trial]["start_s"]:
            counts[int(spike["unit_id"]), gratings[trial]["orientation_deg"]] += 1

    def distance(unit, angle):
        difference = abs(angle - make_input.preferred_orientation(unit)) % 180.0
        return min(difference, 180.0 - difference)

    for unit in range(make_input.UNITS):
        best = max(make_input.ORIENTATIONS, key=lambda angle: counts[unit, angle])
        assert distance(unit, best) <= 22.5


def test_the_recording_is_small_and_complete(session):
    files = contents(session)
    assert 100_000 < sum(map(len, files.values())) < 300_000
    assert len(rows(session / "stimulus" / "gratings.csv")) == 96
    speeds = rows(session / "behavior" / "running_speed.csv")
    assert len(speeds) == 2880
    assert all(row["speed_cm_s"] >= 0 for row in speeds)
    assert {row["unit_id"] for row in rows(session / "units" / "spike_times.csv")} == set(range(12))
