"""Weighted round robin that spreads a heavy node's turns: 5:1:1 gives a a b a c a a, not a a a a a b c.

The smooth algorithm (nginx's): each turn every node gains its weight, the one with most is picked and pays the sum of
all. That repeats after sum/gcd turns, so the turns are computed once. When they would be too many, a heap of deadlines
does nearly the same in O(log n): each node is due again 1/weight after its last turn.
"""

from collections.abc import Sequence, Set
from heapq import heapify, heapreplace
from math import gcd

from bascule.balance.member import Member

# Longest schedule, and most work (turns x nodes), worth computing ahead.
MAX_TURNS = 4096
MAX_WORK = 1 << 18
# Schedules kept for sets of nodes that are passed over.
MAX_REDUCED = 64


class RoundRobin:
    """Shares are exact over each period, also while some nodes are passed over."""

    __slots__ = ("_cursor", "_due", "_members", "_reduced", "_turns")

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members
        self._turns = smooth_turns(members)
        self._cursor = 0
        self._due = [] if self._turns else _deadlines(members)
        # Passing over entries of the schedule would give a missing node's share to its successor alone.
        self._reduced: dict[frozenset[int], RoundRobin] = {}

    def pick(self, key: str | None, excluded: Set[int]) -> int:
        if excluded:
            return self._pick_reduced(excluded)
        if self._turns:
            cursor = self._cursor
            self._cursor = cursor + 1 if cursor + 1 < len(self._turns) else 0
            return self._turns[cursor]
        if not self._due:
            return -1
        due, interval, index = self._due[0]
        heapreplace(self._due, (due + interval, interval, index))
        return index

    def _pick_reduced(self, excluded: Set[int]) -> int:
        wanted = frozenset(excluded)
        reduced = self._reduced.get(wanted)
        if reduced is None:
            if len(self._reduced) >= MAX_REDUCED:
                self._reduced.clear()
            reduced = RoundRobin([member for member in self._members if member.index not in wanted])
            # Retries come at random moments: without this the first node would get them all.
            reduced._cursor = self._cursor % len(reduced._turns) if reduced._turns else 0
            self._reduced[wanted] = reduced
        return reduced.pick(None, frozenset())

    def on_start(self, index: int) -> None:
        """Nothing to keep."""

    def on_finish(self, index: int, seconds: float, ok: bool) -> None:
        """Nothing to keep."""

    def __repr__(self) -> str:
        return f"RoundRobin({len(self._members)} nodes, {len(self._turns)} turns)"


def smooth_turns(members: Sequence[Member]) -> list[int]:
    """One period of node indexes; empty when there is nobody or the period is too long."""
    step = gcd(*(member.weight for member in members))
    weights = [member.weight // step for member in members] if step else []
    total = sum(weights)
    if total == len(weights):
        return [member.index for member in members]
    if total > MAX_TURNS or total * len(weights) > MAX_WORK:
        return []
    gained = [0] * len(weights)
    turns = []
    for _ in range(total):
        gained = [have + weight for have, weight in zip(gained, weights, strict=True)]
        best = max(range(len(gained)), key=gained.__getitem__)
        gained[best] -= total
        turns.append(members[best].index)
    return turns


def _deadlines(members: Sequence[Member]) -> list[tuple[float, float, int]]:
    """Heap of (when it is due, interval, index)."""
    heap = [(1 / member.weight, 1 / member.weight, member.index) for member in members]
    heapify(heap)
    return heap
