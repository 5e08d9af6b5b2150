"""HTTP/3 (RFC 9114) towards clients: the UDP sockets of a worker, and whose the packets are that come there.

The kernel chooses the worker by the addresses and ports of a packet, so a client stays with one as long as its address
stays. Answers leave from the address that the client wrote to, also where the socket is bound to all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from functools import partial
from typing import Any

from aioquic._buffer import Buffer
from aioquic.h3.connection import ErrorCode
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE, QuicConfiguration
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler

from bascule.engine.http3_connection import Http3Client, Quic
from bascule.engine.http3_identity import Identities
from bascule.engine.http3_request import WINDOW
from bascule.wire.http2_request import RequestFields

MIN_IDLE_S = 10.0
UNPROVEN = 64  # connections may be in their handshake before clients must show that their address is theirs
DATAGRAMS = 64  # read in one turn of the loop
BUFFER = 1 << 20
IP_PKTINFO = 8  # linux/in.h; the socket module has no name for it


class Path:
    """Sends from the address that the client wrote to; what aioquic takes for its transport."""

    def __init__(self, sock: socket.socket, info: list[tuple[int, int, bytes]]) -> None:
        self._sock = sock
        self._info = info

    def sendto(self, data: bytes, address: Any) -> None:
        with contextlib.suppress(OSError):  # a packet that is lost is sent again
            self._sock.sendmsg((data,), self._info, 0, address)


class Http3Server:
    """`engine`: engine/server.py's. Raises ImportError without aioquic."""

    def __init__(self, engine: Any, loop: asyncio.AbstractEventLoop) -> None:
        settings = engine.settings
        self.log = logging.getLogger("bascule.engine")
        logging.getLogger("quic").setLevel(logging.ERROR)  # it tells of each connection
        self.loop = loop
        self.take_in = engine.take_in
        self.fields = RequestFields()
        self.max_line: int = settings.max_line_bytes
        self.max_head: int = settings.max_head_bytes
        self.header_s: float = settings.client_header_timeout_s
        self.draining = False
        self._max_connections: int = settings.worker_connections
        self._identities = Identities(engine.identity)
        self._idle_s = max(settings.keepalive_timeout_s, MIN_IDLE_S)
        self._configuration = QuicConfiguration(
            alpn_protocols=["h3"],
            is_client=False,
            idle_timeout=self._idle_s,
            max_stream_data=WINDOW + self.max_head,
            # Something has to stand here; what is shown is set once the client's name is known.
            certificate=b"",
            private_key=b"",
        )
        self._retry = QuicRetryTokenHandler()
        self._sockets: dict[socket.socket, int] = {}  # -> port
        self._clients: dict[bytes, Http3Client] = {}  # by connection id
        self._connections: set[Http3Client] = set()
        self._unproven: set[Http3Client] = set()
        self._pinging: asyncio.TimerHandle | None = None

    def listen(self, fd: int, port: int) -> None:
        """Serves a UDP socket, which becomes this server's."""
        sock = socket.socket(fileno=fd)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)  # the kernel bounds it
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self._sockets[sock] = port
        self.loop.add_reader(sock, self._readable, sock, port)
        if self._pinging is None:
            self._ping()

    def refused(self, status: int) -> bytes:
        """A head that the engine refuses with this status: what came was too large to be kept."""
        if status == 414:
            return b"GET /%b HTTP/1.1\r\n\r\n" % (b"a" * self.max_line)
        if status == 431:
            return b"GET / HTTP/1.1\r\na: %b\r\n\r\n" % (b"a" * self.max_head)
        return b"GET HTTP/1.1\r\n\r\n"

    # ---- packets

    def _readable(self, sock: socket.socket, port: int) -> None:
        for _ in range(DATAGRAMS):
            try:
                data, info, _, address = sock.recvmsg(65536, 128)
            except OSError:
                return
            try:
                self._take(sock, port, data, info, address)
            except Exception:
                # One client's packet must not end the others' connections.
                self.log.exception("internal error at a packet from %s", address[0])

    def _take(
        self, sock: socket.socket, port: int, data: bytes, info: list[tuple[int, int, bytes]], address: Any
    ) -> None:
        try:
            header = pull_quic_header(Buffer(data=data), self._configuration.connection_id_length)
        except ValueError:
            return
        client = self._clients.get(header.destination_cid)
        if client is None:
            # Smaller ones could make answers that are larger than what was asked for.
            if len(data) < SMALLEST_MAX_DATAGRAM_SIZE or header.version is None or self.draining:
                return
            local_host, info = _local(info)
            path = Path(sock, info)
            if header.version not in self._configuration.supported_versions:
                if header.packet_type != QuicPacketType.VERSION_NEGOTIATION:
                    versions = self._configuration.supported_versions
                    path.sendto(
                        encode_quic_version_negotiation(
                            source_cid=header.destination_cid,
                            destination_cid=header.source_cid,
                            supported_versions=versions,
                        ),
                        address,
                    )
                return
            if header.packet_type != QuicPacketType.INITIAL or len(self._connections) >= self._max_connections:
                return
            client = self._accept(header, path, address, local_host, port)
            if client is None:
                return
        client.datagram_received(data, address)

    def _accept(self, header: QuicHeader, path: Path, address: Any, local_host: str, port: int) -> Http3Client | None:
        """A new connection; None: the client is asked to come again, with a token that is sent to its address."""
        original, retried = header.destination_cid, None
        if header.token:
            try:
                original = self._retry.validate_token(
                    address=address[:2],
                    destination_cid=header.destination_cid,
                    token=header.token,
                    now=self.loop.time(),
                )
            except ValueError:
                return None
            retried = header.destination_cid
        elif len(self._unproven) >= UNPROVEN:
            source = os.urandom(self._configuration.connection_id_length)
            token = self._retry.create_token(
                address=address[:2],
                original_destination_connection_id=header.destination_cid,
                retry_source_connection_id=source,
                now=self.loop.time(),
            )
            assert header.version is not None
            path.sendto(
                encode_quic_retry(
                    version=header.version,
                    source_cid=source,
                    destination_cid=header.source_cid,
                    original_destination_cid=header.destination_cid,
                    retry_token=token,
                ),
                address,
            )
            return None
        quic = Quic(
            identities=self._identities,
            local_host=local_host,
            configuration=self._configuration,
            original_destination_connection_id=original,
            retry_source_connection_id=retried,
        )
        client = Http3Client(quic, self, address[0], address[1], port)
        client.connection_made(path)  # type: ignore[arg-type]
        client._connection_id_issued_handler = partial(self._know, client)
        client._connection_id_retired_handler = self._retire
        client._connection_terminated_handler = partial(self._forget, client)
        self._connections.add(client)
        self._unproven.add(client)
        self._know(client, header.destination_cid)
        self._know(client, quic.host_cid)
        return client

    def greeted(self, client: Http3Client) -> None:
        """Its handshake is done."""
        self._unproven.discard(client)

    def _know(self, client: Http3Client, cid: bytes) -> None:
        client.ids.append(cid)
        self._clients[cid] = client

    def _retire(self, cid: bytes) -> None:
        client = self._clients.pop(cid, None)
        if client is not None:
            client.ids.remove(cid)

    def _forget(self, client: Http3Client) -> None:
        self._connections.discard(client)
        self._unproven.discard(client)
        for cid in client.ids:
            self._clients.pop(cid, None)

    def _ping(self) -> None:
        """A client whose upstream takes its time isn't idle."""
        for client in list(self._connections):
            client.keep_alive()
        self._pinging = self.loop.call_later(self._idle_s / 3, self._ping)

    # ---- the end

    def drain(self) -> None:
        """No connection begins any more; those that there are end with the requests that have come on them."""
        self.draining = True
        for client in list(self._connections):
            client.drain()

    def close(self) -> None:
        for client in list(self._connections):
            client.close(ErrorCode.H3_NO_ERROR)
        if self._pinging is not None:
            self._pinging.cancel()
        for sock in self._sockets:
            self.loop.remove_reader(sock)
            sock.close()
        self._sockets.clear()


def _local(info: list[tuple[int, int, bytes]]) -> tuple[str, list[tuple[int, int, bytes]]]:
    """The address that a packet was sent to, and what makes the answer come from there."""
    for level, kind, data in info:
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            host = data[8:12]
            return socket.inet_ntop(socket.AF_INET, host), [(level, kind, struct.pack("i4s4s", 0, host, host))]
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return socket.inet_ntop(socket.AF_INET6, data[:16]), [(level, kind, data)]
    return "", []
