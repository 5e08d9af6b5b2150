"""Nodes that die, stall and flap under load: what clients see of it, and what the nodes got."""

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.acting import ActingNode, ok, reset, silent, slow, status
from tests.servers.gateway import Gateway
from tests.servers.nginx import Nginx
from tests.servers.ports import free_port
from tests.servers.raw import Closed, RawClient

CLIENTS = 6


class Load:
    """`CLIENTS` connections that ask all the time; `statuses` counts what they got, 0 for a connection that was cut."""

    def __init__(self, port: int, method: str, body: bytes = b"") -> None:
        self.statuses: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._port, self._method, self._body = port, method, body
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                with RawClient(self._port) as client:
                    closes = False
                    while not closes and not self._stop.is_set():
                        answer = client.request(self._method, "/", body=self._body)
                        closes = answer.header("Connection") == "close"
                        with self._lock:
                            self.statuses[answer.status] += 1
            except (Closed, OSError):
                with self._lock:
                    self.statuses[0] += 1

    def wait(self, more: int, timeout_s: float = 30) -> None:
        """Returns once so many more answers have come."""
        wanted = sum(self.statuses.values()) + more
        deadline = time.monotonic() + timeout_s
        while sum(self.statuses.values()) < wanted:
            assert time.monotonic() < deadline, self.statuses
            time.sleep(0.01)

    def stop(self) -> Counter[int]:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)
        return self.statuses


@pytest.mark.parametrize(("method", "body"), [("GET", b""), ("POST", b"x" * 2000)])
def test_one_of_three_nodes_is_killed_under_load(
    method: str, body: bytes, gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    nodes = [Nginx("location / { return 200 'ok'; }", tmp_path / str(n)) for n in range(3)]
    try:
        upstream = {"nodes": {node.address: 1 for node in nodes}}
        serving = gateway({"routes": [{"id": "1", "uri": "/*", "upstream": upstream}]})
        load = Load(serving.port, method, body)
        load.wait(300)
        nodes[0].process.kill()
        load.wait(600)
        statuses = load.stop()
    finally:
        for node in nodes:
            node.process.kill()
    assert statuses[200] >= 900 - CLIENTS
    failed = sum(statuses.values()) - statuses[200]
    # A GET is sent again. A POST whose bytes went out isn't; no more were under way than there are clients.
    assert failed <= (0 if method == "GET" else CLIENTS), statuses
    assert f"node {nodes[0].address}: ejected for 10 s" in serving.log


def test_a_post_gets_to_a_node_at_most_once(gateway: Callable[..., Gateway]) -> None:
    """One node resets every third connection after it has read the request."""
    nodes = [ActingNode(), ActingNode()]
    try:
        upstream = {"nodes": {node.address: 1 for node in nodes}}
        serving = gateway({"routes": [{"id": "1", "uri": "/*", "upstream": upstream}]})
        nodes[0].play(*([ok, ok, reset] * 20))
        codes: Counter[int] = Counter()
        with serving.client() as client:
            for n in range(100):
                codes[client.request("POST", f"/{n}", body=b"%d" % n).status] += 1
        seen = Counter(request.body for node in nodes for request in node.seen)
        assert set(seen.values()) == {1}
        assert len(seen) == 100
        assert codes[200] + codes[502] == 100
        assert codes[502] == sum(1 for n in range(len(nodes[0].seen)) if n % 3 == 2)
    finally:
        for node in nodes:
            node.stop()


def test_a_flapping_node(gateway: Callable[..., Gateway], tmp_path: Path) -> None:
    steady = Nginx("location / { return 200 'ok'; }", tmp_path / "steady")
    port = free_port()
    upstream = {
        "nodes": {steady.address: 1, f"127.0.0.1:{port}": 1},
        "outlier_detection": {"base_ejection_time": 0.2, "max_ejection_time": 0.4},
    }
    serving = gateway({"routes": [{"id": "1", "uri": "/*", "upstream": upstream}]})
    load = Load(serving.port, "GET")
    try:
        for _ in range(4):
            flapping = ActingNode(port=port)
            try:
                flapping.wait_seen(1)
                load.wait(50)
            finally:
                flapping.stop()
            load.wait(50)
        assert set(load.stop()) == {200}
    finally:
        load.stop()
        steady.process.kill()


# --- timeouts, of routes and upstreams


@pytest.fixture(scope="module")
def node() -> Iterator[ActingNode]:
    one = ActingNode()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def deaf() -> Iterator[str]:
    """An address where connections are never accepted: its queue is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(listener.getsockname())
        waiting.append(one)
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    for one in (*waiting, listener):
        one.close()


@pytest.fixture(scope="module")
def unread() -> Iterator[str]:
    """An address where connections are accepted and nothing is read."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


@pytest.fixture(scope="module")
def served(node: ActingNode, deaf: str, unread: str, module_gateway: Callable[..., Gateway]) -> Gateway:
    def limited(**short: float) -> dict[str, float]:
        return {"connect": 20, "send": 20, "read": 20, **short}

    def route(name: str, address: str, own: dict[str, float], **upstream: Any) -> dict[str, Any]:
        return {
            "id": name,
            "uri": f"/{name}",
            "timeout": own,
            "upstream": {"nodes": {address: 1}, "timeout": limited()} | upstream,
        }

    routes = [
        route("connect", deaf, limited(connect=0.2)),
        route("send", unread, limited(send=0.2)),
        route("read", node.address, limited(read=0.2)),
        route("long", node.address, limited(), timeout=limited(read=0.2)),
        {"id": "own", "uri": "/own", "upstream": {"nodes": {node.address: 1}, "timeout": limited(read=0.2)}},
    ]
    return module_gateway({"routes": routes})


def asked(served: Gateway, path: str, body: bytes = b"") -> tuple[int, float]:
    began = time.monotonic()
    with served.client() as client:
        code = client.request("POST" if body else "GET", path, body=body).status
    return code, time.monotonic() - began


@pytest.mark.parametrize("path", ["/connect", "/read", "/own"])
def test_a_time_limit_is_504(path: str, served: Gateway, node: ActingNode) -> None:
    node.play(silent)
    code, seconds = asked(served, path)
    assert code == 504
    assert 0.2 <= seconds < 15


def test_the_limit_of_sending(served: Gateway) -> None:
    began = time.monotonic()
    with served.client() as client:
        client.send(b"POST /send HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n")
        with contextlib.suppress(OSError):  # the gateway doesn't read to the end what has nowhere to go
            client.send(b"x" * 20_000_000)
        assert client.read_response().status == 504
    assert 0.2 <= time.monotonic() - began < 15


def test_the_routes_limit_wins(served: Gateway, node: ActingNode) -> None:
    node.play(slow(0.8))
    assert asked(served, "/long")[0] == 200


def test_a_read_limit_is_between_two_reads(served: Gateway, node: ActingNode) -> None:
    def drops(connection: Any, request: Any) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            time.sleep(0.06)
            connection.send(b"x")

    node.play(drops)
    assert asked(served, "/own")[0] == 200


def test_a_response_that_stops_is_cut(served: Gateway, node: ActingNode) -> None:
    def stops(connection: Any, request: Any) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        silent(connection, request)

    node.play(stops)
    with pytest.raises(Closed):
        asked(served, "/own")


def test_an_error_status_is_the_nodes_own(served: Gateway, node: ActingNode) -> None:
    node.play(status(504, body=b"mine"))
    with served.client() as client:
        answer = client.request("GET", "/read")
    assert (answer.status, answer.body) == (504, b"mine")
