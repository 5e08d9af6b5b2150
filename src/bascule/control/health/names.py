"""Addresses of the nodes that are given by name: asked for once for all, kept until they are too old."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bascule.net.dns import NoAddress

log = logging.getLogger("bascule.health")

RETRY_S = 2.0  # after a name couldn't be resolved
MANY = 10_000
Resolve = Callable[[str], Awaitable[tuple[list[str], float]]]


@dataclass(slots=True)
class _Name:
    """`until`: in the loop's time; older addresses are used while new ones are asked for."""

    addresses: list[str] = field(default_factory=list)
    until: float = 0.0
    failure: str = ""
    asked: asyncio.Task[None] | None = None
    turn: int = 0


class Names:
    """`resolve(name)` gives addresses and the seconds that they may be used; it raises NoAddress."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._names: dict[str, _Name] = {}

    def __repr__(self) -> str:
        return f"<names {len(self._names)}>"

    async def addresses(self, host: str) -> list[str]:
        """In the order in which to try them; another one is first each time. Raises NoAddress."""
        if len(self._names) >= MANY:
            self._names = {host: name for host, name in self._names.items() if name.asked is not None}
        name = self._names.setdefault(host, _Name())
        loop = asyncio.get_running_loop()
        if name.until <= loop.time() and name.asked is None:
            name.asked = loop.create_task(self._ask(host, name), name=f"resolve {host}")
        if not name.addresses:
            if name.asked is not None:
                await asyncio.shield(name.asked)
            if not name.addresses:
                raise NoAddress(name.failure)
        name.turn += 1
        # As the workers do: IPv6 only when no IPv4 address takes a connection.
        first = [one for one in name.addresses if ":" not in one]
        last = [one for one in name.addresses if ":" in one]
        return [*_turned(first, name.turn), *_turned(last, name.turn)]

    def known(self, host: str) -> str | None:
        """One of the addresses, without asking."""
        name = self._names.get(host)
        return name.addresses[0] if name is not None and name.addresses else None

    async def _ask(self, host: str, name: _Name) -> None:
        loop = asyncio.get_running_loop()
        try:
            name.addresses, valid_s = await self._resolve(host)
        except NoAddress as error:
            # Those known stay in use, as in the workers.
            name.failure, valid_s = str(error), RETRY_S
        except Exception as error:
            log.exception("internal error while resolving %s", host)
            name.failure, valid_s = f"internal error: {type(error).__name__}", RETRY_S
        finally:
            name.asked = None
        name.until = loop.time() + valid_s

    async def close(self) -> None:
        asked = [name.asked for name in self._names.values() if name.asked is not None]
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


def _turned(addresses: list[str], turn: int) -> list[str]:
    start = turn % len(addresses) if addresses else 0
    return addresses[start:] + addresses[:start]
