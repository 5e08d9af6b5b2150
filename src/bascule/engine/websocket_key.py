"""Sec-WebSocket-Key and what answers it (RFC 6455, section 4.2.2)."""

import base64
import hashlib
import os

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def new_key() -> bytes:
    """24 bytes of text."""
    return base64.b64encode(os.urandom(16))


def accept_of(key: bytes) -> str:
    """The Sec-WebSocket-Accept that answers this key."""
    return base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest()).decode()
