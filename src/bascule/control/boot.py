"""What a worker is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bascule.model.change import Change
from bascule.model.settings import EngineSettings


@dataclass(frozen=True, slots=True)
class Socket:
    """A listening socket by its inherited descriptor."""

    fd: int
    port: int
    unix: bool


@dataclass(slots=True)
class Boot:
    """`changes`: every resource there is, as of `generation`."""

    worker_id: int
    settings: EngineSettings
    sockets: tuple[Socket, ...]
    counters_fd: int
    enabled: tuple[str, ...] | None
    user_plugins: tuple[str, ...]
    plugin_attr: dict[str, Any]
    error_log: str | None
    generation: int
    changes: list[Change] = field(default_factory=list)
