"""The upstreams that plugins hold: who holds which, and what is wrong with their references."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from bascule.errors.config_error import ConfigError
from bascule.errors.sentences import json_path
from bascule.model.discovery import Service
from bascule.plugin.upstream import UpstreamHandle
from bascule.snapshot.compiled_upstream import CompiledUpstream
from bascule.snapshot.discovered import Discovered
from bascule.snapshot.records import Record
from bascule.snapshot.state import Item, State


class HeldUpstreams:
    def __init__(self) -> None:
        self._held: dict[Item, tuple[UpstreamHandle, ...]] = {}
        self._users: dict[str, dict[Item, None]] = {}  # id of an upstream -> whose plugins name it

    def put(self, item: Item, record: Record | None) -> None:
        """The item's record as it is from now on."""
        before, after = self._held.get(item, ()), handles_of(record)
        if not before and not after:
            return
        for handle in before:
            if handle.id is not None and (users := self._users.get(handle.id)) is not None:
                users.pop(item, None)
                if not users:
                    del self._users[handle.id]
        for handle in after:
            if handle.id is not None:
                self._users.setdefault(handle.id, {})[item] = None
        if after:
            self._held[item] = after
        else:
            del self._held[item]
        _let_go(before, after)

    def affected(self, items: Iterable[Item], state: State) -> list[Item]:
        """Of a step that changes these: those whose plugins may refer to something else now."""
        found: set[Item] = set()
        for item in items:
            if item in self._held or item in state.held_errors:
                found.add(item)
            if item[0] == "upstreams":
                found.update(self._users.get(item[1], ()))
        return sorted(found)

    def errors(self, item: Item, state: State) -> tuple[ConfigError, ...]:
        record = state.records[item[0]].get(item[1])
        known = state.records["upstreams"]
        return tuple(
            ConfigError(
                *item,
                json_path(handle.at),
                f'there is no upstream "{handle.id}"',
                getattr(record, "file", None),
                getattr(record, "line", None),
            )
            for handle in self._held.get(item, ())
            if handle.id is not None and handle.id not in known and ("upstreams", handle.id) not in state.broken
        )

    def renew(self, services: Collection[Service], known: Discovered) -> None:
        """These discovered services have other nodes now."""
        for handles in self._held.values():
            for handle in handles:
                before = handle.compiled
                if before is None or before.service not in services:
                    continue
                handle.compiled = known.renewed(before)
                if handle.compiled is not before:
                    handle.plans = {}
                    before.runtime = None

    def __iter__(self) -> Iterator[CompiledUpstream]:
        """The inline ones."""
        for handles in self._held.values():
            for handle in handles:
                if handle.compiled is not None:
                    yield handle.compiled


def handles_of(record: Record | None) -> tuple[UpstreamHandle, ...]:
    """Of all plugins of an item."""
    plugins: Any = getattr(record, "plugins", None)
    if plugins is None:
        return ()
    return tuple(handle for instance in plugins.instances.values() for handle in instance.upstreams)


def _let_go(before: tuple[UpstreamHandle, ...], after: tuple[UpstreamHandle, ...]) -> None:
    """As merged_plugins.let_go, for the caches of upstreams. Exchanges that run keep their own."""
    kept = {id(handle.compiled) for handle in after}
    for handle in before:
        if handle not in after:
            handle.plans = {}
        if handle.compiled is not None and id(handle.compiled) not in kept:
            handle.compiled.runtime = None
