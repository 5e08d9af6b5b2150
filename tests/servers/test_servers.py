"""The servers of the tests do what they say."""

import contextlib
from collections.abc import Callable

import grpc
import pytest

from tests.servers.grpc_server import GrpcClient, GrpcServer, framed, messages, unframed
from tests.servers.nginx import Nginx
from tests.servers.process import ServerFailed
from tests.servers.raw import Closed, RawClient, RawConnection, RawUpstream, answers, response
from tests.servers.redis import RedisServer


def test_nginx_serves_and_proxies_to_a_raw_upstream(
    nginx: Callable[[str], Nginx], raw_upstream: Callable[..., RawUpstream]
) -> None:
    upstream = raw_upstream()
    server = nginx(f"location / {{ proxy_pass http://{upstream.address}; proxy_set_header X-Seen yes; }}")
    with RawClient(server.port) as client:
        answer = client.request("POST", "/a?b=c", body=b"hello")
        assert answer.status == 200
        account = answer.json()
        assert account["method"] == "POST"
        assert account["target"] == "/a?b=c"
        assert account["body"] == "hello"
        assert ["X-Seen", "yes"] in account["headers"]
        assert client.request("HEAD", "/").body == b""
    assert b"X-Seen: yes" in upstream.requests_seen


def test_a_broken_server_shows_its_output(nginx: Callable[[str], Nginx]) -> None:
    with pytest.raises(ServerFailed, match="no_such_directive"):
        nginx("no_such_directive on;")


def test_redis_answers(redis_server: Callable[..., RedisServer]) -> None:
    with RawClient(redis_server(password="secret").port) as client:
        client.send(b"AUTH secret\r\nPING\r\n")
        assert client.read_until(b"PONG\r\n") == b"+OK\r\n+PONG\r\n"


def test_scripts_go_by_connection_and_the_last_one_stays(raw_upstream: Callable[..., RawUpstream]) -> None:
    def reset(connection: RawConnection) -> None:
        connection.read_head()
        connection.reset()

    upstream = raw_upstream(reset, answers(response(b"first"), response(b"second")))
    with RawClient(upstream.port) as client, contextlib.suppress(ConnectionResetError):
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert client.is_closed()
    for _ in range(2):
        with RawClient(upstream.port) as client:
            assert [client.request("GET", "/").body for _ in range(3)] == [b"first", b"second", b"second"]
    upstream.wait_connections(3)


def test_chunks_trailers_and_early_close(raw_upstream: Callable[..., RawUpstream]) -> None:
    def chunked(connection: RawConnection) -> None:
        connection.read_head()
        connection.send(
            b"HTTP/1.1 103 Early Hints\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n",
            b"2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n",
        )
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort")

    upstream = raw_upstream(chunked)
    with RawClient(upstream.port) as client:
        answer = client.request("GET", "/")
        assert (answer.body, answer.trailers) == (b"abcde", [("X-Sum", "5")])
        with pytest.raises(Closed):
            client.read_response()


def test_a_failing_script_fails_the_test() -> None:
    def broken(connection: RawConnection) -> None:
        raise AssertionError("not what was expected")

    upstream = RawUpstream(broken)
    with RawClient(upstream.port) as client:
        assert client.is_closed()
    with pytest.raises(AssertionError, match="not what was expected"):
        upstream.stop()


def test_grpc_calls_of_every_kind(grpc_server: Callable[..., GrpcServer]) -> None:
    server = grpc_server()
    m = messages()
    with GrpcClient(server.port) as client:
        assert client.SayHello(m.HelloRequest(name="Ada"), timeout=20).message == "Hello Ada"
        parts = client.Repeat(m.RepeatRequest(payload=b"x", count=3), timeout=20)
        assert [part.payload for part in parts] == [b"x"] * 3
        sent = [m.Blob(payload=b"a" * size) for size in (1, 20, 300)]
        summary = client.Collect(iter(sent), timeout=20)
        assert (summary.count, summary.bytes) == (3, 321)
        assert list(client.Chat(iter(sent), timeout=20)) == sent
        assert client.Deadline(m.HelloRequest()).left_ms == -1
        assert 0 < client.Deadline(m.HelloRequest(), timeout=20).left_ms <= 30_000
    assert server.calls["Deadline"] == 2
    body = framed(m.Blob(payload=b"abc")) + framed(b"")
    assert [m.Blob.FromString(part) for part in unframed(body)] == [m.Blob(payload=b"abc"), m.Blob()]


def test_grpc_errors_metadata_and_cancellation(grpc_server: Callable[..., GrpcServer]) -> None:
    server = grpc_server()
    m = messages()
    with GrpcClient(server.port) as client:
        details = m.Status(code=9, message="inner")
        with pytest.raises(grpc.RpcError) as failed:
            client.Fail(m.FailRequest(code=9, message="not now", details=details), timeout=20)
        assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not now")
        trailing = dict(failed.value.trailing_metadata())
        assert m.Status.FromString(trailing["grpc-status-details-bin"]) == details
        reply, call = client.Metadata.with_call(m.HelloRequest(), metadata=[("x-own-bin", b"\0\1")], timeout=20)
        assert {pair.name: pair.value for pair in reply.received}["x-own-bin"] == b"\0\1"
        assert dict(call.initial_metadata())["x-initial-bin"] == b"\x00\x01\xff"
        assert dict(call.trailing_metadata())["x-trailing"] == "two"
        slow = client.Slow.future(m.SlowRequest(ms=60_000))
        server.wait_called("Slow")
        slow.cancel()
        server.wait_cancelled()
