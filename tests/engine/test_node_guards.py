"""Ejection and breakers in an engine whose clock the tests move: what clients see, how many requests a node gets."""

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from bascule.engine.node_guards import NodeGuards
from bascule.engine.node_states import NodeStates
from bascule.model.outlier_detection import NodeBreaker
from bascule.observe.metrics import Metrics
from bascule.snapshot.compiled_upstream import CompiledUpstream, Node
from tests.engine.in_process import InProcess, engine_in_process
from tests.servers.acting import ActingNode, ok, reset, slow, status
from tests.servers.ports import free_port
from tests.servers.raw import RawClient


class Clock:
    """Of the guards. `go` moves it, and they notice."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.served: InProcess | None = None

    def __call__(self) -> float:
        return self.now_s

    def go(self, seconds: float) -> None:
        assert self.served is not None
        self.now_s += seconds
        for guard in self.served.engine.guards._guards.values():
            guard.look_ahead()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def served(clock: Clock) -> Iterator[InProcess]:
    with engine_in_process() as one:
        one.engine.guards.clock = clock
        clock.served = one
        yield one


@pytest.fixture
def nodes() -> Iterator[list[ActingNode]]:
    made = [ActingNode(), ActingNode(), ActingNode()]
    yield made
    for node in made:
        node.stop()


def route(served: InProcess, *addresses: str, **upstream: Any) -> None:
    served.write("routes", "1", {"uri": "/*", "upstream": {"nodes": dict.fromkeys(addresses, 1), **upstream}})


def statuses(served: InProcess, count: int, method: str = "GET", body: bytes = b"") -> list[int]:
    def ask() -> list[int]:
        with RawClient(served.port) as client:
            return [client.request(method, "/", body=body).status for _ in range(count)]

    return served.call(ask)


def retries(served: InProcess) -> int:
    number: int = served.engine.stats()["retries"]
    return number


def gauge(served: InProcess, node: str, state: str) -> float:
    value: float = served.engine.guards._gauge.child(("routes/1#upstream", node, state)).value
    return value


def test_a_dead_node_costs_one_retry_each_time_it_is_probed(
    served: InProcess, nodes: list[ActingNode], clock: Clock
) -> None:
    dead = f"127.0.0.1:{free_port()}"
    route(served, dead, nodes[0].address, nodes[1].address)
    for probes, wait_s in enumerate((10, 20, 40, 60, 60), 1):
        assert statuses(served, 12) == [200] * 12
        assert retries(served) == probes
        assert gauge(served, dead, "ejected") == 1
        clock.go(wait_s - 0.1)
        assert statuses(served, 6) == [200] * 6
        assert retries(served) == probes
        clock.go(0.2)
    assert len(nodes[0].seen) == len(nodes[1].seen)


def test_a_node_that_comes_back(served: InProcess, nodes: list[ActingNode], clock: Clock) -> None:
    port = free_port()
    route(served, f"127.0.0.1:{port}", nodes[0].address)
    assert statuses(served, 4) == [200] * 4
    late = ActingNode(port=port)
    try:
        assert statuses(served, 4) == [200] * 4
        assert late.seen == []
        clock.go(10)
        assert statuses(served, 9) == [200] * 9
        assert 4 <= len(late.seen) <= 5
        assert retries(served) == 1
        assert gauge(served, late.address, "ejected") == 0
    finally:
        late.stop()


def test_posts_are_sent_elsewhere_as_well(served: InProcess, nodes: list[ActingNode]) -> None:
    route(served, f"127.0.0.1:{free_port()}", nodes[0].address)
    assert statuses(served, 6, "POST", b"hello") == [200] * 6
    assert [request.body for request in nodes[0].seen] == [b"hello"] * 6


def test_the_only_node_is_never_ejected(served: InProcess) -> None:
    port = free_port()
    route(served, f"127.0.0.1:{port}")
    assert statuses(served, 3) == [502] * 3
    late = ActingNode(port=port)
    try:
        assert statuses(served, 3) == [200] * 3
    finally:
        late.stop()


def test_all_nodes_dead_and_back(served: InProcess) -> None:
    ports = [free_port(), free_port()]
    route(served, *(f"127.0.0.1:{port}" for port in ports))
    assert statuses(served, 6) == [502] * 6
    late = [ActingNode(port=port) for port in ports]
    try:
        assert statuses(served, 6) == [200] * 6
    finally:
        for node in late:
            node.stop()


def test_an_ejected_node_is_the_last_resort(served: InProcess, nodes: list[ActingNode]) -> None:
    port = free_port()
    route(served, f"127.0.0.1:{port}", nodes[0].address)
    assert statuses(served, 4) == [200] * 4
    late = ActingNode(port=port)
    try:
        nodes[0].play(reset)
        assert statuses(served, 1) == [200]
        assert len(late.seen) == 1
    finally:
        late.stop()


def test_an_edit_keeps_what_is_known(served: InProcess, nodes: list[ActingNode]) -> None:
    dead = f"127.0.0.1:{free_port()}"
    route(served, dead, nodes[0].address)
    statuses(served, 4)
    route(served, dead, nodes[0].address, nodes[1].address)
    assert statuses(served, 9) == [200] * 9
    assert retries(served) == 1
    route(served, nodes[0].address, nodes[1].address)
    assert statuses(served, 4) == [200] * 4
    assert served.engine.node_states.passed_over("routes/1#upstream") == {}


def test_nodes_in_reserve_are_not_probed_by_requests(served: InProcess, nodes: list[ActingNode], clock: Clock) -> None:
    port = free_port()
    first = {"host": "127.0.0.1", "port": nodes[0].port, "weight": 1}
    reserve = {"host": "127.0.0.1", "port": port, "weight": 1, "priority": -1}
    served.write("routes", "1", {"uri": "/*", "upstream": {"nodes": [first, reserve]}})
    nodes[0].play(reset)
    assert statuses(served, 3) == [502, 200, 200]
    late = ActingNode(port=port)
    try:
        clock.go(11)
        assert statuses(served, 5) == [200] * 5
        assert late.seen == []
    finally:
        late.stop()


def test_switched_off(served: InProcess, nodes: list[ActingNode]) -> None:
    off = {"consecutive_connect_failures": 0}
    route(served, f"127.0.0.1:{free_port()}", nodes[0].address, outlier_detection=off)
    assert statuses(served, 10) == [200] * 10
    assert retries(served) >= 5


def test_outlier_detection(served: InProcess, nodes: list[ActingNode], clock: Clock) -> None:
    nodes[0].usual = status(500)
    route(served, nodes[0].address, nodes[1].address, outlier_detection={"consecutive_5xx": 3})
    assert sorted(statuses(served, 20)) == [200] * 17 + [500] * 3
    clock.go(10)
    assert sorted(statuses(served, 10)) == [200] * 9 + [500]  # the probe
    nodes[0].usual = ok
    clock.go(20)
    assert statuses(served, 9) == [200] * 9
    assert len(nodes[0].seen) >= 8


def test_a_slow_node_is_left_out_until_it_is_as_quick_as_others(
    served: InProcess, nodes: list[ActingNode], clock: Clock
) -> None:
    nodes[0].usual = slow(0.5)
    latency = {"min_requests": 4, "margin": 0.2}
    route(served, *(node.address for node in nodes), outlier_detection={"latency": latency})
    assert statuses(served, 12) == [200] * 12
    clock.go(1)
    assert statuses(served, 15) == [200] * 15
    assert len(nodes[0].seen) == 5  # known by then
    assert gauge(served, nodes[0].address, "ejected") == 1
    assert served.engine.guards._ejected.child(("routes/1#upstream", nodes[0].address, "latency")).value == 1
    clock.go(10)
    assert statuses(served, 6) == [200] * 6
    assert len(nodes[0].seen) == 6  # the probe was slow, too
    nodes[0].usual = ok
    clock.go(19)
    assert statuses(served, 6) == [200] * 6
    assert len(nodes[0].seen) == 6
    clock.go(1)
    assert statuses(served, 9) == [200] * 9
    assert len(nodes[0].seen) >= 8
    assert gauge(served, nodes[0].address, "ejected") == 0
    assert served.engine.guards._ejected.child(("routes/1#upstream", nodes[0].address, "latency")).value == 0


def series(served: InProcess) -> int:
    return len(served.engine.guards._gauge.series) + len(served.engine.guards._ejected.series)


def test_nodes_that_come_and_go_leave_nothing_in_the_metrics(
    served: InProcess, nodes: list[ActingNode], clock: Clock
) -> None:
    for number in range(5):
        route(served, f"127.0.0.1:{free_port()}", nodes[0].address, desc=str(number))
        assert statuses(served, 3) == [200] * 3
        assert series(served) == 4
    route(served, nodes[0].address, nodes[1].address)
    assert statuses(served, 3) == [200] * 3
    assert series(served) == 0


class Plan:
    """As the engine's, as far as guards look at it."""

    def __init__(self, key: str, **upstream: Any) -> None:
        self.upstream = CompiledUpstream(key, None, (Node("a", 1, 1), Node("b", 1, 1)), **upstream)
        self.passed_over: frozenset[int] = frozenset()
        self.guard: Any = None
        self.observers: tuple[Any, ...] = ()
        self.probe_at = 0

    def pass_over(self, nodes: frozenset[int]) -> None:
        self.passed_over = nodes


