"""From a change to a record: checks one item by itself, all faults at once. What it refers to is linked later."""

from __future__ import annotations

from collections.abc import Callable
from sys import intern
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from bascule.errors.sentences import nearest
from bascule.match.expression import Expression
from bascule.match.route_match import RouteMatch
from bascule.model.change import Change
from bascule.model.consumer import Consumer
from bascule.model.credential import Credential
from bascule.model.kinds import KINDS, model_of
from bascule.model.route import Route
from bascule.model.secret import MANAGERS
from bascule.model.service import Service
from bascule.model.upstream import Upstream
from bascule.snapshot.compiled_route import CompiledRoute
from bascule.snapshot.compiled_upstream import CompiledUpstream
from bascule.snapshot.faults import Faults
from bascule.snapshot.plugin_compiler import PluginCompiler, check_expression
from bascule.snapshot.records import (
    ConsumerRecord,
    CredentialRecord,
    HolderRecord,
    MetadataRecord,
    Record,
    RouteRecord,
    ServiceRecord,
    UpstreamRecord,
)
from bascule.snapshot.upstream_compiler import Served, compile_upstream, not_served, timeout_of

M = TypeVar("M", bound=BaseModel)
Compile = Callable[[Change, bytes, Any, Faults], Record | None]

# Attributes that say which requests a route is for.
_MATCH = ("uri", "uris", "host", "hosts", "remote_addr", "remote_addrs", "methods", "vars", "priority", "status")


