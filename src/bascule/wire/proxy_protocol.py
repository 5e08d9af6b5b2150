# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in proxy_protocol.pxd)
"""PROXY protocol, versions 1 (a line of text) and 2 (binary): whom a proxied connection is for.

The parser looks at what has come so far, from the start, and takes nothing before it is whole: the bytes behind a
header (a TLS handshake, a request) stay with the caller. Stricter than most: one blank between words, no leading zeros,
no TLV that goes past the header's end, and the checksum is compared when there is one.
"""

import ipaddress
import struct

import cython
from cython.cimports.bascule.wire.http1 import exact_copy
from cython.cimports.cpython.mem import PyMem_RawFree
from cython.cimports.libc.string import memchr, memcmp, memcpy, strlen

SIGNATURE = cython.declare(cython.uchar[12])
MAPPED = cython.declare(cython.uchar[12])
CRC = cython.declare(cython.uint[256])
V2_LOCAL, V2_PROXY = 0x20, 0x21
TLV_CRC32C = 0x03
V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def _fill_tables() -> None:
    value: cython.uint
    i: cython.int
    k: cython.int
    signature: bytes = V2_SIGNATURE
    memcpy(SIGNATURE, cython.cast(cython.p_char, signature), 12)
    MAPPED[10] = MAPPED[11] = 0xFF
    for i in range(256):
        value = i
        for k in range(8):
            value = (value >> 1) ^ (cython.cast(cython.uint, 0x82F63B78) if value & 1 else 0)
        CRC[i] = value


