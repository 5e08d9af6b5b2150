"""The plugins of a combination of holders, merged, and the chains made of them. See docs/merging.md.

A chain is made when the first request asks for it and kept until a holder or the global rules change. Routes with the
same holders share one MergedPlugins, so that 100,000 routes of a service with plugins have one chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from weakref import WeakSet

from bascule.snapshot.chain import PHASES, Chain, Hook
from bascule.snapshot.plugin_instance import PluginInstance, PluginSet

# A route keeps at most so many chains for different consumers; beyond, the oldest is made anew when asked for.
_MAX_CONSUMERS = 4096

Merged = tuple[Chain, tuple[Hook, ...]]


class MergedPlugins:
    """`sets`: the holders' plugins, weakest first (service, plugin_config, route). `chain` None: not made yet."""

    __slots__ = ("__weakref__", "chain", "consumers", "sets")

    def __init__(self, sets: tuple[PluginSet, ...]) -> None:
        self.sets = sets
        self.chain: Chain | None = None
        self.consumers: dict[ConsumerPlugins, Merged] = {}

    def make_chain(self, global_rules: Sequence[PluginInstance]) -> Chain:
        self.chain = make_chain(global_rules, merge(self.sets))
        return self.chain

    def forget(self) -> None:
        """The chains must be made anew, or aren't needed any more."""
        if self.chain is not None:
            let_go(self.chain)
            self.chain = None
        for consumer in list(self.consumers):
            self.drop(consumer)
            consumer.used_by.discard(self)

    def drop(self, consumer: ConsumerPlugins) -> None:
        """As `forget`, of what was made with this consumer."""
        found = self.consumers.pop(consumer, None)
        if found is not None:
            let_go(found[0])

    def with_consumer(self, consumer: ConsumerPlugins, global_rules: Sequence[PluginInstance]) -> Merged:
        """The chain of this and of what the consumer brings, and the rewrite hooks of what only the consumer brings."""
        found = self.consumers.get(consumer)
        if found is None:
            before = merge(self.sets)
            after = merge((*self.sets, *consumer.sets))
            brought = [instance for name, instance in after.items() if name not in before]
            chain = make_chain(global_rules, after)
            if consumer.refusal is not None:
                found = (chain, (consumer.refusal,))
            else:
                found = (chain, _hooks(_ordered(brought), "rewrite"))
            if len(self.consumers) >= _MAX_CONSUMERS:
                oldest = next(iter(self.consumers))
                self.drop(oldest)
                oldest.used_by.discard(self)
            self.consumers[consumer] = found
            consumer.used_by.add(self)
        return found


class ConsumerPlugins:
    """What a consumer brings: its group's plugins and its own, weakest first. `refusal`: a hook that answers for a
    consumer which can't be served."""

    __slots__ = ("refusal", "sets", "used_by")

    def __init__(self, sets: tuple[PluginSet, ...], refusal: Hook | None = None) -> None:
        self.sets = sets
        self.refusal = refusal
        self.used_by: WeakSet[MergedPlugins] = WeakSet()

    def forget(self) -> None:
        """A new version stands in for this one: the chains made with it go."""
        for merged in self.used_by:
            merged.drop(self)
        self.used_by.clear()


def let_go(chain: Chain) -> None:
    """It isn't used for new requests. The engine's cache points back at it: without this, both would wait for the
    garbage collector."""
    chain.plan = None


def merge(sets: Iterable[PluginSet]) -> dict[str, PluginInstance]:
    """A stronger holder's conf replaces a weaker one's whole; what `_meta.disable` switched off falls out."""
    merged: dict[str, PluginInstance] = {}
    for plugins in sets:
        merged.update(plugins.instances)
    return {name: instance for name, instance in merged.items() if instance.plugin is not None}


def make_chain(global_rules: Iterable[PluginInstance], merged: dict[str, PluginInstance]) -> Chain:
    """Global rules first, then the rest, each by falling priority (names settle a tie). A global plugin whose
    run_policy is "prefer_route" stands back for the route's own."""
    first = [item for item in global_rules if not (item.prefer_route and item.name in merged)]
    instances = _ordered(first) + _ordered(merged.values())
    names = tuple(dict.fromkeys(instance.name for instance in instances))
    return Chain(**{phase: _hooks(instances, phase) for phase in PHASES}, names=names)


def _ordered(instances: Iterable[PluginInstance]) -> list[PluginInstance]:
    return sorted(instances, key=lambda instance: (-instance.priority, instance.name))


def _hooks(instances: Iterable[PluginInstance], phase: str) -> tuple[Hook, ...]:
    return tuple(hook for instance in instances if (hook := instance.hooks().get(phase)) is not None)
