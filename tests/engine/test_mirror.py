"""Copies of requests, by way of proxy-mirror."""

import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.certificates import Certificates
from tests.servers.gateway import Gateway
from tests.servers.grpc_server import SERVICE, GrpcServer, framed, messages
from tests.servers.http2 import Http2Client
from tests.servers.ports import free_port
from tests.servers.raw import Message, RawConnection, RawUpstream, response

WAIT_S = 20
METRIC = "bascule_mirrored_requests"


class Target:
    """A server that copies go to; `take()` gives the next one. While `held` is set it doesn't answer."""

    def __init__(self, **options: Any) -> None:
        self.came: queue.Queue[Message] = queue.Queue()
        self.go_on = threading.Event()
        self.go_on.set()
        self.answer = response(b"dropped")
        self.server = RawUpstream(self.play, **options)

    def play(self, connection: RawConnection) -> None:
        while True:
            self.came.put(connection.read_request())
            assert self.go_on.wait(WAIT_S)
            connection.send(self.answer)

    def take(self) -> Message:
        return self.came.get(timeout=WAIT_S)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    one = Target()
    yield one
    one.go_on.set()
    one.server.stop()


@pytest.fixture(scope="module")
def sink() -> Iterator[RawUpstream]:
    """Takes any body."""
    one = RawUpstream(swallow)
    yield one
    one.stop()


def swallow(
    connection: RawConnection, taken: queue.Queue[int] | None = None, go_on: threading.Event | None = None
) -> None:
    """Requests with a length of any size, without keeping them; `taken` hears of it before it is answered."""
    while True:
        length = left = int(connection.read_head().header("Content-Length") or 0)
        left -= len(connection.buffer)
        connection.buffer = connection.received = b""
        while left:
            left -= len(connection.sock.recv(1 << 20)) or left
        if taken is not None:
            taken.put(length)
        assert go_on is None or go_on.wait(WAIT_S)
        connection.send(response(b"ok"))


@pytest.fixture(scope="module")
def served(
    echo: RawUpstream,
    target: Target,
    greeter: GrpcServer,
    module_gateway: Callable[..., Gateway],
) -> Gateway:
    def route(id: str, host: str, conf: dict[str, Any], **more: Any) -> dict[str, Any]:
        plugins = {"proxy-mirror": {"host": host, **conf}, **more.pop("plugins", {})}
        nodes = {"scheme": more.pop("scheme", "http"), "nodes": more.pop("nodes", {echo.address: 1})}
        return {"id": id, "uri": f"/{id}/*", "plugins": plugins, "upstream": {**nodes, **more}}

    to = f"http://{target.server.address}"
    rewritten = {"proxy-rewrite": {"uri": "/new", "host": "set.example", "headers": {"set": {"X-Set": "$uri"}}}}
    routes = [
        route("all", to, {}),
        route("path", to, {"path": "/copy", "path_concat_mode": "prefix"}),
        route("rewritten", to, {}, plugins=rewritten),
        route("node", to, {}, pass_host="node"),
        route("small", to, {"max_body_size": 1000}),
        route("held", to, {"max_body_size": 1000}, plugins={"proxy-control": {}}),
        route("two", to, {"max_concurrent": 2}),
        route("down", f"http://127.0.0.1:{free_port()}", {}),
        route("retried", to, {}, nodes={f"127.0.0.1:{free_port()}": 1, echo.address: 1}),
        route("failed", to, {}, nodes={f"127.0.0.1:{free_port()}": 1}, retries=2, pass_host="node"),
        route(SERVICE, f"grpc://{greeter.address}", {}, scheme="grpc", nodes={greeter.address: 1}),
        route(
            "web", f"grpc://{greeter.address}", {}, plugins={"grpc-web": {}}, scheme="grpc",
            nodes={greeter.address: 1},
        ),
    ]  # fmt: skip
    return module_gateway({"routes": routes})


def counted(served: Gateway, holder: str, result: str) -> int:
    pattern = rf'^{METRIC}{{holder="routes/{holder}",result="{result}"}} (\d+)$'
    found = re.search(pattern, served.metrics(), re.MULTILINE)
    return int(found[1]) if found else 0


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_copy_is_what_the_upstream_gets(served: Gateway, target: Target) -> None:
    headers = [("Host", "shop.example"), ("X-A", "b"), ("X-Forwarded-For", "1.2.3.4")]
    with served.client() as client:
        for path, copied in (
            ("/all/x?y=z", "/all/x?y=z"),
            ("/node/x", "/node/x"),
            ("/rewritten/x?y=z", "/new?y=z"),
        ):
            sent: Any = client.request("GET", path, headers).json()
            copy = target.take()
            assert (copy.method, copy.target) == (sent["method"], sent["target"]) == ("GET", copied)
            assert sorted(map(tuple, copy.headers)) == sorted(map(tuple, sent["headers"]))
        client.request("GET", "/path/x?y=z", headers)
        assert target.take().target == "/copy/path/x?y=z"
        assert client.request("HEAD", "/all/x").status == 200
        assert target.take().method == "HEAD"


