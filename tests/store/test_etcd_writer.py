from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bascule.model.admin_settings import Etcd
from bascule.store.entry import Conflict, Delete, Entry, Exists, Operation, Put, StoreUnavailable, Unchanged
from bascule.store.etcd import EtcdStore
from tests.servers.etcd import EtcdServer
from tests.servers.faulty_gateway import Fate, FaultyGateway
from tests.store.live_store_cases import ME, run


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    server = EtcdServer(tmp_path_factory.mktemp("etcd"))
    yield server
    server.stop()


def settings(url: str, folder: Path, timeout_s: float = 10) -> Etcd:
    return Etcd(host=url, prefix=f"/{folder.name}", timeout=timeout_s)


@asynccontextmanager
async def two_ways(
    etcd: EtcdServer, folder: Path, timeout_s: float = 10
) -> AsyncIterator[tuple[FaultyGateway, EtcdStore, EtcdStore]]:
    """A proxy, a store behind it, and a store that asks etcd itself."""
    direct = EtcdStore(settings(etcd.url, folder), folder / "direct")
    await direct.open()
    # Compares of fences stand in writes only.
    async with FaultyGateway(etcd.port, b'"compare":[{') as proxy:
        store = EtcdStore(settings(proxy.url, folder, timeout_s), folder / "store")
        await store.open()
        try:
            yield proxy, store, direct
        finally:
            await store.close()
            await direct.close()


async def changed(store: EtcdStore, key: str, before: bytes | None) -> Entry:
    while True:
        entry = await store.get(key)
        if entry is not None and entry.value != before:
            return entry
        await asyncio.sleep(0.01)


# ---- answers that were lost


@pytest.mark.parametrize("fate", ["answer lost", "request lost", "request late"])
def test_a_write_is_done_once_whatever_is_lost(etcd: EtcdServer, tmp_path: Path, fate: Fate) -> None:
    async def main() -> None:
        async with two_ways(etcd, tmp_path) as (proxy, store, direct):
            first = await store.write([Put("routes/1", b"1", expect=0)], ME)
            proxy.fates = [fate]
            revision = await store.write([Put("routes/1", b"2", expect=first), Delete("routes/2")], ME)
            assert proxy.fates == []
            entry = await direct.get("routes/1")
            assert entry is not None
            assert (entry.value, entry.created, entry.modified) == (b"2", first, revision)
            # What comes late comes too late.
            await direct.write([Put("routes/1", b"3")], ME)
            for answer in await proxy.deliver():
                assert b'"succeeded"' not in answer
            entry = await direct.get("routes/1")
            assert entry is not None
            assert entry.value == b"3"

    run(main())


