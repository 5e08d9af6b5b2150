from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bascule.store.durable_file import make_file
from bascule.store.entry import StoreUnavailable
from bascule.store.sqlite_layout import VERSION, connect, explain, prepare


def prepared(path: Path) -> sqlite3.Connection:
    make_file(path)
    connection = connect(path)
    prepare(connection, path)
    return connection


def test_a_new_file_gets_its_tables_and_every_commit_is_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "bascule.db"
    with closing(prepared(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert connection.execute("SELECT * FROM state").fetchall() == [(1, 0, 0, 1)]
        assert {part.stat().st_mode & 0o777 for part in tmp_path.iterdir()} == {0o600}
    with closing(connect(path)) as connection:
        prepare(connection, path)


def test_a_file_that_is_missing_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        connect(tmp_path / "missing.db")
    assert list(tmp_path.iterdir()) == []


def test_a_newer_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bascule.db"
    with closing(prepared(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
        with pytest.raises(StoreUnavailable, match=rf"newer Bascule \(layout {VERSION + 1}; .* up to {VERSION}\)"):
            prepare(connection, path)


def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE entries (x)")
        with pytest.raises(StoreUnavailable, match="of another program"):
            prepare(connection, path)
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("entries",)]


def test_a_damaged_page_is_found(tmp_path: Path) -> None:
    path = tmp_path / "bascule.db"
    with closing(prepared(path)) as connection:
        rows = [(f"routes/{number}", b"x" * 300) for number in range(200)]
        connection.executemany("INSERT INTO entries VALUES (?, ?, 1, 1, NULL)", rows)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = b"\xa5" * 4096
    path.write_bytes(data)
    sentence = r"is damaged \(.*\): put a backup of the folder back"
    with closing(connect(path)) as connection, pytest.raises(StoreUnavailable, match=sentence):
        prepare(connection, path)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("SQLITE_FULL", "the disk is full"),
        ("SQLITE_READONLY_DBMOVED", "is read-only"),
        ("SQLITE_IOERR_WRITE", r"failed to read or write \(SQLITE_IOERR_WRITE\)"),
        ("SQLITE_CANTOPEN", "can't be opened"),
        ("SQLITE_BUSY", "locked by another program"),
        ("SQLITE_NOTADB", "no database of Bascule"),
        ("SQLITE_CORRUPT_INDEX", "is damaged"),
        ("SQLITE_ERROR", "db: what SQLite says"),
        (None, "db: what SQLite says"),
    ],
)
def test_what_happened_is_said_in_a_sentence(name: str | None, sentence: str) -> None:
    error = sqlite3.OperationalError("what SQLite says")
    if name is not None:
        error.sqlite_errorname = name
    with pytest.raises(StoreUnavailable, match=sentence):
        raise StoreUnavailable(explain(error, Path("db")))
