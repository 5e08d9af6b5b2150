"""The JSON text of a resource in a store, and back."""

from __future__ import annotations

import json
from typing import Any

import orjson


class NotAResource(ValueError):
    """A stored value that is no JSON object; the text says what it is."""


def parse_value(data: bytes) -> dict[str, Any]:
    """Raises NotAResource. Accepts raw control characters inside strings, as APISIX's own parser does."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            value = json.loads(data, strict=False)
        except (ValueError, RecursionError) as error:
            raise NotAResource(f"its stored value is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise NotAResource(f"its stored value is not a JSON object but {type(value).__name__}")
    return value


def format_value(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value)
