from collections import Counter
from typing import Any

import pytest

from bascule.balance.balancer import TYPES, make_balancer
from tests.balance.shares import shares

NAMES = [f"10.0.0.{i}:80" for i in range(6)]
NEAR = (True, True, True, False, False, False)
ALL = frozenset(range(6))


def make(type: str = "roundrobin", near: Any = NEAR, weights: Any = (1, 1, 2, 1, 1, 1), threshold: float = 0.7) -> Any:
    return make_balancer(type, [(weight, 0) for weight in weights], NAMES, near=near, threshold=threshold)


def picked(balancer: Any, turns: int) -> Counter[int]:
    """With the requests under way half of the time."""
    nodes = [balancer.pick(f"k{i}", None) for i in range(turns)]
    for node in nodes:
        balancer.on_start(node)
    again = [balancer.pick(f"k{i}", None) for i in range(turns)]
    for node in nodes:
        balancer.on_finish(node, 0.0, True)
    return Counter([*nodes, *again])


def stays(counts: Counter[int]) -> float:
    """The share of the own zone."""
    return sum(counts[node] for node in (0, 1, 2)) / counts.total()


@pytest.mark.parametrize("type", TYPES)
def test_requests_stay_in_the_zone_while_enough_of_it_is_usable(type: str) -> None:
    balancer = make(type)
    for passed in ((), (0,), (0, 4), (1, 3)):
        balancer.pass_over(frozenset(passed))
        assert set(picked(balancer, 200)) == {0, 1, 2} - set(passed)


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize(
    ("passed", "share"),
    [
        ((2,), 0.5 / 0.7),  # half of the zone's weight is left
        ((0, 2), 0.25 / 0.7),
        ((0, 1, 2), 0.0),
        ((2, 4, 5), 0.5 / 0.7),  # the others can take as much as comes
        ((0, 2, 4, 5), (0.25 / 0.7) / (0.25 / 0.7 + 1 / 3 / 0.7)),  # they can't: both bear more in proportion
        ((0, 2, 3, 4, 5), 1.0),
    ],
)
def test_as_much_leaves_the_zone_as_it_can_not_take(type: str, passed: tuple[int, ...], share: float) -> None:
    balancer = make(type)
    balancer.pass_over(frozenset(passed))
    counts = picked(balancer, 4000)
    assert set(counts) == ALL - set(passed)
    # Keys are spread by their hash, all others are dealt out.
    assert stays(counts) == pytest.approx(share, abs=0.03 if type == "chash" else 0.001)
    balancer.pass_over(frozenset())
    assert stays(picked(balancer, 100)) == 1.0


def test_shares_are_by_weight_on_either_side() -> None:
    balancer = make()
    assert shares(balancer, 4000) == {0: 0.25, 1: 0.25, 2: 0.5}
    balancer.pass_over(frozenset({1, 2}))
    near = 0.25 / 0.7
    far = (1 - near) / 3
    assert shares(balancer, 40_000) == pytest.approx({0: near, 3: far, 4: far, 5: far}, abs=0.0001)


def test_no_node_of_the_zone_gets_more_than_at_the_threshold() -> None:
    for threshold in (0.3, 0.5, 0.7, 1.0):
        balancer = make(weights=(1,) * 6, threshold=threshold)
        for passed in (set[int](), {0}, {0, 1}):
            balancer.pass_over(frozenset(passed))
            counts = Counter(balancer.pick(None, None) for _ in range(9000))
            assert max(counts[node] for node in (0, 1, 2)) / 9000 <= 1 / 3 / threshold + 0.001


def test_without_a_threshold_requests_leave_only_when_nothing_is_usable() -> None:
    balancer = make(threshold=0.0)
    balancer.pass_over(frozenset({0, 2}))
    assert shares(balancer, 100) == {1: 1.0}
    balancer.pass_over(frozenset({0, 1, 2}))
    assert set(shares(balancer, 100)) == {3, 4, 5}


