"""Sec-WebSocket-Key and what answers it."""

import base64

from bascule.engine.websocket_key import accept_of, new_key


def test_the_answer_of_the_rfc() -> None:
    assert accept_of(b"dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3


def test_keys_are_16_random_bytes() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {24}
    assert {len(base64.b64decode(key)) for key in keys} == {16}
