"""What polars opens in Rust is seen when it is opened: all of it, and none more."""

# Functions are looked up when they are called, as those of a user are.
# ruff: noqa: PLW0108
from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from asset_provenance.capture.files import Access, Watching
from asset_provenance.capture.libraries import polars_files
from helpers.watching import Told, watched

FRAME = pl.DataFrame({"year": [2020, 2020, 2021], "x": [1.0, 2.0, 3.0]})


@pytest.fixture(autouse=True)
def _files() -> None:
    Path("files").mkdir()
    for kind in ("avro", "csv", "ipc", "ipc_stream", "json", "ndjson", "parquet"):
        getattr(FRAME, f"write_{kind}")(f"files/a.{kind}")
    FRAME.serialize("files/a.frame")
    FRAME.lazy().serialize("files/a.lazy")
    for year in (2020, 2021):
        folder = Path(f"files/hive/year={year}")
        folder.mkdir(parents=True)
        FRAME.filter(pl.col("year") == year).drop("year").write_parquet(folder / "0.parquet")


@pytest.fixture
def seen() -> Iterator[Told]:
    """What was told: the name below the working folder, and what was done."""
    with watched(polars_files) as told:
        yield told


READS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "read_avro": ("a.avro", lambda path: pl.read_avro(path)),
    "read_csv": ("a.csv", lambda path: pl.read_csv(path)),
    "read_csv in another encoding": ("a.csv", lambda path: pl.read_csv(path, encoding="latin1")),
    "read_ipc": ("a.ipc", lambda path: pl.read_ipc(path)),
    "read_ipc_schema": ("a.ipc", lambda path: pl.read_ipc_schema(path)),
    "read_ipc_stream": ("a.ipc_stream", lambda path: pl.read_ipc_stream(path)),
    "read_json": ("a.json", lambda path: pl.read_json(path)),
    "read_lines": ("a.csv", lambda path: pl.read_lines(path)),
    "read_ndjson": ("a.ndjson", lambda path: pl.read_ndjson(path)),
    "read_parquet": ("a.parquet", lambda path: pl.read_parquet(path)),
    "read_parquet_metadata": ("a.parquet", lambda path: pl.read_parquet_metadata(path)),
    "read_parquet_schema": ("a.parquet", lambda path: pl.read_parquet_schema(path)),
    "DataFrame.deserialize": ("a.frame", lambda path: pl.DataFrame.deserialize(path)),
    "LazyFrame.deserialize": ("a.lazy", lambda path: pl.LazyFrame.deserialize(path)),
    "a path object": ("a.parquet", lambda path: pl.read_parquet(Path(path))),
    "a list": ("a.parquet", lambda path: pl.read_parquet([path])),
    "scan_csv": ("a.csv", lambda path: pl.scan_csv(path).collect()),
    "scan_ipc": ("a.ipc", lambda path: pl.scan_ipc(path).collect()),
    "scan_lines": ("a.csv", lambda path: pl.scan_lines(path).collect()),
    "scan_ndjson": ("a.ndjson", lambda path: pl.scan_ndjson(path).collect()),
    "scan_parquet": ("a.parquet", lambda path: pl.scan_parquet(path).collect()),
    "streaming": ("a.csv", lambda path: pl.scan_csv(path).collect(engine="streaming")),
    "in memory": ("a.csv", lambda path: pl.scan_csv(path).collect(engine="in-memory")),
    "collect_schema": ("a.csv", lambda path: pl.scan_csv(path).collect_schema()),
    "collect_batches": ("a.csv", lambda path: list(pl.scan_csv(path).collect_batches())),
    "collect_all": ("a.csv", lambda path: pl.collect_all([pl.scan_csv(path)])),
    "filtered": ("a.csv", lambda path: pl.scan_csv(path).filter(pl.col("x") > 1).collect()),
    "joined": (
        "a.csv",
        lambda path: pl.scan_csv(path).join(FRAME.lazy(), on="x", how="left").collect(),
    ),
}


@pytest.mark.parametrize("way", READS)
def test_a_file_that_is_read_is_seen_as_read(way: str, seen: Told) -> None:
    name, read = READS[way]
    read(f"files/{name}")
    assert set(seen) == {(f"files/{name}", Access.READ)}


@pytest.mark.parametrize("way", READS)
def test_a_file_that_is_not_there_is_not_seen(way: str, seen: Told) -> None:
    name, read = READS[way]
    with pytest.raises((OSError, pl.exceptions.ComputeError)):
        read(f"files/none-{name}")
    assert seen == []


def test_a_plan_reads_when_it_is_collected_and_not_before(seen: Told) -> None:
    plan = pl.scan_parquet("files/a.parquet").select("x")
    assert seen == []
    plan.collect()
    assert seen == [("files/a.parquet", Access.READ)]


def test_partitions_that_a_filter_leaves_out_are_not_seen(seen: Told) -> None:
    plan = pl.scan_parquet("files/hive/", hive_partitioning=True)
    assert plan.filter(pl.col("year") == 2021).collect().height == 1
    assert set(seen) == {("files/hive/year=2021/0.parquet", Access.READ)}
    plan.collect()
    pattern = pl.read_parquet("files/hive/*/*.parquet")
    assert pattern.height == 3
    assert {name for name, _ in seen} == {
        "files/hive/year=2020/0.parquet",
        "files/hive/year=2021/0.parquet",
    }


