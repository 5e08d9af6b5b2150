def test_order_and_prefer_route(bench):
    bench.put("routes", "1", uri="/1", plugins={"metrics": {"tag": "own"}, "first": {}})
    bench.put("routes", "2", uri="/2", upstream={"nodes": {}})
    assert bench.put("global_rules", "b", plugins={"metrics": {"tag": "rule"}, "limit": {}}) == []
    assert bench.put("global_rules", "a", plugins={"edit": {}}) == []
    assert bench.names("/1") == ("limit", "edit", "first", "metrics")
    assert bench.tags("/1")["metrics"] == "own"
    assert bench.names("/2") == bench.tables.global_chain.names == ("limit", "edit", "metrics")
    assert bench.tags("/2")["metrics"] == "rule"
    bench.delete("global_rules", "b")
    assert bench.names("/1") == ("edit", "first", "metrics")


def test_chains_are_kept_when_no_instance_changes(bench):
    bench.put("routes", "1", uri="/1", plugins={"first": {}})
    bench.put("global_rules", "1", plugins={"limit": {}})
    chain, for_all = bench.tables.chain(bench.route("/1")), bench.tables.global_chain
    bench.put("global_rules", "1", plugins={"limit": {}}, update_time=5)
    assert bench.tables.chain(bench.route("/1")) is chain
    assert bench.tables.global_chain is for_all


def test_a_plugin_of_two_rules_is_told_and_runs_for_both(bench):
    bench.put("global_rules", "2", plugins={"limit": {"tag": "two"}})
    errors = bench.put("global_rules", "1", plugins={"limit": {"tag": "one"}})
    assert (
        errors
        == bench.refused()
        == ["global_rules[2] $.plugins.limit: plugin 'limit' already exists in global rule with id '1'"]
    )
    assert [hook.call.__self__.conf.tag for hook in bench.tables.global_chain.access] == ["one", "two"]
    bench.delete("global_rules", "1")
    assert bench.refused() == []


def test_a_broken_rule_stops_everything_until_it_is_mended(bench):
    assert bench.tables.broken_global is None
    bench.put("global_rules", "1", plugins={"limits": {}})
    assert bench.tables.broken_global == 'global rule 1: unknown plugin "limits"; did you mean "limit"?'
    bench.put("global_rules", "1", plugins={"limit": {}})
    assert bench.tables.broken_global is None
    bench.put("global_rules", "1", plugins={"limits": {}})  # the last good version serves
    assert bench.tables.broken_global is None
    assert bench.tables.global_chain.names == ("limit",)
    bench.put("global_rules", "2", nonsense=1)
    assert bench.tables.broken_global
    bench.delete("global_rules", "2")
    assert bench.tables.broken_global is None


def test_switched_off(bench):
    bench.put("global_rules", "1", plugins={"limit": {"_meta": {"disable": True}}})
    assert bench.tables.global_chain.names == ()
