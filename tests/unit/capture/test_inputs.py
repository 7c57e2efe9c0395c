"""Which asset a name, a URL or a path means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from aind_data_schema.components.identifiers import CombinedData, DataAsset

from asset_provenance import UsageError
from asset_provenance.capture.inputs import InputResolver, ResolvedInput
from asset_provenance.records import InputRef
from helpers.assets import RAW, make_asset


@pytest.fixture
def resolver(data_root: Path) -> InputResolver:
    Path("results").mkdir()
    return InputResolver(data_root, Path("results").absolute())


def asset(name: str, folder: Path | None) -> ResolvedInput:
    return ResolvedInput(InputRef(name=name), folder)


def test_a_path_belongs_to_the_nearest_folder_with_a_description(
    resolver: InputResolver, data_root: Path
) -> None:
    inner = make_asset(data_root / "combined", "a_1_2026-01-01_00-00-00", mount="one")
    (inner / "deep" / "er").mkdir(parents=True)
    for path in (inner, inner / "deep" / "er", str(inner / "subject.json")):
        assert resolver.resolve(path) == asset("a_1_2026-01-01_00-00-00", inner)


def test_a_path_without_any_description_belongs_to_the_first_folder(
    resolver: InputResolver, data_root: Path
) -> None:
    (data_root / "plain" / "deep").mkdir(parents=True)
    assert resolver.resolve(data_root / "plain" / "deep") == asset("plain", data_root / "plain")


def test_a_text_is_a_folder_then_a_name(resolver: InputResolver, data_root: Path) -> None:
    folder = make_asset(data_root, mount="clip")
    assert resolver.resolve("clip") == asset(RAW, folder)
    assert resolver.resolve(RAW) == asset(RAW, folder)
    assert resolver.resolve("unknown_asset") == asset("unknown_asset", None)


def test_an_asset_that_appears_later_is_found_by_name(
    resolver: InputResolver, data_root: Path
) -> None:
    assert resolver.resolve(RAW) == asset(RAW, None)
    folder = make_asset(data_root, mount="late")
    os.utime(data_root, ns=(1, 1))
    assert resolver.resolve(RAW) == asset(RAW, folder)


def test_a_nested_asset_is_found_by_name(resolver: InputResolver, data_root: Path) -> None:
    inner = make_asset(data_root / "combined", mount="one")
    assert resolver.resolve(RAW) == asset(RAW, inner)


def test_an_s3_url_gives_the_asset_s_name_and_url(resolver: InputResolver) -> None:
    found = resolver.resolve("s3://aind-open-data/my-asset/deep/file.zarr?x=1")
    assert found == ResolvedInput(InputRef(name="my-asset", url="s3://aind-open-data/my-asset"))
    with pytest.raises(UsageError, match="names no asset"):
        resolver.resolve("s3://aind-open-data/")


def test_the_data_root_may_be_a_chain_of_symlinks(tmp_path: Path) -> None:
    real = tmp_path / "real"
    folder = make_asset(real / "store", mount="mount")
    (real / "task").mkdir()
    (real / "task" / "mount").symlink_to(folder)
    (tmp_path / "data").symlink_to(real / "task")
    resolver = InputResolver(tmp_path / "data", tmp_path / "out")
    assert resolver.resolve(tmp_path / "data" / "mount" / "subject.json") == asset(
        RAW, tmp_path / "data" / "mount"
    )
    # The same place by its real name.
    found = resolver.resolve(real / "task" / "mount")
    assert found.ref == InputRef(name=RAW)


def test_what_lies_below_the_output_folder_was_written_by_an_earlier_step(
    resolver: InputResolver,
) -> None:
    Path("results/sorted").mkdir()
    assert resolver.resolve("sorted") == ResolvedInput(None, read="sorted")
    assert resolver.resolve(Path("results") / "sorted") == ResolvedInput(None, read="sorted")


def test_a_path_outside_both_roots_is_an_asset_if_a_description_says_so(
    resolver: InputResolver, tmp_path: Path
) -> None:
    folder = make_asset(tmp_path / "elsewhere", mount="m")
    assert resolver.resolve(folder / "subject.json") == asset(RAW, folder)
    (tmp_path / "bare").mkdir()
    assert resolver.resolve(tmp_path / "bare") == asset("bare", tmp_path / "bare")
    file = tmp_path / "table.csv"
    file.write_text("x")
    assert resolver.resolve(file) == ResolvedInput(InputRef(url=file.as_uri()))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("/no/where", "/no/where does not exist"),
        ("no/where", "does not exist"),
        (Path("nowhere"), "does not exist"),
        ("", "must be a name"),
        ("a\nb", "must be a name"),
        (5, "not int"),
        (None, "not NoneType"),
    ],
)
def test_what_means_nothing_is_told(resolver: InputResolver, value: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolver.resolve(value)


def test_the_data_root_itself_is_no_asset(resolver: InputResolver, data_root: Path) -> None:
    for value in (data_root, ".", f"{data_root}/"):
        if value == ".":
            os.chdir(data_root)
        with pytest.raises(UsageError, match="is the data root itself"):
            resolver.resolve(value)


def test_objects_of_the_schema_are_taken(resolver: InputResolver) -> None:
    assert resolver.resolve(DataAsset(name="a", url="s3://b/a")).ref == InputRef("a", "s3://b/a")
    group = CombinedData(
        name="g",
        description="why",
        assets=[DataAsset(name="a"), DataAsset(url="https://x:canary@h/b")],
        database_identifier={"Code Ocean": ["123"]},
    )
    found = resolver.resolve(group).ref
    assert found is not None
    assert (found.name, found.description) == ("g", "why")
    assert found.assets == (InputRef("a"), InputRef(url="https://[redacted]@h/b"))
    assert found.database_identifier == {"Code Ocean": ["123"]}


def test_an_object_with_nothing_but_an_s3_url_means_the_asset_there(
    resolver: InputResolver,
) -> None:
    meant = InputRef("my-asset", "s3://b/my-asset")
    assert resolver.resolve(DataAsset(url="s3://b/my-asset/deep/file.csv")).ref == meant
    group = resolver.resolve(CombinedData(name="g", assets=[DataAsset(url="s3://b/my-asset")])).ref
    assert group is not None
    assert group.assets == (meant,)
    # One that is named is known by that name; one that tells none stays as it is.
    assert resolver.resolve(DataAsset(name="a", url="s3://b/c")).ref == InputRef("a", "s3://b/c")
    assert resolver.resolve(DataAsset(url="s3://b")).ref == InputRef(url="s3://b")


def test_a_name_finds_a_folder_without_a_description_as_its_text_does(
    resolver: InputResolver, data_root: Path
) -> None:
    (data_root / "plain").mkdir()
    make_asset(data_root, mount="mount")
    assert resolver.locate(InputRef("plain")) == data_root / "plain"
    for name in ("mount", "..", ".", "no/where", "plain/", "nul\0"):
        assert resolver.locate(InputRef(name)) is None


def test_a_broken_description_leaves_the_folder_s_name(
    resolver: InputResolver, data_root: Path
) -> None:
    folder = make_asset(data_root, mount="mount")
    for content in ("not json", "[]", '{"name": 5}', '{"name": ""}'):
        (folder / "data_description.json").write_text(content)
        assert resolver.resolve(folder) == asset("mount", folder)


def test_only_existing_paths_below_the_data_root_are_found_among_arguments(
    resolver: InputResolver, data_root: Path
) -> None:
    folder = make_asset(data_root)
    Path("results/x").mkdir()
    arguments = {
        "a": folder,
        "b": [str(folder / "subject.json"), "x" * 5000, 7],
        "c": "data",
        "d": str(data_root),
        "e": str(folder / "missing"),
        "f": Path("results/x"),
        "g": "plain text / with a slash",
        "h": "s3://bucket/other/file",
        "i": b"/bytes",
        "j": "nul\0/x",
    }
    names = [found.ref.name for found in resolver.find_paths(arguments) if found.ref]
    assert names == [RAW, RAW, "other"]
