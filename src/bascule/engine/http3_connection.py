"""One QUIC connection with HTTP/3 on it: aioquic does packets, TLS, recovery, frames and QPACK; here its streams become
requests (http3_request.py).

Where the library would take in more than the gateway can pass on, or serves one certificate only, its methods are
overridden: those have names with an underscore, so the version is bounded in pyproject.toml and the tests use each.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from aioquic._buffer import Buffer
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import ErrorCode, FrameType, H3Connection, Setting, encode_frame
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import (
    ConnectionTerminated,
    HandshakeCompleted,
    ProtocolNegotiated,
    QuicEvent,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)
from aioquic.quic.packet import QuicFrameType
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.stream import QuicStream
from aioquic.tls import pull_client_hello
from pylsqpack import Decoder

from bascule.engine.http3_request import UNSENT, Fields, Http3Request

LIMIT_FRAME = 1 + 2 * 8  # bytes at most
RESETS, RESETS_PER_S = 500, 100  # streams that end before their response: so many at once, then so many per second
LAST_REQUEST_S = 0.2  # while draining: requests that are on their way are still taken


class Quic(QuicConnection):
    """`identities` and `local_host`: see http3_identity.py; `shown` is what was chosen."""

    def __init__(self, *, identities: Any, local_host: str, **options: Any) -> None:
        super().__init__(**options)
        self._identities = identities
        self._local_host = local_host
        self.shown: Any = None

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self.tls._server_handle_hello = partial(self._greet, self.tls._server_handle_hello)  # type: ignore[method-assign]

    def _greet(self, go_on: Any, hello: Buffer, initial: Buffer, handshake: Buffer) -> None:
        start = hello.tell()
        parsed = pull_client_hello(hello)
        hello.seek(start)
        self.shown = self._identities.show(self.tls, parsed, self._local_host)
        go_on(hello, initial, handshake)

    def grant(self, stream_id: int, stop: int) -> None:
        """The client may send so many bytes of this stream in all."""
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.receiver.is_finished:
            stream.max_stream_data_local = max(stream.max_stream_data_local, stop)

    def _write_stream_limits(self, builder: QuicPacketBuilder, space: Any, stream: QuicStream) -> None:
        """A request's window opens as `grant` says; the library would double it by itself."""
        if stream.stream_id is None or stream.stream_id % 4:
            super()._write_stream_limits(builder, space, stream)
        elif stream.max_stream_data_local_sent != stream.max_stream_data_local and not stream.receiver.is_finished:
            frame = builder.start_frame(
                QuicFrameType.MAX_STREAM_DATA,
                capacity=LIMIT_FRAME,
                handler=self._on_max_stream_data_delivery,
                handler_args=(stream,),
            )
            frame.push_uint_var(stream.stream_id)
            frame.push_uint_var(stream.max_stream_data_local)
            stream.max_stream_data_local_sent = stream.max_stream_data_local

    def unsent(self, stream_id: int) -> int:
        """Bytes that the client hasn't acknowledged."""
        stream = self._streams.get(stream_id)
        return 0 if stream is None else stream.sender._buffer_stop - stream.sender._buffer_start

    def receives(self, stream_id: int) -> bool:
        stream = self._streams.get(stream_id)
        return stream is not None and not stream.receiver.is_finished

    def abandon(self, stream_id: int, code: int) -> None:
        """Neither sends nor wants any more of this stream."""
        if stream_id in self._streams:
            self.reset_stream(stream_id, code)


