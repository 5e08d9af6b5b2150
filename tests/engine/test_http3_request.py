"""HTTP/3 requests: fields, bodies both ways, trailers, and what must not get through."""

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers.http3 import Answer, Http3Gateway, Http3Peer, http3_gateway
from tests.servers.raw import Message, RawConnection, RawUpstream, response
from tests.servers.switchboard import Switchboard, body_of

MESSAGE_ERROR = 0x10E
REQUEST_CANCELLED = 0x10C
INTERNAL_ERROR = 0x102
EXCESSIVE_LOAD = 0x107
BLOCK = bytes(range(256)) * 256


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, board: Switchboard, echo: RawUpstream) -> Iterator[Http3Gateway]:
    resources = {
        "consumers": [{"username": "jack", "plugins": {"key-auth": {"key": "secret"}}}],
        "routes": [
            {"id": "echo", "uri": "/echo*", "upstream": {"nodes": {echo.address: 1}}},
            {
                "id": "keyed",
                "uri": "/keyed",
                "plugins": {"key-auth": {}},
                "upstream": {"nodes": {echo.address: 1}},
            },
            {
                "id": "variables",
                "uri": "/variables",
                "plugins": {
                    "mocking": {
                        "response_example": "$server_protocol $scheme $ssl_server_name $ssl_protocol "
                        "$ssl_alpn_protocol $ssl_cipher $server_addr $remote_addr"
                    }
                },
            },
            {"id": "board", "uri": "/board/*", "upstream": {"nodes": {board.address: 1}}},
        ],
    }
    config = {"nginx_config": {"http": {"client_max_body_size": "0", "access_log_format": '"$request" $status'}}}
    with http3_gateway(tmp_path_factory.mktemp("http3"), resources, config) as one:
        yield one


@pytest.fixture
def play(served: Http3Gateway) -> Any:
    """Runs a coroutine function with a connection."""

    def run(script: Any) -> Any:
        async def whole() -> Any:
            async with served.connect() as peer:
                return await script(peer)

        return asyncio.run(whole())

    return run


def get(play: Any, path: str, *fields: tuple[str, str], **options: Any) -> Answer:
    async def script(peer: Http3Peer) -> Answer:
        return await peer.get(path, *fields, **options)

    answer: Answer = play(script)
    return answer


def test_a_request_reaches_an_upstream_of_http_1(served: Http3Gateway, play: Any) -> None:
    answer = get(
        play, "/echo/a%20b?x=1", ("x-one", "1"), ("cookie", "a=1"), ("cookie", "b=2"), authority="shop.example"
    )
    assert answer.status == 200
    assert answer.header("server") is not None
    assert answer.header("connection") is None
    said = json.loads(answer.body)
    assert said["target"] == "/echo/a%20b?x=1"
    fields = {name.lower(): value for name, value in said["headers"]}
    assert fields["host"] == "shop.example"
    assert fields["cookie"] == "a=1; b=2"
    assert fields["x-forwarded-for"] == "127.0.0.1"
    assert fields["x-forwarded-proto"] == "https"
    assert fields["x-forwarded-port"] == str(served.port)
    assert "transfer-encoding" not in fields
    assert '"GET /echo/a%20b?x=1 HTTP/3.0" 200' in served.gateway.access_log(1)


def test_routes_plugins_and_variables(play: Any) -> None:
    assert get(play, "/nowhere").status == 404
    assert get(play, "/keyed").status == 401
    assert get(play, "/keyed", ("apikey", "secret")).status == 200
    said = get(play, "/variables").body.decode().split()
    assert said[:6] == ["HTTP/3.0", "https", "localhost", "TLSv1.3", "h3", "TLS_AES_256_GCM_SHA384"]
    assert said[6:] == ["127.0.0.1", "127.0.0.1"]


def test_a_head_request_and_answers_without_a_body(play: Any, board: Switchboard) -> None:
    @board.on("/board/204")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    answer = get(play, "/echo", method="HEAD")
    assert (answer.status, bytes(answer.body)) == (200, b"")
    assert get(play, "/board/204").status == 204


