import gzip
import logging
import time
import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from bascule.plugin.kit.testing import Result, Upstream, get, make, request, run
from bascule.plugin.response import Response
from bascule.plugins.response_rewrite import ResponseRewrite
from tests.plugins.faults import fault_paths, faults
from tests.servers.gateway import Gateway
from tests.servers.raw import RawConnection, RawUpstream, answers, response

HELLO = b"hello world\n"
FIRST_L = [{"regex": "l", "replace": "L"}]
brotli: Any = import_module("brotli")


def call(conf: dict[str, Any], body: Any = HELLO, headers: Any = (), target: str = "/", **options: Any) -> Result:
    return run(
        ResponseRewrite,
        conf,
        get(target, variables={"status": 200}),
        upstream=Upstream(headers=headers, body=body),
        **options,
    )


def test_defaults() -> None:
    conf = ResponseRewrite.Config.model_validate({"filters": [{"regex": "a", "replace": "b"}]})
    assert conf.model_dump(exclude_none=True) == {
        "body_base64": False,
        "filters": [{"regex": "a", "replace": "b", "scope": "once", "options": "jo"}],
        "max_resp_body_size": 67108864,
    }


def test_status() -> None:
    assert call({"status_code": 502}).status == 502


@pytest.mark.parametrize(
    ("changes", "received", "values"),
    [
        ({"X": "v"}, [("X", "old")], ["v"]),
        ({"X": 3}, [], ["3"]),
        ({"X": ""}, [("X", "old")], []),
        ({"X": "$remote_addr:$remote_port-${arg_q ?? none}"}, [], ["127.0.0.1:34567-1"]),
        ({"X": "$uri"}, [], ["/a b"]),
        ({"set": {"X": 1.5}}, [("X", "old")], ["1.5"]),
        ({"add": ["X: no-cache", "X : max-age=0, must-revalidate"]}, [], ["no-cache", "max-age=0, must-revalidate"]),
        ({"add": ["X: $arg_q"]}, [("X", "old")], ["old", "1"]),
        ({"add": ["X: no-cache"], "set": {"X": "max-age=0"}}, [], ["max-age=0"]),
        ({"add": ["X: a"], "set": {"X": "b"}, "remove": ["x"]}, [("X", "old")], []),
        ({"set": "v"}, [("X", "old")], ["old"]),
    ],
)
def test_headers(changes: dict[str, Any], received: list[tuple[str, str]], values: list[str]) -> None:
    result = call({"headers": changes}, headers=received, target="/a%0D%0Ab?q=1")
    assert result.header_values("X") == values
    assert result.body == HELLO


@pytest.mark.parametrize("conf", [{"headers": {"X": "v"}}, {"status_code": 500}, {}])
def test_the_body_is_left_alone_unless_it_changes(conf: dict[str, Any]) -> None:
    assert make(ResponseRewrite, conf).hooks() == ("header_filter",)


@pytest.mark.parametrize(
    ("conf", "body"),
    [
        ({"body": "new body\n"}, b"new body\n"),
        ({"body": ""}, b""),
        ({"body": "$uri"}, b"$uri"),
        ({"body": "SGVsbG8K", "body_base64": True}, b"Hello\n"),
        ({"body": "AP8=", "body_base64": True}, b"\x00\xff"),
    ],
)
@pytest.mark.parametrize("received", [b"", HELLO, [b"hello", b" ", b"world"]])
def test_body(conf: dict[str, Any], body: bytes, received: Any) -> None:
    assert call(conf, received).body == body


def test_a_new_body_is_given_once_at_the_end() -> None:
    plugin = make(ResponseRewrite, {"body": "new"})
    result = run([plugin], get("/"), upstream=Upstream(body=[b"a", b"b"]))  # type: ignore[list-item]
    assert result.chunks == [b"new"]


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "zstd"])
def test_a_new_body_has_no_coding(coding: str) -> None:
    headers = {"Content-Encoding": coding, "ETag": '"1"', "Last-Modified": "x", "Content-Type": "text/html"}
    result = call({"body": "new"}, headers=headers)
    assert result.headers == [("Content-Type", "text/html")]


