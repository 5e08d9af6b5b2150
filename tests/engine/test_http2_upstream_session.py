"""Upstreams that break HTTP/2."""

from collections.abc import Callable, Iterator

import pytest

from tests.engine.http2_bench import Bench
from tests.servers.http2_peer import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Http2Peer,
    answering,
    frame,
    speaks_http2,
)
from tests.servers.raw import Closed, RawUpstream

Play = Callable[..., RawUpstream]


OK_HEAD = (":status", "200")


BAD_HEADS: dict[str, list[tuple[str, str]]] = {
    "no-status": [("x-a", "b")],
    "two-statuses": [OK_HEAD, OK_HEAD],
    "status-late": [("x-a", "b"), OK_HEAD],
    "status-word": [(":status", "okay")],
    "status-short": [(":status", "20")],
    "status-600": [(":status", "600")],
    "switching": [(":status", "101")],
    "other-pseudo": [OK_HEAD, (":path", "/")],
    "upper-case": [OK_HEAD, ("X-A", "b")],
    "connection": [OK_HEAD, ("connection", "close")],
    "transfer-encoding": [OK_HEAD, ("transfer-encoding", "chunked")],
    "upgrade": [OK_HEAD, ("upgrade", "h2c")],
    "keep-alive": [OK_HEAD, ("keep-alive", "5")],
    "blank-in-name": [OK_HEAD, ("x a", "b")],
    "colon-in-name": [OK_HEAD, ("x:a", "b")],
    "empty-name": [OK_HEAD, ("", "b")],
    "crlf-in-name": [OK_HEAD, ("x\r\nx-b", "b")],
    "crlf-in-value": [OK_HEAD, ("x-a", "b\r\nset-cookie: a=b")],
    "lf-in-value": [OK_HEAD, ("x-a", "b\nset-cookie: a=b")],
    "nul-in-value": [OK_HEAD, ("x-a", "b\0c")],
    "two-lengths": [OK_HEAD, ("content-length", "2"), ("content-length", "3")],
    "bad-length": [OK_HEAD, ("content-length", "x")],
    "length-too-large": [OK_HEAD, ("content-length", "3")],
    "length-too-small": [OK_HEAD, ("content-length", "1")],
    "many-fields": [OK_HEAD, *((f"x-{number}", "a") for number in range(300))],
    "long-field": [OK_HEAD, ("x-a", "a" * 70_000)],
}


CUT = {"length-too-large", "length-too-small"}  # told when the head is out already


@pytest.fixture(scope="module")
def bad_heads(bench: Bench) -> Iterator[tuple[str, RawUpstream]]:
    """A peer that answers with the head that the path names, then with "ok"; and the path to it."""

    def script(peer: Http2Peer) -> None:
        while True:
            request = peer.read_request()
            name = (request.header(":path") or "").rpartition("/")[2]
            peer.head(request.stream, *BAD_HEADS.get(name, [OK_HEAD]))
            peer.raw(frame(DATA, END_STREAM, request.stream, b"ok"))
            peer.h2._get_stream_by_id(request.stream).end_stream()
            peer.h2.clear_outbound_data_buffer()

    server = RawUpstream(speaks_http2(script))
    yield bench.route(server.address, retries=0), server
    server.stop()


@pytest.mark.parametrize("name", BAD_HEADS)
def test_bad_heads_are_502_and_others_go_on(name: str, bench: Bench, bad_heads: tuple[str, RawUpstream]) -> None:
    path, upstream = bad_heads
    assert bench.get(f"{path}/good").body == b"ok"
    before = len(upstream.connections)
    if name in CUT:
        with pytest.raises((Closed, ConnectionError)), bench.gateway.client() as client:
            client.request("GET", f"{path}/{name}")
    else:
        answer = bench.get(f"{path}/{name}")
        assert answer.status == 502
        assert answer.header("set-cookie") is None
    assert bench.get(f"{path}/good").body == b"ok"
    if name != "empty-name":
        assert len(upstream.connections) == before


def _endless_interim(peer: Http2Peer, stream: int) -> None:
    for _ in range(3000):
        peer.head(stream, (":status", "103"))


