"""Which nodes answer much more slowly than the others of their upstream.

Waits for answers are counted in classes, each a fifth longer than the one before, for this window of time and the last.
Now and then the percentile of each node is compared with the median of its peers': the same routes load all of them, so
that what is slow by nature is slow everywhere.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from math import log
from statistics import median

from bascule.model.outlier_detection import Latency

SHORTEST_S = 0.0001
STEP = 1.2
CLASSES = 90  # up to 20 minutes
LOOKS = 20  # in a window
LOOK_S = 0.1  # at the least between two
_SCALE = 1 / log(STEP)


class _Waits:
    """Of one node: how many fell into each class, in this window and in the last one."""

    __slots__ = ("counts", "last", "requests")

    def __init__(self) -> None:
        self.counts = [0] * CLASSES
        self.last: list[int] | None = None
        self.requests = 0  # of both

    def turn(self) -> bool:
        """Another window begins. Whether anything is left."""
        self.last = self.counts if any(self.counts) else None
        self.counts = [0] * CLASSES
        self.requests = sum(self.last or ())
        return self.last is not None

    def at(self, percentile: float) -> float:
        """Seconds that so many percent of the requests waited at most."""
        left = self.requests * percentile / 100
        last = self.last or self.counts
        factor = 1 if self.last else 0
        for number, count in enumerate(self.counts):
            left -= count + factor * last[number]
            if left <= 0:
                return seconds_of(number)
        return seconds_of(CLASSES - 1)


class LatencyWatch:
    """The nodes of one upstream, by name. Times are seconds of a monotonic clock."""

    def __init__(self, conf: Latency) -> None:
        self.conf = conf
        self.slow: dict[str, str] = {}  # nodes to be ejected, and why
        self._waits: dict[str, _Waits] = {}
        self._values: dict[str, float] = {}  # at the last look
        self._limits: dict[str, float] = {}  # of nodes that were slow
        self._turn_s = self._look_s = 0.0

    def note(self, name: str, seconds: float, now_s: float) -> None:
        """An answer of the node began after this time."""
        if now_s >= self._look_s:
            self._look(now_s)
        waits = self._waits.get(name)
        if waits is None:
            waits = self._waits[name] = _Waits()
        waits.counts[class_of(seconds)] += 1
        waits.requests += 1

    def as_others(self, name: str, seconds: float) -> bool:
        """Whether a node that was slow has answered as quickly as may be."""
        peers = [value for other, value in self._values.items() if other != name]
        return seconds <= (self._limit(median(peers)) if peers else self._limits.get(name, seconds))

    def forget(self, name: str) -> None:
        """It gets no requests: what comes later is measured anew."""
        self._waits.pop(name, None)
        self._values.pop(name, None)
        self.slow.pop(name, None)

    def keep(self, names: Collection[str]) -> None:
        """The upstream has these nodes now."""
        for name in (self._waits.keys() | self._limits.keys()) - set(names):
            self.forget(name)
            self._limits.pop(name, None)

    def _look(self, now_s: float) -> None:
        conf = self.conf
        if now_s >= self._turn_s:
            late = now_s - self._turn_s >= conf.window  # so long nothing came that even the last window is over
            self._waits = {name: waits for name, waits in self._waits.items() if waits.turn() and not late}
            self._turn_s = now_s + conf.window
        self._look_s = now_s + max(LOOK_S, conf.window / LOOKS)
        self._values = {
            name: waits.at(conf.percentile)
            for name, waits in self._waits.items()
            if waits.requests >= conf.min_requests
        }
        self.slow.clear()
        if len(self._values) < 2:
            return
        ordered = sorted(self._values.values())
        for name, value in self._values.items():
            if value > ordered[0]:
                peers = _median_without(ordered, value)
                limit = self._limit(peers)
                if value > limit:
                    self._limits[name] = limit
                    self.slow[name] = f"it takes {value:.3g} s to answer, the others {peers:.3g} s"

    def _limit(self, peers_s: float) -> float:
        return max(peers_s * self.conf.factor, peers_s + self.conf.margin)

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {value:.3g} s" for name, value in self._values.items())
        return f"<latency watch: {values or 'nothing known'}>"


def class_of(seconds: float) -> int:
    if seconds <= SHORTEST_S:
        return 0
    return min(CLASSES - 1, 1 + int(log(seconds / SHORTEST_S) * _SCALE))


def seconds_of(number: int) -> float:
    """The middle of a class."""
    return float(SHORTEST_S * STEP ** (number - 0.5)) if number else SHORTEST_S


def _median_without(ordered: list[float], value: float) -> float:
    """Of all but one that is this value."""
    left = len(ordered) - 1
    at = bisect_left(ordered, value)

    def nth(number: int) -> float:
        return ordered[number if number < at else number + 1]

    return (nth((left - 1) // 2) + nth(left // 2)) / 2
