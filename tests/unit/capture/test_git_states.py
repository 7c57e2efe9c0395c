"""What is said of code in work trees that are not in their plain state."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from asset_provenance.capture import git as git_module
from asset_provenance.capture.code import CodeIdentifier
from helpers.repositories import PUBLIC, ask, commit, git, new_repository, notes, push

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"
NONE = "sh -c 'exit 1'"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return new_repository(tmp_path / "repo")


def touch(path: Path) -> None:
    """Make git look at the content of a file."""
    os.utime(path, (1, 1))


def expect_clean(folder: Path, file: str = "code/run.py") -> None:
    record = ask(folder, file)
    head = git(folder, "rev-parse", "HEAD")
    assert (record.url, record.commit_hash, record.notes) == (PUBLIC, head[:60], ())


# What lies where it should not count.


def test_data_and_results_of_the_run_are_no_untracked_code(repo: Path) -> None:
    folders = [repo / "data", repo / "results", repo / "out [1]" / "a*" / "results"]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "x.json").write_text("{}")
    (repo / ".asset-provenance").mkdir()
    (repo / ".asset-provenance" / "journal").write_text("")
    assert ask(repo, without=map(str, folders)).notes == ()
    (repo / "out [1]" / "a*" / "own.py").write_text("A = 1\n")
    found = notes(ask(repo, without=map(str, folders)))
    assert found == "1 untracked file or folder is not in the commit: out [1]/"
    assert "data/, out [1]/, results/" in notes(ask(repo))


def test_results_of_earlier_runs_are_no_untracked_code(repo: Path) -> None:
    (repo / "first" / "provenance").mkdir(parents=True)
    (repo / "first" / "provenance" / "asset-provenance.json").write_text("{}")
    assert ask(repo).notes == ()
    (repo / "second").mkdir()
    (repo / "second" / "own.py").write_text("A = 1\n")
    assert "not in the commit: second/" in notes(ask(repo))


@pytest.mark.parametrize("around", [".", "..", "../elsewhere"])
def test_a_folder_around_the_code_hides_nothing(repo: Path, around: str) -> None:
    (repo / "own.py").write_text("A = 1\n")
    found = notes(ask(repo, without=[str(repo / around)]))
    assert found == "1 untracked file or folder is not in the commit: own.py"


def test_changed_results_that_are_in_the_commit_are_changes(repo: Path) -> None:
    (repo / "results").mkdir()
    (repo / "results" / "x.json").write_text("{}")
    commit(repo)
    push(repo)
    (repo / "results" / "x.json").write_text("[]")
    found = notes(ask(repo, without=[str(repo / "results")]))
    assert found.startswith("1 file has uncommitted changes, kept as")


# Large files and other filters.


@pytest.fixture
def large(repo: Path) -> Path:
    """Give a repository with a large file, of which git keeps a pointer."""
    content = b"much\r\n" * 500_000
    (repo / ".gitattributes").write_text("*.h5 filter=lfs diff=lfs merge=lfs -text\n")
    pointer = LFS.format(hashlib.sha256(content).hexdigest(), len(content))
    (repo / "model.h5").write_text(pointer)
    (repo / "other.h5").write_text(pointer)
    (repo / "empty.h5").write_text("")
    commit(repo)
    push(repo)
    # As `git lfs install` sets it; the program is not there.
    git(repo, "config", "filter.lfs.clean", NONE)
    git(repo, "config", "filter.lfs.process", NONE)
    git(repo, "config", "filter.lfs.required", "true")
    (repo / "model.h5").write_bytes(content)
    for name in ("other.h5", "empty.h5"):
        touch(repo / name)
    return repo


def test_a_large_file_that_was_fetched_or_not_is_unchanged(large: Path) -> None:
    expect_clean(large)


def test_a_changed_large_file_is_told_and_its_content_not_kept(large: Path) -> None:
    with (large / "model.h5").open("ab") as file:
        file.write(b"more")
    (large / "helper.py").write_text("A = 2\n")
    identifier = CodeIdentifier()
    head = git(large, "rev-parse", "HEAD")
    assert identifier.of_file(str(large / "code" / "run.py")).notes == (
        f"2 files have uncommitted changes, kept as provenance/uncommitted-{head}.patch, "
        "without the large model.h5",
    )
    assert b"+A = 2" in identifier.patches[0].content
    assert b"model.h5" not in identifier.patches[0].content


def test_changed_large_files_alone_leave_no_patch(large: Path) -> None:
    (large / "model.h5").write_text("new")
    identifier = CodeIdentifier()
    found = notes(identifier.of_file(str(large / "code" / "run.py")))
    assert "1 file has uncommitted changes: model.h5; there is no patch of them" in found
    assert identifier.patches == ()


def test_what_another_filter_would_say_is_not_guessed(repo: Path) -> None:
    (repo / ".gitattributes").write_text("*.ipynb filter=strip\n")
    for name in ("a.ipynb", "b.ipynb", "c.ipynb"):
        (repo / name).write_text("stripped\n")
    commit(repo)
    push(repo)
    git(repo, "config", "filter.strip.clean", NONE)
    (repo / "a.ipynb").write_text("stripped\noutput\n")
    touch(repo / "b.ipynb")
    (repo / "c.ipynb").unlink()
    identifier = CodeIdentifier()
    record = identifier.of_file(str(repo / "code" / "run.py"))
    assert record.notes[1:] == (
        "1 file was not compared with the commit, since git would run a filter for that: a.ipynb",
    )
    assert record.notes[0].startswith("1 file has uncommitted changes, kept as")
    assert b"output" not in identifier.patches[0].content


def test_a_filter_that_only_writes_to_the_work_tree_is_no_reason_for_doubt(repo: Path) -> None:
    (repo / ".gitattributes").write_text("*.py filter=out\n")
    commit(repo)
    push(repo)
    git(repo, "config", "filter.out.smudge", NONE)
    (repo / "helper.py").write_text("A = 2\n")
    assert notes(ask(repo)).startswith("1 file has uncommitted changes, kept as")


# What git was told to do.


@pytest.mark.parametrize("mark", ["--assume-unchanged", "--skip-worktree"])
def test_a_file_that_git_was_told_not_to_look_at_is_said(repo: Path, mark: str) -> None:
    git(repo, "update-index", mark, "helper.py")
    (repo / "helper.py").write_text("A = 2\n")
    assert ask(repo).notes == (
        "1 file was not compared with the commit, being marked assume-unchanged or "
        "skip-worktree in git: helper.py",
    )


@pytest.mark.parametrize("index", ["full", "sparse"])
def test_of_a_sparse_checkout_nothing_is_missing(repo: Path, index: str) -> None:
    for number in range(3):
        (repo / f"large{number}").mkdir()
        (repo / f"large{number}" / "x.txt").write_text("x\n")
    commit(repo)
    push(repo)
    form = ["--sparse-index"] if index == "sparse" else []
    git(repo, "sparse-checkout", "set", "--cone", *form, "code")
    assert not (repo / "large0").exists()
    expect_clean(repo)
    (repo / "code" / "run.py").write_text("A = 2\n")
    assert notes(ask(repo)).startswith("1 file has uncommitted changes, kept as")


def test_a_sparse_partial_clone_is_told_as_it_is(repo: Path, tmp_path: Path) -> None:
    git(repo, "config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--filter=blob:none", "--sparse", repo.as_uri(), str(clone))
    git(clone, "remote", "set-url", "origin", PUBLIC)
    expect_clean(clone, "helper.py")
    (clone / "helper.py").write_text("A = 2\n")
    assert notes(ask(clone, "helper.py")).startswith("1 file has uncommitted changes, kept as")


@pytest.mark.parametrize("form", ["split", "untracked-cache", "fsmonitor", "version 4"])
def test_an_index_of_any_form_is_read_and_left_as_it_is(repo: Path, form: str) -> None:
    commands = {
        "split": ["update-index", "--split-index"],
        "untracked-cache": ["update-index", "--force-untracked-cache"],
        "version 4": ["update-index", "--index-version", "4"],
    }
    if form == "fsmonitor":
        git(repo, "config", "core.fsmonitor", NONE)
        git(repo, "update-index", "--fsmonitor")
        git(repo, "status")
    else:
        git(repo, *commands[form])
    touch(repo / "helper.py")
    before = (repo / ".git" / "index").read_bytes()
    expect_clean(repo)
    (repo / "helper.py").write_text("A = 2\n")
    assert notes(ask(repo)).startswith("1 file has uncommitted changes, kept as")
    assert (repo / ".git" / "index").read_bytes() == before


def test_a_commit_is_what_its_id_says_not_what_replaces_it(repo: Path) -> None:
    (repo / "helper.py").write_text("A = 2\n")
    other = commit(repo)
    git(repo, "reset", "-q", "--hard", "HEAD~")
    git(repo, "replace", "HEAD", other)
    expect_clean(repo)


def test_files_that_git_is_told_to_look_for_elsewhere_are_not_compared(
    repo: Path, tmp_path: Path
) -> None:
    git(repo, "config", "core.worktree", str(tmp_path))
    record = ask(repo)
    assert (record.url, record.commit_hash) == (PUBLIC, git(repo, "rev-parse", "HEAD"))
    assert "git is told that the files of this repository are elsewhere" in notes(record)


# Work that is under way.


def change_both(repo: Path) -> None:
    """Make two branches that do not agree, and be on main."""
    git(repo, "checkout", "-q", "-b", "side")
    (repo / "helper.py").write_text("A = 2\n")
    commit(repo)
    git(repo, "checkout", "-q", "main")
    (repo / "helper.py").write_text("A = 3\n")
    commit(repo)
    push(repo)


@pytest.mark.parametrize("work", ["merge", "rebase", "cherry-pick", "bisect"])
def test_of_a_merge_or_rebase_under_way_the_commit_and_the_conflict_are_told(
    repo: Path, tmp_path: Path, work: str
) -> None:
    change_both(repo)
    if work == "bisect":
        git(repo, "bisect", "start", "HEAD", "HEAD~")
        expect_clean(repo)
        return
    with pytest.raises(subprocess.CalledProcessError):
        git(repo, work, "side")
    identifier = CodeIdentifier()
    record = identifier.of_file(str(repo / "helper.py"))
    head = git(repo, "rev-parse", "HEAD")
    assert (record.url, record.commit_hash) == (PUBLIC, head)
    assert "1 file has uncommitted changes, kept as" in notes(record)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--no-checkout", str(repo), str(clone))
    git(clone, "checkout", "-q", "--detach", head)
    (tmp_path / "x.patch").write_bytes(identifier.patches[0].content)
    git(clone, "apply", str(tmp_path / "x.patch"))
    assert (clone / "helper.py").read_text() == (repo / "helper.py").read_text()


def test_a_symbolic_head_to_a_missing_branch_has_no_commit(repo: Path) -> None:
    git(repo, "symbolic-ref", "HEAD", "refs/heads/gone")
    record = ask(repo)
    assert (record.url, record.commit_hash) == (PUBLIC, None)
    assert "the branch has no commits yet" in record.notes


def test_the_branch_that_git_names_decides_which_remote_counts(repo: Path) -> None:
    git(repo, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    git(repo, "symbolic-ref", "HEAD", "refs/heads/alias")
    git(repo, "remote", "add", "lab", "https://gitlab.com/lab/x.git")
    git(repo, "config", "branch.main.remote", "lab")
    assert ask(repo).url == "https://gitlab.com/lab/x"


# Where the repository is, and in what form.


def test_a_git_folder_that_is_a_link_is_followed(repo: Path, tmp_path: Path) -> None:
    (repo / ".git").rename(tmp_path / "store")
    (repo / ".git").symlink_to(tmp_path / "store")
    expect_clean(repo)


def test_a_work_tree_with_its_repository_elsewhere(repo: Path, tmp_path: Path) -> None:
    git(repo, "init", "-q", "--separate-git-dir", str(tmp_path / "store"))
    assert (repo / ".git").is_file()
    expect_clean(repo)


def test_a_linked_worktree_whose_repository_has_gone_is_told(repo: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    git(repo, "worktree", "add", "-q", str(other))
    shutil.rmtree(repo)
    record = ask(other)
    assert (record.url, record.commit_hash) == (other.as_uri(), None)
    assert "the commit could not be read" in record.notes


def test_a_linked_worktree_may_have_settings_of_its_own(repo: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    git(repo, "worktree", "add", "-q", "-b", "side", str(other))
    git(repo, "config", "extensions.worktreeConfig", "true")
    git(other, "config", "--worktree", "remote.lab.url", "https://github.com/org/other.git")
    git(other, "config", "--worktree", "branch.side.remote", "lab")
    assert (ask(other).url, ask(repo).url) == ("https://github.com/org/other", PUBLIC)


def test_code_inside_a_bare_repository_is_not_taken_for_its_commit(
    repo: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "store.git"
    git(tmp_path, "clone", "-q", "--bare", str(repo), str(bare))
    (bare / "hooks" / "own.py").write_text("A = 1\n")
    record = ask(bare, "hooks/own.py")
    assert record.commit_hash is None
    assert record.url.startswith("file://")


def test_a_submodule_at_another_commit_is_a_change(repo: Path, tmp_path: Path) -> None:
    library = new_repository(tmp_path / "library", remote=None)
    git(repo, "submodule", "--quiet", "add", str(library), "lib")
    git(repo / "lib", "remote", "set-url", "origin", "git@github.com:org/library.git")
    commit(repo)
    push(repo)
    expect_clean(repo)
    (repo / "lib" / "new.py").write_text("A = 1\n")
    expect_clean(repo)  # untracked files in it are its own
    old = git(repo / "lib", "rev-parse", "HEAD")
    new = commit(repo / "lib")
    identifier = CodeIdentifier()
    found = notes(identifier.of_file(str(repo / "code" / "run.py")))
    assert found.startswith("1 file has uncommitted changes, kept as")
    patch = identifier.patches[0].content.decode()
    assert f"-Subproject commit {old}\n+Subproject commit {new}\n" in patch
    inner = identifier.of_file(str(repo / "lib" / "new.py"))
    assert (inner.url, inner.commit_hash) == ("https://github.com/org/library", new)


def test_a_submodule_that_was_not_fetched_costs_nothing(repo: Path, tmp_path: Path) -> None:
    library = new_repository(tmp_path / "library", remote=None)
    git(repo, "submodule", "--quiet", "add", str(library), "lib")
    commit(repo)
    push(repo)
    git(repo, "submodule", "--quiet", "deinit", "--force", "lib")
    expect_clean(repo)


def test_a_submodule_whose_repository_is_broken_is_said(repo: Path, tmp_path: Path) -> None:
    library = new_repository(tmp_path / "library", remote=None)
    git(repo, "submodule", "--quiet", "add", str(library), "lib")
    commit(repo)
    push(repo)
    (repo / ".git" / "modules" / "lib" / "index").write_bytes(b"rubbish")
    record = ask(repo)
    assert record.notes == (
        "uncommitted changes of lib were not looked for: git cannot read the repository",
    )


@pytest.mark.parametrize("path", ["..", "../other", "/", ".", "", "code"])
def test_a_list_of_submodules_leads_nowhere_else(repo: Path, tmp_path: Path, path: str) -> None:
    other = new_repository(tmp_path / "other")
    (other / "helper.py").write_text("A = 2\n")
    git(repo, "config", "--file", ".gitmodules", "submodule.x.path", path)
    commit(repo)
    push(repo)
    expect_clean(repo)


def test_ids_of_64_digits_are_cut_to_what_the_metadata_can_hold(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    (repo / "code").mkdir(parents=True)
    git(repo, "init", "-q", "-b", "main", "--object-format=sha256")
    git(repo, "remote", "add", "origin", PUBLIC)
    (repo / ".gitattributes").write_text("*.h5 filter=lfs\n")
    content = b"much" * 500_000
    (repo / "code" / "run.py").write_text("A = 1\n")
    (repo / "model.h5").write_text(LFS.format(hashlib.sha256(content).hexdigest(), len(content)))
    head = commit(repo)
    push(repo)
    git(repo, "config", "filter.lfs.clean", NONE)
    (repo / "model.h5").write_bytes(content)
    expect_clean(repo)
    (repo / "code" / "run.py").write_text("A = 2\n")
    identifier = CodeIdentifier()
    assert f"uncommitted-{head}.patch" in notes(identifier.of_file(str(repo / "code" / "run.py")))
    assert identifier.patches[0].commit_hash == head


def reads_tables() -> bool:
    """Say whether this git knows repositories that keep their refs in tables."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["git", "init", "--quiet", "--ref-format=reftable", folder]
        return not subprocess.run(command, capture_output=True, check=False).returncode


