"""WebSockets whose frames are looked at: hooks of plugins, limits, pings; with real peers and raw ones."""

import asyncio
import random
import struct
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bascule.wire.websocket import FrameReader, build_frame, masked
from tests.servers.gateway import Gateway
from tests.servers.raw import RawClient, RawConnection, RawUpstream
from tests.servers.websocket_server import MIB, WebSocketServer

PLUGINS = '''
from bascule.plugin import DROP, Close, Config, Plugin, Response


class Conf(Config):
    payload: str = "message"
    max_bytes: int = 16 << 20
    mark: str = ""


class Actor(Plugin):
    """Does what the text says."""
    name = "actor"
    priority = 100
    Config = Conf

    def __init__(self, conf, host):
        super().__init__(conf, host)
        self.ws_payload = conf.payload
        self.ws_max_bytes = conf.max_bytes

    def ws_handshake(self, request):
        what = request.arg("handshake")
        if what == "refuse":
            return Response(403, "no sockets\\n")
        if what == "fail":
            raise ValueError("a mistake")
        request.ctx["protocol"] = request.response.header("sec-websocket-protocol")

    def ws_client_frame(self, request, frame):
        text = frame.text or ""
        if text == "drop":
            return DROP
        if text == "close":
            return Close(4001, "as asked")
        if text == "fail":
            raise ValueError("a mistake")
        if text == "odd":
            return 5
        if text.startswith("tell"):
            return f"{frame.opcode} {frame.fin} {frame.size} {frame.from_client} {self.conf.mark} {request.var('uri')}"
        if text.startswith("grow"):
            return b"x" * 70000
        if frame.opcode == 9 and frame.payload == b"drop":
            return DROP

    def ws_upstream_frame(self, request, frame):
        text = frame.text or ""
        if text == "bye":
            return Close(4002)
        if text == "hello":
            return "hello from the gateway"


class Heads(Plugin):
    name = "heads"
    priority = 90
    ws_payload = "none"
    Config = Conf

    def ws_client_frame(self, request, frame):
        assert frame.payload is None
        if frame.size == 13:
            return DROP
        if frame.size == 99:
            return Close(4003)
        if frame.size == 98:
            return b"not possible"
'''


def route(id: str, address: str, **more: Any) -> dict[str, Any]:
    return {
        "id": id,
        "uri": f"/{id}/*",
        "enable_websocket": True,
        "upstream": {"nodes": {address: 1}},
        **more,
    }


def play_raw(connection: RawConnection) -> None:
    """A server that agrees to any WebSocket, greets as the path says, and goes on reading to the end.

    It answers a close frame only at /polite.
    """
    head = connection.read_head()
    lines = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if "/deflated" in head.target else ""
    connection.send(f"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n{lines}\r\n".encode())
    if "/masked" in head.target:
        connection.send(build_frame(1, b"x", b"abcd"))
    elif "/greet" in head.target:
        connection.send(build_frame(1, b"hel", fin=False), build_frame(0, b"lo"))
    if "/polite" in head.target:
        while connection.read_some() and not said_goodbye(frames_of(connection)):
            pass
        connection.send(build_frame(8, frames_of(connection)[-1][2]))
    connection.read_to_end()


@pytest.fixture(scope="module")
def raw() -> Iterator[RawUpstream]:
    one = RawUpstream(play_raw)
    yield one
    one.stop()


