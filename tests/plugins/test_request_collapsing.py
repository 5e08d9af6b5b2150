import contextlib
import re
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from bascule.plugins.request_collapsing import RequestCollapsing
from tests.plugins.faults import fault_paths
from tests.servers.gateway import Gateway
from tests.servers.http2 import Http2Client
from tests.servers.raw import Closed, Message, RawClient, RawConnection, response
from tests.servers.switchboard import Switchboard, body_of

WAIT_S = 20
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx"


@pytest.mark.parametrize(
    ("conf", "path"),
    [
        ({"key": ""}, "$.key"),
        ({"vary_headers": ["a:"]}, "$.vary_headers[0]"),
        ({"with_credentials": 1}, "$.with_credentials"),
        ({"wait_timeout": 0}, "$.wait_timeout"),
        ({"max_body_size": -1}, "$.max_body_size"),
    ],
)
def test_bad_configurations(conf: dict[str, Any], path: str) -> None:
    assert fault_paths(RequestCollapsing, conf) == [path]


@pytest.fixture(scope="module")
def served(board: Switchboard, module_gateway: Callable[..., Gateway]) -> Gateway:
    def route(id: str, conf: dict[str, Any], **plugins: Any) -> dict[str, Any]:
        plugins = {"request-collapsing": conf, **plugins}
        return {
            "id": id,
            "uri": f"/{id}/*",
            "plugins": plugins,
            "upstream": {"nodes": {board.address: 1}, "retries": 0},
        }

    other = {
        "match": [{"vars": [["http_referer", "==", "canary"]]}],
        "weighted_upstreams": [{"upstream": {"nodes": {board.address: 1}}}],
    }
    routes = [
        route("all", {}, **{"response-rewrite": {"headers": {"add": ["X-Own: $arg_n"]}}}),
        route("short", {"wait_timeout": 0.2}),
        route("small", {"max_body_size": 1000}),
        route("cookies", {"with_credentials": True}),
        route("keyed", {"key": "$uri", "vary_headers": []}),
        route("split", {}, **{"traffic-split": {"rules": [other]}}),
        route("told", {}, **{"proxy-rewrite": {"headers": {"set": {"X-User": "$arg_user"}}, "uri": "/all/told"}}),
        route("users", {}, **{"key-auth": {}}),
    ]
    consumers = [{"username": name, "plugins": {"key-auth": {"key": name}}} for name in ("jack", "jill")]
    return module_gateway({"routes": routes, "consumers": consumers})


class Slow:
    """Answers a path when told to, and counts the requests; each of a list of answers once, the last for ever."""

    def __init__(self, board: Switchboard, path: str, *answers: bytes) -> None:
        self.go = threading.Semaphore(0)
        self.heads: list[Message] = []
        self.came = threading.Semaphore(0)

        @board.on(path)
        def _(up: RawConnection, head: Message) -> None:
            body_of(up, head)
            number = len(self.heads)
            self.heads.append(head)
            self.came.release()
            assert self.go.acquire(timeout=WAIT_S)
            answer = answers[min(number, len(answers) - 1)]
            up.send(answer)
            if answer == CUT:
                up.close()

    def wait(self) -> None:
        assert self.came.acquire(timeout=WAIT_S)


def ask(served: Gateway, target: str, *headers: tuple[str, str]) -> RawClient:
    client = served.client()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    client.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())
    return client


def counted(served: Gateway, holder: str, result: str) -> int:
    pattern = rf'^bascule_collapsed_requests{{holder="routes/{holder}",result="{result}"}} (\d+)$'
    found = re.search(pattern, served.metrics(), re.MULTILINE)
    return int(found[1]) if found else 0


def status_of(served: Gateway) -> int:
    """Requests in flight."""
    return int(re.search(r'connections{state="writing"} (\d+)', served.metrics())[1])  # type: ignore[index]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def together(served: Gateway, slow: Slow, targets: list[str], *headers: tuple[str, str]) -> list[RawClient]:
    """Requests under way at the same time: the first at the upstream, the others behind it."""
    clients = [ask(served, targets[0], *headers)]
    slow.wait()
    clients += [ask(served, target, *headers) for target in targets[1:]]
    until(lambda: status_of(served) == len(targets))
    return clients


