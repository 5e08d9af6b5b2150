import pytest

from bascule.plugin import BodyTooLarge, Request
from bascule.plugin.exchange import MemoryExchange
from bascule.plugin.kit.drive import Suspended, drive
from bascule.plugin.kit.testing import Binding, get, post, request

HEAD = (
    b"GET //a/./b/..//%63%C3%A9?x=1&y=%20+&x=2&flag HTTP/1.1\r\n"
    b'Host: Shop.Example:8080\r\nX-One: 1\r\nx-one: 2\r\nCookie: a=1; b="2";c\r\nCookie: d=4\r\n'
    b"X-Forwarded-For: 1.1.1.1\r\nConnection: close, X-One\r\n\r\n"
)


@pytest.fixture
def received():
    return Request.from_bytes(HEAD, remote_addr="10.0.0.1", remote_port=999)


def test_request_line(received):
    assert received.method == "GET"
    assert received.path == "/a/cé"
    assert received.query == "x=1&y=%20+&x=2&flag"
    assert received.request_uri == "/a/cé?x=1&y=%20+&x=2&flag"
    assert received.raw_target == "//a/./b/..//%63%C3%A9?x=1&y=%20+&x=2&flag"
    assert received.request_line == f"GET {received.raw_target} HTTP/1.1"
    assert received.http_version == "1.1"
    assert received.scheme == "http"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/a?", "/a", ""),
        ("/a?b", "/a", "b"),
        ("http://h.test", "/", ""),
        ("http://h.test/x?y", "/x", "y"),
    ],
)
def test_targets(target, path, query):
    made = Request.from_bytes(f"GET {target} HTTP/1.1\r\nHost: h.test\r\n\r\n".encode())
    assert (made.path, made.query) == (path, query)


