"""Ejection and breakers at work: they hear of each try, say which nodes are passed over, and send the probes.

A guard is made for each upstream that asks for one, which then hears of each try; and for any other when a node of it
can't be connected to. The latter hears only of failures and of its probes, so that it costs next to nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from time import monotonic
from typing import Any

from bascule.engine.ejection import NO_CONNECTION, Ejector
from bascule.engine.node_breaker import NodeBreaker
from bascule.engine.node_states import NodeStates
from bascule.engine.suspension import Suspensions
from bascule.model.outlier_detection import BY_DEFAULT
from bascule.observe.metrics import Metrics

MANY = 1024  # upstreams; beyond, those that nothing is known of are forgotten
KEPT_S = 600.0  # so long what is known of an upstream that nobody uses is kept
TIDY_S = 60.0
REFUSED_HERE = 1  # F_CONNECT
NEVER_S = 1e9
SAID_EACH_S = 10.0  # that an upstream can serve nobody
# Gauges: name, help, labels.
OUT = (
    "bascule_node_out",
    "In how many workers a node is ejected, or its breaker open",
    ("upstream", "node", "state"),
)
EJECTED = ("bascule_node_ejected", "In how many workers a node is ejected, by reason", ("upstream", "node", "reason"))


class NodeGuard:
    """Of one upstream, over its versions: its plans' `guard`, and an observer of them where that was `asked_for`."""

    def __init__(self, guards: NodeGuards, key: str) -> None:
        self._guards = guards
        self.key = key
        self.ejector = Ejector(BY_DEFAULT)
        self.breaker: NodeBreaker | None = None
        self.asked_for = False
        self.unused_since_s: float | None = None
        self._quiet = 0
        self._nodes = 0

    def configure(self, upstream: Any) -> None:
        """Another version of the upstream: what is known of its nodes stays unless the rules change."""
        rules = upstream.outlier_detection or BY_DEFAULT
        self.asked_for = upstream.outlier_detection is not None or upstream.breaker is not None
        if rules != self.ejector.conf:
            self.ejector = Ejector(rules)
        if upstream.breaker is None:
            self.breaker = None
        elif self.breaker is None or self.breaker.conf != upstream.breaker:
            self.breaker = NodeBreaker(upstream.breaker)
        # Below this status a success changes nothing while nobody has failed; 0: every try counts.
        self._quiet = 500 if upstream.breaker is None else min(500, *upstream.breaker.statuses)
        self._nodes = sum(1 for node in upstream.nodes if node.weight > 0)
        breaker_rate = upstream.breaker is not None and upstream.breaker.error_rate is not None
        if rules.latency is not None or rules.error_rate is not None or breaker_rate:
            self._quiet = 0
        names = frozenset(node.name for node in upstream.nodes)
        self.ejector.keep(names)
        if self.breaker is not None:
            self.breaker.keep(names)

    def outcome(self, plan: Any, node_index: int, status: int, reason: int, seconds: float) -> None:
        """See engine/outcome.py's tell()."""
        if 0 < status < self._quiet and not self.ejector.streaks and not self.out:
            return
        node = plan.upstream.nodes[node_index]
        if status == 0 and reason == REFUSED_HERE and seconds == 0.0 and not node.host.startswith("unix:"):
            return  # no connection was even begun: that is not the node's fault
        now_s = self._guards.clock()
        nodes = self._nodes or sum(1 for one in plan.upstream.nodes if one.weight > 0)
        said = self.ejector.outcome(node.name, status, reason, now_s, nodes, seconds)
        told = self.breaker.outcome(node.name, status, now_s) if self.breaker is not None else None
        for sentence in filter(None, (said, told)):
            self._guards.log.warning("%s: node %s: %s", self.key, node.name, sentence)
        if said or told or any(node.name in part.out for part in self._parts()):
            self._guards.changed(self, node.name)

    def cut(self, plan: Any, node_index: int, reason: int) -> None:
        """See engine/outcome.py's tell_cut()."""
        name = plan.upstream.nodes[node_index].name
        nodes = self._nodes or sum(1 for one in plan.upstream.nodes if one.weight > 0)
        sentence = self.ejector.cut(name, self._guards.clock(), nodes)
        if sentence:
            self._guards.log.warning("%s: node %s: %s", self.key, name, sentence)
            self._guards.changed(self, name)

    def probe(self, plan: Any, tried: set[int] | None) -> int:
        """The index of a node that is due to be probed by the request at hand; -1: there is none."""
        now_s = self._guards.clock()
        for part in self._parts():
            for name in part.due(now_s):
                index = self._place(plan, name)
                if index == -1:
                    (self.ejector if part is self.ejector.suspensions else part).forget(name)
                    self._guards.changed(self, name)
                elif self._may_probe(plan, index, name, part, tried):
                    part.probe(name, now_s)
                    self._guards.changed(self, name)
                    return index
                else:
                    part.out[name].due_s = now_s + 1
        self.look_ahead()
        return -1

    def _may_probe(self, plan: Any, index: int, name: str, part: Suspensions, tried: set[int] | None) -> bool:
        """Not if this request was there already, another guard keeps it out, or better nodes than these serve."""
        if tried is not None and index in tried:
            return False
        if part is self.ejector.suspensions and name in self.kept_out():
            return False
        nodes = plan.upstream.nodes
        over = plan.passed_over
        return nodes[index].weight > 0 and not any(
            node.weight > 0 and node.priority > nodes[index].priority and i not in over for i, node in enumerate(nodes)
        )

    def closed_for(self, plan: Any) -> float:
        """Seconds until the first breaker lets a probe through; 0 unless breakers keep every node out."""
        kept_out = self.kept_out()
        if self.breaker is None or any(n.weight > 0 and n.name not in kept_out for n in plan.upstream.nodes):
            return 0.0
        seconds: float = self.breaker.suspensions.next_s() - self._guards.clock()
        return max(0.001, seconds)

    def look_ahead(self) -> None:
        """Tells the plans when to ask for a node to probe."""
        wait_s = min(part.next_s() for part in self._parts()) - self._guards.clock()
        due_us = int((monotonic() + min(wait_s, NEVER_S)) * 1e6)
        for plan in self._guards.states.plans(self.key):
            plan.probe_at = due_us

    @property
    def out(self) -> bool:
        """Whether any node is out."""
        return any(part.out for part in self._parts())

    def kept_out(self) -> Collection[str]:
        """Names of nodes that get nothing but probes, come what may."""
        return () if self.breaker is None else self.breaker.suspensions.out

    def names_out(self) -> set[str]:
        return {name for part in self._parts() for name in part.out}

    def states(self, name: str) -> dict[str, bool]:
        """What the metrics tell of a node."""
        breaker = "closed" if self.breaker is None else self.breaker.state(name)
        return {
            "ejected": name in self.ejector.suspensions.out,
            "open": breaker == "open",
            "half_open": breaker == "half_open",
        }

    def _parts(self) -> tuple[Suspensions, ...]:
        if self.breaker is None:
            return (self.ejector.suspensions,)
        return self.ejector.suspensions, self.breaker.suspensions

    @staticmethod
    def _place(plan: Any, name: str) -> int:
        return next((index for index, node in enumerate(plan.upstream.nodes) if node.name == name), -1)

    def __repr__(self) -> str:
        return f"<guard of {self.key}: {self.ejector!r} {self.breaker!r}>"


