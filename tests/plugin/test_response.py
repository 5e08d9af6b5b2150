import pytest

from bascule.plugin import AddHeaders, Response
from bascule.plugin.kit.testing import get

HEAD = (
    b"HTTP/1.1 404 Not Found\r\nServer: x\r\nSet-Cookie: a=1\r\nX-Old: 1\r\nset-cookie: b=2\r\n"
    b"Content-Length: 3\r\n\r\n"
)


@pytest.mark.parametrize(
    ("body", "raw", "content_type"),
    [
        (b"raw", b"raw", None),
        ("té", "té".encode(), "text/plain; charset=utf-8"),
        ({"a": [1, "é"]}, '{"a":[1,"é"]}'.encode(), "application/json"),
        ([1], b"[1]", "application/json"),
        (None, b"", None),
    ],
)
def test_bodies(body, raw, content_type):
    response = Response(200, body)
    assert (response.body, response.header("content-type")) == (raw, content_type)
    assert response.source == "plugin"


def test_a_given_type_stays():
    response = Response(200, {"a": 1}, {"content-type": "application/problem+json"})
    assert response.headers() == [("content-type", "application/problem+json")]


def test_headers_from_pairs():
    response = Response(204, headers=[("Set-Cookie", "a"), ("Set-Cookie", "b")])
    assert response.header_values("set-cookie") == ["a", "b"]


@pytest.mark.parametrize("status", [0, 99, 600, -1])
def test_a_status_has_three_digits(status):
    with pytest.raises(ValueError, match="100-599"):
        Response(status)


def test_other_bodies_are_refused():
    with pytest.raises(TypeError, match="int"):
        Response(200, 5)


def test_bad_headers_are_refused():
    with pytest.raises(ValueError, match="X-A"):
        Response(200, headers={"X-A": "a\r\nb"})


def test_view_of_an_upstreams_head():
    response = Response.from_bytes(HEAD)
    assert (response.status, response.source, response.body) == (404, "upstream", None)
    assert response.header("SET-COOKIE") == "a=1"
    assert response.header_values("Set-Cookie") == ["a=1", "b=2"]
    assert response.headers()[0] == ("Server", "x")
    assert response.header("absent") is None


def test_changes_to_an_upstreams_head():
    response = Response.from_bytes(HEAD)
    response.set_header("Set-Cookie", "c=3")
    response.add_header("set-cookie", "d=4")
    response.remove_header("server")
    response.remove_header("absent")
    response.status = 200
    assert response.header_values("set-cookie") == ["c=3", "d=4"]
    assert response.headers() == [("X-Old", "1"), ("Content-Length", "3"), ("Set-Cookie", "c=3"), ("set-cookie", "d=4")]
    response.remove_header("SET-COOKIE")
    assert response.header("set-cookie") is None


def test_several_headers_at_once():
    response = Response.from_bytes(HEAD)
    response.add_headers((("X-Old", b"2"), ("X-New", 3)))
    response.set_headers([("set-cookie", "c=3"), ("X-New", 4)])
    assert response.header_values("x-old") == ["1", "2"]
    assert (response.header_values("set-cookie"), response.header_values("x-new")) == (["c=3"], ["4"])
    with pytest.raises(ValueError, match="X-A"):
        response.add_headers([("X-A", "a\r\nb")])


def test_headers_set_ahead():
    request = get("/")
    request.set_response_headers([("X-Old", "2"), ("X-New", 3)])
    request.set_response_headers([("x-new", b"4")])
    for response in (Response.from_bytes(HEAD), Response(200, headers={"x-old": "1"})):
        response.take_headers(request)
        assert (response.header_values("x-old"), response.header_values("x-new")) == (["2"], ["4"])
    with pytest.raises(ValueError, match="X-A"):
        request.set_response_headers([("X-A", "a\r\nb")])


def test_constant_headers_as_a_header_filter():
    add = AddHeaders([("X-Old", 2), ("X-New", "é")])
    response = Response.from_bytes(HEAD)
    add(get("/"), response)
    response.set_header("x-new", 5)
    assert (response.header_values("x-old"), response.header_values("x-new")) == (["1", "2"], ["5"])
    assert repr(AddHeaders([("A", 1)])) == "AddHeaders([(b'A', b'1')])"
    with pytest.raises(ValueError, match="Connection"):
        AddHeaders({"Connection": "x"}.items())


def test_detached_from_the_upstreams_head():
    head = b"HTTP/1.1 404 X\r\nServer: x\r\nX-Old: 1\r\nConnection: x-hop\r\n"
    head += b"X-Hop: 1\r\nContent-Length: 3\r\nDate: d\r\n\r\n"
    response = Response.from_bytes(head)
    response.set_header("X-New", "2")
    for _ in range(2):
        response.detach()
        assert response.headers() == [("X-Old", "1"), ("Date", "d"), ("X-New", "2")]
    response.remove_header("x-old")
    assert response.header("X-Old") is None


def test_no_head():
    with pytest.raises(ValueError, match="head"):
        Response.from_bytes(b"HTTP/1.1 200 OK\r\n")


def test_repr():
    assert repr(Response(200, "abc")) == "<response 200 plugin 3 bytes>"
    assert repr(Response.from_bytes(HEAD)) == "<response 404 upstream streams>"
