"""Which nodes get no requests at present, and what is measured about nodes: by upstream, kept over its versions.

Health checks, ejection and breakers each say which nodes they want passed over; an upstream's plans take the union.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from weakref import WeakSet, WeakValueDictionary

from bascule.balance.balancer import make_balancer
from bascule.balance.member import Load
from bascule.engine.load_table import LoadTable
from bascule.engine.warming import Warming
from bascule.model.locality import Locality

# What is known of an upstream that nobody uses is forgotten after this time, once there are many such.
KEPT_S = 600.0
MANY = 256
# Types of balancers that measure nodes together with the other workers.
SHARED = ("p2c", "ewma")


@dataclass(slots=True, eq=False)
class UpstreamState:
    """`plans`: those alive, of all versions. `sources`: by who says so, (names of nodes, whether that is firm)."""

    plans: WeakSet[Any] = field(default_factory=WeakSet)
    sources: dict[str, tuple[frozenset[str], bool]] = field(default_factory=dict)
    loads: dict[str, Load] = field(default_factory=dict)
    # Of nodes that left, while a balancer of an older version has them: two in one row of the table would clear it.
    left: WeakValueDictionary[str, Load] = field(default_factory=WeakValueDictionary)
    rings: list[Any] = field(default_factory=list)  # of the newest balancer
    tokens: dict[str, str] = field(default_factory=dict)  # of sticky.py
    touched_s: float = 0.0
    known: frozenset[str] | None = None  # nodes of the newest version; None: there was none yet
    warming: Warming | None = None

    def passed_over(self) -> set[str]:
        return {name for names, _ in self.sources.values() for name in names}

    def apply(self, plan: Any) -> None:
        """Tells a plan which of its nodes are passed over."""
        if not self.sources:
            if plan.passed_over:
                plan.pass_over(frozenset())
            return
        firm: set[str] = set()
        wanted: set[str] = set()
        for names, is_firm in self.sources.values():
            wanted |= names
            if is_firm:
                firm |= names
        nodes = plan.upstream.nodes
        over = frozenset(i for i, node in enumerate(nodes) if node.name in wanted)
        if len(over) != len(nodes) - 1 and all(i in over for i, node in enumerate(nodes) if node.weight > 0):
            # Nobody would be left: better to try them all than none, but for what is firm. The last one that is well is
            # used even if it has no weight.
            over = frozenset(i for i, node in enumerate(nodes) if node.name in firm)
        if over != plan.passed_over:
            plan.pass_over(over)

    def idle(self, now_s: float) -> bool:
        """Whether it may be forgotten."""
        used = self.plans or self.sources or any(load.active for load in self.loads.values())
        return not used and now_s - self.touched_s > KEPT_S


class NodeStates:
    """One per engine."""

    __slots__ = ("_loop", "_start", "_sweep_at", "_table", "_upstreams", "_zone")

    def __init__(
        self,
        worker: int = 0,
        table: LoadTable | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        zone: str | None = None,
    ) -> None:
        """`table`: where nodes are measured together with other workers; None: by this one alone. `loop`: has the
        timers of slow starts, which there are none without. `zone`: where this gateway stands."""
        self._table = table
        self._loop = loop
        self._zone = zone
        # So far apart that any number of workers begin evenly spread (the golden ratio).
        self._start = worker * 0.6180339887498949 % 1.0
        self._upstreams: dict[str, UpstreamState] = {}
        self._sweep_at = MANY

    def set(self, upstream_key: str, source: str, nodes: frozenset[str], *, firm: bool = False) -> None:
        """`source` wants these nodes ("host:port" as in Node.name) of the upstream with that CompiledUpstream.key
        passed over, and no others; it holds for all versions of the upstream. When that would be every node which
        has a weight, all are used nevertheless, save for the nodes of a source that is firm; but when one node without
        a weight is left, that is used."""
        state = self._state(upstream_key)
        before = state.passed_over()
        if nodes:
            if state.sources.get(source) == (nodes, firm):
                return
            state.sources[source] = (nodes, firm)
        elif state.sources.pop(source, None) is None:
            return
        for plan in list(state.plans):
            state.apply(plan)
        if state.warming is not None:
            state.warming.begin(before - state.passed_over())

    def passed_over(self, upstream_key: str) -> dict[str, frozenset[str]]:
        """Names of nodes by source."""
        state = self._upstreams.get(upstream_key)
        return {} if state is None else {source: names for source, (names, _) in state.sources.items()}

    def adopt(self, plan: Any) -> None:
        """A new UpstreamPlan: it follows what is said from now on."""
        state = self._state(plan.upstream.key)
        state.plans.add(plan)
        state.apply(plan)
        names = frozenset(node.name for node in plan.upstream.nodes)
        added = frozenset() if state.known is None else names - state.known
        state.known = names
        if state.warming is None:
            if plan.upstream.slow_start is None or self._loop is None:
                return
            state.warming = Warming(self._loop, lambda: list(state.plans))
        state.warming.follow(plan.upstream.slow_start)
        state.warming.begin(added)

    def tokens(self, upstream_key: str) -> dict[str, str]:
        """Sticky tokens by node name, for the plans of all versions."""
        return self._state(upstream_key).tokens

    def loads(self, upstream_key: str) -> dict[str, Load]:
        """Measurements by node name, for the balancers of all versions."""
        return self._state(upstream_key).loads

    def balancer(self, upstream: Any) -> Any:
        """The balancer of a CompiledUpstream, made once, for all of its plans; None when no node has a weight."""
        nodes = upstream.nodes
        if not any(node.weight for node in nodes):
            return None
        state = self._state(upstream.key)
        names = [node.name for node in nodes]
        wanted = set(names)
        for name in state.loads.keys() - wanted:
            if not state.loads[name].active:
                state.left[name] = state.loads.pop(name)
        for name in [name for name in state.left if name in wanted]:
            if (load := state.left.pop(name, None)) is not None:
                state.loads[name] = load
        weights = [(node.weight, node.priority) for node in nodes]
        locality = upstream.locality or Locality()
        made = make_balancer(
            upstream.type,
            weights,
            names,
            loads=state.loads,
            start=self._start,
            near=None if self._zone is None or locality.disable else [zone_of(node) == self._zone for node in nodes],
            threshold=locality.threshold / 100,
            rings=state.rings,
        )
        if upstream.type in SHARED and self._table is not None:
            for name, load in state.loads.items():
                self._table.share(upstream.key, name, load)
        return made

    def plans(self, upstream_key: str) -> Iterator[Any]:
        """The plans alive of an upstream."""
        state = self._upstreams.get(upstream_key)
        return iter(list(state.plans) if state is not None else ())

    def _state(self, upstream_key: str) -> UpstreamState:
        state = self._upstreams.get(upstream_key)
        if state is None:
            if len(self._upstreams) >= self._sweep_at:
                self._sweep()
            state = self._upstreams[upstream_key] = UpstreamState()
        state.touched_s = monotonic()
        return state

    def _sweep(self) -> None:
        now_s = monotonic()
        self._upstreams = {key: state for key, state in self._upstreams.items() if not state.idle(now_s)}
        self._sweep_at = max(MANY, 2 * len(self._upstreams))

    def __repr__(self) -> str:
        passed = sum(len(names) for state in self._upstreams.values() for names, _ in state.sources.values())
        return f"<NodeStates {len(self._upstreams)} upstreams, {passed} nodes passed over>"


def zone_of(node: Any) -> object:
    """The `zone` in a node's metadata, or None."""
    return None if node.metadata is None else node.metadata.get("zone")
