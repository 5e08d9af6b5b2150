"""By what a consumer is recognised: keys of authentication plugins, which no two consumers or credentials may share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from bascule.errors.fault import Fault
from bascule.errors.sentences import json_path
from bascule.store.entry import Entry, LiveStore
from bascule.store.keys import kind_and_id
from bascule.store.stored_value import NotAResource, parse_value

_ATTRIBUTE = {
    "key-auth": "key",
    "basic-auth": "username",
    "jwt-auth": "key",
    "hmac-auth": "key_id",
    "ldap-auth": "user_dn",
    "ldap-auth-advanced": "user_dn",
}
_REFERENCES = ("$secret://", "$env://", "$file://")
_FOLDER = "consumers/"
_MANY = 200  # entries that are read all at once, and unsealed in another thread


class Unseals(Protocol):
    def unseal(self, kind: str, value: Mapping[str, Any]) -> dict[str, Any]: ...


class AuthKey(NamedTuple):
    plugin: str
    key: str

    @property
    def lock(self) -> str:
        """Whose holder alone may give this key to a consumer."""
        return f"{self.plugin} {self.key}"


def auth_keys(value: Any) -> Iterator[AuthKey]:
    """Of a consumer or a credential, unsealed; of any junk. References are passed over: what they hold isn't known."""
    plugins = value.get("plugins") if isinstance(value, dict) else None
    for plugin, conf in plugins.items() if isinstance(plugins, dict) else ():
        key = conf.get(_ATTRIBUTE.get(plugin)) if isinstance(conf, dict) else None
        if isinstance(key, str) and not key.lower().startswith(_REFERENCES):
            yield AuthKey(plugin, key)


class AuthKeys:
    """Those that are in the store. What was read once isn't read and unsealed again."""

    def __init__(self, store: LiveStore, sealer: Unseals) -> None:
        self._store = store
        self._sealer = sealer
        self._known: dict[str, tuple[int, tuple[AuthKey, ...]]] = {}  # key in the store -> revision, auth keys
        self._holders: dict[AuthKey, set[str]] = {}  # of what is known: keys in the store
        self._reading = asyncio.Lock()

    async def taken(self, kind: str, id: str, value: Mapping[str, Any]) -> Fault | None:
        """Another consumer, or a credential, has an auth key of `value` already. May raise StoreUnavailable."""
        wanted = dict.fromkeys(auth_keys(value))
        if not wanted:
            return None
        async with self._reading:
            await self._catch_up()
            for auth_key in wanted:
                for key in sorted(self._holders.get(auth_key, ())):
                    holder = kind_and_id(key)
                    if holder is not None and holder != (kind, id) and not _same_consumer(kind, id, *holder):
                        return taken_by(auth_key, *holder)
        return None

    async def _catch_up(self) -> None:
        there = await self._store.revisions(_FOLDER)
        new = [key for key, revision in there.items() if key not in self._known or self._known[key][0] != revision]
        for key in self._known.keys() - there.keys():
            self._note(key, None)
        if len(new) > _MANY:
            entries, _ = await self._store.list(_FOLDER)
            read = await asyncio.to_thread(lambda: [self._auth_keys(entry) for entry in entries])
            for entry, keys in zip(entries, read, strict=True):
                self._note(entry.key, (entry.modified, keys))
            return
        for key in new:
            found = await self._store.get(key)
            self._note(key, (there[key], ()) if found is None else (found.modified, self._auth_keys(found)))

    def _note(self, key: str, known: tuple[int, tuple[AuthKey, ...]] | None) -> None:
        """`known` None: it isn't there any more."""
        for auth_key in self._known.pop(key, (0, ()))[1]:
            holders = self._holders[auth_key]
            holders.discard(key)
            if not holders:
                del self._holders[auth_key]
        if known is not None:
            self._known[key] = known
            for auth_key in known[1]:
                self._holders.setdefault(auth_key, set()).add(key)

    def _auth_keys(self, entry: Entry) -> tuple[AuthKey, ...]:
        named = kind_and_id(entry.key)
        if named is None:
            return ()
        try:
            return tuple(dict.fromkeys(auth_keys(self._sealer.unseal(named[0], parse_value(entry.value)))))
        except NotAResource:
            return ()  # it opens nothing to anybody


def _same_consumer(kind: str, id: str, other_kind: str, other_id: str) -> bool:
    """A consumer may repeat what one of its own credentials has."""
    return kind == "consumers" and other_kind == "credentials" and other_id.partition("/")[0] == id


def taken_by(auth_key: AuthKey, kind: str, id: str) -> Fault:
    """`kind`, `id`: of who has the key."""
    attribute = _ATTRIBUTE[auth_key.plugin]
    who, name = ("credential", id.rpartition("/")[2]) if kind == "credentials" else ("consumer", id)
    return Fault(
        json_path(("plugins", auth_key.plugin, attribute)),
        f'the {who} "{name}" has the same',
        f"duplicate {attribute} of plugin {auth_key.plugin} found with {who}: {name}",
        "",
    )
