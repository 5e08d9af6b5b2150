"""Streams of HTTP/2 clients: requests, bodies both ways, flow control, trailers, cancellation."""

import json
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.servers.gateway import Gateway
from tests.servers.http2 import (
    CANCEL,
    INITIAL_WINDOW_SIZE,
    INTERNAL_ERROR,
    NO_ERROR,
    Http2Client,
    rst_stream,
    settings,
    window_update,
)
from tests.servers.raw import Message, RawConnection, RawUpstream, echoed, response
from tests.servers.switchboard import Switchboard, body_of

BLOCK = bytes(range(256)) * 256


@pytest.fixture(scope="module")
def served(board: Switchboard, echo: RawUpstream, module_gateway: Callable[..., Gateway]) -> Gateway:
    timeout = {"connect": 2, "send": 30, "read": 30}
    routes = [
        {"id": "echo", "uri": "/echo*", "upstream": {"nodes": {echo.address: 1}}},
        {
            "id": "filtered",
            "uri": "/filtered/*",
            "plugins": {"response-rewrite": {"filters": [{"regex": "hello", "replace": "bye"}]}},
            "upstream": {"nodes": {board.address: 1}},
        },
        {
            "id": "checked",
            "uri": "/checked",
            "plugins": {"request-validation": {"body_schema": {"type": "object", "required": ["a"]}}},
            "upstream": {"nodes": {echo.address: 1}},
        },
        {"id": "down", "uri": "/down", "upstream": {"nodes": {"127.0.0.1:9": 1}}},
        {"id": "variables", "uri": "/variables", "plugins": {"mocking": {"response_example": "$server_protocol"}}},
        {"id": "all", "uri": "/*", "upstream": {"nodes": {board.address: 1}, "timeout": timeout}},
    ]
    config = {
        "nginx_config": {
            "http": {"client_max_body_size": "0", "access_log_format": '$http2 "$request" $status $body_bytes_sent'}
        }
    }
    return module_gateway({"routes": routes}, config)


@pytest.fixture
def client(served: Gateway) -> Iterator[Http2Client]:
    with Http2Client(served.port) as connection:
        yield connection


def test_cookies_that_came_apart_are_joined(client: Http2Client) -> None:
    request = echoed(client.get("/echo", ("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")).body)
    assert request.header_values("cookie") == ["a=1; b=2; c=3"]


def test_host_alone_and_host_beside_authority(client: Http2Client) -> None:
    assert echoed(client.get("/echo", ("host", "B.example"), authority=None).body).header("Host") == "B.example"
    same = client.get("/echo", ("host", "B.EXAMPLE"), authority="b.example")
    assert echoed(same.body).header_values("Host") == ["b.example"]
    other = client.get("/echo", ("host", "c.example"), authority="b.example")
    assert other.status == 400


def test_methods_that_say_a_length_say_none(client: Http2Client) -> None:
    assert echoed(client.get("/echo", method="POST").body).header("Content-Length") == "0"
    assert echoed(client.get("/echo", method="DELETE").body).header("Content-Length") is None


def test_head_has_no_body(client: Http2Client, board: Switchboard) -> None:
    @board.on("/head")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")

    answer = client.get("/head", method="HEAD")
    assert (answer.status, answer.header("content-length"), answer.body, answer.ended) == (200, "5", b"", True)


def test_statuses_without_a_body(client: Http2Client, board: Switchboard) -> None:
    @board.on("/nothing")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 204 No Content\r\nX-Kept: 1\r\n\r\n")

    @board.on("/empty")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    answer = client.get("/nothing")
    assert (answer.status, answer.header("x-kept"), answer.ended) == (204, "1", True)
    answer = client.get("/empty")
    assert (answer.status, answer.header("content-length"), answer.ended) == (200, "0", True)


def test_errors_of_the_gateway_end_the_stream_only(client: Http2Client) -> None:
    assert client.get("/down").status == 502
    answer = client.get("/nowhere/" + "x", method="CONNECT", pseudo=[(":method", "CONNECT"), (":authority", "a:80")])
    assert answer.status == 405
    assert client.get("/echo").status == 200


@pytest.mark.parametrize("sized", [True, False])
def test_request_bodies(client: Http2Client, board: Switchboard, sized: bool) -> None:
    requests: list[Message] = []

    @board.on("/upload")
    def _(up: RawConnection, head: Message) -> None:
        requests.append(body_of(up, head))
        up.send(response(b"taken"))

    body = BLOCK * 10
    fields = [("content-length", str(len(body)))] if sized else []
    assert client.get("/upload", *fields, method="PUT", body=body).body == b"taken"
    assert requests[-1].body == body
    assert requests[-1].header("Content-Length") == (str(len(body)) if sized else None)
    assert requests[-1].header("Transfer-Encoding") == (None if sized else "chunked")


