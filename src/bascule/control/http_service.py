"""One HTTP server of the supervisor's process: status, metrics, the Admin API, the Control API."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bascule.control.listening import ListenFailed

if TYPE_CHECKING:
    from aiohttp import web


@dataclass(slots=True)
class HttpService:
    """`what` is named in errors ("the Admin API"); `name` and `path` in the ready line. Port 0 picks a free one.

    aiohttp, and what `make_app` needs, are imported when it starts: workers come up meanwhile.
    """

    name: str
    what: str
    make_app: Callable[[], web.Application]
    ip: str
    port: int
    path: str = ""
    ssl: ssl.SSLContext | None = None
    _runner: web.AppRunner | None = field(default=None, init=False)
    _socket: socket.socket | None = field(default=None, init=False)

    def adopt(self, sock: socket.socket, wanted: tuple[str, int]) -> bool:
        """Uses an older gateway's listening socket, if it is the one that is wanted here and the first; otherwise
        closes it."""
        if wanted == (self.ip, self.port) and self._socket is None:
            self._socket = sock
            return True
        sock.close()
        return False

    async def start(self) -> None:
        """Listens. Raises ListenFailed."""
        if self._socket is None:
            self._socket = _listen(self.ip, self.port, self.what)
        from aiohttp import web

        # A copy, since the runner closes what it is given.
        listener = self._socket.dup()
        self._runner = web.AppRunner(self.make_app(), access_log=None, handle_signals=False, shutdown_timeout=1)
        await self._runner.setup()
        await web.SockSite(self._runner, listener, ssl_context=self.ssl).start()

    async def pause(self) -> None:
        """Ends its connections; new ones wait in the socket."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def stop(self) -> None:
        await self.pause()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @property
    def runs(self) -> bool:
        return self._runner is not None

    @property
    def fd(self) -> int | None:
        """Of the listening socket, while there is one."""
        return None if self._socket is None else self._socket.fileno()

    @property
    def told(self) -> str:
        """For the ready line: name and URL."""
        port = self._socket.getsockname()[1] if self._socket is not None else self.port
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"{self.name} {'https' if self.ssl else 'http'}://{host}:{port}{self.path}"


def _listen(host: str, port: int, what: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(128)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        reason = (error.strerror or str(error)).lower()
        raise ListenFailed(f"cannot listen on {host}:{port} for {what}: {reason}") from None
    return sock
