# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in head.pxd and http1.pxd)
"""One message head that outlives the receive buffer: its bytes and their parsed fields."""

import cython
from cython.cimports.bascule.wire.http1 import (
    FIELD_DROP,
    FIELD_REMOVED,
    Field,
    Limits,
    name_is,
    parse_request,
    parse_response,
)
from cython.cimports.cpython.mem import PyMem_RawFree, PyMem_RawRealloc
from cython.cimports.cpython.unicode import PyUnicode_DecodeLatin1
from cython.cimports.libc.string import memcpy


@cython.cfunc
@cython.inline
def text(p: cython.p_const_char, n: cython.Py_ssize_t) -> str:
    return PyUnicode_DecodeLatin1(p, n, cython.NULL)


class Head:
    def __cinit__(self):
        self.m.nfields = 0
        self.m.status = 0
        self.m.method_len = 0

    def __dealloc__(self):
        PyMem_RawFree(self.data)

    def copy(self, p, n):
        if n > self.cap:
            # 512 bytes spare most regrowth.
            grown: cython.p_char = cython.cast(cython.p_char, PyMem_RawRealloc(self.data, n if n > 512 else 512))
            if grown == cython.NULL:
                raise MemoryError
            self.data = grown
            self.cap = cython.cast(cython.int, n if n > 512 else 512)
        if n > 0:  # of nothing there may be no address
            memcpy(self.data, p, n)
        self.size = cython.cast(cython.int, n)
        return 0

    def find(self, lower, n, start):
        return self.search(lower, n, start, FIELD_DROP | FIELD_REMOVED)

    def find_any(self, lower, n, start):
        return self.search(lower, n, start, FIELD_REMOVED)

    def search(self, lower, n, start, without):
        i: cython.int
        f: cython.pointer(Field)
        for i in range(start, self.m.nfields):
            f = cython.address(self.m.fields[i])
            if f.name_len == n and (f.flags & without) == 0 and name_is(self.data + f.name_off, lower, n):
                return i
        return -1

    def find_name(self, name, start):
        lower: cython.char[64]
        n: cython.Py_ssize_t = len(name)
        i: cython.Py_ssize_t
        c: cython.int
        if n == 0:
            return -1
        if n > 64:
            return self.find_long(name, start)
        for i in range(n):
            c = ord(name[i])
            if c > 127:
                return -1
            if 65 <= c <= 90:
                c += 32
            lower[i] = cython.cast(cython.char, c)
        return self.search_exact(lower, cython.cast(cython.int, n), start)

    def search_exact(self, lower, n, start):
        i: cython.int
        k: cython.int
        c: cython.int
        f: cython.pointer(Field)
        for i in range(start, self.m.nfields):
            f = cython.address(self.m.fields[i])
            if f.name_len != n or f.flags & FIELD_REMOVED:
                continue
            for k in range(n):
                c = self.data[f.name_off + k]
                if 65 <= c <= 90:
                    c += 32
                if c != lower[k]:
                    break
            else:
                return i
        return -1

    def find_long(self, name, start):
        if not name.isascii():
            return -1
        lower: bytes = name.lower().encode("ascii")
        return self.search_exact(lower, cython.cast(cython.int, len(lower)), start)

    def value(self, i):
        return text(self.data + self.m.fields[i].value_off, self.m.fields[i].value_len)

    def name(self, i):
        return text(self.data + self.m.fields[i].name_off, self.m.fields[i].name_len)

    def header(self, name: str):
        i: cython.int = self.find_name(name, 0)
        return self.value(i) if i >= 0 else None

    def header_values(self, name: str):
        out: list = []
        i: cython.int = self.find_name(name, 0)
        while i >= 0:
            out.append(self.value(i))
            i = self.find_name(name, i + 1)
        return out

    def headers(self):
        kept: list = [i for i in range(self.m.nfields) if not self.m.fields[i].flags & FIELD_REMOVED]
        return [(self.name(i), self.value(i)) for i in kept]

    def parse(self, data: bytes, request: bool = True):
        limits: Limits
        r: cython.Py_ssize_t
        limits.max_line = 8192
        limits.max_head = 65536
        limits.max_fields = 100
        self.m.nfields = 0
        self.copy(data, len(data))
        if request:
            r = parse_request(self.data, self.size, cython.address(self.m), cython.address(limits))
        else:
            r = parse_response(self.data, self.size, cython.address(self.m), cython.address(limits))
        if r > 0:
            self.size = cython.cast(cython.int, r)
        else:
            self.size = self.m.nfields = 0
        return r

    def __repr__(self):
        if self.size == 0:
            return "<Head empty>"
        if self.m.status:
            return f"<Head {self.m.status} fields={self.m.nfields}>"
        method: str = text(self.data, self.m.method_len)
        target: str = text(self.data + self.m.target_off, self.m.target_len)
        return f"<Head {method} {target} fields={self.m.nfields}>"
