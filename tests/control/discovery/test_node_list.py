import pytest

from bascule.control.discovery.discovery import DiscoveredNode, DiscoveryFailure
from bascule.control.discovery.node_list import checked, described, nodes_of_dump, same


def test_each_address_once():
    nodes, bad = checked([DiscoveredNode("a", 1), DiscoveredNode("a", 1, 5), DiscoveredNode("a", 2)], 10)
    assert nodes == (DiscoveredNode("a", 1), DiscoveredNode("a", 2))
    assert bad is None
    assert checked([DiscoveredNode("[::1]", 1)], 10)[0] == (DiscoveredNode("::1", 1),)
    assert checked([], 10) == ((), None)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (DiscoveredNode("a", 99999), "port 99999 of a isn't within 1 to 65535"),
        (DiscoveredNode("a", "80"), "port '80' of a isn't within 1 to 65535"),  # type: ignore[arg-type]
        (DiscoveredNode("a", 80, -1), "weight -1 of a isn't within 0 to 1000000000"),
        (DiscoveredNode("a", 80, True), "weight True of a isn't within 0 to 1000000000"),
        (DiscoveredNode("a", 80, 1, "x"), "priority 'x' of a is no integer"),  # type: ignore[arg-type]
        (DiscoveredNode("a", 80, 1, 0, []), "the metadata of a is no object"),  # type: ignore[arg-type]
        (DiscoveredNode("a b", 80), "'a b' is not a host name or address"),
        (DiscoveredNode(None, 80), "None is no host"),  # type: ignore[arg-type]
        (5, "it is no node"),
        (("a",), "it is no node"),
    ],
)
def test_what_can_not_be_a_node_is_left_out_and_named(bad, sentence):
    nodes, told = checked([DiscoveredNode("good", 1), bad], 10)
    assert nodes == (DiscoveredNode("good", 1),)
    assert told == f"1 of 2 nodes can't be used: {sentence}"


def test_a_list_without_any_usable_node_is_refused():
    with pytest.raises(DiscoveryFailure, match="2 of 2 nodes can't be used: port 0 of a"):
        checked([DiscoveredNode("a", 0), DiscoveredNode("b", 0)], 10)


def test_a_flood_is_refused():
    def flood():
        number = 0
        while True:
            number += 1
            yield DiscoveredNode("a", number)

    with pytest.raises(DiscoveryFailure, match="more than 10 nodes"):
        checked(flood(), 10)


def test_the_order_makes_no_difference():
    a, b = DiscoveredNode("a", 1), DiscoveredNode("b", 1, 2, 0, {"z": 1})
    assert same([a, b], [b, a])
    assert not same([a, b], [a])
    assert not same([b], [b._replace(weight=3)])


def test_dumps_are_read_again():
    nodes = [DiscoveredNode("a", 1), DiscoveredNode("b", None, 2, 3, {"z": 1})]
    assert described(nodes) == [
        {"host": "a", "port": 1, "weight": 1},
        {"host": "b", "weight": 2, "priority": 3, "metadata": {"z": 1}},
    ]
    assert nodes_of_dump(described(nodes)) == nodes
    for wrong in ({}, [1], [{"port": 1}]):
        with pytest.raises(ValueError, match="no "):
            nodes_of_dump(wrong)
