"""Everything that the Admin API does to resources, without HTTP: over a live store, checked, and safe against races.

Whatever a decision was based on stands in the write as an expectation or a condition; if it doesn't hold any more, the
whole operation is done again on what is there now. Writers of this process wait for each other where they concern the
same thing, so that only other processes can be quicker; and who lost several times writes while nobody else here does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from bascule.admin.answer import NOT_FOUND, Answer, Refusal, refuse, refuse_faults
from bascule.admin.auth_keys import AuthKeys, auth_keys
from bascule.admin.json_patch import PatchRefused, apply_json_patch
from bascule.admin.locks import Gate, NamedLocks
from bascule.admin.merge import NoSuchPlace, merged, replaced
from bascule.admin.permit import Permit
from bascule.admin.plugin_groups import find_mismatch
from bascule.admin.reader import Reader
from bascule.admin.reference_check import ReferenceCheck
from bascule.admin.resource_kind import KINDS, TIMELESS, ResourceKind, is_id
from bascule.admin.uniqueness import KINDS as UNIQUE
from bascule.admin.uniqueness import find_twin, folder_of
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
from bascule.store.stored_value import format_value

_TRIES = 4
_TRIES_ALONE = 4
_LARGE = 32_768  # bytes
_TIMES = ("create_time", "update_time")


class Checks(Protocol):
    def check(self, kind: str, id: str, value: Any) -> list[Fault]: ...


class Seals(Protocol):
    def seal(self, kind: str, value: Mapping[str, Any]) -> dict[str, Any]: ...
    def unseal(self, kind: str, value: Mapping[str, Any]) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Wish:
    """How something is to be written. `expect`: revisions of If-Match, of which one must be the resource's; empty: it
    must exist."""

    permit: Permit
    ttl_s: int | None = None
    expect: frozenset[int] | None = None
    force: bool = False

    def holds_for(self, old: Entry | None) -> bool:
        if self.expect is None:
            return True
        return old is not None and (not self.expect or old.modified in self.expect)


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
        self._reader = Reader(store, sealer, prefix)
        self._references = ReferenceCheck(store)
        self._auth_keys = AuthKeys(store, sealer)
        self._locks = NamedLocks()
        self._gate = Gate()

    # ---- reading

    async def get(self, kind: str, id: str, permit: Permit) -> Answer:
        return await self._answered(lambda: self._reader.get(kind, id, permit), ())

    async def list(self, kind: str, query: Mapping[str, str], permit: Permit, parent: str | None = None) -> Answer:
        """`parent`: the id of the resource that nested ones belong to; of secrets, the manager."""
        return await self._answered(lambda: self._reader.list(kind, query, permit, parent), ())

    # ---- writing

    async def put(self, kind: str, id: str | None, body: Any, wish: Wish) -> Answer:
        """`id`: of the path; None: it stands in the body."""
        inside = body.get("username" if kind == "consumers" else "id") if isinstance(body, dict) else None
        locks = _locks(kind, str(inside) if id is None else id, body)
        return await self._answered(lambda: self._put(kind, id, body, wish), locks)

    async def post(self, kind: str, body: Any, wish: Wish, parent: str | None = None) -> Answer:
        # Its id is new: only what it must differ from is of concern.
        locks = [f"{folder_of(kind, f'{parent}/{kind}/')}"] if kind in UNIQUE else []
        return await self._answered(lambda: self._post(kind, body, wish, parent), locks)

    async def patch(self, kind: str, id: str, path: Sequence[str], patch: Any, wish: Wish, form: str = "") -> Answer:
        """`path`: inside the resource, empty for the whole. `form`: "json-patch", "merge-patch", or "" for APISIX's."""
        return await self._answered(lambda: self._patch(kind, id, path, patch, wish, form), _locks(kind, id))

    async def delete(self, kind: str, id: str, wish: Wish) -> Answer:
        return await self._answered(lambda: self._delete(kind, id, wish), _locks(kind, id))

    async def commit(
        self, operations: Sequence[Operation], origin: Origin, conditions: Sequence[Condition] = ()
    ) -> int:
        """The store's `write`, in turn with the other writers of this process: for who writes several resources at
        once. May raise Conflict and StoreUnavailable."""
        async with self._gate.shared():
            return await self.store.write(operations, origin, conditions)

    async def _put(self, kind: str, id: str | None, body: Any, wish: Wish) -> Answer:
        rules = KINDS[kind]
        wish.permit.check_kind(kind)
        value = self._object(body)
        self._forbid_times(value)
        id = self._path_id(rules, id, value)
        if not is_id(kind, id):
            raise refuse(400, f"wrong {rules.noun} id")
        await self._reader.check_parent(kind, id)
        self._check_owner(kind, id, value)
        old = await self._reader.entry(kind, id)
        self._expect(wish, old)
        return await self._store(rules, id, value, old, wish, 200 if old else 201)

    async def _post(self, kind: str, body: Any, wish: Wish, parent: str | None) -> Answer:
        rules = KINDS[kind]
        wish.permit.check_kind(kind)
        value = self._object(body)
        self._forbid_times(value)
        if kind in NESTED:
            await self._reader.check_parent(kind, f"{parent}/{kind}/")
        if value.get("id") is not None:
            raise refuse(400, f"wrong {rules.noun} id, do not need it")
        number = f"{await self.store.new_id():020d}"
        id = f"{parent}/{kind}/{number}" if kind in NESTED else number
        self._check_owner(kind, id, value)
        return await self._store(rules, id, value, None, wish, 201)

    async def _patch(self, kind: str, id: str, path: Sequence[str], patch: Any, wish: Wish, form: str) -> Answer:
        rules = KINDS[kind]
        wish.permit.check_kind(kind)
        await self._reader.check_parent(kind, id)
        old = await self._reader.entry(kind, id)
        if old is None:
            return NOT_FOUND
        self._expect(wish, old)
        before = self._reader.value(kind, old)
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
        if not (form == "" and not path and "update_time" in patch):
            value.pop("update_time", None)
        if value.get("service_id") != before.get("service_id") and kind == "graphql_cost_decorations":
            raise refuse(400, "service_id can not be patched")
        self._path_id(rules, id, value)
        value.pop("id", None)  # the path's, as a text
        return await self._store(rules, id, value, old, wish, 200)

    async def _store(
        self, rules: ResourceKind, id: str, value: dict[str, Any], old: Entry | None, wish: Wish, status: int
    ) -> Answer:
        kind, key = rules.name, key_of(rules.name, id)
        wish.permit.check(kind, value)
        if old is not None:
            wish.permit.check(kind, self._reader.value(kind, old))
        now = int(self._clock())
        full = self._named(kind, id, value)
        before = self._reader.value(kind, old) if old is not None else {}
        if kind not in TIMELESS:
            full.setdefault("create_time", before.get("create_time", now))
            full.setdefault("update_time", now)
        faults = await self._check(kind, id, full)
        if faults:
            raise refuse_faults(faults)
        conditions = [*await self._references.before_write(kind, id, full), *await self._alone(kind, id, full)]
        sealed = self.sealer.seal(kind, full)
        operation = Put(key, format_value(sealed), old.modified if old else 0, wish.ttl_s)
        revision = await self._write([operation], wish, conditions)
        # Private keys are never told again; what was stored may be seen.
        shown = sealed if kind == "ssls" else full
        return Answer(status, {"key": f"{self.prefix}/{key}", "value": shown}, revision, etag=revision)

    async def _check(self, kind: str, id: str, value: dict[str, Any]) -> Sequence[Fault]:
        """In another thread what may take long: protos are compiled, by another process."""
        if kind == "protos" or len(format_value(value)) > _LARGE:
            return await asyncio.to_thread(self.validator.check, kind, id, value)
        return self.validator.check(kind, id, value)

    @staticmethod
    def _named(kind: str, id: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """A copy with the id inside, as stores have it."""
        named = dict(value)
        if kind in ("plugin_metadata", "secrets"):
            named["id"] = id
        elif kind != "consumers" and named.get("id") is None:
            named["id"] = id.rpartition("/")[2]
        if kind == "graphql_cost_decorations":
            named["service_id"] = id.partition("/")[0]
        return named

    async def _alone(self, kind: str, id: str, value: Mapping[str, Any]) -> Sequence[Condition]:
        """No other resource has what only one may have. Raises Refusal."""
        fault = None
        conditions: Sequence[Condition] = ()
        if kind in ("consumers", "credentials"):
            # Exact among the writers of this process, which hold locks on these keys; among others as good as it gets.
            fault = await self._auth_keys.taken(kind, id, value)
        elif kind in UNIQUE:
            fault, condition = await find_twin(self.store, kind, id, value)
            conditions = (condition,)
        fault = fault or await find_mismatch(self.store, self.sealer, kind, id, value)
        if fault is not None:
            raise refuse_faults([fault])
        return conditions

    async def _delete(self, kind: str, id: str, wish: Wish) -> Answer:
        key = key_of(kind, id)
        wish.permit.check_kind(kind)
        await self._reader.check_parent(kind, id)
        old = await self._reader.entry(kind, id)
        if old is None:
            return NOT_FOUND
        self._expect(wish, old)
        wish.permit.check(kind, self._reader.value(kind, old))
        conditions = [] if wish.force else await self._references.before_delete(kind, id)
        operations: list[Operation] = [Delete(key, old.modified)]
        if kind in NESTED.values():
            below, revision = await self.store.list(f"{key}/")
            operations += [Delete(entry.key, entry.modified) for entry in below]
            conditions = [*conditions, Unchanged(f"{key}/", revision)]
        revision = await self._write(operations, wish, conditions)
        return Answer(200, {"deleted": "1", "key": f"{self.prefix}/{key}"}, revision)

    async def _write(self, operations: Sequence[Operation], wish: Wish, conditions: Sequence[Condition]) -> int:
        return await self.commit(operations, Origin(wish.permit.name), conditions)

    # ---- what all of them do

    async def _answered(self, operate: Callable[[], Awaitable[Answer]], locks: Iterable[str]) -> Answer:
        try:
            async with self._locks.hold(locks):
                for number in range(_TRIES + _TRIES_ALONE):
                    try:
                        async with self._gate.alone() if number >= _TRIES else nullcontext():
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
        """Not even in an upstream inside."""
        for part in (value, value.get("upstream")):
            for name in _TIMES:
                if isinstance(part, dict) and name in part:
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
    def _check_owner(kind: str, id: str, value: Mapping[str, Any]) -> None:
        told = value.get("service_id")
        if kind == "graphql_cost_decorations" and told is not None and str(told) != id.partition("/")[0]:
            raise refuse(400, "wrong service_id, it is taken from the path")

    @staticmethod
    def _expect(wish: Wish, old: Entry | None) -> None:
        if wish.holds_for(old):
            return
        found = "the resource doesn't exist" if old is None else f"the resource is at revision {old.modified}"
        body = {"error_msg": f"If-Match doesn't hold: {found}"}
        raise Refusal(Answer(412, body, etag=None if old is None else old.modified))


def _locks(kind: str, id: str, value: Any = None) -> list[str]:
    """What a write holds while it reads, checks and writes: the resource, or the folder in which it has to be unique,
    and the auth keys of `value`."""
    keys = [key.lock for key in auth_keys(value)] if kind in ("consumers", "credentials") else []
    return [folder_of(kind, id) if kind in UNIQUE else key_of(kind, id), *keys]


def _lua_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "table" if isinstance(value, list) else "string"
