"""The balancer for an upstream's type."""

from collections.abc import Callable, MutableMapping, Sequence
from random import Random
from time import monotonic

from bascule.balance.chash import ConsistentHash
from bascule.balance.ewma import Ewma
from bascule.balance.least_conn import LeastConn
from bascule.balance.member import Load, Member
from bascule.balance.p2c import PowerOfTwo
from bascule.balance.picker import Picker
from bascule.balance.priority_groups import PriorityGroups
from bascule.balance.round_robin import RoundRobin
from bascule.balance.zones import Zones

TYPES = ("roundrobin", "chash", "least_conn", "ewma", "p2c")


def make_balancer(
    type: str,
    nodes: Sequence[tuple[int, int]],
    names: Sequence[str],
    *,
    random: Random | None = None,
    clock: Callable[[], float] = monotonic,
    loads: MutableMapping[str, Load] | None = None,
    start: float = 0.0,
    near: Sequence[bool] | None = None,
    threshold: float = 0.7,
    rings: list[Picker] | None = None,
) -> Picker:
    """A balancer over nodes (weight, priority) named "host:port". ValueError: there is no such type.

    `loads`: measurements by name, used and added to; hand over the same ones to keep them over a new configuration.
    `start`: where in its period round robin begins, [0, 1). `near`: whether each node is in the own zone, None where
    that doesn't matter; `threshold`: see zones.py. `rings`: of the version before, which the new ones are made from as
    far as they are the same; then the new ones.
    """
    if type not in TYPES:
        raise ValueError(f"there is no balancer {type!r}: use one of {', '.join(TYPES)}")
    randomness = random or Random()
    earlier = list(rings or ())
    made: list[Picker] = []

    def build(members: Sequence[Member]) -> Picker:
        if type == "chash":
            made.append(ConsistentHash(members, earlier[len(made)] if len(made) < len(earlier) else None))
            return made[-1]
        if type == "least_conn":
            return LeastConn(members)
        if type == "ewma":
            return Ewma(members, randomness, clock)
        if type == "p2c":
            return PowerOfTwo(members, randomness)
        return RoundRobin(members, start)

    def build_group(members: Sequence[Member]) -> Picker:
        at_hand = [near is not None and near[member.index] for member in members]
        return Zones(members, at_hand, threshold, build) if any(at_hand) and not all(at_hand) else build(members)

    groups = [build_group(group) for group in members_of(nodes, names, {} if loads is None else loads)]
    if rings is not None:
        rings[:] = made
    return groups[0] if len(groups) == 1 else PriorityGroups([], groups)


def members_of(
    nodes: Sequence[tuple[int, int]], names: Sequence[str], loads: MutableMapping[str, Load]
) -> list[list[Member]]:
    """Nodes (weight, priority) as groups of members, highest priority first; empty groups are left out."""
    groups: dict[int, list[Member]] = {}
    for index, ((weight, priority), name) in enumerate(zip(nodes, names, strict=True)):
        if weight > 0:
            load = loads.get(name)
            if load is None:
                load = loads[name] = Load()
            groups.setdefault(priority, []).append(Member(index, weight, name, load))
    return [groups[priority] for priority in sorted(groups, reverse=True)]
