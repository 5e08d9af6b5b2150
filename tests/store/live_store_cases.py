"""What every live store does. A subclass named Test… gives the fixture `make_store`, and pytest collects the cases.

    @pytest.fixture
    def make_store(self) -> StoreFactory: ...

`make_store(name)`: a store that isn't open yet; of a new and empty place, or of the one that had this name before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bascule.store.entry import (
    Batch,
    Conflict,
    Delete,
    Entry,
    Exists,
    LiveStore,
    Origin,
    Put,
    StoreUnavailable,
    Unchanged,
)
from tests.store.live_store_model import check_against_model

StoreFactory = Callable[[str], LiveStore]
ME = Origin("me")
_PATIENCE_S = 30


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, _PATIENCE_S))


@asynccontextmanager
async def opened(store: LiveStore) -> AsyncIterator[LiveStore]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def watching(store: LiveStore) -> AsyncIterator[AsyncIterator[Batch]]:
    batches = store.watch()
    try:
        yield batches
    finally:
        await batches.aclose()  # type: ignore[attr-defined]


def apply(known: dict[str, bytes], batch: Batch) -> None:
    if batch.complete:
        known.clear()
    for event in batch.events:
        if event.value is None:
            known.pop(event.key, None)
        else:
            known[event.key] = event.value


async def gone(store: LiveStore, key: str, within_s: float) -> None:
    known: dict[str, bytes] = {}
    async with watching(store) as batches, asyncio.timeout(within_s):
        apply(known, await anext(batches))
        while key in known:
            apply(known, await anext(batches))
    assert await store.get(key) is None


class LiveStoreCases:
    # ---- one key

    def test_what_is_put_is_there(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:
                assert await store.get("routes/1") is None
                assert (await store.list(""))[0] == []
                revision = await store.write([Put("routes/1", b'{"uri":"/"}')], ME)
                assert await store.get("routes/1") == Entry("routes/1", b'{"uri":"/"}', revision, revision)
                later = await store.write([Put("routes/1", b"{}")], ME)
                assert later > revision
                assert await store.get("routes/1") == Entry("routes/1", b"{}", revision, later)
                assert store.trouble is None

        run(main())

    def test_what_is_deleted_is_gone_and_comes_back_as_new(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:
                first = await store.write([Put("a/1", b"1")], ME)
                await store.write([Delete("a/1")], ME)
                assert await store.get("a/1") is None
                again = await store.write([Put("a/1", b"2")], ME)
                entry = await store.get("a/1")
                assert entry == Entry("a/1", b"2", again, again)
                assert again > first

        run(main())

    def test_deleting_what_is_not_there_is_no_error(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:
                before = await store.write([Put("a/1", b"1")], ME)
                assert await store.write([Delete("a/2")], ME) >= before
                assert [entry.key for entry in (await store.list(""))[0]] == ["a/1"]

        run(main())

    @pytest.mark.parametrize("value", [b"", b"\0\xff", b"{}", "ключ".encode(), b"x" * (1 << 20)])
    def test_values_are_bytes_of_any_kind_and_size(self, make_store: StoreFactory, value: bytes) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store, watching(store) as batches:
                await anext(batches)
                await store.write([Put("a/1", value)], ME)
                assert (await anext(batches)).events[0].value == value
                entry = await store.get("a/1")
                assert entry is not None
                assert entry.value == value

        run(main())

    @pytest.mark.parametrize("key", ["routes/ключ", "routes/a b", "routes/%2F", "routes/🙂", "routes/'; DROP", "r/_%"])
    def test_keys_are_texts_of_any_kind(self, make_store: StoreFactory, key: str) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:
                await store.write([Put(key, b"1"), Put("other", b"2")], ME)
                found, _ = await store.list(key)
                assert [entry.key for entry in found] == [key]
                assert await store.get(key) == found[0]
                await store.write([Delete(key)], ME)
                assert await store.get(key) is None

        run(main())

    # ---- expectations and conditions

    def test_a_put_may_expect_the_last_revision(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:
                with pytest.raises(Conflict):
                    await store.write([Put("a/1", b"0", expect=1)], ME)
                first = await store.write([Put("a/1", b"1", expect=0)], ME)
                with pytest.raises(Conflict, match="value changed before overwritten"):
                    await store.write([Put("a/1", b"x", expect=0)], ME)
                second = await store.write([Put("a/1", b"2", expect=first)], ME)
                with pytest.raises(Conflict):
                    await store.write([Put("a/1", b"x", expect=first)], ME)
                assert await store.get("a/1") == Entry("a/1", b"2", first, second)

        run(main())

    def test_a_delete_may_expect_the_last_revision(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:
                first = await store.write([Put("a/1", b"1")], ME)
                second = await store.write([Put("a/1", b"2")], ME)
                with pytest.raises(Conflict):
                    await store.write([Delete("a/1", expect=first)], ME)
                assert await store.get("a/1") is not None
                await store.write([Delete("a/1", expect=second)], ME)
                assert await store.get("a/1") is None
                with pytest.raises(Conflict):
                    await store.write([Delete("a/1", expect=second)], ME)

        run(main())

    def test_a_write_is_all_or_nothing(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:
                revision = await store.write([Put("a/1", b"1"), Put("a/2", b"2"), Put("a/3", b"3")], ME)
                before = await store.list("")
                assert {(entry.created, entry.modified) for entry in before[0]} == {(revision, revision)}
                with pytest.raises(Conflict):
                    await store.write([Put("a/4", b"4"), Delete("a/1"), Put("a/2", b"x", expect=0)], ME)
                assert (await store.list(""))[0] == before[0]

        run(main())

    def test_a_write_may_need_another_key(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:
                with pytest.raises(Conflict):
                    await store.write([Put("routes/1", b"1")], ME, [Exists("services/1")])
                assert await store.get("routes/1") is None
                await store.write([Put("services/1", b"1")], ME)
                await store.write([Put("routes/1", b"1")], ME, [Exists("services/1")])
                assert await store.get("routes/1") is not None

        run(main())

    def test_a_write_may_need_a_range_to_be_as_it_was_read(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:
                await store.write([Put("routes/1", b"1"), Put("services/1", b"1"), Put("services/2", b"2")], ME)
                revision = (await store.list("routes/"))[1]
                await store.write([Put("upstreams/1", b"1")], ME)  # another range
                await store.write([Delete("services/1")], ME, [Unchanged("routes/", revision)])
                await store.write([Put("routes/2", b"2")], ME)
                with pytest.raises(Conflict):
                    await store.write([Delete("services/2")], ME, [Unchanged("routes/", revision)])
                assert await store.get("services/2") is not None
                await store.write([Delete("services/2")], ME, [Unchanged("routes/", (await store.list("routes/"))[1])])
                assert await store.get("services/2") is None

        run(main())

    def test_a_condition_sees_what_was_before_the_write(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:
                with pytest.raises(Conflict):
                    await store.write([Put("a/1", b"1")], ME, [Exists("a/1")])
                revision = (await store.list(""))[1]
                await store.write([Put("a/1", b"1")], ME, [Unchanged("a/", revision)])
                await store.write([Delete("a/1")], ME, [Exists("a/1")])
                assert await store.get("a/1") is None

        run(main())

    # ---- lists

    def test_a_list_is_ordered_by_creation(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:
                for key in ("r/9", "r/1", "r/5"):
                    await store.write([Put(key, b"")], ME)
                await store.write([Put("r/7", b""), Put("r/3", b"")], ME)  # at once: by key
                await store.write([Put("r/9", b"again")], ME)
                last = await store.write([Put("other/1", b"")], ME)
                entries, revision = await store.list("r/")
                assert [entry.key for entry in entries] == ["r/9", "r/1", "r/5", "r/3", "r/7"]
                assert revision >= last
                assert await store.revisions("r/") == {entry.key: entry.modified for entry in entries}
                await store.write([Delete("r/5")], ME)
                assert "r/5" not in await store.revisions("r/")
                assert await store.revisions("nothing/") == {}

        run(main())

    def test_a_prefix_is_no_pattern(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:
                keys = ["routes", "routes/", "routes/1", "routes/10", "routes/2", "routes0", "Routes/1", "routes/1\x7f"]
                await store.write([Put(key, b"") for key in keys], ME)

                async def listed(prefix: str) -> set[str]:
                    found = {entry.key for entry in (await store.list(prefix))[0]}
                    assert set(await store.revisions(prefix)) >= found
                    return found

                assert await listed("routes/1") == {"routes/1", "routes/10", "routes/1\x7f"}
                assert await listed("routes/") == {key for key in keys if key.startswith("routes/")}
                assert await listed("") == set(keys)
                assert await listed("routes/%") == set()

        run(main())

    # ---- many at once

    def test_writers_at_once_read_what_they_wrote(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:

                async def write(number: int) -> int:
                    revision = await store.write([Put(f"r/{number}", b"%d" % number)], ME)
                    assert await store.get(f"r/{number}") == Entry(f"r/{number}", b"%d" % number, revision, revision)
                    listed, upto = await store.list(f"r/{number}")
                    assert f"r/{number}" in {entry.key for entry in listed}
                    assert upto >= revision
                    return revision

                revisions = await asyncio.gather(*(write(number) for number in range(50)))
                assert len(set(revisions)) == 50

        run(main())

    def test_counting_with_expectations_loses_nothing(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:
                await store.write([Put("count", b"0")], ME)

                async def count() -> None:
                    for _ in range(4):
                        while True:
                            entry = await store.get("count")
                            assert entry is not None
                            value = b"%d" % (int(entry.value) + 1)
                            try:
                                await store.write([Put("count", value, expect=entry.modified)], ME)
                                break
                            except Conflict:
                                continue

                await asyncio.gather(*(count() for _ in range(8)))
                entry = await store.get("count")
                assert entry is not None
                assert entry.value == b"32"

        run(main())

    def test_the_conflict_of_one_hurts_no_other(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:
                await store.write([Put("taken", b"")], ME)

                async def write(number: int) -> int:
                    expect = 0 if number % 2 else None
                    key = "taken" if number % 2 else f"free/{number}"
                    return await store.write([Put(f"with/{number}", b""), Put(key, b"x", expect)], ME)

                results = await asyncio.gather(*(write(number) for number in range(40)), return_exceptions=True)
                assert [isinstance(result, Conflict) for result in results] == [False, True] * 20
                with_, _ = await store.list("with/")
                assert {entry.key for entry in with_} == {f"with/{number}" for number in range(0, 40, 2)}

        run(main())

    # ---- ids

    def test_ids_are_given_once(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            given: list[int] = []
            for _ in range(3):
                async with opened(make_store("a")) as store:
                    given += [await store.new_id() for _ in range(5)]
                    given += sorted(await asyncio.gather(*(store.new_id() for _ in range(20))))
                    await store.write([Put("a/1", b"")], ME)
            assert given == sorted(set(given))
            assert given[0] > 0

        run(main())

    # ---- watching

    def test_a_watch_tells_all_and_then_each_step(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:
                first = await store.write([Put("a/1", b"1"), Put("a/2", b"2")], ME)
                async with watching(store) as batches:
                    complete = await anext(batches)
                    assert complete.complete
                    assert complete.revision >= first
                    assert {(event.key, event.value, event.created, event.modified) for event in complete.events} == {
                        ("a/1", b"1", first, first),
                        ("a/2", b"2", first, first),
                    }
                    second = await store.write([Put("a/1", b"3"), Delete("a/2"), Put("b/1", b"4")], ME)
                    third = await store.write([Delete("b/1")], ME)
                    steps = [await anext(batches), await anext(batches)]
                    assert [(step.revision, step.complete) for step in steps] == [(second, False), (third, False)]
                    told = {event.key: event for event in steps[0].events}
                    assert {key: event.value for key, event in told.items()} == {"a/1": b"3", "a/2": None, "b/1": b"4"}
                    assert (told["a/1"].created, told["a/1"].modified) == (first, second)
                    assert told["a/2"].modified == second
                    (deleted,) = steps[1].events
                    assert (deleted.key, deleted.value, deleted.modified) == ("b/1", None, third)

        run(main())

    def test_a_watch_of_nothing_begins_with_an_empty_whole(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store, watching(store) as batches:
                first = await anext(batches)
                assert first.complete
                assert first.events == []

        run(main())

    def test_a_write_that_failed_or_changed_nothing_is_not_told(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store, watching(store) as batches:
                await anext(batches)
                await store.write([Delete("a/1")], ME)
                with pytest.raises(Conflict):
                    await store.write([Put("a/1", b"", expect=7)], ME)
                revision = await store.write([Put("a/2", b"")], ME)
                assert (await anext(batches)).revision == revision

        run(main())

    def test_a_watch_begun_amid_writes_misses_nothing(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:

                async def write(number: int) -> int:
                    revision = 0
                    for turn in range(10):
                        revision = await store.write([Put(f"r/{number}/{turn % 4}", b"%d" % turn)], ME)
                    return revision

                writers = [asyncio.ensure_future(write(number)) for number in range(10)]
                await writers[0]
                async with watching(store) as batches:
                    known: dict[str, bytes] = {}
                    first = await anext(batches)
                    apply(known, first)
                    last = max(await asyncio.gather(*writers))
                    revision = first.revision
                    while revision < last:
                        step = await anext(batches)
                        assert step.revision > revision
                        assert not step.complete
                        revision = step.revision
                        apply(known, step)
                assert known == {entry.key: entry.value for entry in (await store.list(""))[0]}

        run(main())

    # ---- time to live

    def test_a_key_with_a_time_to_live_goes_away_by_itself(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store, watching(store) as batches:
                await anext(batches)
                await store.write([Put("a/1", b"1", ttl_s=1), Put("a/2", b"2")], ME)
                written = await anext(batches)
                assert len(written.events) == 2
                assert await store.get("a/1") is not None
                async with asyncio.timeout(6):
                    expired = await anext(batches)
                assert [(event.key, event.value) for event in expired.events] == [("a/1", None)]
                assert expired.revision > written.revision
                assert await store.get("a/1") is None
                assert await store.get("a/2") is not None

        run(main())

    def test_a_key_that_is_written_again_stays(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:
                await store.write([Put("a/1", b"1", ttl_s=1), Put("a/2", b"2", ttl_s=1)], ME)
                await store.write([Put("a/1", b"3")], ME)
                await gone(store, "a/2", within_s=6)
                entry = await store.get("a/1")
                assert entry is not None
                assert entry.value == b"3"

        run(main())

    def test_a_time_to_live_goes_on_through_a_restart(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:
                await store.write([Put("a/1", b"1", ttl_s=1), Put("a/2", b"2")], ME)
            async with opened(make_store("a")) as store:
                await gone(store, "a/1", within_s=6)
                assert [entry.key for entry in (await store.list(""))[0]] == ["a/2"]

        run(main())

    # ---- opening and closing

    def test_what_was_written_is_there_after_a_restart(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:
                await store.write([Put("a/1", b"1"), Put("a/2", b"2")], ME)
                await store.write([Delete("a/1")], ME)
                before = await store.list("")
            async with opened(make_store("a")) as store:
                assert (await store.list(""))[0] == before[0]
                assert await store.write([Put("a/3", b"")], ME) > before[1]

        run(main())

    def test_what_is_closed_says_so(self, make_store: StoreFactory) -> None:
        async def main() -> None:
            async with opened(make_store("a")) as store:
                pass
            with pytest.raises(StoreUnavailable):
                await store.get("a/1")
            with pytest.raises(StoreUnavailable):
                await store.list("")
            with pytest.raises(StoreUnavailable):
                await store.write([Put("a/1", b"")], ME)
            with pytest.raises(StoreUnavailable):
                await store.new_id()
            await store.close()

        run(main())

    # ---- any sequence of steps

    def test_any_sequence_of_steps_is_like_a_dictionary(self, make_store: StoreFactory) -> None:
        check_against_model(make_store)
