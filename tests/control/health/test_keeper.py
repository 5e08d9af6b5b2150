import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from bascule.balance.node_health import Outcome, Status
from bascule.control.health.keeper import HealthKeeper
from bascule.control.health.kept_states import KeptStates, read
from bascule.control.health.memories import Memories, Memory, fingerprint, packed, unpacked
from bascule.control.health.states import NOTHING, NodeNames, States
from bascule.model.change import Change
from bascule.model.discovery import DiscoveredNode
from bascule.model.health_check import Checks
from bascule.model.settings import Settings
from bascule.observe.metrics import Metrics
from bascule.snapshot.references import from_environment
from tests.control.health.asked import eventually
from tests.servers.ports import free_port
from tests.servers.raw import RawUpstream, answers, response

YAML = {"role": "data_plane", "role_data_plane": {"config_provider": "yaml"}}
HOURLY = {"active": {"type": "tcp", "timeout": 20, "healthy": {"interval": 3600}, "unhealthy": {"interval": 3600}}}
QUICK = {"active": {"type": "tcp", "timeout": 20, "unhealthy": {"tcp_failures": 1}}}


def settings(**apisix: Any) -> Settings:
    return Settings.model_validate({"apisix": apisix, "deployment": YAML})


class Kept:
    """A keeper, and what workers know of it."""

    def __init__(self, made: Settings | None = None) -> None:
        self.known: States = {}
        self.told = 0
        self.states = KeptStates()
        self.keeper = HealthKeeper(made or settings(), from_environment({}), self.tell, self.states)

    def tell(self, states: States) -> None:
        assert states
        self.told += 1
        self.known |= states
        for key in [key for key, names in self.known.items() if names == NOTHING]:
            del self.known[key]
        assert self.known == self.keeper.states

    def take(self, *items: tuple[str, str, Any]) -> None:
        self.keeper.take([Change(*item) for item in items])

    def unusable(self, key: str) -> set[str]:
        return set(self.known[key].unusable) if key in self.known else set()


def play(script: Callable[[Kept], Awaitable[None]], made: Settings | None = None) -> None:
    async def run() -> None:
        kept = Kept(made)
        try:
            await asyncio.wait_for(script(kept), 40)
        finally:
            await kept.keeper.stop()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def upstream(*nodes: str, **more: Any) -> dict[str, Any]:
    return {"nodes": dict.fromkeys(nodes, 1), "type": "roundrobin", "checks": QUICK, **more}


def test_every_upstream_is_checked_from_the_start(raw_upstream: Callable[..., RawUpstream]) -> None:
    good, dead = raw_upstream().address, f"127.0.0.1:{free_port()}"

    async def script(kept: Kept) -> None:
        kept.take(
            ("upstreams", "1", upstream(good, dead)),
            ("services", "2", {"upstream": upstream(dead)}),
            ("routes", "3", {"uri": "/", "upstream": upstream(dead, good)}),
            ("routes", "4", {"uri": "/", "upstream": {"nodes": {dead: 1}}}),
            ("routes", "5", {"uri": "/", "upstream": upstream(dead), "status": 0}),
            ("routes", "6", {"uri": "/", "upstream_id": "1"}),
            ("consumers", "7", {"username": "7"}),
        )
        keys = {"upstreams/1", "services/2#upstream", "routes/3#upstream"}
        await eventually(lambda: set(kept.known) == keys)
        assert {key: kept.unusable(key) for key in keys} == {key: {dead} for key in keys}
        assert [entry["name"] for entry in kept.keeper.describe()] == ["/upstreams/1", "/services/2", "/routes/3"]
        details = kept.keeper.details()
        assert {name: details[name] for name in ("enabled", "upstreams", "nodes", "unhealthy")} == {
            "enabled": True,
            "upstreams": 3,
            "nodes": 5,
            "unhealthy": 3,
        }
        assert {entry["reason"] for entry in details["unhealthy_nodes"]} == {"connection refused"}
        assert repr(kept.keeper) == "<health keeper: 3 upstreams>"

    play(script)


def test_what_goes_away_is_forgotten_and_told() -> None:
    dead, other = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"

    async def script(kept: Kept) -> None:
        kept.take(("upstreams", "1", upstream(dead)), ("upstreams", "2", upstream(other)))
        await eventually(lambda: len(kept.known) == 2)
        kept.take(("upstreams", "1", None), ("upstreams", "2", {"nodes": {other: 1}}))
        await eventually(lambda: not kept.known)
        assert kept.keeper.describe() == []

    play(script)


