"""request-collapsing: of identical requests at the same time one goes upstream, and the others get its response."""

import asyncio
from collections.abc import Awaitable
from typing import Annotated

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
# Of the connection, or written by the gateway itself.
_NOT_SHARED = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "content-length", "trailer", "te", "upgrade"}
    | {"server"}
)


class RequestCollapsingConfig(Config):
    key: str = Field("$request_method $scheme $http_host $request_uri", min_length=1)
    vary_headers: tuple[HeaderName, ...] = ("Accept", "Accept-Encoding", "Accept-Language", "Origin")
    with_credentials: bool = False
    wait_timeout: Annotated[float, Field(gt=0, le=600)] = 5.0
    max_body_size: Annotated[int, Field(ge=0, le=MOST_HELD)] = 1 << 20


class Held:
    """Bytes held by all flights of a worker."""

    def __init__(self) -> None:
        self.size = 0


class Flight:
    """One request on its way, and who waits for its response."""

    __slots__ = ("body", "chunks", "headers", "leader_left", "over", "size", "status", "varied", "waiters")

    def __init__(self) -> None:
        self.waiters: list[asyncio.Future[None]] = []
        self.chunks: list[bytes] = []
        self.size = 0
        self.over = False
        self.leader_left = False
        self.body: bytes | None = None  # once the response is whole and may be shared
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.varied: list[tuple[str, list[str]]] = []  # what the leader sent of the headers that Vary names


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
        self.also = conf.vary_headers + (_CREDENTIALS if conf.with_credentials else ())
        self.flights: dict[tuple[object, ...], Flight] = {}
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
        if request.method != "GET" or any(request.header(name) is not None for name in self.excluded):
            return None
        consumer = request.consumer
        key = (
            self.key.render(request),
            None if consumer is None else consumer.consumer_name,
            *(tuple(request.header_values(name)) for name in self.also),
        )
        flight = self.flights.get(key)
        if flight is not None:
            return self.follow(request, key, flight)
        self.lead(request, key)
        return None

    def lead(self, request: Request, key: tuple[object, ...]) -> None:
        self.flights[key] = flight = Flight()
        request.ctx[self.mark] = (key, flight)
        request.buffer_response(self.conf.max_body_size)  # a slow client mustn't hold up those that wait
        self.counts["led"].inc()

    async def follow(self, request: Request, key: tuple[object, ...], flight: Flight) -> Response | None:
        end = self.host.monotonic() + self.conf.wait_timeout
        while True:
            waiter = asyncio.get_running_loop().create_future()
            flight.waiters.append(waiter)
            timer = self.host.call_later(max(0.0, end - self.host.monotonic()), _wake, waiter)
            try:
                await waiter
            finally:
                timer.cancel()
            if not flight.over:
                self.counts["timeout"].inc()
                return None
            if flight.body is not None and all(request.header_values(name) == sent for name, sent in flight.varied):
                self.counts["shared"].inc()
                request.set_var("request_collapsed", "1")
                return Response(flight.status, flight.body, flight.headers)
            if not flight.leader_left:
                self.counts["unshared"].inc()
                return None
            # One of those that waited goes in its place, and the others wait for that one.
            next_flight = self.flights.get(key)
            if next_flight is None:
                self.lead(request, key)
                return None
            flight = next_flight

    def header_filter(self, request: Request, response: Response) -> None:
        led = request.ctx.get(self.mark)
        if led is None:
            return
        key, flight = led
        if not self.may_share(response):
            self.land(key, flight)
            return
        flight.status = response.status
        flight.headers = [(name, value) for name, value in response.headers() if name.lower() not in _NOT_SHARED]
        names = {name.strip() for line in response.header_values("Vary") for name in line.split(",")}
        flight.varied = [(name, request.header_values(name)) for name in names if name]

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
                flight.leader_left = request.var("status") == 499
                self.land(key, flight)

    def land(self, key: tuple[object, ...], flight: Flight) -> None:
        """Nobody joins it any more, and who waits goes on."""
        flight.over = True
        self.held.size -= flight.size
        flight.chunks.clear()
        if self.flights.get(key) is flight:
            del self.flights[key]
        for waiter in flight.waiters:
            _wake(waiter)
        flight.waiters.clear()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
