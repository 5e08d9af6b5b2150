"""The balancer for an upstream's type."""

from collections.abc import Callable, MutableMapping, Sequence
from random import Random
from time import monotonic

from bascule.balance.chash import ConsistentHash
from bascule.balance.ewma import Ewma
from bascule.balance.least_conn import LeastConn
from bascule.balance.member import Load, Member, members_of
from bascule.balance.picker import Picker
from bascule.balance.priority_groups import PriorityGroups
from bascule.balance.round_robin import RoundRobin

TYPES = ("roundrobin", "chash", "least_conn", "ewma")


def make_balancer(
    type: str,
    nodes: Sequence[tuple[int, int]],
    names: Sequence[str],
    *,
    random: Random | None = None,
    clock: Callable[[], float] = monotonic,
    loads: MutableMapping[str, Load] | None = None,
) -> Picker:
    """A balancer over nodes (weight, priority) named "host:port". ValueError: there is no such type.

    `loads`: measurements by name, used and added to; hand over the same ones to keep them over a new configuration.
    """
    if type not in TYPES:
        raise ValueError(f"there is no balancer {type!r}: use one of {', '.join(TYPES)}")
    randomness = random or Random()

    def build(members: Sequence[Member]) -> Picker:
        if type == "chash":
            return ConsistentHash(members)
        if type == "least_conn":
            return LeastConn(members)
        if type == "ewma":
            return Ewma(members, randomness, clock)
        return RoundRobin(members)

    groups = members_of(nodes, names, {} if loads is None else loads)
    if len(groups) == 1:
        return build(groups[0])
    return PriorityGroups([(frozenset(member.index for member in group), build(group)) for group in groups])
