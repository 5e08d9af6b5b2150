"""The compiled items that the tables hold: per item the packed value, what was made of it, and what it refers to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bascule.model.websocket import WebsocketConf
from bascule.snapshot.compiled_ssl import CompiledSsl
from bascule.snapshot.compiled_upstream import CompiledUpstream
from bascule.snapshot.plugin_instance import PluginSet

if TYPE_CHECKING:
    from bascule.match.route_match import RouteMatch
    from bascule.snapshot.compiled_route import CompiledRoute
    from bascule.snapshot.plugin_compiler import Auth

# Which kind may refer to which, by which attribute of its record.
REFERENCES: dict[str, tuple[tuple[str, str], ...]] = {
    "routes": (("services", "service_id"), ("upstreams", "upstream_id"), ("plugin_configs", "plugin_config_id")),
    "services": (("upstreams", "upstream_id"),),
    "consumers": (("consumer_groups", "group_id"),),
    "credentials": (("consumers", "username"),),
}


@dataclass(slots=True, eq=False)
class Record:
    """An item by itself, checked; `packed` is its value as compact JSON. Where it refers to is resolved in linking."""

    packed: bytes
    file: str | None
    line: int | None


@dataclass(slots=True, eq=False, kw_only=True)
class HolderRecord(Record):
    """Also by itself: a plugin_config, a consumer_group, a global_rule."""

    plugins: PluginSet | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class UpstreamRecord(Record):
    upstream: CompiledUpstream


@dataclass(slots=True, eq=False, kw_only=True)
class ServiceRecord(HolderRecord):
    name: str | None = None
    labels: dict[str, str] | None = None
    hosts: tuple[str, ...] = ()
    websocket: bool | None = None
    websocket_limits: WebsocketConf | None = None
    upstream: CompiledUpstream | None = None
    upstream_id: str | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class RouteRecord(HolderRecord):
    """`refusal`: the item is broken and has no last good version, only its match can be read."""

    route: CompiledRoute
    match: RouteMatch
    enabled: bool = True
    websocket: bool | None = None
    websocket_limits: WebsocketConf | None = None
    upstream: CompiledUpstream | None = None
    upstream_id: str | None = None
    service_id: str | None = None
    plugin_config_id: str | None = None
    refusal: str | None = None
    inherited_hosts: tuple[str, ...] = ()  # those of the service, as the router has them now


@dataclass(slots=True, eq=False, kw_only=True)
class ConsumerRecord(HolderRecord):
    username: str
    group_id: str | None = None
    labels: dict[str, str] | None = None
    auths: tuple[Auth, ...] = ()
    merged: Any = None  # ConsumerPlugins of the group and the consumer, made when linked


@dataclass(slots=True, eq=False, kw_only=True)
class CredentialRecord(Record):
    username: str
    credential_id: str
    auths: tuple[Auth, ...]


@dataclass(slots=True, eq=False, kw_only=True)
class SslRecord(Record):
    """`ssl` is None where its references can't be resolved, and nothing is served."""

    ssl: CompiledSsl | None


@dataclass(slots=True, eq=False, kw_only=True)
class MetadataRecord(Record):
    metadata: Any
