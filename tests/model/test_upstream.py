import pytest

from bascule.model.upstream import Upstream

NODES = {"nodes": {"a:1": 1}}


@pytest.mark.parametrize(
    "value",
    [
        NODES,
        {"nodes": []},
        {"service_name": "s", "discovery_type": "dns", "discovery_args": {"group_name": "g"}},
        NODES | {"type": "anything"},
        NODES | {"type": "chash", "key": "remote_addr"},
        NODES | {"type": "chash", "key": "arg_user-id"},
        NODES | {"type": "chash", "hash_on": "header", "key": "X-User"},
        NODES | {"type": "chash", "hash_on": "consumer"},
        NODES | {"type": "chash", "hash_on": "vars_combinations", "key": "$remote_addr$uri"},
        NODES | {"key": "not checked unless chash"},
        NODES | {"pass_host": "rewrite", "upstream_host": "b.com"},
        NODES | {"retries": 0, "retry_timeout": 0.5, "timeout": {"connect": 1, "send": 1, "read": 1}},
        NODES | {"tls": {"client_cert_id": 1, "verify": True}},
        NODES | {"tls": {"client_cert": "c" * 128, "client_key": "k" * 64}},
        NODES | {"keepalive_pool": {"size": 1, "idle_timeout": 0, "requests": 1}},
        NODES | {"scheme": "kafka", "checks": {"passive": {}}, "name": "n", "id": 1},
    ],
)
def test_accepted(told, value):
    assert told(Upstream, value) == []


@pytest.mark.parametrize(
    ("value", "errors"),
    [
        ({}, ['$: needs "nodes", or "service_name" with "discovery_type"']),
        ({"service_name": "s"}, ['$: "service_name" and "discovery_type" need each other']),
        (
            NODES | {"service_name": "s", "discovery_type": "dns"},
            ['$: only one of "nodes" and "service_name" with "discovery_type" is allowed'],
        ),
        (NODES | {"pass_host": "rewrite"}, ['$: "upstream_host" can\'t be empty when "pass_host" is "rewrite"']),
        (NODES | {"type": "chash"}, ['$: missing "key": a chash upstream that hashes on vars needs it']),
        (
            NODES | {"type": "chash", "key": "nonsense"},
            ["$: \"key\" 'nonsense' is not a variable that can be hashed on (uri, remote_addr, arg_x, ...)"],
        ),
        (
            NODES | {"type": "chash", "hash_on": "cookie", "key": "a b"},
            ["$: \"key\" 'a b' is not the name of a cookie"],
        ),
        (
            NODES | {"type": "chash", "hash_on": "vars_combinations", "key": "x"},
            ["$: \"key\" 'x' names no variable, as $remote_addr does"],
        ),
        (NODES | {"tls": {"client_cert": "c" * 128}}, ['$.tls: "client_cert" and "client_key" need each other']),
        (
            NODES | {"tls": {"client_cert": "c" * 128, "client_key": "k" * 64, "client_cert_id": "1"}},
            ['$.tls: only one of "client_cert_id" and "client_cert" is allowed'],
        ),
        (
            NODES | {"retries": -1, "keepalive_pool": {"size": 0}, "scheme": "ftp"},
            [
                "$.scheme: must be one of 'http', 'https', 'grpc', 'grpcs', 'tcp', 'tls', 'udp' or 'kafka'",
                "$.retries: must be at least 0",
                "$.keepalive_pool.size: must be at least 1",
            ],
        ),
    ],
)
def test_refused(told, value, errors):
    assert told(Upstream, value) == errors


def test_node_list():
    assert [node.host for node in Upstream.model_validate(NODES).node_list()] == ["a"]
    assert Upstream.model_validate({"service_name": "s", "discovery_type": "dns"}).node_list() == ()
