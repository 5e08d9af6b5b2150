"""The kinds of resources as the Admin API knows them: their names in sentences, their methods."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bascule.store.keys import key_of, kind_and_id

_ALL = frozenset({"GET", "PUT", "POST", "DELETE", "PATCH"})
_NAMED = _ALL - {"POST"}  # the id is always the client's
_WHOLE = _NAMED - {"PATCH"}


@dataclass(frozen=True, slots=True)
class ResourceKind:
    """`noun`: in sentences. `id_parts`: path segments of an id. `filters`: what a list can be filtered by."""

    name: str
    noun: str
    methods: frozenset[str]
    id_parts: int = 1
    filters: tuple[str, ...] = ()


_REFERENCES = ("service_id", "upstream_id")
KINDS: dict[str, ResourceKind] = {
    kind.name: kind
    for kind in (
        ResourceKind("routes", "route", _ALL, filters=_REFERENCES),
        ResourceKind("services", "service", _ALL),
        ResourceKind("upstreams", "upstream", _ALL),
        ResourceKind("consumers", "consumer", _WHOLE),
        ResourceKind("credentials", "credential", _WHOLE),
        ResourceKind("consumer_groups", "consumer group", _NAMED),
        ResourceKind("plugin_configs", "plugin config", _NAMED),
        ResourceKind("global_rules", "global rule", _NAMED),
        ResourceKind("plugin_metadata", "plugin metadata", _WHOLE),
        ResourceKind("ssls", "ssl", _ALL),
        ResourceKind("stream_routes", "stream route", _ALL - {"PATCH"}, filters=_REFERENCES),
        ResourceKind("secrets", "secret", _NAMED, id_parts=2),
        ResourceKind("protos", "proto", _ALL - {"PATCH"}),
        ResourceKind("graphql_cost_decorations", "graphql cost decoration", _ALL),
    )
}
TIMELESS = ("plugin_metadata",)  # kinds that hold no create_time and update_time, as in APISIX

# Of kinds whose model doesn't check it; APISIX's rule for ids in string form.
_ID = re.compile(r"[a-zA-Z0-9\-_.]{1,64}\Z")
_UNCHECKED = ("credentials", "graphql_cost_decorations", "secrets")


def is_id(kind: str, id: str) -> bool:
    """Whether a resource of the kind may be stored under `id`, as far as its model doesn't say."""
    if kind_and_id(key_of(kind, id)) != (kind, id):
        return False
    return kind not in _UNCHECKED or all(_ID.match(part) for part in id.split("/"))
