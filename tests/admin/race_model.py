"""Random operations of the Admin API at the same time, by two gateways on one store, compared with a model.

The store's revisions say in which order the writes happened. Done in that order by the model, one after the other, they
must give what the store holds: then no update was lost. After each step nothing refers to what isn't there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from bascule.admin.administration import Administration
from bascule.admin.answer import Answer
from bascule.admin.links import links
from bascule.admin.merge import merged
from bascule.store.entry import LiveStore
from bascule.store.keys import key_of, kind_and_id
from bascule.store.stored_value import parse_value
from tests.admin.desk import ROUTE, WISH, make

_NODES: dict[str, Any] = {"type": "roundrobin", "nodes": {"127.0.0.1:1": 1}}
_AUTH = ("k1", "k2")


class Wanted(NamedTuple):
    """`gateway`: which of the two does it."""

    action: str
    kind: str
    id: str
    body: dict[str, Any] | None
    gateway: int


def _refs(*choices: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(({}, *choices))


_UPSTREAMS: tuple[dict[str, Any], ...] = ({"upstream_id": "u1"}, {"upstream_id": "u2"})
_SERVICES: tuple[dict[str, Any], ...] = ({"service_id": "s1"}, {"service_id": "s2"})
_BODIES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "upstreams": st.just(_NODES),
    "services": _refs(*_UPSTREAMS),
    "routes": st.builds(lambda refs: {**ROUTE, **refs}, _refs(*_UPSTREAMS, *_SERVICES, {"plugin_config_id": "p1"})),
    "plugin_configs": st.just({"plugins": {"cors": {}}}),
    "consumer_groups": st.just({"plugins": {"cors": {}}}),
    "global_rules": st.sampled_from([{"plugins": {name: {}}} for name in ("cors", "request-id")]),
}
_IDS = {
    "upstreams": ("u1", "u2"),
    "services": ("s1", "s2"),
    "routes": ("r1", "r2"),
    "plugin_configs": ("p1",),
    "consumer_groups": ("g1",),
    "global_rules": ("1", "2"),
    "consumers": ("c1", "c2"),
}
_GATEWAYS = st.integers(0, 1)


@st.composite
def _wanted(draw: st.DrawFn) -> Wanted:
    kind = draw(st.sampled_from(sorted(_IDS)))
    id = draw(st.sampled_from(_IDS[kind]))
    if kind == "consumers":
        # That no two have the same key is exact only among the writers of one gateway.
        action = draw(st.sampled_from(("put", "put", "delete")))
        auth = {"plugins": {"key-auth": {"key": draw(st.sampled_from(_AUTH))}}}
        body = {"username": id, **auth, **draw(_refs({"group_id": "g1"}))}
        return Wanted(action, kind, id, body if action == "put" else None, 0)
    action = draw(st.sampled_from(("put", "patch", "delete")))
    if action == "delete":
        return Wanted(action, kind, id, None, draw(_GATEWAYS))
    if action == "patch":
        patch = draw(_refs(*_UPSTREAMS)) if kind in ("routes", "services") else {}
        # global rules have no labels: an attribute of a plugin instead
        if kind == "global_rules":
            return Wanted(action, kind, id, {"plugins": draw(_BODIES[kind])["plugins"]}, draw(_GATEWAYS))
        name = draw(st.sampled_from("abcdef"))
        return Wanted(action, kind, id, {**patch, "labels": {name: draw(st.sampled_from("xyz"))}}, draw(_GATEWAYS))
    return Wanted(action, kind, id, draw(_BODIES[kind]), draw(_GATEWAYS))


def check_races(make_store: Callable[[str], LiveStore], examples: int = 12, steps: int = 15) -> None:
    """`make_store(name)`: an empty store that isn't open."""
    names = count()

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.runner = asyncio.Runner()
            self.store = make_store(f"races-{next(names)}")
            self.run(self.store.open())
            self.model: dict[str, dict[str, Any]] = {}

        def run(self, main: Any) -> Any:
            return self.runner.run(asyncio.wait_for(main, 30))

        @rule(wanted=st.lists(_wanted(), min_size=2, max_size=8))
        def at_once(self, wanted: list[Wanted]) -> None:
            self.run(self._at_once(wanted))

        async def _at_once(self, wanted: list[Wanted]) -> None:
            gateways = make(self.store), make(self.store)
            answers = await asyncio.gather(*(_do(gateways[each.gateway], each) for each in wanted))
            done = [(answer, each) for answer, each in zip(answers, wanted, strict=True) if answer.status < 300]
            assert {answer.status for answer in answers} <= {200, 201, 400, 404}, answers
            assert len({answer.revision for answer, _ in done}) == len(done), "a revision for each write"
            for answer, each in sorted(done, key=lambda pair: pair[0].revision or 0):
                self._follow(each, answer)
            await self._compare()

        def _follow(self, wanted: Wanted, answer: Answer) -> None:
            """The same on the model."""
            key = key_of(wanted.kind, wanted.id)
            before = self.model.get(key)
            if wanted.action == "delete":
                assert before is not None, (wanted, answer)
                del self.model[key]
            elif wanted.action == "patch":
                assert before is not None, (wanted, answer)
                self.model[key] = merged(before, wanted.body)
            else:
                assert answer.status == (201 if before is None else 200), (wanted, answer)
                named = {} if wanted.kind == "consumers" else {"id": wanted.id}
                self.model[key] = {**(wanted.body or {}), **named}
            for other, value in self.model.items():
                kind, id = kind_and_id(other) or ("", "")
                for link in links(kind, id, value):
                    assert link.in_plugin or key_of(link.kind, link.id) in self.model, (wanted, other, link)

        async def _compare(self) -> None:
            entries, _ = await self.store.list("")
            desk = make(self.store)
            found = {}
            for entry in entries:
                kind, _id = kind_and_id(entry.key) or ("", "")
                value = desk.sealer.unseal(kind, parse_value(entry.value))
                assert value["create_time"] <= value["update_time"]
                found[entry.key] = {k: v for k, v in value.items() if k not in ("create_time", "update_time")}
            assert found == self.model
            keys = [value["plugins"]["key-auth"]["key"] for key, value in found.items() if key.startswith("consumers/")]
            rules = [
                name for key, value in found.items() if key.startswith("global_rules/") for name in value["plugins"]
            ]
            assert len(set(keys)) == len(keys)
            assert len(set(rules)) == len(rules)

        def teardown(self) -> None:
            self.run(self.store.close())
            self.runner.close()

    Machine.TestCase.settings = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Machine, settings=Machine.TestCase.settings)


async def _do(desk: Administration, wanted: Wanted) -> Answer:
    if wanted.action == "put":
        return await desk.put(wanted.kind, wanted.id, wanted.body, WISH)
    if wanted.action == "patch":
        return await desk.patch(wanted.kind, wanted.id, (), wanted.body, WISH)
    return await desk.delete(wanted.kind, wanted.id, WISH)
