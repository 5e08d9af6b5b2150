"""A proxy before etcd that loses what a network may lose: answers, or requests that arrive later than anybody waits."""

from __future__ import annotations

import asyncio
from typing import Literal

Fate = Literal["answer lost", "request lost", "request late", "silence"]


class FaultyGateway:
    """Belongs to the test's event loop. `fates`: of the next transactions (POST /v3/kv/txn with a `mark` in it), in
    turn; whatever else comes passes."""

    def __init__(self, port: int, mark: bytes = b"") -> None:
        self.fates: list[Fate] = []
        self.down = False  # breaks every connection
        self._late: list[bytes] = []
        self._behind = port
        self._mark = mark
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> FaultyGateway:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def deliver(self) -> list[bytes]:
        """The requests that were late arrive now; their answers."""
        answers = []
        for request in self._late:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._behind)
            writer.write(request)
            answers.append(await _message(reader))
            writer.close()
        self._late.clear()
        return answers

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._exchange(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await _message(reader)
            if self.down:
                return
            fate = None
            if request.startswith(b"POST /v3/kv/txn") and self._mark in request and self.fates:
                fate = self.fates.pop(0)
            if fate == "request lost":
                return
            if fate == "request late":
                self._late.append(request)
                return
            behind, forward = await asyncio.open_connection("127.0.0.1", self._behind)
            try:
                forward.write(request)
                if request.startswith(b"POST /v3/watch"):
                    while (chunk := await behind.read(1 << 16)) and not self.down:
                        writer.write(chunk)
                    return
                answer = await _message(behind)
            finally:
                forward.close()
            if fate == "silence":
                await asyncio.Event().wait()
            if fate == "answer lost" or self.down:
                return
            writer.write(answer)


async def _message(reader: asyncio.StreamReader) -> bytes:
    """A whole one, framed by Content-Length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
        if line.startswith(b"transfer-encoding:"):
            return head + await _chunks(reader)
    return head + await reader.readexactly(length)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        chunk = await reader.readexactly(int(line, 16) + 2)
        body += line + chunk
        if int(line, 16) == 0:
            return body
