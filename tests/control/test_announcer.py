import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bascule.control import fleet as module
from bascule.control.announcer import Announcer
from bascule.control.fleet import Fleet
from bascule.control.worker_slot import WorkerSlot
from bascule.model.change import Change
from tests.control.test_worker_slot import StandIn, until

CHANGE = Change("routes", "1", {"uri": "/"}, 7)


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WorkerSlot", StandIn)


def play(script: Callable[[Announcer, Fleet, list[Any]], Awaitable[None]], workers: int) -> None:
    heard: list[Any] = []

    def on_message(slot: WorkerSlot, message: tuple[Any, ...]) -> None:
        if message[0] == "ready":
            slot.serving = True
            slot.ready.set()
        elif message[0] == "echo":
            heard.append(message[1:])

    async def run() -> None:
        fleet = Fleet(lambda _: "serve", lambda _: (), on_message, lambda _: None)  # type: ignore[arg-type,return-value]
        try:
            await fleet.launch(workers)
            await fleet.start(asyncio.Event())
            await script(Announcer(fleet, lambda: workers), fleet, heard)
        finally:
            await fleet.kill()

    asyncio.run(run())


def test_without_workers_a_change_is_in_effect_at_once() -> None:
    async def script(announcer: Announcer, fleet: Fleet, heard: list[Any]) -> None:
        announcer.changes([CHANGE])
        announcer.reached(7)
        await asyncio.wait_for(announcer.applied(7), 5)
        announcer.tell("secrets", {})
        assert announcer.generation == 1
        await asyncio.wait_for(announcer.all_told(), 5)

    play(script, 0)


def test_a_change_is_in_effect_when_every_worker_serves_it() -> None:
    async def script(announcer: Announcer, fleet: Fleet, heard: list[Any]) -> None:
        announcer.changes([CHANGE])
        announcer.reached(7)
        announcer.tell("challenges", "some")
        waiting = [asyncio.ensure_future(announcer.applied(7)), asyncio.ensure_future(announcer.all_told())]
        await until(lambda: len(heard) == 4)
        assert sorted(message[:2] for message in heard) == [("challenges", 2)] * 2 + [("changes", 1)] * 2
        fleet.slots[0].generation = 2
        announcer.advance()
        await asyncio.sleep(0)
        assert not any(one.done() for one in waiting)
        fleet.slots[1].generation = 1
        announcer.advance()
        await asyncio.wait_for(waiting[0], 5)
        assert not waiting[1].done()
        fleet.slots[1].generation = 2
        announcer.advance()
        await asyncio.wait_for(waiting[1], 5)

    play(script, 2)


def test_a_late_worker_gets_all_of_it() -> None:
    async def script(announcer: Announcer, fleet: Fleet, heard: list[Any]) -> None:
        announcer.configuration.take([CHANGE])
        announcer.next_generation()
        announcer.catch_up(fleet.slots[0])
        await until(lambda: len(heard) == 1)
        kind, generation, changes = heard[0]
        assert (kind, generation, [change.id for change in changes]) == ("changes", 2, ["1"])
        assert repr(announcer) == "<announcer at 2: <configuration 2: 1 resources, 0 good ones kept>>"

    play(script, 1)
