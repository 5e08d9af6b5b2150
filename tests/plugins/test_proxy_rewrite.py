import time
from collections.abc import Callable
from typing import Any

import pytest

from bascule.plugin.kit.testing import Sent, get, run
from bascule.plugins.proxy_rewrite import ProxyRewrite
from tests.plugins.faults import fault_paths, faults
from tests.servers.gateway import Gateway
from tests.servers.raw import RawConnection, RawUpstream

HEADER_VALUE = "invalid value character in header 'X'"


def sent(conf: dict[str, Any], target: str = "/hello", headers: Any = ()) -> Sent:
    return run(ProxyRewrite, conf, get(target, headers=headers)).upstream


def test_defaults() -> None:
    assert ProxyRewrite.Config.model_validate({}).model_dump(exclude_none=True) == {
        "use_real_request_uri_unsafe": False
    }


@pytest.mark.parametrize(
    ("conf", "target", "upstream"),
    [
        ({"uri": "/new"}, "/hello", "/new"),
        ({"uri": "/new"}, "/hello?q=apisix&a=iresty", "/new?q=apisix&a=iresty"),
        ({"uri": "/new?q=apisix"}, "/hello?a=iresty", "/new?q=apisix&a=iresty"),
        ({"uri": "/new?q=apisix"}, "/hello", "/new?q=apisix"),
        ({"uri": "/$arg_new_uri"}, "/test?new_uri=hello", "/hello?new_uri=hello"),
        ({"uri": "/${arg_x ?? none}/a b/%20"}, "/", "/none/a%20b/%20"),
        ({"uri": "/$uri/remain"}, "/hello%3f0z=700%26a=c%20%0D%0A", "//hello%3F0z=700&a=c%20%0D%0A/remain"),
        ({"uri": "/new?copy=$args"}, "/hello?a=%20", "/new?copy=a=%20&a=%20"),
        ({"uri": "/new?from=$uri"}, "/h%0D%0A%C3%A4", "/new?from=/h%0D%0A%C3%A4"),
        ({"regex_uri": ["^/test/(.*)/(.*)/(.*)", "/$1_$2_$3"]}, "/test/plugin/proxy/rewrite", "/plugin_proxy_rewrite"),
        ({"regex_uri": ["^/test/(.*)/(.*)", "/$1_$2?a=c"]}, "/test/a/b?d=1", "/a_b?a=c&d=1"),
        ({"regex_uri": ["^/test/(.*)", "/${1}1"]}, "/test/hello", "/hello1"),
        ({"regex_uri": ["^/test/(.*)", "/$1"]}, "/test/a%3Fb%25", "/a%3Fb%25"),
        ({"regex_uri": ["^(/reflect.*)", "/x?orig=$1"]}, "/reflect%0d%0aX-In:p", "/x?orig=/reflect%0D%0AX-In:p"),
        ({"regex_uri": ["^(/.*)", "/x?orig=$1"]}, "/a%25b", "/x?orig=/a%25b"),
        ({"regex_uri": ["/v1", ""]}, "/api/v1/users", "/api/users"),
        ({"regex_uri": ["^/", ""]}, "/users", "/users"),
        ({"regex_uri": ["^/a/(.*)", "/1/$1", "^/b/(.*)", "/2/$1", "^/b", "/3"]}, "/b/x", "/2/x"),
        ({"regex_uri": ["^/test/(.*)", "/$1"]}, "/not%2Dmatched?a=1", "/not-matched?a=1"),
        ({"uri": "/hello", "regex_uri": ["^/test/(.*)", "/${1}1"]}, "/test/hello", "/hello"),
        ({"host": "a.test"}, "/print%5Furi//x/../y", "/print_uri/y"),
        ({"host": "a.test"}, "/%E4%BD%A0?a=%20", "/%E4%BD%A0?a=%20"),
        ({"host": "a.test"}, "/%FF%2F", "/%FF/"),
    ],
)
def test_target(conf: dict[str, Any], target: str, upstream: str) -> None:
    assert sent(conf, target).target == upstream


