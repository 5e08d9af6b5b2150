from collections import Counter
from typing import Any

from bascule.balance.least_conn import LeastConn
from tests.balance.shares import members


def start(balancer: Any, turns: int) -> list[int]:
    out = []
    for _ in range(turns):
        node = balancer.pick(None, None)
        balancer.on_start(node)
        out.append(node)
    return out


def test_turns_go_round_among_equals() -> None:
    assert start(LeastConn(members(1, 1, 1)), 7) == [0, 1, 2, 0, 1, 2, 0]
    idle = LeastConn(members(1, 1, 1))
    assert [idle.pick(None, None) for _ in range(4)] == [0, 1, 2, 0]


def test_open_requests_follow_the_weights() -> None:
    counts = Counter(start(LeastConn(members(1, 2, 5)), 100_000))
    assert [counts[node] / 100_000 for node in range(3)] == [0.125, 0.25, 0.625]


def test_the_least_busy_is_picked_and_finishing_frees_it() -> None:
    balancer = LeastConn(members(1, 1, 1))
    start(balancer, 6)
    balancer.on_finish(1, 0.1, True)
    assert repr(balancer) == "LeastConn(10.0.0.0:80=2, 10.0.0.1:80=1, 10.0.0.2:80=2)"
    assert balancer.pick(None, None) == 1
    assert balancer.pick(None, {1}) in (0, 2)
    assert balancer.pick(None, {0, 1, 2}) == -1


def test_counters_never_go_below_zero_and_unknown_nodes_are_nobody() -> None:
    balancer = LeastConn(members(1, 0, 1))
    balancer.on_finish(0, 0.1, True)
    balancer.on_start(1)
    balancer.on_finish(1, 0.1, True)
    balancer.on_finish(99, 0.1, True)
    assert repr(balancer) == "LeastConn(10.0.0.0:80=0, 10.0.0.2:80=0)"
    assert LeastConn([]).pick(None, None) == -1


def test_shares_follow_the_weights_while_nodes_are_passed_over() -> None:
    balancer = LeastConn(members(1, 2, 5, 2))
    balancer.pass_over(frozenset({2}))
    counts = Counter(start(balancer, 100_000))
    assert [counts[node] / 100_000 for node in range(4)] == [0.2, 0.4, 0, 0.4]


def test_a_node_that_comes_back_takes_what_it_may() -> None:
    balancer = LeastConn(members(1, 1))
    balancer.pass_over(frozenset({1}))
    start(balancer, 10)
    balancer.pass_over(frozenset())
    assert start(balancer, 10) == [1] * 10
    balancer.weigh(1, 0.5)  # half its weight: half as many
    assert Counter(start(balancer, 10)) == {0: 10}


def test_the_same_node_listed_twice() -> None:
    first, second = members(1, 1)
    twice = LeastConn([first, type(second)(1, 1, first.name, first.load)])
    assert set(start(twice, 10)) == {0, 1}
    assert first.load.active == 10