def answers(clients: list[RawClient]) -> list[Message]:
    with ExitStack() as stack:
        for client in clients:
            stack.enter_context(client)
        return [client.read_response() for client in clients]


def test_one_goes_and_all_get_its_answer(served: Gateway, board: Switchboard) -> None:
    body = bytes(range(256)) * 1000
    chunks = b"HTTP/1.1 200 OK\r\nETag: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
        len(body),
        body,
    )
    for number, answer in enumerate((response(body, headers=[("ETag", "x"), ("Server", "theirs")]), chunks)):
        slow = Slow(board, "/all/x", answer)
        before = counted(served, "all", "shared")
        clients = together(served, slow, [f"/all/x?n={number}"] * 20)
        slow.go.release()
        got = answers(clients)
        assert len(slow.heads) == 1
        assert counted(served, "all", "shared") == before + 19
        for one in got:
            assert (one.status, one.body) == (200, body)
            assert one.header_values("ETag") == ["x"]
            assert one.header_values("X-Own") == [str(number)]  # each has its own filters
            assert len(one.header_values("Server")) == len(one.header_values("Date")) == 1
    # What comes later asks anew.
    slow = Slow(board, "/all/x", response(b"new"))
    slow.go.release()
    assert answers([ask(served, "/all/x?n=0")])[0].body == b"new"


@pytest.mark.parametrize(
    "answer",
    [
        response(b"x", headers=[("Set-Cookie", "a=b")]),
        response(b"x", headers=[("Cache-Control", "max-age=5, Private")]),
        response(b"x", headers=[("Cache-Control", "no-store")]),
        response(b"x", headers=[("Vary", "*")]),
        response(b"x", headers=[("Content-Type", "text/event-stream")]),
        response(b"x", "302 Found"),
        response(b"x", "500 Internal Server Error"),
        CUT,
        b"nonsense\r\n\r\n",
    ],
    ids=["cookie", "private", "no-store", "vary", "events", "302", "500", "cut", "malformed"],
)
def test_what_is_not_shared(served: Gateway, board: Switchboard, answer: bytes) -> None:
    slow = Slow(board, "/all/own", answer, response(b"own"))
    clients = together(served, slow, ["/all/own"] * 3)
    slow.go.release(3)
    with contextlib.suppress(Closed):
        clients[0].read_response()
    clients[0].close()
    assert [one.body for one in answers(clients[1:])] == [b"own", b"own"]
    assert len(slow.heads) == 3


def test_a_leader_that_leaves(served: Gateway, board: Switchboard) -> None:
    """The next one goes in its place."""
    slow = Slow(board, "/all/left", response(b"first"), response(b"second"))
    clients = together(served, slow, ["/all/left"] * 4)
    clients[0].close()
    slow.wait()
    slow.go.release(2)
    assert [one.body for one in answers(clients[1:])] == [b"second"] * 3
    assert len(slow.heads) == 2


def test_a_follower_that_leaves(served: Gateway, board: Switchboard) -> None:
    slow = Slow(board, "/all/left", response(b"done"))
    clients = together(served, slow, ["/all/left"] * 3)
    clients[1].close()
    until(lambda: status_of(served) == 2)
    slow.go.release()
    assert [one.body for one in answers([clients[0], clients[2]])] == [b"done"] * 2
    assert len(slow.heads) == 1


def test_the_wait_is_bounded(served: Gateway, board: Switchboard) -> None:
    slow = Slow(board, "/short/x", response(b"done"))
    with ask(served, "/short/x") as first:
        slow.wait()
        with ask(served, "/short/x") as second:
            slow.wait()
            slow.go.release(2)
            assert (first.read_response().body, second.read_response().body) == (b"done", b"done")
    assert counted(served, "short", "timeout") == 1


