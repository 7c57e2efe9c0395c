"""What pyarrow opens in C++ is seen: all of it, and none more."""

# Functions are looked up when they are called, as those of a user are.
# ruff: noqa: PLW0108
from __future__ import annotations

import importlib
import inspect
import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.feather
import pyarrow.fs
import pyarrow.ipc
import pyarrow.json
import pyarrow.orc
import pyarrow.parquet as pq
import pytest

from asset_provenance.capture.files import Access, Watching
from asset_provenance.capture.libraries import arrow_files
from helpers.watching import Told, watched

TABLE = pa.table({"year": [2020, 2020, 2021], "x": [1.0, 2.0, 3.0]})
FILES = Path("files")


@pytest.fixture
def seen() -> Iterator[Told]:
    """What was told: the name below the working folder, and what was done."""
    with watched(arrow_files) as told:
        yield told


@pytest.fixture(autouse=True)
def _files() -> None:
    FILES.mkdir()
    pq.write_table(TABLE, "files/a.parquet")
    pa.feather.write_feather(TABLE, "files/a.feather")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # they are still read
        pa.feather.write_feather(TABLE.to_pandas(), "files/v1.feather", version=1)
    pa.csv.write_csv(TABLE, "files/a.csv")
    Path("files/a.json").write_text('{"x": 1}\n{"x": 2}\n')
    pa.orc.write_table(TABLE, "files/a.orc")
    with pa.ipc.new_file("files/a.arrow", TABLE.schema) as writer:
        writer.write_table(TABLE)
    with pa.ipc.new_stream("files/a.arrows", TABLE.schema) as writer:
        writer.write_table(TABLE)
    pq.write_to_dataset(
        TABLE, "files/hive", partition_cols=["year"], basename_template="{i}.parquet"
    )


LOCAL = pa.fs.LocalFileSystem()


def read_v1(path: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pa.feather.read_feather(path)


READS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "OSFile": ("a.csv", lambda path: pa.OSFile(path).read()),
    "memory_map": ("a.csv", lambda path: pa.memory_map(path).read()),
    "input_stream": ("a.csv", lambda path: pa.input_stream(path).read()),
    "read_table": ("a.parquet", lambda path: pq.read_table(path)),
    "read_table, mapped": ("a.parquet", lambda path: pq.read_table(path, memory_map=True)),
    "read_table of a path object": ("a.parquet", lambda path: pq.read_table(Path(path))),
    "read_pandas": ("a.parquet", lambda path: pq.read_pandas(path)),
    "ParquetFile": ("a.parquet", lambda path: pq.ParquetFile(path).read()),
    "ParquetFile, mapped": ("a.parquet", lambda path: pq.ParquetFile(path, memory_map=True)),
    "ParquetDataset": ("a.parquet", lambda path: pq.ParquetDataset(path).read()),
    "read_metadata": ("a.parquet", lambda path: pq.read_metadata(path)),
    "parquet.read_schema": ("a.parquet", lambda path: pq.read_schema(path)),
    "feather.read_table": ("a.feather", lambda path: pa.feather.read_table(path)),
    "feather.read_feather": ("a.feather", lambda path: pa.feather.read_feather(path)),
    "feather version 1": ("v1.feather", read_v1),
    "read_csv": ("a.csv", lambda path: pa.csv.read_csv(path)),
    "open_csv": ("a.csv", lambda path: pa.csv.open_csv(path).read_all()),
    "read_json": ("a.json", lambda path: pa.json.read_json(path)),
    "open_json": ("a.json", lambda path: pa.json.open_json(path).read_all()),
    "orc.read_table": ("a.orc", lambda path: pa.orc.read_table(path)),
    "ORCFile": ("a.orc", lambda path: pa.orc.ORCFile(path).read()),
    "ipc.open_file": ("a.arrow", lambda path: pa.ipc.open_file(path).read_all()),
    "ipc.open_stream": ("a.arrows", lambda path: pa.ipc.open_stream(path).read_all()),
    "RecordBatchFileReader": ("a.arrow", lambda path: pa.RecordBatchFileReader(path).read_all()),
    "dataset": ("a.parquet", lambda path: ds.dataset(path).to_table()),
    "dataset of csv": ("a.csv", lambda path: ds.dataset(path, format="csv").to_table()),
    "dataset, its rows counted": ("a.parquet", lambda path: ds.dataset(path).count_rows()),
    "dataset, in batches": ("a.parquet", lambda path: list(ds.dataset(path).to_batches())),
    "dataset, only opened": ("a.parquet", lambda path: ds.dataset(path)),
    "fragment": ("a.parquet", lambda path: next(ds.dataset(path).get_fragments()).to_table()),
    "footer": ("a.parquet", lambda path: next(ds.dataset(path).get_fragments()).metadata),
    "open_input_file": ("a.csv", lambda path: LOCAL.open_input_file(path).read()),
    "open_input_stream": ("a.csv", lambda path: LOCAL.open_input_stream(path).read()),
    "subtree": (
        "a.csv",
        lambda _: pa.fs.SubTreeFileSystem("files", LOCAL).open_input_file("a.csv"),
    ),
    "pandas.read_parquet": ("a.parquet", lambda path: pd.read_parquet(path)),
    "pandas.read_feather": ("a.feather", lambda path: pd.read_feather(path)),
    "pandas.read_orc": ("a.orc", lambda path: pd.read_orc(path)),
    "pandas.read_csv": ("a.csv", lambda path: pd.read_csv(path, engine="pyarrow")),
}


