"""WebSockets through the gateway, with a real client and a real server on both ends of a tunnel."""

import asyncio
import random
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from tests.servers.gateway import Gateway
from tests.servers.websocket_server import WebSocketServer

MIB = 1 << 20


def configuration(address: str, **more: object) -> dict[str, Any]:
    upstream = {"nodes": {address: 1}, "timeout": {"connect": 2, "send": 5, "read": 1}}
    patient = {"nodes": {address: 1}}
    return {
        "services": [{"id": "s", "enable_websocket": True, "upstream": patient}],
        "routes": [
            {"id": "ws", "uri": "/ws/*", "enable_websocket": True, "upstream": patient},
            {"id": "gone", "uri": "/gone/*", "enable_websocket": True, "upstream": patient},
            {"id": "short", "uri": "/short/*", "enable_websocket": True, "upstream": upstream},
            {"id": "service", "uri": "/service/*", "service_id": "s"},
            {"id": "off", "uri": "/off/*", "enable_websocket": False, "service_id": "s"},
            {
                "id": "plugins",
                "uri": "/plugins/*",
                "enable_websocket": True,
                "upstream": patient,
                "plugins": {
                    "proxy-rewrite": {"regex_uri": ["^/plugins/(.*)", "/ws/$1"]},
                    "response-rewrite": {"headers": {"set": {"X-Seen": "yes"}}},
                },
            },
        ],
        **more,
    }


@pytest.fixture(scope="module")
def served(websocket_server: WebSocketServer, module_gateway: Callable[..., Gateway]) -> Gateway:
    return module_gateway(configuration(websocket_server.address))


def url(served: Gateway, path: str) -> str:
    return f"ws://127.0.0.1:{served.port}{path}"


def dial(served: Gateway, path: str, **options: Any) -> connect:
    return connect(url(served, path), max_size=64 * MIB, ping_interval=None, proxy=None, **options)


def play(script: Coroutine[Any, Any, None], limit_s: float = 40) -> None:
    asyncio.run(asyncio.wait_for(script, limit_s))


@pytest.mark.parametrize("path", ["/ws/echo", "/service/echo", "/plugins/echo"])
def test_messages_of_every_kind_and_size(path: str, served: Gateway) -> None:
    noise = random.Random(1)

    async def script() -> None:
        async with dial(served, path) as socket:
            for size in (0, 1, 125, 126, 127, 128, 65535, 65536, 65537, MIB, 5 * MIB):
                data = noise.randbytes(size)
                await socket.send(data)
                assert await socket.recv() == data
                text = "ü" * (size // 2)
                await socket.send(text)
                assert await socket.recv() == text

    play(script())


def test_fragments_and_the_control_frames_between_them(served: Gateway) -> None:
    async def script() -> None:
        async with dial(served, "/ws/echo", compression=None) as socket:
            await socket.send([b"a" * 10, b"b" * MIB, b"", b"c"])
            assert await socket.recv() == b"a" * 10 + b"b" * MIB + b"c"
            for data in (b"", b"x" * 125):
                await (await socket.ping(data))
            assert socket.transport is not None
            # A ping within a message, every frame byte by byte in a segment of its own.
            frames = masked(0x01, b"he") + masked(0x89, b"ping") + masked(0x80, b"llo")
            for i in range(len(frames)):
                socket.transport.write(frames[i : i + 1])
                await asyncio.sleep(0)
            assert await socket.recv() == "hello"

    play(script())


def masked(first: int, data: bytes) -> bytes:
    """A short frame of a client, whose mask changes nothing."""
    return struct.pack("BB4x", first, 0x80 | len(data)) + data


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 3000, 4999])
def test_close_codes_pass_from_both_sides(code: int, served: Gateway) -> None:
    async def script() -> None:
        async with dial(served, f"/ws/close/{code}") as socket:
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert (socket.close_code, socket.close_reason) == (code, "as asked")
        async with dial(served, "/ws/echo") as socket:
            await socket.close(code, "mine")
            assert socket.close_code == code

    play(script())


def test_a_greeting_that_comes_with_the_handshake_is_not_lost(served: Gateway) -> None:
    async def script() -> None:
        for _ in range(30):
            async with dial(served, "/ws/greet") as socket:
                assert await socket.recv() == "hello"

    play(script())


