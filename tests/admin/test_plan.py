from collections.abc import Iterable, Mapping
from typing import Any

from bascule.admin.diff import HIDDEN, Place
from bascule.admin.plan import PlannedStep, plan, plan_id, summary


def secrets(kind: str, value: Mapping[str, Any]) -> Iterable[Place]:
    return [("key",)] if kind == "ssls" else []


CURRENT = {
    ("routes", "1"): {"id": "1", "uri": "/a", "create_time": 1, "update_time": 2},
    ("routes", "2"): {"id": "2", "uri": "/b"},
    ("routes", "10"): {"id": "10", "uri": "/c"},
    ("ssls", "1"): {"id": "1", "key": "old"},
}


def told(steps: list[PlannedStep]) -> list[tuple[str, str, str]]:
    return [(step.action, step.kind, step.id) for step in steps]


def test_what_is_to_be_done_in_order() -> None:
    desired = {("routes", "1"): {"uri": "/a"}, ("routes", "10"): {"uri": "/d"}, ("upstreams", "1"): {"nodes": {}}}
    steps = plan(CURRENT, desired, secrets)
    assert told(steps) == [
        ("delete", "routes", "2"),
        ("update", "routes", "10"),
        ("create", "upstreams", "1"),
        ("delete", "ssls", "1"),
    ]
    assert steps[1].told() == {
        "action": "update",
        "kind": "routes",
        "id": "10",
        "differences": [{"path": "$.uri", "before": "/c", "after": "/d"}],
    }
    assert steps[2].told()["differences"] == [{"path": "$", "after": {"nodes": {}}}]
    assert summary(steps) == {"create": 1, "update": 1, "delete": 2}


def test_without_pruning_the_rest_stays() -> None:
    assert told(plan(CURRENT, {("routes", "2"): {"uri": "/x"}}, secrets, prune=False)) == [("update", "routes", "2")]


def test_nothing_to_do() -> None:
    assert plan(CURRENT, CURRENT, secrets) == []


def test_secrets_are_hidden() -> None:
    [changed] = plan(CURRENT, {**CURRENT, ("ssls", "1"): {"key": "new"}}, secrets)
    assert changed.told()["differences"] == [{"path": "$.key", "before": HIDDEN, "after": HIDDEN}]
    deleted = plan(CURRENT, {}, secrets)[-1]
    assert deleted.told()["differences"] == [{"path": "$", "before": {"key": HIDDEN}}]


def test_ids_of_plans() -> None:
    one, other = plan(CURRENT, {}, secrets), plan({}, CURRENT, secrets)
    assert plan_id(one) == plan_id(plan(CURRENT, {}, secrets)) != plan_id(other) != plan_id([])
