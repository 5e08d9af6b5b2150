"""Limits on what a client may take in time and size: 408, 414, 431, 413, each with the connection closed."""

import time
from collections.abc import Callable

import pytest

from tests.servers.gateway import Gateway
from tests.servers.raw import RawConnection, RawUpstream, response

CONFIG = """
nginx_config:
  http: {client_header_timeout: 1s, client_body_timeout: 1s, keepalive_timeout: 1s, client_max_body_size: 100k}
bascule: {max_uri_bytes: 4k, max_head_bytes: 8k, max_header_fields: 50}
"""


@pytest.fixture(scope="module")
def served(echo: RawUpstream, module_gateway: Callable[..., Gateway]) -> Gateway:
    routes = {"routes": [{"id": "all", "uri": "/*", "upstream": {"nodes": {echo.address: 1}}}]}
    return module_gateway(routes, CONFIG)


def test_a_head_that_does_not_end_is_408(served: Gateway) -> None:
    with served.client() as client:
        started = time.monotonic()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        assert client.read_response().status == 408
        assert client.is_closed()
        assert 0.9 < time.monotonic() - started < 4


def test_dribbling_does_not_extend_the_time_for_a_head(served: Gateway) -> None:
    with served.client() as client:
        started = time.monotonic()
        client.sock.settimeout(0.2)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        while time.monotonic() - started < 5:
            try:
                client.send(b"X: y\r\n")
                if client._more():
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        assert time.monotonic() - started < 4
        assert client.received.startswith(b"HTTP/1.1 408 ")


def test_a_body_that_stalls_is_408(served: Gateway) -> None:
    with served.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        assert client.read_response().status == 408
        assert client.is_closed()


def test_an_idle_kept_alive_connection_is_closed_without_a_word(served: Gateway) -> None:
    with served.client() as client:
        assert client.request("GET", "/").status == 200
        assert client.is_closed(timeout_s=5)
        assert client.buffer == b""


def test_a_connection_that_never_asks_is_closed(served: Gateway) -> None:
    with served.client() as client:
        client.read_to_end()
        assert client.received == b"" or client.received.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("status", "head"),
    [
        (414, b"GET /" + b"a" * 5_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
        (414, b"GET /" + b"a" * 50_000),
        (431, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 9_000 + b"\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 50_000),
        (431, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 51 + b"\r\n"),
        (413, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 102401\r\n\r\n"),
        (413, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 102401\r\nExpect: 100-continue\r\n\r\n"),
    ],
    ids=["uri", "uri-endless", "field", "field-endless", "fields", "body", "body-expect"],
)
def test_what_is_too_big_is_refused_before_it_is_forwarded(
    status: int, head: bytes, served: Gateway, echo: RawUpstream
) -> None:
    before = echo.requests_seen
    with served.client() as client:
        client.send(head)
        assert client.read_response().status == status
        # At once, or when the rest of the body, read only to keep the connection, doesn't come within its time.
        assert client.is_closed(timeout_s=5)
    assert echo.requests_seen == before


def test_a_chunked_body_is_cut_where_the_limit_is_reached(served: Gateway, echo: RawUpstream) -> None:
    before = len(echo.requests_seen)
    with served.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"1000\r\n" + b"a" * 4096 + b"\r\n")
        try:
            for _ in range(30):
                client.send(b"1000\r\n" + b"a" * 4096 + b"\r\n")
        except ConnectionError:
            pass
        assert b"HTTP/1.1 413 " in client.read_to_end()
    new = echo.requests_seen[before:]
    assert b"\r\n0\r\n\r\n" not in new


def test_a_stalled_reader_holds_memory_flat(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    """20 clients ask for 50 MB each and don't read: backpressure reaches the upstream, the worker stays small."""
    block = b"x" * 65536

    def endless(connection: RawConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 52428800\r\n\r\n")
        for _ in range(800):
            connection.send(block)

    upstream = raw_upstream(endless)
    server = gateway({"routes": [{"id": "all", "uri": "/*", "upstream": {"nodes": {upstream.address: 1}}}]})
    before = server.resident_bytes()
    clients = [server.client(receive_buffer=16384) for _ in range(20)]
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    for client in clients:
        client.read_exactly(1000)
    upstream.wait_connections(20)
    time.sleep(1)  # the time in which an unbounded buffer would fill
    assert server.resident_bytes() - before < 20 * 1_000_000
    for client in clients:
        client.close()


def test_a_slow_upload_is_streamed_not_held(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    """The upstream sees the first part of a body before the client has sent the rest."""

    def first_part(connection: RawConnection) -> None:
        connection.read_head()
        connection.read_exactly(5)
        connection.send(b"HTTP/1.1 103 Early Hints\r\nX-Seen: 5\r\n\r\n")
        connection.read_exactly(5)
        connection.send(response(b"done"))

    upstream = raw_upstream(first_part)
    server = gateway({"routes": [{"id": "all", "uri": "/*", "upstream": {"nodes": {upstream.address: 1}}}]})
    with server.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
        assert client.read_response(informational=True).status == 103
        client.send(b"world")
        assert client.read_response().body == b"done"
