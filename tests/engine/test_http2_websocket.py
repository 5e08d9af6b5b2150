"""WebSockets over HTTP/2 (RFC 8441): real frames, a real server, and peers that keep no rules."""

import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bascule.engine.websocket_key import accept_of
from bascule.wire.websocket import build_frame
from tests.servers.certificates import Certificates
from tests.servers.gateway import Gateway
from tests.servers.http2 import (
    CANCEL,
    DATA,
    NO_ERROR,
    PROTOCOL_ERROR,
    Http2Client,
    frame,
    window_update,
)
from tests.servers.http2_websocket import Http2Websocket, pseudo_fields
from tests.servers.ports import free_port
from tests.servers.raw import RawConnection, RawUpstream
from tests.servers.websocket_server import MIB, WebSocketServer

ENABLE_CONNECT_PROTOCOL = 8


def play(connection: RawConnection) -> None:
    """Agrees, or answers as the path says; then goes on as it says."""
    head = connection.read_head()
    what = head.target.rpartition("/")[2]
    key = head.header("sec-websocket-key") or ""
    accept = accept_of(b"other" if what == "liar" else key.encode())
    if what == "plain":
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain")
        return
    connection.send(
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: %b\r\nX-Key: %b\r\n\r\n" % (accept.encode(), key.encode())
    )
    if what == "reset":
        connection.read_exactly(1)
        connection.reset()
    elif what == "end":
        connection.send(build_frame(1, b"last"))
        connection.shutdown_write()
        ENDED.append(connection.read_to_end())
    elif what == "deaf":
        DEAF.wait(30)
        RECEIVED.append(len(connection.read_to_end()))
    else:
        CUT.append(connection.read_to_end())


ENDED: list[bytes] = []
CUT: list[bytes] = []
RECEIVED: list[int] = []
DEAF = threading.Event()


def wait_for(said: list[Any], count: int) -> None:
    deadline = time.monotonic() + 20
    while len(said) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(said) >= count


@pytest.fixture(scope="module")
def raw() -> Iterator[RawUpstream]:
    one = RawUpstream(play)
    yield one
    DEAF.set()
    one.stop()


def configuration(server: str, raw: str) -> dict[str, Any]:
    def route(id: str, address: str, **more: Any) -> dict[str, Any]:
        return {"id": id, "uri": f"/{id}/*", "enable_websocket": True, "upstream": {"nodes": {address: 1}}, **more}

    return {
        "consumers": [{"username": "jack", "plugins": {"key-auth": {"key": "secret"}}}],
        "routes": [
            route("ws", server, methods=["GET"]),
            route("auth", server, plugins={"key-auth": {}}),
            route("limited", server, plugins={"websocket-limit": {"max_message_size": 1000}}),
            route("short", server, websocket={"idle_timeout": 1}),
            route("lifetime", server, websocket={"max_lifetime": 1}),
            route("silent", server, upstream={"nodes": {server: 1}, "timeout": {"connect": 2, "send": 2, "read": 1}}),
            route("gone", server),
            route("mocked", server, plugins={"mocking": {"response_example": "hello"}}),
            route("rewritten", server, plugins={"response-rewrite": {"status_code": 200}}),
            route("raw", raw),
            {"id": "off", "uri": "/off/*", "upstream": {"nodes": {server: 1}}},
        ],
    }


@pytest.fixture(scope="module")
def served(websocket_server: WebSocketServer, raw: RawUpstream, module_gateway: Callable[..., Gateway]) -> Gateway:
    return module_gateway(
        configuration(websocket_server.address, raw.address),
        {"nginx_config": {"http": {"access_log_format": '$http2 "$request" $status $upstream_status'}}},
    )


@pytest.fixture
def client(served: Gateway) -> Iterator[Http2Client]:
    with Http2Client(served.port) as one:
        yield one


def opened(client: Http2Client, path: str, *fields: tuple[str, str]) -> Http2Websocket:
    one = Http2Websocket(client, path, *fields)
    assert one.status == 200, one.answer
    return one


def refused(client: Http2Client, path: str, *fields: tuple[str, str], **options: Any) -> int:
    """The status that it was refused with; the connection goes on."""
    stream = client.request(path, ("sec-websocket-version", "13"), *fields, **{"end": False, **options})
    status = client.wait(stream).status
    client.ping()
    assert client.goaway is None
    return status


