"""Databases: sqlite3, with its journals, which come and go."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd

DATA, RESULTS = Path("data"), Path("results")


def prepare(data: Path) -> None:
    for folder in ("raw", "sorted_units"):
        with closing(sqlite3.connect(data / folder / "units.db")) as base, base:
            base.execute("create table units (id, rate)")
            base.execute("insert into units values (1, 2.5)")


def copy() -> None:
    source = f"file:{(DATA / 'raw' / 'units.db').absolute()}?mode=ro"
    with closing(sqlite3.connect(source, uri=True)) as base:
        rows = base.execute("select * from units").fetchall()
    with closing(sqlite3.connect(RESULTS / "units.db")) as base, base:
        base.execute("create table units (id, rate)")
        base.executemany("insert into units values (?, ?)", rows)


def query() -> None:
    with closing(sqlite3.connect(RESULTS / "units.db")) as base:
        pd.read_sql("select * from units", base).to_csv(RESULTS / "units.csv")


def add() -> None:
    with closing(sqlite3.connect(DATA / "sorted_units" / "units.db")) as base:
        rows = base.execute("select * from units").fetchall()
    with closing(sqlite3.connect(RESULTS / "units.db")) as base, base:
        base.execute("pragma journal_mode=wal")
        base.executemany("insert into units values (?, ?)", rows)


def backup() -> None:
    with (
        closing(sqlite3.connect(RESULTS / "units.db")) as base,
        closing(sqlite3.connect(RESULTS / "backup.db")) as copy,
    ):
        base.backup(copy)


STEPS = (copy, query, add, backup)
