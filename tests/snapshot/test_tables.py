import gc
import weakref

import pytest

from bascule.model.change import Change
from bascule.snapshot.references import from_environment
from bascule.snapshot.tables import Tables
from tests.snapshot.bench import BareHost, Bench, FakeRegistry, make_plugin
from tests.snapshot.pem import make_pair

UP = {"nodes": {"a:1": 1}}


def test_order_inside_a_step_does_not_matter(bench):
    errors = bench.apply(
        Change("routes", "1", {"uri": "/", "service_id": "s", "plugin_config_id": "p"}),
        Change("services", "s", {"upstream_id": "u"}),
        Change("plugin_configs", "p", {"plugins": {"limit": {}}}),
        Change("upstreams", "u", UP),
    )
    assert errors == []
    assert bench.route("/").upstream.key == "upstreams/u"
    assert bench.names("/") == ("limit",)


def test_generation_and_errors_with_their_place(bench):
    applied = bench.tables.apply([Change("routes", "1", {"uri": "/", "upstream_id": "u"}, 0, "apisix.yaml", 7)])
    assert applied.generation == bench.tables.generation == 1
    assert [str(error) for error in applied.errors] == [
        'apisix.yaml:7: routes[1] $.upstream_id: there is no upstream "u"'
    ]
    assert applied.errors == bench.tables.refused
    assert bench.tables.apply([]).generation == 2


def test_the_last_good_version_goes_on_serving(bench):
    bench.put("routes", "1", uri="/a", upstream=UP, plugins={"limit": {"tag": "good"}})
    good = bench.route("/a")
    assert bench.put("routes", "1", uri="/b", upstream=UP, plugins={"limit": {"tag": 1}}) == [
        "routes[1] $.plugins.limit.tag: must be a string"
    ]
    assert bench.route("/a") is good
    assert bench.route("/b") is None
    assert len(bench.refused()) == 1
    bench.put("routes", "1", uri="/a", upstream=UP, plugins={"limit": {"tag": "good"}})
    assert bench.route("/a") is good
    assert bench.refused() == []


def test_without_one_the_route_refuses(bench):
    bench.put("routes", "1", uri="/a", upstream=UP, plugins={"limits": {}})
    assert bench.route("/a").refusal.startswith("$.plugins.limits: unknown plugin")
    bench.put("routes", "1", uri="/b", upstream=UP, plugins={"limits": {}})
    assert (bench.route("/a"), bench.route("/b").refusal is None) == (None, False)
    bench.put("routes", "1", nonsense=1)  # unreadable: what refused goes on refusing
    assert bench.route("/b").refusal
    bench.put("routes", "1", uri="/b", upstream=UP)
    assert bench.route("/b").refusal is None
    assert bench.refused() == []


def test_a_broken_item_that_goes_away_takes_its_errors_along(bench):
    bench.put("routes", "1", uri="/a", upstream=UP, plugins={"limits": {}})
    bench.put("rotues", "1", uri="/a")
    assert len(bench.refused()) == 2
    bench.delete("routes", "1")
    bench.delete("rotues", "1")
    assert bench.refused() == []
    assert bench.route("/a") is None
    assert bench.delete("routes", "never seen") == []


def test_one_bad_item_holds_nothing_back(bench):
    errors = bench.apply(
        Change("routes", "1", {"uri": "/1", "upstream": UP, "hots": "x"}),
        Change("routes", "2", {"uri": "/2", "upstream": UP}),
        Change("upstreams", "3", {"nodes": {1: 2}}),
    )
    assert errors == [
        'routes[1] $.hots: unknown attribute "hots"; did you mean "hosts"?',
        "upstreams[3] $.nodes: the key 1 must be a string (put it in quotes)",
    ]
    assert bench.route("/2").refusal is None


def test_the_last_change_of_an_item_in_a_step_wins(bench):
    bench.apply(
        Change("routes", "1", {"uri": "/a", "upstream": UP}),
        Change("routes", "1", {"uri": "/b", "upstream": UP}),
    )
    assert bench.route("/a") is None
    assert bench.route("/b").id == "1"


def test_healing(bench):
    bench.put("routes", "1", uri="/", service_id="s")
    assert bench.route("/").service_missing
    route = bench.route("/")
    bench.put("services", "s", upstream=UP)
    assert bench.route("/") is route
    assert (route.service_missing, route.upstream.key) == (None, "services/s#upstream")
    assert bench.refused() == []
    assert bench.delete("services", "s") == ['routes[1] $.service_id: there is no service "s"']
    assert (route.service_missing is None, route.upstream) == (False, None)


