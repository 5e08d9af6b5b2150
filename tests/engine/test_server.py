"""Listeners and the end of a worker: IPv6 and Unix-socket listeners, SIGTERM drains."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.gateway import Gateway
from tests.servers.ports import free_port
from tests.servers.raw import RawClient, RawConnection, RawUpstream, response


def route(address: str) -> dict[str, object]:
    return {"routes": [{"id": "all", "uri": "/*", "upstream": {"nodes": {address: 1}}}]}


def test_ipv6_and_unix_listeners(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream], tmp_path: Path
) -> None:
    upstream = raw_upstream()
    port6, path = free_port(), str(tmp_path / "gateway.sock")
    port = free_port()
    listen = [{"ip": "127.0.0.1", "port": port}, {"ip": "::1", "port": port6}, f"unix:{path}"]
    server = gateway(route(upstream.address), {"apisix": {"node_listen": listen}})
    for client, address in (
        (RawClient(port), "127.0.0.1"),
        (RawClient(port6, "::1"), "::1"),
        (RawClient.unix(path), "unix:"),
    ):
        with client:
            for _ in range(2):
                account = client.request("POST", "/", body=b"x" * 100_000).json()
                assert isinstance(account, dict)
                headers = dict(account["headers"])
                assert headers["X-Real-IP"] == headers["X-Forwarded-For"] == address
    assert server.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_drains(
    workers: int, gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    asked, go = threading.Event(), threading.Event()

    def slow(connection: RawConnection) -> None:
        connection.read_request()
        asked.set()
        assert go.wait(10)
        connection.send(response(b"finished"))

    upstream = raw_upstream(slow)
    server = gateway(route(upstream.address), workers=workers)
    idle, busy = server.client(), server.client()
    busy.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert asked.wait(5)
    os.kill(server.process.pid, signal.SIGTERM)
    assert idle.is_closed(timeout_s=5)
    assert refuses(server.port)
    go.set()
    answer = busy.read_response()
    assert (answer.body, answer.header("Connection")) == (b"finished", "close")
    assert busy.is_closed()
    assert server.stop() == 0
    idle.close()
    busy.close()


def refuses(port: int, timeout_s: float = 5) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            return True
        time.sleep(0.01)
    return False
