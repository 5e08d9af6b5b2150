"""HTTP/2 towards upstreams: multiplexing, flow control, cancellation, ends of streams and connections, and peers that
break the protocol."""

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from h2.events import DataReceived, StreamEnded, StreamReset

from tests.servers.gateway import Gateway
from tests.servers.http2_peer import (
    ACK,
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INTERNAL_ERROR,
    NO_ERROR,
    PING,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Http2Peer,
    answering,
    frame,
    speaks_http2,
)
from tests.servers.nginx import Nginx
from tests.servers.ports import free_port
from tests.servers.raw import Closed, Message, RawClient, RawConnection, RawUpstream

Play = Callable[..., RawUpstream]


class Bench:
    """One gateway for the file; each test gives its upstream a route of its own, under a path of its own."""

    def __init__(self, gateway: Gateway):
        self.gateway = gateway
        self._routes: dict[str, dict[str, Any]] = {}
        self._names = map("/t{}".format, itertools.count())

    def route(self, *addresses: str, plugins: dict[str, Any] | None = None, **upstream: Any) -> str:
        """The path prefix of a new route."""
        path = next(self._names)
        conf = {"http2": True, "nodes": dict.fromkeys(addresses, 1), **upstream}
        self._routes[path] = {"id": path[1:], "uri": f"{path}*", "upstream": conf, "plugins": plugins or {}}
        self.gateway.reload({"routes": list(self._routes.values())})
        return path

    def get(self, path: str, method: str = "GET", body: bytes = b"") -> Message:
        with self.gateway.client() as client:
            client.sock.settimeout(50)
            return client.request(method, path, body=body)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    config = {"nginx_config": {"http": {"client_max_body_size": "0"}}}
    server = Gateway(tmp_path_factory.mktemp("http2-upstream"), config=config)
    yield Bench(server)
    assert "internal error" not in server.log
    assert server.stop() == 0


@pytest.fixture
def http2_upstream(raw_upstream: Callable[..., RawUpstream]) -> Play:
    """http2_upstream(script, ..., max_concurrent_streams=2): connections play the scripts, the last one for ever."""

    def start(*scripts: Callable[[Http2Peer], None], **settings: int) -> RawUpstream:
        return raw_upstream(*(speaks_http2(script, **settings) for script in scripts or (answering,)))

    return start


# ---- requests and responses


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


def test_many_exchanges_share_a_connection(bench: Bench, http2_upstream: Play) -> None:
    def script(peer: Http2Peer) -> None:
        requests = [peer.read_request() for _ in range(20)]
        for request in reversed(requests):
            peer.respond(request.stream, (request.header(":path") or "").encode())
        answering(peer)

    upstream = http2_upstream(script)
    path = bench.route(upstream.address)
    with ExitStack() as stack:
        clients = [stack.enter_context(bench.gateway.client()) for _ in range(20)]
        for number, client in enumerate(clients):
            client.send(b"GET %b/%d HTTP/1.1\r\nHost: a\r\n\r\n" % (path.encode(), number))
        for number, client in enumerate(clients):
            assert client.read_response().body == b"%b/%d" % (path.encode(), number)
    assert len(upstream.connections) == 1


def test_the_peers_limit_of_streams_is_kept(bench: Bench, http2_upstream: Play) -> None:
    most = []

    def script(peer: Http2Peer) -> None:
        peer.respond(peer.read_request().stream)
        first = peer.read_request()
        second = peer.read_request()
        most.append(peer.h2.open_inbound_streams)
        peer.respond(first.stream)
        peer.respond(second.stream)
        answering(peer)

    upstream = http2_upstream(script, max_concurrent_streams=2)
    path = bench.route(upstream.address)
    assert bench.get(path).status == 200  # its settings are known now
    with ExitStack() as stack:
        clients = [stack.enter_context(bench.gateway.client()) for _ in range(2)]
        for client in clients:
            client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
        assert [client.read_response().status for client in clients] == [200, 200]
    assert (most, len(upstream.connections)) == ([2], 1)


