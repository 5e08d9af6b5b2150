"""Percent-encoding of request targets, and decoding for reading."""

import re
from urllib.parse import quote, unquote_to_bytes

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(:\d{1,5})?")
# What may stand in a path as it is (RFC 3986, section 3.3), besides letters, digits and "-._~".
_PATH = "/!$&'()*+,;=:@"
_TARGET = _PATH + '?%[]|^`{}"<>\\'


def decode(raw: bytes) -> str:
    """UTF-8; latin-1 for bytes that aren't UTF-8. Never fails, never gives surrogates."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def decode_query(query: str) -> list[tuple[str, str]]:
    """(name, value) of each part of `a=1&b`, "+" and percent-escapes decoded; empty parts left out."""
    if "%" not in query and "+" not in query and query.isascii():
        parts = [part.partition("=") for part in query.split("&") if part]
        return [(name, value) for name, _, value in parts]
    pairs = []
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((decode_arg(name), decode_arg(value)))
    return pairs


def decode_arg(text: str) -> str:
    """One name or value of a query or form (latin-1 str as received)."""
    return decode(unquote_to_bytes(text.replace("+", " ").encode("latin-1", "replace")))


def encode_path(path: str) -> str:
    """A decoded path (`Request.path`) as it stands in a target: everything special is escaped, "%" and "?" too."""
    return quote(path, safe=_PATH, errors="replace")


def encode_target(target: str) -> bytes:
    """A path with query as bytes for the wire: what can't stand there is escaped, escapes stay.
    ValueError unless it begins with "/" (or is "*")."""
    if not target.startswith("/") and target != "*":
        raise ValueError(f"an upstream target begins with a slash: {target!r}")
    return quote(target, safe=_TARGET, errors="replace").encode()


def check_host(host: str) -> bytes:
    """ValueError unless it is a host with an optional port."""
    if _AUTHORITY.fullmatch(host) is None:
        raise ValueError(f"{host!r} is not a host name with an optional port")
    return host.encode()
