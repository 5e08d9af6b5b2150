"""Nodes that came back and take their part step by step (slow start)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from bascule.model.slow_start import SlowStart

STEPS = 50  # of the window
SHORTEST_S = 0.1


class Warming:
    """Of one upstream, over its versions. `plans()`: those alive; `loop`: has the clock, in seconds, and the timers."""

    __slots__ = ("_conf", "_loop", "_plans", "_since", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, plans: Callable[[], Iterable[Any]]) -> None:
        self._loop = loop
        self._plans = plans
        self._since: dict[str, float] = {}  # by node
        self._conf: SlowStart | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def nodes(self) -> frozenset[str]:
        return frozenset(self._since)

    def begin(self, names: Iterable[str]) -> None:
        """These nodes have just come back."""
        now = self._loop.time()
        for name in names if self._conf is not None else ():
            self._since[name] = now
        if self._since:
            self._step()

    def follow(self, conf: SlowStart | None) -> None:
        """The upstream's `slow_start` of its newest version; without one, nodes take their whole part at once."""
        self._conf = conf

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _step(self) -> None:
        self.stop()
        now = self._loop.time()
        factors = {
            name: 1.0 if self._conf is None else self._conf.factor(now - since) for name, since in self._since.items()
        }
        balancers = {id(plan.balancer): plan for plan in self._plans() if plan.balancer is not None}
        for plan in balancers.values():
            for index, node in enumerate(plan.upstream.nodes):
                factor = factors.get(node.name)
                if factor is not None:
                    plan.balancer.weigh(index, factor)
        self._since = {name: since for name, since in self._since.items() if factors[name] < 1.0}
        if self._since and self._conf is not None:
            self._timer = self._loop.call_later(max(SHORTEST_S, self._conf.window / STEPS), self._step)

    def __repr__(self) -> str:
        return f"<Warming {', '.join(sorted(self._since)) or 'nobody'}>"
