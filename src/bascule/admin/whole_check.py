"""What is wrong between the resources of a whole configuration; each by itself is checked elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bascule.admin.auth_keys import AuthKey, auth_keys, taken_by
from bascule.admin.links import dangling, links
from bascule.admin.plugin_groups import Group, grouped, mismatched
from bascule.admin.uniqueness import ruled_twice
from bascule.errors.fault import Fault

Item = tuple[str, str]  # kind, id
Items = Mapping[Item, Mapping[str, Any]]


def whole_faults(items: Items) -> Iterator[tuple[Item, Fault]]:
    """References that lead nowhere, plugins that more than one global rule holds, keys that two consumers share, confs
    of one group that differ."""
    rules: dict[str, str] = {}
    holders: dict[AuthKey, Item] = {}
    groups: dict[Group, tuple[Item, dict[str, Any]]] = {}
    for item, value in items.items():
        kind, id = item
        for link in links(kind, id, value):
            if (link.kind, link.id) not in items:
                yield item, dangling(link)
        if kind == "global_rules" and isinstance(plugins := value.get("plugins"), dict):
            for name in plugins:
                other = rules.setdefault(name, id)
                if other != id:
                    yield item, ruled_twice(name, other)
        for group, conf in grouped(value):
            first, said = groups.setdefault(group, (item, conf))
            if said != conf:
                yield item, mismatched(group, *first)
        if kind in ("consumers", "credentials"):
            for key in auth_keys(value):
                holder = holders.setdefault(key, item)
                if holder != item:
                    yield item, taken_by(key, *holder)


def of_plugins(fault: Fault) -> bool:
    """It is about a reference that a plugin makes: one that a single write may leave dangling, as in APISIX."""
    return fault.path.startswith("$.plugins.") and "response code: 404" in fault.text
