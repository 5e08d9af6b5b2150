"""A release that proceeds by itself: its share grows step by step, or falls back to nothing.

All workers share its state, in counters under one prefix. What has happened is a counter that exists, and whoever makes
it, and so counts to 1, is the one that made it happen: no two workers take one step, and none can leave it half done.
Since when it exists is told by the counter's own window, whose clock all workers share. Under the prefix:

    N/begun/S       attempt N is at step S or later; S = number of steps: it is complete
    N/window        number of the window in which both versions are compared now
    N/closed/W      window W is over, the next one has begun; forgotten soon, since there are many
    N/good/S        how many windows of step S the canary was within its bounds
    N/back          attempt N was rolled back; its count tells why
    N/w/W/…         what was counted in window W; N/stable/… the stable version's of all windows that were closed
    alive/T         some worker ran this release in the T-th half minute: without that, an attempt is an old story
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bascule.plugin.host import SharedCounters
from bascule.plugin.kit.version_stats import Bounds, SharedStats, VersionStats, breach

KEPT_S = 6e7  # for ever, as counters go
ALIVE_S = 30.0
LONGEST_WINDOW = 10  # times its length, while it waits for requests
REASONS = ("errors", "latency")
SECOND_REASON = 1 << 20


class Step(NamedTuple):
    """`weight`: percent; `duration_s` None: stays so."""

    weight: float
    duration_s: float | None


class Event(NamedTuple):
    """What this worker made happen. `bad`: people should look at it."""

    sentence: str
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """`bounds` None: nothing is compared, time alone decides. `retry_after_s` None: what was rolled back stays so."""

    steps: Sequence[Step]
    bounds: Bounds | None
    window_s: float
    retry_after_s: float | None = None


class ProgressiveRelease:
    """One worker's view of it. `now`: wall clock, s."""

    def __init__(self, prefix: str, plan: Plan, counters: SharedCounters, now: Callable[[], float]) -> None:
        self._prefix = prefix
        self._plan = plan
        self._counters = counters
        self._now = now
        self.begun = False
        self._seen_alive = -1
        self._life_s = plan.window_s * 2 * LONGEST_WINDOW + 60  # of what belongs to one window
        self.attempt = 0
        self.step = 0
        self.weight = 0.0
        self.rolled_back: str | None = None  # the reason
        self.good = False  # at this step, as far as it was compared
        self._window = 0
        self._watched: tuple[str, ...] = ()
        self._stats: tuple[SharedStats, SharedStats] | None = None

    @property
    def state(self) -> str:
        """running, waiting (for requests to compare), complete or rolled_back"""
        if self.rolled_back is not None:
            return "rolled_back"
        if self.step >= len(self._plan.steps):
            return "complete"
        return "waiting" if self._step_is_over() else "running"

    @property
    def verdict(self) -> str:
        """errors, latency, good, or none so far"""
        return self.rolled_back or ("good" if self.good else "none")

    def follow(self) -> float:
        """The share of the canary now, in percent; for each request."""
        get = self._counters.get
        for key in self._watched:
            if get(key):
                self._catch_up()
                break
        return self.weight

    def count(self, canary: bool, failed: bool, seconds: float | None) -> None:
        """How a request went."""
        if self._stats is not None:
            self._stats[canary].count(failed, seconds)

    def check(self) -> list[Event]:
        """Judges, and goes on or back where it is time to. To be called again and again, by every worker."""
        events: list[Event] = []
        if not self.begun:
            self._begin(events)
        self._mark_alive()
        self._catch_up()
        if self.rolled_back is not None:
            self._retry(events)
        elif self.step < len(self._plan.steps):
            self._compare(events)
            if self.rolled_back is None and self._step_is_over() and (self._plan.bounds is None or self.good):
                self._go_on(events)
        return events

    # --- what happens

    def _begin(self, events: list[Event]) -> None:
        """A release that nobody ran for a while begins anew."""
        self.begun = True
        self._catch_up()
        known = self._counters.get(self._key("begun/0")) > 0
        alive = self._is_alive()
        self._mark_alive()
        if known and not alive:
            self._start(self.attempt + 1, "begins anew", events)
        elif not known:
            self._start(0, "begins", events)

    def _start(self, attempt: int, verb: str, events: list[Event]) -> None:
        if self._claim(f"{attempt}/begun/0"):
            events.append(Event(f"{verb}: {self._told(0)}"))
        self._catch_up()

    def _retry(self, events: list[Event]) -> None:
        after = self._plan.retry_after_s
        if after is not None and self._age_s(self._key("back")) >= after:
            self._start(self.attempt + 1, "tries again", events)

    def _compare(self, events: list[Event]) -> None:
        bounds, window_s = self._plan.bounds, self._plan.window_s
        if bounds is None or self._stats is None:
            return
        age_s = self._age_s(self._key(f"closed/{self._window - 1}"), self._life_s)
        if self._stats[True].requests < bounds.min_requests:
            if age_s >= window_s * LONGEST_WINDOW:
                self._close_window()
            return
        canary, stable = self._stats[True].read(), self._stats[False].read()
        base = stable if stable.requests >= bounds.min_requests else stable + self._stable_so_far().read()
        found = breach(canary, base, bounds)
        if found is not None:
            reason, numbers = found
            amount = SECOND_REASON if reason == "latency" else 1
            if self._counters.incr(self._key("back"), amount, KEPT_S)[0] == amount:
                events.append(Event(f"rolled back from {self._told(self.step)}: {numbers}", bad=True))
            self._catch_up()
        elif age_s >= window_s:
            self._close_window(stable)

    def _close_window(self, stable: VersionStats | None = None) -> None:
        """stable: of a window in which the canary was within its bounds."""
        if self._counters.incr(self._key(f"closed/{self._window}"), 1, self._life_s)[0] == 1:
            # Should this process end right here, the window goes on until that is forgotten.
            self._counters.incr(self._key("window"), 1, KEPT_S)
            if stable is not None:
                self._counters.incr(self._key(f"good/{self.step}"), 1, KEPT_S)
                self._stable_so_far().take(stable)
        self._catch_up()

    def _go_on(self, events: list[Event]) -> None:
        following = self.step + 1
        if self._claim(f"{self.attempt}/begun/{following}"):
            if following == len(self._plan.steps):
                events.append(Event(f"complete: {self._plan.steps[-1].weight:g}% of the requests from now on"))
            else:
                events.append(Event(f"goes on: {self._told(following)}"))
            self._close_window()  # what was counted at one weight says little of another
        self._catch_up()

    def _told(self, step: int) -> str:
        return f"step {step + 1} of {len(self._plan.steps)}, {self._plan.steps[step].weight:g}% of the requests"

    # --- the shared state

    def _catch_up(self) -> None:
        get, steps = self._counters.get, self._plan.steps
        while get(f"{self._prefix}{self.attempt + 1}/begun/0"):
            self.attempt += 1
            self.step = 0
        while self.step < len(steps) and get(self._key(f"begun/{self.step + 1}")):
            self.step += 1
        self._window = get(self._key("window"))
        back = get(self._key("back"))
        self.rolled_back = REASONS[back % SECOND_REASON == 0] if back else None
        self.good = get(self._key(f"good/{min(self.step, len(steps) - 1)}")) > 0
        self.weight = 0.0 if back else steps[min(self.step, len(steps) - 1)].weight
        watched = [f"{self._prefix}{self.attempt + 1}/begun/0"]
        if not back and self.step < len(steps):
            watched += [self._key("back"), self._key(f"begun/{self.step + 1}")]
        self._watched = tuple(watched)
        self._stats = None
        if self._plan.bounds is not None and not back and self.step < len(steps):
            stable, canary = (
                SharedStats(self._counters, self._key(f"w/{self._window}/{version}/"), self._life_s)
                for version in ("stable", "canary")
            )
            self._stats = (stable, canary)

    def _stable_so_far(self) -> SharedStats:
        return SharedStats(self._counters, self._key("stable/"), KEPT_S)

    def _step_is_over(self) -> bool:
        duration_s = self._plan.steps[self.step].duration_s
        return duration_s is not None and self._age_s(self._key(f"begun/{self.step}")) >= duration_s

    def _key(self, name: str) -> str:
        return f"{self._prefix}{self.attempt}/{name}"

    def _claim(self, name: str) -> bool:
        """Whether it happens now, and by this worker."""
        return self._counters.incr(f"{self._prefix}{name}", 1, KEPT_S)[0] == 1

    def _age_s(self, key: str, life_s: float = KEPT_S) -> float:
        """Since it was first asked for or made."""
        return life_s - self._counters.incr(key, 0, life_s)[1]

    def _is_alive(self) -> bool:
        lately = int(self._now() / ALIVE_S)
        return any(self._counters.get(f"{self._prefix}alive/{one}") for one in (lately - 1, lately, lately + 1))

    def _mark_alive(self) -> None:
        lately = int(self._now() / ALIVE_S)
        if lately != self._seen_alive:
            self._seen_alive = lately
            self._counters.incr(f"{self._prefix}alive/{lately}", 1, 4 * ALIVE_S)

    def __repr__(self) -> str:
        return f"<release attempt {self.attempt} step {self.step} {self.state} {self.weight:g}%>"
