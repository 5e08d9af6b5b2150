import pytest

from bascule.plugin.kit.memory_host import MemoryCounters
from bascule.plugin.kit.version_stats import BINS, Bounds, SharedStats, VersionStats, bin_of, breach


def stats(requests: int, errors: int = 0, *seconds: float) -> VersionStats:
    bins = [0] * BINS
    for one in seconds:
        bins[bin_of(one)] += 1
    return VersionStats(requests, errors, bins)


@pytest.mark.parametrize("seconds", [0.0002, 0.003, 0.05, 0.7, 9.0, 80.0])
def test_a_quantile_is_exact_to_a_bin(seconds: float) -> None:
    found = stats(100, 0, *[seconds] * 100).quantile_s(0.95)
    assert found == pytest.approx(seconds, rel=0.15)


def test_quantiles_tell_slow_answers_from_quick_ones() -> None:
    mixed = stats(100, 0, *[0.001] * 90, *[0.5] * 10)
    assert mixed.quantile_s(0.5) == pytest.approx(0.001, rel=0.15)
    assert mixed.quantile_s(0.95) == pytest.approx(0.5, rel=0.15)
    assert stats(5).quantile_s(0.5) is None
    assert stats(1, 0, 5000.0).quantile_s(0.99) == pytest.approx(105, rel=0.15)
    assert bin_of(0) == 0


def test_counters_of_all_workers_add_up() -> None:
    counters = MemoryCounters(lambda: 0.0)
    one, other = (SharedStats(counters, "p/", 60) for _ in range(2))
    for _ in range(3):
        one.count(False, 0.01)
    other.count(True, None)
    assert one.requests == other.requests == 4
    read = other.read()
    assert (read.requests, read.errors, sum(read.bins)) == (4, 1, 3)
    total = SharedStats(counters, "q/", 60)
    total.take(read)
    total.take(read)
    assert total.read() == read + read


def test_errors_are_compared_with_those_of_the_stable_version() -> None:
    bounds = Bounds(error_rate_difference=0.05)
    assert breach(stats(100, 8), stats(100, 3), bounds) is None
    assert breach(stats(100, 9), stats(100, 3), bounds) == (
        "errors",
        "9.0% of 100 requests failed, of the stable version 3.0% of 100; the bound is 5.0% more",
    )
    assert breach(stats(100, 0), stats(100, 90), bounds) is None
    found = breach(stats(100, 6), stats(0), bounds)
    assert found is not None
    assert found[0] == "errors"
    assert breach(stats(100, 1), stats(100, 0), Bounds(error_rate_difference=0)) is not None
    assert breach(stats(100, 0), stats(100, 0), Bounds(error_rate_difference=0)) is None


def test_latency_is_compared_at_a_quantile() -> None:
    bounds = Bounds(latency_ratio=2, quantile=0.9, min_requests=10)
    quick, slow = stats(50, 0, *[0.05] * 50), stats(50, 0, *[0.2] * 50)
    found = breach(slow, quick, bounds)
    assert found is not None
    assert found[0] == "latency"
    assert found[1].startswith("90% of 50 answers took up to 2")
    assert breach(quick, slow, bounds) is None
    assert breach(slow, slow, bounds) is None
    assert breach(slow, stats(5, 0, *[0.05] * 5), bounds) is None, "too few to compare with"
    assert breach(slow, stats(50), bounds) is None
    assert breach(slow, quick, Bounds()) is None


def test_what_is_quick_anyway_is_never_too_slow() -> None:
    bounds = Bounds(latency_ratio=2, min_requests=10, latency_floor_s=0.02)
    assert breach(stats(50, 0, *[0.01] * 50), stats(50, 0, *[0.001] * 50), bounds) is None
