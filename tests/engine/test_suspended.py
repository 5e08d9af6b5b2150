"""Coroutines begun outside a task go on inside one, with their results, errors and cancellation."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from bascule.engine.suspended import resumed


async def go_on(coro: Coroutine[Any, Any, Any]) -> Any:
    """As the engine does: the first step by hand, the rest in a task."""
    first = coro.send(None)
    return await asyncio.get_running_loop().create_task(resumed(coro, first))


def test_results_pass_through_every_suspension() -> None:
    async def work() -> str:
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, "value")
        return "got " + await future

    assert asyncio.run(go_on(work())) == "got value"


def test_errors_of_what_is_awaited_arrive_in_the_coroutine() -> None:
    async def work() -> str:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, ValueError("late"))
        try:
            await future
        except ValueError as error:
            await asyncio.sleep(0)
            return f"caught {error}"
        return "nothing"

    assert asyncio.run(go_on(work())) == "caught late"


def test_errors_of_the_coroutine_arrive_in_the_task() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(go_on(work()))


def test_cancellation_reaches_the_coroutine() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cleaned up")

    async def main() -> None:
        coro = work()
        task = asyncio.get_running_loop().create_task(resumed(coro, coro.send(None)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ended == ["cleaned up"]
