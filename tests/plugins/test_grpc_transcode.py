import base64
import gzip
import logging
from pathlib import Path
from typing import Any

import pytest

from bascule.plugin.kit.grpc_frames import COMPRESSED, frame
from bascule.plugin.kit.proto_definition import ProtoDefinition
from bascule.plugin.kit.testing import MemoryHost, Result, Sent, Upstream, get, make, post, request, run
from bascule.plugins.grpc_transcode import GrpcTranscode
from tests.plugins.faults import fault_paths

SOURCE = (Path(__file__).parents[1] / "servers" / "greeter.proto").read_text()
DEFINITION = ProtoDefinition(SOURCE)
GRPC = {"Content-Type": "application/grpc"}
OK = [("grpc-status", "0"), ("grpc-message", "")]


def message(name: str, /, **fields: Any) -> Any:
    kind: Any = DEFINITION.message(f"bascule.test.{name}")
    return kind(**fields)


def reply(packed: Any, headers: Any = GRPC, trailers: Any = OK) -> Upstream:
    data = packed if isinstance(packed, list) else [frame(packed.SerializeToString())]
    return Upstream(200, headers, data, trailers)


def conf(method: str = "SayHello", **more: Any) -> dict[str, Any]:
    return {"proto_id": "1", "service": "bascule.test.Greeter", "method": method, **more}


def call(sent: Any, upstream: Any = None, method: str = "SayHello", **more: Any) -> Result:
    upstream = upstream or reply(message("HelloReply", message="hi"))
    return run(GrpcTranscode, conf(method, **more), sent, upstream=upstream, protos={"1": SOURCE})


def hello(sent: Sent) -> Upstream:
    """What a greeter answers."""
    got = request_of(sent, "HelloRequest")
    return reply(message("HelloReply", message=f"Hello {got.name}", items=got.items))


def request_of(sent: Sent, name: str) -> Any:
    assert sent.body == frame(sent.body[5:])
    kind: Any = DEFINITION.message(f"bascule.test.{name}")
    return kind.FromString(sent.body[5:])


def failing(*trailers: tuple[str, str], in_head: bool = True) -> Upstream:
    if in_head:
        return Upstream(200, [*GRPC.items(), *trailers], b"")
    return Upstream(200, GRPC, b"", trailers)


def test_configurations() -> None:
    assert GrpcTranscode.Config.model_validate(conf()).model_dump(exclude_none=True) == {
        **conf(),
        "deadline": 0,
        "pb_option": ["enum_as_name", "int64_as_number", "auto_default_values", "disable_hooks"],
        "show_status_in_body": False,
        "max_resp_body_size": 67108864,
    }
    GrpcTranscode.Config.model_validate({**conf(), "proto_id": 7, "deadline": 0.5, "pb_option": ["enable_hooks"]})
    assert fault_paths(GrpcTranscode, {}) == ["$.proto_id", "$.service", "$.method"]
    for wrong in (
        {"pb_option": []},
        {"proto_id": "a b"},
        {"proto_id": 0},
        {"max_resp_body_size": 0},
        {"deadline": "1"},
    ):
        assert len(fault_paths(GrpcTranscode, {**conf(), **wrong})) >= 1
    assert fault_paths(GrpcTranscode, {**conf(), "pb_option": ["enum_as_name", "nope"]}) == ["$.pb_option[1]"]
    assert GrpcTranscode.priority == 506


@pytest.mark.parametrize(
    "sent",
    [
        get("/hi?name=world&items=a&items=b&token=x"),
        request("DELETE", "/hi?name=world&items=a&items=b"),
        post("/hi", {"name": "world", "items": ["a", "b"], "token": {"x": 1}}),
        post("/hi?name=other", {"name": "world", "items": ["a", "b"]}),
        post("/hi", b"name=world&items=a&items=b"),
        request(
            "PUT", "/hi", body=b'{"name":"world","items":["a","b"]}', headers={"Content-Type": "application/a+json"}
        ),
    ],
)
def test_a_call(sent: Any) -> None:
    result = call(sent, hello)
    assert result.json() == {"message": "Hello world", "items": ["a", "b"]}
    assert (result.status, result.header("content-type")) == (200, "application/json")
    out = result.upstream
    assert (out.method, out.target) == ("POST", "/bascule.test.Greeter/SayHello")
    assert out.header_values("content-type") == ["application/grpc"]
    assert out.header("grpc-timeout") is None


