"""Responses on their way through filters: streamed, held until plugins have seen the whole body, with trailers."""

import threading
from collections.abc import Callable

import pytest

from tests.engine.hooked import plain, wait_log
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port
from tests.servers.raw import Message, RawClient, RawConnection, response
from tests.servers.switchboard import Switchboard, body_of

PLUGINS = """
from bascule.plugin import AddHeaders, Config, Plugin, Response


class Conf(Config):
    mode: str = ""


class Held(Plugin):
    name = "held"
    priority = 100
    Config = Conf

    def header_filter(self, request, response):
        if response.source == "upstream" and response.header("X-Flows") is None:
            response.hold_limit = 1000

    def body_filter(self, request, response, chunk, last):
        if response.source != "upstream" or not response.hold_limit:
            return None
        assert last
        if self.conf.mode == "fails":
            raise ValueError("failed on purpose")
        response.status = int(chunk[:3] or 298)
        response.set_header("X-Length", len(chunk))
        response.set_header("X-Sum", dict(response.trailers).get("x-sum", "none"))
        return chunk[3:].upper()


class Trailers(Plugin):
    name = "trailers"
    priority = 100
    Config = Conf

    def body_filter(self, request, response, chunk, last):
        if not last:
            return None
        came = " ".join(f"{name}={value}" for name, value in response.trailers)
        if self.conf.mode == "none":
            response.trailers = []
        elif self.conf.mode == "wrong":
            response.trailers.append(("x", "a" + chr(10) + "b"))
        elif self.conf.mode == "framing":
            response.trailers = [("Content-Length", "3")]
        else:
            response.trailers.append(("X-Mine", "yes"))
        return chunk + b"!" + came.encode()


class Filters(Plugin):
    name = "filters"
    priority = 100
    Config = Conf

    def header_filter(self, request, response):
        response.set_header("X-Filtered", response.header("X-Ahead") or "yes")
        if self.conf.mode == "status":
            response.status = 299

    def body_filter(self, request, response, chunk, last):
        if self.conf.mode == "observe":
            return None
        return chunk.upper() + (b"!" if last else b"")


class Ahead(Plugin):
    name = "ahead"
    priority = 200
    Config = Conf

    def access(self, request):
        request.set_response_headers([("X-Up", "changed"), ("X-Ahead", 7)])
        if self.conf.mode == "answers":
            return Response(403, b"no", {"x-up": "mine"})


class Constant(Plugin):
    name = "constant"
    priority = 50
    Config = Conf

    def header_filter(self, request, response):
        raise AssertionError("another one was set")

    def __init__(self, conf, host):
        super().__init__(conf, host)
        self.header_filter = AddHeaders([("X-Up", "constant"), ("X-Mine", 1)])


class Fails(Plugin):
    name = "fails"
    priority = 100
    Config = Conf

    def body_filter(self, request, response, chunk, last):
        raise ValueError("failed on purpose: body_filter")
"""
CHUNKED = b"HTTP/1.1 200 OK\r\nServer: up\r\nX-Up: yes\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def served(board: Switchboard, module_gateway: Callable[..., Gateway]) -> Gateway:

    def route(name: str, plugin: str, mode: str) -> dict[str, object]:
        upstream: dict[str, object] = {
            "nodes": {board.address: 1},
            "timeout": {"connect": 5, "send": 5, "read": 1 if mode == "slow" else 30},
        }
        if mode == "again":
            upstream |= {"retries": 1, "retry_policy": {"on": ["reset"]}}
        return {"id": name, "uri": f"/{name}/*", "plugins": {plugin: {"mode": mode}}, "upstream": upstream}

    modes = [
        "held",
        "held-again",
        "held-slow",
        "held-fails",
        "trailers",
        "trailers-none",
        "trailers-wrong",
        "trailers-framing",
    ]
    routes = [route(name, *(f"{name}-".split("-")[:2])) for name in modes]
    for name, plugin, mode in (
        ("filters", "filters", ""),
        ("filters-status", "filters", "status"),
        ("observe", "filters", "observe"),
        ("body_filter", "fails", ""),
        ("constant", "constant", ""),
        ("ahead", "ahead", ""),
        ("ahead-answers", "ahead", "answers"),
        ("ahead-filters", "ahead", ""),
        ("ahead-fails", "ahead", ""),
    ):
        routes.append(route(name, plugin, mode) | {"uri": f"/{name}"})
    routes[-2]["plugins"] = {"ahead": {}, "filters": {"mode": "observe"}}
    routes[-1]["upstream"] = {"nodes": {f"127.0.0.1:{free_port()}": 1}}
    config = {"bascule": {"plugins": ["mine.py"]}}
    return module_gateway({"routes": routes}, config, files={"mine.py": PLUGINS}, expected=("Traceback",))


