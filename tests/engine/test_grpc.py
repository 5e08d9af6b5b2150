"""gRPC from end to end through the gateway: a real server behind it, before it a real client or calls over HTTP/1.1."""

import queue
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.servers.certificates import Certificates
from tests.servers.gateway import Gateway
from tests.servers.grpc_server import SERVICE, GrpcClient, GrpcServer, framed, messages, unframed
from tests.servers.ports import free_port
from tests.servers.raw import Message, RawClient, RawUpstream

m = messages()
METHOD = f"/{SERVICE}"
LIMIT = {"count": 1, "time_window": 600, "rejected_code": 429}


@pytest.fixture(scope="module")
def served(greeter: GrpcServer, module_gateway: Callable[..., Gateway]) -> Gateway:
    def route(id: str, uri: str, address: str, **more: Any) -> dict[str, Any]:
        upstream = {"scheme": "grpc", "nodes": {address: 1}, "retries": 0}
        return {"id": id, "uri": uri, "upstream": upstream, **more}

    resources = {
        "routes": [
            route("all", f"{METHOD}/*", greeter.address),
            route("nobody", "/nobody/*", f"127.0.0.1:{free_port()}"),
            route("locked", "/locked/*", greeter.address, plugins={"key-auth": {}}),
            route(
                "forbidden", "/forbidden/*", greeter.address, plugins={"ip-restriction": {"blacklist": ["127.0.0.1"]}}
            ),
            route("limited", "/limited/*", greeter.address, plugins={"limit-count": LIMIT}),
        ]
    }
    config = {"nginx_config": {"http": {"client_max_body_size": "0"}}}
    return module_gateway(resources, config)


def call(
    gateway: Gateway, path: str, body: bytes = b"", *fields: tuple[str, str], client: RawClient | None = None
) -> Message:
    headers = [("Content-Type", "application/grpc"), ("TE", "trailers"), *fields]
    if client is not None:
        return client.request("POST", path, headers, body)
    with gateway.client() as own:
        own.sock.settimeout(30)
        return own.request("POST", path, headers, body)


def test_unary(served: Gateway) -> None:
    answer = call(served, f"{METHOD}/SayHello", framed(m.HelloRequest(name="Ada")))
    assert answer.header("content-type") == "application/grpc"
    assert [m.HelloReply.FromString(part).message for part in unframed(answer.body)] == ["Hello Ada"]
    assert dict(answer.trailers)["grpc-status"] == "0"


def test_streams(served: Gateway) -> None:
    answer = call(served, f"{METHOD}/Repeat", framed(m.RepeatRequest(payload=b"x" * 1000, count=500)))
    assert unframed(answer.body) == [m.Blob(payload=b"x" * 1000).SerializeToString()] * 500
    blobs = b"".join(framed(m.Blob(payload=b"y" * size)) for size in range(500))
    answer = call(served, f"{METHOD}/Collect", blobs)
    assert m.Summary.FromString(unframed(answer.body)[0]) == m.Summary(count=500, bytes=sum(range(500)))
    answer = call(served, f"{METHOD}/Chat", blobs)
    assert answer.body == blobs


def test_large_messages(served: Gateway) -> None:
    message = framed(m.Blob(payload=bytes(range(256)) * 40_000))
    assert call(served, f"{METHOD}/Echo", message).body == message


def test_errors_of_the_server_pass(served: Gateway) -> None:
    answer = call(served, f"{METHOD}/Fail", framed(m.FailRequest(code=9, message="not now")))
    told = {name.lower(): value for name, value in [*answer.headers, *answer.trailers]}
    assert (answer.status, told["grpc-status"], told["grpc-message"], answer.body) == (200, "9", "not now", b"")
    answer = call(served, f"{METHOD}/FailLater", framed(m.FailRequest(code=5, message="gone", after=2)))
    assert len(unframed(answer.body)) == 2
    assert dict(answer.trailers)["grpc-status"] == "5"
    answer = call(served, f"{METHOD}/NoSuchMethod", framed(b""))
    told = {name.lower(): value for name, value in [*answer.headers, *answer.trailers]}
    assert told["grpc-status"] == "12"


def test_metadata(served: Gateway) -> None:
    answer = call(served, f"{METHOD}/Metadata", framed(b""), ("X-Own", "1"), ("X-Own-Bin", "AAH/"))
    received = {p.name: p.value for p in m.MetadataReply.FromString(unframed(answer.body)[0]).received}
    assert (received["x-own"], received["x-own-bin"]) == (b"1", b"\x00\x01\xff")
    assert (answer.header("x-initial"), answer.header("x-initial-bin")) == ("one", "AAH/")
    assert (dict(answer.trailers)["x-trailing"], dict(answer.trailers)["x-trailing-bin"]) == ("two", "/gA")


