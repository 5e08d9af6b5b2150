"""A WebSocket on a stream of HTTP/2 (RFC 8441): HTTP/2 of http2.py, frames of a real WebSocket library."""

from typing import Any

from websockets.frames import Frame
from websockets.protocol import CLIENT, Protocol, State

from tests.servers.http2 import CANCEL, Http2Client, rst_stream


class Http2Websocket:
    """Opened on a connection of its own. `status`: of the answer, 200 when it stands."""

    def __init__(self, client: Http2Client, path: str, *fields: tuple[str, str]):
        self.client = client
        self.stream = client.request(
            path, ("sec-websocket-version", "13"), *fields, end=False, pseudo=pseudo_fields(path)
        )
        self.answer = client.wait_head(self.stream)
        self.status = self.answer.status
        self.frames = Protocol(CLIENT, state=State.OPEN, max_size=64 << 20)
        self.taken = 0

    def send(self, data: bytes | str) -> None:
        if isinstance(data, str):
            self.frames.send_text(data.encode())
        else:
            self.frames.send_binary(data)
        self.flush()

    def flush(self) -> None:
        for piece in self.frames.data_to_send():
            if piece:
                self.client.data(self.stream, piece)

    def next_frame(self) -> Frame | None:
        """None: the stream has ended, or was reset."""
        while True:
            if events := self.frames.events_received():
                assert len(events) == 1, events
                assert isinstance(events[0], Frame)
                return events[0]
            if self.taken < len(self.answer.body):
                at = self.taken
                n = self._one_frame(at)
                if n:
                    self.taken += n
                    self.frames.receive_data(self.answer.body[at : at + n])
                    self.flush()
                    continue
            if self.answer.ended or self.answer.reset is not None or not self.client.read():
                return None

    def _one_frame(self, at: int) -> int:
        """Bytes of the frame that begins there; 0: it isn't whole."""
        data = self.answer.body
        if len(data) < at + 2:
            return 0
        length = data[at + 1] & 127
        more = {126: 2, 127: 8}.get(length, 0)
        if more:
            length = int.from_bytes(data[at + 2 : at + 2 + more], "big")
        size = 2 + more + length
        return size if len(data) >= at + size else 0

    def receive(self) -> bytes:
        """The next message."""
        message = b""
        while True:
            frame = self.next_frame()
            assert frame is not None, self.answer
            if frame.opcode < 8:
                message += bytes(frame.data)
                if frame.fin:
                    return message

    def end(self) -> None:
        """END_STREAM."""
        self.client.data(self.stream, b"", end=True)

    def reset(self, code: int = CANCEL) -> None:
        self.client.raw(rst_stream(self.stream, code))

    @property
    def close_code(self) -> int | None:
        """Of the close frame that came."""
        close = self.frames.close_rcvd
        return None if close is None else close.code

    def wait_end(self) -> Any:
        while self.next_frame() is not None:
            pass
        return self.answer


def pseudo_fields(path: str, protocol: str = "websocket") -> list[tuple[str, str]]:
    return [
        (":method", "CONNECT"),
        (":protocol", protocol),
        (":scheme", "http"),
        (":path", path),
        (":authority", "a"),
    ]
