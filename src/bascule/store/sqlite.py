"""The embedded store: an SQLite file with a history, for one machine.

One thread writes: whatever queues up while a transaction is on its way to the disk goes into the next one, so that many
writers share one fsync. `get` reads in the loop's thread, on its own connection (some microseconds); what may be long
is read in another thread. Both see what was acknowledged, since a reading begins after the commit.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from bascule.store.durable_file import FileLock, Locked, make_file, make_folder, sync_folder
from bascule.store.entry import Batch, Condition, Entry, Event, Operation, Origin, Revision, StoreUnavailable
from bascule.store.sqlite_layout import connect, explain, prepare
from bascule.store.sqlite_reader import SqliteReader
from bascule.store.sqlite_writer import Call, SqliteWriter

T = TypeVar("T")
_Listed = tuple[list[Entry], int]  # in the class, `list` is the method
_Revisions = list[Revision]

_TOGETHER = 512  # calls in one transaction
_IDS_AT_ONCE = 1000
_RETRY_S = 1.0
_BREATH_S = 0.01  # between steps of pruning when nothing else is asked
_CLOCK_S = 0.5  # the system's clock may be set meanwhile: expiry is looked at so often
_EVENT_BYTES = 200  # besides the value, about


class SqliteStore:
    """`history`: how many revisions are kept; `clock`: Unix seconds; `unread_bytes`: how far a watcher may fall behind
    before it gets all anew."""

    def __init__(
        self, path: Path, *, history: int, clock: Callable[[], float] = time.time, unread_bytes: int = 64 << 20
    ) -> None:
        self._path = path
        self._history = history
        self._clock = clock
        self._unread_bytes = unread_bytes
        self._trouble: str | None = None
        self._open: _Open | None = None
        self._watchers: list[_Watcher] = []
        self._ids = range(0)
        self._id_lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<sqlite store {self._path} {'open' if self._open else 'closed'} trouble={self._trouble}>"

    @property
    def trouble(self) -> str | None:
        return self._trouble

    async def open(self) -> None:
        """Makes the file and its folder if they are missing. Raises StoreUnavailable: also when another process has
        it open, or when it isn't a database that this version can use."""
        pool = ThreadPoolExecutor(1, "bascule-store-read")
        try:
            loop = asyncio.get_running_loop()
            opened = await loop.run_in_executor(pool, _Open, self._path, self._history, self._clock, pool)
        except BaseException:
            pool.shutdown(wait=False)
            raise
        self._open = opened
        opened.start(partial(self._settle_soon, loop))

    async def close(self) -> None:
        """What was asked before is finished."""
        opened, self._open = self._open, None
        if opened is not None:
            ids, self._ids = self._ids, range(0)
            await opened.close(ids.start if ids else None)

    async def get(self, key: str) -> Entry | None:
        opened = self._opened()
        try:
            return opened.here.get(key)
        except sqlite3.Error as error:
            raise StoreUnavailable(explain(error, self._path)) from error

    async def list(self, prefix: str) -> _Listed:
        return await self._read(lambda reader: reader.entries(prefix))

    async def revisions(self, prefix: str) -> dict[str, int]:
        return await self._read(lambda reader: reader.revisions(prefix))

    async def write(self, operations: Sequence[Operation], origin: Origin, conditions: Sequence[Condition] = ()) -> int:
        """A write that changes nothing (deletions of what isn't there) makes no revision: it gives the latest one."""
        if len({operation.key for operation in operations}) != len(operations):
            raise ValueError("a key stands twice in one write")
        return await self._write(lambda writer: writer.write(operations, origin, conditions))

    async def new_id(self) -> int:
        async with self._id_lock:
            if not self._ids:
                first = await self._write(lambda writer: writer.reserve_ids(_IDS_AT_ONCE))
                self._ids = range(first, first + _IDS_AT_ONCE)
            id, self._ids = self._ids[0], self._ids[1:]
            return id

    async def watch(self) -> AsyncIterator[Batch]:
        """A watcher that falls far behind gets a complete batch instead of the steps that it missed."""
        watcher = _Watcher(self._unread_bytes)
        self._watchers.append(watcher)
        try:
            while True:
                watcher.clear()  # before the reading: nothing is missed, and what is told twice is left out below
                whole = [await self._everything()]
                revision = whole[0].revision
                yield whole.pop()  # held by nobody here while the watcher works on it
                while (step := await watcher.next()) is not None:
                    if step.revision > revision:
                        yield step
        finally:
            self._watchers.remove(watcher)

    # ---- the ledger

    async def revision(self) -> int:
        return await self._read(lambda reader: reader.revision())

    async def history(self, *, before: int | None = None, limit: int = 50, prefix: str = "") -> _Revisions:
        return await self._read(lambda reader: reader.history(before, limit, prefix))

    async def state(self, revision: int) -> dict[str, bytes]:
        return await self._read(lambda reader: reader.state(revision))

    # ---- parts

    async def _everything(self) -> Batch:
        """Tries until it can be read."""
        trouble = None
        while True:
            try:
                entries, revision = await self.list("")
            except StoreUnavailable as error:
                self._trouble = trouble = str(error)
                await asyncio.sleep(_RETRY_S)
                continue
            if self._trouble == trouble:
                self._trouble = None
            return Batch(revision, [Event(*entry) for entry in entries], complete=True)

    def _opened(self) -> _Open:
        if self._open is None:
            raise StoreUnavailable(f"{self._path} is not open")
        return self._open

    async def _read(self, read: Callable[[SqliteReader], T]) -> T:
        opened = self._opened()
        try:
            return await asyncio.get_running_loop().run_in_executor(opened.pool, read, opened.there)
        except sqlite3.Error as error:
            raise StoreUnavailable(explain(error, self._path)) from error

    async def _write(self, call: Callable[[SqliteWriter], T]) -> T:
        opened = self._opened()
        asked: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        opened.calls.put((call, asked))
        return await asked

    def _settle_soon(self, loop: asyncio.AbstractEventLoop, *settled: Any) -> None:
        """In the writer's thread."""
        loop.call_soon_threadsafe(self._settle, *settled)

    def _settle(self, asked: Sequence[_Asked], outcomes: Sequence[object], steps: Sequence[Batch]) -> None:
        failed = next((outcome for outcome in outcomes if isinstance(outcome, StoreUnavailable)), None)
        self._trouble = None if failed is None else str(failed)
        for step in steps:
            for watcher in self._watchers:
                watcher.tell(step)
        for (_, future), outcome in zip(asked, outcomes, strict=True):
            if future is None or future.done():
                continue
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)


