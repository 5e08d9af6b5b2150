from __future__ import annotations

from typing import Any

import pytest

from bascule.store import etcd_txn
from bascule.store.entry import Delete, Exists, Put, Unchanged
from bascule.store.etcd_client import text
from bascule.store.etcd_layout import EtcdLayout

LAYOUT = EtcdLayout("/apisix")
SIGN = etcd_txn.put(b"sign", b"")


def leaves(requests: list[Any]) -> list[Any]:
    found = []
    for one in requests:
        inner = one.get("request_txn")
        found += leaves(inner["success"]) if inner else [one]
    return found


def widest(requests: list[Any]) -> int:
    """The largest sum of widths on a way down: what etcd limits."""
    inner = [widest(one["request_txn"]["success"]) for one in requests if "request_txn" in one]
    return len(requests) + max(inner, default=0)


@pytest.mark.parametrize("number", [0, 1, 127, 128, 129, 1764, 1765, etcd_txn.MOST])
def test_any_number_of_operations_keeps_to_the_limit(number: int) -> None:
    assert etcd_txn.fits(1, number)
    requests = [{"n": n} for n in range(number)]
    body = etcd_txn.transaction([], SIGN, requests)
    assert leaves(body["success"]) == [SIGN, *requests]
    assert widest(body["success"]) <= 128


def test_what_does_not_fit() -> None:
    assert etcd_txn.fits(128, 127)
    assert not etcd_txn.fits(129, 1)
    assert not etcd_txn.fits(43, 128)
    assert not etcd_txn.fits(1, etcd_txn.MOST + 1)


def test_compares_and_operations() -> None:
    operations = [
        Put("a/1", b"x", expect=0),
        Put("a/2", b"y", expect=7, ttl_s=5),
        Delete("a/3"),
        Delete("a/4", expect=2),
    ]
    compares = etcd_txn.compares(LAYOUT, operations, [Exists("b"), Unchanged("routes/", 9)])
    assert [one["target"] for one in compares] == ["MOD", "MOD", "MOD", "CREATE", "MOD"]
    assert [one.get("mod_revision") for one in compares] == ["0", "7", "2", None, "10"]
    requests = etcd_txn.requests(LAYOUT, operations, {5: 77})
    assert [list(one) for one in requests] == [["request_put"]] * 2 + [["request_delete_range"]] * 2
    assert requests[1]["request_put"] == {"key": text(b"/apisix/a/2"), "value": text(b"y"), "lease": "77"}


def test_whether_anything_was_changed() -> None:
    nothing: dict[str, Any] = {"response_delete_range": {}}
    put: dict[str, Any] = {"response_put": {}}
    assert not etcd_txn.changes({"responses": [put, nothing]})
    assert etcd_txn.changes({"responses": [put, {"response_delete_range": {"deleted": "1"}}]})
    assert etcd_txn.changes({"responses": [put, {"response_txn": {"responses": [nothing, put]}}]})
    assert not etcd_txn.changes({"responses": [put, {"response_txn": {"responses": [nothing]}}]})
