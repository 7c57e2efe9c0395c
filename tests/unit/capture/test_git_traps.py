"""No question to git runs a program that somebody has planted, or waits for what never comes.

Each program that is planted leaves a mark and then hangs. That a trap is one is shown first, with
git as people use it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asset_provenance.capture.code import CodeIdentifier
from asset_provenance.capture.githistory import History
from helpers.repositories import (
    PUBLIC,
    REMOTE,
    commit,
    git,
    new_repository,
    notes,
    push,
    script,
)

if TYPE_CHECKING:
    from asset_provenance.records import CodeRecord

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the traps are shell scripts")

LONG = 60
"""Seconds after which something hangs, on however slow a machine."""


class Trap:
    """A program that leaves a mark when it is run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = folder / "sprung"
        self.program = script(folder / "trap", f"touch {self.mark}; exit 1")

    def is_sprung_by(self, repo: Path, *command: str) -> bool:
        """Say whether git as people use it runs the program; takes the mark away."""
        subprocess.run(
            ["git", "-C", str(repo), *command],
            check=False, capture_output=True, timeout=LONG, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        was_there = self.mark.exists()
        self.mark.unlink(missing_ok=True)
        return was_there

    def set(self) -> None:
        """Let the program hang from here on."""
        script(self.program, f"touch {self.mark}; exec sleep 54321")


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trap]:
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    start = time.monotonic()
    yield (trap := Trap(folder))
    assert not trap.mark.exists()
    assert time.monotonic() - start < LONG


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """Give a repository in which git has every reason to run what is configured."""
    repo = new_repository(tmp_path / "repo")
    (repo / ".gitattributes").write_text("*.py filter=mine diff=mine\n*.txt filter=a=b\n")
    (repo / "note.txt").write_text("a\n")
    commit(repo)
    push(repo)
    (repo / "helper.py").write_text("A = 2\n")
    for name in ("note.txt", "code/run.py"):
        os.utime(repo / name, (1, 1))  # so that git looks at the content
    return repo


def expect_the_truth(repo: Path) -> tuple[CodeRecord, CodeIdentifier]:
    """See that all is said of a repository of the fixture, and nothing that is not so."""
    head = git(repo, "rev-parse", "HEAD")
    identifier = CodeIdentifier(timeout=LONG)
    record = identifier.of_file(str(repo / "code" / "run.py"))
    assert (record.url, record.commit_hash) == (PUBLIC, head)
    return record, identifier


SETTINGS = {
    "filter.mine.clean": "status",
    "filter.mine.process": "status",
    "filter.a=b.clean": "status",
    "core.fsmonitor": "status",
    "diff.external": "diff",
    "diff.mine.command": "diff",
    "diff.mine.textconv": "diff",
    "gpg.program": "log",
    # These git runs for a terminal, a network or a user who edits.
    "filter.mine.smudge": None,
    "core.pager": None,
    "pager.status": None,
    "core.editor": None,
    "core.askPass": None,
    "core.sshCommand": None,
    "core.gitProxy": None,
    "core.alternateRefsCommand": None,
    "credential.helper": None,
    "uploadpack.packObjectsHook": None,
    "remote.origin.uploadpack": None,
    "interactive.diffFilter": None,
    "merge.mine.driver": None,
    "trailer.mine.command": None,
    "alias.status": None,
    "alias.config": None,
}
"""Settings that name a program, and the command that runs it."""


def sign(repo: Path) -> None:
    """Make HEAD a commit that bears a signature, such as it is."""
    head = git(repo, "cat-file", "commit", "HEAD")
    before, _, message = head.partition("\n\n")
    signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----"
    path = repo.parent / "commit"
    path.write_text(f"{before}\n{signature}\n\n{message}\n")
    git(repo, "update-ref", "HEAD", git(repo, "hash-object", "-t", "commit", "-w", str(path)))
    push(repo)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_program_that_a_setting_names_is_not_run(repo: Path, trap: Trap, setting: str) -> None:
    sign(repo)
    git(repo, "config", "log.showSignature", "true")
    git(repo, "config", setting, str(trap.program))
    if setting.startswith("filter."):
        git(repo, "config", f"{setting.rpartition('.')[0]}.required", "true")
    command = SETTINGS[setting]
    assert command is None or trap.is_sprung_by(repo, command)
    trap.set()
    record, identifier = expect_the_truth(repo)
    is_filtered = setting in ("filter.mine.clean", "filter.mine.process")
    assert ("1 file was not compared with the commit" in notes(record)) is is_filtered
    assert ("1 file has uncommitted changes, kept as" in notes(record)) is not is_filtered
    assert is_filtered or b"+A = 2" in identifier.patches[0].content
    assert len(History(str(repo), seconds=LONG)) == 2