def resources(websocket_server: WebSocketServer, raw: RawUpstream, mark: str = "old") -> dict[str, Any]:
    small = {"payload": "message", "max_bytes": 1000}
    limits = {"idle_timeout": 1, "ping_interval": 0.3}
    return {
        "services": [{"id": "s", "enable_websocket": True, "websocket": {"max_lifetime": 1}}],
        "routes": [
            route("message", websocket_server.address, plugins={"actor": {"payload": "message", "mark": mark}}),
            route("frame", websocket_server.address, plugins={"actor": {"payload": "frame"}}),
            route("heads", websocket_server.address, plugins={"heads": {}}),
            route("both", websocket_server.address, plugins={"heads": {}, "actor": {}}),
            route("small", websocket_server.address, plugins={"actor": small}),
            route("raw-message", raw.address, plugins={"actor": {}}),
            route("raw-frame", raw.address, plugins={"actor": {"payload": "frame"}}),
            route("raw-heads", raw.address, plugins={"heads": {}}),
            route("idle", websocket_server.address, websocket={"idle_timeout": 1}),
            route("ping", websocket_server.address, websocket=limits),
            route("raw-ping", raw.address, websocket=limits),
            {**route("life", websocket_server.address), "service_id": "s"},
            route("gone", websocket_server.address, plugins={"heads": {}}),
        ],
    }


@pytest.fixture(scope="module")
def served(websocket_server: WebSocketServer, raw: RawUpstream, module_gateway: Callable[..., Gateway]) -> Gateway:
    return module_gateway(
        resources(websocket_server, raw),
        {"bascule": {"plugins": ["frames.py"]}},
        files={"frames.py": PLUGINS},
        expected=("internal error", "Traceback"),
    )


def dial(served: Gateway, path: str, **options: Any) -> connect:
    url = f"ws://127.0.0.1:{served.port}{path}"
    return connect(url, max_size=64 * MIB, ping_interval=None, proxy=None, **options)


def play(script: Coroutine[Any, Any, None], limit_s: float = 200) -> None:
    asyncio.run(asyncio.wait_for(script, limit_s))


MASK = b"\x11\x22\x33\x44"


class RawSocket(RawClient):
    """A WebSocket client that sends what bytes it likes."""

    def __init__(self, served: Gateway, path: str, *headers: tuple[str, str]) -> None:
        super().__init__(served.port)
        self.reader = FrameReader()
        given = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ]
        self.answer = self.request("GET", path, [*given, *headers])

    def read_frame(self) -> tuple[int, bool, bytes]:
        """(opcode, fin, payload)"""
        while True:
            assert self.reader.step(self.read_exactly(1))[0] == 1
            if self.reader.event == 1:
                break
        opcode, fin, _, size, _, _ = self.reader.frame
        payload = self.read_exactly(size)
        if size:
            self.reader.step(payload)
        return opcode, fin, payload

    def read_close(self) -> tuple[int, str]:
        while True:
            opcode, _, payload = self.read_frame()
            if opcode == 8:
                return struct.unpack(">H", payload[:2])[0], payload[2:].decode()


def frames_of(connection: RawConnection) -> list[tuple[int, bool, bytes]]:
    """The frames that a raw upstream has got, unmasked."""
    _, _, data = connection.received.partition(b"\r\n\r\n")
    reader = FrameReader(masked=True)
    found, payload = [], b""
    while data:
        used, off, size = reader.step(data)
        assert used > 0
        opcode, fin, _, total, left, mask = reader.frame
        payload += masked(data[off : off + size], mask, total - left - size)
        if reader.event and left == 0:
            found.append((opcode, fin, payload))
            payload = b""
        data = data[used:]
    return found


def said_goodbye(frames: list[tuple[int, bool, bytes]]) -> bool:
    return bool(frames) and frames[-1][0] == 8


def upstream_frames(raw: RawUpstream, until: Callable[[list[tuple[int, bool, bytes]]], bool]) -> Any:
    """Those of the latest connection, once `until` holds."""
    raw.wait_connections(1)
    connection = raw.connections[-1]
    for _ in range(500):
        frames = frames_of(connection)
        if until(frames):
            return frames
        time.sleep(0.02)
    raise TimeoutError(f"only {frames_of(connection)}")


