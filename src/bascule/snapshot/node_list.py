"""The nodes of an upstream as the engine uses them, made of those that a model or a discovery tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from bascule.model.node import UNIX
from bascule.snapshot.compiled_upstream import Node


class ToldNode(Protocol):
    """A node as a model or a discovery tells it; `port` None: the default."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int | None: ...
    @property
    def weight(self) -> int: ...
    @property
    def priority(self) -> int: ...
    @property
    def metadata(self) -> Mapping[str, Any] | None: ...


def nodes_of(told: Iterable[ToldNode], default_port: int, before: Iterable[Node]) -> tuple[Node, ...]:
    """Nodes that are as they were `before` are the same objects: of a thousand, an edit makes few anew."""
    known = {(node.host, node.port): node for node in before}
    made = []
    for one in told:
        host = one.host
        port = one.port or (0 if host.startswith(UNIX) else default_port)
        metadata = one.metadata
        node = known.get((host, port))
        if (
            node is None
            or node.weight != one.weight
            or node.priority != one.priority
            or (node.metadata is not metadata and node.metadata != metadata)
        ):
            node = Node(host, port, one.weight, one.priority, None if metadata is None else dict(metadata))
        made.append(node)
    return tuple(made)
