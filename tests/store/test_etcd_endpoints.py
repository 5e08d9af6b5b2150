from __future__ import annotations

import random

from bascule.store.etcd_endpoints import EtcdEndpoints

URLS = ("http://a:1/", "http://b:1", "http://c:1")


def test_the_one_that_answered_is_asked_again() -> None:
    endpoints = EtcdEndpoints(URLS, lambda: 0.0)
    assert len(endpoints) == 3
    assert sorted(endpoints.in_order()) == ["http://a:1", "http://b:1", "http://c:1"]
    last = endpoints.in_order()[2]
    endpoints.answered(last)
    assert endpoints.in_order()[0] == last
    assert repr(endpoints) == f"<etcd endpoints {endpoints.in_order()}>"


def test_one_that_failed_rests_and_is_tried_later() -> None:
    now = 0.0
    endpoints = EtcdEndpoints(URLS, lambda: now)
    one, two, three = endpoints.in_order()
    endpoints.failed(one)
    now = 1.0
    endpoints.failed(two)
    assert endpoints.in_order() == [three, one, two]
    now = 10.5
    assert endpoints.in_order() == [one, three, two]
    endpoints.answered(two)
    assert endpoints.in_order() == [two, one, three]


def test_a_fleet_shares_the_members() -> None:
    firsts = {EtcdEndpoints(URLS, lambda: 0.0, random.Random(seed)).in_order()[0] for seed in range(20)}
    assert len(firsts) == 3
