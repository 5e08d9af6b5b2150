"""Errors as gRPC clients understand them: a "trailers-only" response, HTTP status 200 and the outcome in its header."""

from __future__ import annotations

from urllib.parse import quote

import orjson

from bascule.engine.pages import reason_of
from bascule.plugin.response import Response

MESSAGE_LIMIT = 1024  # characters

# gRPC's own table from HTTP to gRPC statuses, and where it says UNKNOWN or is too coarse: what the status means.
OK, CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, PERMISSION_DENIED, RESOURCE_EXHAUSTED = 0, 1, 2, 4, 7, 8
UNIMPLEMENTED, INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 12, 13, 14, 16
STATUSES = {
    400: INTERNAL,
    401: UNAUTHENTICATED,
    403: PERMISSION_DENIED,
    404: UNIMPLEMENTED,
    405: UNIMPLEMENTED,
    408: CANCELLED,
    413: RESOURCE_EXHAUSTED,
    429: RESOURCE_EXHAUSTED,
    499: CANCELLED,
    500: INTERNAL,
    501: UNIMPLEMENTED,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: DEADLINE_EXCEEDED,
}
# As they stand: printable ASCII without "%" (the gRPC protocol's Percent-Encoded).
_PLAIN = "".join(chr(c) for c in range(32, 127) if chr(c) != "%")


def grpc_status(status: int) -> int:
    """The gRPC status that says what this HTTP status says."""
    return STATUSES.get(status, UNKNOWN if status >= 400 else OK)


def trailers_only(answer: Response) -> Response:
    """An error as a response to a gRPC call; its further headers stay."""
    kept = [(name, value) for name, value in answer.headers() if name.lower() not in ("content-type", "content-length")]
    fields = [
        ("Content-Type", "application/grpc"),
        ("grpc-status", str(grpc_status(answer.status))),
        ("grpc-message", quote(_message(answer)[:MESSAGE_LIMIT], safe=_PLAIN)),
    ]
    return Response(200, b"", [*fields, *kept])


def _message(answer: Response) -> str:
    """What a JSON answer says, else the name of the status."""
    if answer.body and answer.body.startswith(b"{"):
        try:
            told = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            told = {}
        for name in ("message", "error_msg", "error"):
            if isinstance(told.get(name), str):
                return str(told[name])
    return reason_of(answer.status) or f"HTTP status {answer.status}"
