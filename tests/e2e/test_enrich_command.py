"""The command ``asset-provenance enrich``: the real SDK on loopback, records of a real run."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from asset_provenance.testing import Fault, LoopbackServices
from helpers.assets import RAW, make_asset, process, processes, read_json, write_json
from helpers.commands import Told

RUN = "7f1eaf10-01bc-41cb-bc88-6464d0425b51"
CAPSULE = "5c0f8a2e-9a34-4d5b-8f1f-7d1f3c1b2a90"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
IMAGE = "registry.codeocean.example.org/published/units:v7"
CANARY = "ghp_c4naryC4NARYc4naryC4NARYc4nary012345"
RECORD = Path("results/processing.json")
ONE_MACHINE = "the URL is a folder of one machine: others cannot reach it"
MAIN = """
from asset_provenance import DerivedAsset, track_process

@track_process(outputs="units.csv")
def fit(threshold=5.0):
    with open("/dev/null"):
        pass

space = {}
exec("def typed(): pass", space)
typed = track_process(space["typed"])

with DerivedAsset("units", strict=True, experimenters=["Sample Scientist"]) as asset:
    (asset.output_dir / "units.csv").write_text("1,2")
    open("data/RAW/units.txt").close()
    fit()
    typed()
""".replace("RAW", RAW)


def python(*arguments: object, cwd: Path | None = None, **environ: str) -> Told:
    """Run Python as a user does."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Told(done.returncode, done.stdout, done.stderr)


def enrich(*arguments: object, **environ: str) -> Told:
    told = python("-m", "asset_provenance.cli", "enrich", "results", *arguments, **environ)
    assert "Traceback" not in told.out + told.err
    assert os.environ.get("CODEOCEAN_TOKEN", "no token") not in told.out + told.err
    return told


