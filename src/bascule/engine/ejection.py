"""Outlier detection: which nodes of an upstream fail so often, or are so slow, that they are left out for a while."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from bascule.engine.error_window import ErrorWindow
from bascule.engine.latency_watch import LatencyWatch
from bascule.engine.suspension import Suspensions
from bascule.model.outlier_detection import OutlierDetection

# Reasons of engine/failure.pxd.
NO_CONNECTION = frozenset({1, 2, 7})
READ_TIMEOUT = 4
CUTS_S = 10.0  # in which cut responses are counted
GATEWAY_ERRORS = frozenset({502, 503, 504})


class Cause(NamedTuple):
    """Why a node is ejected: a word for metrics, a sentence for people."""

    reason: str
    sentence: str


UNREACHABLE = Cause("connect", "no connection could be made")
TOO_MANY = Cause("error_rate", "too many of its requests failed")


class _Streak:
    """Failures of a node in a row, by kind."""

    __slots__ = ("connect", "cuts", "gateway", "heads", "server", "since_s", "window")

    def __init__(self, window: ErrorWindow | None) -> None:
        self.connect = self.gateway = self.server = 0
        self.window = window
        self.cuts = self.heads = 0  # responses that were cut, and that began, since since_s
        self.since_s = -CUTS_S

    def cut(self, now_s: float) -> None:
        if now_s - self.since_s > CUTS_S:
            self.since_s = now_s
            self.cuts = self.heads = 0
        self.cuts += 1


class Ejector:
    """The nodes of one upstream, by name. Times are seconds of a monotonic clock."""

    def __init__(self, conf: OutlierDetection) -> None:
        self.conf = conf
        self.suspensions = Suspensions(conf.base_ejection_time, conf.max_ejection_time)
        self.streaks: dict[str, _Streak] = {}  # of nodes that failed last, or are watched by their rate
        self.reasons: dict[str, str] = {}  # of nodes that are out
        self.latency = None if conf.latency is None else LatencyWatch(conf.latency)

    def outcome(
        self, name: str, status: int, reason: int, now_s: float, nodes: int, seconds: float = 0.0
    ) -> str | None:
        """Takes in how a try went (status 0: it failed for that reason), and how long its answer took. A sentence if
        that changes anything. `nodes`: how many the upstream has that may get requests."""
        failed = status == 0 or status >= 500
        if name in self.suspensions.out:
            if self.reasons.get(name) == "latency":
                return self._timed(name, failed, seconds, now_s)
            return self._probed(name, reason in NO_CONNECTION if self._connects_only else failed, now_s)
        if self.latency is not None and (not failed or reason == READ_TIMEOUT):  # quick errors don't make it quick
            self.latency.note(name, seconds, now_s)
            slow = self.latency.slow.pop(name, None)
            if slow is not None:
                return self._eject(name, Cause("latency", slow), now_s, nodes)
        if not failed and name not in self.streaks and self.conf.error_rate is None:
            return None
        streak = self._streak(name)
        streak.heads += status > 0
        cause = self._cause(streak, status, reason, now_s)
        if cause is not None:
            return self._eject(name, cause, now_s, nodes)
        if not failed and streak.window is None and now_s - streak.since_s > CUTS_S:
            del self.streaks[name]
        return None

    def cut(self, name: str, now_s: float, nodes: int) -> str | None:
        """A response was cut, whose beginning was taken in as a success. Half of them cut, and as many as there may be
        gateway errors in a row, eject the node."""
        if name in self.suspensions.out:
            return None  # it began before
        streak = self._streak(name)
        streak.cut(now_s)
        most = self.conf.consecutive_gateway_errors
        if not most or streak.cuts < most or 2 * streak.cuts < streak.heads:
            return None
        return self._eject(name, Cause("cut", f"{streak.cuts} responses were cut"), now_s, nodes)

    def _streak(self, name: str) -> _Streak:
        streak = self.streaks.get(name)
        if streak is None:
            streak = self.streaks[name] = _Streak(ErrorWindow(self.conf.error_rate) if self.conf.error_rate else None)
        return streak

    def _eject(self, name: str, cause: Cause, now_s: float, nodes: int) -> str | None:
        out = len(self.suspensions.out)
        # One node may always be ejected, where there is another.
        limited = out > 0 and cause is not UNREACHABLE
        if out + 1 >= nodes or (limited and (out + 1) * 100 > nodes * self.conf.max_ejected_percent):
            return None
        self.streaks.pop(name, None)
        if self.latency is not None:
            self.latency.forget(name)
        self.reasons[name] = cause.reason
        seconds = self.suspensions.suspend(name, now_s)
        return f"ejected for {seconds:g} s: {cause.sentence}"

    def keep(self, names: Collection[str]) -> None:
        """The upstream has these nodes now: others are forgotten."""
        self.suspensions.keep(names)
        self.streaks = {name: streak for name, streak in self.streaks.items() if name in names}
        self.reasons = {name: reason for name, reason in self.reasons.items() if name in self.suspensions.out}
        if self.latency is not None:
            self.latency.keep(names)

    def forget(self, name: str) -> None:
        """A node that is out is no longer there."""
        self.suspensions.forget(name)
        self.reasons.pop(name, None)

    @property
    def _connects_only(self) -> bool:
        conf = self.conf
        return not conf.consecutive_5xx and not conf.consecutive_gateway_errors and conf.error_rate is None

    def _timed(self, name: str, failed: bool, seconds: float, now_s: float) -> str | None:
        """As _probed, of a node that was slow: requests that were under way before say nothing."""
        if not self.suspensions.out[name].probing or self.latency is None:
            return None
        return self._probed(name, failed or not self.latency.as_others(name, seconds), now_s)

    def _probed(self, name: str, failed: bool, now_s: float) -> str | None:
        if not failed:
            if not self.suspensions.succeeded(name, now_s):
                return None
            self.reasons.pop(name, None)
            return "back: a request to it succeeded"
        seconds = self.suspensions.failed(name, now_s)
        what = "was slow, too" if self.reasons.get(name) == "latency" else "failed"
        return f"ejected for another {seconds:g} s: a request that probed it {what}" if seconds else None

    def _cause(self, streak: _Streak, status: int, reason: int, now_s: float) -> Cause | None:
        """Counts the try; why the node is to go, if it is."""
        conf = self.conf
        failed = status == 0 or status >= 500
        streak.connect = streak.connect + 1 if status == 0 and reason in NO_CONNECTION else 0
        streak.gateway = streak.gateway + 1 if status == 0 or status in GATEWAY_ERRORS else 0
        streak.server = streak.server + 1 if failed else 0
        often = streak.window is not None and streak.window.exceeds(failed, now_s)
        if conf.consecutive_connect_failures and streak.connect >= conf.consecutive_connect_failures:
            return UNREACHABLE
        if conf.consecutive_gateway_errors and streak.gateway >= conf.consecutive_gateway_errors:
            return Cause("gateway_errors", f"{streak.gateway} gateway errors in a row")
        if conf.consecutive_5xx and streak.server >= conf.consecutive_5xx:
            return Cause("5xx", f"{streak.server} failures in a row")
        return TOO_MANY if often else None

    def __repr__(self) -> str:
        return f"<ejector {self.suspensions!r}>"
