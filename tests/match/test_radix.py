"""The tree's shape, seen through a router: walking and changing it is compiled and has no Python face of its own."""

import random

import pytest

from bascule.match.radix import Radix
from bascule.match.route_match import RouteMatch
from bascule.match.router import Router


def tree(*uris: str, mode: str = "radixtree_uri") -> Router[str]:
    made: Router[str] = Router(mode)
    for uri in uris:
        made.add(uri, RouteMatch((uri,)), uri)
    return made


def test_an_empty_tree_is_its_root() -> None:
    assert repr(Radix()) == "Radix(0 patterns, 0 nodes)"


@pytest.mark.parametrize(
    ("uris", "nodes"),
    [
        ((), 0),
        (("/abc",), 1),
        (("/abc", "/abc*"), 1),  # both payloads of one node
        (("/abc", "/abe"), 3),  # /ab, c, e
        (("/abc", "/ab"), 2),
        (("/ab", "/abc", "/abe"), 3),
        (("/a", "/b", "/c", "/d"), 5),
        (("*",), 0),  # the root's own
    ],
)
def test_common_beginnings_are_shared(uris: tuple[str, ...], nodes: int) -> None:
    for order in (uris, uris[::-1]):
        assert tree(*order).nodes() == nodes


def test_removal_merges_what_a_branch_had_split() -> None:
    router = tree("/api/users", "/api/groups")
    assert router.nodes() == 3
    router.remove("/api/groups")
    assert router.nodes() == 1
    assert router.match("GET", None, "/api/users") == "/api/users"


def test_parameters_have_nodes_of_their_own() -> None:
    router = tree("/a/:x", "/a/:y/b", "/a/c", mode="radixtree_uri_with_parameter")
    assert router.nodes() == 4  # "/a/", ":", "/b", "c"
    router.remove("/a/:y/b")
    assert router.nodes() == 3
    router.remove("/a/:x")
    assert router.nodes() == 1


def test_every_byte_can_branch() -> None:
    uris = ["/" + chr(code) for code in range(1, 0x250) if chr(code) != "*"]
    random.Random(1).shuffle(uris)
    router = tree(*uris)
    assert [uri for uri in uris if router.match("GET", None, uri) != uri] == []
    for uri in uris[::2]:
        router.remove(uri)
    assert [uri for uri in uris if router.match("GET", None, uri) is not None] == [
        uri for uri in uris if uri in uris[1::2]
    ]
    for uri in uris[1::2]:
        router.remove(uri)
    assert router.nodes() == 0


def test_long_and_deep_patterns() -> None:
    uris = ["/" + "a" * length + "*" for length in range(4000)]
    router = tree(*uris, mode="radixtree_uri_with_parameter")
    assert router.match("GET", None, "/" + "a" * 10_000) == uris[-1]
    assert router.match("GET", None, "/" + "a" * 17) == uris[17]
    assert router.match("GET", None, "/" + "a" * 17 + "b") == uris[17]
