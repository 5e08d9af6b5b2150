"""Request bodies of which plugins hold all, or the beginning, or set another, on their way to the upstream."""

from collections.abc import Callable

import pytest

from tests.engine.hooked import CONFIG, MARK, plain, route
from tests.servers.gateway import Gateway
from tests.servers.raw import Message, RawClient, RawConnection, response
from tests.servers.switchboard import Switchboard

PLUGINS = (
    MARK
    + """


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
"""
)


@pytest.fixture(scope="module")
def served(board: Switchboard, module_gateway: Callable[..., Gateway]) -> Gateway:
    address = board.address
    routes = [*(route(mode, address, "body", mode) for mode in ("body", "peek", "set", "limit"))]
    return module_gateway({"routes": routes}, CONFIG, files={"mine.py": PLUGINS})


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
