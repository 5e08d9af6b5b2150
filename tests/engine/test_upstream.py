"""The upstream's side end to end: pooling, retries, timeouts, and responses framed as HTTP/1.0 or by the close."""

import socket
import threading
import time
from collections.abc import Callable

import pytest

from tests.servers.gateway import Gateway
from tests.servers.ports import free_port
from tests.servers.raw import RawConnection, RawUpstream, answers, echo, response

Start = Callable[..., RawUpstream]


class Bench:
    """One gateway for the file; each test gives its upstream a route of its own."""

    def __init__(self, gateway: Gateway):
        self.gateway = gateway

    def route(self, nodes: dict[str, int], **upstream: object) -> None:
        routes = [{"id": "all", "uri": "/*", "upstream": {"nodes": nodes, **upstream}}]
        self.gateway.reload({"routes": routes})


@pytest.fixture(scope="module")
def bench(module_gateway: Callable[..., Gateway]) -> Bench:
    return Bench(module_gateway())


def get(bench: Bench, times: int = 1, method: str = "GET", body: bytes = b"") -> list[int]:
    with bench.gateway.client() as client:
        return [client.request(method, "/", body=body).status for _ in range(times)]


def test_a_connection_is_used_again(bench: Bench, raw_upstream: Start) -> None:
    upstream = raw_upstream()
    bench.route({upstream.address: 1})
    assert get(bench, 20) == [200] * 20
    assert get(bench, 5, "POST", b"x" * 1000) == [200] * 5
    assert len(upstream.connections) == 1


def test_keepalive_pool_requests(bench: Bench, raw_upstream: Start) -> None:
    upstream = raw_upstream()
    bench.route({upstream.address: 1}, keepalive_pool={"size": 10, "requests": 3, "idle_timeout": 60})
    assert get(bench, 9) == [200] * 9
    assert len(upstream.connections) == 3


def test_keepalive_pool_idle_timeout(bench: Bench, raw_upstream: Start) -> None:
    upstream = raw_upstream()
    bench.route({upstream.address: 1}, keepalive_pool={"size": 10, "requests": 100, "idle_timeout": 0.3})
    assert get(bench) == [200]
    assert upstream.connections[0].sock.fileno() >= 0
    deadline = time.monotonic() + 5
    while upstream._threads[0].is_alive():  # its script ends with the gateway's close
        assert time.monotonic() < deadline
        upstream._threads[0].join(0.05)
    assert get(bench) == [200]
    assert len(upstream.connections) == 2


def test_keepalive_pool_idle_timeout_0_closes_each_connection(bench: Bench, raw_upstream: Start) -> None:
    upstream = raw_upstream()
    bench.route({upstream.address: 1}, keepalive_pool={"size": 10, "requests": 100, "idle_timeout": 0})
    assert get(bench, 3) == [200] * 3
    assert len(upstream.connections) == 3
    assert upstream.requests_seen.count(b"Connection: close\r\n") == 3


def test_keepalive_pool_size(bench: Bench, raw_upstream: Start) -> None:
    """Four connections in use at once, two kept."""
    released = raw_upstream()  # only to have its port apart
    upstream = raw_upstream()
    bench.route({upstream.address: 1}, keepalive_pool={"size": 2, "requests": 100, "idle_timeout": 60})
    clients = [bench.gateway.client() for _ in range(4)]
    for client in clients:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na")
    upstream.wait_connections(4)
    for client in clients:
        client.send(b"b")
        assert client.read_response().status == 200
    deadline = time.monotonic() + 5
    while sum(thread.is_alive() for thread in upstream._threads) != 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for client in clients:
        client.close()
    assert get(bench, 3) == [200] * 3
    assert len(upstream.connections) == 4
    assert released.connections == []


def once(connection: RawConnection) -> None:
    """Answers one request, reads the next and closes without a word."""
    connection.read_request()
    connection.send(response(b"first"))
    connection.read_request()


def test_a_get_on_a_stale_connection_is_sent_again(bench: Bench, raw_upstream: Start) -> None:
    upstream = raw_upstream(once, echo)
    bench.route({upstream.address: 1}, retries=0)
    assert get(bench, 2) == [200, 200]
    assert len(upstream.connections) == 2


def test_a_post_that_was_sent_is_not_sent_again(bench: Bench, raw_upstream: Start) -> None:
    upstream = raw_upstream(once, echo)
    bench.route({upstream.address: 1}, retries=3)
    assert get(bench) == [200]
    assert get(bench, 1, "POST", b"x") == [502]
    assert len(upstream.connections) == 1