@pytest.mark.parametrize("path", ["/message/echo", "/frame/echo", "/heads/echo", "/both/echo", "/idle/echo"])
def test_messages_of_every_kind_and_size(path: str, served: Gateway) -> None:
    noise = random.Random(1)

    async def script() -> None:
        async with dial(served, path) as socket:
            for size in (0, 1, 125, 126, 127, 65535, 65536, MIB):
                data = noise.randbytes(size)
                await socket.send(data)
                assert await socket.recv() == data
                text = "ü" * (size // 2)
                await socket.send(text)
                assert await socket.recv() == text
            await socket.send([b"a" * 10, b"b" * MIB, b"", b"c"])
            assert await socket.recv() == b"a" * 10 + b"b" * MIB + b"c"
            await (await socket.ping(b"x" * 125))
            await socket.close(4000, "mine")
            assert (socket.close_code, socket.close_reason) == (4000, "mine")

    play(script())


@pytest.mark.parametrize("path", ["/message/greet", "/heads/greet"])
def test_many_at_once(path: str, served: Gateway) -> None:
    async def one(number: int) -> None:
        noise = random.Random(number)
        async with dial(served, path, compression=None) as socket:
            assert "hello" in str(await socket.recv())
            for _ in range(10):
                data = noise.randbytes(100 + noise.randrange(20_000))
                await socket.send(data)
                assert await socket.recv() == data

    async def script() -> None:
        await asyncio.gather(*map(one, range(30)))

    play(script())


@pytest.mark.parametrize("mode", ["message", "frame"])
def test_what_hooks_may_do(mode: str, served: Gateway) -> None:
    async def script() -> None:
        async with dial(served, f"/{mode}/greet") as socket:
            assert await socket.recv() == "hello from the gateway"
            mark = "old" if mode == "message" else ""
            for text, answer in (
                ("plain", "plain"),
                ("drop", None),
                ("tell", f"1 True 4 True {mark} /{mode}/greet"),
                ("grow", "x" * 70000),
            ):
                await socket.send(text)
                if answer is not None:
                    assert await socket.recv() == answer
            await socket.ping(b"drop")
            await (await socket.ping(b"keep"))
            await socket.send("close")
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert (socket.close_code, socket.close_reason) == (4001, "as asked")
        async with dial(served, f"/{mode}/echo") as socket:
            await socket.send("bye")
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 4002

    play(script())


@pytest.mark.parametrize("text", ["fail", "odd"])
def test_a_hook_that_fails_closes(text: str, served: Gateway) -> None:
    async def script() -> None:
        async with dial(served, "/message/echo") as socket:
            await socket.send(text)
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 1011

    play(script())
    assert "plugin actor failed" in served.log


def test_hooks_that_see_heads_only(served: Gateway) -> None:
    async def script() -> None:
        async with dial(served, "/heads/echo") as socket:
            for size in (12, 13, 14):
                await socket.send(b"x" * size)
            assert [len(await socket.recv()) for _ in range(2)] == [12, 14]
            await socket.send([b"a" * 13, b"b", b"c"])  # a dropped beginning takes the rest with it
            await socket.send([b"a", b"b" * 13, b"c"])  # what is dropped later leaves a hole
            assert await socket.recv() == b"ac"
            await socket.send(b"x" * 99)
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 4003
        async with dial(served, "/heads/echo") as socket:
            await socket.send(b"x" * 98)
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 1011

    play(script())


def test_a_message_over_the_plugins_limit(served: Gateway) -> None:
    async def script() -> None:
        for message in (b"x" * 1001, [b"x" * 500, b"x" * 501]):
            async with dial(served, "/small/echo") as socket:
                await socket.send(b"x" * 1000)
                assert len(await socket.recv()) == 1000
                await socket.send(message)
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
                assert socket.close_code == 1009

    play(script())


FRAGMENTS = [(1, False, b"he"), (9, True, b"ping"), (0, False, b""), (0, True, b"llo"), (2, True, b"x" * 300)]
WHOLE = [(9, True, b"ping"), (1, True, b"hello"), (2, True, b"x" * 300)]


@pytest.mark.parametrize("mode", ["raw-message", "raw-frame", "raw-heads"])
@pytest.mark.parametrize("step", [1, 3, 10_000])
def test_fragments_as_the_upstream_sees_them(mode: str, step: int, served: Gateway, raw: RawUpstream) -> None:
    data = b"".join(build_frame(opcode, payload, MASK, fin) for opcode, fin, payload in FRAGMENTS)
    with RawSocket(served, f"/{mode}/greet") as socket:
        assert socket.answer.status == 101
        if mode == "raw-message":
            assert socket.read_frame() == (1, True, b"hello from the gateway")
        else:
            assert socket.read_frame() == (1, False, b"hel")
            assert socket.read_frame() == (0, True, b"lo")
        socket.send(*(data[i : i + step] for i in range(0, len(data), step)))
        expected = WHOLE if mode == "raw-message" else FRAGMENTS
        assert upstream_frames(raw, lambda frames: len(frames) >= len(expected)) == expected


def test_frames_right_behind_the_handshake(served: Gateway, raw: RawUpstream) -> None:
    with RawClient(served.port) as client:
        head = b"GET /raw-message/x HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        client.send(head + build_frame(1, b"early", MASK))
        assert client.read_response().status == 101
        assert upstream_frames(raw, bool) == [(1, True, b"early")]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (build_frame(1, b"not masked"), 1002),
        (b"\xc1\x80abcd", 1002),
        (b"\x83\x80abcd", 1002),
        (build_frame(0, b"", MASK), 1002),
        (build_frame(8, b"\x03", MASK), 1002),
        (build_frame(8, b"\x03\xed", MASK), 1002),
        (build_frame(1, b"\xff", MASK), 1007),
        (build_frame(1, b"\xe2\x82", MASK, fin=False) + build_frame(0, b"x", MASK), 1007),
        (b"\x82\xff" + (20 << 20).to_bytes(8, "big") + MASK, 1009),
    ],
)
@pytest.mark.parametrize("path", ["/raw-message/polite", "/raw-frame/polite"])
def test_clients_that_break_the_rules(path: str, data: bytes, code: int, served: Gateway, raw: RawUpstream) -> None:
    broken_rules(path, data, code, served, raw)


