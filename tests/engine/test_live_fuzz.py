"""Hostile peers, made up by the fuzzer, for a moment each; and proof that harm they do would be seen."""

import random

import pytest

from fuzz.fuzzer import fuzz
from fuzz.http2_live import Clients, judged
from fuzz.http2_script import frame, frames_of, steps
from fuzz.live_targets import LIVE, live_target


@pytest.mark.parametrize("name", LIVE)
def test_nothing_is_found(name: str) -> None:
    with live_target(name) as target:
        outcome = fuzz(target, seconds=2, seed=20_260_101)
    assert outcome.finding is None
    assert outcome.outcomes > 10


def test_a_connection_that_is_given_up_is_read_no_further() -> None:
    """What follows a flood: a frame whose length is wrong made libnghttp2 end the process (CVE-2026-27135)."""
    floods = (
        b"*3000 PING 0 0 n8\n>5 HEADERS 5 1 get\nDATA 0 1 x\n>3 PING 0 0 n3",
        b"*2000 SETTINGS 0 0 \n>7 SETTINGS 0 0 n7",
        b"HEADERS 4 1 socket\nwait\n*2000 DATA 0 1 \n>2 RST 0 1 n2\n>3 WINDOW 0 1 n3",
    )
    with live_target("http2-clients") as target:
        for script in floods:
            assert "G11" in target.check(script, random.Random(1))


def test_a_refused_request_right_behind_one_that_came_in_pieces() -> None:
    """What was kept of the first is counted once, also when the second ends the connection within the same read."""
    pieces = b"go\nsay GET /mock HTTP/1.1\ngo\nsay x0d0a,Host: a.test\ngo\nsay x0d0a0d0a,BAD,x0d0a0d0a\ngo\ngo"
    with live_target("tls") as target:
        for _ in range(20):
            assert "200" in target.check(pieces, random.Random(1))


def test_what_follows_a_broken_websocket_frame_is_not_parsed() -> None:
    script = b"HEADERS 4 1 looked\nwait\nDATA 0 1 xff8000000000\nwait\n*40 DATA 0 1 xffffffffffffffffffff\nwait"
    with live_target("http2-clients") as target:
        for _ in range(20):
            assert target.check(script, random.Random(1))


def test_frames_are_written_as_their_lines_say() -> None:
    (first, last) = steps(b"HEADERS 5 1 200\nwait\n*2 DATA 1 3 hello,n2\n>9 77 255 5 xff\nraw u1")
    assert first.then == "wait"
    assert [one[:3] for one in frames_of(first.data)] == [(1, 5, 1)]
    assert frames_of(last.data)[:2] == [(0, 1, 3, b"hello\0\0")] * 2
    assert last.data.endswith(b"\0\0\x09\x4d\xff\0\0\0\x05\xff\0\0\0\x01")


@pytest.mark.parametrize(
    "harm",
    [
        frame(0, 0, 1, b"x"),
        frame(1, 5, 2, b"\x88"),
        frame(1, 5, 1, b"\x88") + frame(0, 0, 1, b"x"),
        frame(1, 1, 1, b"\x88") + frame(6, 0, 0, bytes(8)),
        frame(5, 4, 1, b""),
        frame(6, 0, 0, bytes(16385)),
    ],
)
def test_what_is_no_http2_is_seen(harm: bytes) -> None:
    with pytest.raises(AssertionError):
        judged(harm, True)


def test_what_an_input_leaves_behind_is_seen() -> None:
    player = Clients()
    try:
        player.live.faults.append("an error")
        with pytest.raises(AssertionError, match="an error"):
            player.check(b"HEADERS 5 1 get", random.Random(1))
    finally:
        player.close()
