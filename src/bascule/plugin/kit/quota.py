"""Counting against a quota in time windows: exact on this machine, in Redis, or here with a delayed sync to Redis.

A fixed window starts at its first use. A sliding window is estimated from two aligned ones: what was used in the
present one plus the share of the previous one that the window still covers, as if that had come evenly.

`take` returns (remaining, seconds until the window ends); remaining < 0 means that the quota is used up.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from bascule.plugin.host import Host, SharedCounters

Taken = tuple[int, float]
# What runs a Lua script in Redis: (script, keys, arguments) -> its answer.
RunScript = Callable[[str, Sequence[str], Sequence[int]], Awaitable[Any]]


class Quota(Protocol):
    def take(self, key: str, cost: int, limit: int, window_s: int) -> Taken | Awaitable[Taken]: ...


class FixedQuota:
    """Exact across the workers of this machine."""

    def __init__(self, counters: SharedCounters) -> None:
        self._incr = counters.incr

    def take(self, key: str, cost: int, limit: int, window_s: int) -> Taken:
        used, reset_s = self._incr(key, cost, window_s)
        # A refused request doesn't count: the limit may be larger at the next one. Just before its end the window is
        # left as it is, since what is given back would go to the next one.
        if used > limit and reset_s > 0.05:
            self._incr(key, -cost, window_s)
        return limit - used, reset_s


class SlidingQuota:
    """Across the workers of this machine, too."""

    def __init__(self, counters: SharedCounters, now: Callable[[], float]) -> None:
        self._counters = counters
        self._now = now

    def take(self, key: str, cost: int, limit: int, window_s: int) -> Taken:
        number, reset_s = position(self._now(), window_s)
        before = self._counters.get(f"{key}/{number - 1}")
        used, _ = self._counters.incr(f"{key}/{number}", cost, 2 * window_s)
        remaining = limit - sliding(before, used, reset_s / window_s)
        if remaining < 0:
            self._counters.incr(f"{key}/{number}", -cost, 2 * window_s)
        return remaining, reset_s


def position(now: float, window_s: int) -> tuple[int, float]:
    """(number of the aligned window, seconds until it ends)."""
    number = int(now // window_s)
    return number, (number + 1) * window_s - now


def sliding(before: int, used: int, share: float) -> int:
    """The use of a sliding window that still covers `share` of the previous window, rounded up."""
    return math.ceil(before * share - 1e-6) + used


# KEYS: counter. ARGV: cost, limit, window in ms. Answers the use with this request (not kept when over the limit) and
# the ms that are left.
FIXED_SCRIPT = """
local used = tonumber(redis.call('GET', KEYS[1]) or '0') + ARGV[1]
local left = redis.call('PTTL', KEYS[1])
if used > tonumber(ARGV[2]) then
  return {used, left}
end
redis.call('INCRBY', KEYS[1], ARGV[1])
if left < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  left = tonumber(ARGV[3])
end
return {used, left}
"""

# KEYS: counters of the present and of the previous window. ARGV: cost, limit, window in ms, ms until the window ends.
SLIDING_SCRIPT = """
local share = ARGV[4] / ARGV[3]
local before = tonumber(redis.call('GET', KEYS[2]) or '0')
local used = tonumber(redis.call('GET', KEYS[1]) or '0') + ARGV[1] + math.ceil(before * share - 0.000001)
if used <= tonumber(ARGV[2]) then
  redis.call('INCRBY', KEYS[1], ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[3] * 2)