@pytest.mark.parametrize("path", ["/raw-message/silent", "/raw-frame/silent"])
def test_an_upstream_that_says_no_goodbye_holds_up_nobody(path: str, served: Gateway, raw: RawUpstream) -> None:
    broken_rules(path, b"\xc1\x80abcd", 1002, served, raw)


def broken_rules(path: str, data: bytes, code: int, served: Gateway, raw: RawUpstream) -> None:
    """A client that sends `data` is told `code`, the upstream that it is over; then the connection ends."""
    with RawSocket(served, path) as socket:
        socket.send(data)
        assert socket.read_close()[0] == code
        frames = upstream_frames(raw, said_goodbye)
        assert int.from_bytes(frames[-1][2][:2], "big") == (1009 if code == 1009 else 1001)
        socket.send(build_frame(8, code.to_bytes(2, "big"), MASK))
        assert socket.is_closed()


def test_an_upstream_that_breaks_the_rules(served: Gateway, raw: RawUpstream) -> None:
    with RawSocket(served, "/raw-heads/masked") as socket:
        assert socket.read_close()[0] == 1014
        frames = upstream_frames(raw, bool)
        assert frames[-1][2][:2] == (1002).to_bytes(2, "big")


def test_the_upstream_that_agrees_to_what_nobody_asked_for(served: Gateway) -> None:
    extensions = ("Sec-WebSocket-Extensions", "permessage-deflate")
    with RawSocket(served, "/raw-message/deflated", extensions) as socket:
        assert socket.answer.status == 502


def test_extensions_stay_out_where_payloads_are_looked_at(served: Gateway, websocket_server: WebSocketServer) -> None:
    async def script() -> None:
        for path, agreed in (("/message/echo", False), ("/idle/echo", True)):
            async with dial(served, path, compression="deflate") as socket:
                assert bool(socket.protocol.extensions) == agreed
                assert ("Sec-WebSocket-Extensions" in websocket_server.heads[-1].headers) == agreed
                await socket.send("x" * 10_000)
                assert await socket.recv() == "x" * 10_000

    play(script())