def test_headers_of_the_request() -> None:
    headers = {"X-A": "1", "Accept-Encoding": "gzip", "grpc-encoding": "gzip", "grpc-accept-encoding": "snappy"}
    out = call(get("/hi", headers=headers), hello).upstream
    assert (out.header("x-a"), out.header("accept-encoding"), out.header("grpc-encoding")) == ("1", None, None)
    assert out.header_values("grpc-accept-encoding") == ["identity,deflate,gzip"]


@pytest.mark.parametrize(
    ("deadline", "sent"), [(500, "500m"), (0.2, "1m"), (1e300, "99999999m"), (0, None), (-5, None), (1500.5, "1501m")]
)
def test_deadlines(deadline: float, sent: str | None) -> None:
    assert call(get("/hi"), hello, deadline=deadline).upstream.header("grpc-timeout") == sent


def types(options: list[str], **fields: Any) -> Any:
    answer = reply(message("Types", **fields))
    return call(get("/t"), answer, "EchoTypes", pb_option=options).json()


def test_options() -> None:
    fields = {"i64": 2251799813685261, "colour": 7, "data": b"hi"}
    assert types(["no_default_values"], **fields) == {**fields, "colour": "BLUE", "data": "hi"}
    assert types(["use_default_metatable", "enum_as_value", "int64_as_string"], **fields) == {
        "i64": "#2251799813685261", "colour": 7, "data": "hi",
    }  # fmt: skip
    hexadecimal = types(["no_default_values", "int64_as_hexstring", "bytes_as_base64"], **fields)
    assert (hexadecimal["i64"], hexadecimal["data"]) == ("#0x800000000000D", "aGk=")
    assert "perhaps" not in types(["enum_as_name"])
    assert types(["use_default_values"])["perhaps"] == ""
    # The last of those that exclude each other counts.
    assert types(["use_default_values", "enum_as_value", "no_default_values", "enum_as_name"], colour=1) == {
        "colour": "GREEN"
    }


@pytest.mark.parametrize(
    ("sent", "status", "told"),
    [
        (post("/t", {"colour": "PINK"}), 400, "$.colour: 'PINK' is no value of bascule.test.Colour"),
        (post("/t", {"i32": "x"}), 400, "$.i32: must be an integer"),
        (get("/t?i32=x"), 400, "$.i32: must be an integer"),
        (post("/t", b"{", headers={"Content-Type": "application/json"}), 400, "is not JSON"),
        (post("/t", b"[" * 5000, headers={"Content-Type": "application/json"}), 400, "is not JSON"),
        (post("/t", [1]), 400, "$: must be an object, not a list"),
        (post("/t", b"a=%ff"), 400, "is not a form"),
        (post("/t", b"a=1&" * 20_000), 400, "is not a form"),
        (post("/t", b"\xff"), 400, "is not a form"),
        (post("/t", b"x", headers={"Content-Type": "text/plain"}), 415, "'text/plain'"),
        (post("/t", b"x", headers={"Content-Encoding": "gzip"}), 415, "Content-Encoding"),
        (post("/t", {"counts": {"x" * 5000: "y"}}), 400, "$.counts.xxx"),
    ],
)
def test_requests_that_do_not_fit(sent: Any, status: int, told: str) -> None:
    result = call(sent, method="EchoTypes")
    assert result.status == status
    assert told in result.json()["error_msg"]
    assert len(result.body) < 1100


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"proto_id": "2"}, 'there is no protobuf definition "2"'),
        ({"proto_id": "3"}, "can't be used: content.proto:1:"),
        ({"service": "Greeter"}, "has no method Greeter/SayHello"),
        ({"method": "sayhello"}, "has no method bascule.test.Greeter/sayhello"),
    ],
)
def test_definitions_that_cannot_serve(wrong: Any, told: str, caplog: pytest.LogCaptureFixture) -> None:
    protos = {"1": SOURCE, "3": "message"}
    with caplog.at_level(logging.ERROR):
        result = run(GrpcTranscode, {**conf(), **wrong}, get("/hi"), protos=protos)
    assert (result.status, result.answered_by) == (503, "grpc-transcode")
    assert told in result.json()["error_msg"]
    assert told in caplog.text


