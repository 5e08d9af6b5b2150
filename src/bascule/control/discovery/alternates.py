"""Servers of a registry that all know the same: one is asked, and the others when it fails."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field
from yarl import URL

from bascule.control.discovery.discovery import DiscoveryFailure
from bascule.errors.sentences import Refused
from bascule.model.admin_settings import Section

T = TypeVar("T")


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _with_a_port(url: str) -> str:
    try:
        found = URL(url)
        usable = found.host is not None and found.port is not None
    except ValueError:
        usable = False
    if not usable:  # without the URL itself: there may be a password in it
        raise Refused("is no URL of a server: is its port within 1 to 65535, are user and password escaped?")
    return url


Url = Annotated[str, Field(pattern=r"^https?://[^/\s]+(/[^\s]*)?$"), AfterValidator(_with_a_port)]
Urls = Annotated[tuple[Url, ...], BeforeValidator(_as_list), Field(min_length=1)]
Prefix = Annotated[str, Field(pattern=r"^/[^?#\s]*$")]
Ms = Annotated[int, Field(ge=1)]


class Timeout(Section):
    """Milliseconds."""

    connect: Ms = 2000
    send: Ms = 2000
    read: Ms = 5000

    @property
    def total_s(self) -> float:
        return (self.connect + self.send + self.read) / 1000


class Alternates:
    """`hosts`: the one that answered last is asked first."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._hosts = list(hosts)

    async def ask(self, one: Callable[[str], Awaitable[T]]) -> T:
        """What the first server gives that doesn't fail. Raises DiscoveryFailure with what each said."""
        failures = []
        for host in list(self._hosts):
            try:
                found = await one(host)
            except DiscoveryFailure as failure:
                failures.append(str(failure))
                continue
            if self._hosts[0] != host:
                self._hosts.remove(host)
                self._hosts.insert(0, host)
            return found
        raise DiscoveryFailure("; ".join(failures))


def spread_s(interval_s: float) -> float:
    """The interval, more or less a tenth, so that not all services and gateways ask in the same moment."""
    return interval_s * random.uniform(0.9, 1.1)


def url_of(host: str, prefix: str, rest: str) -> str:
    return f"{host.rstrip('/')}/{prefix.strip('/')}/{rest}" if prefix.strip("/") else f"{host.rstrip('/')}/{rest}"