def test_an_empty_body_of_unknown_length(client: Http2Client, board: Switchboard) -> None:
    requests: list[Message] = []

    @board.on("/empty-upload")
    def _(up: RawConnection, head: Message) -> None:
        requests.append(body_of(up, head))
        up.send(response(b"taken"))

    assert client.get("/empty-upload", method="POST", body=b"").body == b"taken"
    assert requests[-1].body == b""
    stream = client.request("/empty-upload", ("content-length", "0"), method="POST", end=False)
    client.data(stream, b"", end=True)
    assert client.wait(stream).body == b"taken"


def test_request_trailers_go_on_as_chunk_trailers(client: Http2Client, board: Switchboard) -> None:
    requests: list[Message] = []

    @board.on("/trailing")
    def _(up: RawConnection, head: Message) -> None:
        requests.append(body_of(up, head))
        up.send(response(b"ok"))

    stream = client.request("/trailing", method="POST", body=b"abc", end=False)
    client.headers(stream, [("x-end", "7")], end=True)
    assert client.wait(stream).status == 200
    assert (requests[-1].body, requests[-1].trailers) == (b"abc", [("x-end", "7")])


def test_a_slow_upstream_holds_up_its_own_stream_only(served: Gateway, client: Http2Client, board: Switchboard) -> None:
    go = threading.Event()
    total = 12_000_000
    received = bytearray()

    @board.on("/stalled")
    def _(up: RawConnection, head: Message) -> None:
        assert go.wait(10)
        while len(received) < total:
            received.extend(up.read_some())
        up.send(response(b"all"))

    client.ping()
    stream = client.request("/stalled", ("content-length", str(total)), method="POST", end=False)
    before = served.resident_bytes()
    sent = 0
    while True:  # until the windows stay shut
        client.ping()
        room = min(client._room(stream), client.room[0])
        if room <= 0:
            break
        client.data(stream, b"x" * room)
        sent += room
    assert sent < total - 1_000_000  # what the kernel's buffers hold, and no more
    assert served.resident_bytes() - before < 8_000_000
    assert client.get("/echo").status == 200
    other = client.get("/echo/other", method="POST", body=b"y" * 200_000)
    assert other.status == 200
    go.set()
    client.data(stream, b"x" * (total - sent), end=True)
    assert client.wait(stream).body == b"all"
    assert len(received) == total


def test_a_plugin_that_needs_the_body_gets_it(client: Http2Client) -> None:
    good, bad = b'{"a": "' + b"x" * 100_000 + b'"}', b"{}"
    answer = client.get("/checked", ("content-type", "application/json"), method="POST", body=good)
    assert answer.status == 200
    assert json.loads(echoed(answer.body).body) == json.loads(good)
    assert client.get("/checked", ("content-type", "application/json"), method="POST", body=bad).status == 400


def test_expect_is_answered_by_who_takes_the_body(client: Http2Client, board: Switchboard) -> None:
    @board.on("/expect")
    def _(up: RawConnection, head: Message) -> None:
        assert head.header("Expect") == "100-continue"
        up.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body_of(up, head)
        up.send(response(b"ok"))

    stream = client.request("/expect", ("expect", "100-continue"), method="POST", end=False)
    while not client.answers[stream].interim:
        assert client.read()
    client.data(stream, b"hello", end=True)
    assert client.wait(stream).body == b"ok"
    assert client.answers[stream].interim == [[(":status", "100")]]


def test_early_hints_pass(client: Http2Client, board: Switchboard) -> None:
    @board.on("/hints")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nX: 1\r\n\r\n", response(b"ok"))

    answer = client.get("/hints")
    assert answer.interim == [[(":status", "103"), ("link", "</a>")]]
    assert answer.body == b"ok"


def test_an_answer_before_the_end_of_the_body_ends_the_stream(client: Http2Client) -> None:
    stream = client.request(
        "/nowhere.else",
        method="CONNECT",
        end=False,
        pseudo=[(":method", "POST"), (":scheme", "http"), (":path", "/down"), (":authority", "a")],
    )
    client.data(stream, b"x" * 1000)
    answer = client.wait(stream)
    assert answer.status == 502
    while answer.reset is None:
        assert client.read()
    assert (answer.ended, answer.reset) == (True, NO_ERROR)
    assert client.get("/echo").status == 200


