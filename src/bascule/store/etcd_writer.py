"""Writes in etcd, each all or nothing, whose outcome is known also when the answer got lost.

Every transaction puts a sign of its own into the counter (`gen_id`, whose value means nothing to anybody), and compares
that its fence, a key named after the sign, doesn't exist. When an answer is lost, the fence is put: from then on the
transaction can't be done any more, however late it arrives. Whether it was done before, the history of the counter
says. Only what certainly wasn't done is tried again.

A write with more expectations than a transaction takes compares is decided by reading them at one revision. The
transaction then compares that no key among them was put since (a few spans), and what must exist is put in a way that
etcd refuses when it is gone. If others wrote meanwhile, it is read again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence

from bascule.store import etcd_txn
from bascule.store.entry import Condition, Conflict, Exists, Operation, Put, StoreUnavailable, Unchanged
from bascule.store.etcd_client import EtcdClient, Json, KeyValue, key_values
from bascule.store.etcd_errors import EtcdRefused, EtcdUnreachable
from bascule.store.etcd_layout import EtcdLayout, united

_FENCE_S = 3600  # longer than any request can be on its way
_PAUSE_S = 0.1
_MORE_PAUSE_S = 1.0


class EtcdWriter:
    def __init__(self, client: EtcdClient, layout: EtcdLayout) -> None:
        self._client = client
        self._layout = layout

    async def new_id(self) -> int:
        return await self._client.put(self._layout.counter, b"1")

    async def write(self, operations: Sequence[Operation], conditions: Sequence[Condition]) -> int | None:
        """The revision; None: there was nothing to change. Raises Conflict; StoreUnavailable, whose text says so if it
        can't be known whether the write was done."""
        if len(operations) > etcd_txn.MOST:
            raise EtcdRefused(f"etcd takes at most {etcd_txn.MOST} changes at once, these are {len(operations)}")
        attempt = _Attempt(self._client, self._layout, operations, conditions)
        try:
            revision, changed = await attempt.run()
        except (Conflict, StoreUnavailable):
            for lease in attempt.leases.values():
                await self._client.revoke(lease)
            raise
        return revision if changed else None


