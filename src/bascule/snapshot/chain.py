"""Plugin hooks in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bascule.match.expression import Expression

WEBSOCKET_PHASES = ("ws_handshake", "ws_client_frame", "ws_upstream_frame")
PHASES = ("rewrite", "access", "before_proxy", "header_filter", "body_filter", "log", *WEBSOCKET_PHASES)


@dataclass(slots=True, eq=False)
class Hook:
    """One phase method of one plugin instance. All hooks of an instance share the same `filter` object, so that an
    engine can evaluate it once per request."""

    call: Callable[..., Any]
    plugin: str
    needs_task: bool = False
    filter: Expression | None = None
    error_response: str | dict[str, Any] | None = None
    observes_body: bool = False
    payload: str = "none"  # of a frame hook: "none", "frame" or "message"
    max_bytes: int = 0  # held of a message for it

    def __repr__(self) -> str:
        return f"<hook {self.plugin}#{getattr(self.call, '__name__', '?')}>"


@dataclass(slots=True, eq=False)
class Chain:
    """What runs for a request, per phase: global rules' hooks first, then the route's, each by falling priority."""

    rewrite: tuple[Hook, ...] = ()
    access: tuple[Hook, ...] = ()
    before_proxy: tuple[Hook, ...] = ()
    header_filter: tuple[Hook, ...] = ()
    body_filter: tuple[Hook, ...] = ()
    log: tuple[Hook, ...] = ()
    ws_handshake: tuple[Hook, ...] = ()
    ws_client_frame: tuple[Hook, ...] = ()
    ws_upstream_frame: tuple[Hook, ...] = ()
    names: tuple[str, ...] = ()  # plugin names in order
    plan: object = None  # the engine's cache

    def __repr__(self) -> str:
        return f"<chain {' '.join(self.names) or 'empty'}>"