READS_TABLES = [True] if reads_tables() else []


@pytest.mark.parametrize("readable", [*READS_TABLES, False])
def test_refs_that_are_kept_in_tables(tmp_path: Path, readable: bool) -> None:
    repo = tmp_path / "repo"
    if readable:
        git(tmp_path, "init", "-q", "--ref-format=reftable", str(repo))
        (repo / "code").mkdir()
        (repo / "code" / "run.py").write_text("A = 1\n")
        git(repo, "remote", "add", "origin", PUBLIC)
        commit(repo)
        push(repo)
        expect_clean(repo)
        return
    new_repository(repo)
    git(repo, "config", "core.repositoryFormatVersion", "1")
    git(repo, "config", "extensions.tables", "true")
    (repo / ".git" / "HEAD").write_text("ref: refs/heads/.invalid\n")
    record = ask(repo)
    assert (record.url, record.commit_hash) == (PUBLIC, None)
    assert "the commit could not be read" in record.notes


@pytest.mark.parametrize("broken", ["index", "tree", "commit", "config"])
def test_of_a_broken_repository_what_can_be_read_is_told(repo: Path, broken: str) -> None:
    head = git(repo, "rev-parse", "HEAD")
    names = {"tree": git(repo, "rev-parse", "HEAD^{tree}"), "commit": head}
    path = repo / ".git" / broken
    if broken in names:
        path = repo / ".git" / "objects" / names[broken][:2] / names[broken][2:]
        path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"[" if broken == "config" else b"rubbish")
    record = ask(repo)
    assert (record.url, record.commit_hash) == (PUBLIC, head)
    assert "uncommitted changes were not looked for: git cannot read the repository" in notes(
        record
    )


