"""A connection to a node for one probe: bounded in bytes, gone at once when it is over."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any, Self, cast

from bascule.control.health.probe import Probe
from bascule.model.node import UNIX

LARGEST = 65536  # bytes of an answer


class TooMuch(Exception):
    """The answer has more than LARGEST bytes."""


class Conversation(asyncio.Protocol):
    """To be used as a context manager: the end of it resets what is still open. Errors of the connection are raised as
    OSError."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._total = 0
        self._over = False
        self._error: Exception | None = None
        self._woken: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<conversation {self._total} bytes{', over' if self._over else ''}>"

    @classmethod
    async def open(cls, probe: Probe, addresses: Sequence[str], context: ssl.SSLContext | None) -> Self:
        """To the first of the addresses that takes the connection; the whole of it may take as long as the caller
        lets it. Raises OSError."""
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {} if context is None else {"ssl": context, "server_hostname": probe.server_name}
        if probe.host.startswith(UNIX):
            path = probe.host.removeprefix(UNIX)
            _, opened = await loop.create_unix_connection(cls, path, **options)
            return opened
        for number, address in enumerate(addresses, 1):
            try:
                _, opened = await loop.create_connection(cls, address, probe.port, **options)
            except ssl.SSLError:
                raise
            except OSError:
                if number == len(addresses):
                    raise
            else:
                return opened
        raise OSError("no address")

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._total += len(data)
        if self._total > LARGEST:
            self._error = TooMuch()
            self.close()
        else:
            self._received += data
        self._wake()

    def eof_received(self) -> bool:
        self._over = True
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._over = True
        if self._error is None:
            self._error = exc
        self._wake()

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    # What probes call.

    def send(self, data: bytes) -> None:
        if self._transport is not None and data:
            self._transport.write(data)

    async def more(self) -> bytes:
        """What has come since the last time; empty at the end. Raises OSError, TooMuch."""
        while not self._received:
            if self._error is not None:
                raise self._error
            if self._over:
                return b""
            self._woken = asyncio.get_running_loop().create_future()
            await self._woken
        if isinstance(self._error, TooMuch):
            raise self._error
        data = bytes(self._received)
        self._received.clear()
        return data

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
