"""A circuit breaker for each node of an upstream: closed, open, half open."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from bascule.engine.error_window import ErrorWindow
from bascule.engine.suspension import Suspensions
from bascule.model.outlier_detection import NodeBreaker as NodeBreakerConf


class NodeBreaker:
    """The nodes of one upstream, by name. Times are seconds of a monotonic clock."""

    def __init__(self, conf: NodeBreakerConf) -> None:
        self.conf = conf
        self.suspensions = Suspensions(conf.open, conf.max_open, conf.successes)
        self._statuses = frozenset(conf.statuses)
        self._failures: dict[str, deque[float]] = {}
        self._windows: dict[str, ErrorWindow] = {}

    def outcome(self, name: str, status: int, now_s: float) -> str | None:
        """Takes in how a try went (status 0: there was no answer). A sentence if that changes anything."""
        failed = status == 0 or status in self._statuses
        if name in self.suspensions.out:
            return self._probed(name, failed, now_s)
        often = False
        if self.conf.error_rate is not None:
            window = self._windows.get(name)
            if window is None:
                window = self._windows[name] = ErrorWindow(self.conf.error_rate)
            often = window.exceeds(failed, now_s)
        if not failed:
            return None
        times = self._failures.get(name)
        if times is None:
            times = self._failures[name] = deque(maxlen=self.conf.failures)
        times.append(now_s)
        if not often and (len(times) < self.conf.failures or now_s - times[0] > self.conf.window):
            return None
        self._failures.pop(name, None)
        self._windows.pop(name, None)
        cause = "too many of its requests failed" if often else f"{self.conf.failures} failures"
        return f"breaker open for {self.suspensions.suspend(name, now_s):g} s: {cause}"

    def _probed(self, name: str, failed: bool, now_s: float) -> str | None:
        if failed:
            seconds = self.suspensions.failed(name, now_s)
            return f"breaker open for another {seconds:g} s: a request that probed it failed" if seconds else None
        return "breaker closed" if self.suspensions.succeeded(name, now_s) else None

    def keep(self, names: Collection[str]) -> None:
        """The upstream has these nodes now: others are forgotten."""
        self.suspensions.keep(names)
        self._failures = {name: times for name, times in self._failures.items() if name in names}
        self._windows = {name: window for name, window in self._windows.items() if name in names}

    def state(self, name: str) -> str:
        """closed, open or half_open."""
        if name not in self.suspensions.out:
            return "closed"
        return "half_open" if self.suspensions.half_open(name) else "open"

    def __repr__(self) -> str:
        return f"<breaker {self.suspensions!r}>"
