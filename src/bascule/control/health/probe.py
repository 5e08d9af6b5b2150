"""One question to one node: what is asked, by which name, over which kind of connection. Plain data."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import quote

from bascule.model.health_check import ActiveCheck
from bascule.model.node import UNIX
from bascule.model.upstream import Upstream, UpstreamTls
from bascule.snapshot.compiled_upstream import Node

AGENT = "bascule-health-check"
DEFAULT_TIMEOUT_S = 1.0
_PORTS = {"http": 80, "https": 443, "grpc": 80}


@dataclass(frozen=True, slots=True)
class Probe:
    """Equal probes ask the same, so that one is enough for all who want to know. `host`: what is connected to, a name,
    an address or unix:/path; `authority`: the Host field; `secure`: over TLS, `tls` beside it."""

    check: ActiveCheck
    host: str
    port: int
    authority: str
    secure: bool
    tls: UpstreamTls | None = None

    @property
    def timeout_s(self) -> float:
        return self.check.timeout if self.check.timeout > 0 else DEFAULT_TIMEOUT_S

    @property
    def server_name(self) -> str:
        """For TLS: the authority without its port."""
        if self.authority.startswith("["):
            return self.authority[1:].partition("]")[0]
        return self.authority.partition(":")[0]

    def request(self) -> bytes:
        """The whole HTTP/1.1 request."""
        check = self.check
        fields = {"host": f"Host: {self.authority}", "user-agent": f"User-Agent: {AGENT}", "accept": "Accept: */*"}
        given = [header.strip() for header in check.req_headers or ()]
        for header in given:
            fields.pop(header.partition(":")[0].lower(), None)
        lines = [f"{check.http_method} {target(check.http_path)} HTTP/1.1", *fields.values(), *given]
        body = check.http_req_body.encode()
        if body:
            lines.append(f"Content-Length: {len(body)}")
        lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode("utf-8") + body


def probe_of(upstream: Upstream, node: Node) -> Probe | None:
    """None: nothing is asked actively."""
    checks = upstream.checks
    if checks is None or checks.active is None:
        return None
    check = checks.active
    secure = check.type == "https" or (check.type == "grpc" and upstream.scheme in ("grpcs", "https"))
    return Probe(
        check=check,
        host=node.host,
        port=check.port or node.port,
        authority=check.host or authority_of(upstream, node, check.port or node.port, secure),
        secure=secure,
        tls=upstream.tls if secure else None,
    )


def authority_of(upstream: Upstream, node: Node, port: int, secure: bool) -> str:
    """What a probe calls the node, where the check names no host."""
    if upstream.pass_host == "rewrite" and upstream.upstream_host:
        return upstream.upstream_host
    if node.host.startswith(UNIX):
        return "localhost"
    host = f"[{node.host}]" if ":" in node.host else node.host
    return host if port == (443 if secure else 80) else f"{host}:{port}"


def target(path: str) -> str:
    """A path as it may stand in a request line."""
    quoted = quote(path, safe="!#$%&'()*+,/:;=?@[]~-._")
    return quoted if quoted.startswith("/") or quoted == "*" else f"/{quoted}"


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
