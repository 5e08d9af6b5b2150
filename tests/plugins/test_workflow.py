from collections.abc import Mapping
from typing import Any

import pytest

from bascule.admin.validator import Validator
from bascule.plugin.kit.testing import MemoryHost, get, make, run
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.registry import Registry
from bascule.plugin.response import Response
from bascule.plugins.workflow import Workflow
from bascule.snapshot.references import from_environment
from tests.plugins.faults import fault_paths

LIMIT = {"count": 2, "time_window": 60, "rejected_code": 429, "key": "remote_addr"}


def rules(*given: tuple[Any, Any]) -> dict[str, Any]:
    """(case or None, action) each."""
    return {"rules": [{"actions": [action]} | ({} if case is None else {"case": case}) for case, action in given]}


def test_the_first_rule_that_holds_answers() -> None:
    conf = rules(
        ([["uri", "==", "/a"]], ["return", {"code": 403}]),
        (["OR", ["arg_b", "==", "1"], ["arg_c", "==", "1"]], ["return", {"code": 418}]),
        ([["uri", "==", "/a"]], ["return", {"code": 500}]),
    )
    result = run(Workflow, conf, get("/a?b=1"))
    assert (result.status, result.json()) == (403, {"error_msg": "rejected by workflow"})
    assert run(Workflow, conf, get("/x?c=1")).status == 418
    assert run(Workflow, conf, get("/x")).answered_by == "upstream"
    assert run(Workflow, rules((None, ["return", {"code": 401}])), get("/x")).status == 401


@pytest.mark.parametrize("conf", [{"rules": []}, {"rules": [{"actions": []}]}])
def test_nothing_to_do(conf: dict[str, Any]) -> None:
    assert run(Workflow, conf, get("/")).answered_by == "upstream"


def test_a_rule_without_an_action_ends_the_search() -> None:
    conf = {"rules": [{"actions": []}, {"actions": [["return", {"code": 403}]]}]}
    assert run(Workflow, conf, get("/")).status == 200


def test_a_limit_counts_for_its_rule_alone() -> None:
    conf = rules(([["uri", "==", "/a"]], ["limit-count", LIMIT]), ([["uri", "==", "/b"]], ["limit-count", LIMIT]))
    plugin = make(Workflow, conf)
    assert [run(plugin, get("/a")).status for _ in range(3)] == [200, 200, 429]
    result = run(plugin, get("/b"))
    assert (result.status, result.header("X-RateLimit-Remaining")) == (200, "1")
    assert run(plugin, get("/c")).header("X-RateLimit-Limit") is None


def test_only_the_first_action_runs() -> None:
    conf = {"rules": [{"actions": [["limit-count", LIMIT], ["return", {"code": 403}]]}]}
    assert run(Workflow, conf, get("/")).status == 200


class Slow(Plugin):
    """A limit that waits, and has something to say in the log phase."""

    name = "limit-conn"
    priority = 1
    needs_task = True

    class Config(Config):
        most: int

    def __init__(self, conf: Any, host: Any) -> None:
        super().__init__(conf, host)
        self.logged = 0

    async def access(self, request: Any) -> Response | None:
        await self.host.sleep(0.1)
        return Response(503) if request.arg("too") else None

    def log(self, request: Any) -> None:
        self.logged += 1


class SlowHost(MemoryHost):
    def plugin(self, name: str, conf: Mapping[str, Any], at: Any) -> Any:
        return make(Slow, conf, self) if name == "limit-conn" else super().plugin(name, conf, at)


def test_a_limit_that_waits() -> None:
    conf = rules(
        ([["uri", "==", "/a"]], ["limit-conn", {"most": 1}]),
        (None, ["limit-count", {**LIMIT, "window_type": "sliding"}]),
    )
    host = SlowHost()
    plugin = make(Workflow, conf, host)
    assert plugin.needs_task
    assert plugin.hooks() == ("access", "header_filter", "log")
    assert [run(plugin, get(target)).status for target in ("/a", "/a?too=1", "/b", "/b", "/b")] == [
        200,
        503,
        200,
        200,
        429,
    ]
    inner: Any = plugin
    assert inner.branches[0].limit.logged == 2
    assert host.slept == [0.1, 0.1]


@pytest.mark.parametrize(
    ("conf", "paths"),
    [
        ({}, ["$.rules"]),
        ({"rules": [{}]}, ["$.rules[0].actions"]),
        ({"rules": [{"actions": [[]]}]}, ["$.rules[0].actions"]),
        ({"rules": [{"actions": ["return"]}]}, ["$.rules[0].actions[0]"]),
        ({"rules": [{"actions": [], "case": []}]}, ["$.rules[0].case"]),
        ({"rules": [{"actions": [], "case": [["uri", "=>", "/"]]}]}, ["$.rules[0].case"]),
        (rules((None, ["return", {"code": 600}])), ["$.rules[0].actions"]),
        (rules((None, ["return", []])), ["$.rules[0].actions"]),
        (rules((None, ["return"])), ["$.rules[0].actions"]),
        (rules((None, ["limit-count", 1])), ["$.rules[0].actions"]),
        (rules((None, ["redirect", {}])), ["$.rules[0].actions"]),
        (rules((None, [{}, {}])), ["$.rules[0].actions"]),
    ],
)
def test_refuses(conf: dict[str, Any], paths: list[str]) -> None:
    assert fault_paths(Workflow, conf) == paths


def written(conf: dict[str, Any], enabled: tuple[str, ...] | None = None) -> list[tuple[str, str, str]]:
    """(path, sentence, text) of what a write of it is refused with."""
    validator = Validator(Registry(enabled), resolve=from_environment({}))
    found = validator.check("routes", "1", {"uri": "/", "plugins": {"workflow": conf}})
    return [(fault.path, fault.sentence, fault.text.removeprefix(BEGINNING)) for fault in found]


BEGINNING = "failed to check the configuration of plugin workflow err: "


def test_a_write_tells_what_is_wrong_with_an_action() -> None:
    assert written(rules((None, ["limit-count", LIMIT]))) == []
    place = "$.plugins.workflow.rules[1].actions[0]"
    conf = rules((None, ["return", {"code": 200}]), (None, ["limit-count", {**LIMIT, "count": 0, "policy": "x"}]))
    found = written(conf)
    assert [path for path, _, _ in found] == [f"{place}[1].count", f"{place}[1].policy"]
    assert all(text.startswith("failed to validate the 'limit-count' action: property ") for _, _, text in found)
    [(path, _, text)] = written(rules((None, ["return", {"code": 600}])))
    assert path == "$.plugins.workflow.rules[0].actions"
    assert (
        text
        == "failed to validate the 'return' action: property \"code\" validation failed: expected 600 to be at most 599"
    )
    [(_, _, text)] = written(rules((None, ["limit-req", {}])))
    assert text == "unsupported action: limit-req"


def test_an_action_whose_plugin_isn_t_enabled_is_refused() -> None:
    conf = rules((None, ["limit-count", LIMIT]))
    [(path, sentence, text)] = written(conf, ("workflow",))
    assert path == "$.plugins.workflow.rules[0].actions[0][1]"
    assert sentence.startswith("can't be used: plugin 'limit-count' is not enabled")
    assert text == "unsupported action: limit-count"