def test_instances_are_closed_when_they_are_replaced(bench):
    bench.put("routes", "1", uri="/", plugins={"limit": {"tag": "a"}, "edit": {}})
    hooks = bench.tables.chain(bench.route("/"))
    limit, edit = hooks.access[0].call.__self__, hooks.rewrite[0].call.__self__
    bench.put("routes", "1", uri="/", plugins={"limit": {"tag": "b"}, "edit": {}})
    assert (limit.closed, edit.closed) == (1, 0)
    assert bench.tables.chain(bench.route("/")).rewrite[0].call.__self__ is edit
    bench.put("routes", "1", uri="/", plugins={"limit": {"tag": 1}})  # refused: nothing is closed
    assert edit.closed == 0
    bench.delete("routes", "1")
    assert (limit.closed, edit.closed) == (1, 1)


def test_metadata(bench):
    assert bench.tables.metadata("limit").realm == "default"
    assert bench.tables.metadata("edit") is None
    bench.put("plugin_metadata", "limit", realm="good")
    assert bench.put("plugin_metadata", "limit", realms="bad") != []
    assert bench.tables.metadata("limit").realm == "good"
    bench.delete("plugin_metadata", "limit")
    assert bench.tables.metadata("limit").realm == "default"


def test_get_counts_and_upstream(bench):
    value = {"uri": "/", "upstream_id": "u", "name": "\u00e9"}
    bench.put("routes", "1", **value)
    bench.put("upstreams", "u", **UP)
    bench.put("protos", "p", content="x")
    assert bench.tables.get("routes", "1") == value
    assert bench.tables.get("routes", "2") is None
    assert bench.tables.get("nonsense", "1") is None
    assert {kind: n for kind, n in bench.tables.counts.items() if n} == {"routes": 1, "upstreams": 1, "protos": 1}
    assert bench.tables.upstream("u") is bench.route("/").upstream
    assert bench.tables.upstream("v") is None


def test_references_to_the_environment(bench):
    bench.put("routes", "1", uri="/", plugins={"limit": {"tag": "$env://KEY"}, "edit": {"tag": "$env://JSON/inner"}})
    assert bench.tags("/") == {"limit": "from-env", "edit": "deep"}


def test_refresh_after_plugins_were_reloaded(bench):
    bench.put("routes", "1", uri="/", plugins={"limit": {}, "edit": {}})
    bench.put("routes", "2", uri="/2", plugins={"new": {}})
    chain = bench.tables.chain(bench.route("/"))
    assert len(bench.refused()) == 1
    bench.registry.classes["limit"] = make_plugin("limit", 1, ("access",))
    bench.registry.classes["new"] = make_plugin("new", 1, ("access",))
    assert bench.tables.refresh().errors == ()
    assert bench.names("/") == ("edit", "limit")
    assert bench.names("/2") == ("new",)
    after = bench.tables.chain(bench.route("/"))
    assert after.rewrite[0].call.__self__ is chain.rewrite[0].call.__self__
    assert chain.access[0].call.__self__.closed == 1
    del bench.registry.classes["new"]
    assert len(bench.tables.refresh().errors) == 1
    assert bench.names("/2") == ("new",)  # the last good version


@pytest.mark.parametrize("count", [10, 1500])
def test_the_garbage_collector_runs_again_after_a_step(count):
    import gc

    bench = Bench()
    assert bench.apply(*(Change("routes", str(n), {"uri": f"/{n}", "upstream": UP}) for n in range(1, count))) == []
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("holders", "winner"),
    [
        (("service",), "service"),
        (("service", "plugin_config"), "plugin_config"),
        (("service", "plugin_config", "route"), "route"),
        (("service", "plugin_config", "route", "group"), "group"),
        (("service", "plugin_config", "route", "group", "consumer"), "consumer"),
        (("service", "consumer"), "consumer"),
        (("plugin_config", "group"), "group"),
    ],
)
def test_merge_order(bench, holders, winner):
    """Specification, section 9: consumer > consumer group > route > plugin_config > service."""
    conf = {holder: {"plugins": {"edit": {"tag": holder}} if holder in holders else {}} for holder in
            ("service", "plugin_config", "route", "group", "consumer")}  # fmt: skip
    bench.put("services", "s", **conf["service"])
    bench.put("plugin_configs", "p", **conf["plugin_config"])
    bench.put("routes", "1", uri="/", service_id="s", plugin_config_id="p", **conf["route"])
    bench.put("consumer_groups", "g", **conf["group"])
    bench.put("consumers", "joe", username="joe", group_id="g", **conf["consumer"])
    assert bench.tags("/", "joe") == {"edit": winner}


def test_a_conf_is_replaced_whole(bench):
    bench.put("services", "s", plugins={"limit": {"tag": "s", "count": 5}})
    bench.put("routes", "1", uri="/", service_id="s", plugins={"limit": {"tag": "r"}})
    (hook,) = bench.tables.chain(bench.route("/")).access
    assert (hook.call.__self__.conf.tag, hook.call.__self__.conf.count) == ("r", None)


