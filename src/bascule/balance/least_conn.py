"""The node with the fewest requests under way for its weight: lowest (active + 1) / weight."""

from collections.abc import Sequence, Set

from bascule.balance.member import Member


class LeastConn:
    """Counts this worker's requests. Among equals the turn goes round."""

    __slots__ = ("_by_index", "_last", "_members")

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members
        self._by_index = {member.index: member for member in members}
        self._last = -1

    def pick(self, key: str | None, excluded: Set[int]) -> int:
        members = self._members
        best = -1
        least = 0.0
        count = len(members)
        for step in range(1, count + 1):
            place = (self._last + step) % count
            member = members[place]
            if member.index in excluded:
                continue
            score = (member.load.active + 1) / member.weight
            if best < 0 or score < least:
                best, least = place, score
        if best < 0:
            return -1
        self._last = best
        return members[best].index

    def on_start(self, index: int) -> None:
        if index in self._by_index:
            self._by_index[index].load.active += 1

    def on_finish(self, index: int, seconds: float, ok: bool) -> None:
        member = self._by_index.get(index)
        if member is not None and member.load.active > 0:
            member.load.active -= 1

    def __repr__(self) -> str:
        return f"LeastConn({', '.join(f'{member.name}={member.load.active}' for member in self._members)})"
