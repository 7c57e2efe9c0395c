"""Tables read at once and lazily: polars."""

from __future__ import annotations

from pathlib import Path

import polars as pl

DATA, RESULTS = Path("data"), Path("results")


def prepare(data: Path) -> None:
    frame = pl.DataFrame({"x": [1, 2, 3], "y": [4.0, 5.0, 6.0]})
    frame.write_csv(data / "raw" / "a.csv")
    frame.write_csv(data / "raw" / "b.csv")
    frame.write_parquet(data / "sorted_units" / "x.parquet")
    frame.write_ipc(data / "atlas" / "x.arrow")


def gather() -> None:
    pl.scan_csv(DATA / "raw" / "*.csv").filter(pl.col("x") > 1).sink_parquet(
        RESULTS / "gathered.parquet"
    )


def never_collected() -> None:
    lazy = pl.LazyFrame({"x": [1]}).join(pl.LazyFrame({"x": [2]}), on="x")
    lazy.collect().write_ndjson(RESULTS / "empty.ndjson")


def join() -> None:
    left = pl.read_parquet(RESULTS / "gathered.parquet")
    right = pl.scan_parquet(DATA / "sorted_units" / "x.parquet").collect()
    left.join(right, on="x").write_ipc(RESULTS / "joined.arrow")


def finish() -> None:
    atlas = pl.read_ipc(DATA / "atlas" / "x.arrow")
    joined = pl.scan_ipc(RESULTS / "joined.arrow").collect()
    pl.concat([atlas, joined.select("x", "y")]).write_csv(RESULTS / "final.csv")


STEPS = (gather, never_collected, join, finish)
