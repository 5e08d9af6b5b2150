from array import array
from collections import Counter
from zlib import crc32

import pytest

from bascule.balance.chash import MAX_POINTS, POINTS, ConsistentHash, point_counts
from tests.balance.shares import members

KEYS = [f"key-{i}" for i in range(20_000)]


def owners(ring: ConsistentHash, excluded: frozenset[int] = frozenset()) -> dict[str, int]:
    return {key: ring.pick(key, excluded) for key in KEYS}


def test_first_points_of_a_ring_by_hand() -> None:
    first = crc32(b"10.0.0.0\x0080\0\0\0\0")
    second = crc32(b"10.0.0.0\x0080" + first.to_bytes(4, "little"))
    ring = ConsistentHash(members(1))
    assert {first, second} <= set(ring._hashes)
    assert repr(ring) == "ConsistentHash(1 nodes, 160 points)"


def test_a_key_belongs_to_the_first_point_not_below_its_hash_and_the_ring_closes() -> None:
    ring = ConsistentHash(members(1, 1, 1))
    points = dict(zip(ring._hashes, ring._owners, strict=True))
    for key in KEYS[:500]:
        above = [point for point in points if point >= crc32(key.encode())]
        assert ring.pick(key, frozenset()) == points[min(above or points)]


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
    before, after = owners(ring), owners(ring, frozenset({2}))
    assert {before[key] for key in KEYS if before[key] != after[key]} == {2}
    assert {after[key] for key in KEYS if before[key] == 2} == {0, 1, 3}
    # A ring that never had the node gives the same answer: passing over is as good as taking out.
    assert after == owners(ConsistentHash([member for member in members(1, 1, 1, 1) if member.index != 2]))


def test_retries_walk_on_along_the_ring_until_nobody_is_left() -> None:
    ring = ConsistentHash(members(1, 1, 1))
    tried: list[int] = []
    while (node := ring.pick("k", frozenset(tried))) >= 0:
        tried.append(node)
    assert sorted(tried) == [0, 1, 2]
    assert ConsistentHash([]).pick("k", frozenset()) == -1


def test_any_key_at_all() -> None:
    ring = ConsistentHash(members(1, 1))
    assert {ring.pick(key, frozenset()) for key in (None, "", "ä", "\ud800", "x" * 100_000)} <= {0, 1}
    assert ring.pick(None, frozenset()) == ring.pick("", frozenset())


def test_points_are_bounded() -> None:
    assert point_counts([2, 4]) == [POINTS, 2 * POINTS]
    assert point_counts([1] * 5000) == [POINTS] * 5000
    counts = point_counts([1_000_003, 1])
    assert counts[1] == 1
    assert sum(counts) <= MAX_POINTS + 1
    assert point_counts([]) == []


def test_points_are_stored_as_32_bits() -> None:
    assert array("I").itemsize == 4
    ring = ConsistentHash(members(1))
    ring.on_start(0)
    ring.on_finish(0, 1.0, True)
