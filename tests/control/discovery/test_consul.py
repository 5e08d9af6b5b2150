import pytest

from bascule.control.discovery import consul as module
from bascule.control.discovery.consul import Consul, ConsulConfig
from bascule.control.discovery.discovery import DiscoveredNode, DiscoveryFailure, Service
from tests.control.discovery.telling import host, play
from tests.servers.consul import ConsulAgent
from tests.servers.ports import free_port

WEB = Service("consul", "web")


@pytest.fixture(autouse=True)
def quick(monkeypatch, quick_retries):
    monkeypatch.setattr(module, "LEAST_PAUSE_S", 0.001)


@pytest.fixture
def agent():
    server = ConsulAgent()
    yield server
    server.stop()


@pytest.fixture
def other():
    server = ConsulAgent()
    yield server
    server.stop()


def of(*agents: ConsulAgent, **conf):
    return lambda place: Consul(ConsulConfig(servers=tuple(agent.url for agent in agents), **conf), place)


def test_changes_come_by_blocking_queries(agent):
    agent.register("w1", "web", "127.0.0.1", 80)
    agent.register("other", "other", "127.0.0.1", 99)

    async def script(told):
        await told.nodes("127.0.0.1:80")
        agent.register("w2", "web", "127.0.0.2", 81)
        await told.nodes("127.0.0.1:80", "127.0.0.2:81")
        agent.mark("w1", False)
        await told.nodes("127.0.0.2:81")
        agent.register("w3", "web", "", 82)
        await told.nodes("127.0.0.2:81", "10.9.9.9:82")  # that of the machine
        for id in ("w1", "w2", "w3"):
            agent.deregister(id)
        await told.nodes()

    play(of(agent, weight=5), script, WEB)
    assert any("index=" in path and "wait=60s" in path for _, path in agent.requests)


def test_names_are_escaped(agent):
    agent.register("w1", "we b/x", "127.0.0.1", 80)

    async def script(told):
        await told.nodes("127.0.0.1:80")

    play(of(agent), script, Service("consul", "we b/x"))


def test_an_agent_that_is_away_and_comes_back(agent):
    agent.register("w1", "web", "127.0.0.1", 80)

    async def script(told):
        await told.nodes("127.0.0.1:80")
        agent.stop()
        assert f"{agent.url}/v1/health/service/web can't be asked: " in await told.failure()
        agent.register("w2", "web", "127.0.0.2", 80)
        agent.start()
        await told.nodes("127.0.0.1:80", "127.0.0.2:80")

    play(of(agent), script, WEB)


def test_an_agent_that_has_lost_its_state(agent):
    agent.register("w1", "web", "127.0.0.1", 80)

    async def script(told):
        await told.nodes("127.0.0.1:80")
        agent.lose()
        await told.nodes()
        agent.register("w1", "web", "127.0.0.3", 80)
        await told.nodes("127.0.0.3:80")

    play(of(agent), script, WEB)


def test_a_token(agent):
    agent.token = "secret"
    agent.register("w1", "web", "127.0.0.1", 80)

    async def refused(told):
        assert "answers 403: Permission denied: token lacks permission" in await told.failure()

    async def script(told):
        await told.nodes("127.0.0.1:80")

    play(of(agent), refused, WEB)
    play(of(agent, token="secret"), script, WEB)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [(b"<html>", "answers with what is no JSON"), (b"{}", "answers with no list of instances")],
)
def test_garbage_is_a_failure(agent, raw, sentence):
    agent.raw = raw

    async def script(told):
        assert sentence in await told.failure()

    play(of(agent), script, WEB)


def test_a_bad_instance_is_left_to_be_named(agent):
    agent.raw = b'[5, {"Service": {"Address": "127.0.0.1", "Port": 80}}]'

    async def script(told):
        bad, good = await told.until(lambda one: isinstance(one, list))
        assert (bad.host, good) == ([5], DiscoveredNode("127.0.0.1", 80))

    play(of(agent), script, WEB)