class _Attempt:
    """One write, until it is known what became of it."""

    def __init__(
        self,
        client: EtcdClient,
        layout: EtcdLayout,
        operations: Sequence[Operation],
        conditions: Sequence[Condition],
    ) -> None:
        self._client = client
        self._layout = layout
        self._operations = operations
        self._conditions = conditions
        self._deadline = client.deadline()
        self.leases: dict[int, int] = {}

    async def run(self) -> tuple[int, bool]:
        """The revision, and whether anything was changed (as far as is known)."""
        while True:
            await self._grant()
            sign = secrets.token_hex(16)
            before = self._client.revision or (await self._look_at_counter())[1]
            body, exact = await self._transaction(sign)
            try:
                answer = await self._client.txn(body, repeatable=False, deadline=self._deadline)
            except EtcdUnreachable as error:
                if not error.maybe_done:
                    raise
                if (revision := await self._settle(sign, before, error)) is not None:
                    return revision, True
            except EtcdRefused as refused:
                if "lease not found" in refused.reason:  # it took longer than the time to live
                    self.leases.clear()
                elif exact or "key not found" not in refused.reason:
                    raise
            else:
                if answer.get("succeeded"):
                    return int(answer["header"]["revision"]), etcd_txn.changes(answer)
                if exact:
                    raise Conflict(self._culprit(answer))
            await self._pause(_PAUSE_S)

    async def _grant(self) -> None:
        for operation in self._operations:
            if isinstance(operation, Put) and operation.ttl_s is not None and operation.ttl_s not in self.leases:
                self.leases[operation.ttl_s] = await self._client.grant(operation.ttl_s, deadline=self._deadline)

    async def _pause(self, pause_s: float) -> None:
        """Raises EtcdUnreachable when there is no time left."""
        loop = asyncio.get_running_loop()
        if loop.time() + pause_s >= self._deadline:
            raise EtcdUnreachable("etcd didn't do the write in time, nothing was changed: try again")
        await asyncio.sleep(pause_s)

    # ---- the transaction

    async def _transaction(self, sign: str) -> tuple[Json, bool]:
        """And whether its compares are all that there is to decide. Raises Conflict."""
        fence = etcd_txn.unmodified(self._layout.fence(sign), 0)
        mark = etcd_txn.put(self._layout.counter, sign.encode())
        compares = [fence, *etcd_txn.compares(self._layout, self._operations, self._conditions)]
        if etcd_txn.fits(len(compares), len(self._operations)):
            requests = etcd_txn.requests(self._layout, self._operations, self.leases)
            body = etcd_txn.transaction(compares, mark, requests)
            body["failure"] = [etcd_txn.look(self._layout.raw(key)) for key in self._needed()]
            return body, True
        compares, requests = await self._decided_by_reading()
        if not etcd_txn.fits(len(compares) + 1, len(requests)):
            raise EtcdRefused(f"etcd can't decide so many conditions at once ({len(compares)}): change less at once")
        return etcd_txn.transaction([fence, *compares], mark, requests), False

    def _needed(self) -> dict[str, int | None]:
        """Keys that something is expected of: the revision; 0: absent; None: present."""
        needed: dict[str, int | None] = {one.key: None for one in self._conditions if isinstance(one, Exists)}
        return needed | {one.key: one.expect for one in self._operations if one.expect is not None}

    def _culprit(self, answer: Json) -> str:
        """Of a transaction whose compares didn't hold; empty: it can't be told (any more)."""
        for (key, expected), response in zip(self._needed().items(), answer.get("responses", ()), strict=False):
            found = key_values(response.get("response_range", {}))
            if not _as_expected(expected, found[0] if found else None):
                return key
        return ""

    async def _decided_by_reading(self) -> tuple[list[Json], list[Json]]:
        """Compares and operations. Raises Conflict."""
        layout = self._layout
        needed = self._needed()
        found, revision = await self._read(list(needed))
        for key, expected in needed.items():
            if not _as_expected(expected, found.get(key)):
                raise Conflict(key)
        present = {one.key for one in self._conditions if isinstance(one, Exists)}
        for key in present - found.keys():
            raise Conflict(key)
        spans = []
        for condition in self._conditions:
            if isinstance(condition, Unchanged):
                for span in layout.spans(condition.prefix):
                    await self._check_unchanged(span, condition.revision, revision)
                    spans.append(span)
        folders: dict[str, list[bytes]] = {}
        for key in needed:
            folders.setdefault(key.partition("/")[0], []).append(layout.raw(key))
        spans += [(min(keys), max(keys) + b"\0") for keys in folders.values()]
        compares = [etcd_txn.unchanged(span, revision) for span in united(spans)]
        requests = etcd_txn.requests(layout, self._operations, self.leases)
        for operation, request in zip(self._operations, requests, strict=True):
            present.discard(operation.key)
            # Of a deletion nothing more: whoever was quicker to delete the same wanted the same.
            if operation.expect and isinstance(operation, Put):
                if operation.ttl_s is None and not found[operation.key].lease:
                    request["request_put"]["ignore_lease"] = True  # it has none; refused if the key is gone
                else:
                    compares.append(etcd_txn.unmodified(layout.raw(operation.key), operation.expect))
        # A touched key has a new revision, which changes nothing for those who follow it.
        requests += [etcd_txn.touch(layout.raw(key)) for key in sorted(present)]
        return compares, requests

    async def _read(self, keys: list[str]) -> tuple[dict[str, KeyValue], int]:
        """Those that exist, and the revision that they are of."""
        found: dict[str, KeyValue] = {}
        revision = 0
        for first in range(0, len(keys), etcd_txn.FLAT):
            some = keys[first : first + etcd_txn.FLAT]
            looks = [etcd_txn.look(self._layout.raw(key), revision=str(revision)) for key in some]
            answer = await self._client.txn({"success": looks}, repeatable=True, deadline=self._deadline)
            revision = revision or int(answer["header"]["revision"])
            for key, response in zip(some, answer["responses"], strict=True):
                for item in key_values(response["response_range"]):
                    found[key] = item
        return found, revision or (await self._look_at_counter())[1]

    async def _check_unchanged(self, span: tuple[bytes, bytes], since: int, revision: int) -> None:
        """Raises Conflict."""
        later = await self._client.range(
            *span, revision=revision, since=since + 1, limit=1, keys_only=True, deadline=self._deadline
        )
        if later.items:
            raise Conflict(self._layout.key(later.items[0].key, None) or "")

    # ---- an answer that was lost

    async def _settle(self, sign: str, before: int, error: EtcdUnreachable) -> int | None:
        """The revision of the transaction with this sign; None: it wasn't done, and won't be."""
        loop = asyncio.get_running_loop()
        pause_s = _PAUSE_S
        unknown = f"it can't be known whether the change was made, look before you repeat it: {error}"
        while True:
            try:
                return await self._fenced(sign, before)
            except EtcdUnreachable as again:
                if loop.time() + pause_s >= self._deadline:
                    raise EtcdUnreachable(unknown, maybe_done=True) from again
            except EtcdRefused as refused:
                raise EtcdUnreachable(unknown, maybe_done=True) from refused
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _MORE_PAUSE_S)

    async def _fenced(self, sign: str, before: int) -> int | None:
        lease = await self._client.grant(_FENCE_S, deadline=self._deadline)
        fence = etcd_txn.put(self._layout.fence(sign), b"1", lease=str(lease))
        answer = await self._client.txn({"success": [fence]}, repeatable=True, deadline=self._deadline)
        if int(answer["header"]["revision"]) < before:  # the cluster was restored from a backup
            before = 0
        item, _ = await self._look_at_counter()
        while item is not None and item.modified > before:
            if item.value == sign.encode():
                await self._client.revoke(lease)
                return item.modified
            item, _ = await self._look_at_counter(item.modified - 1)
        return None

    async def _look_at_counter(self, revision: int = 0) -> tuple[KeyValue | None, int]:
        found = await self._client.range(self._layout.counter, revision=revision, deadline=self._deadline)
        return (found.items[0] if found.items else None), found.revision


def _as_expected(expected: int | None, found: KeyValue | None) -> bool:
    if expected is None:
        return found is not None
    return (found.modified if found is not None else 0) == expected
