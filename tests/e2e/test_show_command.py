"""The command ``asset-provenance show``, as a user runs it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from asset_provenance import DerivedAsset, current_process, track_process
from helpers.assets import PEOPLE, make_asset, process
from helpers.commands import Told

CANARY = "ghp_c4naryC4NARYc4naryC4NARYc4nary012345"
ESCAPE = "\x1b]0;gotcha\x07\x1b[31m\u202e"
COMMAND = [sys.executable, "-m", "asset_provenance.cli", "show"]


@pytest.fixture(scope="module")
def asset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A result of one recording: steps inside of a step, of which one failed."""
    place = tmp_path_factory.mktemp("asset")
    earlier = {
        "data_processes": [process("Spike sorting", code={"url": "https://example.org/sorter"})],
        "dependency_graph": {"Spike sorting": []},
    }
    raw = make_asset(place / "data", processing=earlier)
    results = place / "results"

    @track_process
    def fit(steps: int) -> None:
        if steps < 10:
            raise RuntimeError("did not converge")
        current_process().add_results(width=23.9)

    @track_process
    def width(session: Path) -> None:
        (session / "subject.json").read_bytes()
        (results / "width.csv").write_text("23.9\n")
        with suppress(RuntimeError):
            fit(5)
        fit(100)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSET_PROVENANCE_OFFLINE", "true")
        patch.setenv("ASSET_PROVENANCE_CODE_URL", "https://example.org/lab/unit-tuning")
        patch.setenv("ASSET_PROVENANCE_CODE_VERSION", "1.2.0")
        patch.setenv("ASSET_PROVENANCE_DATA_ROOT", str(place / "data"))
        with DerivedAsset("width", inputs=raw, output_dir=results, strict=True, **PEOPLE):
            width(raw)
    yield results


def show(*arguments: object, **environment: str) -> Told:
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
        timeout=60,
    )
    return Told(done.returncode, done.stdout.decode(), done.stderr.decode())


def on_terminal(columns: int, *arguments: object) -> list[str]:
    """Give the lines that a terminal shows, without their colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": ""}
    environment.pop("COLUMNS", None)  # which pytest's workers have
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdin=theirs, stdout=theirs, env=environment
    ):
        os.close(theirs)
        said = b""
        with suppress(OSError):  # which is how the end is told
            while part := os.read(ours, 65536):
                said += part
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;]*m", "", said.decode()).replace("\r", "").split("\n")


def others(folder: Path, *names: str, **first: Any) -> Path:
    """Write an asset of somebody else's, of one process after the other."""
    folder.mkdir()
    items = [
        process(name, f"2026-03-03T{n // 60 % 24:02}:{n % 60:02}:00Z")
        for n, name in enumerate(names)
    ]
    items[0].update(first)
    (folder / "processing.json").write_text(json.dumps({"data_processes": items}))
    return folder


def test_the_asset_its_processes_and_their_nesting_are_seen_in_a_terminal_of_80_columns(
    asset: Path,
) -> None:
    lines = on_terminal(80, asset)
    text = "\n".join(lines)

    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("ecephys_900101_2026-03-02_18-30-05_width_20")
    assert "made from  ecephys_900101_2026-03-02_18-30-05\n" in text
    assert "run by     Sample Scientist\n" in text
    assert re.search(r"inherited  subject.json, [\w., ]+\n? +[\w., \n]+from\s+ecephys_900101", text)
    assert "4 processes, 1 inherited, 1 failed, " in text
    assert re.search(r"\n  width +20\d\d-\d\d-\d\d \d\d:\d\d:\d\d +<?\d+ ms +completed\n", text)
    assert re.search(r"\n    fit +\d\d:\d\d:\d\d +<?\d+ ms +failed\n", text)
    assert "    ├── fit  Analysis  failed\n    │   why         Failed: RuntimeError: did" in text
    assert re.search(r"code +unit-tuning 1\.2\.0", text)
    assert "follows     Spike sorting\n" in text
    assert "output      width.csv\n" in text
    assert "parameters  steps=100\n" in text
    assert "results     width=23.9\n" in text


