"""Messages between supervisor and worker: pickled tuples, a length in front, over a socket pair that only they hold."""

from __future__ import annotations

import asyncio
import pickle
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("!Q")


class Channel:
    """One end. `receive` raises EOFError when the other side is gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, sock: socket.socket) -> Channel:
        return cls(*await asyncio.open_unix_connection(sock=sock))

    def send(self, *message: Any) -> None:
        """Queues a message; errors of the connection show at the receiving side."""
        data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        self._writer.write(_LENGTH.pack(len(data)))
        self._writer.write(data)

    async def receive(self) -> tuple[Any, ...]:
        try:
            (size,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            message: tuple[Any, ...] = pickle.loads(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            raise EOFError from None
        return message

    async def flush(self) -> None:
        try:
            await self._writer.drain()
        except ConnectionError:
            raise EOFError from None

    def close(self) -> None:
        self._writer.close()
