"""What is said of code in a git work tree, in every state that one can be in."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from asset_provenance.capture.code import CodeIdentifier
from asset_provenance.capture.gitahead import AskedAhead
from asset_provenance.records import printable
from helpers.repositories import (
    CANARY,
    PUBLIC,
    REMOTE,
    ask,
    commit,
    git,
    new_repository,
    notes,
    push,
    script,
)

POSIX_ONLY = pytest.mark.skipif(sys.platform == "win32", reason="needs a shell script named git")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return new_repository(tmp_path / "repo")


def is_running(process_id: int) -> bool:
    try:
        return psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_clean_pushed_work_tree_gives_url_commit_and_script_and_no_note(repo: Path) -> None:
    record = ask(repo)
    assert record.url == PUBLIC
    assert record.commit_hash == git(repo, "rev-parse", "HEAD")
    assert record.run_script == "code/run.py"
    assert (record.language, record.version, record.notes) == ("Python", None, ())


def test_a_token_in_the_remote_is_in_no_field_and_no_log_line(
    repo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (repo / "helper.py").write_text("A = 2\n")
    commit(repo)
    (repo / "helper.py").write_text("A = 3\n")
    identifier = CodeIdentifier()
    with caplog.at_level("DEBUG", logger="asset_provenance"):
        record = identifier.of_file(str(repo / "code" / "run.py"))
    assert record.url == PUBLIC
    assert CANARY not in repr(record) + caplog.text + repr(identifier.patches)


def test_the_remote_that_the_branch_follows_comes_before_origin(repo: Path) -> None:
    git(repo, "remote", "add", "lab", "git@gitlab.com:lab/unit-tuning.git")
    push(repo, "lab")
    assert ask(repo).url == PUBLIC
    git(repo, "config", "branch.main.remote", "lab")
    assert ask(repo).url == "https://gitlab.com/lab/unit-tuning"


def test_without_origin_the_first_remote_counts(tmp_path: Path) -> None:
    repo = new_repository(tmp_path / "repo", remote=None)
    git(repo, "remote", "add", "zeta", "https://github.com/z/z.git")
    git(repo, "remote", "add", "alpha", "https://github.com/a/a.git")
    assert ask(repo).url == "https://github.com/z/z"


def test_a_url_in_the_place_of_an_upstream_remote_is_taken_without_its_token(repo: Path) -> None:
    git(repo, "config", "branch.main.remote", f"https://{CANARY}@example.org/x/y.git")
    record = ask(repo)
    assert record.url == "https://example.org/x/y"
    assert CANARY not in repr(record)


def test_a_url_that_git_rewrites_is_given_as_git_uses_it(repo: Path) -> None:
    git(repo, "config", f"url.https://{CANARY}@github.com/.insteadOf", "gh:")
    git(repo, "remote", "set-url", "origin", "gh:org/repo")
    assert ask(repo).url == "https://github.com/org/repo"


def test_a_repository_without_remote_is_a_file_uri_that_others_cannot_reach(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    repo = new_repository(tmp_path / "my repo", remote=None)
    record = ask(repo)
    assert record.url == repo.as_uri()
    assert record.commit_hash == git(repo, "rev-parse", "HEAD")
    assert "the repository has no remote" in record.notes
    assert "others cannot reach it" in notes(record)
    assert "ASSET_PROVENANCE_CODE_URL" in caplog.text


@pytest.mark.parametrize("form", ["path", "relative", "uri"])
def test_a_remote_on_this_machine_is_a_file_uri_that_others_cannot_reach(
    tmp_path: Path, form: str
) -> None:
    bare = tmp_path / "store.git"
    remote = {"path": str(bare), "relative": "../store.git", "uri": bare.as_uri()}[form]
    record = ask(new_repository(tmp_path / "repo", remote=remote))
    assert record.url == bare.as_uri()
    assert "others cannot reach it" in notes(record)


def test_a_commit_on_no_remote_branch_is_said(repo: Path) -> None:
    (repo / "helper.py").write_text("A = 2\n")
    head = commit(repo)
    assert ask(repo).notes == (
        f"commit {head[:12]} is on no remote branch: others cannot get it until it is pushed",
    )


def test_a_commit_that_only_another_remote_has_is_said(repo: Path) -> None:
    git(repo, "remote", "add", "fork", "https://github.com/me/unit-tuning")
    (repo / "helper.py").write_text("A = 2\n")
    head = commit(repo)
    push(repo, "fork")
    assert ask(repo).notes == (
        f"commit {head[:12]} is on no branch of the remote origin, but on fork/main",
    )


def test_where_no_remote_branch_is_known_nothing_is_claimed_of_pushes(repo: Path) -> None:
    git(repo, "update-ref", "-d", "refs/remotes/origin/main")
    assert "is unknown: this clone knows no remote branch" in notes(ask(repo))


def test_a_shallow_clone_knows_its_tip_and_claims_nothing_of_other_commits(
    repo: Path, tmp_path: Path
) -> None:
    (repo / "helper.py").write_text("A = 2\n")
    head = commit(repo)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth=1", repo.as_uri(), str(clone))
    git(clone, "remote", "set-url", "origin", REMOTE)
    record = ask(clone)
    assert (record.url, record.commit_hash, record.notes) == (PUBLIC, head, ())
    (clone / "helper.py").write_text("A = 3\n")
    commit(clone)
    assert "is unknown: the clone is shallow" in notes(ask(clone))


def test_uncommitted_changes_are_counted_and_their_patch_kept(repo: Path) -> None:
    # Latin-1: no encoding may touch the patch.
    (repo / "helper.py").write_bytes(b"A = '\xe9'\n")
    (repo / "new.py").write_text("B = 1\n")
    git(repo, "add", "new.py")
    (repo / "code" / "run.py").unlink()
    identifier = CodeIdentifier()
    record = identifier.of_file(str(repo / "helper.py"))
    head = git(repo, "rev-parse", "HEAD")
    assert record.notes == (
        f"3 files have uncommitted changes, kept as provenance/uncommitted-{head}.patch",
    )
    (patch,) = identifier.patches
    assert patch.commit_hash == head
    assert b"+A = '\xe9'\n" in patch.content


@pytest.mark.parametrize("setting", ["diff.noprefix", "diff.mnemonicPrefix"])
def test_the_patch_makes_the_commit_into_what_ran_whatever_the_settings(
    repo: Path, tmp_path: Path, setting: str
) -> None:
    git(repo, "config", setting, "true")
    git(repo, "config", "color.ui", "always")
    git(repo, "config", "diff.external", "false")
    (repo / "helper.py").write_bytes(b"A = '\xe9'\n")
    (repo / "code" / "image.bin").write_bytes(bytes(range(256)))
    git(repo, "add", "--all")
    identifier = CodeIdentifier()
    identifier.of_file(str(repo / "helper.py"))
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(repo), str(clone))
    assert b"+++ b/helper.py\n" in identifier.patches[0].content
    (tmp_path / "x.patch").write_bytes(identifier.patches[0].content)
    git(clone, "apply", "--binary", str(tmp_path / "x.patch"))
    for name in ("helper.py", "code/image.bin"):
        assert (clone / name).read_bytes() == (repo / name).read_bytes()


@pytest.mark.parametrize("reason", ["being over 1 MB", "as it seems to hold a secret", "as was"])
def test_a_patch_that_is_not_kept_is_named_by_its_sum_and_files(repo: Path, reason: str) -> None:
    content = {"being over 1 MB": "x = 1\n" * 200_000, "as it seems to hold a secret": CANARY}
    (repo / "helper.py").write_text(content.get(reason, "A = 2\n"))
    identifier = CodeIdentifier(save_patch=not reason.startswith("as was"))
    text = notes(identifier.of_file(str(repo / "helper.py")))
    diff = subprocess.run(
        ["git", "-C", str(repo), "diff", "--binary", "HEAD"], check=True, capture_output=True
    ).stdout
    assert identifier.patches == ()
    assert "1 file has uncommitted changes: helper.py" in text
    assert reason in text
    assert hashlib.sha256(diff).hexdigest() in text
    assert CANARY not in text


def test_two_work_trees_at_one_commit_do_not_share_a_patch(repo: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    git(repo, "worktree", "add", "-q", str(other))
    for folder, text in ((repo, "A = 2\n"), (other, "A = 3\n")):
        (folder / "helper.py").write_text(text)
    identifier = CodeIdentifier()
    first, second = (identifier.of_file(str(folder / "helper.py")) for folder in (repo, other))
    assert "kept as" in notes(first)
    assert "another work tree at the same commit has its own" in notes(second)
    assert len(identifier.patches) == 1


def test_untracked_files_are_named_but_not_copied_and_names_are_made_printable(
    repo: Path,
) -> None:
    for number in range(12):
        (repo / f"extra_{number:02}.py").write_text("C = 1\n")
    bad = os.fsencode(repo) + b"/a\x1b[31m\xff.py"
    Path(os.fsdecode(bad)).write_text("C = 1\n")
    identifier = CodeIdentifier()
    text = notes(identifier.of_file(str(repo / "helper.py")))
    assert text.startswith("13 untracked files or folders are not in the commit: ")
    assert r"a\x1b[31m\xff.py, extra_00.py" in text
    assert text.endswith("extra_08.py and 3 more")
    assert identifier.patches == ()
    assert printable("a\nb\u202e.py") == r"a\nb\u202e.py"


@pytest.mark.parametrize("ignored", [False, True])
def test_a_file_that_is_not_in_the_commit_says_so(repo: Path, ignored: bool) -> None:
    if ignored:
        (repo / ".gitignore").write_text("scratch.py\n")
        commit(repo)
        push(repo)
    (repo / "scratch.py").write_text("D = 1\n")
    record = ask(repo, "scratch.py")
    assert record.url == PUBLIC
    assert "scratch.py itself is not in the commit" in record.notes
    assert "itself is not in the commit" not in notes(ask(repo))


def test_a_file_that_is_only_staged_or_ends_like_a_committed_one_is_not_in_the_commit(
    repo: Path,
) -> None:
    (repo / "my scratch.py").write_text("D = 1\n")
    commit(repo)
    push(repo)
    (repo / "scratch.py").write_text("D = 1\n")
    assert "scratch.py itself is not in the commit" in ask(repo, "scratch.py").notes
    git(repo, "add", "scratch.py")
    assert "scratch.py itself is not in the commit" in ask(repo, "scratch.py").notes
    git(repo, "rm", "-q", "--cached", "helper.py")  # the next one will lack it; this one has it
    assert "itself is not" not in notes(ask(repo, "helper.py"))


@pytest.mark.parametrize("name", [":odd.py", "a[1]*.py", "caf\xe9 \n.py", "-x.py"])
def test_a_file_of_any_name_is_found_in_the_commit(repo: Path, name: str) -> None:
    (repo / name).write_text("D = 1\n")
    commit(repo)
    push(repo)
    assert ask(repo, name).notes == ()


def test_a_detached_head_gives_its_commit(repo: Path) -> None:
    first = git(repo, "rev-parse", "HEAD")
    (repo / "helper.py").write_text("A = 2\n")
    commit(repo)
    push(repo)
    git(repo, "checkout", "-q", "--detach", first)
    record = ask(repo)
    assert (record.url, record.commit_hash, record.notes) == (PUBLIC, first, ())


def test_a_repository_without_commits_says_so(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    git(repo, "init", "-q")
    git(repo, "remote", "add", "origin", REMOTE)
    (repo / "run.py").write_text("A = 1\n")
    git(repo, "add", "run.py")
    identifier = CodeIdentifier()
    record = identifier.of_file(str(repo / "run.py"))
    assert (record.url, record.commit_hash) == (PUBLIC, None)
    assert record.notes == (
        "the branch has no commits yet",
        "1 file has uncommitted changes: run.py",
    )
    assert identifier.patches == ()


def test_a_linked_worktree_gives_its_own_commit(repo: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    git(repo, "worktree", "add", "-q", "-b", "side", str(other))
    (other / "helper.py").write_text("A = 2\n")
    head = commit(other)
    record = ask(other)
    assert (record.url, record.commit_hash) == (PUBLIC, head)
    assert record.commit_hash != ask(repo).commit_hash


def test_a_submodule_gives_its_own_url_and_commit(repo: Path, tmp_path: Path) -> None:
    library = new_repository(tmp_path / "library", remote=None)
    git(repo, "submodule", "--quiet", "add", str(library), "lib")
    git(repo / "lib", "remote", "set-url", "origin", "git@github.com:org/library.git")
    commit(repo)
    record = ask(repo, "lib/helper.py")
    assert record.url == "https://github.com/org/library"
    assert record.commit_hash == git(library, "rev-parse", "HEAD")
    assert record.run_script == "helper.py"


def test_a_link_to_a_script_is_followed_to_its_repository(repo: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.py"
    link.symlink_to(repo / "code" / "run.py")
    assert ask(tmp_path, "link.py").run_script == "code/run.py"


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away"
)
def test_another_owners_repository_gives_commit_and_url_and_the_line_that_mends_it(
    repo: Path,
) -> None:
    for path in (repo, *repo.rglob("*")):
        os.chown(path, 12345, 12345, follow_symlinks=False)
    head = (repo / ".git" / "refs" / "heads" / "main").read_text().strip()
    record = ask(repo)
    assert (record.url, record.commit_hash) == (PUBLIC, head)
    assert "uncommitted changes were not looked for" in notes(record)
    assert f"git config --global --add safe.directory {repo}" in notes(record)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("where", ["repository", "worktree", "detached"])
def test_without_a_git_program_commit_and_url_are_read_from_the_folder(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool, where: str
) -> None:
    git(repo, "remote", "add", "lab", "https://gitlab.com/lab/x.git")
    git(repo, "config", "branch.main.remote", "lab")
    folder = repo
    if where == "worktree":
        folder = tmp_path / "other"
        git(repo, "worktree", "add", "-q", "-b", "side", str(folder))
        (folder / "helper.py").write_text("A = 2\n")
        commit(folder)
    elif where == "detached":
        git(repo, "checkout", "-q", "--detach")
    if packed:
        git(repo, "pack-refs", "--all")
    head = git(folder, "rev-parse", "HEAD")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    record = ask(folder)
    assert record.commit_hash == head
    assert record.url == ("https://gitlab.com/lab/x" if where == "repository" else PUBLIC)
    assert record.notes == ("uncommitted changes were not looked for: git is not installed here",)


@POSIX_ONLY
def test_a_git_that_hangs_is_ended_with_all_it_started_and_asked_only_once(
    repo: Path, tmp_path: Path, programs: Path
) -> None:
    head = git(repo, "rev-parse", "HEAD")
    second = new_repository(tmp_path / "second")
    setsid = shutil.which("setsid") or ""
    script(
        programs / "git",
        f"sleep 54321 & echo $! >> {programs}/started; {setsid} sleep 3; wait",
    )
    identifier = CodeIdentifier(timeout=0.5)
    start = time.monotonic()
    records = [identifier.of_file(str(folder / "code" / "run.py")) for folder in (repo, second)]
    assert time.monotonic() - start < 2.5
    assert (records[0].url, records[0].commit_hash) == (PUBLIC, head)
    for record in records:
        assert record.notes == (
            "uncommitted changes were not looked for: git did not answer within 0.5 s",
        )
    started = [int(one) for one in (programs / "started").read_text().split()]
    assert len(started) == 2  # two questions about the first repository, none about the second
    deadline = time.monotonic() + 5
    while any(map(is_running, started)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(is_running, started))


def test_git_variables_of_the_program_do_not_lead_to_another_repository(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = new_repository(tmp_path / "other", remote="https://github.com/org/other")
    head = git(repo, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    record = ask(repo)
    assert (record.url, record.commit_hash, record.notes) == (PUBLIC, head, ())


@pytest.mark.parametrize(
    ("head", "note"),
    [
        ("", "the commit could not be read"),
        ("rubbish\n", "the commit could not be read"),
        ("ref: ../../../../etc/hostname\n", "the commit could not be read"),
        ("ref: refs/heads/gone\x00\n", "the branch has no commits yet"),
    ],
)
def test_a_broken_head_gives_the_url_and_never_the_repository_around_it(
    tmp_path: Path, head: str, note: str
) -> None:
    outer = new_repository(tmp_path / "outer", remote="https://github.com/org/outer")
    inner = new_repository(outer / "inner")
    (inner / ".git" / "HEAD").write_text(head)
    record = ask(inner)
    assert (record.url, record.commit_hash) == (PUBLIC, None)
    assert note in record.notes


def test_a_head_whose_commit_is_missing_is_still_named(repo: Path) -> None:
    (repo / ".git" / "refs" / "heads" / "main").write_text("1" * 40 + "\n")
    record = ask(repo)
    assert (record.url, record.commit_hash) == (PUBLIC, "1" * 40)
    assert "git cannot read the repository" in notes(record)


def test_a_git_file_that_leads_nowhere_costs_no_exception(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /nowhere/at/all\n")
    (tmp_path / "run.py").write_text("A = 1\n")
    record = ask(tmp_path, "run.py")
    assert (record.url, record.commit_hash) == (tmp_path.as_uri(), None)
    assert "the commit could not be read" in record.notes


def test_a_bare_repository_with_files_in_it_gives_commit_and_url(repo: Path) -> None:
    git(repo, "config", "core.bare", "true")
    record = ask(repo)
    assert record.url == PUBLIC
    assert record.commit_hash == (repo / ".git/refs/heads/main").read_text().strip()
    assert "uncommitted changes were not looked for" in notes(record)


@pytest.mark.parametrize("locked", [True, False])
def test_a_locked_index_does_not_matter_and_nothing_is_written(repo: Path, locked: bool) -> None:
    if locked:
        (repo / ".git" / "index.lock").touch()
    before = (repo / ".git" / "index").read_bytes()
    os.utime(repo / "helper.py", (1, 1))
    assert ask(repo).notes == ()
    assert (repo / ".git" / "index").read_bytes() == before


@POSIX_ONLY
def test_a_repository_is_asked_once_whatever_number_of_files_and_threads(
    repo: Path, programs: Path
) -> None:
    for number in range(8):
        (repo / f"m{number}.py").write_text("A = 1\n")
    commit(repo)
    real = shutil.which("git", path=os.environ["PATH"].split(os.pathsep, 1)[1])
    script(programs / "git", f'echo "$@" >> {programs}/asked; exec {real} "$@"')
    identifier = CodeIdentifier()
    files = [str(repo / f"m{number % 8}.py") for number in range(32)]
    with ThreadPoolExecutor(8) as pool:
        records = list(pool.map(identifier.of_file, files))
    assert len({record.commit_hash for record in records}) == 1
    asked = (programs / "asked").read_text()
    assert asked.count(" status ") == 1
    assert " ls-tree " not in asked


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_forked_while_another_thread_asks_git_does_not_hang(
    repo: Path, programs: Path
) -> None:
    other = new_repository(repo.parent / "other")
    real = shutil.which("git", path=os.environ["PATH"].split(os.pathsep, 1)[1])
    script(programs / "git", f'sleep 0.3; exec {real} "$@"')
    identifier = CodeIdentifier()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(identifier.of_file, str(repo / "helper.py"))
        time.sleep(0.1)
        child = os.fork()
        if child == 0:
            record = identifier.of_file(str(other / "helper.py"))
            os._exit(0 if record.url == PUBLIC else 1)
        deadline = time.monotonic() + 15
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.05)
        if ended == (0, 0):
            os.kill(child, 9)
            os.waitpid(child, 0)
        assert ended == (child, 0)
        assert answer.result().url == PUBLIC


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_that_is_forked_does_not_take_the_answer_to_its_parent(repo: Path) -> None:
    (repo / "helper.py").write_text("A = 2\n")
    ahead = AskedAhead([str(repo)])
    identifier = CodeIdentifier(ahead=ahead)
    child = os.fork()
    if child == 0:
        record = identifier.of_file(str(repo / "helper.py"))
        os._exit(0 if "1 file has" in notes(record) else 1)
    assert os.waitpid(child, 0) == (child, 0)
    assert "1 file has" in notes(identifier.of_file(str(repo / "helper.py")))
