# cython: annotation_typing=True
# ruff: noqa: PERF401  (list comprehensions would hide the C loop variable)
"""Header fields as plugins read and write them: a received head together with what was added to it."""

import re

import cython
from cython.cimports.bascule.wire.http1 import FIELD_DROP, FIELD_FORWARDED, FIELD_REMOVED
from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize
from cython.cimports.cpython.dict import PyDict_GetItemWithError
from cython.cimports.cpython.long import PyLong_AsLongLongAndOverflow
from cython.cimports.cpython.object import PyObject

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


# Names that were checked already -> as bytes. Bounded: plugins may make names out of what clients send.
_known = cython.declare(dict, {})
_MOST_KNOWN = cython.declare(cython.int, 1024)
_SMALL_END = cython.declare(cython.int, 4000)
_SMALL = cython.declare(tuple, tuple(str(n).encode() for n in range(_SMALL_END)))


def field_name(name):
    """The name as bytes. ValueError unless it is a token that plugins may set."""
    known: cython.pointer(PyObject) = PyDict_GetItemWithError(_known, name)
    return cython.cast(bytes, known) if known != cython.NULL else checked_name(name)


def checked_name(name):
    if _TOKEN.fullmatch(name) is None:
        raise ValueError(f"header name {name!r} is not a token (RFC 9110, section 5.6.2)")
    if name.lower() in _RESERVED:
        raise ValueError(f"header {name!r} is written by the gateway itself, a plugin can't set it")
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    raw: bytes = name.encode()
    _known[name] = raw
    return raw


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
    elif type(value) is int:
        return decimal(value)
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


def decimal(value):
    """The digits of an int."""
    digits: cython.char[24]
    i: cython.int = 24
    overflow: cython.int = 0
    n: cython.longlong = PyLong_AsLongLongAndOverflow(value, cython.address(overflow))
    if overflow or n < 0:
        return str(value).encode()
    if n < _SMALL_END:
        return _SMALL[n]
    while n > 0:
        i -= 1
        digits[i] = cython.cast(cython.char, 48 + n % 10)
        n //= 10
    return PyBytes_FromStringAndSize(digits + i, 24 - i)


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


def forwarded_fields(head):
    """Those of an upstream's head that go on to a client with a body of another length: [(name, value)], bytes."""
    i: cython.int
    pairs: list = []
    for i in range(head.m.nfields):
        if not head.m.fields[i].flags & (FIELD_DROP | FIELD_FORWARDED | FIELD_REMOVED):
            name = head.name(i)
            if name.lower() not in ("server", "content-length"):
                pairs.append((name.encode("latin-1"), head.value(i).encode("latin-1")))
    return pairs


def without_field(head, added, name):
    """Flags the head's fields of this name as removed; returns the added ones that stay (a list of one's own)."""
    i: cython.int
    n: cython.int = cython.cast(cython.int, len(name))
    if head is not None:
        for i in range(head.m.nfields):
            if head.m.fields[i].name_len == n:  # otherwise there is none, which is the common case
                i = head.find_name(name, i)
                while i >= 0:
                    head.m.fields[i].flags |= FIELD_REMOVED
                    i = head.find_name(name, i + 1)
                break
    if added is None or len(added) == 0:
        return []
    if not is_among(added, name):
        return added
    lower = name.lower().encode("latin-1", "replace")
    return [pair for pair in added if pair[0].lower() != lower]


def is_among(added, name):
    """Whether a field of this name was added; the name may be in any case."""
    i: cython.Py_ssize_t
    k: cython.Py_ssize_t
    n: cython.Py_ssize_t = len(name)
    raw: bytes
    p: cython.p_const_char
    for i in range(len(added)):
        raw = cython.cast(tuple, added[i])[0]
        if len(raw) != n:
            continue
        p = raw
        k = n - 1  # from the end: names begin alike
        while k >= 0 and (p[k] | 32) == (cython.cast(cython.int, ord(name[k])) | 32):
            k -= 1
        if k < 0:
            return True
    return False


def begins_x_c(head):
    """Whether the name of a received field does so, in any case. Most requests tell so, at little cost, that nothing of
    what the gateway says about consumers is among their fields."""
    i: cython.int
    p: cython.p_const_char
    for i in range(head.m.nfields):
        p = head.data + head.m.fields[i].name_off
        if head.m.fields[i].name_len > 3 and (p[0] | 32) == 120 and p[1] == 45 and (p[2] | 32) == 99:
            return True
    return False


def check_field(name, value=""):
    """Raises ValueError for a header that set_header would refuse: for validators of a Config."""
    field_name(name)
    field_value(name, value)
