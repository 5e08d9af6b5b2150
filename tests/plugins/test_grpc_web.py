import base64
from typing import Any

import pytest

from bascule.plugin.kit.grpc_frames import frame
from bascule.plugin.kit.testing import Result, Upstream, get, post, request, run
from bascule.plugins.cors import Cors
from bascule.plugins.grpc_web import GrpcWeb
from tests.plugins.faults import fault_paths

BINARY, TEXT = "application/grpc-web+proto", "application/grpc-web-text+proto"
ANSWER = Upstream(
    headers={"Content-Type": "application/grpc"},
    body=[frame(b"one"), frame(b"two")],
    trailers=[("grpc-status", "0"), ("grpc-message", ""), ("X-Cost", "3")],
)
TRAILERS = frame(b"grpc-status:0\r\ngrpc-message:\r\nx-cost:3\r\n", 0x80)
STAR = {"matched_uri": "/web/*"}


def call(
    body: bytes = frame(b"q"),
    kind: str = BINARY,
    target: str = "/web/a.B/C",
    conf: Any = None,
    upstream: Upstream = ANSWER,
    pattern: str = "/web/*",
) -> Result:
    sent = post(target, body, headers={"Content-Type": kind}, variables={"matched_uri": pattern})
    return run(GrpcWeb, conf or {}, sent, upstream=upstream)


def test_configurations() -> None:
    conf = GrpcWeb.Config.model_validate({})
    assert conf.model_dump() == {
        "cors_allow_headers": "content-type,x-grpc-web,x-user-agent",
        "max_req_body_size": 67108864,
    }
    assert fault_paths(GrpcWeb, {"max_req_body_size": 0, "x": 1}) == ["$.max_req_body_size", "$.x"]
    assert (GrpcWeb.priority, GrpcWeb.version) == (505, 0.1)


@pytest.mark.parametrize(
    ("kind", "sent_as"),
    [
        (BINARY, "application/grpc+proto"),
        ("application/grpc-web", "application/grpc"),
        ("Application/gRPC-Web+json ; charset=utf-8", "application/grpc+json"),
    ],
)
def test_binary(kind: str, sent_as: str) -> None:
    result = call(kind=kind)
    sent = result.upstream
    assert (sent.method, sent.target, sent.body) == ("POST", "/a.B/C", frame(b"q"))
    assert sent.header_values("content-type") == [sent_as]
    assert (result.status, result.header("content-type")) == (200, kind)
    assert result.chunks == [frame(b"one"), frame(b"two"), TRAILERS]
    assert result.trailers == []


@pytest.mark.parametrize("joined", [True, False])
def test_text(joined: bool) -> None:
    whole = frame(b"first") + frame(b"again")
    parts = [whole] if joined else [whole[:1], whole[1:6], whole[6:]]
    body = b"\n".join(base64.b64encode(part) for part in parts)
    result = call(body, TEXT)
    assert result.upstream.body == whole
    assert result.upstream.header("content-type") == "application/grpc+proto"
    assert result.header("content-type") == TEXT
    assert [base64.b64decode(chunk) for chunk in result.chunks] == [frame(b"one"), frame(b"two"), TRAILERS]


@pytest.mark.parametrize(
    ("pattern", "target", "sent"),
    [
        ("/*", "/a.B/C", "/a.B/C"),
        ("/web*", "/web/a.B/C", "/a.B/C"),
        ("/web/a.*", "/web/a.B/C", "/B/C"),
        ("/t/:tenant/*method", "/t/x/a.B/C?y=1", "/a.B/C"),
        ("/web/*", "/web/a%3Fb%25/C", "/a%3Fb%25/C"),
        ("/web/*", "/web/", "/"),
    ],
)
def test_the_method_is_what_stands_for_the_star(pattern: str, target: str, sent: str) -> None:
    assert call(target=target, pattern=pattern).upstream.target == sent


@pytest.mark.parametrize("pattern", ["/web/a.B/C", ""])
def test_a_route_without_a_prefix_is_refused(pattern: str) -> None:
    result = call(pattern=pattern)
    assert result.status == 400
    assert "ends with *" in result.json()["error_msg"]


