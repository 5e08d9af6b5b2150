"""The server's side of HTTP/2 connections, played by scripts; where the h2 library would refuse, raw frames."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset, TrailersReceived, WindowUpdated
from h2.settings import SettingCodes, Settings

from tests.servers.raw import Closed, RawConnection, Script

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR = 0, 1, 2
REFUSED_STREAM, CANCEL = 7, 8


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """The bytes of one frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


@dataclass
class Http2Request:
    """A request as it came: its stream, fields in their order, body."""

    stream: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


class Http2Peer:
    """`settings` by name ("max_concurrent_streams"). `h2` is the library's connection, for what has no method here."""

    def __init__(self, connection: RawConnection, settings: Mapping[str, int] | None = None):
        self.connection = connection
        self.h2 = H2Connection(
            H2Configuration(
                client_side=False,
                header_encoding="latin-1",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        values = {SettingCodes[name.upper()]: value for name, value in (settings or {}).items()}
        self.h2.local_settings = Settings(client=False, initial_values=values)
        self.h2.initiate_connection()
        self.events: deque[Any] = deque()
        self.flush()

    def flush(self) -> None:
        """Sends what the library has to send."""
        if data := self.h2.data_to_send():
            self.connection.send(data)

    def raw(self, *frames: bytes) -> None:
        """Sends these bytes behind what the library has to send."""
        self.flush()
        self.connection.send(b"".join(frames))

    def _more(self) -> None:
        data = self.connection.read_some()
        if not data:
            raise Closed(b"")
        self.events.extend(self.h2.receive_data(data))
        self.flush()

    def next(self, *kinds: type, stream: int | None = None) -> Any:
        """The next event of one of these kinds (on this stream); others wait. Closed: the connection ended."""
        while True:
            for event in self.events:
                if isinstance(event, kinds) and (stream is None or event.stream_id == stream):
                    self.events.remove(event)
                    return event
            self._more()

    def read_head(self) -> Http2Request:
        """The next request, up to its body."""
        begun = self.next(RequestReceived)
        return Http2Request(begun.stream_id, [(str(name), str(value)) for name, value in begun.headers])

    def read_request(self) -> Http2Request:
        """The next request with its body; the windows are kept open."""
        request = self.read_head()
        while True:
            event = self.next(DataReceived, TrailersReceived, StreamEnded, StreamReset, stream=request.stream)
            if isinstance(event, TrailersReceived):
                request.trailers = [(str(name), str(value)) for name, value in event.headers or ()]
            elif isinstance(event, DataReceived):
                request.body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, request.stream)
                self.flush()
            elif isinstance(event, StreamEnded):
                return request
            else:
                raise Closed(request.body)

    def respond(
        self,
        stream: int,
        body: bytes = b"ok",
        status: int = 200,
        headers: Iterable[tuple[str, str]] = (),
        trailers: Iterable[tuple[str, str]] = (),
    ) -> None:
        """A whole response; waits for the window where it must."""
        trailing = list(trailers)
        fields = [(":status", str(status)), *headers]
        self.h2.send_headers(stream, fields, end_stream=not body and not trailing)
        while body:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(body))
            if room == 0:
                self.flush()
                self.next(WindowUpdated)
                continue
            self.h2.send_data(stream, body[:room], end_stream=room == len(body) and not trailing)
            body = body[room:]
            self.flush()
        if trailing:
            self.h2.send_headers(stream, trailing, end_stream=True)
        self.flush()

    def head(self, stream: int, *fields: tuple[str, str], end: bool = False) -> None:
        """A HEADERS frame with just these fields."""
        self.h2.send_headers(stream, list(fields), end_stream=end)
        self.flush()

    def reset(self, stream: int, code: int) -> None:
        self.h2.reset_stream(stream, code)
        self.flush()

    def goaway(self, last_stream: int, code: int = NO_ERROR) -> None:
        """A GOAWAY frame, which the library doesn't hear of: it goes on."""
        self.raw(frame(GOAWAY, 0, 0, last_stream.to_bytes(4, "big") + code.to_bytes(4, "big")))

    def close(self) -> None:
        """Ends its side, and waits for the other: bytes that nobody read would reset the connection."""
        self.connection.shutdown_write()
        self.connection.read_to_end()

    def wait_closed(self) -> None:
        """Reads until the other side closes."""
        with contextlib.suppress(Closed, ConnectionError):
            while True:
                self._more()


def speaks_http2(script: Callable[[Http2Peer], None], **settings: int) -> Script:
    """A script for a RawUpstream."""

    def play(connection: RawConnection) -> None:
        script(Http2Peer(connection, settings))

    return play


def answering(peer: Http2Peer) -> None:
    """A script that answers each request with 200 and its body, or with "ok"."""
    while True:
        request = peer.read_request()
        peer.respond(request.stream, request.body or b"ok")
