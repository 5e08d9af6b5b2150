# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in http1.pxd)
"""Parser of HTTP/1.1 message heads (RFC 9112), one pass, nothing allocated, no Python object touched.

Both parsers answer the head's length, 0 while the head is incomplete, or the negated status to refuse it with.
The verdict depends on the bytes alone, never on how they were split: a line is judged when its LF has arrived, and
limits are measured on the first `max_line + 2` and `max_head` bytes. What is refused and why stands in THREAT_MODEL.md.
"""

import cython
from cython.cimports.cpython.mem import PyMem_RawFree, PyMem_RawMalloc
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.libc.string import memchr, memcmp, memcpy

# Character classes, one bit each.
TOKEN = cython.declare(cython.int, 1)  # RFC 9110 tchar
TARGET = cython.declare(cython.int, 2)  # visible ASCII without '#'
NAME = cython.declare(cython.int, 4)  # letters, digits, "-._~": all that a host name needs
CLASS = cython.declare(cython.uchar[256])
# One byte, eight times.
ONES = cython.declare(uint64_t, 0x0101010101010101)
BLANKS = cython.declare(uint64_t, 0x2020202020202020)
DELS = cython.declare(uint64_t, 0x7F7F7F7F7F7F7F7F)
HIGHS = cython.declare(uint64_t, 0x8080808080808080)


def _fill_classes() -> None:
    tokens: bytes = b"!#$%&'*+-.^_`|~"
    c: cython.int
    alnum: cython.bint
    for c in range(256):
        alnum = 48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122
        CLASS[c] = 0
        if alnum or (c != 0 and c in tokens):
            CLASS[c] |= 1
        if 32 < c < 127 and c != 35:
            CLASS[c] |= 2
        if alnum or c == 45 or c == 46 or c == 95 or c == 126:
            CLASS[c] |= 4


_fill_classes()

# A Connection field that names more fields than this is an attack on our time (names x fields comparisons).
MAX_OPTIONS = cython.declare(cython.int, 32)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def is_in(p: cython.p_const_char, c: cython.int) -> cython.bint:
    return (CLASS[cython.cast(cython.uchar, p[0])] & c) != 0


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def same(p: cython.p_const_char, lower: cython.p_const_char, n: cython.int) -> cython.bint:
    """Case-insensitive comparison with a lower-case literal of letters, digits and '-'; p holds no control bytes."""
    i: cython.int = 0
    bad: cython.int = 0
    word: uint64_t
    wanted: uint64_t
    if n >= 8:  # eight at a time, the last eight once more where they overlap
        while True:
            memcpy(cython.address(word), p + i, 8)
            memcpy(cython.address(wanted), lower + i, 8)
            if (word | BLANKS) != wanted:
                return False
            if i == n - 8:
                return True
            i = i + 8 if i + 16 <= n else n - 8
    for i in range(n):
        bad |= (p[i] | 0x20) ^ lower[i]
    return bad == 0


def same_text(a, b, n):
    """ASCII case-insensitive comparison of any two byte strings of one length."""
    i: cython.int
    x: cython.int
    y: cython.int
    for i in range(n):
        x = a[i]
        y = b[i]
        if 65 <= x <= 90:
            x |= 0x20
        if 65 <= y <= 90:
            y |= 0x20
        if x != y:
            return False
    return True


