"""What a resource refers to exists, and what is referred to isn't deleted: sentences, and conditions for the write."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bascule.admin.answer import refuse, refuse_faults
from bascule.admin.links import Link, dangling, links
from bascule.admin.resource_kind import KINDS
from bascule.errors.fault import Fault
from bascule.errors.sentences import json_path
from bascule.store.entry import Condition, Entry, Exists, LiveStore, Unchanged
from bascule.store.keys import key_of, kind_and_id
from bascule.store.stored_value import NotAResource, parse_value

_PLUGIN_HOLDERS = ("plugin_configs", "consumers", "consumer_groups", "global_rules")
# Kind that is referred to -> kinds that may, in the order in which APISIX looks.
_USERS = {
    "upstreams": ("routes", "services", "stream_routes", *_PLUGIN_HOLDERS),
    "services": ("routes", "stream_routes"),
    "plugin_configs": ("routes",),
    "consumer_groups": ("consumers",),
    "protos": ("routes", "services", "stream_routes", *_PLUGIN_HOLDERS),
    "stream_routes": ("stream_routes",),
    "ssls": ("upstreams", "routes", "services", "stream_routes", *_PLUGIN_HOLDERS),
}
_DIRECTLY = ("services", "stream_routes")  # APISIX's sentence has one word more for them
_MANY = 500  # entries that are looked through in another thread


class _Use(NamedTuple):
    kind: str
    id: str
    link: Link


class ReferenceCheck:
    def __init__(self, store: LiveStore) -> None:
        self._store = store

    async def before_write(self, kind: str, id: str, value: Mapping[str, Any]) -> list[Condition]:
        """What must still hold when the resource is written. Raises Refusal."""
        faults = []
        conditions: list[Condition] = []
        for link in links(kind, id, value):
            key = key_of(link.kind, link.id)
            # A resource may refer to itself.
            if link.may_dangle or key == key_of(kind, id):
                continue
            entry = await self._store.get(key)
            if entry is None:
                faults.append(dangling(link))
            elif link.kind == "ssls" and not _is_client_certificate(entry):
                sentence = f'names the certificate "{link.id}", which is not of the type "client"'
                text = f"failed to fetch ssl info by ssl id [{link.id}], wrong ssl type"
                faults.append(Fault(json_path(link.place), sentence, text, ""))
            elif Exists(key) not in conditions:
                conditions.append(Exists(key))
        if faults:
            raise refuse_faults(faults)
        return conditions

    async def before_delete(self, kind: str, id: str) -> list[Condition]:
        """What must still hold when the resource is deleted. Raises Refusal when something refers to it."""
        conditions: list[Condition] = []
        for user in _USERS.get(kind, ()):
            entries, revision = await self._store.list(f"{user}/")
            conditions.append(Unchanged(f"{user}/", revision))
            # Ids are plain in JSON. Most values don't hold this one at all: that is seen without parsing them.
            needle = id.encode()
            suspects = [entry for entry in entries if needle in entry.value]
            if len(suspects) > _MANY:
                use = await asyncio.to_thread(_first_use, suspects, kind, id)
            else:
                use = _first_use(suspects, kind, id)
            if use is not None:
                what = f"{KINDS[kind].noun}{' directly' if kind in _DIRECTLY else ''}"
                through = "plugin in " if use.link.in_plugin else ""
                who = f"{through}{KINDS[use.kind].noun} [{use.id}]"
                raise refuse(400, f"can not delete this {what}, {who} is still using it now")
        return conditions


def _first_use(entries: Sequence[Entry], kind: str, id: str) -> _Use | None:
    for entry in entries:
        named = kind_and_id(entry.key)
        if named is None or named == (kind, id):
            continue
        try:
            value = parse_value(entry.value)
        except NotAResource:
            continue  # it serves nobody
        for link in links(*named, value):
            if link.place and (link.kind, link.id) == (kind, id):
                return _Use(*named, link)
    return None


def _is_client_certificate(entry: Entry) -> bool:
    try:
        return parse_value(entry.value).get("type") == "client"
    except NotAResource:
        return False
