import pytest

from bascule.balance.node_health import NodeHealth, Outcome, Status, Thresholds

GOOD, HTTP, TCP, LATE = Outcome
LIMITS = Thresholds(successes=2, http_failures=3, tcp_failures=2, timeouts=2)


def after(*outcomes: Outcome, limits: Thresholds = LIMITS) -> NodeHealth:
    health = NodeHealth()
    for outcome in outcomes:
        health.note(outcome, limits)
    return health


def test_it_starts_healthy_and_counts_no_success() -> None:
    health = NodeHealth()
    assert (health.status, health.usable, health.counts) == (Status.HEALTHY, True, [0, 0, 0, 0])
    assert not health.note(GOOD, LIMITS)
    assert health.counts == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("outcomes", "status", "counts"),
    [
        ((HTTP,), "mostly_healthy", [0, 1, 0, 0]),
        ((HTTP, HTTP, TCP, LATE), "mostly_healthy", [0, 2, 1, 1]),
        ((HTTP, HTTP, HTTP), "unhealthy", [0, 3, 0, 0]),
        ((TCP, TCP), "unhealthy", [0, 0, 2, 0]),
        ((LATE, LATE), "unhealthy", [0, 0, 0, 2]),
        ((HTTP, HTTP, GOOD), "mostly_healthy", [1, 0, 0, 0]),
        ((HTTP, HTTP, GOOD, HTTP), "mostly_healthy", [0, 1, 0, 0]),
        ((HTTP, GOOD, GOOD), "healthy", [2, 0, 0, 0]),
        ((TCP, TCP, TCP, HTTP), "unhealthy", [0, 0, 2, 0]),
        ((TCP, TCP, GOOD), "mostly_unhealthy", [1, 0, 0, 0]),
        ((TCP, TCP, GOOD, HTTP), "unhealthy", [0, 1, 0, 0]),
        ((TCP, TCP, GOOD, GOOD), "healthy", [2, 0, 0, 0]),
        ((TCP, TCP, GOOD, GOOD, TCP), "mostly_healthy", [0, 0, 1, 0]),
    ],
)
def test_counts_in_a_row(outcomes: tuple[Outcome, ...], status: str, counts: list[int]) -> None:
    health = after(*outcomes)
    assert (health.status, health.counts) == (status, counts)
    assert health.usable is (status in ("healthy", "mostly_healthy"))


def test_a_threshold_of_zero_switches_a_count_off() -> None:
    limits = Thresholds(successes=0, http_failures=0, tcp_failures=1, timeouts=0)
    health = NodeHealth()
    assert not health.note(HTTP, limits, times=254)
    assert not health.note(LATE, limits, times=254)
    assert health.note(TCP, limits)
    assert not health.note(GOOD, limits, times=254)
    assert (health.status, health.counts) == (Status.UNHEALTHY, [0, 0, 1, 0])


def test_many_at_once_are_as_many_one_by_one() -> None:
    health = NodeHealth()
    assert health.note(HTTP, LIMITS, times=3)
    assert health.status is Status.UNHEALTHY
    assert health.note(GOOD, LIMITS, times=2)
    assert (health.status, health.counts) == (Status.HEALTHY, [2, 0, 0, 0])
    health.note(HTTP, Thresholds(1, 254, 1, 1), times=10**6)
    assert health.counts == [0, 254, 0, 0]
    assert not health.note(GOOD, LIMITS, times=0)


def test_each_source_has_its_own_thresholds() -> None:
    health = after(HTTP, HTTP)
    assert health.note(HTTP, Thresholds(successes=5, http_failures=2, tcp_failures=1, timeouts=1))
    assert health.status is Status.UNHEALTHY
    health.note(GOOD, Thresholds(successes=5, http_failures=2, tcp_failures=1, timeouts=1))
    assert health.status is Status.MOSTLY_UNHEALTHY
    assert health.note(GOOD, LIMITS)


def test_on_trial_one_failure_is_enough() -> None:
    for failure in (HTTP, TCP, LATE):
        health = after(TCP, TCP)
        health.put_on_trial(LIMITS)
        assert (health.status, health.usable) == (Status.MOSTLY_HEALTHY, True)
        assert health.note(failure, LIMITS)
        assert not health.usable
    health.put_on_trial(LIMITS)
    assert not health.note(GOOD, LIMITS)
    assert health.note(GOOD, LIMITS)
    assert health.status is Status.HEALTHY


def test_it_shows_its_state() -> None:
    assert repr(after(HTTP)) == "<mostly_healthy [0, 1, 0, 0]>"
