from collections import Counter
from random import Random

import pytest

from bascule.balance.p2c import PowerOfTwo
from tests.balance.shares import close, members, shares


def test_idle_nodes_are_picked_by_weight() -> None:
    balancer = PowerOfTwo(members(1, 2, 5), Random(1))
    # One of the two drawn first is as idle as the other: the first counts.
    assert shares(balancer, 100_000) == close({0: 1 / 8, 1: 2 / 8, 2: 5 / 8}, 0.006)


def test_the_less_busy_of_two_is_picked() -> None:
    balancer = PowerOfTwo(members(1, 1), Random(1))
    balancer.on_start(0)
    assert shares(balancer, 100) == {1: 1.0}
    balancer.on_start(1)
    balancer.on_start(1)
    assert shares(balancer, 100) == {0: 1.0}
    balancer.on_finish(1, 0.1, True)
    balancer.on_finish(1, 0.1, True)
    assert shares(balancer, 100) == {1: 1.0}
    assert balancer.pick(None, {1}) == 0
    assert balancer.pick(None, {0, 1}) == -1
    assert repr(balancer) == "PowerOfTwo(10.0.0.0:80=1, 10.0.0.1:80=0)"


def test_the_busiest_of_many_is_never_the_better_of_two() -> None:
    balancer = PowerOfTwo(members(1, 1, 1, 1), Random(1))
    for node, busy in enumerate((3, 0, 1, 2)):
        for _ in range(busy):
            balancer.on_start(node)
    assert shares(balancer, 60_000) == pytest.approx({1: 3 / 6, 2: 2 / 6, 3: 1 / 6}, abs=0.01)


def test_requests_under_way_stay_near_the_weights() -> None:
    balancer = PowerOfTwo(members(1, 2, 5, 2), Random(3))
    counts: Counter[int] = Counter()
    for _ in range(10_000):
        node = balancer.pick(None, None)
        balancer.on_start(node)
        counts[node] += 1
    assert dict(counts) == pytest.approx({0: 1000, 1: 2000, 2: 5000, 3: 2000}, abs=60)


def test_picks_repeat_with_the_same_randomness() -> None:
    one, other = (PowerOfTwo(members(1, 2, 3), Random(7)) for _ in range(2))
    assert [one.pick(None, None) for _ in range(50)] == [other.pick(None, None) for _ in range(50)]


def test_a_thousand_of_which_one_is_left() -> None:
    balancer = PowerOfTwo(members(*[1] * 1000), Random(1))
    balancer.pass_over(frozenset(range(1000)) - {500})
    assert {balancer.pick(None, None) for _ in range(20)} == {500}
    balancer.pass_over(frozenset(range(1000)) - {500, 600})
    assert balancer.pick(None, {500}) == 600
    balancer.weigh(500, 0.1)
    assert {balancer.pick(None, None) for _ in range(100)} == {500, 600}