def test_edits(raw_upstream: Callable[..., RawUpstream]) -> None:
    good, dead, other = raw_upstream().address, f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"

    async def script(kept: Kept) -> None:
        kept.take(("upstreams", "1", upstream(good, dead)))
        await eventually(lambda: kept.unusable("upstreams/1") == {dead})
        # Nodes come and go; a version that is refused changes nothing.
        kept.take(("upstreams", "1", upstream(dead, other, good)))
        assert kept.keeper.states == kept.known
        kept.take(("upstreams", "1", upstream("a b:0", type=7)), ("upstreams", "1", upstream("x:99999")))
        await eventually(lambda: kept.unusable("upstreams/1") == {dead, other})
        kept.take(("upstreams", "1", upstream(good, dead)))
        await eventually(lambda: kept.unusable("upstreams/1") == {dead})
        # Other checks begin anew.
        slow = {"active": {"type": "tcp", "healthy": {"interval": 1000}, "unhealthy": {"tcp_failures": 250}}}
        kept.take(("upstreams", "1", upstream(good, dead, checks=slow)))
        await eventually(lambda: not kept.unusable("upstreams/1"))

    play(script)


def test_nodes_of_services(raw_upstream: Callable[..., RawUpstream]) -> None:
    good, dead = raw_upstream().port, free_port()
    conf = {"service_name": "s", "discovery_type": "dns", "checks": QUICK}
    key = "routes/1#upstream"

    async def script(kept: Kept) -> None:
        kept.keeper.discovered(key, (DiscoveredNode("127.0.0.1", good), DiscoveredNode("127.0.0.1", dead)))
        kept.take(("routes", "1", {"uri": "/", "upstream": conf}))
        await eventually(lambda: kept.unusable(key) == {f"127.0.0.1:{dead}"})
        kept.keeper.discovered(key, (DiscoveredNode("127.0.0.1", good), DiscoveredNode("localhost", None)))
        await eventually(lambda: f"127.0.0.1:{dead}" not in kept.unusable(key))
        [entry] = kept.keeper.describe()
        assert [(node["hostname"], node["port"]) for node in entry["nodes"]] == [("127.0.0.1", good), ("localhost", 80)]
        kept.keeper.discovered(key, None)
        assert kept.keeper.describe()[0]["nodes"] == []

    play(script)


def test_upstreams_of_plugins() -> None:
    dead = f"127.0.0.1:{free_port()}"
    split = {"rules": [{"weighted_upstreams": [{"upstream": upstream(dead)}]}]}
    key = "routes/1#plugins/traffic-split/rules/0/weighted_upstreams/0/upstream"

    async def script(kept: Kept) -> None:
        kept.take(("routes", "1", {"uri": "/", "plugins": {"traffic-split": split}}))
        await eventually(lambda: kept.unusable(key) == {dead})
        assert [entry["name"] for entry in kept.keeper.describe()] == [f"/{key}"]
        kept.take(("routes", "1", {"uri": "/"}))
        await eventually(lambda: not kept.known)

    play(script)


def test_reports_of_workers() -> None:
    node = "127.0.0.1:1"

    async def script(kept: Kept) -> None:
        kept.take(("upstreams", "1", upstream(node, checks={"passive": {"unhealthy": {"tcp_failures": 2}}})))
        kept.keeper.reported({"upstreams/1": [(node, Outcome.TCP_FAILURE, 1)], "gone": [(node, 2, 1)]})
        kept.keeper.reported({"upstreams/1": [(node, Outcome.TCP_FAILURE, 1)]})
        await eventually(lambda: kept.unusable("upstreams/1") == {node})
        assert kept.told == 1  # one message for all that changed at the same time

    play(script)


def test_switched_off() -> None:
    dead = f"127.0.0.1:{free_port()}"
    changes = [Change("upstreams", "1", upstream(dead))]

    async def script(kept: Kept) -> None:
        kept.keeper.take(changes)
        assert (kept.keeper.states, kept.keeper.describe(), kept.keeper.enabled) == (None, [], False)
        await kept.keeper.use(settings(), changes)
        await eventually(lambda: kept.unusable("upstreams/1") == {dead})
        await kept.keeper.use(settings(status={"port": 7086}), [])  # doesn't concern it
        assert kept.unusable("upstreams/1") == {dead}
        await kept.keeper.use(settings(disable_upstream_healthcheck=True), changes)
        assert (kept.keeper.states, kept.keeper.describe()) == (None, [])

    play(script, settings(disable_upstream_healthcheck=True))


def test_other_settings_keep_what_is_known() -> None:
    dead, key = f"127.0.0.1:{free_port()}", "upstreams/1"
    checks = {"active": {**HOURLY["active"], "unhealthy": {"interval": 3600, "tcp_failures": 1}}}
    changes = [Change("upstreams", "1", upstream(dead, checks=checks))]

    async def script(kept: Kept) -> None:
        kept.keeper.take(changes)
        await eventually(lambda: kept.unusable(key) == {dead})
        await kept.keeper.use(settings(dns_resolver_valid=7), changes)
        states = kept.keeper.states  # nothing was probed yet
        assert states is not None
        assert states[key].unusable == {dead}

    play(script)