@pytest.mark.parametrize(
    ("filters", "body"),
    [
        ([{"regex": "hello", "replace": "test"}], b"test world\n"),
        ([{"regex": "hello", "replace": ""}], b" world\n"),
        ([{"regex": "l", "replace": "t", "scope": "global"}], b"hetto wortd\n"),
        ([{"regex": "l", "replace": "t"}], b"hetlo world\n"),
        ([{"regex": r"\w\S+$", "replace": "*"}], b"hello *\n"),
        ([{"regex": "hello", "replace": "HELLO"}, {"regex": "L", "replace": "T"}], b"HETLO world\n"),
        ([{"regex": "test", "replace": "TEST"}], HELLO),
        ([{"regex": "HELLO", "replace": "x", "options": "ijo"}], b"x world\n"),
        ([{"regex": r"(\w+) (\w+)", "replace": "$2 ${1}$$"}], b"world hello$\n"),
        ([{"regex": "o.*d", "replace": "é"}], "hellé\n".encode()),
    ],
)
@pytest.mark.parametrize("chunks", [HELLO, [b"he", b"llo wor", b"ld\n"]])
def test_filters(filters: list[dict[str, str]], body: bytes, chunks: Any) -> None:
    assert call({"filters": filters}, chunks).body == body


@pytest.mark.parametrize(
    ("options", "body"), [("jo", b"\xe4\xbd\xa0\xff"), ("u", "xä".encode() + b"\xff"), ("ux", "xä".encode() + b"\xff")]
)
def test_filters_count_bytes_or_characters(options: str, body: bytes) -> None:
    conf = {"filters": [{"regex": "^.ä", "replace": "xä", "options": options}]}
    received = "你ä".encode() + b"\xff" if "u" in options else b"\xe4\xbd\xa0\xff"
    assert call(conf, received).body == body


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(HELLO, mtime=0)),
        ("x-gzip", gzip.compress(HELLO[:5], mtime=0) + gzip.compress(HELLO[5:], mtime=0)),
        ("br", brotli.compress(HELLO)),
        ("deflate", zlib.compress(HELLO)),
        ("deflate", zlib.compress(HELLO)[2:-4]),
        ("identity", HELLO),
    ],
)
def test_filters_see_the_decoded_body(coding: str, packed: bytes) -> None:
    conf = {"filters": [{"regex": "hello", "replace": "test"}]}
    for chunks in (packed, [packed[i : i + 1] for i in range(len(packed))]):
        result = call(conf, chunks, {"Content-Encoding": coding, "ETag": '"1"'})
        assert (result.body, result.headers) == (b"test world\n", [])


def test_the_length_of_the_old_body_is_gone_for_head_too() -> None:
    plugin = make(ResponseRewrite, {"body": "new"})
    response = Response.from_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n")
    plugin.header_filter(request("HEAD", "/"), response)
    assert response.headers() == []


def test_headers_alone_keep_the_coding() -> None:
    assert call({"headers": {"X": "1"}}, headers={"Content-Encoding": "gzip"}).header("Content-Encoding") == "gzip"


def test_an_unknown_coding_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    conf = {"filters": [{"regex": "hello", "replace": "test"}]}
    with caplog.at_level(logging.WARNING):
        result = call(conf, headers={"Content-Encoding": "zstd"})
    assert (result.body, result.header("Content-Encoding")) == (HELLO, "zstd")
    assert "unsupported compression encoding type: zstd" in caplog.text


def test_what_is_not_what_its_coding_says_passes(caplog: pytest.LogCaptureFixture) -> None:
    conf = {"filters": [{"regex": "fake", "replace": "test"}]}
    with caplog.at_level(logging.WARNING):
        result = call(conf, [b"fake ", b"body"], headers={"Content-Encoding": "gzip"})
    assert (result.body, result.chunks) == (b"fake body", [b"fake ", b"body"])
    assert "can't be decoded" in caplog.text


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_what_is_too_large_passes_unfiltered(coding: str, caplog: pytest.LogCaptureFixture) -> None:
    conf = {"filters": [{"regex": "hello", "replace": "test", "scope": "global"}], "max_resp_body_size": 20}
    body = b"hello " * 4
    packed = gzip.compress(body, mtime=0) if coding == "gzip" else body
    with caplog.at_level(logging.WARNING):
        result = call(conf, [packed[:9], packed[9:20], packed[20:]], {"Content-Encoding": coding})
    assert (result.body, result.header("Content-Encoding")) == (body, None)
    assert "larger than max_resp_body_size 20" in caplog.text
    assert call({**conf, "max_resp_body_size": 24}, body).body == b"test " * 4


