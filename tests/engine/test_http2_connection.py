"""Connections of HTTP/2 clients: how they begin, what they serve at once, how they end."""

import threading
from collections.abc import Callable, Iterator

import pytest

from tests.servers.gateway import Gateway
from tests.servers.http2 import (
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    PREFACE,
    Http2Client,
    frame,
    settings,
)
from tests.servers.raw import Message, RawConnection, RawUpstream, echoed, response
from tests.servers.switchboard import Switchboard

BLOCK = bytes(range(256)) * 256


@pytest.fixture(scope="module")
def served(board: Switchboard, echo: RawUpstream, module_gateway: Callable[..., Gateway]) -> Gateway:
    routes = [
        {"id": "echo", "uri": "/echo*", "upstream": {"nodes": {echo.address: 1}}},
        {"id": "all", "uri": "/*", "upstream": {"nodes": {board.address: 1}}},
    ]
    return module_gateway({"routes": routes})


@pytest.fixture
def client(served: Gateway) -> Iterator[Http2Client]:
    with Http2Client(served.port) as connection:
        yield connection


def test_the_connection_serves_many_requests_at_once_out_of_order(client: Http2Client, board: Switchboard) -> None:
    go = threading.Event()

    @board.on("/slow")
    def _(up: RawConnection, head: Message) -> None:
        assert go.wait(10)
        up.send(response(b"slow"))

    slow = client.request("/slow")
    streams = [client.request(f"/echo/{i}") for i in range(100)]
    for i, stream in enumerate(streams):
        assert echoed(client.wait(stream).body).first_line == f"GET /echo/{i}"
    assert not client.answers[slow].headers
    go.set()
    assert client.wait(slow).body == b"slow"


def test_the_end_of_a_connection_cancels_all_of_it(served: Gateway, board: Switchboard) -> None:
    gone = [threading.Event() for _ in range(5)]

    @board.on("/left")
    def _(up: RawConnection, head: Message) -> None:
        index = int(head.header("x-index") or 0)
        up.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        assert up.is_closed()
        gone[index].set()

    with Http2Client(served.port) as client:
        for stream in [client.request("/left", ("x-index", str(i))) for i in range(5)]:
            client.wait_head(stream)
    for event in gone:
        assert event.wait(10)


def test_settings_of_the_server(client: Http2Client) -> None:
    client.ping()
    assert client.peer_settings[MAX_CONCURRENT_STREAMS] == 128
    assert client.peer_settings[INITIAL_WINDOW_SIZE] == 65536
    while client.room[0] < 1 << 20:
        assert client.read()


def test_the_preface_may_come_in_pieces_and_requests_right_behind_it(served: Gateway) -> None:
    with Http2Client(served.port, preface=b"") as client:
        for byte in PREFACE:
            client.raw(bytes([byte]))
        client.raw(settings({}))
        assert client.get("/echo").status == 200
    with Http2Client(served.port, preface=b"") as client:
        block = client.block([(":method", "GET"), (":scheme", "http"), (":path", "/echo"), (":authority", "a")])
        client.raw(PREFACE, settings({}), frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
        assert client.wait(1).status == 200


def test_http_1_goes_on_beside_it(served: Gateway) -> None:
    with served.client() as old:
        old.send(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
        assert old.read_response().status == 200
        old.send(PREFACE)  # in the middle of a connection it is a request of a version that isn't served
        assert old.read_response().status == 505
    with served.client() as old:
        old.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
        assert old.read_response().status == 505
    with served.client() as old:
        old.send(b"PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert old.read_response().status == 200


def test_a_goaway_of_the_client_ends_the_connection_after_its_streams(client: Http2Client, board: Switchboard) -> None:
    go = threading.Event()

    @board.on("/last")
    def _(up: RawConnection, head: Message) -> None:
        assert go.wait(10)
        up.send(response(b"last"))

    stream = client.request("/last")
    client.raw(frame(GOAWAY, 0, 0, bytes(8)))
    while client.goaway is None:
        assert client.read()
    go.set()
    assert client.wait(stream).body == b"last"
    assert client.is_closed()
