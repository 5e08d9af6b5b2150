# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in websocket.pxd)
"""WebSocket frames (RFC 6455): heads and runs of payload, without a copy of the payload.

The parser of one direction holds to the rules of its side (a client masks, a server doesn't), refuses what is reserved,
lengths that aren't the shortest, control frames that are long or in pieces, and messages within messages. It can stop
between any two bytes.
"""

import cython
from cython.cimports.bascule.wire.http1 import exact_copy
from cython.cimports.cpython.mem import PyMem_RawFree
from cython.cimports.libc.string import memcpy

PROTOCOL_ERROR = cython.declare(cython.int, 1002)
NOT_UTF8 = cython.declare(cython.int, 1007)


def ws_reset(s, masked, extended):
    s.event = WS_MORE
    s.error = 0
    s.in_payload = 0
    s.have = 0
    s.need = 2
    s.masked = masked
    s.extended = extended
    s.message = 0
    s.size = s.left = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def begin(s: cython.pointer(Frames)) -> cython.int:
    """Judges the first two bytes of a head. -1: malformed."""
    first: cython.int = s.head[0]
    length: cython.int = s.head[1] & 0x7F
    s.opcode = first & 0x0F
    s.fin = first >> 7
    s.reserved = (first >> 4) & 7
    s.need = 2 + (2 if length == 126 else 8 if length == 127 else 0) + (4 if s.masked else 0)
    if (s.head[1] >> 7) != s.masked:
        return -1
    if s.reserved and (not s.extended or s.opcode >= WS_CLOSE):
        return -1
    if s.opcode >= WS_CLOSE:
        return -1 if s.opcode > WS_PONG or not s.fin or length > 125 else 0
    if s.opcode > WS_BINARY:
        return -1
    if (s.opcode == WS_CONTINUATION) != (s.message != 0):
        return -1
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def finish_head(s: cython.pointer(Frames)) -> cython.int:
    """The head is whole. -1: malformed."""
    length: cython.int = s.head[1] & 0x7F
    at: cython.int = 2
    i: cython.int
    s.size = length
    if length >= 126:
        s.size = 0
        for i in range(2 if length == 126 else 8):
            s.size = (s.size << 8) | s.head[at]
            at += 1
        if s.size < 0 or s.size < 126 or (length == 127 and s.size < 65536):
            return -1
    if s.masked:
        memcpy(s.mask, cython.address(s.head[at]), 4)
    s.left = s.size
    s.in_payload = s.size > 0
    if s.opcode < WS_CLOSE:
        if s.opcode != WS_CONTINUATION:
            s.message = s.opcode
        if s.fin:
            s.message = 0
    return 0


def ws_step(s, p, n, data_off, data_len):
    i: cython.Py_ssize_t = 0
    run: cython.Py_ssize_t
    data_off[0] = 0
    data_len[0] = 0
    if s.in_payload:
        run = n if n < s.left else cython.cast(cython.Py_ssize_t, s.left)
        s.left -= run
        s.in_payload = s.left > 0
        s.event = WS_DATA
        if s.left == 0:
            s.need = 2
        data_len[0] = run
        return run
    if s.event != WS_MORE:
        s.have = 0
        s.need = 2
        s.event = WS_MORE
    while i < n:
        s.head[s.have] = p[i]
        s.have += 1
        i += 1
        if s.have == 2 and begin(s) < 0:
            s.error = PROTOCOL_ERROR
            return -1
        if s.have >= 2 and s.have == s.need:
            if finish_head(s) < 0:
                s.error = PROTOCOL_ERROR
                return -1
            s.event = WS_HEAD
            return i
    return i


def ws_mask(p, n, mask, offset):
    turned: cython.uchar[8]
    word: cython.ulonglong
    keys: cython.ulonglong = 0
    i: cython.Py_ssize_t = 0
    for k in range(8):
        turned[k] = mask[(offset + k) & 3]
    memcpy(cython.address(keys), turned, 8)
    while i + 8 <= n:
        memcpy(cython.address(word), p + i, 8)
        word ^= keys
        memcpy(p + i, cython.address(word), 8)
        i += 8
    while i < n:
        p[i] = cython.cast(cython.char, cython.cast(cython.uchar, p[i]) ^ turned[i & 7])
        i += 1


def ws_head(out, opcode, fin, n, mask):
    at: cython.int = 2
    i: cython.int
    k: cython.int = 0
    out[0] = cython.cast(cython.char, (0x80 if fin else 0) | opcode)
    if n < 126:
        out[1] = cython.cast(cython.char, n)
    elif n < 65536:
        out[1] = 126
        k = 2
    else:
        out[1] = 127
        k = 8
    for i in range(k):
        out[at] = cython.cast(cython.char, (n >> (8 * (k - 1 - i))) & 0xFF)
        at += 1
    if mask != cython.NULL:
        out[1] = cython.cast(cython.char, cython.cast(cython.uchar, out[1]) | 0x80)
        memcpy(out + at, mask, 4)
        at += 4
    return at


