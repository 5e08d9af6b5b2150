import asyncio
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bascule.control.discovery import discovery as module
from bascule.control.discovery import follower as follower_module
from bascule.control.discovery.discovery import (
    DiscoveredNode,
    Discovery,
    DiscoveryConfig,
    DiscoveryFailure,
    Found,
    Service,
)
from bascule.control.discovery.follower import Follower
from tests.control.discovery.telling import Told, host

WEB, API = Service("test", "web"), Service("test", "api")
A, B = DiscoveredNode("a", 1), DiscoveredNode("b", 1)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "FIRST_RETRY_S", 0.01)


class Scripted(Discovery[DiscoveryConfig]):
    """Tells what is put into its queues: by service, or under "" for all."""

    def __init__(self, **conf: Any) -> None:
        super().__init__(DiscoveryConfig(**conf), host())
        self.queues: dict[str, asyncio.Queue[Any]] = {}

    def put(self, *told: Any, name: str = "web") -> None:
        for one in told:
            self.queues.setdefault(name, asyncio.Queue()).put_nowait(one)

    async def tell(self, name: str) -> AsyncIterator[Any]:
        queue = self.queues.setdefault(name, asyncio.Queue())
        while True:
            one = await queue.get()
            if isinstance(one, BaseException) and getattr(one, "raised", True):
                raise one
            yield one

    def watch(self, service: Service) -> AsyncIterator[Any]:
        return self.tell(service.name)

    def fault(self, service: Service) -> str | None:
        return "is no good name" if service.name == "bad" else None

    def fallback(self, service: Service) -> Any:
        return [DiscoveredNode("fallback", 9)] if service.name == "backed" else ()


class Whole(Scripted):
    def watch_all(self) -> AsyncIterator[Any]:
        return self.tell("")


def play(script: Any, make: type[Scripted] = Scripted, kept: Any = None, **conf: Any) -> None:
    async def run() -> None:
        told = Told()
        scripted = make(**conf)
        follower = Follower("test", scripted, told.add, kept or {})
        follower.start()
        try:
            await asyncio.wait_for(script(scripted, follower, told), 30)
        finally:
            await follower.close()
            await asyncio.sleep(0)

    asyncio.run(run())


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def test_changes_are_told_and_the_same_again_is_not():
    async def script(scripted, follower, told):
        follower.hold(WEB)
        scripted.put([A], [A], [A, B], [B, A], [B])
        assert await told.until(lambda one: True) == {WEB: (A,)}
        assert await told.until(lambda one: True) == {WEB: (A, B)}
        assert await told.until(lambda one: True) == {WEB: (B,)}
        assert follower.updates == 3
        assert follower.dump()["services"] == {"web": [{"host": "b", "port": 1, "weight": 1}]}
        follower.hold(WEB)
        follower.let_go(WEB)
        assert told.all == []
        follower.let_go(WEB)
        assert told.all == [{WEB: ()}]
        assert follower.nodes(WEB) == ()

    play(script)


@pytest.mark.parametrize("make", [Scripted, Whole])
def test_a_mistake_of_who_is_told_ends_nothing(make, caplog):
    async def script(scripted, follower, told):
        heard = []

        def tell(lists):
            heard.append(lists)
            if len(heard) == 1:
                raise LookupError("no such thing")

        follower._tell = tell
        follower.hold(WEB)
        name, *lists = ("web", [A], [B]) if make is Scripted else ("", Found({"web": [A]}), Found({"web": [B]}))
        scripted.put(lists[0], name=name)
        await until(lambda: follower.failures == 1)
        message = "internal error: LookupError: no such thing"
        assert follower.details()["troubles"][0]["message"] == message
        scripted.put(lists[1], name=name)
        await until(lambda: heard[-1] == {WEB: (B,)})
        assert follower.details()["troubles"] == []

    play(script, make)
    assert "LookupError" in caplog.text


@pytest.mark.parametrize("make", [Scripted, Whole])
def test_a_registry_that_says_nothing_is_named(make, monkeypatch):
    monkeypatch.setattr(follower_module, "PENDING_S", 0.05)

    async def script(scripted, follower, told):
        follower.hold(WEB)
        assert follower.details()["troubles"] == []
        await until(lambda: follower.details()["troubles"])
        [trouble] = follower.details()["troubles"]
        assert trouble["service"] == "test web"
        assert re.fullmatch(r"no answer yet, asked for \d+ s", trouble["message"])
        scripted.put([A] if make is Scripted else Found({"web": [A]}), name="web" if make is Scripted else "")
        await until(lambda: not follower.details()["troubles"])

    play(script, make)


