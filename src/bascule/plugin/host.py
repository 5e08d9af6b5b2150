"""What the gateway offers a plugin: log, clock, counters, tasks, HTTP, metrics."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from bascule.model.upstream import Upstream
from bascule.observe.metrics import Metrics
from bascule.plugin.upstream import Place, UpstreamHandle

if TYPE_CHECKING:
    from bascule.plugin.request import Request

T = TypeVar("T")


class Window(Protocol):
    """Of SharedCounters."""

    def take(self, key: str) -> tuple[int, float]: ...


class SharedCounters(Protocol):
    """Counters that are exact across the workers of this machine."""

    def incr(self, key: str, amount: int, window_s: float) -> tuple[int, float]:
        """(value after adding, seconds until it starts anew): a fixed window that begins with its first use."""

    def window(self, prefix: str, window_s: float) -> Window:
        """For many keys with one prefix: `.take(key)` is `incr(prefix + key, 1, window_s)`, and costs less."""

    def get(self, key: str) -> int: ...
    def add(self, key: str, delta: int) -> int:
        """The value after adding, without a window: for what is in flight."""


class InFlight(Protocol):
    """Counts of requests in flight, exact across the workers of this machine: what a killed one held comes free."""

    def enter(self, key: str, limit: int) -> int:
        """One more under the key: how many there are with it. More than `limit`: that was too many, and it isn't
        counted. Who is counted must `leave` in the log phase, whatever happens."""

    def leave(self, key: str) -> None: ...


class Cancellable(Protocol):
    def cancel(self) -> None: ...


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        lower = name.lower()
        return next((value for key, value in self.headers if key.lower() == lower), None)


class HttpClientError(Exception):
    """No answer: the name didn't resolve, the connection failed, time ran out, the bytes made no sense."""


class HttpClient(Protocol):
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        timeout_s: float = 3.0,
        ssl_verify: bool = True,
    ) -> HttpAnswer:
        """Raises HttpClientError. Redirects are not followed. Needs `needs_task` in the plugin that awaits it."""


class Mirror(Protocol):
    """Sends copies of requests over the gateway's own connections, one after the other or many at a time."""

    def copy(self, request: Request, target: str) -> None:
        """To this target (path and query), from before_proxy: as the request goes upstream, with its body once that is
        whole. Returns at once. A WebSocket's handshake isn't copied."""


class Host(Protocol):
    @property
    def log(self) -> logging.Logger:
        """The plugin's own, `bascule.plugin.<name>`."""

    @property
    def attr(self) -> Mapping[str, Any]:
        """`plugin_attr.<name>` of config.yaml."""

    @property
    def holder(self) -> str:
        """The resource that holds the conf: "routes/1", "services/2", "global_rules/1"."""

    @property
    def random(self) -> random.Random: ...
    @property
    def counters(self) -> SharedCounters: ...
    @property
    def in_flight(self) -> InFlight: ...
    @property
    def http(self) -> HttpClient: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def settings(self) -> Mapping[str, Any]:
        """Facts of the gateway: version, server_name, https_port (None without TLS), hostname,
        trusted_addresses (of peers whose X-Forwarded-* are believed; empty when none are configured)."""

    def metadata(self) -> Any:
        """The plugin's Metadata as it is now, or None."""

    def upstream(self, conf: Upstream | str, at: Place) -> UpstreamHandle:
        """In the plugin's constructor: an upstream of its own, for `request.use_upstream`. conf: an attribute of the
        type InlineUpstream, or the id of one of /upstreams. at: where in the plugin's conf it
        stands, e.g. ("rules", 0, "upstream"): what is wrong with it is told there. Balancer, pools and health of the
        upstream at the same place are kept over edits."""

    def plugin(self, name: str, conf: Mapping[str, Any], at: Place) -> Any:
        """In the plugin's constructor: another plugin, which this one runs by itself. Its conf stands at `at` and is
        checked; faults are told there, and then it is a plugin without hooks. It is closed with this one."""

    def proto(self, id: str) -> str | None:
        """The content of protos/<id> as it is now, or None: for kit/proto_definition.py."""

    def now(self) -> float:
        """Wall clock, s."""

    def monotonic(self) -> float:
        """s"""

    def state(self, key: str, factory: Callable[[], T]) -> T:
        """What `factory` made at the first call with this key: kept over reloads, one per plugin name and key."""

    def mirror(
        self,
        scheme: str,
        host: str,
        port: int,
        *,
        timeouts_s: tuple[float, float, float],
        most: int,
        body_limit: int,
        told: Callable[[str, str | None], None],
    ) -> Mirror:
        """Scheme http, https, grpc or grpcs; timeouts to connect, send and read; `most` copies under way at a time;
        bodies of at most `body_limit` bytes. `told(result, detail)` hears of each copy: "answered", whatever the
        status; "failed" and why; "busy": too many are under way; "body": it is too long, or never came whole."""

    def spawn(self, coro: Coroutine[Any, Any, Any], name: str) -> None:
        """Runs it as a task of its own; kept, named, awaited at shutdown."""

    def call_later(self, seconds: float, fn: Callable[..., Any], *args: Any) -> Cancellable: ...
    def sleep(self, seconds: float) -> Awaitable[None]: ...
