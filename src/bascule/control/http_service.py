"""One more HTTP server of the supervisor's process: the Admin API, the Control API."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from bascule.control.http_endpoints import serve


@dataclass(frozen=True, slots=True)
class HttpService:
    """`what` is named in errors ("the Admin API"); `name` and `path` in the ready line."""

    name: str
    what: str
    make_app: Callable[[], web.Application]
    ip: str
    port: int
    path: str = ""
    ssl: ssl.SSLContext | None = None

    async def start(self) -> tuple[web.AppRunner, int]:
        """Listens; what is to be cleaned up, and the port. Raises ListenFailed."""
        return await serve(self.make_app(), self.ip, self.port, self.what, self.ssl)

    def told(self, port: int) -> str:
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"{self.name} {'https' if self.ssl else 'http'}://{host}:{port}{self.path}"
