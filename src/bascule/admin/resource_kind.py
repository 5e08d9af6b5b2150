"""The kinds of resources as the Admin API knows them: their names in sentences, their methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_ALL = frozenset({"GET", "PUT", "POST", "DELETE", "PATCH"})
_NAMED = _ALL - {"POST"}  # the id is always the client's
_WHOLE = _NAMED - {"PATCH"}


@dataclass(frozen=True, slots=True)
class ResourceKind:
    """`noun`: in sentences. `id_parts`: path segments of an id. `defaults`: attributes that a stored value always has.
    `filters`: attributes that a list can be filtered by."""

    name: str
    noun: str
    methods: frozenset[str]
    id_parts: int = 1
    defaults: dict[str, Any] = field(default_factory=dict)
    filters: tuple[str, ...] = ()


_REFERENCES = ("service_id", "upstream_id")
KINDS: dict[str, ResourceKind] = {
    kind.name: kind
    for kind in (
        ResourceKind("routes", "route", _ALL, defaults={"priority": 0, "status": 1}, filters=_REFERENCES),
        ResourceKind("services", "service", _ALL),
        ResourceKind("upstreams", "upstream", _ALL),
        ResourceKind("consumers", "consumer", _WHOLE),
        ResourceKind("credentials", "credential", _WHOLE),
        ResourceKind("consumer_groups", "consumer group", _NAMED),
        ResourceKind("plugin_configs", "plugin config", _NAMED),
        ResourceKind("global_rules", "global rule", _NAMED),
        ResourceKind("plugin_metadata", "plugin metadata", _WHOLE),
        ResourceKind("ssls", "ssl", _ALL, defaults={"type": "server", "status": 1}),
        ResourceKind("stream_routes", "stream route", _ALL - {"PATCH"}, filters=_REFERENCES),
        ResourceKind("secrets", "secret", _NAMED, id_parts=2),
        ResourceKind("protos", "proto", _ALL - {"PATCH"}),
        ResourceKind("graphql_cost_decorations", "graphql cost decoration", _ALL),
    )
}
UPSTREAM_DEFAULTS = {"type": "roundrobin", "hash_on": "vars", "scheme": "http", "pass_host": "pass"}


def with_defaults(kind: ResourceKind, value: dict[str, Any]) -> dict[str, Any]:
    """A copy with what APISIX writes into every stored resource of the kind."""
    filled = kind.defaults | value
    if kind.name == "upstreams":
        return UPSTREAM_DEFAULTS | filled
    upstream = filled.get("upstream")
    if isinstance(upstream, dict):
        filled["upstream"] = UPSTREAM_DEFAULTS | upstream
    return filled


def without_defaults(kind: ResourceKind, value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy without what `with_defaults` would fill in."""
    bare = _without(value, kind.defaults | (UPSTREAM_DEFAULTS if kind.name == "upstreams" else {}))
    if isinstance(bare.get("upstream"), dict):
        bare["upstream"] = _without(bare["upstream"], UPSTREAM_DEFAULTS)
    return bare


def _without(value: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    def is_default(name: str, inner: Any) -> bool:
        return name in defaults and type(inner) is type(defaults[name]) and bool(inner == defaults[name])

    return {name: inner for name, inner in value.items() if not is_default(name, inner)}
