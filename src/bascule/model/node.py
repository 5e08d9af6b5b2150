"""The nodes of an upstream: a map "host:port" -> weight, or a list of objects."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, PlainSerializer, Strict, Tag

from bascule.errors.apisix_text import MatchesAny
from bascule.errors.fault import INVALID
from bascule.errors.sentences import Refused
from bascule.model.attributes import Int, Json, Model, Port

Weight = Annotated[int, Strict(), Field(ge=0)]
UNIX = "unix:"
_WITH_PORT = re.compile(r"([^:\[\]]+|\[[^\[\]]+\]):([0-9]{1,5})", re.ASCII)
# Nearly all are written so; upstreams may have thousands of nodes, and are checked anew at each edit.
_PLAIN = re.compile(r"([0-9A-Za-z._\-]+)(?::([1-9][0-9]{0,4}))?\Z")
_NAME = re.compile(r"[0-9A-Za-z._\-]+\Z")


def split_address(address: str) -> tuple[str, int | None]:
    """ "host", "host:port", "[::1]", "[::1]:80", "unix:/path" -> host (an IPv6 address without brackets) and port."""
    plain = _PLAIN.match(address)
    if plain is not None:
        host, digits = plain.groups()
        if digits is None or int(digits) <= 65535:
            return host, None if digits is None else int(digits)
    if address.startswith(UNIX):
        return check_host(address), None
    if address.startswith("["):
        host, closed, rest = address[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise Refused(f"{address!r} must be written as [IPv6]:port")
        return check_host(f"[{host}]"), _port(address, rest[1:]) if rest else None
    if address.count(":") > 1:
        raise Refused(f"{address!r}: an IPv6 address needs brackets, as in [::1]:80")
    host, colon, port = address.partition(":")
    return check_host(host), _port(address, port) if colon else None


def check_host(host: str) -> str:
    """A name, an IPv4 address, an IPv6 address with or without brackets, or unix:/path; brackets are taken off."""
    if host.startswith(UNIX):
        if not host.startswith("unix:/"):
            raise Refused(f"{host!r}: a Unix socket is written as unix:/path")
        return host
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in bare:
        try:
            return str(ipaddress.IPv6Address(bare))
        except ValueError:
            raise Refused(f'{host!r} is not a host; the port goes into "port"') from None
    if bare != host or not _NAME.match(bare):
        raise Refused(f"{host!r} is not a host name or address")
    return bare


def _port(address: str, digits: str) -> int:
    if not (digits.isascii() and digits.isdigit() and 1 <= int(digits[:6]) <= 65535):
        number = digits.isascii() and digits.isdigit()
        text = f"invalid port {digits.lstrip('0') or '0'}" if number else None
        raise Refused(f"{address!r}: the port must be a number from 1 to 65535", text, number)
    return int(digits)


def _node_host(host: str) -> str:
    if _NAME.match(host):
        return host
    if ":" in host and not host.startswith(("[", UNIX)):
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            return check_host(host)
        text = "IPv6 address must be enclosed with '[' and ']'"
        raise Refused(f"{host!r}: an IPv6 address needs brackets, as in [::1]", INVALID + text, True)
    return check_host(host)


class NodeConf(Model):
    """`port` None: the default of the scheme. As in APISIX, `host` may hold the port instead."""

    host: Annotated[str, Strict(), AfterValidator(_node_host)]
    port: Port | None = None
    weight: Weight
    priority: Int = 0
    metadata: Json | None = None


class MapNode(NamedTuple):
    """A node of the map, as a NodeConf has it."""

    host: str
    port: int | None
    weight: int
    priority: int = 0
    metadata: Json | None = None


class _Address(NamedTuple):
    """`text`: what is written differently stays a node of its own."""

    host: str
    port: int | None
    text: str


def _split(address: str) -> _Address:
    return _Address(*split_address(address), address)


def _form(value: Any) -> str:
    return "map" if isinstance(value, dict) else "list"


def _map_or_list(value: Any) -> Any:
    if not isinstance(value, dict | list | tuple):
        raise Refused('must be an object "host:port" -> weight, or a list of objects with host, port and weight')
    return value if isinstance(value, dict) else [_port_apart(node) for node in value]


def _port_apart(node: Any) -> Any:
    """A node of a list whose host holds the port."""
    host = node.get("host") if isinstance(node, dict) else None
    if isinstance(host, str) and ":" in host and node.get("port") is None:
        found = _WITH_PORT.fullmatch(host)
        if found is not None:
            return {**node, "host": found[1], "port": int(found[2])}
    return node


def _as_list(value: Any) -> tuple[NodeConf | MapNode, ...]:
    if isinstance(value, tuple):
        return value
    return tuple([MapNode(host, port, weight) for (host, port, _), weight in value.items()])


def _dumped(nodes: tuple[NodeConf | MapNode, ...] | None) -> list[dict[str, Any]] | None:
    """Both kinds of nodes alike."""
    if nodes is None:
        return None
    return [node._asdict() if isinstance(node, MapNode) else node.model_dump() for node in nodes]


Address = Annotated[str, Strict(), AfterValidator(_split)]
Nodes = Annotated[
    Annotated[dict[Address, Weight], Tag("map")] | Annotated[tuple[NodeConf, ...], Tag("list")],
    Discriminator(_form),
    BeforeValidator(_map_or_list),
    AfterValidator(_as_list),
    PlainSerializer(_dumped),
    MatchesAny,
]
