"""How many of a node's requests failed within a window of time."""

from __future__ import annotations

from bascule.model.outlier_detection import ErrorRate


class ErrorWindow:
    """Counts of this window and the last one: a rate is taken over both, so that it doesn't begin from nothing."""

    __slots__ = ("_counts", "_last", "_rate", "_until_s")

    def __init__(self, rate: ErrorRate) -> None:
        self._rate = rate
        self._counts = [0, 0]  # requests, failures
        self._last = [0, 0]
        self._until_s = 0.0

    def exceeds(self, failed: bool, now_s: float) -> bool:
        """Counts one request; whether the rate is exceeded by now."""
        if now_s >= self._until_s:
            fresh = now_s - self._until_s < self._rate.window
            self._last = self._counts if fresh else [0, 0]
            self._counts = [0, 0]
            self._until_s = now_s + self._rate.window
        self._counts[0] += 1
        self._counts[1] += failed
        requests = self._counts[0] + self._last[0]
        failures = self._counts[1] + self._last[1]
        return failed and requests >= self._rate.min_requests and failures * 100 >= requests * self._rate.percent

    def __repr__(self) -> str:
        return f"<error window {self._counts[1]} of {self._counts[0]} failed>"
