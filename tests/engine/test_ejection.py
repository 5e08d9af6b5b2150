import pytest

from bascule.engine.ejection import Ejector
from bascule.model.outlier_detection import BY_DEFAULT, OutlierDetection

CONNECT, CONNECT_TIMEOUT, CLOSED, READ_TIMEOUT, NO_ADDRESS = 1, 2, 3, 4, 7


@pytest.mark.parametrize("reason", [CONNECT, CONNECT_TIMEOUT, NO_ADDRESS])
def test_by_default_one_failed_connection_ejects(reason: int) -> None:
    one = Ejector(BY_DEFAULT)
    assert one.outcome("a:1", 0, reason, 0, 3) == "ejected for 10 s: no connection could be made"
    assert list(one.suspensions.out) == ["a:1"]


@pytest.mark.parametrize(("status", "reason"), [(500, 0), (503, 0), (0, CLOSED), (0, READ_TIMEOUT)])
def test_by_default_nothing_else_does(status: int, reason: int) -> None:
    one = Ejector(BY_DEFAULT)
    assert [one.outcome("a:1", status, reason, 0, 3) for _ in range(50)] == [None] * 50
    assert one.outcome("a:1", 0, CONNECT, 0, 3)


def test_the_last_node_stays() -> None:
    one = Ejector(BY_DEFAULT)
    assert one.outcome("a:1", 0, CONNECT, 0, 1) is None
    assert [bool(one.outcome(name, 0, CONNECT, 0, 3)) for name in ("a:1", "b:1", "c:1")] == [True, True, False]


def test_the_most_that_may_be_ejected() -> None:
    one = Ejector(OutlierDetection(consecutive_5xx=1, max_ejected_percent=40))
    assert [bool(one.outcome(f"{n}:1", 500, 0, 0, 5)) for n in range(5)] == [True, True, False, False, False]
    assert [bool(one.outcome(f"{n}:1", 0, CONNECT, 0, 5)) for n in (2, 3, 4)] == [True, True, False]
    one = Ejector(OutlierDetection(consecutive_5xx=1, max_ejected_percent=1))
    assert [bool(one.outcome(f"{n}:1", 500, 0, 0, 5)) for n in range(5)] == [True] + [False] * 4


def test_a_probe_decides() -> None:
    one = Ejector(BY_DEFAULT)
    one.outcome("a:1", 0, CONNECT, 0, 2)
    assert one.outcome("a:1", 0, CONNECT, 0.1, 2) is None  # several at once: one ejection
    one.suspensions.probe("a:1", 10)
    assert one.outcome("a:1", 0, CONNECT, 10, 2) == "ejected for another 20 s: a request that probed it failed"
    one.suspensions.probe("a:1", 30)
    assert one.outcome("a:1", 500, 0, 30, 2) == "back: a request to it succeeded"  # there was a connection
    assert one.suspensions.out == {}


@pytest.mark.parametrize(
    ("conf", "outcomes"),
    [
        ({"consecutive_5xx": 3}, [(500, 0), (0, CLOSED), (503, 0)]),
        ({"consecutive_gateway_errors": 2, "consecutive_5xx": 0}, [(500, 0), (502, 0), (200, 0), (503, 0), (0, 4)]),
        ({"consecutive_5xx": 3}, [(500, 0), (500, 0), (404, 0), (500, 0), (500, 0), (500, 0)]),
        ({"consecutive_connect_failures": 2}, [(0, CONNECT), (200, 0), (0, CONNECT), (0, CONNECT)]),
        ({"error_rate": {"min_requests": 4}}, [(500, 0), (200, 0), (200, 0), (500, 0)]),
    ],
)
def test_what_ejects(conf: dict[str, object], outcomes: list[tuple[int, int]]) -> None:
    one = Ejector(OutlierDetection.model_validate(conf))
    said = [one.outcome("a:1", status, reason, 0, 3) for status, reason in outcomes]
    assert said[:-1] == [None] * (len(said) - 1)
    assert said[-1] is not None
    assert said[-1].startswith("ejected for 10 s: ")


