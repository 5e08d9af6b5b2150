"""A weighted choice that is exact: of a period of sum(weights) turns, each alternative has its weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from math import gcd

from bascule.balance.member import Load, Member
from bascule.balance.round_robin import smooth_turns


def make_turns(weights: Sequence[int]) -> Callable[[], int]:
    """Whose turn it is next, by its index: spread smoothly (5:1:1 gives a a b a c a a). -1 when all weights are 0."""
    members = [Member(index, weight, "", Load()) for index, weight in enumerate(weights) if weight > 0]
    if not members:
        return lambda: -1
    turns = smooth_turns(members)
    if turns:
        return cycle(turns).__next__
    return _Smooth(weights).next


class _Smooth:
    """The same algorithm step by step, for periods that are too long to be written down."""

    def __init__(self, weights: Sequence[int]) -> None:
        step = gcd(*weights)
        self._weights = [weight // step for weight in weights]
        self._total = sum(self._weights)
        self._gained = [0] * len(weights)

    def next(self) -> int:
        gained = [have + weight for have, weight in zip(self._gained, self._weights, strict=True)]
        best = max(range(len(gained)), key=gained.__getitem__)
        gained[best] -= self._total
        self._gained = gained
        return best
