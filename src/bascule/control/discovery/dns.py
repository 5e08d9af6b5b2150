"""Services whose nodes stand in the DNS: SRV records with ports, weights and priorities, or the addresses of a name.

Asked again when the answers' time to live ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_address
from math import lcm
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from bascule.control.discovery.discovery import (
    DiscoveredNode,
    Discovery,
    DiscoveryConfig,
    DiscoveryFailure,
    Host,
    Nodes,
    Service,
)
from bascule.errors.sentences import Refused
from bascule.model.attributes import Unique
from bascule.model.node import split_address
from bascule.net.dns import MAX_TTL_S, MIN_TTL_S, name_server

TIMEOUT_S = 5.0
MOST_TARGETS = 256  # of SRV records whose addresses are asked for
MOST_SHARES = 1000  # that a weight is multiplied by, to be shared exactly
NEGATIVE_TTL_S = 5.0
Kind = Literal["last", "SRV", "A", "AAAA", "CNAME"]


class DnsConfig(DiscoveryConfig):
    """`servers` ("address" or "address:port"), or the path of a `resolv_conf`. `order`: which records are looked for;
    the first kind that there are any of is used, `last` stands for the one that was found before."""

    servers: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] | None = None
    resolv_conf: Annotated[str, Field(min_length=1)] | None = None
    order: Annotated[tuple[Kind, ...], Field(min_length=1, max_length=5), Unique] = (
        "last",
        "SRV",
        "A",
        "AAAA",
        "CNAME",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.servers is None) == (self.resolv_conf is None):
            raise Refused('needs exactly one of "servers" and "resolv_conf"')
        for server in self.servers or ():
            try:
                ip_address(split_address(server)[0] if server.count(":") <= 1 or server[0] == "[" else server)
            except ValueError:
                raise Refused(f'"{server}" is no address of a name server, as in 127.0.0.1:53') from None
        return self


class _Records(NamedTuple):
    """`found`: None when there are none of the kind."""

    found: list[Any] | None
    ttl_s: float


class Dns(Discovery[DnsConfig]):
    Config = DnsConfig
    sockets = False

    def __init__(self, conf: DnsConfig, host: Host) -> None:
        super().__init__(conf, host)
        self._resolver: Any = None
        self._stamp: tuple[int, int] | None = None  # of the resolv_conf that it was made of
        self._last: dict[str, str] = {}

    def fault(self, service: Service) -> str | None:
        try:
            split_address(service.name)
        except Refused as refused:
            return str(refused)
        return None

    async def watch(self, service: Service) -> AsyncIterator[Nodes]:
        name, port = split_address(service.name)
        while True:
            nodes, ttl_s = await self._look_up(name, port)
            yield nodes
            await asyncio.sleep(min(max(ttl_s, MIN_TTL_S), MAX_TTL_S))

    async def _look_up(self, name: str, port: int | None) -> tuple[list[DiscoveredNode], float]:
        """Raises DiscoveryFailure."""
        last = self._last.get(name)
        kinds = [kind if kind != "last" else last for kind in self.conf.order]
        failure: DiscoveryFailure | None = None
        ttl_s = MAX_TTL_S
        for kind in dict.fromkeys(kind for kind in kinds if kind is not None and kind != "CNAME"):
            try:
                records = await self._ask(name, kind)
                found = await self._nodes_of(kind, records, port) if records.found is not None else None
            except DiscoveryFailure as raised:
                if kind == last:
                    raise  # others, if there are any, aren't what it was about
                failure = failure or raised
                continue
            if found is not None:
                if failure is None:  # else an earlier kind, which there may be, is to be asked for again
                    self._last[name] = kind
                return found
            ttl_s = min(ttl_s, records.ttl_s)
        if failure is not None:
            raise failure
        return [], min(ttl_s, NEGATIVE_TTL_S)

    async def _nodes_of(self, kind: str, records: _Records, port: int | None) -> tuple[list[DiscoveredNode], float]:
        assert records.found is not None
        if kind != "SRV":
            return [DiscoveredNode(one.address, port, 1) for one in records.found], records.ttl_s
        return await self._targets(records, port)

    async def _targets(self, records: _Records, port: int | None) -> tuple[list[DiscoveredNode], float]:
        """The addresses that SRV records lead to (RFC 2782). A target's weight is shared among its addresses, so that
        it gets what is meant for it; a smaller `priority` goes first, which is the other way round for upstreams."""
        targets = [one for one in records.found or () if str(one.target) != "."]
        if len(targets) > MOST_TARGETS:
            raise DiscoveryFailure(f"{len(targets)} SRV records, more than {MOST_TARGETS}")
        names = list(dict.fromkeys(str(one.target) for one in targets))
        answers = await asyncio.gather(*(self._addresses(name) for name in names), return_exceptions=True)
        by_name: dict[str, list[str]] = {}
        ttl_s = records.ttl_s
        failures: list[DiscoveryFailure] = []
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, DiscoveryFailure):
                failures.append(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                by_name[name], ttl = answer
                ttl_s = min(ttl_s, ttl)
        if failures:
            raise failures[0]  # with one node missing the list would be another one
        shares = min(lcm(*(len(addresses) for addresses in by_name.values() if addresses)), MOST_SHARES)
        nodes = []
        for one in targets:
            addresses = by_name[str(one.target)]
            for address in addresses:
                weight = max(1, max(1, one.weight) * shares // len(addresses))
                nodes.append(DiscoveredNode(address, port or one.port or None, weight, -one.priority))
        return nodes, ttl_s

    async def _addresses(self, name: str) -> tuple[list[str], float]:
        """Of a target; an empty list when it has none."""
        ttl_s = MAX_TTL_S
        for kind in ("A", "AAAA"):
            records = await self._ask(name, kind)
            ttl_s = min(ttl_s, records.ttl_s)
            if records.found is not None:
                return [one.address for one in records.found], records.ttl_s
        return [], ttl_s

    async def _ask(self, name: str, kind: str) -> _Records:
        import dns.exception
        import dns.resolver

        try:
            answer = await self._asked().resolve(name, kind)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return _Records(None, NEGATIVE_TTL_S)
        except dns.exception.Timeout:
            asked = ", ".join(self.conf.servers or (f"those of {self.conf.resolv_conf}",))
            raise DiscoveryFailure(f"{name} {kind}: no answer within {TIMEOUT_S:g} s; asked: {asked}") from None
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise DiscoveryFailure(f"{name} {kind}: {error or type(error).__name__}") from None
        return _Records(list(answer), float(answer.chaining_result.minimum_ttl))

    def _asked(self) -> Any:
        import dns.asyncresolver
        import dns.exception

        stamp = None if self.conf.servers is not None else _stamp(self.host.home / (self.conf.resolv_conf or ""))
        if self._resolver is None or stamp != self._stamp:
            try:
                if self.conf.servers is not None:
                    made = dns.asyncresolver.Resolver(configure=False)
                    made.nameservers = [name_server(server) for server in self.conf.servers]
                else:
                    path = self.host.home / (self.conf.resolv_conf or "")
                    made = dns.asyncresolver.Resolver(filename=str(path))
                    made.use_search_by_default = self.host.search
            except dns.exception.DNSException as error:
                raise DiscoveryFailure(f"no name server can be asked: {error}") from None
            made.lifetime = TIMEOUT_S
            self._resolver, self._stamp = made, stamp
        return self._resolver


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
