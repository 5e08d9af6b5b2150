"""HTTP/2 connections in every state: hostile clients of a gateway, and hostile upstreams."""

import asyncio
import random
from typing import Any

from bascule.engine.websocket_key import accept_of
from bascule.wire.http1 import parse_response_bytes
from fuzz import http2_script as script
from fuzz.http2_script import frames_of, steps
from fuzz.live_engine import LiveEngine, Peer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + script.frame(4, 0, 0, b"")
LARGEST = 16384
QUIET = 4
CLIENT_SEEDS = tuple(
    text.encode()
    for text in (
        "HEADERS 5 1 get",
        "HEADERS 4 1 post\nwait\nDATA 0 1 hello\nHEADERS 5 1 trailers",
        "HEADERS 4 1 sized\nDATA 1 1 hello\nHEADERS 5 3 large\nwait\nWINDOW 0 3 u65535\nWINDOW 0 0 u65535",
        "HEADERS 5 1 hang\nHEADERS 5 3 chunked\nwait\nRST 0 1 u8",
        "HEADERS 4 1 socket\nDATA 0 1 ws\nwait\nDATA 0 1 ws\nwait\nDATA 1 1 ws",
        "HEADERS 4 1 looked\nwait\nDATA 0 1 ws\nDATA 0 1 x8880,n4\nwait\nDATA 1 1 ",
        "HEADERS 4 1 held\n*6 DATA 0 1 n16384\nwait\nDATA 1 1 ",
        "HEADERS 0 1 get\nCONTINUATION 4 1 trailers\nSETTINGS 0 0 i4=10\nHEADERS 5 3 large\nwait\nSETTINGS 0 0 i4=99",
        "HEADERS 4 1 early\n*3 DATA 0 1 n16384\nwait\nHEADERS 5 3 indexed\nend",
        "HEADERS 4 1 expect\nwait\nDATA 1 1 x7b7d\nHEADERS 5 3 cut\nwait\nGOAWAY 0 0 u0,u0",
    )
)
UPSTREAM_SEEDS = tuple(
    text.encode()
    for text in (
        "HEADERS 5 1 200\nHEADERS 5 3 200",
        "HEADERS 4 1 103\nHEADERS 4 1 200\nDATA 0 1 hello\nHEADERS 5 1 grpc\nwait\nHEADERS 5 3 204",
        "HEADERS 4 1 five\nDATA 1 1 hello\nwait\nWINDOW 0 3 u65535\nWINDOW 0 0 u65535\nwait\nHEADERS 5 3 500",
        "RST 0 1 u7\nwait\nGOAWAY 0 0 u1,u0\nwait\nHEADERS 5 3 200",
        "SETTINGS 0 0 i4=0\nwait\nSETTINGS 0 0 i4=65535\nwait\nHEADERS 4 1 200\n*30 DATA 0 1 n16384\nwait\nDATA 1 1 ",
        "HEADERS 0 1 200\nCONTINUATION 4 1 trailers\nRST 0 1 u0\nHEADERS 4 3 304\nDATA 1 3 ",
        "PUSH 4 1 u2,get\nHEADERS 5 2 200",
        "SETTINGS 0 0 i3=1\nHEADERS 4 1 200\nDATA 1 1 hello\nwait\nHEADERS 5 3 200\nend",
    )
)


class Stub(asyncio.Protocol):
    """An upstream of HTTP/1.1 that does what the path says. `connections`: those that are open, of all."""

    def __init__(self, connections: set[asyncio.Transport]) -> None:
        self.connections = connections
        self.transport: Any = None
        self.data = b""
        self.tunnel = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.connections.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.connections.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        if self.tunnel:
            self.transport.write(bytes([data[0], len(data[6:])]) + data[6:] if len(data) < 100 else data)
            return
        self.data += data
        while not self.tunnel and not self.transport.is_closing() and b"\r\n\r\n" in self.data:
            head, _, self.data = self.data.partition(b"\r\n\r\n")
            self.answer(head)

    def answer(self, head: bytes) -> None:
        path = [*head.split(b" "), b""][1]
        if path == b"/hang":
            return
        if path == b"/large":
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(100000))
        elif path == b"/cut":
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
            self.transport.close()
        elif path == b"/chunked":
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
            )
        elif path in (b"/socket", b"/looked"):
            key = next(line[19:] for line in head.split(b"\r\n") if line.startswith(b"sec-websocket-key: "))
            self.tunnel = True
            accept = accept_of(key).encode()
            self.transport.write(
                b"HTTP/1.1 101 A\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %b\r\n\r\n"
                % accept
            )
        else:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            if head.startswith(b"POST"):
                self.transport.close()  # what of the body follows is no request


