"""request-collapsing: of identical requests at the same time one goes upstream, and the others get its response."""

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Annotated, Any

from pydantic import Field

from bascule.plugin.host import Host
from bascule.plugin.kit.header_edits import HeaderName
from bascule.plugin.kit.template import Template
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.request import Request
from bascule.plugin.response import Response

MOST_HELD = 64 << 20  # bytes of bodies that all responses under way may hold in a worker
# RFC 9110, section 15.1: what may be stored without being told so.
SHAREABLE = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
# A part, or something that depends on what the client has already.
_PERSONAL = ("range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range")
_BODY = ("content-length", "transfer-encoding", "upgrade", "expect")
_CREDENTIALS = ("authorization", "cookie", "proxy-authorization")
# What tells of the client and of the way, and what is in the key as it is: any other header may decide about the
# response, such as a plugin's word of who the client is.
_NO_MATTER = frozenset({
    "host", "connection", "keep-alive", "proxy-connection", "te", "via", "forwarded", "user-agent", "referer",
    "date", "dnt", "priority", "pragma", "baggage", "b3", "cache-control", "upgrade-insecure-requests",
    "traceparent", "tracestate", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port",
    "x-real-ip", "x-request-id", "x-correlation-id"
})  # fmt: skip
_NO_MATTER_EITHER = ("sec-fetch-", "sec-ch-ua", "x-b3-")
DEFAULT_KEY = "$request_method $scheme $http_host $request_uri"
Key = tuple[object, ...]
# Of the connection, or written by the gateway itself.
_NOT_SHARED = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "content-length", "trailer", "te", "upgrade"}
    | {"server"}
)


class RequestCollapsingConfig(Config):
    key: str = Field(DEFAULT_KEY, min_length=1)
    vary_headers: tuple[HeaderName, ...] | None = None
    with_credentials: bool = False
    wait_timeout: Annotated[float, Field(gt=0, le=600)] = 5.0
    max_body_size: Annotated[int, Field(ge=0, le=MOST_HELD)] = 1 << 20


class Held:
    """Bytes held by all flights of a worker."""

    def __init__(self) -> None:
        self.size = 0


class Flight:
    """One request on its way, and who waits for its response."""

    __slots__ = (
        "body",
        "chunks",
        "head_waiters",
        "headers",
        "leader_left",
        "length",
        "over",
        "size",
        "status",
        "varied",
        "waiters",
    )

    def __init__(self) -> None:
        self.waiters: list[asyncio.Future[None]] = []
        self.head_waiters: list[asyncio.Future[None]] = []
        self.chunks: list[bytes] = []
        self.size = 0
        self.over = False
        self.leader_left = False
        self.body: bytes | None = None  # once the response is whole and may be shared
        self.status = 0  # once the head is there, and may be shared
        self.headers: list[tuple[str, str]] = []
        self.length = -1  # Content-Length
        self.varied: list[tuple[str, list[str]]] = []  # what the leader sent of the headers that Vary names

    def decided(self, only_head: bool) -> bool:
        """Whether who waits need wait no longer."""
        return self.over or (only_head and self.status != 0)

    def waiters_for(self, only_head: bool) -> list[asyncio.Future[None]]:
        return self.head_waiters if only_head else self.waiters

    def answers(self, request: Request, only_head: bool) -> bool:
        has_all = self.status != 0 if only_head else self.body is not None
        return has_all and all(request.header_values(name) == sent for name, sent in self.varied)

    def answer(self, only_head: bool) -> Response:
        if not only_head:
            return Response(self.status, self.body, self.headers)
        response = Response(self.status, b"", self.headers)
        response.body_length = self.length
        return response


