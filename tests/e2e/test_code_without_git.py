"""Code that comes without its repository, as in a Reproducible Run; and ``resolve`` later."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from asset_provenance.cli import main
from helpers.repositories import git

CANARY = "cop_0123456789abcdefghijklmn"
MAIN = """
import os, sys
sys.path.insert(0, os.path.dirname(__file__))
from asset_provenance import DerivedAsset, track_process
from pkg.steps import step

@track_process
def fit(x):
    return step(x)

FACTS = dict(inputs=(), base_name="b", project_name="p", investigators="A B", funding_source="AI",
             modalities="ecephys", experimenters="A B")
with DerivedAsset("t", output_dir=sys.argv[1], **FACTS):
    fit(1)
    if "kill" in sys.argv:
        os.kill(os.getpid(), 9)
"""
STEPS = """
from asset_provenance import track_process

@track_process
def step(x):
    return x + 1
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A capsule's repository: what runs is in ``code/``."""
    folder = tmp_path / "repository"
    code = folder / "code"
    (code / "pkg").mkdir(parents=True)
    (code / "run_capsule.py").write_text(MAIN)
    (code / "run").write_text("#!/bin/sh\nexec python run_capsule.py ../results\n")
    (code / "run").chmod(0o755)
    (code / "pkg" / "steps.py").write_text(STEPS)
    (code / "latest").symlink_to("pkg/steps.py")
    (code / "größe.txt").write_bytes(b"crlf\r\n")
    (code / ".gitignore").write_text("*.log\n")
    (folder / "README.md").write_text("1\n")
    git(folder, "init", "--quiet", "-b", "main")
    git(folder, "remote", "add", "origin", f"https://user:{CANARY}@github.com/org/capsule.git")
    commit(folder, "first")
    return folder


def commit(folder: Path, text: str) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", text)
    return git(folder, "rev-parse", "HEAD")


def run(repository: Path, tmp_path: Path, *more: str, **variables: str) -> Path:
    """Copy the code as Code Ocean does, run it, and give the folder of the results."""
    capsule = tmp_path / "capsule"
    shutil.copytree(repository / "code", capsule / "code", symlinks=True)
    (capsule / "data").mkdir()
    (capsule / "code" / "notes.log").write_text("left out\n")
    results = capsule / "results"
    subprocess.run(
        [sys.executable, str(capsule / "code" / "run_capsule.py"), str(results), *more],
        env={**os.environ, **variables},
        check=not more,
    )
    return results


IN_A_CAPSULE = {
    "CO_CAPSULE_ID": "cap-1",
    "CO_COMPUTATION_ID": "comp-2",
    "CODEOCEAN_DOMAIN": "co.example.org",
    "GIT_ACCESS_TOKEN": CANARY,
}


def processing(results: Path) -> dict[str, Any]:
    return json.loads((results / "processing.json").read_text())  # type: ignore[no-any-return]


def codes(results: Path) -> dict[str, dict[str, Any]]:
    return {item["name"]: item["code"] for item in processing(results)["data_processes"]}


def resolve(*arguments: object) -> int:
    return main(["resolve", *map(str, arguments)])


def test_the_version_is_the_id_that_git_gives_the_folder(repository: Path, tmp_path: Path) -> None:
    results = run(repository, tmp_path, **IN_A_CAPSULE)
    tree = git(repository, "rev-parse", "HEAD:code")
    found = codes(results)
    assert {name: code["version"] for name, code in found.items()} == {
        "fit": f"tree:{tree}",
        "step": f"tree:{tree}",
    }
    assert {code["url"] for code in found.values()} == {"https://co.example.org/capsule/cap-1"}
    assert found["step"]["run_script"] == "pkg/steps.py"
    notes = processing(results)["notes"]
    assert "Ran in Code Ocean (Reproducible Run): capsule cap-1, computation comp-2." in notes
    assert main(["check", str(results)]) == 0


