"""request-validation: headers and body against JSON Schema, before anything else sees the request."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Annotated, Any, NoReturn, Self
from urllib.parse import parse_qsl

from pydantic import AfterValidator, Field, model_validator

from bascule.errors.apisix_text import ANY
from bascule.errors.sentences import Refused
from bascule.plugin import BodyTooLarge, Config, Host, Plugin, Request, Response
from bascule.plugin.kit.json_schema import JsonSchema, SchemaError


def _valid(schema: dict[str, Any]) -> dict[str, Any]:
    try:
        JsonSchema(schema)
    except SchemaError as error:
        raise Refused(str(error), error.text, True) from None
    return schema


Schema = Annotated[dict[str, Any], AfterValidator(_valid)]


class RequestValidationConfig(Config):
    header_schema: Schema | None = None
    body_schema: Schema | None = None
    rejected_code: Annotated[int, Field(ge=200, le=599)] = 400
    rejected_msg: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    max_req_body_size: Annotated[int, Field(ge=1)] = 64 << 20

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.header_schema is None and self.body_schema is None:
            text = f'{ANY}: ["header_schema"] or ["body_schema"]'
            raise Refused('"header_schema" or "body_schema" is required', text)
        return self


class Unreadable(ValueError):
    """The body is not what its Content-Type says."""


class RequestValidation(Plugin):
    name = "request-validation"
    priority = 2800
    type = "validation"
    Config = RequestValidationConfig

    conf: RequestValidationConfig

    def __init__(self, conf: RequestValidationConfig, host: Host) -> None:
        super().__init__(conf, host)
        self._headers = None if conf.header_schema is None else JsonSchema(conf.header_schema)
        self._body = None if conf.body_schema is None else JsonSchema(conf.body_schema)
        self._spellings = _spellings(conf.header_schema or {})

    def rewrite(self, request: Request) -> Response | Awaitable[Response | None] | None:
        if self._headers is not None:
            fault = self._headers.error(self._named_headers(request))
            if fault is not None:
                return self._reject(f"header {fault}")
        return None if self._body is None else self._rewrite_body(request, self._body)

    async def _rewrite_body(self, request: Request, schema: JsonSchema) -> Response | None:
        types = request.header_values("content-type")
        if len(types) > 1:
            # What is checked here must be what the upstream reads.
            return self._reject("duplicated Content-Type header")
        try:
            body = await request.body(self.conf.max_req_body_size)
        except BodyTooLarge as error:
            return self._reject(str(error))
        is_form = bool(types) and types[0].partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"
        try:
            document = _read_form(body) if is_form else _read_json(body)
        except Unreadable as error:
            return self._reject(str(error))
        if not is_form:
            document = schema.with_defaults(document)
        fault = schema.error(document)
        if fault is not None:
            return self._reject(f"body {fault}")
        if not is_form:
            # As it was understood here: readers differ about names that come twice.
            try:
                request.set_body(json.dumps(document, allow_nan=False, separators=(",", ":")).encode())
            except ValueError:  # 1e999
                return self._reject("the body is not JSON: a number is out of range")
        return None

    def _named_headers(self, request: Request) -> dict[str, str | list[str]]:
        """Header fields under lower-case names, or as the schema spells them; a list for one that comes repeatedly."""
        named: dict[str, str | list[str]] = {}
        for name, value in request.headers():
            lower = name.lower()
            spelling = self._spellings.get(lower, lower)
            present = named.get(spelling)
            if present is None:
                named[spelling] = value
            elif isinstance(present, list):
                present.append(value)
            else:
                named[spelling] = [present, value]
        return named

    def _reject(self, reason: str) -> Response:
        self.host.log.info("schema validation failed: %s", reason)
        return Response(self.conf.rejected_code, self.conf.rejected_msg or reason)


def _spellings(schema: dict[str, Any]) -> dict[str, str]:
    """Lower-case header name -> the name that the schema uses for it."""
    names: list[Any] = []
    for part in (schema.get("properties"), schema.get("required"), schema.get("dependencies")):
        names += part or ()
    return {name.lower(): name for name in names if isinstance(name, str)}


def _read_form(body: bytes) -> dict[str, str | list[str]]:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=10_000)
    except ValueError as error:
        raise Unreadable(f"the body is not a form: {error}") from None
    form: dict[str, Any] = {}
    for name, value in pairs:
        if name not in form:
            form[name] = value
        elif isinstance(form[name], list):
            form[name].append(value)
        else:
            form[name] = [form[name], value]
    return form


def _read_json(body: bytes) -> Any:
    if not body:
        raise Unreadable("the request has no body")
    try:
        # The standard library's reader keeps numbers of any size as they are.
        return json.loads(body.decode(), parse_constant=_not_json)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the body is not JSON: {error}") from None


def _not_json(name: str) -> NoReturn:
    raise Unreadable(f"the body is not JSON: {name} is no number")
