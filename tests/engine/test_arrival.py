"""Finding the route when conditions go by the body (a route's vars, a plugin's _meta.filter): it is held before."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.servers.gateway import Gateway
from tests.servers.raw import RawUpstream

FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")


@pytest.fixture(scope="module")
def served(echo: RawUpstream, module_gateway: Callable[..., Gateway]) -> Gateway:
    upstream = {"nodes": {echo.address: 1}}
    header_only = {"response-rewrite": {"headers": {"set": {"X-Big": "yes"}}}}
    header_only["response-rewrite"]["_meta"] = {"filter": [["post_arg.size", ">", 10]]}  # type: ignore[assignment]
    guard = {"mocking": {"response_status": 403, "response_example": "no"}}
    guard["mocking"]["_meta"] = {"filter": [["post_arg.admin", "==", "1"]]}
    routes = [
        {"id": "chosen", "uri": "/by-body", "vars": [["post_arg_kind", "==", "b"]], "upstream": upstream},
        {"id": "other", "uri": "/*", "upstream": upstream},
        {"id": "guarded", "uri": "/guarded", "plugins": guard, "upstream": upstream},
        {"id": "later", "uri": "/later", "plugins": header_only, "upstream": upstream},
        {"id": "brings", "uri": "/brings", "plugins": {"key-auth": {}}, "upstream": upstream},
    ]
    consumers = [{"username": "jack", "plugins": {"key-auth": {"key": "k"}} | guard}]
    log = {"http": {"access_log_format": "$route_id $status n=$arg_n;"}}
    return module_gateway({"routes": routes, "consumers": consumers}, {"nginx_config": log})


def post(served: Gateway, path: str, body: bytes, *headers: tuple[str, str]) -> Any:
    with served.client() as client:
        return client.request("POST", path, [*headers, ("Content-Length", str(len(body)))], body)


def test_a_route_is_chosen_by_what_the_body_says(served: Gateway) -> None:
    for number, body in enumerate((b"kind=b&x=1", b"kind=a")):
        answer = post(served, f"/by-body?n={number}", body, FORM)
        assert answer.status == 200
        assert json.loads(answer.body)["body"] == body.decode()  # and goes on whole
    post(served, "/by-body?n=2", b"", FORM)
    post(served, "/elsewhere?n=3", b"kind=b", FORM)
    routes = [served.logged(f"n={number};").split()[0] for number in range(4)]
    assert routes == ["chosen", "other", "other", "other"]


def test_a_body_that_comes_late_is_waited_for(served: Gateway) -> None:
    with served.client() as client:
        client.send(b"POST /by-body?n=late HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n")
        client.send(b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        assert client.read_response(informational=True).status == 100
        client.send(b"5\r\nkind=\r\n")
        client.send(b"1\r\nb\r\n0\r\n\r\n")
        assert client.read_response().status == 200
    assert served.logged("n=late;").split()[0] == "chosen"


def test_a_guard_whose_filter_goes_by_the_body_guards(served: Gateway) -> None:
    assert post(served, "/guarded", b'{"admin": "1"}', JSON).status == 403
    passed = post(served, "/guarded", b'{"admin": "0"}', JSON)
    assert json.loads(passed.body)["body"] == '{"admin": "0"}'


def test_a_filter_of_a_later_phase_sees_the_body_too(served: Gateway) -> None:
    assert post(served, "/later", b'{"size": 11}', JSON).header("x-big") == "yes"
    assert post(served, "/later", b'{"size": 9}', JSON).header("x-big") is None


def test_a_guard_that_the_consumer_brings(served: Gateway) -> None:
    assert post(served, "/brings", b'{"admin": "1"}', JSON, ("apikey", "k")).status == 403
    assert post(served, "/brings", b'{"admin": "0"}', JSON, ("apikey", "k")).status == 200


def test_a_body_beyond_the_limit_is_refused(served: Gateway) -> None:
    with served.client() as client:
        client.send(b"POST /guarded HTTP/1.1\r\nHost: a\r\nContent-Length: 67108865\r\n\r\n")
        assert client.read_response().status == 413