@pytest.mark.parametrize(
    ("rule", "hit"),
    [(["status", "==", 200], True), (["status", "==", 404], False), (["arg_a", "==", "1"], True)],
)
def test_vars(rule: list[Any], hit: bool) -> None:
    conf = {"vars": [rule], "status_code": 201, "headers": {"X": "1"}, "body": "new"}
    result = call(conf, target="/?a=1")
    assert (result.status, result.header("X"), result.body) == ((201, "1", b"new") if hit else (200, None, HELLO))
    filters = [{"regex": "hello", "replace": "x"}]
    assert (call({"vars": [rule], "filters": filters}, target="/?a=1").body != HELLO) is hit


def test_two_instances_keep_apart() -> None:
    first = make(ResponseRewrite, {"body": "new", "vars": [["status", "==", 404]]}, holder="global_rules/1")
    second = make(ResponseRewrite, {"filters": [{"regex": "hello", "replace": "x"}]}, holder="routes/1")
    result = run([first, second], get("/", variables={"status": 200}), upstream=Upstream(body=HELLO))  # type: ignore[list-item]
    assert result.body == b"x world\n"


@pytest.mark.parametrize(
    ("conf", "path"),
    [
        ({"status_code": 199}, "$.status_code"),
        ({"status_code": 599}, "$.status_code"),
        ({"body": "test", "filters": [{"regex": "l", "replace": "m"}]}, "$"),
        ({"body": "1", "body_base64": True}, "$"),
        ({"body": "", "body_base64": True}, "$"),
        ({"filters": []}, "$.filters"),
        ({"filters": [{"regex": "l"}]}, "$.filters[0].replace"),
        ({"filters": [{"regex": "", "replace": "m"}]}, "$.filters[0].regex"),
        ({"filters": [{"regex": "l", "replace": "m", "scope": "two"}]}, "$.filters[0].scope"),
        ({"filters": [{"regex": "l", "replace": "m", "options": "h"}]}, "$.filters[0]"),
        ({"filters": [{"regex": "(", "replace": "m"}]}, "$.filters[0]"),
        ({"filters": [{"regex": "a", "replace": "$x"}]}, "$.filters[0]"),
        ({"headers": {}}, "$.headers"),
        ({"headers": {"add": [["headers:"]]}}, "$.headers.add[0]"),
        ({"headers": {"add": ["headers:"]}}, "$.headers.add[0]"),
        ({"headers": {"remove": ["headers:"]}}, "$.headers.remove[0]"),
        ({"headers": {"set": ["headers"]}}, "$.headers.set"),
        ({"headers": {"set": {"a": True}}}, "$.headers.set.a"),
        ({"headers": {"set": {"a:b": 1}}}, '$.headers.set["a:b"]'),
        ({"headers": {"a\n": "b"}}, "$.headers"),
        ({"headers": {"a": "b\n"}}, "$.headers"),
        ({"headers": {"Transfer-Encoding": "b"}}, "$.headers"),
        ({"max_resp_body_size": 0}, "$.max_resp_body_size"),
        ({"vars": [["status", "=", 200]]}, "$.vars"),
        ({"vars": {}}, "$.vars"),
        ({"status": 200}, "$.status"),
    ],
)
def test_refuses(conf: dict[str, Any], path: str) -> None:
    assert set(fault_paths(ResponseRewrite, conf)) == {path}


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        ({"body": "1", "body_base64": True}, "invalid base64 content"),
        (
            {"filters": [{"regex": "hello", "replace": "HELLO", "options": "h"}]},
            'regex "hello" validation failed: unknown flag "h" (flags "h")',
        ),
    ],
)
def test_sentences(conf: dict[str, Any], sentence: str) -> None:
    assert [told for _, told in faults(ResponseRewrite, conf)] == [sentence]


