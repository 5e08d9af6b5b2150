from bascule.model.discovery import DiscoveredNode
from bascule.snapshot.compiled_upstream import Node
from bascule.snapshot.node_list import nodes_of

TOLD = [DiscoveredNode("a", 1, 1), DiscoveredNode("b", None, 2, 3, {"zone": "z"}), DiscoveredNode("unix:/s", None)]


def test_ports_that_are_not_told() -> None:
    nodes = nodes_of(TOLD, 443, ())
    assert nodes == (Node("a", 1, 1), Node("b", 443, 2, 3, {"zone": "z"}), Node("unix:/s", 0, 1))


def test_nodes_that_stay_are_the_same_objects() -> None:
    before = nodes_of(TOLD, 80, ())
    told = [DiscoveredNode("new", 1, 1), TOLD[1], TOLD[0]._replace(weight=5), TOLD[2]._replace(metadata={"zone": "y"})]
    after = nodes_of(told, 80, before)
    assert after[1] is before[1]
    assert [node.weight for node in after] == [1, 2, 5, 1]
    assert after[3].metadata == {"zone": "y"}
    assert before[0].weight == 1


def test_a_node_that_is_told_twice() -> None:
    told = [DiscoveredNode("a", 1, 1), DiscoveredNode("a", 1, 2, 1)]
    before = nodes_of(told, 80, ())
    assert nodes_of(told, 80, before) == before == (Node("a", 1, 1), Node("a", 1, 2, 1))


def test_metadata_is_the_nodes_own() -> None:
    metadata = {"zone": "a"}
    (node,) = nodes_of([DiscoveredNode("a", 1, 1, 0, metadata)], 80, ())
    metadata["zone"] = "b"
    assert node.metadata == {"zone": "a"}
