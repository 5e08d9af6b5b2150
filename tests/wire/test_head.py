"""Head: lookups in received bytes, reuse, and what it says about itself."""

import pytest

from bascule.wire.head import Head

REQUEST = (
    b"GET /a HTTP/1.1\r\nHost: a.example\r\nX-A: 1\r\nConnection: x-hop\r\nx-a: \xe9\r\nX-Hop: h\r\nX_B: u\r\n"
    + b"X" * 100
    + b": long\r\n\r\n"
)


@pytest.fixture
def head() -> Head:
    parsed = Head()
    assert parsed.parse(REQUEST + b"behind") == len(REQUEST)
    return parsed


def test_lookups_ignore_case(head: Head) -> None:
    assert head.header("host") == "a.example"
    assert head.header("HOST") == "a.example"
    assert head.header("X-a") == "1"
    assert head.header_values("X-A") == ["1", "é"]
    assert head.header("x" * 100) == "long"
    assert head.header("X" * 100) == "long"


def test_hop_by_hop_fields_are_readable(head: Head) -> None:
    assert head.header("connection") == "x-hop"
    assert head.header("x-hop") == "h"


@pytest.mark.parametrize(
    "name", ["", "x-c", "x-", "x-a\0", "x-a ", "ħost", "x\x0da", "x\x7fb", "X" * 101, "é" * 100, "X\x0a"]
)
def test_names_that_are_not_there(head: Head, name: str) -> None:
    assert head.header(name) is None
    assert head.header_values(name) == []


def test_an_underscore_is_no_hyphen(head: Head) -> None:
    assert head.header("x_b") == "u"
    assert head.header("x-b") is None


def test_headers_in_their_order(head: Head) -> None:
    names = [name for name, _ in head.headers()]
    assert names == ["Host", "X-A", "Connection", "x-a", "X-Hop", "X_B", "X" * 100]
    assert ("x-a", "é") in head.headers()


def test_reuse_replaces_everything(head: Head) -> None:
    assert head.parse(b"HTTP/1.1 204 No Content\r\nServer: b\r\n\r\n", request=False) == 38
    assert head.headers() == [("Server", "b")]
    assert repr(head) == "<Head 204 fields=1>"
    large = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20_000 + b"\r\n\r\n"
    assert head.parse(large) == len(large)
    assert head.header("x") == "y" * 20_000


def test_a_refused_head_leaves_nothing(head: Head) -> None:
    assert head.parse(b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nX : 1\r\n\r\n") == -400
    assert head.headers() == []
    assert repr(head) == "<Head empty>"
    assert head.parse(REQUEST[:30]) == 0
    assert head.header("host") is None
    assert head.parse(b"") == 0


def test_repr(head: Head) -> None:
    assert repr(head) == "<Head GET /a fields=7>"
    assert repr(Head()) == "<Head empty>"
    assert Head().headers() == []
    assert Head().parse(b"") == 0