def test_an_unconditional_write_that_comes_late_undoes_nothing(etcd: EtcdServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with two_ways(etcd, tmp_path) as (proxy, store, direct):
            proxy.fates = ["request late", "request late"]
            await store.write([Put("routes/1", b"mine")], ME)
            await direct.write([Put("routes/1", b"later")], ME)
            assert len(await proxy.deliver()) == 2
            entry = await direct.get("routes/1")
            assert entry is not None
            assert entry.value == b"later"

    run(main())


def test_a_lost_answer_is_found_behind_what_others_wrote(etcd: EtcdServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with two_ways(etcd, tmp_path, timeout_s=3) as (proxy, store, direct):
            await store.write([Put("routes/1", b"1")], ME)
            proxy.fates = ["silence"]
            writing = asyncio.ensure_future(store.write([Put("routes/1", b"2")], ME))
            entry = await changed(direct, "routes/1", b"1")
            for number in range(5):
                await direct.write([Put("routes/1", b"other %d" % number)], ME)
                await direct.new_id()
            assert await writing == entry.modified
            last = await direct.get("routes/1")
            assert last is not None
            assert last.value == b"other 4"

    run(main())


def test_a_lost_write_that_lost_the_race_is_a_conflict(etcd: EtcdServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with two_ways(etcd, tmp_path) as (proxy, store, direct):
            first = await store.write([Put("routes/1", b"1")], ME)
            proxy.fates = ["request lost"]
            other = await direct.write([Put("routes/1", b"same")], ME)
            with pytest.raises(Conflict) as conflict:
                await store.write([Put("routes/1", b"same", expect=first)], ME)
            assert conflict.value.key == "routes/1"
            entry = await direct.get("routes/1")
            assert entry is not None
            assert entry.modified == other

    run(main())


def test_what_cannot_be_known_is_said(etcd: EtcdServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with two_ways(etcd, tmp_path, timeout_s=1.5) as (proxy, store, direct):
            proxy.fates = ["silence"]
            writing = asyncio.ensure_future(store.write([Put("routes/1", b"1")], ME))
            await changed(direct, "routes/1", None)
            proxy.down = True
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match="it can't be known whether the change was made"):
                await writing
            assert time.monotonic() - began < 2

    run(main())


def test_many_writes_through_a_bad_network(etcd: EtcdServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with two_ways(etcd, tmp_path) as (proxy, store, direct):
            await store.write([Put("count", b"0")], ME)
            proxy.fates = ["answer lost", "request lost", "request late"] * 5

            async def count() -> None:
                for _ in range(5):
                    while True:
                        entry = await store.get("count")
                        assert entry is not None
                        value = b"%d" % (int(entry.value) + 1)
                        try:
                            await store.write([Put("count", value, expect=entry.modified)], ME)
                            break
                        except Conflict:
                            continue

            await asyncio.gather(*(count() for _ in range(4)))
            assert proxy.fates == []
            await proxy.deliver()
            entry = await direct.get("count")
            assert entry is not None
            assert entry.value == b"20"

    run(main())


# ---- many at once


def test_thousands_of_operations_are_one_step(etcd: EtcdServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with two_ways(etcd, tmp_path) as (_, store, direct):
            operations: list[Operation] = [Put(f"routes/{number}", b"{}") for number in range(3000)]
            revision = await store.write(operations, ME)
            entries, _ = await direct.list("routes/")
            assert len(entries) == 3000
            assert {(entry.created, entry.modified) for entry in entries} == {(revision, revision)}
            with pytest.raises(Conflict) as conflict:
                await store.write([Delete(one.key) for one in operations] + [Put("routes/7a", b"", expect=3)], ME)
            assert conflict.value.key == "routes/7a"
            assert len((await direct.list("routes/"))[0]) == 3000
            assert await store.write([Delete(one.key) for one in operations], ME) == revision + 1
            assert (await direct.list(""))[0] == []

    run(main())


def test_hundreds_of_expectations_hold_or_nothing_is_done(etcd: EtcdServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with two_ways(etcd, tmp_path) as (_, store, direct):
            new: list[Operation] = [Put(f"routes/{number}", b"1", expect=0) for number in range(500)]
            new += [Put(f"services/{number}", b"1", expect=0) for number in range(300)]
            first = await store.write(new, ME, [Unchanged("", (await store.list(""))[1])])
            with pytest.raises(Conflict) as conflict:
                await store.write(new, ME)
            assert conflict.value.key.partition("/")[0] in ("routes", "services")
            changed: list[Operation] = [Put(f"routes/{number}", b"2", expect=first) for number in range(400)]
            changed += [Delete(f"routes/{number}", expect=first) for number in range(400, 500)]
            needed = [Exists(f"services/{number}") for number in range(300)]
            second = await store.write(changed, ME, needed)
            entries, _ = await direct.list("routes/")
            assert len(entries) == 400
            assert {(entry.value, entry.created, entry.modified) for entry in entries} == {(b"2", first, second)}
            assert {entry.value for entry in (await direct.list("services/"))[0]} == {b"1"}
            # One missing among many.
            await direct.write([Delete("services/299"), Put("routes/7", b"3")], ME)
            before = await direct.list("routes/")
            again: list[Operation] = [Put(f"routes/{number}", b"4", expect=second) for number in range(200)]
            with pytest.raises(Conflict) as conflict:
                await store.write(again, ME)
            assert conflict.value.key == "routes/7"
            with pytest.raises(Conflict) as conflict:
                await store.write([Put("routes/x", b"")], ME, needed)
            assert conflict.value.key == "services/299"
            with pytest.raises(Conflict):
                await store.write(
                    [Put(f"x/{number}", b"", expect=0) for number in range(200)], ME, [Unchanged("routes/", first)]
                )
            assert (await direct.list("routes/"))[0] == before[0]

    run(main())


def test_big_writes_race_with_others(etcd: EtcdServer, tmp_path: Path) -> None:
    """Counters in many keys, raised all together by some and one by one by others: none is lost, none appears again."""

    async def main() -> None:
        async with two_ways(etcd, tmp_path) as (_, store, direct):
            keys = [f"routes/{number:03}" for number in range(150)]
            await store.write([Put(key, b"0") for key in keys], ME)
            deleted = set()

            async def raise_all() -> int:
                done = 0
                while done < 3:
                    entries = [one for one in (await store.list("routes/"))[0] if not one.key.endswith("/")]
                    try:
                        await store.write(
                            [Put(one.key, b"%d" % (int(one.value) + 1), expect=one.modified) for one in entries], ME
                        )
                        done += 1
                    except Conflict:
                        continue
                return done

            async def delete_some() -> None:
                for key in keys[::25]:
                    await direct.write([Delete(key)], ME)
                    deleted.add(key)
                    await direct.write([Put(f"{key}/", b"3")], ME)  # between the others
                    await asyncio.sleep(0.02)

            await asyncio.gather(raise_all(), delete_some())
            entries, _ = await direct.list("")
            assert {entry.key for entry in entries} == (set(keys) - deleted) | {f"{key}/" for key in deleted}
            assert {entry.value for entry in entries} == {b"3"}

    run(main())


def test_times_to_live_in_big_writes(etcd: EtcdServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with two_ways(etcd, tmp_path) as (_, store, _):
            some: list[Operation] = [Put(f"routes/{number}", b"1", ttl_s=60) for number in range(5)]
            first = await store.write(some, ME)
            more: list[Operation] = [Put(f"services/{number}", b"1", expect=0, ttl_s=60) for number in range(200)]
            more += [Put(f"routes/{number}", b"2", expect=first) for number in range(5)]
            await store.write(more, ME)
            raw = etcd.ctl("get", f"/{tmp_path.name}/", "--prefix", "-w", "json")
            assert raw.count('"lease"') == 200

    run(main())


def test_a_write_that_is_too_large_is_refused_whole(etcd: EtcdServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with two_ways(etcd, tmp_path) as (_, _, direct):
            for size in (1_700_000, 3_000_000):
                with pytest.raises(StoreUnavailable, match="--max-request-bytes"):
                    await direct.write([Put("routes/1", b""), Put("routes/2", b"x" * size)], ME)
            with pytest.raises(StoreUnavailable, match="at most 74088 changes"):
                await direct.write([Delete(str(number)) for number in range(74_089)], ME)
            assert (await direct.list(""))[0] == []

    run(main())
