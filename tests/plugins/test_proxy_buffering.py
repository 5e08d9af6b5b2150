import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bascule.plugins.proxy_buffering import ProxyBuffering
from tests.plugins.faults import fault_paths
from tests.servers.gateway import Gateway
from tests.servers.http2 import Http2Client
from tests.servers.raw import Message, RawClient, RawConnection
from tests.servers.switchboard import Switchboard

SIZE = 24 << 20
LARGE = 80 << 20  # more than all socket buffers on its way may take


@pytest.mark.parametrize(
    ("conf", "path"),
    [
        ({"disable_proxy_buffering": 0}, "$.disable_proxy_buffering"),
        ({"max_buffer_size": 0}, "$.max_buffer_size"),
        ({"max_buffer_size": 1 << 29}, "$.max_buffer_size"),
    ],
)
def test_bad_configurations(conf: dict[str, Any], path: str) -> None:
    assert fault_paths(ProxyBuffering, conf) == [path]


@pytest.fixture(scope="module")
def board() -> Iterator[Switchboard]:
    one = Switchboard()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def served(board: Switchboard, module_gateway: Callable[..., Gateway]) -> Gateway:
    def route(id: str, plugins: dict[str, Any]) -> dict[str, Any]:
        return {"id": id, "uri": f"/{id}", "plugins": plugins, "upstream": {"nodes": {board.address: 1}}}

    routes = [
        route("on", {"proxy-buffering": {"max_buffer_size": 2 * SIZE}}),
        route("some", {"proxy-buffering": {}}),
        route("off", {"proxy-buffering": {"disable_proxy_buffering": True}}),
        route("plain", {}),
    ]
    return module_gateway({"routes": routes})


def sending(board: Switchboard, path: str, size: int = SIZE, *, chunked: bool = False) -> threading.Event:
    """Set when the upstream got rid of the whole response."""
    sent = threading.Event()

    @board.on(path)
    def _(up: RawConnection, request: Message) -> None:
        up.sock.settimeout(60)
        if chunked:
            up.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            up.send(*[b"100000\r\n%b\r\n" % (b"x" * (1 << 20)) for _ in range(size >> 20)], b"0\r\n\r\n")
        else:
            up.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            up.send(*[b"x" * (1 << 20) for _ in range(size >> 20)])
        sent.set()

    return sent


def read_through(client: RawClient, size: int) -> None:
    """A response whose body has so many bytes on the wire."""
    assert client.read_head().status == 200
    size -= len(client.buffer)
    while size > 0:
        size -= len(client.sock.recv(1 << 20))
    assert size == 0
    client.buffer = b""


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_client_that_does_not_read_holds_nothing_up(served: Gateway, board: Switchboard, chunked: bool) -> None:
    sent = sending(board, "/on", chunked=chunked)
    with served.client(receive_buffer=65536) as client:
        client.send(b"GET /on HTTP/1.1\r\nHost: a\r\n\r\n")
        assert sent.wait(30)
        read_through(client, SIZE + (8 + 2) * (SIZE >> 20) + 5 if chunked else SIZE)
        client.send(b"GET /on HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_head().status == 200


def test_by_http2(served: Gateway, board: Switchboard) -> None:
    sent = sending(board, "/on")
    with Http2Client(served.port, windows=False, receive_buffer=65536) as client:
        client.request("/on")
        assert sent.wait(30)


@pytest.mark.parametrize("path", ["/some", "/off", "/plain"])
def test_up_to_its_bound(served: Gateway, board: Switchboard, path: str) -> None:
    sent = sending(board, path, LARGE)
    with served.client(receive_buffer=65536) as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert not sent.wait(0.5)
        read_through(client, LARGE)
        assert sent.wait(10)


def test_what_has_come_goes_out_at_once(served: Gateway, board: Switchboard) -> None:
    go_on = threading.Event()

    @board.on("/on")
    def _(up: RawConnection, request: Message) -> None:
        up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        assert go_on.wait(10)
        up.send(b"later")

    with served.client() as client:
        client.send(b"GET /on HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_until(b"first").endswith(b"first")
        go_on.set()
        assert client.read_exactly(5) == b"later"


def test_a_client_that_leaves_in_the_middle(served: Gateway, board: Switchboard) -> None:
    sending(board, "/on")
    client = served.client(receive_buffer=65536)
    client.send(b"GET /on?left HTTP/1.1\r\nHost: a\r\n\r\n")
    client.read_head()
    client.close()
    assert served.logged("/on?left")
    with served.client() as other:
        other.send(b"GET /on HTTP/1.1\r\nHost: a\r\n\r\n")
        read_through(other, SIZE)
