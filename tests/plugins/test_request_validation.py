from typing import Any

import pytest
from pydantic import ValidationError

from bascule.plugin.kit.testing import get, make, post, run
from bascule.plugins.request_validation import RequestValidation

BODY: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "on": {"type": "boolean"},
        "timeouts": {"type": "integer", "minimum": 1, "maximum": 254, "default": 3},
        "deep": {"type": "object", "properties": {"x": {"default": [1]}}},
    },
}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_valid_body_passes_with_defaults() -> None:
    result = run(RequestValidation, {"body_schema": BODY}, post("/", {"name": "a", "deep": {}}))
    assert result.upstream.body == b'{"name":"a","deep":{"x":[1]},"timeouts":3}'


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"on": true}', b"name"),
        (b'{"name": 5}', b"name"),
        (b'{"name": "a", "timeouts": 0}', b"timeouts"),
        (b"[]", b"object"),
        (b"", b"no body"),
        (b'{"name": ', b"not JSON"),
        (b"\xff", b"not JSON"),
        (b'{"name": NaN}', b"NaN"),
        (b'{"name": "a", "n": 1e999}', b"out of range"),
        (b"[" * 200_000, b"not JSON"),
    ],
)
def test_invalid_body(body: bytes, reason: bytes) -> None:
    result = run(RequestValidation, {"body_schema": BODY}, post("/", body))
    assert result.status == 400
    assert reason in result.body
    assert result.header("content-type") == "text/plain; charset=utf-8"


def test_answer() -> None:
    conf = {"body_schema": BODY, "rejected_code": 505, "rejected_msg": "no way"}
    result = run(RequestValidation, conf, get("/"))
    assert (result.status, result.body) == (505, b"no way")


def test_repeated_names_mean_upstream_what_they_meant_here() -> None:
    schema = {"type": "object", "properties": {"k": {"pattern": "^good$"}}}
    result = run(RequestValidation, {"body_schema": schema}, post("/", b'{"k":"bad","k":"good"}'))
    assert result.upstream.body == b'{"k":"good"}'


def test_numbers_stay_as_they_are() -> None:
    body = b'{"name":"\\u00e9","big":12345678901234567890123456789,"float":0.1}'
    assert run(RequestValidation, {"body_schema": BODY}, post("/", body)).upstream.body == body[:-1] + b',"timeouts":3}'


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "Application/X-WWW-Form-Urlencoded; charset=utf-8"]
)
def test_form(content_type: str) -> None:
    body = b"a=b&" * 101 + b"name=some+text"
    result = run(RequestValidation, {"body_schema": BODY}, post("/", body, headers={"Content-Type": content_type}))
    assert result.upstream.body == body
    bad = run(RequestValidation, {"body_schema": BODY}, post("/", b"a=b", headers={"Content-Type": content_type}))
    assert bad.status == 400


def test_form_with_repeated_and_broken_fields() -> None:
    schema = {"properties": {"a": {"type": "array", "minItems": 3}}, "required": ["a"]}
    conf = {"body_schema": schema}
    assert run(RequestValidation, conf, post("/", b"a=1&a=&a=3", headers=FORM)).status == 200
    assert run(RequestValidation, conf, post("/", b"a=1", headers=FORM)).status == 400
    assert run(RequestValidation, conf, post("/", b"a=%ff", headers=FORM)).status == 400


def test_two_content_types() -> None:
    headers = [("Content-Type", "application/json"), ("Content-Type", "application/x-www-form-urlencoded")]
    for pair in (headers, headers[::-1]):
        result = run(RequestValidation, {"body_schema": BODY}, post("/", b'{"name":"a"}', headers=pair))
        assert (result.status, result.body) == (400, b"duplicated Content-Type header")


def test_body_too_large() -> None:
    result = run(RequestValidation, {"body_schema": BODY, "max_req_body_size": 10}, post("/", b'{"name":"long"}'))
    assert result.status == 400
    assert b"larger than 10 bytes" in result.body


def test_headers() -> None:
    schema = {
        "type": "object",
        "required": ["test", "X-Spelt"],
        "properties": {"test": {"enum": ["a", "b"]}, "X-Spelt": {"type": "array"}},
    }
    conf = {"header_schema": schema}
    spelt = [("x-spelt", "1"), ("X-SPELT", "2")]
    assert run(RequestValidation, conf, get("/", headers=[("Test", "a"), *spelt])).status == 200
    assert run(RequestValidation, conf, get("/", headers=[("Test", "c"), *spelt])).status == 400
    assert run(RequestValidation, conf, get("/", headers=[("Test", "a"), spelt[0]])).status == 400
    result = run(RequestValidation, conf, get("/"))
    assert result.status == 400
    assert result.body.startswith(b"header ")


def test_headers_do_not_hold_the_body() -> None:
    request = post("/", b"x" * 100)
    assert run(RequestValidation, {"header_schema": {}}, request).status == 200
    assert request.held_body is None


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        ({}, "is required"),
        ({"rejected_msg": "x"}, "is required"),
        ({"body_schema": {"type": "test"}}, "test"),
        ({"body_schema": {"properties": {"a": {"enum": "x"}}}}, "array"),
        ({"header_schema": {"required": "x"}}, "array"),
        ({"header_schema": {}, "rejected_code": 10000}, "599"),
        ({"header_schema": {}, "rejected_msg": "x" * 257}, "256"),
        ({"header_schema": {}, "rejected_msg": ""}, "at least 1"),
    ],
)
def test_bad_configurations(conf: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        make(RequestValidation, conf)
