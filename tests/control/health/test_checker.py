import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bascule.balance.node_health import Outcome
from bascule.control.health.checker import Checker
from bascule.control.health.probe import Probe
from bascule.control.health.prober import Watcher
from bascule.control.health.questioner import Result
from bascule.model.upstream import Upstream
from bascule.snapshot.upstream_compiler import compile_upstream
from tests.control.health.asked import eventually

GOOD = Result(Outcome.SUCCESS, "success")
REFUSED = Result(Outcome.TCP_FAILURE, "tcp_failure", "connection refused")
BAD = Result(Outcome.HTTP_FAILURE, "http_failure", "status 500")
A, B = "10.0.0.1:80", "10.0.0.2:80"


class Asked:
    """In a prober's place: who watches what, and when somebody was in a hurry."""

    def __init__(self) -> None:
        self.watched: dict[Probe, Watcher] = {}
        self.hurried: list[tuple[str, float]] = []

    def watch(self, probe: Probe, watcher: Watcher) -> None:
        self.watched[probe] = watcher

    def forget(self, probe: Probe, watcher: Watcher) -> None:
        assert self.watched.pop(probe) is watcher

    def hurry(self, probe: Probe, delay_s: float) -> None:
        self.hurried.append((probe.host, delay_s))


class Stand:
    """A checker of an upstream with these `checks`, and what it told."""

    def __init__(self, checks: dict[str, Any], **upstream: Any) -> None:
        self.asked = Asked()
        self.changes = 0
        self.counted: list[str] = []
        self.conf = {"nodes": {A: 1, B: 1}, "checks": checks, **upstream}
        asked: Any = self.asked
        self.checker = Checker(
            "/upstreams/1",
            Upstream.model_validate(self.conf),
            asked,
            changed=lambda _: self.change(),
            counted=lambda _, kind: self.counted.append(kind),
            address_of={"a.test": "10.9.9.9"}.get,
        )
        self.take()

    def change(self) -> None:
        self.changes += 1

    def take(self, **upstream: Any) -> bool:
        """Another version; whether the checker is kept."""
        self.conf |= upstream
        conf = Upstream.model_validate(self.conf)
        if self.checker.may_become(conf):
            self.checker.take(conf, compile_upstream(conf, "upstreams/1", None, None).nodes)
            return True
        return False

    def probed(self, name: str, *results: Result) -> None:
        watcher = self.checker.nodes[name]
        for result in results:
            watcher.probed(result)

    def statuses(self) -> dict[str, str]:
        return {name: str(node.health.status) for name, node in self.checker.nodes.items()}


def play(script: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(script(), 20))


ACTIVE = {"active": {"healthy": {"interval": 9}, "unhealthy": {"interval": 2}}}
PASSIVE_SOON = {"passive": {"unhealthy": {"retry_after": 0.3}}}


def test_probes_decide(caplog: pytest.LogCaptureFixture) -> None:
    stand = Stand(ACTIVE)
    assert {probe.host for probe in stand.asked.watched} == {"10.0.0.1", "10.0.0.2"}
    stand.probed(A, GOOD, REFUSED)
    assert (stand.changes, stand.checker.unusable, stand.checker.unsettled) == (1, frozenset(), {A})
    assert stand.checker.nodes[A].interval_s == 9
    stand.probed(A, REFUSED)
    assert (stand.changes, stand.checker.unusable, stand.checker.unsettled) == (2, {A}, {A})
    assert stand.checker.nodes[A].interval_s == 2
    assert stand.asked.hurried == [("10.0.0.1", 2)]
    stand.probed(A, REFUSED, REFUSED)
    assert stand.changes == 2
    [trouble] = stand.checker.troubles()
    assert {**trouble, "since": ""} == {
        "upstream": "/upstreams/1",
        "node": A,
        "status": "unhealthy",
        "reason": "connection refused",
        "since": "",
    }
    stand.probed(A, GOOD, GOOD)
    assert (stand.checker.unusable, stand.checker.unsettled) == (frozenset(), frozenset())
    assert stand.counted == ["success", *["tcp_failure"] * 4, "success", "success"]
    assert [record.message for record in caplog.records] == [
        f"/upstreams/1: node {A} is unhealthy: connection refused",
        f"/upstreams/1: node {A} is healthy again",
    ]


