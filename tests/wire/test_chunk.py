"""The chunk scanner: scripts of bytes, cut at every place, against payloads and against the reference decoder."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule.wire.chunk import ChunkScanner, trailer_fields
from fuzz import reference
from fuzz.targets import run_chunks

GOOD = {
    b"0\r\n\r\n": b"",
    b"5\r\nhello\r\n0\r\n\r\n": b"hello",
    b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n": b"0123456789" * 2,
    b"1\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n": b"\r\n",
    b"000\r\n\r\n": b"",
    b"000000000000005\r\nhello\r\n0\r\n\r\n": b"hello",
    b"1;a\r\nx\r\n0;b=c\r\n\r\n": b"x",
    b'1;a="q;\\"\\\\ \t\xff"\r\nx\r\n0\r\n\r\n': b"x",
    b"1;a;b=c;d\r\nx\r\n0\r\n\r\n": b"x",
    b"1;" + b"a" * 252 + b"\r\nx\r\n0\r\n\r\n": b"x",
    b"0\r\nX-Sum: 1\r\nserver-timing:\r\nGrpc-Status: 0 \t\xff\r\n\r\n": b"",
    b"0\r\nHosts: a\r\nX-Forwarded-: b\r\nX-Forwarded: c\r\nTransfer-Encodings: d\r\n\r\n": b"",
    b"0\r\nX: " + b"a" * 8185 + b"\r\n\r\n": b"",
}

MALFORMED = {
    "no size": b"\r\n",
    "no size, only an extension": b";a\r\n",
    "minus": b"-1\r\n",
    "plus": b"+1\r\n",
    "0x": b"0x1\r\n",
    "no digit": b"g\r\n",
    "blank before the size": b" 1\r\n",
    "blank behind the size": b"1 \r\n",
    "tab behind the size": b"1\t\r\n",
    "NUL in the size": b"1\0\r\n",
    "underscore in the size": b"1_0\r\n",
    "16 digits": b"0000000000000005\r\n",
    "2**64 + 5": b"10000000000000005\r\n",
    "bare LF behind the size": b"1\nx\r\n",
    "bare CR behind the size": b"1\rx",
    "two CRs": b"1\r\r\n",
    "blank before an extension": b"1 ;a\r\n",
    "blank behind the semicolon": b"1; a\r\n",
    "blank around the equals sign": b"1;a =b\r\n",
    "empty extension": b"1;\r\n",
    "empty extension in a row": b"1;;a\r\n",
    "empty extension value": b"1;a=\r\n",
    "extension value is no token": b"1;a=[\r\n",
    "bare LF in an extension": b"1;a\nx\r\n",
    "bare CR in an extension": b"1;a\rb\r\n",
    "LF in a quoted value": b'1;a="\n"\r\n',
    "CRLF in a quoted value": b'1;a="\r\n"\r\n',
    "CR escaped in a quoted value": b'1;a="\\\r"\r\n',
    "NUL in a quoted value": b'1;a="\0"\r\n',
    "text behind a quoted value": b'1;a="b"c\r\n',
    "long extension": b"1;" + b"a" * 253 + b"\r\n",
    "data longer than its size": b"1\r\nxy\r\n",
    "data without CRLF": b"1\r\nx0\r\n\r\n",
    "data with LF only": b"1\r\nx\n0\r\n\r\n",
    "data with CR only": b"1\r\nx\r0\r\n\r\n",
    "trailer without a colon": b"0\r\nX\r\n\r\n",
    "trailer without a name": b"0\r\n: a\r\n\r\n",
    "blank before the colon of a trailer": b"0\r\nX : a\r\n\r\n",
    "continued trailer": b"0\r\nX: a\r\n b\r\n\r\n",
    "first trailer indented": b"0\r\n X: a\r\n\r\n",
    "bare LF in a trailer": b"0\r\nX: a\n\r\n",
    "bare CR in a trailer": b"0\r\nX: a\rb\r\n\r\n",
    "NUL in a trailer": b"0\r\nX: \0\r\n\r\n",
    "LF for the last CRLF": b"0\r\n\n",
    "CR for the last CRLF": b"0\r\n\rX",
    "request for trailers": b"0\r\nGET / HTTP/1.1\r\n\r\n",
    "long trailers": b"0\r\nX: " + b"a" * 8186 + b"\r\n\r\n",
}


@pytest.mark.parametrize("data", GOOD)
def test_payload_and_length(data: bytes) -> None:
    assert run_chunks([data + b"GET "], step=True) == (GOOD[data], len(data), True)
    scanner = ChunkScanner()
    assert scanner.scan(data + b"GET ") == len(data)
    assert scanner.done
    assert scanner.scan(b"more") == 0
    assert scanner.step(b"more") == (0, 0, 0)


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name: str) -> None:
    assert run_chunks([MALFORMED[name]], step=True)[0] is None
    assert run_chunks([MALFORMED[name]], step=False)[0] is None


@pytest.mark.parametrize("name", sorted(reference.NOT_IN_TRAILERS | {b"x-forwarded-for", b"x-forwarded-anything"}))
def test_trailers_that_must_not_come(name: bytes) -> None:
    for spelt in (name, name.upper(), name.title()):
        assert ChunkScanner().scan(b"0\r\nX: 1\r\n" + spelt + b": 1\r\n\r\n") == -1


@pytest.mark.parametrize("data", [data for data in [*GOOD, *MALFORMED.values()] if len(data) < 500])
@pytest.mark.parametrize("step", [True, False])
def test_cuts_change_nothing(data: bytes, step: bool) -> None:
    whole = run_chunks([data], step)
    bytewise = run_chunks([data[at : at + 1] for at in range(len(data))], step)
    assert (bytewise[0], bytewise[2]) == (whole[0], whole[2])
    for cut in range(len(data)):
        pieces = run_chunks([data[:cut], data[cut:]], step)
        assert (pieces[0], pieces[2]) == (whole[0], whole[2]), cut


def test_runs_of_data_come_one_by_one() -> None:
    scanner = ChunkScanner()
    assert repr(scanner) == "<ChunkScanner state=0 left=0>"
    data = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nX"
    assert scanner.step(data) == (6, 3, 3)
    assert scanner.step(data[6:]) == (7, 5, 2)
    assert scanner.step(data[13:])[0] == 7
    assert scanner.done


def test_fields_of_a_trailer_section() -> None:
    assert trailer_fields(b"X-Sum: 42\t\r\ngrpc-Status:0\r\nX:\r\n\r\n") == [
        (b"x-sum", b"42"),
        (b"grpc-status", b"0"),
        (b"x", b""),
    ]
    assert trailer_fields(b"\r\n") == []


def test_huge_chunks_are_skipped_not_looked_at() -> None:
    scanner = ChunkScanner()
    assert scanner.scan(b"fffffffffffffff\r\n") == 17
    assert scanner.scan(b"\0\r\n" * 100) == 300
    assert repr(scanner) == f"<ChunkScanner state=11 left={0xFFFFFFFFFFFFFFF - 300}>"


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.sampled_from([b"", b";a", b';a="b;c"']),
    st.lists(st.integers(0, 300), max_size=5),
)
def test_what_was_encoded_is_decoded(parts: list[bytes], extension: bytes, cuts: list[int]) -> None:
    data = b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts) + b"0\r\nX: y\r\n\r\n"
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(places)]
    assert run_chunks(pieces, step=True) == (b"".join(parts), len(data), True)
    assert run_chunks(pieces, step=False)[1:] == (len(data), True)


@given(st.binary(max_size=60), st.sampled_from([b"", b"0\r\n", b"1;", b"0\r\nX: "]))
def test_arbitrary_bytes_have_the_reference_verdict(data: bytes, start: bytes) -> None:
    data = start + data
    payload, consumed, done = run_chunks([data], step=True)
    try:
        assert reference.decode_chunks(data) == (payload, consumed)
    except reference.Refused:
        assert payload is None
    except reference.Incomplete:
        assert not done