def test_what_is_known_of_an_upstream_that_is_gone_is_forgotten(clock: Clock) -> None:
    states, metrics = NodeStates(), Metrics()
    guards = NodeGuards(states, metrics, logging.getLogger("test"), clock)
    plan, other = Plan("routes/1", breaker=NodeBreaker(failures=1)), Plan("routes/2")
    states.adopt(plan)
    guards.adopt(plan)
    plan.guard.outcome(plan, 0, 0, 1, 1.0)
    assert plan.passed_over == {0}
    del plan
    for _ in range(3):
        clock.now_s += 300
        assert states.passed_over("routes/1") == {"ejected": {"a:1"}, "breaker": {"a:1"}}
        assert b'node="a:1"' in metrics.render()
        guards.adopt(other)
    assert states.passed_over("routes/1") == {}
    assert metrics.render() == b""
    assert repr(guards) == "<guards of 0 upstreams>"


def test_outlier_detection_hears_of_retried_statuses(served: InProcess, nodes: list[ActingNode]) -> None:
    nodes[0].usual = status(503)
    route(
        served,
        nodes[0].address,
        nodes[1].address,
        outlier_detection={"consecutive_gateway_errors": 2},
        retry_policy={"on": [503], "budget": {"min_per_second": 100}},
    )
    assert statuses(served, 20) == [200] * 20
    assert len(nodes[0].seen) == 2


