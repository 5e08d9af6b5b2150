from typing import Any

import pytest

from bascule.plugin.kit.testing import get, request, run
from bascule.plugins.redirect import Redirect
from tests.plugins.faults import fault_paths, faults


def test_defaults() -> None:
    conf = Redirect.Config.model_validate({"uri": "/there"})
    assert conf.model_dump(exclude_none=True) == {
        "uri": "/there",
        "ret_code": 302,
        "append_query_string": False,
        "encode_uri": False,
    }


@pytest.mark.parametrize(
    ("conf", "target", "location"),
    [
        ({"uri": "/test/add"}, "/hello", "/test/add"),
        ({"uri": "/test${uri}add"}, "/hello", "/test/helloadd"),
        ({"uri": "$uri/test/add"}, "/hello", "/hello/test/add"),
        ({"uri": "/foo$$uri"}, "/hello", "/foo$/hello"),
        ({"uri": r"/foo\$uri/bar"}, "/hello", "/foo$uri/bar"),
        ({"uri": "/foo/$undefined/bar"}, "/hello", "/foo//bar"),
        ({"uri": "/x?u=${arg_u ?? none}"}, "/hello", "/x?u=none"),
        ({"uri": "https://$host$request_uri"}, "/hello?a=1", "https://gateway.test/hello?a=1"),
        ({"uri": "/x", "append_query_string": True}, "/hello?a=1", "/x?a=1"),
        ({"uri": "/x?b=2", "append_query_string": True}, "/hello?a=1", "/x?b=2&a=1"),
        ({"uri": "/x", "append_query_string": True}, "/hello", "/x"),
        ({"uri": "$uri", "encode_uri": True}, "/hello%20%25world%22", "/hello%20%25world%22"),
        ({"uri": "$uri"}, "/hello%0D%0AX-Injected:%201", "/hello%0D%0AX-Injected:%201"),
        ({"uri": "$uri"}, "/h%C3%A4", "/h%C3%A4"),
        ({"regex_uri": ["^/test/(.*)", "http://test.com/${1}"]}, "/test/hello", "http://test.com/hello"),
        (
            {"regex_uri": ["^/test/(.*)", "http://test.com/${1}?q=apisix"], "append_query_string": True},
            "/test/hello?o=apache",
            "http://test.com/hello?q=apisix&o=apache",
        ),
        ({"regex_uri": ["/b", "/$0"]}, "/a/b/c/b", "/a//b/c/b"),
    ],
)
def test_location(conf: dict[str, Any], target: str, location: str) -> None:
    result = run(Redirect, conf, get(target))
    assert (result.status, result.header("Location"), result.body) == (302, location, b"")


def test_own_status() -> None:
    assert run(Redirect, {"uri": "/x", "ret_code": 301}, get("/")).status == 301


def test_a_uri_that_the_regex_misses_goes_on() -> None:
    assert run(Redirect, {"regex_uri": ["^/test/(.*)", "/$1"]}, get("/other")).answered_by == "upstream"


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 301), ("HEAD", 301), ("POST", 308), ("PUT", 308), ("DELETE", 308)]
)
def test_http_to_https(method: str, status: int) -> None:
    result = run(Redirect, {"http_to_https": True}, request(method, "http://Foo.com:9080/hello?a=1"))
    assert (result.status, result.header("Location")) == (status, "https://foo.com/hello?a=1")


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ({"settings": {"https_port": 9443}}, ":9443"),
        ({"settings": {"https_port": 443}}, ""),
        ({"attr": {"https_port": 8443}, "settings": {"https_port": 9443}}, ":8443"),
        ({}, ""),
    ],
)
def test_https_port(host: dict[str, Any], port: str) -> None:
    result = run(Redirect, {"http_to_https": True}, get("http://foo.com/hello"), **host)
    assert result.header("Location") == f"https://foo.com{port}/hello"


@pytest.mark.parametrize(
    ("url", "proxies", "forwarded", "goes_on"),
    [
        ("https://foo.com/", (), {}, True),
        ("http://foo.com/", ("127.0.0.0/8",), {}, False),
        ("http://foo.com/", ("127.0.0.0/8",), {"X-Forwarded-Proto": "https"}, True),
        ("https://foo.com/", ("127.0.0.0/8",), {"X-Forwarded-Proto": "http"}, False),
        ("http://foo.com/", ("10.0.0.0/8",), {"X-Forwarded-Proto": "https"}, False),
        ("http://foo.com/", (), {"X-Forwarded-Proto": "https"}, False),
    ],
)
def test_a_trusted_proxy_says_how_the_client_came(
    url: str, proxies: tuple[str, ...], forwarded: dict[str, str], goes_on: bool
) -> None:
    settings = {"trusted_addresses": proxies}
    result = run(Redirect, {"http_to_https": True}, get(url, headers=forwarded), settings=settings)
    assert (result.answered_by == "upstream") is goes_on


def test_http_to_https_may_be_off() -> None:
    assert run(Redirect, {"http_to_https": False}, get("/")).answered_by == "upstream"
    assert fault_paths(Redirect, {"http_to_https": True, "append_query_string": False}) == []


@pytest.mark.parametrize(
    ("conf", "path"),
    [
        ({}, "$"),
        ({"uri": "/x", "http_to_https": True}, "$"),
        ({"uri": "/x", "regex_uri": ["a", "b"]}, "$"),
        ({"http_to_https": True, "append_query_string": True}, "$"),
        ({"uri": "/"}, "$.uri"),
        ({"uri": "\\\\"}, "$.uri"),
        ({"uri": "/x", "ret_code": 199}, "$.ret_code"),
        ({"regex_uri": ["^/a"]}, "$.regex_uri"),
        ({"regex_uri": ["^/a", "/b", "/c"]}, "$.regex_uri"),
        ({"regex_uri": ["^/a(", "/b"]}, "$.regex_uri"),
        ({"regex_uri": ["^/a", "/$b"]}, "$.regex_uri"),
        ({"uri": "/x", "code": 301}, "$.code"),
    ],
)
def test_refuses(conf: dict[str, Any], path: str) -> None:
    assert fault_paths(Redirect, conf) == [path]


def test_says_what_collides() -> None:
    sentence = "only one of `http_to_https` and `append_query_string` can be configured."
    assert faults(Redirect, {"http_to_https": True, "append_query_string": True}) == [("$", sentence)]
