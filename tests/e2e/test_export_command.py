"""``asset-provenance export``, as somebody uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prov.model import ProvDocument

from asset_provenance import DerivedAsset, current_process, track_process
from asset_provenance.cli import main
from helpers.assets import RAW, description, make_asset, process, read_json, write_json
from helpers.crates import faults_of

CANARY = "cop_0123456789abcdefghijklmn"
ATLAS = "atlas_2026-01-01_00-00-00"
HOSTILE = "../../etc/x'\"><script>\n"
NO_URL = "https://[no-host]/code"
RESULTS = Path("results")
CRATE = RESULTS / "ro-crate-metadata.json"


def export(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "asset_provenance.cli", "export", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture
def asset(data_root: Path) -> str:
    """Steps inside steps, one that fails, two inputs, of which one has a process of its own."""
    inherited = process("Spike sorting", output_path="sorted", notes=f"token={CANARY}")
    raw = make_asset(data_root, RAW, carried=(), processing={"data_processes": [inherited]})
    atlas = make_asset(data_root, ATLAS, carried=(), subject_id=None)

    @track_process
    def count(number: int) -> None:
        if number:
            raise ValueError("not this <one>")
        (RESULTS / "tables").mkdir()
        (RESULTS / "tables" / "a b.csv").write_text("1")

    @track_process(code="https://github.com/a/b@1.2")
    def fit(session: Path, template: Path, *, limits: tuple[float, ...] = (0.5, 2)) -> None:
        current_process().add_results(rows=3)
        count(0)
        with pytest.raises(ValueError, match="not this"):
            count(1)

    facts = {"experimenters": ["Ada L."], "tags": ["b", "a", "d", "c"]}
    with DerivedAsset("fit", inputs=raw, reference_inputs=[atlas], **facts) as run:
        fit(raw, atlas)
        with track_process(HOSTILE):
            (RESULTS / "b.json").write_text("{}")
    return str(run.name)


def entities(crate: Path) -> dict[str, dict[str, Any]]:
    listed = read_json(crate)["@graph"]
    found = {one["@id"]: one for one in listed}
    assert len(found) == len(listed)
    return found


def named(crate: Path, name: str) -> dict[str, Any]:
    return next(one for one in entities(crate).values() if one.get("name") == name)


def many(value: Any) -> list[str]:
    return [one["@id"] for one in (value if isinstance(value, list) else [value])]


def test_the_folder_of_an_asset_becomes_a_crate_that_conforms(asset: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "crate"

    done = export(RESULTS, "--format", "ro-crate", "--output", RESULTS)
    more = export(RESULTS, "--format", "ro-crate", "--output", elsewhere)

    assert (done.returncode, done.stdout) == (0, f"{CRATE}: 5 processes\n")
    assert (more.returncode, more.stdout) == (
        0,
        f"{elsewhere}/ro-crate-metadata.json: 5 processes\n",
    )
    found = faults_of(RESULTS, elsewhere, cache=tmp_path / "cache")
    # Who publishes it, where its authors work, where others find this code or a funder, nothing
    # tells.
    unknown = (
        "affiliation",
        "publisher",
        "absolute URI",
        "Application SHOULD have a url",
        "organization SHOULD have a URL",
    )
    for faults in found.values():
        assert [one for one in faults if not any(word in one[1] for word in unknown)] == []


def test_a_crate_tells_what_ran_on_what_and_what_came_of_it(asset: str) -> None:
    (RESULTS / "unnoticed").touch()
    (RESULTS / "sorted").mkdir()  # not that of the input's process
    (RESULTS / f"token={CANARY}").touch()

    assert main(["export", "results", "--format", "ro-crate", "--output", "results"]) == 0

    fit, failed, hostile = (named(CRATE, name) for name in ("fit", "count_1", HOSTILE))
    root = entities(CRATE)["./"]
    assert (root["name"], root["license"]) == (
        asset,
        {"@id": "https://creativecommons.org/licenses/by/4.0/"},
    )
    assert many(root["isBasedOn"]) == [f"#asset/{RAW}"]
    assert {"tables/a%20b.csv", "processing.json", "unnoticed"} < set(many(root["hasPart"]))
    assert len(root["mentions"]) == 5
    assert all((RESULTS / one.replace("%20", " ")).exists() for one in many(root["hasPart"]))
    assert CANARY not in CRATE.read_text()
    assert {f"#asset/{RAW}", f"#asset/{ATLAS}"} < set(many(fit["object"]))
    assert entities(CRATE)["#parameter/fit/limits"]["value"] == "[0.5, 2]"
    assert entities(CRATE)["#result/fit/rows"]["value"] == 3
    assert fit["actionStatus"] == "http://schema.org/CompletedActionStatus"
    assert {"#process/count", "#process/Spike%20sorting"} == set(many(fit["wasInformedBy"]))
    code = entities(CRATE)[fit["instrument"]["@id"]]
    assert (code["url"], code["version"]) == ("https://github.com/a/b", "1.2")
    assert entities(CRATE)[fit["agent"]["@id"]]["@type"] == "Person"
    assert failed["@type"] == "ActivateAction"  # which has created nothing
    assert failed["actionStatus"] == "http://schema.org/FailedActionStatus"
    assert failed["error"] == "Failed: ValueError: not this <one>"
    assert hostile["result"] == {"@id": "b.json"}
    sorting = named(CRATE, "Spike sorting")
    assert "actionStatus" not in sorting  # which its notes do not tell
    assert sorting["result"]["@id"] == "#output/Spike%20sorting"  # in the input


def test_a_crate_elsewhere_has_no_files_and_leaves_the_asset_alone(asset: str) -> None:
    before = sorted(RESULTS.rglob("*"))

    assert main(["export", "results", "--format", "ro-crate", "--output", "crates/fit"]) == 0

    crate = Path("crates/fit/ro-crate-metadata.json")
    assert sorted(RESULTS.rglob("*")) == before
    assert "hasPart" not in entities(crate)["./"]
    assert named(crate, "tables/a b.csv")["@id"] == "#output/count"
    for one in entities(crate).values():
        for reference in (*many(one.get("result", [])), *many(one.get("object", []))):
            assert reference in entities(crate)


def test_a_prov_document_is_read_back_as_it_was_written(asset: str) -> None:
    done = export(RESULTS, "--format", "prov-json", "--output", "fit.json")

    assert (done.returncode, done.stdout) == (0, "fit.json: 5 processes\n")
    document = ProvDocument.deserialize("fit.json", format="json")
    content = document.serialize(format="json")
    assert ProvDocument.deserialize(content=content, format="json") == document
    told = document.get_provn()
    base = f"process:{asset}"
    assert f"used({base}/fit, asset:{RAW}, -)" in told
    assert f"used({base}/fit, asset:{ATLAS}, -)" in told
    assert f"wasInformedBy({base}/fit, {base}/count)" in told
    assert f"wasInformedBy({base}/fit, {base}/Spike%20sorting)" in told
    assert f"wasDerivedFrom(asset:{asset}, asset:{RAW}, -, -, -)" in told
    assert f"wasGeneratedBy(output:{asset}/count, {base}/count, -)" in told
    assert f"hadMember(asset:{asset}, output:{asset}/count)" in told
    assert f"wasGeneratedBy(output:{asset}/Spike%20sorting" in told
    assert f"hadMember(asset:{asset}, output:{asset}/Spike%20sorting)" not in told  # of the input
    assert f"wasAssociatedWith({base}/fit, person:Ada%20L., -)" in told or "Ada%20L\\." in told
    activities = read_json(Path("fit.json"))["activity"]
    failed = activities[f"{base}/count_1"]
    assert failed["ap:status"] == "failed"
    assert failed["dcterms:isPartOf"]["$"] == f"{base}/fit"
    assert "ap:status" not in activities[f"{base}/Spike%20sorting"]
    assert activities[f"{base}/fit"]["parameter:limits"] == "[0.5, 2]"
    agents = read_json(Path("fit.json"))["agent"].values()
    assert [one["aind:version"] for one in agents if "1.2" in str(one)] == ["1.2"]


@pytest.mark.parametrize("form", ["ro-crate", "prov-json"])
def test_the_same_asset_gives_the_same_file_without_secrets_and_places(
    asset: str, form: str
) -> None:
    one, other = Path("one"), Path("other")
    suffix = "ro-crate-metadata.json" if form == "ro-crate" else "x.prov"

    for output, seed in ((one, "1"), (other, "2")):
        done = export(RESULTS, "--format", form, "--output", output / suffix, PYTHONHASHSEED=seed)
        assert done.returncode == 0

    content = (one / suffix).read_text()
    assert content == (other / suffix).read_text()
    assert CANARY not in content
    assert "file:" not in content
    assert str(Path.cwd()) not in content
    assert sorted(one.iterdir()) == [one / suffix]


def test_secrets_and_places_of_a_machine_are_left_out_whoever_wrote_them(tmp_path: Path) -> None:
    code = {
        "url": "javascript:alert(1)",
        "run_script": "/home/lovelace/run.py",
        "input_data": [
            {"url": "\\\\server\\share\\lovelace\\raw_1"},
            {"url": "file:///home/lovelace/raw_2"},
        ],
    }
    key = "-----BEGIN PRIVATE KEY-----\nMIIBVQ\n-----END PRIVATE KEY-----"
    written = process(f"fit {CANARY}", code=code, output_path="/home/lovelace/out", notes=key)
    write_json(tmp_path / "processing.json", {"data_processes": [written]})
    write_json(tmp_path / "data_description.json", {**description(RAW), "name": "a/../b"})

    for form, output in (("ro-crate", "crate"), ("prov-json", "x.prov")):
        assert main(["export", str(tmp_path), "--format", form, "--output", output]) == 0

    for file in (Path("crate/ro-crate-metadata.json"), Path("x.prov")):
        content = file.read_text()
        assert "lovelace" not in content
        assert "javascript" not in content
        assert CANARY not in content
        assert "MIIBVQ" not in content
        assert all(name in content for name in ("run.py", "raw_1", "raw_2", '"out"'))


def test_what_only_begins_like_a_url_is_left_out(tmp_path: Path) -> None:
    write_json(
        tmp_path / "processing.json", {"data_processes": [process("fit", code={"url": NO_URL})]}
    )

    assert main(["export", str(tmp_path), "--format=ro-crate", f"--output={tmp_path}"]) == 1

    assert "no-host" not in (tmp_path / "ro-crate-metadata.json").read_text()


def test_what_stands_in_the_way_is_said_with_what_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(tmp_path / "data_description.json", description(RAW))
    there = tmp_path / "there.prov"
    there.write_text("mine")

    def refused(form: str, output: object, folder: Path = tmp_path) -> str:
        assert main(["export", str(folder), "--format", form, "--output", str(output)]) == 2
        return capsys.readouterr().err

    assert "there already: give another, or --overwrite" in refused("prov-json", there)
    assert "is a folder" in refused("prov-json", tmp_path)
    assert "metadata file of assets" in refused("prov-json", tmp_path / "subject.json")
    assert "it can be zipped afterwards" in refused("ro-crate", tmp_path / "crate.zip")
    assert "nothing is exported to the terminal" in refused("prov-json", "-")
    assert "an RO-Crate is a folder" in refused("ro-crate", there)
    assert "there is no folder" in refused("ro-crate", "crate", tmp_path / "none")
    assert "cannot be written" in refused("prov-json", there / "below.prov")
    assert "Invalid value for '--format'" in refused("csv", "x.csv")
    assert there.read_text() == "mine"
    again = ["export", str(tmp_path), "--format", "prov-json", "--output", str(there)]
    assert main([*again, "--overwrite"]) == 0
    assert read_json(there)["entity"]


def test_what_a_crate_needs_and_nothing_tells_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(tmp_path / "processing.json", {"data_processes": [process("fit")]})
    (tmp_path / "data_description.json").write_text("{")
    line = ["export", str(tmp_path), "--format", "ro-crate", "--output", "crate"]

    assert main(line) == 1
    assert "an RO-Crate needs the license" in capsys.readouterr().err
    assert main([*line, "--overwrite", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["output"], told["processes"]) == ("crate/ro-crate-metadata.json", 1)
    assert "is not valid JSON" in told["faults"][0]
    assert "datePublished" not in entities(Path("crate/ro-crate-metadata.json"))["./"]


@pytest.mark.parametrize(("form", "library"), [("ro-crate", "rocrate"), ("prov-json", "prov")])
def test_without_the_extra_the_error_says_what_to_install(
    tmp_path: Path,
    form: str,
    library: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_json(tmp_path / "data_description.json", description(RAW))
    for name in [library, *(one for one in sys.modules if one.startswith(f"{library}."))]:
        monkeypatch.setitem(sys.modules, name, None)

    assert main(["export", str(tmp_path), "--format", form, "--output", "out"]) == 2

    assert 'pip install "asset-provenance[export]"' in capsys.readouterr().err
    assert not Path("out").exists()


def test_the_help_fits_a_terminal() -> None:
    shown = export("--help", COLUMNS="80").stdout

    assert max(map(len, shown.splitlines())) <= 80
    assert "Nothing is copied." in shown


def test_real_assets_are_exported(samples: Path) -> None:
    folders = {
        path.parent
        for path in samples.rglob("*.json")
        if path.stem in ("processing", "data_description")
    }
    assert folders
    for number, folder in enumerate(sorted(folders)):
        line = ["export", str(folder), "--format"]
        assert main([*line, "ro-crate", "--output", f"crate-{number}"]) in (0, 1)
        assert main([*line, "prov-json", "--output", f"{number}.prov"]) == 0
        assert entities(Path(f"crate-{number}/ro-crate-metadata.json"))["./"]["name"]
        document = ProvDocument.deserialize(f"{number}.prov", format="json")
        assert document.get_provn()
