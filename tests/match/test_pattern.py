import pytest

from bascule.match.pattern import decode, encode, parse_host, parse_path


@pytest.mark.parametrize(
    ("pattern", "parts", "prefix"),
    [
        ("/a", (b"/a",), False),
        ("/a*", (b"/a",), True),
        ("/*", (b"/",), True),
        ("*", (b"",), True),
        ("/a*b", (b"/a*b",), False),
        ("/:a/*b", (b"/:a/*b",), False),
        ("/ä", ("/ä".encode(),), False),
    ],
)
def test_plain_paths(pattern: str, parts: tuple[bytes, ...], prefix: bool) -> None:
    assert parse_path(pattern, False) == (parts, prefix, None)


@pytest.mark.parametrize(
    ("pattern", "parts", "prefix", "captures"),
    [
        ("/a", (b"/a",), False, None),
        ("/a*", (b"/a",), True, None),
        ("/:x", (b"/", None), False, (1, "x", False)),
        ("/:x/", (b"/", None, b"/"), False, (1, "x", False)),
        ("/a/:x/b/:y", (b"/a/", None, b"/b/", None), False, (2, "x", False, 4, "y", False)),
        ("/a/*rest", (b"/a/",), True, (2, "rest", True)),
        ("/:x/*", (b"/", None, b"/"), True, (1, "x", False)),
        ("/:x/b*", (b"/", None, b"/b"), True, (1, "x", False)),
        ("/:", (b"/:",), False, None),
        ("/a:b/*c/d", (b"/a:b/*c/d",), False, None),
        ("/:x*", (b"/", None), False, (1, "x*", False)),
    ],
)
def test_paths_with_parameters(pattern: str, parts: object, prefix: bool, captures: object) -> None:
    assert parse_path(pattern, True) == (parts, prefix, captures)


@pytest.mark.parametrize(
    ("pattern", "key", "prefix"),
    [
        ("A.x.com", b"moc.x.a", False),
        ("*.X.com", b"moc.x.", True),
        ("*x.com", b"moc.x", True),
        ("*", b"", True),
        ("x.com:8080", b"moc.x", False),
        ("*.x.com:443", b"moc.x.", True),
        ("[::1]:80", b"]1::[", False),
        ("[::1]", b"]1::[", False),
        ("::1", b"1::", False),
        ("x.com:", b":moc.x", False),
    ],
)
def test_hosts(pattern: str, key: bytes, prefix: bool) -> None:
    assert parse_host(pattern) == (key, prefix)


def test_text_and_bytes() -> None:
    assert decode(encode("grüße")) == "grüße"
    assert decode(b"\xff") == "ÿ"
    assert encode("\ud800") == b"\xed\xa0\x80"