@pytest.mark.parametrize(
    ("conf", "target", "upstream"),
    [
        ({}, "/print%5Furi?q=a", "/print%5Furi?q=a"),
        ({"uri": "/new"}, "/hello?name=a%20b&x=%E4%B8%AD", "/new?name=a%20b&x=%E4%B8%AD"),
        ({"uri": "/new"}, "/hello?a=1?b=2", "/new?a=1?b=2"),
        ({"uri": "/new?x=1"}, "/hello?q=apisix", "/new?x=1&q=apisix"),
        ({"uri": "/new$real_request_uri"}, "/hello%2F", "/new/hello%2F"),
        ({"regex_uri": ["/hello/(.+)", "/hello?v=$1"]}, "/hello/%ED%85%8C", "/hello?v=%ED%85%8C"),
        ({"regex_uri": ["/hello/(.+)", "/hello?v=$1"]}, "/hello/%ED?a=1", "/hello?v=%ED&a=1"),
        ({"uri": "/new/$uri"}, "/a%0D%0Ab", "/new//a%0D%0Ab"),
    ],
)
def test_unsafe_targets_stay_as_received(conf: dict[str, Any], target: str, upstream: str) -> None:
    assert sent({**conf, "use_real_request_uri_unsafe": True}, target).target == upstream


@pytest.mark.parametrize("host", ["apisix.test", "apisix.test:6443", "10.0.0.1"])
def test_host(host: str) -> None:
    assert sent({"host": host}).host == host


def test_method() -> None:
    assert sent({"method": "POST"}).method == "POST"


@pytest.mark.parametrize(
    ("changes", "received", "values"),
    [
        ({"X": "v2"}, [], ["v2"]),
        ({"X": "v2"}, [("x", "v1"), ("x", "v0")], ["v2"]),
        ({"X": ""}, [("x", "v1")], []),
        ({"X": "$helle"}, [("x", "v1")], []),
        ({"X": 2}, [], ["2"]),
        ({"X": "$remote_addr $arg_name ${http_key}"}, [("key", "k")], ["127.0.0.1 Bill k"]),
        ({"add": {"X": "123"}}, [("x", "sssss"), ("x", "bbb")], ["sssss", "bbb", "123"]),
        ({"add": {"X": ["val1", 2]}}, [("x", "origin")], ["origin", "val1", "2"]),
        ({"set": {"X": ["val1", "val2"]}}, [("x", "origin")], ["val1", "val2"]),
        ({"add": {"X": "in_add"}, "set": {"X": "in_set"}}, [], ["in_set"]),
        ({"add": {"X": "1"}, "set": {"X": "2"}, "remove": ["x"]}, [("x", "3")], []),
        ({"remove": ["X"]}, [("x", "word")], []),
        ({"set": {"X": "$uri"}}, [], ["/he llo"]),
        ({"add": {"X": "$1"}}, [], []),
        ({"set": "v"}, [], []),
    ],
)
def test_headers(changes: dict[str, Any], received: list[tuple[str, str]], values: list[str]) -> None:
    assert sent({"headers": changes}, "/he%0D%0Allo?name=Bill", received).header_values("X") == values


@pytest.mark.parametrize(
    ("regex", "changes", "values"),
    [
        ("^/test/(.*)/(.*)/(.*)", {"add": {"X": "$1/$2/$3"}}, ["plugin/proxy/rewrite"]),
        ("^/test/(.*)/(.*)/(.*)", {"set": {"X": ["cap-$1", "$http_x_src"]}}, ["cap-plugin", "from-src"]),
        ("^/test/(not_matched)?.*", {"add": {"X": "test1/$1/$2/test2"}}, ["test1///test2"]),
        ("^/other/(.*)", {"add": {"X": "a${1}b"}}, ["ab"]),
    ],
)
def test_captures_in_headers(regex: str, changes: dict[str, Any], values: list[str]) -> None:
    conf = {"regex_uri": [regex, "/echo"], "headers": changes}
    assert sent(conf, "/test/plugin/proxy/rewrite", {"X-Src": "from-src"}).header_values("X") == values


