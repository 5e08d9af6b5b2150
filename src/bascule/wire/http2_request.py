# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in http2_request.pxd)
"""Fields of an HTTP/2 request (RFC 9113, section 8.3) to an HTTP/1.1 head, so that one parser judges both and the rest
of the gateway never knows which it serves. An extended CONNECT (RFC 8441) becomes the upgrade that it stands for.

What would mean something else once it stands in lines of text is malformed here: any control or blank in a
pseudo-header field, CR, LF and NUL in a value, a name that isn't a lower-case token, fields of the connection. Limits
are judged while fields come in: what is beyond them is not kept.
"""

import cython
from cython.cimports.bascule.wire.http1 import exact_copy, name_is, same_text
from cython.cimports.cpython.mem import PyMem_RawFree
from cython.cimports.libc.stdlib import free, realloc
from cython.cimports.libc.string import memcmp, memcpy

METHOD = cython.declare(cython.int, 0)
PATH = cython.declare(cython.int, 1)
AUTHORITY = cython.declare(cython.int, 2)
SCHEME = cython.declare(cython.int, 3)
PROTOCOL = cython.declare(cython.int, 4)
# A list so many times larger than what is allowed is no mistake: HPACK lets a few bytes stand for it.
BOMB = cython.declare(cython.int, 16)
NAME = cython.declare(cython.uchar[256])  # RFC 9110 tchar without upper case


def _fill_names() -> None:
    tokens: bytes = b"!#$%&'*+-.^_`|~"
    c: cython.int
    for c in range(256):
        NAME[c] = 48 <= c <= 57 or 97 <= c <= 122 or (c != 0 and c in tokens)


