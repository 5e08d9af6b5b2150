"""WebSocket frames: bytes in, heads and payload out; every rule of RFC 6455 that a frame can break."""

import random
import struct

import pytest

from bascule.wire.websocket import FrameReader, build_frame, close_fault, is_utf8, masked

MASK = b"\x37\xfa\x21\x3d"
Frame = tuple[int, bool, bytes]


def read(data: bytes, *, client: bool = False, extended: bool = False, pieces: int = 0) -> tuple[list[Frame], int]:
    """(opcode, fin, payload) of the frames that are whole, and the error."""
    reader = FrameReader(client, extended)
    found: list[Frame] = []
    payload = b""
    parts = [data[i : i + pieces] for i in range(0, len(data), pieces)] if pieces else [data]
    for part in parts:
        while part:
            used, off, size = reader.step(part)
            if used < 0:
                return found, reader.error
            opcode, fin, _, total, left, mask = reader.frame
            if reader.event == 2:
                run = part[off : off + size]
                payload += masked(run, mask, total - left - size) if client else run
            if reader.event and left == 0:
                found.append((opcode, fin, payload))
                payload = b""
            part = part[used:]
    return found, 0


@pytest.mark.parametrize("size", [0, 1, 7, 125, 126, 127, 65535, 65536, 100_001])
@pytest.mark.parametrize("client", [True, False])
def test_frames_of_every_size(size: int, client: bool) -> None:
    data = random.Random(size).randbytes(size)
    frame = build_frame(2, data, MASK if client else None)
    assert read(frame * 3, client=client) == ([(2, True, data)] * 3, 0)
    assert read(frame, client=client, pieces=7) == ([(2, True, data)], 0)


def test_the_examples_of_the_standard() -> None:
    # RFC 6455, section 5.7
    hello = bytes.fromhex("818537fa213d7f9f4d5158")
    assert build_frame(1, b"Hello", MASK) == hello
    assert read(hello, client=True) == ([(1, True, b"Hello")], 0)
    assert read(bytes.fromhex("010348656c80026c6f")) == ([(1, False, b"Hel"), (0, True, b"lo")], 0)
    assert build_frame(2, bytes(256))[:4] == bytes.fromhex("827e0100")
    assert build_frame(2, bytes(65536))[:10] == bytes.fromhex("827f0000000000010000")


def test_control_frames_between_fragments() -> None:
    data = build_frame(1, b"a", fin=False) + build_frame(9, b"p") + build_frame(0, b"b", fin=False)
    data += build_frame(10, b"") + build_frame(0, b"") + build_frame(8, struct.pack(">H", 1000))
    for pieces in (0, 1, 2, 3):
        frames, error = read(data, pieces=pieces)
        assert error == 0
        assert [(opcode, fin) for opcode, fin, _ in frames] == [
            (1, False),
            (9, True),
            (0, False),
            (10, True),
            (0, True),
            (8, True),
        ]


BROKEN = {
    "an opcode that is reserved": b"\x83\x00",
    "a control opcode that is reserved": b"\x8b\x00",
    "a reserved bit": b"\xc1\x00",
    "the last reserved bit": b"\x91\x00",
    "a fragmented ping": b"\x09\x00",
    "a long ping": b"\x89\x7e\x00\x7e",
    "a continuation of nothing": b"\x80\x00",
    "a message in a message": b"\x01\x00\x01\x00",
    "a continuation after the end": b"\x01\x00\x80\x00\x80\x00",
    "a mask": b"\x81\x80",
    "a length of two bytes that fits in one": b"\x82\x7e\x00\x7d",
    "a length of eight bytes that fits in two": b"\x82\x7f" + (65535).to_bytes(8, "big"),
    "a length with its highest bit": b"\x82\x7f" + (1 << 63).to_bytes(8, "big"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_breaks_the_rules(what: str) -> None:
    for pieces in (0, 1):
        assert read(BROKEN[what], pieces=pieces)[1] == 1002


def test_a_client_masks() -> None:
    assert read(build_frame(1, b"x"), client=True)[1] == 1002
    assert read(build_frame(1, b"x", MASK), client=True)[1] == 0


def test_reserved_bits_are_an_extensions() -> None:
    assert read(b"\xc1\x00\xa2\x00", extended=True)[1] == 0
    assert read(b"\xc9\x00", extended=True)[1] == 1002  # none may stand on control frames


def test_the_longest_frame_that_can_be_told() -> None:
    reader = FrameReader()
    size = (1 << 63) - 1
    assert reader.step(b"\x82\x7f" + size.to_bytes(8, "big"))[0] == 10
    assert reader.frame[3:5] == (size, size)


def test_masking_from_any_offset() -> None:
    data = random.Random(1).randbytes(100)
    whole = masked(data, MASK)
    assert whole == bytes(byte ^ MASK[i % 4] for i, byte in enumerate(data))
    for cut in range(100):
        assert masked(data[:cut], MASK) + masked(data[cut:], MASK, cut) == whole


TEXTS = [
    "",
    "plain",
    "\u00e9",
    "\u20ac" * 3,
    "\U0001f600",
    "\ud7ff\ue000",
    "\U0010ffff",
    "\x7f\u0080\u07ff\u0800\uffff",
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_in_pieces(text: str) -> None:
    data = text.encode()
    assert is_utf8([data])
    assert is_utf8([data[i : i + 1] for i in range(len(data))])
    for cut in range(1, len(data[-4:])):
        whole = data[: len(data) - cut]
        assert is_utf8([whole]) == (whole.decode("utf-8", "replace").encode() == whole)


@pytest.mark.parametrize(
    "text",
    [
        "80",
        "c080",
        "c1bf",
        "e09fbf",
        "eda080",
        "f08fbfbf",
        "f4908080",
        "f5808080",
        "ff",
        "c3",
        "e282",
        "e228a1",
        "61c3a9a9",
    ],
)
def test_what_is_no_text(text: str) -> None:
    data = bytes.fromhex(text)
    assert not is_utf8([data])
    assert not is_utf8([data[i : i + 1] for i in range(len(data))])


def test_close_frames() -> None:
    assert close_fault(b"") == 0
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999):
        assert close_fault(struct.pack(">H", code) + b"why") == 0
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535):
        assert close_fault(struct.pack(">H", code)) == 1002
    assert close_fault(b"\x03") == 1002
    assert close_fault(b"\x03\xe8\xff") == 1007
    assert close_fault(b"\x03\xe8\xc3") == 1007
