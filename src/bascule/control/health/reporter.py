"""In a worker: how requests went at nodes that are checked passively, told to the supervisor in batches.

The supervisor counts, for all workers together. Failures are always told; successes only of nodes that aren't plainly
healthy, so that traffic that goes well costs a look-up. What comes after a quiet time is told at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from bascule.balance.node_health import COUNTED, Outcome
from bascule.control.health.states import NodeNames, Reports
from bascule.engine.node_states import NodeStates
from bascule.model.health_check import PassiveCheck
from bascule.snapshot.compiled_upstream import CompiledUpstream

EVERY_S = 0.05
MOST_RUNS = 256  # of one node in one batch: it flaps, and more of the same would say no more
SOURCE = "health"
_SUCCESS = Outcome.SUCCESS
TIMEOUTS = frozenset((2, 4, 5))  # F_CONNECT_TIMEOUT, F_READ_TIMEOUT, F_SEND_TIMEOUT of engine/failure.pxd


class Judgement:
    """What an upstream's passive check makes of a try; kinds that don't count are left out."""

    __slots__ = ("failure", "statuses", "timeout")

    def __init__(self, check: PassiveCheck) -> None:
        good, bad = check.healthy, check.unhealthy
        self.statuses: dict[int, Outcome] = {}
        if check.type == "tcp":
            statuses_of: tuple[tuple[Any, int, Outcome], ...] = ((range(100, 600), good.successes, Outcome.SUCCESS),)
        else:
            statuses_of = (
                (bad.http_statuses, bad.http_failures, Outcome.HTTP_FAILURE),
                (good.http_statuses, good.successes, Outcome.SUCCESS),
            )
        for statuses, counts, outcome in statuses_of:
            if counts:
                self.statuses |= dict.fromkeys(statuses, outcome)
        self.failure = Outcome.TCP_FAILURE if bad.tcp_failures else None
        self.timeout = Outcome.TIMEOUT if bad.timeouts else None

    def of(self, status: int, reason: int) -> Outcome | None:
        """`status` 0: the try failed for this reason."""
        if status:
            return self.statuses.get(status)
        return self.timeout if reason in TIMEOUTS else self.failure


class HealthReporter:
    """`send(reports)` tells the supervisor; `states`: what it knew at this worker's start."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        node_states: NodeStates,
        send: Callable[[Reports], None],
        states: Mapping[str, NodeNames],
    ) -> None:
        self._loop = loop
        self._node_states = node_states
        self._send = send
        self.unsettled: dict[str, set[str]] = {}  # names of nodes, by upstream; always this object
        self._runs: dict[tuple[str, str], list[tuple[Outcome, int]]] = {}  # of each node, in their order
        self._timer: asyncio.TimerHandle | None = None
        self.take(states)

    def __repr__(self) -> str:
        return f"<health reporter: {len(self.unsettled)} upstreams with unsettled nodes>"

    def take(self, states: Mapping[str, NodeNames]) -> None:
        """What the supervisor tells of these upstreams."""
        for key, (unusable, unsettled) in states.items():
            if unsettled:
                self.unsettled[key] = set(unsettled)
            else:
                self.unsettled.pop(key, None)
            self._node_states.set(key, SOURCE, unusable)

    def watch(self, plan: Any) -> None:
        """A plan was made: its tries are told, if its upstream is checked passively."""
        upstream: CompiledUpstream = plan.upstream
        if upstream.passive is not None:
            plan.observers += (_Observer(self, upstream, Judgement(upstream.passive)),)

    def note(self, key: str, name: str, outcome: Outcome) -> None:
        unsettled = self.unsettled.get(key)
        if outcome is Outcome.SUCCESS:
            if unsettled is None or name not in unsettled:
                return
        elif unsettled is None:
            self.unsettled[key] = {name}
        else:
            unsettled.add(name)  # its successes count from now on
        runs = self._runs.setdefault((key, name), [])
        if runs and runs[-1][0] is outcome:
            runs[-1] = outcome, min(runs[-1][1] + 1, COUNTED)
        elif len(runs) < MOST_RUNS:
            runs.append((outcome, 1))
        if self._timer is None:
            self._tell()

    def _tell(self) -> None:
        """Now, and whatever comes meanwhile after a pause."""
        self._timer = None
        if self._runs:
            reports: Reports = {}
            for (key, name), runs in self._runs.items():
                reports.setdefault(key, []).extend((name, int(outcome), times) for outcome, times in runs)
            self._runs.clear()
            self._send(reports)
            self._timer = self._loop.call_later(EVERY_S, self._tell)


class _Observer:
    """Of one plan's tries, as engine/outcome.py tells them."""

    __slots__ = ("_judgement", "_key", "_names", "_reporter", "_statuses", "_unsettled")

    def __init__(self, reporter: HealthReporter, upstream: CompiledUpstream, judgement: Judgement) -> None:
        self._reporter = reporter
        self._key = upstream.key
        self._names = [node.name for node in upstream.nodes]
        self._judgement = judgement
        self._statuses = judgement.statuses
        self._unsettled = reporter.unsettled

    def outcome(self, plan: Any, node_index: int, status: int, reason: int, seconds: float) -> None:
        # What nearly all requests come to, in as few steps as can be.
        if status and self._statuses.get(status) is _SUCCESS and self._key not in self._unsettled:
            return
        outcome = self._judgement.of(status, reason)
        if outcome is not None:
            self._reporter.note(self._key, self._names[node_index], outcome)

    def cut(self, plan: Any, node_index: int, reason: int) -> None:
        """A response that has begun ended too early: the connection failed."""
        outcome = self._judgement.of(0, reason)
        if outcome is not None:
            self._reporter.note(self._key, self._names[node_index], outcome)
