"""Plugin confs that share something by the name of a group: all of one group must be the same, whoever holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from bascule.errors.fault import Fault
from bascule.errors.sentences import json_path
from bascule.store.entry import LiveStore
from bascule.store.keys import kind_and_id
from bascule.store.stored_value import NotAResource, parse_value

_ATTRIBUTE = {"limit-count": "group"}
_HOLDERS = ("routes/", "services/", "plugin_configs/", "consumers/", "consumer_groups/", "global_rules/")


class Unseals(Protocol):
    def unseal(self, kind: str, value: Mapping[str, Any]) -> dict[str, Any]: ...


class Group(NamedTuple):
    plugin: str
    name: str


def grouped(value: Any) -> Iterator[tuple[Group, dict[str, Any]]]:
    """Groups that a resource's plugins belong to, with what each says; of any junk."""
    plugins = value.get("plugins") if isinstance(value, dict) else None
    for plugin, conf in plugins.items() if isinstance(plugins, dict) else ():
        name = conf.get(_ATTRIBUTE.get(plugin)) if isinstance(conf, dict) else None
        if isinstance(name, str):
            yield Group(plugin, name), {attribute: said for attribute, said in conf.items() if attribute != "_meta"}


async def find_mismatch(
    store: LiveStore, sealer: Unseals, kind: str, id: str, value: Mapping[str, Any]
) -> Fault | None:
    """Another resource's plugin is in the same group and says something else. May raise StoreUnavailable."""
    wanted = dict(grouped(value))
    if not wanted:
        return None
    for folder in _HOLDERS:
        entries, _ = await store.list(folder)
        for entry in entries:
            holder = kind_and_id(entry.key)
            if holder is None or holder == (kind, id) or b'"group"' not in entry.value:
                continue
            try:
                other = sealer.unseal(holder[0], parse_value(entry.value))
            except NotAResource:
                continue
            for group, conf in grouped(other):
                if wanted.get(group, conf) != conf:
                    return mismatched(group, *holder)
    return None


def mismatched(group: Group, kind: str, id: str) -> Fault:
    """`kind` and `id`: who says something else."""
    return Fault(
        json_path(("plugins", group.plugin, _ATTRIBUTE[group.plugin])),
        f'"{group.name}" has another configuration in {kind}/{id}; all of a group must be the same',
        f"failed to check the configuration of plugin {group.plugin} err: group conf mismatched",
        "",
    )
