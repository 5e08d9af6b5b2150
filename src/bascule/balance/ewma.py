"""The faster of two nodes picked at random, by a moving average of response times (peak EWMA, as in Finagle).

An average forgets with a time constant of 10 s, and goes on forgetting while a node isn't used, so that a slow one is
tried again. A response slower than the average counts at once, a faster one bit by bit.
"""

from collections.abc import Callable, Sequence, Set
from math import exp
from random import Random

from bascule.balance.member import Load, Member

DECAY_S = 10.0


class Ewma:
    """`clock` in seconds. Weights don't matter here, but for 0, which is never picked."""

    __slots__ = ("_by_index", "_clock", "_members", "_random")

    def __init__(self, members: Sequence[Member], random: Random, clock: Callable[[], float]) -> None:
        self._members = members
        self._by_index = {member.index: member for member in members}
        self._random = random
        self._clock = clock

    def pick(self, key: str | None, excluded: Set[int]) -> int:
        members = self._members
        if excluded:
            members = [member for member in members if member.index not in excluded]
        count = len(members)
        if count < 2:
            return members[0].index if members else -1
        first = int(self._random.random() * count)
        second = int(self._random.random() * (count - 1))
        if second >= first:
            second += 1
        now = self._clock()
        one, other = members[first], members[second]
        return one.index if _score(one.load, now) <= _score(other.load, now) else other.index

    def on_start(self, index: int) -> None:
        """Nothing to keep: response times count."""

    def on_finish(self, index: int, seconds: float, ok: bool) -> None:
        member = self._by_index.get(index)
        if member is None:
            return
        load = member.load
        now = self._clock()
        score = _score(load, now)
        if seconds > score:
            score = seconds
        elif ok:
            # A failure may be fast, but that is no merit.
            share = exp(-max(0.0, now - load.touched_s) / DECAY_S)
            score = load.ewma_s * share + seconds * (1 - share)
        load.ewma_s = score
        load.touched_s = now

    def __repr__(self) -> str:
        return f"Ewma({', '.join(f'{member.name}={member.load.ewma_s:.3f}' for member in self._members)})"


def _score(load: Load, now: float) -> float:
    """The average as of now."""
    return load.ewma_s * exp(-max(0.0, now - load.touched_s) / DECAY_S)
