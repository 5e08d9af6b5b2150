"""Counting what a balancer picks."""

from collections import Counter
from typing import Any

import pytest

from bascule.balance.member import Load, Member


def members(*weights: int) -> list[Any]:
    """Nodes 0, 1, … on a host each; weight 0 leaves one out, as the balancers expect."""
    return [Member(i, weight, f"10.0.{i // 256}.{i % 256}:80", Load()) for i, weight in enumerate(weights) if weight]


def picks(picker: Any, turns: int) -> list[int]:
    return [picker.pick(None, None) for _ in range(turns)]


def shares(picker: Any, turns: int) -> dict[int, float]:
    counts = Counter(picks(picker, turns))
    return {index: count / turns for index, count in sorted(counts.items())}


def close(expected: dict[int, float], within: float) -> object:
    return pytest.approx(expected, abs=within)
