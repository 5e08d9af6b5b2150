"""How two versions of a service did in a window: counted by all workers together, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp2, log2

from bascule.plugin.host import SharedCounters

# Latencies are counted in bins whose bounds grow by 2**(1/5), from 0.1 ms to 105 s: a quantile is exact to 7%.
BINS_PER_DOUBLING = 5
BINS = 101
SMALLEST_S = 0.0001


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a new version may be worse by. `latency_ratio` None: its latency doesn't matter."""

    error_rate_difference: float = 0.05
    latency_ratio: float | None = None
    quantile: float = 0.95
    latency_floor_s: float = 0.01  # a latency below is never too high
    min_requests: int = 50


@dataclass(frozen=True, slots=True)
class VersionStats:
    requests: int
    errors: int
    bins: Sequence[int]  # answers by latency

    @property
    def error_rate(self) -> float:
        return self.errors / self.requests if self.requests else 0.0

    def quantile_s(self, share: float) -> float | None:
        """The latency that this share of the answers stayed below; None without answers."""
        left = share * sum(self.bins)
        if left <= 0:
            return None
        for index, count in enumerate(self.bins):
            if count >= left:
                return SMALLEST_S * exp2((index + left / count) / BINS_PER_DOUBLING)
            left -= count
        return SMALLEST_S * exp2(BINS / BINS_PER_DOUBLING)

    def __add__(self, other: VersionStats) -> VersionStats:
        bins = [mine + theirs for mine, theirs in zip(self.bins, other.bins, strict=True)]
        return VersionStats(self.requests + other.requests, self.errors + other.errors, bins)


class SharedStats:
    """The counters of one version in one window, under a prefix. Each lives `life_s` from its first use on."""

    __slots__ = ("_counters", "_errors", "_life_s", "_prefix", "_requests")

    def __init__(self, counters: SharedCounters, prefix: str, life_s: float) -> None:
        self._counters = counters
        self._prefix = prefix
        self._life_s = life_s
        self._requests = f"{prefix}requests"
        self._errors = f"{prefix}errors"

    def count(self, failed: bool, seconds: float | None) -> None:
        """One request; seconds None: there was no answer to measure."""
        incr, life_s = self._counters.incr, self._life_s
        incr(self._requests, 1, life_s)
        if failed:
            incr(self._errors, 1, life_s)
        if seconds is not None:
            incr(f"{self._prefix}{bin_of(seconds)}", 1, life_s)

    def take(self, stats: VersionStats) -> None:
        """Adds all of it."""
        self._counters.incr(self._requests, stats.requests, self._life_s)
        self._counters.incr(self._errors, stats.errors, self._life_s)
        for index, count in enumerate(stats.bins):
            if count:
                self._counters.incr(f"{self._prefix}{index}", count, self._life_s)

    @property
    def requests(self) -> int:
        return self._counters.get(self._requests)

    def read(self) -> VersionStats:
        get = self._counters.get
        bins = [get(f"{self._prefix}{index}") for index in range(BINS)]
        return VersionStats(get(self._requests), get(self._errors), bins)


def bin_of(seconds: float) -> int:
    if seconds <= SMALLEST_S:
        return 0
    return min(BINS - 1, int(log2(seconds / SMALLEST_S) * BINS_PER_DOUBLING))


def breach(canary: VersionStats, stable: VersionStats, bounds: Bounds) -> tuple[str, str] | None:
    """("errors" or "latency", a sentence with the numbers), or None when the canary is within its bounds."""
    worse = canary.error_rate - stable.error_rate
    if canary.errors and worse > bounds.error_rate_difference:
        return "errors", (
            f"{canary.error_rate:.1%} of {canary.requests} requests failed, of the stable version "
            f"{stable.error_rate:.1%} of {stable.requests}; the bound is {bounds.error_rate_difference:.1%} more"
        )
    if bounds.latency_ratio is None:
        return None
    slow, usual = canary.quantile_s(bounds.quantile), stable.quantile_s(bounds.quantile)
    if slow is None or usual is None or stable.requests < bounds.min_requests or slow <= bounds.latency_floor_s:
        return None
    if slow > usual * bounds.latency_ratio:
        return "latency", (
            f"{bounds.quantile:.0%} of {canary.requests} answers took up to {slow * 1000:.1f} ms, of the stable "
            f"version's {usual * 1000:.1f} ms; the bound is {bounds.latency_ratio:g} times that"
        )
    return None
