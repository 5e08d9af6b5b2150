"""Asks probes in time: each at its interval, spread out, and never many at once.

Equal probes of several upstreams are asked once. What waits for a slow node holds no place that a quick one needs:
nodes that didn't answer in time have fewer places, of their own.

What is new is asked at FIRST_PER_S, so that dead nodes are found soon; if that takes longer than the interval, within
the interval. From the second probe on each has its place in the interval, and the places are spread evenly: whatever
comes in however many steps, no more is asked in any moment than FIRST_PER_S, or what the intervals come to.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Protocol

from bascule.balance.node_health import Outcome
from bascule.control.health.probe import Probe
from bascule.control.health.questioner import Result

log = logging.getLogger("bascule.health")

AT_ONCE = 128
SLOW_AT_ONCE = 64
FIRST_PER_S = 500  # probes of nodes that nothing is known of yet
JITTER = 0.1
GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, are spread evenly, however many there are


class Watcher(Protocol):
    """Who wants to know: one node of one upstream. `places`: so many of the upstream's probes may be under way,
    `slow_places`: of nodes that gave no answer in time."""

    @property
    def places(self) -> asyncio.Semaphore: ...

    @property
    def slow_places(self) -> asyncio.Semaphore: ...

    @property
    def interval_s(self) -> float: ...

    def probed(self, result: Result) -> None: ...


class _Target:
    """`place`: in the interval, [0, 1). `settles_s`: the second probe comes then or later, at its place; 0: it has it
    already."""

    __slots__ = ("place", "probe", "settles_s", "slow", "task", "timer", "watchers")

    def __init__(self, probe: Probe, place: float) -> None:
        self.probe = probe
        self.place = place
        self.settles_s = 0.0
        self.watchers: dict[Watcher, None] = {}
        self.timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None
        self.slow = False

    @property
    def interval_s(self) -> float:
        return min(watcher.interval_s for watcher in self.watchers)

    def at_place(self, earliest_s: float, interval_s: float) -> float:
        """When its place comes next, in the loop's time."""
        return earliest_s + (self.place * interval_s - earliest_s) % interval_s

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if self.task is not None:
            self.task.cancel()


class Prober:
    """`ask` carries a probe out. To be used within a running loop."""

    def __init__(self, ask: Callable[[Probe], Awaitable[Result]], chance: random.Random | None = None) -> None:
        self._ask = ask
        self._chance = chance or random.Random()
        self._targets: dict[Probe, _Target] = {}
        self._quick = asyncio.Semaphore(AT_ONCE)
        self._slow = asyncio.Semaphore(SLOW_AT_ONCE)
        self._place = self._chance.random()
        self._new: list[_Target] = []
        self._front_s = 0.0  # until then first probes are planned, at FIRST_PER_S
        self._ending: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<prober of {len(self._targets)}>"

    def watch(self, probe: Probe, watcher: Watcher) -> None:
        """`watcher` is told from now on, until `forget`."""
        target = self._targets.get(probe)
        if target is not None:
            target.watchers[watcher] = None
            return
        self._place = (self._place + GOLDEN) % 1.0
        target = self._targets[probe] = _Target(probe, self._place)
        target.watchers[watcher] = None
        if not self._new:
            asyncio.get_running_loop().call_soon(self._plan)
        self._new.append(target)

    def forget(self, probe: Probe, watcher: Watcher) -> None:
        target = self._targets.get(probe)
        if target is None:
            return
        target.watchers.pop(watcher, None)
        if not target.watchers:
            del self._targets[probe]
            target.stop()

    def hurry(self, probe: Probe, delay_s: float) -> None:
        """The next probe comes after `delay_s` at the latest."""
        target = self._targets.get(probe)
        if target is None or target.timer is None or target.task is not None:
            return
        if target.timer.when() > asyncio.get_running_loop().time() + delay_s:
            target.timer.cancel()
            self._after(target, delay_s)

    async def close(self) -> None:
        targets = list(self._targets.values())
        self._targets.clear()
        for target in targets:
            target.stop()
        await asyncio.gather(*self._ending, return_exceptions=True)

    # ---- in time

    def _plan(self) -> None:
        """First probes of all that came in the same step."""
        new = [target for target in self._new if self._targets.get(target.probe) is target]
        self._new.clear()
        now_s = asyncio.get_running_loop().time()
        begin_s = max(self._front_s, now_s)
        self._front_s = end_s = begin_s + len(new) / FIRST_PER_S
        for number, target in enumerate(new, 1):
            interval_s = target.interval_s
            if end_s - now_s < interval_s:
                first_s = begin_s + number / FIRST_PER_S
                target.settles_s = max(end_s, first_s + interval_s / 2)
            else:
                first_s = target.at_place(now_s, interval_s)
            self._after(target, first_s - now_s)

    def _after(self, target: _Target, delay_s: float) -> None:
        target.timer = asyncio.get_running_loop().call_later(delay_s, self._due, target)

    def _due(self, target: _Target) -> None:
        probe = target.probe
        task = asyncio.get_running_loop().create_task(self._probe(target), name=f"probe {probe.host}:{probe.port}")
        target.task = task
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _probe(self, target: _Target) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        first = next(iter(target.watchers))
        if target.slow:
            async with first.slow_places, first.places, self._slow:
                result = await self._ask(target.probe)
        else:
            async with first.places, self._quick:
                result = await self._ask(target.probe)
        target.slow = result.outcome is Outcome.TIMEOUT
        for watcher in list(target.watchers):
            try:
                watcher.probed(result)
            except Exception:  # a mistake there must not end the probes
                log.exception("internal error after a probe of %s:%d", target.probe.host, target.probe.port)
        target.task = None
        if target.watchers and self._targets.get(target.probe) is target:
            interval_s = target.interval_s
            if target.settles_s:
                next_s = target.at_place(target.settles_s, interval_s)
                target.settles_s = 0.0
            else:
                next_s = due + interval_s * self._chance.uniform(1 - JITTER, 1 + JITTER)
            self._after(target, max(0.0, next_s - loop.time()))
