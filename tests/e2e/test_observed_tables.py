"""What libraries for tables open and write is recorded with nothing declared."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.feather
import pyarrow.json
import pyarrow.orc
import pyarrow.parquet
import pytest
import zarr

from asset_provenance import DerivedAsset, track_process
from helpers.assets import PEOPLE, RAW, graph, make_asset, processes
from helpers.s3_server import S3Server, serve_s3

RESULTS = Path("results")
OTHER = "ecephys_900102_2026-03-02_18-30-05"
TABLE = pa.table({"unit": ["a", "a", "b"], "x": [1, 2, 3]})
FRAME = pl.DataFrame({"unit": ["a", "a", "b"], "x": [1, 2, 3]})


@dataclass(frozen=True)
class Library:
    """A library, by how it writes a table and finds the sum of one of its columns."""

    name: str
    file: str
    write: Callable[[Path], Any]
    total: Callable[[Path], Any]


def total(table: Any) -> int:
    return int(table.to_pandas()["x"].sum())


def write_arrow(path: Path) -> None:
    with pa.OSFile(str(path), "w") as sink, pa.ipc.new_file(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)


def write_lines(path: Path) -> None:
    FRAME.write_ndjson(path)


def write_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table units (x integer)")
        connection.executemany("insert into units values (?)", [(1,), (2,), (3,)])


def total_of_database(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("select sum(x) from units").fetchone()[0])


def total_of_pandas_database(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return int(pd.read_sql("select x from units", connection)["x"].sum())


def write_through_fsspec(path: Path) -> None:
    with fsspec.open(f"file://{path.absolute()}", "w") as file:
        TABLE.to_pandas().to_csv(file)


def write_dataset(path: Path) -> None:
    pa.dataset.write_dataset(
        TABLE,
        path,
        format="parquet",
        partitioning=["unit"],
        partitioning_flavor="hive",
        existing_data_behavior="overwrite_or_ignore",
    )


LIBRARIES = (
    Library(
        "parquet",
        "x.parquet",
        lambda path: pa.parquet.write_table(TABLE, path),
        lambda path: total(pa.parquet.read_table(path)),
    ),
    Library(
        "parquet, mapped",
        "x.parquet",
        lambda path: pa.parquet.write_table(TABLE, path),
        lambda path: total(pa.parquet.ParquetFile(path, memory_map=True).read()),
    ),
    Library("dataset", "x", write_dataset, lambda path: total(pa.dataset.dataset(path).to_table())),
    Library(
        "feather",
        "x.feather",
        lambda path: pa.feather.write_feather(TABLE, path),
        lambda path: total(pa.feather.read_table(path)),
    ),
    Library(
        "csv",
        "x.csv",
        lambda path: pa.csv.write_csv(TABLE, path),
        lambda path: total(pa.csv.read_csv(path)),
    ),
    Library("json", "x.json", write_lines, lambda path: total(pa.json.read_json(path))),
    Library(
        "orc",
        "x.orc",
        lambda path: pa.orc.write_table(TABLE, path),
        lambda path: total(pa.orc.read_table(path)),
    ),
    Library(
        "memory map",
        "x.arrow",
        write_arrow,
        lambda path: total(pa.ipc.open_file(pa.memory_map(str(path))).read_all()),
    ),
    Library(
        "pandas parquet",
        "x.parquet",
        lambda path: TABLE.to_pandas().to_parquet(path),
        lambda path: pd.read_parquet(path)["x"].sum(),
    ),
    Library(
        "pandas feather",
        "x.feather",
        lambda path: TABLE.to_pandas().to_feather(path),
        lambda path: pd.read_feather(path)["x"].sum(),
    ),
    Library(
        "polars parquet",
        "x.parquet",
        FRAME.write_parquet,
        lambda path: pl.read_parquet(path)["x"].sum(),
    ),
    Library(
        "polars scan",
        "x.csv",
        lambda path: FRAME.lazy().sink_csv(path),
        lambda path: pl.scan_csv(path).select("x").sum().collect().item(),
    ),
    Library(
        "polars ipc",
        "x.arrow",
        FRAME.write_ipc,
        lambda path: pl.scan_ipc(path).select("x").sum().collect().item(),
    ),
    Library("sqlite", "x.db", write_database, total_of_database),
    Library("sqlite, read only", "x.db", write_database, total_of_pandas_database),
    Library(
        "fsspec",
        "x.csv",
        write_through_fsspec,
        lambda path: pd.read_csv(f"file://{path.absolute()}")["x"].sum(),
    ),
)

each_library = pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)


@track_process
def load(library: Library) -> None:
    """Read the table from the asset."""
    assert library.total(Path("data") / RAW / library.file) == 6


@track_process
def save(library: Library) -> None:
    """Write the table."""
    library.write(RESULTS / "tables" / library.file)


@track_process
def load_result(library: Library) -> None:
    """Read the table that another process wrote."""
    assert library.total(RESULTS / "tables" / library.file) == 6


@each_library
def test_what_is_read_and_written_is_recorded_with_nothing_declared(
    library: Library, data_root: Path
) -> None:
    raw = make_asset(data_root)
    make_asset(data_root, OTHER)
    library.write(raw / library.file)
    with DerivedAsset("tables", **PEOPLE) as asset:
        (asset.output_dir / "tables").mkdir()
        load(library)
        save(library)
        load_result(library)

    recorded = processes(RESULTS)
    assert [each["name"] for each in recorded["load"]["code"]["input_data"]] == [RAW]
    assert not recorded["load"].get("output_path")
    assert not recorded["load_result"].get("output_path")
    assert not recorded["save"]["code"].get("input_data")
    assert recorded["save"]["output_path"] == f"tables/{library.file}"
    assert graph(RESULTS)["load_result"] == ["save"]
    assert graph(RESULTS)["save"] == []


def test_a_database_that_is_added_to_is_an_output_of_who_adds_to_it(data_root: Path) -> None:
    make_asset(data_root)
    path = RESULTS / "x.db"

    @track_process
    def create() -> None:
        write_database(path)

    @track_process
    def look() -> None:
        assert total_of_database(path) == 6

    @track_process
    def extend() -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("insert into units values (4)")

    with DerivedAsset("changes", inputs=RAW, **PEOPLE):
        create()
        look()
        extend()
    recorded = processes(RESULTS)
    assert recorded["create"]["output_path"] == "x.db"
    assert not recorded["look"].get("output_path")
    assert recorded["extend"]["output_path"] == "x.db"
    assert graph(RESULTS) == {"create": [], "look": ["create"], "extend": ["create"]}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with serve_s3() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "invented")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "invented")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
        yield server


def test_objects_of_s3_are_inputs_by_the_name_and_url_of_their_asset(
    s3: S3Server, data_root: Path
) -> None:
    make_asset(data_root)
    s3.objects[f"bucket/{OTHER}/x.csv"] = b"x\n1\n2\n"
    options = {"endpoint_url": s3.url}

    @track_process
    def table() -> None:
        frame = pd.read_csv(f"s3://bucket/{OTHER}/x.csv", storage_options=options)
        assert frame["x"].sum() == 3

    @track_process
    def array() -> None:
        url = f"s3://bucket/{RAW}/x.zarr"
        store = zarr.storage.FsspecStore.from_url(url, storage_options=options)
        assert zarr.open_array(store, mode="r")[:].tolist() == [0, 0]

    store = zarr.storage.FsspecStore.from_url(f"s3://bucket/{RAW}/x.zarr", storage_options=options)
    zarr.create_array(store, shape=(2,), dtype="i4", fill_value=0)
    with DerivedAsset("remote", inputs=RAW, **PEOPLE):
        table()
        array()
    recorded = processes(RESULTS)
    for name, asset in (("table", OTHER), ("array", RAW)):
        (found,) = recorded[name]["code"]["input_data"]
        assert found["name"] == asset
        assert found["url"] == f"s3://bucket/{asset}"