def name_is(p, lower, n):
    return same(p, lower, n)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def has_control(p: cython.p_const_char, n: cython.int) -> cython.bint:
    """A byte that no field value may hold: controls but HTAB, and DEL."""
    i: cython.int = 0
    c: cython.uchar
    word: uint64_t
    bad: cython.int = 0
    # Eight at a time, the last eight once more where they overlap. HTAB looks like the others: then each byte is asked.
    if n >= 8:
        while True:
            memcpy(cython.address(word), p + i, 8)
            if ((word - BLANKS) | ((word ^ DELS) - ONES)) & ~word & HIGHS:
                break
            if i == n - 8:
                return False
            i = i + 8 if i + 16 <= n else n - 8
    for i in range(n):
        c = cython.cast(cython.uchar, p[i])
        bad |= ((c < 32) & (c != 9)) | (c == 127)
    return bad != 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def authority_ok(p: cython.p_const_char, n: cython.int, need_port: cython.bint) -> cython.bint:
    """host [":" port], without userinfo: a name, an IPv4 address or an IPv6 address in brackets; ports are 1-65535.

    Narrower than RFC 3986 on purpose: percent-encoding and sub-delimiters in a host would be further spellings of one
    name, and no host that can be resolved needs them.
    """
    text: cython.char[48]
    address: cython.uchar[16]
    q: cython.p_const_char
    i: cython.int = 0
    k: cython.int
    port: cython.int = 0
    c: cython.int
    if n == 0:
        return False
    if p[0] == b"[":
        q = cython.cast(cython.p_const_char, memchr(p, 93, n))
        if q == cython.NULL:
            return False
        k = cython.cast(cython.int, q - p) - 1
        if k > 45:
            return False
        memcpy(text, p + 1, k)
        text[k] = 0
        if inet_pton(AF_INET6, text, address) != 1:
            return False
        i = k + 2
    else:
        while i < n and is_in(p + i, NAME):
            # An empty label ("a..b", ".a") is no name; a single final dot is the root.
            if p[i] == b"." and (i == 0 or p[i - 1] == b"."):
                return False
            i += 1
        if i == 0 or i > 255:
            return False
    if i == n:
        return not need_port
    if p[i] != b":" or n - i < 2 or n - i > 6:
        return False
    for k in range(i + 1, n):
        c = p[k]
        if not 48 <= c <= 57:
            return False
        port = port * 10 + (c - 48)
    return 1 <= port <= 65535


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_end_to_end(p: cython.p_const_char, n: cython.int) -> cython.bint:
    """Fields that framing, routing or authentication rest on: Connection can't strip them. RFC 9110 7.6.1 forbids
    naming fields that are meant for all recipients; attackers name them to blind the next hop."""
    if n > 12 and same(p, b"x-forwarded-", 12):
        return True
    if n == 4:
        return same(p, b"host", 4)
    if n == 6:
        return same(p, b"cookie", 6) or same(p, b"expect", 6)
    if n == 9:
        return same(p, b"forwarded", 9) or same(p, b"x-real-ip", 9)
    if n == 10:
        return same(p, b"set-cookie", 10)
    if n == 12:
        return same(p, b"content-type", 12)
    if n == 13:
        return same(p, b"authorization", 13) or same(p, b"cache-control", 13)
    if n == 14:
        return same(p, b"content-length", 14)
    if n == 16:
        return same(p, b"content-encoding", 16)
    return False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def next_item(p: cython.p_const_char, pos: cython.int, end: cython.int, length: cython.p_int) -> cython.int:
    """Next non-empty element of a comma list: its offset, its length without surrounding blanks; -1 at the end."""
    i: cython.int
    while pos < end and (p[pos] == b"," or p[pos] == b" " or p[pos] == b"\t"):
        pos += 1
    if pos >= end:
        return -1
    i = pos
    while i < end and p[i] != b",":
        i += 1
    while p[i - 1] == b" " or p[i - 1] == b"\t":
        i -= 1
    length[0] = i - pos
    return pos


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_connection(p: cython.p_const_char, m: cython.pointer(Parsed)) -> cython.int:
    """All Connection fields: close, keep-alive, upgrade, names of further hop-by-hop fields. Returns 0 or -431."""
    i: cython.int
    k: cython.int
    pos: cython.int
    end: cython.int
    n: cython.int = 0
    named: cython.int = 0
    f: cython.pointer(Field)
    upgrade: cython.bint = False
    for i in range(m.nfields):
        f = cython.address(m.fields[i])
        if f.name_len != 10 or not same(p + f.name_off, b"connection", 10):
            continue
        end = f.value_off + f.value_len
        pos = next_item(p, f.value_off, end, cython.address(n))
        while pos >= 0:
            if n == 5 and same(p + pos, b"close", 5):
                m.close = 1
            elif n == 10 and same(p + pos, b"keep-alive", 10):
                m.keep_alive = 1
            elif n == 7 and same(p + pos, b"upgrade", 7):
                upgrade = True
            else:
                named += 1
                if named > MAX_OPTIONS:
                    return -431
                if not is_end_to_end(p + pos, n):
                    for k in range(m.nfields):
                        if m.fields[k].name_len == n and same_text(p + m.fields[k].name_off, p + pos, n):
                            m.fields[k].flags |= FIELD_DROP
            pos = next_item(p, pos + n, end, cython.address(n))
    # RFC 9110 7.8: Upgrade in an HTTP/1.0 message is ignored.
    m.upgrade = m.upgrade and upgrade and m.minor == 1
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_te(p: cython.p_const_char, m: cython.pointer(Parsed), f: cython.pointer(Field)) -> cython.void:
    n: cython.int = 0
    pos: cython.int = next_item(p, f.value_off, f.value_off + f.value_len, cython.address(n))
    while pos >= 0:
        if n == 8 and same(p + pos, b"trailers", 8):
            m.te_trailers = 1
        pos = next_item(p, pos + n, f.value_off + f.value_len, cython.address(n))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_length(p: cython.p_const_char, n: cython.int) -> cython.longlong:
    """Content-Length: 1 to 18 digits and nothing else; -1 otherwise."""
    i: cython.int
    c: cython.int
    total: cython.longlong = 0
    if n < 1 or n > 18:
        return -1
    for i in range(n):
        c = p[i]
        if not 48 <= c <= 57:
            return -1
        total = total * 10 + (c - 48)
    return total


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_field(
    p: cython.p_const_char, m: cython.pointer(Parsed), f: cython.pointer(Field), request: cython.bint
) -> cython.int:
    """What the gateway itself must know of one field. Returns 0, 1 (Connection needs a full reading) or -status."""
    name: cython.p_const_char = p + f.name_off
    value: cython.p_const_char = p + f.value_off
    n: cython.int = f.name_len
    if n == 4:
        if request and same(name, b"host", 4):
            if m.host_off >= 0 or not authority_ok(value, f.value_len, False):
                return -400
            m.host_off = f.value_off
            m.host_len = f.value_len
    elif n == 10:
        if same(name, b"connection", 10):
            f.flags = FIELD_DROP
            if f.value_len == 10 and same(value, b"keep-alive", 10):
                m.keep_alive = 1
            elif f.value_len == 5 and same(value, b"close", 5):
                m.close = 1
            else:
                return 1
        elif same(name, b"keep-alive", 10):
            f.flags = FIELD_DROP
    elif n == 14:
        if same(name, b"content-length", 14):
            if m.content_length >= 0:
                return -400
            m.content_length = read_length(value, f.value_len)
            if m.content_length < 0:
                return -400
    elif n == 17:
        if same(name, b"transfer-encoding", 17):
            # RFC 9112 6.1: only a final chunked delimits; any other coding, order or repetition is refused.
            if m.chunked or m.minor == 0 or f.value_len != 7 or not same(value, b"chunked", 7):
                return -400
            m.chunked = 1
            f.flags = FIELD_DROP
        elif request and same(name, b"x-forwarded-proto", 17):
            f.flags = FIELD_FORWARDED
    elif n == 15:
        if request and same(name, b"x-forwarded-for", 15):
            f.flags = FIELD_FORWARDED
            m.xff = m.nfields
        elif request and same(name, b"x-bascule-debug", 15):
            f.flags = FIELD_DROP  # a token of this gateway's operators: nobody else's business
            m.debug = m.nfields
    elif n == 16:
        if same(name, b"proxy-connection", 16):
            f.flags = FIELD_DROP
        elif request and (same(name, b"x-forwarded-host", 16) or same(name, b"x-forwarded-port", 16)):
            f.flags = FIELD_FORWARDED
    elif n == 9:
        if request and (same(name, b"x-real-ip", 9) or same(name, b"forwarded", 9)):
            f.flags = FIELD_FORWARDED
    elif n == 6:
        if request and same(name, b"expect", 6):
            if f.value_len != 12 or not same(value, b"100-continue", 12):
                return -417
            if m.minor == 1:
                m.expect_continue = 1
            else:
                # RFC 9110 10.1.1: an HTTP/1.0 client can't mean it; the upstream gets HTTP/1.1 and would.
                f.flags = FIELD_DROP
    elif n == 7:
        if same(name, b"upgrade", 7):
            f.flags = FIELD_DROP
            m.upgrade = 1
    elif n == 2:
        if same(name, b"te", 2):
            f.flags = FIELD_DROP
            read_te(p, m, f)
    elif n == 19 and same(name, b"proxy-authorization", 19):
        f.flags = FIELD_DROP
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def parse_fields(
    p: cython.p_const_char,
    pos: cython.Py_ssize_t,
    n: cython.Py_ssize_t,
    m: cython.pointer(Parsed),
    limits: cython.pointer(cython.const[Limits]),
    request: cython.bint,
) -> cython.Py_ssize_t:
    """Header lines from pos to the blank line."""
    q: cython.p_const_char
    i: cython.Py_ssize_t
    e: cython.Py_ssize_t
    v: cython.Py_ssize_t
    cap: cython.Py_ssize_t = n if n < limits.max_head else limits.max_head
    most: cython.int = limits.max_fields if limits.max_fields < MAX_FIELDS else MAX_FIELDS
    r: cython.int
    full_connection: cython.bint = False
    f: cython.pointer(Field)
    m.nfields = 0
    m.content_length = -1
    m.xff = -1
    m.debug = -1
    m.chunked = m.close = m.keep_alive = m.upgrade = m.expect_continue = m.te_trailers = 0
    m.first_line_end = cython.cast(cython.int, pos)
    while True:
        q = cython.NULL
        if pos < cap:
            q = cython.cast(cython.p_const_char, memchr(p + pos, 10, cap - pos))
        if q == cython.NULL:
            return 0 if n < limits.max_head else -431
        e = q - p - 1
        # e: the CR. A bare LF at the line's start has the last line's LF before it.
        if p[e] != b"\r" or e < pos:
            return -400
        if e == pos:
            break
        if m.nfields >= most:
            return -431
        i = pos
        while is_in(p + i, TOKEN):
            i += 1
        if p[i] != b":" or i == pos:
            return -400
        f = cython.address(m.fields[m.nfields])
        f.name_off = cython.cast(cython.int, pos)
        f.name_len = cython.cast(cython.int, i - pos)
        f.end = cython.cast(cython.int, e + 2)
        f.flags = 0
        v = i + 1
        while p[v] == b" " or p[v] == b"\t":
            v += 1
        while e > v and (p[e - 1] == b" " or p[e - 1] == b"\t"):
            e -= 1
        f.value_off = cython.cast(cython.int, v)
        f.value_len = cython.cast(cython.int, e - v)
        if has_control(p + v, f.value_len):
            return -400
        r = read_field(p, m, f, request)
        if r < 0:
            return r
        if r:
            full_connection = True
        m.nfields += 1
        pos = f.end
    if m.chunked and m.content_length >= 0:
        return -400
    if full_connection:
        r = read_connection(p, m)
        if r < 0:
            return r
    else:
        m.upgrade = 0
    if m.minor == 0 and not m.keep_alive:
        m.close = 1
    m.head_len = cython.cast(cython.int, pos + 2)
    return pos + 2


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def method_id(p: cython.p_const_char, n: cython.int) -> cython.int:
    if n == 3:
        if memcmp(p, b"GET", 3) == 0:
            return M_GET
        if memcmp(p, b"PUT", 3) == 0:
            return M_PUT
    elif n == 4:
        if memcmp(p, b"POST", 4) == 0:
            return M_POST
        if memcmp(p, b"HEAD", 4) == 0:
            return M_HEAD
    elif n == 5:
        if memcmp(p, b"PATCH", 5) == 0:
            return M_PATCH
        if memcmp(p, b"TRACE", 5) == 0:
            return M_TRACE
        if memcmp(p, b"PURGE", 5) == 0:
            return M_PURGE
    elif n == 6:
        if memcmp(p, b"DELETE", 6) == 0:
            return M_DELETE
    elif n == 7:
        if memcmp(p, b"OPTIONS", 7) == 0:
            return M_OPTIONS
        if memcmp(p, b"CONNECT", 7) == 0:
            return M_CONNECT
    return M_OTHER


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def read_target(p: cython.p_const_char, m: cython.pointer(Parsed)) -> cython.int:
    """The four forms of a request target (RFC 9112 3.2). Returns 0 or -400; an authority in it becomes the host."""
    t: cython.p_const_char = p + m.target_off
    q: cython.p_const_char
    n: cython.int = m.target_len
    i: cython.int = 0
    bad: cython.int = 0
    c: cython.uchar
    for i in range(n):
        c = cython.cast(cython.uchar, t[i])
        bad |= (c <= 32) | (c >= 127) | (c == 35)
    if bad or n < 1:
        return -400
    m.host_off = -1
    m.host_len = -1
    m.query_off = m.target_off + n
    m.query_len = -1
    m.path_off = m.target_off
    m.path_len = n
    if m.method == M_CONNECT:
        if not authority_ok(t, n, True):
            return -400
        m.host_off = m.target_off
        m.host_len = n
        m.path_len = 0
        return 0
    if t[0] == b"*":
        return 0 if n == 1 and m.method == M_OPTIONS else -400
    if t[0] != b"/":
        if n > 7 and same(t, b"http", 4) and memcmp(t + 4, b"://", 3) == 0:
            i = 7
        elif n > 8 and same(t, b"https", 5) and memcmp(t + 5, b"://", 3) == 0:
            i = 8
        else:
            return -400
        m.host_off = m.target_off + i
        while i < n and t[i] != b"/" and t[i] != b"?":
            i += 1
        m.host_len = m.target_off + i - m.host_off
        if not authority_ok(p + m.host_off, m.host_len, False):
            return -400
        m.path_off = m.target_off + i
        m.path_len = n - i
    q = cython.NULL
    if m.path_len > 0:
        q = cython.cast(cython.p_const_char, memchr(p + m.path_off, 63, m.path_len))
    if q != cython.NULL:
        i = cython.cast(cython.int, q - p)
        m.query_off = i + 1
        m.query_len = m.path_off + m.path_len - i - 1
        m.path_len = i - m.path_off
    return 0


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def is_version(p: cython.p_const_char) -> cython.bint:
    """HTTP/d.d"""
    return memcmp(p, b"HTTP/", 5) == 0 and 48 <= p[5] <= 57 and p[6] == b"." and 48 <= p[7] <= 57


