"""The OpenAPI document of the Admin API, made from the kinds of resources, their models, and the table of the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from bascule.admin.access import BASE
from bascule.admin.answer import Answer, refuse
from bascule.admin.http import AdminRequest, Handler
from bascule.admin.openapi_operations import OPERATIONS, Operation
from bascule.admin.resource_kind import KINDS, ResourceKind
from bascule.admin.schemas import Schemas
from bascule.store.keys import NESTED

_PATH_PARAMETER = re.compile(r"\{(\w+)\}")
_ID = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[a-zA-Z0-9._-]+$"}
_ERRORS = {
    400: "the request is refused; the answer says why",
    401: "no key, or a wrong one",
    403: "the key, or the client's address, may not do this",
    404: "there is no such thing",
    405: "not this method",
}
_WRITE_ERRORS = {409: "something has changed meanwhile", 412: "If-Match names another revision"}
_VERBS = {"GET": "Read", "PUT": "Create or replace", "POST": "Create", "PATCH": "Change", "DELETE": "Delete"}
_LIST_QUERY = {
    "page": {"type": "integer", "minimum": 1},
    "page_size": {"type": "integer", "minimum": 10, "maximum": 500},
    "name": {"type": "string"},
    "uri": {"type": "string"},
    "label": {"type": "string"},
    "filter": {"type": "string"},
}
_ENTRY = {
    "type": "object",
    "required": ["key", "value"],
    "properties": {
        "key": {"type": "string"},
        "value": {"type": "object"},
        "createdIndex": {"type": "integer"},
        "modifiedIndex": {"type": "integer"},
    },
}
_LIST = {
    "type": "object",
    "required": ["total", "list"],
    "properties": {"total": {"type": "integer"}, "list": {"type": "array", "items": _ENTRY}},
}
_DELETED = {"type": "object", "required": ["deleted", "key"]}
_JSON = "application/json"
_PROBLEM = "application/problem+json"


class OpenApi:
    """`title`, `version`: of the gateway. `resources`: whether it has single resources."""

    def __init__(self, schemas: Schemas, *, version: str, resources: bool = True) -> None:
        self._schemas = schemas
        self._version = version
        self._resources = resources
        self._made: dict[str, Any] | None = None

    def handlers(self) -> Sequence[tuple[str, Handler]]:
        return (("openapi.json", self._serve),)

    async def _serve(self, request: AdminRequest) -> Answer:
        if request.rest:
            raise refuse(404, f"there is nothing at {request.http.path}")
        if request.method not in ("GET", "HEAD"):
            raise refuse(405, f"not supported `{request.method}` method for {request.http.path}")
        return Answer(200, self.document)

    @property
    def document(self) -> dict[str, Any]:
        """Made when first asked for."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def _make(self) -> dict[str, Any]:
        paths: dict[str, dict[str, Any]] = {}
        for path, method, operation in self._operations():
            paths.setdefault(path, {})[method] = operation
        return {
            "openapi": "3.1.0",
            "info": {"title": "Bascule Admin API", "version": self._version},
            "servers": [{"url": BASE}],
            "security": [{"key": []}],
            "paths": paths,
            "components": {
                "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-API-KEY"}},
                "schemas": {kind: self._schemas.resource(kind) or {"type": "object"} for kind in KINDS},
            },
        }

    def _operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        if self._resources:
            for kind in KINDS.values():
                yield from _of_kind(kind)
        for operation in OPERATIONS:
            yield operation.path, operation.method, _other(operation)


def _of_kind(kind: ResourceKind) -> Iterator[tuple[str, str, dict[str, Any]]]:
    folder = f"/{NESTED[kind.name]}/{{owner}}/{kind.name}" if kind.name in NESTED else f"/{kind.name}"
    one = f"{folder}/{{manager}}/{{id}}" if kind.id_parts == 2 else f"{folder}/{{id}}"
    reference = {"$ref": f"#/components/schemas/{kind.name}"}
    methods = sorted(kind.methods)
    yield folder, "get", _operation(f"List {kind.name}", folder, {200: _LIST}, query=_LIST_QUERY)
    if "POST" in methods:
        created = {201: _ENTRY}
        yield folder, "post", _operation(f"Create a {kind.noun}", folder, created, body=reference, writes=True)
    for method in methods:
        if method == "POST":
            continue
        summary = f"{_VERBS[method]} a {kind.noun}"
        if method == "GET":
            yield one, "get", _operation(summary, one, {200: _ENTRY})
        elif method == "DELETE":
            query = {"force": {"type": "boolean"}}
            yield one, "delete", _operation(summary, one, {200: _DELETED}, query=query, writes=True)
        elif method == "PUT":
            answers = {200: _ENTRY, 201: _ENTRY}
            yield one, "put", _operation(summary, one, answers, body=reference, writes=True)
        else:
            yield one, "patch", _operation(summary, one, {200: _ENTRY}, patch=True, writes=True)


def _other(operation: Operation) -> dict[str, Any]:
    return _operation(
        operation.summary,
        operation.path,
        operation.answers,
        query=operation.query,
        headers=operation.headers,
        body=operation.body,
        yaml=operation.yaml,
        text=operation.text,
    )


def _operation(
    summary: str,
    path: str,
    answers: dict[int, Any],
    *,
    query: dict[str, Any] | None = None,
    headers: dict[str, Any] | None = None,
    body: Any = None,
    patch: bool = False,
    yaml: bool = False,
    text: bool = False,
    writes: bool = False,
) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _ID} for name in _PATH_PARAMETER.findall(path)
    ]
    for where, found in (("query", query), ("header", headers)):
        parameters += [{"name": name, "in": where, "schema": schema} for name, schema in (found or {}).items()]
    if writes and "{id}" in path:
        parameters.append({"name": "If-Match", "in": "header", "schema": {"type": "string"}})
    told: dict[str, Any] = {"summary": summary, "parameters": parameters, "responses": {}}
    if patch:
        told["requestBody"] = _body(
            {
                "application/json": {"type": "object"},
                "application/merge-patch+json": {"type": "object"},
                "application/json-patch+json": {"type": "array", "items": {"type": "object"}},
            }
        )
    elif body is not None:
        told["requestBody"] = _body({"application/json": body, **({"application/yaml": body} if yaml else {})})
    for status, schema in answers.items():
        sentence = "done" if status < 300 else _WRITE_ERRORS[status]
        told["responses"][str(status)] = _answer(sentence, schema, yaml=yaml, kind="text/plain" if text else _JSON)
    errors = _ERRORS | (_WRITE_ERRORS if writes else {}) | {501: "the store keeps no history", 503: "the store fails"}
    for status, sentence in errors.items():
        told["responses"].setdefault(str(status), _answer(sentence, {"type": "object"}, problem=True))
    return told


def _body(contents: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {kind: {"schema": schema} for kind, schema in contents.items()}}


def _answer(
    sentence: str, schema: Any, *, yaml: bool = False, problem: bool = False, kind: str = _JSON
) -> dict[str, Any]:
    if schema is None:
        return {"description": sentence}
    content: dict[str, Any] = {kind: {"schema": schema}}
    if yaml:
        content["application/yaml"] = {"schema": {}}
    if problem:
        content[_PROBLEM] = {"schema": schema}
    return {"description": sentence, "content": content}
