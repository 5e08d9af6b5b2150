"""What a route gets from the items it refers to."""

from __future__ import annotations

from dataclasses import dataclass

from bascule.errors.config_error import ConfigError
from bascule.model.websocket import WebsocketConf
from bascule.snapshot.compiled_upstream import CompiledUpstream
from bascule.snapshot.plugin_instance import PluginSet
from bascule.snapshot.records import HolderRecord, RouteRecord, ServiceRecord, UpstreamRecord
from bascule.snapshot.state import State


@dataclass(slots=True)
class RouteLinks:
    """`missing` lists (attribute, sentence) of references that name nothing."""

    upstream: CompiledUpstream | None = None
    upstream_missing: str | None = None
    service_missing: str | None = None
    refusal: str | None = None
    websocket: bool = False
    websocket_limits: WebsocketConf | None = None
    hosts: tuple[str, ...] = ()  # of the service, for a route without its own
    service_name: str | None = None
    service_labels: dict[str, str] | None = None
    sets: tuple[PluginSet, ...] = ()  # weakest first
    missing: tuple[tuple[str, str], ...] = ()


def link_route(record: RouteRecord, state: State) -> RouteLinks:
    """A reference to nothing leaves a reason behind (404, 502 or 503), one to a broken item refuses (503)."""
    links = RouteLinks(refusal=record.refusal)
    sets: list[PluginSet] = []
    service = _service(record, state, links)
    if service is not None and service.plugins is not None:
        sets.append(service.plugins)
    if record.plugin_config_id is not None:
        config: HolderRecord | None = state.records["plugin_configs"].get(record.plugin_config_id)
        if config is None:
            reason = _reason(state, links, "plugin_configs", record.plugin_config_id, "plugin_config_id")
            links.refusal = links.refusal or reason
        elif config.plugins is not None:
            sets.append(config.plugins)
    if record.plugins is not None:
        sets.append(record.plugins)
    links.sets = tuple(sets)
    _link_upstream(record, service, state, links)
    websocket = record.websocket
    if websocket is None and service is not None:
        websocket = service.websocket
    links.websocket = bool(websocket)
    links.websocket_limits = record.websocket_limits or (None if service is None else service.websocket_limits)
    return links


def _service(record: RouteRecord, state: State, links: RouteLinks) -> ServiceRecord | None:
    if record.service_id is None:
        return None
    service: ServiceRecord | None = state.records["services"].get(record.service_id)
    if service is None:
        broken = ("services", record.service_id) in state.broken
        reason = _reason(state, links, "services", record.service_id, "service_id")
        if broken:
            links.refusal = links.refusal or reason
        else:
            links.service_missing = reason
        return None
    links.service_name = service.name
    links.service_labels = service.labels
    if not record.match.hosts:
        links.hosts = service.hosts
    return service


def _link_upstream(record: RouteRecord, service: ServiceRecord | None, state: State, links: RouteLinks) -> None:
    """The route's upstream beats the service's; within one item the id beats the inline one."""
    upstream_id, inline = record.upstream_id, record.upstream
    from_service = upstream_id is None and inline is None and service is not None
    if from_service and service is not None:
        upstream_id, inline = service.upstream_id, service.upstream
    if upstream_id is None:
        links.upstream = inline
        return
    found: UpstreamRecord | None = state.records["upstreams"].get(upstream_id)
    if found is not None:
        links.upstream = found.upstream
    elif ("upstreams", upstream_id) in state.broken:
        links.refusal = links.refusal or f'upstream "{upstream_id}" can\'t be used'
    else:
        links.upstream_missing = f'there is no upstream "{upstream_id}"'
        if not from_service:  # else the fault is the service's
            links.missing = (*links.missing, ("upstream_id", links.upstream_missing))


def _reason(state: State, links: RouteLinks, kind: str, id: str, attribute: str) -> str:
    name = kind[:-1].replace("_", " ")
    if (kind, id) in state.broken:
        return f'{name} "{id}" can\'t be used'
    reason = f'there is no {name} "{id}"'
    links.missing = (*links.missing, (attribute, reason))
    return reason


def service_errors(id: str, record: ServiceRecord, state: State) -> tuple[ConfigError, ...]:
    """What is wrong with the references of a service."""
    upstream_id = record.upstream_id
    if upstream_id is None or upstream_id in state.records["upstreams"] or ("upstreams", upstream_id) in state.broken:
        return ()
    sentence = f'there is no upstream "{upstream_id}"'
    return (ConfigError("services", id, "$.upstream_id", sentence, record.file, record.line),)
