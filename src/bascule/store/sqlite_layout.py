"""The file of the embedded store: its tables, how it is opened, and what its failures mean."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from bascule.store.entry import StoreUnavailable

VERSION = 1  # of the layout; PRAGMA user_version
_APPLICATION = 0x42415343  # "BASC": told apart from other programs' databases; PRAGMA application_id
_BUSY_S = 5.0

# `entries` is what there is. `changes` are the steps that led to it, of the revisions above `state.floor`; rows at or
# below it are rubbish that goes away bit by bit. Row ids of `changes` grow, so that the oldest go first.
_TABLES = """
CREATE TABLE entries (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL,
    created INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    expires REAL
);
CREATE INDEX entries_modified ON entries (modified);
CREATE INDEX entries_expires ON entries (expires) WHERE expires IS NOT NULL;
CREATE TABLE revisions (
    number INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    actor TEXT NOT NULL,
    note TEXT NOT NULL
);
CREATE TABLE changes (
    place INTEGER PRIMARY KEY,
    revision INTEGER NOT NULL,
    key TEXT NOT NULL,
    before BLOB,
    after BLOB
);
CREATE INDEX changes_revision ON changes (revision, key);
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL,
    floor INTEGER NOT NULL,
    next_id INTEGER NOT NULL
);
INSERT INTO state VALUES (1, 0, 0, 1);
"""


def connect(path: Path) -> sqlite3.Connection:
    """Of a file that exists. Transactions are ours to begin; every commit is on the disk. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 67108864")
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Makes the tables in an empty file; checks those of another. Raises sqlite3.Error, StoreUnavailable."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if not version and not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
        connection.executescript(
            f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {_APPLICATION}; "
            f"PRAGMA user_version = {VERSION}; COMMIT"
        )
        return
    if application != _APPLICATION:
        raise StoreUnavailable(f"{path} is the database of another program; let bascule.store.path name another folder")
    if version > VERSION:
        raise StoreUnavailable(
            f"{path} was written by a newer Bascule (layout {version}; this one knows up to {VERSION}): "
            "run that one, or let bascule.store.path name another folder"
        )
    damage = [text for (text,) in connection.execute("PRAGMA quick_check(1)") if text != "ok"]
    if damage:
        raise StoreUnavailable(_damaged(path, damage[0]))


def explain(error: sqlite3.Error, path: Path) -> str:
    """What happened, where, and what to do."""
    name = getattr(error, "sqlite_errorname", None) or ""  # errors of the Python module itself have none
    if name == "SQLITE_FULL":
        return f"{path}: the disk is full; make room on it"
    if name.startswith("SQLITE_READONLY"):
        return f"{path} can't be written: the file or its disk is read-only"
    if name.startswith("SQLITE_IOERR"):
        return f"{path}: the disk failed to read or write ({name}); look at its health, its quota and free space"
    if name.startswith("SQLITE_CANTOPEN"):
        return f"{path} can't be opened: check that the file and its folder belong to the user who runs Bascule"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"{path} is locked by another program; close what has it open"
    if name == "SQLITE_NOTADB":
        return f"{path} is no database of Bascule: move it away, or let bascule.store.path name another folder"
    if name.startswith("SQLITE_CORRUPT"):
        return _damaged(path, str(error))
    return f"{path}: {error}"


def _damaged(path: Path, detail: str) -> str:
    detail = " ".join(detail.split())
    return (
        f"{path} is damaged ({detail}): put a backup of the folder back, or save what can be read with "
        f'"sqlite3 {path.name} .recover"'
    )
