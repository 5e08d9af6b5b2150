from collections import Counter
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bascule.balance.chash import MAX_POINTS, POINTS, ConsistentHash, point_counts
from bascule.balance.member import Load, Member
from tests.balance.shares import members

NODES = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 6)), max_size=12)  # (name, weight)
KEYS = [f"key-{i}" for i in range(20_000)]


def owners(ring: Any, tried: set[int] | None = None) -> dict[str, int]:
    return {key: ring.pick(key, tried) for key in KEYS}


def test_first_points_of_a_ring_by_hand() -> None:
    first = crc32(b"10.0.0.0\x0080\0\0\0\0")
    second = crc32(b"10.0.0.0\x0080" + first.to_bytes(4, "little"))
    ring = ConsistentHash(members(1))
    assert {first, second} <= {point for point, _ in ring.points_in_order}
    assert repr(ring) == "ConsistentHash(1 nodes, 160 points)"


def test_a_key_belongs_to_the_first_point_not_below_its_hash_and_the_ring_closes() -> None:
    ring = ConsistentHash(members(1, 1, 1))
    points = dict(ring.points_in_order)
    for key in KEYS[:500]:
        above = [point for point in points if point >= crc32(key.encode())]
        assert ring.pick(key, None) == points[min(above or points)]


def test_the_same_key_stays_and_the_order_of_nodes_does_not_matter() -> None:
    nodes = members(1, 2, 3)
    assert owners(ConsistentHash(nodes)) == owners(ConsistentHash(nodes[::-1])) == owners(ConsistentHash(nodes))


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (1, 2, 1), (100, 300)])
def test_shares_follow_the_weights(weights: tuple[int, ...]) -> None:
    counts = Counter(owners(ConsistentHash(members(*weights))).values())
    for node, weight in enumerate(weights):
        assert counts[node] / len(KEYS) == pytest.approx(weight / sum(weights), rel=0.25)


def test_a_node_more_takes_keys_only_for_itself() -> None:
    before = owners(ConsistentHash(members(1, 1, 1, 1)))
    after = owners(ConsistentHash(members(1, 1, 1, 1, 1)))
    moved = {key for key in KEYS if before[key] != after[key]}
    assert {after[key] for key in moved} == {4}
    assert len(moved) / len(KEYS) == pytest.approx(1 / 5, rel=0.25)


def test_a_node_passed_over_moves_only_its_own_keys_and_spreads_them() -> None:
    ring = ConsistentHash(members(1, 1, 1, 1))
    before = owners(ring)
    ring.pass_over(frozenset({2}))
    after = owners(ring)
    assert {before[key] for key in KEYS if before[key] != after[key]} == {2}
    assert {after[key] for key in KEYS if before[key] == 2} == {0, 1, 3}
    ring.pass_over(frozenset())
    assert after == owners(ring, {2})
    assert before == owners(ring)
    # A ring that never had the node gives the same answer: passing over is as good as taking out.
    assert after == owners(ConsistentHash([member for member in members(1, 1, 1, 1) if member.index != 2]))


def test_retries_walk_on_along_the_ring_until_nobody_is_left() -> None:
    ring = ConsistentHash(members(1, 1, 1))
    tried: list[int] = []
    while (node := ring.pick("k", set(tried))) >= 0:
        tried.append(node)
    assert sorted(tried) == [0, 1, 2]
    assert ConsistentHash([]).pick("k", None) == -1


def test_any_key_at_all() -> None:
    ring = ConsistentHash(members(1, 1))
    assert {ring.pick(key, None) for key in (None, "", "ä", "\ud800", "x" * 100_000)} <= {0, 1}
    assert ring.pick(None, None) == ring.pick("", None)


def test_points_are_bounded() -> None:
    assert point_counts([2, 4]) == [POINTS, 2 * POINTS]
    assert point_counts([1] * 5000) == [POINTS] * 5000
    counts = point_counts([1_000_003, 1])
    assert counts[1] == 1
    assert sum(counts) <= MAX_POINTS + 1
    assert point_counts([]) == []


def test_the_ring_is_sorted_and_whole() -> None:
    for weights in ((1,), (3, 5, 7), (1,) * 1000, tuple(range(1, 60))):
        nodes = members(*weights)
        expected = []
        for node, count in zip(nodes, point_counts(weights), strict=True):
            point, base = 0, crc32(node.name.replace(":", "\0").encode())
            for _ in range(count):
                point = crc32(point.to_bytes(4, "little"), base)
                expected.append((point, node.index))
        assert ConsistentHash(nodes).points_in_order == sorted(expected)


def test_at_most_the_share_of_a_node_that_leaves_moves_among_a_thousand() -> None:
    weights = [1] * 1000
    ring, keys = ConsistentHash(members(*weights)), [f"user-{i}" for i in range(100_000)]
    before = [ring.pick(key, None) for key in keys]
    for gone in (0, 499, 999):
        weights[gone] = 0
        without = ConsistentHash(members(*weights))
        weights[gone] = 1
        after = [without.pick(key, None) for key in keys]
        moved = sum(one != other for one, other in zip(before, after, strict=True))
        assert moved / len(keys) <= 1 / 1000 + 0.01
        assert moved == before.count(gone)


def test_slow_starts_move_no_keys() -> None:
    ring = ConsistentHash(members(1, 1))
    before = owners(ring)
    ring.weigh(0, 0.1)
    ring.on_start(0)
    ring.on_finish(0, 1.0, True)
    assert owners(ring) == before


def named(nodes: list[tuple[int, int]]) -> list[Any]:
    return [Member(i, weight, f"node{name}:80", Load()) for i, (name, weight) in enumerate(nodes)]


@settings(max_examples=200, deadline=None)
@given(NODES, NODES)
def test_a_ring_made_of_any_other_is_as_one_made_anew(before: Any, after: Any) -> None:
    earlier = ConsistentHash(named(before))
    assert ConsistentHash(named(after), earlier).points_in_order == ConsistentHash(named(after)).points_in_order


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=8, max_size=30), st.data())
def test_a_ring_with_few_changes_is_as_one_made_anew(weights: list[int], data: Any) -> None:
    """Nodes that leave, come, or get another weight, among many that stay: what is taken over is most of the ring."""
    nodes = list(enumerate(weights))
    earlier = ConsistentHash(named(nodes))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(nodes) - 1))
        match data.draw(st.sampled_from(("leave", "come", "weight"))):
            case "leave":
                del nodes[place]
            case "come":
                nodes.insert(place, (100 + len(nodes), 1))
            case _:
                nodes[place] = nodes[place][0], data.draw(st.integers(1, 4))
    assert ConsistentHash(named(nodes), earlier).points_in_order == ConsistentHash(named(nodes)).points_in_order


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=40), st.data())
def test_only_the_keys_of_nodes_that_leave_move(weights: list[int], data: Any) -> None:
    weights.append(1)
    gone = data.draw(st.integers(0, len(weights) - 1))
    without = [weight * (i != gone) for i, weight in enumerate(weights)]
    before, after = ConsistentHash(members(*weights)), ConsistentHash(members(*without))
    if before.points * (sum(weights) - weights[gone]) != after.points * sum(weights):
        return  # another common divisor: all nodes have other points
    for key in KEYS[:2000]:
        assert before.pick(key, None) in (after.pick(key, None), gone)
