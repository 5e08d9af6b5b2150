"""The standalone format: a document of lists by kind -> items with their keys, and what is wrong with it by place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bascule.errors.sentences import nearest
from bascule.model.kinds import KINDS
from bascule.store.keys import NESTED

Path = tuple[str | int, ...]
_LISTS = tuple(kind for kind in KINDS if kind not in NESTED)
_VERSION_KEY = re.compile(r"\w+_conf_version")  # of APISIX's API-driven mode: nothing to a file


@dataclass(frozen=True, slots=True)
class Item:
    kind: str
    id: str
    value: dict[str, Any]
    place: Path  # in the document


@dataclass(slots=True)
class Standalone:
    """`faults`: (place, sentence). `plugins`: the file's own list of enabled plugins, None if it has none."""

    items: list[Item] = field(default_factory=list)
    faults: list[tuple[Path, str]] = field(default_factory=list)
    plugins: tuple[str, ...] | None = None


def read_standalone(document: Any) -> Standalone:
    found = Standalone()
    if document is None:
        return found
    if not isinstance(document, dict):
        found.faults.append(((), "must be a mapping of kinds of resources to lists"))
        return found
    for kind, items in document.items():
        if _VERSION_KEY.fullmatch(kind) or items is None:
            continue
        if kind == "plugins":
            found.plugins = _plugin_names(items, found.faults)
        elif kind == "credentials":
            found.faults.append(
                ((kind,), 'credentials stand in the list "consumers", with ids like "anna/credentials/first"')
            )
        elif kind not in _LISTS:
            found.faults.append(((kind,), f'unknown kind of resource "{kind}"{nearest(kind, [*_LISTS, "plugins"])}'))
        elif not isinstance(items, list):
            found.faults.append(((kind,), "must be a list"))
        else:
            found.items += _items(kind, items, found.faults)
    return found


def _items(kind: str, items: list[Any], faults: list[tuple[Path, str]]) -> Iterator[Item]:
    first: dict[tuple[str, str], int] = {}
    for position, value in enumerate(items):
        place: Path = (kind, position)
        try:
            item = _item(kind, value, place)
        except ValueError as error:
            faults.append((place, str(error)))
            continue
        before = first.setdefault((item.kind, item.id), position)
        if before != position:
            faults.append((place, f'the id "{item.id}" is taken by $.{kind}[{before}]; this one is left out'))
            continue
        yield item


def _item(kind: str, value: Any, place: Path) -> Item:
    """Raises ValueError with a sentence."""
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    if "modifiedIndex" in value:  # of APISIX's API-driven mode, where it tells what changed: here the values tell
        value = {key: inner for key, inner in value.items() if key != "modifiedIndex"}
    plugins = value.get("plugins")
    if isinstance(plugins, dict) and None in plugins.values():
        # In YAML, `key-auth:` alone says that the plugin has no settings.
        value = {**value, "plugins": {name: {} if conf is None else conf for name, conf in plugins.items()}}
    id = value.get("id")
    if id is not None and (isinstance(id, bool) or not isinstance(id, str | int)):
        raise ValueError('"id" must be a string or a number')
    if kind == "consumers":
        if isinstance(id, str) and "/" in id:
            user, _, rest = id.partition("/")
            if not user or not rest.startswith("credentials/") or rest.count("/") != 1 or rest.endswith("/"):
                raise ValueError(f'the id of a credential is written "user/credentials/id", not "{id}"')
            return Item("credentials", id, {**value, "id": rest.partition("/")[2]}, place)
        name = value.get("username")
        if not isinstance(name, str) or not name:
            raise ValueError('a consumer needs a "username", a credential an "id" like "user/credentials/id"')
        return Item(kind, name, _without_id(value), place)
    if kind == "services" and isinstance(id, str) and "/" in id:
        service, _, rest = id.partition("/")
        if not service or not rest.startswith("graphql_cost_decorations/") or rest.count("/") != 1 or rest[-1] == "/":
            raise ValueError(f'the id of a decoration is written "service/graphql_cost_decorations/id", not "{id}"')
        return Item("graphql_cost_decorations", id, {**value, "id": rest.partition("/")[2]}, place)
    if id is None:
        if kind == "plugin_metadata":
            raise ValueError('needs an "id": the name of the plugin')
        if kind == "secrets":
            raise ValueError('needs an "id": "manager/name"')
        # As in APISIX: what nothing refers to needs no id, its place in the list stands in.
        return Item(kind, f"arr_{int(place[-1]) + 1}", value, place)
    if kind in ("plugin_metadata", "secrets"):
        return Item(kind, str(id), _without_id(value), place)
    return Item(kind, str(id), value, place)


def _without_id(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: inner for key, inner in value.items() if key != "id"}


def _plugin_names(value: Any, faults: list[tuple[Path, str]]) -> tuple[str, ...] | None:
    """[{"name": …, "stream": …}] or plain names; those for streams are left out. None when nothing can be read."""
    if not isinstance(value, list):
        faults.append((("plugins",), "must be a list"))
        return None
    names = []
    for position, entry in enumerate(value):
        name = entry.get("name") if isinstance(entry, dict) else entry
        if not isinstance(name, str) or not name:
            faults.append((("plugins", position), 'must be an object with a "name"'))
        elif not (isinstance(entry, dict) and entry.get("stream") is True):
            names.append(name)
    return tuple(names)
