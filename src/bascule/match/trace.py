"""Why a request reaches one route and not another: sentences for `Router.explain`."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from bascule.match.address import AddressSet
from bascule.match.pattern import encode, parse_host
from bascule.match.route_match import RouteMatch
from bascule.match.variables import Value, Variables

OUTRANKED = "its conditions hold, but an earlier candidate matches"


class _Entry(Protocol):
    key: str
    value: Any
    match: RouteMatch


class _Candidate(Protocol):
    entry: _Entry


class WithMethod:
    """Variables of a request whose method has no number in the parser: found by name."""

    __slots__ = ("method", "variables")

    def __init__(self, variables: Variables, method: str) -> None:
        self.variables = variables
        self.method = method

    def var(self, name: str, /) -> Value:
        return self.method if name == "request_method" else self.variables.var(name)


def explanation(
    tried: Iterable[_Candidate], elsewhere: Iterable[_Candidate], method: str, host: str, variables: Variables
) -> list[tuple[Any, str | None]]:
    """`tried`: candidates in the router's order; `elsewhere`: those in the trees of all hosts. One line per route."""
    lines: list[tuple[Any, str | None]] = []
    told: set[str] = set()
    matched = False
    for candidate in tried:
        entry = candidate.entry
        if entry.key in told:
            continue
        told.add(entry.key)
        reason = refusal(entry.match, method, host, variables)
        if reason is None and matched:
            reason = OUTRANKED
        matched = matched or reason is None
        lines.append((entry.value, reason))
    for candidate in elsewhere:
        entry = candidate.entry
        if entry.key not in told:
            told.add(entry.key)
            lines.append((entry.value, _host_refusal(entry.match.hosts, host)))
    return lines


def refusal(match: RouteMatch, method: str, host: str, variables: Variables) -> str | None:
    """The first condition of a route that fails, as a sentence; None when all hold. The order is the router's."""
    if match.methods is not None and method not in match.methods:
        return f"method {method} is not in {_listed(sorted(match.methods))}"
    if match.hosts and not any(host_fits(pattern, host) for pattern in match.hosts):
        return _host_refusal(match.hosts, host)
    if match.remote_addrs:
        from_addr = variables.var("remote_addr")
        if not _address_fits(match.remote_addrs, from_addr):
            return f"remote_addr {from_addr or 'is missing and'} is not in {_listed(match.remote_addrs)}"
    if match.vars is not None:
        reason = match.vars.why(variables)
        if reason is not None:
            return f"vars: {reason}"
    return None


def host_fits(pattern: str, host: str) -> bool:
    """Whether a host (without port, any case) fits a host pattern."""
    key, prefix = parse_host(pattern)
    name = encode(host[:-1] if len(host) > 1 and host.endswith(".") else host).lower()[::-1]
    return name.startswith(key) if prefix else name == key


def _address_fits(patterns: tuple[str, ...], address: Value) -> bool:
    return address in AddressSet(patterns)


def _host_refusal(hosts: Sequence[str], host: str) -> str:
    return f"host {host or '(none)'} is not in {_listed(hosts)}"


def _listed(items: Sequence[str]) -> str:
    return f"[{', '.join(items)}]"
