"""A Host without a gateway: time stands still until told, nothing leaves the process, what was asked for is kept."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bascule.model.upstream import Upstream
from bascule.observe.metrics import Metrics
from bascule.plugin.host import HttpAnswer, HttpClient, HttpClientError, SharedCounters
from bascule.plugin.kit.drive import drive
from bascule.plugin.registry import Registry
from bascule.plugin.request import Request
from bascule.plugin.upstream import Place, UpstreamHandle

T = TypeVar("T")
START_S = 1_700_000_000.0  # 2023-11-14T22:13:20Z


@dataclass(frozen=True)
class MemoryWindow:
    counters: MemoryCounters
    prefix: str
    window_s: float

    def take(self, key: str) -> tuple[int, float]:
        return self.counters.incr(self.prefix + key, 1, self.window_s)


@dataclass
class MemoryCounters:
    """SharedCounters on the host's clock."""

    clock: Callable[[], float]
    values: dict[str, tuple[int, float]] = field(default_factory=dict)  # key -> (value, when it ends)

    def incr(self, key: str, amount: int, window_s: float) -> tuple[int, float]:
        now = self.clock()
        value, end = self.values.get(key, (0, 0.0))
        if now >= end:
            value, end = 0, now + window_s
        self.values[key] = (value + amount, end)
        return value + amount, end - now

    def window(self, prefix: str, window_s: float) -> MemoryWindow:
        return MemoryWindow(self, prefix, window_s)

    def get(self, key: str) -> int:
        value, end = self.values.get(key, (0, 0.0))
        return value if self.clock() < end else 0

    def add(self, key: str, delta: int) -> int:
        value = self.values.get(key, (0, 0.0))[0] + delta
        self.values[key] = (value, float("inf"))
        return value


@dataclass
class MemoryInFlight:
    """`held`: by key, what is in flight."""

    held: dict[str, int] = field(default_factory=dict)

    def enter(self, key: str, limit: int) -> int:
        total = self.held.get(key, 0) + 1
        if total <= limit:
            self.held[key] = total
        return total

    def leave(self, key: str) -> None:
        left = self.held.pop(key) - 1
        if left:
            self.held[key] = left


@dataclass(frozen=True)
class HttpCall:
    """One call of the HTTP client."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    timeout_s: float
    ssl_verify: bool

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass
class MemoryHttp:
    """An HTTP client with canned answers. `answers`: URL -> answer, or the exception to raise; or a function of the
    call. What isn't there fails as an unreachable server does."""

    answers: Mapping[str, HttpAnswer | Exception] | Callable[[HttpCall], HttpAnswer | Exception]
    calls: list[HttpCall] = field(default_factory=list)

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
        call = HttpCall(method, url, tuple(headers), body, timeout_s, ssl_verify)
        self.calls.append(call)
        answer = self.answers(call) if callable(self.answers) else self.answers.get(url)
        if answer is None:
            raise HttpClientError(f"no canned answer for {url}")
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class MemoryMirror:
    """Keeps what it would have sent: `copies` as (method, target). `tell(result, detail)` is what the plugin hears."""

    url: str
    options: Mapping[str, Any]
    copies: list[tuple[str, str]] = field(default_factory=list)

    def copy(self, request: Request, target: str) -> None:
        self.copies.append((request.method, target))

    def tell(self, result: str, detail: str | None = None) -> None:
        self.options["told"](result, detail)


