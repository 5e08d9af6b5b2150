"""Nodes passed over and outcomes of tries, in an engine of this process."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bascule.engine import node_states
from bascule.engine.load_table import LoadTable
from bascule.engine.node_states import NodeStates
from bascule.model.engine_settings import EngineSettings
from bascule.snapshot.compiled_upstream import CompiledUpstream, Node
from tests.engine.in_process import InProcess, engine_in_process
from tests.servers.ports import free_port
from tests.servers.raw import RawConnection, RawUpstream, answers, response

Start = Callable[..., RawUpstream]
KEY = "routes/r#upstream"


@pytest.fixture
def nodes(raw_upstream: Start) -> dict[str, RawUpstream]:
    return {name: raw_upstream(answers(response(name.encode()))) for name in "abc"}


def serve(stand: InProcess, nodes: Any, **more: Any) -> None:
    stand.write("routes", "r", {"uri": "/*", "upstream": {"nodes": nodes, **more}})


def over(stand: InProcess, source: str, *nodes: RawUpstream, firm: bool = False) -> None:
    stand.engine.node_states.set(KEY, source, frozenset(node.address for node in nodes), firm=firm)


class Observer:
    def __init__(self) -> None:
        self.seen: list[tuple[int, int, int]] = []
        self.seconds: list[float] = []

    def outcome(self, plan: Any, node_index: int, status: int, reason: int, seconds: float) -> None:
        self.seen.append((node_index, status, reason))
        self.seconds.append(seconds)


@pytest.fixture
def observer(stand: InProcess) -> Iterator[Observer]:
    one = Observer()

    def add(plan: Any) -> None:
        plan.observers += (one,)

    stand.engine.on_plan.append(add)
    yield one
    stand.engine.on_plan.remove(add)


@pytest.mark.parametrize("type", ["roundrobin", "chash", "least_conn", "ewma"])
def test_nodes_that_a_source_names_are_passed_over(stand: InProcess, nodes: dict[str, RawUpstream], type: str) -> None:
    a, b, c = nodes.values()
    serve(stand, {node.address: 1 for node in (a, b, c)}, type=type, key="arg_k")
    over(stand, "health", a)
    assert "a" not in stand.bodies("/?k=1", 12)
    over(stand, "ejected", b)
    assert set(stand.bodies("/?k=2", 12)) == {"c"}
    over(stand, "health")
    assert "b" not in stand.bodies("/?k=3", 12)
    over(stand, "ejected")
    found = {body for k in range(40) for body in stand.bodies(f"/?k={k}", 1)}
    assert found - {"c"}  # ewma may keep away from one that was slow


def test_shares_stay_exact_while_nodes_are_passed_over(stand: InProcess, nodes: dict[str, RawUpstream]) -> None:
    a, b, c = nodes.values()
    serve(stand, {a.address: 3, b.address: 2, c.address: 1})
    over(stand, "health", b)
    assert Counter(stand.bodies("/", 40)) == {"a": 30, "c": 10}
    over(stand, "health")
    assert Counter(stand.bodies("/", 60)) == {"a": 30, "b": 20, "c": 10}


def test_all_are_used_when_nobody_would_be_left_but_for_what_is_firm(
    stand: InProcess, nodes: dict[str, RawUpstream]
) -> None:
    a, b, c = nodes.values()
    spares = [{"host": "127.0.0.1", "port": port, "weight": 0} for port in (c.port, free_port())]
    listed = [{"host": "127.0.0.1", "port": node.port, "weight": 1, "priority": -i} for i, node in enumerate((a, b))]
    serve(stand, [*listed, *spares])
    over(stand, "health", a)
    assert set(stand.bodies("/", 4)) == {"b"}
    over(stand, "health", a, b)
    assert set(stand.bodies("/", 4)) == {"a"}
    over(stand, "breaker", a, firm=True)
    assert set(stand.bodies("/", 4)) == {"b"}
    over(stand, "breaker", a, b, firm=True)
    (refused,) = stand.get("/")
    assert refused.status == 502
    over(stand, "breaker")
    over(stand, "health")
    assert stand.engine.node_states.passed_over(KEY) == {}


def test_the_last_node_that_is_well_is_used_without_a_weight(stand: InProcess, nodes: dict[str, RawUpstream]) -> None:
    a, b, c = nodes.values()
    for type in ("roundrobin", "least_conn", "chash"):
        serve(stand, {a.address: 1, b.address: 2, c.address: 0}, type=type, key="uri")
        assert "c" not in stand.bodies("/", 12)
        over(stand, "health", a)
        assert set(stand.bodies("/", 4)) == {"b"}
        over(stand, "health", a, b)
        assert set(stand.bodies("/", 4)) == {"c"}
        over(stand, "health", a, b, c)
        found = {body for k in range(20) for body in stand.bodies(f"/{k}", 1)}
        assert found <= {"a", "b"}
        over(stand, "health")
        assert "c" not in stand.bodies("/", 12)
    serve(stand, {c.address: 0})
    assert set(stand.bodies("/", 2)) == {"c"}
    over(stand, "health", c)
    assert set(stand.bodies("/", 2)) == {"c"}
    over(stand, "health")
    serve(stand, {a.address: 0, c.address: 0})
    assert stand.get("/")[0].status == 502


def test_edits_keep_what_was_said_and_measured(stand: InProcess, nodes: dict[str, RawUpstream]) -> None:
    a, b, c = nodes.values()
    over(stand, "health", a)
    serve(stand, {a.address: 1, b.address: 1}, type="least_conn")
    assert set(stand.bodies("/", 4)) == {"b"}
    loads = stand.engine.node_states.loads(KEY)
    measured = loads[b.address]
    serve(stand, {c.address: 1, b.address: 1, a.address: 5}, type="least_conn")
    assert set(stand.bodies("/", 6)) == {"b", "c"}
    assert stand.engine.node_states.loads(KEY)[b.address] is measured
    plans = list(stand.engine.node_states.plans(KEY))
    assert plans[-1].passed_over == frozenset({2}) or {2} in [set(plan.passed_over) for plan in plans]
    over(stand, "health")


def test_observers_hear_of_each_try_once(stand: InProcess, raw_upstream: Start, observer: Observer) -> None:
    def breaks(connection: RawConnection) -> None:
        connection.read_request()
        connection.close()

    def cuts(connection: RawConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        connection.close()

    works = raw_upstream(answers(response(b"no", "404 Not Found")))
    serve(stand, {works.address: 1})
    assert stand.get("/")[0].status == 404
    assert observer.seen == [(0, 404, 0)]
    assert 0 <= observer.seconds[0] < 30

    observer.seen.clear()
    broken = raw_upstream(breaks)
    serve(stand, [{"host": "127.0.0.1", "port": node.port, "weight": 1} for node in (broken, works)])
    assert stand.get("/")[0].status == 404
    assert observer.seen == [(0, 0, 3), (1, 404, 0)]  # F_CLOSED

    observer.seen.clear()
    serve(stand, {f"127.0.0.1:{free_port()}": 1})
    assert stand.get("/")[0].status == 502
    assert observer.seen == [(0, 0, 1)]  # F_CONNECT

    observer.seen.clear()
    serve(stand, {raw_upstream(cuts).address: 1})
    with pytest.raises(Exception, match="half"):
        stand.get("/")
    assert observer.seen == [(0, 200, 0)]  # its head came


def test_a_failing_observer_harms_nobody(
    stand: InProcess, nodes: dict[str, RawUpstream], caplog: pytest.LogCaptureFixture
) -> None:
    class Fails:
        def outcome(self, *facts: Any) -> None:
            raise RuntimeError("oh")

    def add(plan: Any) -> None:
        plan.observers += (Fails(),)

    stand.engine.on_plan.append(add)
    try:
        serve(stand, {nodes["a"].address: 1})
        assert stand.bodies("/", 2) == ["a", "a"]
    finally:
        stand.engine.on_plan.remove(add)
    assert caplog.text.count("internal error in") == 2


def test_what_nobody_uses_is_forgotten_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_states, "MANY", 4)
    monkeypatch.setattr(node_states, "KEPT_S", -1.0)
    states = NodeStates()
    states.set("upstreams/kept", "health", frozenset({"a:1"}))
    for i in range(20):
        states.loads(f"upstreams/{i}")
    assert repr(states).split()[1] in ("2", "3", "4")
    assert states.passed_over("upstreams/kept") == {"health": frozenset({"a:1"})}
    states.set("upstreams/none", "health", frozenset())
    assert states.passed_over("upstreams/none") == {}


def test_a_node_that_leaves_and_comes_back_keeps_its_row_while_an_older_version_has_it() -> None:
    def version(*hosts: str) -> CompiledUpstream:
        return CompiledUpstream("upstreams/1", "1", tuple(Node(host, 1, 1) for host in hosts), type="p2c")

    created = LoadTable.create(rows=8)
    table = LoadTable.attach(created.fd)
    states = NodeStates(0, table)
    older = states.balancer(version("a", "b"))  # a long request has it still
    states.balancer(version("b"))
    newest = states.balancer(version("a", "b"))
    newest.on_start(0)
    del older
    assert states.loads("upstreams/1")["a:1"].all_active == 1
    assert repr(table).startswith("<LoadTable 2 nodes")
    newest.on_finish(0, 0.1, True)
    assert states.loads("upstreams/1")["a:1"].all_active == 0


def test_nodes_of_the_own_zone_first(nodes: dict[str, RawUpstream]) -> None:
    listed = [
        {"host": "127.0.0.1", "port": node.port, "weight": 1, "metadata": {"zone": zone}}
        for node, zone in zip(nodes.values(), ("here", "here", "there"), strict=True)
    ]
    with engine_in_process(EngineSettings(zone="here")) as stand:
        serve(stand, listed)
        assert Counter(stand.bodies("/", 10)) == {"a": 5, "b": 5}
        over(stand, "health", nodes["a"])  # half of the zone is less than 70 %: 5/7 stay
        assert Counter(stand.bodies("/", 70)) == {"b": 50, "c": 20}
        serve(stand, listed, locality={"threshold": 50})
        assert Counter(stand.bodies("/", 10)) == {"b": 10}
        over(stand, "health")
        serve(stand, listed, locality={"disable": True})
        assert Counter(stand.bodies("/", 9)) == {"a": 3, "b": 3, "c": 3}
        serve(stand, [{**node, "metadata": {"zone": ["odd"]}} for node in listed])
        assert Counter(stand.bodies("/", 9)) == {"a": 3, "b": 3, "c": 3}