class Http3(H3Connection):
    def __init__(self, quic: QuicConnection, max_head: int) -> None:
        self._max_head = max_head
        super().__init__(quic)

    def _init_connection(self) -> None:
        # Without a dynamic table a field is never much larger than what came for it, and no stream waits for another.
        self._max_table_capacity = self._blocked_streams = 0
        self._decoder = Decoder(0, 0)
        super()._init_connection()

    def _get_local_settings(self) -> dict[int, int]:
        settings = super()._get_local_settings()
        del settings[Setting.ENABLE_CONNECT_PROTOCOL]
        return settings | {Setting.MAX_FIELD_SECTION_SIZE: self._max_head}

    def held(self, stream_id: int) -> int:
        """Bytes of a frame that isn't whole yet."""
        stream = self._stream.get(stream_id)
        return 0 if stream is None else len(stream.buffer)

    def forget(self, stream_id: int) -> None:
        self._stream.pop(stream_id, None)

    def go_away(self, stream_id: int) -> None:
        """No request from this one on is taken."""
        assert self._local_control_stream_id is not None
        frame = encode_frame(FrameType.GOAWAY, encode_uint_var(stream_id))
        self._quic.send_stream_data(self._local_control_stream_id, frame)


class Http3Client(QuicConnectionProtocol):
    """`server`: an Http3Server; `host`, `port`: the client's when it connected. A client that moves to
    another address (RFC 9000, section 9) keeps them: nobody has shown that the new ones are its own when its first
    request comes from there."""

    def __init__(self, quic: Quic, server: Any, host: str, port: int, local_port: int) -> None:
        super().__init__(quic)
        self.server = server
        self.loop = asyncio.get_running_loop()
        self.waiting: set[Http3Request] = set()  # for the client to take what it was sent
        self.ids: list[bytes] = []
        self._connection = quic
        self._host, self._port, self._local_port = host, port, local_port
        self._h3: Http3 | None = None
        self._requests: dict[int, Http3Request] = {}
        self._over: set[int] = set()  # streams whose remaining bytes mean nothing any more
        self._next = 0  # the lowest stream that no request has come on
        self._last: int | None = None  # while draining: the first stream that isn't served
        self._resets = float(RESETS)
        self._resets_at = 0.0

    def __repr__(self) -> str:
        return f"<http3 client {self._host}:{self._port} requests={len(self._requests)}>"

    # ---- events

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        super().datagram_received(data, addr)
        if self.waiting:
            for request in list(self.waiting):
                if self.unsent(request.stream_id) <= UNSENT // 2:
                    self.waiting.discard(request)
                    request.read_on()

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, StreamDataReceived | StreamReset | StopSendingReceived):
            if self._h3 is not None:
                self._take(event)
        elif isinstance(event, ProtocolNegotiated):
            self._h3 = Http3(self._connection, self.server.max_head)
        elif isinstance(event, HandshakeCompleted):
            self.server.greeted(self)
            if self._connection.tls.key_schedule is not None:
                self._connection.shown.cipher = f"TLS_{self._connection.tls.key_schedule.cipher_suite.name}"
            if self.server.draining:
                self.drain()
        elif isinstance(event, ConnectionTerminated):
            self._drop_requests()

    def _take(self, event: StreamDataReceived | StreamReset | StopSendingReceived) -> None:
        assert self._h3 is not None
        stream_id = event.stream_id
        if stream_id in self._over:
            if isinstance(event, StreamReset) or (isinstance(event, StreamDataReceived) and event.end_stream):
                self._over.discard(stream_id)
            return
        request = self._requests.get(stream_id)
        if isinstance(event, StreamDataReceived):
            if request is None and stream_id % 4 == 0:
                request = self._open(stream_id)
                if request is None:
                    return
            if request is not None:
                request.received += len(event.data)
        for http_event in self._h3.handle_event(event):
            self._act(http_event)
        if request is None or stream_id not in self._requests:
            return
        if not isinstance(event, StreamDataReceived):
            self._spend()
            request.abort(ErrorCode.H3_REQUEST_CANCELLED)
        elif self.held(stream_id) > self.server.max_head:
            request.abort(ErrorCode.H3_EXCESSIVE_LOAD)
        elif not request.grant() and not request.headed and request.timer is None:
            request.timer = self.loop.call_later(self.server.header_s, self._too_late, request)

    def _open(self, stream_id: int) -> Http3Request | None:
        request = Http3Request(self, stream_id)
        self._requests[stream_id] = request
        self._next = max(self._next, stream_id + 4)
        if self._last is not None and stream_id >= self._last:
            request.abort(ErrorCode.H3_REQUEST_REJECTED)
            return None
        return request

    def _act(self, event: H3Event) -> None:
        if isinstance(event, HeadersReceived | DataReceived):
            request = self._requests.get(event.stream_id)
            if request is None:
                return
            if isinstance(event, DataReceived):
                request.body(event.data, event.stream_ended)
            elif request.headed:
                request.trailers(event.headers)
            else:
                request.begin(event.headers, event.stream_ended)
        elif isinstance(event, WebTransportStreamDataReceived):
            request = self._requests.get(event.stream_id)
            if request is not None:
                request.abort(ErrorCode.H3_FRAME_UNEXPECTED)

    def _too_late(self, request: Http3Request) -> None:
        request.timer = None
        request.abort(ErrorCode.H3_REQUEST_INCOMPLETE)
        self.transmit_soon()

    def _spend(self) -> None:
        """Requests that are taken back cost work for nothing."""
        now = self.loop.time()
        self._resets = min(RESETS, self._resets + (now - self._resets_at) * RESETS_PER_S) - 1
        self._resets_at = now
        if self._resets < 0:
            self.give_up(ErrorCode.H3_EXCESSIVE_LOAD, "rapid reset")

    # ---- what requests need

    def take_in(self, fd: int) -> bool:
        taken: bool = self.server.take_in(fd, self._connection.shown, self._host, self._port, self._local_port)
        return taken

    def held(self, stream_id: int) -> int:
        return 0 if self._h3 is None else self._h3.held(stream_id)

    def unsent(self, stream_id: int) -> int:
        return self._connection.unsent(stream_id)

    def grant(self, stream_id: int, stop: int) -> None:
        self._connection.grant(stream_id, stop)

    def transmit_soon(self) -> None:
        self._transmit_soon()

    def send_fields(self, stream_id: int, fields: Fields, last: bool) -> None:
        assert self._h3 is not None
        self._h3.send_headers(stream_id, fields, last)

    def send_data(self, stream_id: int, data: bytes, last: bool) -> None:
        assert self._h3 is not None
        self._h3.send_data(stream_id, data, last)

    def reset(self, stream_id: int, code: int) -> None:
        self._connection.abandon(stream_id, code)

    def done(self, request: Http3Request, code: int) -> None:
        """Its response is whole, or there will be none."""
        stream_id = request.stream_id
        self._requests.pop(stream_id, None)
        self.waiting.discard(request)
        if self._connection.receives(stream_id):
            self._connection.stop_stream(stream_id, code)
            self._over.add(stream_id)
        if self._h3 is not None:
            self._h3.forget(stream_id)
        if self._last is not None and not self._requests:
            self.loop.call_later(LAST_REQUEST_S, self.leave)

    def give_up(self, code: int, reason: str) -> None:
        """Ends the connection, which costs us more than it is worth."""
        self.server.log.warning("HTTP/3 client %s: connection ended: %s", self._host, reason)
        self._drop_requests()
        self.close(code, reason)

    def _drop_requests(self) -> None:
        for request in list(self._requests.values()):
            request.close()
        self._requests.clear()
        self.waiting.clear()

    def keep_alive(self) -> None:
        if self._requests:
            self._connection.send_ping(0)
            self.transmit()

    # ---- draining

    def drain(self) -> None:
        """Requests that have come are served, and no others; then the connection ends."""
        if self._h3 is None or self._last is not None:
            return
        self._last = self._next
        self._h3.go_away(self._last)
        self.transmit()
        if not self._requests:
            self.loop.call_later(LAST_REQUEST_S, self.leave)

    def leave(self) -> None:
        if not self._requests:
            self.close(ErrorCode.H3_NO_ERROR)
