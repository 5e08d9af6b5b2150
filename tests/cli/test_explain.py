"""`bascule explain` and `bascule debug-token`, on a gateway that runs and on its files when none does."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli import commands
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port

ROUTES = {
    "routes": [
        {
            "id": "orders",
            "uri": "/orders/*",
            "methods": ["GET"],
            "plugins": {"key-auth": {}},
            "upstream": {"nodes": {"127.0.0.1:1": 1}},
        },
        {"id": "all", "uri": "/*", "plugins": {"mocking": {"response_example": "x"}}},
    ],
    "consumers": [{"username": "jack", "plugins": {"key-auth": {"key": "k"}, "cors": {}}}],
}


def bascule(config: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return commands.run([*args, "--config", config.name], config.parent)


def traditional(port: int, provider: str) -> dict[str, Any]:
    listen = {"ip": "127.0.0.1", "port": port}
    return {
        "deployment": {
            "role": "traditional",
            "role_traditional": {"config_provider": provider},
            "admin": {"admin_listen": listen, "admin_key": [{"key": "k"}]},
        }
    }


def test_of_a_gateway_that_runs_and_of_its_file_when_none_does(gateway: Callable[..., Gateway]) -> None:
    server = gateway(ROUTES, traditional(free_port(), "yaml"))
    config = server.directory / "config.yaml"
    running = bascule(config, "explain", "POST", "http://h/orders/7", "--json")
    assert running.returncode == 0, running.stderr
    told = json.loads(running.stdout)
    assert told["route"]["id"] == "all"
    assert told["candidates"][0]["reason"] == "method POST is not in [GET]"
    text = bascule(config, "explain", "GET", "/orders/7?x=1", "-H", "Host: h", "--consumer", "jack").stdout
    for part in ("GET /orders/7", "matches", "key-auth", "routes/orders", "consumers/jack", "127.0.0.1:1"):
        assert part in text
    token = bascule(config, "debug-token", "--for", "1m").stdout.strip()
    with server.client() as client:
        answer = client.request("GET", "/x", [("X-Bascule-Debug", token)])
        assert json.loads(answer.header("X-Bascule-Trace") or "")["plugins"][0]["decision"] == "answered 200"
    server.stop()
    offline = bascule(config, "explain", "POST", "http://h/orders/7", "--json")
    assert offline.returncode == 0, offline.stderr
    assert json.loads(offline.stdout) == told


def test_what_can_t_be_explained_is_one_line(gateway: Callable[..., Gateway]) -> None:
    server = gateway(ROUTES, traditional(free_port(), "yaml"))
    config = server.directory / "config.yaml"
    wrong = bascule(config, "explain", "GET", "orders")
    assert wrong.returncode == 1
    assert wrong.stderr == "bascule: 'orders' is neither a URL (http://host/path) nor a path\n"
    assert bascule(config, "explain", "GET", "/", "-H", "nonsense").returncode == 2
    assert bascule(config, "debug-token", "--for", "soon").returncode == 2