class Clients:
    """Plays inputs as a client."""

    def __init__(self) -> None:
        self.live = LiveEngine()
        stub = str(self.live.folder / "stub")
        self._connections: set[asyncio.Transport] = set()
        self._stub = self.live.run(self.live.loop.create_unix_server(lambda: Stub(self._connections), stub))
        self.path = self.live.listen("http2", http2=True)
        upstream = {"nodes": {f"unix:{stub}": 1}}
        checked = {"request-validation": {"body_schema": {"type": "object"}}}
        limited = {"websocket-limit": {"max_message_size": 1000}}
        for number, (uri, more) in enumerate(
            {
                "/*": {},
                "/mock": {"plugins": {"mocking": {"response_example": "hello"}}},
                "/held": {"plugins": checked},
                "/socket": {"enable_websocket": True},
                "/looked": {"enable_websocket": True, "plugins": limited},
            }.items()
        ):
            self.live.write("routes", str(number), {"uri": uri, "upstream": upstream, **more})

    def check(self, data: bytes, rng: random.Random) -> str:
        return str(self.live.run(self._play(data, rng)))

    async def _play(self, data: bytes, rng: random.Random) -> str:
        peer = Peer(self.path)
        try:
            await peer.send(PREFACE)
            for step in steps(data):
                cut = rng.randrange(len(step.data) + 1) if rng.random() < 0.2 else len(step.data)
                await peer.send(step.data[:cut])
                if cut < len(step.data):
                    await peer.turns(1)
                    await peer.send(step.data[cut:])
                if step.then == "end":
                    peer.end()
                await peer.turns(QUIET)
        finally:
            peer.close()
        await self.live.settle()
        return judged(peer.received, peer.ended)

    def close(self) -> None:
        self._stub.close()
        self.live.run(self._hang_up())
        self.live.close()

    async def _hang_up(self) -> None:
        """The engine keeps idle connections to the stub."""
        while self._connections:
            for transport in set(self._connections):
                transport.abort()
            await asyncio.sleep(0)


def judged(received: bytes, ended: bool) -> str:
    """What the gateway said is HTTP/2 itself. The outcome's label."""
    seen: list[str] = ["end"] if ended else []
    opened: set[int] = set()
    closed: set[int] = set()
    block = 0
    for kind, flags, stream, payload in frames_of(received):
        assert len(payload) <= LARGEST, f"a frame of {len(payload)} bytes"
        assert kind in (0, 1, 3, 4, 6, 7, 8, 9), f"a frame of kind {kind}"
        assert not block or (kind == 9 and stream == block), "a header block torn apart"
        if kind in (0, 1, 3):
            assert stream % 2 == 1, f"kind {kind} on stream {stream}"
        if kind in (1, 9):
            block = 0 if flags & 4 else stream
            opened.add(stream)
            seen.append(f"H{payload[:6].hex()}" if kind == 1 else "C")
        elif kind == 0:
            assert stream in opened, "DATA before HEADERS"
            seen.append("D")
        elif kind == 3:
            seen.append(f"R{int.from_bytes(payload, 'big')}")
        elif kind == 7:
            seen.append(f"G{int.from_bytes(payload[4:8], 'big')}")
        if kind in (0, 1):
            assert stream not in closed, f"kind {kind} behind the end of a stream"
            if flags & 1:
                closed.add(stream)
    short = [one for at, one in enumerate(seen) if at == 0 or one != seen[at - 1]]
    return " ".join(sorted(set(short[:12])))


class Hostile(asyncio.Protocol):
    """An upstream of HTTP/2 that plays the input to the first who connects, and hangs up on all others."""

    def __init__(self, owner: "Upstreams") -> None:
        self.owner = owner
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self.owner.first is None:
            self.owner.first = self
        else:
            transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)


class Upstreams:
    """Plays inputs as an upstream of two requests."""

    def __init__(self) -> None:
        self.live = LiveEngine()
        self.first: Hostile | None = None
        path = str(self.live.folder / "hostile")
        self._server = self.live.run(self.live.loop.create_unix_server(lambda: Hostile(self), path))
        self.path = self.live.listen("http1")
        upstream = {"nodes": {f"unix:{path}": 1}, "scheme": "grpc"}
        self.live.write("routes", "1", {"uri": "/*", "upstream": upstream})

    def check(self, data: bytes, rng: random.Random) -> str:
        return str(self.live.run(self._play(data, rng)))

    async def _play(self, data: bytes, rng: random.Random) -> str:
        self.first = None
        get, post = Peer(self.path), Peer(self.path)
        try:
            await get.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
            await post.send(b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + bytes(100000))
            for _ in range(8):
                await asyncio.sleep(0)
            assert self.first is not None, "nobody connected"
            self.first.write(script.frame(4, 0, 0, b""))
            for step in steps(data):
                self.first.write(step.data)
                await get.turns(QUIET)
                await post.turns(QUIET)
                if step.then == "end":
                    break
            if self.first.transport is not None:
                if rng.random() < 0.5:
                    self.first.transport.close()
                else:
                    self.first.transport.abort()
            await get.turns(QUIET)
            await post.turns(QUIET)
            label = f"{answer(get)} {answer(post)}"
        finally:
            get.close()
            post.close()
        await self.live.settle()
        while self.first.transport is not None:
            self.first.transport.abort()
            await asyncio.sleep(0)
        return label

    def close(self) -> None:
        self._server.close()
        self.live.close()


def answer(peer: Peer) -> str:
    """What the client got is HTTP/1.1, whatever the upstream said."""
    found = parse_response_bytes(peer.received, 65536, 65536, 128)
    statuses = []
    rest = peer.received
    while isinstance(found, dict):
        statuses.append(found["status"])
        rest = rest[found["head_len"] :]
        if found["status"] >= 200:
            break
        found = parse_response_bytes(rest, 65536, 65536, 128)
    assert isinstance(found, dict) or found == 0, f"no response: {rest[:200]!r}"
    return f"{sorted(set(statuses))}{bool(rest):d}{peer.ended:d}"
