"""What is known of one node's health: outcomes are counted, and thresholds say what they come to.

Successes and failures are counted in a row: a success clears the counts of failures, a failure that of successes. A
healthy node counts no successes and an unhealthy one no failures, for they say nothing new.

    healthy ── a failure ──▶ mostly_healthy ── enough failures of one kind ──▶ unhealthy
       ▲                          │                                              │  ▲
       └──── enough successes ────┴──── mostly_unhealthy ◀── a success ──────────┘  │
                    ▲                      │   └────────── a failure ───────────────┘
                    └──────────────────────┘
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

COUNTED = 254  # thresholds reach so far


class Outcome(IntEnum):
    """Of one probe, or of one try of a request."""

    SUCCESS = 0
    HTTP_FAILURE = 1
    TCP_FAILURE = 2
    TIMEOUT = 3


class Status(StrEnum):
    HEALTHY = "healthy"
    MOSTLY_HEALTHY = "mostly_healthy"
    UNHEALTHY = "unhealthy"
    MOSTLY_UNHEALTHY = "mostly_unhealthy"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """So many in a row decide; 0: outcomes of this kind don't count."""

    successes: int
    http_failures: int
    tcp_failures: int
    timeouts: int

    def of(self, outcome: Outcome) -> int:
        return (self.successes, self.http_failures, self.tcp_failures, self.timeouts)[outcome]


class NodeHealth:
    """Starts healthy. Outcomes of probes and of requests share the counts; each source has its own thresholds."""

    __slots__ = ("counts", "status")

    def __init__(self) -> None:
        self.status = Status.HEALTHY
        self.counts = [0, 0, 0, 0]  # by Outcome

    def __repr__(self) -> str:
        return f"<{self.status} {self.counts}>"

    @property
    def usable(self) -> bool:
        """Whether the node is to get requests."""
        return self.status is Status.HEALTHY or self.status is Status.MOSTLY_HEALTHY

    def note(self, outcome: Outcome, thresholds: Thresholds, times: int = 1) -> bool:
        """So many outcomes of one kind in a row; whether the status is another one now."""
        before = self.status
        threshold = thresholds.of(outcome)
        if threshold and times > 0:
            if outcome is Outcome.SUCCESS:
                self._succeed(threshold, min(times, COUNTED))
            else:
                self._fail(outcome, threshold, min(times, COUNTED))
        return self.status is not before

    def _succeed(self, threshold: int, times: int) -> None:
        if self.status is Status.HEALTHY:
            return
        self.counts = [min(self.counts[0] + times, COUNTED), 0, 0, 0]
        if self.counts[0] >= threshold:
            self.status = Status.HEALTHY
        elif self.status is Status.UNHEALTHY:
            self.status = Status.MOSTLY_UNHEALTHY

    def _fail(self, outcome: Outcome, threshold: int, times: int) -> None:
        if self.status is Status.UNHEALTHY:
            return
        counts = self.counts
        counts[0] = 0
        counts[outcome] = min(counts[outcome] + times, COUNTED)
        if not self.usable or counts[outcome] >= threshold:
            self.status = Status.UNHEALTHY
        else:
            self.status = Status.MOSTLY_HEALTHY

    def put_on_trial(self, thresholds: Thresholds) -> None:
        """An unhealthy node gets requests again although nothing good was seen of it: the next failure is enough."""
        self.status = Status.MOSTLY_HEALTHY
        self.counts = [0, *(max(0, thresholds.of(kind) - 1) for kind in Outcome if kind)]
