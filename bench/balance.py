"""Choosing a node among 1,000, and changes of health and weight. In this process, on one core; times are CPU time."""

import time
from asyncio import AbstractEventLoop
from collections import Counter
from collections.abc import Callable
from statistics import median
from typing import Any

import orjson

from bascule.balance.balancer import TYPES, make_balancer
from bascule.engine.node_states import NodeStates
from bascule.engine.server import Engine
from bascule.engine.shared_counters import SharedCounters
from bascule.model.change import Change
from bascule.model.engine_settings import EngineSettings
from bascule.net.loop import new_loop
from bascule.observe.metrics import Metrics
from bascule.plugin.registry import Registry
from bascule.snapshot.compiled_upstream import CompiledUpstream, Node
from bascule.snapshot.tables import Tables
from bench.speed import Bench

NODES = 1000
PICKS = 100_000
KEYS = [f"user-{i}" for i in range(PICKS)]


def upstream(type: str, weights: list[int]) -> CompiledUpstream:
    nodes = tuple(Node(f"10.0.{i // 250}.{i % 250}", 80, weight) for i, weight in enumerate(weights))
    return CompiledUpstream("upstreams/1", "1", nodes, type=type, hash_on="vars", hash_key="arg_user")


def least(work: Callable[[], object], rounds: int) -> float:
    """CPU seconds of the quickest round: whatever else ran on the core made the others slower."""
    times = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def loop(calls: Callable[[str], object]) -> Callable[[], None]:
    def run() -> None:
        for key in KEYS:
            calls(key)

    return run


def choices(rounds: int) -> dict[str, Any]:
    """Microseconds of one choice, with the requests' begin and end where the balancer counts them."""
    weights = [1 + i % 3 for i in range(NODES)]
    bare = least(loop(lambda key: None), rounds)
    found = {}
    for type in TYPES:
        balancer = NodeStates().balancer(upstream(type, weights))

        def choose(key: str, balancer: Any = balancer) -> None:
            balancer.pick(key, None)

        def serve(key: str, balancer: Any = balancer) -> None:
            node = balancer.pick(key, None)
            balancer.on_start(node)
            balancer.on_finish(node, 0.01, True)

        found[type] = {
            "choice_us": (least(loop(choose), rounds) - bare) / PICKS * 1e6,
            "request_us": (least(loop(serve), rounds) - bare) / PICKS * 1e6,
        }
    return found


def changes(rounds: int) -> dict[str, Any]:
    """Milliseconds until a balancer of 1,000 nodes goes by another health, or another weight."""
    found = {}
    for type in TYPES:
        states, weights = NodeStates(), [100] * NODES
        kept = [states.balancer(upstream(type, weights))]  # as between two versions of an upstream
        health_ms, weight_ms = [], []
        for i in range(rounds * 5):
            started = time.process_time()
            kept[0].pass_over(frozenset({i, 500 + i}))
            health_ms.append((time.process_time() - started) * 1000)
            weights[i] = 200
            changed = upstream(type, weights)
            started = time.process_time()
            kept = [states.balancer(changed)]
            weight_ms.append((time.process_time() - started) * 1000)
        found[type] = {"health_ms": median(health_ms), "weight_ms": median(weight_ms)}
    return found


class Edited:
    """What a worker does from the bytes of a new version until the next request can be sent to a node by it."""

    def __init__(self, loop: AbstractEventLoop, poller: Any) -> None:
        counters = SharedCounters.create(1 << 16)
        self.engine: Any = Engine(
            poller=poller, loop=loop, settings=EngineSettings(), counters=counters, metrics=Metrics()
        )
        self.tables = Tables(Registry(None, ()), self.engine.make_host)
        self.engine.use_tables(self.tables)
        self.plan: Any = None

    def edit(self, type: str, weights: list[int]) -> tuple[float, float]:
        """Milliseconds of CPU time: to check and compile it, and to make what the request needs (done by it)."""
        nodes = {f"10.0.{i // 250}.{i % 250}:80": weight for i, weight in enumerate(weights)}
        value = orjson.dumps({"type": type, "hash_on": "vars", "key": "arg_user", "nodes": nodes})
        started = time.process_time()
        applied = self.tables.apply([Change("upstreams", "1", orjson.loads(value))])
        self.engine.tables_changed()
        compiled = time.process_time()
        plan = self.engine.upstream_plan(self.tables.upstream("1"), None)
        done = time.process_time()
        if applied.errors:
            raise ValueError(applied.errors[0])
        self.plan = plan  # only now: the one before was in use
        return (compiled - started) * 1000, (done - compiled) * 1000


def edits(rounds: int) -> dict[str, Any]:
    """Of an upstream with 1,000 nodes of weight 100, of which one gets another: medians and the quickest, in ms.

    With 200 for one, chash's ring has more points of this node only; with 101 the weights' common divisor is another
    one, and all nodes have other points."""
    loop, poller = new_loop()
    found = {}
    try:
        for name, type, other in [(type, type, 200) for type in TYPES] + [("chash, other divisor", "chash", 101)]:
            edited = Edited(loop, poller)
            edited.edit(type, [100] * NODES)
            times = []
            for i in range(rounds * 5):
                weights = [100] * NODES
                if other == 200 or i % 2 == 0:
                    weights[i] = other
                times.append(edited.edit(type, weights))
            found[name] = {
                "compile_ms": median(one for one, _ in times),
                "plan_ms": median(two for _, two in times),
                "edit_ms": median(map(sum, times)),
                "quickest_ms": min(map(sum, times)),
            }
    finally:
        loop.close()
    return found


def exactness() -> dict[str, float]:
    """The largest errors: of shares over 100,000 requests, in percent of all; of keys that move when a node leaves."""
    weights = [1 + i % 7 for i in range(NODES)]
    errors = []
    for passed in (frozenset[int](), frozenset(range(0, NODES, 9))):
        balancer = NodeStates().balancer(upstream("roundrobin", weights))
        balancer.pass_over(passed)
        counts = Counter(balancer.pick(None, None) for _ in range(PICKS))
        total = sum(weight for i, weight in enumerate(weights) if i not in passed)
        errors += [abs(counts[i] / PICKS - weight / total) for i, weight in enumerate(weights) if i not in passed]
    names = [f"10.0.{i // 250}.{i % 250}:80" for i in range(NODES)]
    ring = make_balancer("chash", [(1, 0)] * NODES, names)
    before = [ring.pick(key, None) for key in KEYS]
    after = make_balancer("chash", [(int(i != 7), 0) for i in range(NODES)], names)
    moved = sum(after.pick(key, None) != node for key, node in zip(KEYS, before, strict=True))
    return {"share_percent": max(errors) * 100, "moved_percent": moved / PICKS * 100}


def balance(bench: Bench) -> dict[str, Any]:
    """Choosing a node among 1,000."""
    return {
        "kind": "balance",
        "choices": choices(bench.rounds),
        "changes": changes(bench.rounds),
        "edits": edits(bench.rounds),
        "exactness": exactness(),
    }
