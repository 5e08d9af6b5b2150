"""Nodes of a lower priority serve only when every node of the higher ones is passed over."""

from collections.abc import Sequence, Set

from bascule.balance.picker import Picker


class PriorityGroups:
    """`groups`: (indexes, balancer of these), highest priority first."""

    __slots__ = ("_groups",)

    def __init__(self, groups: Sequence[tuple[frozenset[int], Picker]]) -> None:
        self._groups = groups

    def pick(self, key: str | None, excluded: Set[int]) -> int:
        for indexes, balancer in self._groups:
            # Each balancer hears of its own nodes only: what is tried elsewhere must not change its turns.
            picked = balancer.pick(key, indexes & excluded)
            if picked >= 0:
                return picked
        return -1

    def on_start(self, index: int) -> None:
        for indexes, balancer in self._groups:
            if index in indexes:
                balancer.on_start(index)

    def on_finish(self, index: int, seconds: float, ok: bool) -> None:
        for indexes, balancer in self._groups:
            if index in indexes:
                balancer.on_finish(index, seconds, ok)

    def __repr__(self) -> str:
        return f"PriorityGroups({', '.join(repr(balancer) for _, balancer in self._groups)})"
