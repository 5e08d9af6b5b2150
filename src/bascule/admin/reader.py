"""What the Admin API reads: resources and lists of them, unsealed, in the shape of its answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from bascule.admin.answer import NOT_FOUND, Answer, refuse
from bascule.admin.listing import Item, filter_of, page_of
from bascule.admin.permit import Permit
from bascule.admin.resource_kind import KINDS
from bascule.store.entry import Entry, LiveStore
from bascule.store.keys import NESTED, key_of, kind_and_id
from bascule.store.stored_value import NotAResource, parse_value

_MANY = 200  # items that are listed in another thread


class Unseals(Protocol):
    def unseal(self, kind: str, value: Mapping[str, Any]) -> dict[str, Any]: ...


class Reader:
    """`prefix` is what keys begin with in answers. Methods may raise Refusal and StoreUnavailable."""

    def __init__(self, store: LiveStore, sealer: Unseals, prefix: str) -> None:
        self._store = store
        self._sealer = sealer
        self._prefix = prefix

    async def get(self, kind: str, id: str, permit: Permit) -> Answer:
        permit.check_kind(kind)
        await self.check_parent(kind, id)
        entry = await self.entry(kind, id)
        if entry is None:
            return NOT_FOUND
        item = self._item(kind, entry)
        permit.check(kind, item["value"])
        return Answer(200, item, etag=entry.modified)

    async def list(self, kind: str, query: Mapping[str, str], permit: Permit, parent: str | None) -> Answer:
        permit.check_kind(kind)
        if kind in NESTED and parent is not None:
            await self.check_parent(kind, f"{parent}/{kind}/")
        folder = f"{NESTED[kind]}/{parent}/{kind}/" if kind in NESTED else f"{kind}/{parent}/" if parent else f"{kind}/"
        entries, _ = await self._store.list(folder)
        depth = folder.count("/") + (KINDS[kind].id_parts - 1 if parent is None else 0)
        wanted = filter_of(query, KINDS[kind].filters)
        page = page_of(query)

        def select() -> Answer:
            there = [entry for entry in entries if entry.key.count("/") == depth]
            if wanted.passes_all and permit.scope is None:
                return Answer(200, {"total": len(there), "list": [self._item(kind, entry) for entry in page(there)]})
            items = (self._item(kind, entry) for entry in there)
            found = [item for item in items if permit.covers(kind, item["value"]) and wanted.passes(item["value"])]
            return Answer(200, {"total": len(found), "list": list(page(found))})

        return await asyncio.to_thread(select) if len(entries) > _MANY else select()

    async def entry(self, kind: str, id: str) -> Entry | None:
        """None also for an id that would lead to the key of another kind."""
        key = key_of(kind, id)
        return await self._store.get(key) if kind_and_id(key) == (kind, id) else None

    def _item(self, kind: str, entry: Entry) -> Item:
        return {
            "key": f"{self._prefix}/{entry.key}",
            "value": self._shown(kind, self.value(kind, entry)),
            "createdIndex": entry.created,
            "modifiedIndex": entry.modified,
        }

    def value(self, kind: str, entry: Entry) -> dict[str, Any]:
        """Unsealed. Something else may write into the store too: what is no resource shows as an empty one."""
        try:
            return self._sealer.unseal(kind, parse_value(entry.value))
        except NotAResource:
            return {}

    @staticmethod
    def _shown(kind: str, value: dict[str, Any]) -> dict[str, Any]:
        """Private keys of certificates are never told again."""
        if kind != "ssls":
            return value
        return {name: inner for name, inner in value.items() if name not in ("key", "keys")}

    async def check_parent(self, kind: str, id: str) -> None:
        """Nested resources exist only below what they belong to."""
        above = NESTED.get(kind)
        if above is not None and await self._store.get(f"{above}/{id.partition('/')[0]}") is None:
            raise refuse(404, f"{KINDS[above].noun} not found")
