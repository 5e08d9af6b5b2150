import pytest

from bascule.control.discovery import eureka as module
from bascule.control.discovery.discovery import DiscoveredNode, Service
from bascule.control.discovery.eureka import Eureka, EurekaConfig
from tests.control.discovery.telling import host, play
from tests.servers.eureka import EurekaServer
from tests.servers.ports import free_port


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "spread_s", lambda interval_s: interval_s / 50)


@pytest.fixture
def server():
    found = EurekaServer()
    yield found
    found.stop()


def of(*urls, **conf):
    return lambda place: Eureka(EurekaConfig(host=urls, fetch_interval=1, **conf), place)


def test_instances_that_are_up(server):
    server.register("web", "10.0.0.1", 80)
    server.register("web", "10.0.0.2", 80, metadata={"weight": "7"})
    server.register("web", "10.0.0.3", 80, status="DOWN")
    server.register("web", "10.0.0.4", 80, overriddenStatus="OUT_OF_SERVICE")
    server.register("web", "10.0.0.5", 80, status="STARTING", overriddenStatus="UP")
    server.register("api", "10.0.0.6", 80, securePort={"$": 8443, "@enabled": "true"}, metadata=None)

    async def script(told):
        found = await told.found("WEB", "10.0.0.1:80", "10.0.0.2:80", "10.0.0.5:80")
        assert found.nodes["WEB"][0] == DiscoveredNode("10.0.0.1", 80, 5, 0, {"management.port": "1"})
        assert found.nodes["WEB"][1].weight == 7
        assert found.nodes["API"] == [DiscoveredNode("10.0.0.6", 8443, 5)]
        server.register("web", "10.0.0.9", 80)
        await told.found("WEB", "10.0.0.1:80", "10.0.0.2:80", "10.0.0.5:80", "10.0.0.9:80")
        del server.applications["API"]
        await told.until(lambda one: list(one.nodes) == ["WEB"])

    play(of(server.url, weight=5), script)


def test_lists_of_one_may_be_written_as_that_one(server):
    server.single = True
    server.register("web", "10.0.0.1", 80)

    async def script(told):
        await told.found("WEB", "10.0.0.1:80")

    play(of(server.url), script)


def test_another_server_is_asked_when_one_fails(server):
    server.register("web", "10.0.0.1", 80)
    other = EurekaServer()
    other.broken = 502, b""
    gone = f"http://127.0.0.1:{free_port()}"

    async def script(told):
        await told.found("WEB", "10.0.0.1:80")
        server.stop()
        failure = await told.failure()
        assert "connection refused" in failure
        assert f"{other.url}/eureka/apps answers 502" in failure
        server.start()
        await told.found("WEB", "10.0.0.1:80")

    try:
        play(of(gone, other.url, server.url), script)
    finally:
        other.stop()


def test_user_and_password(server):
    server.authorization = "Basic bWU6c2VjcmV0"
    server.register("web", "10.0.0.1", 80)

    async def script(told):
        await told.found("WEB", "10.0.0.1:80")

    async def refused(told):
        assert await told.failure() == f"http://127.0.0.1:{server.port}/eureka/apps answers 401"

    play(of(f"http://me:secret@127.0.0.1:{server.port}"), script)
    play(of(f"http://me:wrong@127.0.0.1:{server.port}"), refused)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((200, b"<applications/>"), "answers with what is no JSON"),
        ((200, b'{"applications": {"application": [5]}}'), "answers with no list of applications"),
        ((200, b"[]"), "answers with no list of applications"),
    ],
)
def test_garbage_is_a_failure(server, answer, sentence):
    server.broken = answer

    async def script(told):
        assert sentence in await told.failure()

    play(of(server.url), script)


def test_names_in_capitals_and_the_configuration():
    made = of("http://me:secret@a:8761")(host())
    assert made.name_of(Service("eureka", "Web-1")) == "WEB-1"
    assert made.shown() == {
        "host": ["http://me:***@a:8761"],
        "prefix": "/eureka/",
        "fetch_interval": 1,
        "weight": 100,
        "timeout": {"connect": 2000, "send": 2000, "read": 5000},
    }