def test_disable_switches_an_inherited_plugin_off(bench):
    bench.put("services", "s", plugins={"limit": {}, "edit": {}})
    bench.put("routes", "1", uri="/", service_id="s", plugins={"limit": {"_meta": {"disable": True}}})
    assert bench.names("/") == ("edit",)


def test_meta_priority_sorts_anew(bench):
    bench.put("routes", "1", uri="/", plugins={"first": {}, "edit": {"_meta": {"priority": 9000}}})
    assert bench.names("/") == ("edit", "first")


def secret(key):
    return f"$secret://vault/1/app/{key}"


def test_a_secret_that_comes_later_heals_what_waits_for_it(bench):
    put = bench.put("routes", "1", uri="/", plugins={"limit": {"tag": secret("tag")}})
    assert put == ["routes[1] $.plugins.limit.tag: $secret://vault/1/app/tag can't be resolved: it was not fetched yet"]
    assert "not fetched yet" in bench.route("/").refusal
    assert bench.tell(tag="one") == []
    assert (bench.route("/").refusal, bench.tags("/"), bench.refused()) == (None, {"limit": "one"}, [])


def test_a_rotated_secret_replaces_only_what_holds_it(bench):
    bench.tell(tag="one", other="o")
    bench.put("routes", "1", uri="/", plugins={"limit": {"tag": secret("tag")}, "edit": {"tag": secret("other")}})
    bench.put("routes", "2", uri="/2", plugins={"limit": {"tag": "plain"}})
    plugins = {hook.plugin: hook.call.__self__ for hook in bench.tables.chain(bench.route("/")).access}
    edit = bench.tables.chain(bench.route("/")).rewrite[0].call.__self__
    chain = bench.tables.chain(bench.route("/2"))
    assert bench.tell(tag="two") == []
    assert bench.tags("/") == {"limit": "two", "edit": "o"}
    assert plugins["limit"].closed == 1
    assert bench.tables.chain(bench.route("/")).rewrite[0].call.__self__ is edit
    assert bench.tables.chain(bench.route("/2")) is chain
    same = bench.tables.chain(bench.route("/"))
    bench.tell(tag="two")
    assert bench.tables.chain(bench.route("/")) is same, "the same value again changes nothing"


def test_an_edit_with_the_same_reference_keeps_the_instance(bench):
    bench.tell(tag="one")
    bench.put("routes", "1", uri="/", plugins={"limit": {"tag": secret("tag")}})
    plugin = bench.tables.chain(bench.route("/")).access[0].call.__self__
    bench.put("routes", "1", uri="/", name="n", plugins={"limit": {"tag": secret("tag"), "_meta": {"priority": 1}}})
    assert bench.tables.chain(bench.route("/")).access[0].call.__self__ is plugin


def test_a_secret_that_was_withdrawn_closes_what_it_guards(bench):
    bench.tell(tag="one", key="k")
    bench.put("routes", "1", uri="/", plugins={"limit": {"tag": secret("tag")}})
    bench.put("plugin_configs", "p", plugins={"limit": {"tag": secret("tag")}})
    bench.put("routes", "2", uri="/2", plugins={}, plugin_config_id="p")
    bench.put("consumers", "jack", username="jack", plugins={"key-auth": {"key": secret("key")}})
    bench.put("credentials", "jack/credentials/c", plugins={"other-auth": {"key": secret("key")}})
    assert bench.tables.find_consumer("other-auth", "k").credential_id == "c"
    errors = bench.tell(tag=None, key=None)
    assert sorted(errors) == [
        "consumers[jack] $.plugins.key-auth.key: vault has no key",
        "credentials[jack/credentials/c] $.plugins.other-auth.key: vault has no key",
        "plugin_configs[p] $.plugins.limit.tag: vault has no tag",
        "routes[1] $.plugins.limit.tag: vault has no tag",
    ]
    assert bench.route("/").refusal == "$.plugins.limit.tag: vault has no tag"
    assert bench.route("/2").refusal == 'plugin config "p" can\'t be used'
    assert bench.tables.find_consumer("key-auth", "k") is None
    assert bench.tables.find_consumer("other-auth", "k") is None
    assert bench.tell(tag="two", key="l") == []
    assert (bench.tags("/"), bench.tags("/2")) == ({"limit": "two"}, {"limit": "two"})
    assert bench.tables.find_consumer("key-auth", "l").consumer_name == "jack"
    assert bench.tables.find_consumer("other-auth", "l").consumer_name == "jack"


