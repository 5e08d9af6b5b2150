import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bascule.control import fleet as module
from bascule.control.fleet import Fleet, StartFailed
from bascule.control.worker_slot import WorkerSlot
from tests.control.test_worker_slot import StandIn, until

MODE = ["serve"]


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WorkerSlot", StandIn)
    MODE[0] = "serve"


def play(script: Callable[[Fleet, asyncio.Event], Awaitable[None]]) -> None:
    def on_message(slot: WorkerSlot, message: tuple[Any, ...]) -> None:
        if message[0] == "ready":
            slot.ready.set()
        elif message[0] == "drained":
            slot.stats = message[1]

    async def run() -> None:
        fleet = Fleet(lambda _: MODE[0], lambda _: (), on_message, lambda _: None)  # type: ignore[arg-type,return-value]
        try:
            await script(fleet, asyncio.Event())
        finally:
            await fleet.kill()

    asyncio.run(run())


def test_all_start_and_stop_and_what_they_counted_is_kept() -> None:
    async def script(fleet: Fleet, stop: asyncio.Event) -> None:
        await fleet.launch(2)
        await fleet.start(stop)
        assert fleet.not_ready() is None
        fleet.slots[0].stats = {"requests": 1, "active_connections": 2}
        assert (fleet.total("requests"), fleet.total("active_connections")) == (1, 2)
        await fleet.stop(5, asyncio.Event())
        assert (fleet.total("requests"), fleet.total("active_connections")) == (10, 0)

    play(script)


def test_a_replacement_serves_before_the_old_one_goes() -> None:
    async def script(fleet: Fleet, stop: asyncio.Event) -> None:
        leaving: list[int] = []
        await fleet.launch(2)
        await fleet.start(stop)
        before = [slot.pid for slot in fleet.slots]
        await fleet.replace(3, 5, leaving.append)
        assert len(fleet.slots) == 3
        assert fleet.not_ready() is None
        assert not {slot.pid for slot in fleet.slots} & set(before)
        await fleet.replace(1, 5, leaving.append)
        assert leaving == [0, 1, 0, 1, 2]
        await until(lambda: len(fleet._tasks) == 1)
        assert fleet.restarts == 0

    play(script)


def test_workers_that_can_not_start_leave_the_others_alone() -> None:
    async def script(fleet: Fleet, stop: asyncio.Event) -> None:
        await fleet.launch(1)
        await fleet.start(stop)
        before = fleet.slots[0].pid
        MODE[0] = "crash"
        with pytest.raises(StartFailed, match=r"worker 0 ends as soon as it starts \(exit code 3\)"):
            await fleet.replace(1, 5, lambda worker: pytest.fail(f"worker {worker} leaves"))
        assert fleet.slots[0].pid == before
        assert fleet.not_ready() is None

    play(script)


def test_a_stop_while_starting_is_heard() -> None:
    async def script(fleet: Fleet, stop: asyncio.Event) -> None:
        stop.set()
        await fleet.launch(1)
        await asyncio.wait_for(fleet.start(stop), 5)
        await asyncio.wait_for(fleet.stop(60, asyncio.Event()), 5)

    play(script)


def test_silence_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def script(fleet: Fleet, stop: asyncio.Event) -> None:
        await fleet.launch(1)
        await fleet.start(stop)
        fleet.slots[0].heard_at -= 60
        fleet.warn_of_silence()
        fleet.warn_of_silence()

    play(script)
    assert [record.message for record in caplog.records if "has not answered" in record.message] != []
    assert sum("has not answered" in record.message for record in caplog.records) == 1
