"""TLS clients that mean no good, and ones that are slow, cut off or many: what they cost is bounded, and others are
served meanwhile."""

import contextlib
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.certificates import Certificates
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port
from tests.servers.raw import RawConnection, RawUpstream
from tests.servers.tls import TlsConnection, blind, connect

REQUEST = b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"
BIG = 8_000_000


class Served:
    """`begin_s`: how long a handshake and a head may take."""

    begin_s = 4

    def __init__(self, folder: Path) -> None:
        self.authority = Certificates(folder / "certs")
        self.upstream = RawUpstream()
        self.port = free_port()
        self.gateway = Gateway(
            folder / "gateway",
            {
                "routes": [{"uri": "/*", "upstream": {"nodes": {self.upstream.address: 1}}}],
                "ssls": [{"id": "1", "sni": "a.test", **self.authority.issue("a", ("a.test",)).texts}],
            },
            {
                "apisix": {"ssl": {"enable": True, "listen": [{"ip": "127.0.0.1", "port": self.port}]}},
                "nginx_config": {"http": {"client_header_timeout": f"{self.begin_s}s"}},
            },
        )

    def connect(self, context: ssl.SSLContext | None = None) -> TlsConnection:
        return connect(self.port, "a.test", context)

    def raw(self) -> RawConnection:
        return RawConnection(socket.create_connection(("127.0.0.1", self.port), timeout=30))

    def check_others(self) -> None:
        with self.connect() as client:
            assert client.get("a.test") == 200

    def resident_kb(self) -> int:
        [pid] = self.gateway.worker_pids()
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("attacks"))
    before = made.gateway.worker_pids()
    yield made
    assert made.gateway.worker_pids() == before, "a worker died"
    made.gateway.stop()
    made.upstream.stop()


class Memory:
    """Python's TLS without a socket, so that records can be looked at and made up."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.inbox, self.outbox = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (context or blind()).wrap_bio(self.inbox, self.outbox, server_hostname="a.test")

    def hello(self) -> bytes:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outbox.read()

    def pump(self, raw: RawConnection, step: Callable[[], Any], piece: int = 65536) -> Any:
        """Runs a step of TLS over a connection, sending in pieces of this size."""
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                done = None
            out = self.outbox.read()
            raw.send(*[out[at : at + piece] for at in range(0, len(out), piece)])
            if done is not None:
                return done
            got = raw.sock.recv(65536)
            assert got, "closed"
            self.inbox.write(got)

    def shake(self, raw: RawConnection, piece: int = 65536) -> None:
        def step() -> bool:
            self.tls.do_handshake()
            return True

        self.pump(raw, step, piece)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_handshake_byte_by_byte(version: ssl.TLSVersion, served: Served) -> None:
    raw = served.raw()
    raw.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    memory = Memory(blind(minimum_version=version, maximum_version=version))
    memory.shake(raw, piece=1)
    memory.pump(raw, lambda: memory.tls.write(REQUEST), piece=1)
    assert memory.pump(raw, lambda: memory.tls.read(12)) == b"HTTP/1.1 200"
    raw.close()


def test_a_hello_in_many_records(served: Served) -> None:
    """Handshake messages may be cut anywhere."""
    raw, memory = served.raw(), Memory()
    hello = memory.hello()[5:]
    raw.send(b"".join(b"\x16\x03\x01\x00\x01" + hello[at : at + 1] for at in range(len(hello))))
    memory.shake(raw)
    raw.close()


@pytest.mark.parametrize("size", [20_000, 200_000])
def test_a_huge_hello_is_read_or_refused(size: int, served: Served) -> None:
    """Its session id, extensions and so on can't be that long; what is announced isn't waited for without end."""
    raw = served.raw()
    message = b"\x01" + size.to_bytes(3, "big") + b"\x03\x03" + bytes(size - 2)
    pieces = [message[at : at + 16000] for at in range(0, len(message), 16000)]
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        raw.send(*[b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces])
    assert b"HTTP" not in raw.read_to_end()
    raw.close()
    served.check_others()


def test_handshakes_that_are_left_end_in_time(served: Served) -> None:
    hello = Memory().hello()
    started = time.monotonic()
    left = [served.raw() for _ in range(60)]
    for number, raw in enumerate(left):
        raw.send(hello[: (0, 3, 60, len(hello))[number % 4]])
    served.check_others()
    for raw in left:
        raw.read_to_end()
        raw.close()
    assert time.monotonic() - started > served.begin_s / 2  # they weren't just refused
    served.check_others()


def test_a_flood_of_alerts_ends_the_connection(served: Served) -> None:
    raw = served.raw()
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        for _ in range(200):
            raw.send(b"\x15\x03\x01\x00\x02\x01\x5a" * 100)  # warnings: user_canceled
    raw.read_to_end()
    raw.close()
    served.check_others()


@pytest.mark.parametrize("kind", [20, 21, 22, 23])
def test_a_flood_of_empty_records_ends_the_connection(kind: int, served: Served) -> None:
    raw = served.raw()
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        for _ in range(2000):
            raw.send((bytes([kind]) + b"\x03\x03\0\0") * 100)
    raw.read_to_end()
    raw.close()
    served.check_others()


def test_a_flood_of_key_updates_is_bounded(served: Served) -> None:
    """Each asks for one back. They are made by a client of OpenSSL's, one line each."""
    argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{served.port}", "-servername", "a.test", "-tls1_3"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        assert client.stdin
        assert client.stdout
        told = b""
        while b"Verify return code" not in told:
            told += client.stdout.readline()
        before = served.resident_kb()
        with contextlib.suppress(BrokenPipeError):
            for _ in range(200):
                client.stdin.write(b"K\n")
                client.stdin.flush()
        served.check_others()
        assert served.resident_kb() < before + 20_000
        client.kill()