@pytest.fixture(scope="module")
def capsule(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capsule after a Reproducible Run: its code came without a repository."""
    folder = tmp_path_factory.mktemp("run") / "capsule"
    for name in ("code", "data", "results"):
        (folder / name).mkdir(parents=True)
    raw = make_asset(folder / "data", carried=(), processing={"data_processes": [process("sort")]})
    (raw / "units.txt").write_text("1")
    (folder / "code" / "main.py").write_text(MAIN)
    settings = {"ASSET_PROVENANCE_OFFLINE": "true", "ASSET_PROVENANCE_DATA_ROOT": "data"}
    ids = {"CO_CAPSULE_ID": CAPSULE, "CO_COMPUTATION_ID": RUN, "CODEOCEAN_DOMAIN": ""}
    told = python("code/main.py", cwd=folder, **settings, **ids)
    assert told.status == 0, told.err
    return folder


@pytest.fixture
def record(capsule: Path) -> dict[str, Any]:
    """The results of that run, in ``results``; the code of its process ``fit`` as recorded."""
    shutil.copytree(capsule / "results", "results")
    code: dict[str, Any] = processes(Path("results"))["fit"]["code"]
    assert code["url"].startswith("file://")
    assert code["version"].startswith("tree:")
    assert (code["commit_hash"], code["run_script"]) == (None, "main.py")
    return code


@pytest.fixture
def held(services: LoopbackServices, record: dict[str, Any]) -> LoopbackServices:
    """Code Ocean, which has captured them."""
    capture(services)
    return services


def name() -> str:
    return str(read_json(Path("results/data_description.json"))["name"])


def capture(services: LoopbackServices, **told: Any) -> str:
    """Have the results captured as a data asset of their name; give its id."""
    known: dict[str, Any] = {
        "id": RUN,
        "capsule": CAPSULE,
        "commit": COMMIT,
        "run_script": "code/run",
        "docker_image": IMAGE,
    }
    run = services.codeocean.add_computation(folder="results", **(known | told))
    return services.codeocean.add_result(run, name())


def tell(services: LoopbackServices, **provenance: Any) -> None:
    """Let Code Ocean tell something else of the run."""
    (only,) = services.codeocean._assets.values()
    only.shown["provenance"] |= provenance


def code_of(process: str = "fit") -> dict[str, Any]:
    code: dict[str, Any] = processes(Path("results"))[process]["code"]
    return code


def page(services: LoopbackServices, capsule: str = CAPSULE) -> str:
    return f"{services.environ['CODEOCEAN_DOMAIN']}/capsule/{capsule}"


def edit(**code: Any) -> None:
    """Change the code of ``fit`` in the record."""
    content = read_json(RECORD)
    for one in content["data_processes"]:
        if one["name"] == "fit":
            one["code"] |= code
    write_json(RECORD, content)


def lines(told: Told) -> list[str]:
    return told.out.splitlines()


# What is completed


def test_what_would_change_is_shown_and_nothing_is_written(held: LoopbackServices) -> None:
    before = RECORD.read_bytes()
    old = code_of()["url"]
    told = enrich()
    assert (told.status, told.err) == (0, "")
    assert lines(told)[0] == name()
    for line in (
        f"fit: commit_hash: {COMMIT}",
        f"fit: url: {old} -> {page(held)}",
        "fit: run_script: main.py -> code/main.py",
        f'fit: notes: without "{ONE_MACHINE}"',
    ):
        assert line in lines(told)
    assert any(line.startswith("fit: container: ") and "v7" in line for line in lines(told))
    assert lines(told)[-1] == "-> to write it: asset-provenance enrich results --yes"
    assert RECORD.read_bytes() == before


def test_the_record_is_completed(held: LoopbackServices, record: dict[str, Any]) -> None:
    told = enrich("--yes")
    assert (told.status, told.err) == (0, "")
    assert f"{RECORD}: written" in told.out
    code = code_of()
    assert code == record | {
        "commit_hash": COMMIT,
        "url": page(held),
        "run_script": "code/main.py",
        "container": {
            "container_type": "Docker",
            "uri": "registry.codeocean.example.org/published/units",
            "tag": "v7",
        },
    }
    content = read_json(RECORD)
    (asset,) = held.codeocean.assets
    assert content["notes"].splitlines()[-1] == (
        f"Completed from what Code Ocean tells of the data asset {asset['id']}: computation {RUN}, "
        f"capsule {CAPSULE}, Docker image {IMAGE}."
    )
    assert ONE_MACHINE not in RECORD.read_text()
    manifest = read_json(Path("results/provenance/asset-provenance.json"))
    digest = hashlib.sha256(RECORD.read_bytes()).hexdigest()
    assert manifest["files"]["processing.json"] == {"sha256": digest}
    assert python("-m", "asset_provenance.cli", "check", "results").status == 0


def test_processes_of_the_input_stay_as_they_are(held: LoopbackServices) -> None:
    content = read_json(RECORD)
    inherited = next(one for one in content["data_processes"] if one["name"] == "sort")
    inherited["code"] |= {"url": page(held), "version": None}
    write_json(RECORD, content)
    told = enrich("--yes")
    assert told.status == 0
    assert "sort" not in told.out
    assert processes(Path("results"))["sort"] == inherited


def test_a_second_time_there_is_nothing_to_do(held: LoopbackServices) -> None:
    assert enrich("--yes").status == 0
    before = RECORD.read_bytes()
    told = enrich("--yes")
    assert told.status == 0
    assert f"{RECORD}: there is nothing to complete" in told.out
    assert RECORD.read_bytes() == before


def test_it_is_given_as_json_too(held: LoopbackServices) -> None:
    told = enrich("--json").json
    assert told["asset"]["name"] == name()
    assert told["provenance"]["commit"] == COMMIT
    assert {"process": "fit", "field": "commit_hash", "before": None, "after": COMMIT} in told[
        "changes"
    ]
    assert (told["contradictions"], told["written"]) == ([], False)
    assert enrich("--json", "--yes").json["written"] is True
    assert enrich("--json", "--yes").json["written"] is False


def test_the_script_that_the_run_began_with_serves_where_none_is_recorded(
    held: LoopbackServices,
) -> None:
    edit(run_script=None)
    assert enrich("--yes").status == 0
    assert code_of()["run_script"] == "code/run"


def test_code_that_is_known_by_the_page_of_its_capsule_is_completed(
    held: LoopbackServices,
) -> None:
    slug = held.codeocean._capsules[CAPSULE]["slug"]
    for url in (page(held), f"{page(held)}/tree", page(held, slug)):
        edit(url=url, run_script="main.py", commit_hash=None)
        told = enrich("--yes")
        assert told.status == 0
        code = code_of()
        assert (code["url"], code["commit_hash"]) == (url, COMMIT)
        assert code["run_script"] == "code/main.py"


def test_code_of_the_linked_repository_is_completed_but_not_a_version_of_it(
    held: LoopbackServices,
) -> None:
    url = "https://github.com/your-lab/your-analysis"
    held.codeocean.add_capsule(CAPSULE, cloned_from_url=f"{url}.git")
    edit(url=url, version="v1.0")
    assert enrich("--yes").status == 0
    assert code_of()["commit_hash"] is None
    edit(version=None)
    assert enrich("--yes").status == 0
    assert (code_of()["url"], code_of()["commit_hash"]) == (url, COMMIT)


def test_code_of_a_session_that_was_at_another_commit_contradicts(held: LoopbackServices) -> None:
    slug = held.codeocean._capsules[CAPSULE]["slug"]
    edit(url=f"{held.environ['CODEOCEAN_DOMAIN']}/capsule-{slug}", commit_hash="f" * 40)
    assert enrich("--yes").status == 1
    assert code_of()["commit_hash"] == "f" * 40


def test_the_main_script_in_the_notes_gets_its_commit_too(held: LoopbackServices) -> None:
    content = read_json(RECORD)
    tree = code_of()["version"]
    content["notes"] += f"\nMain script: file:///code (main.py) at {tree}."
    write_json(RECORD, content)
    assert enrich("--yes").status == 0
    assert f"(main.py) at {COMMIT} ({tree})." in read_json(RECORD)["notes"]


def test_an_image_that_is_known_by_an_id_only_goes_to_the_notes(
    services: LoopbackServices, record: dict[str, Any]
) -> None:
    """As Code Ocean tells it of its own images."""
    image = "8f2e9d04-3c51-4f0e-9a41-52d6a3f1c9b7"
    capture(services, docker_image=image)
    assert enrich("--yes").status == 0
    assert code_of()["container"] is None
    assert f"Docker image {image}." in read_json(RECORD)["notes"]


@pytest.mark.parametrize(
    ("image", "tag"), [("python@sha256:0123abcd", "sha256:0123abcd"), ("host:5000/a/b:1", "1")]
)
def test_an_image_with_a_tag_or_a_digest_is_a_container(
    services: LoopbackServices, record: dict[str, Any], image: str, tag: str
) -> None:
    capture(services, docker_image=image)
    assert enrich("--yes").status == 0
    assert code_of()["container"]["tag"] == tag


@pytest.mark.parametrize("asked", ["computation", "capsule"])
def test_either_of_computation_and_capsule_is_enough(held: LoopbackServices, asked: str) -> None:
    """Code Ocean tells one or the other, depending on what the data asset was made from."""
    tell(held, **{"capsule" if asked == "computation" else "computation": None})
    assert enrich("--yes").status == 0
    assert (code_of()["commit_hash"], code_of()["url"]) == (COMMIT, page(held))


# What is left as it is


@pytest.mark.parametrize(
    "code",
    [
        {"url": "https://github.com/lab/other"},
        {"url": "file:///home/me/analysis"},
        {"url": "file:///root/capsule/code", "name": "units", "version": "1.0"},
        {"url": "file:///root/capsule/code", "commit_hash": "f" * 40},
    ],
    ids=["another repository", "another folder", "package", "another commit of a folder"],
)
def test_code_that_is_not_the_capsule_s_stays_as_it_is(
    held: LoopbackServices, code: dict[str, Any]
) -> None:
    edit(**code)
    before = code_of()
    told = enrich("--yes")
    assert told.status == 0
    assert code_of() == before
    assert code_of("typed")["commit_hash"] == COMMIT
    if "commit_hash" not in code:
        assert "without a commit still, since it is not the capsule's own code: that of fit" in (
            told.out
        )


def test_a_commit_that_contradicts_is_reported_and_stays(held: LoopbackServices) -> None:
    edit(url=page(held), commit_hash="f" * 40)
    before = code_of()
    told = enrich("--yes")
    assert told.status == 1
    words = f"fit: commit_hash is {'f' * 40}, and Code Ocean tells {COMMIT}: it stays as it is"
    assert words in told.out
    assert code_of() == before
    assert code_of("typed")["commit_hash"] == COMMIT
    assert enrich("--json").json["contradictions"] == [
        {"process": "fit", "field": "commit_hash", "recorded": "f" * 40, "told": COMMIT}
    ]


def test_a_commit_that_was_found_by_the_folder_may_be_another_with_the_same_code(
    held: LoopbackServices,
) -> None:
    found = "f" * 40
    content = read_json(RECORD)
    for one in content["data_processes"]:
        if one["name"] == "fit":
            one["notes"] = f"the commit was found by tree:{one['code']['version'][5:]}"
            one["code"] |= {"commit_hash": found, "version": "v2", "url": page(held)}
    write_json(RECORD, content)
    told = enrich("--yes")
    assert told.status == 0, told.out
    assert f"Code Ocean tells commit {COMMIT}, and another was found by the id" in told.out
    assert (code_of()["commit_hash"], code_of()["version"]) == (found, "v2")
    assert code_of()["container"]["tag"] == "v7"


def test_a_container_that_contradicts_is_reported_and_stays(held: LoopbackServices) -> None:
    other = {"object_type": "Container", "container_type": "Docker", "uri": "mine", "tag": "1"}
    edit(container=other)
    told = enrich("--yes")
    assert told.status == 1
    assert "fit: container is " in told.out
    assert (code_of()["container"], code_of()["commit_hash"]) == (other, COMMIT)


def test_an_abbreviated_commit_is_no_contradiction(held: LoopbackServices) -> None:
    edit(commit_hash=COMMIT[:12].upper())
    assert enrich("--yes").status == 0
    assert code_of()["commit_hash"] == COMMIT[:12].upper()
    assert code_of()["url"] == page(held)


@pytest.mark.parametrize("what", ["computation", "capsule"])
def test_of_another_run_nothing_is_taken(held: LoopbackServices, what: str) -> None:
    before = RECORD.read_bytes()
    tell(held, **{what: "another"})
    told = enrich("--yes")
    assert told.status == 1
    recorded = {"computation": RUN, "capsule": CAPSULE}[what]
    assert f"the whole run: {what} is {recorded}, and Code Ocean tells another" in told.out
    assert RECORD.read_bytes() == before


def test_a_pipeline_s_commit_is_not_that_of_its_capsules(
    services: LoopbackServices, record: dict[str, Any]
) -> None:
    before = RECORD.read_bytes()
    stages = [{"name": "sort", "capsule_id": "c"}]
    capture(services, processes=stages)
    told = enrich("--yes")
    assert told.status == 2
    assert "is the result of a pipeline" in told.err
    assert RECORD.read_bytes() == before


def test_a_pipeline_is_known_by_itself_too(
    services: LoopbackServices, record: dict[str, Any]
) -> None:
    services.codeocean.add_pipeline(CAPSULE)
    capture(services)
    assert "is the result of a pipeline" in enrich("--yes").err


def test_where_nobody_says_that_it_is_a_capsule_its_folder_proves_nothing(
    held: LoopbackServices,
) -> None:
    held.codeocean._capsules.clear()
    held.codeocean._computations.clear()
    edit(url=page(held))
    told = enrich("--yes")
    assert told.status == 0
    assert f"nobody can say whether {CAPSULE} is a capsule or a pipeline" in told.out
    assert code_of()["commit_hash"] == COMMIT  # known by its page
    assert code_of("typed")["commit_hash"] is None


def test_data_assets_that_nothing_names_are_told_and_added_nowhere(
    services: LoopbackServices, record: dict[str, Any]
) -> None:
    other = services.codeocean.add_computation(files={"a": "b"})
    used, unused = (services.codeocean.add_result(other, one) for one in (RAW, "an atlas"))
    unseen = "0c4f7a52-9a1e-4a39-8c3b-0b1ff8a7a1aa"
    attached = [{"id": one, "mount": "x"} for one in (used, unused, unseen)]
    capture(services, data_assets=attached)
    told = enrich("--yes")
    assert told.status == 0
    shown = [line for line in lines(told) if line.startswith("attached to the run")]
    assert [line.rpartition(": ")[2] for line in shown] == [f"an atlas ({unused})", unseen]
    assert "atlas" not in RECORD.read_text()
    told = enrich("--json")
    assert told.json["unnamed_data_assets"] == [
        {"id": unused, "name": "an atlas"},
        {"id": unseen, "name": None},
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("commit", "not a commit"),
        ("commit", f"main {CANARY}"),
        ("run_script", "../../etc/passwd"),
        ("run_script", CANARY),
        ("docker_image", f"https://me:{CANARY}@example.org/x"),
    ],
)
def test_what_cannot_be_is_told_and_not_written(
    held: LoopbackServices, field: str, value: str
) -> None:
    tell(held, **{field: value})
    edit(run_script=None)
    told = enrich("--yes")
    assert told.status == 0
    assert "that Code Ocean tells is" in told.out
    recorded = RECORD.read_text()
    assert value not in recorded
    for text in (told.out, told.err, enrich("--json").out, recorded):
        assert CANARY not in text


def test_what_somebody_else_wrote_meanwhile_is_not_lost(held: LoopbackServices) -> None:
    """The file is read before Code Ocean is asked, and is another one when it has answered."""
    held.codeocean.fail(Fault(delay=5), path=f"/capsules/{CAPSULE}")
    line = [sys.executable, "-m", "asset_provenance.cli", "enrich", "results", "--yes"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        while not any(one.path.endswith(CAPSULE) for one in held.codeocean.requests):
            assert run.poll() is None
            time.sleep(0.05)
        edit(notes_of_mine="kept")
        _, err = run.communicate(timeout=60)
    assert run.returncode == 2
    assert "was changed meanwhile; try again" in err
    assert code_of()["notes_of_mine"] == "kept"
    assert code_of()["commit_hash"] is None


# Which data asset


def test_several_of_one_name_are_told_and_one_is_asked_for(held: LoopbackServices) -> None:
    second = held.codeocean.add_result(RUN, name())
    first = held.codeocean.assets[0]["id"]
    told = enrich()
    assert told.status == 2
    assert f"there are 2 data assets {name()}: give one with --asset ID" in told.err
    assert first in told.err
    assert second in told.err
    assert f"data asset {second} " in enrich("--asset", second).out


def test_one_of_another_name_must_hold_this_result(held: LoopbackServices) -> None:
    renamed = held.codeocean.add_result(RUN, "my favourite units")
    assert enrich("--asset", renamed).status == 0
    other = held.codeocean.add_computation(
        files={"data_description.json": {"name": "something_else"}}, capsule=CAPSULE
    )
    wrong = held.codeocean.add_result(other, "others")
    told = enrich("--asset", wrong)
    assert told.status == 2
    assert f"holds the result something_else, not {name()}: mend --asset" in told.err
    empty = held.codeocean.add_result(held.codeocean.add_computation(files={"a": "b"}), "empty")
    assert "there is no data_description.json in it" in enrich("--asset", empty).err


def test_none_of_that_name_is_told(services: LoopbackServices, record: dict[str, Any]) -> None:
    told = enrich("--yes")
    assert told.status == 2
    assert f"has no data asset {name()}, or none that the token gives access to" in told.err
    assert "asset-provenance publish" in told.err
    told = enrich("--asset", "../capsules")
    assert told.status == 2
    assert "has no data asset ../capsules" in told.err


@pytest.mark.parametrize("state", ["draft", "failed"])
def test_one_that_is_not_ready_is_told(held: LoopbackServices, state: str) -> None:
    (only,) = held.codeocean._assets.values()
    only.shown |= {"state": state, "failure_reason": "the disk is full"}
    only.looks = float("inf")
    told = enrich("--asset", only.shown["id"])
    assert told.status == 2
    assert f"is not ready: its state is {state}: the disk is full" in told.err


def test_one_without_provenance_is_told(held: LoopbackServices) -> None:
    (only,) = held.codeocean._assets.values()
    del only.shown["provenance"]
    told = enrich("--yes")
    assert told.status == 2
    assert "has no provenance: Code Ocean keeps one for results that it has captured" in told.err


# What is refused before


def test_all_that_stands_against_asking_is_told_at_once(
    services: LoopbackServices, record: dict[str, Any]
) -> None:
    Path("results/provenance/asset-provenance.json").unlink()
    told = enrich(CODEOCEAN_DOMAIN="", CODEOCEAN_TOKEN="", ASSET_PROVENANCE_OFFLINE="true")
    assert told.status == 2
    for words in (
        "offline is set (ASSET_PROVENANCE_OFFLINE)", "only what this package has written",
        "no token for Code Ocean is known", "set CODEOCEAN_DOMAIN",
    ):  # fmt: skip
        assert words in told.err
    assert services.codeocean.requests == []


@pytest.mark.parametrize("domain", ["http://codeocean.example.org", "u:p@host"])
def test_a_token_is_sent_to_no_place_that_is_not_encrypted(
    held: LoopbackServices, domain: str
) -> None:
    told = enrich(CODEOCEAN_DOMAIN=domain)
    assert told.status == 2
    assert "CODEOCEAN_DOMAIN: it must be a host" in told.err


def test_a_folder_that_is_no_result_is_refused(services: LoopbackServices) -> None:
    Path("results").mkdir()
    told = enrich()
    assert told.status == 2
    assert "there is no processing.json in results" in told.err


# What goes wrong at Code Ocean


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "the token in CODEOCEAN_TOKEN is not valid there"),
        (403, "does not give the right to"),
        (500, "answered 500"),
    ],
)
def test_what_code_ocean_refuses_is_told_and_nothing_is_written(
    held: LoopbackServices, status: int, words: str
) -> None:
    before = RECORD.read_bytes()
    held.codeocean.fail(Fault(status=status, body=f"token={CANARY}".encode()), None)
    for line in (("--yes",), ("--yes", "--asset", held.codeocean.assets[0]["id"])):
        told = enrich(*line)
        assert told.status == 1
        assert words in told.err
        assert CANARY not in told.err
    assert RECORD.read_bytes() == before


def test_what_passes_is_asked_again(held: LoopbackServices) -> None:
    held.codeocean.fail(Fault(status=503), 2)
    held.codeocean.fail(Fault(drop="before"), path=CAPSULE)
    held.codeocean.fail(Fault(drop="after"), path=RUN)
    assert enrich("--yes").status == 0
    assert code_of()["commit_hash"] == COMMIT


@pytest.mark.parametrize(
    ("fault", "place", "words"),
    [
        (Fault(drop="before"), "", "the connection failed"),
        (Fault(drop="after"), RUN, "the connection failed"),
        (Fault(drip=0.05), CAPSULE, "it did not answer in time"),
        (Fault(delay=30), RUN, "it did not answer in time"),
        (Fault(body=b"<html>"), "", "it answered with something that its client cannot read"),
        (Fault(body=b"[1]"), CAPSULE, "it answered with something that its client cannot read"),
    ],
    ids=["dropped", "lost", "drips", "hangs", "no JSON", "other JSON"],
)
def test_a_fault_leaves_the_record_as_it_was(
    held: LoopbackServices, fault: Fault, place: str, words: str
) -> None:
    before = RECORD.read_bytes()
    held.codeocean.fail(fault, None, path=place)
    told = enrich("--yes", ASSET_PROVENANCE_SERVICE_TIMEOUT="1")
    assert told.status == 1
    assert words in told.err
    assert RECORD.read_bytes() == before


def test_a_provenance_that_is_none_is_a_fault_of_the_service(held: LoopbackServices) -> None:
    (only,) = held.codeocean._assets.values()
    only.shown["provenance"] = "none of your business"
    told = enrich("--yes", "--asset", only.shown["id"])
    assert told.status == 1
    assert "it answered with something that its client cannot read" in told.err


def test_a_record_that_cannot_be_written_stays(held: LoopbackServices) -> None:
    before = RECORD.read_bytes()
    Path("results/.asset-provenance").write_text("in the way")
    told = enrich("--yes")
    assert told.status == 2
    assert "results cannot be written to" in told.err
    assert RECORD.read_bytes() == before


def test_secrets_in_the_record_are_not_repeated(held: LoopbackServices) -> None:
    content = read_json(RECORD)
    for one in content["data_processes"]:
        if one["name"] == "fit":
            one["name"] = f"fit https://me:{CANARY}@example.org/x"
            one["code"] |= {"url": page(held), "commit_hash": None, "run_script": CANARY}
    write_json(RECORD, content)
    for options in ([], ["--json"], ["--asset", CANARY]):
        told = enrich(*options)
        assert "example.org" in told.out or options == ["--asset", CANARY]
        assert CANARY not in told.out + told.err


def test_the_help_fits_a_terminal() -> None:
    told = python("-m", "asset_provenance.cli", "enrich", "--help", COLUMNS="80")
    assert told.status == 0
    assert max(map(len, lines(told))) <= 80
    for word in ("--yes", "--asset ID", "--json", "Exit status"):
        assert word in told.out
