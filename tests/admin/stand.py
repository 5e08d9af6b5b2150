"""A store with everything that works on the whole configuration, for tests: SQLite in a folder of the test."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bascule.admin.configs import Configs
from bascule.admin.history import History
from bascule.admin.secret_places import SecretPlaces
from bascule.admin.validator import Validator
from bascule.admin.whole import StoreKeeper
from bascule.plugin.registry import Registry
from bascule.snapshot.references import from_environment
from bascule.store.entry import Origin
from bascule.store.sealing import Sealer
from bascule.store.sqlite import SqliteStore

ME = Origin("anna")
UPSTREAM = {"nodes": {"127.0.0.1:80": 1}}
SHOP: dict[str, Any] = {
    "routes": [{"id": "1", "uri": "/a", "upstream_id": "u"}, {"id": "2", "uri": "/b", "service_id": "s"}],
    "services": [{"id": "s", "upstream_id": "u"}],
    "upstreams": [{"id": "u", **UPSTREAM}],
    "consumers": [
        {"username": "anna"},
        {"id": "anna/credentials/c", "plugins": {"key-auth": {"key": "a-secret-key"}}},
    ],
}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def fields_of(plugin: str) -> tuple[str, ...]:
    return ("key",) if plugin == "key-auth" else ()


@dataclass
class Stand:
    store: SqliteStore
    keeper: StoreKeeper
    configs: Configs
    history: History


@asynccontextmanager
async def standing(folder: Path) -> AsyncIterator[Stand]:
    store = SqliteStore(folder / "bascule.db", history=1000)
    await store.open()
    try:
        sealer = Sealer(("0123456789abcdef",), fields_of, True)
        keeper = StoreKeeper(store, sealer, clock=Clock())
        check = Validator(Registry(), resolve=from_environment(os.environ)).check
        secrets = SecretPlaces(sealer)
        configs = Configs(keeper, check, secrets)
        yield Stand(store, keeper, configs, History(store, keeper, configs, secrets))
    finally:
        await store.close()


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 30))
