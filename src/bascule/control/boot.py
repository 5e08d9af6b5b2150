"""What a worker is told when it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bascule.control.acme.challenges import Challenges
from bascule.control.configuration import PackedChange
from bascule.control.health.states import States
from bascule.model.discovery import DiscoveredNode, Service
from bascule.model.engine_settings import EngineSettings
from bascule.snapshot.references import Unresolved


@dataclass(frozen=True, slots=True)
class Socket:
    """A listening socket by its inherited descriptor."""

    fd: int
    port: int
    unix: bool
    proxy_protocol: bool = False
    tls: bool = False
    http2: bool = False
    http3: bool = False
    udp: bool = False


@dataclass(slots=True)
class Boot:
    """`steps`: every resource there is, as of `generation`; applied one after the other. `folder`: where modules that
    `user_plugins` names are looked for, after the installed ones. `secrets`: what references stand for; `staples`:
    OCSP responses by the keys of their certificates; `challenges`: what certificate authorities look for at present;
    `discovered`: nodes of services; `health`: what is known of nodes, None if they aren't checked."""

    worker_id: int
    settings: EngineSettings
    sockets: tuple[Socket, ...]
    counters_fd: int
    loads_fd: int
    in_flight_fd: int
    sessions_fd: int
    enabled: tuple[str, ...] | None
    user_plugins: tuple[str, ...]
    folder: str
    plugin_attr: dict[str, Any]
    error_log: str | None
    cpu: int | None
    supervisor_pid: int
    upgrade_address: str
    debug_key: bytes
    ticket_secret: bytes
    generation: int
    steps: Sequence[Sequence[PackedChange]]
    secrets: Mapping[str, str | Unresolved] = field(default_factory=dict)
    staples: Mapping[bytes, bytes | None] = field(default_factory=dict)
    challenges: Challenges = field(default_factory=Challenges)
    discovered: Mapping[Service, Sequence[DiscoveredNode]] = field(default_factory=dict)
    health: States | None = None
