"""What a worker knows of discovered services: their nodes, and which items hold an upstream that names them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bascule.model.discovery import DiscoveredNode, Service
from bascule.snapshot.compiled_upstream import CompiledUpstream, Node
from bascule.snapshot.node_list import nodes_of

Item = tuple[str, str]
Told = Mapping[Service, Sequence[DiscoveredNode]]


class Discovered:
    """Nodes of services, made once for all upstreams that name them. A service that nothing is known of has none."""

    def __init__(self, told: Told | None = None) -> None:
        self._told: dict[Service, tuple[DiscoveredNode, ...]] = {}
        self._made: dict[tuple[Service, int], tuple[tuple[DiscoveredNode, ...], tuple[Node, ...]]] = {}  # of what
        self.update(told or {})

    def __repr__(self) -> str:
        return f"<discovered: {len(self._told)} services>"

    def update(self, told: Told) -> list[Service]:
        """What the supervisor tells; the services that have other nodes now."""
        changed = []
        for service, nodes in told.items():
            fresh = tuple(DiscoveredNode(*node) for node in nodes)
            if fresh == self._told.get(service, ()):
                continue
            changed.append(service)
            if fresh:
                self._told[service] = fresh
            else:
                self._told.pop(service, None)
                for port in (80, 443):
                    self._made.pop((service, port), None)
        return changed

    def nodes(self, service: Service, default_port: int) -> tuple[Node, ...]:
        """The same object until the service has other nodes."""
        told = self._told.get(service)
        if told is None:
            return ()
        of, nodes = self._made.get((service, default_port), ((), ()))
        if of is not told:
            nodes = nodes_of(told, default_port, nodes)
            self._made[service, default_port] = told, nodes
        return nodes

    def renewed(self, upstream: CompiledUpstream) -> CompiledUpstream:
        """With its service's nodes of now: itself if those are what it has."""
        if upstream.service is None:
            return upstream
        nodes = self.nodes(upstream.service, 80 if upstream.tls is None else 443)
        return upstream if nodes == upstream.nodes else replace(upstream, nodes=nodes, runtime=None)


class Following:
    """Items whose upstream names a service."""

    def __init__(self) -> None:
        self._items: dict[Service, set[Item]] = {}

    def note(self, item: Item, old: Any, new: Any) -> None:
        """Another record is in use."""
        before, after = _service(old), _service(new)
        if before == after:
            return
        if before is not None:
            held = self._items[before]
            held.discard(item)
            if not held:
                del self._items[before]
        if after is not None:
            self._items.setdefault(after, set()).add(item)

    def items(self, services: Iterable[Service]) -> list[Item]:
        return sorted({item for service in services for item in self._items.get(service, ())})


def _service(record: Any) -> Service | None:
    upstream = getattr(record, "upstream", None)
    return None if upstream is None else upstream.service