class ResourceCompiler:
    def __init__(self, plugins: PluginCompiler, served: Served) -> None:
        self._plugins = plugins
        self._served = served
        self._methods: dict[tuple[str, ...], frozenset[str]] = {}
        self._compilers: dict[str, Compile] = {
            "routes": self._route,
            "services": self._service,
            "upstreams": self._upstream,
            "consumers": self._consumer,
            "credentials": self._credential,
            "consumer_groups": self._holder,
            "plugin_configs": self._holder,
            "global_rules": self._holder,
            "plugin_metadata": self._metadata,
        }

    def compile(self, change: Change, packed: bytes, previous: Record | None, faults: Faults) -> Record | None:
        """The record, or None with faults. A broken route whose match can be read gives both: a record that refuses."""
        if change.kind not in KINDS:
            faults.add((), f'unknown kind of resource "{change.kind}"{nearest(change.kind, list(KINDS))}')
            return None
        return self._compilers.get(change.kind, self._stored)(change, packed, previous, faults)

    def _stored(self, change: Change, packed: bytes, previous: Any, faults: Faults) -> Record | None:
        """Kinds that are checked and kept, and not served yet."""
        model = model_of(change.kind, change.id)
        if model is None:
            manager = change.id.partition("/")[0]
            faults.add((), f'unknown secret manager "{manager}"{nearest(manager, list(MANAGERS))}')
            return None
        conf = _validate(model, change, faults)
        return None if conf is None else Record(packed, change.file, change.line)

    def _upstream(
        self, change: Change, packed: bytes, previous: UpstreamRecord | None, faults: Faults
    ) -> UpstreamRecord | None:
        conf = _validate(Upstream, change, faults)
        if conf is None:
            return None
        old = previous.upstream if previous else None
        upstream = self._inline(conf, f"upstreams/{change.id}", change.id, old, (), faults)
        if faults or upstream is None:
            return None
        return UpstreamRecord(packed=packed, file=change.file, line=change.line, upstream=upstream)

    def _service(
        self, change: Change, packed: bytes, previous: ServiceRecord | None, faults: Faults
    ) -> ServiceRecord | None:
        conf = _validate(Service, change, faults)
        if conf is None:
            return None
        holder = f"services/{change.id}"
        old = previous.upstream if previous else None
        upstream = self._inline(conf.upstream, f"{holder}#upstream", None, old, ("upstream",), faults)
        old_set = previous.plugins if previous else None
        checked = self._plugins.check(conf.plugins, old_set, faults)
        if faults:
            return None
        plugins = self._plugins.build(checked, holder, old_set, faults)
        return (
            None
            if faults
            else ServiceRecord(
                packed=packed,
                file=change.file,
                line=change.line,
                plugins=plugins,
                name=conf.name,
                hosts=_shared(conf.hosts or ()),
                websocket=conf.enable_websocket,
                upstream=upstream,
                upstream_id=_interned(conf.upstream_id),
            )
        )

    def _route(self, change: Change, packed: bytes, previous: RouteRecord | None, faults: Faults) -> RouteRecord | None:
        conf = _validate(Route, change, faults)
        if conf is None:
            return self._refusing_route(change, packed, faults)
        condition = None if conf.vars is None else check_expression(conf.vars, ("vars",), faults)
        if faults:
            return None
        holder = f"routes/{change.id}"
        old = previous.upstream if previous else None
        upstream = self._inline(conf.upstream, f"{holder}#upstream", None, old, ("upstream",), faults)
        plugins = None
        if conf.plugins:
            old_set = previous.plugins if previous else None
            checked = self._plugins.check(conf.plugins, old_set, faults)
            if not faults:
                plugins = self._plugins.build(checked, holder, old_set, faults)
        refusal = _refusal(faults) if faults else None
        record = self._route_record(change, packed, conf, condition, refusal)
        if refusal is None:
            record.upstream = upstream
            record.plugins = plugins
        return record

    def _refusing_route(self, change: Change, packed: bytes, faults: Faults) -> RouteRecord | None:
        """The model doesn't fit: reads the match alone, unless it hangs on something that can't be known."""
        value = change.value or {}
        if not isinstance(value, dict) or value.get("filter_func") is not None:
            return None
        aside = Faults()
        readable = {name: value[name] for name in _MATCH if name in value}
        # A service may hold the hosts; the other references don't matter to a route that refuses.
        readable |= {"plugins": {}} | ({"service_id": value["service_id"]} if "service_id" in value else {})
        try:
            conf = Route.model_validate(readable)
        except ValidationError:
            return None
        condition = None if conf.vars is None else check_expression(conf.vars, ("vars",), aside)
        return None if aside else self._route_record(change, packed, conf, condition, _refusal(faults))

    def _route_record(
        self, change: Change, packed: bytes, conf: Route, condition: Expression | None, refusal: str | None
    ) -> RouteRecord:
        uris = (conf.uri,) if conf.uris is None else conf.uris
        hosts = () if conf.host is None else (conf.host,)
        addresses = () if conf.remote_addr is None else (conf.remote_addr,)
        match = RouteMatch(
            uris=cast(tuple[str, ...], uris),
            hosts=_shared(conf.hosts or hosts),
            methods=None if conf.methods is None else self._method_set(conf.methods),
            remote_addrs=_shared(conf.remote_addrs or addresses),
            vars=condition,
            priority=conf.priority,
        )
        service_id = _interned(conf.service_id)
        return RouteRecord(
            packed=packed,
            file=change.file,
            line=change.line,
            route=CompiledRoute(
                id=change.id,
                name=conf.name,
                uris=match.uris,
                service_id=service_id,
                timeout=timeout_of(conf.timeout),
                labels=conf.labels,
            ),
            match=match,
            enabled=conf.status == 1,
            websocket=conf.enable_websocket,
            upstream_id=_interned(conf.upstream_id),
            service_id=service_id,
            plugin_config_id=_interned(conf.plugin_config_id),
            refusal=refusal,
        )

    def _holder(
        self, change: Change, packed: bytes, previous: HolderRecord | None, faults: Faults
    ) -> HolderRecord | None:
        conf = cast(Any, _validate(KINDS[change.kind], change, faults))
        if conf is None:
            return None
        old_set = previous.plugins if previous else None
        checked = self._plugins.check(conf.plugins, old_set, faults)
        if faults:
            return None
        plugins = self._plugins.build(checked, f"{change.kind}/{change.id}", old_set, faults)
        return None if faults else HolderRecord(packed=packed, file=change.file, line=change.line, plugins=plugins)

    def _consumer(
        self, change: Change, packed: bytes, previous: ConsumerRecord | None, faults: Faults
    ) -> ConsumerRecord | None:
        conf = _validate(Consumer, change, faults)
        if conf is None:
            return None
        auths, others = self._plugins.check_auth(conf.plugins, faults)
        old_set = previous.plugins if previous else None
        checked = self._plugins.check(others, old_set, faults)
        if faults:
            return None
        plugins = self._plugins.build(checked, f"consumers/{change.id}", old_set, faults)
        return (
            None
            if faults
            else ConsumerRecord(
                packed=packed,
                file=change.file,
                line=change.line,
                plugins=plugins,
                username=change.id,
                group_id=_interned(conf.group_id),
                labels=conf.labels,
                auths=auths,
            )
        )

    def _credential(
        self, change: Change, packed: bytes, previous: CredentialRecord | None, faults: Faults
    ) -> CredentialRecord | None:
        username, _, credential_id = change.id.partition("/credentials/")
        if not username or not credential_id or "/" in credential_id:
            faults.add(("id",), 'must have the form "username/credentials/id"')
        conf = _validate(Credential, change, faults)
        if conf is None:
            return None
        auths, others = self._plugins.check_auth(conf.plugins, faults)
        for name in others:
            faults.add(("plugins", name), "only supports auth type plugins in consumer credential")
        return (
            None
            if faults
            else CredentialRecord(
                packed=packed,
                file=change.file,
                line=change.line,
                username=intern(username),
                credential_id=credential_id,
                auths=auths,
            )
        )

    def _metadata(self, change: Change, packed: bytes, previous: Any, faults: Faults) -> MetadataRecord | None:
        value = change.value
        if not isinstance(value, dict):
            faults.add((), "must be an object")
            return None
        metadata = self._plugins.check_metadata(change.id, value, faults)
        return None if faults else MetadataRecord(packed=packed, file=change.file, line=change.line, metadata=metadata)

    def _inline(
        self,
        conf: Upstream | None,
        key: str,
        id: str | None,
        previous: CompiledUpstream | None,
        parts: tuple[str, ...],
        faults: Faults,
    ) -> CompiledUpstream | None:
        if conf is None:
            return None
        for attribute, sentence in not_served(conf, self._served):
            faults.add((*parts, attribute), sentence)
        return compile_upstream(conf, key, id, previous)

    def _method_set(self, methods: tuple[str, ...]) -> frozenset[str]:
        """One frozenset per list of methods: tens of thousands of routes share a few."""
        found = self._methods.get(methods)
        if found is None:
            found = self._methods[methods] = frozenset(methods)
        return found


def _validate(model: type[M], change: Change, faults: Faults) -> M | None:
    """The model of a change's value; also compares the id inside with the key."""
    try:
        conf = model.model_validate(change.value)
    except ValidationError as error:
        faults.add_invalid(error, change.value, model, ())
        return None
    attribute = "username" if model is Consumer else "id"
    inside = getattr(conf, attribute, None)
    if inside is not None and str(inside) != change.id and not change.id.endswith(f"/{inside}"):
        faults.add((attribute,), f'says "{inside}", but the item is stored as "{change.id}"')
        return None
    return conf


def _refusal(faults: Faults) -> str:
    path, sentence = faults.found[0]
    more = len(faults.found) - 1
    return f"{path}: {sentence}" + (f" (and {more} more)" if more else "")


def _interned(value: str | None) -> str | None:
    return None if value is None else intern(value)


def _shared(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(intern, values)) if values else ()