def test_all_files_of_a_plan_of_many_are_seen(seen: Told) -> None:
    first, second = pl.scan_csv("files/a.csv"), pl.scan_ndjson("files/a.ndjson")
    pl.concat([first, second]).group_by("year").agg(pl.col("x").sum()).collect()
    assert {name for name, _ in seen} == {"files/a.csv", "files/a.ndjson"}


def test_a_plan_that_is_awaited_is_seen(seen: Told) -> None:
    async def work() -> pl.DataFrame:
        return await pl.scan_csv("files/a.csv").collect_async()

    assert asyncio.run(work()).height == 3
    assert seen == [("files/a.csv", Access.READ)]


WRITES: dict[str, Callable[[str], Any]] = {
    **{
        kind: lambda path, kind=kind: getattr(FRAME, kind)(path)
        for kind in (
            "serialize",
            "write_avro",
            "write_csv",
            "write_ipc",
            "write_ipc_stream",
            "write_json",
            "write_ndjson",
            "write_parquet",
        )
    },
    **{
        kind: lambda path, kind=kind: getattr(FRAME.lazy(), kind)(path)
        for kind in ("serialize", "sink_csv", "sink_ipc", "sink_ndjson", "sink_parquet")
    },
    "a sink that is collected": lambda path: FRAME.lazy().sink_csv(path, lazy=True).collect(),
}


@pytest.mark.parametrize("way", WRITES)
def test_a_file_that_is_written_is_seen_as_written(way: str, seen: Told) -> None:
    WRITES[way]("new")
    assert Path("new").is_file()
    assert set(seen) == {("new", Access.REPLACE)}


def test_a_sink_reads_what_it_writes_from(seen: Told) -> None:
    pl.scan_csv("files/a.csv").sink_parquet("new")
    assert set(seen) == {("files/a.csv", Access.READ), ("new", Access.REPLACE)}
    seen.clear()
    plan = pl.scan_csv("files/a.csv").sink_csv("other", lazy=True)
    assert seen == []
    pl.collect_all([plan])
    assert set(seen) == {("files/a.csv", Access.READ), ("other", Access.REPLACE)}


def test_each_file_of_a_partitioned_folder_is_seen_as_written(seen: Told) -> None:
    Path("out").mkdir()
    Path("out/other.txt").write_text("x")
    os.utime("out/other.txt", (1, 1))
    seen.clear()
    FRAME.write_parquet("out", partition_by="year")
    FRAME.lazy().sink_parquet(pl.PartitionBy("sunk", key="year"), mkdir=True)
    written = {str(path) for path in Path().glob("*/*/*.parquet") if path.parts[0] != "files"}
    assert len(written) == 4
    assert set(seen) == {(name, Access.REPLACE) for name in written}


def test_contents_are_no_paths_and_work_in_memory_reads_nothing(seen: Told) -> None:
    pl.read_csv(b"files/a.csv\n1\n")
    FRAME.lazy().filter(pl.col("x") > 1).collect()
    FRAME.select("x").sort("x")
    assert FRAME.write_csv()
    assert seen == []


def test_everything_is_as_before_when_nobody_watches() -> None:
    def names() -> dict[str, int]:
        # What stands for another equals it: the objects themselves are compared.
        owners = (pl, pl.DataFrame, pl.LazyFrame)
        return {f"{each} {name}": id(held) for each in owners for name, held in vars(each).items()}

    before = names()
    watching = Watching(lambda *_: False, lambda *_: None)
    polars_files.watch(watching.patches)
    assert names() != before
    watching.stop()
    assert names() == before


OPENS_NO_LOCAL_FILE = {
    # These go through collect, or through Python and other libraries.
    "": {
        "scan_csv",
        "scan_lines",
        "scan_ndjson",
        "scan_parquet",
        "scan_pyarrow_dataset",
        "read_clipboard",
        "read_database",
        "read_database_uri",
        "read_delta",
        "scan_arrow_c_stream",
        "scan_delta",
        "scan_external_reader",
        "scan_iceberg",
        "scan_lance",
    },
    "DataFrame": {"write_clipboard", "write_database", "write_delta", "write_iceberg"},
    "LazyFrame": {"sink_batches", "sink_delta", "sink_iceberg"},
}


@pytest.mark.parametrize("owner", ["", "DataFrame", "LazyFrame"])
def test_a_new_version_of_polars_adds_nothing_that_opens_files_unnoticed(owner: str) -> None:
    held = getattr(pl, owner) if owner else pl
    known = {*polars_files.READS[owner], *polars_files.WRITES.get(owner, {})}
    starts = ("read_", "scan_", "write_", "sink_", "serialize", "deserialize")
    found = {name for name in dir(held) if name.startswith(starts)}
    assert found == known | OPENS_NO_LOCAL_FILE[owner]


def test_a_new_version_of_polars_collects_in_no_new_way() -> None:
    known = {*polars_files.COLLECTS, "sink_delta", "sink_iceberg"}
    found = {name for name in dir(pl.LazyFrame) if name.startswith(("collect", "sink_"))}
    assert found <= known
