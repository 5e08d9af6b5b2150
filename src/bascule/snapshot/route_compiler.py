"""From a route's change to its record."""

from __future__ import annotations

from typing import cast

from pydantic import ValidationError

from bascule.match.expression import Expression
from bascule.match.route_match import RouteMatch
from bascule.model.change import Change
from bascule.model.route import Route
from bascule.snapshot.compiled_route import CompiledRoute
from bascule.snapshot.faults import Faults
from bascule.snapshot.item_check import checked_upstream, interned, shared, validated
from bascule.snapshot.plugin_compiler import PluginCompiler, check_expression
from bascule.snapshot.records import RouteRecord
from bascule.snapshot.upstream_compiler import Served, timeout_of

# Attributes that say which requests a route is for.
_MATCH = ("uri", "uris", "host", "hosts", "remote_addr", "remote_addrs", "methods", "vars", "priority", "status")


class RouteCompiler:
    def __init__(self, plugins: PluginCompiler, served: Served) -> None:
        self._plugins = plugins
        self._served = served
        self._methods: dict[tuple[str, ...], frozenset[str]] = {}

    def compile(
        self, change: Change, packed: bytes, previous: RouteRecord | None, faults: Faults
    ) -> RouteRecord | None:
        conf = validated(Route, change, faults)
        if conf is None:
            self._plugins.check_anyway(change.value, faults)
            self._check_condition(change.value, faults)
            return self._refusing_route(change, packed, faults)
        condition = None if conf.vars is None else check_expression(conf.vars, ("vars",), faults)
        if faults:
            return None
        holder = f"routes/{change.id}"
        old = previous.upstream if previous else None
        upstream = checked_upstream(conf.upstream, f"{holder}#upstream", None, old, ("upstream",), self._served, faults)
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

    def _check_condition(self, value: object, faults: Faults) -> None:
        """Of a route whose own attributes are wrong already."""
        vars = value.get("vars") if isinstance(value, dict) else None
        if isinstance(vars, list):
            check_expression(vars, ("vars",), faults)

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
            hosts=shared(conf.hosts or hosts),
            methods=None if conf.methods is None else self._method_set(conf.methods),
            remote_addrs=shared(conf.remote_addrs or addresses),
            vars=condition,
            priority=conf.priority,
        )
        service_id = interned(conf.service_id)
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
            websocket_limits=conf.websocket,
            upstream_id=interned(conf.upstream_id),
            service_id=service_id,
            plugin_config_id=interned(conf.plugin_config_id),
            refusal=refusal,
        )

    def _method_set(self, methods: tuple[str, ...]) -> frozenset[str]:
        """One frozenset per list of methods: tens of thousands of routes share a few."""
        found = self._methods.get(methods)
        if found is None:
            found = self._methods[methods] = frozenset(methods)
        return found


def _refusal(faults: Faults) -> str:
    first = faults.found[0]
    more = len(faults.found) - 1
    return f"{first.path}: {first.sentence}" + (f" (and {more} more)" if more else "")