def test_polling(agent):
    agent.register("w1", "web", "127.0.0.1", 80)

    async def script(told):
        await told.nodes("127.0.0.1:80")
        agent.mark("w1", False)
        await told.nodes()

    play(of(agent, keepalive=False, fetch_interval=1), script, WEB)
    assert not any("index=" in path for _, path in agent.requests)


def test_several_agents_are_put_together(agent, other):
    agent.register("w1", "web", "127.0.0.1", 80)
    other.register("w2", "web", "127.0.0.2", 80)

    async def script(told):
        await told.nodes("127.0.0.1:80", "127.0.0.2:80")
        other.stop()
        await told.nodes("127.0.0.1:80")  # what the other one said counts for nothing now
        agent.deregister("w1")
        await told.nodes("127.0.0.2:80")  # or for all, if there is nothing else
        agent.stop()
        await told.failure()

    play(of(agent, other), script, WEB)


def test_an_agent_that_was_never_there(agent):
    async def script(told):
        assert "connection refused" in await told.failure()  # the one that answers knows of none
        agent.register("w1", "web", "127.0.0.1", 80)
        await told.nodes("127.0.0.1:80")

    gone = f"http://127.0.0.1:{free_port()}"
    play(lambda place: Consul(ConsulConfig(servers=(gone, agent.url)), place), script, WEB)


@pytest.mark.parametrize(
    ("kind", "ports"),
    [("origin", [2, 1, 3]), ("host_sort", [1, 2, 3]), ("port_sort", [1, 2, 3]), ("combine_sort", [1, 2, 3])],
)
def test_the_order_of_nodes(agent, kind, ports):
    agent.register("x", "web", "b", 2)
    agent.register("y", "web", "a", 1)
    agent.register("z", "web", "c", 3)

    async def script(told):
        assert [node.port for node in await told.until(lambda one: True)] == ports

    play(of(agent, sort_type=kind), script, WEB)


def test_what_is_not_looked_for():
    made = Consul(
        ConsulConfig(
            servers=("http://a:8500",),
            skip_services=("secret",),
            default_service={"host": "127.0.0.1", "port": 9, "metadata": {"weight": 3}},
        ),
        host(),
    )
    assert made.fault(Service("consul", "secret")) == "isn't looked for: it stands in skip_services"
    assert made.fault(Service("consul", "consul")) == "is Consul itself"
    assert made.fault(WEB) is None
    assert made.fallback(WEB) == [DiscoveredNode("127.0.0.1", 9, 3)]
    shown = made.shown()
    assert (shown["fetch_interval"], shown["timeout"]) == (3, {"connect": 2000, "read": 2000, "wait": 60})


def test_passwords_are_not_told(agent):
    agent.token = "secret"

    async def script(told):
        failure = await told.until(lambda one: isinstance(one, DiscoveryFailure))
        assert failure.source == f"http://127.0.0.1:{agent.port}"
        assert "pass" not in str(failure)

    play(lambda place: Consul(ConsulConfig(servers=(f"http://me:pass@127.0.0.1:{agent.port}",)), place), script, WEB)


def test_metadata(agent):
    agent.register("w1", "web", "127.0.0.1", 1, env="prod", zone="a")
    agent.register("w2", "web", "127.0.0.1", 2, env="test")
    agent.register("w3", "web", "127.0.0.1", 3)

    async def script(told):
        (node,) = await told.nodes("127.0.0.1:1")
        assert node.metadata == {"env": "prod", "zone": "a"}

    async def plain(told):
        assert {node.metadata for node in await told.until(lambda one: len(one) == 3)} == {None}

    play(of(agent, preserve_metadata=True), script, WEB._replace(args='{"metadata":{"env":"prod"}}'))
    play(of(agent), plain, WEB)
    fault = of(agent)(host()).fault(WEB._replace(args='{"metadata":5}'))
    assert fault == '"metadata" in discovery_args must be an object'
