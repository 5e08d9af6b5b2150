import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bascule.plugin.kit.testing import make
from bascule.plugins.proxy_control import ProxyControl
from tests.plugins.faults import fault_paths
from tests.servers.gateway import Gateway
from tests.servers.raw import Message, RawConnection, response
from tests.servers.switchboard import Switchboard, body_of


def test_configurations() -> None:
    assert fault_paths(ProxyControl, {"request_buffering": 1}) == ["$.request_buffering"]
    assert make(ProxyControl, {}).hooks() == ("rewrite",)
    assert make(ProxyControl, {"request_buffering": False}).hooks() == ()


@pytest.fixture(scope="module")
def board() -> Iterator[Switchboard]:
    one = Switchboard()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def served(board: Switchboard, module_gateway: Callable[..., Gateway]) -> Gateway:
    def route(id: str, plugins: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"id": id, "uri": f"/{id}", "plugins": plugins, "upstream": {"nodes": {board.address: 1}, **more}}

    routes = [
        route("held", {"proxy-control": {}}),
        route("again", {"proxy-control": {}}, retries=1),
        route("refused", {"proxy-control": {}, "fault-injection": {"abort": {"http_status": 403}}}),
        route("streamed", {"proxy-control": {"request_buffering": False}}),
    ]
    return module_gateway({"routes": routes})


def post(path: str, size: int) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode()


def taking(board: Switchboard, path: str) -> tuple[list[Message], threading.Event]:
    """What requests for the path come, whole; and an event for the first head."""
    got: list[Message] = []
    asked = threading.Event()

    @board.on(path)
    def _(up: RawConnection, head: Message) -> None:
        asked.set()
        got.append(body_of(up, head))
        up.send(response(b"thanks"))

    return got, asked


@pytest.mark.parametrize("size", [20, 3_000_000], ids=["in memory", "on disk"])
def test_the_upstream_is_asked_when_all_is_here(served: Gateway, board: Switchboard, size: int) -> None:
    got, asked = taking(board, "/held")
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with served.client() as client:
        client.send(post("/held", size), body[: size - 1])
        assert not asked.wait(0.3)
        client.send(body[size - 1 :])
        assert client.read_response().body == b"thanks"
        assert got[0].body == body


def test_chunks_come_out_as_one_body(served: Gateway, board: Switchboard) -> None:
    got, asked = taking(board, "/held")
    with served.client() as client:
        client.send(b"POST /held HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        assert not asked.wait(0.3)
        client.send(b"6\r\n world\r\n0\r\n\r\n")
        assert client.read_response().body == b"thanks"
    assert got[0].body == b"hello world"
    assert (got[0].header("Content-Length"), got[0].header("Transfer-Encoding")) == ("11", None)


def test_without_it_the_body_streams(served: Gateway, board: Switchboard) -> None:
    got, asked = taking(board, "/streamed")
    with served.client() as client:
        client.send(post("/streamed", 5), b"hell")
        assert asked.wait(10)
        client.send(b"o")
        assert client.read_response().body == b"thanks"
    assert got[0].body == b"hello"


def test_a_large_body_can_be_sent_again(served: Gateway, board: Switchboard) -> None:
    tries: list[int] = []

    @board.on("/again")
    def _(up: RawConnection, head: Message) -> None:
        tries.append(len(up.read_exactly(1000)))
        if len(tries) == 1:
            up.send(response(b"first"))
            up.read_exactly(499_000)
        else:
            up.read_exactly(499_000)
            up.send(response(b"second"))

    with served.client() as client:
        for expected in (b"first", b"second"):
            client.send(post("/again", 500_000), b"x" * 500_000)
            assert client.read_response().body == expected


def test_nothing_is_held_for_a_request_that_is_refused(served: Gateway) -> None:
    with served.client() as client:
        client.send(post("/refused", 5_000_000))
        assert client.read_response().status == 403


def test_a_request_without_a_body(served: Gateway, board: Switchboard) -> None:
    got, _ = taking(board, "/held")
    with served.client() as client:
        assert client.request("GET", "/held").body == b"thanks"
    assert got[0].header("Content-Length") is None


def test_a_client_that_leaves_meanwhile(served: Gateway, board: Switchboard) -> None:
    _, asked = taking(board, "/held")
    client = served.client()
    client.send(post("/held?left", 100_000), b"x" * 50_000)
    assert not asked.wait(0.3)
    client.close()
    assert " 499 " in served.logged("/held?left")
    assert not asked.is_set()
