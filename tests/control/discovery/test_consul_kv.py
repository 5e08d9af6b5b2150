import pytest

from bascule.control.discovery import consul, discovery
from bascule.control.discovery.consul_kv import ConsulKv, ConsulKvConfig
from bascule.control.discovery.discovery import DiscoveredNode, Found, Service
from tests.control.discovery.telling import host, play
from tests.servers.consul import ConsulAgent


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(consul, "LEAST_PAUSE_S", 0.001)
    monkeypatch.setattr(discovery, "FIRST_RETRY_S", 0.02)


@pytest.fixture
def agents():
    servers = [ConsulAgent(), ConsulAgent()]
    yield servers
    for server in servers:
        server.stop()


def of(*agents: ConsulAgent, **conf):
    return lambda place: ConsulKv(ConsulKvConfig(servers=tuple(agent.url for agent in agents), **conf), place)


def test_keys_are_nodes(agents):
    agent, _ = agents
    folder = f"{agent.url}/v1/kv/upstreams/web/"
    agent.put("upstreams/", b"")
    agent.put("upstreams/web/127.0.0.1:80", {"weight": 3, "max_fails": 2, "fail_timeout": 1})
    agent.put("upstreams/web/127.0.0.1:81", b"")
    agent.put("upstreams/web/127.0.0.1:82", b"garbage")
    agent.put("upstreams/web/no port", b"")
    agent.put("upstreams/skipped/127.0.0.1:80", b"")
    agent.put("elsewhere/web/127.0.0.1:80", b"")

    async def script(told):
        found = await told.found(folder, "127.0.0.1:80", "127.0.0.1:81", "127.0.0.1:82", "no port:0")
        first, second, third, _ = found.nodes[folder]
        assert (first, second) == (DiscoveredNode("127.0.0.1", 80, 3), DiscoveredNode("127.0.0.1", 81, 7))
        assert third.weight == "Z2FyYmFnZQ=="  # no weight: left out, and named
        assert list(found.nodes) == [folder]
        agent.delete("upstreams/web/127.0.0.1:80")
        await told.found(folder, "127.0.0.1:81", "127.0.0.1:82", "no port:0")

    play(of(agent, weight=7, skip_keys=("upstreams/skipped/",)), script)


def test_each_server_has_folders_of_its_own(agents):
    first, second = agents
    first.put("upstreams/web/127.0.0.1:1", b"")
    second.put("upstreams/web/127.0.0.1:2", b"")

    async def script(told):
        await told.found(f"{second.url}/v1/kv/upstreams/web/", "127.0.0.1:2")
        first.stop()
        assert first.url in await told.failure()
        second.delete("upstreams/web/127.0.0.1:2")
        found = await told.until(lambda one: isinstance(one, Found) and one.source == second.url)
        assert (found.nodes, found.whole, found.scope) == ({}, True, f"{second.url}/v1/kv/")

    play(of(first, second), script)


def test_whom_a_server_concerns(agents):
    made = of(*agents)(host())
    first, second = (Service("consul_kv", f"{agent.url}/v1/kv/upstreams/web/") for agent in agents)
    assert (made.concerns(agents[0].url, first), made.concerns(agents[0].url, second)) == (True, False)


def test_garbage_is_a_failure(agents):
    agents[0].raw = b"{}"

    async def script(told):
        assert "answers with no list of keys" in await told.failure()

    play(of(agents[0]), script)


def test_names_of_services(agents):
    made = of(agents[0], default_service={"host": "a", "port": 1})(host())
    good = Service("consul_kv", f"{agents[0].url}/v1/kv/upstreams/web")
    assert made.fault(good) is None
    assert made.name_of(good) == f"{good.name}/"
    assert made.fault(Service("consul_kv", "web")) == (
        f"is no folder of a server in discovery.consul_kv.servers, as {agents[0].url}/v1/kv/upstreams/NAME/"
    )
    assert made.fallback(good) == [DiscoveredNode("a", 1)]
    assert made.shown() == {
        "servers": [agents[0].url],
        "token": "",
        "fetch_interval": 3,
        "keepalive": True,
        "weight": 1,
        "timeout": {"connect": 2000, "read": 2000, "wait": 60},
        "default_service": {"host": "a", "port": 1, "metadata": {"fail_timeout": 1, "weight": 1, "max_fails": 1}},
        "prefix": "upstreams",
    }