def test_all_unhealthy_is_told(caplog: pytest.LogCaptureFixture) -> None:
    stand = Stand(ACTIVE)
    stand.probed(A, REFUSED, REFUSED)
    assert "all" not in caplog.text
    stand.probed(B, REFUSED, REFUSED)
    assert caplog.records[-1].message == "/upstreams/1: all 2 nodes are unhealthy: all are used"


def test_what_says_nothing_counts_for_nothing() -> None:
    stand = Stand(ACTIVE)
    stand.probed(A, *[Result(None, "ignored", "status 301 is in neither list")] * 20)
    assert (stand.changes, stand.statuses()) == (0, {A: "healthy", B: "healthy"})


def test_edits_keep_what_is_known() -> None:
    stand = Stand(ACTIVE)
    stand.probed(A, REFUSED, REFUSED)
    stand.probed(B, BAD)
    stand.changes = 0
    watchers = set(stand.asked.watched.values())
    assert stand.take(nodes={A: 5, "10.0.0.3:80": 1, B: 0}, retries=1, labels={"x": "y"})
    assert stand.statuses() == {A: "unhealthy", "10.0.0.3:80": "healthy", B: "mostly_healthy"}
    assert stand.changes == 0
    assert watchers < set(stand.asked.watched.values())  # probes of these go on as they were
    assert stand.take(nodes={B: 1})
    assert (stand.statuses(), stand.changes, len(stand.asked.watched)) == ({B: "mostly_healthy"}, 1, 1)
    # Another name for the node: asked anew, known as before.
    assert stand.take(pass_host="rewrite", upstream_host="x.test")
    assert [probe.authority for probe in stand.asked.watched] == ["x.test"]
    assert stand.statuses() == {B: "mostly_healthy"}
    assert not stand.take(checks={"active": {"timeout": 3}})
    stand.checker.close()
    assert stand.asked.watched == {}


def test_requests_decide_with_thresholds_of_their_own() -> None:
    passive = {"healthy": {"successes": 1}, "unhealthy": {"http_failures": 3, "tcp_failures": 0}}
    stand = Stand({**ACTIVE, "passive": passive})
    stand.checker.reported([(A, Outcome.HTTP_FAILURE, 2), (B, Outcome.TCP_FAILURE, 200), ("gone:80", 1, 5)])
    assert stand.statuses() == {A: "mostly_healthy", B: "healthy"}
    stand.checker.reported([(A, Outcome.HTTP_FAILURE, 1)])
    assert stand.statuses() == {A: "unhealthy", B: "healthy"}
    assert stand.checker.troubles()[0]["reason"] == "requests were answered with a status that counts as unhealthy"
    stand.checker.reported([(A, Outcome.SUCCESS, 1)])
    assert stand.statuses() == {A: "healthy", B: "healthy"}
    stand.probed(A, *[BAD] * 4)
    assert stand.statuses()[A] == "mostly_healthy"
    stand.probed(A, BAD)
    assert stand.statuses()[A] == "unhealthy"


def test_without_probes_a_node_gets_requests_again_on_trial() -> None:
    async def script() -> None:
        stand = Stand({"passive": {"unhealthy": {"retry_after": 0.02, "tcp_failures": 3}}})
        assert stand.asked.watched == {}
        pauses = []
        loop = asyncio.get_running_loop()
        failures = 3
        for _ in range(3):
            stand.checker.reported([(A, Outcome.TCP_FAILURE, failures)])
            assert stand.checker.unusable == {A}
            began = loop.time()
            await eventually(lambda: not stand.checker.unusable)
            pauses.append(loop.time() - began)
            assert stand.statuses()[A] == "mostly_healthy"
            failures = 1  # it is on trial
        assert pauses[0] >= 0.019
        assert pauses[1] >= 0.038
        assert pauses[2] >= 0.076  # longer each time
        stand.checker.reported([(A, Outcome.SUCCESS, 5)])
        assert stand.statuses()[A] == "healthy"
        stand.checker.reported([(A, Outcome.TCP_FAILURE, 2)])
        assert stand.checker.unusable == frozenset()
        stand.checker.reported([(A, Outcome.TCP_FAILURE, 1)])
        stand.checker.close()
        assert stand.checker.nodes == {}

    play(script)


def test_with_probes_there_is_no_trial() -> None:
    async def script() -> None:
        stand = Stand({**ACTIVE, "passive": {"unhealthy": {"retry_after": 0.001}}})
        stand.checker.reported([(A, Outcome.TCP_FAILURE, 2)])
        await asyncio.sleep(0.05)
        assert stand.checker.unusable == {A}

    play(script)


