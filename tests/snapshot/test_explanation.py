"""`explain` says what the gateway does, for generated routes and requests too."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bascule.model.change import Change
from bascule.plugin.kit.memory_host import MemoryHost
from bascule.plugin.registry import Registry
from bascule.snapshot.explanation import NotARequest, explain
from bascule.snapshot.tables import Tables


def tables(*items: tuple[str, str, dict[str, Any]]) -> Tables:
    made = Tables(Registry(), lambda plugin, holder: MemoryHost(plugin, holder=holder))
    assert not made.apply([Change(*item) for item in items]).errors
    return made


NODES = {"127.0.0.1:1": 3, "127.0.0.1:2": 1}
UPSTREAM = {"type": "roundrobin", "nodes": NODES}


def test_candidates_plugins_and_upstream() -> None:
    made = tables(
        ("upstreams", "u", UPSTREAM),
        ("services", "s", {"upstream_id": "u", "plugins": {"cors": {}, "request-id": {}}}),
        ("plugin_configs", "p", {"plugins": {"request-id": {"header_name": "X-Mine"}}}),
        ("global_rules", "g", {"plugins": {"real-ip": {"source": "http_x"}}}),
        ("consumers", "jack", {"username": "jack", "plugins": {"ip-restriction": {"whitelist": ["127.0.0.1"]}}}),
        (
            "routes",
            "1",
            {
                "uri": "/a/*",
                "service_id": "s",
                "plugin_config_id": "p",
                "plugins": {
                    "cors": {"_meta": {"disable": True}},
                    "key-auth": {"_meta": {"filter": [["arg_x", "==", "1"]]}},
                },
            },
        ),
        ("routes", "2", {"uri": "/a/b", "methods": ["POST"], "upstream_id": "u"}),
        ("routes", "3", {"uri": "/*", "vars": [["http_x", "==", "y"]], "upstream_id": "u"}),
    )
    told = explain(made, {"url": "http://h/a/b?x=2", "consumer": "jack"})
    assert [(row["route"], row["matches"]) for row in told["candidates"]] == [("2", False), ("1", True), ("3", False)]
    assert told["candidates"][0]["reason"] == "method GET is not in [POST]"
    assert told["route"]["id"] == "1"
    assert told["answer"] is None
    running = [(row["name"], row["from"]) for row in told["plugins"] if row["runs"]]
    assert running == [
        ("real-ip", "global rule"),
        ("request-id", "plugin_configs/p"),
        ("ip-restriction", "consumers/jack"),
    ]
    off = {row["name"]: row["reason"] for row in told["plugins"] if not row["runs"]}
    assert off["key-auth"] == "_meta.filter: arg_x == 1 failed because arg_x is 2"
    assert off["cors"] in ("switched off by _meta.disable", "routes/1 has its own")
    assert [(node["node"], node["share"]) for node in told["upstream"]["nodes"]] == [
        ("127.0.0.1:1", 0.75),
        ("127.0.0.1:2", 0.25),
    ]
    json.dumps(told)


@pytest.mark.parametrize(
    ("asked", "status"), [({"url": "/nothing"}, 404), ({"url": "/none"}, 503), ({"url": "/%zz"}, 400)]
)
def test_what_the_gateway_itself_answers(asked: dict[str, Any], status: int) -> None:
    made = tables(("routes", "1", {"uri": "/none", "plugins": {"cors": {}}}))
    assert explain(made, asked)["answer"]["status"] == status


def test_a_consumer_whose_group_is_missing_is_refused() -> None:
    made = Tables(Registry(), lambda plugin, holder: MemoryHost(plugin, holder=holder))
    made.apply(
        [
            Change("routes", "1", {"uri": "/", "upstream": UPSTREAM}),
            Change("consumers", "jack", {"username": "jack", "group_id": "gone"}),
        ]
    )
    assert explain(made, {"url": "/"})["answer"] is None
    assert explain(made, {"url": "/", "consumer": "jack"})["answer"]["status"] == 503


def test_the_node_of_a_hash_is_the_one_that_is_used() -> None:
    upstream = {
        "type": "chash",
        "hash_on": "header",
        "key": "X-User",
        "nodes": {f"127.0.0.1:{n}": 1 for n in (1, 2, 3)},
    }
    made = tables(("routes", "1", {"uri": "/", "upstream": upstream}))
    found = {
        explain(made, {"url": "/", "headers": [["X-User", str(user)]]})["upstream"]["choice"] for user in range(50)
    }
    assert len({choice.rpartition(" ")[2] for choice in found}) == 3


@pytest.mark.parametrize("asked", [{}, {"url": ""}, {"url": "x"}, {"url": 3}, {"url": "/", "headers": [["a"]]}])
def test_what_is_no_request_is_said_so(asked: dict[str, Any]) -> None:
    with pytest.raises(NotARequest):
        explain(tables(), asked)


HOSTS = ("a.test", "*.b.test", "x.b.test")
PATHS = ("/", "/a", "/a/*", "/a/b", "/*", "/a/b/*")
ROUTE = st.fixed_dictionaries(
    {"uri": st.sampled_from(PATHS), "plugins": st.just({})},
    optional={
        "hosts": st.lists(st.sampled_from(HOSTS), min_size=1, unique=True),
        "methods": st.lists(st.sampled_from(["GET", "POST"]), min_size=1, unique=True),
        "priority": st.integers(0, 2),
        "vars": st.just([["arg_v", "==", "1"]]),
        "remote_addr": st.sampled_from(["127.0.0.0/8", "10.0.0.1"]),
    },
)
ASKED = st.tuples(
    st.sampled_from(["GET", "POST"]),
    st.sampled_from(["a.test", "x.b.test", "y.b.test", "other"]),
    st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "/a/./b", "/z", "/a?v=1", "/a/b?v=1"]),
)


def test_it_agrees_with_the_gateway(gateway: Callable[..., Any]) -> None:
    server = gateway()
    mocking = {"response_status": 200, "response_example": "x"}
    round_ = 0

    def answer(method: str, host: str, path: str) -> str | None:
        with server.client() as client:
            headers = [("Host", host), ("Content-Length", "0")]
            found: str | None = client.request(method, path, headers).header("x-route")
            return found

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(ROUTE, min_size=1, max_size=8), st.lists(ASKED, min_size=5, max_size=20))
    def agrees(generated: list[dict[str, Any]], asked: list[tuple[str, str, str]]) -> None:
        nonlocal round_
        round_ += 1
        routes = [
            route | {"id": str(n), "plugins": {"mocking": mocking | {"response_headers": {"X-Route": str(n)}}}}
            for n, route in enumerate(generated)
        ]
        server.reload({"routes": [*routes, {"id": f"round-{round_}", "uri": "/nowhere", "plugins": {"cors": {}}}]})
        made = tables(*[("routes", route["id"], route) for route in routes])
        for method, host, path in asked:
            told = explain(made, {"method": method, "url": f"http://{host}{path}"})
            expected = told["route"]["id"] if told["route"] else None
            assert answer(method, host, path) == expected, (method, host, path, told["candidates"])

    agrees()


def test_what_a_plugin_holds_and_is_at() -> None:
    release = {"upstream": UPSTREAM, "steps": [{"weight": 10}]}
    made = tables(
        ("routes", "1", {"uri": "/", "upstream": UPSTREAM, "plugins": {"canary-release": release, "cors": {}}})
    )
    cors, row = explain(made, {"url": "/"})["plugins"]
    assert row["upstreams"] == ["routes/1#plugins/canary-release/upstream"]
    assert "upstreams" not in cors
    assert "state" not in row, "it has not begun"
    [instance] = [one for one in made._state.records["routes"]["1"].plugins.instances.values() if one.upstreams]
    instance.plugin.host.advance(0)
    assert explain(made, {"url": "/"})["plugins"][1]["state"] == {
        "state": "running",
        "weight": 10,
        "step": 1,
        "steps": 1,
        "verdict": "none",
        "attempt": 1,
    }
