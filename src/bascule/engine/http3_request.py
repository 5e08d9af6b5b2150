"""One HTTP/3 request, said to the engine in HTTP/1.1 over a pair of sockets: so all that requests go through (routing,
plugins, limits, logs) is one code, and a plugin never knows.

What it says is checked first as HTTP/2's requests are (wire/http2_request.py), and no more bytes of a body are passed
on than were announced: nothing that a client sends can be read as a second request. Each pair serves one request.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from aioquic.h3.connection import ErrorCode

from bascule.wire.chunk import trailer_fields

Fields = list[tuple[bytes, bytes]]

MALFORMED, BOMB = -1, -2  # RequestFields.assemble
WINDOW = 64 << 10  # so much of a body may wait here for its upstream
UNSENT = 256 << 10  # no more of a response is read while so much waits for the client
READ = 64 << 10
OF_THE_CONNECTION = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}


class Http3Request:
    """`client`: an Http3Client; `received`: bytes of its stream so far."""

    def __init__(self, client: Any, stream_id: int) -> None:
        self.stream_id = stream_id
        self.received = 0
        self.headed = False  # its head is there
        self.ended = False  # the client has said all
        self.timer: asyncio.TimerHandle | None = None  # until its head is there
        self._client = client
        self._loop = client.loop
        self._sock: socket.socket | None = None
        self._granted = WINDOW + client.server.max_head
        self._out = bytearray()  # what the engine doesn't take yet
        self._left: int | None = None  # of a body with a length; None: it is chunked
        self._deaf = False  # the engine reads no more of the body
        self._text = bytearray()  # of the response, not understood yet
        self._state = self._head
        self._rest: int | None = None  # bytes of the response's body, or of its chunk
        self._head_only = False

    # ---- the request

    def begin(self, fields: Fields, ended: bool) -> None:
        client = self._client
        self.headed = True
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.ended = ended
        lengths = [value for name, value in fields if name == b"content-length"]
        if lengths:
            if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 18:
                return self.abort(ErrorCode.H3_MESSAGE_ERROR)
            self._left = int(lengths[0])
            if ended and self._left:
                return self.abort(ErrorCode.H3_MESSAGE_ERROR)
        head = client.server.fields.assemble(fields, not ended, client.server.max_line, client.server.max_head)
        if head == BOMB:
            client.give_up(ErrorCode.H3_EXCESSIVE_LOAD, "header bomb")
            return None
        if head == MALFORMED:
            return self.abort(ErrorCode.H3_MESSAGE_ERROR)
        if isinstance(head, int):
            head = client.server.refused(-head)
            refused = True
        else:
            refused = False
        self._head_only = head.startswith(b"HEAD ")
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError:
            return self.abort(ErrorCode.H3_REQUEST_REJECTED)
        if not client.take_in(theirs.detach()):
            ours.close()
            return self.abort(ErrorCode.H3_REQUEST_REJECTED)
        self._sock = ours
        self._loop.add_reader(ours, self._readable)
        self._write(head)
        self._deaf = refused
        return None

    def body(self, data: bytes, ended: bool) -> None:
        self.ended = self.ended or ended
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0 or (ended and self._left):
                return self.abort(ErrorCode.H3_MESSAGE_ERROR)
            return self._write(data)
        self._write((b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + (b"0\r\n\r\n" if ended else b""))
        return None

    def trailers(self, fields: Fields) -> None:
        """They end it. A body with a length has no place for them in HTTP/1.1."""
        self.ended = True
        if self._left is not None:
            return self.body(b"", True)
        lines = b"".join(b"%b: %b\r\n" % field for field in fields if not field[0].startswith(b":"))
        return self._write(b"0\r\n%b\r\n" % lines)

    def grant(self) -> bool:
        """Lets the client send on as far as what it sent has been taken. True: that must be told."""
        stop = self.received - len(self._out) - self._client.held(self.stream_id) + WINDOW
        if self.ended or stop - self._granted < WINDOW // 2:
            return False
        self._granted = stop
        self._client.grant(self.stream_id, stop)
        return True

    def _write(self, data: bytes) -> None:
        if self._sock is None or self._deaf:
            return
        if self._out:
            self._out += data
            return
        sent = self._send(data)
        if sent < len(data):
            self._out += data[sent:]
            self._loop.add_writer(self._sock, self._writable)

    def _send(self, data: bytes | bytearray) -> int:
        """How much of it went; all of it once nobody reads it."""
        assert self._sock is not None
        try:
            return self._sock.send(data) if data else 0
        except BlockingIOError:
            return 0
        except OSError:
            self._deaf = True
            return len(data)

    def _writable(self) -> None:
        assert self._sock is not None
        del self._out[: self._send(self._out)]
        if not self._out:
            self._loop.remove_writer(self._sock)
        if self.grant():
            self._client.transmit_soon()

    # ---- the response

    def _readable(self) -> None:
        assert self._sock is not None
        if self._client.unsent(self.stream_id) > UNSENT:
            self._loop.remove_reader(self._sock)
            self._client.waiting.add(self)
            return
        try:
            data = self._sock.recv(READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.abort(ErrorCode.H3_INTERNAL_ERROR)
        else:
            self._text += data
            while self._sock is not None and self._state():
                pass
        self._client.transmit_soon()

    def read_on(self) -> None:
        if self._sock is not None:
            self._loop.add_reader(self._sock, self._readable)

    def _head(self) -> bool:
        """Each of these takes one part of the response off `_text`. False: more must come."""
        end = self._text.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = bytes(self._text[:end]).split(b"\r\n")
        del self._text[: end + 4]
        status = first[9:12]
        fields = [(b":status", status)]
        length: int | None = None
        chunked = False
        for line in lines:
            name, _, value = line.partition(b":")
            name, value = name.lower(), value.strip(b" \t")
            if name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding":
                chunked = True
            if name not in OF_THE_CONNECTION:
                fields.append((name, value))
        if status[:1] == b"1":
            self._client.send_fields(self.stream_id, fields, False)
            return True
        if self._head_only or status in (b"204", b"304") or (length == 0 and not chunked):
            self._client.send_fields(self.stream_id, fields, True)
            self._finish()
            return False
        self._client.send_fields(self.stream_id, fields, False)
        self._rest = None if chunked else length
        self._state = self._size if chunked else self._body
        return True

    def _body(self) -> bool:
        data = bytes(self._text)
        self._text.clear()
        if self._rest is not None:  # else it ends with the connection, which HTTP/1.1 never needs here
            data = data[: self._rest]
            self._rest -= len(data)
        if not data and self._rest != 0:
            return False
        self._client.send_data(self.stream_id, data, self._rest == 0)
        if self._rest == 0:
            self._finish()
        return False

    def _size(self) -> bool:
        end = self._text.find(b"\r\n")
        if end < 0:
            return False
        self._rest = int(bytes(self._text[:end]).partition(b";")[0], 16)
        del self._text[: end + 2]
        self._state = self._chunk if self._rest else self._trailer
        return True

    def _chunk(self) -> bool:
        assert self._rest is not None
        data = bytes(self._text[: self._rest])
        if data:
            self._client.send_data(self.stream_id, data, False)
            del self._text[: len(data)]
            self._rest -= len(data)
        if self._rest or len(self._text) < 2:
            return False
        del self._text[:2]
        self._state = self._size
        return True

    def _trailer(self) -> bool:
        end = 0 if self._text.startswith(b"\r\n") else self._text.find(b"\r\n\r\n")
        if end < 0:
            return False
        fields = trailer_fields(bytes(self._text[:end]))
        if fields:
            self._client.send_fields(self.stream_id, fields, True)
        else:
            self._client.send_data(self.stream_id, b"", True)
        self._finish()
        return False

    # ---- the end

    def _finish(self) -> None:
        """The response is whole; what the client still wants to send nobody needs."""
        self.close()
        self._client.done(self, ErrorCode.H3_NO_ERROR)

    def abort(self, code: int) -> None:
        """Both directions end here."""
        self.close()
        self._client.reset(self.stream_id, code)
        self._client.done(self, code)

    def close(self) -> None:
        """The engine's exchange, if there is one still, ends as if its client had gone."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self._sock is not None:
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._sock.close()
            self._sock = None
            self._out.clear()
