"""Request smuggling, end to end: what two parsers could read in two ways is answered 400, the connection closed, and no
byte of it reaches the upstream. RFC 9112 sections 2.2, 3, 5, 6, 7 and 11.2; RFC 9110 sections 5.5, 7.2 and 8.6."""

import contextlib
from collections.abc import Callable

import pytest

from tests.servers.gateway import Gateway
from tests.servers.raw import Closed, RawClient, RawUpstream

HOST = b"Host: a.example\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n"
# Appended to a message that claims no body: it must be thrown away with the connection, never served.
TAIL = b"0\r\n\r\n" + SMUGGLED


def post(fields: bytes, body: bytes = TAIL) -> bytes:
    return b"POST /up HTTP/1.1\r\n" + HOST + fields + b"\r\n" + body


def get(fields: bytes) -> bytes:
    return b"GET /up HTTP/1.1\r\n" + HOST + fields + b"\r\n"


HEADS = {
    # both, either order
    "cl-te": post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    "te-cl": post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
    "cl-te-identity": post(b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n"),
    # Content-Length
    "cl-differs": post(b"Content-Length: 5\r\nContent-Length: 6\r\n"),
    "cl-twice": post(b"Content-Length: 5\r\nContent-Length: 5\r\n"),
    "cl-list": post(b"Content-Length: 5, 5\r\n"),
    "cl-list-differs": post(b"Content-Length: 5, 6\r\n"),
    "cl-plus": post(b"Content-Length: +5\r\n"),
    "cl-minus": post(b"Content-Length: -5\r\n"),
    "cl-hex": post(b"Content-Length: 0x5\r\n"),
    "cl-empty": post(b"Content-Length:\r\n"),
    "cl-blank": post(b"Content-Length: \t \r\n"),
    "cl-inner-blank": post(b"Content-Length: 5 0\r\n"),
    "cl-exponent": post(b"Content-Length: 1e1\r\n"),
    "cl-fraction": post(b"Content-Length: 5.0\r\n"),
    "cl-word": post(b"Content-Length: five\r\n"),
    "cl-underscore": post(b"Content-Length: 1_0\r\n"),
    "cl-overflow-64": post(b"Content-Length: 18446744073709551621\r\n"),
    "cl-overflow-63": post(b"Content-Length: 9223372036854775813\r\n"),
    "cl-many-digits": post(b"Content-Length: " + b"9" * 300 + b"\r\n"),
    "cl-fullwidth": post("Content-Length: \uff15\r\n".encode()),
    "cl-vtab": post(b"Content-Length: \x0b5\r\n"),
    "cl-formfeed": post(b"Content-Length: 5\x0c\r\n"),
    "cl-semicolon": post(b"Content-Length: 5;\r\n"),
    "cl-quoted": post(b'Content-Length: "5"\r\n'),
    # Transfer-Encoding
    "te-identity": post(b"Transfer-Encoding: identity\r\n"),
    "te-gzip": post(b"Transfer-Encoding: gzip\r\n"),
    "te-not-final": post(b"Transfer-Encoding: chunked, gzip\r\n"),
    "te-identity-after": post(b"Transfer-Encoding: chunked, identity\r\n"),
    "te-chunked-twice": post(b"Transfer-Encoding: chunked, chunked\r\n"),
    "te-two-fields": post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    "te-two-fields-mixed": post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"),
    "te-x": post(b"Transfer-Encoding: xchunked\r\n"),
    "te-suffix": post(b"Transfer-Encoding: chunkedx\r\n"),
    "te-parameter": post(b"Transfer-Encoding: chunked;q=1\r\n"),
    "te-quoted": post(b'Transfer-Encoding: "chunked"\r\n'),
    "te-empty": post(b"Transfer-Encoding:\r\n"),
    "te-comma": post(b"Transfer-Encoding: ,\r\n"),
    "te-empty-element": post(b"Transfer-Encoding: , chunked\r\n"),
    "te-trailing-comma": post(b"Transfer-Encoding: chunked,\r\n"),
    "te-vtab": post(b"Transfer-Encoding: \x0bchunked\r\n"),
    "te-formfeed": post(b"Transfer-Encoding: chunked\x0c\r\n"),
    "te-nul": post(b"Transfer-Encoding: chunked\0\r\n"),
    "te-nbsp": post(b"Transfer-Encoding: \xa0chunked\r\n"),
    "te-kelvin": post("Transfer-Encoding: chun\u212aed\r\n".encode()),
    "te-http10": b"POST /up HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + TAIL,
    "te-tab-inside": post(b"Transfer-Encoding: chun\tked\r\n"),
    "te-http10-and-cl": b"POST /up HTTP/1.0\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
    + TAIL,
    "te-fold-before": post(b"X-A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
    # field lines
    "blank-before-colon": post(b"Transfer-Encoding : chunked\r\n"),
    "tab-before-colon": post(b"Transfer-Encoding\t: chunked\r\n"),
    "cl-blank-before-colon": post(b"Content-Length : 5\r\n"),
    "blank-before-name": b"POST /up HTTP/1.1\r\n" + b" " + HOST + b"Content-Length: 5\r\n\r\n" + TAIL,
    "fold": post(b"X-A: 1\r\n Transfer-Encoding: chunked\r\n"),
    "fold-tab": post(b"X-A: 1\r\n\tContent-Length: 5\r\n"),
    "fold-value": post(b"Transfer-Encoding:\r\n chunked\r\n"),
    "fold-empty": post(b"X-A: 1\r\n \r\n"),
    "bare-lf-ends-line": post(b"X-A: 1\nTransfer-Encoding: chunked\r\n"),
    "bare-lf-ends-head": b"POST /up HTTP/1.1\r\n" + HOST + b"Content-Length: 5\n\n" + TAIL,
    "bare-lf-everywhere": b"GET /up HTTP/1.1\nHost: a.example\n\n",
    "bare-cr-in-value": post(b"X-A: 1\rTransfer-Encoding: chunked\r\n"),
    "bare-cr-ends-line": post(b"X-A: 1\r\rContent-Length: 5\r\n"),
    "cr-cr-lf": post(b"X-A: 1\r\r\nContent-Length: 5\r\n"),
    "nul-in-value": get(b"X-A: a\0b\r\n"),
    "nul-in-name": get(b"X\0A: b\r\n"),
    "control-in-value": get(b"X-A: a\x01b\r\n"),
    "delete-in-value": get(b"X-A: a\x7fb\r\n"),
    "escape-in-value": get(b"X-A: \x1b[0m\r\n"),
    "nul-behind-name": post(b"Content-Length\0: 5\r\n"),
    "two-colons-name": post(b":Content-Length: 5\r\n"),
    "name-high-byte-end": post(b"Transfer-Encoding\xff: chunked\r\n"),
    "vtab-before-colon": post(b"Transfer-Encoding\x0b: chunked\r\n"),
    "cr-before-colon": post(b"Transfer-Encoding\r: chunked\r\n"),
    "lf-before-colon": post(b"Transfer-Encoding\n: chunked\r\n"),
    "lf-cr": post(b"X-A: 1\n\rContent-Length: 5\r\n"),
    "no-colon": get(b"X-A\r\n"),
    "no-name": get(b": value\r\n"),
    "name-with-blank": get(b"X A: 1\r\n"),
    "name-with-parenthesis": get(b"X(A): 1\r\n"),
    "name-with-slash": get(b"X/A: 1\r\n"),
    "name-with-high-byte": get(b"X\xe9: 1\r\n"),
    "name-with-quote": get(b'"X": 1\r\n'),
    # request line
    "line-two-blanks": b"GET  /up HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-two-blanks-later": b"GET /up  HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-leading-blank": b" GET /up HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-trailing-blank": b"GET /up HTTP/1.1 \r\n" + HOST + b"\r\n",
    "line-tab": b"GET\t/up HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-vtab": b"GET\x0b/up HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-blank-in-target": b"GET /u p HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-nul": b"GET /u\0p HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-control": b"GET /u\x01p HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-high-byte": b"GET /u\xffp HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-bare-cr": b"GET /up\r HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-bare-lf": b"GET /up HTTP/1.1\n" + HOST + b"\r\n",
    "line-bad-method": b"G@T /up HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-no-method": b" /up HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-no-version": b"GET /up\r\n" + HOST + b"\r\n",
    "line-lower-version": b"GET /up http/1.1\r\n" + HOST + b"\r\n",
    "line-long-version": b"GET /up HTTP/1.10\r\n" + HOST + b"\r\n",
    "line-version-letters": b"GET /up HTTP/1.x\r\n" + HOST + b"\r\n",
    "line-version-blank": b"GET /up HTTP /1.1\r\n" + HOST + b"\r\n",
    "line-relative-target": b"GET up HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-empty-target": b"GET  HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-fragment": b"GET /up#part HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-comma-version": b"GET /up HTTP/1,1\r\n" + HOST + b"\r\n",
    "line-cr-cr-lf": b"GET /up HTTP/1.1\r\r\n" + HOST + b"\r\n",
    "line-formfeed": b"GET /up\x0cHTTP/1.1\r\n" + HOST + b"\r\n",
    "line-nul-behind-method": b"GET\0 /up HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-backslashes": b"GET \\\\a.example\\up HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-absolute-backslashes": b"GET http:\\\\a.example/up HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-bare-lf-before": b"\nGET /up HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-two-empty-before": b"\r\n\r\nGET /up HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-star": b"GET * HTTP/1.1\r\n" + HOST + b"\r\n",
    "tls-hello": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\0" * 64 + b"\r\n\r\n",
    # Host
    "host-missing": b"GET /up HTTP/1.1\r\n\r\n",
    "host-twice": b"GET /up HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    "host-twice-differs": b"GET /up HTTP/1.1\r\n" + HOST + b"Host: b.example\r\n\r\n",
    "host-list": b"GET /up HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n",
    "host-blank": b"GET /up HTTP/1.1\r\nHost: a.example b.example\r\n\r\n",
    "host-path": b"GET /up HTTP/1.1\r\nHost: a.example/up\r\n\r\n",
    "host-userinfo": b"GET /up HTTP/1.1\r\nHost: me@a.example\r\n\r\n",
    "host-bad-port": b"GET /up HTTP/1.1\r\nHost: a.example:80x\r\n\r\n",
    "host-tab": b"GET /up HTTP/1.1\r\nHost: a\texample\r\n\r\n",
    "host-port-0": b"GET /up HTTP/1.1\r\nHost: a.example:0\r\n\r\n",
    "host-port-over": b"GET /up HTTP/1.1\r\nHost: a.example:65536\r\n\r\n",
    "host-port-empty": b"GET /up HTTP/1.1\r\nHost: a.example:\r\n\r\n",
    "host-port-minus": b"GET /up HTTP/1.1\r\nHost: a.example:-80\r\n\r\n",
    "host-two-ports": b"GET /up HTTP/1.1\r\nHost: a.example:80:80\r\n\r\n",
    "host-only-port": b"GET /up HTTP/1.1\r\nHost: :80\r\n\r\n",
    "host-empty-label": b"GET /up HTTP/1.1\r\nHost: a..example\r\n\r\n",
    "host-open-bracket": b"GET /up HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "host-bad-ipv6": b"GET /up HTTP/1.1\r\nHost: [::g]\r\n\r\n",
    "host-zone": b"GET /up HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n",
    "host-percent": b"GET /up HTTP/1.1\r\nHost: a%2eexample\r\n\r\n",
    "host-backslash": b"GET /up HTTP/1.1\r\nHost: a.example\\@b\r\n\r\n",
    "host-query": b"GET /up HTTP/1.1\r\nHost: a.example?b\r\n\r\n",
    "host-high-byte": b"GET /up HTTP/1.1\r\nHost: a\xe9.example\r\n\r\n",
    "absolute-without-host": b"GET http://a.example/up HTTP/1.1\r\n\r\n",
    "absolute-two-hosts": b"GET http://a.example/up HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    "absolute-disagrees": b"GET http://b.example/up HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute-port-disagrees": b"GET http://a.example:81/up HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute-userinfo": b"GET http://me@a.example/up HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute-no-authority": b"GET http:///up HTTP/1.1\r\n" + HOST + b"\r\n",
}

# Framed well, so that the connection may live on.
PATHS = {
    "path-nul-escape": b"GET /up%00 HTTP/1.1\r\n" + HOST + b"\r\n",
    "path-bad-escape": b"GET /up%zz HTTP/1.1\r\n" + HOST + b"\r\n",
    "path-above-root": b"GET /../up HTTP/1.1\r\n" + HOST + b"\r\n",
}

CHUNKED = b"POST /up HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS = {
    "size-word": b"g\r\n",
    "size-hex-prefix": b"0x5\r\nhello\r\n",
    "size-minus": b"-5\r\nhello\r\n",
    "size-plus": b"+5\r\nhello\r\n",
    "size-blank-before": b" 5\r\nhello\r\n",
    "size-blank-after": b"5 \r\nhello\r\n",
    "size-tab-after": b"5\t\r\nhello\r\n",
    "size-underscore": b"1_0\r\nhello\r\n",
    "size-empty": b"\r\nhello\r\n",
    "size-overflow": b"10000000000000005\r\nhello\r\n",
    "size-nul": b"5\0\r\nhello\r\n",
    "size-bare-lf": b"5\nhello\r\n",
    "size-bare-cr": b"5\rhello\r\n",
    "extension-no-name": b"5;\r\nhello\r\n",
    "extension-bare-lf": b"5;a\nhello\r\n",
    "extension-bare-cr": b"5;a\rb\r\nhello\r\n",
    "extension-nul": b"5;a=\0\r\nhello\r\n",
    "extension-blank": b"5 ; a=b\r\nhello\r\n",
    "extension-open-quote": b'5;a="b\r\nhello\r\n',
    "extension-endless": b"5;" + b"a" * 20_000 + b"\r\nhello\r\n",
    "extension-quoted-lf": b'5;a="\n"\r\nhello\r\n',
    "extension-quoted-cr-lf": b'5;a="\r\n"\r\nhello\r\n',
    "extension-escaped-lf": b'5;a="\\\n"\r\nhello\r\n',
    "extension-cr-cr": b"5;a\r\r\nhello\r\n",
    "extension-control": b"5;a=\x01\r\nhello\r\n",
    "size-16-digits": b"0000000000000005\r\nhello\r\n",
    "size-comma": b"5,5\r\nhello\r\n",
    "size-fullwidth": "\uff15\r\nhello\r\n".encode(),
    "size-then-lf-cr": b"5\n\rhello\r\n",
    "data-too-long": b"3\r\nhello\r\n",
    "data-too-short": b"7\r\nhello\r\n",
    "data-ends-with-lf": b"5\r\nhello\n",
    "data-ends-with-cr": b"5\r\nhello\r",
    "data-no-end": b"5\r\nhello",
    "last-bare-lf": b"0\n\n",
    "trailer-fold": b"0\r\n X: 1\r\n\r\n",
    "trailer-no-colon": b"0\r\nX\r\n\r\n",
    "trailer-bare-lf": b"0\r\nX: 1\n\r\n",
    "trailer-nul": b"0\r\nX: \0\r\n\r\n",
    "trailer-length": b"0\r\nContent-Length: 5\r\n\r\n",
    "trailer-coding": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "trailer-host": b"0\r\nHost: b.example\r\n\r\n",
    "trailer-authorization": b"0\r\nAuthorization: Basic YTpi\r\n\r\n",
    "trailer-cookie": b"0\r\nCookie: a=b\r\n\r\n",
    "trailer-forwarded": b"0\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n",
    "trailer-connection": b"0\r\nConnection: close\r\n\r\n",
    "trailer-content-type": b"0\r\nContent-Type: text/html\r\n\r\n",
    "trailer-blank-before-colon": b"0\r\nX : 1\r\n\r\n",
    "trailer-bare-cr": b"0\r\nX: 1\rY: 2\r\n\r\n",
    "trailer-endless": b"0\r\n" + b"X: 1\r\n" * 20_000 + b"\r\n",
}


@pytest.fixture(scope="module")
def served(echo: RawUpstream, module_gateway: Callable[..., Gateway]) -> Gateway:
    routes = {"routes": [{"id": "all", "uri": "/*", "upstream": {"nodes": {echo.address: 1}}}]}
    return module_gateway(routes)


def answered(client: RawClient) -> list[int]:
    """The status of every response up to the close of the connection."""
    statuses = []
    try:
        while True:
            statuses.append(client.read_response().status)
    except (Closed, ConnectionError):
        return statuses


@pytest.mark.parametrize("name", HEADS)
def test_an_ambiguous_head_is_refused_and_nothing_forwarded(name: str, served: Gateway, echo: RawUpstream) -> None:
    before = echo.requests_seen
    with served.client() as client:
        client.send(HEADS[name])
        assert answered(client) == [400]
    assert echo.requests_seen == before


@pytest.mark.parametrize("name", HEADS)
def test_it_is_refused_behind_a_good_request_too(name: str, served: Gateway, echo: RawUpstream) -> None:
    """Pipelined behind a good request in one segment: that one is served, the other never seen by the upstream."""
    with served.client() as client:
        before = len(echo.requests_seen)
        client.send(get(b"X-Good: yes\r\n") + HEADS[name])
        assert answered(client) == [200, 400]
    new = echo.requests_seen[before:]
    assert new.count(b" /up HTTP/1.1\r\n") == 1
    assert b"smuggled" not in new


@pytest.mark.parametrize("name", HEADS)
def test_it_is_refused_byte_by_byte_too(name: str, served: Gateway, echo: RawUpstream) -> None:
    """The head dribbled over two segments, cut in the middle."""
    before = echo.requests_seen
    head = HEADS[name]
    middle = len(head) // 2
    with served.client() as client:
        with contextlib.suppress(ConnectionError):  # refused on the first half already
            client.send(head[:middle], head[middle:])
        assert answered(client) in ([400], [])
    assert echo.requests_seen == before


# What isn't ambiguous and isn't served either: the answer tells what is the matter.
TOLD = {
    "version-1.2": (b"GET /up HTTP/1.2\r\n" + HOST + b"\r\n", 505),
    "version-0.9": (b"GET /up HTTP/0.9\r\n" + HOST + b"\r\n", 505),
    "version-2.0": (b"GET /up HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "http2-preface-damaged": (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0", 505),
    "endless-method": (b"A" * 100_000, 414),
    "endless-target": (b"GET /" + b"a" * 100_000, 414),
    "endless-field": (b"GET /up HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 100_000, 431),
    "many-fields": (b"GET /up HTTP/1.1\r\n" + HOST + b"X: 1\r\n" * 129 + b"\r\n", 431),
    "many-names-in-connection": (b"GET /up HTTP/1.1\r\n" + HOST + b"Connection: " + b"a," * 40 + b"a\r\n\r\n", 431),
    "expect": (post(b"Expect: 200-ok\r\nContent-Length: 5\r\n"), 417),
    "expect-list": (post(b"Expect: 100-continue, 100-continue\r\nContent-Length: 5\r\n"), 417),
    "connect": (b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", 405),
}


@pytest.mark.parametrize("name", TOLD)
def test_what_is_not_served_is_told(name: str, served: Gateway, echo: RawUpstream) -> None:
    before = echo.requests_seen
    message, status = TOLD[name]
    with served.client() as client:
        with contextlib.suppress(ConnectionError):
            client.send(message)
        assert client.read_response().status == status
    assert echo.requests_seen == before


KEPT = ("Host", "Content-Length", "Content-Type", "Authorization", "Cookie", "X-Forwarded-For", "X-Real-IP", "Expect")


def test_connection_can_not_name_what_the_upstream_decides_by(served: Gateway) -> None:
    """Hop-by-hop abuse: a client that names such fields in Connection would have them taken off behind the checks."""
    named = ", ".join(KEPT)
    fields = [("Authorization", "Basic YTpi"), ("Cookie", "a=b"), ("Content-Type", "text/x"), ("X-Own", "1")]
    with served.client() as client:
        account = client.request("POST", "/up", [("Connection", f"{named}, X-Own"), *fields], b"hello").json()
    assert isinstance(account, dict)
    seen = {name.lower(): value for name, value in account["headers"]}
    assert account["body"] == "hello"
    assert seen["content-length"] == "5"
    assert (seen["authorization"], seen["cookie"], seen["content-type"]) == ("Basic YTpi", "a=b", "text/x")
    assert seen["x-forwarded-for"] == seen["x-real-ip"] == "127.0.0.1"
    assert "x-own" not in seen


def test_one_empty_line_before_a_request_is_no_request(served: Gateway) -> None:
    with served.client() as client:
        client.send(b"\r\n" + get(b""))
        assert client.read_response().status == 200
        client.send(post(b"Content-Length: 5\r\n", b"hello") + b"\r\n" + get(b""))
        assert [client.read_response().status for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("name", PATHS)
def test_a_path_that_has_no_normal_form_is_refused(name: str, served: Gateway, echo: RawUpstream) -> None:
    before = echo.requests_seen
    with served.client() as client:
        client.send(PATHS[name])
        assert client.read_response().status == 400
    assert echo.requests_seen == before


@pytest.mark.parametrize("name", CHUNKS)
def test_a_bad_chunk_is_refused_and_never_completes_upstream(name: str, served: Gateway, echo: RawUpstream) -> None:
    before = len(echo.requests_seen)
    with served.client() as client:
        client.send(CHUNKED + CHUNKS[name] + TAIL)
        assert answered(client) == [400]
    new = echo.requests_seen[before:]
    assert b"smuggled" not in new
    assert b"\r\n0\r\n\r\n" not in new


def test_after_all_that_the_gateway_serves(served: Gateway, echo: RawUpstream) -> None:
    with served.client() as client:
        assert client.request("GET", "/up").status == 200
        assert (
            client.request(
                "POST", "/up", [("Transfer-Encoding", "chunked")], b"5;a=b\r\nhello\r\n0\r\nX: 1\r\n\r\n"
            ).status
            == 200
        )
    assert b"smuggled" not in echo.requests_seen
