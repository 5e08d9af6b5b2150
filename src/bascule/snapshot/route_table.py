"""Routes in the router, bound to what they refer to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bascule.errors.config_error import ConfigError
from bascule.snapshot.merged_plugins import MergedPlugins
from bascule.snapshot.plugin_instance import PluginSet
from bascule.snapshot.records import RouteRecord
from bascule.snapshot.route_links import RouteLinks, link_route
from bascule.snapshot.state import State

if TYPE_CHECKING:
    from bascule.match.route_match import RouteMatch
    from bascule.match.router import Router
    from bascule.snapshot.compiled_route import CompiledRoute


class RouteTable:
    def __init__(self, router: Router[CompiledRoute]) -> None:
        self.router = router
        # Of routes without plugins of their own, by the plugins of their service and plugin_config.
        self._shared: dict[tuple[PluginSet, ...], MergedPlugins] = {}

    def drop_shared(self, retired: set[PluginSet]) -> None:
        """Those plugin sets were replaced."""
        if retired and self._shared:
            for sets in [sets for sets in self._shared if not retired.isdisjoint(sets)]:
                self._shared.pop(sets).forget()

    def remove(self, id: str, old: RouteRecord | None) -> None:
        if old is not None:
            _forget(old, None)
            if old.enabled:
                self.router.remove(id)

    def put(self, id: str, record: RouteRecord, old: RouteRecord | None, state: State) -> tuple[ConfigError, ...]:
        """Links a new version of a route and puts it into the router. Returns what is wrong with its references."""
        links = link_route(record, state)
        record.inherited_hosts = links.hosts
        self._bind(record, links, old)
        if record.enabled:
            place = self.router.replace if old is not None and old.enabled else self.router.add
            place(id, _match(record), record.route)
        else:
            self.remove(id, old)
        return _errors(id, record, links)

    def relink(self, id: str, record: RouteRecord, state: State) -> tuple[ConfigError, ...]:
        """Something that the route refers to changed."""
        links = link_route(record, state)
        self._bind(record, links, record)
        if links.hosts != record.inherited_hosts:
            record.inherited_hosts = links.hosts
            if record.enabled:
                self.router.replace(id, _match(record), record.route)
        return _errors(id, record, links)

    def _bind(self, record: RouteRecord, links: RouteLinks, old: RouteRecord | None) -> None:
        route = record.route
        route.upstream = links.upstream
        route.upstream_missing = links.upstream_missing
        route.service_missing = links.service_missing
        route.service_name = links.service_name
        route.service_labels = links.service_labels
        route.refusal = links.refusal
        route.websocket = links.websocket
        route.websocket_limits = links.websocket_limits
        merged = self._merged(record, links.sets, old)
        if old is not None:
            _forget(old, merged)
        route.merged = merged
        route.plan = None

    def _merged(
        self, record: RouteRecord, sets: tuple[PluginSet, ...], old: RouteRecord | None
    ) -> MergedPlugins | None:
        if not sets:
            return None
        if record.plugins is None:
            found = self._shared.get(sets)
            if found is None:
                found = self._shared[sets] = MergedPlugins(sets)
            return found
        before = None if old is None else old.route.merged
        return before if before is not None and before.sets == sets else MergedPlugins(sets)


def _forget(old: RouteRecord, merged: MergedPlugins | None) -> None:
    """Instead of what the old version has, if that is its own, `merged` is used from now on."""
    before = old.route.merged
    if before is not None and before is not merged and old.plugins is not None:
        before.forget()


def _match(record: RouteRecord) -> RouteMatch:
    return replace(record.match, hosts=record.inherited_hosts) if record.inherited_hosts else record.match


def _errors(id: str, record: RouteRecord, links: RouteLinks) -> tuple[ConfigError, ...]:
    if not links.missing:
        return ()
    return tuple(
        ConfigError("routes", id, f"$.{attribute}", sentence, record.file, record.line)
        for attribute, sentence in links.missing
    )
