from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from bascule.store.durable_file import make_file
from bascule.store.entry import Batch, Conflict, Delete, Event, Origin, Put, StoreUnavailable
from bascule.store.sqlite_layout import connect, prepare
from bascule.store.sqlite_reader import SqliteReader
from bascule.store.sqlite_writer import Call, SqliteWriter

ME = Origin("me", "why")


class Place:
    """A file with its writer, a reader, and a clock that goes on when told."""

    def __init__(self, path: Path, history: int) -> None:
        make_file(path)
        self.path = path
        self.now = 1000.0
        self.connection = connect(path)
        prepare(self.connection, path)
        self.writer = SqliteWriter(self.connection, path, history, lambda: self.now)
        self.reader = SqliteReader(connect(path))

    def close(self) -> None:
        self.reader.close()
        self.writer.close()

    def count(self, table: str) -> int:
        (found,) = self.connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(found)

    def put(self, key: str, value: bytes = b"", ttl_s: int | None = None) -> None:
        assert not isinstance(self.writer.transact([write(Put(key, value, ttl_s=ttl_s))])[0][0], Exception)


def write(*operations: Put | Delete) -> Call:
    return lambda writer: writer.write(operations, ME, ())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "bascule.db", history=10)
    yield place
    place.close()


def test_calls_share_a_transaction_and_fail_alone(place: Place) -> None:
    place.put("taken")
    outcomes, steps = place.writer.transact(
        [
            write(Put("a", b"1")),
            write(Put("b", b"2"), Put("taken", b"", expect=0)),
            write(Put("surrogate \ud800", b"3")),
            write(Put("c", b"4"), Delete("a")),
        ]
    )
    assert [type(outcome) for outcome in outcomes] == [int, Conflict, UnicodeEncodeError, int]
    assert steps == [
        Batch(2, [Event("a", b"1", 2, 2)]),
        Batch(3, [Event("c", b"4", 3, 3), Event("a", None, 2, 3)]),
    ]
    assert [entry.key for entry in place.reader.entries("")[0]] == ["taken", "c"]
    assert [revision.number for revision in place.reader.history(None, 50, "")] == [3, 2, 1]


def test_a_call_that_fails_late_leaves_no_trace(place: Place) -> None:
    def fail_late(writer: SqliteWriter) -> None:
        writer.write([Put("a", b"1")], ME, ())
        raise Conflict("a")

    outcomes, steps = place.writer.transact([fail_late, write(Put("b", b"2"))])
    assert outcomes[1] == 1
    assert steps == [Batch(1, [Event("b", b"2", 1, 1)])]
    assert [revision.number for revision in place.reader.history(None, 50, "")] == [1]


def test_an_error_of_the_disk_undoes_the_whole_transaction(place: Place) -> None:
    place.put("a", b"1")

    def fail(writer: SqliteWriter) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(StoreUnavailable, match="disk I/O error"):
        place.writer.transact([write(Put("a", b"2")), fail, write(Put("b", b"3"))])
    assert place.reader.entries("")[1] == 1
    place.put("b")
    assert [entry[::3] for entry in place.reader.entries("")[0]] == [("a", 1), ("b", 2)]


def test_a_file_that_was_removed_or_replaced_is_not_written_to(place: Place) -> None:
    place.put("a")
    kept = place.path.with_name("kept")
    place.path.rename(kept)
    with pytest.raises(StoreUnavailable, match="was removed or replaced while in use"):
        place.put("b")
    place.path.write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="was removed or replaced while in use"):
        place.put("b")
    kept.rename(place.path)
    place.put("b")


def test_what_is_due_is_deleted_as_one_revision(place: Place) -> None:
    place.put("a", b"1", ttl_s=5)
    place.put("b", b"2", ttl_s=7)
    place.put("c", b"3", ttl_s=60)
    assert place.writer.expiry_s() == 5
    place.now += 4.9
    assert place.writer.transact([SqliteWriter.expire])[1] == []
    place.now += 2.5
    assert place.writer.expiry_s() == 0
    assert place.writer.transact([SqliteWriter.expire])[1] == [
        Batch(4, [Event("a", None, 1, 4), Event("b", None, 2, 4)])
    ]
    (revision,) = place.reader.history(None, 1, "")
    assert (revision.origin, revision.time) == (Origin("ttl"), place.now)
    assert [tuple(change) for change in revision.changes] == [("a", b"1", None), ("b", b"2", None)]
    place.put("c", b"for good")
    assert place.writer.expiry_s() is None


def test_old_revisions_go_and_what_there_is_stays(place: Place) -> None:
    for number in range(40):
        place.put(f"r/{number % 20}", b"%d" % number)
    assert place.count("revisions") == place.count("changes") == 10
    assert len(place.reader.entries("")[0]) == 20
    assert place.reader.state(30) == {f"r/{number % 20}": b"%d" % number for number in range(10, 30)}
    with pytest.raises(LookupError, match="revision 29 is no longer kept: the history reaches back to 30"):
        place.reader.state(29)
    with pytest.raises(LookupError, match="there is no revision 41 yet: the latest is 40"):
        place.reader.state(41)
    assert [revision.number for revision in place.reader.history(None, 50, "")] == list(range(40, 30, -1))


def test_pruning_does_a_little_at_a_time(place: Place) -> None:
    many = write(*(Put(f"r/{number}", b"") for number in range(1000)))
    assert place.writer.transact([many])[0] == [1]
    for _ in range(10):
        place.put("other")
    assert place.count("changes") > 700  # the first revision is no longer kept; its rows go a part at a time
    left = [place.count("changes")]
    while place.writer.rubbish:
        place.writer.transact([])
        left.append(place.count("changes"))
    assert left[-1] == 10
    assert len(left) >= 3
    assert max(before - after for before, after in pairwise(left)) <= 256
    assert [revision.number for revision in place.reader.history(None, 50, "r/")] == []
    assert len(place.reader.state(1)) == 1000


def test_ids_are_reserved_and_given_back(place: Place) -> None:
    assert place.writer.transact([lambda writer: writer.reserve_ids(10)])[0] == [1]
    assert place.writer.transact([lambda writer: writer.reserve_ids(10)])[0] == [11]
    place.writer.transact([lambda writer: writer.give_back_ids(15)])
    assert place.writer.transact([lambda writer: writer.reserve_ids(10)])[0] == [15]
