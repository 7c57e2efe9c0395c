"""Which of several commits ``resolve`` takes, and from which remote others get it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from asset_provenance.cli import main
from helpers.repositories import CANARY, PUBLIC, git, new_repository, push

OTHER = "https://github.com/someone/unit-tuning"


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with one commit, which its remote has."""
    at(monkeypatch, "2024-01-01")
    return new_repository(tmp_path / "clone")


def at(monkeypatch: pytest.MonkeyPatch, time: str) -> None:
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_DATE", time if time[0] == "@" else f"{time}T00:00:00Z")


def result(clone: Path, tmp_path: Path, begun: str = "2024-06-01") -> Path:
    """Give a result of the code as it is in the clone now."""
    folder = tmp_path / "results"
    folder.mkdir()
    code = {
        "url": "file:///capsule/code",
        "version": f"tree:{git(clone, 'rev-parse', 'HEAD:code')}",
        "run_script": "run.py",
    }
    process = {"name": "fit", "start_date_time": f"{begun}T00:00:00Z", "code": code}
    (folder / "processing.json").write_text(json.dumps({"data_processes": [process]}))
    return folder


def empty_commit(clone: Path, text: str = "work") -> str:
    git(clone, "commit", "-q", "--allow-empty", "-m", text)
    return git(clone, "rev-parse", "HEAD")


def resolved(folder: Path, clone: Path, status: int = 0) -> dict[str, Any]:
    assert main(["resolve", str(folder), "--repo", str(clone)]) == status
    written = json.loads((folder / "processing.json").read_text())
    return written["data_processes"][0]["code"]  # type: ignore[no-any-return]


def test_what_a_stash_has_put_aside_is_no_commit_of_the_repository(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, folder = git(clone, "rev-parse", "HEAD"), result(clone, tmp_path)
    at(monkeypatch, "2024-02-01")
    (clone / "code" / "run.py").write_text("changed\n")
    git(clone, "stash")  # with a commit of what was staged: the very tree of HEAD
    assert resolved(folder, clone)["commit_hash"] == ran


def test_of_commits_with_the_same_code_one_that_others_can_get_is_taken(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed, folder = git(clone, "rev-parse", "HEAD"), result(clone, tmp_path)
    at(monkeypatch, "2024-02-01")
    empty_commit(clone)
    assert resolved(folder, clone)["commit_hash"] == pushed


def test_a_commit_that_is_not_pushed_is_told_as_such(
    clone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    at(monkeypatch, "2024-02-01")
    (clone / "code" / "run.py").write_text("changed\n")
    git(clone, "add", "--all")
    local = empty_commit(clone)
    assert resolved(result(clone, tmp_path), clone)["commit_hash"] == local
    assert f"commit {local[:12]} is on no remote branch" in capsys.readouterr().out


def test_the_url_is_of_the_remote_that_has_the_commit(clone: Path, tmp_path: Path) -> None:
    git(clone, "remote", "add", "fork", OTHER)
    git(clone, "checkout", "-q", "-b", "topic")
    (clone / "code" / "run.py").write_text("changed\n")
    git(clone, "add", "--all")
    commit = empty_commit(clone)
    git(clone, "update-ref", "refs/remotes/fork/topic", "HEAD")
    folder = result(clone, tmp_path)
    git(clone, "checkout", "-q", "main")
    found = resolved(folder, clone)
    assert (found["commit_hash"], found["url"]) == (commit, OTHER)


def test_the_tag_of_the_release_is_the_version_not_its_candidate_nor_one_that_moves(
    clone: Path, tmp_path: Path
) -> None:
    for tag in ("1.0", "1.0-rc1", "1.0rc2", "latest"):
        git(clone, "tag", tag)
    assert resolved(result(clone, tmp_path), clone)["version"] == "1.0"


def test_a_folder_that_is_twice_in_a_commit_is_the_one_nearest_to_the_top(
    clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (clone / "a" / "old").mkdir(parents=True)
    (clone / "a" / "old" / "run.py").write_bytes((clone / "code" / "run.py").read_bytes())
    git(clone, "add", "--all")
    git(clone, "commit", "-q", "--amend", "-m", "twice")
    push(clone)
    assert resolved(result(clone, tmp_path), clone)["run_script"] == "code/run.py"
    assert "other commit" not in capsys.readouterr().out


def test_a_commit_with_an_impossible_time_does_not_end_the_search(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, folder = git(clone, "rev-parse", "HEAD"), result(clone, tmp_path)
    at(monkeypatch, "@99999999999999 +0000")
    empty_commit(clone)
    push(clone)
    assert resolved(folder, clone)["commit_hash"] == ran


def test_a_folder_in_the_clone_stands_for_the_clone(clone: Path, tmp_path: Path) -> None:
    found = resolved(result(clone, tmp_path), clone / "code")
    assert (found["commit_hash"], found["url"]) == (git(clone, "rev-parse", "HEAD"), PUBLIC)


def test_a_clone_without_work_tree_is_searched_and_not_the_repository_around_it(
    clone: Path, tmp_path: Path
) -> None:
    around = new_repository(tmp_path / "around", remote=None)
    git(clone, "clone", "-q", "--bare", str(clone), str(around / "mirror.git"))
    git(around, "commit", "-q", "--amend", "-m", "another with the same code")
    found = resolved(result(clone, tmp_path), around / "mirror.git")
    assert found["commit_hash"] == git(clone, "rev-parse", "HEAD")


@pytest.mark.parametrize("listed", ["3", '["x", null]'])
def test_a_file_of_another_form_has_nothing_to_resolve(
    clone: Path, tmp_path: Path, listed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = result(clone, tmp_path)
    (folder / "processing.json").write_text(f'{{"data_processes": {listed}}}')
    assert main(["resolve", str(folder), "--repo", str(clone)]) == 0
    assert "nothing to resolve" in capsys.readouterr().out


def test_half_a_sign_that_the_file_has_stays_as_it_is(clone: Path, tmp_path: Path) -> None:
    folder = result(clone, tmp_path)
    path = folder / "processing.json"
    path.write_text(path.read_text().replace('"fit"', r'"fit \ud83d"'))
    before = json.loads(path.read_text())["data_processes"][0]["name"]
    resolved(folder, clone)
    assert json.loads(path.read_text())["data_processes"][0]["name"] == before


def test_names_in_the_clone_that_are_no_text_or_a_secret_leave_the_file_valid(
    clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = result(clone, tmp_path)
    (clone / "code").rename(os.fsdecode(os.fsencode(clone) + b"/\xff"))
    git(clone, "add", "--all")
    git(clone, "commit", "-q", "--amend", "-m", "renamed")
    git(clone, "tag", CANARY)
    git(clone, "tag", os.fsdecode(b"\xfe"))
    found = resolved(folder, clone)
    assert found["run_script"] == r"\xff/run.py"
    assert CANARY not in (folder / "processing.json").read_text() + capsys.readouterr().out
