import pytest

from bascule.model.upstream import KeepalivePool, Upstream
from bascule.snapshot.compiled_upstream import Node
from bascule.snapshot.timeout import Timeout
from bascule.snapshot.upstream_compiler import Served, compile_upstream, not_served, timeout_of


def compiled(value, previous=None):
    return compile_upstream(Upstream.model_validate(value), "upstreams/1", "1", previous)


def test_defaults():
    upstream = compiled({"nodes": {"a": 1}})
    assert upstream.nodes == (Node("a", 80, 1),)
    assert (upstream.type, upstream.scheme, upstream.pass_host, upstream.retries) == (
        "roundrobin",
        "http",
        "pass",
        None,
    )
    assert (upstream.keepalive_size, upstream.keepalive_idle_s, upstream.keepalive_requests) == (320, 60, 1000)
    assert (upstream.timeout, upstream.retry_timeout_s) == (None, 0)
    assert repr(upstream) == "<upstream upstreams/1 roundrobin http a:80*1>"


@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("grpc", 80), ("https", 443), ("grpcs", 443)])
def test_the_scheme_gives_the_port(scheme, port):
    assert compiled({"nodes": {"a": 1}, "scheme": scheme}).nodes[0].port == port


def test_a_unix_socket_has_no_port():
    assert compiled({"nodes": {"unix:/run/a": 1}}).nodes == (Node("unix:/run/a", 0, 1),)


def test_everything():
    upstream = compiled(
        {
            "nodes": [{"host": "[::1]", "port": 8, "weight": 2, "priority": 1, "metadata": {"a": 1}}],
            "type": "chash",
            "hash_on": "header",
            "key": "X-User",
            "pass_host": "rewrite",
            "upstream_host": "b.com",
            "retries": 0,
            "retry_timeout": 2.5,
            "timeout": {"connect": 1, "send": 2, "read": 3},
            "keepalive_pool": {"size": 2},
            "name": "n",
            "labels": {"a": "b"},
        }
    )
    assert upstream.nodes == (Node("::1", 8, 2, 1, {"a": 1}),)
    assert (upstream.type, upstream.hash_on, upstream.hash_key) == ("chash", "header", "X-User")
    assert (upstream.pass_host, upstream.upstream_host) == ("rewrite", "b.com")
    assert (upstream.retries, upstream.retry_timeout_s, upstream.timeout) == (0, 2.5, Timeout(1, 2, 3))
    assert (upstream.keepalive_size, upstream.name, upstream.labels) == (2, "n", {"a": "b"})


@pytest.mark.parametrize("form", ["map", "list"])
def test_nodes_that_stay_are_the_same_objects(form):
    def version(weights):
        if form == "map":
            return {"nodes": {f"h{i}": weight for i, weight in enumerate(weights)}}
        listed = [{"host": f"h{i}", "weight": w, "metadata": {"n": i}} for i, w in enumerate(weights)]
        return {"nodes": listed[::-1]}

    before = compiled(version([1, 1, 1]))
    after = compiled(version([1, 2, 1]), before)
    assert after is not before
    assert [one is other for one, other in zip(after.nodes, before.nodes, strict=True)] == [True, False, True]
    assert [node.weight for node in after.nodes] == [1, 2, 1]


def test_a_node_that_is_listed_twice_stays_so():
    value = {"nodes": [{"host": "a", "weight": 1}, {"host": "a", "weight": 2, "priority": 1}]}
    before = compiled(value)
    assert [(node.weight, node.priority) for node in before.nodes] == [(1, 0), (2, 1)]
    assert compiled(value, before) is before


def test_the_same_stays_the_same_object():
    first = compiled({"nodes": {"a:1": 1}})
    first.runtime = object()
    assert compiled({"nodes": [{"host": "a", "port": 1, "weight": 1}], "desc": "new"}, first) is first
    assert compiled({"nodes": {"a:1": 2}}, first) is not first


@pytest.mark.parametrize(
    ("value", "served", "told"),
    [
        ({"nodes": []}, Served(), []),
        (
            {"nodes": [], "scheme": "kafka"},
            Served(),
            [("scheme", '"kafka" is not served yet; served: grpc, grpcs, http, https')],
        ),
        ({"nodes": [], "scheme": "kafka"}, Served(schemes=frozenset({"http", "kafka"})), []),
        (
            {"nodes": [], "type": "roundrobbin"},
            Served(),
            [("type", 'there is no balancer "roundrobbin"; did you mean "roundrobin"?')],
        ),
        (
            {"service_name": "s", "discovery_type": "dns"},
            Served(),
            [("discovery_type", '"dns" is not configured: config.yaml has no section "discovery"')],
        ),
        (
            {"service_name": "s", "discovery_type": "dsn"},
            Served(discovery=frozenset({"dns"})),
            [("discovery_type", '"dsn" is not configured under "discovery"; did you mean "dns"?')],
        ),
        ({"service_name": "s", "discovery_type": "dns"}, Served(discovery=frozenset({"dns"})), []),
    ],
)
def test_not_served(value, served, told):
    assert list(not_served(Upstream.model_validate(value), served)) == told


def test_timeout_of_nothing():
    assert timeout_of(None) is None


def test_the_gateway_s_pool_is_for_upstreams_without_their_own() -> None:
    conf = Upstream.model_validate({"nodes": {"a:1": 1}})
    made = compile_upstream(conf, "upstreams/1", "1", None, KeepalivePool(size=7, idle_timeout=8, requests=9))
    assert (made.keepalive_size, made.keepalive_idle_s, made.keepalive_requests) == (7, 8, 9)