@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_too_large(served: Gateway, board: Switchboard, chunked: bool) -> None:
    body = b"x" * 3000
    answer = response(body)
    if chunked:
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nbb8\r\n%b\r\n0\r\n\r\n" % body
    slow = Slow(board, "/small/x", answer)
    clients = together(served, slow, ["/small/x"] * 3)
    slow.go.release(3)
    assert [one.body for one in answers(clients)] == [body] * 3
    assert len(slow.heads) == 3


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("/all/k?a=1", ()), ("/all/k?a=2", ())),
        (("/all/k", ()), ("/all/k", (("Accept", "text/html"),))),
        (("/all/k", ()), ("/all/k", (("Range", "bytes=0-1"),))),
        (("/all/k", ()), ("/all/k", (("If-None-Match", "x"),))),
        (("/all/k", (("Cookie", "a=b"),)), ("/all/k", (("Cookie", "a=b"),))),
        (("/all/k", (("Authorization", "x"),)), ("/all/k", (("Authorization", "x"),))),
        (("/cookies/k", (("Cookie", "a=b"),)), ("/cookies/k", (("Cookie", "a=c"),))),
        (("/users/k", (("apikey", "jack"),)), ("/users/k", (("apikey", "jill"),))),
        (("/all/k", (("X-Api-Token", "a"),)), ("/all/k", (("X-Api-Token", "b"),))),
        (("/all/k", ()), ("/all/k", (("X-Api-Token", "b"),))),
        (("/split/k", ()), ("/split/k", (("Referer", "canary"),))),
    ],
)
def test_what_is_not_the_same(served: Gateway, board: Switchboard, first: Any, second: Any) -> None:
    slow = Slow(board, first[0].partition("?")[0], response(b"done"))
    clients = [ask(served, first[0], *first[1])]
    slow.wait()
    clients.append(ask(served, second[0], *second[1]))
    slow.wait()
    slow.go.release(2)
    assert [one.status for one in answers(clients)] == [200, 200]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("/cookies/k", (("Cookie", "a=b"),)), ("/cookies/k", (("Cookie", "a=b"),))),
        (("/keyed/k?a=1", ()), ("/keyed/k?a=2", (("Accept", "x"),))),
        (("/users/k", (("apikey", "jack"),)), ("/users/k", (("apikey", "jack"),))),
        (("/all/k", (("X-Api-Token", "a"),)), ("/all/k", (("x-api-token", "a"), ("User-Agent", "other")))),
    ],
)
def test_what_is_the_same(served: Gateway, board: Switchboard, first: Any, second: Any) -> None:
    slow = Slow(board, first[0].partition("?")[0], response(b"done"))
    clients = [ask(served, first[0], *first[1])]
    slow.wait()
    clients.append(ask(served, second[0], *second[1]))
    until(lambda: status_of(served) == 2)
    slow.go.release()
    assert [one.body for one in answers(clients)] == [b"done"] * 2
    assert len(slow.heads) == 1


def test_what_plugins_say_of_the_client_matters(served: Gateway, board: Switchboard) -> None:
    slow = Slow(board, "/all/told", response(b"done"))
    clients = [ask(served, "/told/x?user=jack")]
    slow.wait()
    clients.append(ask(served, "/told/x?user=jill"))
    slow.wait()
    slow.go.release(2)
    assert [one.status for one in answers(clients)] == [200, 200]
    assert [head.header("X-User") for head in slow.heads] == ["jack", "jill"]


def test_vary_of_the_response(served: Gateway, board: Switchboard) -> None:
    slow = Slow(board, "/all/v", response(b"done", headers=[("Vary", "Accept-Encoding, X-Tenant")]))
    clients = [ask(served, "/all/v", ("X-Tenant", "a"))]
    slow.wait()
    clients += [ask(served, "/all/v", ("X-Tenant", tenant)) for tenant in ("a", "b")]
    until(lambda: status_of(served) == 3)
    slow.go.release(2)
    assert [one.body for one in answers(clients)] == [b"done"] * 3
    assert len(slow.heads) == 2


