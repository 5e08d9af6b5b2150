# cython: annotation_typing=True
# ruff: noqa: PERF401  (list comprehensions would hide the C loop variable)
"""Header fields as plugins read and write them: a received head together with what was added to it."""

import re
from functools import lru_cache

import cython
from cython.cimports.bascule.wire.http1 import FIELD_REMOVED

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Hop-by-hop fields (RFC 9110, section 7.6.1) and those that frame the body: the gateway alone writes them.
_RESERVED = frozenset(
    (
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)


@lru_cache(maxsize=1024)
def _checked_name(name):
    if _TOKEN.fullmatch(name) is None:
        raise ValueError(f"header name {name!r} is not a token (RFC 9110, section 5.6.2)")
    if name.lower() in _RESERVED:
        raise ValueError(f"header {name!r} is written by the gateway itself, a plugin can't set it")
    return name.encode()


def field_name(name):
    return _checked_name(name)


def field_value(name, value):
    """Latin-1 where it fits, as header() decodes; UTF-8 otherwise."""
    raw: bytes
    p: cython.p_const_char
    i: cython.Py_ssize_t
    c: cython.uchar
    if isinstance(value, str):
        try:
            raw = value.encode("latin-1")
        except UnicodeEncodeError:
            raw = value.encode("utf-8", "replace")
    elif isinstance(value, bytes):
        raw = value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        raw = str(value).encode()
    else:
        raise TypeError(f"header {name!r}: the value must be str, bytes or a number, not {type(value).__name__}")
    p = raw
    n: cython.Py_ssize_t = len(raw)
    for i in range(n):
        c = cython.cast(cython.uchar, p[i])
        if (c < 32 and c != 9) or c == 127:
            raise ValueError(f"header {name!r}: the value {raw!r} has a control character (RFC 9110, section 5.5)")
    # 32 and 9 are the only characters left that stand below "!".
    return raw.strip(b" \t") if n > 0 and (p[0] <= 32 or p[n - 1] <= 32) else raw


def find_field(head, added, name):
    """The value of the first field of this name in any case, or None."""
    i: cython.int
    if head is not None:
        i = head.find_name(name, 0)
        if i >= 0:
            return head.value(i)
    if added:
        lower = name.lower().encode("latin-1", "replace")
        for key, value in added:
            if key.lower() == lower:
                return value.decode("latin-1")
    return None


def field_values(head, added, name):
    """Values of all fields of this name, received ones first."""
    i: cython.int
    values: list = []
    if head is not None:
        i = head.find_name(name, 0)
        while i >= 0:
            values.append(head.value(i))
            i = head.find_name(name, i + 1)
    if added:
        lower = name.lower().encode("latin-1", "replace")
        for key, value in added:
            if key.lower() == lower:
                values.append(value.decode("latin-1"))
    return values


def all_fields(head, added):
    """(name, value) pairs as str, names as they were spelt."""
    i: cython.int
    pairs: list = []
    if head is not None:
        for i in range(head.m.nfields):
            if not head.m.fields[i].flags & FIELD_REMOVED:
                pairs.append((head.name(i), head.value(i)))
    if added:
        for key, value in added:
            pairs.append((key.decode("latin-1"), value.decode("latin-1")))
    return pairs


def without_field(head, added, name):
    """Flags the head's fields of this name as removed; returns the added ones that stay (a list of one's own)."""
    i: cython.int
    if head is not None:
        i = head.find_name(name, 0)
        while i >= 0:
            head.m.fields[i].flags |= FIELD_REMOVED
            i = head.find_name(name, i + 1)
    if not added:
        return []
    n: cython.Py_ssize_t = len(name)
    for key, _ in added:
        if len(cython.cast(bytes, key)) == n:
            break
    else:
        return added
    lower = name.lower().encode("latin-1", "replace")
    return [pair for pair in added if pair[0].lower() != lower]


def check_field(name, value=""):
    """Raises ValueError for a header that set_header would refuse: for validators of a Config."""
    field_name(name)
    field_value(name, value)