end
return used
"""

# KEYS: counter. ARGV: what to add, ms to keep it. Answers the sum.
ADD_SCRIPT = """
local used = redis.call('INCRBY', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return used
"""


class RedisFixedQuota:
    """Exact across all gateways that use the Redis."""

    def __init__(self, run: RunScript) -> None:
        self._run = run

    async def take(self, key: str, cost: int, limit: int, window_s: int) -> Taken:
        used, left_ms = await self._run(FIXED_SCRIPT, (key,), (cost, limit, window_s * 1000))
        return limit - used, left_ms / 1000 if left_ms >= 0 else window_s


class RedisSlidingQuota:
    """Across all gateways that use the Redis, as far as their clocks agree."""

    def __init__(self, run: RunScript, now: Callable[[], float]) -> None:
        self._run = run
        self._now = now

    async def take(self, key: str, cost: int, limit: int, window_s: int) -> Taken:
        number, reset_s = position(self._now(), window_s)
        # The braces keep both counters in one slot of a cluster.
        keys = (f"{{{key}}}/{number}", f"{{{key}}}/{number - 1}")
        used = await self._run(SLIDING_SCRIPT, keys, (cost, limit, window_s * 1000, math.ceil(reset_s * 1000)))
        return limit - used, reset_s


_NONE = (0, 0.0)


class DelayedQuota:
    """Decides here at once, and tells Redis what was used every `interval_s`, learning what others used.

    Exact on this machine; what other gateways used is known as of the last sync, so that together they may exceed the
    limit by what comes in within an interval. Windows are aligned, so that all gateways mean the same one."""

    MAX_PENDING = 10_000  # keys that wait for a sync; more are decided by what is known here alone

    def __init__(self, host: Host, run: RunScript, interval_s: float, is_sliding: bool) -> None:
        self._host = host
        self._log: logging.Logger = host.log
        self._counters = host.counters
        self._run = run
        self._interval_s = interval_s
        self._sliding = is_sliding
        self._others: dict[tuple[str, int], tuple[int, float]] = {}  # (key, window number) -> used by others, over at
        self._pending: dict[tuple[str, int], tuple[int, int]] = {}  # -> (used here since the last sync, window_s)
        self._timer: Any = None
        self._saturated = False

    def take(self, key: str, cost: int, limit: int, window_s: int) -> Taken:
        number, reset_s = position(self._host.now(), window_s)
        used, _ = self._counters.incr(f"{key}/{number}", cost, 2 * window_s)
        used += self._others.get((key, number), _NONE)[0]
        if self._sliding:
            before = self._counters.get(f"{key}/{number - 1}") + self._others.get((key, number - 1), _NONE)[0]
            used = sliding(before, used, reset_s / window_s)
        counted = cost
        if used > limit:
            self._counters.incr(f"{key}/{number}", -cost, 2 * window_s)
            counted = 0
        self._enqueue((key, number), counted, window_s)
        return limit - used, reset_s

    def _enqueue(self, entry: tuple[str, int], cost: int, window_s: int) -> None:
        pending = self._pending.get(entry)
        if pending is None and len(self._pending) >= self.MAX_PENDING:
            if not self._saturated:
                self._log.warning("more than %d keys wait for a sync to Redis: the rest isn't shared", self.MAX_PENDING)
            self._saturated = True
            return
        self._pending[entry] = (cost + (pending[0] if pending else 0), window_s)
        if self._timer is None:
            self._timer = self._host.call_later(self._interval_s, self._start_sync)

    def _start_sync(self) -> None:
        self._timer = None
        self._saturated = False
        self._host.spawn(self.sync(), "quota sync")

    async def sync(self) -> None:
        """Sends what is pending; on a failure it stays pending until the next time."""
        waiting = list(self._pending.items())
        self._pending = {}
        now = self._host.now()
        for index, (entry, (cost, window_s)) in enumerate(waiting):
            key, number = entry
            over_at = (number + 2) * window_s  # not even a sliding window covers it then
            if over_at <= now:
                continue
            try:
                total = await self._run(ADD_SCRIPT, (f"{{{key}}}/{number}",), (cost, 2000 * window_s))
            except Exception as error:
                self._log.warning("failed to sync quotas to Redis: %s", error)
                for late, (late_cost, late_window_s) in waiting[index:]:
                    self._enqueue(late, late_cost, late_window_s)
                break
            # What the workers of this machine have sent is not others' use.
            sent, _ = self._counters.incr(f"{key}/{number}/sent", cost, 2 * window_s)
            self._others[entry] = (max(0, total - sent), over_at)
        if len(self._others) > 1000:
            self._others = {entry: known for entry, known in self._others.items() if known[1] > now}

    def close(self) -> None:
        """Sends the rest at once."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._host.spawn(self.sync(), "quota sync")
