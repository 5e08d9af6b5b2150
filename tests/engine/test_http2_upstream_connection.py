"""Connections of HTTP/2 to upstreams: shared, limited, kept, lost, silent."""

import contextlib
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.engine.http2_bench import Bench
from tests.servers.gateway import Gateway
from tests.servers.http2_peer import (
    Http2Peer,
    answering,
)
from tests.servers.ports import free_port
from tests.servers.raw import Closed, RawConnection, RawUpstream

Play = Callable[..., RawUpstream]


def test_a_silent_connection_in_use_is_asked_for_life(gateway: Callable[..., Gateway], http2_upstream: Play) -> None:
    def slow(peer: Http2Peer) -> None:
        request = peer.read_request()
        peer.connection.sock.settimeout(0.05)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                peer._more()  # reads on, and so answers PINGs
        peer.connection.sock.settimeout(10)
        peer.respond(request.stream, b"late")
        peer.wait_closed()

    def deaf(peer: Http2Peer) -> None:
        peer.read_request()
        hung.wait(30)

    hung = threading.Event()
    upstreams = {"/slow": http2_upstream(slow), "/deaf": http2_upstream(deaf)}
    routes = [{"uri": uri, "upstream": {"http2": True, "nodes": {one.address: 1}}} for uri, one in upstreams.items()]
    server = gateway({"routes": routes}, {"bascule": {"http2_ping_interval": 0.2}})
    with server.client() as client:
        assert client.request("GET", "/slow").body == b"late"
        assert client.request("GET", "/deaf").status == 504  # long before the read timeout
    hung.set()
    assert "doesn't answer PING" in server.log


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
