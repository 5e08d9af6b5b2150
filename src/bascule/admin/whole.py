"""The whole configuration where it is kept: read at one time, changed in one step."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bascule.admin.links import links
from bascule.admin.plan import PlannedStep
from bascule.admin.resource_kind import TIMELESS
from bascule.store.entry import Condition, Delete, Entry, Exists, LiveStore, Operation, Origin, Put, Unchanged
from bascule.store.keys import KINDS, key_of, kind_and_id
from bascule.store.stored_value import NotAResource, format_value, parse_value

Item = tuple[str, str]  # kind, id
# Beside the resources: what a client that replaces the whole said of it. No resource, so that nobody serves it.
MARK_KEY = "standalone/mark"


@dataclass(slots=True)
class Whole:
    """`items`: values with their secrets in plain text. `modified`: the revision of each. `mark`: what a client that
    replaced the whole said of it. `unreadable`: resources whose stored value is no JSON object; they can only be
    replaced or deleted. `plugins`: the list of enabled plugins, of a file that has its own. `trouble`: why nothing of
    it can be read; then it can only be replaced whole. `stamp`: tells a file from what it is later."""

    items: dict[Item, dict[str, Any]] = field(default_factory=dict)
    revision: int = 0
    modified: dict[Item, int] = field(default_factory=dict)
    mark: dict[str, Any] = field(default_factory=dict)
    unreadable: list[Item] = field(default_factory=list)
    plugins: Any = None
    trouble: str | None = None
    stamp: object = None


@dataclass(frozen=True, slots=True)
class Replacement:
    """`steps` lead from `before` to `items`. `mark` None: stays as it was."""

    before: Whole
    steps: Sequence[PlannedStep]
    items: Mapping[Item, Mapping[str, Any]]
    origin: Origin
    mark: Mapping[str, Any] | None = None
    plugins: Any = None


class Keeper(Protocol):
    """Where a whole configuration is kept. `takes_plugins`: with a list of enabled plugins."""

    takes_plugins: bool

    async def read(self) -> Whole:
        """Raises StoreUnavailable."""

    async def write(self, new: Replacement) -> int:
        """All or nothing; the revision. Raises Conflict when something changed since `new.before` was read, and
        StoreUnavailable."""


Commit = Callable[[Sequence[Operation], Origin, Sequence[Condition]], Awaitable[int]]


class Seals(Protocol):
    def seal(self, kind: str, value: Mapping[str, Any]) -> dict[str, Any]: ...

    def unseal(self, kind: str, value: Mapping[str, Any]) -> dict[str, Any]: ...


class StoreKeeper:
    """A live store. `commit`: writes to it; by default the store's own `write`."""

    takes_plugins = False

    def __init__(
        self, store: LiveStore, sealer: Seals, *, clock: Callable[[], float], commit: Commit | None = None
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._commit = commit or store.write

    async def read(self) -> Whole:
        entries, revision = await self._store.list("")
        return await asyncio.to_thread(self._whole, entries, revision)

    def _whole(self, entries: Sequence[Entry], revision: int) -> Whole:
        whole = Whole(revision=revision)
        for entry in entries:
            item = kind_and_id(entry.key)
            try:
                if item is not None:
                    whole.modified[item] = entry.modified
                    value = parse_value(entry.value)
                    if item[0] == "plugin_metadata":
                        value["id"] = item[1]
                    whole.items[item] = self._sealer.unseal(item[0], value)
                elif entry.key == MARK_KEY:
                    whole.mark = parse_value(entry.value)
                    whole.modified["", MARK_KEY] = entry.modified
            except NotAResource:
                if item is not None:
                    whole.items[item] = {}
                    whole.unreadable.append(item)
        return whole

    def unsealed(self, state: Mapping[str, bytes]) -> dict[Item, dict[str, Any]]:
        """Of an older state: key -> stored value."""
        return self._whole([Entry(key, value, 0, 0) for key, value in state.items()], 0).items

    async def write(self, new: Replacement) -> int:
        now = int(self._clock())
        before = new.before
        operations: list[Operation] = []
        conditions: dict[Condition, None] = {}
        written = {(step.kind, step.id) for step in new.steps}
        for step in new.steps:
            item = step.kind, step.id
            key, expect = key_of(*item), before.modified.get(item, 0)
            if step.action == "delete":
                operations.append(Delete(key, expect=expect))
                continue
            value = stored(*item, new.items[item], before.items.get(item), now)
            operations.append(Put(key, format_value(self._sealer.seal(step.kind, value)), expect=expect))
            for link in links(*item, value):
                if (link.kind, link.id) not in written:
                    conditions[Exists(key_of(link.kind, link.id))] = None
        if any(step.action == "delete" for step in new.steps):
            # Nobody may have begun to refer to what goes, nor added what the plan doesn't know.
            conditions |= {Unchanged(f"{kind}/", before.revision): None for kind in KINDS}
        if new.mark is not None:
            data = json.dumps(new.mark, sort_keys=True).encode()
            operations.append(Put(MARK_KEY, data, expect=before.modified.get(("", MARK_KEY), 0)))
        if not operations:
            return before.revision
        return await self._commit(operations, new.origin, list(conditions))


def stored(kind: str, id: str, value: Mapping[str, Any], before: Mapping[str, Any] | None, now: int) -> dict[str, Any]:
    """A value as stores have it: with its id and its times (Unix seconds)."""
    # A plugin's metadata too: by its id a sealer knows which plugin it is of.
    own = {} if kind == "consumers" else {"id": id.rpartition("/")[2]}
    if kind in TIMELESS:
        return {**value, **own}
    created = value.get("create_time", (before or {}).get("create_time", now))
    return {**value, **own, "create_time": created, "update_time": now}
