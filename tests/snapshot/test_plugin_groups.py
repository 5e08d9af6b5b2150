"""Confs that share something by the name of a group say the same, or are refused."""

from pathlib import Path

import pytest

from bascule.model.change import Change
from tests.servers.gateway import Gateway
from tests.servers.raw import RawUpstream
from tests.snapshot.bench import Bench, make_plugin

UPSTREAM = {"nodes": {"127.0.0.1:1980": 1}}


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.registry.classes["share"] = make_plugin("share", 1, ("access",), group=lambda self: self.conf.tag or None)
    return bench


def route(id: str, tag: str, count: int, uri: str | None = None) -> Change:
    plugins = {"share": {"tag": tag, "count": count}}
    return Change("routes", id, {"uri": uri or f"/{id}", "plugins": plugins, "upstream": UPSTREAM})


def test_the_first_says_what_the_group_is(bench: Bench) -> None:
    assert bench.apply(route("1", "g", 5), route("2", "g", 5), route("3", "other", 6), route("4", "", 7)) == []
    (error,) = bench.apply(route("5", "g", 6))
    assert "routes[5]" in error
    assert '$.plugins.share.group: "g" has another configuration in routes/1; all of a group must be the same' in error
    assert bench.route("/5").refusal is not None
    assert bench.route("/1").refusal is None


def test_an_edit_leaves_the_last_good_version_unless_all_of_the_group_change(bench: Bench) -> None:
    bench.apply(route("1", "g", 5), route("2", "g", 5))
    before = bench.route("/1")
    assert len(bench.apply(route("1", "g", 6))) == 1
    assert bench.route("/1") is before
    assert bench.apply(route("1", "g", 6), route("2", "g", 6)) == []
    assert bench.refused() == []
    assert bench.apply(route("1", "g", 6, "/new")) == []
    bench.delete("routes", "2")
    assert bench.apply(route("1", "g", 7)) == [], "alone it may say what it likes"
    assert bench.apply(route("2", "g", 7)) == []


def test_other_holders_belong_to_it_too(bench: Bench) -> None:
    bench.apply(route("1", "g", 5))
    errors = bench.apply(
        Change("services", "s", {"plugins": {"share": {"tag": "g", "count": 6}}, "upstream": UPSTREAM})
    )
    assert len(errors) == 1
    off = {"share": {"tag": "g", "count": 6, "_meta": {"disable": True}}}
    assert bench.apply(Change("plugin_configs", "p", {"plugins": off})) == []


def test_what_was_made_of_a_refused_conf_is_closed(bench: Bench) -> None:
    made = []
    share = bench.registry.classes["share"]
    setup = share.__init__

    def record(self: object, conf: object, host: object) -> None:
        setup(self, conf, host)  # type: ignore[arg-type]
        made.append(self)

    share.__init__ = record  # type: ignore[assignment, method-assign]
    bench.apply(route("1", "g", 5))
    bench.apply(route("2", "g", 6))
    assert [plugin.closed for plugin in made] == [0, 1]  # type: ignore[attr-defined]
    bench.tables.refresh()
    assert bench.route("/2").refusal is not None


def test_limit_count_s_group(tmp_path: Path) -> None:
    upstream = RawUpstream()
    limit = {"count": 1, "time_window": 60, "group": "g", "key_type": "constant", "key": "all"}
    routes = [
        {"id": str(i), "uri": f"/{i}", "plugins": {"limit-count": conf}, "upstream": {"nodes": {upstream.address: 1}}}
        for i, conf in enumerate((limit, limit, {**limit, "count": 2}))
    ]
    server = Gateway(tmp_path, {"routes": routes})
    with server.client() as client:
        assert [client.request("GET", f"/{i}").status for i in range(3)] == [200, 503, 503]
    assert 'routes[2] $.plugins.limit-count.group: "g" has another configuration in routes/0' in server.log
    assert server.stop() == 0
    upstream.stop()