class NodeGuards:
    """One per engine. `adopt` is told of each new UpstreamPlan."""

    def __init__(
        self, states: NodeStates, metrics: Metrics, log: logging.Logger, clock: Callable[[], float] = monotonic
    ) -> None:
        self.states = states
        self.log = log
        self.clock = clock
        self._guards: dict[str, NodeGuard] = {}
        self._said: dict[tuple[str, str], float] = {}  # when it was
        self._tidy_at_s = 0.0
        self._gauge = metrics.gauge(*OUT)
        self._ejected = metrics.gauge(*EJECTED)
        self._reasons: dict[tuple[str, str], str] = {}  # as the metrics tell them

    def adopt(self, plan: Any) -> None:
        self._tidy()
        upstream = plan.upstream
        guard = self._guards.get(upstream.key)
        if guard is None:
            if upstream.outlier_detection is None and upstream.breaker is None:
                return
            guard = self._guard(upstream.key)
        before = guard.names_out()
        guard.configure(upstream)
        self._attach(guard, plan)
        for name in before:
            self._show(guard, name)
        self._tell(guard)

    def failed(self, plan: Any, node_index: int, reason: int, seconds: float) -> None:
        """A try failed at an upstream that asks for no guard; `seconds` as for an observer."""
        if plan.guard is None and (reason not in NO_CONNECTION or plan.upstream.outlier_detection is not None):
            return
        self._guard(plan.upstream.key).outcome(plan, node_index, 0, reason, seconds)

    def last_resort(self, plan: Any, tried: set[int]) -> int:
        """A node that is passed over, but for a breaker's, and that this request hasn't tried; -1: there is none."""
        firm = plan.guard.kept_out() if plan.guard is not None else ()
        index: int
        for index in sorted(plan.passed_over - tried):
            node = plan.upstream.nodes[index]
            if node.weight > 0 and node.name not in firm:
                return index
        return -1

    def unserved(self, key: str, reason: str) -> None:
        """A request finds no node: the error log says so, now and then."""
        now_s = self.clock()
        if now_s - self._said.get((key, reason), -NEVER_S) < SAID_EACH_S:
            return
        if len(self._said) >= MANY:
            self._said.clear()
        self._said[key, reason] = now_s
        self.log.error("%s: %s", key, reason)

    def changed(self, guard: NodeGuard, name: str) -> None:
        """A node of it went out, came back, or is probed."""
        self._show(guard, name)
        for plan in self.states.plans(guard.key):
            self._attach(guard, plan)
        self._tell(guard)

    def _tell(self, guard: NodeGuard) -> None:
        guard.look_ahead()
        breaker = guard.breaker
        self.states.set(guard.key, "ejected", frozenset(guard.ejector.suspensions.out))
        self.states.set(guard.key, "breaker", frozenset(breaker.suspensions.out if breaker else ()), firm=True)

    def _attach(self, guard: NodeGuard, plan: Any) -> None:
        """It is there where it is wanted, or while a node is out."""
        plan.guard = guard if guard.asked_for or guard.out else None
        if guard.asked_for != (guard in plan.observers):
            others = tuple(one for one in plan.observers if one is not guard)
            plan.observers = (*others, guard) if guard.asked_for else others

    def _show(self, guard: NodeGuard, name: str) -> None:
        states = guard.states(name)
        for state, holds in states.items():
            if any(states.values()):
                self._gauge.child((guard.key, name, state)).set(int(holds))
            else:  # nodes come and go: what is well needs no series
                self._gauge.remove((guard.key, name, state))
        before, reason = self._reasons.pop((guard.key, name), None), guard.ejector.reasons.get(name)
        if before is not None and before != reason:
            self._ejected.remove((guard.key, name, before))
        if reason is not None:
            self._reasons[guard.key, name] = reason
            self._ejected.child((guard.key, name, reason)).set(1)

    def _guard(self, key: str) -> NodeGuard:
        guard = self._guards.get(key)
        if guard is None:
            if len(self._guards) >= MANY:
                self._sweep()
            guard = self._guards[key] = NodeGuard(self, key)
        return guard

    def _sweep(self) -> None:
        """Forgets upstreams of which no node is out and that ask for nothing, or that are gone."""
        for key, guard in list(self._guards.items()):
            if not self._used(key) or not (guard.asked_for or guard.out):
                self._forget(guard)

    def _tidy(self) -> None:
        """Forgets upstreams that are gone, some time after."""
        now_s = self.clock()
        if now_s < self._tidy_at_s:
            return
        self._tidy_at_s = now_s + TIDY_S
        for key, guard in list(self._guards.items()):
            if self._used(key):
                guard.unused_since_s = None
            elif guard.unused_since_s is None:
                guard.unused_since_s = now_s
            elif now_s - guard.unused_since_s >= KEPT_S:
                self._forget(guard)

    def _used(self, key: str) -> bool:
        return any(True for _ in self.states.plans(key))

    def _forget(self, guard: NodeGuard) -> None:
        del self._guards[guard.key]
        names = guard.names_out()
        guard.ejector.keep(())
        if guard.breaker is not None:
            guard.breaker.keep(())
        self._tell(guard)
        for name in names:
            self._show(guard, name)

    def __repr__(self) -> str:
        return f"<guards of {len(self._guards)} upstreams>"
