# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""Access log: one line per request in nginx's format language, formatted into a buffer, written by a thread.

The variables of APISIX's default format are written straight from the exchange; any other goes through request.var().
"""

import re
import time

import cython
from cython.cimports.bascule.engine.exchange import Exchange
from cython.cimports.bascule.engine.forward import put_number
from cython.cimports.bascule.engine.parties import Downstream
from cython.cimports.bascule.plugin.request import Request
from cython.cimports.libc.stdlib import free, realloc
from cython.cimports.libc.string import memcpy

(
    LITERAL,
    ADDR,
    TIME_LOCAL,
    TIME_ISO,
    REQUEST,
    STATUS,
    BODY_BYTES,
    BYTES,
    REQUEST_TIME,
    HEADER,
    UPSTREAM_ADDR,
    UPSTREAM_STATUS,
    UPSTREAM_TIME,
    UPSTREAM_HOST,
    UPSTREAM_URI,
    METHOD,
    OTHER,
) = range(17)

_KINDS = {
    "remote_addr": ADDR,
    "time_local": TIME_LOCAL,
    "time_iso8601": TIME_ISO,
    "request": REQUEST,
    "request_line": REQUEST,
    "status": STATUS,
    "body_bytes_sent": BODY_BYTES,
    "bytes_sent": BYTES,
    "request_time": REQUEST_TIME,
    "upstream_addr": UPSTREAM_ADDR,
    "upstream_status": UPSTREAM_STATUS,
    "upstream_response_time": UPSTREAM_TIME,
    "upstream_host": UPSTREAM_HOST,
    "upstream_uri": UPSTREAM_URI,
    "request_method": METHOD,
}


@cython.cclass
class Piece:
    def __init__(self, kind, text):
        self.kind = kind
        self.text = text


def parse_format(text: str) -> list:
    """The pieces of a log_format string."""
    pieces = []
    at = 0
    for found in re.finditer(r"\$(?:\{(\w+)\}|(\w+))", text):
        if found.start() > at:
            pieces.append(Piece(LITERAL, text[at : found.start()].encode()))
        name = found[1] or found[2]
        if name in _KINDS:
            pieces.append(Piece(_KINDS[name], name.encode()))
        elif name.startswith("http_") and name != "http_host_name":
            pieces.append(Piece(HEADER, name[5:].replace("_", "-").lower().encode()))
        else:
            pieces.append(Piece(OTHER, name.encode()))
        at = found.end()
    if at < len(text):
        pieces.append(Piece(LITERAL, text[at:].encode()))
    return pieces


@cython.cclass
class AccessLog:
    def __init__(self, format_text: str, escape: str, buffer_bytes: int, write):
        self.pieces = parse_format(format_text)
        self.escape = {"default": 0, "json": 1, "none": 2}[escape]
        self.limit = max(1, buffer_bytes)
        self.write = write

    def __dealloc__(self):
        free(self.buf)

    def flush(self):
        """Hands what is buffered to the writer."""
        if self.size:
            text = self.buf[: self.size]
            self.size = 0
            self.write(text)

    @cython.cfunc
    def room(self, n: cython.int) -> cython.int:
        grown: cython.p_char
        if self.size + n > self.cap:
            grown = cython.cast(cython.p_char, realloc(self.buf, self.size + n + 4096))
            if grown == cython.NULL:
                raise MemoryError
            self.buf = grown
            self.cap = self.size + n + 4096
        return 0

    @cython.cfunc
    def put(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        self.room(cython.cast(cython.int, n))
        memcpy(self.buf + self.size, p, n)
        self.size += cython.cast(cython.int, n)
        return 0

    @cython.cfunc
    def put_escaped(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        i: cython.Py_ssize_t
        c: cython.uchar
        h: cython.int
        o: cython.p_char
        hexes: cython.p_const_char = b"0123456789ABCDEF"
        self.room(cython.cast(cython.int, n * 6))
        o = self.buf + self.size
        for i in range(n):
            c = cython.cast(cython.uchar, p[i])
            if self.escape == 2 or (c >= 32 and c != 34 and c != 92 and (c < 127 or self.escape == 1)):
                o[0] = p[i]
                o += 1
            elif self.escape == 1:
                if c == 34 or c == 92:
                    o[0] = 92
                    o[1] = p[i]
                    o += 2
                else:
                    memcpy(o, b"\\u00", 4)
                    h = c >> 4
                    o[4] = hexes[h]
                    h = c & 15
                    o[5] = hexes[h]
                    o += 6
            else:
                o[0] = 92
                o[1] = 120
                h = c >> 4
                o[2] = hexes[h]
                h = c & 15
                o[3] = hexes[h]
                o += 4
        self.size = cython.cast(cython.int, o - self.buf)
        return 0

    @cython.cfunc
    def put_integer(self, value: cython.longlong) -> cython.int:
        self.room(24)
        self.size = cython.cast(cython.int, put_number(self.buf + self.size, value if value > 0 else 0) - self.buf)
        return 0

    @cython.cfunc
    def put_seconds(self, us: cython.longlong) -> cython.int:
        ms: cython.longlong = (us + 500) // 1000 if us > 0 else 0
        o: cython.p_char
        self.room(32)
        o = put_number(self.buf + self.size, ms // 1000)
        o[0] = 46
        o[1] = cython.cast(cython.char, 48 + ms // 100 % 10)
        o[2] = cython.cast(cython.char, 48 + ms // 10 % 10)
        o[3] = cython.cast(cython.char, 48 + ms % 10)
        self.size = cython.cast(cython.int, o + 4 - self.buf)
        return 0

    @cython.cfunc
    def fresh_time(self, now: cython.longlong) -> cython.int:
        if now >= self.time_due:
            stamp = time.localtime()
            self.time_local = time.strftime("%d/%b/%Y:%H:%M:%S %z", stamp).encode()
            zone = time.strftime("%z", stamp)
            self.time_iso = (time.strftime("%Y-%m-%dT%H:%M:%S", stamp) + zone[:3] + ":" + zone[3:]).encode()
            self.time_due = now + 1000000 - int(time.time() * 1e6) % 1000000
        return 0

    @cython.cfunc
    def record(self, x: Exchange) -> cython.int:
        """Appends the line of a finished exchange (its client's side is still attached)."""
        self.fresh_time(x.core.poller.now)
        for entry in self.pieces:
            self.put_piece(x, cython.cast(Piece, entry))
        self.put(b"\n", 1)
        self.lines += 1
        if self.size >= self.limit:
            self.flush()
        return 0

    @cython.cfunc
    def put_piece(self, x: Exchange, piece: Piece) -> cython.int:
        down: Downstream = x.down
        rq: Request = x.request
        text: bytes
        kind: cython.int = piece.kind
        i: cython.int
        if kind == 0:  # LITERAL
            text = piece.text
            return self.put(text, len(text))
        if kind == 1:  # ADDR
            if rq is not None and rq.client_addr is not None:
                text = cython.cast(str, rq.client_addr).encode()
                return self.put(text, len(text))
            if down is not None and not down.is_unix:
                return self.put(down.host_text, down.host_len)
            return self.put(b"unix:", 5)
        if kind == 2:
            return self.put(self.time_local, len(self.time_local))
        if kind == 3:
            return self.put(self.time_iso, len(self.time_iso))
        if kind == 4:  # REQUEST
            i = x.req.m.first_line_end - 2
            if i > 0:
                return self.put_escaped(x.req.data, i)
            return self.put(b"-", 1)
        if kind == 5:
            return self.put_integer(x.status)
        if kind == 6 or kind == 7:  # BODY_BYTES, BYTES
            if down is None:
                return self.put(b"0", 1)
            return self.put_integer(down.sent + down.wlen - x.sent_before - (x.head_bytes if kind == 6 else 0))
        if kind == 8:
            return self.put_seconds(x.t_end - x.t_start)
        if kind == 9:  # HEADER
            text = piece.text
            i = x.req.find_any(text, cython.cast(cython.int, len(text)), 0) if x.req.m.nfields else -1
            if i < 0:
                return self.put(b"-", 1)
            return self.put_escaped(x.req.data + x.req.m.fields[i].value_off, x.req.m.fields[i].value_len)
        if kind == 10:  # UPSTREAM_ADDR
            if x.t_sent == 0:
                return self.put(b"-", 1)
            return self.put_tries(x, 0, x.address_text())
        if kind == 11:
            if x.t_sent == 0:
                return self.put(b"-", 1)
            if x.tries is None and x.upstream_status:
                return self.put_integer(x.upstream_status)
            return self.put_tries(x, 1, str(x.upstream_status or x.status))
        if kind == 12:
            if x.t_sent == 0:
                return self.put(b"-", 1)
            if x.tries is None:
                return self.put_seconds(x.t_end - x.t_sent)
            return self.put_tries(x, 2, f"{(x.t_end - x.t_sent) / 1e6:.3f}")
        if kind == 13 and x.upstream is not None and x.upstream.pass_host == 0 and (rq is None or rq.host_out is None):
            return self.put_escaped(x.req.data + x.req.m.host_off, x.req.m.host_len if x.req.m.host_len > 0 else 0)
        if kind == 14 and (rq is None or rq.target_out is None):
            return self.put_escaped(x.req.data + x.req.m.target_off, x.req.m.target_len)
        if kind == 15:
            return self.put_escaped(x.req.data, x.req.m.method_len)
        if x.req.m.head_len == 0:
            return self.put(b"-", 1)
        value = x.ensure().var(piece.text.decode())
        if value is None or value == "":
            return self.put(b"-", 1)
        text = str(value).encode("utf-8", "replace")
        return self.put_escaped(text, len(text))

    def put_tries(self, x: Exchange, index: int, final: str):
        """nginx's list of all tries, the last one being this exchange's."""
        parts = [t[index] for t in x.tries] if x.tries is not None else []
        parts.append(final)
        text = ", ".join(parts).encode()
        self.put(text, len(text))
        return 0
