import pytest
from pydantic import ValidationError

from bascule.control.discovery import nacos as module
from bascule.control.discovery.discovery import DiscoveredNode, Service
from bascule.control.discovery.nacos import Nacos, NacosConfig
from tests.control.discovery.telling import host, play
from tests.servers.nacos import ACCESS_KEY, PASSWORD, SECRET_KEY, USER, NacosServer
from tests.servers.ports import free_port

WEB = Service("nacos", "web")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "spread_s", lambda interval_s: interval_s / 50)


@pytest.fixture
def server():
    found = NacosServer()
    yield found
    found.stop()


def of(*urls, **conf):
    return lambda place: Nacos(NacosConfig(host=urls, fetch_interval=1, **conf), place)


def test_healthy_instances(server):
    server.register("web", "10.0.0.1", 80, metadata={"zone": "a"})
    server.register("web", "10.0.0.2", 80, weight=0.25)
    server.register("web", "10.0.0.3", 80, healthy=False)
    server.register("web", "10.0.0.4", 80, enabled=False)

    async def script(told):
        first, second = await told.nodes("10.0.0.1:80", "10.0.0.2:80")
        assert first == DiscoveredNode("10.0.0.1", 80, 1, 0, {"zone": "a"})
        assert second.weight == 25
        server.register("web", "10.0.0.5", 80)
        await told.nodes("10.0.0.1:80", "10.0.0.2:80", "10.0.0.5:80")
        server.services.clear()
        await told.nodes()

    play(of(server.url), script, WEB)


def test_namespaces_and_groups(server):
    server.register("web", "10.0.0.1", 80)
    server.register("web", "10.0.0.2", 80, namespace="test", group="G")

    async def script(told):
        await told.nodes("10.0.0.2:80")

    play(of(server.url), script, WEB._replace(args='{"group_name":"G","namespace_id":"test"}'))
    made = of(server.url)(host())
    assert made.fault(WEB) is None
    assert made.fault(WEB._replace(args='{"group_name":5}')) == '"group_name" in discovery_args must be a string'


def test_tokens(server):
    server.auth = "token"
    server.register("web", "10.0.0.1", 80)
    escaped = PASSWORD.replace("@", "%40")

    async def script(told):
        await told.nodes("10.0.0.1:80")
        server.expire()  # before the time that was told
        server.register("web", "10.0.0.2", 80)
        await told.nodes("10.0.0.1:80", "10.0.0.2:80")

    async def wrong(told):
        failure = await told.failure()
        assert failure == f"http://127.0.0.1:{server.port}/nacos/v1/auth/login answers 403: unknown user!"

    async def none(told):
        assert "answers 403: " in await told.failure()

    play(of(f"http://{USER}:{escaped}@127.0.0.1:{server.port}"), script, WEB)
    assert sum(path.endswith("/auth/login") for _, path in server.requests) == 2
    play(of(f"http://{USER}:wrong@127.0.0.1:{server.port}"), wrong, WEB)
    play(of(server.url), none, WEB)


def test_signatures(server):
    server.auth = "signature"
    server.register("web", "10.0.0.1", 80)

    async def script(told):
        await told.nodes("10.0.0.1:80")

    play(of(server.url, access_key=ACCESS_KEY, secret_key=SECRET_KEY), script, WEB)
    with pytest.raises(ValidationError, match='"access_key" and "secret_key" need each other'):
        NacosConfig(host=("http://a",), access_key="x")


def test_another_server_is_asked_when_one_fails(server):
    server.register("web", "10.0.0.1", 80)

    async def script(told):
        await told.nodes("10.0.0.1:80")
        server.stop()
        assert (await told.failure()).count("connection refused") == 2
        server.start()
        await told.nodes("10.0.0.1:80")

    play(of(f"http://127.0.0.1:{free_port()}", server.url), script, WEB)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [(b"<html>", "answers with what is no JSON"), (b'{"hosts": [5]}', "answers with no list of hosts")],
)
def test_garbage_is_a_failure(server, raw, sentence):
    server.raw = raw

    async def script(told):
        assert sentence in await told.failure()

    play(of(server.url), script, WEB)


def test_a_login_without_a_token():
    class Odd(NacosServer):
        def answer(self, method, path, headers, body):
            return 200, {"accessToken": "x"}

    server = Odd()

    async def script(told):
        assert "/auth/login answers without a token" in await told.failure()

    try:
        play(of(f"http://me:x@127.0.0.1:{server.port}"), script, WEB)
    finally:
        server.stop()
