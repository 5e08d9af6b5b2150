"""What a resource refers to exists, and what is referred to isn't deleted: sentences, and conditions for the write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from bascule.admin.answer import refuse, refuse_faults
from bascule.admin.links import dangling, links
from bascule.admin.resource_kind import KINDS
from bascule.store.entry import Condition, Entry, Exists, LiveStore, Unchanged
from bascule.store.keys import key_of, kind_and_id
from bascule.store.stored_value import NotAResource, parse_value

# By what attribute a consumer or credential is found; one value belongs to one of them only.
AUTH_KEYS = {
    "key-auth": "key",
    "basic-auth": "username",
    "jwt-auth": "key",
    "hmac-auth": "key_id",
    "ldap-auth": "user_dn",
    "ldap-auth-advanced": "user_dn",
}
_HOLDERS = ("routes", "services", "plugin_configs", "consumers", "consumer_groups", "global_rules", "stream_routes")
# Kind that is referred to -> kinds that may.
_USERS = {
    "upstreams": (
        "routes",
        "services",
        "stream_routes",
        "plugin_configs",
        "consumers",
        "consumer_groups",
        "global_rules",
    ),
    "services": ("routes", "stream_routes"),
    "plugin_configs": ("routes",),
    "consumer_groups": ("consumers",),
    "protos": _HOLDERS,
    "stream_routes": ("stream_routes",),
}
_DIRECTLY = ("services", "stream_routes")  # APISIX's sentence has one word more for them


class Unseals(Protocol):
    def unseal(self, kind: str, value: Mapping[str, Any]) -> dict[str, Any]: ...


class ReferenceCheck:
    def __init__(self, store: LiveStore, sealer: Unseals) -> None:
        self._store = store
        self._sealer = sealer

    async def before_write(self, kind: str, id: str, value: Mapping[str, Any]) -> list[Condition]:
        """What must still hold when the resource is written. Raises Refusal."""
        faults = []
        conditions: list[Condition] = []
        for link in links(kind, id, value):
            key = key_of(link.kind, link.id)
            # What plugins refer to may come later; APISIX takes it so too.
            if len(link.place) > 1 and link.place[0] == "plugins":
                continue
            if await self._store.get(key) is None:
                faults.append(dangling(link))
            elif Exists(key) not in conditions:
                conditions.append(Exists(key))
        if faults:
            raise refuse_faults(faults)
        if kind == "global_rules":
            conditions.append(await self._alone_in_global_rules(id, value))
        elif kind in ("consumers", "credentials") and (keys := set(auth_keys(value))):
            conditions.append(await self._keys_are_free(key_of(kind, id), keys))
        return conditions

    async def before_delete(self, kind: str, id: str) -> list[Condition]:
        """What must still hold when the resource is deleted. Raises Refusal when something refers to it."""
        conditions: list[Condition] = []
        for user in _USERS.get(kind, ()):
            entries, revision = await self._store.list(f"{user}/")
            conditions.append(Unchanged(f"{user}/", revision))
            # Most don't hold the id at all: that is seen without reading them.
            for entry in entries:
                if id.encode() in entry.value and (place := self._refers(entry, kind, id)) is not None:
                    user_kind, user_id = kind_and_id(entry.key) or (user, entry.key)
                    what = f"{KINDS[kind].noun}{' directly' if kind in _DIRECTLY else ''}"
                    who = f"{KINDS[user_kind].noun} [{user_id}]"
                    through = "plugin in " if place[0] == "plugins" else ""
                    raise refuse(400, f"can not delete this {what}, {through}{who} is still using it now")
        return conditions

    def _refers(self, entry: Entry, kind: str, id: str) -> tuple[str | int, ...] | None:
        """Where the entry refers to the resource."""
        named = kind_and_id(entry.key)
        if named is None:
            return None
        try:
            value = parse_value(entry.value)
        except NotAResource:
            return None
        for link in links(*named, value):
            if link.place and link.kind == kind and link.id == id:
                return tuple(link.place)
        return None

    async def _alone_in_global_rules(self, id: str, value: Mapping[str, Any]) -> Condition:
        entries, revision = await self._store.list("global_rules/")
        for entry in entries:
            other = entry.key.partition("/")[2]
            if other == id:
                continue
            try:
                held = parse_value(entry.value).get("plugins")
            except NotAResource:
                continue
            for plugin in value.get("plugins") or {}:
                if isinstance(held, dict) and plugin in held:
                    raise refuse(400, f"plugin '{plugin}' already exists in global rule with id '{other}'")
        return Unchanged("global_rules/", revision)

    async def _keys_are_free(self, key: str, wanted: set[tuple[str, str]]) -> Condition:
        entries, revision = await self._store.list("consumers/")
        for entry in entries:
            if entry.key == key:
                continue
            kind, id = kind_and_id(entry.key) or ("", "")
            try:
                other = self._sealer.unseal(kind, parse_value(entry.value))
            except NotAResource:
                continue
            for plugin, value in auth_keys(other):
                if (plugin, value) in wanted:
                    owner = id.partition("/")[0]
                    if kind == "credentials" or owner != key.split("/")[1]:
                        who = f"consumer: {owner}" if kind == "consumers" else f"credential: {id.rpartition('/')[2]}"
                        raise refuse(400, f"duplicate {AUTH_KEYS[plugin]} of plugin {plugin} found with {who}")
        return Unchanged("consumers/", revision)


def auth_keys(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(plugin, value) of what a consumer or credential is found by; references are left out, nobody knows them here."""
    plugins = value.get("plugins")
    for plugin, conf in plugins.items() if isinstance(plugins, dict) else ():
        found = conf.get(AUTH_KEYS.get(plugin, "")) if isinstance(conf, dict) else None
        if isinstance(found, str) and not found.lower().startswith(("$secret://", "$env://")):
            yield plugin, found