_fill_names()


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def of_the_connection(p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.bint:
    """RFC 9113 8.2.2: fields that no HTTP/2 message may have."""
    if n == 7:
        return memcmp(p, b"upgrade", 7) == 0
    if n == 10:
        return memcmp(p, b"connection", 10) == 0 or memcmp(p, b"keep-alive", 10) == 0
    if n == 14:
        return memcmp(p, b"http2-settings", 14) == 0
    if n == 16:
        return memcmp(p, b"proxy-connection", 16) == 0
    if n == 17:
        return memcmp(p, b"transfer-encoding", 17) == 0
    return False


@cython.cclass
class RequestFields:
    def __cinit__(self):
        memcpy(self.key, b"AAAAAAAAAAAAAAAAAAAAAA==", 24)

    def __dealloc__(self):
        free(self.head)
        free(self.text)
        free(self.cookies)

    def __repr__(self):
        return f"<RequestFields size={self.size} listed={self.listed} verdict={self.verdict}>"

    @cython.cfunc
    @cython.exceptval(check=False)
    def begin(self, max_line: cython.int, max_head: cython.int) -> cython.void:
        i: cython.int
        for i in range(5):
            self.at[i] = -1
            self.length[i] = 0
        self.size = self.text_len = self.cookies_len = 0
        self.listed = 0
        self.verdict = 0
        self.max_line = max_line
        self.max_head = max_head
        self.lined = False
        self.has_length = False

    @cython.cfunc
    @cython.exceptval(check=False)
    def put(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        grown: cython.p_char
        if self.size + n > self.cap:
            grown = cython.cast(cython.p_char, realloc(self.head, self.size + n + 1024))
            if grown == cython.NULL:
                self.verdict = 500
                return -1
            self.head = grown
            self.cap = cython.cast(cython.int, self.size + n + 1024)
        memcpy(self.head + self.size, p, n)
        self.size += cython.cast(cython.int, n)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def put_line(self) -> cython.int:
        connect: cython.bint = (
            self.at[0] >= 0 and self.length[0] == 7 and memcmp(self.text + self.at[0], b"CONNECT", 7) == 0
        )
        target: cython.int = 2 if connect else 1  # AUTHORITY, PATH
        if self.at[0] < 0 or self.at[target] < 0:
            self.verdict = 400
            return -1
        self.lined = True
        if self.at[4] >= 0:
            if not connect or self.at[1] < 0 or self.at[3] < 0:  # RFC 8441, section 4
                self.verdict = 400
                return -1
            if self.length[4] != 9 or not name_is(self.text + self.at[4], b"websocket", 9):
                self.verdict = 501
                return -1
            target = 1
            if self.put(b"GET ", 4) < 0:
                return -1
        elif self.put(self.text + self.at[0], self.length[0]) < 0 or self.put(b" ", 1) < 0:
            return -1
        if self.put(self.text + self.at[target], self.length[target]) < 0 or self.put(b" HTTP/1.1\r\n", 11) < 0:
            return -1
        if self.at[2] >= 0:
            if self.put(b"host: ", 6) < 0 or self.put(self.text + self.at[2], self.length[2]) < 0:
                return -1
            return self.put(b"\r\n", 2)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def put_cookie(self, value: cython.p_const_char, k: cython.Py_ssize_t) -> cython.int:
        grown: cython.p_char
        if self.cookies_len + k + 2 > self.cookies_cap:
            grown = cython.cast(cython.p_char, realloc(self.cookies, self.cookies_len + k + 512))
            if grown == cython.NULL:
                self.verdict = 500
                return -1
            self.cookies = grown
            self.cookies_cap = cython.cast(cython.int, self.cookies_len + k + 512)
        if self.cookies_len:
            memcpy(self.cookies + self.cookies_len, b"; ", 2)
            self.cookies_len += 2
        memcpy(self.cookies + self.cookies_len, value, k)
        self.cookies_len += cython.cast(cython.int, k)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def pseudo(
        self, name: cython.p_const_char, n: cython.Py_ssize_t, value: cython.p_const_char, k: cython.Py_ssize_t
    ) -> cython.int:
        which: cython.int
        i: cython.Py_ssize_t
        bad: cython.int = 0
        c: cython.uchar
        grown: cython.p_char
        if n == 7 and memcmp(name, b":method", 7) == 0:
            which = 0
        elif n == 5 and memcmp(name, b":path", 5) == 0:
            which = 1
        elif n == 10 and memcmp(name, b":authority", 10) == 0:
            which = 2
        elif n == 7 and memcmp(name, b":scheme", 7) == 0:
            which = 3
        elif self.extended and n == 9 and memcmp(name, b":protocol", 9) == 0:
            which = 4
        else:
            return FIELDS_MALFORMED
        if self.at[which] >= 0 or self.lined or k < 1:
            return FIELDS_MALFORMED
        for i in range(k):
            c = cython.cast(cython.uchar, value[i])
            bad |= (c <= 32) | (c >= 127)
        if bad:
            return FIELDS_MALFORMED
        if which == 1:
            # An absolute form would name a second host.
            if value[0] != b"/" and not (k == 1 and value[0] == b"*"):
                return FIELDS_MALFORMED
            if k > self.max_line:
                self.verdict = 414
                return 0
        if self.text_len + k > self.text_cap:
            grown = cython.cast(cython.p_char, realloc(self.text, self.text_len + k + 256))
            if grown == cython.NULL:
                self.verdict = 500
                return 0
            self.text = grown
            self.text_cap = cython.cast(cython.int, self.text_len + k + 256)
        memcpy(self.text + self.text_len, value, k)
        self.at[which] = self.text_len
        self.length[which] = cython.cast(cython.int, k)
        self.text_len += cython.cast(cython.int, k)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def field(
        self, name: cython.p_const_char, n: cython.Py_ssize_t, value: cython.p_const_char, k: cython.Py_ssize_t
    ) -> cython.int:
        i: cython.Py_ssize_t
        bad: cython.int = 0
        c: cython.uchar
        self.listed += n + k + 32
        if self.listed > self.max_head:
            if self.listed > cython.cast(cython.longlong, self.max_head) * BOMB:
                return FIELDS_BOMB
            if self.verdict == 0:
                self.verdict = 431
        if self.verdict:
            return 0
        if n < 1:
            return FIELDS_MALFORMED
        if name[0] == b":":
            return self.pseudo(name, n, value, k)
        for i in range(n):
            bad |= NAME[cython.cast(cython.uchar, name[i])] == 0
        for i in range(k):
            c = cython.cast(cython.uchar, value[i])
            bad |= ((c < 32) & (c != 9)) | (c == 127)
        if bad or of_the_connection(name, n):
            return FIELDS_MALFORMED
        if not self.lined and self.put_line() < 0:
            return 0
        if n == 2 and memcmp(name, b"te", 2) == 0 and not (k == 8 and memcmp(value, b"trailers", 8) == 0):
            return FIELDS_MALFORMED
        if n == 4 and memcmp(name, b"host", 4) == 0 and self.at[2] >= 0:
            # RFC 9113 8.3.1: it may say the same as :authority, and nothing else.
            if k != self.length[2] or not same_text(value, self.text + self.at[2], cython.cast(cython.int, k)):
                self.verdict = 400
            return 0
        if n == 6 and memcmp(name, b"cookie", 6) == 0:
            self.put_cookie(value, k)
            return 0
        if n == 14 and memcmp(name, b"content-length", 14) == 0:
            self.has_length = True
            if self.at[4] >= 0:
                self.verdict = 400  # what follows isn't a body
        if n == 17 and self.at[4] >= 0 and memcmp(name, b"sec-websocket-key", 17) == 0:
            return 0  # RFC 8441 knows none: this hop makes its own
        if self.put(name, n) == 0 and self.put(b": ", 2) == 0 and self.put(value, k) == 0:
            self.put(b"\r\n", 2)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def upgrades(self) -> cython.bint:
        return self.at[4] >= 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def end(self, has_body: cython.bint) -> cython.int:
        m: cython.p_const_char
        n: cython.int
        if self.verdict == 0 and not self.lined:
            self.put_line()
        if self.verdict:
            return -self.verdict
        if self.cookies_len:
            self.put(b"cookie: ", 8)
            self.put(self.cookies, self.cookies_len)
            self.put(b"\r\n", 2)
        if self.at[4] >= 0:
            self.put(b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ", 60)
            self.put(self.key, 24)
            self.put(b"\r\n", 2)
        elif not self.has_length:
            m = self.text + self.at[0]
            n = self.length[0]
            if has_body:
                self.put(b"transfer-encoding: chunked\r\n", 28)
            elif (
                (n == 4 and memcmp(m, b"POST", 4) == 0)
                or (n == 3 and memcmp(m, b"PUT", 3) == 0)
                or (n == 5 and memcmp(m, b"PATCH", 5) == 0)
            ):
                self.put(b"content-length: 0\r\n", 19)  # RFC 9110 8.6: these are expected to say so
        self.put(b"\r\n", 2)
        return -self.verdict if self.verdict else self.size

    def assemble(
        self,
        fields: list,
        has_body: bool = False,
        max_line: int = 16384,
        max_head: int = 65536,
        extended: bool = False,
    ):
        r: cython.int
        name: cython.p_char
        value: cython.p_char
        self.begin(max_line, max_head)
        self.extended = extended
        for pair in fields:
            name = exact_copy(pair[0])
            value = exact_copy(pair[1])
            r = self.field(name, len(pair[0]), value, len(pair[1]))
            PyMem_RawFree(name)
            PyMem_RawFree(value)
            if r < 0:
                return r
        r = self.end(has_body)
        return r if r < 0 else self.head[: self.size]
