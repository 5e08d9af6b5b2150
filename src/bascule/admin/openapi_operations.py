"""What the Admin API can do besides single resources, as OpenAPI operations: a row each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Method = Literal["get", "put", "post", "patch", "delete"]
NUMBER = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
FLAG = {"type": "boolean", "default": False}
TEXT = {"type": "string"}
DIFFERENCE = {
    "type": "object",
    "required": ["path"],
    "properties": {"path": {"type": "string", "description": "JSON path in the resource"}, "before": {}, "after": {}},
}
STEP = {
    "type": "object",
    "required": ["action", "kind", "id"],
    "properties": {
        "action": {"enum": ["create", "update", "delete"]},
        "kind": TEXT,
        "id": TEXT,
        "differences": {"type": "array", "items": DIFFERENCE},
    },
}
PLAN = {
    "type": "object",
    "required": ["create", "update", "delete", "plan"],
    "properties": {
        "revision": NUMBER,
        "plan_id": TEXT,
        "dry_run": {"type": "boolean"},
        "create": NUMBER,
        "update": NUMBER,
        "delete": NUMBER,
        "plan": {"type": "array", "items": STEP},
    },
}
REVISION = {
    "type": "object",
    "required": ["revision", "time", "actor", "note", "changes"],
    "properties": {
        "revision": NUMBER,
        "time": {"type": "number", "description": "Unix seconds"},
        "actor": TEXT,
        "note": TEXT,
        "changes": {"type": "array", "items": STEP},
    },
}
REVISIONS = {
    "type": "object",
    "required": ["total", "list"],
    "properties": {"total": NUMBER, "list": {"type": "array", "items": REVISION}},
}
OBJECT = {"type": "object"}
DOCUMENT = {"type": "object", "description": "resources in lists by kind, as in an apisix.yaml"}
VALIDATED = {
    "type": "object",
    "required": ["error_msg", "errors"],
    "properties": {"error_msg": TEXT, "errors": {"type": "array", "items": OBJECT}},
}


@dataclass(frozen=True, slots=True)
class Operation:
    """`query`, `headers`: name -> schema. `answers`: status -> schema of the body, None for an empty one; those for
    errors that every operation may have are added. `yaml`: the body may be YAML as well, and so may the answer.
    `text`: the answer is plain text."""

    path: str
    method: Method
    summary: str
    answers: dict[int, Any]
    query: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    yaml: bool = False
    text: bool = False


_FORM = {"dry_run": FLAG}
OPERATIONS = (
    Operation(
        "/configs",
        "get",
        "The whole configuration as a document",
        {200: DOCUMENT},
        {"revision": NUMBER, "times": FLAG, "hide_secrets": FLAG},
        yaml=True,
    ),
    Operation(
        "/configs",
        "put",
        "Replace the whole configuration in one step",
        {200: PLAN, 202: PLAN, 204: None},
        _FORM,
        {"X-Digest": TEXT},
        DOCUMENT,
        yaml=True,
    ),
    Operation(
        "/configs",
        "post",
        "Apply many resources in one step",
        {200: PLAN, 409: PLAN},
        {**_FORM, "prune": FLAG, "note": TEXT, "plan_id": TEXT},
        body=DOCUMENT,
        yaml=True,
    ),
    Operation(
        "/configs/validate",
        "post",
        "Check a document and store nothing",
        {200: OBJECT},
        body=DOCUMENT,
        yaml=True,
    ),
    Operation(
        "/history",
        "get",
        "Revisions, newest first",
        {200: REVISIONS},
        {"limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50}, "before": NUMBER, "prefix": TEXT},
    ),
    Operation("/history/{revision}", "get", "What a revision changed", {200: REVISION}),
    Operation("/diff", "get", "What lies between two revisions", {200: PLAN}, {"from": NUMBER, "to": NUMBER}),
    Operation(
        "/rollback",
        "post",
        "Put an older revision in place again, as a new one",
        {200: PLAN, 409: PLAN},
        {**_FORM, "plan_id": TEXT},
        body={
            "type": "object",
            "required": ["revision"],
            "properties": {"revision": NUMBER, "dry_run": {"type": "boolean"}},
        },
    ),
    Operation("/schema/{kind}", "get", "The JSON Schema of a kind of resource", {200: OBJECT}),
    Operation(
        "/schema/plugins/{name}",
        "get",
        "The JSON Schema of a plugin",
        {200: OBJECT},
        {"schema_type": TEXT, "subsystem": TEXT},
    ),
    Operation(
        "/schema/validate/{kind}",
        "post",
        "Check a resource and store nothing",
        {200: None},
        body={},
    ),
    Operation(
        "/plugins/list", "get", "Names of plugins, highest priority first", {200: {"type": "array", "items": TEXT}}
    ),
    Operation(
        "/plugins/{name}",
        "get",
        "The JSON Schema of a plugin",
        {200: {}},
        {"schema_type": TEXT, "subsystem": TEXT},
    ),
    Operation("/plugins", "get", "All plugins with their schemas", {200: OBJECT}, {"all": TEXT, "subsystem": TEXT}),
    Operation("/plugins/reload", "put", "Read users' plugins anew", {200: TEXT}, text=True),
    Operation(
        "/explain",
        "post",
        "Which route a request would take, and why",
        {200: OBJECT},
        body=OBJECT,
    ),
    Operation("/debug_token", "post", "A token for X-Bascule-Debug", {200: OBJECT}, body=OBJECT),
    Operation("/openapi.json", "get", "This document", {200: OBJECT}),
)
