from typing import Any

from bascule.engine.node_breaker import NodeBreaker
from bascule.model.outlier_detection import NodeBreaker as NodeBreakerConf


def breaker(**conf: Any) -> NodeBreaker:
    return NodeBreaker(NodeBreakerConf.model_validate({"failures": 3, **conf}))


def test_opens_after_failures_within_the_window() -> None:
    one = breaker()
    assert [one.outcome("a:1", status, 0) for status in (500, 200, 0)] == [None] * 3
    assert one.outcome("a:1", 503, 9) == "breaker open for 10 s: 3 failures"
    assert (one.state("a:1"), one.state("b:1")) == ("open", "closed")


def test_failures_further_apart_do_not_open_it() -> None:
    one = breaker()
    assert [one.outcome("a:1", 500, now) for now in (0, 6, 12, 18)] == [None] * 4


def test_other_statuses() -> None:
    one = breaker(statuses=[429])
    assert [one.outcome("a:1", 500, 0) for _ in range(9)] == [None] * 9
    assert [bool(one.outcome("a:1", 429, 0)) for _ in range(3)] == [False, False, True]


def test_by_rate() -> None:
    one = breaker(failures=1000, error_rate={"percent": 20, "min_requests": 10})
    said = [one.outcome("a:1", 500 if n % 4 == 0 else 200, 0) for n in range(13)]
    assert said == [None] * 12 + ["breaker open for 10 s: too many of its requests failed"]


def test_half_open() -> None:
    one = breaker(successes=2)
    for _ in range(3):
        one.outcome("a:1", 0, 0)
    one.suspensions.probe("a:1", 10)
    assert one.state("a:1") == "half_open"
    assert one.outcome("a:1", 502, 10) == "breaker open for another 20 s: a request that probed it failed"
    assert one.state("a:1") == "open"
    one.suspensions.probe("a:1", 30)
    assert one.outcome("a:1", 200, 30) is None
    assert one.state("a:1") == "half_open"
    one.suspensions.probe("a:1", 30)
    assert one.outcome("a:1", 404, 30) == "breaker closed"
    assert [one.outcome("a:1", 500, 31) for _ in range(2)] == [None, None]


def test_nodes_that_are_gone() -> None:
    one = breaker()
    one.outcome("a:1", 0, 0)
    one.outcome("a:1", 0, 0)
    one.keep([])
    assert one.outcome("a:1", 0, 0) is None
    assert repr(one) == "<breaker <suspensions none>>"