# ---- what works


def test_messages_of_every_size_and_many_streams_at_once(client: Http2Client) -> None:
    noise = random.Random(2)
    client.ping()
    assert client.peer_settings[ENABLE_CONNECT_PROTOCOL] == 1
    sockets = [opened(client, "/ws/echo") for _ in range(3)]
    assert client.get("/ws/refuse/404").status == 404  # plain requests go on beside them
    for size in (0, 1, 125, 126, 65535, 65536, MIB):
        data = noise.randbytes(size)
        for one in sockets:
            one.send(data)
        for one in sockets:
            assert one.receive() == data
    text = sockets[0]
    text.send("grüße")
    assert text.receive().decode() == "grüße"
    for one in sockets:
        one.frames.send_close(1000, "done")
        one.flush()
        assert one.wait_end().reset in (None, NO_ERROR)
        assert one.answer.ended
        assert one.close_code == 1000


def test_the_handshake_on_both_sides(served: Gateway, client: Http2Client, websocket_server: WebSocketServer) -> None:
    lines = ("x-mine", "1"), ("origin", "http://a.example"), ("sec-websocket-key", "mine"), ("cookie", "a=1")
    one = opened(client, "/ws/echo?q=1", *lines)
    assert one.answer.header("sec-websocket-accept") is None
    assert one.answer.header("connection") is None
    assert one.answer.header("upgrade") is None
    head = websocket_server.heads[-1]
    assert head.path == "/ws/echo?q=1"
    assert head.headers["Upgrade"] == "websocket"
    assert head.headers["Connection"] == "upgrade"
    assert head.headers["Host"] == "a"
    assert head.headers["X-Mine"] == "1"
    assert head.headers["Cookie"] == "a=1"
    assert len(head.headers["Sec-WebSocket-Key"]) == 24
    assert "Transfer-Encoding" not in head.headers
    one.reset()
    served.logged('h2c "GET /ws/echo?q=1 HTTP/2.0" 101 101')


def test_each_has_a_key_of_its_own(client: Http2Client) -> None:
    keys = {opened(client, "/raw/wait").answer.header("x-key") for _ in range(3)}
    assert len(keys) == 3


def test_frames_that_do_not_wait_for_the_answer(client: Http2Client) -> None:
    stream = client.request("/ws/echo", ("sec-websocket-version", "13"), end=False, pseudo=pseudo_fields("/ws/echo"))
    early = build_frame(1, b"early", b"abcd")
    client.raw(*(frame(DATA, 0, stream, early[i : i + 1]) for i in range(len(early))))
    answer = client.wait_head(stream)
    while len(answer.body) < 7:
        assert client.read()
    assert answer.body == build_frame(1, b"early")


def test_plugins_run_as_for_an_upgrade(client: Http2Client) -> None:
    pseudo = pseudo_fields("/auth/echo")
    assert refused(client, "/auth/echo", pseudo=pseudo) == 401
    assert refused(client, "/auth/echo", ("apikey", "wrong"), pseudo=pseudo) == 401
    one = opened(client, "/auth/echo", ("apikey", "secret"))
    one.send("hello")
    assert one.receive() == b"hello"


def test_frames_are_looked_at(client: Http2Client) -> None:
    one = opened(client, "/limited/echo")
    one.send(b"x" * 1000)
    assert len(one.receive()) == 1000
    one.send(b"x" * 1001)
    assert one.wait_end().ended
    assert one.close_code == 1009
    broken = opened(client, "/limited/echo")
    client.data(broken.stream, build_frame(1, b"not masked"))
    assert broken.wait_end().ended
    assert broken.close_code == 1002


@pytest.mark.parametrize(("path", "code"), [("/short/echo", 1001), ("/lifetime/echo", 1008)])
def test_limits_of_time_end_it_with_a_close_frame(path: str, code: int, client: Http2Client) -> None:
    one = opened(client, path)
    assert one.wait_end().ended
    assert one.close_code == code
    client.ping()
    assert client.goaway is None


def test_a_silent_tunnel_is_cut(client: Http2Client) -> None:
    assert opened(client, "/silent/echo").wait_end().reset == CANCEL


