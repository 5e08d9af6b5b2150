"""Sticky sessions: a cookie that the gateway sets keeps a client at its node.

The cookie holds a MAC of the upstream's key and the node's name: it tells nothing of the node, can't be made by anybody
without the key, and a gateway that shares the key and the configuration takes it. Looking a client's cookie up is one
look into a dictionary of the MACs of all nodes.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from typing import Any

_TOKEN_BYTES = 18


def sticky_key(secret: str | None, gateway_key: bytes) -> bytes:
    """What cookies are signed with: from `bascule.sticky_secret`, or else from the gateway's own key."""
    return hmac.digest(gateway_key if secret is None else secret.encode(), b"bascule sticky sessions", "sha256")


class StickySessions:
    """Of one CompiledUpstream that has `sticky`. `known`: tokens by node name, used and added to; hand over the same
    ones to keep them over a new configuration."""

    __slots__ = ("_attributes", "_conf", "_nodes", "_tokens", "_variable")

    def __init__(self, upstream: Any, key: bytes, known: dict[str, str] | None = None) -> None:
        conf = upstream.sticky
        self._conf = conf
        self._variable = f"cookie_{conf.name}"
        names = [node.name for node in upstream.nodes]
        known = {} if known is None else known
        for gone in known.keys() - names:
            del known[gone]
        for name in names:
            if name not in known:
                known[name] = token_of(key, upstream.key, name)
        self._tokens = [known[name] for name in names]
        self._nodes = {token: index for index, token in enumerate(self._tokens)}
        said = [f"Path={conf.path}"]
        if conf.ttl is not None:
            said.append(f"Max-Age={conf.ttl}")
        if conf.http_only:
            said.append("HttpOnly")
        if conf.same_site is not None:
            said.append(f"SameSite={conf.same_site.capitalize()}")
        self._attributes = "; ".join(said)

    def node(self, exchange: Any) -> int:
        """Index of the node that the client's cookie names; -1: none."""
        found = self._nodes.get(exchange.var(self._variable), -1)
        return found

    def cookie(self, index: int, secure: bool) -> bytes:
        """The value of Set-Cookie that names a node; `secure`: the client came by TLS."""
        mark = "; Secure" if (secure if self._conf.secure is None else self._conf.secure) else ""
        return f"{self._conf.name}={self._tokens[index]}; {self._attributes}{mark}".encode("ascii")

    def __repr__(self) -> str:
        return f"<StickySessions {self._conf.name}, {len(self._tokens)} nodes>"


def token_of(key: bytes, upstream: str, node: str) -> str:
    mac = hmac.digest(key, f"{upstream}\0{node}".encode("utf-8", "surrogatepass"), "sha256")
    return urlsafe_b64encode(mac[:_TOKEN_BYTES]).decode("ascii")
