"""Load that doesn't wait: requests go out at their time, whether earlier ones have been answered or not."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Sent:
    """One request: when it was due (s since the start), what came of it; status 0: nothing, within the patience."""

    path: str
    due_s: float
    status: int = 0
    seconds: float = 0.0
    head: bytes = b""


class _Connection(asyncio.Protocol):
    def __init__(self, load: "OpenLoad") -> None:
        self.load = load
        self.sent: Sent | None = None
        self.began = 0.0
        self.received = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.write()

    def begin(self, sent: Sent, began: float) -> None:
        self.sent, self.began = sent, began
        self.write()

    def write(self) -> None:
        if self.transport is not None and self.sent is not None:
            self.transport.write(f"GET {self.sent.path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end or self.sent is None:
            return
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        if len(body) < length:
            return
        self.sent.status = int(head[9:12])
        self.sent.seconds = time.monotonic() - self.began
        self.sent.head = head
        self.sent = None
        self.received = b""
        self.load.answered()
        if b"\r\nConnection: close" in head and self.transport is not None:
            self.transport.close()
        else:
            self.load.idle.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self in self.load.idle:
            self.load.idle.remove(self)


class OpenLoad:
    """`run()` sends `rate` requests a second for `seconds` to the paths in turn, each on an idle connection or a new
    one, waits `patience_s` for the last answers, and returns them all. `connections` counts those that were opened."""

    def __init__(self, port: int, paths: Sequence[str], rate: float, seconds: float, patience_s: float = 1.0) -> None:
        self.port = port
        self.paths = paths
        self.rate = rate
        self.seconds = seconds
        self.patience_s = patience_s
        self.idle: list[_Connection] = []
        self.connections = 0
        self.complete = asyncio.Event()
        self.missing = 0  # answers, once all requests are out

    def answered(self) -> None:
        self.missing -= 1
        if self.missing == 0:
            self.complete.set()

    def run(self) -> list[Sent]:
        return asyncio.run(self._run())

    async def _run(self) -> list[Sent]:
        loop = asyncio.get_running_loop()
        all_sent: list[Sent] = []
        self.complete = asyncio.Event()
        opening: set[asyncio.Task[object]] = set()
        opened: list[_Connection] = []
        start = time.monotonic()
        for number in range(int(self.rate * self.seconds)):
            due = number / self.rate
            wait = start + due - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            elif number % 50 == 0:
                await asyncio.sleep(0)
            sent = Sent(self.paths[number % len(self.paths)], due)
            all_sent.append(sent)
            if self.idle:
                self.idle.pop(0).begin(sent, start + due)
                continue
            connection = _Connection(self)
            connection.sent, connection.began = sent, start + due
            opened.append(connection)
            self.connections += 1
            task: asyncio.Task[object] = loop.create_task(
                loop.create_connection(lambda one=connection: one, "127.0.0.1", self.port)  # type: ignore[misc]
            )
            opening.add(task)
            task.add_done_callback(opening.discard)
        self.missing = sum(one.status == 0 for one in all_sent)
        if self.missing > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.complete.wait(), self.patience_s)
        for task in opening:
            task.cancel()
        for connection in opened:
            if connection.transport is not None:
                connection.transport.abort()
        return all_sent
