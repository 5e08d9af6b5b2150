"""A discovery at work, and what it tells."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from bascule.control.discovery.discovery import Discovery, DiscoveryFailure, Found, Host, Service
from bascule.control.discovery.http import Http

LIMIT_S = 20


class Told:
    """Everything that was told so far, and the wait for more of it."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._more = asyncio.Event()

    def add(self, one: Any) -> None:
        self.all.append(one)
        self._more.set()

    async def until(self, condition: Callable[[Any], Any]) -> Any:
        """The first thing told, from now on or before, for which `condition` holds; what came before is forgotten."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                for number, one in enumerate(self.all):
                    if condition(one):
                        del self.all[: number + 1]
                        return one
                self._more.clear()
                await self._more.wait()

    async def failure(self, part: str = "") -> str:
        return str(await self.until(lambda one: isinstance(one, DiscoveryFailure) and part in str(one)))

    async def nodes(self, *addresses: str) -> Any:
        """A list of exactly these nodes, "host:port" ("host" without a port)."""
        return await self.until(lambda one: isinstance(one, list | tuple) and names(one) == sorted(addresses))

    async def found(self, name: str, *addresses: str) -> Found:
        """Something told of all services, in which this one has exactly these nodes."""

        def fits(one: Any) -> bool:
            return isinstance(one, Found) and name in one.nodes and names(one.nodes[name]) == sorted(addresses)

        found: Found = await self.until(fits)
        return found


def names(nodes: Any) -> list[str]:
    return sorted(node.host if node.port is None else f"{node.host}:{node.port}" for node in nodes)


def host(folder: Path = Path("/"), **options: Any) -> Host:
    return Host(Http(), folder, folder, **options)


def play(
    discovery: Callable[[Host], Discovery[Any]],
    script: Callable[[Told], Coroutine[Any, Any, Any]],
    service: Service | None = None,
    folder: Path = Path("/"),
    **options: Any,
) -> None:
    """Follows a service, or everything, while `script` runs. A failure that is raised is told, too, and tried again."""

    async def run() -> None:
        place = host(folder, **options)
        made = discovery(place)
        told = Told()

        async def follow() -> None:
            while True:
                try:
                    async for one in made.watch_all() if service is None else made.watch(service):
                        told.add(one)
                except DiscoveryFailure as failure:
                    told.add(failure)
                await asyncio.sleep(0.02)

        task = asyncio.create_task(follow())
        script_task = asyncio.create_task(script(told))
        try:
            done, _ = await asyncio.wait((task, script_task), timeout=2 * LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
            assert done, "the script doesn't end"
            for one in done:
                one.result()
        finally:
            for one in (task, script_task):
                one.cancel()
            await asyncio.gather(task, script_task, return_exceptions=True)
            await place.http.close()

    asyncio.run(run())