def parse_request(p, n, m, limits):
    q: cython.p_const_char
    cap: cython.Py_ssize_t = cython.cast(cython.Py_ssize_t, limits.max_line) + 2
    r: cython.Py_ssize_t
    i: cython.int = 0
    e: cython.int
    host_off: cython.int
    host_len: cython.int
    if n < 1:
        return 0
    # A TLS record or other foreign protocol is told by its first byte; its sender waits for us, so wait for no LF.
    if not is_in(p, TOKEN):
        return -400
    if cap > limits.max_head:
        cap = limits.max_head
    q = cython.cast(cython.p_const_char, memchr(p, 10, n if n < cap else cap))
    if q == cython.NULL:
        if n < cap:
            return 0
        return -414 if cap > limits.max_line else -431
    e = cython.cast(cython.int, q - p) - 1
    # The shortest line is "M T HTTP/1.1".
    if e < 12 or p[e] != b"\r":
        return -400
    while is_in(p + i, TOKEN):
        i += 1
    if p[i] != b" " or i + 10 > e or p[e - 9] != b" " or not is_version(p + e - 8):
        return -400
    if p[e - 3] != b"1" or p[e - 1] > b"1":
        return -505
    m.minor = p[e - 1] - 48
    m.method_len = i
    m.method = method_id(p, i)
    m.status = 0
    m.reason_off = m.reason_len = 0
    m.target_off = i + 1
    m.target_len = e - 9 - (i + 1)
    if read_target(p, m) < 0:
        return -400
    host_off = m.host_off
    host_len = m.host_len
    m.host_off = m.host_len = -1
    r = parse_fields(p, e + 2, n, m, limits, True)
    if r > 0:
        if m.host_len < 0 and m.minor == 1:
            return -400
        if host_len >= 0:
            # RFC 9112 3.2.2 lets the target win; a disagreement is how one request is made to mean two.
            if m.host_len >= 0 and (m.host_len != host_len or not same_text(p + m.host_off, p + host_off, host_len)):
                return -400
            m.host_off = host_off
            m.host_len = host_len
    return r


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def forget_body(p: cython.p_const_char, m: cython.pointer(Parsed)) -> cython.void:
    """RFC 9110 8.6, RFC 9112 6.1: 1xx and 204 have no body and must not announce one. A server that does may send it as
    well, so the announcement isn't passed on and the connection isn't used again."""
    i: cython.int
    if m.chunked or m.content_length > 0:
        m.close = 1
    if m.content_length >= 0:
        for i in range(m.nfields):
            if m.fields[i].name_len == 14 and same(p + m.fields[i].name_off, b"content-length", 14):
                m.fields[i].flags |= FIELD_DROP
    m.chunked = 0
    m.content_length = -1


