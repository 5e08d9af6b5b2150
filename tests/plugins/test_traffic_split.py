import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bascule.admin.administration import Administration
from bascule.plugin.kit.testing import get, make, run
from bascule.plugins.traffic_split import TrafficSplit
from tests.admin.desk import WISH, with_desk
from tests.plugins.faults import fault_paths, faults
from tests.servers.certificates import Certificates
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port
from tests.servers.raw import RawConnection, RawUpstream, response

A, B = {"nodes": {"a:1": 1}}, {"nodes": [{"host": "b", "port": 1, "weight": 1}]}


def split(*weighted: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"rules": [{"weighted_upstreams": list(weighted), **more}]}


def shares(conf: dict[str, Any], n: int, target: str = "/") -> Counter[str]:
    """Node or id of the upstream -> requests of n that went there; "own": the route's."""
    plugin = make(TrafficSplit, conf)
    found: Counter[str] = Counter()
    for _ in range(n):
        chosen = run(plugin, get(target)).upstream.chosen
        found["own" if chosen is None else chosen.id or chosen.conf.node_list()[0].host] += 1
    return found


def test_shares_are_exact() -> None:
    conf = split({"upstream": A, "weight": 73}, {"upstream_id": 7, "weight": 20}, {"weight": 7})
    assert shares(conf, 1000) == {"a": 730, "7": 200, "own": 70}


@pytest.mark.parametrize(
    "conf",
    [
        {},
        {"rules": []},
        split({}),
        {"rules": [{}]},
        split({"upstream": A, "weight": 0}),
        split({"upstream": A, "weight": 0}, {"weight": 1}),
    ],
)
def test_the_routes_own(conf: dict[str, Any]) -> None:
    assert shares(conf, 10) == {"own": 10}


def test_of_an_id_and_an_inline_upstream_the_id_counts() -> None:
    assert shares(split({"upstream": A, "upstream_id": "u"}), 3) == {"u": 3}


def test_the_first_rule_that_matches_decides() -> None:
    jack = [{"vars": [["arg_name", "==", "jack"]]}, {"vars": [["arg_name", "==", "rose"]]}]
    conf = {
        "rules": [
            {"match": jack, "weighted_upstreams": [{"upstream": A}, {}]},
            {"match": [{"vars": [["arg_name", "has", "x"]]}], "weighted_upstreams": [{"upstream_id": "never"}]},
            {"match": [{}], "weighted_upstreams": [{"upstream": B}]},
        ]
    }
    assert shares(conf, 10, "/?name=jack") == {"a": 5, "own": 5}
    assert shares(conf, 10, "/?name=rose") == {"a": 5, "own": 5}
    assert shares(conf, 10, "/") == {"b": 10}


@pytest.mark.parametrize(
    ("conf", "paths"),
    [
        ({"rules": {}}, ["$.rules"]),
        (split(), ["$.rules[0].weighted_upstreams"]),
        (split(*[{}] * 21), ["$.rules[0].weighted_upstreams"]),
        (split({"weight": -1}), ["$.rules[0].weighted_upstreams[0].weight"]),
        (split({"weight": 0.5}), ["$.rules[0].weighted_upstreams[0].weight"]),
        (split({"upstream_id": "a b"}), ["$.rules[0].weighted_upstreams[0].upstream_id"]),
        (split({"upstream": {}}), ["$.rules[0].weighted_upstreams[0].upstream"]),
        (
            split({}, {"upstream": {"nodes": {"a:0": 1}, "x": 1}}),
            [
                '$.rules[0].weighted_upstreams[1].upstream.nodes["a:0"]',
                "$.rules[0].weighted_upstreams[1].upstream.x",
            ],
        ),
        (split({}, match=[{"vars": [["arg_a", 123, "b"]]}]), ["$.rules[0].match[0].vars"]),
    ],
)
def test_refuses(conf: dict[str, Any], paths: list[str]) -> None:
    assert fault_paths(TrafficSplit, conf) == paths


def test_an_expression_that_can_t_be_read_is_told() -> None:
    [(_, sentence)] = faults(TrafficSplit, split({}, match=[{"vars": [["arg_a", 123, "b"]]}]))
    assert sentence == "failed to validate the 'vars' expression: $[0][1]: unknown operator 123"


