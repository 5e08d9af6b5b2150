"""An engine within this process that inputs are played to over real sockets, and the proof that it took no harm."""

import asyncio
import logging
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

from bascule.model.engine_settings import EngineSettings
from bascule.net.loop import new_loop
from tests.engine.in_process import InProcess

PATIENCE_S = 10.0  # until all that an input began has ended


class LiveEngine:
    """`folder` is for Unix sockets. Call `close` at the end."""

    def __init__(self, settings: EngineSettings | None = None) -> None:
        self.loop, poller = new_loop()
        self._inside = InProcess(self.loop, poller, settings or EngineSettings())
        self.engine: Any = self._inside.engine
        self.write = self._inside.write
        self.faults: list[str] = []
        self.engine.log = logging.getLogger("fuzz.engine")
        self.engine.log.addHandler(_Listener(self.faults))
        self.engine.log.propagate = False
        self.loop.set_exception_handler(lambda _, context: self.faults.append(str(context)))
        poller.on_error = lambda error, handle: self.faults.append(f"{error!r} at {handle!r}")
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz")
        self.folder = Path(self._folder.name)
        self.port = self._inside.port

    def listen(self, name: str, **options: Any) -> str:
        """The path of a Unix socket that the engine listens on."""
        path = str(self.folder / name)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(64)
        listener.setblocking(False)
        self.engine.listen(listener.detach(), unix=True, **options)
        return path

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    async def settle(self) -> None:
        """Once every client has gone: nothing may be left, and nothing have gone wrong."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            stats = self.engine.stats()
            if stats["active_connections"] == stats["exchanges"] == stats["http2_connections"] == 0:
                break
            assert time.monotonic() < deadline, f"left behind: {stats}"
            await asyncio.sleep(0)
        assert not self.faults, self.faults.pop()

    def close(self) -> None:
        self._inside.close()
        self.loop.close()
        self._folder.cleanup()


class Peer:
    """A client's socket that doesn't block the loop."""

    def __init__(self, path: str) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.connect(path)
        self._sock.setblocking(False)
        self.received = b""
        self.ended = False

    async def send(self, data: bytes) -> None:
        """As far as the engine takes it."""
        for _ in range(200):
            if not data:
                return
            try:
                data = data[self._sock.send(data) :]
            except BlockingIOError:
                await asyncio.sleep(0)
                self.read()
            except OSError:
                return

    def read(self) -> bool:
        """Takes what is there. False: nothing was."""
        try:
            data = self._sock.recv(1 << 18)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self.received += data
        self.ended = self.ended or not data
        return bool(data)

    async def turns(self, count: int) -> None:
        """Lets the engine work until nothing comes for so many turns of the loop."""
        quiet = 0
        while quiet < count and not self.ended:
            await asyncio.sleep(0)
            quiet = 0 if self.read() else quiet + 1

    def end(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.ended = True

    def close(self) -> None:
        self._sock.close()


class _Listener(logging.Handler):
    """Keeps what no input may bring about: exceptions."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__()
        self._faults = faults

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self._faults.append(f"{record.getMessage()}: {record.exc_info[1]!r}")
