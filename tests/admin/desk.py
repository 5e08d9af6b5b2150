"""An Administration on a real store, for tests."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from bascule.admin.administration import Administration, Wish
from bascule.admin.permit import Permit
from bascule.admin.validator import Validator
from bascule.plugin.registry import Registry
from bascule.snapshot.references import from_environment
from bascule.store.sealing import Sealer
from bascule.store.sqlite import SqliteStore

T = TypeVar("T")
ROOT = Permit()
WISH = Wish(ROOT)
KEYRING = ("0123456789abcdef",)


def make(store: Any) -> Administration:
    registry = Registry()
    sealer = Sealer(KEYRING, lambda plugin: registry.get(plugin).encrypt_fields, True)
    return Administration(store, Validator(registry, resolve=from_environment({})), sealer)


def with_desk(folder: Path, scene: Callable[[Administration], Awaitable[T]]) -> T:
    """Runs `scene` on an empty store in `folder`."""

    async def run() -> T:
        store = SqliteStore(folder / "store.db", history=1000)
        await store.open()
        try:
            return await scene(make(store))
        finally:
            await store.close()

    return asyncio.run(run())


ROUTE: Mapping[str, Any] = {"uri": "/*", "upstream": {"type": "roundrobin", "nodes": {"127.0.0.1:1": 1}}}
