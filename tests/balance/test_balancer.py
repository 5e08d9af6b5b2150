from random import Random

import pytest

from bascule.balance.balancer import TYPES, make_balancer, members_of
from bascule.balance.member import Load

NAMES = ["10.0.0.0:80", "10.0.0.1:80", "10.0.0.2:80"]


@pytest.mark.parametrize("type", TYPES)
def test_every_type_picks_every_node_that_has_a_weight(type: str) -> None:
    balancer = make_balancer(type, [(1, 0), (0, 0), (2, 0)], NAMES, random=Random(3), clock=lambda: 0.0)
    picked = set()
    for i in range(200):
        node = balancer.pick(str(i), None)
        balancer.on_start(node)
        balancer.on_finish(node, 0.001 * (i % 7), True)
        picked.add(node)
    assert picked <= {0, 2}
    assert balancer.pick("k", {0}) == 2
    assert balancer.pick("k", {2}) == 0
    assert balancer.pick("k", {0, 2}) == -1


@pytest.mark.parametrize("type", TYPES)
def test_no_node_and_no_weight_pick_nobody(type: str) -> None:
    assert make_balancer(type, [], []).pick("k", None) == -1
    assert make_balancer(type, [(0, 0), (0, 1)], NAMES[:2]).pick("k", None) == -1


def test_measurements_outlive_a_configuration() -> None:
    loads: dict[str, Load] = {}
    old = make_balancer("least_conn", [(1, 0)] * 2, NAMES[:2], loads=loads)
    old.on_start(0)
    new = make_balancer("least_conn", [(1, 0)] * 2, [NAMES[2], NAMES[0]], loads=loads)
    assert new.pick(None, None) == 0
    new.on_start(0)
    new.on_start(0)
    assert new.pick(None, None) == 1
    assert new.pick(None, {0}) == 1
    old.on_finish(0, 0.1, True)  # what began before counts, and so does its end
    assert loads[NAMES[0]].active == 0
    assert new.pick(None, None) == 1
    assert old.pick(None, None) in (0, 1)


def test_unknown_type() -> None:
    with pytest.raises(ValueError, match="there is no balancer 'random': use one of roundrobin, chash"):
        make_balancer("random", [(1, 0)], ["a:1"])


def test_groups_by_priority_highest_first_without_weightless_nodes() -> None:
    loads = {"a:1": Load()}
    groups = members_of([(1, 0), (2, 5), (0, 5), (3, 0), (0, -1)], ["a:1", "b:1", "c:1", "d:1", "e:1"], loads)
    assert [[repr(member) for member in group] for group in groups] == [
        ["Member(1, 2, b:1)"],
        ["Member(0, 1, a:1)", "Member(3, 3, d:1)"],
    ]
    assert groups[1][0].load is loads["a:1"]
    assert sorted(loads) == ["a:1", "b:1", "d:1"]
