"""The test kit: a plugin tested in a few lines, without a server.

    def test_blocks_strangers():
        result = run(IpRestriction, {"whitelist": ["10.0.0.0/8"]}, get("/", remote_addr="192.168.0.1"))
        assert result.status == 403

`run` takes the request through the phases as the engine does: rewrite, access, before_proxy until one answers; then
the upstream's response (or that answer) through header_filter and body_filter; then log. Several plugins run in the
order of their priorities: `run([(KeyAuth, {}), (LimitCount, {...})], get("/"))`. Coroutines that never really wait
are run on the spot; for others there is `await run_async(...)`, for a test that has an event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from bascule.plugin.exchange import MemoryExchange, Value
from bascule.plugin.host import HttpAnswer
from bascule.plugin.kit.drive import drive
from bascule.plugin.kit.memory_host import HttpCall, MemoryCounters, MemoryHost, MemoryHttp
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.request import Request
from bascule.plugin.response import Response
from bascule.plugin.upstream import UpstreamHandle

__all__ = [
    "Binding",
    "HttpAnswer",
    "HttpCall",
    "MemoryCounters",
    "MemoryHost",
    "MemoryHttp",
    "Result",
    "Route",
    "Sent",
    "Upstream",
    "get",
    "post",
    "request",
    "run",
    "run_async",
]

Headers = Mapping[str, str] | Iterable[tuple[str, str]]
Plugins = type[Plugin] | Sequence[tuple[type[Plugin], Any]]


@dataclass(frozen=True)
class Binding:
    """A consumer as an authentication plugin finds it."""

    consumer_name: str
    conf: Any = None
    credential_id: str | None = None
    group_id: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    custom_id: str | None = None


@dataclass(frozen=True)
class Route:
    """What plugins see of the matched route."""

    id: str = "1"
    name: str | None = None
    service_id: str | None = None
    service_name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    uris: tuple[str, ...] = ("/*",)


@dataclass(frozen=True)
class Upstream:
    """What the upstream answers; `body` in chunks as they arrive."""

    status: int = 200
    headers: Headers = ()
    body: bytes | Sequence[bytes] = b"upstream"
    trailers: Sequence[tuple[str, str]] = ()

    def head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} Canned"]
        lines += [f"{name}: {value}" for name, value in _pairs(self.headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def chunks(self) -> list[bytes]:
        return [self.body] if isinstance(self.body, bytes) else list(self.body)


@dataclass(frozen=True)
class Sent:
    """The request as it would go upstream. `chosen`: the upstream that a plugin chose, None: the route's own."""

    method: str
    target: str
    host: str
    headers: list[tuple[str, str]]
    body: bytes
    chosen: UpstreamHandle | None = None

    def header(self, name: str) -> str | None:
        return _first(self.headers, name)

    def header_values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass(frozen=True)
class Result:
    """What came out. `answered_by` is "upstream" or the name of the plugin that answered; `sent` is None then."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    chunks: list[bytes]
    answered_by: str
    sent: Sent | None
    request: Request
    response: Response
    plugins: tuple[Plugin, ...]

    @property
    def trailers(self) -> list[tuple[str, str]]:
        return self.response.trailers or []

    @property
    def upstream(self) -> Sent:
        """`sent`, for tests that are sure of it."""
        assert self.sent is not None, f"not sent upstream: answered by {self.answered_by} with {self.status}"
        return self.sent

    @property
    def host(self) -> Any:
        """The (first) plugin's host."""
        return self.plugins[0].host

    def header(self, name: str) -> str | None:
        return _first(self.headers, name)

    def header_values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def json(self) -> Any:
        return orjson.loads(self.body)


# --- requests


