# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in chunk.pxd)
"""Scanner of the chunked transfer coding (RFC 9112, section 7.1), an automaton that can stop between any two bytes.

Stricter than the grammar where leniency has made requests ambiguous: no blanks around sizes and extensions, at most 15
hex digits, a bound on the size line and on the trailer section, CRLF only, and no trailer that would change framing,
routing or authentication if somebody merged it into the head (RFC 9110 6.5.1).
"""

import cython
from cython.cimports.bascule.wire.http1 import exact_copy
from cython.cimports.cpython.mem import PyMem_RawFree
from cython.cimports.libc.string import memcmp

MAX_SIZE_LINE = cython.declare(cython.int, 256)
MAX_TRAILERS = cython.declare(cython.int, 8192)
TOKEN = cython.declare(cython.uchar[256])
HEX = cython.declare(cython.schar[256])


def _fill_tables() -> None:
    tokens: bytes = b"!#$%&'*+-.^_`|~"
    c: cython.int
    for c in range(256):
        HEX[c] = -1
        TOKEN[c] = 48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122 or (c != 0 and c in tokens)
    for c in range(10):
        HEX[48 + c] = c
    for c in range(6):
        HEX[65 + c] = HEX[97 + c] = 10 + c


_fill_tables()


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def is_text(c: cython.int) -> cython.bint:
    """HTAB, SP, visible ASCII, obs-text."""
    return c == 9 or (c >= 32 and c != 127)


def is_forbidden(p, n):
    """Lower-case names of fields that must not come in trailers."""
    if n == 2:
        return memcmp(p, b"te", 2) == 0
    if n == 4:
        return memcmp(p, b"host", 4) == 0
    if n == 6:
        return memcmp(p, b"cookie", 6) == 0 or memcmp(p, b"expect", 6) == 0
    if n == 7:
        return memcmp(p, b"trailer", 7) == 0 or memcmp(p, b"upgrade", 7) == 0
    if n == 9:
        return memcmp(p, b"forwarded", 9) == 0 or memcmp(p, b"x-real-ip", 9) == 0
    if n == 10:
        return (
            memcmp(p, b"connection", 10) == 0 or memcmp(p, b"keep-alive", 10) == 0 or memcmp(p, b"set-cookie", 10) == 0
        )
    if n == 12:
        return memcmp(p, b"content-type", 12) == 0 or memcmp(p, b"max-forwards", 12) == 0
    if n == 13:
        return (
            memcmp(p, b"authorization", 13) == 0
            or memcmp(p, b"cache-control", 13) == 0
            or memcmp(p, b"content-range", 13) == 0
        )
    if n == 14:
        return memcmp(p, b"content-length", 14) == 0
    if n == 16:
        if memcmp(p, b"content-encoding", 16) == 0 or memcmp(p, b"proxy-connection", 16) == 0:
            return True
        if memcmp(p, b"www-authenticate", 16) == 0:
            return True
    if n == 17 and memcmp(p, b"transfer-encoding", 17) == 0:
        return True
    if n == 18 and memcmp(p, b"proxy-authenticate", 18) == 0:
        return True
    if n == 19 and memcmp(p, b"proxy-authorization", 19) == 0:
        return True
    return n > 12 and memcmp(p, b"x-forwarded-", 12) == 0


