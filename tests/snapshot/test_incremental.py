"""Any sequence of good and bad changes, step by step, gives what the final state gives at once."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bascule.model.change import Change
from tests.snapshot.bench import Bench
from tests.snapshot.summary import summary

UP = {"nodes": {"a:1": 1}}

# For each item values that are good by themselves, and bad ones.
GOOD: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("routes", "1"): [
        {"uri": "/a", "service_id": "s", "plugin_config_id": "p"},
        {"uri": "/a", "service_id": "s", "plugins": {"limit": {"tag": "route"}}},
        {"uri": "/b", "upstream_id": "u", "plugins": {"edit": {"_meta": {"disable": True}}}, "plugin_config_id": "p"},
    ],
    ("routes", "2"): [
        {"uri": "/a", "host": "own.com", "service_id": "s"},
        {"uri": "/b", "upstream": UP, "status": 0},
        {"uri": "/b", "upstream": UP, "enable_websocket": True},
        {"uri": "/c", "service_id": "s", "plugins": {"metrics": {"tag": "own"}, "key-auth": {}}},
    ],
    ("services", "s"): [
        {"upstream_id": "u", "plugins": {"limit": {"tag": "service"}, "edit": {"tag": "service"}}},
        {"upstream": UP, "hosts": ["s.com"], "name": "named"},
        {"upstream": UP, "enable_websocket": True},
    ],
    ("upstreams", "u"): [UP, {"nodes": {"b:2": 3}}],
    ("plugin_configs", "p"): [{"plugins": {"edit": {"tag": "config"}}}, {"plugins": {}}],
    ("global_rules", "1"): [{"plugins": {"metrics": {"tag": "rule"}}}, {"plugins": {"first": {"tag": "rule"}}}],
    ("global_rules", "2"): [{"plugins": {"metrics": {"tag": "rule 2"}, "edit": {"tag": "rule 2"}}}],
    ("consumer_groups", "g"): [{"plugins": {"edit": {"tag": "group"}, "first": {"tag": "group"}}}, {"plugins": {}}],
    ("consumers", "joe"): [
        {"username": "joe", "group_id": "g", "plugins": {"key-auth": {"key": "k1"}}},
        {"username": "joe", "plugins": {"key-auth": {"key": "k2"}, "edit": {"tag": "joe"}}},
    ],
    ("credentials", "joe/credentials/c"): [{"plugins": {"key-auth": {"key": "k3"}}}],
}
BAD: dict[str, list[dict[str, Any]]] = {
    "routes": [
        {"uri": "/a", "upstream": UP, "plugins": {"nope": {}}},
        {"uri": "/c", "upstream_id": "u", "unknown": 1},
        {"uri": 1},
    ],
    "services": [{"plugins": {"off": {}}}, {"hosts": []}],
    "upstreams": [{"nodes": {"a:1": -1}}, {}],
    "plugin_configs": [{"plugins": {"edit": {"tag": 1}}}, {}],
    "global_rules": [{"plugins": {"edit": {"tag": "explode"}}}, {}],
    "consumer_groups": [{}],
    "consumers": [{"username": "joe", "plugins": {"key-auth": {}}}, {"username": "jane"}],
    "credentials": [{"plugins": {"limit": {}}}],
}
PROBES = [(host, path) for host in ("x.com", "s.com", "own.com") for path in ("/a", "/b", "/c")]
KEYS = [("key-auth", key) for key in ("k1", "k2", "k3")]


def _changes() -> st.SearchStrategy[tuple[Change, bool]]:
    def values(item: tuple[str, str]) -> st.SearchStrategy[tuple[Change, bool]]:
        # Two routes for the same requests would take turns by age.
        more = {"priority": int(item[1])} if item[0] == "routes" else {}
        good = [(Change(*item, value | more), True) for value in GOOD[item]]
        bad = [(Change(*item, value | more), False) for value in BAD[item[0]]]
        return st.sampled_from([*good, *good, *bad, (Change(*item, None), True)])

    return st.sampled_from(list(GOOD)).flatmap(values)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.lists(_changes(), max_size=4), st.booleans()), max_size=10))
def test_step_by_step_is_as_good_as_at_once(steps: list[tuple[list[tuple[Change, bool]], bool]]) -> None:
    bench = Bench()
    good: dict[tuple[str, str], Change] = {}
    bad: dict[tuple[str, str], list[Change]] = {}
    for changes, look in steps:
        bench.apply(*(change for change, _ in changes))
        for change, is_good in {(change.kind, change.id): (change, ok) for change, ok in changes}.values():
            item = (change.kind, change.id)
            if not is_good:
                bad.setdefault(item, []).append(change)
                continue
            bad.pop(item, None)
            if change.value is None:
                good.pop(item, None)
            else:
                good[item] = change
        if look:  # makes chains, which must then be forgotten at the right time
            summary(bench.tables, PROBES, KEYS)
    at_once = Bench()
    at_once.apply(*good.values())
    while bad:  # of a broken item without a good version, an earlier readable match goes on refusing
        at_once.apply(*(versions.pop(0) for versions in bad.values()))
        bad = {item: versions for item, versions in bad.items() if versions}
    assert summary(bench.tables, PROBES, KEYS) == summary(at_once.tables, PROBES, KEYS)
