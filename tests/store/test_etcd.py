from __future__ import annotations

import asyncio
import shutil
import signal
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bascule.model.admin_settings import Etcd
from bascule.store.entry import Batch, Delete, Put, StoreUnavailable
from bascule.store.etcd import EtcdStore
from bascule.store.etcd_client import text
from bascule.store.etcd_layout import FOLDERS
from tests.servers.etcd import EtcdServer
from tests.servers.faulty_gateway import FaultyGateway
from tests.servers.ports import free_port
from tests.store.live_store_cases import ME, LiveStoreCases, StoreFactory, apply, run, watching


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """For tests that leave it as it is; each has a prefix of its own."""
    server = EtcdServer(tmp_path_factory.mktemp("etcd"))
    yield server
    server.stop()


class TestEtcdStore(LiveStoreCases):
    @pytest.fixture
    def make_store(self, shared: EtcdServer, tmp_path: Path) -> StoreFactory:
        def make(name: str) -> EtcdStore:
            settings = Etcd(host=shared.url, prefix=f"/{tmp_path.name}/{name}", timeout=10)
            return EtcdStore(settings, tmp_path / name)

        return make


def settings(*urls: str, prefix: str = "/apisix", **more: Any) -> Etcd:
    return Etcd(host=urls, prefix=prefix, **{"timeout": 5, **more})


@asynccontextmanager
async def two_gateways(server: EtcdServer) -> AsyncIterator[tuple[FaultyGateway, FaultyGateway]]:
    async with FaultyGateway(server.port) as one, FaultyGateway(server.port) as two:
        yield one, two


@asynccontextmanager
async def opened_etcd(store: EtcdStore) -> AsyncIterator[EtcdStore]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class Watcher:
    """Follows a store; knows what there is and which revisions were told."""

    def __init__(self, store: EtcdStore) -> None:
        self.known: dict[str, bytes] = {}
        self.batches: list[Batch] = []
        self._news = asyncio.Event()
        self._task = asyncio.ensure_future(self._run(store))

    async def _run(self, store: EtcdStore) -> None:
        async with watching(store) as batches:
            async for batch in batches:
                apply(self.known, batch)
                self.batches.append(batch)
                self._news.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not holds():
                self._news.clear()
                await self._news.wait()

    async def until_told(self, revision: int) -> None:
        await self.until(lambda: bool(self.batches) and self.batches[-1].revision >= revision)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def trouble(store: EtcdStore, present: bool) -> str | None:
    async with asyncio.timeout(15):
        while True:
            text = store.trouble
            if (text is not None) == present:
                return text
            await asyncio.sleep(0.01)


async def in_thread(call: Callable[[], Any]) -> None:
    await asyncio.get_running_loop().run_in_executor(None, call)


# ---- etcd goes away and comes back


def test_nothing_is_lost_when_etcd_is_killed_again_and_again(
    etcd_server: Callable[..., EtcdServer], tmp_path: Path
) -> None:
    server = etcd_server()

    async def main() -> None:
        async with opened_etcd(EtcdStore(settings(server.url, timeout=1), tmp_path)) as store:
            watcher = Watcher(store)
            acknowledged: dict[str, tuple[bytes, int]] = {}
            doubtful: set[str] = set()
            going = True

            async def write(writer: int) -> None:
                number = 0
                while going:
                    key, value = f"routes/{writer}-{number}", b"%d" % number
                    try:
                        acknowledged[key] = value, await store.write([Put(key, value, expect=0)], ME)
                    except StoreUnavailable as error:
                        if "it can't be known" in str(error):
                            doubtful.add(key)
                        await asyncio.sleep(0.05)
                    number += 1
                    await asyncio.sleep(0.002)

            writers = [asyncio.ensure_future(write(writer)) for writer in range(4)]
            for _ in range(3):
                told = len(acknowledged)
                await asyncio.sleep(0.3)
                await in_thread(server.kill)
                assert str(await trouble(store, True)).startswith(f"etcd can't be reached: {server.url}: ")
                await in_thread(server.restart)
                await trouble(store, False)
                assert len(acknowledged) > told
            going = False
            await asyncio.gather(*writers)
            last = await store.write([Put("end", b"")], ME)
            await watcher.until(lambda: "end" in watcher.known)
            entries = {entry.key: entry for entry in (await store.list(""))[0]}
            for key, (value, revision) in acknowledged.items():
                assert (entries[key].value, entries[key].modified) == (value, revision)
            assert entries.keys() - acknowledged.keys() - {"end"} <= doubtful
            assert watcher.known == {key: entry.value for key, entry in entries.items()}
            # Resumed, not read anew: each revision was told once, in order.
            assert [batch.complete for batch in watcher.batches].count(True) == 1
            revisions = [batch.revision for batch in watcher.batches]
            assert revisions == sorted(set(revisions))
            assert revisions[-1] == last
            await watcher.stop()

    run(main())


