"""Writes to the embedded store's file: many calls in one transaction, each with its own savepoint and revision."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from bascule.store.entry import (
    Batch,
    Condition,
    Conflict,
    Event,
    Exists,
    Operation,
    Origin,
    Put,
    StoreUnavailable,
)
from bascule.store.sqlite_layout import explain
from bascule.store.sqlite_reader import range_of

T = TypeVar("T")
Call = Callable[["SqliteWriter"], object]

_OF_ONE_CALL = (sqlite3.DataError, sqlite3.ProgrammingError)
_PRUNED_AT_ONCE = 256  # rows, besides as many as the transaction brings
_EXPIRED_AT_ONCE = 1000


class SqliteWriter:
    """One thread; the only one that writes to the file. `clock`: Unix seconds."""

    def __init__(self, connection: sqlite3.Connection, path: Path, history: int, clock: Callable[[], float]) -> None:
        """Raises sqlite3.Error."""
        self._connection = connection
        self._path = path
        self._inode = os.stat(path).st_ino
        self._history = history
        self._clock = clock
        self._steps: list[Batch] = []
        self.rubbish = True  # there may be rows below the floor
        self._revision: int
        self._floor: int
        self._revision, self._floor = connection.execute("SELECT revision, floor FROM state").fetchone()
        self._stored = self._revision, self._floor

    def close(self) -> None:
        self._connection.close()

    # ---- transactions

    def transact(self, calls: Sequence[Call]) -> tuple[list[object], list[Batch]]:
        """What each call returned, or the exception that undid it alone; and the steps to tell, all on the disk.

        Raises StoreUnavailable: nothing of it happened."""
        try:
            self._begin()
            outcomes = [self._call(call) for call in calls]
            self._prune(_PRUNED_AT_ONCE + 2 * sum(len(step.events) for step in self._steps))
            if (self._revision, self._floor) != self._stored:
                self._connection.execute("UPDATE state SET revision = ?, floor = ?", (self._revision, self._floor))
            self._connection.execute("COMMIT")
            self._stored = self._revision, self._floor
        except (sqlite3.Error, OSError) as error:
            self._abandon()
            text = explain(error, self._path) if isinstance(error, sqlite3.Error) else f"{self._path}: {error.strerror}"
            raise StoreUnavailable(text) from error
        except BaseException:
            self._abandon()
            raise
        steps, self._steps = self._steps, []
        return outcomes, steps

    def _begin(self) -> None:
        # What is written to a file that has no name any more would be gone at the next start.
        try:
            moved = os.stat(self._path).st_ino != self._inode
        except FileNotFoundError:
            moved = True
        if moved:
            raise StoreUnavailable(f"{self._path} was removed or replaced while in use: put it back, and start again")
        self._connection.execute("BEGIN IMMEDIATE")

    def _call(self, call: Call) -> object:
        revision, steps = self._revision, len(self._steps)
        self._connection.execute("SAVEPOINT call")
        try:
            outcome = call(self)
        except Exception as error:
            # The disk's or the file's: of everyone. Values that SQLite can't take are of this call alone.
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, _OF_ONE_CALL):
                raise
            self._connection.execute("ROLLBACK TO call")
            self._revision = revision
            del self._steps[steps:]
            outcome = error
        self._connection.execute("RELEASE call")
        return outcome

    def _abandon(self) -> None:
        self._steps = []
        self._revision, self._floor = self._stored
        self.rubbish = True
        with contextlib.suppress(sqlite3.Error):  # the next transaction fails as well, and says so
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    # ---- calls

    def write(self, operations: Sequence[Operation], origin: Origin, conditions: Sequence[Condition]) -> int:
        """The revision; the latest one when there was nothing to change. Raises Conflict."""
        for condition in conditions:
            self._check(condition)
        number = self._revision + 1
        now = self._clock()
        events = [event for event in (self._apply(operation, number, now) for operation in operations) if event]
        if not events:
            return self._revision
        self._connection.execute("INSERT INTO revisions VALUES (?, ?, ?, ?)", (number, now, origin.actor, origin.note))
        self._revision = number
        self._steps.append(Batch(number, events))
        return number

    def expire(self) -> None:
        """Deletes what is due, as a revision of "ttl"."""
        due = self._connection.execute(
            "DELETE FROM entries WHERE key IN (SELECT key FROM entries WHERE expires <= ? ORDER BY expires LIMIT ?) "
            "RETURNING key, value, created",
            (self._clock(), _EXPIRED_AT_ONCE),
        ).fetchall()
        if not due:
            return
        number = self._revision = self._revision + 1
        self._connection.executemany(
            "INSERT INTO changes (revision, key, before) VALUES (?, ?, ?)",
            [(number, key, value) for key, value, _ in due],
        )
        self._connection.execute("INSERT INTO revisions VALUES (?, ?, 'ttl', '')", (number, self._clock()))
        self._steps.append(Batch(number, [Event(key, None, created, number) for key, _, created in due]))

    def reserve_ids(self, count: int) -> int:
        """The first of as many that are given to nobody else, not even after a crash."""
        ((end,),) = self._connection.execute("UPDATE state SET next_id = next_id + ? RETURNING next_id", (count,))
        return int(end) - count

    def give_back_ids(self, first: int) -> None:
        """Those from `first` on were reserved, and not used."""
        self._connection.execute("UPDATE state SET next_id = ?", (first,))

    def touch(self) -> None:
        """Sees whether it can write, at the cost of an id: SQLite writes no page that stays the same."""
        self.reserve_ids(1)

    # ---- between transactions

    def expiry_s(self) -> float | None:
        """In how many seconds something is due; None: nothing ever. Raises sqlite3.Error."""
        (expires,) = self._connection.execute("SELECT min(expires) FROM entries WHERE expires IS NOT NULL").fetchone()
        return None if expires is None else max(0.0, expires - self._clock())

    # ---- parts

    def _check(self, condition: Condition) -> None:
        if isinstance(condition, Exists):
            if not self._connection.execute("SELECT 1 FROM entries WHERE key = ?", (condition.key,)).fetchone():
                raise Conflict(condition.key)
            return
        where, parameters = range_of(condition.prefix)
        found = self._connection.execute(
            f"SELECT key FROM entries INDEXED BY entries_modified WHERE modified > ? AND {where} LIMIT 1",
            (condition.revision, *parameters),
        ).fetchone()
        if found:
            raise Conflict(found[0])

    def _apply(self, operation: Operation, number: int, now: float) -> Event | None:
        """None: nothing to delete. Raises Conflict."""
        key = operation.key
        execute = self._connection.execute
        found = execute("SELECT value, created, modified FROM entries WHERE key = ?", (key,)).fetchone()
        before, created, modified = found or (None, number, 0)
        if operation.expect is not None and operation.expect != modified:
            raise Conflict(key)
        after = None
        if isinstance(operation, Put):
            after = operation.value
            expires = None if operation.ttl_s is None else now + operation.ttl_s
            execute(
                "INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5) "
                "ON CONFLICT (key) DO UPDATE SET value = ?2, modified = ?4, expires = ?5",
                (key, after, created, number, expires),
            )
        elif found is None:
            return None
        else:
            execute("DELETE FROM entries WHERE key = ?", (key,))
        execute("INSERT INTO changes (revision, key, before, after) VALUES (?, ?, ?, ?)", (number, key, before, after))
        return Event(key, after, created, number)

    def _prune(self, rows: int) -> None:
        """Lets go of the oldest revisions, up to so many rows: the rest waits for the next transaction."""
        floor = max(self._floor, self._revision - self._history)
        if floor == self._floor and not self.rubbish:
            return
        self._floor = floor
        changes = self._connection.execute(
            "DELETE FROM changes WHERE place IN (SELECT place FROM changes INDEXED BY changes_revision "
            "WHERE revision <= ? ORDER BY revision LIMIT ?)",
            (floor, rows),
        ).rowcount
        revisions = self._connection.execute(
            "DELETE FROM revisions WHERE number IN (SELECT number FROM revisions WHERE number <= ? "
            "ORDER BY number LIMIT ?)",
            (floor, rows),
        ).rowcount
        self.rubbish = rows in (changes, revisions)
