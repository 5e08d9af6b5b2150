"""A weighted choice that is exact: of a period of sum(weights) turns, each alternative has its weight.

The smooth algorithm (nginx's): each turn every alternative gains its weight, the one with most is taken and pays the
sum of all. A period that is short enough is written down once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from math import gcd

MOST_TURNS = 4096  # of a period that is written down
MOST_WORK = 1 << 18  # turns x alternatives


def make_turns(weights: Sequence[int]) -> Callable[[], int]:
    """Whose turn it is next, by its index: spread smoothly (5:1:1 gives a a b a c a a). -1 when all weights are 0."""
    step = gcd(*weights)
    if not step:
        return lambda: -1
    smooth = _Smooth([weight // step for weight in weights])
    period = sum(weights) // step
    if period > MOST_TURNS or period * len(weights) > MOST_WORK:
        return smooth.next
    return cycle([smooth.next() for _ in range(period)]).__next__


class _Smooth:
    def __init__(self, weights: Sequence[int]) -> None:
        self._weights = weights
        self._total = sum(weights)
        self._gained = [0] * len(weights)

    def next(self) -> int:
        gained = [have + weight for have, weight in zip(self._gained, self._weights, strict=True)]
        best = max(range(len(gained)), key=gained.__getitem__)
        gained[best] -= self._total
        self._gained = gained
        return best
