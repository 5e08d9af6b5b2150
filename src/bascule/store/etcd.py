"""The store of a cluster: etcd, with keys and values as APISIX lays them out, so that its nodes may share it."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

from bascule.model.admin_settings import Etcd
from bascule.store import etcd_txn
from bascule.store.entry import Batch, Condition, Entry, Event, Operation, Origin, StoreUnavailable
from bascule.store.etcd_client import EtcdClient, KeyValue, Told
from bascule.store.etcd_errors import Compacted, EtcdRefused, EtcdUnreachable
from bascule.store.etcd_layout import FOLDERS, PLACEHOLDER, EtcdLayout
from bascule.store.etcd_writer import EtcdWriter
from bascule.store.last_good import LastGood, LastGoodKeeper, LastGoodRefused

log = logging.getLogger("bascule.store")

_Entries = list[Entry]  # in the class, `list` is the method
_Items = list[KeyValue]

_PAGE = 1000  # keys in one answer: some megabytes at most, and the loop isn't held up for long
_PULSE_S = 5.0  # a watch that is silent for so long may be dead: etcd is asked something
_STEADY_S = 1.0  # a watch that went on for so long was a good one
_STARTUP_TRY_S = 10.0
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 5.0


class EtcdStore:
    """`folder`: where the last good configuration is kept. `writable` False: a node that only follows."""

    def __init__(self, settings: Etcd, folder: Path, *, writable: bool = True) -> None:
        self._settings = settings
        self._writable = writable
        self._layout = EtcdLayout(settings.prefix)
        self._client = EtcdClient(settings)
        self._writer = EtcdWriter(self._client, self._layout)
        self._file = LastGood(folder / "last-good.json", f"etcd, prefix {self._layout.prefix}")
        self._keeper = LastGoodKeeper(self._file, lambda: (self._revision, list(self._known.values())))
        self._kept: Batch | None = None
        self._trouble: str | None = None
        # What the watch told so far: its state, its revision, the cluster that it is of; what was written from here.
        self._known: dict[str, Entry] = {}
        self._revision = 0
        self._written = 0
        self._cluster = ""

    def __repr__(self) -> str:
        return (
            f"<etcd store {self._layout.prefix} of {self._client!r} revision={self._revision} trouble={self._trouble}>"
        )

    @property
    def trouble(self) -> str | None:
        return self._trouble

    async def open(self) -> None:
        """When etcd can't be reached, it begins with what was kept on the disk; StoreUnavailable if there is nothing.

        Makes the folders of APISIX's layout where they are missing, if it may."""
        await self._client.open()
        try:
            await self._reach()
        except StoreUnavailable as error:
            try:
                self._kept = await asyncio.get_running_loop().run_in_executor(None, self._file.load)
                text = str(error)
            except LastGoodRefused as refused:
                text = f"{error}; {refused}"
            except BaseException:
                await self._client.close()
                raise
            if self._kept is None:
                await self._client.close()
                raise StoreUnavailable(text) from error
            log.warning("beginning with the last good configuration (%s)", self._file.path)
            self._revision = self._kept.revision
            self._note(error)
        except BaseException:
            await self._client.close()
            raise

    async def close(self) -> None:
        await self._keeper.close()
        await self._client.close()

    async def get(self, key: str) -> Entry | None:
        entries = self._entries((await self._client.range(self._layout.raw(key))).items)
        return entries[0] if entries else None

    async def list(self, prefix: str) -> tuple[_Entries, int]:
        entries, revision = await self._read(prefix)
        return sorted(entries, key=lambda entry: (entry.created, entry.key)), revision

    async def revisions(self, prefix: str) -> dict[str, int]:
        items, _ = await self._items(prefix, keys_only=True)
        return {key: item.modified for item in items if (key := self._layout.key(item.key, b"")) is not None}

    async def write(self, operations: Sequence[Operation], origin: Origin, conditions: Sequence[Condition] = ()) -> int:
        """etcd keeps no history of whose write it was: `origin` is not stored. A text of StoreUnavailable says so when
        it can't be known whether the write was done. A write that changes nothing gives an earlier one."""
        if len({operation.key for operation in operations}) != len(operations):
            raise ValueError("a key stands twice in one write")
        self._check_writable()
        revision = await self._writer.write(operations, conditions)
        if revision is None:  # no step will be told of it: whoever waits shall wait for one that is
            return max(self._written, self._revision)
        self._written = max(self._written, revision)
        return revision

    async def new_id(self) -> int:
        self._check_writable()
        return await self._writer.new_id()

    async def watch(self) -> AsyncIterator[Batch]:
        """After an interruption the steps go on where they ended; a complete batch comes if etcd has forgotten them, or
        was restored from a backup. Of several steps of one revision one is made."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            self._known = {event.key: Entry(event.key, event.value or b"", *event[2:]) for event in kept.events}
            self._revision = kept.revision
            yield kept
        fresh = True  # nothing was told by etcd itself
        resume = 0
        pause_s = _FIRST_PAUSE_S
        loop = asyncio.get_running_loop()
        followed = math.inf  # since when
        while True:
            try:
                if not resume:
                    entries, resume = await self._everything()
                    if entries != self._known or fresh:
                        fresh = False
                        self._known, self._revision = entries, resume
                        self._keeper.changed()
                        yield Batch(resume, [Event(*entry) for entry in entries.values()], complete=True)
                followed = loop.time()
                async with aclosing(self._follow(resume)) as steps:
                    async for resume, events in steps:
                        self._note(None)
                        if step := self._step(resume, events):
                            yield step
            except (Compacted, _Restored) as lost:
                log.info("the configuration is read anew: %s", lost)
                resume = 0
                await asyncio.sleep(_FIRST_PAUSE_S)  # a member that lags behind may seem restored
            except StoreUnavailable as error:
                lasted, followed = loop.time() - followed, math.inf
                if lasted > _STEADY_S:  # the end of one member isn't that of the cluster: another may answer at once
                    pause_s = _FIRST_PAUSE_S
                    continue
                self._note(error)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
                pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    # ---- following

    async def _follow(self, resume: int) -> AsyncGenerator[tuple[int, _Items], None]:
        """The events of each revision after `resume`; none: it is still there. Ends when it is to be begun anew."""
        loop = asyncio.get_running_loop()
        renewal = loop.time() + self._settings.watch_timeout
        pulse_s = min(_PULSE_S, self._settings.watch_timeout)
        waiting: _Items = []
        endpoint = ""
        async with aclosing(self._client.watch(*self._layout.span(""), resume + 1, pulse_s)) as messages:
            async for told in messages:
                if told is None:
                    await self._client.range(self._layout.counter)
                    if self._client.preferred != endpoint:
                        return
                    yield resume, []
                elif told.created:
                    endpoint = self._client.preferred
                    self._check_cluster(told, resume)
                    yield resume, []
                else:
                    waiting += told.events
                    if told.partial:
                        continue
                    for revision, events in _by_revision(waiting):
                        yield revision, events
                        resume = revision
                    waiting = []
                    if not told.events and told.revision > resume:
                        resume = told.revision
                        yield resume, []
                if loop.time() >= renewal:
                    return

    def _check_cluster(self, told: Told, resume: int) -> None:
        """Raises _Restored."""
        if told.cluster != self._cluster:
            raise _Restored("it is another cluster than before")
        if told.revision < resume:
            raise _Restored("the cluster has gone back to an earlier revision")

    def _step(self, revision: int, events: Sequence[KeyValue]) -> Batch | None:
        """None: nothing that is configuration has changed."""
        changed = []
        for item in events:
            key = self._layout.key(item.key, item.value)
            if key is not None and item.value is not None:
                self._known[key] = Entry(key, item.value, item.created, item.modified)
                changed.append(Event(*self._known[key]))
            elif (gone := self._known.pop(self._layout.text(item.key), None)) is not None:
                changed.append(Event(gone.key, None, gone.created, item.modified))
        if not changed:
            return None
        self._revision = revision
        self._keeper.changed()
        return Batch(revision, changed)

    # ---- reading

    async def _everything(self) -> tuple[dict[str, Entry], int]:
        entries, revision = await self._read("")
        self._cluster = self._client.cluster
        return {entry.key: entry for entry in entries}, revision

    async def _read(self, prefix: str) -> tuple[_Entries, int]:
        items, revision = await self._items(prefix)
        return self._entries(items), revision

    async def _items(self, prefix: str, *, keys_only: bool = False) -> tuple[_Items, int]:
        """Page by page, at one revision."""
        while True:
            start, end = self._layout.span(prefix)
            items: _Items = []
            revision = 0
            try:
                while True:
                    page = await self._client.range(start, end, revision=revision, limit=_PAGE, keys_only=keys_only)
                    revision = revision or page.revision
                    items += page.items
                    if not page.more:
                        return items, revision
                    start = page.items[-1].key + b"\0"
            except Compacted:  # between two pages
                continue

    def _entries(self, items: Sequence[KeyValue]) -> _Entries:
        entries = []
        for item in items:
            key = self._layout.key(item.key, item.value)
            if key is not None and item.value is not None:
                entries.append(Entry(key, item.value, item.created, item.modified))
        return entries

    # ---- opening

    async def _reach(self) -> None:
        """Tries several times. Raises StoreUnavailable."""
        loop = asyncio.get_running_loop()
        for turn in range(self._settings.startup_retry):
            try:
                await self._client.range(
                    self._layout.counter, deadline=min(self._client.deadline(), loop.time() + _STARTUP_TRY_S)
                )
                break
            except EtcdUnreachable:
                if turn + 1 == self._settings.startup_retry:
                    raise
                await asyncio.sleep(_FIRST_PAUSE_S * 2**turn)
        if self._writable:
            await self._make_folders()

    async def _make_folders(self) -> None:
        folders = [self._layout.raw(folder) for folder in FOLDERS]
        looks = [etcd_txn.look(folder) for folder in folders]
        found = await self._client.txn({"success": looks}, repeatable=True)
        for folder, response in zip(folders, found["responses"], strict=True):
            if not response["response_range"].get("kvs"):
                body = {"compare": [etcd_txn.unmodified(folder, 0)], "success": [etcd_txn.put(folder, PLACEHOLDER)]}
                try:
                    await self._client.txn(body, repeatable=True)
                except EtcdRefused as refused:
                    log.warning("the folders of APISIX's layout can't be made: %s", refused)
                    return

    def _check_writable(self) -> None:
        if not self._writable:
            raise StoreUnavailable("this node is a data plane: it takes no changes, make them on a control plane")

    def _note(self, error: StoreUnavailable | None) -> None:
        if error is None:
            if self._trouble is not None:
                log.info("etcd answers again")
            self._trouble = None
        elif self._trouble is None:
            self._trouble = f"{error} (since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ})"
            log.error("%s; serving with the configuration of revision %d", error, self._revision)


class _Restored(Exception):
    """Revisions don't mean any more what they meant."""


def _by_revision(items: Sequence[KeyValue]) -> list[tuple[int, list[KeyValue]]]:
    found: list[tuple[int, list[KeyValue]]] = []
    for item in items:
        if not found or found[-1][0] != item.modified:
            found.append((item.modified, []))
        found[-1][1].append(item)
    return found