def test_the_deadline_is_kept_here(served: Gateway, greeter: GrpcServer) -> None:
    answer = call(served, f"{METHOD}/Deadline", framed(b""), ("grpc-timeout", "50S"))
    assert 0 < m.DeadlineReply.FromString(unframed(answer.body)[0]).left_ms <= 60_000
    before = greeter.cancelled
    answer = call(served, f"{METHOD}/Slow", framed(m.SlowRequest(ms=60_000)), ("grpc-timeout", "300m"))
    told = {name.lower(): value for name, value in [*answer.headers, *answer.trailers]}
    assert (answer.status, told["grpc-status"]) == (200, "4")
    greeter.wait_cancelled(before + 1)


def test_a_client_that_goes_cancels_the_call(served: Gateway, greeter: GrpcServer) -> None:
    before = greeter.cancelled
    with served.client() as client:
        body = framed(m.RepeatRequest(payload=b"x", count=1000, pause_ms=60_000))
        head = (
            f"POST {METHOD}/Repeat HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nContent-Length: {len(body)}"
        )
        client.send(head.encode() + b"\r\n\r\n" + body)
        client.read_until(b"grpc")
    greeter.wait_cancelled(before + 1)


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/nowhere/X", "12", "404 Route Not Found"),
        ("/nobody/X", "14", "Bad Gateway"),
        ("/locked/X", "16", "Missing API key in request"),
        ("/forbidden/X", "7", "Your IP address is not allowed"),
    ],
)
def test_errors_made_here(path: str, status: str, message: str, served: Gateway) -> None:
    answer = call(served, path, framed(b""))
    assert (answer.status, answer.body, answer.header("content-type")) == (200, b"", "application/grpc")
    assert (answer.header("grpc-status"), answer.header("grpc-message")) == (status, message)
    with served.client() as client:  # not a call: as ever
        plain = client.request("POST", path, [("Content-Type", "application/grpc-web")], b"x")
        assert plain.status in (401, 403, 404, 502)
        assert plain.header("grpc-status") is None


def test_a_limit_is_resource_exhausted(served: Gateway) -> None:
    assert call(served, "/limited/X", framed(b"")).header("grpc-status") == "12"  # the server has no such method
    assert call(served, "/limited/X", framed(b"")).header("grpc-status") == "8"


def test_over_tls(tmp_path: Path) -> None:
    authority = Certificates(tmp_path / "certs", ("up.test",))
    pair = authority.server
    server = GrpcServer(tls=(pair.key.read_bytes(), pair.cert.read_bytes()))
    plain = RawUpstream(tls=http1_context(authority))

    def route(id: str, address: str, name: str) -> dict[str, Any]:
        upstream = {
            "scheme": "grpcs",
            "nodes": {address: 1},
            "pass_host": "rewrite",
            "upstream_host": name,
            "tls": {"ca_certs": authority.ca.cert.read_text()},
            "retries": 0,
        }
        return {"id": id, "host": f"{id}.test", "uri": "/*", "upstream": upstream}

    routes = [
        route("good", server.address, "up.test"),
        route("wrong", server.address, "other.test"),
        route("http1", plain.address, "up.test"),
    ]
    gateway = Gateway(tmp_path / "gateway", {"routes": routes})
    try:
        for _ in range(2):
            answer = call(gateway, f"{METHOD}/SayHello", framed(m.HelloRequest(name="Ada")), ("Host", "good.test"))
            assert dict(answer.trailers)["grpc-status"] == "0"
        for host, why in (
            ("wrong.test", "certificate verify failed: hostname mismatch"),
            ("http1.test", "the server doesn't offer HTTP/2 (ALPN)"),
        ):
            answer = call(gateway, f"{METHOD}/SayHello", framed(m.HelloRequest(name="Ada")), ("Host", host))
            assert answer.header("grpc-status") == "14"
            assert why in gateway.log
    finally:
        gateway.stop()
        server.stop()
        plain.stop()


def http1_context(authority: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server.cert, authority.server.key)
    context.set_alpn_protocols(["http/1.1"])
    return context


# ---- a real client


@pytest.fixture(scope="module")
def client(served: Gateway) -> Iterator[GrpcClient]:
    with GrpcClient(served.port) as one:
        yield one


def test_calls_of_every_kind(client: GrpcClient) -> None:
    assert client.SayHello(m.HelloRequest(name="Ada", items=["a", "b"]), timeout=30).items == ["a", "b"]
    parts = list(client.Repeat(m.RepeatRequest(payload=b"x" * 1000, count=300), timeout=30))
    assert [part.payload for part in parts] == [b"x" * 1000] * 300
    blobs = [m.Blob(payload=b"y" * size) for size in range(300)]
    assert client.Collect(iter(blobs), timeout=30) == m.Summary(count=300, bytes=sum(range(300)))
    assert list(client.Chat(iter(blobs), timeout=30)) == blobs


