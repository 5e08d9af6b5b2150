"""Who waits for whom among the writes of this process: locks by name, and a gate that one may close behind itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary


class NamedLocks:
    """A name's lock exists while somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, names: Iterable[str]) -> AsyncIterator[None]:
        """In the order of the names, so that nobody waits in a ring."""
        async with AsyncExitStack() as stack:
            for name in sorted(set(names)):
                lock = self._locks.get(name)
                if lock is None:
                    lock = self._locks[name] = asyncio.Lock()
                await stack.enter_async_context(lock)
            yield

    def __len__(self) -> int:
        return len(self._locks)


class Gate:
    """Any number may be inside at a time, unless one wants to be alone. Who is alone may enter once more."""

    def __init__(self) -> None:
        self._inside = 0
        self._open = asyncio.Event()
        self._open.set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._turn = asyncio.Lock()
        self._alone: asyncio.Task[object] | None = None

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        if self._alone is not None and self._alone is asyncio.current_task():
            yield
            return
        while not self._open.is_set():
            await self._open.wait()
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Those inside finish first; who comes later waits."""
        async with self._turn:
            self._open.clear()
            try:
                await self._empty.wait()
                self._alone = asyncio.current_task()
                yield
            finally:
                self._alone = None
                self._open.set()