@pytest.mark.parametrize("way", READS)
def test_a_file_that_is_read_is_seen_as_read(way: str, seen: Told) -> None:
    name, read = READS[way]
    read(f"files/{name}")
    assert set(seen) == {(f"files/{name}", Access.READ)}


@pytest.mark.parametrize("way", READS)
def test_a_file_that_is_not_there_is_not_seen(way: str, seen: Told) -> None:
    name, read = READS[way]
    Path("files", name).unlink()
    seen.clear()
    with pytest.raises(OSError):
        read(f"files/{name}")
    assert seen == []


def write_batches(make: Callable[..., Any]) -> Callable[[str], None]:
    def write(path: str) -> None:
        with make(path, TABLE.schema) as writer:
            writer.write_table(TABLE)

    return write


def write_stream(path: str) -> None:
    with pa.output_stream(path) as stream:
        stream.write(b"x")


def write_orc(path: str) -> None:
    with pa.orc.ORCWriter(path) as writer:
        writer.write(TABLE)


WRITES: dict[str, Callable[[str], Any]] = {
    "OSFile": lambda path: pa.OSFile(path, "w").close(),
    "output_stream": write_stream,
    "create_memory_map": lambda path: pa.create_memory_map(path, 8),
    "write_table": lambda path: pq.write_table(TABLE, path),
    "ParquetWriter": write_batches(pq.ParquetWriter),
    "write_metadata": lambda path: pq.write_metadata(TABLE.schema, path),
    "write_feather": lambda path: pa.feather.write_feather(TABLE, path),
    "write_csv": lambda path: pa.csv.write_csv(TABLE, path),
    "CSVWriter": write_batches(lambda *given: pa.csv.CSVWriter(*given)),
    "orc.write_table": lambda path: pa.orc.write_table(TABLE, path),
    "ORCWriter": write_orc,
    "ipc.new_file": write_batches(pa.ipc.new_file),
    "ipc.new_stream": write_batches(pa.ipc.new_stream),
    "open_output_stream": lambda path: LOCAL.open_output_stream(path).close(),
    "pandas.to_parquet": lambda path: TABLE.to_pandas().to_parquet(path),
    "pandas.to_feather": lambda path: TABLE.to_pandas().to_feather(path),
}


@pytest.mark.parametrize("way", WRITES)
def test_a_file_that_is_written_is_seen_as_written(way: str, seen: Told) -> None:
    WRITES[way]("files/new")
    assert Path("files/new").exists()
    assert {name for name, _ in seen} == {"files/new"}
    assert {access & Access.REPLACE for _, access in seen} == {Access.REPLACE}


def test_appending_and_copying_and_moving_are_told_apart(seen: Told) -> None:
    LOCAL.open_append_stream("files/a.csv").close()
    LOCAL.copy_file("files/a.csv", "files/copy.csv")
    LOCAL.move("files/copy.csv", "files/moved.csv")
    LOCAL.delete_file("files/moved.csv")
    assert seen == [
        ("files/a.csv", Access.WRITE),
        ("files/a.csv", Access.READ),
        ("files/copy.csv", Access.REPLACE),
        ("files/moved.csv", Access.REPLACE),
        ("files/copy.csv", Access.REMOVE),
        ("files/moved.csv", Access.REMOVE),
    ]


BOTH = {"files/hive/year=2020/0.parquet", "files/hive/year=2021/0.parquet"}


@pytest.mark.parametrize("read", [pq.read_table, pd.read_parquet])
def test_all_files_of_a_partitioned_folder_are_seen(read: Callable[..., Any], seen: Told) -> None:
    read("files/hive")
    assert set(seen) == {(name, Access.READ) for name in BOTH}


def test_partitions_that_a_filter_leaves_out_are_not_seen(seen: Told) -> None:
    dataset = ds.dataset("files/hive", partitioning="hive", schema=TABLE.schema)
    assert seen == []
    assert dataset.to_table(filter=ds.field("year") == 2021).num_rows == 1
    assert dataset.filter(ds.field("year") == 2021).count_rows() == 1
    assert set(seen) == {("files/hive/year=2021/0.parquet", Access.READ)}
    dataset.head(1)
    assert {name for name, _ in seen} == BOTH


