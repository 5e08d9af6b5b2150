from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bascule.store.entry import Conflict, Delete, Entry, LiveStore, Origin, Put, StoreUnavailable
from bascule.store.sqlite import SqliteStore
from tests.store.live_store_cases import ME, LiveStoreCases, StoreFactory, apply, gone, opened, run, watching

WRITER = Path(__file__).with_name("sqlite_writer_process.py")


class TestSqliteStore(LiveStoreCases):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> StoreFactory:
        return lambda name: SqliteStore(tmp_path / name / "bascule.db", history=1000)


async def check_history(store: SqliteStore) -> dict[str, bytes]:
    """What there is, after checking that the steps which are kept lead to it one by one."""
    entries, revision = await store.list("")
    now = {entry.key: entry.value for entry in entries}
    steps = await store.history(limit=1_000_000)
    assert [step.number for step in steps] == list(range(revision, revision - len(steps), -1))
    state = await store.state(revision - len(steps))
    for step in reversed(steps):
        for change in step.changes:
            assert state.get(change.key) == change.before
            if change.after is None:
                del state[change.key]
            else:
                state[change.key] = change.after
        assert state == await store.state(step.number)
    assert state == now
    return now


# ---- the history


def test_every_revision_tells_who_what_when_and_the_state_after_it(tmp_path: Path) -> None:
    async def main() -> None:
        now = 1000.0
        async with opened(SqliteStore(tmp_path / "db", history=1000, clock=lambda: now)) as store:
            assert isinstance(store, SqliteStore)
            assert await store.revision() == 0
            assert await store.state(0) == {}
            assert await store.history() == []
            await store.write([Put("routes/1", b"1"), Put("services/1", b"2")], Origin("ann", "first"))
            now = 2000.0
            await store.write([Put("routes/1", b"3"), Delete("services/1")], Origin("bob"))
            await store.write([Put("upstreams/1", b"4")], Origin("ann"))
            with pytest.raises(Conflict):
                await store.write([Put("routes/1", b"", expect=1)], ME)
            newest, middle, oldest = await store.history()
            assert (oldest.number, oldest.time, oldest.origin) == (1, 1000.0, Origin("ann", "first"))
            assert (middle.number, middle.time, middle.origin) == (2, 2000.0, Origin("bob"))
            assert [tuple(change) for change in middle.changes] == [
                ("routes/1", b"1", b"3"),
                ("services/1", b"2", None),
            ]
            assert await store.history(prefix="upstreams/") == [newest]
            assert await store.history(prefix="services/") == [middle, oldest]
            assert await store.history(prefix="services/", before=2) == [oldest]
            assert await store.history(limit=2) == [newest, middle]
            assert await store.history(before=1) == await store.history(limit=0) == []
            assert await store.state(1) == {"routes/1": b"1", "services/1": b"2"}
            with pytest.raises(LookupError, match="there is no revision 4 yet"):
                await store.state(4)
            await check_history(store)

    run(main())


def test_the_history_is_cut_and_what_there_is_stays(tmp_path: Path) -> None:
    async def main() -> None:
        chosen = random.Random(7)
        path = tmp_path / "db"
        async with opened(SqliteStore(path, history=50)) as store:
            assert isinstance(store, SqliteStore)
            await store.write([Put(f"kept/{number}", b"") for number in range(100)], ME)
            for number in range(200):
                key = f"r/{chosen.randrange(10)}"
                await store.write(
                    [Put(key, b"%d" % number) if chosen.random() < 0.7 else Delete(key), Put("n", b"")], ME
                )
            assert len(await store.history(limit=1000)) == 50
            before = await check_history(store)
            assert len(before) >= 101
        async with opened(SqliteStore(path, history=5)) as store:  # cut at the next start, bit by bit
            assert isinstance(store, SqliteStore)
            async with asyncio.timeout(5):
                while len(await store.history(limit=1000)) > 5:
                    pass
            assert await check_history(store) == before

    run(main())


# ---- writers at once


def test_writes_that_queue_share_a_commit(tmp_path: Path) -> None:
    async def main() -> None:
        store = SqliteStore(tmp_path / "db", history=1000)
        async with opened(store):
            said: list[str] = []
            assert store._open is not None
            store._open._writer._connection.set_trace_callback(said.append)
            revisions = await asyncio.gather(*(store.write([Put(f"r/{n}", b"")], ME) for n in range(300)))
            assert sorted(revisions) == list(range(1, 301))
            assert 1 <= said.count("COMMIT") <= 30
            said.clear()
            with pytest.raises(Conflict):
                await store.write([Put("r/1", b"", expect=0)], ME)
            assert not any(text.startswith("UPDATE") for text in said)  # nothing to put on the disk

    run(main())


