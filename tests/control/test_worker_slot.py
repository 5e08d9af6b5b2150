import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bascule.control.worker_slot import WorkerSlot

STAND_IN = str(Path(__file__).with_name("worker_stand_in.py"))


class StandIn(WorkerSlot):
    """A slot whose processes are the stand-in."""

    messages: list[tuple[Any, ...]]
    ends: int

    def _spawn(self, channel_fd: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, STAND_IN, str(channel_fd)], pass_fds=(channel_fd,))


def slot_of(mode: Callable[[], str]) -> StandIn:
    def on_message(slot: WorkerSlot, message: tuple[Any, ...]) -> None:
        slot.messages.append(message)  # type: ignore[attr-defined]
        if message[0] == "ready":
            slot.ready.set()

    def on_end(slot: WorkerSlot) -> None:
        slot.ends += 1  # type: ignore[attr-defined]

    slot = StandIn(0, lambda _: mode(), lambda _: (), on_message, on_end)  # type: ignore[arg-type,return-value]
    slot.messages, slot.ends = [], 0
    return slot


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 (what is waited for lies in another process)
            await asyncio.sleep(0.01)


def play(script: Callable[[StandIn], Awaitable[None]], mode: Callable[[], str] = lambda: "serve") -> StandIn:
    async def run() -> StandIn:
        slot = slot_of(mode)
        task = asyncio.create_task(slot.run())
        try:
            await script(slot)
        finally:
            slot.kill()
            await asyncio.wait_for(task, 10)
        return slot

    return asyncio.run(run())


def test_a_worker_talks_and_drains() -> None:
    async def script(slot: StandIn) -> None:
        await slot.ready.wait()
        slot.send("hello", 1)
        await until(lambda: ("echo", "hello", 1) in slot.messages)
        slot.drain(5)
        await until(lambda: slot.pid is None)

    slot = play(script)
    assert slot.messages[-1] == ("drained", {"requests": 5})
    assert (slot.ends, slot.restarts, slot.last_exit) == (1, 0, "exit code 0")


def test_a_mistake_over_what_a_worker_tells_costs_no_worker(caplog: pytest.LogCaptureFixture) -> None:
    async def script(slot: StandIn) -> None:
        await slot.ready.wait()
        hear = slot._on_message

        def fail(slot: WorkerSlot, message: tuple[Any, ...]) -> None:
            hear(slot, message)
            raise LookupError("no such thing")

        slot._on_message = fail  # type: ignore[method-assign]
        for number in range(2):
            slot.send("hello", number)
            await until(lambda number=number: ("echo", "hello", number) in slot.messages)

    assert play(script).restarts == 0
    assert "internal error over what worker 0 told (echo)" in caplog.text


def test_a_dead_worker_is_replaced_at_once() -> None:
    async def script(slot: StandIn) -> None:
        await slot.ready.wait()
        first = slot.pid
        slot.send("die")
        await until(lambda: slot.ends == 1)
        await slot.ready.wait()
        assert slot.pid not in (first, None)
        assert slot.describe()["last_exit"] == "killed by signal 9"

    assert play(script).restarts == 1


def test_one_that_keeps_crashing_is_given_time(caplog: pytest.LogCaptureFixture) -> None:
    async def script(slot: StandIn) -> None:
        await until(lambda: slot.restarts >= 3)

    slot = play(script, lambda: "crash")
    assert slot.last_exit == "exit code 3"
    lines = [record.message for record in caplog.records]
    assert lines[0] == "worker 0 ended (exit code 3); starting it again"
    assert lines[2].endswith("starting it again in 0.8 s: it keeps crashing")


def test_one_that_is_killed_again_and_again_is_soon_back(caplog: pytest.LogCaptureFixture) -> None:
    async def script(slot: StandIn) -> None:
        for death in range(1, 7):
            await slot.ready.wait()
            slot.send("die")
            await until(lambda death=death: slot.ends == death)
        await slot.ready.wait()

    play(script)
    lines = [record.message for record in caplog.records]
    assert lines[5] == "worker 0 ended (killed by signal 9); starting it again in 0.5 s: it keeps crashing"


def test_one_that_does_not_serve_yet_is_not_drained() -> None:
    async def script(slot: StandIn) -> None:
        await until(lambda: slot.pid)
        slot.drain(60)
        await until(lambda: slot.pid is None)

    assert play(script).ends == 1
