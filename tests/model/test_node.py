import pytest
from pydantic import BaseModel, ValidationError

from bascule.errors.sentences import Refused
from bascule.model.node import MapNode, NodeConf, Nodes, check_host, split_address


class Holder(BaseModel):
    nodes: Nodes


@pytest.mark.parametrize(
    ("address", "split"),
    [
        ("example.com", ("example.com", None)),
        ("example.com:8080", ("example.com", 8080)),
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]:80", ("::1", 80)),
        ("[::1]", ("::1", None)),
        ("my_service:1", ("my_service", 1)),
        ("unix:/run/a:b.sock", ("unix:/run/a:b.sock", None)),
    ],
)
def test_split_address(address, split):
    assert split_address(address) == split


@pytest.mark.parametrize(
    "address",
    ["", ":80", "a:", "a:0", "a:65536", "a:x", "a:\u0663", "::1", "[::1", "[::1]80", "[x]:1", "a b", "unix:x"],
)
def test_bad_addresses(address):
    with pytest.raises(Refused):
        split_address(address)


@pytest.mark.parametrize(
    ("host", "bare"), [("a", "a"), ("::1", "::1"), ("[::1]", "::1"), ("0:0:0:0:0:0:0:1", "::1"), ("unix:/a", "unix:/a")]
)
def test_check_host(host, bare):
    assert check_host(host) == bare


def test_a_map_and_a_list_mean_the_same():
    as_map = Holder.model_validate({"nodes": {"a:1": 1, "b": 0}}).nodes
    as_list = Holder.model_validate(
        {"nodes": [{"host": "a", "port": 1, "weight": 1}, {"host": "b", "weight": 0}]}
    ).nodes
    assert as_list == (NodeConf(host="a", port=1, weight=1), NodeConf(host="b", weight=0))
    assert as_map == tuple(MapNode(**node.model_dump()) for node in as_list)


def test_addresses_that_are_written_differently_are_nodes_of_their_own():
    nodes = Holder.model_validate({"nodes": {"[::1]:80": 1, "[0:0::1]:80": 2}}).nodes
    assert [(node.host, node.port, node.weight) for node in nodes] == [("::1", 80, 1), ("::1", 80, 2)]


def test_a_host_may_hold_the_port():
    value = [{"host": host, "weight": 1} for host in ("a:1", "127.0.0.1:80", "[::1]:443")]
    nodes = Holder.model_validate({"nodes": value}).nodes
    assert [(node.host, node.port) for node in nodes] == [("a", 1), ("127.0.0.1", 80), ("::1", 443)]
    for host in ("a:0", "a:65536", "a:", "::1:80"):
        with pytest.raises(ValidationError):
            Holder.model_validate({"nodes": [{"host": host, "weight": 1}]})


def test_priority_and_metadata():
    value = {"nodes": [{"host": "a", "weight": 1, "priority": -1, "metadata": {"zone": "b"}}]}
    (node,) = Holder.model_validate(value).nodes
    assert (node.priority, node.metadata) == (-1, {"zone": "b"})


@pytest.mark.parametrize("nodes", [{}, []])
def test_may_be_empty(nodes):
    assert Holder.model_validate({"nodes": nodes}).nodes == ()


@pytest.mark.parametrize(
    ("nodes", "errors"),
    [
        ({"a:x": 1}, ["$.nodes[\"a:x\"]: 'a:x': the port must be a number from 1 to 65535"]),
        ({"a": -1}, ["$.nodes.a: must be at least 0"]),
        ({"a": "1"}, ["$.nodes.a: must be an integer"]),
        ("a:1", ['$.nodes: must be an object "host:port" -> weight, or a list of objects with host, port and weight']),
        (
            [{"host": "a:1", "port": 1, "weight": 1}, {"weight": 1.5, "port": 0}, "a"],
            [
                "$.nodes[0].host: 'a:1' is not a host; the port goes into \"port\"",
                "$.nodes[1].host: is required",
                "$.nodes[1].port: must be at least 1",
                "$.nodes[1].weight: must be an integer",
                "$.nodes[2]: must be an object",
            ],
        ),
    ],
)
def test_errors(told, nodes, errors):
    assert told(Holder, {"nodes": nodes}) == errors


def test_frozen():
    (listed,) = Holder.model_validate({"nodes": [{"host": "a", "weight": 1}]}).nodes
    (mapped,) = Holder.model_validate({"nodes": {"a": 1}}).nodes
    with pytest.raises(ValidationError):
        listed.weight = 2
    with pytest.raises(AttributeError):
        mapped.weight = 2


def test_both_forms_are_dumped_alike():
    listed = Holder.model_validate({"nodes": [{"host": "a", "port": 1, "weight": 2}]})
    mapped = Holder.model_validate({"nodes": {"a:1": 2}})
    node = {"host": "a", "port": 1, "weight": 2, "priority": 0, "metadata": None}
    assert listed.model_dump() == mapped.model_dump() == {"nodes": [node]}
