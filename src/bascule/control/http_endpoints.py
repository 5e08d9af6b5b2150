"""The supervisor's small HTTP servers: status (7085) and the Prometheus exporter (9091).

aiohttp.web, since the package depends on aiohttp anyway for plugins' outgoing calls; it runs in the supervisor only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web


class StatusServer:
    """GET /status, /status/ready (APISIX's answers) and /status/details."""

    def __init__(self, not_ready: Callable[[], str | None], details: Callable[[], dict[str, Any]]) -> None:
        self._not_ready = not_ready
        self._details = details

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/status", self._status)
        app.router.add_get("/status/ready", self._ready)
        app.router.add_get("/status/details", self._all)
        return app

    async def _status(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _ready(self, request: web.Request) -> web.Response:
        reason = self._not_ready()
        if reason is None:
            return web.json_response({"status": "ok"})
        return web.json_response({"status": "error", "error": reason}, status=503)

    async def _all(self, request: web.Request) -> web.Response:
        return web.json_response(self._details())


class Exporter:
    """GET of the metrics' path, in Prometheus' text format."""

    def __init__(self, path: str, collect: Callable[[], Awaitable[bytes]]) -> None:
        self._path = path
        self._collect = collect

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get(self._path, self._metrics)
        return app

    async def _metrics(self, request: web.Request) -> web.Response:
        body = await self._collect()
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