@pytest.mark.parametrize(("name", "status"), [("ahead", 200), ("ahead-answers", 403), ("ahead-filters", 200)])
def test_headers_set_ahead_are_there_before_any_header_filter(
    name: str, status: int, client: RawClient, board: Switchboard
) -> None:
    answering(board, f"/{name}", response(b"hello", headers=[("x-UP", "theirs"), ("X-Other", "stays")]))
    for _ in range(2):
        answer = client.request("GET", f"/{name}")
        assert (answer.status, answer.header_values("x-up"), answer.header("x-ahead")) == (status, ["changed"], "7")
        assert answer.header("x-filtered") == ("7" if name == "ahead-filters" else None)
        assert answer.header("x-other") == ("stays" if status == 200 else None)
        assert answer.body == (b"hello" if status == 200 else b"no")


def test_a_header_filter_of_constants(client: RawClient, board: Switchboard) -> None:
    answering(board, "/constant", response(b"hello", headers=[("x-UP", "theirs")]))
    for _ in range(2):
        answer = client.request("GET", "/constant")
        assert (answer.header_values("x-up"), answer.header("x-mine")) == (["theirs", "constant"], "1")


def test_headers_set_ahead_go_on_the_gateways_own_errors(client: RawClient) -> None:
    answer = client.request("GET", "/ahead-fails")
    assert (answer.status, answer.header("x-up"), answer.header("x-ahead")) == (502, "changed", "7")


def answering(board: Switchboard, path: str, *parts: bytes, close: bool = False) -> None:
    @board.on(path)
    def _(up: RawConnection, head: object) -> None:
        for part in parts:
            up.send(part)
        if close:
            up.close()


