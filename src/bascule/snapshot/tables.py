"""The compiled configuration that the engine reads, changed step by step.

`apply` first checks and builds every item of a step by itself, without touching anything, and then puts the step in
place in one go: within a worker nothing runs in between, so a request sees the tables before or after it. Why tables
that change, and not a new copy each time: docs/decisions/ (tables).
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any
from weakref import WeakSet

from bascule.errors.config_error import ConfigError
from bascule.match.router import Router
from bascule.model.change import Change
from bascule.model.discovery import Service
from bascule.snapshot.applied import Applied
from bascule.snapshot.chain import Chain, Hook
from bascule.snapshot.compact_json import NotJson, pack, unpack
from bascule.snapshot.compiled_route import CompiledRoute
from bascule.snapshot.compiled_ssl import CompiledSsl
from bascule.snapshot.compiled_upstream import CompiledUpstream
from bascule.snapshot.consumer_binding import ConsumerBinding
from bascule.snapshot.consumer_table import ConsumerTable
from bascule.snapshot.discovered import Discovered, Following
from bascule.snapshot.faults import Faults
from bascule.snapshot.global_rules import broken_rules, duplicates, global_instances
from bascule.snapshot.held_upstreams import HeldUpstreams
from bascule.snapshot.merged_plugins import MergedPlugins, let_go, make_chain
from bascule.snapshot.plugin_compiler import MakeHost, PluginCompiler, PluginSource, close
from bascule.snapshot.plugin_groups import PluginGroups
from bascule.snapshot.plugin_instance import PluginInstance, PluginSet
from bascule.snapshot.records import Record, RouteRecord
from bascule.snapshot.references import Resolve, Resolver, from_environment
from bascule.snapshot.referring import Referring
from bascule.snapshot.resource_compiler import ResourceCompiler
from bascule.snapshot.route_links import service_errors
from bascule.snapshot.route_table import RouteTable
from bascule.snapshot.sni_table import SniTable
from bascule.snapshot.state import Broken, Item, State
from bascule.snapshot.upstream_compiler import Served


@dataclass(slots=True)
class _Outcome:
    """Of one change: what is to be stored (`old` itself: the last good version stays), and what is wrong."""

    item: Item
    old: Record | None
    record: Record | None
    broken: Broken | None
    change: Change


# From so many changes on, the garbage collector would walk over everything made so far, again and again: half the time.
_BULK = 1000


@contextmanager
def _gc_paused(pause: bool) -> Iterator[None]:
    pause = pause and gc.isenabled()
    if pause:
        gc.disable()
    try:
        yield
    finally:
        if pause:
            gc.enable()


class Tables:
    """`make_host(plugin, holder)` gives a plugin instance its host; `resolve("$env://NAME")` answers references.
    `checking`: nothing will be served, so references that only a worker knows are left alone."""

    def __init__(
        self,
        registry: PluginSource,
        make_host: MakeHost,
        router_mode: str = "radixtree_host_uri",
        *,
        delete_uri_tail_slash: bool = False,
        resolve: Resolve | None = None,
        served: Served | None = None,
        checking: bool = False,
    ) -> None:
        self.router: Router[CompiledRoute] = Router(router_mode, delete_uri_tail_slash=delete_uri_tail_slash)
        self.generation = 0
        self.global_chain = Chain()
        self.broken_global: str | None = None
        self.sni = SniTable()
        self._served = served = served or Served()
        self._plugins = PluginCompiler(registry, make_host, Resolver(resolve or from_environment({}), checking), served)
        self._compiler = ResourceCompiler(self._plugins, served)
        self._state = State()
        self._referring = Referring()
        self._following = Following()
        self._groups = PluginGroups()
        self._held = HeldUpstreams()
        self._routes = RouteTable(self.router)
        self._consumers = ConsumerTable()
        self._global: list[PluginInstance] = []
        self._default_metadata: dict[str, Any] = {}
        self._made: WeakSet[MergedPlugins] = WeakSet()  # those that hold chains
        self._plain = MergedPlugins(())  # of all routes without plugins

    # What the engine reads.

    def chain(self, route: CompiledRoute) -> Chain:
        """What runs for the route, before a consumer is known. The same object until a holder changes."""
        merged = route.merged
        if merged is None:
            return self.global_chain
        if merged.chain is not None:
            return merged.chain
        self._made.add(merged)
        return merged.make_chain(self._global)

    def consumer_chain(self, route: CompiledRoute, binding: ConsumerBinding) -> tuple[Chain, tuple[Hook, ...]]:
        """What runs from the access phase on, and the rewrite hooks of plugins that only the consumer brings."""
        if binding.plugins is None:
            return self.chain(route), ()
        merged = route.merged or self._plain
        self._made.add(merged)
        return merged.with_consumer(binding.plugins, self._global)

    def find_consumer(self, plugin: str, key: str) -> ConsumerBinding | None:
        return self._consumers.index.find(plugin, key)

    @property
    def consumer_keys(self) -> dict[str, dict[str, ConsumerBinding]]:
        """What find_consumer looks in, for readers in a hurry; it stays the same object."""
        return self._consumers.index.keys

    def find_consumer_by_name(self, name: str) -> ConsumerBinding | None:
        return self._consumers.index.find_by_name(name)

    def metadata(self, plugin: str) -> Any:
        """The plugin's metadata as configured, else its default, else None."""
        record = self._state.records["plugin_metadata"].get(plugin)
        if record is not None:
            return record.metadata
        if plugin not in self._default_metadata:
            self._default_metadata[plugin] = self._plugins.default_metadata(plugin)
        return self._default_metadata[plugin]

    def proto(self, id: str) -> str | None:
        """The content of a protobuf definition as it is in use."""
        record = self._state.records["protos"].get(id)
        return None if record is None else unpack(record.packed)["content"]

    def upstream(self, id: str) -> CompiledUpstream | None:
        record = self._state.records["upstreams"].get(id)
        return None if record is None else record.upstream

    def upstreams(self) -> Iterator[CompiledUpstream]:
        """All that requests may go to: resources, inline ones of routes and services, those that plugins hold."""
        for kind in ("upstreams", "services", "routes"):
            for record in self._state.records[kind].values():
                if record.upstream is not None:
                    yield record.upstream
        yield from self._held

    def client_certificate(self, id: str) -> CompiledSsl | None:
        """The `ssls` item of that id, if it may be shown to upstreams and is enabled."""
        ssl = _ssl_of(self._state.records["ssls"].get(id))
        return ssl if ssl is not None and ssl.enabled and not ssl.names else None

    def resolved(self, text: str) -> str | None:
        """A text that may be a reference; None: it stands for nothing."""
        replaced = self._plugins.resolver.replace(text)
        return None if replaced.faults or replaced.open else str(replaced.value)

    def has_route(self, id: str) -> bool:
        """Whether requests can match this route."""
        record = self._state.records["routes"].get(id)
        return record is not None and record.enabled

    # What operators read.

    @property
    def refused(self) -> tuple[ConfigError, ...]:
        """Everything that is wrong with the configuration now."""
        return self._state.errors()

    @property
    def global_instances(self) -> Sequence[PluginInstance]:
        """The plugins of all global rules."""
        return self._global

    @property
    def counts(self) -> Mapping[str, int]:
        return {kind: len(records) for kind, records in self._state.records.items()}

    def get(self, kind: str, id: str) -> Any:
        """The value of an item as it is in use, or None."""
        record = self._state.records.get(kind, {}).get(id)
        return None if record is None else unpack(record.packed)

    # Changes.

    def apply(self, changes: Sequence[Change]) -> Applied:
        """Never raises for what an item holds: a bad one is told in `errors`, its last good version goes on serving."""
        latest = {(change.kind, change.id): change for change in changes}
        with _gc_paused(len(changes) >= _BULK):
            return self._commit(self._prepare_all(latest))

    def refresh(self) -> Applied:
        """Compiles all anew, as after plugins were reloaded. Instances whose class and conf are the same stay."""
        changes = {
            (kind, id): _change_of(kind, id, record)
            for kind, records in self._state.records.items()
            for id, record in records.items()
        }
        changes |= {item: broken.change for item, broken in self._state.broken.items()}
        self._default_metadata.clear()
        with _gc_paused(len(changes) >= _BULK):
            return self._commit(self._prepare_all(changes, anew=True))

    def refresh_references(self, changed: Collection[str]) -> Applied:
        """Compiles anew what holds one of these fetched references, which stand for something else now. Other
        plugins of the same items stay as they are. An item with a reference that stands for nothing any more isn't
        served as it was: what it guards with a secret that was withdrawn is closed. A certificate whose key didn't come
        yet is served as before."""
        items = self._referring.items(changed)
        errors: tuple[ConfigError, ...] = ()
        with _gc_paused(len(items) >= _BULK):
            served = {item: record for item in items if (record := self._good(item)) is not None}
            newest = {item: self._state.broken[item].change for item in items if item in self._state.broken}
            withdrawn = {one for one in changed if self.resolved(one) is None}
            closed = set(self._referring.items(withdrawn))
            for keep in (False, True):
                of = [item for item in served if (item[0] == "ssls" and item not in closed) is keep]
                if of:
                    changes = {item: _change_of(*item, served[item]) for item in of}
                    errors += self._commit(self._prepare_all(changes, anew=True, keep=keep)).errors
            if newest:
                errors += self._commit(self._prepare_all(newest, anew=True)).errors
        return Applied(self.generation, errors)

    def refresh_nodes(self, services: Collection[Service]) -> Applied:
        """These discovered services have other nodes now. Only upstreams change, in place; whatever else their items
        hold stays as it is."""
        affected: set[Item] = set()
        known = self._served.discovered or Discovered()
        self._held.renew(services, known)
        for item in self._following.items(services):
            record: Any = self._record(item)
            before: CompiledUpstream = record.upstream
            record.upstream = known.renewed(before)
            if record.upstream is not before:
                before.runtime = None  # exchanges that run keep their own
                affected |= {item} if item[0] == "routes" else self._state.dependents(item)
        self._link({}, sorted(affected))
        self.generation += 1
        return Applied(self.generation)

    def _good(self, item: Item) -> Record | None:
        """The record of an item, unless it only refuses."""
        record = self._record(item)
        return None if record is None or getattr(record, "refusal", None) else record

    def _record(self, item: Item) -> Record | None:
        return self._state.records.get(item[0], {}).get(item[1])

    def _prepare_all(self, changes: Mapping[Item, Change], *, anew: bool = False, keep: bool = True) -> list[_Outcome]:
        """Nothing may come between this and the commit."""
        for item in changes:
            self._groups.leave(item)
        outcomes = []
        for item, change in changes.items():
            outcomes.append(outcome := self._prepare(item, change, anew=anew, keep=keep))
            self._groups.enter(item, outcome.record)
        return outcomes

    def _prepare(self, item: Item, change: Change, *, anew: bool = False, keep: bool = True) -> _Outcome:
        """`anew`: also if the value is the same; `keep`: the last good version stays if this one is broken."""
        old = self._record(item)
        if change.value is None:
            return _Outcome(item, old, None, None, change)
        faults = Faults()
        try:
            packed = pack(change.value)
        except NotJson as error:
            faults.add(error.parts, error.sentence)
            return _Outcome(item, old, old, Broken(change, faults.errors(change)), change)
        last_good = self._good(item)
        if last_good is not None and last_good.packed == packed and not anew:
            return _Outcome(item, old, old, None, change)
        record = self._compiler.compile(change, packed, last_good, faults)
        if not faults:
            record = self._without_conflict(record, last_good, faults)
        if not faults:
            return _Outcome(item, old, record, None, change)
        if keep:
            record = last_good or record or old
        return _Outcome(item, old, record, Broken(change, faults.errors(change)), change)

    def _without_conflict(self, record: Record | None, last_good: Record | None, faults: Faults) -> Record | None:
        """The record, unless a group that one of its plugins names has another conf: then a route that refuses."""
        found = None if record is None else self._groups.conflict(record)
        if record is None or found is None:
            return record
        (plugin, group), (kind, id) = found
        faults.add(
            ("plugins", plugin, "group"),
            f'"{group}" has another configuration in {kind}/{id}; all of a group must be the same',
            f"failed to check the configuration of plugin {plugin} err: group conf mismatched",
            semantic=True,
        )
        made = getattr(record, "plugins", None)
        close([] if made is None else made.plugins_not_in(getattr(last_good, "plugins", None)))
        if not isinstance(record, RouteRecord):
            return None
        record.plugins = None
        record.refusal = faults.found[0].sentence
        return record

    def _commit(self, outcomes: list[_Outcome]) -> Applied:
        state = self._state
        old: dict[Item, Any] = {}
        scope: dict[Item, None] = {}  # items whose errors may have changed, in order
        state.changed = scope
        affected: set[Item] = set()  # items to link anew
        for outcome in outcomes:
            item = outcome.item
            scope[item] = None
            self._store(outcome)
            if outcome.record is not outcome.old:
                old[item] = outcome.old
            elif item in state.link_errors:
                affected.add(item)  # it may have moved to another line
        for outcome in outcomes:
            # Without a version now: it may have been absent before and be broken now, or the other way round.
            if outcome.record is not outcome.old or outcome.record is None:
                affected |= state.dependents(outcome.item)
        replaced = [(was, now) for was, now in map(_plugin_sets, outcomes) if was is not None and was is not now]
        self._routes.drop_shared({was for was, _ in replaced})
        self._link(old, sorted(affected.difference(old)))
        if any(kind == "global_rules" for kind, _ in scope):
            self._link_global_rules()
        for item in self._held.affected((outcome.item for outcome in outcomes), state):
            state.set_held_errors(item, self._held.errors(item, state))
        for was, now in replaced:
            close(was.plugins_not_in(now))
        for outcome in outcomes:
            if outcome.record is not outcome.old:
                _let_go(outcome)
        self.generation += 1
        return Applied(self.generation, tuple(error for item in scope for error in state.errors_of(item)))

    def _store(self, outcome: _Outcome) -> None:
        state, item, record = self._state, outcome.item, outcome.record
        if outcome.broken is not None:
            state.broken[item] = outcome.broken
        else:
            state.broken.pop(item, None)
        packed = None if record is None else record.packed
        self._referring.note(item, packed, None if outcome.broken is None else outcome.broken.change.value)
        if record is not outcome.old:
            state.put(*item, record)
            self._held.put(item, record)
            self._following.note(item, outcome.old, record)
        elif record is not None and outcome.broken is None:
            record.file, record.line = outcome.change.file, outcome.change.line

    def _link(self, changed: dict[Item, Any], others: Iterable[Item]) -> None:
        """Binds items to what they refer to: `changed` ones (with the old version), and `others` that refer to such."""
        state = self._state
        consumers: list[Item] = []
        for item in chain(changed, others):
            kind, id = item
            record = state.records[kind].get(id)
            if kind == "routes":
                if record is None:
                    self._routes.remove(id, changed[item])
                    state.set_link_errors(item, ())
                elif item in changed:
                    state.set_link_errors(item, self._routes.put(id, record, changed[item], state))
                else:
                    state.set_link_errors(item, self._routes.relink(id, record, state))
            elif kind == "services":
                state.set_link_errors(item, () if record is None else service_errors(id, record, state))
            elif kind in ("consumers", "credentials"):
                consumers.append(item)
            elif kind == "ssls" and item in changed:
                self.sni.put(_ssl_of(changed[item]), _ssl_of(record))
        if consumers:
            before = {item[1]: changed[item] for item in consumers if item[0] == "consumers" and item in changed}
            for item, errors in self._consumers.link(consumers, before, state).items():
                state.set_link_errors(item, errors)

    def _link_global_rules(self) -> None:
        instances = global_instances(self._state)
        if instances != self._global:
            self._global = instances
            for merged in self._made:
                merged.forget()
            self._made.clear()
            let_go(self.global_chain)
            self.global_chain = make_chain(instances, {})
        self.broken_global = broken_rules(self._state)
        for item, errors in duplicates(self._state).items():
            self._state.set_link_errors(item, errors)


def _change_of(kind: str, id: str, record: Record) -> Change:
    return Change(kind, id, unpack(record.packed), file=record.file, line=record.line)


def _ssl_of(record: Any) -> CompiledSsl | None:
    return None if record is None else record.ssl


def _let_go(outcome: _Outcome) -> None:
    """As merged_plugins.let_go, for the caches of routes and upstreams. Exchanges that run keep their own."""
    was, now = outcome.old, outcome.record
    route = getattr(was, "route", None)
    if route is not None and route is not getattr(now, "route", None):
        route.plan = None
    upstream = getattr(was, "upstream", None)
    if upstream is not None and upstream is not getattr(now, "upstream", None):
        upstream.runtime = None


def _plugin_sets(outcome: _Outcome) -> tuple[PluginSet | None, PluginSet | None]:
    """Before and after."""
    return getattr(outcome.old, "plugins", None), getattr(outcome.record, "plugins", None)
