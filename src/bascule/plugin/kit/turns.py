"""A weighted choice that is exact: of a period of sum(weights) turns, each alternative has its weight.

The smooth algorithm (nginx's): each turn every alternative gains its weight, the one with most is taken and pays the
sum of all. A period that is short enough is written down once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from math import gcd

from bascule.plugin.host import SharedCounters

MOST_TURNS = 4096  # of a period that is written down
MOST_WORK = 1 << 18  # turns x alternatives
COUNTED_S = 86_400.0  # then shared turns begin anew: a counter holds no more than 2**36


def make_turns(weights: Sequence[int]) -> Callable[[], int]:
    """Whose turn it is next, by its index: spread smoothly (5:1:1 gives a a b a c a a). -1 when all weights are 0."""
    if not any(weights):
        return lambda: -1
    turns = _written_down(weights)
    return _smooth(weights).next if turns is None else cycle(turns).__next__


def make_shared_turns(weights: Sequence[int], counters: SharedCounters, key: str) -> Callable[[], int]:
    """The same, exact over all workers together: they take their turns from the shared counter `key`. A period that is
    too long to be written down is each worker's own."""
    turns = _written_down(weights)
    if turns is None or len(turns) < 2:
        return make_turns(weights)
    incr, period = counters.incr, len(turns)
    return lambda: turns[incr(key, 1, COUNTED_S)[0] % period]


def _written_down(weights: Sequence[int]) -> list[int] | None:
    """A whole period; None when it is too long, or nobody has a weight."""
    period = sum(weights) // (gcd(*weights) or 1)
    if period == 0 or period > MOST_TURNS or period * len(weights) > MOST_WORK:
        return None
    smooth = _smooth(weights)
    return [smooth.next() for _ in range(period)]


def _smooth(weights: Sequence[int]) -> _Smooth:
    step = gcd(*weights)
    return _Smooth([weight // step for weight in weights])


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
