# cython: annotation_typing=True
"""Frames of a WebSocket as plugins see them, and what a plugin may do to them."""

import cython
from cython.cimports.bascule.wire.websocket import WS_CLOSE, WS_TEXT, ws_code_allowed


@cython.cclass
class Frame:
    """A frame, or a whole message: see `Plugin.ws_payload`."""

    def __init__(self, opcode, payload=b"", fin=True, from_client=True):
        self.opcode = opcode
        self.payload = payload
        self.size = len(payload)
        self.fin = fin
        self.from_client = from_client

    @property
    def is_control(self):
        """A close, ping or pong."""
        return self.opcode >= WS_CLOSE

    @property
    def text(self):
        """The payload of a whole text; None for any other frame."""
        if self.payload is None or self.opcode != WS_TEXT:
            return None
        return self.payload.decode("utf-8", "replace")

    def __repr__(self):
        return f"<frame opcode={self.opcode} fin={bool(self.fin)} size={self.size}>"


class Close:
    """Closes the WebSocket for both sides."""

    __slots__ = ("code", "reason")

    def __init__(self, code, reason=""):
        if not ws_code_allowed(code):
            raise ValueError(f"{code} can't be sent as a close code: 1000-1003, 1007-1014 and 3000-4999 can")
        if len(reason.encode()) > 123:
            raise ValueError("the reason of a close frame has at most 123 bytes")
        self.code = code
        self.reason = reason

    def __repr__(self):
        return f"Close({self.code}, {self.reason!r})"


class Drop:
    def __repr__(self):
        return "DROP"


DROP = Drop()
