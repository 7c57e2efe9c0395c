"""Databases that sqlite3 opens in C are seen, and whether they are changed."""

from __future__ import annotations

import inspect
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import connect as connect_by_name

import pandas as pd
import pytest

from asset_provenance.capture.files import Access, State, Watching
from asset_provenance.capture.libraries import databases

Seen = list[tuple[str, int, State | None]]


def make(path: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table units (id integer)")
        connection.execute("insert into units values (1)")


@pytest.fixture
def seen() -> Iterator[Seen]:
    """What was told: the name below the working folder, what was done, the state before."""
    make("old.db")
    told: Seen = []
    here = os.getcwd()

    def watch(path: str, access: int, before: State | None) -> bool:
        if path.startswith(here):  # what Python imports meanwhile is elsewhere
            told.append((os.path.relpath(path, here), access, before))
        return False

    watching = Watching(watch, lambda *_: None)
    databases.watch(watching.patches)
    yield told
    watching.stop()


def state_of(path: str) -> State:
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size, found.st_ino


def count(connection: sqlite3.Connection) -> int:
    with closing(connection):
        found = connection.execute("select count(*) from units").fetchone()[0]
    return int(found)


@pytest.mark.parametrize("path", ["old.db", b"old.db", Path("old.db")])
def test_a_database_that_is_opened_is_read_and_may_change(path: str, seen: Seen) -> None:
    before = state_of("old.db")
    assert count(sqlite3.connect(path)) == 1
    assert seen == [("old.db", Access.READ, before)]
    assert state_of("old.db") == before
    make_row()
    assert state_of("old.db") != before


def make_row() -> None:
    with closing(sqlite3.connect("old.db")) as connection, connection:
        connection.execute("insert into units values (2)")


def test_a_new_database_is_written(seen: Seen) -> None:
    make("new.db")
    assert seen == [("new.db", Access.REPLACE, None)]


@pytest.mark.parametrize(
    "uri",
    [
        "file:old.db?mode=ro",
        "file:%6fld.db?immutable=1",
        "file:old.db?cache=private&mode=ro#fragment",
        "file:{here}/old.db?mode=ro",
        "file://{here}/old.db?mode=ro",
        "file://localhost{here}/old.db?mode=ro",
    ],
)
def test_a_uri_that_only_reads_reads(uri: str, seen: Seen) -> None:
    assert count(sqlite3.connect(uri.format(here=Path.cwd()), uri=True)) == 1
    assert seen == [("old.db", Access.READ, None)]


def test_a_uri_that_may_write_may_change_the_file(seen: Seen) -> None:
    assert count(sqlite3.connect("file:old.db?mode=rw", uri=True)) == 1
    assert seen == [("old.db", Access.READ, state_of("old.db"))]


def test_what_looks_like_a_uri_is_a_path_unless_said_otherwise(seen: Seen) -> None:
    sqlite3.connect("file:odd.db").close()
    assert [name for name, _, _ in seen] == ["file:odd.db"]


def test_a_database_in_memory_is_no_file(seen: Seen) -> None:
    sqlite3.connect(":memory:").close()
    sqlite3.connect("").close()
    sqlite3.connect("file::memory:?cache=shared", uri=True).close()
    sqlite3.connect("file:shared?mode=memory&cache=shared", uri=True).close()
    assert seen == []
    assert sorted(os.listdir()) == ["old.db"]


def test_a_database_that_is_not_there_is_not_seen(seen: Seen) -> None:
    with pytest.raises(sqlite3.OperationalError):
        sqlite3.connect("nowhere/x.db")
    with pytest.raises(sqlite3.OperationalError):
        sqlite3.connect("file:none.db?mode=ro", uri=True)
    assert seen == []


def test_a_log_that_another_program_has_left_is_read_with_its_database(seen: Seen) -> None:
    with closing(sqlite3.connect("log.db")) as writer:
        writer.execute("pragma journal_mode=wal")
        writer.execute("create table units (id integer)")
        writer.commit()
        seen.clear()
        assert count(sqlite3.connect("log.db")) == 0
        assert [(name, access) for name, access, _ in seen] == [
            ("log.db", Access.READ),
            ("log.db-wal", Access.READ),
        ]
    assert not Path("log.db-wal").exists()


def test_whoever_took_the_function_by_name_or_goes_through_pandas_is_seen(seen: Seen) -> None:
    assert count(connect_by_name("old.db")) == 1
    with closing(sqlite3.dbapi2.connect("old.db")) as connection:
        assert len(pd.read_sql("select * from units", connection)) == 1
    assert [name for name, _, _ in seen] == ["old.db", "old.db"]


def test_the_connection_and_the_function_stay_what_they_are(seen: Seen) -> None:
    class Mine(sqlite3.Connection):
        pass

    original = inspect.unwrap(sqlite3.connect)
    with closing(sqlite3.connect("old.db", factory=Mine)) as connection:
        assert type(connection) is Mine
    assert sqlite3.connect.__doc__ == original.__doc__
    with pytest.raises(TypeError):
        sqlite3.connect()  # type: ignore[call-arg]
