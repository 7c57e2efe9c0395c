"""The files of a set appear all together or not at all."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from asset_provenance import StorageError
from asset_provenance.metadata.manifest import find_obstacles
from asset_provenance.metadata.writer import FileToWrite, roll_forward, write_set

HEADER = {"process_name": "tuning", "name": "x_tuning"}
NEW = [
    FileToWrite("data_description.json", b"new description"),
    FileToWrite("subject.json", b"new subject", inherited_from="raw"),
    FileToWrite("provenance/notes.txt", b"new notes"),
]
FOLDER = Path("results")


@pytest.fixture
def run_folder() -> Path:
    folder = FOLDER / ".asset-provenance" / "run"
    folder.mkdir(parents=True)
    return folder


def contents() -> dict[str, str]:
    return {
        path.relative_to(FOLDER).as_posix(): path.read_text()
        for path in FOLDER.rglob("*")
        if path.is_file() and ".asset-provenance" not in path.parts
    }


def test_a_set_is_written_with_a_manifest_that_lists_it(run_folder: Path) -> None:
    written = write_set(FOLDER, run_folder, NEW, header=HEADER)
    assert [path.relative_to(FOLDER).as_posix() for path in written] == [
        *(file.path for file in NEW),
        "provenance/asset-provenance.json",
    ]
    found = contents()
    manifest = json.loads(found.pop("provenance/asset-provenance.json"))
    assert found == {file.path: file.content.decode() for file in NEW}
    assert (manifest["format"], manifest["process_name"]) == (1, "tuning")
    assert list(manifest["files"]) == [file.path for file in NEW]
    assert manifest["files"]["subject.json"]["inherited_from"] == "raw"
    assert len(manifest["files"]["subject.json"]["sha256"]) == 64


def test_when_one_file_cannot_be_written_none_appears_and_the_old_ones_stay(
    run_folder: Path,
) -> None:
    (FOLDER / "data_description.json").write_text("old description")
    (FOLDER / "subject.json").mkdir()
    with pytest.raises(StorageError, match="subject.json"):
        write_set(FOLDER, run_folder, NEW, header=HEADER, overwrite=True)
    assert contents() == {"data_description.json": "old description"}
    assert not (run_folder / "commit.json").exists()
    assert not (FOLDER / "provenance").exists()


def test_when_the_disk_is_full_nothing_has_changed(run_folder: Path, tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size=64k tmpfs {mount} 2>/dev/null"):
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        (mount / "subject.json").write_text("old")
        inner = mount / ".asset-provenance" / "run"
        inner.mkdir(parents=True)
        big = [*NEW, FileToWrite("big.json", b"x" * 200_000)]
        with pytest.raises(StorageError, match="No space left"):
            write_set(mount, inner, big, header=HEADER, overwrite=True)
        shutil.rmtree(mount / ".asset-provenance")
        assert [path.name for path in mount.iterdir()] == ["subject.json"]
        assert (mount / "subject.json").read_text() == "old"
    finally:
        os.system(f"umount {mount}")


@pytest.mark.parametrize("moved", range(4))
def test_a_set_whose_writer_was_killed_between_renames_is_rolled_forward(
    run_folder: Path, moved: int
) -> None:
    (FOLDER / "subject.json").write_text("old subject")
    child = os.fork()
    if child == 0:
        count = 0
        replace = Path.replace

        def die_in_time(self: Path, target: Path) -> Path:
            nonlocal count
            if "staged" in self.parts:
                if count == moved:
                    os._exit(9)
                count += 1
            return replace(self, target)

        Path.replace = die_in_time  # type: ignore[method-assign]
        write_set(FOLDER, run_folder, NEW, header=HEADER, overwrite=True)
        os._exit(0)
    os.waitpid(child, 0)
    assert (run_folder / "commit.json").exists()
    roll_forward(FOLDER)
    found = contents()
    assert json.loads(found.pop("provenance/asset-provenance.json"))["name"] == "x_tuning"
    assert found == {file.path: file.content.decode() for file in NEW}
    assert not run_folder.exists()
    assert roll_forward(FOLDER) == []


def test_a_marker_that_leads_out_of_the_folder_moves_nothing_there(run_folder: Path) -> None:
    staged = run_folder / "staged"
    staged.mkdir()
    Path("outside.txt").write_text("mine")
    (run_folder / "commit.json").write_text(
        json.dumps(
            {
                "files": ["../outside.txt"],
                "stale": ["../outside.txt", "/etc/hostname"],
                "present": {"../outside.txt": None},
            }
        )
    )
    roll_forward(FOLDER)
    assert Path("outside.txt").read_text() == "mine"
    assert Path("/etc/hostname").exists()


def test_a_marker_that_cannot_be_read_is_told(run_folder: Path) -> None:
    (run_folder / "commit.json").write_text("{}")
    with pytest.raises(StorageError, match="earlier run"):
        roll_forward(FOLDER)


def test_only_our_own_unedited_files_of_the_same_process_are_no_obstacle(run_folder: Path) -> None:
    write_set(FOLDER, run_folder, NEW, header=HEADER)
    assert find_obstacles(FOLDER, "tuning") == []
    assert find_obstacles(FOLDER, "other") == ["data_description.json", "subject.json"]
    (FOLDER / "subject.json").write_text("edited")
    (FOLDER / "model.json").symlink_to("nowhere")
    assert find_obstacles(FOLDER, "tuning") == ["subject.json", "model.json"]


@pytest.mark.parametrize("manifest", ["not json", "[]", '{"process_name": "tuning", "files": 5}'])
def test_a_manifest_that_is_not_ours_makes_every_file_an_obstacle(
    run_folder: Path, manifest: str
) -> None:
    write_set(FOLDER, run_folder, NEW, header=HEADER)
    (FOLDER / "provenance" / "asset-provenance.json").write_text(manifest)
    everything = ["data_description.json", "subject.json", "provenance/asset-provenance.json"]
    assert find_obstacles(FOLDER, "tuning") == everything
    with pytest.raises(StorageError, match=r"now holds data_description\.json, subject\.json"):
        write_set(FOLDER, run_folder, NEW, header=HEADER)
    assert write_set(FOLDER, run_folder, NEW, header=HEADER, overwrite=True)


def test_what_others_keep_beside_the_metadata_is_not_replaced_but_ours_is(run_folder: Path) -> None:
    patch = FileToWrite("provenance/uncommitted-0123.patch", b"new")
    write_set(FOLDER, run_folder, [*NEW, patch], header=HEADER)
    write_set(FOLDER, run_folder, [*NEW, replace(patch, content=b"newer")], header=HEADER)
    (FOLDER / patch.path).write_text("by hand")
    with pytest.raises(StorageError, match=r"now holds provenance/uncommitted-0123\.patch"):
        write_set(FOLDER, run_folder, [*NEW, patch], header=HEADER)
    write_set(FOLDER, run_folder, [*NEW, replace(patch, content=b"by hand")], header=HEADER)


def test_rolling_forward_never_replaces_what_was_written_since(run_folder: Path) -> None:
    child = os.fork()
    if child == 0:
        Path.replace = lambda self, target: (
            os._exit(9)
            if "staged" in self.parts
            # type: ignore
            else (os.rename(self, target))
        )
        write_set(FOLDER, run_folder, NEW, header=HEADER)
    os.waitpid(child, 0)
    (FOLDER / "subject.json").write_text("by hand")
    with pytest.raises(StorageError, match=r"subject\.json was written since"):
        roll_forward(FOLDER)
    assert contents() == {"subject.json": "by hand"}
    (FOLDER / "subject.json").unlink()
    roll_forward(FOLDER)
    assert contents()["subject.json"] == "new subject"


def test_what_a_hostile_folder_left_is_not_put_in_place_through_a_link(
    run_folder: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (FOLDER / "provenance").symlink_to(outside)
    staged = run_folder / "staged" / "provenance"
    staged.mkdir(parents=True)
    (staged / "notes.txt").write_text("mine")
    marker = {"files": ["provenance/notes.txt"], "stale": [], "present": {}}
    (run_folder / "commit.json").write_text(json.dumps(marker))
    with pytest.raises(StorageError, match="leads out of the folder"):
        roll_forward(FOLDER)
    assert list(outside.iterdir()) == []
    (run_folder / "commit.json").unlink()
    os.mkfifo(run_folder / "commit.json")
    with pytest.raises(StorageError, match="leads out of the folder"):
        roll_forward(FOLDER)