def test_keys_that_leave_the_zone_are_the_only_ones_that_move() -> None:
    keys = [f"user-{i}" for i in range(5000)]
    balancer = make("chash", weights=(1,) * 6)

    def owners() -> dict[str, int]:
        return {key: balancer.pick(key, None) for key in keys}

    whole = owners()
    balancer.pass_over(frozenset({0}))
    less = owners()
    assert {whole[key] for key in keys if whole[key] != less[key] and less[key] < 3} == {0}
    left = {key for key in keys if less[key] >= 3}
    balancer.pass_over(frozenset({0, 1}))
    least = owners()
    assert left <= {key for key in keys if least[key] >= 3}  # who left doesn't come back for more
    assert all(less[key] == least[key] for key in left)
    # What stays is spread over the zone's nodes, though a hash decides twice.
    balancer.pass_over(frozenset({0}))
    assert Counter(less.values())[1] == pytest.approx(Counter(less.values())[2], rel=0.3)


def test_a_retry_leaves_the_zone_only_when_all_of_it_was_tried() -> None:
    balancer = make()
    assert balancer.pick(None, {0, 1}) == 2
    assert balancer.pick(None, {0, 1, 2}) in (3, 4, 5)
    assert balancer.pick(None, set(ALL)) == -1
    balancer.pass_over(frozenset({1, 2}))
    assert {balancer.pick(None, {3, 4, 5}) for _ in range(10)} == {0}
    assert {balancer.pick(None, {0}) for _ in range(10)} == {3, 4, 5}


def test_nobody_is_left() -> None:
    balancer = make()
    balancer.pass_over(ALL)
    assert balancer.pick(None, None) == -1


def test_requests_under_way_count_on_either_side() -> None:
    balancer = make("least_conn", weights=(1,) * 6)
    balancer.on_start(1)
    balancer.on_start(2)
    assert balancer.pick(None, None) == 0
    balancer.pass_over(frozenset({0, 1, 2}))
    balancer.on_start(4)
    assert {balancer.pick(None, None) for _ in range(4)} == {3, 5}
    balancer.on_finish(1, 0.1, True)
    balancer.pass_over(frozenset({0}))
    assert {balancer.pick(None, None) for _ in range(60)} == {1, 3, 5}


def test_a_zone_that_starts_slowly_takes_its_requests_back_step_by_step() -> None:
    balancer = make(weights=(1,) * 6)
    for factor, share in ((0.1, 0.1 / 0.7), (0.35, 0.5), (0.7, 1.0), (1.0, 1.0)):
        for node in (0, 1, 2):
            balancer.weigh(node, factor)
        counts = Counter(balancer.pick(None, None) for _ in range(9000))
        assert stays(counts) == pytest.approx(share, abs=0.001)
        assert counts[0] == pytest.approx(counts[1], abs=3)
    balancer.weigh(0, 0.5)
    counts = Counter(balancer.pick(None, None) for _ in range(5000))
    assert counts == {0: 1000, 1: 2000, 2: 2000}


def test_a_zone_by_itself_in_each_priority() -> None:
    nodes = [(1, 1), (1, 0), (1, 0), (1, 1), (1, 0), (1, 0)]
    balancer = make_balancer("roundrobin", nodes, NAMES, near=NEAR, threshold=0.7)
    assert shares(balancer, 10) == {0: 1.0}
    balancer.pass_over(frozenset({0}))
    assert shares(balancer, 10) == {3: 1.0}
    balancer.pass_over(frozenset({0, 3}))
    assert set(shares(balancer, 10)) == {1, 2}


def test_no_node_near_or_all_of_them_is_as_if_there_were_no_zones() -> None:
    for near in ([False] * 6, [True] * 6):
        assert repr(make(near=near)).startswith("RoundRobin(")
    assert repr(make()) == "Zones(100% in RoundRobin(3 nodes, 4 turns), the rest in RoundRobin(3 nodes, 3 turns))"
