"""An HTTP/2 client that says what a test wants it to say: frames by hand, HPACK by a library, no rules kept."""

import contextlib
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hpack import Decoder, Encoder
from hpack.struct import HeaderTuple

from tests.servers.raw import TIMEOUT_S

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = 5, 6, 7, 8, 9
ENHANCE_YOUR_CALM = 11
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 2, 3, 4, 5
MAX_WINDOW = 2**31 - 1

Pairs = Iterable[tuple[str | bytes, str | bytes]]


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """The bytes of one frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def settings(values: dict[int, int]) -> bytes:
    return frame(SETTINGS, payload=b"".join(k.to_bytes(2, "big") + v.to_bytes(4, "big") for k, v in values.items()))


def rst_stream(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def window_update(stream: int, size: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, size.to_bytes(4, "big"))


@dataclass
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes


@dataclass
class Answer:
    """What has come on a stream so far."""

    headers: list[tuple[str, str]] = field(default_factory=list)
    interim: list[list[tuple[str, str]]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        return int(self.header(":status") or 0)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


class Http2Client:
    """Connected, with the preface and its SETTINGS sent. `windows`: give windows back as data comes.

    `peer_settings`, `goaway` (last stream, code), `pings` are what the server said.
    """

    def __init__(
        self,
        port: int,
        *,
        values: dict[int, int] | None = None,
        windows: bool = True,
        preface: bytes = PREFACE,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int = 0,
    ):
        raw = socket.socket()
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.settimeout(TIMEOUT_S)
        raw.connect(("127.0.0.1", port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock: socket.socket = tls.wrap_socket(raw, server_hostname="localhost") if tls else raw
        self.windows = windows
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.decoder.max_allowed_table_size = 65536
        self.answers: dict[int, Answer] = {}
        self.peer_settings: dict[int, int] = {}
        self.goaway: tuple[int, int] | None = None
        self.pings: list[bytes] = []
        self.room = {0: 65535}
        self.next_stream = 1
        self._buffer = b""
        self._block = b""
        if preface:
            self.raw(preface, settings(values or {}))

    def __enter__(self) -> "Http2Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def raw(self, *frames: bytes) -> None:
        """Sends these bytes."""
        self.sock.sendall(b"".join(frames))

    def block(self, fields: Pairs, *, huffman: bool = True) -> bytes:
        return bytes(self.encoder.encode([HeaderTuple(*pair) for pair in fields], huffman=huffman))

    def request(
        self,
        path: str | bytes = "/",
        *fields: tuple[str | bytes, str | bytes],
        method: str = "GET",
        body: bytes | None = None,
        end: bool = True,
        authority: str | None = "a",
        pseudo: Pairs | None = None,
    ) -> int:
        """Sends a request (with `body`, in one DATA frame); the stream's number. `pseudo` replaces the usual fields."""
        if pseudo is None:
            pseudo = [(":method", method), (":scheme", "http"), (":path", path)]
            if authority is not None:
                pseudo = [*pseudo, (":authority", authority)]
        stream = self.next_stream
        self.next_stream += 2
        self.headers(stream, [*pseudo, *fields], end=end and body is None)
        if body is not None:
            self.data(stream, body, end=end)
        return stream

    def headers(self, stream: int, fields: Pairs, *, end: bool = False) -> None:
        self.answers.setdefault(stream, Answer())
        self.raw(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, self.block(fields)))

    def data(self, stream: int, body: bytes, *, end: bool = False) -> None:
        """In frames of at most 16384 bytes, as the server's windows allow."""
        while True:
            n = len(body)
            if n:
                while self._room(stream) <= 0 or self.room[0] <= 0:
                    if not self.read() or self.answers[stream].reset is not None:
                        return
                n = min(n, 16384, self._room(stream), self.room[0])
            self.room[stream] = self._room(stream) - n
            self.room[0] -= n
            piece, body = body[:n], body[n:]
            self.raw(frame(DATA, END_STREAM if end and not body else 0, stream, piece))
            if not body:
                return

    def _room(self, stream: int) -> int:
        return self.room.setdefault(stream, self.peer_settings.get(INITIAL_WINDOW_SIZE, 65535))

    def next_frame(self) -> Frame | None:
        """The next frame, seen to; None: the connection has ended."""
        try:
            while len(self._buffer) < 9 or len(self._buffer) < 9 + int.from_bytes(self._buffer[:3], "big"):
                data = self.sock.recv(65536)
                if not data:
                    return None
                self._buffer += data
        except (ConnectionError, ssl.SSLError):
            return None
        n = 9 + int.from_bytes(self._buffer[:3], "big")
        one = Frame(
            self._buffer[3], self._buffer[4], int.from_bytes(self._buffer[5:9], "big") & MAX_WINDOW, self._buffer[9:n]
        )
        self._buffer = self._buffer[n:]
        with contextlib.suppress(ConnectionError):  # it may have closed, and what it said before is still here
            self._take(one)
        return one

    def read(self) -> bool:
        """Takes one frame. False: the connection has ended."""
        return self.next_frame() is not None

    def _take(self, one: Frame) -> None:
        answer = self.answers.setdefault(one.stream, Answer())
        number = int.from_bytes(one.payload[:4], "big")
        if one.kind == DATA:
            answer.body += one.payload
            if self.windows and one.payload:
                self.raw(window_update(0, len(one.payload)))
                if not one.flags & END_STREAM:
                    self.raw(window_update(one.stream, len(one.payload)))
        elif one.kind in (HEADERS, CONTINUATION):
            self._block += one.payload
            if one.flags & END_HEADERS:
                fields: Any = [(str(name), str(value)) for name, value in self.decoder.decode(self._block)]
                self._block = b""
                if answer.headers:
                    answer.trailers = fields
                elif fields[0][1].startswith("1"):
                    answer.interim.append(fields)
                else:
                    answer.headers = fields
        elif one.kind == SETTINGS and not one.flags & ACK:
            for at in range(0, len(one.payload), 6):
                key = int.from_bytes(one.payload[at : at + 2], "big")
                self.peer_settings[key] = int.from_bytes(one.payload[at + 2 : at + 6], "big")
            self.raw(frame(SETTINGS, ACK))
        elif one.kind == PING and one.flags & ACK:
            self.pings.append(one.payload)
        elif one.kind == RST_STREAM:
            answer.reset = number
        elif one.kind == GOAWAY:
            self.goaway = (number & MAX_WINDOW, int.from_bytes(one.payload[4:8], "big"))
        elif one.kind == WINDOW_UPDATE:
            self.room[one.stream] = self._room(one.stream) + number
        if one.kind in (DATA, HEADERS) and one.flags & END_STREAM:
            answer.ended = True

    def wait(self, stream: int) -> Answer:
        """Reads until the stream's response is whole, or was reset, or the connection ended."""
        answer = self.answers.setdefault(stream, Answer())
        while not answer.ended and answer.reset is None and self.read():
            pass
        return answer

    def wait_head(self, stream: int) -> Answer:
        answer = self.answers[stream]
        while not answer.headers and answer.reset is None and self.read():
            pass
        return answer

    def get(self, path: str = "/", *fields: tuple[str | bytes, str | bytes], **options: Any) -> Answer:
        """A request and its whole response."""
        return self.wait(self.request(path, *fields, **options))

    def ping(self) -> None:
        """Returns once all that was sent before has been looked at."""
        known = len(self.pings)
        self.raw(frame(PING, 0, 0, b"in order"))
        while len(self.pings) == known and self.read():
            pass

    def is_closed(self) -> bool:
        """Reads to the end of the connection; False: it is still open after the usual time."""
        try:
            while self.read():
                pass
        except TimeoutError:
            return False
        return True