def test_a_full_connection_gets_a_second_beside_it(bench: Bench, http2_upstream: Play) -> None:
    both = threading.Barrier(2, timeout=20)

    def script(peer: Http2Peer) -> None:
        peer.respond(peer.read_request().stream)
        request = peer.read_request()
        both.wait()
        peer.respond(request.stream)
        answering(peer)

    def beside(peer: Http2Peer) -> None:
        request = peer.read_request()
        both.wait()
        peer.respond(request.stream)
        peer.wait_closed()

    upstream = http2_upstream(script, beside, max_concurrent_streams=1)
    path = bench.route(upstream.address)
    assert bench.get(path).status == 200
    with bench.gateway.client() as one, bench.gateway.client() as other:
        for client in (one, other):
            client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
        assert [client.read_response().status for client in (one, other)] == [200, 200]
    assert len(upstream.connections) == 2


# ---- ends


def test_keepalive_pool_limits(bench: Bench, http2_upstream: Play) -> None:
    upstream = http2_upstream()
    path = bench.route(upstream.address, keepalive_pool={"size": 10, "requests": 3, "idle_timeout": 60})
    assert [bench.get(path).status for _ in range(7)] == [200] * 7
    assert len(upstream.connections) == 3
    upstream = http2_upstream()
    path = bench.route(upstream.address, keepalive_pool={"size": 10, "requests": 100, "idle_timeout": 0})
    assert [bench.get(path, "POST", b"x").status for _ in range(3)] == [200] * 3
    assert len(upstream.connections) == 3


def test_idle_connections_close_in_order(bench: Bench, http2_upstream: Play) -> None:
    gone = threading.Event()

    def script(peer: Http2Peer) -> None:
        peer.respond(peer.read_request().stream)
        peer.wait_closed()
        gone.set()

    path = bench.route(http2_upstream(script).address, keepalive_pool={"size": 1, "requests": 9, "idle_timeout": 0.2})
    assert bench.get(path).status == 200
    assert gone.wait(20)


def test_goaway_ends_the_connection_after_its_streams(bench: Bench, http2_upstream: Play) -> None:
    def script(peer: Http2Peer) -> None:
        request = peer.read_request()
        peer.goaway(request.stream)
        peer.respond(request.stream, b"first")
        peer.wait_closed()

    upstream = http2_upstream(script, answering)
    path = bench.route(upstream.address)
    assert [bench.get(path).body for _ in range(3)] == [b"first", b"ok", b"ok"]
    assert len(upstream.connections) == 2


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


def test_a_proxy_header_goes_before_a_connection_of_one_client(
    bench: Bench, raw_upstream: Callable[..., RawUpstream]
) -> None:
    heads = []

    def script(connection: RawConnection) -> None:
        heads.append(connection.read_until(b"\r\n"))
        answering(Http2Peer(connection))

    upstream = raw_upstream(script)
    path = bench.route(upstream.address, proxy_protocol="v1")
    with bench.gateway.client() as client:
        assert [client.request("POST", path, body=b"x").body for _ in range(2)] == [b"x", b"x"]
    assert [head[:20] for head in heads] == [b"PROXY TCP4 127.0.0.1"] * 2


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


def test_a_lost_connection(bench: Bench, http2_upstream: Play) -> None:
    def dies(peer: Http2Peer) -> None:
        peer.read_request()
        peer.close()

    def cuts(peer: Http2Peer) -> None:
        request = peer.read_request()
        peer.head(request.stream, (":status", "200"))
        peer.h2.send_data(request.stream, b"begun")
        peer.flush()
        peer.close()

    path = bench.route(http2_upstream(dies).address)
    assert bench.get(path, "POST", b"x").status == 502
    path = bench.route(http2_upstream(cuts).address)
    with pytest.raises((Closed, ConnectionError)):
        bench.get(path)
    # A request that may be sent twice goes to the other node.
    path = bench.route(http2_upstream(dies).address, http2_upstream(answering).address)
    assert [bench.get(path).body for _ in range(2)] == [b"ok", b"ok"]


def test_a_kept_connection_that_closed_costs_no_request(bench: Bench, http2_upstream: Play) -> None:
    closed = threading.Event()

    def script(peer: Http2Peer) -> None:
        peer.respond(peer.read_request().stream)
        peer.close()
        closed.set()

    upstream = http2_upstream(script)
    path = bench.route(upstream.address)
    for method in ("GET", "POST", "GET", "POST"):
        closed.clear()
        assert bench.get(path, method, b"x" if method == "POST" else b"").status == 200
        assert closed.wait(20)


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


# ---- flow control and time


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


