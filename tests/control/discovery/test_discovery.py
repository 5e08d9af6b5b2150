import asyncio
from pathlib import Path

import pytest

from bascule.control.discovery import discovery as module
from bascule.control.discovery.discovery import (
    Discovery,
    DiscoveryConfig,
    DiscoveryFailure,
    Host,
    Service,
    again,
    pause_s,
    together,
)
from bascule.control.discovery.http import Http


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "FIRST_RETRY_S", 0.001)


def test_pauses_grow_and_differ():
    assert [pause_s(1) <= 0.001, pause_s(100) <= module.LAST_RETRY_S] == [True, True]
    pauses = {pause_s(5) for _ in range(20)}
    assert len(pauses) > 1
    assert all(0.008 <= pause <= 0.016 for pause in pauses)


def test_a_generator_that_fails_is_started_again():
    runs = []

    async def tell():
        runs.append(1)
        yield len(runs)
        if len(runs) == 2:
            return
        raise DiscoveryFailure("broken")

    async def script():
        told = []
        async for one in again(tell, "here"):
            told.append(str(one))
            if len(told) == 5:
                return told

    assert asyncio.run(asyncio.wait_for(script(), 20)) == ["1", "broken", "2", "stopped telling", "3"]


def test_one_source_that_fails_does_not_hold_up_another():
    async def good():
        yield 1
        await asyncio.sleep(60)

    async def bad():
        raise DiscoveryFailure("away")
        yield

    async def script():
        told = []
        before = len(asyncio.all_tasks())
        telling = together({"good": good, "bad": bad})
        async for source, one in telling:
            told.append((source, str(one)))
            if ("good", "1") in told and told.count(("bad", "away")) > 1:
                break
        await telling.aclose()
        assert len(asyncio.all_tasks()) == before

    asyncio.run(asyncio.wait_for(script(), 20))


def test_a_mistake_in_the_code_of_a_source_is_not_hidden():
    async def wrong():
        raise ZeroDivisionError
        yield

    async def script():
        async for _ in together({"wrong": wrong}):
            pass

    with pytest.raises(ZeroDivisionError):
        asyncio.run(asyncio.wait_for(script(), 20))


def test_defaults_of_a_discovery():
    class Mine(Discovery[DiscoveryConfig]):
        async def watch_all(self):
            yield

    assert (Mine.tells_all(), Discovery.tells_all()) == (True, False)
    mine = Mine(DiscoveryConfig(), Host(Http(), Path(), Path()))
    service = Service("mine", "a")
    assert (mine.fault(service), mine.name_of(service), mine.fallback(service)) == (None, "a", ())
    assert mine.shown() == {}
    with pytest.raises(NotImplementedError):
        mine.watch(service)


def test_secrets_are_not_shown():
    class Config(DiscoveryConfig):
        servers: tuple[str, ...]
        client: dict[str, str]
        token: str = ""
        weight: int | None = None

    class Mine(Discovery[Config]):
        async def watch_all(self):
            yield

    conf = Config(servers=("http://me:p@ss@a:1/x", "http://b"), client={"token": "t", "X-Api-Key": "k"}, max_nodes=5)
    assert Mine(conf, Host(Http(), Path(), Path())).shown() == {
        "max_nodes": 5,
        "servers": ["http://me:***@a:1/x", "http://b"],
        "client": {"token": "***", "X-Api-Key": "***"},
        "token": "",
    }
