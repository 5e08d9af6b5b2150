"""What is read from the embedded store's file, each from one state of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from bascule.store.entry import ChangedKey, Entry, Origin, Revision

_LAST = chr(0x10FFFF)
_ENTRY = "SELECT key, value, created, modified FROM entries"


def behind(prefix: str) -> str | None:
    """The first key behind all that begin with `prefix`; None: there is none."""
    prefix = prefix.rstrip(_LAST)
    if not prefix:
        return None
    after = ord(prefix[-1]) + 1
    return prefix[:-1] + chr(0xE000 if after == 0xD800 else after)  # surrogates are no characters


def range_of(prefix: str) -> tuple[str, tuple[str, ...]]:
    """The condition on `key`, and its parameters."""
    end = behind(prefix)
    return ("key >= ?", (prefix,)) if end is None else ("key >= ? AND key < ?", (prefix, end))


class SqliteReader:
    """Threads: one at a time. Raises sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def close(self) -> None:
        self._connection.close()

    def get(self, key: str) -> Entry | None:
        row = self._connection.execute(_ENTRY + " WHERE key = ?", (key,)).fetchone()
        return None if row is None else Entry(*row)

    def entries(self, prefix: str) -> tuple[list[Entry], int]:
        """By (created, key); with the revision."""
        where, parameters = range_of(prefix)
        with self._snapshot() as (revision, _):
            rows = self._connection.execute(f"{_ENTRY} WHERE {where} ORDER BY created, key", parameters)
            return [Entry(*row) for row in rows], revision

    def revisions(self, prefix: str) -> dict[str, int]:
        """Key -> modified."""
        where, parameters = range_of(prefix)
        return dict(self._connection.execute(f"SELECT key, modified FROM entries WHERE {where}", parameters))

    def revision(self) -> int:
        with self._snapshot() as (revision, _):
            return revision

    def history(self, before: int | None, limit: int, prefix: str) -> list[Revision]:
        """Newest first."""
        where, parameters = range_of(prefix)
        with self._snapshot() as (revision, floor):
            # The index has the keys of each revision: what doesn't match costs little, and it stops at the limit.
            numbers = self._connection.execute(
                f"SELECT DISTINCT revision FROM changes INDEXED BY changes_revision WHERE revision > ? "
                f"AND revision < ? AND {where} ORDER BY revision DESC LIMIT ?",
                (floor, revision + 1 if before is None else before, *parameters, max(0, limit)),
            ).fetchall()
            return [self._revision(number) for (number,) in numbers]

    def state(self, revision: int) -> dict[str, bytes]:
        """Raises LookupError."""
        with self._snapshot() as (latest, floor):
            if revision > latest:
                raise LookupError(f"there is no revision {revision} yet: the latest is {latest}")
            if revision < floor:
                raise LookupError(f"revision {revision} is no longer kept: the history reaches back to {floor}")
            state = dict(self._connection.execute("SELECT key, value FROM entries"))
            # Of each key, the first change that came later says what it was before.
            for key, before, _ in self._connection.execute(
                "SELECT key, before, min(revision) FROM changes WHERE revision > ? GROUP BY key", (revision,)
            ):
                if before is None:
                    state.pop(key, None)
                else:
                    state[key] = before
            return state

    def _revision(self, number: int) -> Revision:
        time, actor, note = self._connection.execute(
            "SELECT time, actor, note FROM revisions WHERE number = ?", (number,)
        ).fetchone()
        changes = self._connection.execute(
            "SELECT key, before, after FROM changes WHERE revision = ? ORDER BY place", (number,)
        )
        return Revision(number, time, Origin(actor, note), tuple(ChangedKey(*change) for change in changes))

    @contextmanager
    def _snapshot(self) -> Iterator[tuple[int, int]]:
        """(latest revision, floor of the history) of the state that is read inside."""
        self._connection.execute("BEGIN")
        try:
            revision, floor = self._connection.execute("SELECT revision, floor FROM state").fetchone()
            yield revision, floor
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
