"""grpc-transcode and grpc-web before a real gRPC server."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import orjson
import pytest

from bascule.plugin.kit.grpc_frames import frame
from tests.servers.gateway import Gateway
from tests.servers.grpc_server import PROTO_PATH, SERVICE, GrpcServer, descriptors, framed, messages, unframed
from tests.servers.http2 import Http2Client
from tests.servers.ports import free_port
from tests.servers.raw import Message, RawClient

m = messages()
SOURCE = PROTO_PATH.read_text()
WEB = ("Content-Type", "application/grpc-web+proto")
WEB_TEXT = ("Content-Type", "application/grpc-web-text")


@pytest.fixture(scope="module")
def packing_server() -> Iterator[GrpcServer]:
    one = GrpcServer(options=[("grpc.default_compression_algorithm", grpc.Compression.Gzip.value)])
    yield one
    one.stop()


def resources(server: str, packing: str, said: str = "message") -> dict[str, Any]:
    def upstream(address: str) -> dict[str, Any]:
        return {"scheme": "grpc", "nodes": {address: 1}, "retries": 0}

    def route(id: str, method: str, address: str = server, proto: str = "source", **more: Any) -> dict[str, Any]:
        conf = {"proto_id": proto, "service": SERVICE, "method": method, "show_status_in_body": True, **more}
        return {"id": id, "uri": f"/{id}", "plugins": {"grpc-transcode": conf}, "upstream": upstream(address)}

    echo = SOURCE.replace("string message = 1;", f"string {said} = 1;", 1)
    one_answer = SOURCE.replace("returns (stream Blob)", "returns (Blob)")
    routes = [
        route("hello", "SayHello"),
        route("changing", "SayHello", proto="changing"),
        route("described", "SayHello", proto="descriptors"),
        route("types", "EchoTypes"),
        route("echo", "Echo", pb_option=["bytes_as_base64"]),
        route("small", "Echo", max_resp_body_size=1000),
        route("repeat", "Repeat"),
        route("fail", "Fail", status_detail_type="bascule.test.Pair"),
        route("fail-later", "FailLater"),
        route("fail-in-trailers", "FailLater", proto="one-answer"),
        route("slow", "Slow", deadline=200),
        route("deadline", "Deadline", deadline=30_000),
        route("metadata", "Metadata"),
        route("nobody", "SayHello", f"127.0.0.1:{free_port()}"),
        route("packed", "SayHello", packing),
        route("undefined", "SayHello", proto="none"),
        {"id": "web", "uri": "/web/*", "plugins": {"grpc-web": {}}, "upstream": upstream(server)},
        {
            "id": "web-down",
            "uri": "/down/*",
            "plugins": {"grpc-web": {}},
            "upstream": upstream(f"127.0.0.1:{free_port()}"),
        },
    ]
    contents = {
        "source": SOURCE,
        "changing": echo,
        "one-answer": one_answer,
        "descriptors": base64.b64encode(descriptors()).decode(),
    }
    return {"protos": [{"id": id, "content": content} for id, content in contents.items()], "routes": routes}


@pytest.fixture(scope="module")
def served(greeter: GrpcServer, packing_server: GrpcServer, module_gateway: Callable[..., Gateway]) -> Gateway:
    return module_gateway(
        resources(greeter.address, packing_server.address),
        {"nginx_config": {"http": {"client_max_body_size": "0"}}},
    )


@pytest.fixture
def client(served: Gateway) -> Iterator[RawClient]:
    with served.client() as connection:
        connection.sock.settimeout(30)
        yield connection


def post(client: RawClient, path: str, json: bytes) -> Message:
    return client.request("POST", path, [("Content-Type", "application/json")], json)


@pytest.mark.parametrize("path", ["/hello", "/described", "/packed"])
def test_a_call(path: str, client: RawClient) -> None:
    for _ in range(2):
        answer = client.request("GET", f"{path}?name=Ada&items=a&items=b")
        assert (answer.status, answer.header("content-type")) == (200, "application/json")
        assert answer.json() == {"message": "Hello Ada", "items": ["a", "b"]}
        assert answer.header("grpc-encoding") is None
        assert post(client, path, b'{"name":"Bob"}').json() == {"message": "Hello Bob", "items": []}


def test_values_of_all_types(client: RawClient) -> None:
    sent = (
        b'{"i64":"9007199254740993","single":0.1,"colour":"BLUE","inners":[{"text":"x"}],"counts":{"a":1},"word":"w"}'
    )
    answer: Any = post(client, "/types", sent).json()
    shown = {name: answer[name] for name in ("i64", "single", "colour", "inners", "counts", "word", "numbers")}
    assert shown == {
        "i64": 9007199254740993,
        "single": 0.1,
        "colour": "BLUE",
        "inners": [{"text": "x"}],
        "counts": {"a": 1},
        "word": "w",
        "numbers": [],
    }
    assert post(client, "/types", b'{"colour":"PINK"}').status == 400


def test_large_messages(client: RawClient) -> None:
    payload = base64.b64encode(bytes(range(256)) * 20_000).decode()
    answer: Any = post(client, "/echo", b'{"payload":"%b"}' % payload.encode()).json()
    assert answer["payload"] == payload


def test_a_message_over_the_limit(client: RawClient) -> None:
    assert post(client, "/small", b'{"payload":"%b"}' % (b"x" * 900)).status == 200
    assert post(client, "/small", b'{"payload":"%b"}' % (b"x" * 1100)).status == 502
    assert post(client, "/small", b'{"payload":"%b"}' % (b"x" * 900_000)).status == 502


@pytest.mark.parametrize("path", ["/fail", "/fail-in-trailers"])
def test_errors(path: str, client: RawClient) -> None:
    for code, status in ((5, 404), (8, 429), (14, 503), (16, 401)):
        answer = post(client, path, b'{"code":%d,"message":"no 100%% \xe2\x9c\x93","after":1}' % code)
        assert answer.status == status
        assert answer.json() == {"error": {"code": code, "message": "no 100% ✓"}}
        assert answer.header("grpc-status") == str(code)
        assert answer.header_values("content-length") == [str(len(answer.body))]


def test_error_details(client: RawClient) -> None:
    pair = m.Pair(name="n", value=b"v").SerializeToString()
    details = (
        b'{"code":14,"message":"out","details":[{"type_url":"type.googleapis.com/bascule.test.Pair","value":"%b"}]}'
    )
    sent = b'{"code":14,"message":"out","details":' + details % pair.replace(b"\n", b"\\n").replace(
        b"\x01", b"\\u0001"
    ).replace(b"\x12", b"\\u0012")
    answer = post(client, "/fail", sent + b"}")
    assert (answer.status, answer.json()) == (
        503,
        {"error": {"code": 14, "message": "out", "details": [{"name": "n", "value": "v"}]}},
    )


def test_a_deadline_that_passes(client: RawClient, greeter: GrpcServer) -> None:
    before = greeter.cancelled
    answer = post(client, "/slow", b'{"ms":20000}')
    assert answer.status == 504
    greeter.wait_cancelled(before + 1)


def test_the_server_is_told_the_deadline(client: RawClient) -> None:
    left: Any = client.request("GET", "/deadline").json()
    assert 0 < left["left_ms"] <= 30_000


def test_metadata(client: RawClient) -> None:
    answer = client.request("GET", "/metadata", [("X-Own", "7")])
    received: Any = answer.json()
    named = {pair["name"]: pair["value"] for pair in received["received"]}
    assert named["x-own"] == "7"
    assert answer.header("x-initial") == "one"


def test_an_upstream_that_is_not_there(client: RawClient) -> None:
    answer = client.request("GET", "/nobody")
    assert (answer.status, answer.header("content-type")) == (502, "text/html; charset=utf-8")


def test_a_definition_that_is_not_there(client: RawClient, served: Gateway) -> None:
    answer = client.request("GET", "/undefined")
    assert (answer.status, answer.json()) == (503, {"error_msg": 'there is no protobuf definition "none"'})
    assert 'routes/undefined: grpc-transcode: there is no protobuf definition "none"' in served.log


def test_messages_of_a_stream_go_out_as_they_come(client: RawClient) -> None:
    client.send(b"GET /repeat?payload=x&count=3&pause_ms=60000 HTTP/1.1\r\nHost: a\r\n\r\n")
    head = client.read_head()
    assert (head.status, head.header("content-type")) == (200, "application/x-ndjson")
    assert client.read_until(b'{"payload":"x"}\n')


def test_a_long_stream(client: RawClient) -> None:
    answer = client.request("GET", "/repeat?payload=abc&count=2000")
    assert answer.body == b'{"payload":"abc"}\n' * 2000


def test_an_error_within_a_stream(client: RawClient) -> None:
    answer = post(client, "/fail-later", b'{"code":8,"message":"enough","after":2}')
    lines = [b'{"payload":"0"}', b'{"payload":"1"}', b'{"error":{"code":8,"message":"enough"}}']
    assert (answer.status, answer.body.splitlines()) == (200, lines)


def test_a_client_that_leaves_cancels_the_call(served: Gateway, greeter: GrpcServer) -> None:
    before = greeter.cancelled
    with served.client() as client:
        client.send(b"GET /repeat?payload=x&count=3&pause_ms=60000 HTTP/1.1\r\nHost: a\r\n\r\n")
        client.read_head()
    greeter.wait_cancelled(before + 1)


def test_a_definition_that_changes(served: Gateway, greeter: GrpcServer, packing_server: GrpcServer) -> None:
    with served.client() as client:
        assert client.request("GET", "/changing?name=Ada").json() == {"message": "Hello Ada", "items": []}
        served.reload(resources(greeter.address, packing_server.address, said="text"))
        assert client.request("GET", "/changing?name=Ada").json() == {"text": "Hello Ada", "items": []}


# ---- grpc-web


def web(client: RawClient, method: str, request: Any, kind: tuple[str, str] = WEB, prefix: str = "/web") -> Message:
    body = framed(request)
    if kind is WEB_TEXT:
        body = base64.b64encode(body)
    return client.request("POST", f"{prefix}/{SERVICE}/{method}", [kind, ("X-Grpc-Web", "1")], body)


def parts_of(answer: Message) -> tuple[list[bytes], dict[str, str]]:
    """Messages and trailers."""
    body = answer.body
    if answer.header("content-type") == WEB_TEXT[1]:
        body = b"".join(base64.b64decode(part + b"=" * (-len(part) % 4)) for part in body.replace(b"=", b" ").split())
    at = body.index(b"\x80\0\0")
    found = unframed(body[at:])[0].decode()
    return unframed(body[:at]), dict(line.split(":", 1) for line in found.splitlines())  # type: ignore[misc]


@pytest.mark.parametrize("kind", [WEB, WEB_TEXT])
def test_web_calls(kind: tuple[str, str], client: RawClient) -> None:
    for name in ("Ada", "Bob the second"):
        answer = web(client, "SayHello", m.HelloRequest(name=name), kind)
        assert (answer.status, answer.header("content-type")) == (200, kind[1])
        assert answer.trailers == []
        (message,), trailers = parts_of(answer)
        assert m.HelloReply.FromString(message).message == f"Hello {name}"
        assert trailers["grpc-status"] == "0"


def test_web_streams_of_any_sizes(client: RawClient) -> None:
    for kind in (WEB, WEB_TEXT):
        answer = web(client, "Repeat", m.RepeatRequest(payload=b"x" * 40_000, count=50), kind)
        found, trailers = parts_of(answer)
        assert found == [m.Blob(payload=b"x" * 40_000).SerializeToString()] * 50
        assert trailers["grpc-status"] == "0"


def test_web_streams_go_out_as_they_come(client: RawClient) -> None:
    body = framed(m.RepeatRequest(payload=b"one", count=2, pause_ms=60_000))
    client.send(
        f"POST /web/{SERVICE}/Repeat HTTP/1.1\r\nHost: a\r\nContent-Type: {WEB[1]}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode(),
        body,
    )
    assert client.read_head().status == 200
    assert client.read_until(frame(m.Blob(payload=b"one").SerializeToString()))


def test_web_errors(client: RawClient) -> None:
    answer = web(client, "Fail", m.FailRequest(code=5, message="none"))
    assert (answer.status, answer.header("grpc-status"), answer.header("grpc-message")) == (200, "5", "none")
    assert answer.header("access-control-expose-headers") == "grpc-message,grpc-status"
    found, trailers = parts_of(web(client, "FailLater", m.FailRequest(code=5, message="none", after=2)))
    assert (len(found), trailers["grpc-status"], trailers["grpc-message"]) == (2, "5", "none")


def test_web_metadata(client: RawClient) -> None:
    answer = web(client, "Metadata", m.HelloRequest())
    assert answer.header("x-initial") == "one"
    assert parts_of(answer)[1]["x-trailing"] == "two"


def test_web_refusals(client: RawClient) -> None:
    assert client.request("GET", f"/web/{SERVICE}/SayHello").status == 405
    assert client.request("OPTIONS", f"/web/{SERVICE}/SayHello").status == 204
    path = f"/web/{SERVICE}/SayHello"
    assert client.request("POST", path, [WEB], b"\0\0\0\0\x09abc").status == 400
    answer = web(client, "SayHello", m.HelloRequest(), prefix="/down")
    assert (answer.status, answer.header("access-control-allow-origin")) == (502, "*")


def test_http_1_0(served: Gateway) -> None:
    with served.client() as old:
        old.send(b"GET /hello?name=Ada HTTP/1.0\r\n\r\n")
        assert old.read_response().json() == {"message": "Hello Ada", "items": []}
    with served.client() as old:
        old.send(b"GET /repeat?payload=x&count=2 HTTP/1.0\r\n\r\n")
        assert old.read_response().body == b'{"payload":"x"}\n' * 2
    with served.client() as client:
        client.send(b"HEAD /hello?name=Ada HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_response("HEAD").status == 200
        client.send(b"HEAD /fail?code=5 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_response("HEAD").status == 404


# ---- from clients of HTTP/2


def test_http_2(served: Gateway) -> None:
    with Http2Client(served.port) as client:
        answer = client.get("/hello?name=Ada")
        assert (answer.status, answer.header("content-type"), answer.trailers) == (200, "application/json", [])
        assert orjson.loads(answer.body) == {"message": "Hello Ada", "items": []}
        assert answer.header("content-length") == str(len(answer.body))
        for path in ("/fail?code=5", "/fail-in-trailers?code=5&after=1"):
            answer = client.get(path)
            assert (answer.status, answer.header("grpc-status")) == (404, "5")
            assert orjson.loads(answer.body)["error"]["code"] == 5
        assert client.get("/repeat?payload=abc&count=500").body == b'{"payload":"abc"}\n' * 500
        assert client.get("/small?payload=" + "x" * 1100).status == 502
        request = framed(m.RepeatRequest(payload=b"x" * 30_000, count=20))
        answer = client.get(f"/web/{SERVICE}/Repeat", ("content-type", WEB[1]), method="POST", body=request)
        found, trailers = parts_of(Message("", answer.headers, answer.body))
        assert (answer.status, len(found), trailers["grpc-status"], answer.trailers) == (200, 20, "0", [])
