"""Nodes that stand in Consul's key/value store: a key for each, PREFIX/SERVICE/HOST:PORT, with its weight as the value.

A service's name is the URL of its folder: http://127.0.0.1:8500/v1/kv/upstreams/web/
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

import orjson
from pydantic import Field

from bascule.control.discovery.consul import AgentConfig, follow
from bascule.control.discovery.discovery import (
    DiscoveredNode,
    Discovery,
    DiscoveryFailure,
    Found,
    Nodes,
    Service,
    closing,
    together,
)
from bascule.control.discovery.http import place
from bascule.errors.sentences import Refused
from bascule.model.node import split_address

PATH = "/v1/kv/"


class ConsulKvConfig(AgentConfig):
    """`skip_keys`: keys, or folders with a / at their end."""

    prefix: Annotated[str, Field(min_length=1)] = "upstreams"
    skip_keys: tuple[str, ...] | None = None


class ConsulKv(Discovery[ConsulKvConfig]):
    Config = ConsulKvConfig
    sockets = False

    def fault(self, service: Service) -> str | None:
        folders = [f"{_bare(server)}{PATH}{self.conf.prefix.strip('/')}/" for server in self.conf.servers]
        if any(service.name.startswith(folder) for folder in folders):
            return None
        return f"is no folder of a server in discovery.consul_kv.servers, as {folders[0]}NAME/"

    def name_of(self, service: Service) -> str:
        return service.name if service.name.endswith("/") else f"{service.name}/"

    def concerns(self, source: str, service: Service) -> bool:
        return service.name.startswith(f"{source}{PATH}")

    def fallback(self, service: Service) -> Nodes:
        return self.conf.fallback()

    async def watch_all(self) -> AsyncIterator[Found | DiscoveryFailure]:
        makers = {_bare(server): partial(self._tree, server.rstrip("/")) for server in self.conf.servers}
        async with closing(together(makers)) as telling:
            async for server, told in telling:
                if isinstance(told, DiscoveryFailure):
                    yield told
                    continue
                yield Found(told, source=server, scope=f"{server}{PATH}")

    async def _tree(self, server: str) -> AsyncIterator[dict[str, Nodes]]:
        url = f"{server}{PATH}{self.conf.prefix.strip('/')}/"
        async with closing(
            follow(self.host, self.conf, url, {"recurse": "true"}, blocking=self.conf.keepalive)
        ) as answers:
            async for answer in answers:
                yield {} if answer.status == 404 else self._folders(_bare(server), answer.json(place(url)))

    def _folders(self, server: str, entries: Any) -> dict[str, Nodes]:
        if not isinstance(entries, list):
            raise DiscoveryFailure(f"{server}{PATH} answers with no list of keys")
        found: dict[str, list[DiscoveredNode]] = {}
        for entry in entries:
            key = entry.get("Key") if isinstance(entry, dict) else None
            if not isinstance(key, str) or key.endswith("/") or self._is_skipped(key):
                continue
            folder, _, address = key.rpartition("/")
            found.setdefault(f"{server}{PATH}{folder}/", []).append(self._node(address, entry.get("Value")))
        return dict(found)

    def _is_skipped(self, key: str) -> bool:
        return any(key == one or (one.endswith("/") and key.startswith(one)) for one in self.conf.skip_keys or ())

    def _node(self, address: str, packed: Any) -> DiscoveredNode:
        """One that can't be used is left out later, and named."""
        try:
            host, port = split_address(address)
        except Refused:
            return DiscoveredNode(address, 0)
        try:
            value = orjson.loads(b64decode(packed)) if packed else {}
            weight = value.get("weight", self.conf.weight)
        except (ValueError, TypeError, AttributeError):
            weight = packed
        return DiscoveredNode(host, port, weight)


def _bare(server: str) -> str:
    """As names of services have it: without user and password."""
    return place(server).rstrip("/")