def test_a_preflight_request() -> None:
    result = run(GrpcWeb, {"cors_allow_headers": "x-a"}, request("OPTIONS", "/web/a", variables=STAR))
    assert (result.status, result.body, result.answered_by) == (204, b"", "grpc-web")
    assert result.headers == [
        ("Access-Control-Allow-Methods", "POST"),
        ("Access-Control-Allow-Headers", "x-a"),
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Expose-Headers", "grpc-message,grpc-status"),
    ]


def test_other_methods() -> None:
    result = run(GrpcWeb, {}, get("/web/a", variables=STAR))
    assert (result.status, result.header("allow")) == (405, "POST, OPTIONS")
    assert result.header("access-control-allow-origin") == "*"


@pytest.mark.parametrize("kind", ["", "application/json", "application/grpc", "application/grpc-webx", "text/plain"])
def test_other_types(kind: str) -> None:
    assert call(kind=kind).status == 400
    assert repr(kind) in call(kind=kind).json()["error_msg"]


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        (BINARY, frame(b"q")[:-1], "within a message, 5 bytes"),
        (BINARY, b"\0\0", "within a message, 2 bytes"),
        (BINARY, frame(b"q", 0x80), "begins with 0x80"),
        (TEXT, b"abc", "no multiple of 4"),
        (TEXT, b"????", "not base64"),
        (TEXT, b"AA=A", "not base64"),
        (TEXT, base64.b64encode(b"\0\0\0"), "within a message"),
    ],
)
def test_bodies_that_are_no_messages(kind: str, body: bytes, told: str) -> None:
    result = call(body, kind)
    assert result.status == 400
    assert told in result.json()["error_msg"]


def test_a_body_over_the_limit() -> None:
    assert call(frame(b"x" * 5), conf={"max_req_body_size": 10}).answered_by == "upstream"
    assert call(frame(b"x" * 6), conf={"max_req_body_size": 10}).status == 413


def test_no_message_at_all() -> None:
    assert call(b"").upstream.body == b""


def test_a_status_in_the_head() -> None:
    upstream = Upstream(200, {"Content-Type": "application/grpc", "grpc-status": "5", "grpc-message": "none"}, b"")
    result = call(upstream=upstream)
    assert (result.status, result.header("grpc-status"), result.chunks) == (200, "5", [])


def test_an_upstream_that_sends_no_status() -> None:
    result = call(upstream=Upstream(200, {"Content-Type": "application/grpc"}, [], [("x-a", "1")]))
    assert result.body == frame(b"x-a:1\r\ngrpc-status:13\r\ngrpc-message:the upstream sent no grpc-status\r\n", 0x80)


@pytest.mark.parametrize("kind", [BINARY, TEXT])
def test_what_is_no_answer_of_a_call_stays_as_it_is(kind: str) -> None:
    page = Upstream(502, {"Content-Type": "text/html"}, b"<html>", [("x", "y")])
    body = base64.b64encode(frame(b"q")) if kind == TEXT else frame(b"q")
    result = call(body, kind, upstream=page)
    assert (result.status, result.header("content-type"), result.body) == (502, "text/html", b"<html>")
    assert result.trailers == [("x", "y")]
    assert result.header("access-control-allow-origin") == "*"


def test_beside_the_plugin_cors() -> None:
    plugins = [(Cors, {"allow_origins": "http://a.test", "expose_headers": "x-b"}), (GrpcWeb, {})]

    def asked(origin: str) -> Result:
        headers = {"Content-Type": BINARY, "Origin": origin}
        return run(plugins, post("/web/a.B/C", frame(b"q"), headers=headers, variables=STAR), upstream=ANSWER)

    assert asked("http://a.test").header_values("access-control-allow-origin") == ["http://a.test"]
    assert asked("http://a.test").header("access-control-expose-headers") == "x-b,grpc-message,grpc-status"
    assert asked("http://b.test").header("access-control-allow-origin") is None
