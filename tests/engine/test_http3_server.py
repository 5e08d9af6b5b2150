"""HTTP/3 at the edges: how clients are told of it, packets that are none, address validation, the end of a worker."""

import asyncio
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.http2 import Http2Client
from tests.servers.http3 import Http3Gateway, http3_gateway
from tests.servers.raw import Message, RawConnection, response
from tests.servers.switchboard import Switchboard


@pytest.fixture
def served(tmp_path: Path, board: Switchboard) -> Iterator[Http3Gateway]:
    resources = {
        "routes": [
            {"id": "1", "uri": "/hello", "plugins": {"mocking": {"response_example": "hello"}}},
            {"id": "2", "uri": "/*", "upstream": {"nodes": {board.address: 1}}},
        ],
    }
    with http3_gateway(tmp_path, resources, workers=2) as one:
        yield one


def hello(served: Http3Gateway) -> int:
    async def whole() -> int:
        async with served.connect() as peer:
            return (await peer.get("/hello")).status

    return asyncio.run(whole())


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_clients_over_tcp_are_told_of_it(served: Http3Gateway, board: Switchboard, version: str) -> None:
    @board.on("/told")
    def _(up: RawConnection, head: Message) -> None:
        up.send(response(b"x"))

    for path in ("hello", "told"):
        said = subprocess.run(
            ["curl", "-sS", "-i", version, "--cacert", served.certificates.ca.cert, "--resolve",
             f"localhost:{served.port}:127.0.0.1", f"https://localhost:{served.port}/{path}"],
            capture_output=True, text=True, timeout=30, check=True, env={**os.environ, "LD_PRELOAD": ""},
        ).stdout.lower()  # fmt: skip
        assert f'\nalt-svc: h3=":{served.port}"; ma=86400\n' in said
    with Http2Client(served.gateway.port) as plain:
        assert plain.get("/hello").header("alt-svc") is None  # that port has no HTTP/3


def test_packets_that_are_none(served: Http3Gateway) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.connect(("127.0.0.1", served.port))
        for junk in (b"", b"\0", b"\xc0" * 10, os.urandom(1200), bytes(1500), b"\xff" * 1300):
            sock.send(junk)
        unknown = b"\xc0\x1a\x2a\x3a\x4a\x08" + b"d" * 8 + b"\x08" + b"s" * 8
        sock.send(unknown.ljust(1200, b"\0"))
        while True:
            answer = sock.recv(2000)
            if answer[1:5] == b"\0\0\0\0":  # Version Negotiation (RFC 9000, section 17.2.1)
                break
        assert b"\0\0\0\1" in answer[5:]
        sock.send(unknown)  # too small to be answered
    assert hello(served) == 200


def test_many_handshakes_that_don_t_go_on_make_clients_prove_their_address(served: Http3Gateway) -> None:
    """A Retry packet (RFC 9000, section 8.1.2) comes then, and clients that follow it are served."""

    async def flood() -> None:
        from aioquic.quic.configuration import QuicConfiguration
        from aioquic.quic.connection import QuicConnection

        socks = []
        retried = 0
        for _ in range(400):
            quic = QuicConnection(
                configuration=QuicConfiguration(alpn_protocols=["h3"], is_client=True, server_name="localhost")
            )
            quic.connect(("127.0.0.1", served.port), now=0)
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.settimeout(30)
            sock.connect(("127.0.0.1", served.port))
            for data, _ in quic.datagrams_to_send(now=0):
                sock.send(data)
            retried += sock.recv(2000)[0] >> 4 == 0xF
            socks.append(sock)
        assert retried > 50
        for _ in range(4):
            async with served.connect() as peer:
                assert (await peer.get("/hello")).status == 200
        for sock in socks:
            sock.close()

    asyncio.run(flood())


def test_a_reload_lets_requests_end(served: Http3Gateway, board: Switchboard) -> None:
    came, go = threading.Event(), threading.Event()

    @board.on("/running")
    def _(up: RawConnection, head: Message) -> None:
        came.set()
        assert go.wait(30)
        up.send(response(b"done"))

    before = set(served.gateway.worker_pids())

    def replaced() -> None:
        deadline = time.monotonic() + 30
        while len(set(served.gateway.worker_pids()) - before) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    async def script() -> None:
        async with served.connect() as peer:
            stream = peer.request("/running")
            assert await asyncio.to_thread(came.wait, 30)
            served.gateway.configure({"nginx_config": {"http": {"keepalive_timeout": "61s"}}})
            os.kill(served.gateway.process.pid, signal.SIGHUP)
            await asyncio.to_thread(replaced)
            go.set()
            assert bytes((await peer.wait(stream)).body) == b"done"
            async with asyncio.timeout(30):
                await peer.closed.wait()
            assert peer.closed_with is not None
            assert peer.closed_with.error_code == 0x100

    asyncio.run(script())
    assert hello(served) == 200