@pytest.mark.parametrize(
    ("sent", "host"),
    [("Shop.Example:8080", "shop.example"), ("a", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]")],
)
def test_host_has_no_port(sent, host):
    made = get("/", headers={"Host": sent})
    assert (made.authority, made.host) == (sent, host)


def test_http10_without_host():
    made = Request.from_bytes(b"GET / HTTP/1.0\r\n\r\n")
    assert (made.host, made.authority, made.http_version, made.upstream_host) == ("", "", "1.0", "")


def test_arguments(received):
    assert received.args() == [("x", "1"), ("y", "  "), ("x", "2"), ("flag", "")]
    assert received.arg("x") == "1"
    assert received.arg("flag") == ""
    assert received.arg("absent") is None
    assert get("/").arg("x") is None


def test_headers_are_read_in_any_case(received):
    assert received.header("X-ONE") == "1"
    assert received.header_values("X-One") == ["1", "2"]
    assert received.header("absent") is None
    assert received.header("Kopf-é") is None
    assert ("x-one", "2") in received.headers()
    with pytest.raises(TypeError):
        received.header(b"x-one")


def test_cookies(received):
    assert [received.cookie(name) for name in "abcd"] == ["1", '"2"', None, "4"]
    assert received.cookie("A") is None


def test_set_header_replaces_every_field(received):
    received.set_header("X-One", "3")
    assert received.header_values("x-one") == ["3"]
    received.add_header("x-ONE", 4)
    assert received.header_values("x-one") == ["3", "4"]
    received.set_header("X-One", "5")
    assert received.header_values("x-one") == ["5"]
    received.remove_header("x-one")
    assert received.header("X-One") is None
    assert [name for name, _ in received.headers()].count("x-one") == 0


def test_bad_headers_change_nothing(received):
    for name, value in (("X One", "1"), ("X-One", "a\r\nb"), ("Connection", "x")):
        with pytest.raises(ValueError, match="header"):
            received.set_header(name, value)
        with pytest.raises(ValueError, match="header"):
            received.add_header(name, value)
    assert received.header_values("x-one") == ["1", "2"]


def test_host_header_is_the_upstream_host(received):
    received.set_header("Host", "inner.test:81")
    assert received.upstream_host == "inner.test:81"
    assert received.header("host") == "inner.test:81"
    assert received.header_values("HOST") == ["inner.test:81"]
    assert dict(received.headers())["Host"] == "inner.test:81"
    assert received.host == "shop.example"
    received.remove_header("Host")
    assert received.header("Host") == "inner.test:81"
    with pytest.raises(ValueError, match="one Host"):
        received.add_header("Host", "other")
    with pytest.raises(ValueError, match="host name"):
        received.set_upstream_host("a b")


def test_method(received):
    received.method = "post"
    assert received.method == "POST"
    assert received.var("request_method") == "GET"
    with pytest.raises(ValueError, match="token"):
        received.method = "A B"


def test_upstream_target(received):
    assert received.upstream_target == received.raw_target
    received.set_upstream_target("/new path?a=b%20c")
    assert received.upstream_target == "/new%20path?a=b%20c"
    assert received.path == "/a/cé"
    with pytest.raises(ValueError, match="slash"):
        received.set_upstream_target("no")


def test_upstream_target_of_other_forms():
    absolute = Request.from_bytes(b"GET http://h.test?x=1 HTTP/1.1\r\nHost: h.test\r\n\r\n")
    assert absolute.upstream_target == "/?x=1"
    assert Request.from_bytes(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").upstream_target == "*"


def test_client_address(received):
    assert (received.remote_addr, received.remote_port) == ("10.0.0.1", 999)
    received.set_client("2001:db8::1")
    assert (received.remote_addr, received.remote_port) == ("2001:db8::1", 999)
    received.set_client("10.0.0.2", 80)
    assert (received.remote_addr, received.remote_port) == ("10.0.0.2", 80)
    assert (received.server_addr, received.server_port) == ("127.0.0.1", 9080)
    with pytest.raises(TypeError):
        received.set_client(5)


def test_body_is_held_up_to_a_limit():
    made = post("/", "0123456789")
    assert made.content_length == 10
    assert made.held_body is None
    assert drive(made.peek_body(3)) == b"012"
    assert made.held_body == b"012"
    assert drive(made.body(10)) == b"0123456789"
    with pytest.raises(BodyTooLarge) as caught:
        drive(made.body(9))
    assert caught.value.limit == 9


def test_a_body_of_unknown_length_is_measured():
    made = post("/", "0123456789", headers={"Transfer-Encoding": "chunked"})
    assert made.content_length is None
    with pytest.raises(BodyTooLarge):
        drive(made.body(9))
    assert len(made.held_body) == 10


def test_a_replaced_body_is_the_body():
    made = post("/", "old")
    assert made.replaced_body is None
    made.set_body(b"new one")
    assert (made.held_body, made.replaced_body) == (b"new one", b"new one")
    assert drive(made.body(7)) == b"new one"
    assert drive(made.peek_body(3)) == b"new"
    with pytest.raises(BodyTooLarge):
        drive(made.body(6))
    with pytest.raises(TypeError):
        made.set_body("text")


def test_a_body_that_is_not_there_yet_is_awaited():
    class Later:
        def __await__(self):
            yield
            return b"late"

    class Slow(MemoryExchange):
        def read_body(self, n):
            return Later()

    made = post("/", "late")
    made.exchange = Slow()
    with pytest.raises(Suspended):
        drive(made.body(10))
    waiting = made.body(10)
    waiting.send(None)
    with pytest.raises(StopIteration) as stop:
        waiting.send(None)
    assert stop.value.value == b"late"


def test_posted_data_is_parsed_once_per_body():
    made = post("/", {"a": 1})
    assert made.posted() is None
    drive(made.body(100))
    assert made.posted() is made.posted()
    assert made.posted() == {"a": 1}
    made.set_body(b'{"a":2}')
    assert made.posted() == {"a": 2}


def test_consumer_headers_are_the_gateways():
    spoofed = {"X-Consumer-Username": "root", "X-Credential-Identifier": "c", "X-Consumer-Custom-ID": "i"}
    made = get("/", headers=spoofed)
    made.attach_consumer(Binding("jack"))
    assert made.consumer.consumer_name == "jack"
    assert [made.header(name) for name in spoofed] == ["jack", None, None]
    made.attach_consumer(Binding("jill", credential_id="c1", custom_id="7"))
    assert [made.header_values(name) for name in spoofed] == [["jill"], ["c1"], ["7"]]


@pytest.mark.parametrize("spelt", ["x-consumer-username", "X-CONSUMER-USERNAME", "x-Consumer-username"])
def test_consumer_headers_are_the_gateways_in_any_case(spelt):
    made = get("/", headers={spelt: "root"})
    made.attach_consumer(Binding("jack"))
    assert made.header_values("X-Consumer-Username") == ["jack"]


def test_what_is_told_of_a_consumer_is_each_requests_own():
    jack = Binding("jack")
    first, second = get("/"), get("/")
    first.attach_consumer(jack)
    first.add_header("X-More", "1")
    second.set_header("X-Other", "2")
    second.attach_consumer(jack)
    assert ("X-More", "1") in first.headers()
    added = [("X-Consumer-Username", "jack"), ("X-Other", "2")]
    assert sorted(pair for pair in second.headers() if pair[0].startswith("X-")) == added


def test_consumers_are_found():
    jack = Binding("jack")
    made = Request.from_bytes(HEAD, consumers={"key-auth": {"k": jack}})
    assert made.find_consumer("key-auth", "k") is jack
    assert made.find_consumer_by_name("jack") is jack


def test_variables(received):
    assert received.var("uri") == "/a/cé"
    assert received.var("mine") is None
    received.set_var("mine", 5)
    assert received.var("mine") == 5
    assert received.own_var("mine") == 5
    received.exchange.variables["status"] = 200
    assert received.var("status") == 200
    for name in ("uri", "arg_x", "http_host"):
        with pytest.raises(ValueError, match=name):
            received.set_var(name, "x")


def test_ctx_is_one_dict(received):
    received.ctx["a"] = 1
    assert received.ctx == {"a": 1}


def test_what_is_no_head_is_refused():
    for head in (b"", b"GET / HTTP/1.1\r\n", b"nonsense\r\n\r\n"):
        with pytest.raises(ValueError, match="head"):
            Request.from_bytes(head)


def test_repr(received):
    assert repr(get("/x?y")) == "<request GET gateway.test/x?y>"
    received.attach_consumer(Binding("jack"))
    assert repr(received).endswith(" consumer jack>")


def test_a_full_url_gives_scheme_and_host():
    made = request("GET", "https://h.test/x")
    assert (made.scheme, made.host, made.path) == ("https", "h.test", "/x")
