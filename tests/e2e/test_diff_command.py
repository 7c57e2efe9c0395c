"""The command ``asset-provenance diff``, as a user runs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from asset_provenance.cli import main
from helpers.assets import make_asset, process, write_json
from helpers.commands import Told
from helpers.repositories import commit, git, new_repository

CANARY = "ghp_c4naryC4NARYc4naryC4NARYc4nary012345"
ANALYSIS = """
import sys
from pathlib import Path
from asset_provenance import DerivedAsset, track_process, current_process

@track_process
def fit(session, *, threshold):
    (session / "subject.json").read_bytes()
    current_process().add_results(width=4 * threshold)

session, output, threshold = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
with DerivedAsset("fit", inputs=session, output_dir=output, parameters={"mode": "plain"},
                  experimenters=["Ada Lovelace"], strict=True):
    fit(session, threshold=threshold)
"""


class Made(NamedTuple):
    """Two results of one recording, the same again, and the clone whose commits made them."""

    first: Path
    second: Path
    again: Path
    clone: Path
    commits: tuple[str, str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    place = tmp_path_factory.mktemp("made")
    raw = make_asset(place / "data")
    clone = new_repository(place / "clone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSET_PROVENANCE_OFFLINE", "true")
        patch.setenv("ASSET_PROVENANCE_DATA_ROOT", str(place / "data"))

        def run(name: str, threshold: float) -> None:
            script = [sys.executable, str(clone / "fit.py"), str(raw), str(place / name)]
            subprocess.run([*script, str(threshold)], check=True, capture_output=True, cwd=clone)

        (clone / "fit.py").write_text(ANALYSIS)
        before = commit(clone, "Fit")
        run("first", 5.0)
        run("again", 5.0)
        (clone / "fit.py").write_text(ANALYSIS.replace("4 *", "3 *"))
        after = commit(clone, f"Narrow it \x1b[31m {CANARY}")
        run("second", 6.0)
    yield Made(place / "first", place / "second", place / "again", clone, (before, after))


def diff(*arguments: object) -> Told:
    done = subprocess.run(
        [sys.executable, "-m", "asset_provenance.cli", "diff", *map(str, arguments)],
        capture_output=True,
        check=False,
        timeout=60,
    )
    return Told(done.returncode, done.stdout.decode(), done.stderr.decode())


def others(folder: Path, *items: dict[str, Any]) -> Path:
    folder.mkdir()
    write_json(folder / "processing.json", {"data_processes": items})
    return folder


def test_what_changed_a_result_is_told_from_the_likeliest_cause_on(made: Made) -> None:
    before, after = made.commits
    done = diff(made.first, made.second)
    assert (done.status, done.err) == (1, "")
    facts = [
        f"B  {json.loads((made.second / 'data_description.json').read_text())['name']}\n",
        "1 process in both; different: code, parameters, outcome\n",
        f"  fit  commit: {before[:12]} -> {after[:12]}\n",
        f"  git log --oneline {before[:12]}..{after[:12]}\n",
        "  -> in a clone of https://github.com/AllenNeuralDynamics/unit-tuning, or give that to ",
        "  fit  threshold: 5.0 -> 6.0\n",
        "  fit  width: 20.0 -> 18.0\n",
    ]
    places = [done.out.index(fact) for fact in facts]
    assert places == sorted(places)


def test_the_same_again_is_no_difference_however_long_it_took(made: Made) -> None:
    done = diff(made.first, made.again)
    assert (done.status, done.err) == (0, "")
    assert "1 process in both; nothing that can change a result differs\n" in done.out
    told = diff(made.first, made.again, "--json").json
    assert (told["different"], told["differences"]) == (False, [])
    assert [one["path"] for one in told["measured"]] == ["seconds"]


def test_a_clone_tells_the_commits_between(made: Made) -> None:
    done = diff(made.first, made.second, "--repo", made.clone)
    assert f"1 commit that B has and A has not:\n    {made.commits[1][:10]} 20" in done.out
    assert r"Narrow it \x1b[31m [redacted]" in done.out
    assert CANARY not in done.out
    back = diff(made.second, made.first, "--repo", made.clone, "--json").json
    (found,) = back["commits"]
    assert (found["only_in_a"], found["only_in_b"], found["missing"]) == (1, 0, [])
    assert [(one["in"], one["commit"]) for one in found["log"]] == [("a", made.commits[1])]


def test_a_clone_that_lacks_a_commit_or_whose_commits_diverged_says_so(
    made: Made, tmp_path: Path
) -> None:
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{made.clone}", str(shallow))
    lacking = diff(made.first, made.second, "--repo", shallow)
    assert lacking.status == 1
    assert f"the clone does not have {made.commits[0][:12]}\n  -> git fetch --all" in lacking.out

    both = tmp_path / "both"
    git(tmp_path, "clone", "-q", "--depth", "2", f"file://{made.clone}", str(both))
    cut = diff(made.first, made.second, "--repo", both).out
    assert "there may be more commits between\n  -> git fetch --unshallow" in cut
    assert "shallow" not in diff(made.first, made.second, "--repo", made.clone).out

    full = tmp_path / "full"
    git(tmp_path, "clone", "-q", str(made.clone), str(full))
    git(full, "checkout", "-q", "-b", "side", made.commits[0])
    (full / "new.py").touch()
    side = commit(full, "Aside")
    folder = others(
        tmp_path / "other",
        process("fit", code={"url": "https://example.org/code", "commit_hash": side}),
    )
    diverged = diff(made.second, folder, "--repo", full).out
    assert "the histories of the two have diverged\n" in diverged
    assert f"1 commit that A has and B has not:\n    {made.commits[1][:10]}" in diverged


def test_no_metadata_make_git_do_anything_else(made: Made, tmp_path: Path) -> None:
    for number, name in enumerate(("--output=x", "HEAD", "0" * 40)):
        code = {"url": "https://example.org/code", "commit_hash": name}
        folder = others(tmp_path / str(number), process("fit", code=code))
        done = diff(made.first, folder, "--repo", made.clone)
        assert f"the clone does not have {name[:12]}\n" in done.out
    code["commit_hash"] = "\x1b[2J;$(rm -r ~)"
    done = diff(made.first, others(tmp_path / "hostile", process("fit", code=code)))
    assert "\x1b" not in done.out
    assert f"git log --oneline '{made.commits[0][:12]}..\\x1b[2J;$(rm -r'\n" in done.out
    assert not (made.clone / "x").exists()


def test_packages_uncommitted_changes_and_inherited_files_are_compared(
    made: Made, tmp_path: Path
) -> None:
    lists = [f"# Python\nnumpy=={version}\nscipy==1.0\n" for version in ("2.0", "2.1")]
    for folder, text, sex in zip("ab", lists, ("Female", "Male"), strict=True):
        others(tmp_path / folder, process("fit", notes="1 file has uncommitted changes: x"))
        (tmp_path / folder / "provenance").mkdir()
        (tmp_path / folder / "provenance" / "packages-1.txt").write_text(text)
        write_json(tmp_path / folder / "subject.json", {"subject_details": {"sex": sex}})
    done = diff(tmp_path / "a", tmp_path / "b")
    assert "fit  uncommitted changes: yes -> yes; whether the same is not known\n" in done.out
    assert "packages\n    numpy: 2.0 -> 2.1\n" in done.out
    assert 'subject.json: subject_details.sex: "Female" -> "Male"\n' in done.out
    assert "scipy" not in done.out
    lacking = diff(made.first, others(tmp_path / "c", process("fit")))
    assert "not compared: packages: B has no list of them in provenance/\n" in lacking.out


def test_a_file_that_is_in_no_commit_is_a_cause(tmp_path: Path) -> None:
    note = "1 untracked file or folder is not in the commit: gains.py"
    sides = [
        others(tmp_path / folder, process("fit", notes=notes))
        for folder, notes in (("a", None), ("b", note))
    ]
    done = diff(*sides)
    assert done.status == 1
    assert f"fit  beside the commit: only in B: {note}\n" in done.out


def test_an_outcome_without_a_cause_is_said_to_be_one(tmp_path: Path) -> None:
    sides = [
        others(tmp_path / folder, process("fit", output_parameters={"width": width}))
        for folder, width in (("a", 1), ("b", 2))
    ]
    assert "Nothing that was recorded explains the outcome: look for random" in diff(*sides).out


def test_what_cannot_be_read_is_told_to_those_who_wonder_where_it_is(tmp_path: Path) -> None:
    broken = others(tmp_path / "broken")
    (broken / "processing.json").write_text("{")
    write_json(broken / "data_description.json", {"name": "broken"})
    done = diff(broken, others(tmp_path / "whole", process("fit")))
    assert done.status == 1
    assert "not compared: A: " in done.out
    assert "processing.json is not valid JSON" in done.out
    same = [others(tmp_path / name, process("fit")) for name in ("one", "two")]
    for folder, content in zip(same, ("{", "[["), strict=True):
        (folder / "subject.json").write_text(content)
    done = diff(*same)
    assert done.status == 0
    assert done.out.count("subject.json is not valid JSON") == 2


def test_long_values_are_told_where_they_differ_and_secrets_not_at_all(tmp_path: Path) -> None:
    for folder, end in (("a", "one"), ("b", "other")):
        parameters = {"command": "x" * 200 + end, "password": f"{CANARY}{end}"}
        code = {"url": "https://example.org/code", "parameters": parameters}
        others(tmp_path / folder, process(f"\x1b[31mfit {CANARY}", code=code))
    done = diff(tmp_path / "a", tmp_path / "b")
    assert re.search(r'command: \.\.\.x{14}one" -> \.\.\.x{14}other"\n', done.out)
    said = done.out + diff(tmp_path / "a", tmp_path / "b", "--json").out
    assert CANARY not in said
    assert "\x1b" not in said


def test_of_many_differences_some_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    one = others(tmp_path / "a", *(process(f"step {n}") for n in range(300)))
    other = others(tmp_path / "b", process("step 0"))
    done = diff(one, other)
    assert done.out.count("only in A") == 20
    assert done.out.endswith("  and 279 more: see them with --all\n")
    assert diff(one, other, "--all").out.count("only in A") == 299


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["first"], "Missing argument"),
        (["first", "missing"], "there is no folder missing"),
        (["first", "."], "neither data_description.json nor processing.json"),
        (["first", "first", "--repo", "missing"], "git clone URL"),
        (["first", "first", "--repo", "."], "cannot be searched: git cannot read the repository"),
    ],
    ids=str,
)
def test_misuse_gives_status_2_and_a_word(
    made: Made, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(made.first) if one == "first" else one for one in arguments]
    assert main(["diff", *given, "--json"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err


def test_real_assets_of_both_schema_versions_are_compared(samples: Path, tmp_path: Path) -> None:
    old = samples / "aind-metadata-upgrader" / "v1_2ebb0312"
    for name, file in (("v1", "metadata.nd.v1.json"), ("v2", "metadata.nd.v2_upgraded.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metadata.nd.json").write_bytes((old / file).read_bytes())
    told = diff(tmp_path / "v1", tmp_path / "v2", "--json").json
    assert {one["topic"] for one in told["differences"]} >= {"other metadata"}
    assert not any(one["path"] == "subject_id" for one in told["differences"])
    same = samples / "zombie-squirrel" / "derived"
    assert diff(same, same).status == 0
