"""What only one resource of a folder may have: a plugin among global rules, a field among a service's decorations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bascule.errors.fault import Fault
from bascule.errors.sentences import json_path
from bascule.store.entry import LiveStore, Unchanged
from bascule.store.keys import key_of
from bascule.store.stored_value import NotAResource, parse_value

KINDS = ("global_rules", "graphql_cost_decorations")


def folder_of(kind: str, id: str) -> str:
    """What the keys of those begin with that a resource has to differ from."""
    return key_of(kind, id).rpartition("/")[0] + "/"


async def find_twin(store: LiveStore, kind: str, id: str, value: Mapping[str, Any]) -> tuple[Fault | None, Unchanged]:
    """What another one has already; and on what it depends that none has. May raise StoreUnavailable."""
    folder = folder_of(kind, id)
    entries, revision = await store.list(folder)
    fault = None
    for entry in entries:
        other = entry.key.removeprefix(folder)
        if entry.key == key_of(kind, id) or "/" in other:
            continue
        try:
            fault = fault or _shared(kind, value, parse_value(entry.value), other)
        except NotAResource:
            continue
    return fault, Unchanged(folder, revision)


def ruled_twice(plugin: str, other: str) -> Fault:
    """Two global rules hold the same plugin; `other`: the id of the one that has it."""
    return Fault(
        json_path(("plugins", plugin)),
        f'the global rule "{other}" holds this plugin already',
        f"plugin '{plugin}' already exists in global rule with id '{other}'",
        "",
    )


def _shared(kind: str, value: Mapping[str, Any], other: Mapping[str, Any], id: str) -> Fault | None:
    if kind == "global_rules":
        held = other.get("plugins")
        both = [plugin for plugin in value["plugins"] if isinstance(held, dict) and plugin in held]
        return ruled_twice(both[0], id) if both else None
    path = value["field_path"]
    if path != other.get("field_path"):
        return None
    sentence = f'the decoration "{id}" of this service is of this field already'
    return Fault("$.field_path", sentence, f"field_path {path} is already decorated on this service by [{id}]", "")
