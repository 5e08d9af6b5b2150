"""Names of upstream nodes to addresses: /etc/hosts, then DNS, without blocking; TTLs honoured, stale answers kept.

An endpoint that was looked up once is kept fresh in the background: its requests never wait again. When the resolver
fails, the addresses known go on serving and the next try comes soon.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakSet, ref

MIN_TTL_S = 1.0
MAX_TTL_S = 3600.0
RETRY_S = 2.0
LATE_S = 0.5

log = logging.getLogger("bascule.dns")


class Named(Protocol):
    """What is looked up: an endpoint of the engine."""

    host: str

    def resolved(self, hosts: list[str]) -> list[Any]: ...
    def unresolved(self, reason: str) -> list[Any]: ...


class NoAddress(Exception):
    """No address, with the reason."""


def read_hosts(path: Path = Path("/etc/hosts")) -> dict[str, list[str]]:
    """name (lower case) -> addresses, as the hosts file lists them."""
    found: dict[str, list[str]] = {}
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return found
    for line in text.splitlines():
        fields = line.partition("#")[0].split()
        if len(fields) < 2:
            continue
        try:
            address = str(ip_address(fields[0]))
        except ValueError:
            continue
        for name in fields[1:]:
            found.setdefault(name.lower(), []).append(address)
    return found


class Resolver:
    """`servers`: "ip" or "ip:port"; empty: those of /etc/resolv.conf. `valid_s` overrides TTLs."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        servers: Sequence[str] = (),
        *,
        valid_s: float | None = None,
        timeout_s: float = 5.0,
        ipv6: bool = True,
        search: bool = True,
        hosts: dict[str, list[str]] | None = None,
    ) -> None:
        self._loop = loop
        self._servers = tuple(servers)
        self._valid_s = valid_s
        self._timeout_s = timeout_s
        self._ipv6 = ipv6
        self._search = search
        self._hosts = hosts
        self._dns: Any = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._known: WeakSet[Named] = WeakSet()

    def look_up(self, named: Named) -> None:
        """Finds addresses for `named` and keeps them fresh for as long as somebody uses it."""
        if named in self._known:
            return
        self._known.add(named)
        task = self._loop.create_task(self._keep_fresh(ref(named)), name=f"dns {named.host}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_fresh(self, known: ref[Named]) -> None:
        said = False
        while True:
            found = await self._refresh(known, said)
            if found is None:
                return  # nobody uses it any more
            pause_s, said = found
            await asyncio.sleep(pause_s)

    async def _refresh(self, known: ref[Named], said: bool) -> tuple[float, bool] | None:
        """(the pause before the next time, whether it is known that there is no address)."""
        named = known()
        if named is None:
            return None
        try:
            addresses, pause_s = await self.resolve(named.host)
        except NoAddress as error:
            if not said:
                log.error("cannot resolve %s: %s", named.host, error)
            waiting, pause_s, now = named.unresolved(str(error)), RETRY_S, True
        else:
            if said:
                log.warning("%s resolves again", named.host)
            waiting, now = named.resolved(addresses), False
        for exchange in waiting:
            exchange.resolution_done()
        return pause_s, now

    async def resolve(self, name: str) -> tuple[list[str], float]:
        """(addresses, seconds they may be used); raises NoAddress."""
        hosts = self._hosts if self._hosts is not None else read_hosts()
        listed = hosts.get(name.lower().rstrip("."))
        if listed is not None:
            usable = [address for address in listed if self._ipv6 or ":" not in address]
            if usable:
                return usable, MIN_TTL_S * 10
        return await self._ask(name)

    def _resolver(self) -> Any:
        if self._dns is None:
            import dns.asyncresolver
            import dns.nameserver

            own = bool(self._servers)
            self._dns = dns.asyncresolver.Resolver(configure=not own)
            if own:
                self._dns.nameservers = [name_server(s) for s in self._servers]
            self._dns.lifetime = self._timeout_s
            self._dns.use_search_by_default = self._search
        return self._dns

    async def _ask(self, name: str) -> tuple[list[str], float]:
        import dns.exception
        import dns.resolver

        try:
            resolver = self._resolver()
        except dns.exception.DNSException as error:
            raise NoAddress(f"no name server is configured: {error}") from None
        kinds = ("A", "AAAA") if self._ipv6 else ("A",)
        asked = [asyncio.ensure_future(resolver.resolve(name, kind)) for kind in kinds]
        try:
            await asyncio.wait(asked[:1])
            # There are name servers that drop questions for AAAA: they shall not hold up what has addresses.
            await asyncio.wait(asked, timeout=None if asked[0].exception() else LATE_S)
        finally:
            late = [question for question in asked if not question.done()]
            for question in late:
                question.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        answers = await asyncio.gather(*(each for each in asked if each not in late), return_exceptions=True)
        addresses: list[str] = []
        ttl_s = MAX_TTL_S
        reason = "no such name"
        for answer in answers:
            if isinstance(answer, dns.resolver.NXDOMAIN):
                continue
            if isinstance(answer, dns.resolver.NoAnswer):
                reason = "the name has no address"
            elif isinstance(answer, (dns.exception.DNSException, OSError)):
                reason = str(answer) or type(answer).__name__
            elif isinstance(answer, BaseException):
                raise answer
            else:
                addresses += [one.address for one in answer]
                ttl_s = min(ttl_s, answer.rrset.ttl)
        if not addresses:
            raise NoAddress(reason)
        if self._valid_s is not None:
            ttl_s = self._valid_s
        return addresses, min(max(ttl_s, MIN_TTL_S), MAX_TTL_S)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=1)


def name_server(text: str) -> Any:
    """`text`: "ip", "ip:port" or "[ip]:port"."""
    import dns.nameserver

    host, _, port = text.rpartition(":")
    if host and port.isdigit() and (":" not in host or host.startswith("[")):
        return dns.nameserver.Do53Nameserver(host.strip("[]"), int(port))
    return dns.nameserver.Do53Nameserver(text.strip("[]"), 53)