def request(
    method: str,
    target: str,
    *,
    headers: Headers = (),
    body: bytes | str | dict[str, Any] | list[Any] = b"",
    remote_addr: str = "127.0.0.1",
    remote_port: int = 34567,
    variables: Mapping[str, Value] | None = None,
    route: Any = Route(),
    params: Mapping[str, str] | None = None,
) -> Request:
    """A request. A full URL as target gives scheme and Host ("http://gateway.test" otherwise); a dict or list as
    body is sent as JSON. `variables`: the gateway's own, e.g. {"status": 200}."""
    parts = urlsplit(target)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "") if parts.scheme else target
    pairs = _pairs(headers)
    if _first(pairs, "host") is None:
        pairs.insert(0, ("Host", parts.netloc if parts.scheme else "gateway.test"))
    if isinstance(body, dict | list):
        body = orjson.dumps(body)
        if _first(pairs, "content-type") is None:
            pairs.append(("Content-Type", "application/json"))
    raw = body.encode() if isinstance(body, str) else body
    if raw and _first(pairs, "content-length") is None and _first(pairs, "transfer-encoding") is None:
        pairs.append(("Content-Length", str(len(raw))))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in pairs)]
    made = Request.from_bytes(
        ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"),
        body=raw,
        remote_addr=remote_addr,
        remote_port=remote_port,
        scheme=parts.scheme or "http",
        variables=variables,
    )
    made.route = route
    made.params = dict(params or {})
    return made


def get(target: str, **options: Any) -> Request:
    """`request("GET", …)`"""
    return request("GET", target, **options)


def post(target: str, body: bytes | str | dict[str, Any] | list[Any] = b"", **options: Any) -> Request:
    """`request("POST", …)`"""
    return request("POST", target, body=body, **options)


# --- running


class _Run(NamedTuple):
    request: Request
    plugins: tuple[Plugin, ...]
    upstream: Upstream | Callable[[Sent], Upstream]

    def hooks(self, phase: str) -> list[tuple[Plugin, Callable[..., Any]]]:
        return [(plugin, getattr(plugin, phase)) for plugin in self.plugins if phase in plugin.hooks()]

    async def to_end(self) -> Result:
        answered_by, response, sent, trailers = "upstream", None, None, None
        for phase in ("rewrite", "access", "before_proxy"):
            for plugin, hook in self.hooks(phase):
                answer = hook(self.request)
                if hasattr(answer, "__await__"):
                    answer = await answer
                if answer is not None:
                    assert isinstance(answer, Response), f"{plugin.name}.{phase} returned {answer!r}"
                    answered_by, response = plugin.name, answer
                    break
            if response is not None:
                break
        if response is None:
            sent = _sent(self.request)
            upstream = self.upstream(sent) if callable(self.upstream) else self.upstream
            response, chunks = Response.from_bytes(upstream.head()), upstream.chunks()
            trailers = list(upstream.trailers)
        else:
            chunks = [response.body] if response.body else []
        return self.respond(answered_by, response, chunks, sent, trailers)

    def respond(
        self,
        answered_by: str,
        response: Response,
        chunks: list[bytes],
        sent: Sent | None,
        trailers: list[tuple[str, str]] | None,
    ) -> Result:
        self.request.response = response
        response.take_headers(self.request)
        for _, hook in self.hooks("header_filter"):
            hook(self.request, response)
        # The last chunk is told to be the last only when the end is known: as an upstream's often comes, by itself.
        pieces = [(chunk, False) for chunk in chunks] + [(b"", True)] if answered_by == "upstream" else []
        whole = b"".join(chunks)
        if response.hold_limit and answered_by == "upstream" and len(whole) > response.hold_limit:
            return self.respond("gateway", Response(502), [], sent, None)
        if answered_by != "upstream" or response.hold_limit:
            pieces = [(whole, True)]
        out = []
        for piece, last in pieces:
            chunk = piece
            if last and trailers is not None:
                response.trailers = trailers
            for _, hook in self.hooks("body_filter"):
                changed = hook(self.request, response, chunk, last)
                chunk = chunk if changed is None else changed
            if chunk:
                out.append(chunk)
        exchange = self.request.exchange
        if isinstance(exchange, MemoryExchange):
            exchange.variables.setdefault("status", response.status)
        for _, hook in self.hooks("log"):
            hook(self.request)
        return Result(
            response.status,
            response.headers(),
            b"".join(out),
            out,
            answered_by,
            sent,
            self.request,
            response,
            self.plugins,
        )


