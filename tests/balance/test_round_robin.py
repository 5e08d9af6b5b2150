import pytest

from bascule.balance.member import Member
from bascule.balance.round_robin import MAX_TURNS, RoundRobin, smooth_turns
from tests.balance.shares import close, members, shares


def picks(balancer: RoundRobin, turns: int, excluded: frozenset[int] = frozenset()) -> list[int]:
    return [balancer.pick(None, excluded) for _ in range(turns)]


def test_heavy_node_takes_its_turns_spread_out() -> None:
    assert picks(RoundRobin(members(5, 1, 1)), 14) == [0, 0, 1, 0, 2, 0, 0] * 2


def test_equal_weights_take_turns_in_order() -> None:
    assert picks(RoundRobin(members(100, 100, 100)), 6) == [0, 1, 2, 0, 1, 2]


def test_one_node_and_none() -> None:
    assert picks(RoundRobin(members(7)), 3) == [0, 0, 0]
    assert picks(RoundRobin([]), 2) == [-1, -1]


@pytest.mark.parametrize(
    "weights", [(1, 2), (5, 1, 1), (3, 0, 2, 7), (1000, 1), (1, 10_000), (99_991, 99_989, 5), tuple(range(1, 400))]
)
def test_shares_are_the_weights(weights: tuple[int, ...]) -> None:
    total = sum(weights)
    expected = {i: weight / total for i, weight in enumerate(weights) if weight}
    got = shares(RoundRobin(members(*weights)), 100_000)
    assert {i: got.get(i, 0.0) for i in expected} == close(expected, 0.005)


def test_nodes_passed_over_leave_their_share_to_all_others() -> None:
    balancer = RoundRobin(members(1, 1, 1, 3))
    assert shares(balancer, 10_000, {1}) == close({0: 0.2, 2: 0.2, 3: 0.6}, 0.005)
    assert shares(balancer, 10_000, {0, 3}) == close({1: 0.5, 2: 0.5}, 0.005)
    assert balancer.pick(None, {0, 1, 2, 3}) == -1
    assert shares(balancer, 6_000) == close({0: 1 / 6, 1: 1 / 6, 2: 1 / 6, 3: 0.5}, 0.005)


def test_memory_of_passed_over_sets_is_bounded() -> None:
    balancer = RoundRobin(members(*[1] * 200))
    for node in range(200):
        assert balancer.pick(None, {node}) not in (node, -1)
    assert len(balancer._reduced) <= 64


def test_long_periods_are_not_computed_ahead() -> None:
    assert len(smooth_turns(members(MAX_TURNS - 1, 1))) == MAX_TURNS
    assert smooth_turns(members(MAX_TURNS, 1)) == []
    assert smooth_turns(members(*[1, 2] * 700)) == []
    assert len(smooth_turns(members(*[3] * 5000))) == 5000


def test_long_periods_are_spread_out_too() -> None:
    balancer = RoundRobin(members(10_000, 9_999))
    assert repr(balancer) == "RoundRobin(2 nodes, 0 turns)"
    turns = picks(balancer, 1000)
    assert max(len(run) for run in "".join(map(str, turns)).replace("01", "0 1").replace("10", "1 0").split()) <= 2


def test_notifications_change_nothing() -> None:
    balancer = RoundRobin([Member(i, m.weight, m.name, m.load) for i, m in enumerate(members(1, 1))])
    balancer.on_start(0)
    balancer.on_finish(0, 1.0, False)
    assert picks(balancer, 2) == [0, 1]
