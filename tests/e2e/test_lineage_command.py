"""The command ``asset-provenance lineage``: the real client on loopback, folders, real records."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from asset_provenance import DerivedAsset
from asset_provenance.testing import Fault, LoopbackServices
from helpers.assets import PEOPLE, RAW, description, make_asset, process, read_json
from helpers.commands import Told

SORTED = f"{RAW}_sorted_2026-03-05_10-00-00"
UNITS = f"{RAW}_units_2026-03-06_10-00-00"


def lineage(*arguments: object, cwd: Path | None = None, **environ: str) -> Told:
    """Run the command as a user does."""
    done = subprocess.run(
        [sys.executable, "-m", "asset_provenance.cli", "lineage", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return Told(done.returncode, done.stdout, done.stderr)


def using(name: str, *inputs: dict[str, Any], start: str) -> dict[str, Any]:
    """Give a process with its inputs."""
    code = {"url": "https://example.org/code", "version": "1", "input_data": list(inputs)}
    return process(name, start, code=code)


SORTING = using("sort", {"name": RAW}, {"name": "atlas"}, start="2026-03-05T09:00:00Z")


def add(services: LoopbackServices, name: str, *done: dict[str, Any], **facts: Any) -> None:
    """Register an asset."""
    record = {
        "name": name,
        "location": f"s3://example-bucket/{name}",
        "data_description": description(name, **facts),
        "processing": {"data_processes": list(done)} if done else None,
    }
    services.docdb.add_records([record])


def derived(folder: Path, name: str, *sources: str, **more: Any) -> Path:
    return make_asset(
        folder, name, carried=(), data_level="derived", source_data=list(sources), **more
    )


def edges(told: Told) -> set[tuple[str, str, str]]:
    return {(edge["from"], edge["to"], edge["kind"]) for edge in told.json["edges"]}


def test_the_database_leads_back_to_the_raw_asset_with_one_question_a_level(
    services: LoopbackServices,
) -> None:
    group = {"object_type": "Combined data", "name": "models", "assets": [{"name": "model-a"}]}
    measuring = using("units", {"name": SORTED}, group, start="2026-03-06T09:00:00Z")
    add(services, RAW)
    add(services, SORTED, SORTING, data_level="derived", source_data=[RAW])
    # Its processing begins with that of its source, as inherited.
    add(services, UNITS, SORTING, measuring, data_level="derived", source_data=[SORTED])
    add(services, "atlas", data_level="derived", project_name="external data")
    add(services, "model-a", data_level="simulated")
    told = lineage(UNITS)
    assert told.out.splitlines() == [
        f"{UNITS}  derived, database",
        f"├── {SORTED}  derived, database",
        f"│   ├── {RAW}  raw, database",
        "│   └── atlas  reference, external, 2026-03-02, database",
        "└── model-a  reference, in the group models, simulated, 2026-03-02, database",
        f"goes back to 1 raw asset: {RAW}",
    ]
    assert (told.status, told.err) == (0, "")
    assert len(services.docdb.requests) == 2

    told = lineage(f"s3://example-bucket/{UNITS}", "--json")
    assert told.status == 0
    assert edges(told) == {
        (UNITS, SORTED, "source"),
        (UNITS, "model-a", "reference"),
        (SORTED, RAW, "source"),
        (SORTED, "atlas", "reference"),
    }
    assert (told.json["root"], told.json["complete"]) == (UNITS, True)
    assert (told.json["raw_roots"], told.json["missing"], told.json["cycles"]) == ([RAW], [], [])
    assert told.json["assets"][RAW] == {
        "status": "found",
        "data_level": "raw",
        "external": False,
        "reference": False,
        "created": "2026-03-02T18:30:05+00:00",
        "found_in": "database",
        "location": f"s3://example-bucket/{RAW}",
    }
    assert told.json["assets"]["model-a"]["reference"] is True
    (model,) = [edge for edge in told.json["edges"] if edge["to"] == "model-a"]
    assert (model["processes"], model["groups"]) == (["units"], ["models"])


def test_folders_lead_back_by_the_names_in_their_descriptions(data_root: Path) -> None:
    make_asset(data_root, mount="mounted", carried=())
    (data_root / "together").mkdir()
    derived(data_root / "together", SORTED, RAW)
    (data_root / "atlas").mkdir()
    results = Path("runs")
    processing = {"data_processes": [SORTING]}
    derived(results, UNITS, SORTED, RAW, mount="today", processing=processing)
    derived(results, "cohort_pool_2026-03-07_10-00-00", UNITS, SORTED, mount="pool")
    told = lineage("runs/pool")
    assert told.out.splitlines() == [
        "cohort_pool_2026-03-07_10-00-00  derived, in runs/pool/",
        f"├── {UNITS}  derived, in runs/today/",
        f"│   ├── {SORTED}  see below",
        f"│   ├── {RAW}  raw, in data/mounted/",
        "│   └── atlas  reference, in data/",
        f"└── {SORTED}  derived, in data/together/",
        f"    └── {RAW}  see above",
        f"goes back to 1 raw asset: {RAW}",
    ]
    assert (told.status, told.err) == (0, "")
    assert "`-- " in lineage("runs/pool", PYTHONIOENCODING="ascii").out

    # The data root is taken from the option, as often as it is given.
    elsewhere = {"ASSET_PROVENANCE_DATA_ROOT": "nowhere"}
    assert lineage("runs/pool", **elsewhere).status == 1
    roots = ("--data-root", "data", "--data-root", "runs")
    assert lineage(UNITS, *roots, **elsewhere).status == 0


def test_what_is_missing_is_told_with_what_its_name_tells(data_root: Path) -> None:
    make_asset(data_root, carried=())
    gone = f"{RAW}_gone_2026-03-04_10-00-00"
    derived(data_root, UNITS, gone, "s3://example-bucket/lost/part", "https://example.org/x.csv")
    told = lineage(UNITS)
    assert told.out.splitlines() == [
        f"{UNITS}  derived, in data/",
        f"├── {gone}  missing",
        f"│   └── {RAW}  by its name, raw, in data/",
        "├── lost  missing",
        "└── https://example.org/x.csv  known by its URL only",
        f"goes back to 1 raw asset: {RAW}",
        f"2 assets missing: {gone}, lost",
        "    -> give folders that have them with --data-root DIR",
        "1 source known by URL only, so that nothing could be looked up: https://example.org/x.csv",
    ]
    assert told.status == 1
    told = lineage(UNITS, "--json")
    assert (told.status, told.json["missing"], told.json["complete"]) == (1, [gone, "lost"], False)
    assert (gone, RAW, "name") in edges(told)
    assert told.json["assets"][gone]["status"] == "missing"
    assert told.json["assets"]["https://example.org/x.csv"]["status"] == "url"


def test_a_source_of_which_only_a_url_is_known_leaves_the_way_back_open(data_root: Path) -> None:
    derived(data_root, UNITS, "https://example.org/x.csv")
    told = lineage(UNITS, "--json")
    assert (told.status, told.json["complete"]) == (1, False)
    assert told.json["known_by_url"] == ["https://example.org/x.csv"]
    # What was used besides may be anything that can be fetched.
    make_asset(data_root, carried=())
    used = using("fit", {"url": "https://example.org/x.csv"}, start="2026-03-04T10:00:00Z")
    derived(data_root, SORTED, RAW, processing={"data_processes": [used]})
    told = lineage(SORTED, "--json")
    assert (told.status, told.json["complete"], told.json["known_by_url"]) == (0, True, [])


def test_cycles_are_told_and_end(data_root: Path) -> None:
    make_asset(data_root, carried=())
    first, second, third = (f"pool_step{number}_2026-03-04_10-00-00" for number in range(3))
    derived(data_root, first, second, RAW)
    derived(data_root, second, first, third)
    derived(data_root, third, third)
    told = lineage(first)
    assert told.out.splitlines() == [
        f"{first}  derived, in data/",
        f"├── {second}  derived, in data/",
        f"│   ├── {first}  cycle, see above",
        f"│   └── {third}  derived, in data/",
        f"│       └── {third}  cycle, see above",
        f"└── {RAW}  raw, in data/",
        f"goes back to 1 raw asset: {RAW}",
        f"cycle: {first} <- {second} <- {first}",
        f"cycle: {third} <- {third}",
    ]
    assert told.status == 1
    told = lineage(first, "--json")
    assert told.json["cycles"] == [[first, second, first], [third, third]]


def test_the_database_wins_and_a_folder_that_says_otherwise_is_told(
    services: LoopbackServices, data_root: Path
) -> None:
    make_asset(data_root, carried=(), data_level="derived", project_name="of the folder")
    add(services, RAW)
    add(services, UNITS, data_level="derived", source_data=[RAW])
    derived(Path("results"), UNITS, SORTED)
    told = lineage("results/" + UNITS)
    assert told.status == 0
    assert f"└── {RAW}  raw, database" in told.out
    assert "results" in told.err
    assert "tells of other sources than the database" in told.err


def test_a_folder_serves_where_the_database_has_only_the_name(
    services: LoopbackServices, data_root: Path
) -> None:
    make_asset(data_root, carried=())
    services.docdb.add_records([{"name": RAW, "location": f"s3://example-bucket/{RAW}"}])
    derived(data_root, UNITS, RAW)
    told = lineage(UNITS)
    assert (told.status, told.out.splitlines()[-1]) == (0, f"goes back to 1 raw asset: {RAW}")
    assert f"└── {RAW}  raw, in data/" in told.out


def test_folders_serve_while_the_database_is_out_of_reach(
    services: LoopbackServices, data_root: Path
) -> None:
    make_asset(data_root, carried=())
    derived(data_root, SORTED, RAW)
    derived(data_root, UNITS, SORTED)
    services.docdb.fail(Fault(delay=60), times=None)
    told = lineage(UNITS, ASSET_PROVENANCE_SERVICE_TIMEOUT="0.5")
    assert told.status == 0
    assert f"    └── {RAW}  raw, in data/" in told.out
    assert told.err.count("could not be asked, only folders were looked into: it did not") == 1
    services.docdb.heal()
    services.docdb.fail(Fault(status=403), times=None)
    told = lineage("unknown")
    assert told.status == 2
    assert "could not be asked, only folders were looked into: it answered 403" in told.err


def test_the_runs_of_this_package_lead_back_without_saying_anything_twice(
    data_root: Path,
) -> None:
    raw = make_asset(data_root)
    (data_root / "ccf").mkdir()
    names = []
    source = raw
    for step in ("sorted", "units"):
        with DerivedAsset(
            step, inputs=source, reference_inputs="ccf", output_dir=step, **PEOPLE
        ) as asset:
            (source / "data_description.json").read_bytes()
            (asset.output_dir / "table.csv").write_text("1")
        names.append(str(read_json(Path(step, "data_description.json"))["name"]))
        source = Path(step)
    told = lineage("units", "--json")
    assert edges(told) == {
        (names[1], names[0], "source"),
        (names[1], "ccf", "reference"),
        (names[0], RAW, "source"),
        (names[0], "ccf", "reference"),
    }
    assert (told.status, told.json["raw_roots"]) == (0, [RAW])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("unknown",), "nothing is known of unknown; looked for in: "),
        ((UNITS,), f"by its name it goes back to {RAW}"),
        (("empty",), "there is no metadata in "),
        (("no/such/folder",), "there is no folder no/such/folder"),
        (("https://example.org/x",), "names no asset"),
        (("broken",), "broken/data_description.json is not valid JSON"),
        (("unknown", "--data-root", "nowhere"), "there is no folder nowhere"),
    ],
)
def test_an_asset_of_which_nothing_is_known_is_misuse(
    arguments: tuple[str, ...], said: str
) -> None:
    Path("empty").mkdir()
    Path("broken").mkdir()
    Path("broken/data_description.json").write_text('{"name":')
    told = lineage(*arguments)
    assert (told.status, told.out) == (2, "")
    assert said in told.err


def test_names_from_elsewhere_are_shown_and_never_acted_on(data_root: Path) -> None:
    evil = "evil\x1b[31m\u202e\n[bold]name"
    derived(data_root, UNITS, evil, "../../etc", "token=ghp_" + "a1B2" * 9)
    told = lineage(UNITS)
    assert told.status == 1
    assert "├── evil\\x1b[31m\\u202e\\n[bold]name  missing" in told.out
    assert "├── ../../etc  missing" in told.out
    assert "a1B2a1B2" not in told.out + lineage(UNITS, "--json").out


def test_an_asset_without_a_source_that_should_have_one_is_told(data_root: Path) -> None:
    derived(data_root, "pool_x_2026-03-04_10-00-00", "simulation", "undescribed")
    make_asset(data_root, "simulation", carried=(), data_level="simulated")
    (data_root / "undescribed").mkdir()
    told = lineage("pool_x_2026-03-04_10-00-00")
    assert told.status == 1
    assert "└── undescribed  in data/, names no source" in told.out
    assert "goes back to 0 raw assets" in told.out
    assert lineage("simulation").status == 0


def test_a_long_way_back_fits_a_narrow_terminal(data_root: Path) -> None:
    names = [RAW, *(f"step{number}_2026-03-04_10-00-00" for number in range(6))]
    make_asset(data_root, carried=())
    for source, name in pairwise(names):
        derived(data_root, name, source)
    told = lineage(names[-1], FORCE_COLOR="1", COLUMNS="60")
    assert told.status == 0
    shown = re.sub(r"\x1b\[[\d;]*m", "", told.out)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 60
    # It goes on at the margin, from the asset that it had come to.
    assert f"└── {names[3]} derived, in data/, goes on below" in " ".join(shown.split())
    assert f"{names[3]}  derived, in data/" in lines
    assert [name for name in names if told.out.count(name) == 0] == []


def test_help_is_readable_at_80_columns() -> None:
    told = lineage("--help", COLUMNS="80", TERMINAL_WIDTH="80")
    assert told.status == 0
    assert max(map(len, told.out.splitlines())) <= 80
    assert "NAME_OR_DIR" in told.out


def test_real_records_of_every_version_lead_back(services: LoopbackServices, samples: Path) -> None:
    files = [
        *samples.glob("aind-metadata-upgrader/*/metadata.nd.v1.json"),
        *samples.glob("zombie-squirrel/*/metadata.nd.json"),
    ]
    records = [read_json(path) for path in files]
    assert len(records) >= 8
    services.docdb.add_records(records)
    # Of any version, with sources named, and with none named but in the name.
    raw = "828418_2026-02-13_18-31-13"
    named = ("ecephys_634569_2022-08-09_16-14-38", "669492_2023-07-07_17-52-04")
    processes = [using("pool", *({"name": one["name"]} for one in records), start="2026-01-01")]
    add(services, "pool_all_2026-03-07_10-00-00", *processes, data_level="derived")
    told = lineage("pool_all_2026-03-07_10-00-00", "--json")
    assert {raw, "behavior_781371_2025-03-24_09-34-00"} < set(told.json["raw_roots"])
    assert set(named) < set(told.json["missing"])
    found = edges(told)
    assert (f"{raw}_processed_2026-02-14_12-44-45", raw, "source") in found
    assert (f"{named[0]}_sorted-ks25_2023-05-11_19-29-48", named[0], "name") in found
    assert (f"{named[1]}_nwb_2025-09-05_16-22-41", named[1], "name") in found
    assert told.json["without_source"] == []


def test_real_folders_lead_back(samples: Path) -> None:
    told = lineage(samples / "zombie-squirrel" / "derived")
    assert told.status == 0
    assert "goes back to 1 raw asset: 828418_2026-02-13_18-31-13" in told.out
    old = Path("old")
    old.mkdir()
    described = samples / "aind-metadata-manager" / "derived_data_description_0.13.2.json"
    (old / "data_description.json").write_bytes(described.read_bytes())
    told = lineage("old", "--json")
    raw = "ecephys_713508_2024-02-28_19-27-55"
    assert (told.status, told.json["missing"]) == (1, [raw])
    assert [edge["kind"] for edge in told.json["edges"]] == ["source"]
    whole = json.loads((samples / "zombie-squirrel" / "record" / "metadata.nd.json").read_bytes())
    told = lineage(samples / "zombie-squirrel" / "record", "--json")
    assert told.json["missing"] == whole["data_description"]["source_data"]
