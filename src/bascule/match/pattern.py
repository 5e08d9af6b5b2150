"""Path and host patterns of routes, taken apart for the trees.

A path pattern is bytes up to a trailing `*` (a prefix, ending at any byte) or up to its end (exact). With parameters,
a segment `:name` stands for one non-empty segment, and a last segment `*name` for the rest. Elsewhere `:` and `*` are
ordinary bytes.
"""

from sys import intern
from typing import NamedTuple

# Part of a pattern that stands for one segment; literal runs are bytes.
PARAMETER = None


class PathPattern(NamedTuple):
    """`parts`: literal runs (bytes) and PARAMETERs; `captures`: segment number, name, whether the rest, for each."""

    parts: tuple[bytes | None, ...]
    prefix: bool
    captures: tuple[int | str | bool, ...] | None


class HostPattern(NamedTuple):
    """`key`: the lower-case name from its last byte to its first; `prefix`: names that go on from there fit as well."""

    key: bytes
    prefix: bool


def parse_path(pattern: str, parameters: bool) -> PathPattern:
    """A route's uri. `parameters`: `:name` and `*name` have their meaning."""
    if parameters and ("/:" in pattern or "/*" in pattern):
        return _parse_parameters(pattern)
    if pattern.endswith("*"):
        return PathPattern((encode(pattern[:-1]),), True, None)
    return PathPattern((encode(pattern),), False, None)


def _parse_parameters(pattern: str) -> PathPattern:
    parts: list[bytes | None] = []
    captures: list[int | str | bool] = []
    literal = ""
    prefix = False
    segments = pattern.split("/")
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if number:
            literal += "/"
        if number and len(segment) > 1 and segment[0] == ":":
            if literal:
                parts.append(encode(literal))
            literal = ""
            parts.append(PARAMETER)
            captures += (number, intern(segment[1:]), False)
        elif number and last and segment[:1] == "*":
            prefix = True
            if len(segment) > 1:
                captures += (number, intern(segment[1:]), True)
        elif last and segment.endswith("*"):
            prefix = True
            literal += segment[:-1]
        else:
            literal += segment
    if literal or not parts:
        parts.append(encode(literal))
    return PathPattern(tuple(parts), prefix, tuple(captures) or None)


def parse_host(pattern: str) -> HostPattern:
    """`x.com`, `*.x.com`, `*x.com` or `*` (any host). A port is left out: hosts are compared without it."""
    host = _without_port(pattern).lower()
    if host.startswith("*"):
        return HostPattern(encode(host[1:])[::-1], True)
    return HostPattern(encode(host)[::-1], False)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit() and (name.endswith("]") or ":" not in name):
        return name
    return host


def encode(text: str) -> bytes:
    """Text of a configuration as the bytes a request has for it; never fails."""
    return text.encode("utf-8", "surrogatepass")


def decode(raw: bytes) -> str:
    """UTF-8; latin-1 for bytes that aren't UTF-8. Never fails, never gives surrogates."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
