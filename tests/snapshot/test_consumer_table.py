import pytest


@pytest.fixture
def guarded(bench):
    bench.put("routes", "1", uri="/", plugins={"key-auth": {}})
    return bench


def chain(bench, name="joe"):
    return bench.tables.consumer_chain(bench.route("/"), bench.tables.find_consumer_by_name(name))


def test_binding(bench):
    bench.put(
        "consumers",
        "joe",
        username="joe",
        group_id="g",
        labels={"custom_id": "c", "a": "b"},
        plugins={"key-auth": {"key": "k"}},
    )
    found = bench.tables.find_consumer("key-auth", "k")
    assert (found.consumer_name, found.conf.key, found.credential_id) == ("joe", "k", None)
    assert (found.group_id, found.labels, found.custom_id) == ("g", {"custom_id": "c", "a": "b"}, "c")
    by_name = bench.tables.find_consumer_by_name("joe")
    assert (by_name.consumer_name, by_name.conf) == ("joe", None)
    bench.delete("consumers", "joe")
    assert bench.tables.find_consumer("key-auth", "k") is None
    assert bench.tables.find_consumer_by_name("joe") is None


def test_credential(bench):
    errors = bench.put("credentials", "joe/credentials/c", plugins={"key-auth": {"key": "k"}})
    assert errors == ['credentials[joe/credentials/c] $: there is no consumer "joe"']
    assert bench.tables.find_consumer("key-auth", "k") is None
    bench.put("consumers", "joe", username="joe", labels={"a": "b"})
    assert bench.refused() == []
    found = bench.tables.find_consumer("key-auth", "k")
    assert (found.consumer_name, found.credential_id, found.labels) == ("joe", "c", {"a": "b"})
    bench.put("consumers", "joe", username="joe", labels={"a": "c"})
    assert bench.tables.find_consumer("key-auth", "k").labels == {"a": "c"}
    bench.delete("consumers", "joe")
    assert bench.tables.find_consumer("key-auth", "k") is None
    assert len(bench.refused()) == 1
    bench.delete("credentials", "joe/credentials/c")
    assert bench.refused() == []


def test_duplicate_keys(bench):
    bench.put("consumers", "joe", username="joe", plugins={"key-auth": {"key": "k"}, "other-auth": {"key": "k"}})
    assert bench.put("consumers", "jane", username="jane", plugins={"key-auth": {"key": "k"}}) == [
        "consumers[jane] $.plugins.key-auth: duplicate key of plugin key-auth found with consumer: joe"
    ]
    assert bench.tables.find_consumer("key-auth", "k").consumer_name == "joe"
    bench.delete("consumers", "joe")
    assert bench.tables.find_consumer("key-auth", "k").consumer_name == "jane"
    assert bench.refused() == []


def test_a_broken_consumer_keeps_its_last_good_version(bench):
    bench.put("consumers", "jim", username="jim", plugins={"key-auth": {}})
    assert bench.tables.find_consumer_by_name("jim") is None
    bench.put("consumers", "joe", username="joe", plugins={"key-auth": {"key": "k"}})
    bench.put("consumers", "joe", username="joe", plugins={"key-auth": {"key": "$env://NOPE"}})
    assert bench.tables.find_consumer("key-auth", "k").consumer_name == "joe"
    assert len(bench.refused()) == 2


def test_what_a_consumer_brings(guarded):
    guarded.put("consumers", "joe", username="joe", plugins={"key-auth": {"key": "k"}})
    route_chain = guarded.tables.chain(guarded.route("/"))
    assert chain(guarded) == (route_chain, ())
    guarded.put("consumers", "joe", username="joe", plugins={"edit": {"tag": "joe"}}, group_id="g")
    assert chain(guarded)[1][0].call(None).status == 503
    guarded.put("consumer_groups", "g", plugins={"edit": {"tag": "g"}, "first": {"tag": "g"}})
    merged, brought = chain(guarded)
    assert merged.names == ("first", "key-auth", "edit")
    assert [hook.plugin for hook in brought] == ["first", "edit"]
    assert guarded.tags("/", "joe") == {"first": "g", "key-auth": "", "edit": "joe"}
    assert chain(guarded)[0] is merged
    guarded.put("consumer_groups", "g", plugins={"edit": {"tag": "g"}, "first": {"tag": "h"}})
    assert guarded.tags("/", "joe")["first"] == "h"
    assert chain(guarded)[0] is not merged


def test_a_consumer_on_a_route_without_plugins(bench):
    bench.put("routes", "1", uri="/", upstream={"nodes": {}})
    bench.put("consumers", "joe", username="joe", plugins={"edit": {}})
    assert chain(bench)[0].names == ("edit",)
    bench.put("global_rules", "1", plugins={"limit": {}})
    assert chain(bench)[0].names == ("limit", "edit")


def test_a_group_that_is_missing_or_broken(guarded):
    guarded.put("consumers", "joe", username="joe", group_id="g", plugins={"key-auth": {"key": "k"}})
    assert guarded.refused() == ['consumers[joe] $.group_id: there is no consumer group "g"']
    assert len(chain(guarded)[1]) == 1
    guarded.put("consumer_groups", "g")
    assert guarded.refused() == ["consumer_groups[g] $.plugins: is required"]
    assert len(chain(guarded)[1]) == 1
    guarded.put("consumer_groups", "g", plugins={})
    assert guarded.refused() == []
    assert chain(guarded)[1] == ()
    guarded.delete("consumer_groups", "g")
    assert len(chain(guarded)[1]) == 1


def test_an_edit_elsewhere_keeps_the_consumer_s_chain(guarded):
    guarded.put("consumers", "joe", username="joe", plugins={"edit": {}})
    merged, _ = chain(guarded)
    guarded.put("consumers", "joe", username="joe", plugins={"edit": {}}, desc="new")
    guarded.put("routes", "2", uri="/2", plugins={"limit": {}})
    assert chain(guarded)[0] is merged
