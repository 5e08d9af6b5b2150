"""A list of nodes as a registry tells it, made fit for upstreams: what can't be a node is left out and named."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bascule.control.discovery.http import DiscoveryFailure, one_line
from bascule.errors.sentences import Refused
from bascule.model.discovery import DiscoveredNode
from bascule.model.node import UNIX, check_host

MOST_WEIGHT = 1_000_000_000
MAX_NAME = 253  # RFC 1035, section 3.1
MAX_SENTENCE = 200


def checked(told: Iterable[Any], most: int, *, sockets: bool = True) -> tuple[tuple[DiscoveredNode, ...], str | None]:
    """The nodes, each address once, and a sentence about those that are left out. `sockets`: Unix sockets may be among
    them. Raises DiscoveryFailure when there are more than `most`, or when none of those told is one."""
    nodes: dict[tuple[str, int | None], DiscoveredNode] = {}
    count = bad = 0
    first_bad = ""
    for one in told:
        count += 1
        if count > most:
            raise DiscoveryFailure(f"more than {most} nodes are told of it (max_nodes)")
        try:
            node = _checked(one, sockets)
        except ValueError as error:
            bad += 1
            first_bad = first_bad or one_line(str(error), MAX_SENTENCE)
            continue
        nodes.setdefault((node.host, node.port), node)
    sentence = None
    if bad:
        sentence = f"{bad} of {count} nodes can't be used: {first_bad}"
        if not nodes:
            raise DiscoveryFailure(sentence)
    return tuple(nodes.values()), sentence


def same(one: Iterable[DiscoveredNode], other: Iterable[DiscoveredNode]) -> bool:
    """Whether they differ in their order at most: name servers shuffle their answers."""
    return {node[:2]: node for node in one} == {node[:2]: node for node in other}


def _checked(one: Any, sockets: bool) -> DiscoveredNode:
    """Raises ValueError."""
    try:
        host, port, weight, priority, metadata = DiscoveredNode(*one)
    except TypeError:
        raise ValueError("it is no node") from None
    if not isinstance(host, str) or len(host) > MAX_NAME:
        raise ValueError(f"{_short(host)} is no host")
    if not sockets and host.startswith(UNIX):
        raise ValueError(f"{_short(host)} is a Unix socket, which a registry may not name")
    try:
        host = check_host(host)
    except Refused as refused:
        raise ValueError(str(refused)) from None
    if port is not None and (type(port) is not int or not 1 <= port <= 65535):
        raise ValueError(f"port {_short(port)} of {host} isn't within 1 to 65535")
    if type(weight) is not int or not 0 <= weight <= MOST_WEIGHT:
        raise ValueError(f"weight {_short(weight)} of {host} isn't within 0 to {MOST_WEIGHT}")
    if type(priority) is not int:
        raise ValueError(f"priority {_short(priority)} of {host} is no integer")
    if metadata is not None and not isinstance(metadata, dict):
        raise ValueError(f"the metadata of {host} is no object")
    return DiscoveredNode(host, port, weight, priority, metadata or None)


def _short(value: Any) -> str:
    text = repr(value[:60] if isinstance(value, str) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def described(nodes: Iterable[DiscoveredNode]) -> list[dict[str, Any]]:
    """As APISIX's dumps show nodes."""
    found = []
    for node in nodes:
        one: dict[str, Any] = {"host": node.host, "port": node.port, "weight": node.weight}
        if node.port is None:
            del one["port"]
        if node.priority:
            one["priority"] = node.priority
        if node.metadata:
            one["metadata"] = node.metadata
        found.append(one)
    return found


def nodes_of_dump(value: Any) -> list[DiscoveredNode]:
    """What `described` gave, and what APISIX writes. Raises ValueError."""
    if not isinstance(value, list):
        raise ValueError("no list of nodes")
    found = []
    for one in value:
        if not isinstance(one, dict) or "host" not in one:
            raise ValueError("no node")
        found.append(
            DiscoveredNode(
                one["host"], one.get("port"), one.get("weight", 1), one.get("priority", 0), one.get("metadata")
            )
        )
    return found