def test_the_files_of_joined_datasets_are_seen(seen: Told) -> None:
    whole = ds.dataset([ds.dataset("files/a.parquet"), ds.dataset("files/a.arrow", format="ipc")])
    whole.to_table()
    assert {name for name, _ in seen} == {"files/a.parquet", "files/a.arrow"}


def test_each_file_of_a_written_dataset_is_seen_and_so_does_the_user_s_visitor(seen: Told) -> None:
    visited: list[str] = []
    ds.write_dataset(
        TABLE,
        "out",
        format="parquet",
        partitioning=["year"],
        file_visitor=lambda written: visited.append(written.path),
    )
    pq.write_to_dataset(TABLE, "hive", partition_cols=["year"], basename_template="{i}.parquet")
    ds.write_dataset(TABLE, "given", format="csv", filesystem=LOCAL)
    written = {
        str(path)
        for path in Path().glob("*/**/*")
        if path.is_file() and path.parts[0] in {"out", "hive", "given"}
    }
    assert len(written) == 5
    assert set(seen) == {(name, Access.REPLACE) for name in written}
    assert len(visited) == 2


def test_listing_and_asking_are_not_reading(seen: Told) -> None:
    LOCAL.get_file_info("files/a.csv")
    LOCAL.get_file_info(pa.fs.FileSelector("files", recursive=True))
    pa.input_stream(pa.py_buffer(b"x")).read()
    pq.read_table(pa.BufferReader(Path("files/a.parquet").read_bytes()))
    assert seen == [("files/a.parquet", Access.READ)]  # by Python


def test_everything_is_as_before_when_nobody_watches() -> None:
    def all_names() -> dict[str, int]:
        owners = [importlib.import_module(module) for module in arrow_files.CALLS]
        owners += [pyarrow.dataset.Scanner, pyarrow.dataset.FileFragment, pyarrow.fs.FileSystem]
        # What stands for another equals it: the objects themselves are compared.
        return {f"{each} {name}": id(held) for each in owners for name, held in vars(each).items()}

    before = all_names()
    watching = Watching(lambda *_: False, lambda *_: None)
    arrow_files.watch(watching.patches)
    assert all_names() != before
    watching.stop()
    assert all_names() == before


def test_classes_and_functions_stay_what_they_are(seen: Told) -> None:
    with pa.OSFile("files/a.csv") as file:
        assert isinstance(file, pa.OSFile)
        assert isinstance(file, pa.NativeFile)
    assert next(iter(inspect.signature(pa.csv.read_csv).parameters)) == "input_file"
    assert pickle.loads(pickle.dumps(pa.csv.read_csv)) is pa.csv.read_csv
    assert pickle.loads(pickle.dumps(LOCAL)) == LOCAL
    dataset = ds.dataset("files/a.parquet")
    assert pickle.loads(pickle.dumps(dataset)).to_table() == TABLE


def test_every_name_in_the_tables_is_one_of_pyarrow_s() -> None:
    for module, calls in arrow_files.CALLS.items():
        for name in calls:
            assert hasattr(importlib.import_module(module), name), (module, name)
    for module, owners in arrow_files.METHODS.items():
        for owner, methods in owners.items():
            for name in methods:
                assert name in vars(getattr(importlib.import_module(module), owner)), (owner, name)


KNOWN = {
    "pyarrow": {"input_stream", "output_stream"},
    # Each comes through FileSystem, ParquetReader or a scan.
    "pyarrow.parquet": {
        "read_metadata",
        "read_pandas",
        "read_schema",
        "read_table",
        "write_metadata",
        "write_table",
        "write_to_dataset",
    },
    "pyarrow.feather": {"read_feather", "read_table", "write_feather"},
    "pyarrow.csv": {"open_csv", "read_csv", "write_csv"},
    "pyarrow.json": {"open_json", "read_json"},
    "pyarrow.orc": {"read_table", "write_table"},
    # read_message and the like take an open file only.
    "pyarrow.ipc": {
        "open_file",
        "open_stream",
        "read_message",
        "read_record_batch",
        "read_schema",
        "read_tensor",
        "write_tensor",
    },
    "pyarrow.dataset": {"write_dataset"},
}


@pytest.mark.parametrize("module", KNOWN)
def test_a_new_version_of_pyarrow_adds_nothing_that_opens_files_unnoticed(module: str) -> None:
    held = importlib.import_module(module)
    found = {
        name
        for name in dir(held)
        if name.startswith(("read_", "open_", "write_", "scan_", "input_", "output_"))
    }
    assert found == KNOWN[module]
