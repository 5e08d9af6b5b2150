"""A probe by gRPC's own health protocol: the unary method grpc.health.v1.Health/Check, over HTTP/2.

Two message types with one field each need no protobuf library; HTTP/2 is the library h2's, loaded when it is needed.
"""

from __future__ import annotations

from typing import Any

from bascule.control.health.conversation import Conversation
from bascule.control.health.http_probe import Cut, Malformed
from bascule.control.health.probe import AGENT, Probe

PATH = "/grpc.health.v1.Health/Check"
SERVING = 1
_NAMES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
# Of gRPC; what servers of health answer with.
_CODES = {5: "NOT_FOUND: the server doesn't know the service", 12: "UNIMPLEMENTED: the server has no health service"}


class NotServing(Exception):
    """The server answered, and doesn't serve what it was asked about."""


async def ask_grpc(probe: Probe, conversation: Conversation) -> None:
    """Returns if the service is SERVING. Raises NotServing, Malformed, Cut, TooMuch, OSError."""
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.exceptions import H2Error

    http2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    http2.initiate_connection()
    http2.send_headers(1, _fields(probe))
    http2.send_data(1, _framed(request_message(probe.check.grpc_service)), end_stream=True)
    conversation.send(http2.data_to_send())
    answer = _Answer()
    while not answer.ended:
        data = await conversation.more()
        if not data:
            raise Cut("the connection closed before an answer came")
        if data.startswith(b"HTTP/1."):  # which HTTP/2 could take for the beginning of a very long frame
            raise Malformed("the answer isn't HTTP/2 but HTTP/1")
        try:
            for event in http2.receive_data(data):
                answer.take(event)
        except (H2Error, UnicodeDecodeError, ValueError) as error:
            raise Malformed(f"the answer isn't HTTP/2: {error or type(error).__name__}") from None
        conversation.send(http2.data_to_send())
    answer.judge()


def _fields(probe: Probe) -> list[tuple[str, str]]:
    fields = [
        (":method", "POST"),
        (":scheme", "https" if probe.secure else "http"),
        (":path", PATH),
        (":authority", probe.authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", f"{max(1, int(probe.timeout_s * 1000))}m"),
        ("user-agent", AGENT),
    ]
    for header in probe.check.req_headers or ():
        name, _, value = header.partition(":")
        fields.append((name.strip().lower(), value.strip()))
    return fields


class _Answer:
    def __init__(self) -> None:
        self.ended = False
        self._status = ""
        self._grpc: tuple[str, str] | None = None
        self._body = b""
        self._reset: str | None = None

    def take(self, event: Any) -> None:
        """One of h2's events."""
        kind = type(event).__name__
        if kind in ("ResponseReceived", "TrailersReceived"):
            fields = dict(event.headers)
            self._status = fields.get(":status", self._status)
            if "grpc-status" in fields:
                self._grpc = fields["grpc-status"], fields.get("grpc-message", "")
        elif kind == "DataReceived":
            self._body += event.data
        elif kind == "StreamEnded":
            self.ended = True
        elif kind in ("StreamReset", "ConnectionTerminated"):
            self.ended = True
            self._reset = f"the server ended it with HTTP/2 error {int(event.error_code)}"

    def judge(self) -> None:
        if self._grpc is not None and self._grpc[0] != "0":
            code, message = self._grpc
            known = _CODES.get(int(code)) if code.isascii() and code.isdigit() and len(code) < 4 else None
            raise NotServing(f"gRPC status {known or f'{code[:8]!r}: {message[:200]!r}'}")
        if self._reset is not None:
            raise NotServing(self._reset)
        if self._status != "200":
            raise NotServing(f"HTTP status {self._status[:8]!r} instead of a gRPC answer")
        status = response_status(self._body)
        if status != SERVING:
            raise NotServing(f"the service is {_NAMES.get(status, status)}")


def request_message(service: str) -> bytes:
    """HealthCheckRequest: field 1, the service's name."""
    name = service.encode()
    return b"\x0a" + _varint(len(name)) + name if name else b""


def response_status(body: bytes) -> int:
    """Field 1 of the HealthCheckResponse in an answer's body. Raises Malformed."""
    if len(body) < 5 or body[0] != 0 or int.from_bytes(body[1:5], "big") != len(body) - 5:
        raise Malformed("the answer holds no uncompressed gRPC message")
    message, at, status = body[5:], 0, 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        if tag & 7:
            raise Malformed("the answer is no HealthCheckResponse")
        value, at = _read_varint(message, at)
        if tag == 8:
            status = value
    return status


def _framed(message: bytes) -> bytes:
    return b"\x00" + len(message).to_bytes(4, "big") + message


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    return bytes(made)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7
    raise Malformed("the answer is no HealthCheckResponse")
