"""Services that are registered with Consul: the instances whose health checks pass, by blocking queries.

Servers are agents, of one data center or of several. What they tell of a service is put together; an agent that is away
counts for nothing as long as another one knows nodes of the service.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import Field

from bascule.control.discovery.alternates import Url
from bascule.control.discovery.discovery import (
    DiscoveredNode,
    Discovery,
    DiscoveryConfig,
    DiscoveryFailure,
    Host,
    Nodes,
    Service,
    closing,
    together,
    unusable,
)
from bascule.control.discovery.http import Answer, place
from bascule.model.admin_settings import Section

Ms = Annotated[int, Field(ge=1)]
MOST_BLOCKING = 100  # queries at once at one agent, which allows 200 connections of a client; others are polled
LEAST_PAUSE_S = 0.05  # between queries, however quickly the agent answers
LEAST_BLOCKED_S = 0.5  # what tells nothing new sooner is polled
SKIPPED = ("consul",)


class Timeout(Section):
    """`connect` and `read` in ms; `wait`: of a blocking query, in seconds."""

    connect: Ms = 2000
    read: Ms = 2000
    wait: Annotated[int, Field(ge=1, le=600)] = 60


class DefaultMetadata(Section):
    fail_timeout: int = 1
    weight: Annotated[int, Field(ge=0)] = 1
    max_fails: int = 1


class DefaultService(Section):
    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)]
    metadata: DefaultMetadata = DefaultMetadata()


class Dump(Section):
    """As APISIX writes and reads it. `path` relative to the home; `expire`: seconds, 0 for ever."""

    path: Annotated[str, Field(min_length=1)]
    load_on_init: bool = True
    expire: Annotated[int, Field(ge=0)] = 0


class AgentConfig(DiscoveryConfig):
    """What both ways to use Consul have. `shared_size` means nothing here."""

    servers: Annotated[tuple[Url, ...], Field(min_length=1)]
    token: str = ""
    fetch_interval: Annotated[int, Field(ge=1)] = 3
    keepalive: bool = True
    weight: Annotated[int, Field(ge=1)] = 1
    timeout: Timeout = Timeout()
    dump: Dump | None = None
    default_service: DefaultService | None = None
    shared_size: str | int | None = None

    def fallback(self) -> list[DiscoveredNode]:
        default = self.default_service
        return [] if default is None else [DiscoveredNode(default.host, default.port, default.metadata.weight)]


class ConsulConfig(AgentConfig):
    """`prefix` means nothing here; APISIX's examples have it."""

    prefix: str | None = None
    sort_type: Literal["origin", "host_sort", "port_sort", "combine_sort"] = "origin"
    skip_services: tuple[str, ...] | None = None
    preserve_metadata: bool = False


async def follow(
    host: Host, conf: AgentConfig, url: str, params: Mapping[str, str], *, blocking: bool = True
) -> AsyncIterator[Answer]:
    """Answers of an agent, each when it has changed (or might have); 404 is one, too. Raises DiscoveryFailure."""
    headers = {"X-Consul-Token": conf.token} if conf.token else {}
    connect_s, read_s = conf.timeout.connect / 1000, conf.timeout.read / 1000
    loop = asyncio.get_running_loop()
    index = 0
    while True:
        blocks, began = blocking and index > 0, loop.time()
        answer = await host.http.ask(
            url,
            params={**params, "index": str(index), "wait": f"{conf.timeout.wait}s"} if blocks else params,
            headers=headers,
            connect_s=connect_s,
            total_s=connect_s + read_s + (conf.timeout.wait * 17 / 16 if blocks else 0),
            keepalive=conf.keepalive,
        )
        told = answer.headers.get("X-Consul-Index", "")
        # Consul says 404 of a folder that isn't there, with its index; others that say so are no Consul.
        if answer.status != 200 and not (answer.status == 404 and told):
            raise answer.refusal(place(url))
        fresh = int(told) if told.isascii() and told.isdigit() and len(told) < 20 else 0
        if fresh != index or not blocks:
            yield answer
        # What answers a query at once without anything new doesn't know blocking queries.
        blocked = not blocks or fresh != index or loop.time() - began >= LEAST_BLOCKED_S
        # An index that goes back means that the agent has lost its state: to be asked without one.
        index = fresh if fresh >= index else 0
        await asyncio.sleep(LEAST_PAUSE_S if blocking and index and blocked else conf.fetch_interval)


