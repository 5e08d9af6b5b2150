"""The same gateway on each store: what the Admin API was told is served, checked, listed, and outlasts restarts."""

import contextlib
import hashlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.servers.etcd import EtcdServer
from tests.servers.gateway import Gateway
from tests.servers.nginx import Nginx
from tests.servers.ports import free_port

Start = Callable[..., Gateway]
KEY = "k"


class Admin:
    """Calls to the Admin API; (status, JSON)."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}/apisix/admin/"

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.base + path, data, {"X-API-KEY": KEY} | headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            text = error.read()
            return error.code, json.loads(text) if text else None

    def replace(self, document: dict[str, Any]) -> tuple[int, Any]:
        digest = hashlib.sha256(json.dumps(document).encode()).hexdigest()
        return self("PUT", "configs", document, X_Digest=digest, Content_Type="application/json")


def get(server: Gateway, path: str) -> int:
    with server.client() as client:
        return client.request("GET", path).status


def until(what: Callable[[], Any], limit_s: float = 15) -> None:
    deadline = time.monotonic() + limit_s
    while True:
        with contextlib.suppress(OSError):
            if what():
                return
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)


def settings(port: int, store: str, etcd: EtcdServer | None, role: str = "traditional") -> dict[str, Any]:
    listen = {"ip": "127.0.0.1", "port": port}
    deployment: dict[str, Any] = {
        "role": role,
        f"role_{role}": {"config_provider": store},
        "admin": {"admin_listen": listen, "admin_key": [{"key": KEY}]},
    }
    if etcd is not None:
        deployment["etcd"] = {"host": [etcd.url], "timeout": 2}
    return {"deployment": deployment, "apisix": {"data_encryption": {"keyring": ["0123456789abcdef"]}}}


@pytest.fixture
def upstream(nginx: Callable[[str], Nginx]) -> Nginx:
    return nginx("location / { return 200 'ok'; }")


@pytest.fixture(params=["yaml", "json", "sqlite", "etcd"])
def served(request: pytest.FixtureRequest, gateway: Start, etcd_server: Callable[..., EtcdServer]) -> Any:
    etcd = etcd_server() if request.param == "etcd" else None
    port = free_port()
    server = gateway("", settings(port, request.param, etcd), workers=2)
    return server, Admin(port), request.param


def document(upstream: Nginx, *names: str) -> dict[str, Any]:
    return {
        "upstreams": [{"id": "u", "type": "roundrobin", "nodes": {upstream.address: 1}}],
        "routes": [{"id": name, "uri": f"/{name}", "upstream_id": "u"} for name in names],
        "consumers": [{"username": "jack", "plugins": {"key-auth": {"key": "very-secret"}}}],
    }


def test_the_whole_configuration_at_once(served: Any, upstream: Nginx) -> None:
    server, admin, _ = served
    assert admin.replace(document(upstream, "a", "b"))[0] == 202
    until(lambda: get(server, "/a") == get(server, "/b") == 200)
    status, told = admin.replace(document(upstream, "c") | {"routes": [{"id": "c", "uri": "c"}, {"uri": 1, "x": 2}]})
    assert status == 400
    assert told["error_msg"]
    assert get(server, "/a") == 200  # a bad one changes nothing
    assert admin.replace(document(upstream, "b", "c"))[0] == 202
    until(lambda: get(server, "/c") == 200 and get(server, "/a") == 404)
    found = admin("GET", "configs")[1]
    assert sorted(route["id"] for route in found["routes"]) == ["b", "c"]
    assert found["consumers"][0]["plugins"]["key-auth"]["key"] == "very-secret"
    server.restart()
    until(lambda: get(server, "/b") == get(server, "/c") == 200)
    assert get(server, "/a") == 404


def test_one_resource_at_a_time(served: Any, upstream: Nginx) -> None:
    server, admin, store = served
    if store in ("yaml", "json"):
        assert admin("PUT", "routes/a", {"uri": "/a"})[0] == 404  # a file is replaced as a whole
        return
    node = {"type": "roundrobin", "nodes": {upstream.address: 1}}
    for number in range(10):
        assert admin("PUT", f"routes/{number}", {"uri": f"/r{number}", "upstream": node})[0] == 201
        assert get(server, f"/r{number}") == 200  # effective as soon as it is acknowledged
    assert admin("PATCH", "routes/3", {"uri": "/other"})[0] == 200
    assert (get(server, "/r3"), get(server, "/other")) == (404, 200)
    assert admin("DELETE", "routes/4")[0] == 200
    assert get(server, "/r4") == 404
    assert admin("GET", "routes")[1]["total"] == 9
    server.restart()
    assert (get(server, "/other"), get(server, "/r4")) == (200, 404)


def test_a_control_plane_and_data_planes_share_an_etcd(
    gateway: Start, etcd_server: Callable[..., EtcdServer], upstream: Nginx
) -> None:
    etcd = etcd_server()
    port = free_port()
    control = gateway("", settings(port, "etcd", etcd, "control_plane"))
    assert "workers=0" in control.ready_line
    assert "http://127.0.0.1:" + str(control.port) + " " not in control.ready_line
    data = [gateway("", settings(free_port(), "etcd", etcd, "data_plane"), workers=1) for _ in range(2)]
    assert all("admin" not in plane.ready_line for plane in data)
    admin = Admin(port)
    node = {"type": "roundrobin", "nodes": {upstream.address: 1}}
    assert admin("PUT", "routes/1", {"uri": "/one", "upstream": node})[0] == 201
    for plane in data:
        until(lambda plane=plane: get(plane, "/one") == 200)  # type: ignore[misc]
    etcd.kill()
    assert admin("PUT", "routes/2", {"uri": "/two", "upstream": node})[0] == 503
    assert get(data[0], "/one") == 200
    until(lambda: data[0].status("/status/details")[1]["store"]["trouble"])
    data[0].restart()  # with the last good configuration on its disk
    assert get(data[0], "/one") == 200
    etcd.restart()
    until(lambda: admin("PUT", "routes/2", {"uri": "/two", "upstream": node})[0] in (200, 201), 30)
    for plane in data:
        until(lambda plane=plane: get(plane, "/two") == 200, 30)  # type: ignore[misc]
    until(lambda: not data[0].status("/status/details")[1]["store"]["trouble"])
