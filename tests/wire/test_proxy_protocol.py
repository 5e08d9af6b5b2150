"""Headers of the PROXY protocol as bytes in, addresses out; both versions, and what is none."""

import struct

import pytest

from bascule.wire.proxy_protocol import ProxyHeader, build_proxy_header, crc32c

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = bytes((203, 0, 113, 7, 192, 0, 2, 1)) + struct.pack(">HH", 4711, 443)


def binary(body: bytes = V4, command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + bytes((command, family)) + struct.pack(">H", len(body)) + body


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack(">BH", kind, len(value)) + value


def read(data: bytes) -> tuple[int, ProxyHeader]:
    header = ProxyHeader()
    return header.read(data), header


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443", ("203.0.113.7", 4711, "192.0.2.1", 443)),
        (b"PROXY TCP4 255.255.255.255 0.0.0.0 65535 0", ("255.255.255.255", 65535, "0.0.0.0", 0)),
        (b"PROXY TCP6 2001:DB8::1 ::1 1 2", ("2001:db8::1", 1, "::1", 2)),
        (b"PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2", ("1.2.3.4", 1, "::1", 2)),
        (b"PROXY UNKNOWN", (None, 0, None, 0)),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535", (None, 0, None, 0)),
    ],
)
def test_lines(line: bytes, expected: tuple[str | None, int, str | None, int]) -> None:
    size, header = read(line + b"\r\nGET / HTTP/1.1\r\n")
    assert size == len(line) + 2
    assert (header.source, header.source_port, header.destination, header.destination_port) == expected
    assert header.version == 1


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXY\r\n",
        b"PROXY \r\n",
        b"proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n",
        b"PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
        b"PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n",
        b"PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP4 ::1 2.2.2.2 1 2\r\n",
        b"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY TCP6 [::1] ::2 1 2\r\n",
        b"PROXY TCP6 ::1%eth0 ::2 1 2\r\n",
        b"PROXY TCP4 1.1.1.1\0 2.2.2.2 1 2\r\n",
        b"PROXY TCP4\r1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY UNKNOWN " + b"x" * 100,
    ],
)
def test_lines_that_are_none(line: bytes) -> None:
    assert read(line)[0] == -1


def test_the_longest_line() -> None:
    line = b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n"
    assert len(line) == 107
    assert read(line)[0] == 107
    assert read(b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n")[0] == -1


def test_binary_headers() -> None:
    size, header = read(binary() + b"\x16\x03\x01")
    assert size == 28
    assert (header.source, header.source_port) == ("203.0.113.7", 4711)
    assert (header.destination, header.destination_port, header.version) == ("192.0.2.1", 443, 2)
    v6 = bytes(15) + b"\1" + bytes(15) + b"\2" + struct.pack(">HH", 1, 2)
    _, header = read(binary(v6, family=0x21))
    assert (header.source, header.destination) == ("::1", "::2")


@pytest.mark.parametrize(
    "data",
    [
        binary(b"", command=0x20, family=0),
        binary(V4, command=0x20),  # a health check of the proxy's own, whatever stands in it
        binary(b"anything", command=0x21, family=0),
        binary(b"a".ljust(108, b"\0") + b"b".ljust(108, b"\0"), family=0x31),
    ],
)
def test_binary_headers_without_addresses(data: bytes) -> None:
    size, header = read(data)
    assert size == len(data)
    assert header.source is None


@pytest.mark.parametrize(
    "data",
    [
        binary(command=0x22),
        binary(command=0x11),
        binary(family=0x12),
        binary(family=0x41),
        binary(V4[:-1]),
        binary(V4, family=0x21),
        binary(V4 + b"\x04\x00"),
        binary(V4 + b"\x04\x00\x05abcd"),
        binary(V4 + tlv(0x03, b"abcd")),
        binary(V4 + tlv(0x03, b"abc")),
        binary(V4 + tlv(0x04, bytes(4096 - 28 - 2))),
        SIGNATURE[:-1] + b"x" + binary()[12:],
    ],
)
def test_binary_headers_that_are_none(data: bytes) -> None:
    assert read(data)[0] == -1


def test_tlvs_are_skipped_and_a_checksum_is_compared() -> None:
    body = V4 + tlv(0x02, b"a.example") + tlv(0x03, bytes(4)) + tlv(0xE0, b"own")
    data = binary(body)
    at = data.index(tlv(0x03, bytes(4))) + 3
    good = data[:at] + struct.pack(">I", crc32c(data)) + data[at + 4 :]
    size, header = read(good)
    assert (size, header.source) == (len(data), "203.0.113.7")
    assert read(good[:17] + b"\1" + good[18:])[0] == -1
    assert read(binary(V4 + tlv(0x04, bytes(4096 - 28 - 3))))[0] == 4096


def test_the_checksum_is_the_one_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720, B.4


@pytest.mark.parametrize("data", [b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n", binary(V4 + tlv(4, b"abc"))])
def test_every_beginning_of_a_header_waits_for_more(data: bytes) -> None:
    for end in range(len(data)):
        size, header = read(data[:end])
        assert size == 0
        assert header.source is None
    assert read(data)[0] == len(data)


def test_headers_that_are_built() -> None:
    assert (
        build_proxy_header(1, "203.0.113.7", 4711, "192.0.2.1", 443) == b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n"
    )
    assert build_proxy_header(1, "2001:db8::1", 1, "192.0.2.1", 2) == b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 1 2\r\n"
    assert build_proxy_header(2, "203.0.113.7", 4711, "192.0.2.1", 443) == binary()
    for unknown in ("unix:", "", None):
        assert build_proxy_header(1, unknown, 0, "192.0.2.1", 443) == b"PROXY UNKNOWN\r\n"
        size, header = read(build_proxy_header(2, unknown, 0, unknown, 0))
        assert (size, header.source) == (16, None)


@pytest.mark.parametrize("version", [1, 2])
def test_what_is_built_is_read(version: int) -> None:
    data = build_proxy_header(version, "203.0.113.7", 4711, "::1", 65535)
    size, header = read(data)
    assert size == len(data)
    assert (header.source, header.source_port, header.destination, header.destination_port) == (
        "203.0.113.7",
        4711,
        "::1",
        65535,
    )