def run(
    plugin: Plugins,
    conf: Any = None,
    request: Request | None = None,
    *,
    upstream: Upstream | Callable[[Sent], Upstream] = Upstream(),
    consumers: Mapping[str, Mapping[str, Any]] | None = None,
    host: MemoryHost | None = None,
    **host_options: Any,
) -> Result:
    """One request through one plugin with `conf`, or through several: `run([(A, conf), (B, conf)], request)`.

    conf: a mapping (checked by the plugin's Config) or an instance of Config; a list of plugins may also hold Plugin
    instances, for state that lasts over several requests. consumers: plugin name -> consumer name -> that plugin's
    conf of the consumer (or Binding). host_options: those of MemoryHost (http=, metadata=, attr=, seed=, …)."""
    return drive(_prepare(plugin, conf, request, upstream, consumers, host, host_options).to_end())


async def run_async(
    plugin: Plugins,
    conf: Any = None,
    request: Request | None = None,
    *,
    upstream: Upstream | Callable[[Sent], Upstream] = Upstream(),
    consumers: Mapping[str, Mapping[str, Any]] | None = None,
    host: MemoryHost | None = None,
    **host_options: Any,
) -> Result:
    """`run` for plugins that really wait, inside an event loop."""
    return await _prepare(plugin, conf, request, upstream, consumers, host, host_options).to_end()


def make(plugin: type[Plugin], conf: Any = None, host: MemoryHost | None = None, **host_options: Any) -> Plugin:
    """An instance, with conf checked by its Config, and metadata (a mapping) by its Metadata."""
    metadata = host_options.get("metadata")
    if isinstance(metadata, Mapping) and plugin.Metadata is not None:
        host_options["metadata"] = plugin.Metadata.model_validate(dict(metadata))
    if not isinstance(conf, Config):
        conf = plugin.Config.model_validate(dict(conf or {}))
    return plugin(conf, host or MemoryHost(plugin.name, **host_options))


def _prepare(
    plugin: Any,
    conf: Any,
    request: Request | None,
    upstream: Upstream | Callable[[Sent], Upstream],
    consumers: Mapping[str, Mapping[str, Any]] | None,
    host: MemoryHost | None,
    host_options: dict[str, Any],
) -> _Run:
    if isinstance(plugin, Sequence):
        request = conf if request is None else request
        made = [one if isinstance(one, Plugin) else make(one[0], one[1], host, **dict(host_options)) for one in plugin]
    elif isinstance(plugin, Plugin):
        request = conf if request is None else request
        made = [plugin]
    else:
        made = [make(plugin, conf, host, **host_options)]
    if not isinstance(request, Request):
        raise TypeError("run(plugin, conf, request): the request is missing")
    made.sort(key=lambda one: -one.priority)
    if consumers:
        classes = {one.name: type(one) for one in made}
        exchange: Any = request.exchange
        exchange.consumers = {
            name: dict(_bind(classes.get(name), who, one) for who, one in held.items())
            for name, held in consumers.items()
        }
    return _Run(request, tuple(made), upstream)


def _bind(plugin: type[Plugin] | None, consumer: str, held: Any) -> tuple[str, Binding]:
    binding = held if isinstance(held, Binding) else Binding(consumer, held)
    if plugin is None or plugin.ConsumerConfig is None:
        return consumer, binding
    conf = binding.conf
    if not isinstance(conf, Config):
        conf = plugin.ConsumerConfig.model_validate(dict(conf or {}))
        binding = Binding(
            binding.consumer_name, conf, binding.credential_id, binding.group_id, binding.labels, binding.custom_id
        )
    return plugin.consumer_key(conf) or consumer, binding


_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length")
)


def _sent(request: Request) -> Sent:
    exchange: Any = request.exchange
    body = request.replaced_body
    return Sent(
        request.method,
        request.upstream_target,
        request.upstream_host,
        [(name, value) for name, value in request.headers() if name.lower() not in _HOP_BY_HOP],
        exchange.body if body is None else body,
        request.chosen_upstream,
    )


def _pairs(headers: Headers) -> list[tuple[str, str]]:
    return list(headers.items() if isinstance(headers, Mapping) else headers)


def _first(pairs: Iterable[tuple[str, str]], name: str) -> str | None:
    return next((value for key, value in pairs if key.lower() == name.lower()), None)
