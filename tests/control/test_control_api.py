import asyncio
import http.client
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import ClientSession

from bascule.control.configuration import Configuration
from bascule.control.control_api import ControlApi, Powers
from bascule.control.http_service import HttpService
from bascule.model.change import Change
from tests.servers.gateway import Gateway

CHECKER = {
    "name": "/apisix/upstreams/u",
    "type": "http",
    "nodes": [
        {
            "ip": "127.0.0.1",
            "port": 80,
            "hostname": "<b>",
            "status": "healthy",
            "counter": {"success": 3, "http_failure": 0, "tcp_failure": 0, "timeout_failure": 0},
        }
    ],
}


class Played:
    """The Control API over a configuration of its own."""

    def __init__(self) -> None:
        self.configuration = Configuration()
        self.checkers: list[dict[str, Any]] = []
        self.done: list[str] = []
        self.good = True

    def dump_file(self, type: str) -> Any:
        if type == "bad":
            raise ValueError("unexpected end")
        return {"services": {"a": []}} if type == "dns" else None

    async def outliers(self) -> list[dict[str, Any]]:
        return [{"node": "a:1", "reason": "latency"}]

    async def reload(self) -> bool:
        self.done.append("reload")
        return self.good

    def ask(self, *requests: str, headers: dict[str, str] | None = None) -> list[tuple[int, Any]]:
        powers = Powers(
            schema=lambda: {"main": {}},
            complete=lambda kind, value: {**value, "status": 1} if kind == "routes" else value,
            reload=self.reload,
            collect_garbage=lambda: self.done.append("gc"),
            outliers=self.outliers,
            health=lambda: self.checkers,
            discovery={"dns": {"services": {}}}.get,
            discovery_file=self.dump_file,
        )

        async def run() -> list[tuple[int, Any]]:
            api = ControlApi(self.configuration, powers, "/apisix")
            service = HttpService("control", "the Control API", api.app, "127.0.0.1", 0)
            await service.start()
            answers = []
            async with ClientSession(service.told.split()[1]) as client:
                for method, path in (request.split() for request in requests):
                    async with client.request(method, path, headers=headers) as answer:
                        text = await answer.text()
                        is_json = answer.content_type == "application/json"
                        answers.append((answer.status, json.loads(text) if is_json else text))
            await service.stop()
            return answers

        return asyncio.run(run())


@pytest.fixture
def played() -> Played:
    return Played()


def test_resources_as_they_are_held(played: Played) -> None:
    route = {"uri": "/", "upstream": {"nodes": {"127.0.0.1:80": 1, "[::1]:81": 2, "name": 3}}}
    upstream = {"nodes": [{"host": "10.0.0.1", "port": 1, "weight": 1}]}
    played.configuration.take(
        [
            Change("routes", "1", route, 7, created=5),
            Change("upstreams", "u", upstream, 6, created=6),
            Change("services", "s", {"plugins": {}}),
        ]
    )
    one, all_, upstreams, service = played.ask(
        "GET /v1/route/1", "GET /v1/routes", "GET /v1/upstreams", "GET /v1/service/s"
    )
    listed = [
        {"host": "127.0.0.1", "port": 80, "weight": 1},
        {"host": "[::1]", "port": 81, "weight": 2},
        {"host": "name", "weight": 3},
    ]
    expected = {
        "key": "/apisix/routes/1",
        "value": {"id": "1", "uri": "/", "upstream": {"nodes": listed}, "status": 1},
        "createdIndex": 5,
        "modifiedIndex": 7,
        "clean_handlers": {},
        "has_domain": True,
    }
    assert (one, all_) == ((200, expected), (200, [expected]))
    assert upstreams[1][0]["value"] == {"id": "u", **upstream}
    assert upstreams[1][0]["has_domain"] is False
    assert service[1]["value"] == {"id": "s", "plugins": {}}


def test_what_is_refused_is_shown_too(played: Played) -> None:
    values: list[Any] = [{"upstream": "x"}, {"upstream": {"nodes": [7, {"host": 5}]}}, {"upstream": {"nodes": 1}}, [1]]
    played.configuration.take([Change("routes", str(index), value) for index, value in enumerate(values)])
    ((status, shown),) = played.ask("GET /v1/routes")
    assert (status, len(shown)) == (200, 4)


def test_what_is_not_there(played: Played) -> None:
    paths = ("route/9", "service/9", "upstream/9", "plugin_metadata/9", "discovery/eureka/dump", "nonsense")
    assert played.ask(*(f"GET /v1/{path}" for path in paths)) == [
        (404, {"error_msg": "route[9] not found"}),
        (404, {"error_msg": "service[9] not found"}),
        (404, {"error_msg": "upstream[9] not found"}),
        (404, {"error_msg": "plugin metadata[9] not found"}),
        (404, {"error_msg": "discovery eureka is not configured"}),
        (404, {"error_msg": "404 Not Found"}),
    ]
    assert [status for status, _ in played.ask("GET /v1/routes", "POST /v1/routes", "GET /v1/gc")] == [200, 404, 404]