def _hpack_bomb(peer: Http2Peer, stream: int) -> None:
    block = b"\x88" + b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000 + b"\xbe" * 16_000 * 6
    parts = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
    peer.raw(frame(HEADERS, END_STREAM, stream, parts[0]))
    for part in parts[1:-1]:
        peer.raw(frame(CONTINUATION, 0, stream, part))
    peer.raw(frame(CONTINUATION, END_HEADERS, stream, parts[-1]))


FLOODS: dict[str, Callable[[Http2Peer, int], None]] = {
    "settings": lambda peer, stream: peer.raw(frame(SETTINGS) * 100_000),
    "ping": lambda peer, stream: peer.raw(frame(PING, 0, 0, b"x" * 8) * 100_000),
    "ping-ack": lambda peer, stream: peer.raw(frame(PING, ACK, 0, b"x" * 8) * 100_000),
    "window-update": lambda peer, stream: peer.raw(frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1") * 100_000),
    "empty-data": lambda peer, stream: (
        peer.head(stream, (":status", "200")),
        peer.raw(frame(DATA, 0, stream) * 100_000),
    ),
    "continuation": lambda peer, stream: peer.raw(
        frame(HEADERS, 0, stream, b"\x88"), frame(CONTINUATION, 0, stream, b"") * 100_000
    ),
    "interim": _endless_interim,
    "hpack-bomb": _hpack_bomb,
    "window-overflow": lambda peer, stream: peer.raw(frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 2),
    "push": lambda peer, stream: peer.raw(frame(PUSH_PROMISE, END_HEADERS, stream, b"\0\0\0\2\x88")),
    "stream-never-opened": lambda peer, stream: peer.raw(frame(HEADERS, END_HEADERS, stream + 100, b"\x88")),
    "even-stream": lambda peer, stream: peer.raw(frame(DATA, 0, 2, b"x")),
    "too-long": lambda peer, stream: peer.raw(frame(DATA, 0, stream, b"x" * 20_000)),
    "data-before-head": lambda peer, stream: peer.raw(frame(DATA, END_STREAM, stream, b"x")),
    "bad-hpack": lambda peer, stream: peer.raw(frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\xff" * 50)),
    "bad-settings": lambda peer, stream: peer.raw(frame(SETTINGS, 0, 0, b"\0\5\0\0\0\1")),
    "short-rst": lambda peer, stream: peer.raw(frame(RST_STREAM, 0, stream, b"\0")),
    "garbage": lambda peer, stream: peer.raw(b"\xff" * 5000),
}


@pytest.fixture(scope="module")
def floods(bench: Bench) -> Iterator[tuple[str, str]]:
    """Paths to a peer that does what the path names, and to one beside it that does its work."""

    def script(peer: Http2Peer) -> None:
        request = peer.read_request()
        try:
            FLOODS[(request.header(":path") or "").rpartition("/")[2]](peer, request.stream)
        finally:
            peer.connection.read_to_end()

    bad, good = RawUpstream(speaks_http2(script)), RawUpstream(speaks_http2(answering))
    timeout = {"connect": 20, "send": 20, "read": 40}
    once = {"size": 1, "requests": 1, "idle_timeout": 60}
    yield bench.route(bad.address, retries=0, timeout=timeout, keepalive_pool=once), bench.route(good.address)
    bad.stop()
    good.stop()


@pytest.mark.parametrize("name", FLOODS)
def test_floods_and_broken_frames_end_in_502(name: str, bench: Bench, floods: tuple[str, str]) -> None:
    path, beside = floods
    with bench.gateway.client() as client:
        client.sock.settimeout(50)
        client.send(b"POST %b/%b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx" % (path.encode(), name.encode()))
        assert bench.get(beside).status == 200
        if name == "empty-data":
            with pytest.raises((Closed, ConnectionError)):
                client.read_response()
        else:
            assert client.read_response().status == 502
    assert bench.get(beside).status == 200


def test_frames_of_unknown_kinds_are_passed_over(bench: Bench, http2_upstream: Play) -> None:
    def script(peer: Http2Peer) -> None:
        request = peer.read_request()
        peer.raw(frame(99, 255, 0, b"?") + frame(77, 0, request.stream, b"!" * 100))
        peer.respond(request.stream, b"fine")
        peer.wait_closed()

    assert bench.get(bench.route(http2_upstream(script).address)).body == b"fine"