def test_what_is_cut_off_in_the_middle_of_a_body(served: Served) -> None:
    """Without a close_notify: the request isn't taken for whole."""
    with served.connect() as client:
        client.send(b"POST /cut HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000)
        client.tls.detach()
    with served.connect() as client:
        client.send(b"POST /chunked HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        client.tls.unwrap().close()
    served.check_others()


def test_an_upstream_that_stops_in_the_middle_is_no_whole_answer(served: Served) -> None:
    def short(up: RawConnection) -> None:
        up.read_request()
        up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"y" * 10)

    upstream = RawUpstream(short)
    try:
        with connect_to(served, upstream) as client:
            client.send(REQUEST)
            client.read_until(b"\r\n\r\n")
            assert len(client.read_to_end()) < 1000
    finally:
        upstream.stop()


@contextlib.contextmanager
def connect_to(served: Served, upstream: RawUpstream) -> Iterator[TlsConnection]:
    """With this upstream instead, for a while."""
    resources = served.gateway.resources_path.read_text()
    served.gateway.reload(resources.replace(served.upstream.address, upstream.address))
    try:
        with served.connect() as client:
            yield client
    finally:
        served.gateway.reload(resources)


def test_pipelined_requests_larger_than_a_record(served: Served) -> None:
    head = b"GET /x HTTP/1.1\r\nHost: a.test\r\nX-Long: " + b"l" * 3000 + b"\r\n\r\n"
    with served.connect() as client:
        client.send(head * 40)
        assert [client.read_response().status for _ in range(40)] == [200] * 40


def test_a_client_that_stops_reading_costs_no_memory(served: Served) -> None:
    def pour(up: RawConnection) -> None:
        up.read_request()
        with contextlib.suppress(OSError):
            up.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (20 * BIG))
            for _ in range(20):
                up.send(b"z" * BIG)

    upstream = RawUpstream(pour)
    try:
        with connect_to(served, upstream) as client:
            before = served.resident_kb()
            client.send(REQUEST)
            client.read_until(b"\r\n\r\n")
            deadline = time.monotonic() + 2
            while time.monotonic() < deadline:  # it could take in all in this time
                assert served.resident_kb() < before + 30_000
                time.sleep(0.1)
            body = len(client.buffer)
            while body < 20 * BIG and (piece := client.tls.recv(1 << 20)):
                body += len(piece)
            assert body == 20 * BIG
    finally:
        upstream.stop()


def test_many_connections_at_once(served: Served) -> None:
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(100):
            clients.append(stack.enter_context(served.connect()))
            assert clients[-1].get("a.test") == 200
        for _ in range(3):
            for client in clients:
                client.send(REQUEST)
            assert [client.read_response().status for client in clients] == [200] * 100
