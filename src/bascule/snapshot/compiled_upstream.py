"""An upstream as the engine uses it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bascule.model.discovery import Service
from bascule.model.health_check import PassiveCheck
from bascule.model.locality import Locality
from bascule.model.node import UNIX
from bascule.model.outlier_detection import NodeBreaker, OutlierDetection
from bascule.model.retry_policy import RetryPolicy
from bascule.model.slow_start import SlowStart
from bascule.model.sticky import Sticky
from bascule.snapshot.timeout import Timeout


@dataclass(frozen=True, slots=True)
class Node:
    """One server. `host` is a name or an address (IPv6 without brackets)."""

    host: str
    port: int
    weight: int
    priority: int = 0
    metadata: dict[str, Any] | None = field(default=None, hash=False)
    _name: str | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """ "host:port", as it is written in the configuration: an IPv6 address has brackets."""
        name = self._name
        if name is None:
            bare = ":" in self.host and not self.host.startswith(UNIX)
            name = f"[{self.host}]:{self.port}" if bare else f"{self.host}:{self.port}"
            object.__setattr__(self, "_name", name)
        return name


@dataclass(frozen=True, slots=True)
class ClientTls:
    """TLS to the nodes. PEM texts may be references. `verify` None: if a CA is known."""

    verify: bool | None = None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    cert_id: str | None = None
    protocols: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class CompiledUpstream:
    """Never changed after it was built, save for `runtime`. A new version of the same upstream is a new object with the
    same `key`; a version that says the same stays the same object."""

    key: str  # identity over versions: "upstreams/1", "routes/5#upstream", "services/2#upstream"
    id: str | None  # None: inline in a route or service
    nodes: tuple[Node, ...]
    type: str = "roundrobin"
    hash_on: str = "vars"
    hash_key: str | None = None
    scheme: str = "http"
    http2: bool = False  # also for scheme http; grpc and grpcs always are
    pass_host: str = "pass"
    upstream_host: str | None = None
    retries: int | None = None  # None: number of nodes - 1
    retry_timeout_s: float = 0.0  # 0: unlimited
    retry_policy: RetryPolicy | None = None
    outlier_detection: OutlierDetection | None = None
    breaker: NodeBreaker | None = None
    timeout: Timeout | None = None
    keepalive_size: int = 320
    keepalive_idle_s: float = 60.0
    keepalive_requests: int = 1000
    sticky: Sticky | None = None
    slow_start: SlowStart | None = None
    locality: Locality | None = None
    proxy_protocol: int = 0  # version of the PROXY header that each connection begins with; 0: none
    tls: ClientTls | None = None  # None: plain
    name: str | None = None
    labels: dict[str, str] | None = None
    service: Service | None = None  # whose nodes are discovered
    passive: PassiveCheck | None = None  # how its tries are judged
    runtime: object = None  # the engine's cache: balancer, pools

    def __repr__(self) -> str:
        nodes = ",".join(f"{n.host}:{n.port}*{n.weight}" for n in self.nodes)
        return f"<upstream {self.key} {self.type} {self.scheme} {nodes or 'no nodes'}>"
