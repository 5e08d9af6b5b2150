"""A node that can be picked, and what is measured about it."""

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Load:
    """Measurements of one node by one worker; shared by the balancers of successive configurations."""

    active: int = 0  # requests under way
    ewma_s: float = 0.0  # moving average of the response time when it was last touched
    touched_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Member:
    """`index` in the upstream's list of nodes; `name` as in the configuration, "host:port"; `weight` > 0."""

    index: int
    weight: int
    name: str
    load: Load


def members_of(
    nodes: Sequence[tuple[int, int]], names: Sequence[str], loads: MutableMapping[str, Load]
) -> list[list[Member]]:
    """Nodes (weight, priority) as groups of members, highest priority first; empty groups are left out."""
    groups: dict[int, list[Member]] = {}
    for index, ((weight, priority), name) in enumerate(zip(nodes, names, strict=True)):
        if weight > 0:
            groups.setdefault(priority, []).append(Member(index, weight, name, loads.setdefault(name, Load())))
    return [groups[priority] for priority in sorted(groups, reverse=True)]
