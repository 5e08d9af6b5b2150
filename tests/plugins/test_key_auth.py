from typing import Any

import pytest

from bascule.plugin.kit.testing import Result, get, run
from bascule.plugins.key_auth import ConsumerKey, KeyAuth
from tests.plugins.faults import fault_paths

CONSUMERS = {"key-auth": {"jack": {"key": "auth-one"}}}


def call(conf: dict[str, Any], target: str = "/hello", headers: dict[str, str] | None = None) -> Result:
    return run(KeyAuth, conf, get(target, headers=headers or {}), consumers=CONSUMERS)


def test_defaults() -> None:
    assert KeyAuth.Config.model_validate({}).model_dump() == {
        "header": "apikey",
        "query": "apikey",
        "hide_credentials": False,
        "realm": "key",
        "anonymous_consumer": None,
    }
    assert (KeyAuth.type, KeyAuth.priority, KeyAuth.encrypt_fields) == ("auth", 2500, ("key",))


def test_the_consumers_key_is_the_index() -> None:
    assert KeyAuth.consumer_key(ConsumerKey(key="auth-one")) == "auth-one"


@pytest.mark.parametrize(
    ("conf", "target", "headers"),
    [
        ({}, "/hello", {"apikey": "auth-one"}),
        ({}, "/hello?apikey=auth%2Done", {}),
        ({"header": "Authorization"}, "/hello", {"Authorization": "auth-one"}),
        ({"query": "auth"}, "/hello?auth=auth-one", {}),
    ],
)
def test_lets_a_consumer_in(conf: dict[str, Any], target: str, headers: dict[str, str]) -> None:
    result = call(conf, target, headers)
    assert result.request.consumer is not None
    assert result.request.consumer.consumer_name == "jack"
    assert result.upstream.header("X-Consumer-Username") == "jack"


@pytest.mark.parametrize(
    ("target", "headers", "message"),
    [
        ("/hello", {}, "Missing API key in request"),
        ("/hello", {"apikey": "123"}, "Invalid API key in request"),
        ("/hello?apikey=123", {}, "Invalid API key in request"),
        ("/hello?apikey", {}, "Invalid API key in request"),
        ("/hello?apikey=auth-one", {"apikey": "123"}, "Invalid API key in request"),
    ],
)
def test_refuses_requests(target: str, headers: dict[str, str], message: str) -> None:
    result = call({}, target, headers)
    assert (result.status, result.body) == (401, f'{{"message":"{message}"}}'.encode())
    assert result.header("Content-Type") == "application/json"
    assert result.header("WWW-Authenticate") == 'apikey realm="key"'
    assert result.request.consumer is None


def test_the_challenge_names_the_realm() -> None:
    assert call({"realm": "my-realm"}).header("WWW-Authenticate") == 'apikey realm="my-realm"'


@pytest.mark.parametrize(
    ("target", "headers", "target_left"),
    [
        ("/echo", {"apikey": "auth-one", "test": "auth-two"}, "/echo"),
        ("/echo?apikey=auth-one", {"apikey": "auth-one"}, "/echo?apikey=auth-one"),
        ("/echo?apikey=auth-one&test=auth%20two", {}, "/echo?test=auth%20two"),
        ("/echo?a=1&api%6Bey=auth-one", {}, "/echo?a=1"),
        ("/echo?apikey=auth-one", {}, "/echo"),
    ],
)
def test_hides_the_credential_where_it_was(target: str, headers: dict[str, str], target_left: str) -> None:
    sent = call({"hide_credentials": True}, target, headers).upstream
    assert sent.header("apikey") is None
    assert sent.header("test") == headers.get("test")
    assert sent.target == target_left


def test_shows_the_credential_unless_told_otherwise() -> None:
    assert call({}, "/echo?a=1", {"apikey": "auth-one"}).upstream.header("apikey") == "auth-one"
    assert call({}, "/echo?apikey=auth-one").upstream.target == "/echo?apikey=auth-one"


@pytest.mark.parametrize("headers", [{}, {"apikey": "wrong"}])
def test_anonymous_consumer(headers: dict[str, str]) -> None:
    assert call({"anonymous_consumer": "jack"}, headers=headers).upstream.header("X-Consumer-Username") == "jack"


def test_anonymous_consumer_that_is_missing() -> None:
    result = call({"anonymous_consumer": "nobody"})
    assert (result.status, result.body) == (401, b'{"message":"Invalid user authorization"}')
    assert result.header("WWW-Authenticate") == 'apikey realm="key"'


@pytest.mark.parametrize(
    ("conf", "path"),
    [
        ({"realm": ""}, "$.realm"),
        ({"realm": "x" * 129}, "$.realm"),
        ({"realm": 'a"b'}, "$.realm"),
        ({"realm": "a\\b"}, "$.realm"),
        ({"anonymous_consumer": ""}, "$.anonymous_consumer"),
        ({"hide_credentials": "true"}, "$.hide_credentials"),
        ({"key": "x"}, "$.key"),
    ],
)
def test_refuses(conf: dict[str, Any], path: str) -> None:
    assert fault_paths(KeyAuth, conf) == [path]


@pytest.mark.parametrize("conf", [{}, {"key": 123}])
def test_refuses_a_consumers(conf: dict[str, Any]) -> None:
    assert fault_paths(KeyAuth, conf, ConsumerKey) == ["$.key"]
