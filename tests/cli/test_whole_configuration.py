"""The whole configuration through a real gateway, kept in a store and in a file."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from bascule.cli.whole_configuration import fields_of
from bascule.plugin.registry import Registry
from tests.servers.gateway import Gateway
from tests.servers.nginx import Nginx
from tests.servers.ports import free_port

Start = Callable[..., Gateway]


def settings(port: int, provider: str) -> dict[str, Any]:
    admin = {"admin_listen": {"ip": "127.0.0.1", "port": port}, "admin_key": [{"name": "admin", "key": "k"}]}
    return {
        "deployment": {"role": "traditional", "role_traditional": {"config_provider": provider}, "admin": admin},
    }


def call(
    port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    url = f"http://127.0.0.1:{port}/apisix/admin/{path}"
    request = urllib.request.Request(url, data, {"X-API-KEY": "k", **(headers or {})}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def get(server: Gateway, path: str) -> int:
    with server.client() as client:
        return client.request("GET", path).status


def until(holds: Callable[[], bool]) -> None:
    """A file is noticed, not announced."""
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("provider", ["sqlite", "yaml"])
def test_traffic_follows_the_whole(provider: str, gateway: Start, nginx: Callable[[str], Nginx]) -> None:
    upstream = {"nodes": {nginx("location / { return 200 'ok'; }").address: 1}, "type": "roundrobin"}
    port = free_port()
    server = gateway(config=settings(port, provider))
    one = {"routes": [{"id": "1", "uri": "/one", "upstream_id": "u"}], "upstreams": [{"id": "u", **upstream}]}
    assert call(port, "PUT", "configs", one, {"X-Digest": "1"})[0] == 202
    until(lambda: get(server, "/one") == 200)
    dangling = {"routes": [{"id": "1", "uri": "/two", "upstream_id": "gone"}]}
    assert call(port, "PUT", "configs", dangling, {"X-Digest": "2"})[0] == 400
    two = {**one, "routes": [{"id": "2", "uri": "/two", "upstream_id": "u"}]}
    assert call(port, "PUT", "configs", two, {"X-Digest": "2"})[0] == 202
    until(lambda: get(server, "/two") == 200 and get(server, "/one") == 404)
    assert call(port, "GET", "configs")[1]["routes"] == two["routes"]
    status, told = call(port, "GET", "history")
    if provider == "sqlite":
        assert (status, len(told["list"])) == (200, 2)
        assert call(port, "POST", "rollback", {"revision": told["list"][1]["revision"]})[0] == 200
        assert (get(server, "/one"), get(server, "/two")) == (200, 404)
    else:
        assert status == 501
        assert call(port, "GET", "routes/2")[0] == 404
        server.restart()
        assert get(server, "/two") == 200
        assert call(port, "PUT", "configs", two, {"X-Digest": "2"})[0] == 204


def test_secret_fields_of_plugins_that_are_there_and_of_others() -> None:
    fields = fields_of(Registry())
    assert fields("key-auth") == ("key",)
    assert fields("no-such-plugin") == fields("cors") == ()
