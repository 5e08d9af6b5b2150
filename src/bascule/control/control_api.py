"""The Control API: what the gateway holds, for operators on the same machine. Paths and answers as APISIX's."""

from __future__ import annotations

import asyncio
import html
import ipaddress
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from aiohttp import hdrs, web

from bascule.control.configuration import PackedChange

# (word of the path, kind): /v1/routes and /v1/route/{id}
HELD = (("route", "routes"), ("service", "services"), ("upstream", "upstreams"))
CHECKED = ("routes", "services", "upstreams", "stream_routes")  # kinds that may have health checks
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Held(Protocol):
    """The resources as the gateway holds them."""

    def get(self, kind: str, id: str) -> PackedChange | None: ...
    def items(self, kind: str) -> Sequence[PackedChange]: ...


@dataclass(slots=True)
class Powers:
    """What the Control API can do to the gateway. `complete(kind, value)`: the value with the defaults that apply to
    it; `reload`: as SIGHUP, true when it went well; `health`: one entry for each checker, its `name` is the key of
    what it checks; `outliers`: nodes that workers leave out by themselves; `discovery(type)`: what it knows,
    `discovery_file(type)`: what it keeps on the disk; None: nothing."""

    schema: Callable[[], Any]
    complete: Callable[[str, Any], Any]
    reload: Callable[[], Awaitable[bool]]
    collect_garbage: Callable[[], None]
    outliers: Callable[[], Awaitable[list[dict[str, Any]]]]
    health: Callable[[], list[dict[str, Any]]] = list
    discovery: Callable[[str], Any] = lambda _: None
    discovery_file: Callable[[str], Any] = lambda _: None