@pytest.mark.parametrize(("what", "status"), [("refuse", 403), ("fail", 500)])
def test_a_handshake_that_is_refused(what: str, status: int, served: Gateway) -> None:
    async def script() -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with dial(served, f"/message/echo?handshake={what}"):
                pass
        assert refused.value.response.status_code == status

    play(script())


def test_an_upgrade_to_something_else_is_a_plain_request(served: Gateway, raw: RawUpstream) -> None:
    with RawClient(served.port) as client:
        given = [("Connection", "Upgrade"), ("Upgrade", "other")]
        assert client.request("GET", "/raw-message/x", given).status == 502  # its 101 is to no upgrade
    assert b"pgrade: other" not in raw.connections[-1].received


def test_a_silent_one_is_told(served: Gateway, websocket_server: WebSocketServer) -> None:
    async def script() -> None:
        async with dial(served, "/idle/echo") as socket:
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 1001

    play(script())


def test_the_longest_life(served: Gateway) -> None:
    async def chat(socket: Any) -> None:
        while True:
            await socket.send("x")
            await socket.recv()
            await asyncio.sleep(0.01)

    async def script() -> None:
        async with dial(served, "/life/echo") as socket:
            with pytest.raises(ConnectionClosed):
                await chat(socket)
            assert socket.close_code == 1008

    play(script())


def test_pings_keep_the_silent_alive(served: Gateway) -> None:
    async def script() -> None:
        async with dial(served, "/ping/echo") as socket:
            closed = asyncio.ensure_future(socket.wait_closed())
            await asyncio.wait({closed}, timeout=3)
            assert not closed.done()
            await socket.send("still here")
            assert await socket.recv() == "still here"
            await socket.close()

    play(script())


def test_who_does_not_answer_pings_is_closed(served: Gateway, raw: RawUpstream) -> None:
    with RawSocket(served, "/raw-ping/x") as socket:
        opcode, _, token = socket.read_frame()
        assert (opcode, len(token)) == (9, 8)
        socket.send(build_frame(10, b"of its own", MASK), build_frame(10, token, MASK))
        assert socket.read_close()[0] == 1001
        # The answer to the gateway's ping is the gateway's; other pongs pass.
        frames = upstream_frames(raw, lambda frames: any(frame[0] == 8 for frame in frames))
        assert (10, True, b"of its own") in frames
        assert all(payload != token for opcode, _, payload in frames if opcode == 10)
        assert (9, True, token) in frames
        assert socket.is_closed()  # though no close frame has answered


def test_hooks_are_those_of_the_beginning(served: Gateway, websocket_server: WebSocketServer, raw: RawUpstream) -> None:
    async def told(socket: Any) -> str:
        await socket.send("tell")
        return str(await socket.recv()).split()[4]

    async def script() -> None:
        async with dial(served, "/message/echo") as old, dial(served, "/gone/echo") as gone:
            assert await told(old) == "old"
            changed = resources(websocket_server, raw, "new")
            changed["routes"] = [one for one in changed["routes"] if one["id"] != "gone"]
            await asyncio.to_thread(served.reload, changed)
            assert await told(old) == "old"
            async with dial(served, "/message/echo") as new:
                assert await told(new) == "new"
            with pytest.raises(ConnectionClosed):
                await gone.recv()
            assert gone.close_code == 1001
            assert await told(old) == "old"
        await asyncio.to_thread(served.reload, resources(websocket_server, raw))

    play(script())


@pytest.mark.parametrize("mode", ["raw-message", "raw-heads"])
def test_a_client_that_vanishes_within_a_frame(mode: str, served: Gateway, raw: RawUpstream) -> None:
    with RawSocket(served, f"/{mode}/x") as socket:
        socket.send(build_frame(1, b"x" * 500, MASK)[:100])
        connection = raw.connections[-1]
    for _ in range(500):
        if connection.sock.fileno() < 0:
            break
        time.sleep(0.02)
    assert connection.sock.fileno() < 0  # its script came to the end of the connection
    assert [payload for _, _, payload in frames_of(connection)] == []
