from random import Random
from typing import Any

import pytest
from pydantic import ValidationError

from bascule.plugin.kit.testing import MemoryHost, get, make, run
from bascule.plugins.mocking import Mocking, generate, to_xml


def test_example() -> None:
    result = run(Mocking, {"response_example": '{"a":1}'}, get("/"))
    assert result.answered_by == "mocking"
    assert (result.status, result.body) == (200, b'{"a":1}')
    assert result.header_values("content-type") == ["application/json;charset=utf8"]
    assert result.header("x-mock-by") == "Bascule/0.0.0"


def test_everything_set() -> None:
    conf = {
        "response_example": "hello $arg_who, ${http_x ?? nobody}",
        "response_status": 201,
        "content_type": "text/plain",
        "with_mock_header": False,
        "response_headers": {"X-Who": "$arg_who", "X-Number": 2, "content-type": "text/html"},
    }
    result = run(Mocking, conf, get("/?who=you"))
    assert (result.status, result.body) == (201, b"hello you, nobody")
    assert (result.header("X-Who"), result.header("X-Number")) == ("you", "2")
    assert result.header_values("content-type") == ["text/html"]
    assert result.header("x-mock-by") is None


def test_line_breaks_of_variables_stay_in_their_header() -> None:
    conf = {"response_example": "x", "response_headers": {"X-A": "$arg_a"}}
    assert run(Mocking, conf, get("/?a=1%0d%0aX-B:2")).header("X-A") == "1 X-B:2"


def test_delay() -> None:
    host = MemoryHost()
    assert run(Mocking, {"response_example": "late", "delay": 3}, get("/"), host=host).body == b"late"
    assert host.slept == [3]
    assert not make(Mocking, {"response_example": "x", "delay": 1}).needs_task


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "example": "apple"},
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "price": {"type": "number", "example": 1.5},
        "fresh": {"type": "boolean", "example": True},
        "tags": {"type": "array", "items": {"type": "string", "example": "red"}},
        "wrong": {"type": "integer", "example": "not an integer"},
    },
}


def test_schema() -> None:
    value = run(Mocking, {"response_schema": SCHEMA}, get("/")).json()
    assert list(value) == list(SCHEMA["properties"])
    assert (value["name"], value["price"], value["fresh"]) == ("apple", 1.5, True)
    assert set(value["tags"]) == {"red"}
    assert isinstance(value["wrong"], int)
    assert 1 <= len(value["text"]) <= 10


def test_schema_as_xml() -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "example": "a<b"},
            "ok": {"type": "boolean", "example": False},
            "items": {"type": "array", "items": {"type": "integer"}, "example": [1, 2]},
            "in": {"type": "object", "properties": {"n": {"type": "number", "example": 0.5}}},
        },
    }
    result = run(Mocking, {"response_schema": schema, "content_type": "application/xml"}, get("/"))
    expected = "<data><name>a&lt;b</name><ok>false</ok><items>1</items><items>2</items><in><n>0.5</n></in></data>"
    assert result.body.decode() == expected


@pytest.mark.parametrize(
    ("schema", "kinds"),
    [
        ({"type": "string"}, str),
        ({"type": "number"}, float),
        ({"type": "integer", "minimum": 5, "maximum": 5}, int),
        ({"type": "integer", "maximum": -7}, int),
        ({"type": "number", "minimum": 20_000}, float),
        ({"type": "boolean"}, bool),
        ({"type": "array", "minItems": 2, "maxItems": 2}, list),
        ({"type": ["object", "null"]}, dict),
        ({"properties": {}}, dict),
        ({"items": {"type": "string"}}, list),
        ({"enum": ["x"]}, str),
        ({"type": "string", "minLength": 3, "maxLength": 3}, str),
        ({"type": "null"}, type(None)),
        ({}, str),
    ],
)
def test_generate(schema: dict[str, Any], kinds: type) -> None:
    for seed in range(20):
        value = generate(schema, Random(seed))
        assert isinstance(value, kinds)
        if isinstance(value, int | float):
            assert schema.get("minimum", -1e9) <= value <= schema.get("maximum", 1e9)
        if isinstance(value, str | list):
            assert len(value) >= schema.get("minLength", schema.get("minItems", 1))
            assert len(value) <= schema.get("maxLength", schema.get("maxItems", 10))


def test_xml_of_nothing() -> None:
    assert to_xml(None) == "<data></data>"


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        ({}, "is required"),
        ({"response_example": "x", "content_type": "image/png"}, "unsupported content type!"),
        ({"response_example": "x", "response_status": 99}, "200"),
        ({"response_example": "x", "response_headers": {}}, "at least 1"),
        ({"response_example": "x", "delay": -1}, "greater"),
        ({"response_example": "x", "response_headers": {"a b": "c"}}, "invalid field"),
        ({"response_example": "x", "response_headers": {"a": "c\r\nd: e"}}, "invalid value"),
        ({"response_example": "x", "content_type": "text/plain;\r\nd: e"}, "invalid value"),
        ({"response_schema": []}, "dict"),
    ],
)
def test_bad_configurations(conf: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        make(Mocking, conf)
