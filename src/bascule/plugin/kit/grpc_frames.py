"""gRPC's messages in a body: a flag byte, four bytes of length, the message (grpc, PROTOCOL-HTTP2.md)."""

from __future__ import annotations

import zlib

HEAD = 5
COMPRESSED = 1
TRAILERS = 0x80  # gRPC-Web: not a message, the trailers


class FrameError(ValueError):
    """The bytes aren't gRPC messages, or more than is taken."""


def frame(message: bytes, flags: int = 0) -> bytes:
    return bytes((flags,)) + len(message).to_bytes(4, "big") + message


class Frames:
    """Takes the pieces of one body in order and gives its messages, each once it is whole and decompressed.

    `limit` bounds each message, as it is sent and as it is decompressed; `encoding` is what grpc-encoding says."""

    def __init__(self, limit: int, encoding: str | None = None) -> None:
        self.limit = limit
        self.encoding = (encoding or "identity").strip().lower()
        self.held = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """The messages that are whole now. Raises FrameError."""
        held = self.held
        held += chunk
        found = []
        at = 0
        while len(held) - at >= HEAD:
            size = int.from_bytes(held[at + 1 : at + HEAD], "big")
            if size > self.limit:
                raise FrameError(f"a message of {size} bytes is larger than {self.limit}")
            if held[at] not in (0, COMPRESSED):
                raise FrameError(f"no gRPC message begins with {held[at]:#04x}")
            if len(held) - at - HEAD < size:
                break
            message = bytes(held[at + HEAD : at + HEAD + size])
            found.append(self._decompressed(message) if held[at] == COMPRESSED else message)
            at += HEAD + size
        del held[:at]
        return found

    def end(self) -> None:
        """Raises FrameError when the body ended within a message."""
        if self.held:
            raise FrameError(f"the body ends within a message, {len(self.held)} bytes after its begin")

    def _decompressed(self, message: bytes) -> bytes:
        if self.encoding not in ("gzip", "deflate"):
            raise FrameError(f"a message is compressed, and grpc-encoding is {self.encoding!r}")
        # 47: gzip's or zlib's head, as it comes.
        stream = zlib.decompressobj(47)
        try:
            data = stream.decompress(message, self.limit + 1)
        except zlib.error as error:
            raise FrameError(f"a compressed message can't be read: {error}") from None
        if len(data) > self.limit:
            raise FrameError(f"a decompressed message is larger than {self.limit} bytes")
        if not stream.eof:
            raise FrameError("a compressed message is cut short")
        return data


def check_frames(body: bytes) -> None:
    """Raises FrameError unless the body is whole messages and nothing else; compressed ones are let pass."""
    at = 0
    while at < len(body):
        if body[at] not in (0, COMPRESSED):
            raise FrameError(f"no gRPC message begins with {body[at]:#04x}")
        end = at + HEAD + int.from_bytes(body[at + 1 : at + HEAD], "big")
        if at + HEAD > len(body) or end > len(body):
            raise FrameError(f"the body ends within a message, {len(body) - at} bytes after its begin")
        at = end
