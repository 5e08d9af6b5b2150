"""Upstreams and plugins that a plugin has of its own."""

from typing import Any

import pytest

from bascule.plugin.inline_upstream import InlineUpstream
from bascule.plugin.plugin import Config, Plugin
from bascule.snapshot.plugin_parts import building
from tests.snapshot.bench import Bench

UP = {"nodes": {"a:1": 1}}


class Fork(Plugin):
    name = "fork"
    priority = 1

    class Config(Config):
        ways: tuple[InlineUpstream, ...] = ()
        ids: tuple[str, ...] = ()
        inner: tuple[dict[str, Any], ...] = ()
        late: bool = False

    def __init__(self, conf: Any, host: Any) -> None:
        self.conf = conf
        parts = host.parts
        for number, way in enumerate(conf.ways):
            parts.upstream(way, ("ways", number))
        for number, id in enumerate(conf.ids):
            parts.upstream(id, ("ids", number))
        self.inner = [parts.plugin(one["name"], one["conf"], ("inner", n)) for n, one in enumerate(conf.inner)]
        self.closed = 0

    def access(self, request: Any) -> None:
        """So that there is a hook."""

    def close(self) -> None:
        self.closed += 1


def standing() -> Bench:
    bench = Bench()
    bench.registry.classes["fork"] = Fork
    return bench


def put(bench: Bench, id: str = "1", **conf: Any) -> list[str]:
    return bench.put("routes", id, uri=f"/{id}", upstream=UP, plugins={"fork": conf})


def instance(bench: Bench, id: str = "1") -> Any:
    return bench.tables._state.records["routes"][id].plugins.instances["fork"]


def keys(bench: Bench) -> list[str]:
    return [upstream.key for upstream in bench.tables.upstreams()]


def test_held_upstreams_are_among_all() -> None:
    bench = standing()
    bench.put("upstreams", "u", **UP)
    bench.put("services", "s", upstream=UP)
    put(bench, ways=[UP, UP], ids=["u"])
    bench.put("global_rules", "g", plugins={"fork": {"ways": [UP]}})
    assert sorted(keys(bench)) == [
        "global_rules/g#plugins/fork/ways/0",
        "routes/1#plugins/fork/ways/0",
        "routes/1#plugins/fork/ways/1",
        "routes/1#upstream",
        "services/s#upstream",
        "upstreams/u",
    ]
    bench.delete("routes", "1")
    bench.delete("global_rules", "g")
    assert sorted(keys(bench)) == ["services/s#upstream", "upstreams/u"]


def test_an_edit_keeps_the_upstreams_that_say_the_same() -> None:
    bench = standing()
    put(bench, ways=[UP, UP])
    first, second = (handle.compiled for handle in instance(bench).upstreams)
    first.runtime, second.runtime = {"t": "plan"}, {"t": "plan"}
    handle = instance(bench).upstreams[0]
    handle.plans["t"] = "plan"
    put(bench, ways=[UP, {"nodes": {"b:1": 1}}])
    now = [one.compiled for one in instance(bench).upstreams]
    assert (now[0] is first, now[1] is second, now[1].key == second.key) == (True, False, True)
    assert (first.runtime, second.runtime) == ({"t": "plan"}, None)
    assert handle.plans == {}


def test_what_can_t_be_served_is_told_at_its_place() -> None:
    bench = standing()
    assert put(bench, ways=[UP, {**UP, "type": "cash"}, {**UP, "scheme": "tcp"}]) == [
        'routes[1] $.plugins.fork.ways[1].type: there is no balancer "cash"; did you mean "chash"?',
        'routes[1] $.plugins.fork.ways[2].scheme: "tcp" is not served yet; served: grpc, grpcs, http, https',
    ]
    assert keys(bench) == []


def test_an_id_that_leads_nowhere_is_told_until_it_leads_somewhere() -> None:
    bench = standing()
    missing = 'routes[1] $.plugins.fork.ids[0]: there is no upstream "u"'
    assert put(bench, ids=["u"]) == [missing]
    assert bench.refused() == [missing]
    bench.put("upstreams", "u", **UP)
    assert bench.refused() == []
    assert bench.delete("upstreams", "u") == [missing]
    put(bench)
    assert bench.refused() == []


def test_a_broken_upstream_is_told_once() -> None:
    bench = standing()
    bench.put("upstreams", "u", nodes=1)
    assert put(bench, ids=["u"]) == []
    assert len(bench.refused()) == 1


def test_a_plugin_inside_is_checked_held_apart_and_closed() -> None:
    bench = standing()
    assert put(bench, inner=[{"name": "limit", "conf": {"tag": "x"}}, {"name": "fork", "conf": {"ways": [UP]}}]) == []
    outer = instance(bench).plugin
    limit, fork = outer.inner
    assert (limit.conf.tag, limit.host.holder) == ("x", "routes/1#plugins/fork/inner/0")
    assert keys(bench) == ["routes/1#upstream", "routes/1#plugins/fork/inner/1/ways/0"]
    put(bench)
    assert (outer.closed, limit.closed, fork.closed) == (1, 1, 1)


def test_faults_of_a_plugin_inside_are_told_at_their_place() -> None:
    bench = standing()
    names = ("limit", "limit", "gone", "off")
    confs = ({}, {"tag": 1}, {}, {})
    told = put(bench, inner=[{"name": name, "conf": conf} for name, conf in zip(names, confs, strict=True)])
    assert told == [
        "routes[1] $.plugins.fork.inner[1].tag: must be a string",
        "routes[1] $.plugins.fork.inner[2]: can't be used: gone",
        "routes[1] $.plugins.fork.inner[3]: can't be used: off",
    ]


def test_a_constructor_that_fails_leaves_nothing_open() -> None:
    bench = standing()
    told = put(bench, inner=[{"name": "limit", "conf": {}}, {"name": "limit", "conf": {"tag": "explode"}}])
    assert told == ["routes[1] $.plugins.fork: the plugin can't be set up: boom"]


def test_later_than_in_the_constructor_nothing_is_made() -> None:
    with pytest.raises(RuntimeError, match="in its constructor"):
        building(None)
