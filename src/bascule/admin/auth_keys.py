"""By what a consumer is recognised: keys of authentication plugins, which no two consumers or credentials may share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
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
_REFERENCES = ("$secret://", "$env://")
_MANY = 200  # entries that are unsealed in another thread


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
    """Those that are in the store. What was read once isn't unsealed again."""

    def __init__(self, store: LiveStore, sealer: Unseals) -> None:
        self._store = store
        self._sealer = sealer
        self._known: dict[str, tuple[int, tuple[AuthKey, ...]]] = {}  # key in the store -> revision, auth keys

    async def taken(self, kind: str, id: str, value: Mapping[str, Any]) -> Fault | None:
        """Another consumer, or a credential, has an auth key of `value` already. May raise StoreUnavailable."""
        wanted = set(auth_keys(value))
        if not wanted:
            return None
        entries, _ = await self._store.list("consumers/")
        new = [entry for entry in entries if self._is_new(entry)]
        if len(new) > _MANY:
            await asyncio.to_thread(self._read, new)
        else:
            self._read(new)
        self._forget(entries)
        for entry in entries:
            holder = kind_and_id(entry.key)
            if holder is None or holder == (kind, id):
                continue
            for auth_key in self._known[entry.key][1]:
                if auth_key in wanted and not _same_consumer(kind, id, *holder):
                    return taken_by(auth_key, *holder)
        return None

    def _is_new(self, entry: Entry) -> bool:
        known = self._known.get(entry.key)
        return known is None or known[0] != entry.modified

    def _read(self, entries: Sequence[Entry]) -> None:
        self._known.update((entry.key, (entry.modified, tuple(self._auth_keys(entry)))) for entry in entries)

    def _forget(self, entries: Sequence[Entry]) -> None:
        """What isn't there any more, once it is as much as what is there."""
        if len(self._known) > 2 * len(entries):
            self._known = {entry.key: self._known[entry.key] for entry in entries}

    def _auth_keys(self, entry: Entry) -> Iterator[AuthKey]:
        named = kind_and_id(entry.key)
        if named is None:
            return
        try:
            yield from auth_keys(self._sealer.unseal(named[0], parse_value(entry.value)))
        except NotAResource:
            return  # it opens nothing to anybody


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
