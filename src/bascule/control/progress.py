"""How far the workers are: which revision of the store every one of them serves, and who waits for that."""

from __future__ import annotations

import asyncio
from collections import deque


class Progress:
    """Generations are the supervisor's steps; each brings the store's revision so far."""

    def __init__(self) -> None:
        self._taken: deque[tuple[int, int]] = deque()  # (generation, revision) that not every worker serves yet
        self._revision = 0
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}

    @property
    def revision(self) -> int:
        """Of the store, as served by every worker."""
        return self._revision

    def take(self, generation: int, revision: int) -> None:
        """A step was sent to the workers."""
        self._taken.append((generation, revision))

    def reach(self, generation: int) -> None:
        """Every worker serves this generation."""
        while self._taken and self._taken[0][0] <= generation:
            self._revision = self._taken.popleft()[1]
        for revision in [revision for revision in self._waiting if revision <= self._revision]:
            for future in self._waiting.pop(revision):
                if not future.done():
                    future.set_result(None)

    async def wait(self, revision: int) -> None:
        """Until every worker serves this revision of the store."""
        if revision > self._revision:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(revision, []).append(future)
            await future
