"""What clients send as JSON: bounded, and with raw control characters in strings, as APISIX takes it."""

from __future__ import annotations

import json
import math
from typing import Any

MAX_DEPTH = 200
_LEAST, _MOST = -(1 << 63), 1 << 64  # what stores and workers can hold


class BadJson(ValueError):
    """The text says why, and where."""


def read_json(data: bytes) -> Any:
    """None for an empty text. Raises BadJson: also for what nests too deep, isn't UTF-8, or has numbers that no 64 bits
    hold. Of a key that stands twice in an object the last one counts, as in APISIX."""
    if not data.strip():
        return None
    if _too_deep(data):
        raise BadJson(f"nested more than {MAX_DEPTH} deep")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise BadJson(f"not UTF-8 at byte {error.start}") from None
    try:
        value = json.loads(
            text,
            strict=False,
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_number,
        )
    except json.JSONDecodeError as error:
        raise BadJson(f"{error.msg[:1].lower()}{error.msg[1:]}: line {error.lineno} column {error.colno}") from None
    if "\\u" in text:
        _refuse_half_characters(value)
    return value


def _no_constant(name: str) -> Any:
    raise BadJson(f"{name} is no number in JSON")


def _integer(text: str) -> int:
    number = int(text) if len(text) <= 20 else _MOST
    if not _LEAST <= number < _MOST:
        raise BadJson(f"the number {text[:40]} is out of range")
    return number


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise BadJson(f"the number {text[:40]} is out of range")
    return number


def _refuse_half_characters(value: Any) -> None:
    """Halves of a surrogate pair can be escaped, and are no text."""
    level = [value]
    while level:
        below: list[Any] = []
        for node in level:
            if isinstance(node, str):
                try:
                    node.encode()
                except UnicodeEncodeError:
                    raise BadJson("a string holds half of a surrogate pair") from None
            elif isinstance(node, dict):
                below += node
                below += node.values()
            elif isinstance(node, list):
                below += node
        level = below


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