_Asked = tuple[Call, "asyncio.Future[Any] | None"]
_Settle = Callable[[Sequence[_Asked], Sequence[object], Sequence[Batch]], None]


class _Open:
    """The open file: its lock, its connections, the thread that writes. Made and closed off the loop's thread."""

    def __init__(self, path: Path, history: int, clock: Callable[[], float], pool: ThreadPoolExecutor) -> None:
        """Raises StoreUnavailable."""
        self.pool = pool
        self.calls: SimpleQueue[_Asked | None] = SimpleQueue()
        self._path = path
        try:
            make_folder(path.parent)
            self._lock = FileLock(path.with_name(path.name + ".lock"))
        except Locked as locked:
            raise StoreUnavailable(
                f"{path} is {locked}: only one Bascule may write to it; stop that one, or use the Admin API"
            ) from None
        except OSError as error:
            raise StoreUnavailable(f"{path.parent} can't be used for the store: {_reason(error)}") from error
        try:
            make_file(path)
            connection = connect(path)
            try:
                prepare(connection, path)
                self._writer = SqliteWriter(connection, path, history, clock)
                self.here, self.there = SqliteReader(connect(path)), SqliteReader(connect(path))
                sync_folder(path.parent)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            self._lock.release()
            raise StoreUnavailable(explain(error, path)) from error
        except OSError as error:
            self._lock.release()
            raise StoreUnavailable(f"{path} can't be used: {_reason(error)}") from error
        except BaseException:
            self._lock.release()
            raise

    def start(self, settle: _Settle) -> None:
        # A daemon: what is acknowledged is on the disk, so that a process which ends without `close` loses nothing.
        self._thread = threading.Thread(target=self._run, args=(settle,), name="bascule-store-write", daemon=True)
        self._thread.start()

    async def close(self, unused_id: int | None) -> None:
        if unused_id is not None:
            self.calls.put((lambda writer: writer.give_back_ids(unused_id), None))
        self.calls.put(None)
        await asyncio.get_running_loop().run_in_executor(self.pool, self._close)
        self.pool.shutdown()

    def _close(self) -> None:
        self._thread.join()
        self.here.close()
        self.there.close()
        self._writer.close()  # the last connection: SQLite moves all into the file itself
        self._lock.release()

    # ---- the thread that writes

    def _run(self, settle: _Settle) -> None:
        going, failing = True, False
        while going:
            asked: list[_Asked] = []
            going = self._take(asked, failing)
            if failing:
                asked.append((SqliteWriter.touch, None))
            elif not asked and not self._writer.rubbish and self._expiry_s() != 0:
                continue
            asked.insert(0, (SqliteWriter.expire, None))
            outcomes, steps = self._transact([call for call, _ in asked])
            failing = any(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
            try:
                settle(asked, outcomes, steps)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

    def _take(self, asked: list[_Asked], failing: bool) -> bool:
        """Waits for calls, or until there is something to do without any. False: these are the last."""
        try:
            first = self.calls.get(timeout=self._patience_s(failing))
            while first is not None:
                asked.append(first)
                if len(asked) == _TOGETHER:
                    return True
                first = self.calls.get_nowait()
            return False
        except Empty:
            return True

    def _patience_s(self, failing: bool) -> float | None:
        if failing:  # tries whether it can write again
            return _RETRY_S
        if self._writer.rubbish:
            return _BREATH_S
        expiry_s = self._expiry_s()
        return None if expiry_s is None else min(expiry_s, _CLOCK_S)

    def _expiry_s(self) -> float | None:
        try:
            return self._writer.expiry_s()
        except sqlite3.Error:
            return 0.0  # the transaction will say what is the matter

    def _transact(self, calls: Sequence[Call]) -> tuple[list[object], list[Batch]]:
        try:
            return self._writer.transact(calls)
        except StoreUnavailable as error:
            if len(calls) == 1:
                return [error], []
        # One of them may be what the disk has no room for: each alone.
        alone = [self._transact([call]) for call in calls]
        return [outcome for outcomes, _ in alone for outcome in outcomes], [
            step for _, steps in alone for step in steps
        ]


class _Watcher:
    """What a watcher hasn't read yet, as long as it isn't too much."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._steps: deque[tuple[Batch, int]] = deque()
        self._bytes = 0
        self._lost = False
        self._news = asyncio.Event()

    def clear(self) -> None:
        self._steps.clear()
        self._bytes, self._lost = 0, False

    def tell(self, step: Batch) -> None:
        if self._lost:
            return
        size = sum(_EVENT_BYTES + len(event.value or b"") for event in step.events)
        self._steps.append((step, size))
        self._bytes += size
        if self._bytes > self._most_bytes and len(self._steps) > 1:
            self.clear()
            self._lost = True
        self._news.set()

    async def next(self) -> Batch | None:
        """None: steps are missing, all has to be read again."""
        while not self._steps:
            if self._lost:
                return None
            self._news.clear()
            await self._news.wait()
        step, size = self._steps.popleft()
        self._bytes -= size
        return step


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