class Consul(Discovery[ConsulConfig]):
    Config = ConsulConfig
    sockets = False

    def __init__(self, conf: ConsulConfig, host: Host) -> None:
        super().__init__(conf, host)
        self._blocking = 0

    def fault(self, service: Service) -> str | None:
        if not isinstance(service.arg("metadata") or {}, dict):
            return '"metadata" in discovery_args must be an object'
        if service.name in (*SKIPPED, *(self.conf.skip_services or ())):
            return "isn't looked for: it stands in skip_services" if service.name not in SKIPPED else "is Consul itself"
        return None

    def fallback(self, service: Service) -> Nodes:
        return self.conf.fallback()

    async def watch(self, service: Service) -> AsyncIterator[Nodes | DiscoveryFailure]:
        makers = {place(server): partial(self._instances, server, service) for server in self.conf.servers}
        parts: dict[str, list[DiscoveredNode]] = {}
        away: dict[str, DiscoveryFailure] = {}
        async with closing(together(makers)) as telling:
            async for server, told in telling:
                if isinstance(told, DiscoveryFailure):
                    away[server] = told
                else:
                    away.pop(server, None)
                    parts[server] = told
                if len(away) == len(makers):
                    yield away[server]
                elif len(parts) + len(away.keys() - parts.keys()) == len(makers):
                    yield self._put_together(parts, away)

    def _put_together(
        self, parts: Mapping[str, Nodes], away: Mapping[str, DiscoveryFailure]
    ) -> list[DiscoveredNode] | DiscoveryFailure:
        there = [node for server, nodes in parts.items() if server not in away for node in nodes]
        if not there and away:
            # Those that answer know of none; the others can't be asked whether they do.
            there = [node for server, nodes in parts.items() if server in away for node in nodes]
            if not there:
                return next(iter(away.values()))
        return self._sorted(there)

    def _sorted(self, nodes: list[DiscoveredNode]) -> list[DiscoveredNode]:
        kind = self.conf.sort_type
        if kind == "host_sort":
            return sorted(nodes, key=lambda node: node.host)
        if kind == "port_sort":
            return sorted(nodes, key=lambda node: node.port or 0)
        if kind == "combine_sort":
            return sorted(nodes, key=lambda node: (node.host, node.port or 0))
        return nodes

    async def _instances(self, server: str, service: Service) -> AsyncIterator[list[DiscoveredNode]]:
        url = f"{server.rstrip('/')}/v1/health/service/{quote(service.name, safe='')}"
        where, wanted = place(url), service.arg("metadata")
        blocking = self.conf.keepalive and self._blocking < MOST_BLOCKING * len(self.conf.servers)
        self._blocking += blocking
        try:
            async with closing(follow(self.host, self.conf, url, {"passing": "1"}, blocking=blocking)) as answers:
                async for answer in answers:
                    yield [] if answer.status == 404 else self._nodes(answer.json(where), where, wanted)
        finally:
            self._blocking -= blocking

    def _nodes(self, entries: Any, url: str, wanted: Any) -> list[DiscoveredNode]:
        """`wanted`: what the metadata of an instance must hold; None: whatever it likes."""
        if not isinstance(entries, list):
            raise DiscoveryFailure(f"{url} answers with no list of instances")
        nodes = []
        for entry in entries:
            try:
                instance = entry["Service"]
                address = instance.get("Address") or entry["Node"]["Address"]
                metadata = instance.get("Meta") or {}
                if wanted and any(metadata.get(key) != value for key, value in wanted.items()):
                    continue
                kept = metadata if self.conf.preserve_metadata and metadata else None
                nodes.append(DiscoveredNode(address, instance.get("Port") or None, self.conf.weight, 0, kept))
            except (KeyError, TypeError, AttributeError):
                nodes.append(unusable(entry))
        return nodes
