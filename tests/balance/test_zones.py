from collections import Counter
from typing import Any

import pytest

from bascule.balance.balancer import TYPES, make_balancer
from tests.balance.shares import shares

NAMES = [f"10.0.0.{i}:80" for i in range(6)]
NEAR = (True, True, True, False, False, False)


def make(type: str = "roundrobin", near: Any = NEAR, weights: Any = (1, 1, 2, 1, 1, 1)) -> Any:
    return make_balancer(type, [(weight, 0) for weight in weights], NAMES, near=near, threshold=0.7)


def picked(balancer: Any, turns: int) -> set[int]:
    nodes = [balancer.pick(f"k{i}", None) for i in range(turns)]
    for node in nodes:
        balancer.on_start(node)
    again = [balancer.pick(f"k{i}", None) for i in range(turns)]
    for node in nodes:
        balancer.on_finish(node, 0.0, True)
    return {*nodes, *again}


@pytest.mark.parametrize("type", TYPES)
def test_requests_stay_in_the_zone_while_enough_of_it_is_usable(type: str) -> None:
    balancer = make(type)
    for passed in ((), (0,), (0, 4), (1, 3)):
        balancer.pass_over(frozenset(passed))
        assert picked(balancer, 200) == {0, 1, 2} - set(passed)
    balancer.pass_over(frozenset({2}))  # half of the zone's weight is left
    assert picked(balancer, 400) == {0, 1, 3, 4, 5}
    assert repr(balancer).startswith("Zones(all of ")
    balancer.pass_over(frozenset({0, 1, 2}))
    assert picked(balancer, 200) == {3, 4, 5}
    balancer.pass_over(frozenset())
    assert picked(balancer, 200) == {0, 1, 2}


def test_shares_are_by_weight_in_either_state() -> None:
    balancer = make()
    assert shares(balancer, 4000) == {0: 0.25, 1: 0.25, 2: 0.5}
    balancer.pass_over(frozenset({0, 1}))
    assert shares(balancer, 5000) == {2: 0.4, 3: 0.2, 4: 0.2, 5: 0.2}


def test_a_retry_leaves_the_zone_only_when_all_of_it_was_tried() -> None:
    balancer = make()
    assert balancer.pick(None, {0, 1}) == 2
    assert balancer.pick(None, {0, 1, 2}) in (3, 4, 5)
    assert balancer.pick(None, set(range(6))) == -1


def test_requests_under_way_count_in_either_state() -> None:
    balancer = make("least_conn", weights=(1,) * 6)
    for _ in range(3):
        balancer.on_start(balancer.pick(None, None))
    balancer.pass_over(frozenset({0}))
    taken = []
    for _ in range(3):
        taken.append(balancer.pick(None, None))
        balancer.on_start(taken[-1])
    assert sorted(taken) == [3, 4, 5]
    for node in (*taken, 1):
        balancer.on_finish(node, 0.1, True)
    balancer.pass_over(frozenset())
    assert balancer.pick(None, None) == 1


def test_a_slow_start_goes_on_in_either_state() -> None:
    balancer = make(weights=(1,) * 6)
    balancer.weigh(0, 0.5)
    assert Counter(balancer.pick(None, None) for _ in range(500)) == {0: 100, 1: 200, 2: 200}
    balancer.pass_over(frozenset({1, 2}))
    assert shares(balancer, 7000) == pytest.approx({0: 1 / 7, 3: 2 / 7, 4: 2 / 7, 5: 2 / 7}, abs=0.001)
    balancer.weigh(0, 1.0)
    assert shares(balancer, 4000) == {0: 0.25, 3: 0.25, 4: 0.25, 5: 0.25}


def test_no_node_near_or_all_of_them_is_as_if_there_were_no_zones() -> None:
    for near in ([False] * 6, [True] * 6):
        assert repr(make(near=near)).startswith("RoundRobin(")
