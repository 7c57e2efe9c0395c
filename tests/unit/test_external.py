"""Data that come from outside AIND: one description, and nobody's facts but their own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from asset_provenance import (
    DerivedAsset,
    ExternalAsset,
    PreflightError,
    StorageError,
    UsageError,
)
from asset_provenance.checksums import CHECKSUMS
from asset_provenance.metadata.folder_checks import check_folder
from helpers.assets import FACTS, PEOPLE, read_json, write_json
from helpers.schema import read_core_file

CANARY = "c4naryC4NARY0123"
RESULTS = Path("results")
ATLAS: dict[str, Any] = {
    "source": "https://example.org/atlas.zip",
    "creation_time": "2024-04-21",
    "institution": "UPENN",
    "investigators": ["Yongsoo Kim"],
    "modalities": ["MRI", "SPIM"],
    "funding_source": ["NIMH:RF1MH12460501", "NINDS:R01NS108407"],
    "license": "CC-BY-4.0",
}


def atlas(name: str = "KimLab-DevCCF-v1", **changes: Any) -> ExternalAsset:
    return ExternalAsset(name, **{**ATLAS, **changes})


def download(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "atlas.nii").write_text("voxels")


def description(folder: Path = RESULTS) -> dict[str, Any]:
    """Give the description in a folder, once our own check finds nothing wrong with it."""
    read_core_file(folder / "data_description.json")
    assert check_folder(folder) == []
    return dict(read_json(folder / "data_description.json"))


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def problems(**changes: Any) -> str:
    with pytest.raises(PreflightError) as caught:
        atlas(**changes)
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


def test_a_block_that_downloads_leaves_the_data_and_their_description() -> None:
    with atlas(accessed="2025-03-01") as asset:
        download(asset.output_dir)
    assert everything(RESULTS) == {
        "atlas.nii",
        "data_description.json",
        "provenance/asset-provenance.json",
    }
    assert not (RESULTS / ".asset-provenance").exists()
    said = description()
    assert said["name"] == asset.name == "KimLab-DevCCF-v1_2024-04-21_00-00-00"
    assert said["creation_time"] == "2024-04-21T00:00:00Z"
    assert said["institution"]["abbreviation"] == "UPENN"
    assert [person["name"] for person in said["investigators"]] == ["Yongsoo Kim"]
    assert [modality["abbreviation"] for modality in said["modalities"]] == ["MRI", "SPIM"]
    assert [
        (it["funder"]["abbreviation"], it["grant_number"]) for it in said["funding_source"]
    ] == [
        ("NIMH", "RF1MH12460501"),
        ("NINDS", "R01NS108407"),
    ]
    assert said["data_summary"] == "Downloaded from https://example.org/atlas.zip on 2025-03-01"
    assert (said["license"], said["project_name"]) == ("CC-BY-4.0", "external data")
    assert (said["data_level"], said["source_data"], said["subject_id"]) == ("derived", None, None)
    manifest = read_json(RESULTS / "provenance/asset-provenance.json")
    assert (manifest["kind"], manifest["name"]) == ("external", asset.name)


def test_a_decorated_function_makes_an_asset_of_each_call() -> None:
    @atlas()
    def get(number: int) -> int:
        """Get it."""
        (RESULTS / "data").write_text(str(number))
        return number + 1

    assert (get.__name__, get.__doc__) == ("get", "Get it.")
    assert get(1) == 2
    first = (RESULTS / "data_description.json").stat().st_mtime_ns
    assert get(2) == 3
    assert (RESULTS / "data_description.json").stat().st_mtime_ns > first
    assert description()["data_summary"].endswith(f" on {date.today()}")


def test_a_coroutine_function_is_described_when_it_has_ended() -> None:
    @atlas()
    async def get() -> str:
        await asyncio.sleep(0)
        assert not (RESULTS / "data_description.json").exists()
        download(RESULTS)
        return "got"

    assert asyncio.run(get()) == "got"
    assert description()["name"].startswith("KimLab")


def test_data_that_are_there_are_described_in_place_and_the_file_is_given() -> None:
    download(Path("there"))
    written = atlas(output_dir="there").write()
    assert written == Path.cwd() / "there" / "data_description.json"
    assert description(Path("there"))["name"] == "KimLab-DevCCF-v1_2024-04-21_00-00-00"


def test_after_an_exception_nothing_is_written_and_it_goes_on_unchanged() -> None:
    error = ConnectionError("gone")
    with pytest.raises(ConnectionError) as caught, atlas() as asset:
        download(asset.output_dir)
        raise error
    assert caught.value is error
    assert everything(RESULTS) == {"atlas.nii"}
    with pytest.raises(ConnectionError), atlas(output_dir="other"):
        raise error
    assert not Path("other").exists()


def test_a_folder_without_data_is_refused_and_leaves_no_trace() -> None:
    with pytest.raises(UsageError, match="holds no data to describe"):
        atlas().write()
    assert not RESULTS.exists()
    with pytest.raises(UsageError, match="holds no data"), atlas() as asset:
        (asset.output_dir / "empty").mkdir()
    assert everything(RESULTS) == set()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_links_to_nowhere_are_no_data(tmp_path: Path) -> None:
    RESULTS.mkdir()
    os.mkfifo(RESULTS / "pipe")
    (RESULTS / "atlas.nii").symlink_to(tmp_path / "gone")
    with pytest.raises(UsageError, match="holds no data"):
        atlas().write()
    (tmp_path / "gone").write_text("voxels")
    assert atlas().write()


def test_the_settings_beside_the_script_say_where_the_data_go(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "asset-provenance.toml").write_text(
        '[tool.asset-provenance]\noutput_dir = "outside"\nchecksums = true\n'
    )
    arguments = ", ".join(f"{name}={value!r}" for name, value in ATLAS.items())
    (code / "get.py").write_text(
        "from asset_provenance import ExternalAsset\n"
        f"with ExternalAsset('KimLab', {arguments}) as asset:\n"
        "    (asset.output_dir / 'atlas.nii').write_text('voxels')\n"
    )
    subprocess.run([sys.executable, code / "get.py"], check=True)
    # A path in a file of settings is one beside that file.
    assert description(code / "outside")["name"].startswith("KimLab_2024")
    assert (code / "outside" / CHECKSUMS).exists()


@pytest.mark.parametrize("name", ["subject.json", "data_description.json", "processing.json"])
def test_a_folder_that_has_metadata_is_refused_and_the_files_are_named(name: str) -> None:
    download(RESULTS)
    (RESULTS / name).write_text("{}")
    with pytest.raises(PreflightError, match=f"holds {name}.*has metadata already"):
        atlas().write()
    assert everything(RESULTS) == {"atlas.nii", name}
    assert (RESULTS / name).read_text() == "{}"


def test_metadata_that_come_with_the_download_are_not_replaced() -> None:
    with pytest.raises(PreflightError, match="holds data_description.json"), atlas() as asset:
        download(asset.output_dir)
        (asset.output_dir / "data_description.json").write_text("theirs")
    assert (RESULTS / "data_description.json").read_text() == "theirs"


def test_a_description_of_our_own_is_replaced_unless_it_was_edited_or_is_of_something_else() -> (
    None
):
    download(RESULTS)
    atlas().write()
    atlas(checksums=True, license="MIT").write()
    assert description()["license"] == "MIT"
    atlas().write()
    assert description()["license"] == "CC-BY-4.0"
    assert not (RESULTS / CHECKSUMS).exists()
    with pytest.raises(PreflightError, match=r"data_description\.json"):
        atlas(creation_time="2024-05-01").write()
    with pytest.raises(PreflightError, match=r"data_description\.json"):
        atlas("Other").write()
    with pytest.raises(PreflightError, match=r"data_description\.json"):
        DerivedAsset("KimLab-DevCCF-v1", inputs=(), base_name="b", **FACTS, **PEOPLE).start()
    path = RESULTS / "data_description.json"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(PreflightError, match=r"data_description\.json"):
        atlas().write()


def test_everything_that_is_missing_is_told_at_once_with_what_the_page_recommends() -> None:
    with pytest.raises(PreflightError) as caught:
        ExternalAsset("a_b")
    told = {text.split()[0].rstrip(":"): text for text in caught.value.problems}
    assert list(told) == [
        "name",
        "source",
        "creation_time",
        "institution",
        "investigators",
        "modalities",
        "funding_source",
        "license",
    ]
    assert "the date the data were posted, or a related publication date" in told["creation_time"]
    assert '"a-b"' in told["name"]
    assert not RESULTS.exists()


@pytest.mark.parametrize("empty", ["", "  ", [], None])
def test_what_is_empty_is_missing(empty: object) -> None:
    for fact in ("funding_source", "investigators", "modalities", "institution", "license"):
        assert problems(**{fact: empty}).startswith(f"{fact} is missing: give {fact}=")


def test_people_money_and_licences_of_the_user_never_become_those_of_other_people(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for fact, value in {**FACTS, "institution": "AIND", "license": "MIT", "tags": ["x"]}.items():
        text = "; ".join(value) if isinstance(value, list) else value
        monkeypatch.setenv(f"ASSET_PROVENANCE_{fact.upper()}", text)
    Path("pyproject.toml").write_text(
        '[tool.asset-provenance]\nrestrictions = "ours"\ngroup = "ephys"\ndata_summary = "ours"\n'
    )
    with pytest.raises(PreflightError) as caught:
        ExternalAsset("x", source="here", creation_time="2024-04-21")
    assert len(caught.value.problems) == 5
    download(RESULTS)
    atlas().write()
    said = description()
    assert (said["project_name"], said["tags"], said["group"]) == ("external data", None, None)
    assert (said["restrictions"], said["license"]) == (None, "CC-BY-4.0")
    assert "ours" not in said["data_summary"]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"institution": "UPEN"}, '"UPENN"'),
        ({"modalities": ["MRI", "SPIN"]}, '"SPIM"'),
        ({"funding_source": "NIHM:1"}, '"NIMH"'),
        ({"license": "CC0"}, "do not give one that the data do not have"),
        ({"investigators": ["kim@example.org"]}, "e-mail"),
        ({"project_name": "a_b"}, '"a-b" would do'),
        ({"subject_id": "a_b"}, "underscore"),
        ({"creation_time": "2024"}, "full date"),
        ({"creation_time": "2024-04"}, "full date"),
        ({"creation_time": "20240421"}, "full date"),
        ({"creation_time": "2024-13-01"}, "full date"),
        ({"creation_time": 2024}, "full date"),
        ({"creation_time": "2999-01-01"}, "in the future"),
        ({"creation_time": datetime(2999, 1, 1)}, "in the future"),
        ({"accessed": "2999-01-01"}, "in the future"),
        ({"accessed": "yesterday"}, "full date"),
        ({"source": 7}, "must be text"),
    ],
    ids=str,
)
def test_what_is_malformed_is_told_with_what_would_do(facts: dict[str, Any], words: str) -> None:
    told = problems(**facts)
    assert told.startswith(f"{next(iter(facts))}: ")
    assert words in told


def test_objects_of_the_schema_and_full_names_are_taken() -> None:
    import aind_data_schema.core.data_description as ds

    download(RESULTS)
    atlas(
        institution=ds.Organization.UPENN,
        investigators=[ds.Person(name="Yongsoo Kim")],
        modalities=["Magnetic resonance imaging", ds.Modality.SPIM, "MRI"],
        license=ds.License.CC_BY_40,
        funding_source=[ds.Funding(funder=ds.Organization.NIMH, grant_number="RF1")],
    ).write()
    said = description()
    assert said["institution"]["name"] == "University of Pennsylvania"
    assert [modality["abbreviation"] for modality in said["modalities"]] == ["MRI", "SPIM"]
    assert said["funding_source"][0]["grant_number"] == "RF1"


def test_funding_that_nobody_documents_is_said_to_be_unknown() -> None:
    download(RESULTS)
    atlas(funding_source="UNKNOWN").write()
    assert description()["funding_source"][0]["funder"]["abbreviation"] == "UNKNOWN"
    assert '"UNKNOWN" where neither documents any' in problems(funding_source=None)


@pytest.mark.parametrize(
    ("given", "time", "written"),
    [
        ("2024-04-21", "00-00-00", "2024-04-21T00:00:00Z"),
        (date(2024, 4, 21), "00-00-00", "2024-04-21T00:00:00Z"),
        ("2024-04-21T23:30:00+09:00", "23-30-00", "2024-04-21T23:30:00+09:00"),
        ("2024-04-21T01:02:03Z", "01-02-03", "2024-04-21T01:02:03Z"),
        (datetime(2024, 4, 21, 1, 2, 3, 4, UTC), "01-02-03", "2024-04-21T01:02:03.000004Z"),
        (
            datetime(2024, 4, 21, 23, tzinfo=timezone(timedelta(hours=-7))),
            "23-00-00",
            "2024-04-21T23:00:00-07:00",
        ),
    ],
    ids=str,
)
def test_the_name_has_the_date_and_time_that_were_written(
    given: Any, time: str, written: str
) -> None:
    download(RESULTS)
    asset = atlas(creation_time=given)
    asset.write()
    assert asset.name == f"KimLab-DevCCF-v1_2024-04-21_{time}"
    assert description()["creation_time"] == written


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Los_Angeles", "Asia/Tokyo"])
def test_the_name_is_the_same_on_every_machine(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "from datetime import *\nfrom asset_provenance import ExternalAsset\n"
        f"facts = {ATLAS!r}\nday = facts.pop('creation_time')\n"
        "for time in (day, date(2024, 4, 21), datetime(2024, 4, 21)):\n"
        "    asset = ExternalAsset('x', creation_time=time, **facts)\n"
        "    asset.write()\n"
        "    print(asset.name)\n"
        # Today, where it has begun already.
        "ExternalAsset('x', creation_time=date.today(), output_dir='today', **facts).write()"
    )
    download(RESULTS)
    download(Path("today"))
    told = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TZ": zone},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.splitlines() == ["x_2024-04-21_00-00-00"] * 3
    assert check_folder(RESULTS) == []
    assert check_folder(Path("today")) == []


def test_the_users_own_summary_stands_before_where_and_when_the_data_were_got() -> None:
    download(RESULTS)
    call = 'client.download(dataset="allen/7", version=2)'
    atlas(data_summary="An atlas.", source=call, accessed=date(2025, 3, 1)).write()
    assert description()["data_summary"] == f"An atlas.\nDownloaded from {call} on 2025-03-01"


def test_credentials_in_the_source_and_elsewhere_reach_no_file_and_no_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(0)
    download(RESULTS)
    signed = f"https://someone:{CANARY}@example.org/a?X-Amz-Signature={CANARY}&x=1&token={CANARY}"
    atlas(source=signed, data_summary=f"token={CANARY}", checksums=True).write()
    with pytest.raises(PreflightError) as caught:
        atlas(f"x {signed}", creation_time=signed, institution=signed, license=signed)
    assert CANARY not in str(caught.value) + caplog.text
    assert "credentials; they are not kept" in caplog.text
    assert "example.org/a?" in description()["data_summary"]
    for path in RESULTS.rglob("*"):
        assert path.is_dir() or CANARY not in path.read_text()


def test_checksums_are_kept_when_they_are_asked_for_in_the_call_or_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    download(RESULTS)
    atlas(checksums=True).write()
    listed = (RESULTS / CHECKSUMS).read_text()
    assert listed.endswith("  atlas.nii\n")
    assert listed.count("\n") == 1
    assert CHECKSUMS in read_json(RESULTS / "provenance/asset-provenance.json")["files"]
    description()
    monkeypatch.setenv("ASSET_PROVENANCE_CHECKSUMS", "true")
    atlas(checksums=False).write()
    assert not (RESULTS / CHECKSUMS).exists()
    atlas().write()
    assert (RESULTS / CHECKSUMS).exists()


def test_check_takes_what_was_written_by_hand_as_the_page_says() -> None:
    download(RESULTS)
    atlas().write()
    (RESULTS / "provenance/asset-provenance.json").unlink()
    (RESULTS / "provenance").rmdir()
    assert [found.severity for found in check_folder(RESULTS)] == ["warning"]
    path = RESULTS / "data_description.json"
    write_json(path, {**read_json(path), "name": "KimLab_2023-01-01_00-00-00", "data_summary": ""})
    told = {found.where: found.what for found in check_folder(RESULTS)}
    assert "is not the creation time" in told["name"]
    assert "nothing says where the data come from" in told["data_summary"]


@pytest.mark.parametrize(("hours", "is_told"), [(13, False), (40, True)])
def test_check_takes_a_day_that_has_begun_somewhere_but_none_to_come(
    hours: int, is_told: bool
) -> None:
    download(RESULTS)
    atlas().write()
    time = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours)
    path = RESULTS / "data_description.json"
    name = f"KimLab-DevCCF-v1_{time:%Y-%m-%d_%H-%M-%S}"
    write_json(path, {**read_json(path), "creation_time": time.isoformat(), "name": name})
    told = [found.what for found in check_folder(RESULTS) if found.where == "creation_time"]
    assert bool(told) == is_told


def test_check_still_asks_a_derived_asset_for_its_processing() -> None:
    with DerivedAsset("noise", inputs=(), base_name="b", strict=True, **FACTS, **PEOPLE):
        pass
    (RESULTS / "processing.json").unlink()
    assert any(it.file == "processing.json" for it in check_folder(RESULTS))


def test_what_a_killed_program_left_is_no_hindrance() -> None:
    child = os.fork()
    if child == 0:
        with atlas() as asset:
            download(asset.output_dir)
            os._exit(9)
    os.waitpid(child, 0)
    atlas().write()
    assert description()["name"].startswith("KimLab")
    assert not (RESULTS / ".asset-provenance").exists()


def test_two_at_once_on_one_folder_are_refused() -> None:
    with atlas() as asset:
        with pytest.raises(StorageError, match="another run has the output folder"):
            atlas().write()
        with pytest.raises(UsageError, match="open already"):
            asset.__enter__()
        download(asset.output_dir)
    assert description()


def test_a_forked_child_that_leaves_the_block_writes_nothing() -> None:
    with atlas() as asset:
        download(asset.output_dir)
        child = os.fork()
        if child == 0:
            asset.__exit__(None, None, None)
            os._exit(3 if (RESULTS / "data_description.json").exists() else 0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert description()


def test_misuse_is_told_at_once() -> None:
    with pytest.raises(UsageError, match="needs a name to decorate with"):
        ExternalAsset(lambda: None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="generator"):

        @atlas()
        def parts() -> Any:
            yield 1

    with pytest.raises(UsageError, match="output_dir must be a path"):
        atlas(output_dir=7)
    with pytest.raises(UsageError, match="copy_from must be a path"):
        atlas().write(copy_from=7)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="checksums must be True or False"):
        atlas(checksums="no")


# Copies


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep/er/a.bin").write_bytes(os.urandom(3_000_000))
    (folder / "run.sh").write_text("true")
    (folder / "run.sh").chmod(0o555)
    os.utime(folder / "run.sh", (1_000_000_000, 1_000_000_000))
    (folder / "link").symlink_to("deep/er/a.bin")
    (folder / "deep" / "up").symlink_to("../run.sh")
    (folder / "absolute").symlink_to(folder / "deep")
    (folder / os.fsdecode(b"odd\xff\n")).write_text("odd")
    return folder


def test_a_folder_is_copied_with_its_links_times_and_odd_names(source: Path) -> None:
    atlas().write(copy_from=source)
    description()
    kept = {"data_description.json", "provenance/asset-provenance.json"}
    assert everything(RESULTS) - kept == everything(source)
    copied = (RESULTS / "deep/er/a.bin").read_bytes()
    assert copied == (source / "deep/er/a.bin").read_bytes()
    assert os.readlink(RESULTS / "link") == "deep/er/a.bin"
    assert os.readlink(RESULTS / "deep/up") == "../run.sh"
    assert (RESULTS / "absolute").resolve() == (RESULTS / "deep").resolve()
    state = (RESULTS / "run.sh").stat()
    assert (state.st_mtime, state.st_mode & 0o777) == (1_000_000_000, 0o755)
    assert not (RESULTS / ".asset-provenance").exists()


def test_what_cannot_be_copied_as_it_is_is_refused_all_of_it_at_once(source: Path) -> None:
    (source / "out").symlink_to("/etc/hostname")
    (source / "deep" / "nowhere").symlink_to("missing")
    os.mkfifo(source / "pipe")
    with pytest.raises(StorageError) as caught:
        atlas().write(copy_from=source)
    for words in (
        "'out' is a link that leads out",
        "'deep/nowhere' is a link that leads to nothing",
        "'pipe' is neither a file, a folder nor a link",
    ):
        assert words in str(caught.value)
    assert not RESULTS.exists()


def test_a_folder_that_has_metadata_is_not_copied(source: Path) -> None:
    (source / "subject.json").write_text("{}")
    with pytest.raises(PreflightError, match=r"is not copied:\n  - it holds subject\.json"):
        atlas().write(copy_from=source)
    assert not RESULTS.exists()


def test_a_copy_goes_into_an_empty_folder_of_another_place(source: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        atlas().write(copy_from="missing")
    with pytest.raises(UsageError, match="lie in each other"):
        atlas(output_dir=source / "deep").write(copy_from=source)
    download(RESULTS)
    with pytest.raises(PreflightError, match=r"it holds atlas\.nii already"):
        atlas().write(copy_from=source)
    assert everything(RESULTS) == {"atlas.nii"}


def test_when_the_disk_is_full_no_half_of_a_copy_is_left(source: Path, tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size=1m tmpfs {mount} 2>/dev/null"):
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        with pytest.raises(StorageError, match=r"No space left.*nothing of it was kept"):
            atlas(output_dir=mount).write(copy_from=source)
        assert list(mount.iterdir()) == []
    finally:
        os.system(f"umount {mount}")


def test_a_copy_that_was_killed_is_cleared_away_by_the_next(source: Path) -> None:
    stale = RESULTS / ".asset-provenance" / "external-0123" / "copy"
    stale.mkdir(parents=True)
    (stale / "half").write_text("half")
    atlas().write(copy_from=source)
    assert not (RESULTS / ".asset-provenance").exists()
    assert json.loads((RESULTS / "data_description.json").read_text())


def cut_copy(source: Path, *signals: str) -> None:
    """Copy in a program that gets a signal after each hundred files that it puts in place."""
    text = f"""
