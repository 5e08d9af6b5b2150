# cython: annotation_typing=True
# ruff: noqa: F821  (constants stand in target.pxd)
"""Normalisation of request paths as nginx does it: what routes and plugins match on.

A path is decoded once, then cut into segments, so an encoded dot or slash can't hide a dot segment from a rule that an
upstream would see after its own decoding. Decoded '?' and '#' stay data: the query was cut off before.
"""

import cython
from cython.cimports.bascule.wire.http1 import exact_copy
from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize
from cython.cimports.cpython.mem import PyMem_RawFree, PyMem_RawMalloc


def path_is_plain(p, n):
    i: cython.int
    bad: cython.int = 0
    if n < 1 or p[0] != b"/":
        return False
    for i in range(n - 1):
        bad |= (p[i] == 37) | ((p[i] == 47) & ((p[i + 1] == 46) | (p[i + 1] == 47)))
    return bad == 0 and p[n - 1] != b"%"


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def hex_digit(c: cython.int) -> cython.int:
    if 48 <= c <= 57:
        return c - 48
    c |= 0x20
    if 97 <= c <= 102:
        return c - 87
    return -1


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def end_segment(out: cython.p_char, start: cython.int, o: cython.int, flags: cython.int) -> cython.int:
    """The segment out[start:o], after the slash at start - 1, is complete. Returns the length of the path so far: start
    when the segment vanishes, an earlier segment's start for "..", -1 above the root, else o."""
    i: cython.int
    if flags & TARGET_SERVLET:
        for i in range(start, o):
            if out[i] == b";":
                o = i
                break
    if o == start:
        return start
    if out[start] == b".":
        if o - start == 1:
            return start
        if o - start == 2 and out[start + 1] == b".":
            if start < 2:
                return -1
            i = start - 1
            while out[i - 1] != b"/":
                i -= 1
            return i
    return o


def normalise_path(p, n, out, flags):
    i: cython.int = 0
    o: cython.int = 1
    start: cython.int = 1
    c: cython.int
    d: cython.int
    out[0] = b"/"
    if n > 0 and p[0] != b"/":
        return -1
    while i < n:
        c = cython.cast(cython.uchar, p[i])
        i += 1
        if c == 37:
            if i + 2 > n:
                return -1
            d = hex_digit(cython.cast(cython.uchar, p[i]))
            c = hex_digit(cython.cast(cython.uchar, p[i + 1]))
            if d < 0 or c < 0 or d + c == 0:
                return -1
            c += d * 16
            if c == 47 and flags & TARGET_KEEP_ENCODED_SLASH:
                out[o] = p[i - 1]
                out[o + 1] = p[i]
                out[o + 2] = p[i + 1]
                o += 3
                i += 2
                continue
            i += 2
        if c == 47:
            # A segment that stayed keeps its slash; one that vanished leaves the slash before it.
            o = end_segment(out, start, o, flags)
            if o < 0:
                return -1
            if out[o - 1] != b"/":
                out[o] = b"/"
                o += 1
            start = o
        else:
            out[o] = c
            o += 1
    return end_segment(out, start, o, flags)


def is_plain(path: bytes) -> bool:
    return path_is_plain(path, cython.cast(cython.int, len(path)))


def normalise(path: bytes, keep_encoded_slash: bool = False, servlet: bool = False):
    n: cython.int = cython.cast(cython.int, len(path))
    flags: cython.int = (TARGET_KEEP_ENCODED_SLASH if keep_encoded_slash else 0) | (TARGET_SERVLET if servlet else 0)
    # Copies of exactly the promised sizes: AddressSanitizer then sees what leaves them.
    copy: cython.p_char = exact_copy(path)
    out: cython.p_char = cython.cast(cython.p_char, PyMem_RawMalloc(n + 1))
    if out == cython.NULL:
        PyMem_RawFree(copy)
        raise MemoryError
    r: cython.int = normalise_path(copy, n, out, flags)
    result: object = None if r < 0 else PyBytes_FromStringAndSize(out, r)
    PyMem_RawFree(copy)
    PyMem_RawFree(out)
    return result