def test_bodies(served: Gateway, target: Target) -> None:
    body = bytes(range(256)) * 400
    with served.client() as client:
        sent: Any = client.request("POST", "/all/x", body=body).json()
        copy = target.take()
        assert copy.body == sent["body"].encode("latin-1") == body
        assert copy.header("Content-Length") == str(len(body))
        client.send(b"POST /all/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        client.send(b"5\r\nhello\r\n", b"6\r\n wor", b"ld\r\n0\r\n\r\n")
        sent = client.read_response().json()
        copy = target.take()
        assert copy.body == sent["body"].encode() == b"hello world"
        assert (copy.header("Content-Length"), copy.header("Expect")) == ("11", None)
        client.request("POST", "/held/x", body=b"held")
        assert target.take().body == b"held"
        client.send(b"POST /all/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert client.read_response().status == 200
        assert target.take().body == b""
    with Http2Client(served.port) as http2:
        assert http2.wait(http2.request("/all/h2", method="PUT", body=body)).status == 200
        copy = target.take()
        assert (copy.method, copy.target, copy.body) == ("PUT", "/all/h2", body)


def test_bodies_too_large(served: Gateway, target: Target) -> None:
    before = counted(served, "small", "body"), counted(served, "held", "body")
    body = b"x" * 5000
    with served.client() as client:
        for path in ("/small/x", "/held/x"):
            for request in (
                b"Content-Length: 5000\r\n\r\n" + body,
                b"Transfer-Encoding: chunked\r\n\r\n1388\r\n" + body + b"\r\n0\r\n\r\n",
            ):
                client.send(f"POST {path} HTTP/1.1\r\nHost: a\r\n".encode() + request)
                sent: Any = client.read_response().json()
                assert sent["body"] == body.decode()
        client.request("POST", "/small/x", body=b"x" * 1000)
    assert len(target.take().body) == 1000
    assert (counted(served, "small", "body"), counted(served, "held", "body")) == (before[0] + 2, before[1] + 2)


def test_a_body_that_never_comes_whole(served: Gateway, target: Target) -> None:
    before = counted(served, "all", "body")
    with served.client() as client:
        client.send(b"POST /all/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n12345")
    wait(lambda: counted(served, "all", "body") == before + 1)
    assert target.came.empty()


def test_a_slow_target_holds_nothing_up(served: Gateway, target: Target) -> None:
    before = counted(served, "two", "busy")
    target.go_on.clear()
    with served.client() as client:
        for n in range(5):
            assert client.request("POST", f"/two/{n}", body=b"x").status == 200
        assert {target.take().target for _ in range(2)} == {"/two/0", "/two/1"}
        assert counted(served, "two", "busy") == before + 3
        target.go_on.set()
        wait(lambda: counted(served, "two", "answered") >= 2)
        assert client.request("GET", "/two/5").status == 200
    assert target.take().target == "/two/5"
    assert target.came.empty()


def test_a_target_that_is_down(served: Gateway) -> None:
    with served.client() as client:
        for _ in range(3):
            assert client.request("GET", "/down/x").status == 200
    wait(lambda: counted(served, "down", "failed") == 3)
    assert served.log.count("routes/down: copies to http://127.0.0.1:") == 1
    assert served.logged("GET /down/x")
    assert served.access_log().count("GET /down/x") == 3


def test_answers_of_every_kind_are_dropped(served: Gateway, target: Target) -> None:
    answers = (
        response(b"", "500 Internal Server Error"),
        response(b"x" * 300_000),
        response(b"x" * 3_000_000),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"no HTTP at all\r\n\r\n",
    )
    total = sum(counted(served, "all", result) for result in ("answered", "failed"))
    with served.client() as client:
        for n, answer in enumerate(answers, 1):
            target.answer = answer
            assert client.request("GET", "/all/x").status == 200
            target.take()
            wait(lambda: sum(counted(served, "all", r) for r in ("answered", "failed")) == total + n)  # noqa: B023
    target.answer = response(b"dropped")


def test_connections_are_used_again(served: Gateway, target: Target) -> None:
    with served.client() as client:
        for n in range(20):
            assert client.request("GET", f"/all/{n}").status == 200
            target.take()
            before = counted(served, "all", "answered")
            if n == 0:
                connections = len(target.server.connections)
            wait(lambda: counted(served, "all", "answered") >= before)  # noqa: B023
    assert len(target.server.connections) - connections < 10


def test_one_copy_however_often_it_is_tried(served: Gateway, target: Target) -> None:
    with served.client() as client:
        for n in range(4):
            assert client.request("POST", f"/retried/{n}", body=b"x").status == 200
    came = {target.take().target for _ in range(4)}  # in any order: each copy on a connection of its own
    assert came == {f"/retried/{n}" for n in range(4)}
    assert target.came.empty()


def test_a_body_that_comes_after_all_tries_failed(served: Gateway, target: Target) -> None:
    with served.client() as client:
        client.send(b"POST /failed/1 HTTP/1.1\r\nHost: mine.example\r\nContent-Length: 6\r\n\r\none")
        assert client.read_response().status == 502
        client.send(b"two")
        copy = target.take()
    assert (copy.target, copy.body) == ("/failed/1", b"onetwo")
    assert (copy.header("host") or "").startswith("127.0.0.1:")


def test_chunked_bodies_when_no_connection_could_be_opened(served: Gateway, target: Target) -> None:
    """The first node refuses every other connection: what goes to the next one, and to the target, is the body."""
    with served.client() as client:
        for n in range(6):
            client.send(b"POST /retried/%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" % n)
            if n % 2:  # the rest is there when the first try fails, or comes later
                client.send(b"6\r\n world\r\n0\r\n\r\n")
            else:
                client.send(b"6\r\n wor", b"ld\r\n0\r\n\r\n")
            sent: Any = client.read_response().json()
            copy = target.take()
            assert (sent["body"], copy.body) == ("hello world", b"hello world")
            assert copy.header("Transfer-Encoding") is None
    assert target.came.empty()
    before = counted(served, "failed", "body")
    for last in (b"", b"3\r\ntwo\r\n0\r\n\r\n"):
        with served.client() as client:
            head = b"POST /failed/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            client.send(head + b"3\r\none\r\n" + last)
            assert client.read_response().status == 502
    wait(lambda: counted(served, "failed", "body") + target.came.qsize() == before + 2)
    while not target.came.empty():
        assert target.take().body == b"onetwo"


def test_bodies_of_copies_under_way_are_bounded(sink: RawUpstream, gateway: Callable[..., Gateway]) -> None:
    """A worker holds 64 MB of them."""
    body = b"x" * (24 << 20)
    taken: queue.Queue[int] = queue.Queue()
    go_on = threading.Event()
    target = RawUpstream(lambda connection: swallow(connection, taken, go_on))
    conf = {"host": f"http://{target.address}", "max_body_size": 32 << 20}
    upstream = {"nodes": {sink.address: 1}}
    one = gateway({"routes": [{"id": "large", "uri": "/", "plugins": {"proxy-mirror": conf}, "upstream": upstream}]})
    with one.client() as client:
        for _ in range(4):
            assert client.request("POST", "/", body=body).status == 200
        assert [taken.get(timeout=WAIT_S) for _ in range(2)] == [len(body)] * 2
        wait(lambda: counted(one, "large", "busy") == 2)
        go_on.set()
        wait(lambda: counted(one, "large", "answered") == 2)
        assert client.request("POST", "/", body=body).status == 200
    assert taken.get(timeout=WAIT_S) == len(body)
    target.stop()


def test_grpc(served: Gateway, greeter: GrpcServer) -> None:
    body = framed(messages().HelloRequest(name="you"))
    grpc_headers = (("content-type", "application/grpc"), ("te", "trailers"))
    with Http2Client(served.port) as client:
        stream = client.request(f"/{SERVICE}/SayHello", *grpc_headers, method="POST", body=body)
        assert ("grpc-status", "0") in client.wait(stream).trailers
    greeter.wait_called("SayHello", 2)
    with served.client() as plain:
        headers = [("Content-Type", "application/grpc-web+proto")]
        assert plain.request("POST", f"/web/{SERVICE}/SayHello", headers, body).status == 200
    greeter.wait_called("SayHello", 4)


def test_over_tls_and_in_config_yaml(tmp_path: Path, echo: RawUpstream) -> None:
    pair = Certificates(tmp_path / "certificates").server
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    secure = Target(tls=context)
    conf = {"host": f"https://127.0.0.1:{secure.server.port}"}
    silent = socket.create_server(("127.0.0.1", 0))
    conf_silent = {"host": f"http://127.0.0.1:{silent.getsockname()[1]}"}
    nodes = {"nodes": {echo.address: 1}}
    routes = [
        {"id": "tls", "uri": "/tls", "plugins": {"proxy-mirror": conf}, "upstream": nodes},
        {"id": "silent", "uri": "/silent", "plugins": {"proxy-mirror": conf_silent}, "upstream": nodes},
    ]
    config = {"plugin_attr": {"proxy-mirror": {"timeout": {"read": "300ms"}}}}
    one = Gateway(tmp_path / "gateway", {"routes": routes}, config)
    try:
        with one.client() as client:
            assert client.request("POST", "/tls", body=b"sealed").status == 200
            assert secure.take().body == b"sealed"
            assert client.request("GET", "/silent").status == 200
        wait(lambda: counted(one, "silent", "failed") == 1)
        assert "reading the response timed out" in one.log
    finally:
        one.stop()
        secure.server.stop()
        silent.close()
