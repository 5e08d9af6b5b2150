"""What a discovery is: a class that tells the nodes of services. One's own is written like those of Bascule.

A registry is asked by an async generator that never ends: it yields what it knows, and again whenever that changes.
It may yield a DiscoveryFailure, and go on; when it raises one, it is started again after a while. What it told before
stays in use all the time.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, TypeVar, cast

from pydantic import Field

from bascule.control.discovery.http import DiscoveryFailure, Http
from bascule.model.admin_settings import Duration, Section
from bascule.model.discovery import DiscoveredNode, Service

__all__ = ["DiscoveredNode", "Discovery", "DiscoveryConfig", "DiscoveryFailure", "Found", "Host", "Nodes", "Service"]

HIDDEN = "***"
_SECRET = re.compile(
    r".*(tokens?|passw(or)?d|passphrase|secrets?|credentials?|(access|secret|private|api)[_-]?key)", re.I
)
_PASSWORD = re.compile(r"(://[^/@:]*:)[^/]*@")  # in a URL, also when an @ in it isn't escaped
FIRST_RETRY_S = 0.5
LAST_RETRY_S = 30.0


class DiscoveryConfig(Section):
    """A section of config.yaml under `discovery`. These two are Bascule's own, and every registry has them:
    `empty_after`: so long a service must have no nodes before the last one is taken away; `max_nodes`: of a service, a
    longer list is refused."""

    empty_after: Duration = 5.0
    max_nodes: Annotated[int, Field(ge=1, le=100_000)] = 10_000


Nodes = Sequence[DiscoveredNode]


def unusable(told: Any) -> DiscoveredNode:
    """For what a registry tells in a node's place and is none: it is left out later, and named."""
    return DiscoveredNode([told], None)  # type: ignore[arg-type]


C = TypeVar("C", bound=DiscoveryConfig)
T = TypeVar("T")


class Found(NamedTuple):
    """What a registry tells of all its services, by name. `whole`: what isn't named, of the names that begin with
    `scope`, has no nodes; otherwise it is as before. `source`: which of several servers tells it."""

    nodes: Mapping[str, Nodes]
    whole: bool = True
    source: str = ""
    scope: str = ""


@dataclass(slots=True)
class Host:
    """What a discovery gets of the gateway: HTTP requests with limits, the folder of config.yaml, the environment,
    where relative paths of dumps start, and whether names are completed by the search list of resolv.conf."""

    http: Http
    folder: Path
    home: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    search: bool = True


class Discovery(Generic[C]):
    """Either `watch` or `watch_all` is written by a subclass; the latter is for registries that tell everything."""

    Config: ClassVar[type[DiscoveryConfig]] = DiscoveryConfig
    sockets: ClassVar[bool] = True  # whether a node may be a Unix socket: not where other machines tell the nodes

    def __init__(self, conf: C, host: Host) -> None:
        self.conf = conf
        self.host = host

    def fault(self, service: Service) -> str | None:
        """What is wrong with a service's name or arguments, so that it isn't looked for."""
        return None

    def watch(self, service: Service) -> AsyncIterator[Nodes | DiscoveryFailure]:
        """The nodes of one service, whenever they change. An empty list says that it has none."""
        raise NotImplementedError

    def watch_all(self) -> AsyncIterator[Found | DiscoveryFailure]:
        """The nodes of all services."""
        raise NotImplementedError

    def name_of(self, service: Service) -> str:
        """The name that `watch_all` tells a service by."""
        return service.name

    def concerns(self, source: str, service: Service) -> bool:
        """Whether a service is told by this one of several sources of `watch_all`."""
        return True

    def fallback(self, service: Service) -> Nodes:
        """What serves while a service has no nodes."""
        return ()

    def shown(self) -> Any:
        """The configuration as the Control API shows it: with its defaults, without its secrets."""
        given = self.conf.model_fields_set
        own = {name for name in DiscoveryConfig.model_fields if name not in given}
        return _without_secrets(self.conf.model_dump(mode="json", by_alias=True, exclude=own, exclude_none=True))

    @classmethod
    def tells_all(cls) -> bool:
        return cls.watch_all is not Discovery.watch_all


def _without_secrets(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _without_secrets(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_secrets(inner, key) for inner in value]
    if not isinstance(value, str) or not value:
        return value
    return HIDDEN if _SECRET.fullmatch(key) else _PASSWORD.sub(rf"\1{HIDDEN}@", value)


def pause_s(failures: int) -> float:
    """Before the next try after so many failures in a row (from 1 on): 0.5 s, 1 s, … 30 s, less up to half of it, so
    that not all gateways come back in the same moment."""
    doubled = FIRST_RETRY_S * float(2 ** min(failures - 1, 16))
    return min(LAST_RETRY_S, doubled) * random.uniform(0.5, 1.0)


def closing(telling: AsyncIterator[T]) -> aclosing[AsyncGenerator[T]]:
    """For `async with`: the generator is closed now, and not whenever it is collected."""
    return aclosing(cast("AsyncGenerator[T]", telling))


async def again(make: Callable[[], AsyncIterator[T]], source: str = "") -> AsyncIterator[T | DiscoveryFailure]:
    """What a generator yields; when it fails or ends, the failure, and after a pause what a new one yields. The pauses
    are short again once it has gone well for longer than the longest of them: a registry that tells its lists and
    then fails each time isn't to be asked for everything twice a second."""
    failures = 0
    loop = asyncio.get_running_loop()
    while True:
        failure = DiscoveryFailure("stopped telling")
        began, good = loop.time(), False
        try:
            async with closing(make()) as telling:
                async for told in telling:
                    good = True
                    yield told
        except DiscoveryFailure as raised:
            failure = raised
        failures = 1 if good and loop.time() - began > LAST_RETRY_S else failures + 1
        failure.source = source
        yield failure
        await asyncio.sleep(pause_s(failures))


async def together(
    makers: Mapping[str, Callable[[], AsyncIterator[T]]],
) -> AsyncIterator[tuple[str, T | DiscoveryFailure]]:
    """What several sources tell, each started again by itself: (source, what)."""
    told: asyncio.Queue[tuple[str, T | DiscoveryFailure | BaseException]] = asyncio.Queue(maxsize=len(makers))

    async def follow(source: str, make: Callable[[], AsyncIterator[T]]) -> None:
        try:
            async with closing(again(make, source)) as telling:
                async for one in telling:
                    await told.put((source, one))
        except Exception as error:  # a mistake in the code: for whoever reads
            await told.put((source, error))

    tasks = [asyncio.create_task(follow(source, make), name=f"watch {source}") for source, make in makers.items()]
    try:
        while True:
            source, one = await told.get()
            if isinstance(one, BaseException) and not isinstance(one, DiscoveryFailure):
                raise one
            yield source, one
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