def test_ids_lead_somewhere_and_what_they_name_stays(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        route = {"uri": "/", "plugins": {"traffic-split": split({"upstream_id": "u"})}}
        answer = await desk.put("routes", "1", route, WISH)
        assert (answer.status, answer.body["error_msg"]) == (
            400,
            "failed to fetch upstream info by upstream id [u], response code: 404",
        )
        await desk.put("upstreams", "u", A, WISH)
        assert (await desk.put("routes", "1", route, WISH)).status == 201
        answer = await desk.delete("upstreams", "u", WISH)
        message = "can not delete this upstream, plugin in route [1] is still using it now"
        assert (answer.status, answer.body) == (400, {"error_msg": message})
        wrong = {"uri": "/", "plugins": {"traffic-split": split({"upstream": {**A, "type": "nonsense"}})}}
        assert (await desk.put("routes", "2", wrong, WISH)).status == 400

    with_desk(tmp_path, scene)


# --- with the engine


def named(name: str, tls: ssl.SSLContext | None = None) -> RawUpstream:
    def play(connection: RawConnection) -> None:
        while True:
            request = connection.read_request()
            connection.send(response(f"{name} {request.header('host')}".encode()))

    return RawUpstream(play, tls=tls)


def silent(connection: RawConnection) -> None:
    connection.read_request()
    connection.read_to_end()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"), ("inside.test",))


@pytest.fixture(scope="module")
def servers(certificates: Certificates) -> Iterator[dict[str, RawUpstream]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server.cert, certificates.server.key)
    started = {name: named(name) for name in ("own", "a", "b", "c")}
    started |= {"tls": named("tls", context), "silent": RawUpstream(silent)}
    yield started
    for one in started.values():
        one.stop()


def resources(servers: dict[str, RawUpstream], ca: str, moved: str = "b") -> dict[str, Any]:
    nodes = {name: {server.address: 1} for name, server in servers.items()}
    own = {"type": "roundrobin", "nodes": nodes["own"]}
    rewriting = {"nodes": nodes["a"], "pass_host": "rewrite", "upstream_host": "inside.test"}
    hashed = {"nodes": nodes["a"] | nodes["b"] | nodes["c"], "type": "chash", "key": "arg_user"}
    dead = {"nodes": {f"127.0.0.1:{free_port()}": 1}, "pass_host": "node"}
    secure = {"nodes": nodes["tls"], "scheme": "https", "tls": {"ca_certs": ca, "verify": True}}
    renamed = {"pass_host": "rewrite", "upstream_host": "inside.test"}
    impatient = {"nodes": nodes["silent"], "timeout": {"connect": 5, "send": 5, "read": 0.3}, "retries": 0}
    rules: dict[str, dict[str, Any]] = {
        "tls": split({"upstream": secure | renamed}),
        "tls-for-another": split({"upstream": secure | {"pass_host": "rewrite", "upstream_host": "outside.test"}}),
        "impatient": split({"upstream": impatient}),
        "shares": split({"upstream": rewriting, "weight": 2}, {"upstream_id": "named", "weight": 1}, {"weight": 2}),
        "hash": split({"upstream": hashed}),
        "gone": split({"upstream_id": "gone"}),
        "dead": split({"upstream": dead}),
    }
    routes: list[dict[str, Any]] = [
        {"id": name, "uri": f"/{name}", "upstream": own, "plugins": {"traffic-split": rule}}
        for name, rule in rules.items()
    ]
    routes.append({"id": "none", "uri": "/none", "plugins": {"traffic-split": split({"upstream_id": "named"})}})
    return {"routes": routes, "upstreams": [{"id": "named", "nodes": nodes[moved]}]}


@pytest.fixture(scope="module")
def served(
    servers: dict[str, RawUpstream], certificates: Certificates, module_gateway: Callable[..., Gateway]
) -> Gateway:
    return module_gateway(resources(servers, certificates.ca.cert.read_text()), workers=2)


def ask(served: Gateway, target: str, n: int) -> Counter[str]:
    """A connection for each request: they come to both workers."""
    found: Counter[str] = Counter()
    for _ in range(n):
        with served.client() as client:
            found[client.request("GET", target).body.decode()] += 1
    return found


def test_requests_go_where_they_should(served: Gateway) -> None:
    assert ask(served, "/shares", 50) == {"a inside.test": 20, "b localhost": 10, "own localhost": 20}
    assert ask(served, "/none", 3) == {"b localhost": 3}


def test_the_balancer_of_the_inline_upstream(served: Gateway) -> None:
    homes = [set(ask(served, f"/hash?user={user}", 3)) for user in range(30)]
    assert all(len(home) == 1 for home in homes)
    assert len(set.union(*homes)) == 3


def test_what_can_t_be_reached_or_isn_t_there(served: Gateway) -> None:
    with served.client() as client:
        answer = client.request("GET", "/gone")
        assert (answer.status, answer.json()) == (
            500,
            {"error_msg": "failed to fetch upstream info by upstream id: gone"},
        )
        assert client.request("GET", "/dead").status == 502
    place = "$.plugins.traffic-split.rules[0].weighted_upstreams[0].upstream_id"
    assert f'{place}: there is no upstream "gone"' in served.log


def test_tls_and_timeouts_of_the_inline_upstream(served: Gateway) -> None:
    assert ask(served, "/tls", 2) == {"tls inside.test": 2}
    with served.client() as client:
        assert client.request("GET", "/tls-for-another").status == 502
        assert client.request("GET", "/impatient").status == 504


def test_a_named_upstream_changes_live(
    served: Gateway, servers: dict[str, RawUpstream], certificates: Certificates
) -> None:
    served.reload(resources(servers, certificates.ca.cert.read_text(), moved="c"))
    assert ask(served, "/none", 3) == {"c localhost": 3}
    assert ask(served, "/shares", 5)["c localhost"] == 1