def test_a_compaction_during_an_outage_gives_everything_anew(
    etcd_server: Callable[..., EtcdServer], tmp_path: Path
) -> None:
    server = etcd_server()

    async def main() -> None:
        async with FaultyGateway(server.port) as proxy:
            store = EtcdStore(settings(proxy.url), tmp_path)
            async with opened_etcd(store):
                await store.write([Put("routes/1", b"1"), Put("routes/2", b"2")], ME)
                watcher = Watcher(store)
                await watcher.until(lambda: len(watcher.known) == 2)
                proxy.down = True
                server.put("/apisix/routes/3", "3")  # the watch notices at once: its message is not passed on
                await trouble(store, True)
                server.delete("/apisix/routes/1")
                server.put("/apisix/routes/2", "2b")
                server.compact()
                proxy.down = False
                await watcher.until(lambda: len(watcher.batches) == 2)
                assert watcher.batches[1].complete
                assert watcher.known == {"routes/2": b"2b", "routes/3": b"3"}
                server.put("/apisix/routes/4", "4")
                await watcher.until(lambda: "routes/4" in watcher.known)
                assert not watcher.batches[-1].complete
                await watcher.stop()

    run(main())


def test_a_compaction_without_any_change_is_not_told(etcd_server: Callable[..., EtcdServer], tmp_path: Path) -> None:
    server = etcd_server()

    async def main() -> None:
        # Renewed all the time.
        async with opened_etcd(EtcdStore(settings(server.url, watch_timeout=0.1), tmp_path)) as store:
            await store.write([Put("routes/1", b"1")], ME)
            watcher = Watcher(store)
            await watcher.until(lambda: len(watcher.known) == 1)
            for _ in range(3):
                server.put("/other", "x")
                server.compact()
                await asyncio.sleep(0.3)
            server.put("/apisix/routes/2", "2")
            await watcher.until(lambda: "routes/2" in watcher.known)
            assert [batch.complete for batch in watcher.batches] == [True, False]
            assert store.trouble is None
            await watcher.stop()

    run(main())


def test_a_cluster_made_anew_is_read_anew(etcd_server: Callable[..., EtcdServer], tmp_path: Path) -> None:
    """As after a backup was restored: revisions begin again."""
    server = etcd_server()

    async def main() -> None:
        async with opened_etcd(EtcdStore(settings(server.url), tmp_path)) as store:
            for number in range(20):
                await store.write([Put("routes/1", b"%d" % number)], ME)
            watcher = Watcher(store)
            await watcher.until(lambda: len(watcher.known) == 1)
            await in_thread(server.kill)
            shutil.rmtree(server.data)
            await in_thread(server.restart)
            server.put("/apisix/routes/2", "2")
            await watcher.until(lambda: watcher.known == {"routes/2": b"2"})
            assert watcher.batches[-1].revision < watcher.batches[0].revision
            revision = await store.write([Put("routes/3", b"3")], ME)
            await watcher.until(lambda: watcher.batches[-1].revision == revision)
            await watcher.stop()

    run(main())


def test_a_silent_connection_is_noticed(etcd_server: Callable[..., EtcdServer], tmp_path: Path) -> None:
    """etcd is frozen: no connection breaks, nothing comes."""
    server = etcd_server()

    async def main() -> None:
        store = EtcdStore(settings(server.url, timeout=0.5, watch_timeout=0.3), tmp_path)
        async with opened_etcd(store):
            watcher = Watcher(store)
            await watcher.until(lambda: len(watcher.batches) == 1)
            server.process.popen.send_signal(signal.SIGSTOP)
            try:
                assert "no answer within" in str(await trouble(store, True))
                began = time.monotonic()
                with pytest.raises(StoreUnavailable):
                    await store.write([Put("routes/1", b"1")], ME)
                assert time.monotonic() - began < 3
            finally:
                server.process.popen.send_signal(signal.SIGCONT)
            await trouble(store, False)
            await store.write([Put("routes/2", b"2")], ME)
            await watcher.until(lambda: "routes/2" in watcher.known)
            await watcher.stop()

    run(main())