def test_a_commit_that_the_platform_tells_is_the_commit(repository: Path, tmp_path: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    results = run(repository, tmp_path, **IN_A_CAPSULE, CO_COMMIT=head)
    found = codes(results)
    assert {(code["commit_hash"], code["version"]) for code in found.values()} == {(head, None)}
    assert found["step"]["run_script"] == "code/pkg/steps.py"


def test_a_malformed_commit_is_told_and_not_recorded(
    repository: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    results = run(repository, tmp_path, **IN_A_CAPSULE, GIT_COMMIT=f"{CANARY}-dirty")
    assert "GIT_COMMIT is not recorded" in capfd.readouterr().err
    (first, *_) = processing(results)["data_processes"]
    assert "GIT_COMMIT is not recorded" in first["notes"]
    assert first["code"]["version"].startswith("tree:")
    written = "".join(path.read_text() for path in results.rglob("*") if path.is_file())
    assert CANARY not in written


def test_the_pipeline_that_variables_name_is_the_processes_pipeline(
    repository: Path, tmp_path: Path
) -> None:
    pipeline = {
        "PIPELINE_NAME": "ephys",
        "PIPELINE_URL": "https://github.com/org/pipeline.git",
        "PIPELINE_VERSION": "1.4",
    }
    results = run(repository, tmp_path, **IN_A_CAPSULE, **pipeline)
    written = processing(results)
    (told,) = written["pipelines"]
    assert (told["name"], told["version"]) == ("ephys", "1.4")
    assert told["url"] == "https://github.com/org/pipeline"
    assert {item["pipeline_name"] for item in written["data_processes"]} == {"ephys"}


def test_elsewhere_nothing_of_a_platform_is_said(repository: Path, tmp_path: Path) -> None:
    results = run(repository, tmp_path, SLURM_JOB_ID="1", GIT_COMMIT="a" * 40)
    assert "Code Ocean" not in (results / "processing.json").read_text()
    (code, *_) = codes(results).values()
    assert code["commit_hash"] is None
    assert code["version"] == f"tree:{git(repository, 'rev-parse', 'HEAD:code')}"
    assert code["url"] == (tmp_path / "capsule" / "code").as_uri()


def test_a_frozen_program_is_never_started_again(repository: Path, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho >> {tmp_path}/started\n")
    program.chmod(0o755)
    script = repository / "code" / "run_capsule.py"
    frozen = f"import sys\nsys.frozen, sys.executable = True, {str(program)!r}\n"
    script.write_text(frozen + script.read_text())
    results = run(repository, tmp_path)
    assert not (tmp_path / "started").exists()
    assert "has no tree id" in (results / "processing.json").read_text()


def test_a_killed_run_has_the_id_as_well(repository: Path, tmp_path: Path) -> None:
    results = run(repository, tmp_path, "kill", **IN_A_CAPSULE)
    (answer,) = results.glob(".asset-provenance/*/*.tree")
    while not answer.stat().st_size:  # it is computed beside the run, whatever becomes of that
        time.sleep(0.05)
    assert main(["recover", str(results), "--accept-failed"]) == 0
    (first, *_) = codes(results).values()
    assert first["version"] == f"tree:{git(repository, 'rev-parse', 'HEAD:code')}"


def test_resolve_finds_the_commit_among_thousands_and_writes_it(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = git(repository, "rev-parse", "HEAD")
    results = run(repository, tmp_path, **IN_A_CAPSULE)
    history(repository, 5000)
    before = (results / "processing.json").read_bytes()
    assert resolve(results, "--repo", repository) == 0
    out = capsys.readouterr().out
    assert f"fit: {ran}" in out
    assert "in code/" in out
    assert "looked at 5,001 commits" in out
    found = codes(results)
    assert {code["commit_hash"] for code in found.values()} == {ran}
    assert {code["url"] for code in found.values()} == {"https://github.com/org/capsule"}
    assert found["step"]["run_script"] == "code/pkg/steps.py"
    assert CANARY not in (results / "processing.json").read_text() + out
    assert main(["check", str(results)]) == 0
    assert (results / "processing.json").read_bytes() != before
    capsys.readouterr()
    written = (results / "processing.json").read_bytes()
    assert resolve(results, "--repo", repository) == 0
    assert "as it was; looked at" in capsys.readouterr().out
    assert (results / "processing.json").read_bytes() == written


def history(repository: Path, number: int) -> None:
    """Go on with as many commits, each of which changes the code."""
    lines = []
    for count in range(number):
        origin = "from refs/heads/main^0\n" if count == 0 else ""
        lines.append(
            f"commit refs/heads/main\ncommitter A <a@example.org> {4_000_000_000 + count} +0000\n"
            f"data 1\nx\n{origin}M 100644 inline code/pkg/other{count % 50}.py\n"
            f"data {len(str(count))}\n{count}\n"
        )
    subprocess.run(
        ["git", "-C", str(repository), "fast-import", "--quiet"],
        input="".join(lines).encode(),
        check=True,
    )


def test_code_that_came_went_and_came_back_is_the_commit_that_was_there(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = git(repository, "rev-parse", "HEAD")
    results = run(repository, tmp_path, **IN_A_CAPSULE)
    steps = repository / "code" / "pkg" / "steps.py"
    steps.write_text(STEPS + "# changed\n")
    commit(repository, "went")
    steps.write_text(STEPS)
    commit(repository, "came back, with the same second or a later one")
    (repository / "README.md").write_text("2\n")
    commit(repository, "the code is the same")
    git(repository, "tag", "v9", first)
    assert resolve(results, "--repo", repository, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    for each in told["processes"]:
        assert (each["commit"], each["tags"], each["others"]) == (first, ["v9"], 2)
    assert {code["version"] for code in codes(results).values()} == {"v9"}


def test_several_commits_with_the_code_are_told_and_the_newest_before_the_run_is_taken(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "README.md").write_text("2\n")
    newest = commit(repository, "the same code")
    results = run(repository, tmp_path, **IN_A_CAPSULE)
    assert resolve(results, "--repo", repository) == 0
    out = capsys.readouterr().out
    assert newest in out
    assert "1 other commit held the same" in out


def test_the_url_that_the_user_gave_stays(repository: Path, tmp_path: Path) -> None:
    said = "https://github.com/user/said"
    results = run(repository, tmp_path, ASSET_PROVENANCE_CODE_URL=said)
    assert resolve(results, "--repo", repository) == 0
    found = codes(results)
    assert {code["url"] for code in found.values()} == {said}
    assert {code["commit_hash"] for code in found.values()} == {
        git(repository, "rev-parse", "HEAD")
    }


def test_a_pipeline_named_like_a_process_says_nothing_of_it(
    repository: Path, tmp_path: Path
) -> None:
    results = run(repository, tmp_path, **IN_A_CAPSULE)
    content = processing(results)
    (fit,) = [one for one in content["data_processes"] if one["name"] == "fit"]
    pipeline = {"name": "fit", "url": fit["code"]["url"], "version": fit["code"]["version"]}
    fit["code"]["version"] = "1.0"
    content["pipelines"] = [pipeline]
    (results / "processing.json").write_text(json.dumps(content))
    assert resolve(results, "--repo", repository) == 0
    after = processing(results)
    (fit_after,) = [one for one in after["data_processes"] if one["name"] == "fit"]
    assert fit_after == fit
    assert after["pipelines"][0]["commit_hash"] == git(repository, "rev-parse", "HEAD")
    assert "notes" not in after["pipelines"][0]


def test_a_better_clone_finds_what_another_could_not(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = git(repository, "rev-parse", "HEAD")
    (repository / "README.md").write_text("2\n")
    commit(repository, "the same code")
    git(repository, "tag", "v1.2", first)
    results = run(repository, tmp_path, **IN_A_CAPSULE)
    poor = tmp_path / "poor"
    git(tmp_path, "clone", "--quiet", "--depth=1", "--no-tags", repository.as_uri(), str(poor))
    git(poor, "remote", "remove", "origin")
    assert resolve(results, "--repo", poor) == 0
    told = capsys.readouterr().out
    assert "the clone is shallow" in told
    assert "the URL stays as it was" in told
    assert resolve(results, "--repo", repository) == 0
    found = codes(results)
    assert {code["commit_hash"] for code in found.values()} == {first}
    assert {code["version"] for code in found.values()} == {"v1.2"}
    assert {code["url"] for code in found.values()} == {"https://github.com/org/capsule"}
    assert found["step"]["run_script"] == "code/pkg/steps.py"


def test_a_clone_without_the_code_says_so_and_changes_nothing(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = run(repository, tmp_path, **IN_A_CAPSULE)
    before = (results / "processing.json").read_bytes()
    (repository / "code" / "pkg" / "steps.py").write_text("x = 1\n")
    commit(repository, "other")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth=1", repository.as_uri(), str(shallow))
    assert resolve(results, "--repo", shallow) == 1
    out = capsys.readouterr().out
    assert "fit: no commit holds tree" in out
    assert "nothing was written" in out
    assert "the clone is shallow" in out
    assert (results / "processing.json").read_bytes() == before
    assert resolve(results, "--repo", shallow, "--json") == 1
    assert json.loads(capsys.readouterr().out)["gaps"] == "shallow"


@pytest.mark.parametrize(
    ("place", "told"),
    [("nowhere", "there is no folder"), ("empty", "cannot be searched: git cannot read")],
)
def test_what_is_no_clone_is_refused(
    repository: Path, tmp_path: Path, place: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    results = run(repository, tmp_path, **IN_A_CAPSULE)
    (tmp_path / "empty").mkdir()
    assert resolve(results, "--repo", tmp_path / place) == 2
    assert told in capsys.readouterr().err
    assert resolve(tmp_path / "empty", "--repo", repository) == 2
    assert "there is no processing.json in" in capsys.readouterr().err


def test_a_result_that_cannot_be_written_stays_as_it_is(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = run(repository, tmp_path, **IN_A_CAPSULE)
    before = (results / "processing.json").read_bytes()
    (results / ".asset-provenance").touch()  # where the folder for what is in flight must go
    assert resolve(results, "--repo", repository) == 2
    assert "cannot be written to" in capsys.readouterr().err
    assert (results / "processing.json").read_bytes() == before


def test_the_help_reads_well() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "asset_provenance.cli", "resolve", "--help"],
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "--repo" in done.stdout
