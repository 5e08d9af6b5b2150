"""Scripts of bytes in, fields or a refusal out. The tables hold the tricks that the parser has to see through."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bascule.wire.http1 import parse_repeatedly, parse_request_bytes, parse_response_bytes
from fuzz import reference

DROP = 1
FORWARDED = 2


def request(*lines: bytes, first: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: a.example") -> bytes:
    """A head with these field lines behind Host."""
    return b"\r\n".join([first, *([host] if host else []), *lines, b"", b""])


def response(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([first, *lines, b"", b""])


def good(data: bytes, **limits: int) -> dict[str, Any]:
    parsed = parse_request_bytes(data, **limits)
    assert isinstance(parsed, dict), parsed
    return parsed


def good_response(data: bytes) -> dict[str, Any]:
    parsed = parse_response_bytes(data)
    assert isinstance(parsed, dict), parsed
    return parsed


def flags(parsed: dict[str, Any]) -> dict[bytes, int]:
    return {name.lower(): flag for name, _, flag in parsed["fields"]}


@pytest.mark.parametrize("length", [1, 3, 7, 8, 9, 15, 16, 17, 40])
def test_control_characters_are_seen_wherever_they_stand_in_a_value(length: int) -> None:
    for at in range(length):
        for byte in (1, 8, 9, 11, 31, 32, 126, 127, 128, 255):
            inner = bytearray(b"x" * length)
            inner[at] = byte
            data = request(b"A: -%b-" % bytes(inner))
            assert isinstance(parse_request_bytes(data), dict) == (byte in (9, 32, 126, 128, 255)), (at, byte)


def test_a_plain_request() -> None:
    data = b"GET /a/b?x=1&y HTTP/1.1\r\nHost: a.example:81\r\nAccept:  text/html \t\r\nX-Empty:\r\n\r\n"
    assert good(data + b"body") == {
        "method": b"GET",
        "method_id": 1,
        "target": b"/a/b?x=1&y",
        "path": b"/a/b",
        "query": b"x=1&y",
        "host": b"a.example:81",
        "minor": 1,
        "fields": [(b"Host", b"a.example:81", 0), (b"Accept", b"text/html", 0), (b"X-Empty", b"", 0)],
        "spans": [(25, 4, 31, 12, 45), (45, 6, 54, 9, 67), (67, 7, 75, 0, 77)],
        "first_line_end": 25,
        "head_len": len(data),
        "content_length": -1,
        "chunked": False,
        "close": False,
        "keep_alive": False,
        "upgrade": False,
        "te_trailers": False,
        "expect_continue": False,
        "xff": -1,
    }


def test_a_plain_response() -> None:
    parsed = good_response(b"HTTP/1.1 404 Not \xe9\tFound\r\nContent-Length: 12\r\n\r\n")
    assert parsed["status"] == 404
    assert parsed["reason"] == b"Not \xe9\tFound"
    assert parsed["content_length"] == 12
    assert parsed["fields"] == [(b"Content-Length", b"12", 0)]


@pytest.mark.parametrize(("name", "number"), [(name, n) for n, name in enumerate(reference.METHODS) if name])
def test_methods_have_the_routers_ids(name: bytes, number: int) -> None:
    target = b"a.example:1" if name == b"CONNECT" else b"/"
    host = b"Host: " + (target if name == b"CONNECT" else b"a")
    assert good(request(first=name + b" " + target + b" HTTP/1.1", host=host))["method_id"] == number


@pytest.mark.parametrize("name", [b"get", b"GETX", b"M-SEARCH", b"a", b"!#$%&'*+-.^_`|~", b"X" * 300])
def test_other_methods_are_tokens_with_their_length(name: bytes) -> None:
    parsed = good(request(first=name + b" / HTTP/1.1"))
    assert (parsed["method_id"], parsed["method"]) == (0, name)


REFUSED_FIRST_LINES = {
    "lower-case version": (b"GET / http/1.1", 400),
    "no version": (b"GET /", 400),
    "no target": (b"GET HTTP/1.1", 400),
    "empty target": (b"GET  HTTP/1.1", 400),
    "two blanks before the target": (b"GET  / HTTP/1.1", 400),
    "two blanks behind the target": (b"GET /  HTTP/1.1", 400),
    "tab for a blank": (b"GET\t/ HTTP/1.1", 400),
    "blank at the start": (b" GET / HTTP/1.1", 400),
    "blank at the end": (b"GET / HTTP/1.1 ", 400),
    "no method": (b"/ HTTP/1.1", 400),
    "method is no token": (b"G@T / HTTP/1.1", 400),
    "method with a colon": (b"GET: / HTTP/1.1", 400),
    "method with a NUL": (b"GE\0T / HTTP/1.1", 400),
    "method of UTF-8": (b"G\xc3\x89T / HTTP/1.1", 400),
    "HTTP/2 preface": (b"PRI * HTTP/2.0", 505),
    "HTTP/1.2": (b"GET / HTTP/1.2", 505),
    "HTTP/0.9": (b"GET / HTTP/0.9", 505),
    "HTTP/3.0": (b"GET / HTTP/3.0", 505),
    "two-digit minor": (b"GET / HTTP/1.10", 400),
    "two-digit major": (b"GET / HTTP/11.1", 400),
    "no minor": (b"GET / HTTP/1", 400),
    "letters for digits": (b"GET / HTTP/1.x", 400),
    "another protocol": (b"GET / RTSP/1.0", 400),
    "blank inside the target": (b"GET /a b HTTP/1.1", 400),
    "second version inside": (b"GET / HTTP/1.1 HTTP/1.1", 400),
    "tab inside the target": (b"GET /a\tb HTTP/1.1", 400),
    "NUL inside the target": (b"GET /a\0b HTTP/1.1", 400),
    "CR inside the target": (b"GET /a\rb HTTP/1.1", 400),
    "DEL inside the target": (b"GET /a\x7fb HTTP/1.1", 400),
    "UTF-8 inside the target": (b"GET /\xc3\xa9 HTTP/1.1", 400),
    "fragment": (b"GET /a#b HTTP/1.1", 400),
    "no leading slash": (b"GET a HTTP/1.1", 400),
    "query only": (b"GET ?a HTTP/1.1", 400),
    "asterisk without OPTIONS": (b"GET * HTTP/1.1", 400),
    "more than an asterisk": (b"OPTIONS */a HTTP/1.1", 400),
    "authority-form without CONNECT": (b"GET a.example:80 HTTP/1.1", 400),
    "unknown scheme": (b"GET ftp://a.example/ HTTP/1.1", 400),
    "scheme without authority": (b"GET http:///a HTTP/1.1", 400),
    "scheme only": (b"GET http:// HTTP/1.1", 400),
    "one slash": (b"GET http:/a.example/ HTTP/1.1", 400),
    "userinfo": (b"GET http://u@a.example/ HTTP/1.1", 400),
    "userinfo with a password": (b"GET http://u:p@a.example/ HTTP/1.1", 400),
    "backslash in the authority": (b"GET http://a.example\\@b/ HTTP/1.1", 400),
    "other authority than Host": (b"GET http://b.example/ HTTP/1.1", 400),
    "other port than Host": (b"GET http://a.example:80/ HTTP/1.1", 400),
    "CONNECT to a path": (b"CONNECT / HTTP/1.1", 400),
    "CONNECT without a port": (b"CONNECT a.example HTTP/1.1", 400),
    "CONNECT elsewhere": (b"CONNECT b.example:443 HTTP/1.1", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
}


@pytest.mark.parametrize("name", REFUSED_FIRST_LINES)
def test_refused_request_lines(name: str) -> None:
    line, status = REFUSED_FIRST_LINES[name]
    assert parse_request_bytes(request(first=line)) == -status


@pytest.mark.parametrize("first_bytes", [b"\x16", b"\0", b"\r\n", b"\n", b" ", b"\x80", b"(", b'"'])
def test_what_is_no_http_is_refused_at_its_first_byte(first_bytes: bytes) -> None:
    assert parse_request_bytes(first_bytes) == -400


@pytest.mark.parametrize(
    ("line", "host", "path", "query", "target_host"),
    [
        (b"GET http://a.example/x/y?q HTTP/1.1", b"a.example", b"/x/y", b"q", b"a.example"),
        (b"GET HTTP://A.Example:81/x HTTP/1.1", b"a.eXAMPLE:81", b"/x", None, b"A.Example:81"),
        (b"GET https://a.example HTTP/1.1", b"a.example", b"", None, b"a.example"),
        (b"GET http://a.example?q=/ HTTP/1.1", b"a.example", b"", b"q=/", b"a.example"),
        (b"GET http://[::1]:81/ HTTP/1.1", b"[::1]:81", b"/", None, b"[::1]:81"),
        (b"GET http://a.example/ HTTP/1.0", b"", b"/", None, b"a.example"),
        (b"OPTIONS * HTTP/1.1", b"a.example", b"*", None, b"a.example"),
        (b"CONNECT a.example:443 HTTP/1.1", b"A.example:443", b"", None, b"a.example:443"),
        (b"GET /?? HTTP/1.1", b"a", b"/", b"?", b"a"),
        (b"GET /a? HTTP/1.1", b"a", b"/a", b"", b"a"),
        (b"GET //a//b HTTP/1.1", b"a", b"//a//b", None, b"a"),
        (b"GET /http://b/ HTTP/1.1", b"a", b"/http://b/", None, b"a"),
    ],
)
def test_forms_of_the_target(line: bytes, host: bytes, path: bytes, query: bytes | None, target_host: bytes) -> None:
    parsed = good(request(first=line, host=b"Host: " + host if host else b""))
    assert (parsed["path"], parsed["query"], parsed["host"]) == (path, query, target_host)


REFUSED_HEADS = {
    # framing
    "length and coding": (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "coding and length": (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    "two different lengths": (b"Content-Length: 5", b"Content-Length: 6"),
    "two equal lengths": (b"Content-Length: 5", b"Content-Length: 5"),
    "a list of equal lengths": (b"Content-Length: 5, 5",),
    "a list with an empty element": (b"Content-Length: 5,",),
    "negative length": (b"Content-Length: -1",),
    "signed length": (b"Content-Length: +5",),
    "hexadecimal length": (b"Content-Length: 0x5",),
    "length with a fraction": (b"Content-Length: 5.0",),
    "length with an exponent": (b"Content-Length: 1e1",),
    "length with a digit separator": (b"Content-Length: 1_0",),
    "length with a blank inside": (b"Content-Length: 1 0",),
    "length with a tab inside": (b"Content-Length: 1\t0",),
    "empty length": (b"Content-Length:",),
    "blank length": (b"Content-Length:  ",),
    "length of words": (b"Content-Length: abc",),
    "length with a vertical tab": (b"Content-Length: \x0b5",),
    "length with a no-break space": (b"Content-Length: \xa05",),
    "19 digits": (b"Content-Length: 1000000000000000000",),
    "2**64": (b"Content-Length: 18446744073709551616",),
    "other digits": ("Content-Length: \u0665".encode(),),
    "quoted length": (b'Content-Length: "5"',),
    "two codings": (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "a coding and identity": (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    "chunked twice in one": (b"Transfer-Encoding: chunked, chunked",),
    "identity": (b"Transfer-Encoding: identity",),
    "gzip": (b"Transfer-Encoding: gzip",),
    "gzip, then chunked": (b"Transfer-Encoding: gzip, chunked",),
    "chunked, then gzip": (b"Transfer-Encoding: chunked, gzip",),
    "chunked, then nothing": (b"Transfer-Encoding: chunked,",),
    "chunked with a parameter": (b"Transfer-Encoding: chunked;q=1",),
    "quoted chunked": (b'Transfer-Encoding: "chunked"',),
    "xchunked": (b"Transfer-Encoding: xchunked",),
    "chunked with a NUL": (b"Transfer-Encoding: chunked\0",),
    "chunked with a vertical tab": (b"Transfer-Encoding: \x0bchunked",),
    "chunked in the next line": (b"Transfer-Encoding:", b" chunked"),
    "empty coding": (b"Transfer-Encoding:",),
    # lines
    "continued line": (b"X-A: 1", b" 2"),
    "continued line with a tab": (b"X-A: 1", b"\t2"),
    "continued first field": (b" X-A: 1",),
    "blank before the colon": (b"X-A : 1",),
    "tab before the colon": (b"X-A\t: 1",),
    "blank before the colon of a length": (b"Content-Length : 5",),
    "blank before the colon of a coding": (b"Transfer-Encoding : chunked",),
    "no colon": (b"X-A",),
    "empty name": (b": 1",),
    "blank in the name": (b"X A: 1",),
    "NUL in the name": (b"X\0A: 1",),
    "CR in the name": (b"X\rA: 1",),
    "UTF-8 in the name": (b"X-\xc3\xa9: 1",),
    "quotes in the name": (b'"X": 1',),
    "bracket in the name": (b"X[0]: 1",),
    "NUL in a value": (b"X-A: a\0b",),
    "bare CR in a value": (b"X-A: a\rb",),
    "bare CR and a field": (b"X-A: a\rContent-Length: 5",),
    "CR at the end of a value": (b"X-A: a\r",),
    "bare LF in a value": (b"X-A: a\nX-B: b",),
    "bare LF, then an empty line": (b"X-A: a\n\nGET / HTTP/1.1",),
    "form feed in a value": (b"X-A: a\x0cb",),
    "escape in a value": (b"X-A: a\x1bb",),
    "DEL in a value": (b"X-A: a\x7fb",),
    # Host
    "two Hosts": (b"Host: a.example",),
    "two different Hosts": (b"hOST: b.example",),
}


@pytest.mark.parametrize("name", REFUSED_HEADS)
def test_refused_requests(name: str) -> None:
    assert parse_request_bytes(request(*REFUSED_HEADS[name])) == -400


@pytest.mark.parametrize("name", [name for name in REFUSED_HEADS if "Host" not in name])
def test_refused_responses(name: str) -> None:
    assert parse_response_bytes(response(*REFUSED_HEADS[name])) == -502


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\n", b"\n\r\n", b"\r\r\n\r\n", b"\r\n\r\r\n"])
def test_line_ends_other_than_crlf(end: bytes) -> None:
    assert parse_request_bytes(b"GET / HTTP/1.1\r\nHost: a" + end) == -400
    assert parse_response_bytes(b"HTTP/1.1 200 OK\r\nServer: a" + end) == -502
    assert parse_request_bytes(b"GET / HTTP/1.1" + end) == -400


HOSTS = {
    b"a": True,
    b"A.b-c_d~e.example": True,
    b"a.example.": True,
    b"127.0.0.1": True,
    b"a:1": True,
    b"a:65535": True,
    b"[::1]": True,
    b"[2001:DB8::1]:8080": True,
    b"[::ffff:1.2.3.4]": True,
    b"x" * 255: True,
    b"x" * 256: False,
    b"": False,
    b".": False,
    b".a": False,
    b"a..b": False,
    b"a b": False,
    b"a,b": False,
    b"a/b": False,
    b"a/../b": False,
    b"a?b": False,
    b"a#b": False,
    b"a@b": False,
    b"a%2eb": False,
    b"a\\b": False,
    b"a;b": False,
    b"a'b": False,
    b"<a>": False,
    "é.example".encode(): False,
    b"a:": False,
    b":80": False,
    b"a:0": False,
    b"a:65536": False,
    b"a:000080": False,
    b"a:-1": False,
    b"a:80a": False,
    b"a:80:80": False,
    b"::1": False,
    b"[::1": False,
    b"::1]": False,
    b"[]": False,
    b"[a]": False,
    b"[1:2]": False,
    b"[::1]a": False,
    b"[::1%eth0]": False,
    b"[v1.a]": False,
    b"[::1]]": False,
    b"[" + b":" * 60 + b"]": False,
}


@pytest.mark.parametrize("host", HOSTS)
def test_host_syntax(host: bytes) -> None:
    parsed = parse_request_bytes(request(host=b"Host: " + host))
    if HOSTS[host]:
        assert isinstance(parsed, dict)
        assert parsed["host"] == host
    else:
        assert parsed == -400
    absolute = parse_request_bytes(request(first=b"GET http://" + host + b"/ HTTP/1.1", host=b"Host: " + host))
    assert isinstance(absolute, dict) == HOSTS[host]


def test_host_is_required_from_http_1_1_on() -> None:
    assert parse_request_bytes(request(host=b"")) == -400
    assert parse_request_bytes(request(first=b"GET http://a.example/ HTTP/1.1", host=b"")) == -400
    assert good(request(first=b"GET / HTTP/1.0", host=b""))["host"] is None
    assert parse_request_bytes(request(first=b"GET / HTTP/1.0", host=b"Host:")) == -400


def test_coding_in_http_1_0_is_refused() -> None:
    assert parse_request_bytes(request(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.0")) == -400
    assert parse_response_bytes(response(b"Transfer-Encoding: chunked", first=b"HTTP/1.0 200 OK")) == -502


@pytest.mark.parametrize("value", [b"chunked", b"CHUNKED", b" Chunked\t"])
def test_chunked_in_any_case(value: bytes) -> None:
    parsed = good(request(b"transfer-ENCODING:" + value))
    assert parsed["chunked"]
    assert flags(parsed)[b"transfer-encoding"] == DROP
    assert good_response(response(b"Transfer-Encoding: " + value))["chunked"]


@pytest.mark.parametrize(("value", "number"), [(b"0", 0), (b"007", 7), (b"999999999999999999", 10**18 - 1)])
def test_content_length(value: bytes, number: int) -> None:
    parsed = good(request(b"Content-Length: " + value))
    assert parsed["content_length"] == number
    assert flags(parsed)[b"content-length"] == 0


@pytest.mark.parametrize(
    ("minor", "value", "close", "keep_alive"),
    [
        (1, None, False, False),
        (0, None, True, False),
        (1, b"close", True, False),
        (1, b"Close", True, False),
        (1, b"keep-alive", False, True),
        (0, b"Keep-Alive", False, True),
        (0, b"close", True, False),
        (1, b"keep-alive, close", True, True),
        (0, b"x, keep-alive", False, True),
        (1, b",, close ,", True, False),
        (1, b"closed", False, False),
        (1, b'"close"', False, False),
        (1, b"", False, False),
    ],
)
def test_persistence(minor: int, value: bytes | None, close: bool, keep_alive: bool) -> None:
    lines = [] if value is None else [b"Connection: " + value]
    for parsed in (
        good(request(*lines, first=b"GET / HTTP/1.%d" % minor)),
        good_response(response(*lines, first=b"HTTP/1.%d 200 OK" % minor)),
    ):
        assert (parsed["close"], parsed["keep_alive"]) == (close, keep_alive)


def test_hop_by_hop_fields_are_dropped() -> None:
    names = (b"Connection", b"Keep-Alive", b"Proxy-Connection", b"Proxy-Authorization", b"TE", b"Upgrade")
    lines = [name + b": x" for name in names]
    for parsed in (good(request(*lines, b"Trailer: X-Sum")), good_response(response(*lines, b"Trailer: X-Sum"))):
        assert {name for name, flag in flags(parsed).items() if flag == DROP} == {name.lower() for name in names}


def test_connection_names_fields_to_drop() -> None:
    parsed = good(
        request(b"X-A: 1", b"Connection: x-A , close,x_b", b"X_B: 2", b"X-a: 3", b"Connection: X-C", b"X-C: 4")
    )
    assert [(name, flag) for name, _, flag in parsed["fields"]] == [
        (b"Host", 0),
        (b"X-A", DROP),
        (b"Connection", DROP),
        (b"X_B", DROP),
        (b"X-a", DROP),
        (b"Connection", DROP),
        (b"X-C", DROP),
    ]
    assert parsed["close"]


@pytest.mark.parametrize("name", sorted(reference.END_TO_END - {b"host", b"content-length", b"expect"}))
def test_connection_cannot_strip_what_others_rely_on(name: bytes) -> None:
    parsed = good(request(name + b": 1", b"Connection: x-a, " + name.upper()))
    assert not flags(parsed)[name] & DROP


def test_connection_cannot_strip_framing_or_forwarding() -> None:
    parsed = good(
        request(b"Content-Length: 1", b"X-Forwarded-For: b", b"Connection: host, content-length, x-forwarded-for")
    )
    assert [flag for _, _, flag in parsed["fields"]] == [0, 0, FORWARDED, DROP]


def test_a_connection_field_with_too_many_names() -> None:
    assert isinstance(parse_request_bytes(request(b"Connection: " + b",".join([b"x"] * 32))), dict)
    assert parse_request_bytes(request(b"Connection: " + b",".join([b"x"] * 33))) == -431
    assert parse_request_bytes(request(*[b"Connection: x,close"] * 33)) == -431


def test_what_the_gateway_writes_itself() -> None:
    names = (
        b"X-Forwarded-For",
        b"X-Forwarded-Proto",
        b"X-Forwarded-Host",
        b"X-Forwarded-Port",
        b"X-Real-IP",
        b"Forwarded",
    )
    parsed = good(request(*[name + b": 1" for name in names], b"X-Forwarded-For: 2", b"X-Forwarded-Prefix: /a"))
    assert [flag for _, _, flag in parsed["fields"]] == [0, *[FORWARDED] * 7, 0]
    assert parsed["xff"] == 7
    assert not any(flag for _, _, flag in good_response(response(*[name + b": 1" for name in names]))["fields"])


@pytest.mark.parametrize(
    ("minor", "lines", "upgrade"),
    [
        (1, (b"Connection: Upgrade", b"Upgrade: websocket"), True),
        (1, (b"Upgrade: websocket", b"Connection: keep-alive, upgrade"), True),
        (1, (b"Upgrade: websocket",), False),
        (1, (b"Upgrade: websocket", b"Connection: keep-alive"), False),
        (1, (b"Connection: upgrade",), False),
        (0, (b"Connection: Upgrade", b"Upgrade: websocket"), False),
    ],
)
def test_upgrade(minor: int, lines: tuple[bytes, ...], upgrade: bool) -> None:
    assert good(request(*lines, first=b"GET / HTTP/1.%d" % minor))["upgrade"] == upgrade


@pytest.mark.parametrize(("value", "trailers"), [(b"trailers", True), (b"gzip, Trailers", True), (b"gzip", False)])
def test_te(value: bytes, trailers: bool) -> None:
    assert good(request(b"TE: " + value))["te_trailers"] == trailers


def test_expect() -> None:
    parsed = good(request(b"Expect: 100-Continue", b"Content-Length: 1"))
    assert parsed["expect_continue"]
    assert flags(parsed)[b"expect"] == 0
    old = good(request(b"Expect: 100-continue", first=b"POST / HTTP/1.0"))
    assert not old["expect_continue"]
    assert flags(old)[b"expect"] == DROP
    for value in (b"", b"100", b"100-continue, x", b"200-ok", b"\x11\x10\x10-continue"):
        assert parse_request_bytes(request(b"Expect: " + value)) in (-417, -400)
    assert isinstance(parse_response_bytes(response(b"Expect: x")), dict)


def test_limits_are_exact() -> None:
    data = request(b"X-A: 1", first=b"GET /aaaaaaa HTTP/1.1")
    line = len(b"GET /aaaaaaa HTTP/1.1")
    assert isinstance(parse_request_bytes(data, max_line=line), dict)
    assert parse_request_bytes(data, max_line=line - 1) == -414
    assert isinstance(parse_request_bytes(data, max_head=len(data)), dict)
    assert parse_request_bytes(data, max_head=len(data) - 1) == -431
    assert isinstance(parse_request_bytes(data, max_fields=2), dict)
    assert parse_request_bytes(data, max_fields=1) == -431
    assert parse_response_bytes(response(), max_line=14) == -502
    assert parse_response_bytes(response(b"X-A: 1"), max_head=20) == -502
    assert parse_response_bytes(response(b"X-A: 1"), max_fields=0) == -502


def test_no_limit_goes_beyond_the_array_of_fields() -> None:
    lines = [b"X: 1"] * 127
    assert len(good(request(*lines), max_fields=10_000)["fields"]) == 128
    assert parse_request_bytes(request(*lines, b"X: 1"), max_fields=10_000) == -431


def test_limits_hold_before_the_line_ends() -> None:
    assert parse_request_bytes(b"GET /" + b"a" * 8192) == -414
    assert parse_request_bytes(b"GET / HTTP/1.1\r\nX: " + b"a" * 32768) == -431
    assert parse_request_bytes(b"GET /" + b"a" * 5000, max_line=9000, max_head=4000) == -431
    assert parse_response_bytes(b"HTTP/1.1 200 " + b"a" * 8192) == -502


STATUS_LINES = {
    b"HTTP/1.1 200 OK": (200, b"OK"),
    b"HTTP/1.0 200 OK": (200, b"OK"),
    b"HTTP/1.1 200 ": (200, b""),
    b"HTTP/1.1 200": (200, b""),
    b"HTTP/1.1 599 a  b": (599, b"a  b"),
    b"HTTP/1.1 100 Continue": (100, b"Continue"),
    b"HTTP/1.1 099 a": None,
    b"HTTP/1.1 600 a": None,
    b"HTTP/1.1 20 a": None,
    b"HTTP/1.1 2000": None,
    b"HTTP/1.1 200OK": None,
    b"HTTP/1.1 200\tOK": None,
    b"HTTP/1.1  200 OK": None,
    b"HTTP/1.1\t200 OK": None,
    b"HTTP/1.1 -20 OK": None,
    b"HTTP/1.2 200 OK": None,
    b"HTTP/2.0 200 OK": None,
    b"HTTP/2 200": None,
    b"http/1.1 200 OK": None,
    b"ICY 200 OK": None,
    b"HTTP/1.1 200 a\0b": None,
    b"HTTP/1.1 200 a\rb": None,
    b"HTTP/1.1 200 a\x7f": None,
    b"": None,
    b" HTTP/1.1 200 OK": None,
    b"\r\nHTTP/1.1 200 OK": None,
}


@pytest.mark.parametrize("line", STATUS_LINES)
def test_status_lines(line: bytes) -> None:
    parsed = parse_response_bytes(line + b"\r\n\r\n")
    wanted = STATUS_LINES[line]
    if wanted is None:
        assert parsed == -502
    else:
        assert isinstance(parsed, dict)
        assert (parsed["status"], parsed["reason"]) == wanted


@pytest.mark.parametrize("status", [100, 101, 103, 204])
def test_bodies_that_must_not_be_announced(status: int) -> None:
    first = b"HTTP/1.1 %d x" % status
    sized = good_response(response(b"Content-Length: 5", first=first))
    assert (sized["content_length"], sized["close"], flags(sized)[b"content-length"]) == (-1, True, DROP)
    chunked = good_response(response(b"Transfer-Encoding: chunked", first=first))
    assert (chunked["chunked"], chunked["close"]) == (False, True)
    assert not good_response(response(b"Content-Length: 0", first=first))["close"]


def test_a_response_to_head_keeps_its_length() -> None:
    parsed = good_response(response(b"Content-Length: 5", first=b"HTTP/1.1 304 Not Modified"))
    assert (parsed["content_length"], parsed["close"]) == (5, False)


WHOLE_HEADS = [
    request(b"X-A: 1", b"Connection: close"),
    request(b"Content-Length: 1", b"Content-Length: 1"),
    request(b"X-A : 1"),
    request(first=b"GET / HTTP/2.0"),
    request(first=b"GET http://b/ HTTP/1.1"),
    request(b"Expect: x"),
    request(b"X: \0"),
    b"GET / HTTP/1.1\nHost: a\n\n",
    *[request(*lines) for lines in list(REFUSED_HEADS.values())[:20]],
]


@pytest.mark.parametrize("data", WHOLE_HEADS)
def test_any_prefix_is_incomplete_or_has_the_final_verdict(data: bytes) -> None:
    whole = parse_request_bytes(data)
    before = [parse_request_bytes(data[:cut]) for cut in range(len(data))]
    verdicts = [verdict for verdict in before if verdict != 0]
    assert all(verdict == whole for verdict in verdicts)
    assert before[0] == 0
    # Once given, a verdict stays.
    assert before == [0] * (len(before) - len(verdicts)) + verdicts


@given(st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes_have_the_reference_verdict(data: bytes, behind_a_request_line: bool) -> None:
    if behind_a_request_line:
        data = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + data
    parsed = parse_request_bytes(data)
    try:
        wanted = reference.parse_request(data).head_len
    except reference.Incomplete:
        wanted = 0
    except reference.Refused as refused:
        wanted = -refused.status
    assert (parsed["head_len"] if isinstance(parsed, dict) else parsed) == wanted


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"X-A", b"Accept", b"Cookie", b"X-Forwarded-For", b"TE", b"Upgrade", b"Connection"]),
            st.binary(max_size=20).map(lambda value: bytes(c for c in value if c == 9 or (c >= 32 and c != 127))),
        ),
        max_size=8,
    )
)
def test_fields_come_out_as_they_went_in(fields: list[tuple[bytes, bytes]]) -> None:
    parsed = good(request(*[name + b":" + value for name, value in fields]))
    assert [(name, value) for name, value, _ in parsed["fields"]][1:] == [
        (name, value.strip(b" \t")) for name, value in fields
    ]


def test_repeated_parsing_for_the_benchmark() -> None:
    assert parse_repeatedly(request(), 3) == 3 * len(request())
    assert parse_repeatedly(response(), 2) == 2 * len(response())