@pytest.mark.parametrize(
    "name", [b"", b"UPPER", b"a.b", b"=", b'"\\', "caf\xe9".encode(), b"\xe9=\xff"]
)
def test_no_filter_is_run_whatever_its_name(tmp_path: Path, trap: Trap, name: bytes) -> None:
    repo = new_repository(tmp_path / "repo")
    (repo / ".git" / "info" / "attributes").write_bytes(b"*.py filter=" + name)
    with (repo / ".git" / "config").open("ab") as file:
        quoted = name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        file.write(b'[filter "%s"]\n clean = %s\n' % (quoted, os.fsencode(trap.program)))
    os.utime(repo / "helper.py", (1, 1))
    assert trap.is_sprung_by(repo, "status")
    os.utime(repo / "helper.py", (2, 2))
    trap.set()
    assert CodeIdentifier(timeout=LONG).of_file(str(repo / "helper.py")).notes == ()


@pytest.mark.parametrize("place", ["included", "included there", "worktree", "user", "variables"])
def test_nor_wherever_the_setting_is(
    repo: Path, trap: Trap, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    settings = [f"filter.mine.clean={trap.program}", f"core.fsmonitor={trap.program}"]
    settings += [f"diff.external={trap.program}", "filter.mine.required=true"]
    file = repo.parent / "settings"
    if place == "worktree":
        git(repo, "config", "extensions.worktreeConfig", "true")
        file = repo / ".git" / "config.worktree"
    elif place == "included":
        git(repo, "config", "include.path", str(file))
    elif place == "included there":
        git(repo, "config", f"includeIf.gitdir:{repo}/.path", str(file))
    elif place == "user":
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(file))
    for number, setting in enumerate(settings):
        name, _, value = setting.partition("=")
        git(repo, "config", "--file", str(file), name, value)
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", name)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    if place == "variables":
        file.unlink()
        monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(settings)))
    assert trap.is_sprung_by(repo, "status")
    trap.set()
    record, _ = expect_the_truth(repo)
    assert "1 file was not compared with the commit" in notes(record)


@pytest.mark.parametrize("hook", ["post-index-change", "reference-transaction"])
@pytest.mark.parametrize("place", ["default", "elsewhere"])
def test_no_hook_is_run(repo: Path, trap: Trap, hook: str, place: str) -> None:
    hooks = repo / ".git" / "hooks"
    if place == "elsewhere":
        hooks = repo.parent / "hooks"
        git(repo, "config", "core.hooksPath", str(hooks))
    hooks.mkdir(exist_ok=True)
    (hooks / hook).symlink_to(trap.program)
    commands = {"post-index-change": ["status"], "reference-transaction": ["tag", "x"]}
    assert trap.is_sprung_by(repo, *commands[hook])
    os.utime(repo / "note.txt", (2, 2))
    trap.set()
    record, _ = expect_the_truth(repo)
    assert notes(record).startswith("1 file has uncommitted changes, kept as")


def test_no_program_that_a_variable_names_is_run(
    repo: Path, trap: Trap, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "EXTERNAL_DIFF",
        "PAGER",
        "EDITOR",
        "SSH",
        "SSH_COMMAND",
        "ASKPASS",
        "PROXY_COMMAND",
    ):
        monkeypatch.setenv(f"GIT_{name}", str(trap.program))
    monkeypatch.setenv("GIT_ALTERNATE_OBJECT_DIRECTORIES", str(trap.folder))
    assert trap.is_sprung_by(repo, "diff")
    trap.set()
    record, _ = expect_the_truth(repo)
    assert notes(record).startswith("1 file has uncommitted changes, kept as")


@pytest.mark.parametrize("depth", [1, 2])
def test_no_filter_of_a_submodule_is_run_and_its_changes_are_said(
    repo: Path, trap: Trap, tmp_path: Path, depth: int
) -> None:
    library = new_repository(tmp_path / "library", remote=None)
    (library / ".gitattributes").write_text("*.txt filter=theirs\n")
    (library / "note.txt").write_text("a\n")
    commit(library)
    path = "lib"
    if depth == 2:
        middle = new_repository(tmp_path / "middle", remote=None)
        git(middle, "submodule", "--quiet", "add", str(library), "deep")
        commit(middle)
        library, path = middle, "lib/deep"
    git(repo, "checkout", "helper.py")
    git(repo, "submodule", "--quiet", "add", str(library), "lib")
    git(repo, "submodule", "--quiet", "update", "--init", "--recursive")
    commit(repo)
    push(repo)
    git(repo / path, "config", "filter.theirs.clean", str(trap.program))
    os.utime(repo / path / "note.txt", (1, 1))
    assert trap.is_sprung_by(repo, "status")
    trap.set()
    record, _ = expect_the_truth(repo)
    assert record.notes == ()
    (repo / path / "helper.py").write_text("A = 2\n")
    record, _ = expect_the_truth(repo)
    assert record.notes == (f"1 submodule has uncommitted changes of its own: {path}",)