def test_the_handshake_as_the_upstream_sees_it(served: Gateway, websocket_server: WebSocketServer) -> None:
    async def script() -> None:
        options: dict[str, Any] = {"additional_headers": {"X-Mine": "1"}, "origin": "http://a.example"}
        async with dial(served, "/ws/echo?q=1", **options):
            pass
        head = websocket_server.heads[-1]
        assert head.path == "/ws/echo?q=1"
        assert head.headers["Upgrade"].lower() == "websocket"
        assert head.headers["Connection"].lower() == "upgrade"
        assert head.headers["Origin"] == "http://a.example"
        assert head.headers["X-Mine"] == "1"
        assert head.headers["Sec-WebSocket-Version"] == "13"
        assert head.headers["X-Forwarded-For"] == "127.0.0.1"
        assert head.headers["Host"] == f"127.0.0.1:{served.port}"

    play(script())


@pytest.mark.parametrize("status", [200, 403, 404, 503])
def test_a_refused_handshake_is_answered_as_it_is(status: int, served: Gateway) -> None:
    async def script() -> None:
        for _ in range(2):
            with pytest.raises(InvalidStatus) as refused:
                async with dial(served, f"/ws/refuse/{status}"):
                    pass
            assert refused.value.response.status_code == status
            assert refused.value.response.body == b"refused\n"

    play(script())


def test_a_route_that_switches_it_off_beats_its_service(served: Gateway) -> None:
    async def script() -> None:
        with pytest.raises(InvalidStatus, match="426"):  # the upstream sees a plain request
            async with dial(served, "/off/echo"):
                pass

    play(script())


def test_a_hundred_at_once(served: Gateway) -> None:
    async def one(number: int) -> None:
        noise = random.Random(number)
        async with dial(served, "/ws/echo", compression=None) as socket:
            for _ in range(20):
                data = noise.randbytes(noise.randrange(20_000))
                await socket.send(data)
                assert await socket.recv() == data

    async def script() -> None:
        await asyncio.gather(*map(one, range(100)))

    play(script())


def test_a_reader_that_stalls_holds_the_memory_flat(served: Gateway) -> None:
    async def script() -> None:
        block = b"x" * MIB
        async with dial(served, "/ws/echo", compression=None, max_queue=1) as socket:
            await socket.send(block)
            assert await socket.recv() == block
            before = served.resident_bytes()
            sent = asyncio.ensure_future(_send_all(socket, [block] * 100))
            await asyncio.wait({sent}, timeout=0.5)
            assert not sent.done()  # all buffers between are full
            assert served.resident_bytes() - before < 4 * MIB
            for _ in range(100):
                assert await socket.recv() == block
            await sent

    play(script())


async def _send_all(socket: ClientConnection, messages: list[bytes]) -> None:
    for message in messages:
        await socket.send(message)


def test_a_silent_one_is_closed_after_the_read_timeout_and_pings_keep_it(served: Gateway) -> None:
    async def script() -> None:
        async with dial(served, "/short/echo") as kept, dial(served, "/short/echo") as silent:
            closed = asyncio.ensure_future(silent.wait_closed())
            for _ in range(10):
                await (await kept.ping())
                await asyncio.wait({closed}, timeout=0.3)
            assert closed.done()
            assert silent.close_code == 1006
            await kept.send("still here")
            assert await kept.recv() == "still here"

    play(script())


def test_only_the_end_of_its_route_closes_one(served: Gateway, websocket_server: WebSocketServer) -> None:
    async def script() -> None:
        async with dial(served, "/ws/echo") as kept, dial(served, "/gone/echo") as gone:
            resources = configuration(websocket_server.address)
            resources["routes"][0]["desc"] = "the same route, edited"
            resources["routes"].append(
                {"id": "new", "uri": "/new", "upstream": {"nodes": {websocket_server.address: 1}}}
            )
            await asyncio.to_thread(served.reload, resources)
            for socket in (kept, gone):
                await socket.send("still here")
                assert await socket.recv() == "still here"
            del resources["routes"][1]
            await asyncio.to_thread(served.reload, resources)
            with pytest.raises(ConnectionClosedError):
                await gone.recv()
            await kept.send("still here")
            assert await kept.recv() == "still here"
            resources["routes"][0]["status"] = 0  # switched off is as good as deleted
            await asyncio.to_thread(served.reload, resources)
            with pytest.raises(ConnectionClosedError):
                await kept.recv()
        await asyncio.to_thread(served.reload, configuration(websocket_server.address))

    play(script())


def test_what_it_sent_is_logged_once_it_is_over(
    gateway: Callable[..., Gateway], websocket_server: WebSocketServer
) -> None:
    one = gateway(configuration(websocket_server.address))

    async def script() -> None:
        async with dial(one, "/ws/echo", compression=None) as socket:
            await socket.send(b"x" * 10_000)
            assert len(await socket.recv()) == 10_000

    play(script())
    line = one.access_log(1)
    assert '"GET /ws/echo HTTP/1.1" 101' in line
    sent = int(line.split(" 101 ")[1].split()[0])
    assert 10_000 < sent < 10_500