def test_a_narrow_terminal_tells_the_same_on_more_lines(asset: Path) -> None:
    lines = on_terminal(40, asset)

    assert max(map(len, lines)) <= 40
    assert any(re.fullmatch(r" +fit failed +<?\d+ ms", line) for line in lines)
    told = re.sub(r"[\s│]", "", "".join(lines))
    for fact in ("started(UTC)20", "steps=100", "width=23.9", "Failed:RuntimeError:didnotconverge"):
        assert fact in told


def test_what_is_piped_is_neither_coloured_nor_cut_nor_wrapped(asset: Path, tmp_path: Path) -> None:
    long = others(tmp_path / "long", "x" * 300, output_path="y" * 300)
    done = show(asset, COLUMNS="40")
    assert (done.status, done.err) == (0, "")
    assert "\x1b" not in done.out
    assert re.search(
        r"inherited  subject\.json, .*, from ecephys_900101_2026-03-02_18-30-05\n", done.out
    )
    assert all(line == line.rstrip() for line in done.out.splitlines())
    told = show(long).out
    assert told.count("x" * 300) == 2
    assert f"output  {'y' * 300}\n" in told


def test_names_from_a_file_stay_text_and_keep_no_secret(tmp_path: Path) -> None:
    names = [f"{ESCAPE}evil", "[bold]markup[/] :smile:", "שלום", "🧠", f"token={CANARY}"]
    folder = others(
        tmp_path / "hostile",
        *names,
        code={
            "url": f"https://user:{CANARY}@example.org/{ESCAPE}",
            "parameters": {ESCAPE: ESCAPE, "password": CANARY},
        },
        notes=f"Failed: {ESCAPE}",
    )
    lines = on_terminal(60, folder)
    text = "\n".join(lines)
    assert r"\x1b]0;gotcha\x07\x1b[31m\u202eevil" in re.sub(r"\s", "", text)
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text)
    for name in names[1:4]:
        assert name in text
    for said in (text, show(folder).out, show("--json", folder).out):
        assert CANARY not in said
        assert "\x1b" not in said


@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}]
)
def test_where_only_ascii_is_known_the_drawing_is_ascii(
    asset: Path, environment: dict[str, str]
) -> None:
    done = show(asset, **environment)
    assert done.status == 0
    assert done.out.isascii()
    assert "    +-- fit  Analysis  failed\n    |   why " in done.out


def test_that_the_run_failed_is_seen_however_much_is_noted(tmp_path: Path) -> None:
    folder = others(tmp_path / "noted", "fit")
    path = folder / "processing.json"
    notes = "\n".join([*(f"note {n}" for n in range(20)), "The run failed: ValueError: no"])
    path.write_text(json.dumps({**json.loads(path.read_text()), "notes": notes}))
    assert re.search(r"\nnotes +The run failed: ValueError: no\n +note 0\n", show(folder).out)


def test_of_many_processes_some_are_shown_those_that_failed_among_them(tmp_path: Path) -> None:
    folder = others(tmp_path / "many", *(f"step {n}" for n in range(300)))
    path = folder / "processing.json"
    processing = json.loads(path.read_text())
    for n in (250, 299):
        processing["data_processes"][n]["notes"] = "Failed: ValueError: no"
    path.write_text(json.dumps(processing))
    done = show(folder)
    assert "300 processes, 2 failed, " in done.out
    assert "and 200 more: see them with --all\n" in done.out
    assert done.out.endswith("and 280 more: see them with --all\n")
    assert re.search(r"\nstep 250 .* failed\n", done.out)
    assert "── step 299  Analysis  failed\n" in done.out
    everything = show("--all", folder).out
    assert "more" not in everything
    assert len(re.findall(r"── step \d+  Analysis", everything)) == 300


