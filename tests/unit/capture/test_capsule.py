"""What Code Ocean tells of a run, and that nothing of it is seen anywhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from asset_provenance.capture.capsule import Capsule, find_capsule
from helpers.repositories import git

RUN = {"CO_CAPSULE_ID": "f1e2-77", "CO_COMPUTATION_ID": "c0ffee-1"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def code(tmp_path: Path) -> Path:
    for name in ("code", "data", "results"):
        (tmp_path / "capsule" / name).mkdir(parents=True)
    return tmp_path / "capsule" / "code"


def found(code: Path, **variables: str) -> Capsule:
    capsule = find_capsule(str(code), {**RUN, **variables}, root=Path("/nowhere"))
    assert capsule is not None
    return capsule


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"SLURM_JOB_ID": "7", "COMMIT_ID": COMMIT, "GIT_COMMIT": COMMIT},
        {"CO_CAPSULE_ID": " ", "HOSTNAME": "laptop"},
    ],
)
def test_elsewhere_there_is_no_capsule(code: Path, variables: dict[str, str]) -> None:
    assert find_capsule(str(code), variables, root=Path("/nowhere")) is None


def test_the_folders_of_a_capsule_are_enough(code: Path) -> None:
    capsule = find_capsule(str(code), {}, root=code.parent)
    assert capsule is not None
    assert str(capsule) == "Ran in Code Ocean (Reproducible Run)."


def test_a_run_a_workstation_and_a_pipeline_are_told_apart(code: Path) -> None:
    told = "Ran in Code Ocean ({}): capsule f1e2-77, {}computation c0ffee-1."
    assert str(found(code)) == told.format("Reproducible Run", "")
    pipeline = found(code, CO_PIPELINE_ID="p-1")
    assert str(pipeline) == told.format("pipeline", "pipeline p-1, ")
    assert str(found(code, AWS_BATCH_JOB_ID="x")) == told.format("pipeline", "")
    git(code.parent, "init", "--quiet")
    assert str(found(code)) == told.format("cloud workstation", "")


def test_its_page_is_known_where_the_host_is(code: Path) -> None:
    assert found(code).url is None
    for domain in ("co.example.org", "https://co.example.org/"):
        page = found(code, CODEOCEAN_DOMAIN=domain).url
        assert page == "https://co.example.org/capsule/f1e2-77"
    assert found(code, CODEOCEAN_DOMAIN="https://user:secret@co.example.org").url is None


@pytest.mark.parametrize("name", ["CO_COMMIT", "GIT_COMMIT", "COMMIT_ID"])
def test_a_commit_is_taken_from_any_variable_that_has_one(code: Path, name: str) -> None:
    assert found(code, **{name: COMMIT.upper()}).commit == COMMIT
    assert found(code, **{name: "abc1234"}).commit == "abc1234"


def test_the_first_variable_counts_and_then_the_file(code: Path) -> None:
    (code / "CODE_VERSION").write_text("v2.1\n")
    both = found(code, COMMIT_ID="1111111", CO_COMMIT="2222222")
    assert (both.commit, both.version) == ("2222222", None)
    alone = found(code)
    assert (alone.commit, alone.version) == (None, "v2.1")
    (code / "CODE_VERSION").write_text(f"{COMMIT}\n")
    assert found(code).commit == COMMIT


@pytest.mark.parametrize("value", ["main", "abc", "0" * 61, "cop_secret", "abc1234-dirty", "{{x}}"])
def test_a_malformed_value_is_told_and_not_recorded(code: Path, value: str) -> None:
    capsule = found(code, CO_COMMIT=value, COMMIT_ID=COMMIT)
    assert capsule.commit == COMMIT
    (problem,) = capsule.problems
    assert problem.startswith("CO_COMMIT is not recorded: it has not the form of a commit")
    assert value not in problem
    (code / "CODE_VERSION").write_text("what the\nfile says\n")
    (problem,) = found(code).problems
    assert problem.startswith("CODE_VERSION is not recorded")
    told = found(code, CO_COMMIT=COMMIT, CO_COMPUTATION_ID="a b; rm").problems
    assert told == ("CO_COMPUTATION_ID is not recorded: it is no id",)


def test_code_beside_the_capsule_is_not_the_capsules(code: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    capsule = found(other, CO_COMMIT=COMMIT)
    assert (capsule.code, capsule.commit) == (None, None)
    assert found(code / "deep", CO_COMMIT=COMMIT).code == str(code)