def test_retries_go_to_other_nodes_each_once(bench: Bench, raw_upstream: Start) -> None:
    def close(connection: RawConnection) -> None:
        connection.read_request()

    bad = [raw_upstream(close) for _ in range(3)]
    good = raw_upstream()
    nodes = {upstream.address: 1 for upstream in [*bad, good]}
    bench.route(nodes)
    assert get(bench, 8) == [200] * 8
    before = [len(upstream.connections) for upstream in bad]
    bench.route({**nodes, good.address: 0}, retries=1)
    assert get(bench) == [502]
    assert sorted(len(u.connections) - n for u, n in zip(bad, before, strict=True)) == [0, 1, 1]


def test_retry_timeout_bounds_the_tries(bench: Bench, raw_upstream: Start) -> None:
    def silent(connection: RawConnection) -> None:
        connection.read_to_end()

    slow = [raw_upstream(silent) for _ in range(4)]
    timeout = {"connect": 1, "send": 1, "read": 0.3}
    bench.route({u.address: 1 for u in slow}, retries=3, retry_timeout=0.2, timeout=timeout)
    assert get(bench) == [504]
    assert sum(len(u.connections) for u in slow) == 1


def test_a_connect_that_gets_no_answer_is_504(bench: Bench) -> None:
    """A listener whose queue is full drops our SYN: the connect timeout ends the wait."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    address = listener.getsockname()
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(address)
        fillers.append(filler)
    bench.route({f"127.0.0.1:{address[1]}": 1}, retries=0, timeout={"connect": 0.4, "send": 5, "read": 5})
    started = time.monotonic()
    assert get(bench) == [504]
    assert 0.35 < time.monotonic() - started < 3
    for filler in fillers:
        filler.close()
    listener.close()


def test_an_upstream_that_does_not_take_the_body_is_504(bench: Bench, raw_upstream: Start) -> None:
    done = threading.Event()

    def stalled(connection: RawConnection) -> None:
        connection.sock.recv(1)
        done.wait(8)

    upstream = raw_upstream(stalled)
    bench.route({upstream.address: 1}, retries=0, timeout={"connect": 1, "send": 0.4, "read": 5})
    with bench.gateway.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000\r\n\r\n")
        sender = threading.Thread(target=swallow, args=(client.sock.sendall, b"x" * 30_000_000))
        sender.start()
        assert client.read_response().status == 504
    done.set()
    sender.join(5)


def swallow(call: Callable[[bytes], None], data: bytes) -> None:
    try:
        call(data)
    except OSError:
        return


def test_refused_is_502(bench: Bench) -> None:
    bench.route({f"127.0.0.1:{free_port()}": 1})
    assert get(bench, 2) == [502, 502]


def test_responses_until_the_close_are_chunked_for_the_client(bench: Bench, raw_upstream: Start) -> None:
    def until_close(connection: RawConnection) -> None:
        head = connection.read_request()
        version = b"1.0" if head.target == "/ten" else b"1.1"
        connection.send(b"HTTP/" + version + b" 200 OK\r\n\r\n", b"part one, ", b"part two")

    upstream = raw_upstream(until_close)
    bench.route({upstream.address: 1})
    with bench.gateway.client() as client:
        for target in ("/", "/ten", "/"):
            answer = client.request("GET", target)
            assert answer.first_line == "HTTP/1.1 200 OK"
            assert answer.body == b"part one, part two"
            assert answer.header("Transfer-Encoding") == "chunked"
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert client.read_response().body == b"part one, part two"
        assert client.is_closed()


def test_an_http10_upstream(bench: Bench, raw_upstream: Start) -> None:
    """Its connection is kept only when it says so."""
    plain = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"
    kept = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"
    closing, keeping = raw_upstream(answers(plain)), raw_upstream(answers(kept))
    for upstream, connections in ((closing, 3), (keeping, 1)):
        bench.route({upstream.address: 1})
        assert get(bench, 3) == [200] * 3
        assert len(upstream.connections) == connections


def test_the_upstream_asks_for_the_close(bench: Bench, raw_upstream: Start) -> None:
    upstream = raw_upstream(answers(response(b"x", headers=[("Connection", "close")])))
    bench.route({upstream.address: 1})
    with bench.gateway.client() as client:
        for _ in range(3):
            answer = client.request("GET", "/")
            assert (answer.status, answer.header("Connection")) == (200, None)
    assert len(upstream.connections) == 3


def test_the_body_sent_in_part_is_sent_again_to_another_node(bench: Bench, raw_upstream: Start) -> None:
    """A connection that could not be made has seen nothing: even a POST goes elsewhere, with its body whole."""
    good = raw_upstream()
    bench.route({f"127.0.0.1:{free_port()}": 1, good.address: 1})
    with bench.gateway.client() as client:
        for _ in range(4):
            account = client.request("POST", "/", body=b"abc" * 1000).json()
            assert isinstance(account, dict)
            assert account["body"] == "abc" * 1000
