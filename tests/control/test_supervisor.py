"""The whole gateway as processes: killed, told, reloaded, stopped."""

import http.client
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bascule.control.orphans import SERVE_ON_S
from tests.servers.gateway import Gateway
from tests.servers.nginx import Nginx
from tests.servers.ports import free_port
from tests.servers.vault import TOKEN, VaultServer

Start = Callable[..., Gateway]


@pytest.fixture
def upstream(nginx: Callable[[str], Nginx]) -> Nginx:
    return nginx("location / { return 200 'ok'; }")


def route(upstream: Any, uri: str = "/*", **more: Any) -> dict[str, Any]:
    return {"routes": [{"id": 1, "uri": uri, "upstream": {"nodes": {upstream.address: 1}}, **more}]}


def get(server: Gateway, path: str = "/") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def until(condition: Callable[[], object], what: str, timeout_s: float = 15) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)


def test_the_ready_line_and_the_status_server(gateway: Start, upstream: Nginx) -> None:
    server = gateway(route(upstream), workers=2)
    assert server.ready_line.startswith(
        f"ready http://127.0.0.1:{server.port} status http://127.0.0.1:{server.status_port}"
    )
    assert server.status("/status") == (200, {"status": "ok"})
    assert server.status("/status/ready") == (200, {"status": "ok"})
    details = server.status("/status/details")[1]
    assert [worker["ready"] for worker in details["workers"]] == [True, True]
    assert (details["generation"], details["counts"]["routes"], details["refused"]) == (1, 1, [])
    assert get(server) == 200
    metrics = server.metrics()
    assert "bascule_workers 2" in metrics
    assert "apisix_http_requests_total 1" in metrics


def test_a_killed_worker_is_replaced_and_its_counts_are_kept(gateway: Start, upstream: Nginx) -> None:
    server = gateway(route(upstream), workers=1)
    for _ in range(5):
        assert get(server) == 200
    assert "apisix_http_requests_total 5" in server.metrics()
    (pid,) = server.worker_pids()
    os.kill(pid, signal.SIGKILL)
    assert get(server) == 200, "the connection waited in the socket that the supervisor keeps"
    until(lambda: server.status("/status/ready")[0] == 200, "ready again")
    assert server.worker_pids() != [pid]
    details = server.status("/status/details")[1]
    assert details["worker_restarts"] == 1
    assert details["workers"][0]["last_exit"] == "killed by signal 9"
    assert "apisix_http_requests_total 6" in server.metrics()


def test_a_replacement_serves_the_last_good_version(gateway: Start, upstream: Nginx) -> None:
    server = gateway(route(upstream))
    server.reload(route(upstream, plugins={"no-such-plugin": {}}))
    assert get(server) == 200
    os.kill(server.worker_pids()[0], signal.SIGKILL)
    assert get(server) == 200
    refused = server.status("/status/details")[1]["refused"]
    assert [(e["kind"], e["id"], e["path"]) for e in refused] == [("routes", "1", "$.plugins.no-such-plugin")]
    assert refused[0]["line"] is not None


def test_sigterm_lets_requests_end(gateway: Start, slow: "SlowUpstream") -> None:
    server = gateway(route(slow), workers=2)
    statuses: list[int] = []
    client = threading.Thread(target=lambda: statuses.append(get(server)))
    client.start()
    slow.wait_request()
    os.kill(server.process.pid, signal.SIGTERM)
    time.sleep(0.2)
    slow.answer()
    client.join(10)
    assert statuses == [200]
    until(lambda: server.process.popen.poll() is not None, "the end")
    assert server.stop() == 0


def test_a_second_signal_stops_at_once(gateway: Start, slow: "SlowUpstream") -> None:
    server = gateway(route(slow))

    def ask() -> None:
        with pytest.raises((OSError, http.client.HTTPException)):
            get(server)

    client = threading.Thread(target=ask)
    client.start()
    slow.wait_request()
    os.kill(server.process.pid, signal.SIGTERM)
    time.sleep(0.2)
    assert server.process.popen.poll() is None
    os.kill(server.process.pid, signal.SIGTERM)
    until(lambda: server.process.popen.poll() is not None, "the end", 5)
    client.join(10)
    assert server.stop() == 0