BREAKER = {"failures": 2, "open": 10}


def test_open_breakers_answer_at_once(served: InProcess, nodes: list[ActingNode], clock: Clock) -> None:
    for node in nodes[:2]:
        node.usual = status(500)
    route(served, nodes[0].address, nodes[1].address, breaker=BREAKER)
    assert statuses(served, 10) == [500] * 4 + [503] * 6
    assert (len(nodes[0].seen), len(nodes[1].seen)) == (2, 2)
    assert gauge(served, nodes[0].address, "open") == 1
    [answer] = served.get("/")
    assert (answer.status, answer.header("Retry-After")) == (503, "11")
    clock.go(9)
    [answer] = served.get("/")
    assert (answer.status, answer.header("Retry-After")) == (503, "2")
    clock.go(1)
    assert sorted(statuses(served, 6)) == [500] * 2 + [503] * 4  # one probe each
    nodes[0].usual = ok
    clock.go(20)
    assert sorted(statuses(served, 6)) == [200] * 5 + [500]
    assert gauge(served, nodes[0].address, "open") == gauge(served, nodes[0].address, "half_open") == 0


def test_one_probe_at_a_time(served: InProcess, nodes: list[ActingNode], clock: Clock) -> None:
    go = threading.Event()

    def late(connection: Any, request: Any) -> None:
        assert go.wait(10)
        ok(connection, request)

    node = nodes[0]
    route(served, node.address, breaker={**BREAKER, "successes": 2})
    node.play(reset, status(503))
    assert statuses(served, 3) == [502, 503, 503]
    clock.go(10)
    node.play(late)

    def ask() -> list[int]:
        with RawClient(served.port) as probing, RawClient(served.port) as other:
            probing.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            node.wait_seen(1)
            meanwhile = [other.request("GET", "/").status for _ in range(3)]
            go.set()
            return [*meanwhile, probing.read_response().status, *(other.request("GET", "/").status for _ in range(3))]

    assert served.call(ask) == [503] * 3 + [200] * 4
    assert len(node.seen) == 4


def test_a_breaker_spares_its_node_while_others_serve(served: InProcess, nodes: list[ActingNode]) -> None:
    nodes[0].usual = reset
    route(served, *(node.address for node in nodes), breaker=BREAKER)
    assert statuses(served, 30) == [200] * 30
    assert len(nodes[0].seen) == 2


def test_a_breaker_can_be_taken_away(served: InProcess, nodes: list[ActingNode]) -> None:
    nodes[0].play(status(500), status(500))
    route(served, nodes[0].address, breaker=BREAKER)
    assert statuses(served, 3) == [500, 500, 503]
    route(served, nodes[0].address)
    assert statuses(served, 3) == [200] * 3


def test_an_upstream_that_is_well_has_no_guard(served: InProcess, nodes: list[ActingNode], clock: Clock) -> None:
    port = free_port()
    route(served, f"127.0.0.1:{port}", nodes[0].address)
    late = None
    try:
        statuses(served, 4)
        [plan] = served.engine.node_states.plans("routes/1#upstream")
        assert plan.guard is not None
        assert plan.observers == ()
        late = ActingNode(port=port)
        clock.go(10)
        statuses(served, 4)
        assert (plan.guard, plan.observers) == (None, ())
    finally:
        if late is not None:
            late.stop()


def test_the_error_log_says_now_and_then_why_nobody_is_asked(
    served: InProcess, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    served.write("routes", "1", {"uri": "/*", "upstream": {"nodes": {"127.0.0.1:1": 0, "127.0.0.1:2": 0}}})
    assert statuses(served, 3) == [502] * 3
    served.write("routes", "1", {"uri": "/*", "upstream": {"nodes": {}}})
    assert statuses(served, 3) == [503] * 3
    clock.go(11)
    assert statuses(served, 2) == [503] * 2
    assert [record.getMessage() for record in caplog.records if record.name == "bascule.engine"] == [
        "routes/1#upstream: no upstream node has a weight",
        "routes/1#upstream: no valid upstream node",
        "routes/1#upstream: no valid upstream node",
    ]
