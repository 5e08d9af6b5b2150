"""Plugin confs that share something by the name of a group: all of one group must say the same, else they would share
it in different ways."""

from __future__ import annotations

from typing import Any

from bascule.snapshot.records import Record
from bascule.snapshot.state import Item

Group = tuple[str, str]  # plugin, name


class PluginGroups:
    """Who is in which group, with what conf. Items of a step leave first, so that it may change a group as a whole."""

    def __init__(self) -> None:
        self._members: dict[Group, dict[Item, bytes]] = {}
        self._groups: dict[Item, list[Group]] = {}

    def leave(self, item: Item) -> None:
        for group in self._groups.pop(item, ()):
            members = self._members[group]
            del members[item]
            if not members:
                del self._members[group]

    def enter(self, item: Item, record: Record | None) -> None:
        for group, conf in _grouped(record):
            self._members.setdefault(group, {})[item] = conf
            self._groups.setdefault(item, []).append(group)

    def conflict(self, record: Record) -> tuple[Group, Item] | None:
        """A group of this record's whose present members say something else, and one of those."""
        for group, conf in _grouped(record):
            for other, known in self._members.get(group, {}).items():
                if known != conf:
                    return group, other
        return None


def _grouped(record: Record | None) -> list[tuple[Group, bytes]]:
    plugins: Any = getattr(record, "plugins", None)
    if plugins is None:
        return []
    return [
        ((instance.name, name), instance.conf)
        for instance in plugins.instances.values()
        if instance.plugin is not None and (name := instance.plugin.group()) is not None
    ]