def test_a_second_endpoint_takes_over(etcd_server: Callable[..., EtcdServer], tmp_path: Path) -> None:
    server = etcd_server()

    async def main() -> None:
        async with two_gateways(server) as (one, two):
            store = EtcdStore(settings(one.url, two.url), tmp_path)
            async with opened_etcd(store):
                watcher = Watcher(store)
                for number, (off, on) in enumerate([(one, two), (two, one), (one, two)]):
                    off.down, on.down = True, False
                    revision = await store.write([Put(f"routes/{number}", b"")], ME)
                    await watcher.until_told(revision)
                    assert store.trouble is None
                await watcher.stop()

    run(main())


# ---- the last good configuration


def test_a_node_begins_with_the_last_good_configuration(etcd_server: Callable[..., EtcdServer], tmp_path: Path) -> None:
    server = etcd_server()

    async def main() -> None:
        kept = tmp_path / "store" / "last-good.json"
        async with opened_etcd(EtcdStore(settings(server.url), tmp_path / "store")) as store:
            watcher = Watcher(store)
            first = await store.write([Put("routes/1", b'{"a":1}'), Put("routes/2", b"{}")], ME)
            await watcher.until(lambda: len(watcher.known) == 2)
            async with asyncio.timeout(1.5):
                while not kept.exists() or b"routes/2" not in kept.read_bytes():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await watcher.stop()
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        await in_thread(server.kill)
        async with opened_etcd(EtcdStore(settings(server.url), tmp_path / "store")) as store:
            assert "connection refused (since 2" in str(store.trouble)
            watcher = Watcher(store)
            await watcher.until(lambda: len(watcher.known) == 2)
            assert (watcher.batches[0].complete, watcher.batches[0].revision) == (True, first)
            assert watcher.batches[0].events[0].value == b'{"a":1}'
            began = time.monotonic()
            for call in (
                store.write([Put("routes/3", b"")], ME),
                store.get("routes/1"),
                store.list(""),
                store.new_id(),
            ):
                with pytest.raises(StoreUnavailable, match="connection refused"):
                    await call
            assert time.monotonic() - began < 3
            await in_thread(server.restart)
            server.delete("/apisix/routes/2")
            await watcher.until(lambda: len(watcher.known) == 1)
            assert watcher.batches[1].complete
            assert await trouble(store, False) is None
            state = f"revision={watcher.batches[-1].revision} trouble=None"
            assert repr(store) == f"<etcd store /apisix of <etcd client {server.url} open> {state}>"
            await watcher.stop()
        assert b"routes/2" not in kept.read_bytes()  # written when it is closed, at the latest

    run(main())


def test_without_etcd_and_without_a_file_it_does_not_open(tmp_path: Path) -> None:
    async def main() -> None:
        url = f"http://127.0.0.1:{free_port()}"
        store = EtcdStore(settings(url), tmp_path)
        with pytest.raises(StoreUnavailable, match=f"etcd can't be reached: {url}: connection refused"):
            await store.open()
        (tmp_path / "last-good.json").write_text("half")
        with pytest.raises(StoreUnavailable, match=r"connection refused; .*last-good\.json is damaged"):
            await store.open()

    run(main())


# ---- users, roles, other nodes


def test_a_user_that_may_not_write_follows(etcd_server: Callable[..., EtcdServer], tmp_path: Path) -> None:
    server = etcd_server()
    server.put("/apisix/routes/1", "{}")
    server.enable_auth("rooted", {"jack": ("secret", "/apisix/"), "ann": ("secret", "/apisix/")})
    server.call("/v3/auth/role/revoke", {"role": "ann", "key": text(b"/apisix/"), "range_end": text(b"/apisix0")})
    server.call(
        "/v3/auth/role/grant",
        {"name": "ann", "perm": {"permType": "READ", "key": text(b"/apisix/"), "range_end": text(b"/apisix0")}},
    )

    async def main() -> None:
        with pytest.raises(StoreUnavailable, match="wrong name or password"):
            await EtcdStore(settings(server.url, user="jack", password="no"), tmp_path).open()
        async with opened_etcd(EtcdStore(settings(server.url, user="ann", password="secret"), tmp_path)) as store:
            watcher = Watcher(store)
            await watcher.until(lambda: watcher.known == {"routes/1": b"{}"})
            with pytest.raises(StoreUnavailable, match="needs the permission readwrite on /apisix/"):
                await store.write([Put("routes/2", b"{}")], ME)
            user = settings(server.url, user="jack", password="secret")
            async with opened_etcd(EtcdStore(user, tmp_path / "2")) as other:
                await other.write([Put("routes/2", b"{}")], ME)
            await watcher.until(lambda: "routes/2" in watcher.known)
            await watcher.stop()

    run(main())


