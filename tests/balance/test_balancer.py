from random import Random

import pytest

from bascule.balance.balancer import TYPES, make_balancer
from bascule.balance.member import Load

NAMES = ["10.0.0.0:80", "10.0.0.1:80", "10.0.0.2:80"]


@pytest.mark.parametrize("type", TYPES)
def test_every_type_picks_every_node_that_has_a_weight(type: str) -> None:
    balancer = make_balancer(type, [(1, 0), (0, 0), (2, 0)], NAMES, random=Random(3), clock=lambda: 0.0)
    picked = set()
    for i in range(200):
        node = balancer.pick(str(i), frozenset())
        balancer.on_start(node)
        balancer.on_finish(node, 0.001 * (i % 7), True)
        picked.add(node)
    assert picked <= {0, 2}
    assert balancer.pick("k", {0}) == 2
    assert balancer.pick("k", {2}) == 0
    assert balancer.pick("k", {0, 2}) == -1


@pytest.mark.parametrize("type", TYPES)
def test_no_node_and_no_weight_pick_nobody(type: str) -> None:
    assert make_balancer(type, [], []).pick("k", frozenset()) == -1
    assert make_balancer(type, [(0, 0), (0, 1)], NAMES[:2]).pick("k", frozenset()) == -1


def test_measurements_outlive_a_configuration() -> None:
    loads: dict[str, Load] = {}
    old = make_balancer("least_conn", [(1, 0)] * 2, NAMES[:2], loads=loads)
    old.on_start(0)
    new = make_balancer("least_conn", [(1, 0)] * 2, [NAMES[2], NAMES[0]], loads=loads)
    assert new.pick(None, frozenset()) == 0
    assert new.pick(None, {0}) == 1
    old.on_finish(0, 0.1, True)
    assert loads[NAMES[0]].active == 0


def test_unknown_type() -> None:
    with pytest.raises(ValueError, match="there is no balancer 'random': use one of roundrobin, chash"):
        make_balancer("random", [(1, 0)], ["a:1"])
