"""A client that speaks HTTP/3, over aioquic; as strict or as careless as the test wants."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StopSendingReceived, StreamReset

from tests.servers.certificates import Certificates
from tests.servers.gateway import Gateway, merged
from tests.servers.ports import free_port

Fields = list[tuple[str, str]]
LIMIT_S = 30


class Answer:
    """What has come of a response; `reset`: the code that its stream ended with instead."""

    def __init__(self) -> None:
        self.heads: list[dict[str, str]] = []
        self.body = bytearray()
        self.trailers: dict[str, str] | None = None
        self.reset: int | None = None
        self.stopped: int | None = None
        self.changed = asyncio.Event()
        self.whole = False

    @property
    def status(self) -> int:
        return int(self.heads[-1][":status"])

    def header(self, name: str) -> str | None:
        return self.heads[-1].get(name)


class Http3Peer(QuicConnectionProtocol):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.h3 = H3Connection(self._quic)
        self.answers: dict[int, Answer] = {}
        self.closed_with: ConnectionTerminated | None = None
        self.closed = asyncio.Event()

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ConnectionTerminated):
            self.closed_with = event
            self.closed.set()
            for answer in self.answers.values():
                answer.changed.set()
        for http_event in self.h3.handle_event(event):
            self._took(http_event)
        stream_id = getattr(event, "stream_id", None)
        answer = self.answers.get(stream_id) if stream_id is not None else None
        if answer is not None and isinstance(event, StreamReset):
            answer.reset = event.error_code
            answer.changed.set()
        if answer is not None and isinstance(event, StopSendingReceived):
            answer.stopped = event.error_code

    def _took(self, event: H3Event) -> None:
        if not isinstance(event, HeadersReceived | DataReceived):
            return
        answer = self.answers[event.stream_id]
        if isinstance(event, DataReceived):
            answer.body += event.data
        else:
            fields = {name.decode(): value.decode() for name, value in event.headers}
            if ":status" in fields:
                answer.heads.append(fields)
            else:
                answer.trailers = fields
        answer.whole = answer.whole or event.stream_ended
        answer.changed.set()

    def request(
        self,
        path: str,
        *fields: tuple[str, str],
        method: str = "GET",
        authority: str = "localhost",
        pseudo: Fields | None = None,
        last: bool = True,
    ) -> int:
        """Begins one; its stream. `pseudo`: instead of the four fields that belong there."""
        if pseudo is None:
            pseudo = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path)]
        stream_id = self._quic.get_next_available_stream_id()
        self.answers[stream_id] = Answer()
        self.h3.send_headers(stream_id, [(n.encode(), v.encode()) for n, v in (*pseudo, *fields)], last)
        self.transmit()
        return stream_id

    def send(self, stream_id: int, data: bytes, last: bool = False) -> None:
        self.h3.send_data(stream_id, data, last)
        self.transmit()

    def send_trailers(self, stream_id: int, *fields: tuple[str, str]) -> None:
        self.h3.send_headers(stream_id, [(n.encode(), v.encode()) for n, v in fields], True)
        self.transmit()

    def cancel(self, stream_id: int) -> None:
        self._quic.reset_stream(stream_id, 0x10C)
        self._quic.stop_stream(stream_id, 0x10C)
        self.transmit()

    def streams_left(self) -> int:
        """How many more requests may begin now."""
        return self._quic._remote_max_streams_bidi - self._quic.get_next_available_stream_id() // 4

    def unsent(self, stream_id: int) -> int:
        """Bytes that the gateway hasn't taken."""
        sender = self._quic._streams[stream_id].sender
        return sender._buffer_stop - sender._buffer_start

    async def wait(self, stream_id: int) -> Answer:
        """Until the response is whole, its stream reset or the connection closed."""
        answer = self.answers[stream_id]
        async with asyncio.timeout(LIMIT_S):
            while not answer.whole and answer.reset is None and self.closed_with is None:
                answer.changed.clear()
                await answer.changed.wait()
        return answer

    async def get(self, path: str, *fields: tuple[str, str], **options: Any) -> Answer:
        return await self.wait(self.request(path, *fields, **options))


@asynccontextmanager
async def http3(port: int, ca: Path, name: str | None = "localhost", **options: Any) -> AsyncIterator[Http3Peer]:
    """A connection to 127.0.0.1. Raises ConnectionError when its handshake fails."""
    configuration = QuicConfiguration(
        alpn_protocols=["h3"], is_client=True, server_name=name, verify_mode=ssl.CERT_REQUIRED, **options
    )
    configuration.load_verify_locations(str(ca))
    async with (
        asyncio.timeout(2 * LIMIT_S),
        connect("127.0.0.1", port, configuration=configuration, create_protocol=Http3Peer) as peer,
    ):
        assert isinstance(peer, Http3Peer)
        yield peer


class Http3Gateway(NamedTuple):
    gateway: Gateway
    port: int
    certificates: Certificates

    def connect(self, name: str = "localhost") -> AbstractAsyncContextManager[Http3Peer]:
        return http3(self.port, self.certificates.ca.cert, name)


@contextmanager
def http3_gateway(
    directory: Path,
    resources: dict[str, Any],
    config: dict[str, Any] | None = None,
    *,
    certificates: Certificates | None = None,
    workers: int = 1,
) -> Iterator[Http3Gateway]:
    """A gateway that serves HTTP/3, as localhost if `resources` have no certificates; it must end well."""
    certificates = certificates or Certificates(directory / "certificates")
    port = free_port()
    listen = {"ip": "127.0.0.1", "port": port, "enable_http3": True}
    own = {"apisix": {"ssl": {"enable": True, "listen": [listen]}}}
    ours = {"ssls": [{"id": "a", "sni": "localhost", **certificates.server.texts}]}
    server = Gateway(directory / "gateway", ours | resources, merged(own, config or {}), workers=workers)
    try:
        yield Http3Gateway(server, port, certificates)
        server.finish()
    finally:
        server.stop()