def parse_response(p, n, m, limits):
    q: cython.p_const_char
    cap: cython.Py_ssize_t = cython.cast(cython.Py_ssize_t, limits.max_line) + 2
    r: cython.Py_ssize_t
    e: cython.int
    if n < 1:
        return 0
    if p[0] != b"H":
        return -502
    if cap > limits.max_head:
        cap = limits.max_head
    q = cython.cast(cython.p_const_char, memchr(p, 10, n if n < cap else cap))
    if q == cython.NULL:
        return 0 if n < cap else -502
    e = cython.cast(cython.int, q - p) - 1
    # "HTTP/1.1 200", then a blank and the reason, which may be empty; servers that leave the blank out are tolerated.
    if e < 12 or p[e] != b"\r" or not is_version(p) or p[5] != b"1" or p[7] > b"1" or p[8] != b" ":
        return -502
    if not (49 <= p[9] <= 53 and 48 <= p[10] <= 57 and 48 <= p[11] <= 57) or (e > 12 and p[12] != b" "):
        return -502
    m.minor = p[7] - 48
    m.status = (p[9] - 48) * 100 + (p[10] - 48) * 10 + (p[11] - 48)
    m.reason_off = 13 if e > 12 else e
    m.reason_len = e - m.reason_off
    if has_control(p + m.reason_off, m.reason_len):
        return -502
    m.method = m.method_len = 0
    m.target_off = m.target_len = m.path_off = m.path_len = m.query_off = 0
    m.query_len = m.host_off = m.host_len = -1
    r = parse_fields(p, e + 2, n, m, limits, False)
    if r < 0:
        return -502
    if r > 0 and (m.status == 204 or m.status < 200):
        forget_body(p, m)
    return r


