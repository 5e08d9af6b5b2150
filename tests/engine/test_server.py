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
from tests.servers.raw import RawClient, RawConnection, RawUpstream, answers, response


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


REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def test_who_waits_in_the_queue_at_sigterm_is_served(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream], tmp_path: Path
) -> None:
    """The worker is frozen while they connect, so that none of them has been accepted."""
    upstream = raw_upstream(answers(response(b"ok")))
    port, path = free_port(), str(tmp_path / "gateway.sock")
    server = gateway(
        route(upstream.address), {"apisix": {"node_listen": [{"ip": "127.0.0.1", "port": port}, f"unix:{path}"]}}
    )
    (worker,) = server.worker_pids()
    os.kill(worker, signal.SIGSTOP)
    clients = [RawClient(port) for _ in range(100)] + [RawClient.unix(path) for _ in range(20)]
    for client in clients[::2]:  # the others' requests come later than the stop
        client.send(REQUEST)
    os.kill(server.process.pid, signal.SIGTERM)
    assert refuses_unix(path)
    os.kill(worker, signal.SIGCONT)
    for client in clients[1::2]:
        client.send(REQUEST)
    for client in clients:
        assert client.read_response().body == b"ok"
        assert client.is_closed(timeout_s=3)
        client.close()
    assert server.stop() == 0
    assert refuses(port)


def test_a_request_that_comes_as_the_drain_begins_is_answered(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    """The worker is frozen while the requests and the word to drain arrive."""
    upstream = raw_upstream(answers(response(b"ok")))
    server = gateway(route(upstream.address))
    (worker,) = server.worker_pids()
    one, three, half, silent = (server.client() for _ in range(4))
    for client in (one, three, half, silent):
        assert client.request("GET", "/").header("Connection") is None
    os.kill(worker, signal.SIGSTOP)
    one.send(REQUEST)
    three.send(REQUEST * 3)
    half.send(REQUEST + REQUEST[:20])
    os.kill(server.process.pid, signal.SIGTERM)
    os.kill(worker, signal.SIGCONT)
    for client, requests in ((one, 1), (three, 3), (half, 1)):
        assert [client.read_response().body for _ in range(requests)] == [b"ok"] * requests
    assert silent.is_closed(timeout_s=3)  # so that the drain has begun
    half.send(REQUEST[20:])
    answer = half.read_response()  # on a busy machine its time may be over: 408
    assert answer.status in (200, 408)
    assert answer.header("Connection") == "close"
    for client in (one, three, half):
        assert client.is_closed(timeout_s=3)
    for client in (one, three, half, silent):
        client.close()
    assert server.stop() == 0


def test_a_drain_leaves_a_client_half_a_second_for_its_next_request(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    """A connection that served before. Timers are never early, whatever else the machine does."""
    server = gateway(route(raw_upstream(answers(response(b"ok"))).address))
    with server.client() as client:
        assert client.request("GET", "/").header("Connection") is None
        began = time.monotonic()
        os.kill(server.process.pid, signal.SIGTERM)
        assert client.is_closed(timeout_s=10)
        assert time.monotonic() - began >= 0.49
    assert server.stop() == 0


def test_a_drain_waits_for_tunnels_within_its_limit(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    def switch(connection: RawConnection) -> None:
        connection.read_head()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
        while data := connection.read_some():
            connection.send(data)

    upstream = raw_upstream(switch)
    resources = route(upstream.address)
    resources["routes"][0]["enable_websocket"] = True  # type: ignore[index]
    server = gateway(resources, {"nginx_config": {"worker_shutdown_timeout": "2s"}})
    with server.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        assert client.read_head().status == 101
        os.kill(server.process.pid, signal.SIGTERM)
        assert refuses(server.port)
        client.send(b"still here")
        assert client.read_exactly(10) == b"still here"
        assert client.is_closed(timeout_s=5)
    assert "1 requests still ran after 2 s of draining" in server.log
    assert server.stop() == 0


def refuses_unix(path: str, timeout_s: float = 5) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not os.path.exists(path):
            return True
        time.sleep(0.01)
    return False


def refuses(port: int, timeout_s: float = 5) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=timeout_s).close()
        except ConnectionRefusedError:
            return True
        time.sleep(0.01)
    return False