import os, signal, sys
import asset_provenance

signals, moved = {list(signals)!r}, 0

def look(event, arguments):
    global moved
    if event == "os.rename" and os.path.basename(arguments[1]).startswith("f"):
        moved += 1
        if signals and moved % 100 == 0:
            os.kill(os.getpid(), getattr(signal, signals.pop(0)))

sys.addaudithook(look)
asset_provenance.ExternalAsset("KimLab", **{ATLAS!r}).write(copy_from={str(source)!r})
"""
    done = subprocess.run([sys.executable, "-c", text], stderr=subprocess.DEVNULL, check=False)
    assert done.returncode != 0


@pytest.fixture
def many_files(tmp_path: Path) -> Path:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(1_000):
        (folder / f"f{number}").write_bytes(b"x")
    return folder


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_what_a_kill_left_of_a_copy_is_never_described_as_the_whole(
    many_files: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    cut_copy(many_files, name)
    left = len(list(RESULTS.glob("f*")))
    assert 0 < left < 1_000
    with pytest.raises(PreflightError, match=r"it holds f0, .* already"):
        atlas("KimLab").write(copy_from=many_files)
    assert "finished a copy to" in caplog.text
    assert len(list(RESULTS.glob("f*"))) == 1_000
    atlas("KimLab").write()
    assert not (RESULTS / ".asset-provenance").exists()


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_while_a_copy_is_put_in_place_leaves_all_of_it_or_nothing(
    many_files: Path, times: int
) -> None:
    cut_copy(many_files, *["SIGINT"] * times)
    if RESULTS.exists():  # a second one came into the clearing up, which the next run finishes
        with suppress(UsageError):
            atlas("KimLab").write()
    assert len(list(RESULTS.glob("f*"))) in (0, 1_000)
    assert times == 2 or not RESULTS.exists()


def test_what_was_put_in_the_place_of_a_cut_copy_is_not_replaced(many_files: Path) -> None:
    cut_copy(many_files, "SIGKILL")
    missing = next(name for name in os.listdir(many_files) if not (RESULTS / name).exists())
    (RESULTS / missing).write_text("mine")
    with pytest.raises(StorageError, match=f"'{missing}' was put into"):
        atlas("KimLab").write()
    assert (RESULTS / missing).read_text() == "mine"


def test_a_whole_copy_that_could_not_be_described_stays_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mount, source = tmp_path / "small", tmp_path / "source"
    mount.mkdir()
    source.mkdir()
    (source / "atlas.nii").write_bytes(bytes(60 * 1024))
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size=64k tmpfs {mount} 2>/dev/null"):
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        with pytest.raises(StorageError, match=r"metadata cannot be written.*No space left"):
            atlas(output_dir=mount).write(copy_from=source)
        assert "is whole, but not described" in caplog.text
        os.system(f"mount -o remount,size=1m {mount}")
        atlas(output_dir=mount).write()
        assert description(mount)
    finally:
        os.system(f"umount {mount}")


def test_the_rights_and_times_of_folders_are_copied(source: Path) -> None:
    (source / "deep").chmod(0o700)
    os.utime(source / "deep", (1_000_000_000, 1_000_000_000))
    atlas().write(copy_from=source)
    state = (RESULTS / "deep").stat()
    assert (state.st_mtime, state.st_mode & 0o777) == (1_000_000_000, 0o700)


def test_what_the_owners_keep_in_a_folder_of_that_name_is_data_and_stays() -> None:
    download(RESULTS / "provenance")
    (RESULTS / "provenance" / "checksums-sha256.txt").write_text("theirs")
    with pytest.raises(PreflightError, match=r"holds provenance/checksums-sha256\.txt"):
        atlas(checksums=True).write()
    (RESULTS / "provenance" / "checksums-sha256.txt").unlink()
    (RESULTS / "provenance" / "asset-provenance.json").write_text("[]")
    with pytest.raises(PreflightError, match=r"holds provenance/asset-provenance\.json"):
        atlas().write()
    (RESULTS / "provenance" / "asset-provenance.json").unlink()
    atlas(checksums=True).write()
    assert (RESULTS / CHECKSUMS).read_text().endswith("  provenance/atlas.nii\n")


@pytest.mark.parametrize("name", ["metadata.nd.json", "sort_1_data_process.json"])
def test_whole_records_and_fragments_are_metadata_too(name: str, source: Path) -> None:
    download(RESULTS)
    (RESULTS / name).write_text("{}")
    with pytest.raises(PreflightError, match=f"holds {name}"):
        atlas().write()
    (source / name).write_text("{}")
    with pytest.raises(PreflightError, match=f"holds {name}"):
        atlas(output_dir="other").write(copy_from=source)


def test_a_program_that_ends_itself_without_fault_has_described_its_data() -> None:
    with pytest.raises(SystemExit), atlas() as asset:
        download(asset.output_dir)
        sys.exit(0)
    assert description()


def test_data_may_have_been_got_before_the_paper_on_them_came_out() -> None:
    with atlas(creation_time="2025-06-01", accessed="2025-03-01") as asset:
        (asset.output_dir / "atlas.csv").write_text("1\n")
    assert "on 2025-03-01" in read_json(asset.output_dir / "data_description.json")["data_summary"]
