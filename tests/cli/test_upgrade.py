"""`bascule upgrade` against a real gateway under load."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.certificates import Certificates
from tests.servers.gateway import BASCULE, Gateway
from tests.servers.nginx import Nginx
from tests.servers.ports import free_port
from tests.servers.raw import Closed
from tests.servers.tls import connect

Start = Callable[..., Gateway]


def upgrade(server: Gateway, *args: str) -> subprocess.CompletedProcess[str]:
    command = [BASCULE, "upgrade", "--config", str(server.directory / "config.yaml"), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def supervisor(server: Gateway) -> int:
    return int(server.status("/status/details")[1]["pid"])


class Load:
    """Clients that ask all the time, on new and on kept connections, and note every answer that isn't 200."""

    def __init__(self, server: Gateway) -> None:
        self.wrong: list[Any] = []
        self.answers = 0
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(server, kept)) for kept in (False, False, True, True)]

    def _ask(self, server: Gateway, kept: bool) -> None:
        head = b"GET / HTTP/1.1\r\nHost: x\r\n" + (b"" if kept else b"Connection: close\r\n") + b"\r\n"
        while not self._end.is_set():
            asked = 0
            try:
                with server.client() as client:
                    while not self._end.is_set():
                        client.send(head)
                        answer = client.read_response()
                        self.answers += 1
                        asked += 1
                        if answer.status != 200:
                            self.wrong.append(answer.status)
                        if not kept or answer.header("connection") == "close":
                            break
            except (Closed, ConnectionResetError) as error:
                # A kept connection may end between two requests: every client asks again on a new one.
                if not asked or getattr(error, "received", b""):
                    self.wrong.append(repr(error))
            except Exception as error:
                self.wrong.append(repr(error))

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(20)


@pytest.fixture
def ended() -> Iterator[list[int]]:
    """Supervisors that a test leaves behind: they are nobody's children."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 10
    for pid in pids:
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.02)


def test_no_request_fails_while_a_new_gateway_takes_over(
    gateway: Start, nginx: Callable[[str], Nginx], ended: list[int]
) -> None:
    upstream = nginx("location / { return 200 'ok'; }")
    node = {"type": "roundrobin", "nodes": {upstream.address: 1}}
    limit = {"count": 1_000_000, "time_window": 3600, "key": "constant", "key_type": "constant"}
    resources = {"routes": [{"id": 1, "uri": "/*", "upstream": node, "plugins": {"limit-count": limit}}]}
    server = gateway(resources, workers=2)
    before = supervisor(server)
    with Load(server) as load:
        for _ in range(2):
            done = upgrade(server)
            assert done.returncode == 0, done.stderr + server.log
            ended.append(supervisor(server))
    assert load.wrong == []
    assert load.answers > 100
    assert len({before, *ended}) == 3
    assert f"process {ended[1]} has taken over from process {ended[0]}: ready http://" in done.stdout
    server.process.popen.wait(10)
    # The counters came along: what was counted before is still counted.
    with server.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        remaining = int(client.read_response().header("x-ratelimit-remaining") or -1)
    assert remaining == 1_000_000 - load.answers - 1
    # The new one's log goes where the old one's went.
    assert server.log.count("\nready ") + server.log.startswith("ready ") >= 2


def test_a_new_gateway_that_can_t_start_leaves_the_old_one_as_it_was(
    gateway: Start, nginx: Callable[[str], Nginx]
) -> None:
    upstream = nginx("location / { return 200 'ok'; }")
    resources = {"routes": [{"id": 1, "uri": "/*", "upstream": {"type": "roundrobin", "nodes": {upstream.address: 1}}}]}
    server = gateway(resources)
    before = supervisor(server)
    config = server.directory / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("error_log_level: info", "error_log_level: info\n  error_log: /proc/nothing/x.log"))
    with Load(server) as load:
        done = upgrade(server)
        assert done.returncode == 1
        assert "the old one goes on" in done.stderr
        config.write_text(text)
        server.reload({"routes": [*resources["routes"], {"id": 2, "uri": "/b", "plugins": {"mocking": {}}}]})
    assert load.wrong == []
    assert supervisor(server) == before


def test_one_that_fails_with_the_sockets_in_hand_leaves_them_as_they_were(
    gateway: Start, nginx: Callable[[str], Nginx]
) -> None:
    upstream = nginx("location / { return 200 'ok'; }")
    resources = {"routes": [{"id": 1, "uri": "/*", "upstream": {"type": "roundrobin", "nodes": {upstream.address: 1}}}]}
    server = gateway(resources, workers=2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        more = [{"ip": "127.0.0.1", "port": port} for port in (server.port, taken.getsockname()[1])]
        server.configure({"apisix": {"node_listen": more}})
        with Load(server) as load:
            done = upgrade(server)
            time.sleep(0.2)
        assert done.returncode == 1
        assert "address already in use" in server.log
        assert load.wrong == []
        with Load(server) as load:
            time.sleep(0.5)
        assert load.wrong == []
        assert load.answers > 10


def test_with_nothing_to_take_over_it_says_so(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("apisix: {node_listen: 0}")
    done = subprocess.run(
        [BASCULE, "upgrade", "--config", str(config)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "bascule: no gateway runs with this configuration, as this user\n"


def test_no_handshake_fails_while_workers_change_and_a_new_gateway_takes_over(
    gateway: Start, certificates: Certificates, ended: list[int]
) -> None:
    port = free_port()
    config: dict[str, Any] = {"apisix": {"ssl": {"enable": True, "listen": [{"ip": "127.0.0.1", "port": port}]}}}
    resources = {
        "routes": [{"uri": "/*", "plugins": {"mocking": {"response_example": "hello"}}}],
        "ssls": [{"sni": "localhost", **certificates.server.texts}],
    }
    server = gateway(resources, config, workers=2)
    wrong: list[str] = []
    answers: list[int] = []
    end = threading.Event()

    def ask() -> None:
        while not end.is_set():
            try:
                with connect(port, "localhost") as client:
                    answers.append(client.get("localhost"))
            except Exception as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        before = set(server.worker_pids())
        server.configure({**config, "nginx_config": {"http": {"keepalive_timeout": "30s"}}})
        server.process.popen.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 60
        while before & set(server.worker_pids()) or len(server.worker_pids()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        told = upgrade(server)
        assert told.returncode == 0, told.stderr
        ended.append(supervisor(server))
        known = len(answers)
        while len(answers) < known + 20:
            assert time.monotonic() < deadline + 60
            time.sleep(0.05)
    finally:
        end.set()
        for thread in threads:
            thread.join(20)
    assert not wrong
    assert set(answers) == {200}
