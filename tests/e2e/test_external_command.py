"""The command ``asset-provenance external``, as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asset_provenance.cli import main
from helpers.assets import read_json

CANARY = "c4naryC4NARY0123"
FACTS = (
    "--source=https://example.org/atlas.zip",
    "--creation-time=2024-04-21",
    "--institution=UPENN",
    "--investigator=Yongsoo Kim",
    "--investigator=Ada Lovelace",
    "--modality=MRI",
    "--modality=SPIM",
    "--funding=NIMH:RF1MH12460501",
    "--license=CC-BY-4.0",
)
RESULTS = Path("results")
NAME = "KimLab-DevCCF-v1_2024-04-21_00-00-00"


@pytest.fixture
def atlas() -> Path:
    folder = Path("atlas")
    folder.mkdir()
    (folder / "atlas.nii").write_text("voxels")
    return folder


def external(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "asset_provenance.cli", "external", *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_folder_is_described_in_place_and_check_finds_nothing_wrong(
    atlas: Path, capsys: Any
) -> None:
    done = external("KimLab-DevCCF-v1", *FACTS, "--output-dir", atlas, "--accessed=2025-03-01")
    assert (done.returncode, done.stderr) == (0, "")
    assert NAME in done.stdout
    assert str(atlas / "data_description.json") in done.stdout
    said = read_json(atlas / "data_description.json")
    assert [person["name"] for person in said["investigators"]] == ["Yongsoo Kim", "Ada Lovelace"]
    assert [modality["abbreviation"] for modality in said["modalities"]] == ["MRI", "SPIM"]
    assert said["data_summary"] == "Downloaded from https://example.org/atlas.zip on 2025-03-01"
    assert main(["check", str(atlas)]) == 0
    assert capsys.readouterr().out == "atlas: nothing is wrong\n"


def test_a_folder_is_copied_with_checksums_and_told_as_json(atlas: Path) -> None:
    options = ("--from", atlas, "--checksums", "--json")
    done = external("KimLab-DevCCF-v1", *FACTS, *options)
    assert done.returncode == 0, done.stderr
    folder = Path.cwd() / RESULTS
    assert json.loads(done.stdout) == {
        "name": NAME,
        "folder": str(folder),
        "data_description": str(folder / "data_description.json"),
    }
    assert [path.name for path in atlas.iterdir()] == ["atlas.nii"]
    assert (RESULTS / "atlas.nii").read_text() == "voxels"
    if shutil.which("sha256sum"):
        listed = ["sha256sum", "--check", "provenance/checksums-sha256.txt"]
        assert subprocess.run(listed, cwd=RESULTS, check=False).returncode == 0


def test_what_was_described_is_told_in_one_line(atlas: Path, capsys: Any) -> None:
    assert main(["external", "KimLab-DevCCF-v1", *FACTS, "--output-dir", str(atlas)]) == 0
    place = atlas.absolute() / "data_description.json"
    assert capsys.readouterr().out == f"{NAME} is described in {place}\n"


def test_everything_that_is_missing_is_told_at_once_by_its_option() -> None:
    done = external()
    assert (done.returncode, done.stdout) == (2, "")
    for words in (
        "NAME is missing: give KimLab-DevCCF-v1",
        "--source is missing: give --source https://example.org/atlas.zip",
        "--creation-time is missing: give --creation-time 2024-04-21 (the date the data were "
        "posted, or a related publication date if that is not available)",
        "--institution is missing",
        '--investigator is missing: give --investigator "First Last"',
        "--modality is missing: give --modality MRI",
        "--funding is missing",
        "--license is missing",
    ):
        assert words in done.stderr
    assert not RESULTS.exists()


def test_what_is_malformed_is_told_by_its_option(atlas: Path, capsys: Any) -> None:
    wrong = ("--institution=UPEN", "--license=CC0", "--accessed=2999-01-01")
    assert main(["external", "a b", *FACTS, *wrong, "--output-dir", str(atlas)]) == 2
    told = capsys.readouterr().err
    for words in ("NAME: ", "--institution: ", '"UPENN"', "--license: ", "--accessed: "):
        assert words in told
    assert [path.name for path in atlas.iterdir()] == ["atlas.nii"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--output-dir", "missing"], "holds no data to describe"),
        (["--output-dir", "described"], "holds subject.json"),
        (["--from", "missing"], "there is no folder"),
        (["--from", "described"], "is not copied"),
        (["--from", "atlas", "--output-dir", "atlas"], "lie in each other"),
        (["--output-dir", "file"], "cannot be written to"),
        (["--sauce", "x"], "No such option"),
    ],
    ids=str,
)
def test_what_cannot_be_described_gives_status_2_a_word_and_no_trace(
    atlas: Path, options: list[str], words: str, capsys: Any
) -> None:
    Path("described").mkdir()
    Path("described/subject.json").touch()
    Path("file").touch()
    before = sorted(Path().rglob("*"))
    assert main(["external", "KimLab-DevCCF-v1", *FACTS, *options]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert words in told.err
    assert "Traceback" not in told.err
    assert sorted(Path().rglob("*")) == before


def test_the_users_own_facts_and_secrets_go_nowhere(atlas: Path) -> None:
    signed = f"--source=https://someone:{CANARY}@example.org/a?token={CANARY}"
    ours = {"ASSET_PROVENANCE_FUNDING_SOURCE": "AI", "ASSET_PROVENANCE_LICENSE": "MIT"}
    done = external("x", *FACTS[1:-2], signed, "--output-dir", atlas, **ours)
    assert done.returncode == 2
    assert "--funding is missing" in done.stderr
    assert "--license is missing" in done.stderr
    told = external("x", *FACTS[1:], signed, "--output-dir", atlas, "--checksums")
    assert told.returncode == 0
    assert CANARY not in done.stderr + told.stdout + told.stderr
    for path in atlas.rglob("*"):
        assert path.is_dir() or CANARY not in path.read_text()


def test_a_terminal_sees_progress_while_a_folder_is_copied(atlas: Path) -> None:
    (atlas / "large").write_bytes(bytes(64 << 20))
    terminal, end = os.openpty()
    arguments = ["external", "x", *FACTS, "--from", str(atlas), "--checksums"]
    with subprocess.Popen(
        [sys.executable, "-m", "asset_provenance.cli", *arguments],
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=end,
    ) as process:
        os.close(end)
        told = b""
        while True:
            try:
                part = os.read(terminal, 4096)
            except OSError:  # how Linux tells that the other end was closed
                break
            if not part:
                break
            told += part
    os.close(terminal)
    assert process.returncode == 0
    assert b"copying atlas" in told
    assert b"checksums" in told
