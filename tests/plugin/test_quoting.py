import pytest

from bascule.plugin.quoting import check_host, decode, decode_query, encode_path, encode_target


def test_bytes_that_are_no_utf8_are_latin1():
    assert decode("é".encode()) == "é"
    assert decode(b"\xe9") == "é"


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ("", []),
        ("a=1&b=2", [("a", "1"), ("b", "2")]),
        ("a&b=", [("a", ""), ("b", "")]),
        ("&&a=b=c&", [("a", "b=c")]),
        ("a+b=c%20d", [("a b", "c d")]),
        ("%C3%A9=%E9", [("é", "é")]),
        ("a=%zz", [("a", "%zz")]),
        ("x=\u00c3\u00a9", [("x", "é")]),
    ],
)
def test_decode_query(query, pairs):
    assert decode_query(query) == pairs


def test_encode_path_escapes_what_is_special_anywhere_else():
    assert encode_path("/a b/%20/é?#") == "/a%20b/%2520/%C3%A9%3F%23"
    assert encode_path("/it's/(a);b=c,d:e@f~") == "/it's/(a);b=c,d:e@f~"


def test_encode_target_keeps_escapes_and_the_query():
    assert encode_target("/a%20b c?x=é&y=1#z") == b"/a%20b%20c?x=%C3%A9&y=1%23z"
    assert encode_target("/a\r\nX: y") == b"/a%0D%0AX:%20y"
    assert encode_target("*") == b"*"


@pytest.mark.parametrize("target", ["", "a", "http://x/"])
def test_a_target_begins_with_a_slash(target):
    with pytest.raises(ValueError, match="slash"):
        encode_target(target)


@pytest.mark.parametrize("host", ["a.b", "a:80", "[::1]", "[::1]:80", "a_b"])
def test_hosts(host):
    assert check_host(host) == host.encode()


@pytest.mark.parametrize("host", ["", "a b", "a\r\nb", "a/b", "a:b", "é", "a@b", "::1"])
def test_no_hosts(host):
    with pytest.raises(ValueError, match="host name"):
        check_host(host)