def test_a_definition_that_changes() -> None:
    host = MemoryHost("grpc-transcode", protos={})
    plugin = make(GrpcTranscode, conf(), host)
    asked = {"name": "world"}
    assert run(plugin, post("/hi", asked)).status == 503
    host.protos["1"] = SOURCE
    assert run(plugin, post("/hi", asked), upstream=hello).json()["message"] == "Hello world"
    host.protos["1"] = SOURCE.replace("string name = 1;", "string name = 9;").replace("message = 1;", "said = 1;")
    result = run(plugin, post("/hi", asked), upstream=reply(message("HelloReply", message="x")))
    assert (result.upstream.body, result.json()) == (frame(b"J\x05world"), {"said": "x", "items": []})
    host.protos["1"] = "message"
    assert run(plugin, post("/hi", asked)).status == 503
    host.protos["1"] = SOURCE
    assert run(plugin, post("/hi", asked), upstream=hello).status == 200


def test_instances_share_what_they_compile() -> None:
    host = MemoryHost("grpc-transcode", protos={"1": SOURCE, "2": SOURCE})
    plugins: list[Any] = [make(GrpcTranscode, conf(proto_id=number), host) for number in ("1", "2")]
    assert plugins[0].method().input is plugins[1].method().input


CODES = {
    1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503,
    15: 500, 16: 401, 17: 599, 999: 599,
}  # fmt: skip


@pytest.mark.parametrize("in_head", [True, False])
@pytest.mark.parametrize(("code", "status"), CODES.items())
def test_errors(code: int, status: int, in_head: bool) -> None:
    fields = [("grpc-status", str(code)), ("grpc-message", "no%20such")]
    result = call(get("/hi"), failing(*fields, in_head=in_head))
    assert (result.status, result.body, result.header("content-type")) == (status, b"", None)
    assert (result.header("grpc-status"), result.header("grpc-message")) == (str(code), "no%20such")
    shown = call(get("/hi"), failing(*fields, in_head=in_head), show_status_in_body=True)
    assert (shown.status, shown.header("content-type")) == (status, "application/json")
    assert shown.json() == {"error": {"code": code, "message": "no such"}}


@pytest.mark.parametrize("in_head", [True, False])
def test_error_details(in_head: bool) -> None:
    status = message("Status", code=14, message="Out of service")
    pair = "type.googleapis.com/bascule.test.Pair"
    status.details.add(type_url=pair, value=message("Pair", name="n", value=b"v").SerializeToString())
    status.details.add(type_url="type.googleapis.com/other.Type", value=b"\xff")
    status.details.add(type_url=pair, value=b"\xff")
    packed = base64.b64encode(status.SerializeToString()).decode().rstrip("=")
    upstream = failing(("grpc-status", "14"), ("grpc-status-details-bin", packed), in_head=in_head)
    raw = {"type_url": pair, "value": "\n\x01n\x12\x01v"}
    others = [
        {"type_url": "type.googleapis.com/other.Type", "value": "/w=="},
        {"type_url": pair, "value": "/w=="},
    ]
    for detail_type, first in (
        (None, raw),
        ("bascule.test.Pair", {"name": "n", "value": "v"}),
        ("bascule.test.Nope", raw),
    ):
        more = {} if detail_type is None else {"status_detail_type": detail_type}
        result = call(get("/hi"), upstream, show_status_in_body=True, **more)
        assert result.status == 503
        assert result.json()["error"] == {"code": 14, "message": "Out of service", "details": [first, *others]}


