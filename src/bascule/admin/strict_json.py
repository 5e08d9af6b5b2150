"""What clients send as JSON: bounded, and with raw control characters in strings, which APISIX's parser takes too."""

from __future__ import annotations

import json
from typing import Any

import orjson

MAX_DEPTH = 200
_LARGEST = 1 << 63


class BadJson(ValueError):
    """The text says why, and where."""


def read_json(data: bytes) -> Any:
    """None for an empty text. Raises BadJson: also for what nests too deep, isn't UTF-8, or has numbers that no 64 bits
    hold."""
    if not data.strip():
        return None
    if _too_deep(data):
        raise BadJson(f"nested more than {MAX_DEPTH} deep")
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        # Raw newlines inside strings, and nothing else that orjson refuses.
        try:
            text = data.decode()
        except UnicodeDecodeError as wrong:
            raise BadJson(f"not UTF-8 at byte {wrong.start}") from None
        try:
            return json.loads(text, strict=False, parse_constant=_no_constant, parse_int=_small_int)
        except (ValueError, RecursionError) as second:
            raise BadJson(str(second) if isinstance(second, BadJson) else str(error)) from None


def _no_constant(name: str) -> Any:
    raise BadJson(f"{name} is no number in JSON")


def _small_int(text: str) -> int | float:
    if len(text) > 400:
        raise BadJson("a number with more than 400 digits")
    number = int(text)
    return number if -_LARGEST <= number < 2 * _LARGEST else float(text)


def _too_deep(data: bytes) -> bool:
    """Counts brackets outside of strings; cheap enough for what few bodies need it."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return False
    depth = 0
    quoted = escaped = False
    for byte in data:
        if quoted:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                quoted = False
        elif byte == 0x22:
            quoted = True
        elif byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif byte in b"]}":
            depth -= 1
    return False