def test_a_registry_that_fails_takes_nothing_away(caplog):
    async def script(scripted, follower, told):
        follower.hold(WEB)
        scripted.put([A], DiscoveryFailure("away"), DiscoveryFailure("away"))
        await until(lambda: follower.failures == 2)
        assert follower.nodes(WEB) == (A,)
        details = follower.details()
        assert details["troubles"] == [{"service": "test web", "message": "away"}]
        scripted.put([A])
        await until(lambda: not follower.details()["troubles"])
        assert (follower.updates, follower.failures) == (1, 2)

    with caplog.at_level(logging.WARNING):
        play(script)
    assert [record.message for record in caplog.records] == [
        "test web: away; the last 1 nodes serve on",
        "test web: is told again",
    ]


def test_garbage_is_a_failure_and_a_part_of_it_is_left_out(caplog):
    async def script(scripted, follower, told):
        follower.hold(WEB)
        scripted.put([A, DiscoveredNode("c", 70000)], [5], [DiscoveredNode("a", n) for n in range(1, 12)])
        await until(lambda: follower.failures == 2)
        assert follower.nodes(WEB) == (A,)
        assert "more than 10 nodes" in follower.details()["troubles"][0]["message"]

    play(script, max_nodes=10)
    assert "1 of 2 nodes can't be used: port 70000 of c" in caplog.text


def test_many_services_without_nodes_are_counted_and_some_are_named():
    async def script(scripted, follower, told):
        for number in range(50):
            follower.hold(Service("test", f"s{number}"))
            scripted.put(DiscoveryFailure("away"), name=f"s{number}")
        await until(lambda: follower.failures >= 50)
        details = follower.details()
        assert (follower.counts()["unknown"], len(details["unknown"])) == (50, 20)
        assert (len(details["troubles"]), details["more"]) == (20, 30)

    play(script)


def test_a_mistake_in_the_code_is_a_failure_like_others(caplog):
    async def script(scripted, follower, told):
        follower.hold(WEB)
        scripted.put([A], ZeroDivisionError("oh"))
        await until(lambda: follower.failures == 1)
        assert follower.details()["troubles"][0]["message"] == "internal error: ZeroDivisionError: oh"
        scripted.put([B])
        await told.until(lambda one: one == {WEB: (B,)})

    play(script)


def test_an_empty_list_is_believed_after_a_while():
    async def script(scripted, follower, told):
        follower.hold(WEB)
        scripted.put([A], [])
        await until(lambda: follower.details()["emptying"])
        assert follower.nodes(WEB) == (A,)
        await told.until(lambda one: one == {WEB: ()})
        assert follower.details()["emptying"] == []

    play(script, empty_after=0.2)


def test_an_empty_list_that_is_taken_back_changes_nothing():
    async def script(scripted, follower, told):
        follower.hold(WEB)
        scripted.put([A], [])
        await until(lambda: follower.details()["emptying"])
        scripted.put([A])
        await until(lambda: not follower.details()["emptying"])
        assert told.all == [{WEB: (A,)}]

    play(script, empty_after=30)


def test_a_registry_that_fails_after_an_empty_list_is_not_believed():
    async def script(scripted, follower, told):
        follower.hold(WEB)
        scripted.put([A], [], DiscoveryFailure("away"))
        await until(lambda: follower.failures)
        await until(lambda: not follower.details()["emptying"])
        assert follower.nodes(WEB) == (A,)
        scripted.put([])
        await told.until(lambda one: one == {WEB: ()})

    play(script, empty_after=0.3)


def test_lists_of_before_the_start_serve_until_the_registry_tells():
    async def script(scripted, follower, told):
        follower.hold(WEB)
        assert told.all == [{WEB: (A,)}]
        (asked,) = follower.asked([WEB])
        assert follower.details()["kept"] == 1
        scripted.put([A])
        await asyncio.wait_for(asked.wait(), 20)
        assert follower.details()["kept"] == 0
        assert follower.asked([WEB]) == []
        assert follower.known() == {WEB: (A,), API: (B,)}  # what nobody names at present is kept, too

    play(script, kept={WEB: (A,), API: (B,)})


def test_a_failure_ends_the_wait_for_the_first_list():
    async def script(scripted, follower, told):
        follower.hold(WEB)
        (asked,) = follower.asked([WEB])
        scripted.put(DiscoveryFailure("away"))
        await asyncio.wait_for(asked.wait(), 20)
        assert follower.details()["unknown"] == ["test web"]

    play(script)


def test_a_name_that_can_not_be_one_is_told_and_not_looked_for():
    async def script(scripted, follower, told):
        follower.hold(Service("test", "bad"))
        assert follower.asked([Service("test", "bad")]) == []
        assert follower.details()["troubles"] == [{"service": "test bad", "message": "is no good name"}]
        assert scripted.queues == {}

    play(script)