def send(served: Gateway, method: str, target: str) -> RawClient:
    client = served.client()
    client.send(f"{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return client


def test_heads_are_collapsed(served: Gateway, board: Switchboard) -> None:
    Slow(board, "/all/other", response(b"")).go.release(20)
    for length in ("Content-Length: 7\r\n", "Transfer-Encoding: chunked\r\n"):
        slow = Slow(board, "/all/head", f"HTTP/1.1 200 OK\r\nETag: x\r\n{length}\r\n".encode())
        clients = [send(served, "HEAD", "/all/head")]
        slow.wait()
        clients += [send(served, "HEAD", "/all/head") for _ in range(4)]
        until(lambda: status_of(served) == 5)
        slow.go.release()
        for client in clients[1:]:
            with client:
                head = client.read_response("HEAD")
                assert (head.status, head.header("ETag"), head.body) == (200, "x", b"")
                assert head.header("Content-Length") == ("7" if "7" in length else None)
                assert client.request("HEAD", "/all/other").status == 200  # the connection is as it should be
        with clients[0] as client:
            assert client.read_response("HEAD").status == 200
        assert len(slow.heads) == 1


def test_a_head_gets_that_of_a_get_under_way(served: Gateway, board: Switchboard) -> None:
    """As soon as it is there; and never the other way round."""
    slow = Slow(board, "/all/both", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
    get = send(served, "GET", "/all/both")
    slow.wait()
    heads = [send(served, "HEAD", "/all/both") for _ in range(2)]
    until(lambda: status_of(served) == 3)
    slow.go.release()
    for client in heads:
        with client:
            assert client.read_response("HEAD").header("Content-Length") == "4"
    with send(served, "HEAD", "/all/both") as late:  # the body is still on its way
        assert late.read_response("HEAD").status == 200
    assert len(slow.heads) == 1
    get.close()
    until(lambda: status_of(served) == 0)
    slow = Slow(board, "/all/both", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", response(b"done"))
    with send(served, "HEAD", "/all/both") as head:
        slow.wait()
        with send(served, "GET", "/all/both") as get:
            slow.wait()
            slow.go.release(2)
            assert head.read_response("HEAD").status == 200
            assert len(get.read_response().body) == 4


def test_a_head_whose_get_leaves(served: Gateway, board: Switchboard) -> None:
    slow = Slow(board, "/all/gone", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
    get = send(served, "GET", "/all/gone")
    slow.wait()
    heads = [send(served, "HEAD", "/all/gone") for _ in range(3)]
    until(lambda: status_of(served) == 4)
    get.close()
    slow.wait()
    slow.go.release(2)
    for client in heads:
        with client:
            assert client.read_response("HEAD").header("Content-Length") == "4"
    assert [head.method for head in slow.heads] == ["GET", "HEAD"]


def test_a_leader_that_leaves_in_the_middle_of_the_body(served: Gateway, board: Switchboard) -> None:
    slow = Slow(board, "/all/mid", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", response(b"second"))
    clients = together(served, slow, ["/all/mid"] * 4)
    slow.go.release()
    clients[0].read_head()
    clients[0].close()
    slow.wait()
    slow.go.release()
    assert [one.body for one in answers(clients[1:])] == [b"second"] * 3
    assert len(slow.heads) == 2


def test_other_methods(served: Gateway, board: Switchboard) -> None:
    slow = Slow(board, "/all/m", response(b""))
    for method in ("POST", "OPTIONS", "GET"):
        clients = [served.client() for _ in range(2)]
        for client in clients:
            client.send(f"{method} /all/m HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode())
        for _ in clients:
            slow.wait()
        slow.go.release(2)
        for client in clients:
            assert client.read_response(method).status == 200
            client.close()


def test_by_http2(served: Gateway, board: Switchboard) -> None:
    slow = Slow(board, "/all/h2", response(b"done" * 1000))
    with Http2Client(served.port) as client:
        first = client.request("/all/h2")
        slow.wait()
        streams = [first] + [client.request("/all/h2") for _ in range(10)]
        until(lambda: status_of(served) == 11)
        slow.go.release()
        assert [client.wait(stream).body for stream in streams] == [b"done" * 1000] * 11
        assert len(slow.heads) == 1
        streams = [client.request("/all/h2")]
        slow.wait()
        head = client.request("/all/h2", method="HEAD")
        # One with a body goes by itself, also when no field says that it has one.
        streams.append(client.request("/all/h2", end=False))
        client.data(streams[1], b"q", end=True)
        slow.wait()
        until(lambda: status_of(served) == 3)
        slow.go.release(2)
        answer = client.wait(head)
        assert (answer.status, answer.header("content-length"), answer.body) == (200, "4000", b"")
        assert [client.wait(stream).body for stream in streams] == [b"done" * 1000] * 2
