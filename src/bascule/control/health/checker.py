"""One upstream that is checked: its nodes, what is known of each, and which are to be passed over."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from bascule.balance.node_health import NodeHealth, Outcome, Thresholds
from bascule.control.health.memories import Memories, Memory, fingerprint
from bascule.control.health.probe import Probe, probe_of
from bascule.control.health.prober import Prober
from bascule.control.health.questioner import Result
from bascule.control.health.states import Report
from bascule.model.health_check import ActiveCheck, PassiveCheck
from bascule.model.upstream import Upstream
from bascule.snapshot.compiled_upstream import Node

log = logging.getLogger("bascule.health")

LONGEST_TRIAL_PAUSE_S = 300.0


def active_thresholds(check: ActiveCheck) -> Thresholds:
    bad = check.unhealthy
    return Thresholds(check.healthy.successes, bad.http_failures, bad.tcp_failures, bad.timeouts)


def passive_thresholds(check: PassiveCheck) -> Thresholds:
    bad = check.unhealthy
    return Thresholds(check.healthy.successes, bad.http_failures, bad.tcp_failures, bad.timeouts)


class CheckedNode:
    """One node. It is the prober's watcher."""

    __slots__ = ("_checker", "health", "node", "probe", "reason", "relapses", "since", "trial")

    def __init__(self, checker: Checker, node: Node) -> None:
        self._checker = checker
        self.node = node
        self.probe: Probe | None = None
        self.health = NodeHealth()
        self.reason = ""
        self.since = datetime.now(UTC)
        self.trial: asyncio.TimerHandle | None = None
        self.relapses = 0

    @property
    def places(self) -> asyncio.Semaphore:
        return self._checker.places

    @property
    def slow_places(self) -> asyncio.Semaphore:
        return self._checker.slow_places

    @property
    def interval_s(self) -> float:
        active = self._checker.active
        if active is None:
            return 1.0
        return float((active.healthy if self.health.usable else active.unhealthy).interval)

    def probed(self, result: Result) -> None:
        self._checker.probed(self, result)

    def memory(self) -> Memory:
        """For the next gateway."""
        trial_at = None
        if self.trial is not None:
            trial_at = time.time() + self.trial.when() - asyncio.get_running_loop().time()
        counts = tuple(self.health.counts)
        return Memory(self.health.status, counts, self.reason, self.since, self.relapses, trial_at)