def test_nobody_listens(bench: Bench, http2_upstream: Play) -> None:
    path = bench.route(f"127.0.0.1:{free_port()}")
    assert bench.get(path, "POST", b"x").status == 502
    path = bench.route(f"127.0.0.1:{free_port()}", http2_upstream(answering).address)
    assert [bench.get(path, "POST", b"x").body for _ in range(4)] == [b"x"] * 4


def test_an_upstream_that_speaks_http1_is_502(bench: Bench, raw_upstream: Callable[..., RawUpstream]) -> None:
    def script(connection: RawConnection) -> None:
        connection.read_head()
        connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        connection.read_to_end()

    path = bench.route(raw_upstream(script).address)
    assert bench.get(path).status == 502


# ---- what upstreams may do wrong

OK_HEAD = (":status", "200")
BAD_HEADS: dict[str, list[tuple[str, str]]] = {
    "no-status": [("x-a", "b")],
    "two-statuses": [OK_HEAD, OK_HEAD],
    "status-late": [("x-a", "b"), OK_HEAD],
    "status-word": [(":status", "okay")],
    "status-short": [(":status", "20")],
    "status-600": [(":status", "600")],
    "switching": [(":status", "101")],
    "other-pseudo": [OK_HEAD, (":path", "/")],
    "upper-case": [OK_HEAD, ("X-A", "b")],
    "connection": [OK_HEAD, ("connection", "close")],
    "transfer-encoding": [OK_HEAD, ("transfer-encoding", "chunked")],
    "upgrade": [OK_HEAD, ("upgrade", "h2c")],
    "keep-alive": [OK_HEAD, ("keep-alive", "5")],
    "blank-in-name": [OK_HEAD, ("x a", "b")],
    "colon-in-name": [OK_HEAD, ("x:a", "b")],
    "empty-name": [OK_HEAD, ("", "b")],
    "crlf-in-name": [OK_HEAD, ("x\r\nx-b", "b")],
    "crlf-in-value": [OK_HEAD, ("x-a", "b\r\nset-cookie: a=b")],
    "lf-in-value": [OK_HEAD, ("x-a", "b\nset-cookie: a=b")],
    "nul-in-value": [OK_HEAD, ("x-a", "b\0c")],
    "two-lengths": [OK_HEAD, ("content-length", "2"), ("content-length", "3")],
    "bad-length": [OK_HEAD, ("content-length", "x")],
    "length-too-large": [OK_HEAD, ("content-length", "3")],
    "length-too-small": [OK_HEAD, ("content-length", "1")],
    "many-fields": [OK_HEAD, *((f"x-{number}", "a") for number in range(300))],
    "long-field": [OK_HEAD, ("x-a", "a" * 70_000)],
}
CUT = {"length-too-large", "length-too-small"}  # told when the head is out already


@pytest.fixture(scope="module")
def bad_heads(bench: Bench) -> Iterator[tuple[str, RawUpstream]]:
    """A peer that answers with the head that the path names, then with "ok"; and the path to it."""

    def script(peer: Http2Peer) -> None:
        while True:
            request = peer.read_request()
            name = (request.header(":path") or "").rpartition("/")[2]
            peer.head(request.stream, *BAD_HEADS.get(name, [OK_HEAD]))
            peer.raw(frame(DATA, END_STREAM, request.stream, b"ok"))
            peer.h2._get_stream_by_id(request.stream).end_stream()
            peer.h2.clear_outbound_data_buffer()

    server = RawUpstream(speaks_http2(script))
    yield bench.route(server.address, retries=0), server
    server.stop()


@pytest.mark.parametrize("name", BAD_HEADS)
def test_bad_heads_are_502_and_others_go_on(name: str, bench: Bench, bad_heads: tuple[str, RawUpstream]) -> None:
    path, upstream = bad_heads
    assert bench.get(f"{path}/good").body == b"ok"
    before = len(upstream.connections)
    if name in CUT:
        with pytest.raises((Closed, ConnectionError)), bench.gateway.client() as client:
            client.request("GET", f"{path}/{name}")
    else:
        answer = bench.get(f"{path}/{name}")
        assert answer.status == 502
        assert answer.header("set-cookie") is None
    assert bench.get(f"{path}/good").body == b"ok"
    if name != "empty-name":
        assert len(upstream.connections) == before


def _endless_interim(peer: Http2Peer, stream: int) -> None:
    for _ in range(3000):
        peer.head(stream, (":status", "103"))


