"""Sizes and durations as nginx and APISIX write them: 16384, "10m", "60s", "1h30m"."""

from __future__ import annotations

import re

_SIZES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_SIZE = re.compile(r"(\d+)([kmg]?)\Z", re.IGNORECASE)
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "": 1.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw])?\s*)+\Z")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])?")


def size_bytes(value: object) -> int:
    """Bytes of 4096, "4096", "16k", "10m", "1G". Raises ValueError with a sentence."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.match(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError('must be a size: a number of bytes, or text such as "16k", "10m", "1g"')
    return int(match[1]) * _SIZES[match[2].lower()]


def duration_s(value: object) -> float:
    """Seconds of 60, 0.5, "60", "60s", "500ms", "1h30m". Raises ValueError with a sentence."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf"):
        return float(value)
    text = value.strip() if isinstance(value, str) else ""
    if not _DURATION.match(text):
        raise ValueError('must be a duration: seconds, or text such as "60s", "500ms", "1h30m"')
    return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))