class Checker:
    """`name`: as the Control API and the metrics name it; `changed(checker)` is called when workers must be told
    something; `counted(checker, kind)` with each probe that was carried out;
    `address_of` gives the address of a host that is a name, if one is known."""

    def __init__(
        self,
        name: str,
        upstream: Upstream,
        prober: Prober,
        changed: Callable[[Checker], None],
        counted: Callable[[Checker, str], None],
        address_of: Callable[[str], str | None],
    ) -> None:
        assert upstream.checks is not None
        self.name = name
        self.upstream = upstream
        self.active = upstream.checks.active
        self.passive = upstream.checks.passive
        concurrency = self.active.concurrency if self.active is not None else 1
        self.places = asyncio.Semaphore(concurrency)
        self.slow_places = asyncio.Semaphore(max(1, concurrency // 2))
        self.nodes: dict[str, CheckedNode] = {}
        self._active_thresholds = active_thresholds(self.active or ActiveCheck())
        self._passive_thresholds = passive_thresholds(self.passive or PassiveCheck())
        self._prober = prober
        self._changed = changed
        self._counted = counted
        self._address_of = address_of
        self._memories: dict[str, Memory] = {}

    def __repr__(self) -> str:
        return f"<checker {self.name}: {len(self.unusable)} of {len(self.nodes)} nodes passed over>"

    # ---- configuration

    def may_become(self, upstream: Upstream) -> bool:
        """Whether what is known stays true for this version: only what is asked and counted matters."""
        return upstream.checks == self.upstream.checks

    def take(self, upstream: Upstream, nodes: Iterable[Node]) -> None:
        """Another version of the upstream; nodes that were there before keep their state."""
        self.upstream = upstream
        wanted = {node.name: node for node in nodes}
        told = False
        for name, gone in self.nodes.items():
            if name not in wanted:
                self._let_go(gone)
                told = told or gone.health.status != "healthy"
        before, self.nodes = self.nodes, {}
        for name, node in wanted.items():
            checked = self.nodes[name] = before.get(name) or CheckedNode(self, node)
            if (memory := self._memories.pop(name, None)) is not None and name not in before:
                self._recall(checked, memory)
                told = True
            checked.node = node
            probe = probe_of(upstream, node)
            if probe != checked.probe:
                if checked.probe is not None:
                    self._prober.forget(checked.probe, checked)
                checked.probe = probe
                if probe is not None:
                    self._prober.watch(probe, checked)
        if told:
            self._changed(self)

    def close(self) -> None:
        for node in self.nodes.values():
            self._let_go(node)
        self.nodes.clear()

    # ---- from one gateway to the next

    def remember(self, memories: Memories | None) -> None:
        """What an older gateway knew of nodes; for those that are taken from now on. None: that is too old now."""
        same = memories is not None and memories.checks == self._fingerprint
        self._memories = dict(memories.nodes) if memories is not None and same else {}

    def memories(self) -> Memories:
        """For the next gateway."""
        nodes = {name: one.memory() for name, one in self.nodes.items() if one.health.status != "healthy"}
        return Memories(self._fingerprint, self._memories | nodes)

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.upstream.checks)

    def _recall(self, node: CheckedNode, memory: Memory) -> None:
        node.health.status, node.health.counts = memory.status, list(memory.counts)
        node.reason, node.since, node.relapses = memory.reason, memory.since, memory.relapses
        if not node.health.usable and self.active is None and self.passive is not None:
            left_s = self.passive.unhealthy.retry_after if memory.trial_at is None else memory.trial_at - time.time()
            pause_s = min(max(0.0, left_s), max(LONGEST_TRIAL_PAUSE_S, self.passive.unhealthy.retry_after))
            node.trial = asyncio.get_running_loop().call_later(pause_s, self._try, node)

    def _let_go(self, node: CheckedNode) -> None:
        if node.probe is not None:
            self._prober.forget(node.probe, node)
        if node.trial is not None:
            node.trial.cancel()

    # ---- outcomes

    def probed(self, node: CheckedNode, result: Result) -> None:
        self._counted(self, result.kind)
        if result.outcome is None:
            node.reason = result.reason
        else:
            self._note(node, result.outcome, self._active_thresholds, 1, result.reason)

    def reported(self, reports: Iterable[Report]) -> None:
        """How requests went, in their order."""
        for name, outcome, times in reports:
            node = self.nodes.get(name)
            if node is not None:
                kind = Outcome(outcome)
                self._note(node, kind, self._passive_thresholds, times, _OF_REQUESTS[kind])

    def _note(self, node: CheckedNode, outcome: Outcome, thresholds: Thresholds, times: int, reason: str) -> None:
        health = node.health
        usable = health.usable
        if outcome is not Outcome.SUCCESS:
            node.reason = reason
        if not health.note(outcome, thresholds, times):
            return
        if health.usable is not usable:
            node.since = datetime.now(UTC)
            if usable:
                log.warning("%s: node %s is unhealthy: %s", self.name, node.node.name, reason)
                if len(self.unusable) == len(self.nodes) > 1:
                    log.error("%s: all %d nodes are unhealthy: all are used", self.name, len(self.nodes))
                self._await_recovery(node)
            else:
                log.warning("%s: node %s is healthy again", self.name, node.node.name)
        if health.status == "healthy":
            node.reason, node.relapses = "", 0
            if node.trial is not None:
                node.trial.cancel()
                node.trial = None
        self._changed(self)

    def _await_recovery(self, node: CheckedNode) -> None:
        """Where nobody probes, only requests can show that a node is well again."""
        if node.probe is not None:
            self._prober.hurry(node.probe, node.interval_s)
        if self.active is not None or self.passive is None:
            return
        pause_s = min(self.passive.unhealthy.retry_after * 2**node.relapses, LONGEST_TRIAL_PAUSE_S)
        pause_s = max(pause_s, self.passive.unhealthy.retry_after)
        node.relapses = min(node.relapses + 1, 30)
        node.trial = asyncio.get_running_loop().call_later(pause_s, self._try, node)

    def _try(self, node: CheckedNode) -> None:
        node.trial = None
        if not node.health.usable:
            node.health.put_on_trial(self._passive_thresholds)
            node.since = datetime.now(UTC)
            log.warning("%s: node %s gets requests again, on trial", self.name, node.node.name)
            self._changed(self)

    # ---- what is known

    @property
    def unusable(self) -> frozenset[str]:
        return frozenset(name for name, node in self.nodes.items() if not node.health.usable)

    @property
    def unsettled(self) -> frozenset[str]:
        """Nodes of which successes count, too: those that aren't plainly healthy."""
        return frozenset(name for name, node in self.nodes.items() if node.health.status != "healthy")

    @property
    def type(self) -> str:
        check = self.active or self.passive
        assert check is not None
        return check.type

    def describe(self) -> dict[str, Any]:
        """As the Control API tells it."""
        return {"name": self.name, "type": self.type, "nodes": [self._described(node) for node in self.nodes.values()]}

    def _described(self, checked: CheckedNode) -> dict[str, Any]:
        node, probe = checked.node, checked.probe
        success, http, tcp, late = checked.health.counts
        active_host = None if self.active is None else self.active.host
        told: dict[str, Any] = {
            "ip": self._address_of(node.host) or node.host,
            "port": node.port if probe is None else probe.port,
            "hostname": active_host or node.host,
            "status": str(checked.health.status),
            "counter": {"success": success, "http_failure": http, "tcp_failure": tcp, "timeout_failure": late},
        }
        if self.upstream.pass_host == "rewrite":
            told["hostheader"] = self.upstream.upstream_host
        elif self.upstream.pass_host == "node" and not _is_ip(node.host):
            told["hostheader"] = node.host
        return told

    def troubles(self) -> list[dict[str, str]]:
        """Nodes that are passed over, and why."""
        return [
            {
                "upstream": self.name,
                "node": name,
                "status": str(node.health.status),
                "reason": node.reason,
                "since": node.since.isoformat(timespec="seconds"),
            }
            for name, node in self.nodes.items()
            if not node.health.usable
        ]


_OF_REQUESTS = {
    Outcome.SUCCESS: "",
    Outcome.HTTP_FAILURE: "requests were answered with a status that counts as unhealthy",
    Outcome.TCP_FAILURE: "requests failed: no connection, or it closed",
    Outcome.TIMEOUT: "requests timed out",
}


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host.startswith("unix:")
    return True