class Listener:
    """A port of this machine that tells whether anybody came."""

    def __init__(self, port: socket.socket) -> None:
        self._port = port
        self.url = f"http://user@127.0.0.1:{port.getsockname()[1]}/x.git"

    def was_asked(self) -> bool:
        try:
            self._port.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def listener() -> Iterator[Listener]:
    with socket.create_server(("127.0.0.1", 0)) as port:
        port.settimeout(0)
        yield Listener(port)


@pytest.mark.parametrize("missing", ["blob:none", "tree:0"])
@pytest.mark.parametrize("way", ["ext", "ssh", "uploadpack", "helper", "http"])
def test_what_a_partial_clone_lacks_is_not_fetched(
    tmp_path: Path,
    trap: Trap,
    listener: Listener,
    monkeypatch: pytest.MonkeyPatch,
    missing: str,
    way: str,
) -> None:
    whole = new_repository(tmp_path / "whole")
    git(whole, "config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--no-checkout", f"--filter={missing}", whole.as_uri(), str(clone))
    urls = {"ext": f"ext::{trap.program}", "http": listener.url, "uploadpack": whole.as_uri()}
    url = urls.get(way, "ssh://127.0.0.1/x.git")
    git(clone, "remote", "set-url", "origin", url)
    git(clone, "config", "protocol.allow", "always")
    git(clone, "config", "core.sshCommand", str(trap.program))
    git(clone, "config", "remote.origin.uploadpack", str(trap.program))
    git(clone, "config", "credential.helper", f"!{trap.program}")
    if way == "helper":
        git(clone, "config", "remote.origin.vcs", "mine")
        (trap.folder / "git-remote-mine").symlink_to(trap.program)
        monkeypatch.setenv("PATH", f"{trap.folder}{os.pathsep}{os.environ['PATH']}")
    if way != "http":  # whom nobody answers
        assert trap.is_sprung_by(clone, "cat-file", "-p", "HEAD:helper.py")
    trap.set()
    (clone / "code").mkdir()
    (clone / "code" / "run.py").write_text("A = 2\n")
    record = CodeIdentifier(timeout=LONG).of_file(str(clone / "code" / "run.py"))
    assert record.commit_hash == git(whole, "rev-parse", "HEAD")
    assert record.notes
    assert not listener.was_asked()


@pytest.mark.parametrize(
    "place",
    [
        ".gitignore", ".gitattributes", ".gitmodules", ".git/config", ".git/HEAD", ".git/index",
        ".git/info/exclude", ".git/info/attributes", ".git/packed-refs", ".git/shallow",
        ".git/refs/heads/main", ".git/objects/info/alternates", "core.excludesFile",
        "core.attributesFile", "include.path", "helper.py",
    ],
)  # fmt: skip
def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(
    tmp_path: Path, trap: Trap, place: str
) -> None:
    repo = new_repository(tmp_path / "repo")
    path = tmp_path / "pipe" if "File" in place or "path" in place else repo / place
    if not path.parent.is_relative_to(repo):
        git(repo, "config", place, str(path))
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    start = time.monotonic()
    record = CodeIdentifier(timeout=0.5).of_file(str(repo / "code" / "run.py"))
    assert time.monotonic() - start < LONG
    assert record.url == (repo.as_uri() if place == ".git/config" else PUBLIC)


def test_the_code_is_still_known_when_git_itself_is_the_pipe(tmp_path: Path, trap: Trap) -> None:
    (tmp_path / "run.py").write_text("A = 1\n")
    os.mkfifo(tmp_path / ".git")
    record = CodeIdentifier(timeout=0.5).of_file(str(tmp_path / "run.py"))
    assert (record.run_script, record.commit_hash) == ("run.py", None)


@pytest.mark.parametrize("setting", ["url", "insteadOf", "branch"])
def test_a_remote_is_never_asked(tmp_path: Path, listener: Listener, setting: str) -> None:
    repo = new_repository(tmp_path / "repo")
    if setting == "url":
        git(repo, "remote", "set-url", "origin", listener.url)
    elif setting == "insteadOf":
        git(repo, "config", f"url.{listener.url}.insteadOf", REMOTE)
    else:
        git(repo, "config", "branch.main.remote", listener.url)
    record = CodeIdentifier(timeout=LONG).of_file(str(repo / "helper.py"))
    assert record.url == listener.url.replace("user@", "").removesuffix(".git")
    assert not listener.was_asked()