def test_what_serves_while_there_are_no_nodes():
    backed = Service("test", "backed")

    async def script(scripted, follower, told):
        follower.hold(backed)
        fallback = (DiscoveredNode("fallback", 9),)
        assert await told.until(lambda one: True) == {backed: fallback}
        scripted.put([A], name="backed")
        assert await told.until(lambda one: True) == {backed: (A,)}
        scripted.put([], name="backed")
        assert await told.until(lambda one: True) == {backed: fallback}
        assert follower.nodes(backed) == fallback

    play(script, empty_after=0.05)


def test_a_registry_that_tells_everything():
    async def script(scripted, follower, told):
        follower.hold(WEB)
        scripted.put(Found({"web": [A], "api": [B]}), name="")
        assert await told.until(lambda one: True) == {WEB: (A,)}
        follower.hold(API)
        assert told.all == [{API: (B,)}]
        scripted.put(Found({"web": [A, B]}, whole=False), name="")
        assert await told.until(lambda one: WEB in one) == {WEB: (A, B)}
        scripted.put(Found({"api": []}, whole=False), name="")
        assert await told.until(lambda one: API in one) == {API: ()}
        scripted.put(Found({}), name="")
        assert await told.until(lambda one: WEB in one) == {WEB: ()}
        follower.let_go(API)
        follower.hold(API)
        assert follower.asked([API]) == []  # there is none

    play(script, Whole, empty_after=0.05)


def test_a_mistake_in_the_code_is_no_trouble_any_more_once_it_runs_again(caplog):
    async def script(scripted, follower, told):
        follower.hold(WEB)
        scripted.put(Found({"web": [A]}, source="x"), ZeroDivisionError("oh"), name="")
        await until(lambda: follower.details()["troubles"])
        scripted.put(Found({"web": [B]}, source="x"), name="")
        await until(lambda: not follower.details()["troubles"])
        assert follower.nodes(WEB) == (B,)

    play(script, Whole)


def test_one_of_several_sources_that_fails():
    async def script(scripted, follower, told):
        follower.hold(WEB)
        failure = DiscoveryFailure("away", "second")
        failure.raised = False
        scripted.put(failure, Found({"web": [A]}, False, "first"), name="")
        await told.until(lambda one: one == {WEB: (A,)})
        assert follower.details()["troubles"] == [{"source": "second", "message": "away"}]
        scripted.put(Found({}, False, "second"), name="")
        await until(lambda: not follower.details()["troubles"])

    play(script, Whole)


def test_a_source_that_tells_everything_of_its_own_though_another_is_away():
    class Two(Whole):
        def concerns(self, source, service):
            return service.name.startswith(f"{source}/")

    one, two = Service("test", "a/web"), Service("test", "b/web")

    async def script(scripted, follower, told):
        for service in (one, two):
            follower.hold(service)
        assert (follower.nodes(one), follower.nodes(two)) == ((A,), (A,))
        failure = DiscoveryFailure("away", "b")
        failure.raised = False
        scripted.put(failure, Found({}, source="a", scope="a/"), name="")
        await told.until(lambda one_: one_ == {one: ()})
        assert follower.nodes(two) == (A,)
        assert follower.details()["kept"] == 1
        scripted.put(Found({"b/web": [B]}, source="b", scope="b/"), name="")
        await until(lambda: follower.nodes(two) == (B,))
        scripted.put(Found({"a/web": [B]}, source="a", scope="a/"), name="")
        await until(lambda: follower.nodes(one) == (B,))
        assert follower.nodes(two) == (B,)

    play(script, Two, kept={one: (A,), two: (A,)}, empty_after=0.1)


def test_a_whole_registry_that_fails_after_an_empty_list_is_not_believed():
    async def script(scripted, follower, told):
        follower.hold(WEB)
        failure = DiscoveryFailure("away")
        failure.raised = False
        scripted.put(Found({"web": [A]}), Found({}), failure, name="")
        await until(lambda: follower.details()["troubles"] and not follower.details()["emptying"])
        assert follower.nodes(WEB) == (A,)
        assert {"service": "test web", "message": "has no nodes any more, but test fails now"} in (
            follower.details()["troubles"]
        )
        scripted.put(Found({}), name="")
        await told.until(lambda one: one == {WEB: ()})
        assert follower.details()["troubles"] == []

    play(script, Whole, empty_after=0.2)


def test_a_name_that_can_not_be_one_is_not_served_from_what_was_kept():
    async def script(scripted, follower, told):
        follower.hold(Service("test", "bad"))
        assert (told.all, follower.nodes(Service("test", "bad"))) == ([], ())

    play(script, kept={Service("test", "bad"): (A,)})
