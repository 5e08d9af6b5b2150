"""Applications that are registered with Eureka: the instances that are UP. All of the registry is read each time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any

from pydantic import Field

from bascule.control.discovery.alternates import Alternates, Prefix, Timeout, Urls, spread_s, url_of
from bascule.control.discovery.discovery import (
    DiscoveredNode,
    Discovery,
    DiscoveryConfig,
    DiscoveryFailure,
    Found,
    Host,
    Nodes,
    Service,
    unusable,
)
from bascule.control.discovery.http import place


class EurekaConfig(DiscoveryConfig):
    """User and password may stand in the URLs of `host`. `fetch_interval` in seconds."""

    host: Urls
    prefix: Prefix = "/eureka/"
    fetch_interval: Annotated[int, Field(ge=1)] = 30
    weight: Annotated[int, Field(ge=0)] = 100
    timeout: Timeout = Timeout()


class Eureka(Discovery[EurekaConfig]):
    Config = EurekaConfig
    sockets = False

    def __init__(self, conf: EurekaConfig, host: Host) -> None:
        super().__init__(conf, host)
        self._servers = Alternates(conf.host)

    def name_of(self, service: Service) -> str:
        """Eureka writes all names in capitals."""
        return service.name.upper()

    async def watch_all(self) -> AsyncIterator[Found]:
        while True:
            yield Found(await self._servers.ask(self._fetch))
            await asyncio.sleep(spread_s(self.conf.fetch_interval))

    async def _fetch(self, server: str) -> dict[str, Nodes]:
        url = url_of(server, self.conf.prefix, "apps")
        timeout = self.conf.timeout
        answer = await self.host.http.ask(url, connect_s=timeout.connect / 1000, total_s=timeout.total_s)
        where = place(url)
        if answer.status != 200:
            raise answer.refusal(where)
        document = answer.json(where)
        found: dict[str, list[DiscoveredNode]] = {}
        try:
            for application in _listed(document["applications"]["application"]):
                nodes = found.setdefault(str(application["name"]).upper(), [])
                nodes += self._nodes(_listed(application.get("instance")))
        except (KeyError, TypeError, AttributeError):
            raise DiscoveryFailure(f"{where} answers with no list of applications") from None
        return dict(found)

    def _nodes(self, instances: Iterable[Any]) -> Iterable[DiscoveredNode]:
        for instance in instances:
            if not isinstance(instance, dict):
                yield unusable(instance)
                continue
            overridden = instance.get("overriddenstatus") or instance.get("overriddenStatus")
            status = instance.get("status") if overridden in (None, "", "UNKNOWN") else overridden
            if status != "UP":
                continue
            metadata = instance.get("metadata")
            metadata = metadata if isinstance(metadata, dict) else {}
            # A secure port, if it is on, beats the other one, as in APISIX.
            port = _port(instance.get("securePort")) or _port(instance.get("port"))
            weight = _number(metadata.get("weight", self.conf.weight))
            host: Any = instance.get("ipAddr")
            yield DiscoveredNode(host, port or 0, weight, 0, metadata or None)


def _listed(value: Any) -> list[Any]:
    """Some versions of Eureka write a list of one as that one."""
    return [] if value is None else value if isinstance(value, list) else [value]


def _port(value: Any) -> Any:
    """The number; None when it is switched off."""
    if not isinstance(value, dict) or str(value.get("@enabled")).lower() != "true":
        return None
    return _number(value.get("$"))


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20 else value
