"""What is wrong between the resources of a whole configuration; each by itself is checked elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bascule.admin.links import dangling, links
from bascule.admin.reference_check import AUTH_KEYS, auth_keys
from bascule.errors.fault import Fault
from bascule.errors.sentences import json_path

Item = tuple[str, str]  # kind, id
Items = Mapping[Item, Mapping[str, Any]]


def whole_faults(items: Items) -> Iterator[tuple[Item, Fault]]:
    """References that lead nowhere, plugins that more than one global rule holds, keys that two consumers share."""
    rules: dict[str, str] = {}
    holders: dict[tuple[str, str], Item] = {}
    for item, value in items.items():
        kind, id = item
        for link in links(kind, id, value):
            if (link.kind, link.id) not in items:
                yield item, dangling(link)
        if kind == "global_rules" and isinstance(plugins := value.get("plugins"), dict):
            for name in plugins:
                other = rules.setdefault(name, id)
                if other != id:
                    yield item, _ruled_twice(name, other)
        if kind in ("consumers", "credentials"):
            for key in auth_keys(value):
                holder = holders.setdefault(key, item)
                if holder != item:
                    yield item, _taken(key[0], holder)


def of_plugins(fault: Fault) -> bool:
    """It is about a reference that a plugin makes: one that a single write may leave dangling, as in APISIX."""
    return fault.path.startswith("$.plugins.") and "response code: 404" in fault.text


def _ruled_twice(plugin: str, other: str) -> Fault:
    return Fault(
        json_path(("plugins", plugin)),
        f'the global rule "{other}" holds this plugin already',
        f"plugin '{plugin}' already exists in global rule with id '{other}'",
        "",
    )


def _taken(plugin: str, holder: Item) -> Fault:
    kind, id = holder
    what, name = ("credential", id.rpartition("/")[2]) if kind == "credentials" else ("consumer", id)
    attribute = AUTH_KEYS[plugin]
    return Fault(
        json_path(("plugins", plugin, attribute)),
        f'the {what} "{name}" has the same',
        f"duplicate {attribute} of plugin {plugin} found with {what}: {name}",
        "",
    )
