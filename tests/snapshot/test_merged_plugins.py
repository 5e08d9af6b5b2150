from bascule.snapshot.chain import Hook
from bascule.snapshot.merged_plugins import ConsumerPlugins, MergedPlugins, make_chain, merge
from bascule.snapshot.plugin_instance import PluginInstance, PluginSet
from tests.snapshot.bench import BareHost, make_plugin


def instance(name, priority=0, on=True, prefer_route=False, phases=("rewrite", "access")):
    plugin = make_plugin(name, priority, phases)(None, BareHost(name, "x")) if on else None
    return PluginInstance(name, plugin, b"", b"", priority, prefer_route)


def plugins(*instances):
    return PluginSet("x", {made.name: made for made in instances})


def test_the_stronger_replaces_the_weaker_whole():
    weak, strong, only = instance("a"), instance("a"), instance("b")
    assert merge([plugins(weak, only), plugins(strong)]) == {"a": strong, "b": only}


def test_a_stronger_holder_switches_off():
    assert merge([plugins(instance("a")), plugins(instance("a", on=False))]) == {}


def test_order():
    chain = make_chain(
        [instance("g-low", 1), instance("g-high", 9000)],
        {name: instance(name, priority) for name, priority in [("x", 5), ("b", 10), ("a", 10), ("y", 6000)]},
    )
    assert chain.names == ("g-high", "g-low", "y", "a", "b", "x")
    assert [hook.plugin for hook in chain.access] == list(chain.names)
    assert chain.log == ()


def test_prefer_route():
    rule = instance("metrics", prefer_route=True)
    own = instance("metrics")
    assert [hook.call.__self__ for hook in make_chain([rule], {"metrics": own}).access] == [own.plugin]
    assert [hook.call.__self__ for hook in make_chain([rule], {}).access] == [rule.plugin]


def test_a_plugin_of_both_runs_twice_and_is_named_once():
    chain = make_chain([instance("a")], {"a": instance("a")})
    assert (len(chain.access), chain.names) == (2, ("a",))


def test_a_consumer_s_chain_is_made_once():
    shared, brought = instance("a", 2), instance("b", 1)
    merged = MergedPlugins((plugins(shared),))
    consumer = ConsumerPlugins((plugins(instance("a", 2), brought),))
    chain, hooks = merged.with_consumer(consumer, [])
    assert chain.names == ("a", "b")
    assert [hook.plugin for hook in hooks] == ["b"]
    assert merged.with_consumer(consumer, [])[0] is chain
    consumer.forget()
    assert merged.consumers == {}
    assert merged.with_consumer(consumer, [])[0] is not chain
    merged.forget()
    assert (merged.consumers, merged.chain, len(consumer.used_by)) == ({}, None, 0)


def test_what_the_route_switched_off_is_new_when_the_consumer_brings_it():
    merged = MergedPlugins((plugins(instance("a", on=False)),))
    chain, hooks = merged.with_consumer(ConsumerPlugins((plugins(instance("a")),)), [])
    assert (chain.names, [hook.plugin for hook in hooks]) == (("a",), ["a"])


def test_a_refused_consumer():
    refusal = Hook(call=lambda request: None, plugin="consumer-group")
    consumer = ConsumerPlugins((plugins(instance("a")),), refusal)
    assert MergedPlugins(()).with_consumer(consumer, [])[1] == (refusal,)


def test_memory_for_consumers_is_bounded(monkeypatch):
    monkeypatch.setattr("bascule.snapshot.merged_plugins._MAX_CONSUMERS", 2)
    merged = MergedPlugins(())
    first, *others = [ConsumerPlugins((plugins(instance("a")),)) for _ in range(3)]
    for consumer in (first, *others):
        merged.with_consumer(consumer, [])
    assert list(merged.consumers) == others
    assert len(first.used_by) == 0
