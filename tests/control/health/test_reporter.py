import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import bascule.engine
from bascule.balance.node_health import Outcome
from bascule.control.health.reporter import TIMEOUTS, HealthReporter, Judgement
from bascule.control.health.states import NodeNames, Reports, States
from bascule.engine.node_states import NodeStates
from bascule.model.health_check import PassiveCheck
from bascule.model.upstream import Upstream
from bascule.snapshot.upstream_compiler import compile_upstream
from tests.control.health.asked import eventually

CONNECT, CONNECT_TIMEOUT, CLOSED, READ_TIMEOUT, SEND_TIMEOUT, MALFORMED, NO_ADDRESS = range(1, 8)  # engine/failure.pxd
KEY, A, B = "upstreams/1", "10.0.0.1:80", "10.0.0.2:80"


class Stand:
    """A reporter, a plan that it watches, and what it sent."""

    def __init__(self, passive: dict[str, Any] | None, states: States | None = None) -> None:
        self.sent: list[Reports] = []
        self.states = NodeStates()
        self.reporter = HealthReporter(
            asyncio.get_running_loop(), self.states, self.sent.append, {} if states is None else states
        )
        checks = {"active": {}} if passive is None else {"passive": passive}
        conf = Upstream.model_validate({"nodes": {A: 1, B: 1}, "checks": checks})
        self.plan: Any = SimpleNamespace(upstream=compile_upstream(conf, KEY, "1", None), observers=())
        self.reporter.watch(self.plan)

    def tries(self, node: int, *ends: tuple[int, int]) -> None:
        """(status, reason) of each."""
        for status, reason in ends:
            self.plan.observers[0].outcome(self.plan, node, status, reason, 0.1)

    async def next(self) -> Reports:
        """The next batch."""
        count = len(self.sent)
        await eventually(lambda: len(self.sent) > count)
        return self.sent[-1]


def play(script: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(script(), 20))


@pytest.mark.parametrize(
    ("passive", "ends"),
    [
        (
            {},
            {
                (200, 0): Outcome.SUCCESS,
                (302, 0): Outcome.SUCCESS,
                (404, 0): None,
                (101, 0): None,
                (429, 0): Outcome.HTTP_FAILURE,
                (500, 0): Outcome.HTTP_FAILURE,
                (0, CONNECT): Outcome.TCP_FAILURE,
                (0, CLOSED): Outcome.TCP_FAILURE,
                (0, MALFORMED): Outcome.TCP_FAILURE,
                (0, NO_ADDRESS): Outcome.TCP_FAILURE,
                (0, CONNECT_TIMEOUT): Outcome.TIMEOUT,
                (0, READ_TIMEOUT): Outcome.TIMEOUT,
                (0, SEND_TIMEOUT): Outcome.TIMEOUT,
            },
        ),
        (
            {"type": "tcp"},
            {
                (200, 0): Outcome.SUCCESS,
                (500, 0): Outcome.SUCCESS,
                (0, CONNECT): Outcome.TCP_FAILURE,
                (0, READ_TIMEOUT): Outcome.TIMEOUT,
            },
        ),
        (
            {"healthy": {"successes": 0}, "unhealthy": {"http_failures": 0, "tcp_failures": 0, "timeouts": 0}},
            {(200, 0): None, (500, 0): None, (0, CONNECT): None, (0, READ_TIMEOUT): None},
        ),
        ({"healthy": {"http_statuses": [200, 500]}}, {(500, 0): Outcome.SUCCESS, (503, 0): Outcome.HTTP_FAILURE}),
    ],
)
def test_what_a_try_counts_as(passive: dict[str, Any], ends: dict[tuple[int, int], Outcome | None]) -> None:
    judgement = Judgement(PassiveCheck.model_validate(passive))
    assert {end: judgement.of(*end) for end in ends} == ends


def test_the_engines_reasons() -> None:
    text = (Path(bascule.engine.__file__).parent / "failure.pxd").read_text()
    numbers = {name: int(number) for name, number in re.findall(r"F_(\w+) = (\d+)", text)}
    assert {numbers[name] for name in numbers if "TIMEOUT" in name} == TIMEOUTS
    assert (numbers["CONNECT"], numbers["NO_ADDRESS"]) == (CONNECT, NO_ADDRESS)


def test_failures_are_told_at_once_and_successes_only_when_they_count() -> None:
    async def script() -> None:
        stand = Stand({})
        stand.tries(0, (200, 0), (200, 0))
        assert stand.sent == []
        stand.tries(0, (0, CONNECT))
        assert stand.sent == [{KEY: [(A, Outcome.TCP_FAILURE, 1)]}]
        # What comes soon after waits for its batch; each node's in order.
        stand.tries(0, (200, 0), (200, 0), (500, 0))
        stand.tries(1, (200, 0))
        assert len(stand.sent) == 1
        assert await stand.next() == {KEY: [(A, Outcome.SUCCESS, 2), (A, Outcome.HTTP_FAILURE, 1)]}
        stand.reporter.take({KEY: NodeNames(frozenset(), frozenset({B}))})
        stand.tries(0, (200, 0))
        stand.tries(1, (200, 0))
        assert await stand.next() == {KEY: [(B, Outcome.SUCCESS, 1)]}
        stand.reporter.take({KEY: NodeNames(frozenset(), frozenset())})
        stand.tries(1, (200, 0))
        await asyncio.sleep(0.12)
        assert len(stand.sent) == 3
        stand.tries(1, (0, READ_TIMEOUT))
        assert len(stand.sent) == 4

    play(script)


def test_many_tries_make_a_small_message() -> None:
    async def script() -> None:
        stand = Stand({})
        stand.tries(0, (500, 0))
        for _ in range(3000):
            stand.tries(0, (500, 0))
            stand.tries(1, (500, 0), (200, 0))
        batch = await stand.next()
        assert batch[KEY][0] == (A, Outcome.HTTP_FAILURE, 254)
        assert len(batch[KEY]) == 257

    play(script)


def test_the_states_of_nodes_are_put_in_place() -> None:
    async def script() -> None:
        stand = Stand({}, {KEY: NodeNames(frozenset({A}), frozenset({A, B}))})
        assert stand.states.passed_over(KEY) == {"health": {A}}
        stand.tries(1, (200, 0))
        assert stand.sent == [{KEY: [(B, Outcome.SUCCESS, 1)]}]
        stand.reporter.take({KEY: NodeNames(frozenset(), frozenset())})
        assert stand.states.passed_over(KEY) == {}
        assert repr(stand.reporter) == "<health reporter: 0 upstreams with unsettled nodes>"

    play(script)


def test_active_checks_alone_watch_no_requests() -> None:
    async def script() -> None:
        assert Stand(None).plan.observers == ()

    play(script)