class ControlApi:
    """`prefix` stands before the keys of resources ("/apisix")."""

    def __init__(self, held: Held, powers: Powers, prefix: str) -> None:
        self._held = held
        self._powers = powers
        self._prefix = prefix

    def app(self) -> web.Application:
        app = web.Application()
        for method, path, handler in self._paths():
            app.router.add_route(method, path, _for_local_names(handler))
        # Also for a path that is there, and not for this method: as APISIX answers.
        app.router.add_route("*", "/{rest:.*}", _nothing)
        return app

    def _paths(self) -> Iterator[tuple[str, str, Handler]]:
        yield "GET", "/v1/schema", self._schema
        yield "GET", "/v1/healthcheck", self._health
        yield "GET", "/v1/healthcheck/{kind}/{id}", self._health_of
        yield "GET", "/v1/outliers", self._outliers
        yield "POST", "/v1/gc", self._collect
        for word, kind in HELD:
            yield "GET", f"/v1/{kind}", self._all(kind)
            yield "GET", f"/v1/{word}/{{id}}", self._one(word, kind)
        yield "GET", "/v1/plugin_metadatas", self._all_metadata
        yield "GET", "/v1/plugin_metadata/{id}", self._metadata
        yield "PUT", "/v1/plugins/reload", self._reload
        yield "GET", "/v1/discovery/{type}/dump", self._discovery
        yield "GET", "/v1/discovery/{type}/show_dump_file", self._discovery_file

    # ---- what is held

    def _all(self, kind: str) -> Handler:
        async def answer(request: web.Request) -> web.Response:
            items = self._held.items(kind)
            # Tens of thousands take seconds.
            return await asyncio.to_thread(lambda: _json([self._described(item) for item in items]))

        return answer

    def _one(self, word: str, kind: str) -> Handler:
        async def answer(request: web.Request) -> web.Response:
            id = request.match_info["id"]
            item = self._held.get(kind, id)
            return _not_found(f"{word}[{id}] not found") if item is None else _json(self._described(item))

        return answer

    def _described(self, item: PackedChange) -> dict[str, Any]:
        value = self._value(item)
        upstream = value if item.kind == "upstreams" else value.get("upstream")
        return {
            "key": self._key(item.kind, item.id),
            "value": value,
            "createdIndex": item.created,
            "modifiedIndex": item.modified,
            "clean_handlers": {},
            "has_domain": any(not _is_ip(host) for host in _hosts(upstream)),
        }

    def _value(self, item: PackedChange) -> dict[str, Any]:
        """With its defaults, and nodes as a list, whichever form they were given in."""
        value = _loaded(item)
        completed: dict[str, Any] = self._powers.complete(item.kind, value)
        if item.kind == "upstreams":
            return _with_listed_nodes(completed)
        upstream = completed.get("upstream")
        if isinstance(upstream, dict):
            return {**completed, "upstream": _with_listed_nodes(upstream)}
        return completed

    def _key(self, kind: str, id: str) -> str:
        return f"{self._prefix}/{kind}/{id}"

    async def _all_metadata(self, request: web.Request) -> web.Response:
        items = self._held.items("plugin_metadata")
        return _json([_loaded(item) for item in items])

    async def _metadata(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        item = self._held.get("plugin_metadata", name)
        if item is None:
            return _not_found(f"plugin metadata[{name}] not found")
        return _json(_loaded(item))

    # ---- what the gateway knows and does

    async def _schema(self, request: web.Request) -> web.Response:
        return _json(self._powers.schema())

    async def _health(self, request: web.Request) -> web.Response:
        checkers = self._powers.health()
        return _page(checkers) if _wants_html(request) else _json(checkers)

    async def _health_of(self, request: web.Request) -> web.Response:
        kind, id = request.match_info["kind"], request.match_info["id"]
        if kind not in CHECKED:
            return _json({"error_msg": f"invalid src type {kind}"}, 400)
        if self._held.get(kind, id) is None:
            return _not_found(f"{kind}[{id}] not found")
        name = self._key(kind, id)
        found = next((checker for checker in self._powers.health() if checker["name"] == name), None)
        if found is None:
            return _not_found(f"no checker for {kind}[{id}]")
        return _page([found]) if _wants_html(request) else _json(found)

    async def _outliers(self, request: web.Request) -> web.Response:
        return _json(await self._powers.outliers())

    async def _collect(self, request: web.Request) -> web.Response:
        self._powers.collect_garbage()
        return web.Response()

    async def _reload(self, request: web.Request) -> web.Response:
        if await self._powers.reload():
            return web.Response(text="done")
        return _json({"error_msg": "the new configuration is refused; the error log says why"}, 503)

    async def _discovery(self, request: web.Request) -> web.Response:
        dump = self._powers.discovery(request.match_info["type"])
        if dump is None:
            return _not_found(f"discovery {request.match_info['type']} is not configured")
        return _json(dump)

    async def _discovery_file(self, request: web.Request) -> web.Response:
        type = request.match_info["type"]
        try:
            kept = await asyncio.to_thread(self._powers.discovery_file, type)
        except ValueError as error:
            return _json({"error_msg": f"the file of discovery {type} can't be read: {error}"}, 503)
        return _not_found(f"discovery {type} has no dump file") if kept is None else _json(kept)


def _loaded(item: PackedChange) -> dict[str, Any]:
    value = orjson.loads(item.value or b"{}")
    return {"id": item.id, **(value if isinstance(value, dict) else {})}


def _hosts(upstream: Any) -> list[Any]:
    """Of its nodes. What the gateway refuses is held too, so nothing is as it should be."""
    nodes = upstream.get("nodes") if isinstance(upstream, dict) else None
    return [node.get("host") for node in nodes if isinstance(node, dict)] if isinstance(nodes, list) else []


def _with_listed_nodes(upstream: dict[str, Any]) -> dict[str, Any]:
    nodes = upstream.get("nodes")
    if not isinstance(nodes, dict):
        return upstream
    listed = []
    for address, weight in nodes.items():
        host, port = _host_and_port(address)
        listed.append({"host": host, "weight": weight} | ({} if port is None else {"port": port}))
    return {**upstream, "nodes": listed}


def _host_and_port(address: str) -> tuple[str, int | None]:
    host, colon, port = address.rpartition(":")
    if colon and port.isascii() and port.isdigit() and (":" not in host or host.endswith("]")):
        return host, int(port)
    return address, None


def _is_ip(host: Any) -> bool:
    try:
        ipaddress.ip_address(str(host).strip("[]"))
    except ValueError:
        return str(host).startswith("unix:")
    return True


# ---- answers


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


def _not_found(text: str) -> web.Response:
    return _json({"error_msg": text}, 404)


def _wants_html(request: web.Request) -> bool:
    accept = request.headers.get(hdrs.ACCEPT, "")
    return "text/html" in accept


def _page(checkers: Sequence[dict[str, Any]]) -> web.Response:
    rows = []
    for checker in checkers:
        for node in checker.get("nodes", ()):
            counter = node.get("counter", {})
            cells = (
                checker.get("name"),
                checker.get("type"),
                f"{node.get('hostname') or node.get('ip')} ({node.get('ip')}:{node.get('port')})",
                node.get("status"),
                *(counter.get(name, 0) for name in ("success", "http_failure", "tcp_failure", "timeout_failure")),
            )
            rows.append("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>")
    names = ("Checks", "Type", "Node", "Status", "Success", "HTTP failures", "TCP failures", "Timeouts")
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(rows) or f'<tr><td colspan="{len(names)}">no health checks</td></tr>'
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Bascule: health checks</title><style>'
        "body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}"
        "td,th{border:1px solid #bbb;padding:.3em .7em;text-align:left}</style></head>"
        f"<body><h1>Health checks</h1><table><tr>{head}</tr>{body}</table></body></html>"
    )
    return web.Response(text=page, content_type="text/html")


# ---- who may ask


async def _nothing(request: web.Request) -> web.Response:
    return _not_found("404 Not Found")


def _for_local_names(handler: Handler) -> Handler:
    """There is no password here. A page in a browser can't ask in the name of a host of its own that it lets point
    to this machine (DNS rebinding): on a loopback address only addresses and localhost are names of the gateway.

    No middleware of aiohttp: it keeps each application in a cache of its own, beyond the end of all else."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        own = request.transport and request.transport.get_extra_info("sockname")
        if isinstance(own, tuple) and ipaddress.ip_address(own[0]).is_loopback:
            name, _ = _host_and_port(request.host)
            if name.lower().rstrip(".") != "localhost" and not _is_ip(name):
                return _json({"error_msg": f"the Control API isn't served under the name {name}"}, 403)
        return await handler(request)

    return guarded