def utf8_step(state, p, n):
    """RFC 3629. state: how many bytes are due (low byte), and the least and most of the next one."""
    i: cython.Py_ssize_t = 0
    c: cython.int
    due: cython.int = cython.cast(cython.int, state[0] & 0xFF)
    least: cython.int = cython.cast(cython.int, (state[0] >> 8) & 0xFF)
    most: cython.int = cython.cast(cython.int, (state[0] >> 16) & 0xFF)
    while i < n:
        c = cython.cast(cython.uchar, p[i])
        i += 1
        if due:
            if c < least or c > most:
                return -1
            due -= 1
            least = 0x80
            most = 0xBF
        elif c >= 0x80:
            least = 0x80
            most = 0xBF
            if c < 0xC2 or c > 0xF4:
                return -1
            if c < 0xE0:
                due = 1
            elif c < 0xF0:
                due = 2
                if c == 0xE0:
                    least = 0xA0  # what fits in fewer bytes
                elif c == 0xED:
                    most = 0x9F  # surrogates
            else:
                due = 3
                if c == 0xF0:
                    least = 0x90
                elif c == 0xF4:
                    most = 0x8F  # beyond U+10FFFF
    state[0] = 0 if due == 0 else cython.cast(cython.uint, due | (least << 8) | (most << 16))
    return 0


def ws_code_allowed(code):
    """May stand in a close frame: those of the standard and its registry, 3000-4999 of libraries and applications."""
    if code < 1000 or code > 4999:
        return False
    if code < 3000:
        return code <= 1014 and code != 1004 and code != 1005 and code != 1006
    return True


def ws_close_fault(p, n):
    state: cython.uint = 0
    code: cython.int
    if n == 0:
        return 0
    if n == 1:
        return PROTOCOL_ERROR
    code = cython.cast(cython.uchar, p[0]) << 8 | cython.cast(cython.uchar, p[1])
    if not ws_code_allowed(code):
        return PROTOCOL_ERROR
    if utf8_step(cython.address(state), p + 2, n - 2) < 0 or state != 0:
        return NOT_UTF8
    return 0


@cython.cclass
class FrameReader:
    def __init__(self, masked=False, extended=False):
        ws_reset(cython.address(self.s), masked, extended)

    def step(self, data: bytes):
        off: cython.Py_ssize_t = 0
        size: cython.Py_ssize_t = 0
        copy: cython.p_char = exact_copy(data)
        r: cython.Py_ssize_t = ws_step(
            cython.address(self.s), copy, len(data), cython.address(off), cython.address(size)
        )
        PyMem_RawFree(copy)
        return r, off, size

    @property
    def event(self):
        return self.s.event

    @property
    def error(self):
        return self.s.error

    @property
    def frame(self):
        mask = bytes([self.s.mask[0], self.s.mask[1], self.s.mask[2], self.s.mask[3]]) if self.s.masked else b""
        return self.s.opcode, bool(self.s.fin), self.s.reserved, self.s.size, self.s.left, mask

    def __repr__(self):
        return f"<FrameReader opcode={self.s.opcode} size={self.s.size} left={self.s.left}>"


def masked(data: bytes, mask: bytes, offset=0):
    key: cython.p_const_char = mask
    copy: cython.p_char = exact_copy(data)
    ws_mask(copy, len(data), cython.cast(cython.pointer(cython.const[cython.uchar]), key), offset)
    result = copy[: len(data)]
    PyMem_RawFree(copy)
    return result


def build_frame(opcode, data: bytes, mask=None, fin=True):
    out: cython.char[14]
    key: cython.p_const_char = cython.NULL
    if mask is not None:
        key = cython.cast(bytes, mask)
    n: cython.int = ws_head(out, opcode, fin, len(data), cython.cast(cython.pointer(cython.const[cython.uchar]), key))
    return out[:n] + (data if mask is None else masked(data, mask))


def is_utf8(pieces):
    state: cython.uint = 0
    fine: cython.bint = True
    for piece in pieces:
        copy: cython.p_char = exact_copy(piece)
        fine = utf8_step(cython.address(state), copy, len(piece)) == 0
        PyMem_RawFree(copy)
        if not fine:
            return False
    return state == 0


def close_fault(payload: bytes):
    copy: cython.p_char = exact_copy(payload)
    r: cython.int = ws_close_fault(copy, len(payload))
    PyMem_RawFree(copy)
    return r