def test_what_cannot_be_read_and_who_left_no_metadata_is_said_with_what_mends_it(
    tmp_path: Path,
) -> None:
    folder = others(tmp_path / "two words", "fit")
    (folder / "data_description.json").write_text("{")
    (folder / ".asset-provenance" / "1f").mkdir(parents=True)
    done = show(folder)
    assert done.status == 0
    assert "data_description.json is not valid JSON: line 1" in done.out
    assert f"-> asset-provenance check '{folder}'\n" in done.out
    assert "warning: 1 run without metadata: ended too early, or still at work\n" in done.out
    assert f"-> asset-provenance recover '{folder}'\n" in done.out


def test_json_has_all_that_is_known(asset: Path) -> None:
    told = show("--json", asset).json
    assert told["name"] == told["description"]["name"]
    assert (told["folder"], told["label"], told["unfinished"]) == (str(asset), "width", 0)
    files = {file["path"]: file["inherited_from"] for file in told["files"]}
    assert files["processing.json"] is None
    assert files["subject.json"] == "ecephys_900101_2026-03-02_18-30-05"
    sorting, width, first, second = told["processes"]
    assert [sorting["is_inherited"], width["is_inherited"]] == [True, False]
    assert [one["status"] for one in (width, first, second)] == ["completed", "failed", "completed"]
    assert (first["parent"], second["parameters"]) == ("width", {"steps": 100})
    assert width["code"]["version"] == "1.2.0"
    assert width["inputs"][0]["name"] == "ecephys_900101_2026-03-02_18-30-05"
    assert width["seconds"] >= second["seconds"] >= 0
    assert width["resources"]["cpu_cores"] >= 1


def test_the_schema_is_not_imported_to_look_at_an_asset(asset: Path) -> None:
    code = """
import sys
from asset_provenance.cli import main
assert main(sys.argv[1:]) == 0
assert not [name for name in sys.modules if name.startswith("aind_data_schema")]
"""
    for options in ([], ["--json"]):
        given = [sys.executable, "-c", code, "show", str(asset), *options]
        assert subprocess.run(given, stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_misuse_gives_status_2_and_a_word(tmp_path: Path) -> None:
    empty = show(tmp_path)
    assert (empty.status, empty.out) == (2, "")
    assert "neither data_description.json nor processing.json" in empty.err
    missing = show(tmp_path / "missing", "--json")
    assert (missing.status, missing.out) == (2, "")
    assert "there is no folder" in missing.err
    (tmp_path / "processing.json").touch()
    assert "processing.json (that is a file): give the" in show(tmp_path / "processing.json").err


def test_a_folder_with_a_space_in_its_name_is_one_word_in_the_command_to_copy(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "my results"
    record = folder / ".asset-provenance" / "1f"
    record.mkdir(parents=True)
    (record / "2e.jsonl").write_text("{}\n")
    assert f"asset-provenance recover '{folder}'" in show(folder).err


def test_a_folder_of_code_has_its_name_as_people_write_it(tmp_path: Path) -> None:
    url = "file:///home/ada/M%C3%A4use%20%26%20mehr"
    made = others(tmp_path / "asset", "smooth", code={"url": url})
    assert "    code  Mäuse & mehr" in show(made, PYTHONIOENCODING="utf-8").out


def test_real_metadata_of_both_schema_versions_are_shown(samples: Path, tmp_path: Path) -> None:
    derived = show(samples / "zombie-squirrel" / "derived").out
    assert "made from  828418_2026-02-13_18-31-13\n" in derived
    assert "code  aind-vr-foraging-primary-data-nwb-packaging 6.0\n" in derived
    old = samples / "aind-metadata-upgrader" / "v1_2ebb0312" / "metadata.nd.v1.json"
    (tmp_path / "metadata.nd.json").write_bytes(old.read_bytes())
    assert re.search(r"\nOther +2025-10-08 20:31:19 +2 min 01 s\n", show(tmp_path).out)
