"""A second try beside the first: who answers first wins, and of who loses nothing is left."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from h2.events import StreamReset

from tests.servers.acting import Act, ActingNode, ok, reset, silent, slow, status
from tests.servers.gateway import Gateway
from tests.servers.http2_peer import CANCEL, Http2Peer, answering, speaks_http2
from tests.servers.nginx import Nginx
from tests.servers.raw import Message, RawClient, RawConnection, RawUpstream

DELAY_S = 0.2
Nodes = tuple[ActingNode, ActingNode]
RICH = {"percent": 100, "min_per_second": 1000}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    one, other = ActingNode(), ActingNode()
    yield one, other
    one.stop()
    other.stop()


@pytest.fixture(scope="module")
def third() -> Iterator[ActingNode]:
    one = ActingNode()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def copies() -> Iterator[ActingNode]:
    one = ActingNode()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def served(nodes: Nodes, third: ActingNode, copies: ActingNode, module_gateway: Callable[..., Gateway]) -> Gateway:
    # The first one has each turn that isn't a further try.
    three = [
        {"host": "127.0.0.1", "port": node.port, "weight": 1, "priority": -place}
        for place, node in enumerate((*nodes, third))
    ]
    two = three[:2]

    def policy(*, on: Any = ("reset", "timeout", 503), budget: Any = RICH, **hedge: Any) -> dict[str, Any]:
        return {"on": list(on), "budget": budget, "hedge": {"delay": DELAY_S, **hedge}}

    upstreams: dict[str, dict[str, Any]] = {
        "hedged": {"nodes": two, "retry_policy": policy()},
        "patient": {"nodes": two, "retry_policy": policy(delay=30)},
        "posts": {"nodes": two, "retry_policy": policy(methods=["GET", "POST", "PUT"])},
        "held": {"nodes": two, "retry_policy": policy(methods=["POST"])},
        "three": {"nodes": three, "retry_policy": policy(max=2)},
        "single": {"nodes": two[:1], "retries": 3, "retry_policy": policy()},
        "none": {"nodes": two, "retries": 0, "retry_policy": policy()},
        "limited": {"nodes": two, "retry_policy": {**policy(), "per_try_timeout": 0.6}},
        "deadline": {"nodes": two, "retry_timeout": 0.1, "retry_policy": policy()},
        "poor": {"nodes": two, "retry_policy": policy(budget={"percent": 10, "min_per_second": 0})},
        "sticky": {"nodes": two, "retry_policy": policy(), "sticky": {"name": "node"}},
        "mirrored": {"nodes": two, "retry_policy": policy()},
        "least": {"nodes": three, "type": "least_conn", "retry_policy": policy()},
        "shared": {"nodes": two, "retry_policy": policy()},
        "ws": {"nodes": two, "retry_policy": policy()},
    }
    plugins: dict[str, dict[str, Any]] = {
        "held": {"proxy-control": {"request_buffering": True}},
        "mirrored": {"proxy-mirror": {"host": f"http://{copies.address}"}},
        "shared": {"request-collapsing": {}},
    }
    routes = [
        {
            "id": name,
            "uri": f"/{name}",
            "upstream": upstream,
            "plugins": plugins.get(name, {}),
            "enable_websocket": name == "ws",
        }
        for name, upstream in upstreams.items()
    ]
    config = {
        "apisix": {"show_upstream_status_in_response_header": True},
        "nginx_config": {"http": {"access_log_format": "$uri $status [$upstream_addr] [$upstream_status]"}},
    }
    return module_gateway({"routes": routes}, config)


@pytest.fixture(autouse=True)
def forgotten(nodes: Nodes, third: ActingNode) -> None:
    for node in (*nodes, third):
        node.play()


def after(seconds: float, act: Act) -> Act:
    def later(connection: RawConnection, request: Message) -> None:
        time.sleep(seconds)
        act(connection, request)

    return later


class Abandoned:
    """An act that never answers; `seen` is set once the gateway has closed the connection."""

    def __init__(self) -> None:
        self.seen = threading.Event()

    def __call__(self, connection: RawConnection, request: Message) -> None:
        if connection.is_closed(timeout_s=30):
            self.seen.set()
        connection.close()


def ask(served: Gateway, path: str, method: str = "GET", body: bytes = b"") -> tuple[int, str, str]:
    """(status, what all tries came to, the port that answered)."""
    with served.client() as client:
        client.sock.settimeout(40)
        answer = client.request(method, path, body=body)
    return answer.status, answer.header("X-APISIX-Upstream-Status") or "", answer.body.decode().partition(" ")[0]


def test_a_hedge_wins_and_the_first_try_is_cancelled(served: Gateway, nodes: Nodes) -> None:
    lost = Abandoned()
    nodes[0].play(lost)
    began = time.monotonic()
    assert ask(served, "/hedged") == (200, "-, 200", str(nodes[1].port))
    assert DELAY_S <= time.monotonic() - began < 20
    assert lost.seen.wait(20)
    line = served.logged("/hedged 200 ")
    assert f"[{nodes[0].address}, {nodes[1].address}] [-, 200]" in line
    assert 'bascule_hedges{result="won"} ' in served.metrics()


def test_the_first_try_wins_and_the_hedge_is_cancelled(served: Gateway, nodes: Nodes) -> None:
    lost = Abandoned()
    nodes[0].play(slow(1.2))
    nodes[1].play(lost)
    assert ask(served, "/hedged") == (200, "-, 200", str(nodes[0].port))
    assert lost.seen.wait(20)
    assert 'bascule_hedges{result="lost"} ' in served.metrics()


@pytest.mark.parametrize("path", ["/hedged", "/least", "/three"])
def test_a_connection_that_won_is_used_again(path: str, served: Gateway, nodes: Nodes) -> None:
    nodes[0].play(silent)
    with served.client() as client:
        for _ in range(3):
            assert client.request("GET", path).status == 200


def test_a_quick_answer_needs_no_hedge(served: Gateway, nodes: Nodes) -> None:
    for path in ("/hedged", "/patient"):
        assert ask(served, path)[:2] == (200, "200")
    assert len(nodes[1].seen) == 0


@pytest.mark.parametrize(
    ("first", "second", "statuses", "place"),
    [
        (after(1, reset), slow(1.5), "502, 200", 1),  # the hedge goes on, and is no retry
        (slow(1.5), reset, "502, 200", 0),
        (slow(1.5), status(503), "503, 200", 0),  # an answer that is tried again doesn't win
        (after(1, status(503)), slow(1.5), "503, 200", 1),
        (after(1, status(500)), silent, "-, 500", 0),
    ],
)
def test_one_of_the_two_fails(
    first: Act, second: Act, statuses: str, place: int, served: Gateway, nodes: Nodes
) -> None:
    nodes[0].play(first)
    nodes[1].play(second)
    code, tries, port = ask(served, "/hedged")
    assert (str(code), tries) == (statuses.rpartition(" ")[2], statuses)
    assert port in ("", str(nodes[place].port))
    assert [len(node.seen) for node in nodes] == [1, 1]


def test_both_fail(served: Gateway, nodes: Nodes) -> None:
    nodes[0].play(after(0.8, reset))
    nodes[1].play(reset)
    assert ask(served, "/hedged")[:2] == (502, "502, 502")


def test_each_try_has_its_own_limit(served: Gateway, nodes: Nodes) -> None:
    nodes[0].play(silent)
    nodes[1].play(silent)
    assert ask(served, "/limited")[:2] == (504, "504, 504")


def test_two_hedges(served: Gateway, nodes: Nodes, third: ActingNode) -> None:
    lost = Abandoned(), Abandoned()
    nodes[0].play(lost[0])
    nodes[1].play(lost[1])
    code, tries, port = ask(served, "/three")
    assert (code, sorted(tries.split(", ")), port) == (200, ["-", "-", "200"], str(third.port))
    assert all(one.seen.wait(20) for one in lost)


@pytest.mark.parametrize("path", ["/none", "/single", "/deadline", "/sticky", "/patient"])
def test_what_is_not_hedged(path: str, served: Gateway, nodes: Nodes) -> None:
    """No retries, no other node, no time left, a client that sticks to its node, an answer before the delay."""
    nodes[0].play(slow(0.8))
    nodes[1].play(slow(0.8))
    assert ask(served, path)[:2] == (200, "200")
    assert sum(len(node.seen) for node in nodes) == 1


@pytest.mark.parametrize(("path", "method"), [("/hedged", "POST"), ("/hedged", "PUT"), ("/hedged", "DELETE")])
def test_only_safe_methods_unless_others_are_named(path: str, method: str, served: Gateway, nodes: Nodes) -> None:
    nodes[0].play(slow(0.8))
    assert ask(served, path, method, b"x")[:2] == (200, "200")
    assert [len(node.seen) for node in nodes] == [1, 0]


@pytest.mark.parametrize("path", ["/posts", "/held"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_body_goes_along(path: str, chunked: bool, served: Gateway, nodes: Nodes) -> None:
    lost = Abandoned()
    nodes[0].play(lost)
    body = bytes(range(256)) * 400
    framing = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    if chunked:
        framing = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    with served.client() as client:
        client.send(f"POST {path} HTTP/1.1\r\nHost: a\r\n".encode() + framing)
        assert client.read_response().status == 200
        assert client.request("GET", "/hedged").status == 200
    assert [request.body for request in nodes[1].seen] == [body]
    assert lost.seen.wait(20)


def test_a_body_that_is_still_coming_and_one_that_is_not_kept(served: Gateway, nodes: Nodes) -> None:
    nodes[0].play(silent, slow(0.8))
    with served.client() as client:
        client.send(b"POST /posts HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf")
        time.sleep(3 * DELAY_S)
        assert nodes[1].seen == []
        client.send(b"more")
        assert client.read_response().status == 200
    assert [request.body for request in nodes[1].seen] == [b"halfmore"]
    assert ask(served, "/posts", "POST", b"x" * 300_000)[:2] == (200, "200")
    assert len(nodes[1].seen) == 1


def test_a_client_that_goes_ends_both_tries(served: Gateway, nodes: Nodes) -> None:
    lost = Abandoned(), Abandoned()
    nodes[0].play(lost[0])
    nodes[1].play(lost[1])
    client = served.client()
    client.send(b"GET /hedged?gone HTTP/1.1\r\nHost: a\r\n\r\n")
    nodes[1].wait_seen(1)
    client.close()
    assert all(one.seen.wait(20) for one in lost)
    assert "499" in served.logged("/hedged 499 ")


def test_an_upgrade_is_never_hedged(served: Gateway, nodes: Nodes) -> None:
    nodes[0].play(slow(0.8))
    with served.client() as client:
        client.send(
            b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert client.read_response().status == 200
    assert [len(node.seen) for node in nodes] == [1, 0]


def test_one_copy_goes_to_a_mirror(served: Gateway, nodes: Nodes, copies: ActingNode) -> None:
    nodes[0].play(silent)
    copies.play()
    assert ask(served, "/mirrored")[:2] == (200, "-, 200")
    copies.wait_seen(1)
    assert len(copies.seen) == 1


def test_collapsed_requests_are_hedged_once(served: Gateway, nodes: Nodes) -> None:
    nodes[0].play(silent)
    nodes[1].play(slow(0.5))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.client()) for _ in range(4)]
        for client in clients:
            client.send(b"GET /shared HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [client.read_response().status for client in clients] == [200] * 4
    assert [len(node.seen) for node in nodes] == [1, 1]


def test_the_budget_bounds_a_storm(served: Gateway, nodes: Nodes) -> None:
    nodes[0].usual = slow(1.5)
    try:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(served.client()) for _ in range(40)]
            for client in clients:
                client.send(b"GET /poor HTTP/1.1\r\nHost: a\r\n\r\n")
            assert {client.read_response().status for client in clients} == {200}
    finally:
        nodes[0].usual = ok
    assert 1 <= len(nodes[1].seen) <= 4
    assert 'bascule_hedges{result="over budget"} ' in served.metrics()


def test_one_of_three_nodes_is_frozen(gateway: Callable[..., Gateway], nginx: Callable[[str], Nginx]) -> None:
    servers = [nginx("location / { return 200 'ok'; }") for _ in range(3)]
    policy = {"budget": RICH, "hedge": {"delay": 0.1}}
    upstream = {"nodes": {server.address: 1 for server in servers}, "retry_policy": policy}
    serving = gateway({"routes": [{"id": "1", "uri": "/*", "upstream": upstream}]})
    took: list[float] = []
    with serving.client() as client:
        for _ in range(6):
            assert client.request("GET", "/").status == 200
        for pid in servers[0].pids():
            os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(45):
                began = time.monotonic()
                assert client.request("GET", "/").status == 200
                took.append(time.monotonic() - began)
        finally:
            for pid in servers[0].pids():
                os.kill(pid, signal.SIGCONT)
    slowed = [seconds for seconds in took if seconds >= 0.1]
    assert 15 <= len(slowed) < 30  # those whose turn was the frozen one's
    assert max(took) < 15  # the read timeout is 60 s


def test_a_worker_that_drains_lets_them_end(gateway: Callable[..., Gateway], nodes: Nodes) -> None:
    lost = Abandoned()
    nodes[0].play(lost)
    nodes[1].play(slow(1))
    two = [{"host": "127.0.0.1", "port": n.port, "weight": 1, "priority": -i} for i, n in enumerate(nodes)]
    upstream = {"nodes": two, "retry_policy": {"budget": RICH, "hedge": {"delay": DELAY_S}}}
    serving = gateway({"routes": [{"id": "1", "uri": "/*", "upstream": upstream}]})
    with serving.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        nodes[0].wait_seen(1)
        stopping = threading.Thread(target=serving.stop)
        stopping.start()
        assert client.read_response().status == 200
        stopping.join(20)
    assert not stopping.is_alive()
    assert lost.seen.wait(20)
    assert "error" not in serving.log


class Http2Node:
    """Answers its requests, or leaves the first one; `reset` is the code that ends that one."""

    def __init__(self, answers: bool) -> None:
        self.reset: list[int] = []
        self.over = threading.Event()
        self.bodies: list[bytes] = []
        self.came = threading.Event()
        self.upstream = RawUpstream(speaks_http2(answering if answers else self._leave))

    def _leave(self, peer: Http2Peer) -> None:
        request = peer.read_request()
        self.came.set()
        self.reset.append(peer.next(StreamReset, stream=request.stream).error_code)
        self.over.set()
        answering(peer)


@pytest.mark.parametrize("grpc", [False, True], ids=["http2", "grpc"])
def test_http2_upstreams(grpc: bool, gateway: Callable[..., Gateway]) -> None:
    """The stream that lost is reset, its connection serves on. A call is hedged once it is whole, if POST is named."""
    left, quick = Http2Node(False), Http2Node(True)
    try:
        two = [
            {"host": "127.0.0.1", "port": node.upstream.port, "weight": 1, "priority": -place}
            for place, node in enumerate((left, quick))
        ]
        policy = {"budget": RICH, "hedge": {"delay": DELAY_S, "methods": ["GET", "POST"]}}
        kind = {"scheme": "grpc"} if grpc else {"http2": True}
        route = {"id": "1", "uri": "/*", "upstream": {"nodes": two, "retry_policy": policy, **kind}}
        serving = gateway({"routes": [route]})
        with serving.client() as client:
            client.send(b"POST /call HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            time.sleep(3 * DELAY_S)  # still streaming: not hedged
            assert not left.over.is_set()
            client.send(b"0\r\n\r\n")
            answer = client.read_response()
            assert (answer.status, answer.body) == (200, b"hello")
            assert left.over.wait(20)
            assert left.reset == [CANCEL]
            assert [client.request("POST", "/call", body=b"again").body for _ in range(3)] == [b"again"] * 3
        assert len(left.upstream.connections) == len(quick.upstream.connections) == 1
    finally:
        left.upstream.stop()
        quick.upstream.stop()


def test_many_at_the_same_time_leave_nothing_behind(served: Gateway, nodes: Nodes) -> None:
    """Both nodes take about as long as the delay, so that each may win: every client gets one whole answer."""
    nodes[0].usual = slow(DELAY_S + 0.1)
    nodes[1].usual = slow(0.02)
    try:
        for _ in range(3):
            with contextlib.ExitStack() as stack:
                clients: list[RawClient] = [stack.enter_context(served.client()) for _ in range(20)]
                for client in clients:
                    client.send(b"GET /hedged HTTP/1.1\r\nHost: a\r\n\r\n")
                for client in clients:
                    assert client.read_response().body.endswith(b" 0")
                    assert client.buffer == b""
    finally:
        for node in nodes:
            node.usual = ok
    assert "internal error" not in served.log
