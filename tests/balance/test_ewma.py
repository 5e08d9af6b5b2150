from random import Random

import pytest

from bascule.balance.ewma import DECAY_S, Ewma, average_of
from tests.balance.shares import members, shares


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_faster_of_two_is_picked() -> None:
    balancer = Ewma(members(1, 1), Random(1), Clock())
    balancer.on_finish(0, 0.5, True)
    balancer.on_finish(1, 0.1, True)
    assert shares(balancer, 100) == {1: 1.0}
    assert balancer.pick(None, {1}) == 0
    assert balancer.pick(None, {0, 1}) == -1


def test_the_slowest_of_many_is_never_the_better_of_two() -> None:
    balancer = Ewma(members(1, 1, 1, 1), Random(1), Clock())
    for node, seconds in enumerate((0.4, 0.1, 0.2, 0.3)):
        balancer.on_finish(node, seconds, True)
    # Of the six pairs node 1 wins three, node 2 two, node 3 one.
    assert shares(balancer, 60_000) == pytest.approx({1: 3 / 6, 2: 2 / 6, 3: 1 / 6}, abs=0.01)


def test_picks_repeat_with_the_same_randomness() -> None:
    one, other = (Ewma(members(1, 1, 1), Random(7), Clock()) for _ in range(2))
    assert [one.pick(None, None) for _ in range(50)] == [other.pick(None, None) for _ in range(50)]


def test_slow_answers_count_at_once_and_fast_ones_bit_by_bit() -> None:
    clock = Clock()
    balancer = Ewma(members(1), Random(1), clock)
    (member,) = balancer.members
    balancer.on_finish(0, 1.0, True)
    assert average_of(member.load) == 1.0
    clock.now += 1
    balancer.on_finish(0, 0.1, True)
    assert average_of(member.load) == pytest.approx(1.0 * 0.9048 + 0.1 * 0.0952, abs=1e-3)
    balancer.on_finish(0, 2.0, True)
    assert average_of(member.load) == 2.0


def test_unused_nodes_are_forgiven() -> None:
    clock = Clock()
    balancer = Ewma(members(1, 1), Random(1), clock)
    balancer.on_finish(0, 5.0, True)
    clock.now += 5 * DECAY_S
    balancer.on_finish(1, 0.1, True)
    assert shares(balancer, 50) == {0: 1.0}


def test_fast_failures_are_no_merit() -> None:
    clock = Clock()
    balancer = Ewma(members(1), Random(1), clock)
    balancer.on_start(0)
    balancer.on_finish(0, 0.2, True)
    balancer.on_finish(0, 0.0001, False)
    balancer.on_finish(99, 0.0001, False)
    assert repr(balancer) == "Ewma(10.0.0.0:80=0.200)"


def test_weightless_nodes_and_clocks_that_go_back() -> None:
    clock = Clock()
    balancer = Ewma(members(0, 1), Random(1), clock)
    balancer.on_finish(1, 0.2, True)
    clock.now -= 1000
    balancer.on_finish(1, 0.1, True)
    assert balancer.pick(None, None) == 1
    assert Ewma([], Random(1), clock).pick(None, None) == -1