def test_a_control_plane_probes_nothing() -> None:
    made = Settings.model_validate({"deployment": {"role": "control_plane"}})
    assert not Kept(made).keeper.enabled


@pytest.mark.parametrize(
    ("deployment", "name"),
    [
        ({}, "/apisix/upstreams/1"),
        ({"etcd": {"host": ["http://127.0.0.1:1"], "prefix": "/gw"}}, "/gw/upstreams/1"),
        (YAML, "/upstreams/1"),
    ],
)
def test_names(deployment: dict[str, Any], name: str) -> None:
    async def script(kept: Kept) -> None:
        kept.take(("upstreams", "1", upstream("127.0.0.1:1")))
        assert [entry["name"] for entry in kept.keeper.describe()] == [name]

    play(script, Settings.model_validate({"deployment": deployment}))


def test_metrics(raw_upstream: Callable[..., RawUpstream]) -> None:
    upstreams = raw_upstream(answers(response()))
    good, dead = upstreams.address, f"127.0.0.1:{free_port()}"

    async def script(kept: Kept) -> None:
        checks = {"active": {"timeout": 20, "unhealthy": {"tcp_failures": 1}}}
        kept.take(
            ("upstreams", "1", upstream(good, dead, checks=checks)),
            ("upstreams", "2", upstream("no-such-name.invalid:80", checks=checks)),
        )
        metrics = Metrics()

        def text() -> str:
            kept.keeper.set_metrics(metrics, "apisix_")
            return metrics.render().decode()

        def line(family: str, port: str, value: int) -> str:
            return f'{family}{{name="/upstreams/1",ip="127.0.0.1",port="{port}"}} {value}\n'

        wanted = (
            line("apisix_upstream_status", good.rpartition(":")[2], 1),
            line("apisix_upstream_status", dead.rpartition(":")[2], 0),
            'bascule_health_probes{name="/upstreams/1",result="success"} ',
            'bascule_health_probes{name="/upstreams/1",result="tcp_failure"} ',
            'apisix_upstream_status{name="/upstreams/2",ip="no-such-name.invalid",port="80"} 0\n',
            'bascule_health_probes{name="/upstreams/2",result="unresolved"} ',
        )
        await eventually(lambda: all(part in text() for part in wanted))
        kept.take(("upstreams", "1", None))
        assert "/upstreams/1" not in text()

    play(script)


def test_client_certificates_of_ssls() -> None:
    async def script(kept: Kept) -> None:
        kept.take(
            ("ssls", "c", {"type": "client", "cert": "C", "key": "K"}),
            ("ssls", "s", {"sni": "a", "cert": "C", "key": "K"}),
        )
        assert kept.keeper._pairs == {"c": ("C", "K")}
        kept.take(("ssls", "c", {"type": "client", "cert": "C", "key": "K", "status": 0}))
        assert kept.keeper._pairs == {}

    play(script)


def test_what_the_gateway_before_knew(
    raw_upstream: Callable[..., RawUpstream], caplog: pytest.LogCaptureFixture
) -> None:
    good, other = raw_upstream(), raw_upstream()
    key, found = "upstreams/1", "routes/2#upstream"
    service = {"service_name": "s", "discovery_type": "dns", "checks": HOURLY}

    async def script(kept: Kept) -> None:
        checks = fingerprint(Checks.model_validate(HOURLY))
        bad = Memory(Status.UNHEALTHY, (0, 0, 2, 0), "connection refused", datetime.now(UTC))
        known = {
            key: Memories(checks, {good.address: bad, "127.0.0.9:1": bad}),
            found: Memories(checks, {other.address: bad}),
        }
        old = KeptStates()
        old.look = lambda: packed(known)
        old.save()
        kept.states.inherit(os.dup(old.fd))
        kept.take(
            ("upstreams", "1", upstream(good.address, checks=HOURLY)),
            ("routes", "2", {"uri": "/", "upstream": service}),
        )
        assert kept.keeper.states == {key: NodeNames(frozenset({good.address}), frozenset({good.address}))}
        kept.keeper.discovered(found, (DiscoveredNode("127.0.0.1", other.port),))
        await eventually(lambda: kept.known == kept.keeper.states and set(kept.known) == {key, found})
        # The one after it gets what this one knows, asked for or not.
        await eventually(lambda: kept_now(kept) == {good.address, "127.0.0.9:1", other.address})
        assert "3 nodes are known to be unhealthy from the gateway before" in caplog.text

    play(script)


def kept_now(kept: Kept) -> set[str]:
    try:
        return {name for one in unpacked([read(kept.states.fd)]).values() for name in one.nodes}
    except ValueError:
        return set()
