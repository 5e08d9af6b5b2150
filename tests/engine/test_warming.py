"""Slow starts, with a clock that the test moves."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from bascule.engine.node_states import NodeStates
from bascule.model.slow_start import SlowStart
from bascule.snapshot.compiled_upstream import CompiledUpstream, Node
from tests.engine.in_process import InProcess
from tests.servers.raw import RawUpstream, answers, response

KEY = "upstreams/1"


class Clock:
    """The loop's part that slow starts use."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> Any:
        entry = (self.now + delay, callback)
        self.due.append(entry)

        class Handle:
            def cancel(handle) -> None:
                if entry in self.due:
                    self.due.remove(entry)

        return Handle()

    def move(self, seconds: float) -> None:
        end = self.now + seconds
        while self.due and min(self.due)[0] <= end:
            entry = min(self.due)
            self.due.remove(entry)
            self.now = entry[0]
            entry[1]()
        self.now = end


class Plan:
    """The part of an UpstreamPlan that node states use."""

    def __init__(self, states: NodeStates, upstream: CompiledUpstream) -> None:
        self.upstream = upstream
        self.passed_over: frozenset[int] = frozenset()
        self.balancer = states.balancer(upstream)
        states.adopt(self)

    def pass_over(self, nodes: frozenset[int]) -> None:
        self.passed_over = nodes
        self.balancer.pass_over(nodes)

    def shares(self) -> dict[int, int]:
        counts = Counter(self.balancer.pick(None, None) for _ in range(21_000))
        return {index: round(count / 210) for index, count in sorted(counts.items())}


def upstream(*hosts: str, slow: bool = True, **more: Any) -> CompiledUpstream:
    nodes = tuple(Node(host, 80, 1) for host in hosts)
    return CompiledUpstream(KEY, "1", nodes, slow_start=SlowStart(window=10) if slow else None, **more)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def states(clock: Clock) -> NodeStates:
    return NodeStates(loop=clock)  # type: ignore[arg-type]


def test_a_node_that_became_healthy_takes_its_part_step_by_step(clock: Clock, states: NodeStates) -> None:
    plan = Plan(states, upstream("a", "b"))
    assert plan.shares() == {0: 50, 1: 50}  # all at once at the start
    states.set(KEY, "health", frozenset({"b:80"}))
    assert plan.shares() == {0: 100}
    states.set(KEY, "health", frozenset())
    assert plan.shares() == {0: 91, 1: 9}
    clock.move(5.05)
    assert plan.shares() == {0: 67, 1: 33}
    clock.move(5.15)
    assert plan.shares() == {0: 50, 1: 50}
    assert clock.due == []


def test_nodes_that_an_edit_adds_and_edits_meanwhile(clock: Clock, states: NodeStates) -> None:
    Plan(states, upstream("a", "b"))
    plan = Plan(states, upstream("c", "a", "b"))
    assert plan.shares() == {0: 5, 1: 48, 2: 48}
    clock.move(5)
    plan = Plan(states, upstream("a", "c"))
    assert plan.shares() == {0: 67, 1: 33}
    plan = Plan(states, upstream("a", "c", slow=False))
    assert plan.shares() == {0: 50, 1: 50}
    clock.move(100)
    assert clock.due == []


def test_who_is_ejected_again_begins_again(clock: Clock, states: NodeStates) -> None:
    plan = Plan(states, upstream("a", "b", type="least_conn"))
    for _ in range(2):
        states.set(KEY, "ejected", frozenset({"b:80"}))
        states.set(KEY, "health", frozenset({"b:80"}))
        states.set(KEY, "ejected", frozenset())
        assert plan.balancer.pick(None, None) == 0  # one source still says so
        states.set(KEY, "health", frozenset())
        warming = next(iter(states._upstreams.values())).warming
        assert repr(warming) == "<Warming b:80>"
        clock.move(9)
        assert warming is not None
        assert warming.nodes == {"b:80"}
    clock.move(2)
    assert warming.nodes == frozenset()


def test_in_an_engine(stand: InProcess, raw_upstream: Callable[..., RawUpstream]) -> None:
    a, b = (raw_upstream(answers(response(name))) for name in (b"a", b"b"))
    route = {"uri": "/*", "upstream": {"nodes": {a.address: 1, b.address: 1}, "slow_start": {"window": 3600}}}
    stand.write("routes", "r", route)
    assert Counter(stand.bodies("/", 20)) == {"a": 10, "b": 10}
    states = stand.engine.node_states
    states.set("routes/r#upstream", "health", frozenset({b.address}))
    assert Counter(stand.bodies("/", 4)) == {"a": 4}
    states.set("routes/r#upstream", "health", frozenset())
    assert 2 <= Counter(stand.bodies("/", 44))["b"] <= 6