def test_a_data_plane_takes_no_changes_and_makes_no_folders(shared: EtcdServer, tmp_path: Path) -> None:
    async def main() -> None:
        prefix = f"/{tmp_path.name}"
        async with opened_etcd(EtcdStore(settings(shared.url, prefix=prefix), tmp_path, writable=False)) as store:
            assert shared.ctl("get", "--prefix", prefix) == ""
            for call in (store.write([Put("routes/1", b"")], ME), store.new_id()):
                with pytest.raises(StoreUnavailable, match="data plane: it takes no changes"):
                    await call

    run(main())


def test_what_apisix_writes_is_read_and_the_reverse(etcd_server: Callable[..., EtcdServer], tmp_path: Path) -> None:
    server = etcd_server()
    server.put("/apisix/routes/", "init_dir")
    server.put("/apisix/routes/1", '{"id":"1","uri":"/a"}')
    server.put("/apisix/gen_id", "1")
    server.put("/apisix2/routes/9", "another's")

    async def main() -> None:
        async with opened_etcd(EtcdStore(settings(server.url), tmp_path)) as store:
            watcher = Watcher(store)
            await watcher.until(lambda: watcher.known == {"routes/1": b'{"id":"1","uri":"/a"}'})
            server.put("/apisix/routes/1", '{"id":"1","uri":"/b"}')
            await watcher.until(lambda: watcher.known["routes/1"] == b'{"id":"1","uri":"/b"}')
            server.put("/apisix/gen_id", "1")
            server.delete("/apisix/routes/1")
            await watcher.until(lambda: watcher.known == {})
            assert watcher.batches[-1].events[0].value is None
            await store.write([Put("consumers/jack/credentials/c1", b'{"id":"c1"}')], ME)
            assert await store.new_id() > 0
            await watcher.stop()
        folders = {line for line in server.ctl("get", "--prefix", "/apisix/", "--keys-only").split() if line[-1] == "/"}
        assert folders == {f"/apisix/{folder}" for folder in FOLDERS}
        assert server.ctl("get", "/apisix/upstreams/", "--print-value-only").strip() == "init_dir"
        found = server.ctl("get", "/apisix/consumers/jack/credentials/c1").split()
        assert found == ["/apisix/consumers/jack/credentials/c1", '{"id":"c1"}']

    run(main())


def test_whoever_waits_for_a_write_that_changed_nothing_waits_for_no_step_to_come(
    shared: EtcdServer, tmp_path: Path
) -> None:
    async def main() -> None:
        prefix = f"/{tmp_path.name}"
        async with opened_etcd(EtcdStore(settings(shared.url, prefix=prefix), tmp_path)) as store:
            first = await store.write([Put("routes/1", b"")], ME)
            assert await store.write([Delete("routes/2")], ME) == first
        async with opened_etcd(EtcdStore(settings(shared.url, prefix=prefix), tmp_path)) as store:
            watcher = Watcher(store)
            await watcher.until(lambda: "routes/1" in watcher.known)
            await store.new_id()
            assert await store.write([Delete("routes/2")], ME) == watcher.batches[-1].revision >= first
            await watcher.stop()

    run(main())


def test_many_keys_are_read_page_by_page_at_one_revision(shared: EtcdServer, tmp_path: Path) -> None:
    async def main() -> None:
        prefix = f"/{tmp_path.name}"
        async with opened_etcd(EtcdStore(settings(shared.url, prefix=prefix), tmp_path)) as store:
            await store.write([Put(f"routes/{number}", b"0") for number in range(4500)], ME)

            async def move() -> None:
                """Between two keys, so that the sum stays."""
                for number in range(20):
                    await store.write([Put("routes/0", b"%d" % number), Put("routes/999", b"-%d" % number)], ME)

            moving = asyncio.ensure_future(move())
            watcher = Watcher(store)
            while not moving.done():
                entries, _ = await store.list("routes/")
                assert len(entries) == 4500
                assert sum(int(entry.value) for entry in entries) == 0
            await moving
            await watcher.until(lambda: watcher.known.get("routes/999") == b"-19")
            assert len(watcher.known) == 4500
            assert watcher.batches[0].complete
            await watcher.stop()

    run(main())