_fill_tables()


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def crc_of(p: cython.p_const_char, n: cython.Py_ssize_t, hole: cython.Py_ssize_t) -> cython.uint:
    """CRC32c of n bytes, where the four from `hole` on count as zero (-1: none do)."""
    crc: cython.uint = 0
    i: cython.Py_ssize_t
    c: cython.uint
    crc = ~crc
    for i in range(n):
        c = 0 if hole >= 0 and hole <= i < hole + 4 else cython.cast(cython.uchar, p[i])
        crc = (crc >> 8) ^ CRC[(crc ^ c) & 0xFF]
    return ~crc


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def port_in(p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
    """A port as text; -1: it is none."""
    value: cython.int = 0
    i: cython.Py_ssize_t
    if n < 1 or n > 5 or (n > 1 and p[0] == 48):
        return -1
    for i in range(n):
        if p[i] < 48 or p[i] > 57:
            return -1
        value = value * 10 + (p[i] - 48)
    return value if value <= 65535 else -1


@cython.cfunc
def address_in(p: cython.p_const_char, n: cython.Py_ssize_t, family: cython.int) -> str:
    """The address as it is usually written; None: it is none."""
    text: cython.char[64]
    raw: cython.uchar[16]
    if n < 1 or n > 63 or memchr(p, 0, n) != cython.NULL:
        return None
    memcpy(text, p, n)
    text[n] = 0
    if inet_pton(family, text, raw) != 1:
        return None
    return address_text(cython.cast(cython.p_const_char, cython.address(raw[0])), family)


@cython.cfunc
def address_text(raw: cython.p_const_char, family: cython.int) -> str:
    out: cython.char[64]
    if family == AF_INET6 and memcmp(raw, MAPPED, 12) == 0:  # ::ffff:a.b.c.d is written as IPv4
        inet_ntop(AF_INET, raw + 12, out, 64)
    else:
        inet_ntop(family, raw, out, 64)
    n: cython.Py_ssize_t = strlen(out)
    return out[:n].decode("ascii")


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def number(p: cython.p_const_char) -> cython.int:
    return cython.cast(cython.uchar, p[0]) << 8 | cython.cast(cython.uchar, p[1])


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def word(p: cython.p_const_char) -> cython.uint:
    return cython.cast(cython.uint, number(p)) << 16 | cython.cast(cython.uint, number(p + 2))


@cython.cclass
class ProxyHeader:
    def __repr__(self):
        return f"<PROXY v{self.version} {self.source}:{self.source_port} -> {self.destination}:{self.destination_port}>"

    @cython.cfunc
    def take(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        if n == 0:
            return 0
        if p[0] == 13:
            return self.take_binary(p, n)
        return self.take_text(p, n)

    @cython.cfunc
    def take_text(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        """PROXY TCP4|TCP6 SOURCE DESTINATION PORT PORT, or PROXY UNKNOWN and anything."""
        start: cython.Py_ssize_t = n if n < 6 else 6
        starts: cython.Py_ssize_t[5]
        ends: cython.Py_ssize_t[5]
        words: cython.int = 0
        i: cython.Py_ssize_t
        end: cython.Py_ssize_t
        q: cython.p_const_char
        family: cython.int
        if memcmp(p, b"PROXY ", start):
            return -1
        if n > PROXY_V1_MAX:
            n = PROXY_V1_MAX
        q = cython.cast(cython.p_const_char, memchr(p, 10, n))
        if q == cython.NULL:
            return 0 if n < PROXY_V1_MAX else -1
        end = q - p - 1
        if end < 6 or p[end] != 13 or memchr(p, 13, end) != cython.NULL:
            return -1
        self.version = 1
        if end >= 13 and memcmp(p + 6, b"UNKNOWN", 7) == 0 and (end == 13 or p[13] == 32):
            return cython.cast(cython.int, end + 2)
        starts[0] = i = 6
        while True:
            if i == end or p[i] == 32:
                ends[words] = i
                words += 1
                if i == end or words == 5:
                    break
                starts[words] = i + 1
            i += 1
        if words != 5 or i != end or ends[0] - starts[0] != 4:
            return -1
        if memcmp(p + starts[0], b"TCP4", 4) == 0:
            family = AF_INET
        elif memcmp(p + starts[0], b"TCP6", 4) == 0:
            family = AF_INET6
        else:
            return -1
        source = address_in(p + starts[1], ends[1] - starts[1], family)
        self.destination = address_in(p + starts[2], ends[2] - starts[2], family)
        self.source_port = port_in(p + starts[3], ends[3] - starts[3])
        self.destination_port = port_in(p + starts[4], ends[4] - starts[4])
        if source is None or self.destination is None or self.source_port < 0 or self.destination_port < 0:
            return -1
        self.source = source
        return cython.cast(cython.int, end + 2)

    @cython.cfunc
    def take_binary(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        start: cython.Py_ssize_t = n if n < 12 else 12
        command: cython.int
        family: cython.int
        size: cython.int
        used: cython.int = 0
        i: cython.int
        k: cython.int
        if memcmp(p, SIGNATURE, start):
            return -1
        if n < 16:
            return 0
        command = cython.cast(cython.uchar, p[12])
        family = cython.cast(cython.uchar, p[13])
        size = 16 + number(p + 14)
        if (command != V2_LOCAL and command != V2_PROXY) or size > PROXY_MAX:
            return -1
        if n < size:
            return 0
        self.version = 2
        if command == V2_PROXY:
            if family == 0x11:
                used = 12
            elif family == 0x21:
                used = 36
            elif family == 0x31:
                used = 216
            elif family != 0:
                return -1  # no stream: UDP, or what nobody has defined
            if 16 + used > size:
                return -1
            if family == 0x11 or family == 0x21:
                k = (used - 4) // 2
                self.source = address_text(p + 16, AF_INET if family == 0x11 else AF_INET6)
                self.destination = address_text(p + 16 + k, AF_INET if family == 0x11 else AF_INET6)
                self.source_port = number(p + 16 + 2 * k)
                self.destination_port = number(p + 18 + 2 * k)
            if family != 0:
                i = 16 + used
                while i < size:
                    if i + 3 > size:
                        return -1
                    k = number(p + i + 1)
                    if i + 3 + k > size:
                        return -1
                    if p[i] == TLV_CRC32C:
                        if k != 4 or crc_of(p, size, i + 3) != word(p + i + 3):
                            return -1
                    i += 3 + k
        return size

    def read(self, data: bytes):
        copy: cython.p_char = exact_copy(data)
        r: cython.int = self.take(copy, len(data))
        PyMem_RawFree(copy)
        return r


def build_proxy_header(version, source, source_port, destination, destination_port):
    try:
        ends = [ipaddress.ip_address(source), ipaddress.ip_address(destination)]
    except ValueError:
        ends = []
    texts = [str(end) for end in ends]
    if ends and ends[0].version != ends[1].version:
        texts = [f"::ffff:{end}" if end.version == 4 else str(end) for end in ends]
        ends = [ipaddress.ip_address(text) for text in texts]
    if version == 1:
        if not ends:
            return b"PROXY UNKNOWN\r\n"
        return f"PROXY TCP{ends[0].version} {texts[0]} {texts[1]} {source_port} {destination_port}\r\n".encode()
    if not ends:
        return V2_SIGNATURE + bytes((V2_LOCAL, 0, 0, 0))
    body = ends[0].packed + ends[1].packed + struct.pack(">HH", source_port, destination_port)
    family = 0x11 if ends[0].version == 4 else 0x21
    return V2_SIGNATURE + struct.pack(">BBH", V2_PROXY, family, len(body)) + body


def crc32c(data: bytes):
    return crc_of(data, len(data), -1)
