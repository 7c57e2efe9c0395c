"""The command ``asset-provenance check``, as a user runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asset_provenance import DerivedAsset
from asset_provenance.cli import main
from asset_provenance.metadata import writer
from helpers.assets import FACTS, PEOPLE, read_json, write_json

RESULTS = Path("results")
ESCAPE = "\x1b]0;gotcha\x07\x1b[31m\u202e"


@pytest.fixture
def asset(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASSET_PROVENANCE_CODE_URL", "https://example.org/lab/analysis")
    monkeypatch.setenv("ASSET_PROVENANCE_CODE_VERSION", "1.0.0")
    with DerivedAsset("noise", inputs=(), base_name="model", strict=True, **FACTS, **PEOPLE):
        pass
    return RESULTS


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "asset_provenance.cli", *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def edit(folder: Path, **fields: Any) -> None:
    path = folder / "data_description.json"
    write_json(path, {**read_json(path), **fields})


def test_a_right_set_gives_status_0_and_one_line(asset: Path) -> None:
    done = command("check", asset)
    assert (done.returncode, done.stdout, done.stderr) == (0, "results: nothing is wrong\n", "")


def test_a_wrong_set_gives_status_1_and_says_where_what_and_how_to_mend_it(asset: Path) -> None:
    edit(asset, modalities=[])
    done = command("check", asset)
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    place = lines.index("error: data_description.json, modalities")
    assert lines[place + 1] == "    no modality is named"
    assert lines[place + 2].startswith('    -> name them: "modalities": [{')
    assert lines[-1] == "results: 2 errors, 0 warnings"


def test_what_is_only_warned_of_gives_status_0(asset: Path, capsys: Any) -> None:
    (asset / ".asset-provenance" / "1f").mkdir(parents=True)
    (asset / ".asset-provenance" / "1f" / "2e.jsonl").touch()
    assert main(["check", str(asset)]) == 0
    assert capsys.readouterr().out.endswith("results: 0 errors, 1 warning\n")


def test_json_has_all_that_the_text_has(asset: Path) -> None:
    edit(asset, modalities=[])
    done = command("check", "--json", asset)
    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert (told["folder"], told["errors"], told["warnings"]) == ("results", 2, 0)
    assert [found["what"] for found in told["findings"]] == [
        "it was edited since it was written",
        "no modality is named",
    ]
    assert {tuple(found) for found in told["findings"]} == {
        ("severity", "file", "where", "what", "mend")
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "missing"], "there is no folder missing"),
        (["check", "file"], "there is no folder file (that is a file)"),
        (["check", "pipe"], "there is no folder pipe"),
        (["check"], "Missing argument"),
        (["check", "a", "b"], "unexpected extra argument"),
        (["check", "--jsn", "a"], "No such option"),
        (["chek", "a"], "No such command"),
        ([], "Missing command"),
    ],
    ids=str,
)
def test_misuse_gives_status_2_and_a_word_not_a_traceback(
    arguments: list[str], words: str, capsys: Any
) -> None:
    Path("file").touch()
    os.mkfifo("pipe")
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("asset-provenance: ")
    assert words in told.err
    assert "Traceback" not in told.err


def test_misuse_in_a_shell_gives_status_2() -> None:
    assert command("check", "missing").returncode == 2


def test_an_error_of_ours_gives_status_2_and_no_traceback(
    asset: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "scandir", lambda _: 1 / 0)
    assert main(["check", str(asset)]) == 2
    assert "should not have happened: ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"]], ids=str)
def test_help_fits_80_columns_and_names_what_there_is(arguments: list[str]) -> None:
    done = command(*arguments, COLUMNS="80", TERM="xterm-256color")
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout
    for word in (
        ("--json", "DIR", "Exit status") if "check" in arguments else ("check", "--version")
    ):
        assert word in done.stdout
    assert not re.search(r"\w\.\.\.$", done.stdout, re.MULTILINE)  # cut short


def test_the_version_is_that_of_the_package(capsys: Any) -> None:
    from asset_provenance import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"asset-provenance {__version__}\n"


def test_nothing_is_coloured_or_wrapped_where_it_is_piped(asset: Path, capsys: Any) -> None:
    long = "very" * 30 + "/long name/" + "path" * 30
    edit(asset, source_data=[long])
    done = command("check", asset, COLUMNS="40", TERM="xterm-256color")
    assert "\x1b" not in done.stdout
    assert f"    no process is said to have read the source {long}\n" in done.stdout


def on_a_terminal(*arguments: object) -> str:
    terminal, end = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "asset_provenance.cli", *map(str, arguments)],
        env={**os.environ, "COLUMNS": "60", "TERM": "xterm-256color"},
        stdout=end,
        stderr=end,
    ):
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
    return told.decode()


def test_a_terminal_sees_colours_and_whole_paths_and_obeys_no_file(asset: Path) -> None:
    long = "path" * 30
    edit(asset, source_data=[long], data_summary="x", tags=["x"], name=f"[red]{ESCAPE}:smile:")
    told = on_a_terminal("check", asset)
    assert "\x1b[1;31merror: data_description.json, name" in told
    assert long in told
    assert "[red]" in told
    assert ":smile:" in told
    assert ESCAPE not in told
    assert "\x1b]0;" not in told
    assert r"\x1b]0;gotcha\x07\x1b[31m\u202e" in told
    assert "\r\n    -> run the analysis again, which writes" in told
    plain = re.sub(r"\x1b\[[0-9;]*m", "", told).split("\r\n")
    assert [line for line in plain if len(line) > 60 and max(map(len, line.split())) < 40] == []


def test_hostile_names_of_folders_and_arguments_stay_text(asset: Path, capsys: Any) -> None:
    folder = asset.rename(f"[bold]{ESCAPE}\n\udcff")
    edit(folder, modalities=[])
    assert main(["check", str(folder)]) == 1
    assert main(["check", f"missing{ESCAPE}"]) == 2
    assert main(["check", "x", f"--{ESCAPE}"]) == 2
    told = capsys.readouterr()
    assert "[bold]\\x1b]0;gotcha\\x07\\x1b[31m\\u202e\\n\\udcff: 2 errors" in told.out
    assert "\x1b" not in told.out + told.err
    assert "\u202e" not in told.out + told.err
    assert main(["check", "--json", str(folder)]) == 1
    assert json.loads(capsys.readouterr().out)["folder"] == str(folder)


def test_a_terminal_of_few_characters_is_enough(asset: Path) -> None:
    edit(asset, source_data=["Zürich"])
    done = command("check", asset, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 1
    assert r"Z\xfcrich" in done.stdout


def test_a_reader_that_goes_away_ends_the_command_quietly(asset: Path) -> None:
    edit(asset, modalities=[])
    reader, end = os.pipe()
    os.close(reader)
    with subprocess.Popen(
        [sys.executable, "-m", "asset_provenance.cli", "check", str(asset)],
        stdout=end,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(end)
        assert process.communicate()[1] == ""
    assert process.returncode == 1


def leave_half_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a set anew, and be killed when its first file is to be moved."""
    run = folder / ".asset-provenance" / "1f"
    run.mkdir(parents=True)
    files = [
        writer.FileToWrite(name, (folder / name).read_bytes())
        for name in ("data_description.json", "processing.json")
    ]
    header = read_json(folder / "provenance/asset-provenance.json")
    del header["files"]
    with monkeypatch.context() as patch:
        patch.setattr(writer, "_apply", lambda *_: sys.exit())
        with pytest.raises(SystemExit):
            writer.write_set(folder, run, files, header=header, overwrite=True)
    for name in ("data_description.json", "processing.json"):
        (folder / name).unlink()
    return run


def test_a_set_whose_writer_was_killed_is_put_into_place_first(
    asset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = leave_half_written(asset, monkeypatch)
    done = command("check", asset)
    assert (done.returncode, done.stdout) == (0, "results: nothing is wrong\n")
    assert "finished writing the metadata of an earlier run" in done.stderr
    assert not run.parent.exists()


def test_a_set_that_somebody_is_writing_is_left_alone(
    asset: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    from asset_provenance.folder import OutputFolder

    leave_half_written(asset, monkeypatch)
    own = OutputFolder(asset.absolute())
    assert main(["check", str(asset)]) == 1
    own.give_back()
    told = capsys.readouterr()
    assert "another run has the output folder" in told.err
    assert "killed while it put its files into place" in told.out


def test_a_set_that_would_be_put_elsewhere_is_only_told(
    asset: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    leave_half_written(asset, monkeypatch)
    (asset / "provenance").rename("outside")
    (asset / "provenance").symlink_to(Path("outside").absolute())
    before = sorted(path.name for path in Path("outside").iterdir())
    assert main(["check", str(asset)]) == 1
    assert sorted(path.name for path in Path("outside").iterdir()) == before
    assert "killed while it put its files into place" in capsys.readouterr().out