def leading_blank(p, n):
    if n >= 2 and p[0] == b"\r" and p[1] == b"\n":
        return 2
    return 0


def exact_copy(data):
    n: cython.Py_ssize_t = len(data)
    copy: cython.p_char = cython.cast(cython.p_char, PyMem_RawMalloc(n if n else 1))
    if copy == cython.NULL:
        raise MemoryError
    memcpy(copy, cython.cast(cython.p_const_char, data), n)
    return copy


@cython.cfunc
def as_dict(data: bytes, m: cython.pointer(Parsed), request: cython.bint) -> dict:
    i: cython.int
    f: Field
    fields: list = []
    spans: list = []
    for i in range(m.nfields):
        f = m.fields[i]
        name = data[f.name_off : f.name_off + f.name_len]
        fields.append((name, data[f.value_off : f.value_off + f.value_len], f.flags))
        spans.append((f.name_off, f.name_len, f.value_off, f.value_len, f.end))
    out: dict = {
        "head_len": m.head_len,
        "first_line_end": m.first_line_end,
        "minor": m.minor,
        "fields": fields,
        "spans": spans,
        "content_length": m.content_length,
        "chunked": bool(m.chunked),
        "close": bool(m.close),
        "keep_alive": bool(m.keep_alive),
        "upgrade": bool(m.upgrade),
        "te_trailers": bool(m.te_trailers),
    }
    if request:
        out["method"] = data[: m.method_len]
        out["method_id"] = m.method
        out["target"] = data[m.target_off : m.target_off + m.target_len]
        out["path"] = data[m.path_off : m.path_off + m.path_len]
        out["query"] = data[m.query_off : m.query_off + m.query_len] if m.query_len >= 0 else None
        out["host"] = data[m.host_off : m.host_off + m.host_len] if m.host_len >= 0 else None
        out["expect_continue"] = bool(m.expect_continue)
        out["xff"] = m.xff
    else:
        out["status"] = m.status
        out["reason"] = data[m.reason_off : m.reason_off + m.reason_len]
    return out


