"""HTTP/2 towards upstreams: requests, flow control, cancellation, and ends of streams."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from h2.events import DataReceived, StreamEnded, StreamReset

from tests.engine.http2_bench import Bench
from tests.servers.http2_peer import (
    CANCEL,
    INTERNAL_ERROR,
    NO_ERROR,
    REFUSED_STREAM,
    Http2Peer,
    answering,
)
from tests.servers.nginx import Nginx
from tests.servers.raw import Closed, Message, RawClient, RawConnection, RawUpstream

Play = Callable[..., RawUpstream]


def test_nginx_over_http2(bench: Bench, nginx: Callable[[str], Nginx], tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "big.bin").write_bytes(bytes(range(256)) * 20_000)
    server = nginx(
        "server { listen 127.0.0.1:$PORT http2; client_max_body_size 0;"
        f" location ~ /big$ {{ alias {tmp_path}/big.bin; }}"
        " location ~ /no$ { return 204; }"
        ' location / { return 200 "$request_method $host $server_protocol $connection"; } }'
    )
    path = bench.route(server.address)
    with bench.gateway.client() as client:
        first = client.request("GET", path, [("Host", "a.example")])
        assert first.first_line == "HTTP/1.1 200 OK"
        assert first.body.startswith(b"GET a.example HTTP/2.0 ")
        assert client.request("GET", path, [("Host", "a.example")]).body == first.body  # the same connection
        assert client.request("POST", path, body=b"x" * 1_000_000).status == 200
        chunked = b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        client.send(chunked % path.encode())
        assert client.read_response().status == 200
        big = client.request("GET", f"{path}/big")
        assert (big.header("content-length"), len(big.body)) == ("5120000", 5_120_000)
        assert big.body[1_000_000:1_000_256] == (bytes(range(256)) * 2)[1_000_000 % 256 :][:256]
        head = client.request("HEAD", f"{path}/big")
        assert (head.header("content-length"), head.body) == ("5120000", b"")
        assert client.request("GET", f"{path}/no").status == 204
        assert client.request("GET", f"{path}/big", [("If-None-Match", big.header("etag") or "")]).status == 304
        assert client.request("GET", path).status == 200


def test_what_the_upstream_sees(bench: Bench, http2_upstream: Play) -> None:
    seen = []

    def script(peer: Http2Peer) -> None:
        while True:
            request = peer.read_request()
            seen.append(request)
            peer.respond(request.stream)

    path = bench.route(http2_upstream(script).address)
    with bench.gateway.client() as client:
        client.request("GET", f"{path}?q=1", [("Host", "b.example"), ("X-One", "  two "), ("Connection", "x-drop")])
        fields = [("X-Drop", "1"), ("Connection", "x-drop, keep-alive"), ("Keep-Alive", "9"), ("TE", "trailers")]
        client.request("POST", path, fields, b"body")
        client.send(b"PUT %b HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\n\r\n" % path.encode())
        client.send(b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n")
        assert client.read_response().status == 200
    get, post, put = seen
    assert get.headers[:4] == [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", f"{path}?q=1"),
        (":authority", "b.example"),
    ]
    assert get.header("x-one") == "two"
    assert get.header("x-forwarded-for") == "127.0.0.1"
    names = {name for name, _ in [*get.headers, *post.headers, *put.headers]}
    assert not names & {"host", "connection", "keep-alive", "transfer-encoding", "x-drop"}
    assert (post.header("te"), get.header("te")) == ("trailers", None)
    assert (post.header("content-length"), post.body) == ("4", b"body")
    assert (put.header("content-length"), put.body) == (None, b"abcde")


def test_trailers_and_interim_responses(bench: Bench, http2_upstream: Play) -> None:
    def script(peer: Http2Peer) -> None:
        request = peer.read_request()
        peer.head(request.stream, (":status", "103"), ("link", "</a>; rel=preload"))
        trailers = [("x-sum", "42"), ("content-type", "a/b"), ("x-none", "")]
        peer.respond(request.stream, b"hello", headers=[("x-a", "b")], trailers=trailers)
        peer.wait_closed()

    path = bench.route(http2_upstream(script).address)
    with bench.gateway.client() as client:
        client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
        early = client.read_response(informational=True)
        assert (early.status, early.header("link")) == (103, "</a>; rel=preload")
        answer = client.read_response()
        assert (answer.status, answer.header("x-a"), answer.body) == (200, "b", b"hello")
        assert answer.trailers == [("x-sum", "42"), ("x-none", "")]


def test_trailers_of_a_chunked_request(bench: Bench, http2_upstream: Play) -> None:
    path = bench.route(http2_upstream(answering_trailers).address)
    head = b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % path.encode()
    with bench.gateway.client() as client:
        for pieces in (
            [b"3\r\nabc\r\n0\r\nX-Sum: 42\r\nx-b:c\r\n\r\n"],
            [b"3\r\nabc\r\n0\r\nX-Su", b"m: 42\r\nx-b:c\r\n", b"\r\n"],
        ):
            client.send(head)
            for piece in pieces:
                client.send(piece)
                time.sleep(0.02)
            assert client.read_response().body == b"abc [('x-sum', '42'), ('x-b', 'c')]"
        client.send(head + b"3\r\nabc\r\n0\r\n\r\n")
        assert client.read_response().body == b"abc []"


def answering_trailers(peer: Http2Peer) -> None:
    while True:
        request = peer.read_request()
        peer.respond(request.stream, request.body + b" %b" % str(request.trailers).encode())


@pytest.mark.parametrize("way", ["goaway", "refused"])
def test_what_was_not_processed_is_sent_again(way: str, bench: Bench, http2_upstream: Play) -> None:
    """Also a POST, and with a single node."""

    def script(peer: Http2Peer) -> None:
        request = peer.read_request()
        if way == "goaway":
            peer.goaway(0)
        else:
            peer.reset(request.stream, REFUSED_STREAM)
        peer.wait_closed()

    upstream = http2_upstream(script, answering)
    path = bench.route(upstream.address)
    assert bench.get(path, "POST", b"hello").body == b"hello"
    assert len(upstream.connections) == 2


def test_a_body_that_a_plugin_held_is_sent_again(bench: Bench, http2_upstream: Play) -> None:
    def script(peer: Http2Peer) -> None:
        for _ in range(2):
            peer.reset(peer.read_request().stream, REFUSED_STREAM)
        answering(peer)

    upstream = http2_upstream(script, answering)
    reads = {"request-validation": {"body_schema": {"type": "object"}}}
    path = bench.route(upstream.address, plugins=reads)
    with bench.gateway.client() as client:
        for framing in (b"Content-Length: 7\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n7\r\n"):
            head = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" % path.encode()
            end = b"\r\n0\r\n\r\n" if b"chunked" in framing else b""
            client.send(head + framing + b'{"a":1}' + end)
            answer = client.read_response()
            assert (answer.status, answer.body) == (200, b'{"a":1}')
    assert len(upstream.connections) == 3


def test_an_upstream_that_always_refuses_is_not_asked_for_ever(bench: Bench, http2_upstream: Play) -> None:
    def script(peer: Http2Peer) -> None:
        while True:
            peer.reset(peer.read_request().stream, REFUSED_STREAM)

    upstream = http2_upstream(script)
    path = bench.route(upstream.address)
    assert bench.get(path, "POST", b"hello").status == 502
    assert len(upstream.connections) == 2


def test_a_retry_policy_holds_for_statuses(bench: Bench, http2_upstream: Play) -> None:
    def script(peer: Http2Peer) -> None:
        for _ in range(2):
            peer.respond(peer.read_request().stream, b"busy", status=503)
        answering(peer)

    upstream = http2_upstream(script)
    policy = {"on": [503], "methods": ["GET", "POST"]}
    path = bench.route(upstream.address, retries=2, retry_policy=policy)
    assert bench.get(path, "POST", b"hello").body == b"hello"
    assert len(upstream.connections) == 1


def test_a_reset_stream_fails_its_exchange_alone(bench: Bench, http2_upstream: Play) -> None:
    def script(peer: Http2Peer) -> None:
        one, other = sorted((peer.read_request() for _ in range(2)), key=lambda r: r.header(":path") or "")
        peer.reset(one.stream, INTERNAL_ERROR)
        peer.respond(other.stream, b"whole")
        request = peer.read_request()
        peer.head(request.stream, (":status", "200"))
        peer.h2.send_data(request.stream, b"begun")
        peer.reset(request.stream, INTERNAL_ERROR)
        answering(peer)

    upstream = http2_upstream(script)
    path = bench.route(upstream.address, retries=0)
    with bench.gateway.client() as one, bench.gateway.client() as other:
        one.send(b"POST %b/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx" % path.encode())
        other.send(b"POST %b/2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx" % path.encode())
        assert one.read_response().status == 502
        assert other.read_response().body == b"whole"
        with pytest.raises((Closed, ConnectionError)):  # never passed off as whole
            one.request("GET", path)
    assert bench.get(path).status == 200
    assert len(upstream.connections) == 1


def test_an_early_answer_stops_the_upload(bench: Bench, http2_upstream: Play) -> None:
    """The response is whole, then RST_STREAM with NO_ERROR (RFC 9113, section 8.1)."""

    def script(peer: Http2Peer) -> None:
        request = peer.read_head()
        peer.respond(request.stream, b"enough", 413)
        peer.reset(request.stream, NO_ERROR)
        answering(peer)

    upstream = http2_upstream(script)
    path = bench.route(upstream.address)
    with bench.gateway.client() as client:
        client.send(b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n" % path.encode())
        answer = client.read_response()
        assert (answer.status, answer.body) == (413, b"enough")
        client.send(b"x" * 500_000)
        assert client.request("GET", path).body == b"ok"
    assert len(upstream.connections) == 1


def test_a_client_that_goes_cancels_its_stream(bench: Bench, http2_upstream: Play) -> None:
    codes: list[int] = []
    begun, cancelled = threading.Event(), threading.Event()

    def script(peer: Http2Peer) -> None:
        for answers in (False, True):
            request = peer.read_request()
            if answers:
                peer.head(request.stream, (":status", "200"))
                peer.h2.send_data(request.stream, b"begun")
                peer.flush()
            begun.set()
            codes.append(peer.next(StreamReset, stream=request.stream).error_code)
            cancelled.set()
        answering(peer)

    upstream = http2_upstream(script)
    path = bench.route(upstream.address)
    for answers in (False, True):
        begun.clear()
        cancelled.clear()
        with bench.gateway.client() as client:
            client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
            if answers:
                client.read_until(b"begun")
            assert begun.wait(20)
        assert cancelled.wait(20)
    assert codes == [CANCEL, CANCEL]
    assert bench.get(path).body == b"ok"
    assert len(upstream.connections) == 1


def test_a_slow_client_holds_up_its_own_stream_only(bench: Bench, http2_upstream: Play) -> None:
    stalled = threading.Event()
    total = 8 << 20

    def script(peer: Http2Peer) -> None:
        slow = peer.read_request()
        peer.head(slow.stream, (":status", "200"), ("content-length", str(total)))
        left = total
        while left and not stalled.is_set():
            room = min(peer.h2.local_flow_control_window(slow.stream), 16384)
            if room:
                peer.h2.send_data(slow.stream, b"x" * room)
                peer.flush()
                left -= room
            else:  # the other one goes by
                quick = peer.read_request()
                peer.respond(quick.stream, b"q" * 600_000)
                stalled.set()
        peer.events.clear()
        while left:
            room = min(peer.h2.local_flow_control_window(slow.stream), 16384, left)
            if room:
                peer.h2.send_data(slow.stream, b"x" * room, end_stream=room == left)
                peer.flush()
                left -= room
            else:
                peer._more()
        answering(peer)

    path = bench.route(http2_upstream(script).address)
    with bench.gateway.client(receive_buffer=4096) as client:
        client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
        assert client.read_head().status == 200
        quick: list[Message] = []
        # It begins when the slow one's window is used up, or before: either way it isn't held up.
        other = threading.Thread(target=lambda: quick.append(bench.get(path)))
        other.start()
        assert stalled.wait(30)
        other.join(30)
        assert len(quick[0].body) == 600_000
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        assert len(client.read_exactly(total)) == total


def test_a_window_that_never_opens_is_504(bench: Bench, http2_upstream: Play) -> None:
    def script(peer: Http2Peer) -> None:
        peer.read_head()
        peer.wait_closed()

    timeout = {"connect": 5, "send": 0.5, "read": 30}
    path = bench.route(http2_upstream(script).address, timeout=timeout, retries=0)
    with bench.gateway.client() as client:
        client.send(b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" % path.encode())
        client.send(b"x" * 200_000)
        assert client.read_response().status == 504


def test_an_upload_goes_at_the_upstreams_pace(bench: Bench, http2_upstream: Play) -> None:
    """What the window doesn't let through stays in the client's hands, save for buffers on the way."""
    may_read = threading.Event()
    total = 16 << 20

    def script(peer: Http2Peer) -> None:
        request = peer.read_head()
        may_read.wait(30)
        size = 0
        while not isinstance(event := peer.next(DataReceived, StreamEnded, stream=request.stream), StreamEnded):
            size += len(event.data)
            peer.h2.acknowledge_received_data(event.flow_controlled_length, request.stream)
            peer.flush()
        peer.respond(request.stream, str(size).encode())
        peer.wait_closed()

    path = bench.route(http2_upstream(script).address)
    with bench.gateway.client() as client:
        client.send(b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (path.encode(), total))
        client.sock.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < total:
                sent += client.sock.send(b"x" * min(65536, total - sent))
        assert sent < total
        client.sock.settimeout(30)
        may_read.set()
        client.sock.sendall(b"x" * (total - sent))
        assert client.read_response().body == str(total).encode()


def test_no_answer_in_time_is_504(bench: Bench, http2_upstream: Play) -> None:
    def script(peer: Http2Peer) -> None:
        while True:
            peer.read_request()

    upstream = http2_upstream(script)
    path = bench.route(upstream.address, timeout={"connect": 5, "send": 5, "read": 0.2}, retries=0)
    assert [bench.get(path).status for _ in range(2)] == [504, 504]
    assert len(upstream.connections) == 1


def test_websockets_go_over_http1(bench: Bench, raw_upstream: Callable[..., RawUpstream]) -> None:
    """An upgrade has no place in HTTP/2: the connection for it speaks HTTP/1.1."""

    def script(connection: RawConnection) -> None:
        connection.read_head()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
        connection.send(connection.read_exactly(5))

    path = bench.route(raw_upstream(script).address)
    bench._routes[path]["enable_websocket"] = True
    bench.gateway.reload({"routes": list(bench._routes.values())})
    with RawClient(bench.gateway.port) as client:
        client.send(b"GET %b HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n" % path.encode())
        assert client.read_head().status == 101
        client.send(b"hello")
        assert client.read_exactly(5) == b"hello"
