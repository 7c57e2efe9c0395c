"""Objects of S3 are seen when they are fetched or put, through whatever library."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
import s3fs
import xarray as xr
import zarr

from asset_provenance.capture.files import Access, State, Watching
from asset_provenance.capture.libraries import arrow_files, remote
from helpers.s3_server import S3Server, serve_s3

CSV = "s3://bucket/asset_1/a.csv"
WHO: ContextVar[str] = ContextVar("WHO", default="nobody")

Seen = list[tuple[str, int]]


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with serve_s3() as running:
        yield running


@pytest.fixture
def options(server: S3Server) -> dict[str, Any]:
    """What leads s3fs to the server."""
    server.objects.clear()
    server.objects["bucket/asset_1/a.csv"] = b"x,y\n1,2\n3,4\n"
    return {
        "key": "invented",
        "secret": "invented",
        "endpoint_url": server.url,
        "use_listings_cache": False,
        "client_kwargs": {"region_name": "us-west-2"},
    }


@pytest.fixture
def seen(options: dict[str, Any]) -> Iterator[Seen]:
    """What was told of S3."""
    told: Seen = []

    def watch(path: str, access: int, before: State | None) -> bool:
        if path.startswith("s3://"):
            told.append((path, access))
        return False

    watching = Watching(watch, lambda *_: None)
    remote.watch(watching.patches)
    arrow_files.watch(watching.patches)
    yield told
    watching.stop()


@pytest.fixture
def files(options: dict[str, Any], seen: Seen) -> s3fs.S3FileSystem:
    return s3fs.S3FileSystem(**options)


READS: dict[str, Callable[[Any], Any]] = {
    "open": lambda files: files.open(CSV).read(),
    "open as text": lambda files: files.open(CSV, "r").read(),
    "cat": lambda files: files.cat(CSV),
    "cat of a list": lambda files: files.cat([CSV]),
    "cat_file": lambda files: files.cat_file(CSV),
    "a part": lambda files: files.cat_file(CSV, start=2, end=5),
    "cat_ranges": lambda files: files.cat_ranges([CSV, CSV], [0, 2], [1, 4]),
    "head": lambda files: files.head(CSV, 3),
    "read_text": lambda files: files.read_text(CSV),
    "get": lambda files: files.get(CSV, "got.csv"),
    "get_file": lambda files: files.get_file(CSV, "got.csv"),
    "get of a folder": lambda files: files.get("s3://bucket/asset_1", "got", recursive=True),
    "download": lambda files: files.download(CSV, "got.csv"),
}


@pytest.mark.parametrize("way", READS)
def test_an_object_that_is_fetched_is_read(way: str, files: s3fs.S3FileSystem, seen: Seen) -> None:
    READS[way](files)
    assert set(seen) == {(CSV, Access.READ)}


@pytest.mark.parametrize("way", READS)
def test_a_file_system_that_was_there_before_is_seen_too(
    way: str, options: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    files = s3fs.S3FileSystem(**options)
    files.exists(CSV)
    seen = request.getfixturevalue("seen")
    READS[way](files)
    assert set(seen) == {(CSV, Access.READ)}


def big(files: Any) -> None:
    with files.open("s3://bucket/new", "wb", block_size=5 * 2**20) as file:
        file.write(b"x" * 6 * 2**20)


def small(files: Any) -> None:
    with files.open("s3://bucket/new", "wb") as file:
        file.write(b"x")


def put(files: Any) -> None:
    Path("local").write_bytes(b"x")
    files.put("local", "s3://bucket/new")


WRITES: dict[str, Callable[[Any], Any]] = {
    "open": small,
    "open of much": big,
    "pipe": lambda files: files.pipe("s3://bucket/new", b"x"),
    "pipe_file": lambda files: files.pipe_file("s3://bucket/new", b"x"),
    "put": put,
    "touch": lambda files: files.touch("s3://bucket/new"),
}


@pytest.mark.parametrize("way", WRITES)
def test_an_object_that_is_put_is_written(
    way: str, files: s3fs.S3FileSystem, seen: Seen, server: S3Server
) -> None:
    WRITES[way](files)
    assert "bucket/new" in server.objects
    assert set(seen) == {("s3://bucket/new", Access.REPLACE)}


def test_a_copy_reads_and_writes(files: s3fs.S3FileSystem, seen: Seen) -> None:
    files.cp_file(CSV, "s3://bucket/copy")
    assert set(seen) == {(CSV, Access.READ), ("s3://bucket/copy", Access.REPLACE)}


def test_listing_and_asking_are_not_reading(files: s3fs.S3FileSystem, seen: Seen) -> None:
    assert files.exists(CSV)
    assert files.ls("s3://bucket/asset_1") == ["bucket/asset_1/a.csv"]
    assert files.info(CSV)["size"] == 12
    assert files.find("s3://bucket") == ["bucket/asset_1/a.csv"]
    assert files.glob("s3://bucket/*/*.csv") == ["bucket/asset_1/a.csv"]
    assert not files.isdir(CSV)
    assert seen == []


def test_an_object_that_is_not_there_is_not_seen(files: s3fs.S3FileSystem, seen: Seen) -> None:
    with pytest.raises(FileNotFoundError):
        files.cat_file("s3://bucket/none")
    with pytest.raises(FileNotFoundError):
        files.open("s3://bucket/none")
    assert seen == []


def test_fsspec_and_pandas_are_seen(options: dict[str, Any], seen: Seen) -> None:
    with fsspec.open(CSV, "r", **options) as file:
        assert file.readline() == "x,y\n"
    assert set(seen) == {(CSV, Access.READ)}
    seen.clear()
    frame = pd.read_csv(CSV, storage_options=options)
    assert frame.shape == (2, 2)
    assert set(seen) == {(CSV, Access.READ)}
    frame.to_csv("s3://bucket/out.csv", storage_options=options)
    assert seen[-1] == ("s3://bucket/out.csv", Access.REPLACE)
    frame.to_parquet("s3://bucket/out.parquet", storage_options=options)
    assert seen[-1] == ("s3://bucket/out.parquet", Access.REPLACE)
    seen.clear()
    pd.read_parquet("s3://bucket/out.parquet", storage_options=options)
    assert set(seen) == {("s3://bucket/out.parquet", Access.READ)}


def test_the_file_system_of_pyarrow_itself_is_seen(
    options: dict[str, Any], server: S3Server, seen: Seen
) -> None:
    files = pyarrow.fs.S3FileSystem(
        access_key="invented",
        secret_key="invented",
        endpoint_override=server.url,
        region="us-west-2",
    )
    frame = pd.DataFrame({"x": [1]})
    pq.write_table(pyarrow.Table.from_pandas(frame), "bucket/a.parquet", filesystem=files)
    assert seen == [("s3://bucket/a.parquet", Access.REPLACE)]
    seen.clear()
    assert pq.read_table("bucket/a.parquet", filesystem=files).num_rows == 1
    assert set(seen) == {("s3://bucket/a.parquet", Access.READ)}


def test_zarr_and_xarray_are_seen_and_only_the_chunks_that_were_there(
    options: dict[str, Any], server: S3Server, seen: Seen
) -> None:
    store = zarr.storage.FsspecStore.from_url("s3://bucket/a.zarr", storage_options=options)
    array = zarr.create_array(store, shape=(4,), chunks=(2,), dtype="i4", fill_value=0)
    array[:2] = [1, 2]
    assert {name for name, access in seen if access == Access.REPLACE} == {
        "s3://bucket/a.zarr/zarr.json",
        "s3://bucket/a.zarr/c/0",
    }
    seen.clear()
    assert zarr.open_array(store, mode="r")[:].tolist() == [1, 2, 0, 0]
    assert set(seen) == {
        ("s3://bucket/a.zarr/zarr.json", Access.READ),
        ("s3://bucket/a.zarr/c/0", Access.READ),
    }
    xr.Dataset({"v": ("x", np.arange(3))}).to_zarr(
        "s3://bucket/b.zarr", storage_options=options, consolidated=False
    )
    seen.clear()
    with xr.open_zarr("s3://bucket/b.zarr", storage_options=options, consolidated=False) as opened:
        assert opened["v"].values.tolist() == [0, 1, 2]
    assert seen
    assert all(name.startswith("s3://bucket/b.zarr/") for name, _ in seen)
    assert {access for _, access in seen} == {Access.READ}


def test_what_the_thread_of_fsspec_tells_it_tells_for_whoever_asked(
    options: dict[str, Any],
) -> None:
    told: list[tuple[str, str]] = []

    def watch(path: str, _access: int, _before: State | None) -> bool:
        told.append((path, WHO.get()))
        return False

    watching = Watching(watch, lambda *_: None)
    remote.watch(watching.patches)
    try:
        files = s3fs.S3FileSystem(**options)
        WHO.set("first")
        files.cat_file(CSV)
        WHO.set("second")
        with files.open(CSV) as file:
            file.read()

        async def ask(name: str) -> None:
            WHO.set(name)
            mine = s3fs.S3FileSystem(**options, asynchronous=True, skip_instance_cache=True)
            session = await mine.set_session()
            await mine._cat_file(CSV)
            await session.close()

        asyncio.run(ask("third"))
        files.get(CSV, "got.csv")
    finally:
        watching.stop()
    who = [name for path, name in told if path == CSV]
    assert list(dict.fromkeys(who)) == ["first", "second", "third"]
    assert who[-1] == "second"
    assert (str(Path("got.csv").absolute()), "second") in told


def test_local_files_are_opened_by_fsspec_in_python() -> None:
    told: list[tuple[str, int]] = []
    here = str(Path.cwd())

    def watch(path: str, access: int, _before: State | None) -> bool:
        told.append((path, access))
        return False

    Path("a.txt").write_text("x")
    watching = Watching(watch, lambda *_: None)
    try:
        with fsspec.open("file://a.txt") as file:
            file.read()
        fsspec.filesystem("file").cat_file("a.txt")
        fsspec.filesystem("file").pipe_file("b.txt", b"x")
        fsspec.filesystem("file").get_file("a.txt", "c.txt")
    finally:
        watching.stop()
    inside = {(path.removeprefix(f"{here}/"), access) for path, access in told if here in path}
    assert inside >= {("a.txt", Access.READ), ("b.txt", Access.REPLACE)}
    assert ("c.txt", Access.REPLACE) in inside


def test_the_method_is_as_before_when_nobody_watches(seen: Seen) -> None:
    replaced = vars(s3fs.S3FileSystem)["_call_s3"]
    watching = Watching(lambda *_: False, lambda *_: None)
    remote.watch(watching.patches)
    assert vars(s3fs.S3FileSystem)["_call_s3"] is not replaced
    watching.stop()
    assert vars(s3fs.S3FileSystem)["_call_s3"] is replaced
