"""Everything that the Admin API does to resources, without HTTP: over a live store, checked, and safe against races.

Whatever a decision was based on stands in the write as an expectation or a condition; if it doesn't hold any more, the
whole operation is done again on what is there now.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bascule.admin.answer import NOT_FOUND, Answer, Refusal, refuse, refuse_faults
from bascule.admin.json_patch import PatchRefused, apply_json_patch
from bascule.admin.listing import Item, filtered, page_of
from bascule.admin.merge import NoSuchPlace, merged, replaced
from bascule.admin.permit import Permit
from bascule.admin.reference_check import ReferenceCheck
from bascule.admin.resource_kind import KINDS, ResourceKind, with_defaults
from bascule.errors.fault import Fault
from bascule.store.entry import (
    Condition,
    Conflict,
    Delete,
    Entry,
    LiveStore,
    Operation,
    Origin,
    Put,
    StoreUnavailable,
    Unchanged,
)
from bascule.store.keys import NESTED, key_of
from bascule.store.stored_value import NotAResource, format_value, parse_value

_TRIES = 5
_TIMES = ("create_time", "update_time")


class Checks(Protocol):
    def check(self, kind: str, id: str, value: Any) -> list[Fault]: ...


class Seals(Protocol):
    def seal(self, kind: str, value: Mapping[str, Any]) -> dict[str, Any]: ...
    def unseal(self, kind: str, value: Mapping[str, Any]) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Wish:
    """How something is to be written. `expect`: the revision of If-Match."""

    permit: Permit
    ttl_s: int | None = None
    expect: int | None = None
    force: bool = False


class Administration:
    """`prefix` is what keys begin with in answers. Every method answers; none raises for what a client sent."""

    def __init__(
        self,
        store: LiveStore,
        validator: Checks,
        sealer: Seals,
        *,
        prefix: str = "/apisix",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.validator = validator
        self.sealer = sealer
        self.prefix = prefix
        self._clock = clock
        self._references = ReferenceCheck(store, sealer)

    # ---- reading

    async def get(self, kind: str, id: str, permit: Permit) -> Answer:
        return await self._answered(lambda: self._get(kind, id, permit))

    async def list(self, kind: str, query: Mapping[str, str], permit: Permit, parent: str | None = None) -> Answer:
        """`parent`: the id of the resource that nested ones belong to; of secrets, the manager."""
        return await self._answered(lambda: self._list(kind, query, permit, parent))

    async def _get(self, kind: str, id: str, permit: Permit) -> Answer:
        permit.check_kind(kind)
        await self._check_parent(kind, id)
        entry = await self.store.get(key_of(kind, id))
        if entry is None:
            return NOT_FOUND
        item = self._item(kind, entry)
        permit.check(kind, item["value"])
        return Answer(200, item, etag=entry.modified)

    async def _list(self, kind: str, query: Mapping[str, str], permit: Permit, parent: str | None) -> Answer:
        permit.check_kind(kind)
        if kind in NESTED and parent is not None:
            await self._check_parent(kind, f"{parent}/{kind}/")
        folder = f"{NESTED[kind]}/{parent}/{kind}/" if kind in NESTED else f"{kind}/{parent}/" if parent else f"{kind}/"
        entries, _ = await self.store.list(folder)
        depth = folder.count("/") + (KINDS[kind].id_parts - 1 if parent is None else 0)
        items = [self._item(kind, entry) for entry in entries if entry.key.count("/") == depth]
        items = [item for item in items if permit.covers(kind, item["value"])]
        found = filtered(items, query, KINDS[kind].filters)
        return Answer(200, {"total": len(found), "list": page_of(found, query)})

    def _item(self, kind: str, entry: Entry) -> Item:
        return {
            "key": f"{self.prefix}/{entry.key}",
            "value": self._shown(kind, self._value(kind, entry)),
            "createdIndex": entry.created,
            "modifiedIndex": entry.modified,
        }

    def _value(self, kind: str, entry: Entry) -> dict[str, Any]:
        """Unsealed. Something else may write into the store too: what is no resource shows as an empty one."""
        try:
            return self.sealer.unseal(kind, parse_value(entry.value))
        except NotAResource:
            return {}

    @staticmethod
    def _shown(kind: str, value: dict[str, Any]) -> dict[str, Any]:
        """Private keys of certificates are never told again."""
        if kind != "ssls":
            return value
        return {name: inner for name, inner in value.items() if name not in ("key", "keys")}

    # ---- writing

    async def put(self, kind: str, id: str | None, body: Any, wish: Wish) -> Answer:
        """`id`: of the path; None: it stands in the body."""
        return await self._answered(lambda: self._put(kind, id, body, wish))

    async def post(self, kind: str, body: Any, wish: Wish, parent: str | None = None) -> Answer:
        return await self._answered(lambda: self._post(kind, body, wish, parent))

    async def patch(self, kind: str, id: str, path: Sequence[str], patch: Any, wish: Wish, form: str = "") -> Answer:
        """`path`: inside the resource, empty for the whole. `form`: "json-patch", "merge-patch", or "" for APISIX's."""
        return await self._answered(lambda: self._patch(kind, id, path, patch, wish, form))

    async def delete(self, kind: str, id: str, wish: Wish) -> Answer:
        return await self._answered(lambda: self._delete(kind, id, wish))

    async def _put(self, kind: str, id: str | None, body: Any, wish: Wish) -> Answer:
        rules = KINDS[kind]
        value = self._object(body)
        self._forbid_times(value)
        id = self._path_id(rules, id, value)
        await self._check_parent(kind, id)
        old = await self.store.get(key_of(kind, id))
        self._expect(wish, old)
        return await self._store(rules, id, value, old, wish, 200 if old else 201)

    async def _post(self, kind: str, body: Any, wish: Wish, parent: str | None) -> Answer:
        rules = KINDS[kind]
        value = self._object(body)
        self._forbid_times(value)
        if kind in NESTED:
            await self._check_parent(kind, f"{parent}/{kind}/")
        if value.get("id") is not None:
            raise refuse(400, f"wrong {rules.noun} id, do not need it")
        number = f"{await self.store.new_id():020d}"
        id = f"{parent}/{kind}/{number}" if kind in NESTED else number
        return await self._store(rules, id, value, None, wish, 201)

    async def _patch(self, kind: str, id: str, path: Sequence[str], patch: Any, wish: Wish, form: str) -> Answer:
        rules = KINDS[kind]
        await self._check_parent(kind, id)
        old = await self.store.get(key_of(kind, id))
        if old is None:
            return NOT_FOUND
        self._expect(wish, old)
        before = self._value(kind, old)
        wish.permit.check(kind, before)
        try:
            if form == "json-patch":
                value = apply_json_patch(before, patch)
            elif path:
                value = replaced(before, path, patch)
            else:
                value = merged(before, self._object(patch, "missing new configuration"))
        except (PatchRefused, NoSuchPlace) as error:
            raise refuse(400, str(error)) from None
        if not isinstance(value, dict):
            raise refuse(400, "a resource must be an object")
        return await self._store(rules, self._path_id(rules, id, value), value, old, wish, 200)

    async def _store(
        self, rules: ResourceKind, id: str, value: dict[str, Any], old: Entry | None, wish: Wish, status: int
    ) -> Answer:
        kind, key = rules.name, key_of(rules.name, id)
        wish.permit.check(kind, value)
        if old is not None:
            wish.permit.check(kind, self._value(kind, old))
        now = int(self._clock())
        given = {name: inner for name, inner in value.items() if name not in _TIMES}
        if kind != "consumers":
            given["id"] = id.rpartition("/")[2] if kind in NESTED or kind == "secrets" else id
        faults = self.validator.check(kind, id, given)
        if faults:
            raise refuse_faults(faults)
        conditions = await self._references.before_write(kind, id, given)
        before = self._value(kind, old) if old is not None else {}
        full = with_defaults(rules, given) | {"create_time": before.get("create_time", now), "update_time": now}
        operation = Put(key, format_value(self.sealer.seal(kind, full)), old.modified if old else 0, wish.ttl_s)
        revision = await self._write([operation], wish, conditions)
        shown = full if status == 201 or old is None else self._shown(kind, full)
        return Answer(status, {"key": f"{self.prefix}/{key}", "value": shown}, revision, etag=revision)

    async def _delete(self, kind: str, id: str, wish: Wish) -> Answer:
        key = key_of(kind, id)
        wish.permit.check_kind(kind)
        await self._check_parent(kind, id)
        old = await self.store.get(key)
        if old is None:
            return NOT_FOUND
        self._expect(wish, old)
        wish.permit.check(kind, self._value(kind, old))
        conditions = [] if wish.force else await self._references.before_delete(kind, id)
        operations: list[Operation] = [Delete(key, old.modified)]
        if kind in NESTED.values():
            below, revision = await self.store.list(f"{key}/")
            operations += [Delete(entry.key, entry.modified) for entry in below]
            conditions = [*conditions, Unchanged(f"{key}/", revision)]
        revision = await self._write(operations, wish, conditions)
        return Answer(200, {"deleted": "1", "key": f"{self.prefix}/{key}"}, revision)

    async def _write(self, operations: Sequence[Operation], wish: Wish, conditions: Sequence[Condition]) -> int:
        return await self.store.write(operations, Origin(wish.permit.name), conditions)

    # ---- what all of them do

    async def _answered(self, operate: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            for _ in range(_TRIES):
                try:
                    return await operate()
                except Conflict:
                    continue  # somebody else was quicker: on what is there now
            return Answer(503, {"error_msg": str(Conflict())})
        except Refusal as refusal:
            return refusal.answer
        except StoreUnavailable as error:
            return Answer(503, {"error_msg": str(error)})

    @staticmethod
    def _object(body: Any, missing: str = "missing configurations") -> dict[str, Any]:
        if body is None:
            raise refuse(400, missing)
        if not isinstance(body, dict):
            raise refuse_faults(
                [Fault("$", "must be an object", f"wrong type: expected object, got {_lua_type(body)}")]
            )
        return dict(body)

    @staticmethod
    def _forbid_times(value: Mapping[str, Any]) -> None:
        for name in _TIMES:
            if name in value:
                raise refuse(400, f"the property is forbidden:  {name}")

    @staticmethod
    def _path_id(rules: ResourceKind, id: str | None, value: dict[str, Any]) -> str:
        """The id that the path and the body agree on. Raises Refusal."""
        if rules.name == "plugin_metadata":
            if id is None:
                raise refuse(400, "missing plugin name")
            value.pop("id", None)
            return id
        name = "username" if rules.name == "consumers" else "id"
        inside = value.get(name)
        told = str(inside) if isinstance(inside, str | int) and not isinstance(inside, bool) else None
        if rules.name == "consumers":
            if id is None or told is None:
                # A body without a username, or with one that is none, is the validator's to refuse.
                return id or told or "-"
            if told != id:
                raise refuse(400, "wrong username")
            return id
        if id is None:
            if told is None:
                raise refuse(400, f"missing {rules.noun} id")
            return told
        if inside is not None and told != id.rpartition("/")[2] and told != id:
            raise refuse(400, f"wrong {rules.noun} id")
        return id

    @staticmethod
    def _expect(wish: Wish, old: Entry | None) -> None:
        if wish.expect is not None and (old is None or old.modified != wish.expect):
            found = "it doesn't exist" if old is None else f"it is at revision {old.modified}"
            body = {"error_msg": f"the resource has changed: If-Match says revision {wish.expect}, {found}"}
            raise Refusal(Answer(412, body, etag=None if old is None else old.modified))

    async def _check_parent(self, kind: str, id: str) -> None:
        """Nested resources exist only below what they belong to."""
        above = NESTED.get(kind)
        if above is not None and await self.store.get(f"{above}/{id.partition('/')[0]}") is None:
            raise refuse(404, f"{KINDS[above].noun} not found")


def _lua_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "table" if isinstance(value, list) else "string"
