from collections import Counter
from typing import Any

import pytest

from bascule.plugin.kit.testing import get, make, run
from bascule.plugins.traffic_label import TrafficLabel
from tests.plugins.faults import fault_paths, faults


def rule(match: list[Any] | None, *actions: dict[str, Any]) -> dict[str, Any]:
    return {"actions": list(actions)} if match is None else {"match": match, "actions": list(actions)}


def label(value: Any, **more: Any) -> dict[str, Any]:
    return {"set_headers": {"X-Label": value}, **more}


ARG_A = ["arg_a", "==", "1"]


@pytest.mark.parametrize(
    ("conf", "paths"),
    [
        ({}, ["$.rules"]),
        ({"rules": []}, ["$.rules"]),
        ({"rules": [{"match": [ARG_A]}]}, ["$.rules[0].actions"]),
        ({"rules": [rule([ARG_A])]}, ["$.rules[0].actions"]),
        ({"rules": [rule([], label(1))]}, ["$.rules[0].match"]),
        ({"rules": [rule([["arg_a", "~", 1]], label(1))]}, ["$.rules[0].match"]),
        ({"rules": [rule(["AND", "OR", ARG_A], label(1))]}, ["$.rules[0].match"]),
        ({"rules": [rule(None, label(1, weight=0))]}, ["$.rules[0].actions[0].weight"]),
        ({"rules": [rule(None, label(1, weight=0.2))]}, ["$.rules[0].actions[0].weight"]),
        ({"rules": [rule(None, {"set_headers": {}})]}, ["$.rules[0].actions[0].set_headers"]),
        ({"rules": [rule(None, {"set_headers": {"a b": "c"}})]}, ["$.rules[0].actions[0].set_headers"]),
        ({"rules": [rule(None, label("c\r\nd: e"))]}, ["$.rules[0].actions[0].set_headers"]),
        ({"rules": [rule(None, {"set_headers": {"Content-Length": 1}})]}, ["$.rules[0].actions[0].set_headers"]),
    ],
)
def test_bad_configurations(conf: dict[str, Any], paths: list[str]) -> None:
    assert fault_paths(TrafficLabel, conf) == paths


def test_an_unknown_action() -> None:
    conf = {"rules": [rule(None, {"add_headers": {"X-Label": 1}})]}
    assert faults(TrafficLabel, conf) == [("$.rules[0].actions[0]", "not supported action: add_headers")]


def test_the_first_rule_that_matches() -> None:
    conf = {
        "rules": [
            rule([ARG_A], label(100, weight=1)),
            rule(["OR", ["arg_b", "==", "1"], ["uri", "==", "/b"]], label("b")),
            rule(["AND", ["arg_c", "==", "1"], ["OR", ["uri", "==", "/x"], ["uri", "==", "/y"]]], label(1.5)),
        ]
    }
    plugin = make(TrafficLabel, conf)

    def labelled(target: str) -> str | None:
        request = get(target, headers={"x-label": "mine"})
        plugin.access(request)
        values = request.header_values("X-Label")
        assert len(values) == 1
        return values[0]

    assert labelled("/?a=1") == "100"
    assert labelled("/b?a=1") == "100"
    assert labelled("/b") == labelled("/?b=1") == "b"
    assert labelled("/x?c=1") == labelled("/y?c=1") == "1.5"
    assert labelled("/z?c=1") == labelled("/") == "mine"


def test_what_goes_upstream() -> None:
    conf = {"rules": [rule(None, {"set_headers": {"X-A": "json", "X-B": 2.0}})]}
    sent = run(TrafficLabel, conf, get("/", headers={"X-A": "old"})).sent
    assert sent is not None
    assert (sent.header("X-A"), sent.header("X-B")) == ("json", "2")


def test_weights_are_exact() -> None:
    conf = {"rules": [rule(None, label("a", weight=3), label("b", weight=2), {"weight": 5})]}
    plugin = make(TrafficLabel, conf)
    seen: Counter[str | None] = Counter()
    for _ in range(100):
        request = get("/")
        plugin.access(request)
        seen[request.header("X-Label")] += 1
    assert seen == {"a": 30, "b": 20, None: 50}
