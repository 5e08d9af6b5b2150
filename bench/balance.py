"""Choosing a node among 1,000, and changes of health and weight. In this process, on one core; times are CPU time."""

import time
from collections import Counter
from collections.abc import Callable
from statistics import median
from typing import Any

from bascule.balance.balancer import TYPES, make_balancer
from bascule.engine.node_states import NodeStates
from bascule.snapshot.compiled_upstream import CompiledUpstream, Node
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
        "exactness": exactness(),
    }