@pytest.mark.parametrize(
    ("conf", "head", "pieces", "body"),
    [
        ({"body": "new"}, b"Content-Length: 12\r\n", [b"hello ", b"world\n"], b"new"),
        ({"body": "new"}, b"Transfer-Encoding: chunked\r\n", [b"5\r\nhello\r\n", b"0\r\n\r\n"], b"new"),
        ({"body": ""}, b"Content-Length: 5\r\n", [b"hello"], b""),
        ({"body": "new"}, b"Content-Length: 0\r\n", [], b"new"),
        ({"filters": FIRST_L}, b"Transfer-Encoding: chunked\r\n", [b"2\r\nhe\r\n", b"3\r\nllo\r\n0\r\n\r\n"], b"heLlo"),
        ({"filters": FIRST_L}, b"Content-Length: 5\r\n", [b"he", b"llo"], b"heLlo"),
        (
            {"filters": FIRST_L},
            b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(gzip.compress(b"hello", mtime=0)),
            [gzip.compress(b"hello", mtime=0)],
            b"heLlo",
        ),
        ({"headers": {"X-Done": "yes"}}, b"Content-Length: 5\r\n", [b"he", b"llo"], b"hello"),
    ],
)
def test_served(
    conf: dict[str, Any],
    head: bytes,
    pieces: list[bytes],
    body: bytes,
    reloaded: Callable[..., Gateway],
    raw_upstream: Callable[..., RawUpstream],
) -> None:
    def play(connection: RawConnection) -> None:
        while True:
            method = connection.read_request().method
            connection.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
            for piece in pieces if method != "HEAD" else ():
                connection.send(piece)
                time.sleep(0.01)

    upstream = {"type": "roundrobin", "nodes": {raw_upstream(play).address: 1}}
    rule = {"id": "1", "plugins": {"response-rewrite": {"headers": {"X-Rule": "1"}}}}
    route = {"id": "1", "uri": "/*", "plugins": {"response-rewrite": conf}, "upstream": upstream}
    serving = reloaded({"routes": [route], "global_rules": [rule]})
    with serving.client() as client:
        for method in ("GET", "HEAD", "GET"):
            answer = client.request(method, "/")
            assert (answer.status, answer.body) == (200, b"" if method == "HEAD" else body)
            assert answer.header("X-Rule") == "1"
            assert answer.header("Content-Encoding") is None
            if "body" in conf and method == "GET":  # known beforehand
                assert answer.header_values("Content-Length") == [str(len(body))]
                assert answer.header("Transfer-Encoding") is None
        assert client.request("GET", "/").header("X-Done") == conf.get("headers", {}).get("X-Done")


def test_a_replaced_body_with_another_filter_behind_it_or_without_a_place(
    reloaded: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    """Two that change the body: its length isn't known beforehand. And statuses that have none."""
    upstream = {"nodes": {raw_upstream(answers(response(b"old"))).address: 1}}
    routes = [
        {
            "id": "status",
            "uri": "/204",
            "plugins": {"response-rewrite": {"body": "new", "status_code": 204}},
            "upstream": upstream,
        },
        {"id": "1", "uri": "/*", "plugins": {"response-rewrite": {"body": "inner"}}, "upstream": upstream},
    ]
    rules = [{"id": "1", "plugins": {"response-rewrite": {"filters": [{"regex": "old", "replace": "outer"}]}}}]
    serving = reloaded({"routes": routes, "global_rules": rules})
    with serving.client() as client:
        for _ in range(2):
            answer = client.request("GET", "/204")
            assert (answer.status, answer.body) == (204, b"")
            assert answer.header("Content-Length") is None
            assert answer.header("Transfer-Encoding") is None
            answer = client.request("GET", "/")
            assert answer.body == b"inner"
            assert answer.header("Transfer-Encoding") == "chunked"
            assert answer.header("Content-Length") is None