def test_outliers(played: Played) -> None:
    assert played.ask("GET /v1/outliers") == [(200, [{"node": "a:1", "reason": "latency"}])]


def test_metadata(played: Played) -> None:
    played.configuration.take([Change("plugin_metadata", "http-logger", {"log_format": {"a": "$host"}})])
    shown = {"id": "http-logger", "log_format": {"a": "$host"}}
    assert played.ask("GET /v1/plugin_metadatas", "GET /v1/plugin_metadata/http-logger") == [
        (200, [shown]),
        (200, shown),
    ]


def test_health(played: Played) -> None:
    played.configuration.take([Change("upstreams", "u", {}), Change("routes", "1", {})])
    paths = ("", "/upstreams/u", "/routes/1", "/routes/2", "/route/1")
    played.checkers = [CHECKER]
    assert played.ask(*(f"GET /v1/healthcheck{path}" for path in paths)) == [
        (200, [CHECKER]),
        (200, CHECKER),
        (404, {"error_msg": "no checker for routes[1]"}),
        (404, {"error_msg": "routes[2] not found"}),
        (400, {"error_msg": "invalid src type route"}),
    ]
    html = {"Accept": "text/html,*/*"}
    pages = played.ask("GET /v1/healthcheck", "GET /v1/healthcheck/upstreams/u", headers=html)
    assert [status for status, _ in pages] == [200, 200]
    assert all("&lt;b&gt; (127.0.0.1:80)</td><td>healthy</td><td>3</td>" in page for _, page in pages)
    played.checkers = []
    assert played.ask("GET /v1/healthcheck") == [(200, [])]
    assert "no health checks" in played.ask("GET /v1/healthcheck", headers=html)[0][1]


def test_powers(played: Played) -> None:
    assert played.ask("GET /v1/schema", "POST /v1/gc", "PUT /v1/plugins/reload", "GET /v1/discovery/dns/dump") == [
        (200, {"main": {}}),
        (200, ""),
        (200, "done"),
        (200, {"services": {}}),
    ]
    assert played.done == ["gc", "reload"]
    played.good = False
    ((status, told),) = played.ask("PUT /v1/plugins/reload")
    assert (status, told) == (503, {"error_msg": "the new configuration is refused; the error log says why"})


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:9090", 200), ("LOCALHOST", 200), ("127.0.0.1", 200), ("[::1]:9090", 200), ("evil.com:9090", 403)],
)
def test_no_name_of_somebody_else(played: Played, host: str, status: int) -> None:
    assert [found for found, _ in played.ask("GET /v1/routes", headers={"Host": host})] == [status]


def test_of_a_whole_gateway(gateway: Callable[..., Gateway]) -> None:
    resources = {
        "routes": [{"id": 1, "uri": "/x", "plugins": {"key-auth": {}}, "upstream": {"nodes": {"127.0.0.1:1": 1}}}]
    }
    server = gateway(resources)
    assert f"control http://127.0.0.1:{server.control_port}/v1" in server.ready_line

    def ask(method: str, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", server.control_port, timeout=10)
        connection.request(method, path)
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    status, body = ask("GET", "/v1/route/1")
    shown = json.loads(body)
    assert (status, shown["key"], shown["value"]["plugins"]["key-auth"]["header"]) == (200, "/routes/1", "apikey")
    assert shown["value"]["upstream"]["nodes"] == [{"host": "127.0.0.1", "port": 1, "weight": 1}]
    assert ask("POST", "/v1/gc") == (200, b"")
    before = server.generation()
    assert ask("PUT", "/v1/plugins/reload") == (200, b"done")
    assert server.status("/status/details")[1]["latest_generation"] == before + 1
    assert "key-auth" in json.loads(ask("GET", "/v1/schema")[1])["plugins"]
    config = server.directory / "config.yaml"
    config.write_text("nonsense: 1\n")
    assert ask("PUT", "/v1/plugins/reload")[0] == 503


def test_files_of_discovery(played: Played) -> None:
    paths = ("dns", "consul", "bad")
    assert played.ask(*(f"GET /v1/discovery/{type}/show_dump_file" for type in paths)) == [
        (200, {"services": {"a": []}}),
        (404, {"error_msg": "discovery consul has no dump file"}),
        (503, {"error_msg": "the file of discovery bad can't be read: unexpected end"}),
    ]