@dataclass(eq=False)
class Timer:
    """One call_later, `due` on the host's monotonic clock."""

    due: float
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class MemoryHost:
    """See `bascule.plugin.host.Host`. `advance(seconds)` moves the clock and runs what falls due; `sleep` advances by
    itself. Spawned coroutines wait in `spawned` until `settle()` (which advance() calls) runs them."""

    def __init__(
        self,
        name: str = "test",
        *,
        holder: str = "routes/1",
        attr: Mapping[str, Any] | None = None,
        metadata: Any = None,
        http: HttpClient | Mapping[str, HttpAnswer | Exception] | Callable[[HttpCall], HttpAnswer | Exception] = {},  # noqa: B006 (never written)
        counters: SharedCounters | None = None,
        settings: Mapping[str, Any] | None = None,
        protos: Mapping[str, str] | None = None,
        seed: int = 1,
        now: float = START_S,
    ) -> None:
        self.log = logging.getLogger(f"bascule.plugin.{name}")
        self._name = name
        self.parts: Any = None  # of tables that build the plugin
        self.holder = holder
        self.attr: Mapping[str, Any] = attr or {}
        self.random = random.Random(seed)
        self.time = now
        self.counters: SharedCounters = counters or MemoryCounters(self.monotonic)
        self.in_flight = MemoryInFlight()
        self.http: Any = http if hasattr(http, "request") else MemoryHttp(http)
        self.metrics = Metrics()
        self.settings: Mapping[str, Any] = {
            "version": "0.0.0",
            "server_name": "Bascule",
            "hostname": "gateway",
            "https_port": None,
            "trusted_addresses": (),
            **(settings or {}),
        }
        self.metadata_value = metadata
        self.protos = dict(protos or {})
        self.states: dict[str, Any] = {}
        self.upstreams: list[UpstreamHandle] = []  # that plugins have made
        self.spawned: list[tuple[str, Coroutine[Any, Any, Any]]] = []
        self.timers: list[Timer] = []
        self.mirrors: list[MemoryMirror] = []
        self.slept: list[float] = []

    def metadata(self) -> Any:
        return self.metadata_value

    def upstream(self, conf: Upstream | str, at: Place) -> UpstreamHandle:
        if self.parts is not None:
            handle: UpstreamHandle = self.parts.upstream(conf, at)
        elif isinstance(conf, str):
            handle = UpstreamHandle(f"upstreams/{conf}", at, id=conf)
        else:
            handle = UpstreamHandle(self._place(at), at, conf=conf)
        self.upstreams.append(handle)
        return handle

    def plugin(self, name: str, conf: Mapping[str, Any], at: Place) -> Any:
        """Of Bascule's own plugins. Raises what its Config raises, and UnknownPlugin."""
        if self.parts is not None:
            return self.parts.plugin(name, conf, at)
        plugin_class = Registry().get(name)
        return plugin_class(plugin_class.Config.model_validate(dict(conf)), _InnerHost(self, name, at))

    def proto(self, id: str) -> str | None:
        return self.protos.get(id)

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def state(self, key: str, factory: Callable[[], T]) -> T:
        if key not in self.states:
            self.states[key] = factory()
        value: T = self.states[key]
        return value

    def spawn(self, coro: Coroutine[Any, Any, Any], name: str) -> None:
        self.spawned.append((name, coro))

    def call_later(self, seconds: float, fn: Callable[..., Any], *args: Any) -> Timer:
        timer = Timer(self.time + seconds, fn, args)
        self.timers.append(timer)
        return timer

    def sleep(self, seconds: float) -> Awaitable[None]:
        return self._sleep(seconds)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def advance(self, seconds: float) -> None:
        """Moves the clock, timer by timer in their order, and settles."""
        end = self.time + seconds
        while due := [timer for timer in self.timers if not timer.cancelled and timer.due <= end]:
            timer = min(due, key=lambda timer: timer.due)
            self.timers.remove(timer)
            self.time = max(self.time, timer.due)
            timer.fn(*timer.args)
            self.settle()
        self.time = max(self.time, end)
        self.settle()

    def mirror(self, scheme: str, host: str, port: int, **options: Any) -> MemoryMirror:
        """Kept in `mirrors`."""
        made = MemoryMirror(f"{scheme}://{host}:{port}", options)
        self.mirrors.append(made)
        return made

    def settle(self) -> None:
        """Runs what was spawned, and what that spawns, to its end. See `drive` for what can't be run so."""
        while self.spawned:
            _, coro = self.spawned.pop(0)
            drive(coro)

    async def settle_async(self) -> None:
        """The same inside an event loop."""
        while self.spawned:
            _, coro = self.spawned.pop(0)
            await coro

    def _place(self, at: Place) -> str:
        return f"{self.holder}#plugins/{self._name}/{'/'.join(map(str, at))}"

    def __repr__(self) -> str:
        return f"<memory host {self.holder} spawned={len(self.spawned)} timers={len(self.timers)}>"


class _InnerHost:
    """The host of a plugin inside another one: the same in all but its name and place."""

    def __init__(self, outer: MemoryHost, name: str, at: Place) -> None:
        self._outer = outer
        self.log = logging.getLogger(f"bascule.plugin.{name}")
        self.holder = outer._place(at)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outer, name)