@pytest.mark.parametrize("flows", [True, False])
def test_nothing_is_left_of_a_try_that_was_cut(flows: bool, client: RawClient, board: Switchboard) -> None:
    path = f"/held-again/{flows}"
    tries: list[int] = []

    @board.on(path)
    def _(up: RawConnection, head: object) -> None:
        tries.append(1)
        if len(tries) == 1:
            up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n299first")
            up.close()
        else:
            up.send(response(b"299second", headers=[("X-Flows", "yes")] if flows else []))

    answer = client.request("GET", path)
    assert (answer.status, answer.body) == ((200, b"299second") if flows else (299, b"SECOND"))
    assert len(tries) == 2
    assert client.request("GET", path).status in (200, 299)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_status_and_headers_may_change_once_the_body_is_whole(
    framing: str, client: RawClient, served: Gateway, board: Switchboard
) -> None:
    path = f"/held/{framing}"
    if framing == "length":
        answering(board, path, response(b"404hello", headers=[("X-Up", "yes"), ("Server", "up")]))
    elif framing == "chunked":
        answering(board, path, CHUNKED + b"5\r\n404he\r\n", b"3\r\nllo\r\n0\r\n\r\n")
    else:
        answering(board, path, b"HTTP/1.1 200 OK\r\nX-Up: yes\r\nConnection: close\r\n\r\n404hello", close=True)
    for _ in range(2):
        answer = client.request("GET", path)
        assert (answer.status, answer.body) == (404, b"HELLO")
        assert answer.header_values("content-length") == ["5"]
        assert (answer.header("transfer-encoding"), answer.header("x-up")) == (None, "yes")
        assert (answer.header("x-length"), answer.header("x-sum")) == ("8", "none")
        assert not (answer.header("server") or "").startswith("up")
        with served.client() as old:
            old.send(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            assert old.read_response().body == b"HELLO"


def test_the_upstreams_connection_is_used_again(client: RawClient, board: Switchboard) -> None:
    ports = set()

    @board.on("/held/again")
    def _(up: RawConnection, head: object) -> None:
        ports.add(up.sock.getpeername())
        up.send(response(b"200"))

    assert [client.request("GET", "/held/again").status for _ in range(5)] == [200] * 5
    assert len(ports) == 1


def test_trailers_are_seen_and_do_not_go_on(client: RawClient, board: Switchboard) -> None:
    answering(board, "/held/trailers", CHUNKED + b"3\r\n201\r\n0\r\nX-Sum: 7\r\n\r\n")
    answer = client.request("GET", "/held/trailers")
    assert (answer.status, answer.header("x-sum"), answer.trailers) == (201, "7", [])


def test_an_empty_body_and_no_body(client: RawClient, board: Switchboard) -> None:
    answering(board, "/held/empty", response(b""))
    assert client.request("GET", "/held/empty").status == 298
    answering(board, "/held/none", b"HTTP/1.1 204 No Content\r\n\r\n")
    assert client.request("GET", "/held/none").status == 204
    answering(board, "/held/head", b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
    assert client.request("HEAD", "/held/head").status == 200


def test_a_body_over_the_limit_is_502(served: Gateway, board: Switchboard) -> None:
    answering(board, "/held/large", response(b"x" * 1001))
    with served.client() as client:
        assert client.request("GET", "/held/large").status == 502
        answering(board, "/held/fits", response(b"200" + b"x" * 997))
        assert len(client.request("GET", "/held/fits").body) == 997
    assert "larger than 1000 bytes" in served.log


def test_an_upstream_that_dies_within_the_body_is_a_clean_502(client: RawClient, board: Switchboard) -> None:
    answering(board, "/held/dies", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n200x", close=True)
    assert client.request("GET", "/held/dies").status == 502
    answering(board, "/held/bad", CHUNKED + b"3\r\n200\r\nzz\r\n", close=True)
    assert client.request("GET", "/held/bad").status == 502


def test_an_upstream_that_stalls_within_the_body_is_a_clean_504(client: RawClient, board: Switchboard) -> None:
    @board.on("/held-slow/x")
    def _(up: RawConnection, head: object) -> None:
        up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n200x")
        up.read_to_end()

    assert client.request("GET", "/held-slow/x").status == 504


def test_a_plugin_that_fails_is_500(client: RawClient, board: Switchboard) -> None:
    answering(board, "/held-fails/x", response(b"200secret"))
    answer = client.request("GET", "/held-fails/x")
    assert answer.status == 500
    assert b"secret" not in answer.body


def test_a_request_body_that_flows_on(client: RawClient, board: Switchboard) -> None:
    """The upstream answers before it has the body; the next request on the connection works."""

    @board.on("/held/early")
    def _(up: RawConnection, head: object) -> None:
        up.send(response(b"201early"))
        body_of(up, head)  # type: ignore[arg-type]

    for _ in range(2):
        client.send(b"POST /held/early HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
        answer = client.read_response()
        assert (answer.status, answer.body) == (201, b"EARLY")
        client.send(b"67890")


@pytest.mark.parametrize(
    ("route", "came", "sent"),
    [
        ("trailers", b"X-Sum: 7\r\n", [("x-sum", "7"), ("x-mine", "yes")]),
        ("trailers", b"", [("x-mine", "yes")]),
        ("trailers-none", b"X-Sum: 7\r\n", []),
        ("trailers-wrong", b"X-Sum: 7\r\n", [("x-sum", "7")]),
        ("trailers-framing", b"X-Sum: 7\r\n", [("x-sum", "7")]),
    ],
)
def test_plugins_see_and_change_trailers(
    route: str, came: bytes, sent: list[tuple[str, str]], client: RawClient, board: Switchboard
) -> None:
    answering(board, f"/{route}/x", CHUNKED + b"3\r\nabc\r\n0\r\n" + came + b"\r\n")
    answer = client.request("GET", f"/{route}/x")
    assert answer.body == b"abc!" + (b"x-sum=7" if came else b"")
    assert answer.trailers == sent


def test_filters_stream(client: RawClient, board: Switchboard) -> None:
    """The first chunk reaches the client before the upstream has sent the second."""
    seen = threading.Event()

    @board.on("/filters")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        assert seen.wait(5)
        up.send(b"later")

    for _ in range(2):
        seen.clear()
        client.send(b"GET /filters HTTP/1.1\r\nHost: a\r\n\r\n")
        head = client.read_head()
        assert head.header("X-Filtered") == "yes"
        assert head.header("Content-Length") is None
        assert head.header("Transfer-Encoding") == "chunked"
        assert client.read_until(b"FIRST\r\n") == b"5\r\nFIRST\r\n"
        seen.set()
        assert client.read_until(b"0\r\n\r\n") == b"6\r\nLATER!\r\n0\r\n\r\n"


def test_filters_and_every_framing(client: RawClient, served: Gateway, board: Switchboard) -> None:
    wires = {
        "length": response(b"abc"),
        "empty": response(b""),
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nX: y\r\n\r\n",
        "close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc",
    }

    @board.on("/filters")
    def _(up: RawConnection, head: Message) -> None:
        kind = head.target.partition("?")[2]
        if head.method != "HEAD":
            up.send(wires[kind])
        else:
            up.send(wires[kind].partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        if kind == "close":
            up.close()

    for kind in wires:
        expected = b"!" if kind == "empty" else b"ABC!"
        assert client.request("GET", f"/filters?{kind}").body == expected
        answer = client.request("HEAD", f"/filters?{kind}")
        assert (answer.status, answer.header("X-Filtered")) == (200, "yes")
        with served.client() as old:
            old.send(f"GET /filters?{kind} HTTP/1.0\r\n\r\n".encode())
            assert old.read_response().body == expected
    assert client.buffer == b""


def test_a_filter_that_only_looks_and_one_that_changes_the_status(client: RawClient, board: Switchboard) -> None:
    plain(board, "/observe")
    plain(board, "/filters-status")
    for _ in range(2):
        assert client.request("GET", "/observe").body == b"plain"
        answer = client.request("GET", "/filters-status")
        assert (answer.status, answer.body) == (299, b"PLAIN!")


def test_a_failing_body_filter_cuts_the_response(served: Gateway, board: Switchboard) -> None:
    @board.on("/body_filter")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        up.read_to_end()

    with served.client() as client:
        client.send(b"GET /body_filter HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"first" not in client.read_to_end()
    wait_log(served, "failed on purpose: body_filter\n")
