"""A probe by HTTP/1.1: one request. A short body of announced length is waited for, since a node that cuts its answers
is no better than one that gives none; of others only the head counts."""

from __future__ import annotations

import re

from bascule.control.health.conversation import Conversation
from bascule.control.health.probe import Probe

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")
_LENGTH = re.compile(rb"\r?\ncontent-length:[ \t]*([0-9]{1,6})[ \t]*\r?\n", re.IGNORECASE)
_AWAITED = 32768  # bytes of a body
_INTERIM = 8  # answers of 100 to 199 before the real one
_LINE = 8192  # bytes of the first line


class Malformed(Exception):
    """The answer isn't HTTP."""


class Cut(Exception):
    """The connection ended before the answer's head did."""


async def ask_http(probe: Probe, conversation: Conversation) -> int:
    """The status. Raises Malformed, Cut, TooMuch, OSError."""
    conversation.send(probe.request())
    received = bytearray()
    seen = interim = 0
    while True:
        end = _head_end(received, max(0, seen - 3))
        if end is None:
            more = await conversation.more()
            if not more:
                raise Cut("the connection closed before an answer came" if not received else "the answer was cut")
            seen = len(received)
            received += more
            if not b"HTTP/1."[: len(received)] == received[:7]:
                raise Malformed(f"the answer isn't HTTP/1.1: {bytes(received[:20])!r}")
            continue
        found = _STATUS.match(received)
        if found is None:
            raise Malformed(f"the answer isn't HTTP/1.1: {bytes(received[:20])!r}")
        status = int(found[1])
        if status >= 200 or status == 101:
            await _body(probe, conversation, status, bytes(received[:end]), len(received) - end)
            return status
        interim += 1
        if interim > _INTERIM:
            raise Malformed("the answer doesn't come to its point")
        del received[:end]
        seen = 0


async def _body(probe: Probe, conversation: Conversation, status: int, head: bytes, got: int) -> None:
    """Until the body is whole, of which `got` bytes are here. Raises Cut, TooMuch, OSError."""
    found = _LENGTH.search(head)
    if found is None or status in (101, 204, 304) or probe.check.http_method.upper() == "HEAD":
        return
    length = int(found[1])
    while got < length <= _AWAITED:
        more = await conversation.more()
        if not more:
            raise Cut(f"the answer was cut after {got} of {length} bytes")
        got += len(more)


def _head_end(received: bytearray, start: int) -> int | None:
    """Behind the empty line, which doesn't end before `start`; None: it isn't there yet."""
    ends = [at + len(mark) for mark in (b"\r\n\r\n", b"\n\n") if (at := received.find(mark, start)) >= 0]
    return min(ends, default=None)
