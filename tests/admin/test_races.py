"""What many writers at the same time may not do to the configuration."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from bascule.admin.administration import Administration
from bascule.model.admin_settings import Etcd
from bascule.store.etcd import EtcdStore
from bascule.store.sqlite import SqliteStore
from tests.admin.desk import ROUTE, WISH, make, with_desk
from tests.admin.race_model import check_races
from tests.servers.etcd import EtcdServer


@pytest.mark.timeout(180)
def test_no_update_is_lost_and_nothing_dangles_in_the_embedded_store(tmp_path: Path) -> None:
    check_races(lambda name: SqliteStore(tmp_path / name / "store.db", history=100))


@pytest.mark.timeout(180)
def test_no_update_is_lost_and_nothing_dangles_in_etcd(tmp_path: Path, etcd_server: Callable[..., EtcdServer]) -> None:
    url = etcd_server().url

    def make_store(name: str) -> EtcdStore:
        return EtcdStore(Etcd(host=(url,), prefix=f"/{name}", timeout=10), tmp_path / name)

    check_races(make_store)


def test_a_delete_gets_its_turn_among_unending_writes(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        await desk.put("upstreams", "u", {"nodes": {"127.0.0.1:1": 1}}, WISH)
        deleted = asyncio.Event()

        async def write(n: int) -> int:
            written = 0
            while not deleted.is_set():
                assert (await desk.put("routes", f"{n}-{written % 50}", ROUTE, WISH)).status in (200, 201)
                written += 1
            return written

        writers = [asyncio.create_task(write(n)) for n in range(8)]
        await asyncio.sleep(0.05)
        try:
            async with asyncio.timeout(20):
                assert (await desk.delete("upstreams", "u", WISH)).status == 200
        finally:
            deleted.set()
        assert all(await asyncio.gather(*writers))

    with_desk(tmp_path, scene)


def test_patches_by_many_gateways_at_the_same_time_all_count(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        await desk.put("routes", "1", ROUTE, WISH)
        others = [make(desk.store) for _ in range(3)]
        patches = [
            each.patch("routes", "1", (), {"labels": {f"g{g}n{n}": "x"}}, WISH)
            for g, each in enumerate((desk, *others))
            for n in range(2)
        ]
        assert {answer.status for answer in await asyncio.gather(*patches)} == {200}
        mine = [desk.patch("routes", "1", (), {"labels": {f"m{n}": "x"}}, WISH) for n in range(100)]
        assert {answer.status for answer in await asyncio.gather(*mine)} == {200}
        entry = await desk.store.get("routes/1")
        assert entry is not None
        assert entry.value.count(b'"x"') == 108

    with_desk(tmp_path, scene)
