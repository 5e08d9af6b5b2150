"""Which resources a resource refers to by id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from bascule.admin.diff import Place
from bascule.errors.fault import Fault
from bascule.errors.sentences import json_path

_BY_ATTRIBUTE: dict[str, dict[str, str]] = {
    "routes": {"service_id": "services", "upstream_id": "upstreams", "plugin_config_id": "plugin_configs"},
    "services": {"upstream_id": "upstreams"},
    "stream_routes": {"service_id": "services", "upstream_id": "upstreams"},
    "consumers": {"group_id": "consumer_groups"},
}
_SINGULAR = {
    "services": "service",
    "upstreams": "upstream",
    "plugin_configs": "plugin config",
    "consumer_groups": "consumer group",
    "consumers": "consumer",
    "stream_routes": "stream route",
    "protos": "proto",
    "ssls": "ssl",
}


class Link(NamedTuple):
    """`place`: where in the resource the id stands."""

    place: Place
    kind: str
    id: str

    @property
    def in_plugin(self) -> bool:
        return self.place[:1] == ("plugins",)

    @property
    def may_dangle(self) -> bool:
        """A definition that a plugin names may come later, as in APISIX. Not so an upstream: requests would be lost."""
        return self.in_plugin and self.kind == "protos"


def links(kind: str, id: str, value: Mapping[str, Any]) -> Iterator[Link]:
    """Every reference of a resource to another. Of a value of any shape: what isn't understood is passed over."""
    for attribute, target in _BY_ATTRIBUTE.get(kind, {}).items():
        yield from _link((attribute,), target, value.get(attribute))
    if kind == "credentials":
        yield Link((), "consumers", id.partition("/")[0])
    if kind == "graphql_cost_decorations":
        yield Link((), "services", id.partition("/")[0])
    if kind == "stream_routes" and isinstance(protocol := value.get("protocol"), dict):
        yield from _link(("protocol", "superior_id"), "stream_routes", protocol.get("superior_id"))
    inline = value.get("upstream")
    yield from _tls_links((), value) if kind == "upstreams" else _tls_links(("upstream",), inline)
    plugins = value.get("plugins")
    if isinstance(plugins, dict):
        yield from _plugin_links(plugins)


def _tls_links(place: Place, upstream: Any) -> Iterator[Link]:
    tls = upstream.get("tls") if isinstance(upstream, dict) else None
    if isinstance(tls, dict):
        yield from _link((*place, "tls", "client_cert_id"), "ssls", tls.get("client_cert_id"))


def _plugin_links(plugins: Mapping[str, Any]) -> Iterator[Link]:
    split = plugins.get("traffic-split")
    rules = split.get("rules") if isinstance(split, dict) else None
    for number, rule in enumerate(rules if isinstance(rules, list) else ()):
        weighted = rule.get("weighted_upstreams") if isinstance(rule, dict) else None
        for position, upstream in enumerate(weighted if isinstance(weighted, list) else ()):
            yield from _of_plugin(("traffic-split", "rules", number, "weighted_upstreams", position), upstream)
    yield from _of_plugin(("canary-release",), plugins.get("canary-release"))
    transcode = plugins.get("grpc-transcode")
    if isinstance(transcode, dict):
        yield from _link(("plugins", "grpc-transcode", "proto_id"), "protos", transcode.get("proto_id"))


def _of_plugin(place: Place, conf: Any) -> Iterator[Link]:
    """Of an `upstream` or `upstream_id` in a plugin's conf."""
    if isinstance(conf, dict):
        yield from _link(("plugins", *place, "upstream_id"), "upstreams", conf.get("upstream_id"))
        yield from _tls_links(("plugins", *place, "upstream"), conf.get("upstream"))


def _link(place: Place, kind: str, id: Any) -> Iterator[Link]:
    if isinstance(id, str | int) and not isinstance(id, bool):
        yield Link(place, kind, str(id))


def dangling(link: Link) -> Fault:
    """The reference leads nowhere."""
    what = _SINGULAR[link.kind]
    sentence = f'names the {what} "{link.id}", which doesn\'t exist'
    if not link.place:
        return Fault("$", f'belongs to the {what} "{link.id}", which doesn\'t exist', f"{what} not found", "")
    text = f"failed to fetch {what} info by {what} id [{link.id}], response code: 404"
    return Fault(json_path(link.place), sentence, text, "")
