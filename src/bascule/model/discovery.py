"""Services that are discovered: how an upstream names one, and the nodes that are told of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

MENTIONED = b'"discovery_type"'


class Service(NamedTuple):
    """What an upstream asks of a discovery. `args`: its discovery_args as sorted JSON, "" for none."""

    type: str
    name: str
    args: str = ""

    def __str__(self) -> str:
        return f"{self.type} {self.name}" + (f" {self.args}" if self.args else "")

    def arg(self, name: str) -> Any:
        """One of the discovery_args, or None."""
        return orjson.loads(self.args).get(name) if self.args else None


class DiscoveredNode(NamedTuple):
    """`host`: a name or an address, IPv6 without brackets. `port` None: the default of the upstream's scheme."""

    host: str
    port: int | None
    weight: int = 1
    priority: int = 0
    metadata: Mapping[str, Any] | None = None


def service_of(upstream: Any) -> Service | None:
    """Of an upstream as it is written; None for anything else, and for one whose nodes are listed."""
    if not isinstance(upstream, dict):
        return None
    type, name, args = (upstream.get(key) for key in ("discovery_type", "service_name", "discovery_args"))
    if not isinstance(type, str) or not isinstance(name, str) or not name:
        return None
    return Service(type, name, _packed(args))


def _packed(args: Any) -> str:
    if not isinstance(args, dict) or not args:
        return ""
    try:
        return orjson.dumps(args, option=orjson.OPT_SORT_KEYS).decode()
    except (TypeError, ValueError):  # what JSON doesn't hold
        return ""


def services_in(value: Any, where: str = "") -> Iterator[tuple[str, Service]]:
    """Every upstream in a resource that names a service: its place (keys with / between, "" for the whole), and it."""
    if isinstance(value, dict):
        service = service_of(value)
        if service is not None:
            yield where, service
        for key, inner in value.items():
            if isinstance(inner, dict | list):
                yield from services_in(inner, f"{where}/{key}" if where else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            if isinstance(inner, dict | list):
                yield from services_in(inner, f"{where}/{index}" if where else str(index))