def test_an_edit_gone_wrong_stays_beside_the_last_good_version(bench):
    bench.tell(tag="one")
    bench.put("routes", "1", uri="/", plugins={"limit": {"tag": secret("tag")}})
    bench.put("routes", "1", uri="/", plugins={"limit": {"tag": secret("tag")}, "edit": {"tag": secret("new")}})
    assert bench.tags("/") == {"limit": "one"}
    assert len(bench.tell(tag="two")) == 1
    assert bench.tags("/") == {"limit": "two"}, "the version in use gets the new secret"
    assert len(bench.refused()) == 1
    assert bench.tell(new="n") == []
    assert bench.tags("/") == {"limit": "two", "edit": "n"}


def test_a_global_rule_without_its_secret_stops_everything(bench):
    bench.put("global_rules", "1", plugins={"limit": {"tag": secret("tag")}})
    assert "not fetched yet" in bench.tables.broken_global
    bench.tell(tag="t")
    assert bench.tables.broken_global is None
    bench.tell(tag=None)
    assert bench.tables.broken_global == "global rule 1: vault has no tag"


def test_the_content_of_protos(bench):
    assert bench.tables.proto("p") is None
    bench.put("protos", "p", content="one")
    bench.put("protos", "p", content=3)
    assert bench.tables.proto("p") == "one"
    bench.put("protos", "p", content="two")
    assert bench.tables.proto("p") == "two"
    bench.delete("protos", "p")
    assert bench.tables.proto("p") is None


def test_metadata_with_a_secret(bench):
    bench.tell(realm="r")
    bench.put("plugin_metadata", "limit", realm=secret("realm"))
    assert bench.tables.metadata("limit").realm == "r"
    bench.tell(realm="s")
    assert bench.tables.metadata("limit").realm == "s"


def test_where_nothing_is_served_references_are_left_alone():
    tables = Tables(FakeRegistry(), BareHost, resolve=from_environment({}), checking=True)
    route = {"uri": "/", "plugins": {"limit": {"tag": secret("x")}, "edit": {"tag": "$env://NONE"}}}
    errors = tables.apply([Change("routes", "1", route)]).errors
    assert [error.path for error in errors] == ["$.plugins.edit.tag"]
    assert tables.apply([Change("routes", "1", {"uri": "/", "plugins": {"limit": {"tag": secret("x")}}})]).errors == ()


class Cache:
    """As the engine's plans: it points back at what has it."""

    def __init__(self, of):
        self.of = of


def test_what_is_replaced_goes_without_the_garbage_collector(bench):
    gc.disable()
    try:
        bench.put("upstreams", "u", nodes={"a:1": 1})
        bench.put("routes", "1", uri="/a", upstream=UP, plugins={"limit": {"tag": "one"}})
        bench.put("routes", "2", uri="/b", upstream_id="u")
        for path in ("/a", "/b"):
            route = bench.route(path)
            route.plan, route.upstream.runtime = Cache(route), Cache(route.upstream)
        caches = [weakref.ref(bench.route("/a").plan), weakref.ref(bench.route("/a").upstream.runtime)]
        chain = bench.tables.chain(bench.route("/a"))
        chain.plan = Cache(chain)
        caches.append(weakref.ref(chain.plan))
        del chain, route
        shared = bench.route("/b").upstream
        bench.put("routes", "1", uri="/a", upstream={"nodes": {"b:1": 1}}, plugins={"limit": {"tag": "two"}})
        assert [cache() for cache in caches] == [None, None, None]
        bench.put("routes", "2", uri="/b/*", upstream_id="u")
        assert bench.route("/b/x").upstream is shared
        assert shared.runtime is not None, "what goes on being used keeps its cache"
        cache = weakref.ref(shared.runtime)
        bench.put("upstreams", "u", nodes={"b:1": 1})
        del shared
        assert cache() is None
    finally:
        gc.enable()


def test_a_certificate_waits_for_its_key_but_is_closed_without_its_secret(bench):
    (old_cert, old_key), (new_cert, new_key) = make_pair("a.test"), make_pair("a.test")
    bench.tell(cert=old_cert, key=old_key)
    references = {"cert": "$secret://vault/1/app/cert", "key": "$secret://vault/1/app/key"}
    assert bench.put("ssls", "1", sni="a.test", **references) == []
    old = bench.tables.sni.find("a.test")
    assert old.pairs == ((old_cert, old_key),)
    assert len(bench.tell(cert=new_cert)) == 1
    assert bench.tables.sni.find("a.test") is old
    assert bench.tell(key=new_key) == []
    assert bench.tables.sni.find("a.test").pairs == ((new_cert, new_key),)
    assert len(bench.tell(key=None)) == 1
    assert bench.tables.sni.find("a.test") is None