def test_large_bodies_of_known_and_unknown_length(client: Http2Client, board: Switchboard) -> None:
    @board.on("/sized")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(BLOCK) * 50), BLOCK * 50)

    @board.on("/chunked")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(50):
            up.send(b"%x\r\n" % len(BLOCK) + BLOCK + b"\r\n")
        up.send(b"0\r\n\r\n")

    @board.on("/closing")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 200 OK\r\n\r\n", BLOCK * 50)
        up.close()

    streams = [client.request(path) for path in ("/sized", "/chunked", "/closing")]
    for stream in streams:
        answer = client.wait(stream)
        assert (answer.status, answer.body == BLOCK * 50, answer.ended) == (200, True, True)
        assert answer.header("transfer-encoding") is None


def test_response_trailers(client: Http2Client, board: Switchboard) -> None:
    @board.on("/trailers")
    def _(up: RawConnection, head: Message) -> None:
        up.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n",
            b"5\r\nhello\r\n0\r\nX-Sum: 42\r\nX-More: b\r\n\r\n",
        )

    board.handlers["/filtered/trailers"] = board.handlers["/trailers"]
    for path, body in (("/trailers", b"hello"), ("/filtered/trailers", b"bye")):
        answer = client.get(path)
        assert (answer.body, answer.trailers) == (body, [("x-sum", "42"), ("x-more", "b")])


def test_a_client_that_takes_little_holds_up_its_stream_only(served: Gateway, board: Switchboard) -> None:
    sent = threading.Event()

    @board.on("/flood")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(300):
            up.send(b"%x\r\n" % len(BLOCK) + BLOCK + b"\r\n")
        up.send(b"0\r\n\r\n")
        sent.set()

    with Http2Client(served.port, windows=False) as client:
        client.raw(window_update(0, 100_000_000))
        before = served.resident_bytes()
        stream = client.request("/flood")
        while len(client.answers.get(stream, client.answers[stream]).body) < 65535:
            assert client.read()
        assert client.get("/echo").status == 200  # its own window is open
        assert not sent.wait(0.3)
        assert len(client.answers[stream].body) == 65535
        assert served.resident_bytes() - before < 8_000_000
        client.raw(window_update(stream, 100_000_000))
        answer = client.wait(stream)
        assert len(answer.body) == 300 * len(BLOCK)
        assert sent.wait(10)


def test_windows_that_open_and_shrink_while_responses_run(served: Gateway, board: Switchboard) -> None:
    @board.on("/shrinking")
    def _(up: RawConnection, head: Message) -> None:
        up.send(response(BLOCK * 4))

    with Http2Client(served.port, values={INITIAL_WINDOW_SIZE: 10}, windows=False) as client:
        stream = client.request("/shrinking")
        while len(client.answers[stream].body) < 10:
            assert client.read()
        client.raw(settings({INITIAL_WINDOW_SIZE: 5}), window_update(stream, 3))  # 5 less, 3 more: still shut
        client.ping()
        assert len(client.answers[stream].body) == 10
        client.raw(
            settings({INITIAL_WINDOW_SIZE: 65535}), window_update(0, 1_000_000), window_update(stream, 1_000_000)
        )
        assert client.wait(stream).body == BLOCK * 4


def test_a_reset_by_the_client_cancels_the_exchange(served: Gateway, client: Http2Client, board: Switchboard) -> None:
    cancelled = threading.Event()
    begun = threading.Event()

    @board.on("/cancelled")
    def _(up: RawConnection, head: Message) -> None:
        begun.set()
        assert up.is_closed()
        cancelled.set()

    stream = client.request("/cancelled")
    assert begun.wait(10)
    client.raw(rst_stream(stream, CANCEL))
    assert cancelled.wait(10)
    assert client.get("/echo").status == 200
    assert '/cancelled HTTP/2.0" 499' in served.access_log(1)


@pytest.mark.parametrize("length", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
def test_a_response_that_breaks_off_resets_the_stream(client: Http2Client, board: Switchboard, length: bytes) -> None:
    @board.on("/broken")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n\r\n5\r\nhello\r\n")
        up.close()

    answer = client.get("/broken")
    assert (answer.status, answer.ended, answer.reset) == (200, False, INTERNAL_ERROR)
    assert client.get("/echo").status == 200
