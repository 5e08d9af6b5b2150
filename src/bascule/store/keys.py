"""Keys of resources as APISIX lays them out below its prefix: `routes/1`, `consumers/jack/credentials/c1`."""

from __future__ import annotations

# Kinds whose items lie below an item of another kind: kind -> the kind above. Their ids hold the whole rest of the key.
NESTED = {"credentials": "consumers", "graphql_cost_decorations": "services"}
KINDS = (
    "routes",
    "services",
    "upstreams",
    "consumers",
    "consumer_groups",
    "plugin_configs",
    "global_rules",
    "plugin_metadata",
    "ssls",
    "stream_routes",
    "protos",
    "secrets",
)


def key_of(kind: str, id: str) -> str:
    """("routes", "1") -> "routes/1"; ("credentials", "jack/credentials/c1") -> "consumers/jack/credentials/c1"."""
    return f"{NESTED.get(kind, kind)}/{id}"


def kind_and_id(key: str) -> tuple[str, str] | None:
    """The inverse of `key_of`; None for a key that holds no resource (gen_id, data_plane/…, a folder's own)."""
    kind, _, id = key.partition("/")
    if kind not in KINDS or not id:
        return None
    parts = id.split("/")
    if len(parts) == 3 and NESTED.get(parts[1]) == kind:
        return parts[1], id
    return (kind, id) if len(parts) == (2 if kind == "secrets" else 1) else None