class AsGet:
    """The variables of a HEAD request, as if it were a GET."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def var(self, name: str, /) -> Any:
        return "GET" if name == "request_method" else self._request.var(name)


class RequestCollapsing(Plugin):
    name = "request-collapsing"
    priority = 24000  # its filters see the response before others change it
    observes_body = True
    Config = RequestCollapsingConfig
    conf: RequestCollapsingConfig

    def __init__(self, conf: RequestCollapsingConfig, host: Host) -> None:
        super().__init__(conf, host)
        self.key = Template(conf.key)
        self.excluded = _PERSONAL + _BODY + (() if conf.with_credentials else _CREDENTIALS)
        self.also = (conf.vary_headers or ()) + (_CREDENTIALS if conf.with_credentials else ())
        self.flights: dict[Key, Flight] = {}
        self.held = host.state("held", Held)
        self.mark = f"request-collapsing {id(self)}"
        family = host.metrics.counter(
            "bascule_collapsed_requests", "Requests by their part in collapsing", ("holder", "result")
        )
        self.counts = {
            result: family.child((host.holder, result)) for result in ("led", "shared", "unshared", "timeout")
        }

    def before_proxy(self, request: Request) -> Response | Awaitable[Response | None] | None:
        """Here the request has passed all that might refuse it. A coroutine for those that wait."""
        if self.mark in request.ctx:
            return None  # another try
        request.ctx[self.mark] = None
        method = request.method
        if method not in ("GET", "HEAD") or method != request.received_method:
            return None
        if any(request.header(name) is not None for name in self.excluded):
            return None
        same = self.identity(request)
        key = (method, self.key.render(request), *same)
        flight = self.flights.get(key)
        if method == "HEAD":
            # A GET that is under way has the same head.
            as_get = ("GET", self.key.render(AsGet(request)), *same)
            if as_get in self.flights:
                key, flight = as_get, self.flights[as_get]
        if flight is not None:
            return self.follow(request, key, flight)
        self.lead(request, key)
        return None

    def identity(self, request: Request) -> Key:
        """What must be the same besides the key."""
        consumer, handle = request.consumer, request.chosen_upstream
        names = [None if consumer is None else consumer.consumer_name, None if handle is None else handle.key]
        if self.conf.key == DEFAULT_KEY:  # what plugins have made of it, too
            names += [request.upstream_target, request.upstream_host]
        if self.conf.vary_headers is None:
            return (*names, *sorted(_that_matter(request.headers())))
        return (*names, *(tuple(request.header_values(name)) for name in self.also))

    def lead(self, request: Request, key: Key) -> None:
        self.flights[key] = flight = Flight()
        request.ctx[self.mark] = (key, flight)
        request.buffer_response(self.conf.max_body_size)  # a slow client mustn't hold up those that wait
        self.counts["led"].inc()

    async def follow(self, request: Request, key: Key, flight: Flight) -> Response | None:
        end = self.host.monotonic() + self.conf.wait_timeout
        only_head = request.method == "HEAD"
        while True:
            if not flight.decided(only_head):
                await self.wait(flight.waiters_for(only_head), end)
                if not flight.decided(only_head):
                    self.counts["timeout"].inc()
                    return None
            if flight.answers(request, only_head):
                self.counts["shared"].inc()
                request.set_var("request_collapsed", "1")
                return flight.answer(only_head)
            if not flight.leader_left:
                self.counts["unshared"].inc()
                return None
            # One of those that waited goes in its place, and the others wait for that one.
            if only_head:
                key = ("HEAD", self.key.render(request), *key[2:])
            next_flight = self.flights.get(key)
            if next_flight is None:
                self.lead(request, key)
                return None
            flight = next_flight

    async def wait(self, waiters: list[asyncio.Future[None]], end: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        waiters.append(waiter)
        timer = self.host.call_later(max(0.0, end - self.host.monotonic()), _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()

    def header_filter(self, request: Request, response: Response) -> None:
        led = request.ctx.get(self.mark)
        if led is None:
            return
        key, flight = led
        if not self.may_share(response):
            self.land(key, flight)
            return
        flight.status = response.status
        flight.length = int(response.header("Content-Length") or -1)
        flight.headers = [(name, value) for name, value in response.headers() if name.lower() not in _NOT_SHARED]
        names = {name.strip() for line in response.header_values("Vary") for name in line.split(",")}
        flight.varied = [(name, request.header_values(name)) for name in names if name]
        if request.method == "HEAD":
            self.land(key, flight)
        else:
            _wake_all(flight.head_waiters)

    def may_share(self, response: Response) -> bool:
        if response.source != "upstream" or response.status not in SHAREABLE:
            return False
        if response.header("Set-Cookie") is not None or response.header("Content-Range") is not None:
            return False
        if any("*" in line for line in response.header_values("Vary")):
            return False
        if (response.header("Content-Type") or "").lower().startswith("text/event-stream"):
            return False
        control = ",".join(response.header_values("Cache-Control")).lower()
        directives = {part.partition("=")[0].strip() for part in control.split(",")}
        if directives & {"private", "no-store"}:
            return False
        length = response.header("Content-Length") or "0"
        return length.isdigit() and int(length) <= self.conf.max_body_size

    def body_filter(self, request: Request, response: Response, chunk: bytes, last: bool) -> None:
        led = request.ctx.get(self.mark)
        if led is None:
            return
        key, flight = led
        if flight.over:
            return
        flight.size += len(chunk)
        self.held.size += len(chunk)
        flight.chunks.append(chunk)
        if flight.size > self.conf.max_body_size or self.held.size > MOST_HELD:
            self.land(key, flight)
        elif last:
            if not response.trailers:
                flight.body = b"".join(flight.chunks)
            self.land(key, flight)

    def log(self, request: Request) -> None:
        led = request.ctx.get(self.mark)
        if led is not None:
            key, flight = led
            if not flight.over:
                flight.leader_left = request.var("error") is None
                self.land(key, flight)

    def land(self, key: Key, flight: Flight) -> None:
        """Nobody joins it any more, and who waits goes on."""
        flight.over = True
        self.held.size -= flight.size
        flight.chunks.clear()
        if self.flights.get(key) is flight:
            del self.flights[key]
        _wake_all(flight.waiters)
        _wake_all(flight.head_waiters)


def _that_matter(headers: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        lower = name.lower()
        if lower not in _NO_MATTER and not lower.startswith(_NO_MATTER_EITHER):
            yield lower, value


def _wake_all(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        _wake(waiter)
    waiters.clear()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