def test_responses_that_are_cut() -> None:
    """Their heads were successes; half of what began is enough."""
    one = Ejector(OutlierDetection(consecutive_gateway_errors=3))
    said = []
    for _ in range(3):
        one.outcome("a:1", 200, 0, 0, 3)
        said.append(one.cut("a:1", 0, 3))
    assert said == [None, None, "ejected for 10 s: 3 responses were cut"]
    assert one.cut("a:1", 0, 3) is None  # it began before


def test_cuts_among_many_good_ones_or_long_ago_do_not_eject() -> None:
    one = Ejector(OutlierDetection(consecutive_gateway_errors=2))
    assert one.cut("a:1", 0, 3) is None
    for _ in range(10):
        one.outcome("a:1", 200, 0, 0, 3)
    assert one.cut("a:1", 1, 3) is None
    assert one.cut("a:1", 20, 3) is None
    assert one.cut("a:1", 21, 3) == "ejected for 10 s: 2 responses were cut"
    assert Ejector(BY_DEFAULT).cut("a:1", 0, 3) is None


def test_nodes_that_are_gone() -> None:
    one = Ejector(OutlierDetection())
    for name in ("a:1", "b:1"):
        for _ in range(4):
            one.outcome(name, 500, 0, 0, 3)
    one.keep(["b:1"])
    assert one.outcome("a:1", 500, 0, 0, 3) is None
    assert one.outcome("b:1", 500, 0, 0, 3)


def timed(conf: dict[str, object] | None = None) -> Ejector:
    """Which has heard of four answers of each of five nodes, a slow one among them, and is about to look."""
    one = Ejector(OutlierDetection.model_validate({"latency": {"min_requests": 4, **(conf or {})}}))
    for name in "abcd":
        for _ in range(4):
            assert one.outcome(name, 200, 0, 1, 5, 0.1) is None
    return one


def test_slow_answers_eject() -> None:
    one = timed()
    for number in range(4):
        # Errors come quickly, and an answer that never came is a slow one.
        assert one.outcome("a", 500, 0, 1, 5, 0.001) is None
        assert one.outcome("slow", *((200, 0) if number else (0, READ_TIMEOUT)), 1, 5, 0.9) is None
    said = one.outcome("slow", 200, 0, 2, 5, 0.9)
    assert said is not None
    assert said.startswith("ejected for 10 s: it takes 0.")
    assert one.reasons == {"slow": "latency"}
    # What was under way before brings nothing about.
    assert one.outcome("slow", 200, 0, 2, 5, 0.1) is None
    assert one.outcome("slow", 0, CLOSED, 2, 5, 0.1) is None
    one.suspensions.probe("slow", 12)
    assert one.outcome("slow", 200, 0, 12, 5, 0.8) == "ejected for another 20 s: a request that probed it was slow, too"
    one.suspensions.probe("slow", 32)
    assert one.outcome("slow", 500, 0, 32, 5, 0.1) == "ejected for another 40 s: a request that probed it was slow, too"
    one.suspensions.probe("slow", 72)
    assert one.outcome("slow", 200, 0, 72, 5, 0.1) == "back: a request to it succeeded"
    assert one.reasons == {}


def test_slow_nodes_are_ejected_within_the_bound() -> None:
    one = timed()
    one.outcome("d", 0, CONNECT, 1, 5)
    one.outcome("c", 0, CONNECT, 1, 5)
    for _ in range(4):
        one.outcome("slow", 200, 0, 1, 5, 0.9)
    assert one.outcome("slow", 200, 0, 2, 5, 0.9) is None  # more than half of the nodes would be out
    one.suspensions.probe("d", 11)
    assert one.outcome("d", 200, 0, 11, 5, 0.1) == "back: a request to it succeeded"
    assert one.outcome("slow", 200, 0, 11.2, 5, 0.9) is not None
    one.keep(["a"])
    assert one.reasons == {}
    one.outcome("a", 0, CONNECT, 12, 5)
    assert one.reasons == {"a": "connect"}
    one.forget("a")
    assert one.reasons == {}
