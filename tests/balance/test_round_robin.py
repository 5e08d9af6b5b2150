import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bascule.balance.round_robin import RoundRobin
from tests.balance.shares import close, members, picks, shares


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


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(st.integers(0, 9), st.integers(0, 10**9)), min_size=1, max_size=60),
    st.frozensets(st.integers(0, 59), max_size=20),
    st.floats(0, 1, exclude_max=True),
)
def test_shares_of_any_weights_with_any_nodes_passed_over(
    weights: list[int], passed: frozenset[int], start: float
) -> None:
    balancer = RoundRobin(members(*weights), start)
    balancer.pass_over(passed)
    total = sum(weight for i, weight in enumerate(weights) if i not in passed)
    got = shares(balancer, 100_000)
    if total == 0:
        assert got == {-1: 1.0}
    else:
        for i, weight in enumerate(weights):
            assert abs(got.get(i, 0.0) - (i not in passed) * weight / total) <= 0.005


@pytest.mark.parametrize("huge", [2**40, 2**62, 2**63 - 1, 2**64 - 1])
def test_weights_as_large_as_json_has_them(huge: int) -> None:
    assert shares(RoundRobin(members(huge, huge, huge, 1)), 9000) == close({0: 1 / 3, 1: 1 / 3, 2: 1 / 3}, 0.001)


def test_nodes_passed_over_leave_their_share_to_all_others() -> None:
    balancer = RoundRobin(members(1, 1, 1, 3))
    balancer.pass_over(frozenset({1}))
    assert shares(balancer, 10_000) == {0: 0.2, 2: 0.2, 3: 0.6}
    balancer.pass_over(frozenset({0, 3}))
    assert shares(balancer, 10_000) == {1: 0.5, 2: 0.5}
    balancer.pass_over(frozenset({0, 1, 2, 3}))
    assert balancer.pick(None, None) == -1
    balancer.pass_over(frozenset())
    assert shares(balancer, 6_000) == close({0: 1 / 6, 1: 1 / 6, 2: 1 / 6, 3: 0.5}, 0.0002)


@pytest.mark.parametrize("weights", [(1,) * 1000, tuple(range(1, 1001)), (100_003, *range(1, 1000))])
def test_shares_are_exact_among_a_thousand_also_with_some_passed_over(weights: tuple[int, ...]) -> None:
    balancer = RoundRobin(members(*weights), 0.3)
    for passed in (frozenset[int](), frozenset(range(0, 1000, 7)), frozenset({0, 999})):
        balancer.pass_over(passed)
        total = sum(weight for i, weight in enumerate(weights) if i not in passed)
        got = shares(balancer, 100_000)
        for i, weight in enumerate(weights):
            assert abs(got.get(i, 0.0) - (i not in passed) * weight / total) <= 0.0002


def test_a_retry_is_one_more_turn() -> None:
    balancer = RoundRobin(members(1, 1, 1, 1))
    for _ in range(10):  # 0 never works: its requests are the next one's, which then is not asked itself
        assert [balancer.pick(None, None), balancer.pick(None, {0}), *picks(balancer, 2)] == [0, 1, 2, 3]
    uneven = RoundRobin(members(10_000, 9_999))
    assert [uneven.pick(None, {0}) for _ in range(3)] == [1, 1, 1]
    assert uneven.pick(None, {0, 1}) == -1


def test_long_periods_are_not_computed_ahead() -> None:
    assert RoundRobin(members(4095, 1)).period == 4096
    assert RoundRobin(members(4096, 1)).period == 0
    assert RoundRobin(members(*[1, 2] * 700)).period == 0
    assert RoundRobin(members(*[3] * 5000)).period == 5000


def test_long_periods_are_spread_out_too() -> None:
    balancer = RoundRobin(members(10_000, 9_999))
    assert repr(balancer) == "RoundRobin(2 nodes, 0 turns)"
    turns = picks(balancer, 1000)
    assert max(len(run) for run in "".join(map(str, turns)).replace("01", "0 1").replace("10", "1 0").split()) <= 2


def test_a_smaller_weight_for_a_while() -> None:
    balancer = RoundRobin(members(1, 1, 1))
    balancer.weigh(2, 0.25)
    assert shares(balancer, 90_000) == close({0: 4 / 9, 1: 4 / 9, 2: 1 / 9}, 0.0001)
    balancer.weigh(2, 0.5)
    assert shares(balancer, 90_000) == close({0: 0.4, 1: 0.4, 2: 0.2}, 0.0001)
    balancer.weigh(2, 1.0)
    assert repr(balancer) == "RoundRobin(3 nodes, 3 turns)"
    assert shares(balancer, 900) == close({0: 1 / 3, 1: 1 / 3, 2: 1 / 3}, 0.0001)


def test_weights_that_come_back_one_by_one() -> None:
    balancer = RoundRobin(members(*[1] * 4))
    for node, factor in ((0, 0.5), (1, 0.5), (0, 0.75), (0, 1.0)):
        balancer.weigh(node, factor)
    assert repr(balancer) == "RoundRobin(4 nodes, 0 turns)"
    assert shares(balancer, 70_000) == close({0: 2 / 7, 1: 1 / 7, 2: 2 / 7, 3: 2 / 7}, 0.0002)
    balancer.weigh(1, 1.0)
    assert repr(balancer) == "RoundRobin(4 nodes, 4 turns)"
    assert shares(balancer, 400) == {0: 0.25, 1: 0.25, 2: 0.25, 3: 0.25}


def test_workers_begin_at_different_nodes() -> None:
    assert [RoundRobin(members(*[1] * 10), start).pick(None, None) for start in (0.0, 0.618, 0.236)] == [0, 6, 2]
    assert len({RoundRobin(members(10_000, 9_999, 7_777), i * 0.618 % 1).pick(None, None) for i in range(9)}) > 1


def test_changes_all_the_time_prefer_nobody() -> None:
    balancer = RoundRobin(members(*[1] * 10))
    counts = [0] * 10
    for turn in range(10_000):
        balancer.pass_over(frozenset({9} if turn % 2 else ()))
        counts[balancer.pick(None, None)] += 1
    assert max(counts[:9]) < 2 * min(counts[:9])
