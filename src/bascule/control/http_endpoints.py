"""The supervisor's small HTTP servers: status (7085) and the Prometheus exporter (9091).

aiohttp.web, since the package depends on aiohttp anyway for plugins' outgoing calls; it runs in the supervisor only.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from bascule.control.listening import ListenFailed


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


async def serve(
    app: web.Application, host: str, port: int, what: str, tls: ssl.SSLContext | None = None
) -> tuple[web.AppRunner, int]:
    """Listens; the runner to clean up, and the port. Raises ListenFailed."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, host, port, ssl_context=tls)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        reason = (error.strerror or str(error)).rpartition(":")[2].strip().lower()
        raise ListenFailed(f"cannot listen on {host}:{port} for {what}: {reason}") from None
    bound: int = runner.addresses[0][1]
    return runner, bound