def test_a_broken_file_keeps_the_last_configuration(gateway: Start, upstream: Nginx) -> None:
    server = gateway(route(upstream))
    server.resources_path.write_text("routes: [{id: 2, uri: /other")
    until(lambda: server.status("/status/details")[1]["refused"], "the error in the status")
    assert "does not end with #END" in server.log
    assert get(server) == 200
    server.write(route(upstream, "/new"))
    until(lambda: get(server, "/new") == 200, "the new route")
    until(lambda: get(server, "/old") == 404, "the old route's end")
    assert server.status("/status/details")[1]["refused"] == []


def test_sighup_replaces_workers_when_config_yaml_changed(gateway: Start, upstream: Nginx) -> None:
    server = gateway(route(upstream), workers=1)
    pids = server.worker_pids()
    path = server.directory / "config.yaml"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = path.read_text()
    path.write_text(
        text.replace(
            "node_listen:", f"enable_server_tokens: false\n  node_listen:\n  - {{ip: 127.0.0.1, port: {port}}}"
        )
    )
    os.kill(server.process.pid, signal.SIGHUP)
    until(lambda: server.status("/status/details")[1]["generation"] == 2, "generation 2")
    until(lambda: len(server.worker_pids()) == 1, "the old worker's end")
    assert server.worker_pids() != pids
    assert get(server) == 200
    server.port = port
    assert get(server) == 200
    with server.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"Server: Bascule\r\n" in client.read_to_end()
    assert server.stop() == 0


def test_sighup_with_a_broken_config_yaml_changes_nothing(gateway: Start, upstream: Nginx) -> None:
    server = gateway(route(upstream))
    pids = server.worker_pids()
    (server.directory / "config.yaml").write_text("apisx: {}\n")
    os.kill(server.process.pid, signal.SIGHUP)
    until(lambda: 'did you mean "apisix"' in server.log, "the error")
    until(lambda: server.generation() == 2, "the plugins read again")
    assert server.worker_pids() == pids
    assert get(server) == 200


PLUGIN = """
from bascule.plugin import Config, Plugin, Response

class Answer(Plugin):
    name = "answer"
    priority = 1

    class Config(Config):
        pass

    def access(self, request):
        return Response({status}, "x")
"""


def test_a_user_s_plugin_is_loaded_anew(gateway: Start, tmp_path: Path) -> None:
    source = tmp_path / "answer.py"
    source.write_text(PLUGIN.format(status=201))
    resources = {"routes": [{"id": 1, "uri": "/*", "plugins": {"answer": {}}}]}
    server = gateway(resources, {"bascule": {"plugins": [str(source)]}})
    assert get(server) == 201
    source.write_text(PLUGIN.format(status=202))
    until(lambda: get(server) == 202, "the new code")
    source.write_text("def broken(:")
    until(lambda: server.status("/status/details")[1]["plugin_errors"], "the error")
    assert get(server) == 202


def test_the_file_s_own_list_of_plugins_counts(gateway: Start, upstream: Nginx) -> None:
    resources = route(upstream, plugins={"cors": {}})
    server = gateway(resources)
    assert get(server) == 200
    server.write({**resources, "plugins": [{"name": "key-auth"}]})
    until(lambda: get(server) == 503, "cors is disabled, and fails closed")
    server.write(resources)
    until(lambda: get(server) == 200, "enabled again")


def test_logs_are_opened_anew(gateway: Start, upstream: Nginx) -> None:
    server = gateway(route(upstream))
    assert get(server, "/one") == 200
    server.access_log(1)
    server.access_log_path.rename(server.directory / "access.log.1")
    os.kill(server.process.pid, signal.SIGUSR1)
    time.sleep(0.3)
    assert get(server, "/two") == 200
    assert "GET /two" in server.access_log(1)


