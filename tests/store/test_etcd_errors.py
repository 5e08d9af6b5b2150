from __future__ import annotations

import pytest

from bascule.store.etcd_errors import Compacted, EtcdUnreachable, is_stale_token, is_trouble, refusal


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("etcdserver: request is too large", "--max-request-bytes"),
        ("grpc: received message larger than max (2097165 vs. 2097152)", "--max-request-bytes"),
        ("etcdserver: too many operations in txn request", "--max-txn-ops must be 128"),
        ("etcdserver: mvcc: database space exceeded", "compact and defragment it"),
        ("etcdserver: permission denied", "readwrite on /apisix/"),
        ("etcdserver: something new", "etcd refuses: etcdserver: something new"),
    ],
)
def test_refusals_say_what_to_do(reason: str, sentence: str) -> None:
    refused = refusal(reason, "jack", "/apisix")
    assert sentence in str(refused)
    assert refused.reason == reason


def test_kinds() -> None:
    assert isinstance(refusal("etcdserver: mvcc: required revision has been compacted", None, "/a"), Compacted)
    assert is_stale_token("etcdserver: invalid auth token")
    assert not is_stale_token("etcdserver: permission denied")
    assert is_trouble(14)
    assert not is_trouble(3)
    assert not EtcdUnreachable("gone").maybe_done