def chunk_reset(s):
    s.state = CHUNK_SIZE_START
    s.line = 0
    s.left = 0
    s.name_len = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def framing(
    s: cython.pointer(Chunk), p: cython.p_const_char, i: cython.Py_ssize_t, n: cython.Py_ssize_t
) -> cython.Py_ssize_t:
    """Reads on from p[i] until data begins, the body ends or p does. Returns the new offset, -1 when malformed."""
    c: cython.int
    st: cython.int = s.state
    while i < n and st != CHUNK_DATA and st != CHUNK_DONE:
        c = cython.cast(cython.uchar, p[i])
        i += 1
        if st < CHUNK_DATA:
            s.line += 1
            if s.line > MAX_SIZE_LINE:
                return -1
        elif st > CHUNK_DATA_LF:
            s.line += 1
            if s.line > MAX_TRAILERS:
                return -1
        if st == CHUNK_SIZE_START:
            if HEX[c] < 0:
                return -1
            s.left = HEX[c]
            st = CHUNK_SIZE
        elif st == CHUNK_SIZE:
            if HEX[c] >= 0:
                if s.line > 15:
                    return -1
                s.left = s.left * 16 + HEX[c]
            elif c == 13:
                st = CHUNK_SIZE_LF
            elif c == 59:
                st = CHUNK_EXT_START
            else:
                return -1
        elif st == CHUNK_EXT_START:
            if not TOKEN[c]:
                return -1
            st = CHUNK_EXT_NAME
        elif st == CHUNK_EXT_NAME:
            if c == 61:
                st = CHUNK_EXT_VALUE_START
            elif c == 13:
                st = CHUNK_SIZE_LF
            elif c == 59:
                st = CHUNK_EXT_START
            elif not TOKEN[c]:
                return -1
        elif st == CHUNK_EXT_VALUE_START:
            if c == 34:
                st = CHUNK_EXT_QUOTED
            elif TOKEN[c]:
                st = CHUNK_EXT_VALUE
            else:
                return -1
        elif st == CHUNK_EXT_VALUE:
            if c == 13:
                st = CHUNK_SIZE_LF
            elif c == 59:
                st = CHUNK_EXT_START
            elif not TOKEN[c]:
                return -1
        elif st == CHUNK_EXT_QUOTED:
            if c == 34:
                st = CHUNK_EXT_END
            elif c == 92:
                st = CHUNK_EXT_ESCAPE
            elif not is_text(c):
                return -1
        elif st == CHUNK_EXT_ESCAPE:
            if not is_text(c):
                return -1
            st = CHUNK_EXT_QUOTED
        elif st == CHUNK_EXT_END:
            if c == 13:
                st = CHUNK_SIZE_LF
            elif c == 59:
                st = CHUNK_EXT_START
            else:
                return -1
        elif st == CHUNK_SIZE_LF:
            if c != 10:
                return -1
            s.line = 0
            st = CHUNK_DATA if s.left > 0 else CHUNK_TRAILER_START
        elif st == CHUNK_DATA_CR:
            if c != 13:
                return -1
            st = CHUNK_DATA_LF
        elif st == CHUNK_DATA_LF:
            if c != 10:
                return -1
            s.line = 0
            st = CHUNK_SIZE_START
        elif st == CHUNK_TRAILER_START:
            if c == 13:
                st = CHUNK_LAST_LF
            elif TOKEN[c]:
                s.name[0] = c | 0x20
                s.name_len = 1
                st = CHUNK_TRAILER_NAME
            else:
                return -1
        elif st == CHUNK_TRAILER_NAME:
            if c == 58:
                if is_forbidden(s.name, s.name_len):
                    return -1
                st = CHUNK_TRAILER_VALUE
            elif not TOKEN[c]:
                return -1
            else:
                # The array holds every name that is refused; longer ones differ by their length.
                if s.name_len < MAX_NAME:
                    s.name[s.name_len] = c | 0x20
                    s.name_len += 1
        elif st == CHUNK_TRAILER_VALUE:
            if c == 13:
                st = CHUNK_TRAILER_LF
            elif not is_text(c):
                return -1
        elif st == CHUNK_TRAILER_LF:
            if c != 10:
                return -1
            st = CHUNK_TRAILER_START
        else:
            if c != 10:
                return -1
            st = CHUNK_DONE
    s.state = st
    return i


def chunk_step(s, p, n, data_off, data_len):
    i: cython.Py_ssize_t = framing(s, p, 0, n)
    run: cython.Py_ssize_t
    data_off[0] = i
    data_len[0] = 0
    if i >= 0 and i < n and s.state == CHUNK_DATA:
        run = n - i
        if run >= s.left:
            run = cython.cast(cython.Py_ssize_t, s.left)
            s.state = CHUNK_DATA_CR
        s.left -= run
        data_len[0] = run
        i += run
    return i


def chunk_scan(s, p, n):
    i: cython.Py_ssize_t = 0
    while i < n and s.state != CHUNK_DONE:
        if s.state == CHUNK_DATA:
            if s.left > n - i:
                s.left -= n - i
                return n
            i += cython.cast(cython.Py_ssize_t, s.left)
            s.left = 0
            s.state = CHUNK_DATA_CR
        i = framing(s, p, i, n)
        if i < 0:
            return -1
    return i


def trailer_bytes(s):
    return s.line if s.state > CHUNK_DATA_LF or s.state == CHUNK_DONE else 0


def trailer_fields(section: bytes) -> list:
    """The fields of a trailer section that the scanner let pass: [(lower-case name, value)]."""
    found: list = []
    for line in section.split(b"\r\n"):
        if line:
            name, _, value = line.partition(b":")
            found.append((name.lower(), value.strip(b" \t")))
    return found


class ChunkScanner:
    def __cinit__(self):
        chunk_reset(cython.address(self.s))

    def step(self, data: bytes):
        n: cython.Py_ssize_t = len(data)
        off: cython.Py_ssize_t = 0
        size: cython.Py_ssize_t = 0
        r: cython.Py_ssize_t
        copy: cython.p_char = exact_copy(data)
        r = chunk_step(cython.address(self.s), copy, n, cython.address(off), cython.address(size))
        PyMem_RawFree(copy)
        return r, off, size

    def scan(self, data: bytes):
        r: cython.Py_ssize_t
        copy: cython.p_char = exact_copy(data)
        r = chunk_scan(cython.address(self.s), copy, len(data))
        PyMem_RawFree(copy)
        return r

    @property
    def done(self):
        return self.s.state == CHUNK_DONE

    def __repr__(self):
        return f"<ChunkScanner state={self.s.state} left={self.s.left}>"
