"""The base of every plugin and of its configuration."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, ClassVar, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict

from bascule.plugin.frame import Close, Drop, Frame
from bascule.plugin.host import Host
from bascule.plugin.request import Request
from bascule.plugin.response import Response

PHASES = (
    "rewrite",
    "access",
    "before_proxy",
    "header_filter",
    "body_filter",
    "log",
    "ws_handshake",
    "ws_client_frame",
    "ws_upstream_frame",
)


class Config(BaseModel):
    """Base of a plugin's configuration: frozen, unknown attributes refused.

    Validated as JSON is: a string is no number, a list may fill a tuple or a set, but no value is converted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def model_validate(cls, obj: Any, **kwargs: Any) -> Self:
        if not isinstance(obj, dict) or kwargs:
            return super().model_validate(obj, **kwargs)
        try:
            packed = orjson.dumps(obj)
        except TypeError:  # not JSON (a Python object of a test): pydantic's sentence says where
            return super().model_validate(obj)
        return super().model_validate_json(packed, strict=True)


ConfigClass = type[Config]


class Plugin:
    """One plugin with one configuration, shared by all requests of what holds it.

    Override the phases you need. `rewrite`, `access` and `before_proxy` may be `async def`; a Response that they
    return is the answer, and None goes on. `header_filter`, `body_filter` and `log` are plain functions."""

    name: ClassVar[str]
    priority: ClassVar[int]  # higher runs earlier
    version: ClassVar[float] = 0.1
    Config: ClassVar[ConfigClass]
    ConsumerConfig: ClassVar[ConfigClass | None] = None  # what a consumer holds, for authentication plugins
    Metadata: ClassVar[ConfigClass | None] = None  # plugin_metadata/<name>
    Attr: ClassVar[ConfigClass | None] = None  # plugin_attr.<name> in config.yaml
    type: ClassVar[str | None] = None  # "auth": an authentication plugin
    run_policy: ClassVar[str | None] = None  # "prefer_route": a global rule's stands back for the route's own
    encrypt_fields: ClassVar[tuple[str, ...]] = ()  # attributes that a store encrypts
    needs_task: ClassVar[bool] = False  # the async phases await asyncio things (timeouts, clients): run them in a task
    observes_body: ClassVar[bool] = False  # body_filter only looks: Content-Length stays
    override: ClassVar[bool] = False  # replaces the built-in plugin of the same name
    # What the ws_*_frame phases get: heads without payload, which streams by; each frame; or whole messages. Of one
    # message so many bytes are held at most: a longer one closes the WebSocket (1009). An instance may set its own.
    ws_payload: Literal["none", "frame", "message"] = "message"
    ws_max_bytes: int = 1 << 20

    conf: Any
    host: Host

    def __init__(self, conf: Any, host: Host) -> None:
        self.conf = conf
        self.host = host

    def group(self) -> str | None:
        """The name by which confs of several holders share something: they all must be the same then."""
        return None

    def rewrite(self, request: Request) -> Response | Awaitable[Response | None] | None:
        """First; authentication runs here."""
        return None

    def access(self, request: Request) -> Response | Awaitable[Response | None] | None:
        """The consumer is known."""
        return None

    def before_proxy(self, request: Request) -> Response | Awaitable[Response | None] | None:
        """Just before a node is chosen."""
        return None

    def header_filter(self, request: Request, response: Response) -> None:
        """Status and headers may be changed; they go out next."""

    def body_filter(self, request: Request, response: Response, chunk: bytes, last: bool) -> bytes | None:
        """What goes out instead of the chunk; None leaves it. The last call may have an empty chunk."""
        return None

    def log(self, request: Request) -> None:
        """The response is out. Nothing can be changed."""

    def ws_handshake(self, request: Request) -> Response | None:
        """The upstream has agreed to a WebSocket (`request.response` is its answer); a Response refuses it."""
        return None

    def ws_client_frame(self, request: Request, frame: Frame) -> bytes | str | Drop | Close | None:
        """A frame of the client's: None lets it pass, bytes or text replace its payload, DROP, Close(code, reason)."""
        return None

    def ws_upstream_frame(self, request: Request, frame: Frame) -> bytes | str | Drop | Close | None:
        """The same for frames of the upstream's."""
        return None

    def hooks(self) -> tuple[str, ...]:
        """Phases to install: all overridden ones. Return fewer when this conf needs fewer."""
        return tuple(phase for phase in PHASES if getattr(type(self), phase) is not getattr(Plugin, phase))

    def present_state(self) -> dict[str, Any] | None:
        """What it is at now, for `bascule explain`: JSON."""
        return None

    def close(self) -> None:
        """The configuration went away."""

    @classmethod
    def consumer_key(cls, conf: Any) -> str | None:
        """Authentication plugins: the key under which `find_consumer` finds the holder of this ConsumerConfig."""
        return None