@pytest.mark.parametrize(
    ("upstream", "told"),
    [
        (reply([b""]), "there are 0 messages"),
        (reply([frame(b""), frame(b"")]), "there are 2 messages"),
        (reply([frame(b"abc")[:-1]]), "ends within a message"),
        (reply([b"\x05\0\0\0\0"]), "begins with 0x05"),
        (reply([frame(b"\xff")]), "a message is no bascule.test.HelloReply"),
        (reply([frame(b"x", COMPRESSED)]), "is compressed"),
        (reply([frame(b"x", COMPRESSED)], {**GRPC, "grpc-encoding": "gzip"}), "can't be read"),
        (reply([frame(gzip.compress(b"x" * 9000), COMPRESSED)], {**GRPC, "grpc-encoding": "gzip"}), "larger than 5000"),
        (reply(message("HelloReply"), trailers=[]), "sent no grpc-status"),
    ],
)
def test_responses_that_are_nonsense(upstream: Upstream, told: str) -> None:
    result = call(get("/hi"), upstream, max_resp_body_size=5000)
    assert (result.status, result.header("content-type")) == (502, "application/json")
    assert told in result.json()["error_msg"]


def test_a_response_over_the_limit() -> None:
    fits = reply(message("HelloReply", message="x" * 98))
    assert call(get("/hi"), fits, max_resp_body_size=100).status == 200
    assert call(get("/hi"), fits, max_resp_body_size=99).status == 502


def test_compressed_responses() -> None:
    packed = frame(gzip.compress(message("HelloReply", message="hi").SerializeToString()), COMPRESSED)
    result = call(get("/hi"), reply([packed[:3], packed[3:]], {**GRPC, "grpc-encoding": "gzip"}))
    assert (result.json()["message"], result.header("grpc-encoding")) == ("hi", None)


@pytest.mark.parametrize(
    "upstream",
    [
        Upstream(503, {"Content-Type": "application/grpc"}, b"busy"),
        Upstream(200, {"Content-Type": "text/html"}, b"<html>"),
        Upstream(200, {}, b"x"),
    ],
)
def test_what_is_no_grpc_response_stays_as_it_is(upstream: Upstream) -> None:
    result = call(get("/hi"), upstream)
    assert (result.status, result.body) == (upstream.status, upstream.body)
    assert result.header("content-type") == dict(upstream.headers).get("Content-Type")


def test_a_stream_of_messages_goes_out_line_by_line() -> None:
    parts = [frame(message("Blob", payload=text).SerializeToString()) for text in (b"one", b"two", b"three")]
    upstream = reply([parts[0] + parts[1][:3], parts[1][3:], b"", parts[2]])
    result = call(post("/r", {"count": 3}), upstream, "Repeat")
    assert (result.status, result.header("content-type")) == (200, "application/x-ndjson")
    assert result.chunks == [b'{"payload":"one"}\n', b'{"payload":"two"}\n', b'{"payload":"three"}\n']


def test_an_error_at_the_end_of_a_stream() -> None:
    one = frame(message("Blob", payload=b"one").SerializeToString())
    trailers = [("grpc-status", "8"), ("grpc-message", "enough")]
    result = call(get("/r"), reply([one], trailers=trailers), "Repeat")
    assert result.chunks == [b'{"payload":"one"}\n', b'{"error":{"code":8,"message":"enough"}}\n']
    # One that stands in the head is as of any other call.
    assert call(get("/r"), failing(("grpc-status", "8")), "Repeat").status == 429


@pytest.mark.parametrize(
    ("body", "trailers", "told"),
    [
        ([b"\x07\0\0\0\0", b"more"], OK, "begins with 0x07"),
        ([frame(b"abc")[:-1]], OK, "ends within a message"),
        ([frame(b"\xff"), b"\x07"], [("grpc-status", "5")], "is no bascule.test.Blob"),
        ([], [], "sent no grpc-status"),
    ],
)
def test_streams_that_are_nonsense(body: list[bytes], trailers: Any, told: str) -> None:
    result = call(get("/r"), reply(body, trailers=trailers), "Repeat")
    (line,) = result.body.splitlines()
    assert line.startswith(b'{"error":{"code":13,')
    assert told in line.decode()


def test_a_plugin_that_answers_before() -> None:
    """A response that isn't the upstream's, and no call was made."""
    from bascule.plugins.fault_injection import FaultInjection

    abort = {"abort": {"http_status": 418, "body": "tea"}}
    result = run([(FaultInjection, abort), (GrpcTranscode, conf())], get("/hi"), protos={"1": SOURCE})
    assert (result.status, result.body) == (418, b"tea")