def test_flow_control_in_both_directions(served: Gateway, client: Http2Client) -> None:
    one = opened(client, "/raw/deaf")
    piece = bytes(16384)
    sent = 0
    client.sock.settimeout(1)
    try:
        while True:
            client.data(one.stream, piece)
            sent += len(piece)
            assert sent < 64 * MIB
    except TimeoutError:  # all buffers between are full, and the window stays shut
        pass
    client.sock.settimeout(20)
    assert client.get("/ws/refuse/403").status == 403  # which holds up no other stream
    known = len(RECEIVED)
    DEAF.set()
    while client.room[one.stream] <= 0:
        assert client.read()
    one.end()
    wait_for(RECEIVED, known + 1)
    assert RECEIVED[-1] >= sent
    # A client that takes nothing holds up its upstream, not the connection.
    with Http2Client(served.port, windows=False) as slow:
        slow.raw(window_update(0, 1 << 20))
        other = opened(slow, "/ws/echo")
        other.send(bytes(100_000))
        assert slow.get("/ws/refuse/403").status == 403
        while len(other.answer.body) < 65535:
            assert slow.read()
        slow.ping()
        assert len(other.answer.body) == 65535
        slow.raw(window_update(other.stream, 1 << 20))
        assert other.receive() == bytes(100_000)


# ---- its end


def test_end_stream_is_the_end_of_a_connection(client: Http2Client) -> None:
    one = opened(client, "/raw/wait")
    known = len(CUT)
    client.data(one.stream, b"last words", end=True)
    wait_for(CUT, known + 1)
    assert CUT[-1] == b"last words"
    assert one.wait_end().ended
    other = opened(client, "/raw/end")
    assert other.wait_end().ended
    assert other.answer.body == build_frame(1, b"last")
    assert other.answer.reset is None  # the client may go on
    known = len(ENDED)
    client.data(other.stream, b"mine", end=True)
    wait_for(ENDED, known + 1)
    assert ENDED[-1] == b"mine"


def test_a_reset_closes_the_connection_to_the_upstream_and_the_other_way_round(client: Http2Client) -> None:
    one = opened(client, "/raw/wait")
    known = len(CUT)
    client.data(one.stream, b"a")
    one.reset()
    wait_for(CUT, known + 1)
    other = opened(client, "/raw/reset")
    client.data(other.stream, b"a")
    assert other.wait_end().reset == CANCEL
    client.ping()
    assert client.goaway is None


def test_the_end_of_the_connection_ends_all_of_them(served: Gateway) -> None:
    known = len(CUT)
    with Http2Client(served.port) as client:
        for _ in range(3):
            opened(client, "/raw/wait")
    wait_for(CUT, known + 3)


def test_only_the_end_of_its_route_closes_one(
    served: Gateway, client: Http2Client, websocket_server: WebSocketServer, raw: RawUpstream
) -> None:
    kept, gone = opened(client, "/ws/echo"), opened(client, "/gone/echo")
    resources = configuration(websocket_server.address, raw.address)
    resources["routes"] = [one for one in resources["routes"] if one["id"] != "gone"]
    served.reload(resources)
    assert gone.wait_end().reset == CANCEL
    kept.send("still here")
    assert kept.receive() == b"still here"
    served.reload(configuration(websocket_server.address, raw.address))


# ---- what isn't one


def test_without_enable_websocket(served: Gateway, client: Http2Client) -> None:
    stream = client.request("/off/echo", end=False, pseudo=pseudo_fields("/off/echo"))
    answer = client.wait(stream)
    assert (answer.status, answer.body) == (400, b'{"error_msg":"WebSocket is not enabled on this route"}')
    assert answer.reset is None or answer.reset == NO_ERROR
    assert refused(client, "/", pseudo=pseudo_fields("/nowhere")) == 404


def test_other_protocols_are_not_served(client: Http2Client) -> None:
    for protocol in ("connect-udp", "websockets", "webtransport"):
        assert refused(client, "/ws/echo", pseudo=pseudo_fields("/ws/echo", protocol)) == 501
    assert refused(client, "/ws/refuse/403", pseudo=pseudo_fields("/ws/refuse/403", "WebSocket")) == 403


