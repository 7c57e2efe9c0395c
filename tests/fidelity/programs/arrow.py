"""Parquet files and datasets of them: pyarrow."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.feather
import pyarrow.parquet as pq

DATA, RESULTS = Path("data"), Path("results")


def prepare(data: Path) -> None:
    table = pa.table({"x": [1, 2, 3], "k": ["a", "b", "a"]})
    pq.write_table(table, data / "raw" / "x.parquet")
    pyarrow.csv.write_csv(table, data / "sorted_units" / "x.csv")
    pyarrow.dataset.write_dataset(
        table, data / "atlas" / "parts", format="parquet", partitioning=["k"]
    )


def split() -> None:
    table = pq.read_table(DATA / "raw" / "x.parquet")
    pyarrow.dataset.write_dataset(table, RESULTS / "split", format="parquet", partitioning=["k"])


def filtered() -> None:
    parts = pyarrow.dataset.dataset(DATA / "atlas" / "parts", partitioning=["k"])
    table = parts.to_table(filter=pyarrow.dataset.field("k") == "a")
    pyarrow.feather.write_feather(table, RESULTS / "filtered.feather")


def joined() -> None:
    table = pyarrow.csv.read_csv(DATA / "sorted_units" / "x.csv")
    with pa.memory_map(str(RESULTS / "filtered.feather")) as source:
        other = pa.ipc.open_file(source).read_all()
    pq.write_table(table.join(other, "x"), RESULTS / "joined.parquet")


def counted() -> None:
    split = pyarrow.dataset.dataset(RESULTS / "split", partitioning=["k"])
    rows = split.count_rows() + pq.read_metadata(RESULTS / "joined.parquet").num_rows
    (RESULTS / "rows.txt").write_text(str(rows))


STEPS = (split, filtered, joined, counted)
