"""mocking: answers without an upstream, from an example or from a JSON schema."""

from __future__ import annotations

import string
from collections.abc import Awaitable
from random import Random
from typing import Annotated, Any, Self
from xml.sax.saxutils import escape

import orjson
from pydantic import Field, model_validator

from bascule.errors.apisix_text import ANY
from bascule.errors.sentences import Refused
from bascule.plugin import Config, Host, Plugin, Request, Response
from bascule.plugin.kit.header_edits import HeaderEdits, check_headers
from bascule.plugin.kit.template import Template

XML = ("application/xml", "text/xml")
TYPES = (*XML, "application/json", "text/plain", "text/html")
LETTERS = string.ascii_letters + string.digits


class MockingConfig(Config):
    delay: Annotated[int, Field(ge=0)] = 0
    response_status: Annotated[int, Field(ge=200, le=599)] = 200
    content_type: str = "application/json;charset=utf8"
    response_example: str | None = None
    response_schema: dict[str, Any] | None = None
    response_headers: Annotated[dict[str, str | int | float], Field(min_length=1)] | None = None
    with_mock_header: bool = True

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.response_example is None and self.response_schema is None:
            text = f'{ANY}: ["response_example"] or ["response_schema"]'
            raise Refused('"response_example" or "response_schema" is required', text)
        if _media_type(self.content_type) not in TYPES:
            raise ValueError(f"unsupported content type! It must be one of {', '.join(TYPES)}")
        check_headers((name, str(value)) for name, value in (self.response_headers or {}).items())
        check_headers([("Content-Type", self.content_type)])
        return self


class Mocking(Plugin):
    name = "mocking"
    priority = 10900
    Config = MockingConfig

    conf: MockingConfig

    def __init__(self, conf: MockingConfig, host: Host) -> None:
        super().__init__(conf, host)
        self._example = None if conf.response_example is None else Template(conf.response_example)
        self._headers = HeaderEdits(set=[(name, [str(value)]) for name, value in (conf.response_headers or {}).items()])
        self._is_xml = _media_type(conf.content_type) in XML

    def access(self, request: Request) -> Response | Awaitable[Response | None] | None:
        return self._answer_late(request) if self.conf.delay else self._answer(request)

    async def _answer_late(self, request: Request) -> Response:
        await self.host.sleep(self.conf.delay)
        return self._answer(request)

    def _answer(self, request: Request) -> Response:
        headers = [("Content-Type", self.conf.content_type)]
        if self.conf.with_mock_header:
            headers.append(("x-mock-by", f"{self.host.settings['server_name']}/{self.host.settings['version']}"))
        response = Response(self.conf.response_status, self._body(request), headers)
        self._headers.apply(response, request)
        return response

    def _body(self, request: Request) -> bytes:
        if self._example is not None:
            return self._example.render(request).encode()
        value = generate(self.conf.response_schema or {}, self.host.random)
        return to_xml(value).encode() if self._is_xml else orjson.dumps(value)


def generate(schema: dict[str, Any], random: Random) -> Any:
    """A value of the schema: its `example` where that is of its type, else random within the simple bounds."""
    kind = schema.get("type") or ("object" if "properties" in schema else "array" if "items" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0]
    example = schema.get("example")
    if example is not None and _is_a(example, kind):
        return example
    if schema.get("enum"):
        return random.choice(schema["enum"])
    if kind == "object":
        return {name: generate(part, random) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        least = schema.get("minItems", 1)
        count = random.randint(least, max(least, min(schema.get("maxItems", 3), 1000)))
        return [generate(schema.get("items", {}), random) for _ in range(count)]
    if kind == "boolean":
        return random.random() < 0.5
    if kind in ("integer", "number"):
        low = schema.get("minimum", min(1, schema.get("maximum", 1)))
        high = schema.get("maximum", max(10_000, low))
        return random.randint(int(low), int(high)) if kind == "integer" else random.uniform(low, high)
    if kind == "string":
        least = schema.get("minLength", 1)
        size = random.randint(least, max(least, min(schema.get("maxLength", 10), 1000)))
        return "".join(random.choices(LETTERS, k=size))
    return None


def _is_a(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "number":
        return isinstance(value, int | float)
    types: dict[str, type] = {"object": dict, "array": list, "string": str, "integer": int}
    return kind in types and isinstance(value, types[kind])


def to_xml(value: Any, tag: str = "data") -> str:
    """An element per key, repeated for the items of a list."""
    if isinstance(value, list):
        return "".join(to_xml(item, tag) for item in value)
    if isinstance(value, dict):
        inside = "".join(to_xml(part, name) for name, part in value.items())
    elif isinstance(value, bool):
        inside = "true" if value else "false"
    else:
        inside = "" if value is None else escape(str(value))
    return f"<{tag}>{inside}</{tag}>"


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