@pytest.mark.parametrize("announced", [True, False], ids=["content-length", "without a length"])
def test_large_bodies_both_ways(play: Any, board: Switchboard, announced: bool) -> None:
    size = 3 << 20

    @board.on("/board/large")
    def _(up: RawConnection, head: Message) -> None:
        body = body_of(up, head).body
        if announced:
            up.send(response(body))
        else:
            chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(c), c) for c in (body[:100], body[100:]))
            up.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nX-Sum: 7\r\n\r\n")

    async def script(peer: Http3Peer) -> Answer:
        fields = [("content-length", str(size))] if announced else []
        stream = peer.request("/board/large", *fields, method="POST", last=False)
        peer.send(stream, BLOCK * (size // len(BLOCK)), True)
        return await peer.wait(stream)

    answer = play(script)
    assert bytes(answer.body) == BLOCK * (size // len(BLOCK))
    assert answer.trailers == (None if announced else {"x-sum": "7"})


def test_trailers_of_a_request(play: Any, board: Switchboard) -> None:
    @board.on("/board/trailers")
    def _(up: RawConnection, head: Message) -> None:
        message = body_of(up, head)
        up.send(response(message.body + repr(message.trailers).encode()))

    async def script(peer: Http3Peer) -> Answer:
        stream = peer.request("/board/trailers", method="POST", last=False)
        peer.send(stream, b"abc")
        peer.send_trailers(stream, ("x-sum", "6"))
        return await peer.wait(stream)

    assert play(script).body.startswith(b"abc[")
    assert b"6" in play(script).body


def test_a_slow_upstream_holds_the_client_back(play: Any, board: Switchboard) -> None:
    go = threading.Event()

    @board.on("/board/slow")
    def _(up: RawConnection, head: Message) -> None:
        assert go.wait(30)
        up.send(response(str(len(body_of(up, head).body)).encode()))

    size = 24 << 20

    async def script(peer: Http3Peer) -> Answer:
        stream = peer.request("/board/slow", ("content-length", str(size)), method="POST", last=False)
        peer.send(stream, bytes(size), True)
        before = None
        while before != peer.unsent(stream):  # it comes to a halt
            before = peer.unsent(stream)
            await asyncio.sleep(1)
        assert peer.unsent(stream) > 8 << 20
        assert (await peer.get("/echo")).status == 200  # others go on
        peer.cancel(stream)
        go.set()
        return peer.answers[stream]

    play(script)


def test_an_early_answer_stops_the_body(play: Any) -> None:
    async def script(peer: Http3Peer) -> Answer:
        stream = peer.request("/nowhere", method="POST", last=False)
        answer = await peer.wait(stream)
        assert (await peer.get("/echo")).status == 200
        return answer

    answer = play(script)
    assert answer.status == 404
    assert answer.stopped == 0x100


def test_a_response_that_breaks_off_resets_its_stream(play: Any, board: Switchboard) -> None:
    @board.on("/board/broken")
    def _(up: RawConnection, head: Message) -> None:
        up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        up.close()

    async def script(peer: Http3Peer) -> Answer:
        answer = await peer.get("/board/broken")
        assert (await peer.get("/echo")).status == 200
        return answer

    answer = play(script)
    assert answer.status == 200
    assert answer.reset == INTERNAL_ERROR


PSEUDO = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/echo")]


@pytest.mark.parametrize(
    ("pseudo", "fields"),
    [
        ([*PSEUDO[:3], (":path", "echo")], []),
        ([*PSEUDO[:3], (":path", "/a b")], []),
        ([*PSEUDO[:3], (":path", "/a HTTP/1.1\r\nx: y")], []),
        ([*PSEUDO, (":protocol", "websocket")], []),
        ([(":method", "GET /x HTTP/1.1"), *PSEUDO[1:]], []),
        (PSEUDO[:3], []),
        (PSEUDO, [("Upper", "1")]),
        (PSEUDO, [("connection", "close")]),
        (PSEUDO, [("transfer-encoding", "chunked")]),
        (PSEUDO, [("upgrade", "websocket")]),
        (PSEUDO, [("te", "gzip")]),
        (PSEUDO, [("x", "a\r\nb: c")]),
        (PSEUDO, [("x", "a\x00")]),
        (PSEUDO, [("content-length", "5")]),
        (PSEUDO, [("content-length", "+0")]),
        (PSEUDO, [("content-length", "0"), ("content-length", "0")]),
    ],
)
def test_malformed_requests(play: Any, echo: RawUpstream, pseudo: Any, fields: Any) -> None:
    before = len(echo.requests_seen)

    async def script(peer: Http3Peer) -> tuple[Answer, int | None]:
        answer = await peer.get("", *fields, pseudo=pseudo)
        return answer, None if peer.closed_with is None else peer.closed_with.error_code

    answer, closed_with = play(script)
    assert not answer.heads
    assert MESSAGE_ERROR in (answer.reset, closed_with)
    assert len(echo.requests_seen) == before


def test_a_body_longer_than_announced_is_no_second_request(play: Any, echo: RawUpstream) -> None:
    before = echo.requests_seen.count(b"smuggled")

    async def script(peer: Http3Peer) -> None:
        stream = peer.request("/echo", ("content-length", "3"), method="POST", last=False)
        peer.send(stream, b"abcGET /echo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n", False)
        answer = await peer.wait(stream)
        assert answer.reset == MESSAGE_ERROR
        assert not answer.heads

    play(script)
    assert echo.requests_seen.count(b"smuggled") == before


def test_heads_that_are_too_large(play: Any) -> None:
    assert get(play, "/" + "a" * 17000).status == 414
    assert get(play, "/echo", ("x", "a" * 40000), ("y", "a" * 40000)).status == 431

    async def script(peer: Http3Peer) -> int | None:
        stream = peer._quic.get_next_available_stream_id()
        peer.answers[stream] = Answer()
        peer._quic.send_stream_data(stream, b"\x01\x80\x03\x0d\x40" + bytes(190000))  # a HEADERS frame of 200,000 bytes
        peer.transmit()
        return (await peer.wait(stream)).reset

    assert play(script) == EXCESSIVE_LOAD