def test_a_conversation(client: GrpcClient) -> None:
    """Each message only after the answer to the one before: nothing is held back on the way."""
    say: queue.Queue[Any] = queue.Queue()
    answers = client.Chat(iter(say.get, None), timeout=60)
    for number in range(50):
        say.put(m.Blob(payload=b"%d" % number))
        assert next(answers).payload == b"%d" % number
    say.put(None)
    assert list(answers) == []
    assert answers.code() == grpc.StatusCode.OK


def test_large_messages_both_ways_at_once(client: GrpcClient) -> None:
    blob = m.Blob(payload=bytes(range(256)) * 16_384)
    calls = [client.Echo.future(blob, timeout=60) for _ in range(8)]
    assert all(one.result() == blob for one in calls)


def test_many_calls_at_once(client: GrpcClient) -> None:
    calls = [client.SayHello.future(m.HelloRequest(name=str(number)), timeout=60) for number in range(500)]
    assert [one.result().message for one in calls] == [f"Hello {number}" for number in range(500)]


def test_status_details_and_metadata_reach_the_client(client: GrpcClient) -> None:
    details = m.Status(code=9, message="inner")
    with pytest.raises(grpc.RpcError) as failed:
        client.Fail(m.FailRequest(code=9, message="nicht \u00fcber \u2713", details=details), timeout=30)
    assert failed.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert failed.value.details() == "nicht \u00fcber \u2713"
    assert m.Status.FromString(dict(failed.value.trailing_metadata())["grpc-status-details-bin"]) == details
    answers = client.FailLater(m.FailRequest(code=5, message="gone", after=3), timeout=30)
    assert [next(answers).payload for _ in range(3)] == [b"0", b"1", b"2"]
    with pytest.raises(grpc.RpcError) as failed:
        next(answers)
    assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.NOT_FOUND, "gone")
    sent = [("x-own", "1"), ("x-own", "2"), ("x-own-bin", bytes(range(256)))]
    reply, told = client.Metadata.with_call(m.HelloRequest(), metadata=sent, timeout=30)
    received = [(pair.name, pair.value) for pair in reply.received]
    assert ("x-own-bin", bytes(range(256))) in received
    assert b"1" in dict(received[::-1])["x-own"]
    assert dict(told.initial_metadata())["x-initial-bin"] == b"\x00\x01\xff"
    assert dict(told.trailing_metadata())["x-trailing-bin"] == b"\xfe\x00"


def test_deadlines_and_cancellation(client: GrpcClient, greeter: GrpcServer) -> None:
    assert 0 < client.Deadline(m.HelloRequest(), timeout=40).left_ms <= 50_000
    assert client.Deadline(m.HelloRequest()).left_ms == -1
    before = greeter.cancelled
    with pytest.raises(grpc.RpcError) as failed:
        client.Slow(m.SlowRequest(ms=60_000), timeout=0.3)
    assert failed.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    greeter.wait_cancelled(before + 1)
    begun = greeter.calls["Slow"]
    one = client.Slow.future(m.SlowRequest(ms=60_000))
    greeter.wait_called("Slow", begun + 1)
    one.cancel()
    greeter.wait_cancelled(before + 2)
    stream = client.Repeat(m.RepeatRequest(payload=b"x", count=9, pause_ms=60_000))
    assert next(stream).payload == b"x"
    stream.cancel()
    greeter.wait_cancelled(before + 3)


def test_a_stream_that_nobody_reads_holds_up_no_other(client: GrpcClient) -> None:
    stream = client.Repeat(m.RepeatRequest(payload=b"x" * 100_000, count=300), timeout=90)
    assert next(stream).payload == b"x" * 100_000
    for number in range(20):
        assert client.SayHello(m.HelloRequest(name=str(number)), timeout=30).message == f"Hello {number}"
    assert sum(len(part.payload) for part in stream) == 299 * 100_000


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        ("/nowhere/X", grpc.StatusCode.UNIMPLEMENTED, "404 Route Not Found"),
        ("/nobody/X", grpc.StatusCode.UNAVAILABLE, "Bad Gateway"),
        ("/locked/X", grpc.StatusCode.UNAUTHENTICATED, "Missing API key in request"),
        ("/forbidden/X", grpc.StatusCode.PERMISSION_DENIED, "Your IP address is not allowed"),
    ],
)
def test_a_client_understands_errors_made_here(
    path: str, code: grpc.StatusCode, message: str, client: GrpcClient
) -> None:
    sent = m.Blob(payload=b"x" * 100_000)
    unary = client.channel.unary_unary(path, m.Blob.SerializeToString, m.Blob.FromString)
    with pytest.raises(grpc.RpcError) as failed:
        unary(sent, timeout=30)
    assert (failed.value.code(), failed.value.details()) == (code, message)
    streams = client.channel.stream_stream(path, m.Blob.SerializeToString, m.Blob.FromString)
    with pytest.raises(grpc.RpcError) as failed:
        list(streams(iter([sent] * 3), timeout=30))
    assert (failed.value.code(), failed.value.details()) == (code, message)
