import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from bascule.control import store_source as module
from bascule.control.source import Step
from bascule.control.store_source import STEP_CHANGES, StoreSource
from bascule.store.entry import Batch, Condition, Entry, Event, Operation, Origin


class Told:
    """A store that only tells: the batches that a test puts in."""

    trouble: str | None = None

    def __init__(self) -> None:
        self.batches: asyncio.Queue[Batch] = asyncio.Queue()
        self.taken = asyncio.Event()

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    async def get(self, key: str) -> Entry | None:
        raise NotImplementedError

    async def list(self, prefix: str) -> tuple[list[Entry], int]:
        raise NotImplementedError

    async def revisions(self, prefix: str) -> dict[str, int]:
        raise NotImplementedError

    async def write(self, operations: Sequence[Operation], origin: Origin, conditions: Sequence[Condition] = ()) -> int:
        raise NotImplementedError

    async def new_id(self) -> int:
        raise NotImplementedError

    async def watch(self) -> AsyncIterator[Batch]:
        while True:
            yield await self.batches.get()
            self.taken.set()


class Reversing:
    def unseal(self, kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
        return dict(value) | {"unsealed": kind}


async def steps(store: Told, *batches: Batch) -> list[Step]:
    """The step that each batch becomes."""
    source = StoreSource(store, Reversing())
    found = []
    for batch in batches:
        store.batches.put_nowait(batch)
        found.append(await asyncio.wait_for(source.next() if found else source.load(), 5))
    await source.close()
    return found


def test_a_complete_batch_a_change_and_a_deletion() -> None:
    async def scene() -> None:
        first, second, third = await steps(
            Told(),
            Batch(5, [Event("routes/1", b'{"uri": "/a"}', 4, 5), Event("gen_id", b"0", 1, 1)], complete=True),
            Batch(6, [Event("consumers/jack/credentials/c", b"{}", 6, 6)]),
            Batch(7, [Event("routes/1", None, 0, 7), Event("routes/never-there", None, 0, 7)]),
        )
        (route,) = first.changes
        assert (route.kind, route.id, route.created, route.revision) == ("routes", "1", 4, 5)
        assert route.value == {"uri": "/a", "unsealed": "routes"}
        assert first.revision == 5
        assert [(change.kind, change.id) for change in second.changes] == [("credentials", "jack/credentials/c")]
        assert [(change.id, change.value) for change in third.changes] == [("1", None)]

    asyncio.run(scene())


def test_a_later_complete_batch_tells_only_what_differs() -> None:
    async def scene() -> None:
        one, two = Event("routes/1", b"{}", 1, 1), Event("routes/2", b"{}", 2, 2)
        _, again = await steps(
            Told(), Batch(2, [one, two], complete=True), Batch(9, [two, Event("routes/3", b"{}", 9, 9)], complete=True)
        )
        assert {(change.id, change.value is None) for change in again.changes} == {("1", True), ("3", False)}

    asyncio.run(scene())


def test_batches_that_wait_become_one_step() -> None:
    async def scene() -> None:
        store = Told()
        source = StoreSource(store, Reversing())
        store.batches.put_nowait(Batch(1, [], complete=True))
        await source.load()
        for revision in range(2, 50):
            store.batches.put_nowait(Batch(revision, [Event("routes/1", b"{}", 2, revision)]))
        step = await asyncio.wait_for(source.next(), 5)
        while step.revision < 49:
            step = await asyncio.wait_for(source.next(), 5)
        assert [change.revision for change in step.changes] == [49]
        await source.close()

    asyncio.run(scene())


def test_a_value_that_is_no_resource_is_told_and_its_last_good_version_stays() -> None:
    async def scene() -> None:
        good, bad, healed, gone = await steps(
            Told(),
            Batch(1, [Event("routes/1", b"{}", 1, 1)], complete=True),
            Batch(2, [Event("routes/1", b"[1]", 1, 2)]),
            Batch(3, [Event("routes/1", b'{"uri": "/"}', 1, 3)]),
            Batch(4, [Event("routes/1", b"nonsense", 1, 4)]),
        )
        assert not good.errors
        assert not bad.changes
        assert [(error.kind, error.id) for error in bad.errors] == [("routes", "1")]
        assert not healed.errors
        assert len(healed.changes) == 1
        assert "not valid JSON" in gone.errors[0].message

    asyncio.run(scene())


def test_a_step_is_bounded_but_what_was_written_at_once_is_not_split() -> None:
    def batch(revision: int, count: int) -> Batch:
        value = b'{"uri": "/a"}'
        return Batch(revision, [Event(f"routes/{revision}-{n}", value, revision, revision) for n in range(count)])

    async def scene() -> None:
        store = Told()
        source = StoreSource(store, Reversing())
        store.batches.put_nowait(Batch(1, [], complete=True))
        await asyncio.wait_for(source.load(), 5)
        for revision, count in enumerate((1, 100, *([1] * (STEP_CHANGES + 1))), start=2):
            store.batches.put_nowait(batch(revision, count))
        while not store.batches.empty():
            store.taken.clear()
            await asyncio.wait_for(store.taken.wait(), 5)
        await asyncio.sleep(0)
        found = []
        while sum(found) < 101 + STEP_CHANGES + 1:
            found.append(len((await asyncio.wait_for(source.next(), 5)).changes))
        assert found == [101, STEP_CHANGES, 1]
        await source.close()

    asyncio.run(scene())


def test_a_mistake_of_a_store_does_not_end_what_it_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.05)

    class Broken(Told):
        watched = 0

        async def watch(self) -> AsyncIterator[Batch]:
            self.watched += 1
            yield Batch(self.watched, [], complete=True)
            if self.watched == 1:
                raise IndexError("oh")
            await asyncio.sleep(60)

    async def scene() -> None:
        source = StoreSource(Broken(), Reversing())
        first = await asyncio.wait_for(source.load(), 20)
        await asyncio.sleep(0)
        assert source.trouble == "internal error: IndexError: oh"
        second = await asyncio.wait_for(source.next(), 20)
        assert ((first.revision, second.revision), source.trouble) == ((1, 2), None)
        await source.close()

    asyncio.run(scene())