@cython.cfunc
def parse_bytes(data: bytes, max_line: cython.int, max_head: cython.int, max_fields: cython.int, request: cython.bint):
    m: Parsed
    limits: Limits
    r: cython.Py_ssize_t
    n: cython.Py_ssize_t = len(data)
    copy: cython.p_char = exact_copy(data)
    limits.max_line = max_line
    limits.max_head = max_head
    limits.max_fields = max_fields
    if request:
        r = parse_request(copy, n, cython.address(m), cython.address(limits))
    else:
        r = parse_response(copy, n, cython.address(m), cython.address(limits))
    PyMem_RawFree(copy)
    if r <= 0:
        return r
    return as_dict(data, cython.address(m), request)


def parse_repeatedly(data: bytes, rounds: cython.int):
    m: Parsed
    limits: Limits
    i: cython.int
    r: cython.Py_ssize_t = 0
    limits.max_line = 8192
    limits.max_head = 32768
    limits.max_fields = 100
    for i in range(rounds):
        if data[0] == 72:  # "HTTP/1.1 200"
            r += parse_response(data, len(data), cython.address(m), cython.address(limits))
        else:
            r += parse_request(data, len(data), cython.address(m), cython.address(limits))
    return r


def parse_request_bytes(
    data: bytes, max_line: cython.int = 8192, max_head: cython.int = 32768, max_fields: cython.int = 100
):
    return parse_bytes(data, max_line, max_head, max_fields, True)


def parse_response_bytes(
    data: bytes, max_line: cython.int = 8192, max_head: cython.int = 32768, max_fields: cython.int = 100
):
    return parse_bytes(data, max_line, max_head, max_fields, False)
