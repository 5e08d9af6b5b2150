"""What a route asks of a request, as the router wants to know it."""

from dataclasses import dataclass

from bascule.match.expression import Expression


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """Conditions of one route; every one that is given must hold. Empty hosts, methods None, ... mean "any"."""

    uris: tuple[str, ...]
    hosts: tuple[str, ...] = ()
    methods: frozenset[str] | None = None
    remote_addrs: tuple[str, ...] = ()
    vars: Expression | None = None
    priority: int = 0
