"""HTTP/2 clients that do wrong: invalid frames, malformed requests, floods, stalls. Each ends what it must, no more."""

import contextlib
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.servers.gateway import Gateway
from tests.servers.http2 import (
    ACK,
    CANCEL,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_WINDOW,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    Http2Client,
    frame,
    rst_stream,
    settings,
    window_update,
)
from tests.servers.raw import Message, RawConnection, RawUpstream, response
from tests.servers.switchboard import Switchboard

CONFIG = """
nginx_config:
  http: {client_header_timeout: 1s, client_body_timeout: 1s, keepalive_timeout: 1s, send_timeout: 1s,
         client_max_body_size: 100k, keepalive_requests: 5000}
bascule: {max_uri_bytes: 4k, max_head_bytes: 8k, max_header_fields: 50}
"""
GET = [(":method", "GET"), (":scheme", "http"), (":path", "/up"), (":authority", "a")]
POST = [(":method", "POST"), *GET[1:]]
BLOCK = bytes(range(256)) * 256


@pytest.fixture(scope="module")
def served(echo: RawUpstream, board: Switchboard, module_gateway: Callable[..., Gateway]) -> Gateway:
    routes = [
        {"uri": "/board/*", "upstream": {"nodes": {board.address: 1}}},
        {"uri": "/*", "upstream": {"nodes": {echo.address: 1}}},
    ]
    return module_gateway({"routes": routes}, CONFIG)


@pytest.fixture
def client(served: Gateway) -> Iterator[Http2Client]:
    with Http2Client(served.port) as connection:
        yield connection


def failures(served: Gateway, reason: str) -> int:
    found = re.search(rf'^bascule_http2_failures\{{reason="{re.escape(reason)}"\}} (\d+)', served.metrics(), re.M)
    return int(found[1]) if found else 0


def sends(client: Http2Client, *frames: bytes) -> None:
    """Sends them; the server may have closed before all of them were out."""
    with contextlib.suppress(ConnectionError):
        client.raw(*frames)


# ---- invalid frames


def block(*fields: tuple[str, str]) -> bytes:
    """Literal fields that touch no table."""
    return b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode() for name, value in fields
    )