@pytest.mark.parametrize(
    ("checks", "upstream", "expected"),
    [
        (ACTIVE, {}, {"ip": "10.0.0.1", "port": 80, "hostname": "10.0.0.1"}),
        ({"active": {"host": "h.test", "port": 81}}, {}, {"ip": "10.0.0.1", "port": 81, "hostname": "h.test"}),
        (ACTIVE, {"nodes": {"a.test:8": 1}}, {"ip": "10.9.9.9", "port": 8, "hostname": "a.test"}),
        (
            ACTIVE,
            {"nodes": {"a.test:8": 1}, "pass_host": "node"},
            {"ip": "10.9.9.9", "port": 8, "hostname": "a.test", "hostheader": "a.test"},
        ),
        (
            {"passive": {}},
            {"pass_host": "rewrite", "upstream_host": "u.test"},
            {"ip": "10.0.0.1", "port": 80, "hostname": "10.0.0.1", "hostheader": "u.test"},
        ),
    ],
)
def test_as_the_control_api_tells_it(
    checks: dict[str, Any], upstream: dict[str, Any], expected: dict[str, Any]
) -> None:
    told = Stand(checks, **upstream).checker.describe()
    assert (told["name"], told["type"]) == ("/upstreams/1", "http")
    counter = dict.fromkeys(("success", "http_failure", "tcp_failure", "timeout_failure"), 0)
    assert told["nodes"][0] == {**expected, "status": "healthy", "counter": counter}


def test_counts_are_told() -> None:
    stand = Stand({**ACTIVE, "passive": {}})
    stand.probed(A, BAD, BAD, REFUSED)
    node = stand.checker.describe()["nodes"][0]
    assert node["status"] == "mostly_healthy"
    assert node["counter"] == {"success": 0, "http_failure": 2, "tcp_failure": 1, "timeout_failure": 0}
    assert repr(stand.checker) == "<checker /upstreams/1: 0 of 2 nodes passed over>"


def test_what_an_older_gateway_knew() -> None:
    old = Stand(ACTIVE)
    old.probed(A, REFUSED, REFUSED, GOOD)
    memories = old.checker.memories()
    assert set(memories.nodes) == {A}

    new = Stand(ACTIVE, nodes={B: 1})
    new.checker.remember(memories)
    new.take(nodes={A: 1, B: 1})
    assert new.statuses() == {A: "mostly_unhealthy", B: "healthy"}
    assert (new.changes, new.checker.unusable) == (1, {A})
    assert new.checker.nodes[A].since == old.checker.nodes[A].since
    assert new.checker.troubles() == old.checker.troubles()
    new.probed(A, GOOD)  # the second one in a row
    assert new.statuses()[A] == "healthy"
    # It is known once: a node that comes back later begins healthy, as always.
    new.probed(A, REFUSED, REFUSED)
    new.take(nodes={B: 1})
    new.take(nodes={A: 1, B: 1})
    assert new.statuses()[A] == "healthy"


def test_what_was_known_holds_for_the_same_checks_and_not_for_ever() -> None:
    old = Stand(ACTIVE)
    old.probed(A, REFUSED, REFUSED)
    for checks, forgets in (({"active": {"type": "tcp"}}, False), (ACTIVE, True)):
        new = Stand(checks, nodes={B: 1})
        new.checker.remember(old.checker.memories())
        if forgets:
            new.checker.remember(None)
        new.take(nodes={A: 1, B: 1})
        assert set(new.statuses().values()) == {"healthy"}


def test_what_nobody_asked_for_yet_is_handed_on() -> None:
    old, middle = Stand(ACTIVE), Stand(ACTIVE, nodes={B: 1})
    old.probed(A, REFUSED, REFUSED)
    middle.checker.remember(old.checker.memories())
    assert middle.checker.memories() == old.checker.memories()


def test_a_trial_comes_when_it_would_have_come() -> None:
    async def script() -> None:
        old, late = Stand(PASSIVE_SOON), Stand(PASSIVE_SOON, nodes={B: 1})
        for _ in range(2):
            old.checker.reported([(A, Outcome.TCP_FAILURE, 1)])
        memories = old.checker.memories()
        assert memories.nodes[A].trial_at is not None
        late.checker.remember(memories)
        late.take(nodes={A: 1, B: 1})
        assert late.statuses()[A] == "unhealthy"
        await eventually(lambda: late.statuses()[A] == "mostly_healthy")
        old.checker.close()
        late.checker.close()

    play(script)
