"""HTTP/3 connections: many requests at once, cancellation, clients that cost too much."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers.http3 import Http3Gateway, Http3Peer, http3_gateway
from tests.servers.raw import Message, RawConnection, RawUpstream, response
from tests.servers.switchboard import Switchboard

EXCESSIVE_LOAD = 0x107


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, board: Switchboard, echo: RawUpstream) -> Iterator[Http3Gateway]:
    resources = {
        "routes": [
            {"id": "echo", "uri": "/echo*", "upstream": {"nodes": {echo.address: 1}}},
            {"id": "all", "uri": "/*", "upstream": {"nodes": {board.address: 1}}},
        ],
    }
    with http3_gateway(tmp_path_factory.mktemp("http3"), resources) as one:
        yield one


def play(served: Http3Gateway, script: Any) -> None:
    async def whole() -> None:
        async with served.connect() as peer:
            await script(peer)

    asyncio.run(whole())


def test_many_requests_at_once_out_of_order(served: Http3Gateway, board: Switchboard) -> None:
    go = threading.Event()

    @board.on("/slow")
    def _(up: RawConnection, head: Message) -> None:
        assert go.wait(30)
        up.send(response(b"slow"))

    async def script(peer: Http3Peer) -> None:
        slow = peer.request("/slow")
        for start in (0, 100, 200):
            streams = {i: peer.request(f"/echo/{i}") for i in range(start, start + 100)}
            for i, stream in streams.items():
                assert json.loads((await peer.wait(stream)).body)["target"] == f"/echo/{i}"
        assert not peer.answers[slow].heads
        go.set()
        assert (await peer.wait(slow)).body == b"slow"

    play(served, script)


def test_a_cancelled_request_ends_at_its_upstream(served: Http3Gateway, board: Switchboard) -> None:
    came, gone = threading.Event(), threading.Event()

    @board.on("/cancelled")
    def _(up: RawConnection, head: Message) -> None:
        came.set()
        try:
            up.read_head()
        finally:
            gone.set()

    async def script(peer: Http3Peer) -> None:
        stream = peer.request("/cancelled")
        assert await asyncio.to_thread(came.wait, 30)
        peer.cancel(stream)
        assert await asyncio.to_thread(gone.wait, 30)
        assert (await peer.get("/echo")).status == 200

    play(served, script)


def test_requests_that_are_taken_back_again_and_again_end_the_connection(
    served: Http3Gateway, board: Switchboard
) -> None:
    @board.on("/taken-back")
    def _(up: RawConnection, head: Message) -> None:
        up.read_head()

    async def script(peer: Http3Peer) -> None:
        for _ in range(3000):
            async with asyncio.timeout(30):
                while peer.streams_left() < 1 and peer.closed_with is None:
                    with contextlib.suppress(ConnectionError):
                        await peer.ping()
            if peer.closed_with is not None:
                break
            peer.cancel(peer.request("/taken-back", method="POST", last=False))
            await asyncio.sleep(0)
        async with asyncio.timeout(30):
            await peer.closed.wait()
        assert peer.closed_with is not None
        assert peer.closed_with.error_code == EXCESSIVE_LOAD

    play(served, script)
    assert "rapid reset" in served.gateway.log


def test_webtransport_and_pushes_are_refused(served: Http3Gateway) -> None:
    async def script(peer: Http3Peer) -> None:
        stream = peer._quic.get_next_available_stream_id()
        peer._quic.send_stream_data(stream, b"\x40\x41\x00hello")  # the frame WEBTRANSPORT_STREAM
        peer.transmit()
        assert (await peer.get("/echo")).status == 200

    play(served, script)
