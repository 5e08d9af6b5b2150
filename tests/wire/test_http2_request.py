"""Fields of HTTP/2 requests to heads of HTTP/1.1: what is written, and what must never be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule.wire.http1 import parse_request_bytes
from bascule.wire.http2_request import RequestFields

GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/a?b"), (b":authority", b"a.example:80")]
LINES = b"GET /a?b HTTP/1.1\r\nhost: a.example:80\r\n"
MALFORMED = -1


def assemble(
    *fields: tuple[bytes, bytes], has_body: bool = False, extended: bool = False, **limits: int
) -> bytes | int:
    return RequestFields().assemble(list(fields), has_body, extended=extended, **limits)


def having(name: bytes, value: bytes) -> list[tuple[bytes, bytes]]:
    """GET with another value of a pseudo-header field."""
    return [(key, value if key == name else old) for key, old in GET]


def test_the_head() -> None:
    assert repr(RequestFields()) == "<RequestFields size=0 listed=0 verdict=0>"
    assert assemble(*GET) == LINES + b"\r\n"
    assert assemble(*GET, (b"x", b"1"), (b"accept", b"*/*")) == LINES + b"x: 1\r\naccept: */*\r\n\r\n"
    assert assemble(*reversed(GET)) == LINES + b"\r\n"
    assert assemble(*GET[:3], (b"host", b"b")) == b"GET /a?b HTTP/1.1\r\nhost: b\r\n\r\n"


def test_one_object_serves_one_request_after_the_other() -> None:
    fields = RequestFields()
    for _ in range(3):
        assert fields.assemble([*GET, (b"cookie", b"a"), (b"x", b"1" * 2000)], True) != 0
        assert fields.assemble([*GET, (b"bad name", b"")]) == MALFORMED
        assert fields.assemble(GET) == LINES + b"\r\n"


def test_framing_of_the_body() -> None:
    length = (b"content-length", b"5")
    assert assemble(*GET, has_body=True) == LINES + b"transfer-encoding: chunked\r\n\r\n"
    assert assemble(*GET, length, has_body=True) == LINES + b"content-length: 5\r\n\r\n"
    for method, says in ((b"POST", True), (b"PUT", True), (b"PATCH", True), (b"DELETE", False), (b"GET", False)):
        head = assemble(*having(b":method", method))
        assert isinstance(head, bytes)
        assert (b"content-length: 0\r\n" in head) is says


def test_cookies_are_one_field() -> None:
    assert assemble(*GET, (b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2")) == (
        LINES + b"x: y\r\ncookie: a=1; b=2\r\n\r\n"
    )


def test_host_says_what_authority_says() -> None:
    assert assemble(*GET, (b"host", b"A.EXAMPLE:80")) == LINES + b"\r\n"
    for other in (b"a.example", b"b.example:80", b""):
        assert assemble(*GET, (b"host", other)) == -400


def test_connect_names_an_authority() -> None:
    fields = ((b":method", b"CONNECT"), (b":authority", b"a:443"))
    assert assemble(*fields) == b"CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n"
    assert assemble((b":method", b"CONNECT"), (b":path", b"/")) == -400


@pytest.mark.parametrize("name", [b":method", b":path"])
def test_without_what_a_request_needs(name: bytes) -> None:
    fields = [pair for pair in GET if pair[0] != name]
    assert assemble(*fields) == -400
    assert assemble(*fields, (b"x", b"1")) == -400


@pytest.mark.parametrize(
    "fields",
    [
        having(b":path", b"/ HTTP/1.1\r\nX: 1"),
        having(b":path", b"/a b"),
        having(b":path", b"/\0"),
        having(b":path", b"/\x7f"),
        having(b":path", b"/\xc3\xa4"),
        having(b":path", b"http://b.example/"),
        having(b":path", b"a"),
        having(b":path", b"**"),
        having(b":path", b""),
        having(b":method", b"GET / HTTP/1.1\r\n\r\nGET"),
        having(b":method", b""),
        having(b":authority", b"a\r\nX: 1"),
        having(b":authority", b"a\n"),
        having(b":authority", b""),
        [*GET, (b":path", b"/b")],
        [*GET, (b"x", b"1"), (b":path", b"/b")],
        [*GET[:3], (b"x", b"1"), GET[3]],
        [*GET, (b":status", b"200")],
        [*GET, (b":protocol", b"websocket")],
        [*GET, (b":", b"")],
        [*GET, (b"", b"")],
        [*GET, (b"X", b"1")],
        [*GET, (b"x y", b"1")],
        [*GET, (b"x:", b"1")],
        [*GET, (b"x\r\ny", b"1")],
        [*GET, (b"x\0", b"1")],
        [*GET, (b"\xe4", b"1")],
        [*GET, (b"x", b"1\r\ny: 2")],
        [*GET, (b"x", b"1\n")],
        [*GET, (b"x", b"\0")],
        [*GET, (b"cookie", b"a\r\nb: c")],
        [*GET, (b"connection", b"close")],
        [*GET, (b"keep-alive", b"1")],
        [*GET, (b"proxy-connection", b"close")],
        [*GET, (b"transfer-encoding", b"chunked")],
        [*GET, (b"upgrade", b"h2c")],
        [*GET, (b"http2-settings", b"AAA")],
        [*GET, (b"te", b"gzip")],
    ],
)
def test_malformed(fields: list[tuple[bytes, bytes]]) -> None:
    assert assemble(*fields) == MALFORMED


def test_te_may_say_trailers() -> None:
    assert assemble(*GET, (b"te", b"trailers")) == LINES + b"te: trailers\r\n\r\n"


def test_limits() -> None:
    assert assemble(*having(b":path", b"/" + b"a" * 100), max_line=100) == -414
    assert isinstance(assemble(*having(b":path", b"/" + b"a" * 99), max_line=100), bytes)
    many = [(b"x", b"1")] * 31
    assert assemble(*GET, *many, max_head=1000) == -431
    assert assemble(*GET, *many * 100, max_head=1000) == -2
    assert isinstance(assemble(*GET, *many[:20], max_head=1000), bytes)


TEXT = st.one_of(
    st.binary(max_size=12), st.sampled_from([*(value for pair in GET for value in pair), b"host", b"\r\n", b"a", b"*"])
)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=6), st.booleans(), st.booleans())
def test_what_is_written_is_one_head_with_these_fields(
    fields: list[tuple[bytes, bytes]], has_body: bool, whole: bool
) -> None:
    """Whatever the fields say: no line but those, and nothing behind the head."""
    given = [*GET, *fields] if whole else fields
    head = RequestFields().assemble(given, has_body)
    if isinstance(head, int):
        return
    assert head.endswith(b"\r\n\r\n")
    assert head.count(b"\r\n\r\n") == 1
    lines = head[:-4].split(b"\r\n")
    names = {name for name, _ in given if not name.startswith(b":")} | {
        b"host",
        b"transfer-encoding",
        b"content-length",
    }
    assert all(line.partition(b": ")[0] in names for line in lines[1:])
    parsed = parse_request_bytes(head)
    assert parsed != 0
    if not isinstance(parsed, int):
        assert parsed["head_len"] == len(head)


def test_an_extended_connect_is_an_upgrade() -> None:
    connect = [*having(b":method", b"CONNECT"), (b":protocol", b"websocket")]
    wanted = LINES + b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    assert assemble(*connect, extended=True) == wanted
    assert assemble(*connect, has_body=True, extended=True) == wanted
    assert assemble(*connect, (b"sec-websocket-key", b"mine"), extended=True) == wanted
    assert assemble(*connect) == MALFORMED  # where it isn't served
    assert assemble(*connect[:-1], (b":protocol", b"connect-udp"), extended=True) == -501
    assert assemble(*GET, (b":protocol", b"websocket"), extended=True) == -400
    assert assemble(*connect, (b"content-length", b"0"), extended=True) == -400
    for missing in range(1, 4):
        assert assemble(*connect[:missing], *connect[missing + 1 :], extended=True) in (-400, MALFORMED)
    assert assemble(*connect, (b"x", b"1"), (b":protocol", b"websocket"), extended=True) == MALFORMED
