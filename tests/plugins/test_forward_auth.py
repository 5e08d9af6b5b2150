import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from bascule.engine.http_client import AiohttpClient
from bascule.plugin.host import HttpClientError
from bascule.plugin.kit.testing import HttpAnswer, HttpCall, get, make, post, run, run_async
from bascule.plugins.forward_auth import ForwardAuth
from tests.servers.raw import RawConnection, RawUpstream, response

URI = "http://auth.test/check"


def asked(conf: dict[str, Any], request: Any) -> HttpCall:
    result = run(ForwardAuth, {"uri": URI, **conf}, request, http={URI: HttpAnswer(200, [], b"")})
    assert result.answered_by == "upstream"
    [call] = result.host.http.calls
    return call


def test_what_the_authoriser_gets() -> None:
    request = get(
        "http://shop.test:8080/a/b?c=d",
        headers={
            "Authorization": "Bearer x",
            "Cookie": "secret",
            "X-Forwarded-Host": "evil",
            "X-Forwarded-For": "6.6.6.6",
        },
        remote_addr="10.0.0.7",
    )
    call = asked({"request_headers": ["authorization", "X-Forwarded-Host", "X-Absent"]}, request)
    assert (call.method, call.url, call.body, call.timeout_s, call.ssl_verify) == ("GET", URI, b"", 3.0, True)
    assert dict(call.headers) == {
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Method": "GET",
        "X-Forwarded-Host": "shop.test:8080",
        "X-Forwarded-Uri": "/a/b?c=d",
        "X-Forwarded-For": "10.0.0.7",
        "authorization": "Bearer x",
    }


def test_extra_headers() -> None:
    conf = {
        "extra_headers": {"X-Id": "$post_arg.tenant_id", "X-User": "u-$arg_user", "Fixed": "abcd"},
        "request_headers": ["Fixed", "X-User"],
        "timeout": 500,
        "ssl_verify": False,
        "keepalive": False,
    }
    call = asked(conf, post("/?user=ann", {"tenant_id": 123}, headers={"Fixed": "mine"}))
    assert (call.header("X-Id"), call.header("X-User"), call.header("Fixed")) == ("123", "u-ann", "abcd")
    assert (call.body, call.timeout_s, call.ssl_verify, call.header("Connection")) == (b"", 0.5, False, "close")


def test_post_sends_the_body_and_the_upstream_gets_it_too() -> None:
    request = post("/", {"a": 1})
    result = run(ForwardAuth, {"uri": URI, "request_method": "POST"}, request, http={URI: HttpAnswer(204, [], b"")})
    [call] = result.host.http.calls
    assert (call.method, call.body, call.header("content-type")) == ("POST", b'{"a":1}', "application/json")
    assert result.upstream.body == b'{"a":1}'


def test_body_too_large() -> None:
    conf = {"uri": URI, "request_method": "POST", "max_req_body_size": 10}
    assert run(ForwardAuth, conf, post("/", b"x" * 11)).status == 413
    assert run(ForwardAuth, conf, post("/", b"x" * 10), http={URI: HttpAnswer(200, [], b"")}).status == 200


def test_upstream_headers_come_from_the_authoriser_only() -> None:
    conf = {"uri": URI, "upstream_headers": ["X-User-ID", "X-Role"]}
    answer = HttpAnswer(
        200, [("x-user-id", "i-am-an-user"), ("X-Group", "no"), ("X-Role", "a"), ("X-Role", "b")], b"ok"
    )
    request = get("/", headers={"X-User-ID": "injected", "X-Role": "root"})
    sent = run(ForwardAuth, conf, request, http={URI: answer}).upstream
    assert sent.header_values("X-User-ID") == ["i-am-an-user"]
    assert sent.header_values("X-Role") == ["a", "b"]
    assert sent.header("X-Group") is None
    request = get("/", headers={"X-User-ID": "injected"})
    assert run(ForwardAuth, conf, request, http={URI: HttpAnswer(200, [], b"")}).upstream.header("X-User-ID") is None


@pytest.mark.parametrize("status", [300, 302, 401, 403, 500, 599])
def test_refusal_is_passed_on(status: int) -> None:
    answer = HttpAnswer(
        status, [("location", "http://example.com/auth"), ("Set-Cookie", "a"), ("set-cookie", "b")], b"no!"
    )
    result = run(ForwardAuth, {"uri": URI, "client_headers": ["Location", "Set-Cookie"]}, get("/"), http={URI: answer})
    assert (result.status, result.body) == (status, b"no!")
    assert result.header_values("Location") == ["http://example.com/auth"]
    assert result.header_values("Set-Cookie") == ["a", "b"]
    bare = run(ForwardAuth, {"uri": URI}, get("/"), http={URI: answer})
    assert (bare.status, bare.header("Location")) == (status, None)


def test_unreachable() -> None:
    broken = {URI: HttpClientError("connection refused")}
    assert run(ForwardAuth, {"uri": URI}, get("/"), http=broken).status == 403
    assert run(ForwardAuth, {"uri": URI, "status_on_error": 503}, get("/"), http=broken).status == 503
    assert run(ForwardAuth, {"uri": URI, "allow_degradation": True}, get("/"), http=broken).status == 200


@pytest.mark.parametrize("degrade", [False, True])
def test_header_injection_is_refused(degrade: bool) -> None:
    conf = {"uri": URI, "extra_headers": {"X-User": "$arg_user"}, "allow_degradation": degrade}
    result = run(ForwardAuth, conf, get("/?user=guest%0d%0aX-User1:%20admin"), http={URI: HttpAnswer(200, [], b"")})
    assert result.status == 403
    assert result.host.http.calls == []


def authoriser(connection: RawConnection) -> None:
    while True:
        request = connection.read_request()
        ok = request.header("token") == "good"
        connection.send(response(b"hi", "200 OK" if ok else "401 Unauthorized", [("X-User", "ann")]))


def test_over_real_connections(raw_upstream: Callable[..., RawUpstream]) -> None:
    upstream = raw_upstream(authoriser)

    async def go() -> list[tuple[int, str | None]]:
        client = AiohttpClient()
        conf = {"uri": f"http://{upstream.address}/x", "request_headers": ["Token"], "upstream_headers": ["X-User"]}
        seen = []
        for token in ("good", "bad", "good"):
            result = await run_async(ForwardAuth, conf, get("/", headers={"Token": token}), http=client)
            seen.append((result.status, result.sent and result.sent.header("X-User")))
        await client.close()
        return seen

    assert asyncio.run(go()) == [(200, "ann"), (401, None), (200, "ann")]
    assert len(upstream.connections) == 1


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        ({}, "uri"),
        ({"uri": 3233}, "string"),
        ({"uri": "auth.test"}, "pattern"),
        ({"uri": URI, "request_headers": "test"}, "request_headers"),
        ({"uri": URI, "request_method": "PUT"}, "GET"),
        ({"uri": URI, "timeout": 60_001}, "60000"),
        ({"uri": URI, "extra_headers": {}}, "at least 1"),
        ({"uri": URI, "extra_headers": {"a:b": "c"}}, "token"),
        ({"uri": URI, "upstream_headers": ["Content-Length"]}, "gateway itself"),
        ({"uri": URI, "request_headers": ["Transfer-Encoding"]}, "gateway itself"),
        ({"uri": URI, "client_headers": ["a b"]}, "token"),
    ],
)
def test_bad_configurations(conf: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        make(ForwardAuth, conf)
