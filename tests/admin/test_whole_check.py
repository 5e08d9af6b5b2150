from typing import Any

from bascule.admin.whole_check import of_plugins, whole_faults

SPLIT = {"traffic-split": {"rules": [{"weighted_upstreams": [{"weight": 1}, {"upstream_id": 7}]}]}}


def test_a_whole_without_faults() -> None:
    items = {
        ("routes", "1"): {"service_id": 1},
        ("services", "1"): {"plugins": SPLIT},
        ("upstreams", "7"): {},
        ("global_rules", "1"): {"plugins": {"cors": {}}},
        ("global_rules", "2"): {"plugins": {"real-ip": {}}},
    }
    assert list(whole_faults(items)) == []


def test_what_leads_nowhere_is_told_with_its_place() -> None:
    items: dict[tuple[str, str], dict[str, Any]] = {
        ("services", "1"): {"plugins": SPLIT},
        ("credentials", "anna/credentials/c"): {},
        ("routes", "1"): {"upstream_id": "u"},
    }
    found = [(*item, fault.path, fault.error_msg) for item, fault in whole_faults(items)]
    place = "$.plugins.traffic-split.rules[0].weighted_upstreams[1].upstream_id"
    text = "failed to fetch upstream info by upstream id [7], response code: 404"
    assert found == [
        ("services", "1", place, text),
        ("credentials", "anna/credentials/c", "$", "consumer not found"),
        ("routes", "1", "$.upstream_id", "failed to fetch upstream info by upstream id [u], response code: 404"),
    ]


def test_a_plugin_stands_in_one_global_rule() -> None:
    items = {("global_rules", id): {"plugins": {"cors": {}}} for id in ("1", "2")}
    [(item, fault)] = whole_faults(items)
    assert item == ("global_rules", "2")
    assert (fault.path, fault.text) == ("$.plugins.cors", "plugin 'cors' already exists in global rule with id '1'")


def test_two_consumers_with_one_key() -> None:
    items: dict[tuple[str, str], dict[str, Any]] = {
        ("consumers", "a"): {"plugins": {"key-auth": {"key": "k"}}},
        ("consumers", "b"): {},
        ("credentials", "b/credentials/c"): {"plugins": {"key-auth": {"key": "k"}}},
        ("credentials", "b/credentials/d"): {"plugins": {"key-auth": {"key": "$env://K"}}},
        ("credentials", "b/credentials/e"): {"plugins": {"key-auth": {"key": "$env://K"}}},
    }
    [(item, fault)] = whole_faults(items)
    assert item == ("credentials", "b/credentials/c")
    assert (fault.path, fault.sentence) == ("$.plugins.key-auth.key", 'the consumer "a" has the same')
    assert fault.text == "duplicate key of plugin key-auth found with consumer: a"


def test_confs_of_one_group_that_differ() -> None:
    def limit(count: int) -> dict[str, Any]:
        return {"plugins": {"limit-count": {"count": count, "time_window": 1, "group": "g"}}}

    items = {("routes", "1"): limit(1), ("routes", "2"): limit(1), ("services", "1"): limit(2)}
    [(item, fault)] = whole_faults(items)
    assert item == ("services", "1")
    assert fault.error_msg == "failed to check the configuration of plugin limit-count err: group conf mismatched"


def test_references_of_plugins_are_told_from_others() -> None:
    items: dict[tuple[str, str], dict[str, Any]] = {("routes", "1"): {"upstream_id": "x", "plugins": SPLIT}}
    assert [of_plugins(fault) for _, fault in whole_faults(items)] == [False, True]
