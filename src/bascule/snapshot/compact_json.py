"""Values as canonical compact JSON: equal values give equal bytes."""

from __future__ import annotations

from typing import Any, cast

import orjson

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


class NotJson(ValueError):
    """`path` inside the value ("" for the whole) and a sentence."""

    def __init__(self, parts: tuple[str | int, ...], sentence: str) -> None:
        super().__init__(sentence)
        self.parts = parts
        self.sentence = sentence


def pack(value: Any) -> bytes:
    """Raises NotJson, e.g. for a date or a number as a key, which YAML can express and JSON can't."""
    try:
        # A copy: what orjson returns keeps the kilobytes of its work buffer.
        return bytes(memoryview(orjson.dumps(value, option=_OPTIONS)))
    except TypeError as error:
        raise _culprit(value, (), 0) or NotJson((), f"can't be written as JSON: {error}") from None


def unpack(packed: bytes) -> Any:
    return cast(Any, orjson.loads(packed))


def _culprit(value: Any, parts: tuple[str | int, ...], depth: int) -> NotJson | None:
    if depth > 200:
        return NotJson((), "is nested too deeply")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                return NotJson(parts, f"the key {key!r} must be a string (put it in quotes)")
            if found := _culprit(inner, (*parts, key), depth + 1):
                return found
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            if found := _culprit(inner, (*parts, index), depth + 1):
                return found
    elif not isinstance(value, str | int | float | bool | None):
        return NotJson(parts, f"{value!r} is no JSON value (put it in quotes)")
    elif isinstance(value, int) and not -(2**63) <= value < 2**64:
        return NotJson(parts, "is too large a number")
    return None
