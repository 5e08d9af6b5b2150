"""Running a coroutine that never really waits, without an event loop."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


class Suspended(RuntimeError):
    """The coroutine waits for something outside: only an event loop can run it."""


def drive(awaitable: Awaitable[T]) -> T:
    """The result of an awaitable that finishes without suspending; Suspended otherwise."""
    coro: Any = awaitable if hasattr(awaitable, "send") else _await(awaitable)
    try:
        coro.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    coro.close()
    raise Suspended("the plugin awaits something that needs an event loop: use `await run_async(...)` in an async test")


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable
