"""A write as one transaction of etcd: its compares, and its operations in a tree when they are many.

etcd takes 128 compares and 128 operations in a transaction (--max-txn-ops), but a transaction is an operation too, and
what counts is the sum of the widths on the way down. Three levels of 42 hold 74,088 operations, at one revision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bascule.store.entry import Condition, Delete, Exists, Operation, Put, Unchanged
from bascule.store.etcd_client import Json, text
from bascule.store.etcd_layout import EtcdLayout

FLAT = 128
WIDTH = 42
MOST = WIDTH**3


def unmodified(key: bytes, revision: int) -> Json:
    """0: it doesn't exist."""
    return {"key": text(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}


def exists(key: bytes) -> Json:
    return {"key": text(key), "target": "CREATE", "result": "GREATER", "create_revision": "0"}


def unchanged(span: tuple[bytes, bytes], revision: int) -> Json:
    """No key of the span was put after `revision`."""
    return {
        "key": text(span[0]),
        "range_end": text(span[1]),
        "target": "MOD",
        "result": "LESS",
        "mod_revision": str(revision + 1),
    }


def put(key: bytes, value: bytes, **options: Any) -> Json:
    return {"request_put": {"key": text(key), "value": text(value), **options}}


def touch(key: bytes) -> Json:
    """Puts what is there; the whole transaction fails if nothing is."""
    return {"request_put": {"key": text(key), "ignore_value": True, "ignore_lease": True}}


def delete(key: bytes) -> Json:
    return {"request_delete_range": {"key": text(key)}}


def look(key: bytes, **options: Any) -> Json:
    return {"request_range": {"key": text(key), "keys_only": True, **options}}


def compares(layout: EtcdLayout, operations: Sequence[Operation], conditions: Sequence[Condition]) -> list[Json]:
    """Of every expectation and condition."""
    found = [unmodified(layout.raw(one.key), one.expect) for one in operations if one.expect is not None]
    for condition in conditions:
        match condition:
            case Exists(key):
                found.append(exists(layout.raw(key)))
            case Unchanged(prefix, revision):
                found += [unchanged(span, revision) for span in layout.spans(prefix)]
    return found


def requests(layout: EtcdLayout, operations: Sequence[Operation], leases: dict[int, int]) -> list[Json]:
    """`leases`: seconds to live -> lease."""
    found = []
    for operation in operations:
        match operation:
            case Put(key, value, _, ttl_s):
                lease = {} if ttl_s is None else {"lease": str(leases[ttl_s])}
                found.append(put(layout.raw(key), value, **lease))
            case Delete(key):
                found.append(delete(layout.raw(key)))
    return found


def changes(answer: Json) -> bool:
    """Whether a transaction that was done put or deleted anything, besides its sign."""
    return any(map(_changed, answer.get("responses", ())[1:]))


def _changed(response: Json) -> bool:
    inner = response.get("response_txn")
    if inner is not None:
        return any(map(_changed, inner.get("responses", ())))
    return "response_put" in response or int(response.get("response_delete_range", {}).get("deleted", 0)) > 0


def tree(requests: list[Json]) -> list[Json]:
    """At most `WIDTH` operations that do the same."""
    while len(requests) > WIDTH:
        requests = [{"request_txn": {"success": requests[i : i + WIDTH]}} for i in range(0, len(requests), WIDTH)]
    return requests


def fits(compares: int, requests: int) -> bool:
    """Whether a flat transaction takes them, or a tree of operations under these compares."""
    return _flat(compares, requests) or (compares <= WIDTH and requests <= MOST)


def transaction(compares: list[Json], sign: Json, requests: list[Json]) -> Json:
    """For what `fits`. `sign`: an operation that comes first, outside of the tree."""
    flat = _flat(len(compares), len(requests))
    return {"compare": compares, "success": [sign, *(requests if flat else tree(requests))]}


def _flat(compares: int, requests: int) -> bool:
    return compares <= FLAT and requests < FLAT
