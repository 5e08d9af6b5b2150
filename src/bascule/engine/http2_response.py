# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""Fields of an HTTP/2 response head. Names go in as they came: libnghttp2 writes them in lower case."""

import cython
from cython.cimports.bascule.engine.exchange import Exchange
from cython.cimports.bascule.engine.forward import put_number, skipped
from cython.cimports.bascule.engine.parties import Core
from cython.cimports.bascule.net.nghttp2 import NGHTTP2_NV_FLAG_NONE, nghttp2_nv
from cython.cimports.bascule.wire.http1 import Parsed, name_is
from cython.cimports.libc.stdint import uint8_t
from cython.cimports.libc.stdlib import free, realloc


@cython.cclass
class ResponseFields:
    def __dealloc__(self):
        free(self.nv)

    @cython.cfunc
    def begin(self, status: cython.int) -> cython.int:
        self.n = 0
        self.size = 0
        self.status[0] = cython.cast(cython.char, 48 + status // 100)
        self.status[1] = cython.cast(cython.char, 48 + status // 10 % 10)
        self.status[2] = cython.cast(cython.char, 48 + status % 10)
        return self.add(b":status", 7, self.status, 3)

    @cython.cfunc
    def add(
        self, name: cython.p_const_char, n: cython.Py_ssize_t, value: cython.p_const_char, k: cython.Py_ssize_t
    ) -> cython.int:
        grown: cython.pointer(nghttp2_nv)
        one: cython.pointer(nghttp2_nv)
        if self.n == self.cap:
            grown = cython.cast(
                cython.pointer(nghttp2_nv), realloc(self.nv, (self.cap + 64) * cython.sizeof(nghttp2_nv))
            )
            if grown == cython.NULL:
                raise MemoryError
            self.nv = grown
            self.cap += 64
        one = self.nv + self.n
        one.name = cython.cast(cython.pointer(uint8_t), cython.cast(cython.p_char, name))
        one.namelen = n
        one.value = cython.cast(cython.pointer(uint8_t), cython.cast(cython.p_char, value))
        one.valuelen = k
        one.flags = NGHTTP2_NV_FLAG_NONE
        self.n += 1
        self.size += n + k
        return 0

    @cython.cfunc
    def add_head(self, p: cython.p_const_char, m: cython.pointer(cython.const[Parsed]), skip: cython.int) -> cython.int:
        i: cython.int
        dated: cython.int = 0
        for i in range(m.nfields):
            if m.fields[i].name_len == 4 and name_is(p + m.fields[i].name_off, b"date", 4):
                dated = 1
            if not skipped(p, cython.address(m.fields[i]), skip):
                self.add(
                    p + m.fields[i].name_off, m.fields[i].name_len, p + m.fields[i].value_off, m.fields[i].value_len
                )
        return dated

    @cython.cfunc
    def add_pairs(self, pairs: list | None) -> cython.int:
        name: bytes
        value: bytes
        if pairs is not None:
            for pair in pairs:
                name = cython.cast(bytes, cython.cast(tuple, pair)[0])
                value = cython.cast(bytes, cython.cast(tuple, pair)[1])
                self.add(name, len(name), value, len(value))
        return 0

    @cython.cfunc
    def add_own(self, core: Core, dated: cython.bint, alt_svc: bytes | None) -> cython.int:
        line: bytes = core.server_line
        p: cython.p_const_char = line
        self.add(b"server", 6, p + 8, len(line) - 10)
        if not dated:
            core.fresh_date()
            line = core.date_line
            p = line
            self.add(b"date", 4, p + 6, len(line) - 8)
        if alt_svc is not None:
            p = alt_svc
            self.add(b"alt-svc", 7, p + 9, len(alt_svc) - 11)
        return 0

    @cython.cfunc
    def add_tries(self, x: Exchange) -> cython.int:
        """What all tries came to, the last one being what this response is about."""
        statuses: list = [] if x.tries is None else [status for _, status, _ in x.tries]
        self.tries = ", ".join([*statuses, str(x.upstream_status)]).encode()
        return self.add(b"x-apisix-upstream-status", 24, self.tries, len(self.tries))

    @cython.cfunc
    def add_length(self, length: cython.longlong) -> cython.int:
        end: cython.p_char = put_number(self.digits, length)
        return self.add(b"content-length", 14, self.digits, end - self.digits)
