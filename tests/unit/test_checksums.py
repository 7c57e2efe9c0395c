"""The checksum list of an asset's data files."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from asset_provenance.checksums import CHECKSUMS, checksum_list, data_files

ODD_NAMES = (
    b"plain.csv",
    b"with space.csv",
    b"-starts-with-a-hyphen",
    b"back\\slash",
    b"new\nline",
    b"return\r",
    b"not utf-8 \xff\xfe",
    b"deep/er/data_description.json",
    b"deep/provenance/kept.txt",
    b".hidden",
    b"*star",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    result = tmp_path / "asset"
    result.mkdir()
    for name in ODD_NAMES:
        path = os.path.join(os.fsencode(result), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"content of " + name)
    (result / "data_description.json").write_text("{}")
    for inner in ("provenance", ".asset-provenance"):
        (result / inner).mkdir()
        (result / inner / "ours.json").write_text("{}")
    return result


def verify(folder: Path, content: bytes) -> subprocess.CompletedProcess[bytes]:
    (folder / CHECKSUMS).write_bytes(content)
    return subprocess.run(
        ["sha256sum", "--strict", "-c", CHECKSUMS],
        cwd=folder,
        capture_output=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )


needs_sha256sum = pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs sha256sum")


@needs_sha256sum
def test_sha256sum_finds_every_data_file_right_whatever_its_name_is(folder: Path) -> None:
    done = verify(folder, checksum_list(folder))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b": OK\n") == len(ODD_NAMES)


@needs_sha256sum
def test_sha256sum_finds_a_data_file_that_was_edited(folder: Path) -> None:
    content = checksum_list(folder)
    (folder / "plain.csv").write_text("other")
    done = verify(folder, content)
    assert done.returncode == 1
    assert b"plain.csv: FAILED" in done.stdout


@needs_sha256sum
def test_the_list_is_what_sha256sum_itself_writes_in_the_order_of_the_names(folder: Path) -> None:
    theirs = subprocess.run(
        [b"sha256sum", b"--", *sorted(ODD_NAMES)], cwd=folder, capture_output=True, check=True
    )
    assert checksum_list(folder) == theirs.stdout


def test_many_and_large_files_are_all_there(tmp_path: Path) -> None:
    contents = {f"{number:04}": os.urandom(number) for number in range(300)}
    contents["large"] = os.urandom(3 * 1024 * 1024 + 1)
    for name, content in contents.items():
        (tmp_path / "asset").mkdir(exist_ok=True)
        (tmp_path / "asset" / name).write_bytes(content)
    lines = checksum_list(tmp_path / "asset").decode().splitlines()
    assert lines == [
        f"{hashlib.sha256(content).hexdigest()}  {name}"
        for name, content in sorted(contents.items())
    ]


def test_a_link_to_a_file_is_a_file_and_a_link_to_a_folder_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "asset"
    folder.mkdir()
    (folder / "a").write_text("a")
    (folder / "b").symlink_to("a")
    (folder / "round").symlink_to(".")
    (folder / "nowhere").symlink_to("missing")
    (folder / "itself").symlink_to("itself")
    os.mkfifo(folder / "pipe")
    digest = hashlib.sha256(b"a").hexdigest()
    assert checksum_list(folder).decode() == f"{digest}  a\n{digest}  b\n"
    for told in (
        "round (it is a link to a folder)",
        "nowhere (it is no file)",
        "itself (it is no file)",
        "pipe (it is no file)",
    ):
        assert told in caplog.text


def test_a_file_that_grows_while_it_is_read_is_told_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "asset"
    folder.mkdir()
    (folder / "whole").write_text("whole")
    (folder / "growing").write_bytes(b"x" * 64 * 1024 * 1024)
    stop = threading.Event()

    def grow() -> None:
        with (folder / "growing").open("ab") as file:
            while not stop.is_set():
                file.write(b"more")
                file.flush()

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        content = checksum_list(folder)
    finally:
        stop.set()
        thread.join()
    assert content.decode() == f"{hashlib.sha256(b'whole').hexdigest()}  whole\n"
    assert "growing (it changed while it was read)" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to become somebody else")
def test_a_file_that_cannot_be_read_is_told_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "asset"
    folder.mkdir(mode=0o755)
    (folder / "whole").write_text("whole")
    (folder / "secret").write_text("not for everybody")
    (folder / "secret").chmod(0)
    monkeypatch.chdir(folder)  # nobody may not come here by its path
    os.seteuid(65534)
    try:
        content = checksum_list(Path())
    finally:
        os.seteuid(0)
    assert content.decode() == f"{hashlib.sha256(b'whole').hexdigest()}  whole\n"
    assert "secret (Permission denied)" in caplog.text


def test_a_link_that_leads_out_of_the_folder_is_told_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "asset"
    folder.mkdir()
    (tmp_path / "elsewhere").write_text("elsewhere")
    (folder / "away").symlink_to("../elsewhere")
    assert checksum_list(folder) == b""
    assert "away (it is a link that leads out of the folder)" in caplog.text


def test_a_name_that_holds_a_secret_is_told_without_it_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "asset"
    folder.mkdir()
    (folder / "atlas.zip?token=c4naryC4NARY").write_text("as wget names it")
    assert checksum_list(folder) == b""
    assert "atlas.zip?token=[redacted]" in caplog.text
    assert "c4nary" not in caplog.text


def test_an_asset_without_data_has_an_empty_list(tmp_path: Path) -> None:
    (tmp_path / "processing.json").write_text("{}")
    assert list(data_files(tmp_path)) == []
    assert checksum_list(tmp_path) == b""
