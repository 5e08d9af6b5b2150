import gzip
import zlib

import pytest

from bascule.plugin.kit.grpc_frames import COMPRESSED, FrameError, Frames, check_frames, frame


def test_a_frame():
    assert frame(b"ab") == b"\0\0\0\0\x02ab"
    assert frame(b"", 0x80) == b"\x80\0\0\0\0"


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_messages_come_once_they_are_whole(step):
    body = frame(b"one") + frame(b"") + frame(b"x" * 300)
    frames = Frames(1000)
    found = [message for at in range(0, len(body), step) for message in frames.feed(body[at : at + step])]
    assert found == [b"one", b"", b"x" * 300]
    frames.end()


@pytest.mark.parametrize("cut", [1, 4, 6])
def test_a_body_that_ends_within_a_message(cut):
    frames = Frames(1000)
    assert frames.feed(frame(b"one") + frame(b"two")[:cut]) == [b"one"]
    with pytest.raises(FrameError, match=rf"within a message, {cut} bytes"):
        frames.end()


@pytest.mark.parametrize("first", [b"\x02", b"\x80", b"<html>"])
def test_what_is_no_message(first):
    with pytest.raises(FrameError, match=f"begins with 0x{first[0]:02x}"):
        Frames(1 << 40).feed(first + b"\0\0\0\0")


def test_a_message_that_is_too_large_is_refused_by_its_head():
    assert Frames(10).feed(frame(b"x" * 10)) == [b"x" * 10]
    with pytest.raises(FrameError, match="11 bytes is larger than 10"):
        Frames(10).feed(frame(b"x" * 11)[:5])


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), (" Deflate", zlib.compress)])
def test_compressed_messages(encoding, pack):
    frames = Frames(1000, encoding)
    assert frames.feed(frame(pack(b"one"), COMPRESSED) + frame(b"two")) == [b"one", b"two"]


@pytest.mark.parametrize(
    ("encoding", "data", "told"),
    [
        (None, gzip.compress(b"x", mtime=0), "grpc-encoding is 'identity'"),
        ("snappy", b"x", "grpc-encoding is 'snappy'"),
        ("gzip", b"not gzip", "can't be read"),
        ("gzip", gzip.compress(b"x" * 100, mtime=0)[:-9], "cut short"),
        ("gzip", gzip.compress(b"x" * 1001, mtime=0), "larger than 1000"),
        ("gzip", gzip.compress(b"x" * 10_000_000, mtime=0)[:1000], "larger than 1000"),
    ],
)
def test_compressed_messages_that_are_none(encoding, data, told):
    with pytest.raises(FrameError, match=told):
        Frames(1000, encoding).feed(frame(data, COMPRESSED))


def test_whole_messages():
    check_frames(b"")
    check_frames(frame(b"one") + frame(b"", COMPRESSED))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (frame(b"one") + b"\0\0", "2 bytes after"),
        (frame(b"one")[:-1], "7 bytes after"),
        (b"\0\xff\xff\xff\xff", "5 bytes after"),
        (frame(b"one") + frame(b"", 0x80), "begins with 0x80"),
    ],
)
def test_what_is_not_whole(body, told):
    with pytest.raises(FrameError, match=told):
        check_frames(body)
