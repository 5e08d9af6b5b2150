"""The configuration from a standalone file."""

from __future__ import annotations

import asyncio

from bascule.control.source import Step
from bascule.errors.config_error import ConfigError
from bascule.store.file import FileStore

POLL_S = 0.1


class FileSource:
    """A standalone file, looked at every POLL_S."""

    def __init__(self, store: FileStore) -> None:
        self._store = store

    async def load(self) -> Step:
        loaded = await asyncio.to_thread(self._store.load)
        return Step(loaded.changes, loaded.errors, loaded.plugins)

    async def next(self) -> Step:
        while True:
            await asyncio.sleep(POLL_S)
            loaded = await asyncio.to_thread(self._store.poll)
            if loaded is not None:
                return Step(loaded.changes, loaded.errors, loaded.plugins)

    async def close(self) -> None:
        """A file isn't kept open."""

    def locate(self, errors: tuple[ConfigError, ...]) -> tuple[ConfigError, ...]:
        return self._store.locate(errors)

    @property
    def trouble(self) -> str | None:
        return None
