"""All schemas in one document, as the Control API tells them."""

from __future__ import annotations

from typing import Any

from bascule.admin.schemas import Schemas
from bascule.model.upstream import APISIX_FIELD, APISIX_VARIABLE

_KINDS = (
    "consumer",
    "consumer_group",
    "credential",
    "global_rule",
    "plugin_config",
    "plugin_metadata",
    "proto",
    "route",
    "secret",
    "service",
    "ssl",
    "stream_route",
    "upstream",
)
_PLUGIN_LIST = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"name": {"type": "string", "minLength": 1}, "stream": {"type": "boolean"}},
        "required": ["name"],
    },
}


def schema_document(schemas: Schemas) -> dict[str, Any]:
    return {
        "main": {
            **{name: schemas.resource(name) for name in _KINDS},
            "plugins": _PLUGIN_LIST,
            # What `key` of an upstream may be, by its `hash_on`.
            "upstream_hash_vars_schema": {"type": "string", "pattern": APISIX_VARIABLE},
            "upstream_hash_header_schema": {"type": "string", "pattern": APISIX_FIELD},
        },
        "plugins": schemas.all(),
        "stream_plugins": schemas.all("stream"),
    }
