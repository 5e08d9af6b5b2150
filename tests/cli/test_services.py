"""The gateway with the embedded store and its Admin API, as a user starts it."""

import json
import signal
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.servers.gateway import Gateway
from tests.servers.nginx import Nginx
from tests.servers.ports import free_port

Start = Callable[..., Gateway]


def config(port: int, **admin: Any) -> dict[str, Any]:
    listen = {"admin_listen": {"ip": "127.0.0.1", "port": port}}
    return {"deployment": {"role": "traditional", "admin": listen | admin}}


def call(port: int, method: str, path: str, body: Any = None, key: str = "k") -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/apisix/admin/{path}", data, {"X-API-KEY": key}, method=method
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def get(server: Gateway, path: str = "/") -> int:
    with server.client() as client:
        return client.request("GET", path).status


def test_a_route_works_as_soon_as_it_is_acknowledged_and_outlasts_a_restart(
    gateway: Start, nginx: Callable[[str], Nginx]
) -> None:
    upstream = nginx("location / { return 200 'ok'; }")
    port = free_port()
    settings = config(port, admin_key=[{"name": "admin", "key": "k", "role": "admin"}])
    server = gateway(config=settings, workers=2)
    assert f"admin http://127.0.0.1:{port}/apisix/admin" in server.ready_line
    assert get(server) == 404
    for number in range(20):
        nodes = {"type": "roundrobin", "nodes": {upstream.address: 1}}
        call(port, "PUT", f"routes/{number}", {"uri": f"/r{number}", "upstream": nodes})
        assert get(server, f"/r{number}") == 200
        if number % 2:
            call(port, "DELETE", f"routes/{number}")
            assert get(server, f"/r{number}") == 404
    server.restart()
    assert get(server, "/r18") == 200
    assert get(server, "/r19") == 404


def test_a_key_is_made_once_and_told_once(gateway: Start) -> None:
    port = free_port()
    server = gateway(config=config(port))
    file = server.directory / "data" / "admin.key"
    key = file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert server.log.count(key) == 1
    assert call(port, "GET", "routes", key=key) == {"total": 0, "list": []}
    server.restart()
    assert file.read_text().strip() == key
    assert key not in server.log


def test_a_discovery_that_comes_with_sighup_may_be_named(gateway: Start) -> None:
    port = free_port()
    server = gateway(config=config(port, admin_key=[{"name": "admin", "key": "k", "role": "admin"}]))
    upstream = {"service_name": "web", "discovery_type": "file"}

    def refusal() -> str:
        try:
            call(port, "PUT", "upstreams/1", upstream)
        except urllib.error.HTTPError as error:
            with error:
                return str(json.load(error))
        return ""

    assert "config.yaml has no section" in refusal()
    (server.directory / "nodes.json").write_text('{"web": {"127.0.0.1:1": 1}}')
    server.configure({"discovery": {"file": {"path": "nodes.json"}}})
    server.process.popen.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 30
    while refusal():
        assert time.monotonic() < deadline
        time.sleep(0.05)