def test_workers_outlive_their_supervisor_but_not_for_long(gateway: Start, upstream: Nginx) -> None:
    server = gateway(route(upstream), workers=2)
    pids = server.worker_pids()
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.popen.wait(5)
    assert get(server) == 200
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "the workers' end", SERVE_ON_S + 10)


def test_whoever_connects_while_nobody_is_left_is_served_by_the_next(
    gateway: Start, upstream: Nginx, tmp_path: Path
) -> None:
    """Supervisor and workers are killed together, the keeper stays."""
    path, port, admin_port = str(tmp_path / "b.sock"), free_port(), free_port()
    config = {
        "apisix": {"node_listen": [{"ip": "127.0.0.1", "port": port}, f"unix:{path}"]},
        "deployment": {
            "role": "traditional",
            "role_traditional": {"config_provider": "sqlite"},
            "admin": {"admin_key": [{"key": "k"}], "admin_listen": {"ip": "127.0.0.1", "port": admin_port}},
        },
    }
    server = gateway(config=config, workers=2)
    server.port = port
    limit = {"count": 100, "time_window": 600, "key": "constant", "key_type": "constant"}
    first = {"uri": "/*", "plugins": {"limit-count": limit}, "upstream": {"nodes": {upstream.address: 1}}}
    assert admin(admin_port, "PUT", "/apisix/admin/routes/1", first) == 201
    until(lambda: get(server) == 200, "the route")
    (keeper,) = server.keeper_pids()
    killed = [server.process.pid, *server.worker_pids()]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    server.process.popen.wait(5)
    with socket.socket(socket.AF_UNIX) as local, ExitStack() as stack:
        local.settimeout(20)
        local.connect(path)
        clients = [local, *(stack.enter_context(tcp(server.port)) for _ in range(16))]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        puts: list[int] = []
        change = {"uri": "/new", "plugins": {"mocking": {"response_status": 202, "response_example": "x"}}}
        writer = threading.Thread(
            target=lambda: puts.append(admin(admin_port, "PUT", "/apisix/admin/routes/2", change))
        )
        writer.start()
        server.restart()
        answers = [read_all(client) for client in clients]
        assert {answer.split(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 200 OK"}
        remaining = {re.findall(rb"(?i)x-ratelimit-remaining: (\d+)", answer)[0] for answer in answers}
        assert b"99" not in remaining, "what was counted before is still counted"
        writer.join(20)
        assert puts == [201], "a write waited, too"
    until(lambda: get(server, "/new") == 202, "the new route")
    until(lambda: not lives(keeper), "the old keeper's end")
    assert server.keeper_pids() != [keeper]
    assert f"process {killed[0]} was killed" in server.log
    (keeper,) = server.keeper_pids()
    assert server.stop() == 0
    assert not lives(keeper)
    assert not os.path.exists(path)
    for port in (server.port, admin_port):
        with pytest.raises(ConnectionRefusedError):
            tcp(port)


def test_the_keeper_is_replaced_and_has_what_sighup_changed(gateway: Start, upstream: Nginx) -> None:
    server = gateway(route(upstream), workers=1)
    (first,) = server.keeper_pids()
    os.kill(first, signal.SIGKILL)
    until(lambda: server.status("/status/details")[1]["keeper"] not in (first, None), "another one")
    old, port = server.port, free_port()
    server.configure({"apisix": {"node_listen": [{"ip": "127.0.0.1", "port": port}]}})
    workers = server.worker_pids()
    os.kill(server.process.pid, signal.SIGHUP)
    until(lambda: server.worker_pids() and not set(workers) & set(server.worker_pids()), "the old worker's end")
    with pytest.raises(ConnectionRefusedError):
        tcp(old)
    until(lambda: server.status("/status/ready")[0] == 200, "ready again")
    for pid in (server.process.pid, *server.worker_pids()):
        os.kill(pid, signal.SIGKILL)
    server.process.popen.wait(5)
    server.port = port
    answers: list[int] = []
    client = threading.Thread(target=lambda: answers.append(get(server)))
    client.start()
    server.restart()
    client.join(20)
    assert answers == [200]


def admin(port: int, method: str, path: str, body: Any) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, json.dumps(body), {"X-API-KEY": "k"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def tcp(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def read_all(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


KEY = "$secret://vault/1/jack/key"


def locked(vault: VaultServer, upstream: Nginx) -> dict[str, Any]:
    """A route that asks for a key, which lies in Vault."""
    return {
        **route(upstream, plugins={"key-auth": {}}),
        "consumers": [{"username": "jack", "plugins": {"key-auth": {"key": KEY}}}],
        "secrets": [{"id": "vault/1", "uri": vault.url, "prefix": "kv/apps", "token": TOKEN}],
    }


def get_with_key(server: Gateway, key: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", "/", headers={"apikey": key})
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_secret_rotates_under_traffic(gateway: Start, upstream: Nginx, vault: VaultServer) -> None:
    vault.secrets = {"apps/jack": {"key": "one"}}
    server = gateway(locked(vault, upstream), {"bascule": {"secret_refresh": 0.1}}, workers=2)
    assert get_with_key(server, "one") == 200, "it was fetched before the workers served"
    stop = threading.Event()
    seen: list[int] = []

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        while not stop.is_set():
            for key in ("one", "two"):
                connection.request("GET", "/", headers={"apikey": key})
                answer = connection.getresponse()
                answer.read()
                seen.append(answer.status)
        connection.close()

    client = threading.Thread(target=ask)
    client.start()
    vault.secrets = {"apps/jack": {"key": "two"}}
    until(lambda: [get_with_key(server, key) for key in ("one", "two") for _ in range(4)] == [401] * 4 + [200] * 4, "")
    stop.set()
    client.join(10)
    assert set(seen) == {200, 401}
    os.kill(server.worker_pids()[0], signal.SIGKILL)
    until(lambda: server.status("/status/ready")[0] == 200, "ready again")
    assert [get_with_key(server, "two") for _ in range(6)] == [200] * 6, "a new worker knows it too"
    details = server.status("/status/details")[1]
    assert (details["refused"], details["secrets"]) == ([], {"references": 1, "unresolved": [], "stale": []})


def test_a_secret_that_can_not_be_fetched_closes_and_heals(gateway: Start, upstream: Nginx, vault: VaultServer) -> None:
    vault.secrets = {"apps/jack": {"key": "one", "text": "hello"}}
    vault.stop()
    resources = locked(vault, upstream)
    example = {"response_example": "$secret://vault/1/jack/text"}
    resources["routes"].append({"id": 2, "uri": "/mock", "plugins": {"mocking": example}})
    server = gateway(resources)
    assert (get_with_key(server, "one"), get(server, "/mock")) == (401, 503)
    reason = f"vault at {vault.url} doesn't answer: connection refused"
    refused = {(e["kind"], e["path"]): e["message"] for e in server.status("/status/details")[1]["refused"]}
    assert refused == {
        ("consumers", "$.plugins.key-auth.key"): f"{KEY} can't be resolved: {reason}",
        ("routes", "$.plugins.mocking.response_example"): f"$secret://vault/1/jack/text can't be resolved: {reason}",
    }
    assert reason in server.log
    vault.start()
    until(lambda: (get_with_key(server, "one"), get(server, "/mock")) == (200, 200), "healed by itself")
    assert server.status("/status/details")[1]["refused"] == []


class SlowUpstream:
    """Answers one request when told to."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(10)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._connection: socket.socket | None = None

    def wait_request(self) -> None:
        self._connection, _ = self._listener.accept()
        self._connection.settimeout(10)
        assert b"\r\n\r\n" in self._connection.recv(65536)

    def answer(self) -> None:
        assert self._connection is not None
        self._connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def close(self) -> None:
        self._listener.close()
        if self._connection is not None:
            self._connection.close()


@pytest.fixture
def vault() -> Iterator[VaultServer]:
    server = VaultServer()
    yield server
    server.stop()


@pytest.fixture
def slow() -> Any:
    upstream = SlowUpstream()
    yield upstream
    upstream.close()