@pytest.mark.parametrize(
    ("conf", "path"),
    [
        ({"uri": "home"}, "$.uri"),
        ({"uri": ""}, "$.uri"),
        ({"uri": "/" * 4097}, "$.uri"),
        ({"method": "GET1"}, "$.method"),
        ({"host": "a b"}, "$.host"),
        ({"host": "a.test:123456"}, "$.host"),
        ({"regex_uri": ["^/test/(.*)"]}, "$.regex_uri"),
        ({"regex_uri": ["^/test/(.*)", "/$1", "^/x"]}, "$.regex_uri"),
        ({"regex_uri": ["[^/test/(.*)", "/$1"]}, "$.regex_uri"),
        ({"regex_uri": ["^/test/(.*)", "/$`1"]}, "$.regex_uri"),
        ({"headers": {}}, "$.headers"),
        ({"headers": {"X-Api:Version": "v2"}}, "$.headers"),
        ({"headers": {"X": True}}, "$.headers.X"),
        ({"headers": {"add": {}}}, "$.headers.add"),
        ({"headers": {"add": {"X": []}}}, "$.headers.add.X"),
        ({"headers": {"remove": []}}, "$.headers.remove"),
        ({"headers": {"remove": ["a:b"]}}, "$.headers.remove[0]"),
        ({"headers": {"add": {"X": "1"}, "drop": ["Y"]}}, "$.headers.drop"),
        ({"headers": {"set": {"Content-Length": "1"}}}, "$.headers.set"),
        ({"use_real_request_uri_unsafe": 1}, "$.use_real_request_uri_unsafe"),
        ({"scheme": "https"}, "$.scheme"),
    ],
)
def test_refuses(conf: dict[str, Any], path: str) -> None:
    assert set(fault_paths(ProxyRewrite, conf)) == {path}


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        ({"regex_uri": ["a", "b", "c"]}, "The length of regex_uri should be an even number"),
        ({"regex_uri": ["[^/test/(.*)", "/$1"]}, "invalid regex_uri([^/test/(.*), /$1): "),
        ({"regex_uri": ["^/", "/$`1"]}, 'invalid regex_uri(^/, /$`1): invalid capturing variable name found in "/$`1"'),
        ({"headers": {"X-Api:Version": "v2"}}, "invalid field character in header: "),
        ({"headers": {"X": "v2\r\n"}}, HEADER_VALUE),
        ({"headers": {"add": {"X": ["a", "v2\n"]}}}, HEADER_VALUE),
    ],
)
def test_sentences(conf: dict[str, Any], sentence: str) -> None:
    assert faults(ProxyRewrite, conf)[0][1].startswith(sentence)


@pytest.mark.parametrize(
    ("asked", "sent_as", "length", "body"),
    [
        ("GET", "HEAD", None, b""),
        ("HEAD", "POST", "5", b""),
        ("GET", "POST", "5", b"hello"),
        ("POST", "GET", "5", b"hello"),
    ],
)
def test_a_changed_method_keeps_connections_in_step(
    asked: str,
    sent_as: str,
    length: str | None,
    body: bytes,
    reloaded: Callable[..., Gateway],
    raw_upstream: Callable[..., RawUpstream],
) -> None:
    def play(connection: RawConnection) -> None:
        while True:
            method = connection.read_request().method
            assert method == sent_as
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            if method != "HEAD":
                time.sleep(0.05)
                connection.send(b"hello")

    upstream = {"type": "roundrobin", "nodes": {raw_upstream(play).address: 1}}
    conf = {"proxy-rewrite": {"method": sent_as}}
    serving = reloaded({"routes": [{"id": "1", "uri": "/*", "plugins": conf, "upstream": upstream}]})
    with serving.client() as client:
        for _ in range(3):
            answer = client.request(asked, "/")
            assert (answer.status, answer.header("Content-Length"), answer.body) == (200, length, body)
