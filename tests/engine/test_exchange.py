"""Plugins in the life of an exchange, end to end: suspension, bodies, filters, failures, the log phase, live reload."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.gateway import Gateway
from tests.servers.raw import Message, RawClient, RawConnection, response
from tests.servers.switchboard import Switchboard, body_of

PLUGINS = '''
import asyncio

from bascule.plugin import Config, Plugin, Response


class Conf(Config):
    mode: str = ""


class Mark(Plugin):
    """A later link of the chain: says that it was reached."""
    name = "mark"
    priority = 10
    Config = Conf

    def rewrite(self, request):
        request.set_header("X-Marked", "rewrite")

    def log(self, request):
        self.host.log.warning("mark log %s %s", self.conf.mode, request.response and request.response.status)


class Later(Plugin):
    name = "later"
    priority = 100
    Config = Conf

    async def rewrite(self, request):
        await asyncio.sleep(0.01)
        request.set_header("X-Later", "rewrite")

    async def access(self, request):
        await asyncio.sleep(0)
        request.add_header("X-Later", "access")
        if self.conf.mode == "answer":
            return Response(202, {"from": "later"})

    async def before_proxy(self, request):
        await asyncio.sleep(0.001)
        request.add_header("X-Later", "before_proxy")


class InTask(Plugin):
    name = "in-task"
    priority = 100
    Config = Conf
    needs_task = True

    async def access(self, request):
        async with asyncio.timeout(5):
            await asyncio.sleep(0.001)
        request.set_header("X-Task", asyncio.current_task() is not None and "yes")


class Body(Plugin):
    name = "body"
    priority = 100
    Config = Conf

    async def access(self, request):
        mode = self.conf.mode
        if mode == "body":
            body = await request.body(10_000_000)
            request.set_header("X-Size", str(len(body)))
        elif mode == "peek":
            start = await request.peek_body(4)
            request.set_header("X-Start", start[:4].hex())
        elif mode == "set":
            request.set_body(b"replaced " + await request.body(10_000_000))
        elif mode == "limit":
            await request.body(1000)


class Stuck(Plugin):
    name = "stuck"
    priority = 100
    Config = Conf

    async def access(self, request):
        self.host.log.warning("stuck begins")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.host.log.warning("stuck was cancelled")
            raise


class Filters(Plugin):
    name = "filters"
    priority = 100
    Config = Conf

    def header_filter(self, request, response):
        response.set_header("X-Filtered", "yes")
        if self.conf.mode == "status":
            response.status = 299

    def body_filter(self, request, response, chunk, last):
        if self.conf.mode == "observe":
            return None
        return chunk.upper() + (b"!" if last else b"")


class Fails(Plugin):
    name = "fails"
    priority = 100
    Config = Conf

    def hooks(self):
        return (self.conf.mode.removeprefix("async_"),)

    def __init__(self, conf, host):
        super().__init__(conf, host)
        if conf.mode.startswith("async_"):
            setattr(self, conf.mode[6:], self.later)

    async def later(self, request):
        await asyncio.sleep(0.001)
        raise ValueError("failed on purpose: " + self.conf.mode)

    def now(self, *args):
        raise ValueError("failed on purpose: " + self.conf.mode)

    rewrite = access = before_proxy = header_filter = body_filter = log = now
'''

PHASES = ("rewrite", "access", "before_proxy", "header_filter", "async_rewrite", "async_access", "async_before_proxy")


def route(name: str, address: str, plugin: str, mode: str = "") -> dict[str, object]:
    plugins = {plugin: {"mode": mode}, "mark": {"mode": name}}
    return {"id": name, "uri": f"/{name}", "plugins": plugins, "upstream": {"nodes": {address: 1}}}


@pytest.fixture(scope="module")
def served(board: Switchboard, module_gateway: Callable[..., Gateway]) -> Gateway:
    address = board.address
    routes = [
        route("later", address, "later"),
        route("later-answer", address, "later", "answer"),
        route("in-task", address, "in-task"),
        *(route(mode, address, "body", mode) for mode in ("body", "peek", "set", "limit")),
        route("stuck", address, "stuck"),
        route("filters", address, "filters"),
        route("filters-status", address, "filters", "status"),
        route("observe", address, "filters", "observe"),
        *(route(phase, address, "fails", phase) for phase in (*PHASES, "body_filter", "log")),
    ]
    config = {"bascule": {"plugins": ["mine.py"]}, "nginx_config": {"http": {"client_max_body_size": "0"}}}
    return module_gateway({"routes": routes}, config, files={"mine.py": PLUGINS}, expected=("Traceback",))


def wait_log(server: Gateway, text: str, times: int = 1, timeout_s: float = 5) -> None:
    deadline = time.monotonic() + timeout_s
    while server.log.count(text) < times:
        assert time.monotonic() < deadline, f"{server.log.count(text)} times {text!r} in {server.log[-3000:]}"
        time.sleep(0.01)


def plain(board: Switchboard, path: str) -> list[Message]:
    """Has the upstream answer `path` with "plain"; the requests it got."""
    got: list[Message] = []

    @board.on(path)
    def _(up: RawConnection, head: Message) -> None:
        got.append(body_of(up, head))
        up.send(response(b"plain"))

    return got


def test_a_chain_goes_on_after_each_suspension(client: RawClient, board: Switchboard) -> None:
    got = plain(board, "/later")
    for _ in range(3):
        assert client.request("POST", "/later", body=b"with a body").body == b"plain"
    assert len(got) == 3
    assert got[0].header_values("X-Later") == ["rewrite", "access", "before_proxy"]
    assert got[0].header("X-Marked") == "rewrite"
    assert got[0].body == b"with a body"


def test_pipelined_requests_wait_for_a_suspended_one(client: RawClient, board: Switchboard) -> None:
    got = plain(board, "/later")
    client.send(b"POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab" * 20)
    for _ in range(20):
        assert client.read_response().body == b"plain"
    assert [message.body for message in got] == [b"ab"] * 20


def test_an_answer_after_a_suspension(client: RawClient, board: Switchboard) -> None:
    for _ in range(2):
        answer = client.request("POST", "/later-answer", body=b"x" * 5000)
        assert (answer.status, answer.json()) == (202, {"from": "later"})
    assert "/later-answer" not in board.hits


def test_needs_task(client: RawClient, board: Switchboard) -> None:
    got = plain(board, "/in-task")
    assert client.request("GET", "/in-task").status == 200
    assert got[0].header("X-Task") == "yes"


SIZES = [0, 1, 4, 5000, 200_000, 3_000_000]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["body", "peek", "set"])
def test_bodies_for_plugins(mode: str, size: int, chunked: bool, client: RawClient, board: Switchboard) -> None:
    got = plain(board, f"/{mode}")
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    head = f"POST /{mode} HTTP/1.1\r\nHost: a\r\n".encode()
    for _ in range(2):
        if chunked:
            parts = [body[i : i + 70_001] for i in range(0, size, 70_001)]
            wire = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
            client.send(head + b"Transfer-Encoding: chunked\r\n\r\n" + wire)
        else:
            client.send(head + b"Content-Length: %d\r\n\r\n" % size + body)
        assert client.read_response().body == b"plain"
    assert len(got) == 2
    for message in got:
        assert message.body == (b"replaced " + body if mode == "set" else body)
        if mode == "body":
            assert message.header("X-Size") == str(size)
        if mode == "peek":
            assert message.header("X-Start") == body[:4].hex()


def test_a_body_that_comes_in_drops(client: RawClient, board: Switchboard) -> None:
    for mode, expected in (("body", b"hello world"), ("peek", b"hello world"), ("set", b"replaced hello world")):
        got = plain(board, f"/{mode}")
        for framing, parts in (
            (b"Content-Length: 11", [b"he", b"llo", b" ", b"world"]),
            (b"Transfer-Encoding: chunked", [b"2\r", b"\nhe\r\n", b"9\r\nllo wor", b"ld\r\n0", b"\r\n\r\n"]),
        ):
            client.send(f"POST /{mode} HTTP/1.1\r\nHost: a\r\n".encode() + framing + b"\r\n\r\n", *parts)
            assert client.read_response().body == b"plain"
        assert [message.body for message in got] == [expected] * 2


def test_a_plugin_that_waits_for_a_body_asks_for_it(client: RawClient, board: Switchboard) -> None:
    got = plain(board, "/body")
    client.send(b"POST /body HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    assert client.read_response(informational=True).status == 100
    client.send(b"hello")
    assert client.read_response(informational=True).body == b"plain"
    assert got[0].header("Expect") is None


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("mode", ["body", "peek", "set"])
def test_an_early_answer_to_a_held_body(mode: str, chunked: bool, served: Gateway, board: Switchboard) -> None:
    """The upstream answers without reading the body, and closes: its answer counts, its reset does not."""

    @board.on(f"/{mode}")
    def _(up: RawConnection, head: Message) -> None:
        up.send(response(b"enough", "413 Content Too Large"))
        up.close()

    body = b"x" * 3_000_000
    framing = b"Content-Length: %d\r\n\r\n" % len(body)
    if chunked:
        framing, body = b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    with served.client() as client:
        for _ in range(2):
            client.send(f"POST /{mode} HTTP/1.1\r\nHost: a\r\n".encode() + framing + body)
            answer = client.read_response()
            assert (answer.status, answer.body) == (413, b"enough")
        assert client.buffer == b""


def test_a_body_over_the_plugins_limit_is_413(served: Gateway) -> None:
    for framing in (
        b"Content-Length: 5000\r\n\r\n" + b"x" * 5000,
        b"Transfer-Encoding: chunked\r\n\r\n1388\r\n" + b"x" * 5000 + b"\r\n0\r\n\r\n",
    ):
        with served.client() as client:
            client.send(b"POST /limit HTTP/1.1\r\nHost: a\r\n" + framing)
            assert client.read_response().status == 413


def test_a_client_that_leaves_cancels_the_hook(served: Gateway) -> None:
    for n, leave in enumerate((RawClient.close, RawClient.reset), 1):
        client = served.client()
        client.send(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_log(served, "stuck begins", n)
        leave(client)
        wait_log(served, "stuck was cancelled", n)
        wait_log(served, "mark log stuck", n)
    deadline = time.monotonic() + 5
    while served.access_log().count('"GET /stuck HTTP/1.1" 499') < 2:
        assert time.monotonic() < deadline, served.access_log()
        time.sleep(0.01)


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


@pytest.mark.parametrize("phase", PHASES)
def test_a_failing_hook_is_500_and_logged(phase: str, served: Gateway, client: RawClient, board: Switchboard) -> None:
    plain(board, f"/{phase}")
    for n in (1, 2):
        assert client.request("GET", f"/{phase}").status == 500
        wait_log(served, f"failed on purpose: {phase}\n", n)
        wait_log(served, f"mark log {phase} ", n)
    if phase != "header_filter":
        assert f"/{phase}" not in board.hits


def test_a_failing_body_filter_cuts_the_response(served: Gateway, board: Switchboard) -> None:
    @board.on("/body_filter")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        up.read_to_end()

    with served.client() as client:
        client.send(b"GET /body_filter HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"first" not in client.read_to_end()
    wait_log(served, "failed on purpose: body_filter\n")


def test_a_failing_log_hook_harms_nobody(served: Gateway, client: RawClient, board: Switchboard) -> None:
    plain(board, "/log")
    for n in (1, 2):
        assert client.request("GET", "/log").body == b"plain"
        wait_log(served, "failed on purpose: log\n", n)
        wait_log(served, "mark log log ", n)


def test_the_log_phase_runs_once_per_request(served: Gateway, client: RawClient, board: Switchboard) -> None:
    plain(board, "/in-task")
    before = served.log.count("mark log in-task ")
    for _ in range(10):
        assert client.request("GET", "/in-task").status == 200
    wait_log(served, "mark log in-task ", before + 10)
    assert served.log.count("mark log in-task ") == before + 10


def test_a_users_plugin_reloads_live(tmp_path: Path) -> None:
    code = """
from bascule.plugin import Config, Plugin, Response

class Hello(Plugin):
    name = "hello"
    priority = 1
    Config = Config

    def access(self, request):
        return Response(200, "version {n}")
"""
    path = tmp_path / "gateway" / "hello.py"
    path.parent.mkdir()
    path.write_text(code.format(n=1))
    routes = {"routes": [{"id": "h", "uri": "/*", "plugins": {"hello": {}}, "upstream": {"nodes": {"127.0.0.1:1": 1}}}]}
    server = Gateway(path.parent, routes, {"bascule": {"plugins": ["hello.py"]}})
    try:
        with server.client() as client:
            assert client.request("GET", "/").body == b"version 1"
            path.write_text(code.format(n=22))
            deadline = time.monotonic() + 10
            while client.request("GET", "/").body != b"version 22":
                assert time.monotonic() < deadline, server.log
                time.sleep(0.02)
            path.write_text("this is no Python")
            wait_log(server, "hello.py")
            assert client.request("GET", "/").body == b"version 22"
    finally:
        server.stop()
