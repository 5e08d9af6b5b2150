from bascule.engine.suspension import Suspensions


def test_twice_as_long_each_time() -> None:
    one = Suspensions(10, 60)
    assert one.suspend("a:1", 0) == 10
    assert (one.due(9.9), one.due(10), one.next_s()) == ([], ["a:1"], 10)
    now, lengths = 10.0, []
    for _ in range(4):
        one.probe("a:1", now)
        lengths.append(one.failed("a:1", now))
        now += lengths[-1]
    assert lengths == [20, 40, 60, 60]


def test_only_the_probe_counts() -> None:
    one = Suspensions(10, 60)
    one.suspend("a:1", 0)
    assert one.failed("a:1", 1) == 0
    assert one.due(10) == ["a:1"]
    one.probe("a:1", 10)
    assert one.due(10) == []
    assert one.due(20) == ["a:1"]  # nothing was heard of it: another one


def test_several_successes() -> None:
    one = Suspensions(10, 60, 2)
    one.suspend("a:1", 0)
    assert not one.succeeded("a:1", 5)  # was under way before
    one.probe("a:1", 10)
    assert one.half_open("a:1")
    assert not one.succeeded("a:1", 11)
    assert one.due(11) == ["a:1"]
    one.probe("a:1", 11)
    assert one.succeeded("a:1", 12)
    assert one.out == {}


def test_a_node_that_comes_back_for_long_starts_anew() -> None:
    one = Suspensions(10, 60)
    for now, seconds in ((0, 10), (30, 20), (60, 40), (500, 10)):
        assert one.suspend("a:1", now) == seconds
        one.probe("a:1", now + 10)
        assert one.succeeded("a:1", now + 10)


def test_nodes_that_are_gone() -> None:
    one = Suspensions(10, 60)
    one.suspend("a:1", 0)
    one.suspend("b:1", 0)
    one.keep(["b:1"])
    assert list(one.out) == ["b:1"]
    assert repr(one) == "<suspensions b:1 10s>"