def _hpack_bomb(peer: Http2Peer, stream: int) -> None:
    block = b"\x88" + b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000 + b"\xbe" * 16_000 * 6
    parts = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
    peer.raw(frame(HEADERS, END_STREAM, stream, parts[0]))
    for part in parts[1:-1]:
        peer.raw(frame(CONTINUATION, 0, stream, part))
    peer.raw(frame(CONTINUATION, END_HEADERS, stream, parts[-1]))


FLOODS: dict[str, Callable[[Http2Peer, int], None]] = {
    "settings": lambda peer, stream: peer.raw(frame(SETTINGS) * 100_000),
    "ping": lambda peer, stream: peer.raw(frame(PING, 0, 0, b"x" * 8) * 100_000),
    "ping-ack": lambda peer, stream: peer.raw(frame(PING, ACK, 0, b"x" * 8) * 100_000),
    "window-update": lambda peer, stream: peer.raw(frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1") * 100_000),
    "empty-data": lambda peer, stream: (
        peer.head(stream, (":status", "200")),
        peer.raw(frame(DATA, 0, stream) * 100_000),
    ),
    "continuation": lambda peer, stream: peer.raw(
        frame(HEADERS, 0, stream, b"\x88"), frame(CONTINUATION, 0, stream, b"") * 100_000
    ),
    "interim": _endless_interim,
    "hpack-bomb": _hpack_bomb,
    "window-overflow": lambda peer, stream: peer.raw(frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 2),
    "push": lambda peer, stream: peer.raw(frame(PUSH_PROMISE, END_HEADERS, stream, b"\0\0\0\2\x88")),
    "stream-never-opened": lambda peer, stream: peer.raw(frame(HEADERS, END_HEADERS, stream + 100, b"\x88")),
    "even-stream": lambda peer, stream: peer.raw(frame(DATA, 0, 2, b"x")),
    "too-long": lambda peer, stream: peer.raw(frame(DATA, 0, stream, b"x" * 20_000)),
    "data-before-head": lambda peer, stream: peer.raw(frame(DATA, END_STREAM, stream, b"x")),
    "bad-hpack": lambda peer, stream: peer.raw(frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\xff" * 50)),
    "bad-settings": lambda peer, stream: peer.raw(frame(SETTINGS, 0, 0, b"\0\5\0\0\0\1")),
    "short-rst": lambda peer, stream: peer.raw(frame(RST_STREAM, 0, stream, b"\0")),
    "garbage": lambda peer, stream: peer.raw(b"\xff" * 5000),
}


@pytest.fixture(scope="module")
def floods(bench: Bench) -> Iterator[tuple[str, str]]:
    """Paths to a peer that does what the path names, and to one beside it that does its work."""

    def script(peer: Http2Peer) -> None:
        request = peer.read_request()
        try:
            FLOODS[(request.header(":path") or "").rpartition("/")[2]](peer, request.stream)
        finally:
            peer.connection.read_to_end()

    bad, good = RawUpstream(speaks_http2(script)), RawUpstream(speaks_http2(answering))
    timeout = {"connect": 20, "send": 20, "read": 40}
    once = {"size": 1, "requests": 1, "idle_timeout": 60}
    yield bench.route(bad.address, retries=0, timeout=timeout, keepalive_pool=once), bench.route(good.address)
    bad.stop()
    good.stop()


@pytest.mark.parametrize("name", FLOODS)
def test_floods_and_broken_frames_end_in_502(name: str, bench: Bench, floods: tuple[str, str]) -> None:
    path, beside = floods
    with bench.gateway.client() as client:
        client.sock.settimeout(50)
        client.send(b"POST %b/%b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx" % (path.encode(), name.encode()))
        assert bench.get(beside).status == 200
        if name == "empty-data":
            with pytest.raises((Closed, ConnectionError)):
                client.read_response()
        else:
            assert client.read_response().status == 502
    assert bench.get(beside).status == 200


def test_frames_of_unknown_kinds_are_passed_over(bench: Bench, http2_upstream: Play) -> None:
    def script(peer: Http2Peer) -> None:
        request = peer.read_request()
        peer.raw(frame(99, 255, 0, b"?") + frame(77, 0, request.stream, b"!" * 100))
        peer.respond(request.stream, b"fine")
        peer.wait_closed()

    assert bench.get(bench.route(http2_upstream(script).address)).body == b"fine"


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