# Very many files.


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Give a repository of 100,000 files, hardly any of which is in the work tree."""
    repo = new_repository(tmp_path / "repo")
    blob = git(repo, "rev-parse", "HEAD:helper.py")
    lines = (f"100644 {blob}\tmany/{n // 1000}/{n}.py\n" for n in range(100_000))
    subprocess.run(
        ["git", "-C", str(repo), "update-index", "--index-info"],
        input="".join(lines).encode(), check=True,
    )  # fmt: skip
    git(repo, "commit", "-q", "-m", "many")
    push(repo)
    return repo


def test_100_000_changed_files_are_counted_and_few_named(many: Path) -> None:
    identifier = CodeIdentifier(timeout=60)
    record = identifier.of_file(str(many / "code" / "run.py"))
    assert (record.url, record.commit_hash) == (PUBLIC, git(many, "rev-parse", "HEAD"))
    (note,) = record.notes
    assert note.startswith("100000 files have uncommitted changes: many/0/0.py, many/0/1.py, ")
    assert "and 99990 more; the patch is not kept, being over 1 MB" in note
    assert identifier.patches == ()


def test_a_repository_too_large_for_the_time_gives_commit_and_url(many: Path) -> None:
    start = time.monotonic()
    record = ask(many, timeout=0.01)
    assert time.monotonic() - start < 30
    assert (record.url, record.commit_hash) == (PUBLIC, git(many, "rev-parse", "HEAD"))
    assert "git did not answer within 0.01 s" in notes(record)


def test_changes_of_more_files_than_a_command_line_holds_are_kept(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_module, "_LONGEST_LINE", 12)
    (repo / "helper.py").write_text("A = 2\n")
    (repo / "code" / "run.py").write_text("A = 2\n")
    identifier = CodeIdentifier()
    identifier.of_file(str(repo / "helper.py"))
    assert identifier.patches[0].content.count(b"+A = 2") == 2


def test_nor_do_they_take_a_large_file_along(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_module, "_LONGEST_LINE", 5)
    (large / "model.h5").write_text("new")
    (large / "helper.py").write_text("A = 2\n")
    identifier = CodeIdentifier()
    found = notes(identifier.of_file(str(large / "code" / "run.py")))
    assert "there is no patch of them: they are too many" in found
    assert identifier.patches == ()
