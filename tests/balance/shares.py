"""Counting what a balancer picks."""

from collections import Counter
from collections.abc import Set

import pytest

from bascule.balance.member import Load, Member
from bascule.balance.picker import Picker


def members(*weights: int) -> list[Member]:
    """Nodes 0, 1, … on a host each; weight 0 leaves one out, as the balancers expect."""
    return [Member(i, weight, f"10.0.0.{i}:80", Load()) for i, weight in enumerate(weights) if weight]


def shares(picker: Picker, turns: int, excluded: Set[int] = frozenset()) -> dict[int, float]:
    counts = Counter(picker.pick(None, excluded) for _ in range(turns))
    return {index: count / turns for index, count in sorted(counts.items())}


def close(expected: dict[int, float], within: float) -> object:
    return pytest.approx(expected, abs=within)