def test_what_is_read_is_the_state_of_its_revision(tmp_path: Path) -> None:
    async def main() -> None:
        going = True

        async def write(store: LiveStore) -> None:
            number = 0
            while going:
                number += 1
                assert await store.write([Put("number", b"%d" % number)], ME) == number

        store = SqliteStore(tmp_path / "db", history=3)
        async with opened(store):
            writing = asyncio.ensure_future(write(store))
            for _ in range(300):
                entries, revision = await store.list("")
                assert [entry.modified for entry in entries] == [revision] * len(entries)
                async with watching(store) as batches:
                    known = {}
                    for _ in range(2):
                        batch = await anext(batches)
                        assert batch.revision > revision or batch.complete
                        revision = batch.revision
                        apply(known, batch)
                        assert known == ({"number": b"%d" % revision} if revision else {})
                steps = await store.history(limit=9)
                assert len(steps) <= 3
                assert all(step.changes[0].after == b"%d" % step.number for step in steps)
            going = False
            await writing

    run(main())


def test_a_commit_that_takes_long_holds_up_no_reading(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "db"
        async with opened(SqliteStore(path, history=10)) as store:
            await store.write([Put("a", b"1")], ME)
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            writing = asyncio.ensure_future(store.write([Put("a", b"2")], ME))
            begin = time.monotonic()
            for _ in range(50):
                assert await store.get("a") == Entry("a", b"1", 1, 1)
                assert len((await store.list(""))[0]) == 1
            assert time.monotonic() - begin < 2
            assert not writing.done()
            other.execute("ROLLBACK")
            other.close()
            assert await writing == 2
            assert await store.get("a") == Entry("a", b"2", 1, 2)

    run(main())


def test_closing_finishes_what_was_asked(tmp_path: Path) -> None:
    async def main() -> None:
        store = SqliteStore(tmp_path / "db", history=1000)
        await store.open()
        assert repr(store) == f"<sqlite store {tmp_path}/db open trouble=None>"
        writes = [asyncio.ensure_future(store.write([Put(f"r/{number}", b"")], ME)) for number in range(20)]
        writes[3].cancel()
        await asyncio.sleep(0)
        await store.close()
        await asyncio.gather(*writes, return_exceptions=True)
        assert [write.cancelled() for write in writes].count(True) == 1
        assert repr(store) == f"<sqlite store {tmp_path}/db closed trouble=None>"
        assert sorted(os.listdir(tmp_path)) == ["db", "db.lock"]
        async with opened(store):
            assert len((await store.list("r/"))[0]) >= 19

    run(main())


def test_a_key_stands_once_in_a_write(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(SqliteStore(tmp_path / "db", history=10)) as store:
            with pytest.raises(ValueError, match="a key stands twice in one write"):
                await store.write([Put("a", b""), Delete("a")], ME)

    run(main())


# ---- watching


def test_a_watcher_that_falls_far_behind_gets_all_anew(tmp_path: Path) -> None:
    async def main() -> None:
        store = SqliteStore(tmp_path / "db", history=10, unread_bytes=10_000)
        async with opened(store), watching(store) as slow, watching(store) as quick:
            known: dict[str, bytes] = {}
            apply(known, await anext(slow))
            await anext(quick)
            for number in range(40):
                last = await store.write([Put(f"r/{number}", b"x" * 500), Delete(f"r/{number - 1}")], ME)
                assert (await anext(quick)).revision == last
            batch = await anext(slow)
            assert (batch.complete, batch.revision) == (True, last)
            apply(known, batch)
            assert known == {"r/39": b"x" * 500}
            step = await store.write([Put("after", b"")], ME)
            batch = await anext(slow)
            assert (batch.complete, batch.revision) == (False, step)

    run(main())


def test_a_watch_waits_for_a_store_that_is_not_open_yet(tmp_path: Path) -> None:
    async def main() -> None:
        store = SqliteStore(tmp_path / "db", history=10)
        async with watching(store) as batches:
            first = asyncio.ensure_future(anext(batches))
            await asyncio.sleep(0)
            assert "is not open" in str(store.trouble)
            async with opened(store):
                assert (await first).complete
                assert store.trouble is None

    run(main())


# ---- time to live


def test_keys_expire_within_a_second_and_say_why(tmp_path: Path) -> None:
    async def main() -> None:
        store = SqliteStore(tmp_path / "db", history=10_000)
        async with opened(store), watching(store) as batches:
            await anext(batches)
            begin = time.monotonic()
            await store.write([Put(f"r/{number}", b"v", ttl_s=1) for number in range(2500)], ME)
            assert len((await anext(batches)).events) == 2500
            written = time.monotonic()
            left = 2500
            while left:
                left -= len((await anext(batches)).events)
            assert time.monotonic() - begin > 0.9
            assert time.monotonic() - written < 3
            steps = await store.history(prefix="r/2")
            assert {step.origin for step in steps[:-1]} == {Origin("ttl")}
            assert await check_history(store) == {}

    run(main())


def test_the_clock_may_be_set_meanwhile(tmp_path: Path) -> None:
    async def main() -> None:
        offset = 0.0
        store = SqliteStore(tmp_path / "db", history=10, clock=lambda: time.time() + offset)
        async with opened(store):
            await store.write([Put("r/1", b"", ttl_s=3600)], ME)
            offset = 4000.0
            await gone(store, "r/1", within_s=2)

    run(main())


# ---- one owner


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "bascule.db"
    with subprocess.Popen([sys.executable, str(WRITER), str(path)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()

        async def refused() -> None:
            store = SqliteStore(path, history=10)
            with pytest.raises(StoreUnavailable, match=rf"is in use by process {owner.pid}: only one Bascule"):
                await store.open()
            with pytest.raises(StoreUnavailable, match="is not open"):
                await store.get("a")

        run(refused())
        assert owner.stdout.readline()  # and the first goes on
        owner.kill()

    async def taken() -> None:
        async with opened(SqliteStore(path, history=200)):
            with pytest.raises(StoreUnavailable, match="in use by process"):
                await SqliteStore(path, history=10).open()

    run(taken())


# ---- killed at any moment


class Killed:
    """What writer processes were told before they were killed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.acknowledged: dict[str, int] = {}
        self.ids: list[int] = []

    def round(self, chosen: random.Random) -> None:
        writer = subprocess.Popen([sys.executable, str(WRITER), str(self.path)], stdout=subprocess.PIPE)
        with writer:
            assert writer.stdout is not None
            told = b""
            if chosen.random() < 0.75:  # else it may be killed while it opens the store
                told = writer.stdout.readline()
                time.sleep(chosen.random() * 0.15)
            else:
                time.sleep(0.08 + chosen.random() * 0.15)
            writer.send_signal(signal.SIGKILL)
            told += writer.stdout.read()
        for line in told.splitlines():
            kind, *numbers = line.decode().split()
            if kind == "id":
                self.ids.append(int(numbers[0]))
            else:
                self.acknowledged[numbers[0]] = int(numbers[1])

    async def check(self) -> None:
        store = SqliteStore(self.path, history=200)
        async with opened(store):
            now = await check_history(store)
            for task, number in self.acknowledged.items():
                found = int(now[f"task/{task}"])
                assert number <= found <= number + 1  # one may be done and not be told yet
                assert now[f"twin/{task}"] == now[f"task/{task}"]
                assert now.get(f"extra/{task}") == (b"%d" % found if found % 3 else None)
                self.acknowledged[task] = found
            assert len(set(self.ids)) == len(self.ids)


def test_killed_at_any_moment_it_starts_again_with_all_that_was_acknowledged(tmp_path: Path) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    chosen = random.Random(seed)
    killed = Killed(tmp_path / "bascule.db")
    for _ in range(24):
        killed.round(chosen)
        run(killed.check())
    assert len(killed.ids) > 20
    assert min(killed.acknowledged.values()) > 50


def test_a_torn_end_of_the_log_is_cut_off_at_a_whole_revision(tmp_path: Path) -> None:
    source, copy = tmp_path / "source.db", tmp_path / "copy.db"

    async def fill() -> None:
        async with opened(SqliteStore(source, history=20)) as store:
            for number in range(60):
                await store.write([Put(f"r/{number % 7}", b"%d" % number), Put("twin", b"%d" % number)], ME)
            shutil.copy(source, copy)
            shutil.copy(f"{source}-wal", f"{copy}-log")

    run(fill())
    log = Path(f"{copy}-log").read_bytes()
    empty = copy.read_bytes()
    chosen = random.Random(3)

    async def check() -> int:
        store = SqliteStore(copy, history=20)
        async with opened(store):
            await check_history(store)
            return await store.revision()

    found = set()
    for _ in range(30):
        end = chosen.randrange(len(log))
        copy.write_bytes(empty)
        Path(f"{copy}-wal").write_bytes(log[:end] + chosen.randbytes(chosen.randrange(3) * 1000))
        found.add(asyncio.run(check()))
    assert len(found) > 10


# ---- what can't be used


def refusal(store: SqliteStore) -> str:
    async def main() -> str:
        with pytest.raises(StoreUnavailable) as refused:
            await store.open()
        return str(refused.value)

    return asyncio.run(main())


def filled(path: Path) -> None:
    async def main() -> None:
        async with opened(SqliteStore(path, history=10)) as store:
            await store.write([Put(f"r/{number}", b"x" * 300) for number in range(500)], ME)

    run(main())


def garbage(path: Path) -> None:
    path.write_bytes(b"no database " * 1000)


def damaged(path: Path) -> None:
    filled(path)
    data = bytearray(path.read_bytes())
    data[4096 * 10 : 4096 * 20] = b"\xa5" * 40960
    path.write_bytes(data)


def half(path: Path) -> None:
    filled(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def newer(path: Path) -> None:
    filled(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (garbage, "is no database of Bascule: move it away"),
        (damaged, "is damaged ("),
        (half, "is damaged ("),
        (newer, "was written by a newer Bascule (layout 99; this one knows up to 1)"),
        (folder, "can't be opened"),
    ],
)
def test_a_file_that_cannot_be_used_is_left_alone(tmp_path: Path, spoil: Callable[[Path], None], sentence: str) -> None:
    path = tmp_path / "bascule.db"
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    store = SqliteStore(path, history=10)
    for _ in range(2):  # the lock is free again
        said = refusal(store)
        assert sentence in said
        assert str(path) in said
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = refusal(SqliteStore(tmp_path / "file" / "data" / "bascule.db", history=10))
    assert said == f"{tmp_path}/file/data can't be used for the store: not a directory"


def test_files_are_ours_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(SqliteStore(tmp_path / "data" / "bascule.db", history=10)) as store:
            await store.write([Put("a", b"")], ME)
            assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
            files = list((tmp_path / "data").iterdir())
            assert len(files) == 4
            assert {file.stat().st_mode & 0o777 for file in files} == {0o600}

    run(main())


# ---- trouble while it runs

FULL_DISK = """
import asyncio, resource, sys
from pathlib import Path
from bascule.store.entry import *
from bascule.store.sqlite import SqliteStore

ME = Origin("me")
_, HARD = resource.getrlimit(resource.RLIMIT_FSIZE)

async def main():
    store = SqliteStore(Path(sys.argv[1]), history=1000)
    await store.open()
    await store.write([Put("a", b"1")], ME)
    batches = store.watch()
    await anext(batches)
    size = Path(sys.argv[1] + "-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 400_000, HARD))  # room for little
    writes = [Put(f"r/{n}", b"x" * (1_000_000 if n == 3 else 10)) for n in range(6)]
    results = await asyncio.gather(*(store.write([one, Put(one.key + "/twin", b"")], ME) for one in writes),
                                   return_exceptions=True)
    assert [type(result) for result in results] == [int] * 3 + [StoreUnavailable] + [int] * 2, results
    assert "disk" in str(results[3]), results[3]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, HARD))  # room for nothing
    try:
        await store.write([Put("b", b"2")], ME)
        raise AssertionError("it was written")
    except StoreUnavailable as error:
        assert store.trouble == str(error), (store.trouble, error)
    assert (await store.get("a")).value == b"1" and await store.get("b") is None  # reading goes on
    await asyncio.sleep(1.2)  # it tried meanwhile
    assert store.trouble is not None
    resource.setrlimit(resource.RLIMIT_FSIZE, (HARD, HARD))
    async with asyncio.timeout(5):
        while store.trouble is not None:  # it finds out by itself
            await asyncio.sleep(0.02)
    last = await store.write([Put("c", b"3")], ME)
    entries, revision = await store.list("")
    assert revision == last
    expected = {"a", "c"} | {key for n in (0, 1, 2, 4, 5) for key in (f"r/{n}", f"r/{n}/twin")}
    assert {entry.key for entry in entries} == expected, entries
    told = set()
    while (step := await anext(batches)).revision <= last:
        told |= {event.key for event in step.events}
        if step.revision == last:
            break
    assert told == expected - {"a"}, told
    assert [step.number for step in await store.history()] == list(range(last, 0, -1))
    await store.close()
    print("all well")

asyncio.run(main())
"""


def test_on_a_full_disk_a_write_fails_whole_and_reading_goes_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "bascule.db")], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "all well\n", done.stderr


def test_a_file_that_was_removed_takes_no_writes(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "db"
        async with opened(SqliteStore(path, history=10)) as store:
            await store.write([Put("a", b"1")], ME)
            path.rename(tmp_path / "elsewhere")
            with pytest.raises(StoreUnavailable, match="was removed or replaced while in use"):
                await store.write([Put("a", b"2")], ME)
            assert "was removed or replaced" in str(store.trouble)
            assert await store.get("a") == Entry("a", b"1", 1, 1)
            (tmp_path / "elsewhere").rename(path)
            assert await store.write([Put("a", b"3")], ME) == 2
            assert store.trouble is None

    run(main())
