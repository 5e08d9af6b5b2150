import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from bascule.balance.node_health import Status
from bascule.control.health.memories import Memories, Memory, count, fingerprint, packed, unpacked
from bascule.model.health_check import Checks
from tests.control.health.test_health_checks import control, get, statuses, unhealthy, until
from tests.servers.gateway import BASCULE, Gateway
from tests.servers.raw import RawUpstream, answers, response

SINCE = datetime(2026, 11, 24, 7, 41, tzinfo=UTC)
BAD = Memory(Status.UNHEALTHY, (0, 0, 2, 1), "connection refused", SINCE, 3, 1.8e9)
BETTER = Memory(Status.MOSTLY_UNHEALTHY, (1, 0, 0, 0), "", SINCE)
DOUBTED = Memory(Status.MOSTLY_HEALTHY, (0, 1, 0, 0), "status 500", SINCE)


def checks(**attributes: Any) -> Checks:
    return Checks.model_validate({"active": {}, **attributes})


def test_what_is_packed_is_unpacked() -> None:
    known = {
        "upstreams/1": Memories("print", {"127.0.0.1:80": BAD, "[::1]:80": BETTER}),
        "routes/a#upstream": Memories("other", {"a.test:1": DOUBTED}),
    }
    assert unpacked([packed(known | {"upstreams/2": Memories("print", {})})]) == known
    assert count(known.values()) == 2


def test_of_two_gateways_the_later_one_knows_better() -> None:
    older = {"a": Memories("p", {"n:1": BAD}), "b": Memories("p", {"n:1": BAD})}
    newer = {"a": Memories("p", {"n:1": BETTER})}
    assert unpacked([packed(older), packed(newer)]) == {**older, **newer}


NODE = {"status": "unhealthy", "counts": [0, 0, 2, 0], "reason": "", "since": 1.0, "relapses": 0, "trial_at": None}


def told(**node: Any) -> dict[str, Any]:
    return {"format": 1, "upstreams": {"a": {"checks": "p", "nodes": {"n:1": NODE | node}}}}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"format": 2, "upstreams": {}},
        {"format": 1, "upstreams": {"a": {"checks": "p", "nodes": [1]}}},
        told(status="ill"),
        told(counts=[1]),
        told(counts=7),
        told(since=1e300),
        told(since=None),
        told(trial_at="soon"),
    ],
)
def test_what_can_t_be_used_is_told_and_left_out(document: Any, caplog: pytest.LogCaptureFixture) -> None:
    good = {"b": Memories("p", {"n:1": BAD})}
    assert unpacked([orjson.dumps(document), packed(good)]) == good
    [record] = caplog.records
    assert record.message.startswith("what the older gateway knew of nodes' health can't be used: ")


def test_numbers_are_bounded() -> None:
    [memory] = unpacked([orjson.dumps(told(counts=[-1, 10**9, 0, 0], relapses=10**9))])["a"].nodes.values()
    assert (memory.counts, memory.relapses) == ((0, 254, 0, 0), 30)


def test_only_what_is_configured_tells_checks_apart() -> None:
    assert fingerprint(checks()) == fingerprint(checks(active={"timeout": 1, "type": "http"}))
    assert len({fingerprint(one) for one in (None, checks(), checks(active={"timeout": 2}), checks(passive={}))}) == 4


# ---- whole gateways

ROUNDS = {"interval": 1, "successes": 3}
LIMITS: dict[str, Any] = {"http_failures": 3, "tcp_failures": 3, "timeouts": 3}


def resources(good: RawUpstream, bad: RawUpstream) -> dict[str, Any]:
    nodes = {"nodes": {good.address: 1, bad.address: 1}, "retries": 0}
    active = {"active": {"timeout": 20, "healthy": ROUNDS, "unhealthy": LIMITS | {"http_statuses": [500]}}}
    passive = {"passive": {"unhealthy": {"http_failures": 2, "retry_after": 3600}}}
    return {
        "routes": [
            {"id": "active", "uri": "/active", "upstream": {**nodes, "checks": active}},
            {"id": "passive", "uri": "/passive", "upstream": {**nodes, "checks": passive}},
        ]
    }


def test_the_next_gateway_knows_them(gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]) -> None:
    """After an upgrade, and after the supervisor was killed."""
    good = raw_upstream(answers(response(b"good")))
    bad = raw_upstream(answers(response(b"bad", "500 Internal Server Error")))
    server = gateway(resources(good, bad), workers=2)
    until(
        lambda: get(server, "/passive") and len(server.status("/status/details")[1]["health"]["unhealthy_nodes"]) == 2,
        "both find the bad node",
    )
    assert unhealthy(server) == {bad.address}
    since = [entry["since"] for entry in server.status("/status/details")[1]["health"]["unhealthy_nodes"]]
    counts = json_of(server, "passive")
    taken_over = []
    try:
        done = subprocess.run(
            [BASCULE, "upgrade", "--config", str(server.directory / "config.yaml")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr + server.log
        taken_over.append(int(server.status("/status/details")[1]["pid"]))
        still_knows(server, good, bad)
        assert [entry["since"] for entry in server.status("/status/details")[1]["health"]["unhealthy_nodes"]] == since
        assert json_of(server, "passive") == counts
        assert "2 nodes are known to be unhealthy from the gateway before" in server.log
        server.process.popen.wait(20)

        os.kill(taken_over[0], signal.SIGKILL)
        until(lambda: not Path(f"/proc/{taken_over[0]}").exists(), "it is killed")
        server.restart()
        still_knows(server, good, bad)
        assert json_of(server, "passive") == counts
    finally:
        for pid in taken_over:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def still_knows(server: Gateway, good: RawUpstream, bad: RawUpstream) -> None:
    for path in ("/active", "/passive"):
        assert set(get(server, path, 20)) == {(200, "good")}, path
        assert statuses(server, f"/v1/healthcheck/routes{path}") == {good.port: "healthy", bad.port: "unhealthy"}


def json_of(server: Gateway, route: str) -> Any:
    return json.loads(control(server, f"/v1/healthcheck/routes/{route}")[1])["nodes"]
