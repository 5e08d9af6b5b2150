from bascule.balance.balancer import make_balancer
from tests.balance.shares import close, shares

NODES = [(1, 10), (3, 10), (1, 0), (1, -5), (0, 99)]
NAMES = [f"10.0.0.{i}:80" for i in range(5)]


def test_lower_groups_serve_only_when_the_higher_are_all_passed_over() -> None:
    balancer = make_balancer("roundrobin", NODES, NAMES)
    assert shares(balancer, 4000) == close({0: 0.25, 1: 0.75}, 0.005)
    for passed, expected in (({1}, 0), ({0, 1}, 2), ({0, 1, 2}, 3), ({0, 1, 2, 3}, -1)):
        balancer.pass_over(frozenset(passed))
        assert shares(balancer, 100) == {expected: 1.0}
        balancer.pass_over(frozenset())
        assert balancer.pick(None, passed) == expected


def test_passing_over_a_lower_node_does_not_disturb_the_higher() -> None:
    balancer = make_balancer("roundrobin", NODES, NAMES)
    assert [balancer.pick(None, {2}) for _ in range(4)] == [1, 0, 1, 1]


def test_notifications_reach_the_group_of_the_node() -> None:
    balancer = make_balancer("least_conn", [(1, 1), (1, 1), (1, 0), (1, 0)], NAMES[:4])
    balancer.on_start(0)
    assert [balancer.pick(None, None) for _ in range(3)] == [1, 1, 1]
    balancer.on_start(2)
    assert balancer.pick(None, {0, 1}) == 3
    assert repr(balancer).startswith("PriorityGroups(LeastConn(10.0.0.0:80=1, 10.0.0.1:80=0), LeastConn(")
    balancer.on_finish(0, 0.1, True)
    assert {balancer.pick(None, None) for _ in range(3)} == {0, 1}
