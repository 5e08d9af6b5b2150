"""A running gateway hands its sockets to a newer one: `bascule upgrade`.

The old supervisor listens on an abstract Unix socket whose name comes from the configuration's path. The new one
connects and is given every listening socket, the shared counters and the old one's output; the old one then lets go of
its store, and the new one takes it, starts its workers and says "ready"; only then does the old one drain. If the new
one fails before that, the old one takes its store back and goes on. Messages are JSON, so that versions may differ.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

log = logging.getLogger("bascule.supervisor")

FORMAT = 1
_FDS_PER_MESSAGE = 200  # the kernel takes 253
_ANSWER_S = 30.0
_AGAIN_S = 0.05


class HandoverFailed(Exception):
    """There is nothing to take over, or it can't be done; the text says why."""


@dataclass(slots=True)
class Offer:
    """`sockets`: (what it is, descriptor); descriptors are the receiver's own. `facts`: JSON."""

    facts: dict[str, Any]
    sockets: list[tuple[dict[str, Any], int]] = field(default_factory=list)


def address_of(config_file: Path | str) -> str:
    """Of the socket; one for each configuration and user."""
    name = hashlib.sha256(str(Path(config_file).resolve()).encode()).hexdigest()[:24]
    return f"\0bascule-upgrade-{os.getuid()}-{name}"


class HandoverServer:
    """The old side. `offer()` says what is given; `release()` lets go of the store; `resume()` takes it back when the
    new one failed; `handed()` is called once it serves."""

    def __init__(
        self,
        address: str,
        offer: Callable[[], Offer],
        release: Callable[[], Awaitable[None]],
        resume: Callable[[], Awaitable[None]],
        handed: Callable[[], None],
    ) -> None:
        self._address = address
        self._offer = offer
        self._release = release
        self._resume = resume
        self._handed = handed

    async def run(self) -> None:
        """Serves one taker after the other, until cancelled; returns when one has taken over."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            while True:
                try:
                    listener.bind(self._address)
                    break
                except OSError:  # an older gateway is about to let go of it
                    await asyncio.sleep(_AGAIN_S)
            listener.listen(16)
            listener.setblocking(False)
            while True:
                taker, _ = await loop.sock_accept(listener)
                with taker:
                    if not _same_user(taker):
                        log.warning("somebody else's process asked for the listening sockets, and got nothing")
                    elif await self._serve(taker):
                        self._handed()
                        return

    async def _serve(self, taker: socket.socket) -> bool:
        loop = asyncio.get_running_loop()
        released = False
        try:
            async with asyncio.timeout(_ANSWER_S):
                await loop.sock_sendall(taker, b"hello")
                wish = await loop.sock_recv(taker, 64)
                offer = self._offer()
                if wish == b"tell":
                    offer.sockets = []
                elif wish != b"give":
                    return False
                taker.setblocking(True)
                await asyncio.to_thread(send_offer, taker, offer)
                taker.setblocking(False)
                if wish == b"tell":
                    return False
            log.warning("a newer gateway takes over: the store is closed here")
            released = True
            await self._release()
            await loop.sock_sendall(taker, b"released")
            if await loop.sock_recv(taker, 64) == b"ready":
                return True
        except (OSError, TimeoutError) as error:
            log.error("handing over failed: %s", error or "no answer in time")
        if released:
            log.error("the newer gateway did not come to serve: going on as before")
            await self._resume()
        return False


class Taker:
    """The new side."""

    @staticmethod
    def ask(address: str, timeout_s: float = _ANSWER_S) -> dict[str, Any]:
        """The facts that the running gateway tells of itself; takes nothing. Raises HandoverFailed."""
        taker = Taker(address, b"tell", timeout_s)
        taker.close()
        return taker.offer.facts

    def __init__(self, address: str, wish: bytes = b"give", timeout_s: float = _ANSWER_S) -> None:
        """Raises HandoverFailed. `timeout_s`: for each answer of the other side."""
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock.settimeout(timeout_s)
        try:
            self._sock.connect(address)
            if not _same_user(self._sock):
                raise ConnectionError("it is another user's process")
            self._expect(b"hello")
            self._sock.sendall(wish)
            self.offer = _receive(self._sock)
        except (OSError, ValueError) as error:
            self._sock.close()
            if isinstance(error, ConnectionRefusedError | FileNotFoundError):
                raise HandoverFailed("no gateway runs with this configuration, as this user") from None
            raise HandoverFailed(f"the running gateway did not hand over: {error}") from None

    def wait_released(self) -> None:
        """Until the old one has let go of its store. Raises HandoverFailed."""
        try:
            self._expect(b"released")
        except OSError as error:
            raise HandoverFailed(f"the running gateway did not let go of its store: {error}") from None

    def ready(self) -> None:
        """The old one may go."""
        with contextlib.suppress(OSError):
            self._sock.sendall(b"ready")
        self.close()

    def close(self) -> None:
        """Without `ready` before, the old one goes on."""
        self._sock.close()

    def _expect(self, word: bytes) -> None:
        said = self._sock.recv(64)
        if said != word:
            raise ConnectionError(f"it said {said!r} where {word!r} was expected")


def _same_user(other: socket.socket) -> bool:
    credentials = other.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return uid in (0, os.getuid())


def send_offer(taker: socket.socket, offer: Offer) -> None:
    """Blocks. Raises OSError."""
    head = {"format": FORMAT, "facts": offer.facts, "sockets": len(offer.sockets)}
    taker.sendall(json.dumps(head).encode())
    for part in _parts(offer.sockets):
        socket.send_fds(taker, [json.dumps([what for what, _ in part]).encode()], [fd for _, fd in part])


def _parts(sockets: Sequence[tuple[dict[str, Any], int]]) -> Sequence[Sequence[tuple[dict[str, Any], int]]]:
    return [sockets[at : at + _FDS_PER_MESSAGE] for at in range(0, len(sockets), _FDS_PER_MESSAGE)]


def _receive(sock: socket.socket) -> Offer:
    said = sock.recv(1 << 20)
    if not said:
        raise ConnectionError("it hung up")
    head = json.loads(said)
    if head.get("format") != FORMAT:
        raise ConnectionError(f"it hands over in format {head.get('format')}, and this version knows {FORMAT}")
    offer = Offer(head["facts"])
    while len(offer.sockets) < head["sockets"]:
        data, fds, _, _ = socket.recv_fds(sock, 1 << 20, _FDS_PER_MESSAGE)
        if not data:
            raise ConnectionError("it ended in the middle")
        offer.sockets += zip(json.loads(data), fds, strict=True)
    return offer