GOOD = block(*GET)
OPEN = frame(HEADERS, END_HEADERS, 1, block(*POST))
INVALID: dict[str, tuple[bytes, int]] = {
    "data-on-the-connection": (frame(DATA, 0, 0, b"x"), PROTOCOL_ERROR),
    "data-on-an-idle-stream": (frame(DATA, 0, 1, b"x"), PROTOCOL_ERROR),
    "headers-on-the-connection": (frame(HEADERS, END_HEADERS, 0, GOOD), PROTOCOL_ERROR),
    "headers-on-an-even-stream": (frame(HEADERS, END_HEADERS | END_STREAM, 2, GOOD), PROTOCOL_ERROR),
    "padding-longer-than-data": (OPEN + frame(DATA, PADDED, 1, b"\x05abc"), PROTOCOL_ERROR),
    "padding-longer-than-headers": (frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff" + GOOD), PROTOCOL_ERROR),
    "broken-hpack": (frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff"), COMPRESSION_ERROR),
    "hpack-index-out-of-range": (frame(HEADERS, END_HEADERS, 1, b"\xfe"), COMPRESSION_ERROR),
    "hpack-table-too-large": (frame(HEADERS, END_HEADERS, 1, b"\x3f\xe1\xff\x03" + GOOD), COMPRESSION_ERROR),
    "a-frame-within-a-header-block": (frame(HEADERS, 0, 1, GOOD) + frame(PING, 0, 0, bytes(8)), PROTOCOL_ERROR),
    "data-within-a-header-block": (frame(HEADERS, 0, 1, GOOD) + frame(DATA, 0, 1, b""), PROTOCOL_ERROR),
    "continuation-of-nothing": (frame(CONTINUATION, END_HEADERS, 1, GOOD), PROTOCOL_ERROR),
    "continuation-of-another-stream": (
        frame(HEADERS, 0, 1, GOOD) + frame(CONTINUATION, END_HEADERS, 3, b""),
        PROTOCOL_ERROR,
    ),
    "rst-on-the-connection": (frame(RST_STREAM, 0, 0, bytes(4)), PROTOCOL_ERROR),
    "rst-on-an-idle-stream": (rst_stream(1), PROTOCOL_ERROR),
    "rst-of-3-bytes": (OPEN + frame(RST_STREAM, 0, 1, bytes(3)), FRAME_SIZE_ERROR),
    "settings-on-a-stream": (frame(SETTINGS, 0, 1), PROTOCOL_ERROR),
    "settings-of-5-bytes": (frame(SETTINGS, 0, 0, bytes(5)), FRAME_SIZE_ERROR),
    "settings-ack-with-a-payload": (frame(SETTINGS, ACK, 0, bytes(6)), FRAME_SIZE_ERROR),
    "settings-push-2": (settings({2: 2}), PROTOCOL_ERROR),
    "settings-window-too-large": (settings({4: 2**31}), FLOW_CONTROL_ERROR),
    "settings-frame-size-too-small": (settings({5: 16383}), PROTOCOL_ERROR),
    "settings-frame-size-too-large": (settings({5: 2**24}), PROTOCOL_ERROR),
    "push-promise": (OPEN + frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + GOOD), PROTOCOL_ERROR),
    "ping-of-7-bytes": (frame(PING, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
    "ping-on-a-stream": (frame(PING, 0, 1, bytes(8)), PROTOCOL_ERROR),
    "goaway-on-a-stream": (frame(GOAWAY, 0, 1, bytes(8)), PROTOCOL_ERROR),
    "window-update-of-3-bytes": (frame(WINDOW_UPDATE, 0, 0, bytes(3)), FRAME_SIZE_ERROR),
    "window-update-of-0": (window_update(0, 0), PROTOCOL_ERROR),
    "window-update-on-an-idle-stream": (window_update(1, 1), PROTOCOL_ERROR),
    "window-overflow": (window_update(0, MAX_WINDOW), FLOW_CONTROL_ERROR),
    "a-frame-larger-than-allowed": (OPEN + frame(DATA, 0, 1, bytes(16385)), FRAME_SIZE_ERROR),
    "headers-larger-than-allowed": (frame(HEADERS, END_HEADERS, 1, bytes(16385)), FRAME_SIZE_ERROR),
}


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_frame_ends_the_connection_with_its_code(name: str, served: Gateway) -> None:
    frames, code = INVALID[name]
    with Http2Client(served.port) as client, Http2Client(served.port) as other:
        sends(client, frames, frame(PING, 0, 0, bytes(8)))
        assert client.is_closed()
        assert client.goaway is not None
        assert client.goaway[1] == code
        assert other.get("/up").status == 200


def test_a_stream_number_that_was_passed_over_can_not_be_used(client: Http2Client, echo: RawUpstream) -> None:
    client.next_stream = 5
    assert client.get("/up").status == 200
    before = echo.requests_seen
    client.headers(3, GET, end=True)
    client.ping()
    assert echo.requests_seen == before
    assert not client.answers[3].headers


def test_frames_on_a_stream_that_has_ended(client: Http2Client) -> None:
    """RFC 9113 5.1: a stream error at least; frames that may have been on their way are let pass."""
    stream = client.request("/up")
    client.wait(stream)
    client.raw(window_update(stream, 1), rst_stream(stream))
    client.ping()
    assert client.goaway is None
    sends(client, frame(DATA, 0, stream, b"x"), frame(PING, 0, 0, bytes(8)))
    with contextlib.suppress(ConnectionError):
        client.ping()
    assert client.goaway is None or client.goaway[1] in (STREAM_CLOSED, PROTOCOL_ERROR)


def test_data_behind_the_end_of_a_stream(client: Http2Client, board: Switchboard) -> None:
    go = threading.Event()

    @board.on("/board/half")
    def _(up: RawConnection, head: Message) -> None:
        assert go.wait(10)
        up.send(response())

    stream = client.request("/board/half")
    client.raw(frame(DATA, 0, stream, b"x"))
    answer = client.wait(stream)
    assert answer.reset == STREAM_CLOSED or client.goaway is not None
    go.set()


@pytest.mark.parametrize("first", [frame(PING, 0, 0, bytes(8)), frame(HEADERS, END_HEADERS | END_STREAM, 1, GOOD)])
def test_the_preface_ends_with_settings(served: Gateway, first: bytes) -> None:
    with Http2Client(served.port, preface=b"") as client:
        sends(client, PREFACE, first)
        assert client.is_closed()
        assert client.goaway is not None
        assert client.goaway[1] == PROTOCOL_ERROR


def test_unknown_frames_and_settings_are_ignored(client: Http2Client) -> None:
    client.raw(frame(99, 255, 0, b"x"), frame(99, 0, 77, b""), settings({99: 1}), frame(16, 0, 0, b"\0\0\0\1u=1"))
    assert client.get("/up").status == 200


# ---- malformed requests

MALFORMED: dict[str, list[tuple[str | bytes, str | bytes]]] = {
    "upper-case-name": [*GET, ("X-Upper", "1")],
    "blank-in-a-name": [*GET, ("x y", "1")],
    "colon-in-a-name": [*GET, ("x:y", "1")],
    "crlf-in-a-name": [*GET, ("x\r\ny", "1")],
    "crlf-in-a-value": [*GET, ("x", "1\r\ny: 2")],
    "lf-in-a-value": [*GET, ("x", "1\ny: 2")],
    "nul-in-a-value": [*GET, ("x", "\0")],
    "blank-before-a-value": [*GET, ("x", " 1")],
    "connection": [*GET, ("connection", "close")],
    "keep-alive": [*GET, ("keep-alive", "5")],
    "proxy-connection": [*GET, ("proxy-connection", "close")],
    "transfer-encoding": [*POST, ("transfer-encoding", "chunked")],
    "transfer-encoding-obscured": [*POST, ("transfer-encoding", "identity")],
    "upgrade": [*GET, ("upgrade", "h2c")],
    "te": [*GET, ("te", "gzip")],
    "unknown-pseudo": [*GET, (":unknown", "1")],
    "pseudo-of-responses": [*GET, (":status", "200")],
    "pseudo-behind-fields": [*GET[:3], ("x", "1"), GET[3]],
    "two-methods": [*GET, (":method", "POST")],
    "two-paths": [*GET, (":path", "/other")],
    "two-authorities": [*GET, (":authority", "b")],
    "no-method": GET[1:],
    "no-scheme": [GET[0], *GET[2:]],
    "no-path": [*GET[:2], GET[3]],
    "no-host": GET[:3],
    "empty-path": [*GET[:2], (":path", ""), GET[3]],
    "path-without-slash": [*GET[:2], (":path", "up"), GET[3]],
    "path-of-another-host": [*GET[:2], (":path", "http://b/up"), GET[3]],
    "blank-in-the-path": [*GET[:2], (":path", "/up x"), GET[3]],
    "request-in-the-path": [*GET[:2], (":path", "/up HTTP/1.1\r\nHost: b\r\n\r\nGET /admin"), GET[3]],
    "request-in-the-method": [(":method", "GET /admin HTTP/1.1\r\nHost: a\r\n\r\nGET"), *GET[1:]],
    "blank-in-the-method": [(":method", "GET /admin"), *GET[1:]],
    "crlf-in-the-authority": [*GET[:3], (":authority", "a\r\nX: 1")],
    "userinfo": [*GET[:3], (":authority", "u:p@a")],
    "path-in-the-authority": [*GET[:3], (":authority", "a/up")],
    "two-hosts": [*GET[:3], ("host", "a"), ("host", "b")],
    "another-host": [*GET, ("host", "b")],
    "extended-connect": [(":method", "CONNECT"), (":protocol", "foo"), *GET[1:]],
    "connect-with-a-path": [(":method", "CONNECT"), *GET[2:]],
    "length-of-no-number": [*GET, ("content-length", "x")],
    "negative-length": [*GET, ("content-length", "-1")],
    "signed-length": [*GET, ("content-length", "+0")],
    "two-lengths": [*GET, ("content-length", "0"), ("content-length", "1")],
    "length-without-a-body": [*GET, ("content-length", "5")],
    "huge-length": [*GET, ("content-length", "9" * 30)],
    "fragment": [*GET[:2], (":path", "/up#x"), GET[3]],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_reaches_no_upstream_and_ends_its_stream_only(
    name: str, client: Http2Client, echo: RawUpstream
) -> None:
    before = echo.requests_seen
    answer = client.get(pseudo=MALFORMED[name], authority=None)
    if answer.reset is None:
        assert answer.status == 400
    else:
        assert (answer.reset, answer.headers) == (PROTOCOL_ERROR, [])
    assert echo.requests_seen == before
    assert client.get("/up").status == 200


def test_bodies_that_are_not_as_long_as_announced(client: Http2Client, board: Switchboard) -> None:
    cut = threading.Event()

    @board.on("/board/length")
    def _(up: RawConnection, head: Message) -> None:
        up.read_to_end()
        cut.set()

    short = client.get("/board/length", ("content-length", "5"), method="POST", body=b"abc")
    assert short.reset == PROTOCOL_ERROR
    assert cut.wait(10)
    stream = client.request("/up", ("content-length", "5"), method="POST", body=b"abcdef")
    assert client.wait(stream).reset == PROTOCOL_ERROR
    assert client.get("/up").status == 200


@pytest.mark.parametrize(
    "trailer", [(":path", "/b"), ("content-length", "5"), ("transfer-encoding", "chunked"), ("host", "b"),
                ("authorization", "x"), ("x-forwarded-for", "1.2.3.4"), ("X", "1"), ("x", "a\r\nb: c")]
)  # fmt: skip
def test_trailers_that_must_not_come(client: Http2Client, trailer: tuple[str, str]) -> None:
    stream = client.request("/up", method="POST", body=b"abc", end=False)
    client.headers(stream, [trailer], end=True)
    assert client.wait(stream).reset == PROTOCOL_ERROR
    assert client.get("/up").status == 200


# ---- limits


def test_limits_of_heads_and_bodies_answer_and_go_on(client: Http2Client, echo: RawUpstream) -> None:
    before = echo.requests_seen
    assert client.get("/" + "a" * 5000).status == 414
    assert client.get("/up", ("x", "a" * 9000)).status == 431
    assert client.get("/up", *[("x", "1")] * 51).status == 431
    assert client.get("/up", ("content-length", "200000"), method="POST", end=False).status == 413
    assert echo.requests_seen == before
    stream = client.request("/up", method="POST", body=bytes(150_000), end=False)
    assert client.wait(stream).status == 413
    assert client.get("/up").status == 200


def test_more_streams_than_allowed_end_the_connection(client: Http2Client, board: Switchboard) -> None:
    go = threading.Event()

    @board.on("/board/wait")
    def _(up: RawConnection, head: Message) -> None:
        assert go.wait(10)
        with contextlib.suppress(ConnectionError):
            up.send(response())

    client.ping()
    streams = [client.request("/board/wait") for _ in range(128)]
    client.ping()
    go.set()
    assert all(client.wait(stream).status == 200 for stream in streams)
    go.clear()
    sends(client, *(frame(HEADERS, END_HEADERS, client.next_stream + 2 * i, block(*POST)) for i in range(129)))
    assert client.is_closed()
    assert client.goaway is not None
    assert client.goaway[1] == PROTOCOL_ERROR
    go.set()


# ---- floods


def request_and_reset(client: Http2Client) -> bytes:
    stream = client.next_stream
    client.next_stream += 2
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, GOOD) + rst_stream(stream)


def opened_empty(client: Http2Client) -> bytes:
    """Requests that are malformed only to make the server reset them."""
    stream = client.next_stream
    client.next_stream += 2
    return frame(HEADERS, END_HEADERS, stream, block(*POST, ("content-length", "1"))) + frame(DATA, 0, stream, b"xy")


FLOODS: dict[str, tuple[Callable[[Http2Client], bytes], set[str]]] = {
    "rapid-reset": (request_and_reset, {"rapid reset"}),
    "resets-made-by-the-server": (opened_empty, {"rapid reset", "errors"}),
    "ping": (lambda _: frame(PING, 0, 0, bytes(8)), {"flood"}),
    "settings": (lambda _: settings({INITIAL_WINDOW_SIZE: 65535}), {"flood"}),
    "empty-settings": (lambda _: settings({}), {"flood"}),
    "priority": (lambda _: frame(PRIORITY, 0, 1, bytes([0, 0, 0, 3, 1])), {"flood"}),
    "window-update": (lambda _: window_update(0, 1), {"flood"}),
    "empty-data": (lambda _: frame(DATA, 0, 1, b""), {"flood"}),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_end_the_connection(name: str, served: Gateway) -> None:
    make, reasons = FLOODS[name]
    before = sum(failures(served, reason) for reason in reasons)
    with Http2Client(served.port) as client, Http2Client(served.port) as other:
        if name == "empty-data":
            client.request("/up", method="POST", end=False)
        for _ in range(40):
            with contextlib.suppress(ConnectionError):
                client.raw(*(make(client) for _ in range(100)))
            assert other.get("/up").status == 200
        assert client.is_closed()
        assert client.goaway is not None
        assert client.goaway[1] == ENHANCE_YOUR_CALM
    assert sum(failures(served, reason) for reason in reasons) == before + 1


def test_a_flood_of_pings_by_a_client_that_reads_nothing(served: Gateway) -> None:
    with Http2Client(served.port, receive_buffer=4096) as client, Http2Client(served.port) as other:
        with contextlib.suppress(ConnectionError, TimeoutError):
            client.sock.settimeout(3)
            for _ in range(1000):
                client.raw(frame(PING, 0, 0, bytes(8)) * 100)
        assert other.get("/up").status == 200
        client.sock.settimeout(10)
        assert client.is_closed()


def test_endless_continuations(served: Gateway) -> None:
    with Http2Client(served.port) as client, Http2Client(served.port) as other:
        sends(client, frame(HEADERS, 0, 1, GOOD))
        for _ in range(100):
            sends(client, frame(CONTINUATION, 0, 1, b"") * 100)
        assert client.is_closed()
        assert client.goaway is None or client.goaway[1] != NO_ERROR
        assert other.get("/up").status == 200


def test_a_header_bomb(served: Gateway) -> None:
    """A few bytes that stand for megabytes: an entry of the dynamic table, said again and again."""
    before = failures(served, "header bomb")
    with Http2Client(served.port) as client:
        client.raw(
            frame(HEADERS, 0, 1, GOOD + b"\x40\x01x" + b"\x7f\xa1\x1e" + b"a" * 4000),
            frame(CONTINUATION, END_HEADERS, 1, b"\xbe" * 16000),
        )
        assert client.is_closed()
        assert client.goaway is not None
        assert client.goaway[1] == ENHANCE_YOUR_CALM
    assert failures(served, "header bomb") == before + 1


# ---- clients that stall


def test_a_client_that_sends_no_request_is_told_and_closed(served: Gateway) -> None:
    with Http2Client(served.port) as client:
        assert client.is_closed()
        assert client.goaway == (0, NO_ERROR)


def test_an_idle_connection_is_closed_after_its_requests(served: Gateway, client: Http2Client) -> None:
    assert client.get("/up").status == 200
    assert client.is_closed()
    assert client.goaway == (1, NO_ERROR)


def test_pings_do_not_keep_a_connection(served: Gateway) -> None:
    with Http2Client(served.port) as client:
        client.sock.settimeout(0.1)
        for _ in range(100):
            try:
                client.raw(frame(PING, 0, 0, bytes(8)))
                while client.read():
                    pass
                break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("still open after 10 s")


def test_a_header_block_that_does_not_end(served: Gateway, client: Http2Client) -> None:
    before = failures(served, "header timeout")
    client.ping()
    client.raw(frame(HEADERS, 0, 1, GOOD))
    assert client.is_closed()
    assert client.goaway is not None
    assert failures(served, "header timeout") == before + 1


def test_a_preface_that_does_not_end(served: Gateway) -> None:
    with served.client() as client:
        client.send(PREFACE[:20])
        assert client.read_response().status == 408
        assert client.is_closed()


@pytest.mark.parametrize("path", ["/up", "/board/body"])
def test_a_body_that_does_not_come_is_408(client: Http2Client, board: Switchboard, path: str) -> None:
    @board.on("/board/body")
    def _(up: RawConnection, head: Message) -> None:
        up.is_closed()

    stream = client.request(path, ("content-length", "100"), method="POST", end=False)
    client.data(stream, b"x")
    answer = client.wait(stream)
    assert answer.status == 408
    while answer.reset is None:
        assert client.read()
    assert answer.reset == NO_ERROR


def test_a_stream_whose_window_stays_shut_is_reset_and_others_go_on(served: Gateway, board: Switchboard) -> None:
    before = failures(served, "stream stalled")
    cut = threading.Event()

    @board.on("/board/large")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                up.send(b"%x\r\n" % len(BLOCK) + BLOCK + b"\r\n")
        cut.set()

    with Http2Client(served.port, values={INITIAL_WINDOW_SIZE: 0}, windows=False) as client:
        client.raw(window_update(0, 1_000_000_000))
        stalled = client.request("/board/large")
        answer = client.wait_head(stalled)
        while answer.reset is None:
            other = client.request("/up")
            client.raw(window_update(other, 10_000))
            assert client.wait(other).status == 200
        assert (answer.reset, answer.body, answer.ended) == (CANCEL, b"", False)
    assert cut.wait(10)
    assert failures(served, "stream stalled") == before + 1


def test_a_client_that_reads_nothing_at_all(served: Gateway, board: Switchboard) -> None:
    cut = threading.Event()

    @board.on("/board/unread")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                up.send(b"%x\r\n" % len(BLOCK) + BLOCK + b"\r\n")
        cut.set()

    with Http2Client(served.port, values={INITIAL_WINDOW_SIZE: MAX_WINDOW}, windows=False) as client:
        client.raw(window_update(0, 1_000_000_000))
        client.request("/board/unread")
        assert cut.wait(20)


# ---- the end of connections


def test_a_connection_ends_after_so_many_requests(gateway: Callable[..., Gateway], echo: RawUpstream) -> None:
    routes = {"routes": [{"uri": "/*", "upstream": {"nodes": {echo.address: 1}}}]}
    server = gateway(routes, "nginx_config: {http: {keepalive_requests: 5}}")
    with Http2Client(server.port) as client:
        streams = [client.request("/up") for _ in range(8)]  # those behind it are on their way already
        assert all(client.wait(stream).status == 200 for stream in streams)
        assert client.is_closed()
        assert client.goaway == (streams[-1], NO_ERROR)


def test_a_drain_finishes_streams_and_takes_those_on_their_way(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    asked, go = threading.Event(), threading.Event()

    def slow(connection: RawConnection) -> None:
        while True:
            head = connection.read_request()
            if head.target == "/slow":
                asked.set()
                assert go.wait(20)
            connection.send(response(b"finished"))

    slow_upstream = raw_upstream(slow)
    server = gateway({"routes": [{"uri": "/*", "upstream": {"nodes": {slow_upstream.address: 1}}}]})
    with Http2Client(server.port) as idle, Http2Client(server.port) as busy:
        assert idle.get("/quick").status == 200
        stream = busy.request("/slow")
        assert asked.wait(10)
        os.kill(server.process.pid, signal.SIGTERM)
        assert idle.is_closed()
        assert idle.goaway == (1, NO_ERROR)
        while busy.goaway is None or busy.goaway[0] == MAX_WINDOW:
            assert busy.read()
        assert busy.goaway == (stream, NO_ERROR)
        go.set()
        assert busy.wait(stream).body == b"finished"
        assert busy.is_closed()
    assert server.stop() == 0