def test_malformed_ones(client: Http2Client) -> None:
    whole = dict(pseudo_fields("/ws/echo"))
    for missing in (":scheme", ":path", ":authority"):
        stream = client.request(end=False, pseudo=[(name, value) for name, value in whole.items() if name != missing])
        answer = client.wait(stream)
        assert answer.reset == PROTOCOL_ERROR or answer.status == 400
    for fields in (
        [(":method", "GET"), *list(whole.items())[1:]],
        [*whole.items(), (":protocol", "websocket")],
        [*whole.items(), ("upgrade", "websocket")],
        [*whole.items(), ("connection", "upgrade")],
        [*whole.items(), (":path", "/ws/b")],
    ):
        assert client.wait(client.request(end=False, pseudo=fields)).reset == PROTOCOL_ERROR
    assert refused(client, "/ws/echo", ("content-length", "5"), pseudo=pseudo_fields("/ws/echo")) == 400
    assert refused(client, "/ws/echo", pseudo=pseudo_fields("/ws/echo"), end=True) == 400
    assert client.get("/", pseudo=[(":method", "CONNECT"), (":authority", "a:443")]).status == 405
    opened(client, "/ws/echo")


@pytest.mark.parametrize("status", [403, 426, 503])
def test_a_refused_handshake_is_answered_as_it_is(status: int, client: Http2Client) -> None:
    stream = client.request(end=False, pseudo=pseudo_fields(f"/ws/refuse/{status}"))
    answer = client.wait(stream)
    assert (answer.status, answer.body) == (status, b"refused\n")


def test_an_answer_of_2xx_does_not_look_like_a_websocket(served: Gateway, client: Http2Client) -> None:
    for path in ("/raw/plain", "/mocked/echo", "/rewritten/refuse/403", "/raw/liar"):
        assert refused(client, path, pseudo=pseudo_fields(path)) == 502, path
    served.logged('"GET /raw/plain HTTP/2.0" 502')
    served.logged('"GET /mocked/echo HTTP/2.0" 502')


def test_more_than_the_window_before_the_answer(client: Http2Client) -> None:
    """DATA beyond the stream's window ends the connection, as for any stream."""
    stream = client.request(end=False, pseudo=pseudo_fields("/raw/deaf"))
    client.raw(*(frame(DATA, 0, stream, bytes(16384)) for _ in range(5)))
    while client.answers[stream].reset is None and client.goaway is None and client.read():
        pass
    assert client.goaway is not None or client.answers[stream].reset is not None


def test_frames_of_the_protocol_on_such_a_stream(served: Gateway) -> None:
    """HEADERS within a WebSocket are trailers, which it has no place for; it ends as with END_STREAM."""
    with Http2Client(served.port) as client:
        one = opened(client, "/raw/wait")
        known = len(CUT)
        client.headers(one.stream, [("x-trailer", "1")], end=True)
        wait_for(CUT, known + 1)
        assert CUT[-1] == b""
    with Http2Client(served.port) as client:
        one = opened(client, "/ws/echo")
        client.raw(window_update(one.stream, 0))
        assert one.wait_end().reset == PROTOCOL_ERROR or client.goaway is not None


def test_a_worker_that_drains_says_goodbye(
    tmp_path: Path, gateway: Callable[..., Gateway], websocket_server: WebSocketServer, raw: RawUpstream
) -> None:
    one = gateway(
        configuration(websocket_server.address, raw.address), {"nginx_config": {"worker_shutdown_timeout": "1s"}}
    )
    with Http2Client(one.port) as client:
        looked_at = opened(client, "/limited/echo")
        plain = opened(client, "/ws/echo")
        threading.Thread(target=one.stop).start()
        looked_at.wait_end()
        assert looked_at.close_code == 1001
        assert client.goaway is not None
        plain.wait_end()


def test_over_tls(
    gateway: Callable[..., Gateway], websocket_server: WebSocketServer, raw: RawUpstream, certificates: Certificates
) -> None:
    port = free_port()
    resources = configuration(websocket_server.address, raw.address)
    resources["ssls"] = [{"id": "1", "sni": "localhost", **certificates.server.texts}]
    gateway(resources, {"apisix": {"ssl": {"enable": True, "listen": [{"ip": "127.0.0.1", "port": port}]}}})
    context = ssl.create_default_context(cafile=str(certificates.ca.cert))
    context.set_alpn_protocols(["h2"])
    with Http2Client(port, tls=context) as client:
        one = opened(client, "/ws/echo")
        one.send(b"x" * MIB)
        assert len(one.receive()) == MIB
