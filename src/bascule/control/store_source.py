"""The configuration from a live store: what it tells, unsealed, as steps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from bascule.control.source import Step
from bascule.errors.config_error import ConfigError
from bascule.model.change import Change
from bascule.store.entry import Batch, Event, LiveStore
from bascule.store.keys import kind_and_id
from bascule.store.stored_value import NotAResource, parse_value


class Unsealer(Protocol):
    def unseal(self, kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """A copy with the secret fields in plain text."""


# A worker puts a step in place in one go, and requests wait meanwhile: a millisecond for so many changes.
STEP_CHANGES = 16
PAUSE_S = 1.0

log = logging.getLogger("bascule.store")


class StoreSource:
    """A live store. What it tells while the step before is being taken becomes one step, up to STEP_CHANGES changes;
    what was written at once is never split."""

    def __init__(self, store: LiveStore, sealer: Unsealer) -> None:
        self._store = store
        self._sealer = sealer
        self._known: dict[str, int] = {}  # key -> revision that changed it last
        self._errors: dict[str, ConfigError] = {}
        self._batches: asyncio.Queue[Batch] = asyncio.Queue()
        self._following: asyncio.Task[None] | None = None
        self._mistake: str | None = None

    async def load(self) -> Step:
        await self._store.open()
        self._following = asyncio.get_running_loop().create_task(self._follow(), name="follow the store")
        return await self.next()

    async def _follow(self) -> None:
        """What a store tells. It never raises; if it does, that is a mistake, and it is read anew: else no change would
        ever come again, and nobody would know why."""
        while True:
            try:
                async for batch in self._store.watch():
                    self._mistake = None
                    self._batches.put_nowait(batch)
                return
            except Exception as error:
                log.exception("internal error while following the store; it is read anew")
                self._mistake = f"internal error: {type(error).__name__}: {error}"
                await asyncio.sleep(PAUSE_S)

    async def next(self) -> Step:
        batches = [await self._batches.get()]
        count = len(batches[0].events)
        while not self._batches.empty() and count < STEP_CHANGES:
            batches.append(self._batches.get_nowait())
            count += len(batches[-1].events)
        latest: dict[str, Event] = {}
        for batch in batches:
            if batch.complete:
                there = {event.key for event in batch.events}
                latest = {key: Event(key, None, 0, batch.revision) for key in self._known if key not in there}
            latest.update((event.key, event) for event in batch.events)
        changes = [change for event in latest.values() for change in self._changes(event)]
        return Step(changes, tuple(self._errors.values()), None, batches[-1].revision)

    def _changes(self, event: Event) -> Sequence[Change]:
        named = kind_and_id(event.key)
        if named is None:
            return ()
        kind, id = named
        if event.value is None:
            self._errors.pop(event.key, None)
            return () if self._known.pop(event.key, None) is None else (Change(kind, id, None, event.modified),)
        if self._known.get(event.key) == event.modified:
            return ()  # of a complete batch: known already
        try:
            value = self._sealer.unseal(kind, parse_value(event.value))
        except NotAResource as error:
            # Its last good version goes on serving.
            self._errors[event.key] = ConfigError(kind, id, "", str(error))
            return ()
        self._errors.pop(event.key, None)
        self._known[event.key] = event.modified
        return (Change(kind, id, value, event.modified, created=event.created),)

    def locate(self, errors: tuple[ConfigError, ...]) -> tuple[ConfigError, ...]:
        return errors

    @property
    def trouble(self) -> str | None:
        return self._mistake or self._store.trouble

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            self._following = None
        await self._store.close()
