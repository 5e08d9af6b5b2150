"""Requests under way count over all workers, also when one of them is killed."""

import os
import signal
import time
from collections.abc import Callable

from tests.servers.gateway import Gateway
from tests.servers.raw import RawClient, RawConnection, RawUpstream


def test_a_killed_worker_leaves_nothing_behind(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    def holds(connection: RawConnection) -> None:
        connection.read_request()
        connection.read_to_end()  # until the gateway gives up

    nodes = [raw_upstream(holds), raw_upstream(holds)]
    server = gateway(
        {"routes": [{"id": "all", "uri": "/*", "upstream": {"type": "p2c", "nodes": {n.address: 1 for n in nodes}}}]},
        workers=2,
    )
    clients: list[RawClient] = []

    def under_way() -> list[int]:
        return [sum(connection.sock.fileno() >= 0 for connection in node.connections) for node in nodes]

    def start(count: int) -> None:
        for _ in range(count):
            before = sum(len(node.connections) for node in nodes)
            clients.append(server.client())
            clients[-1].send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            deadline = time.monotonic() + 20
            while sum(len(node.connections) for node in nodes) == before:
                assert time.monotonic() < deadline
                time.sleep(0.002)

    start(21)
    # With two nodes, each request goes to the one that all workers together have fewer requests at.
    assert sorted(len(node.connections) for node in nodes) == [10, 11]

    victim = server.worker_pids()[0]
    os.kill(victim, signal.SIGKILL)
    server.process.wait_line("starting it again", timeout_s=30)
    deadline = time.monotonic() + 30
    while sum(under_way()) == 21 or victim in server.worker_pids() or len(server.worker_pids()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    start(12 + abs(under_way()[0] - under_way()[1]))
    assert abs(under_way()[0] - under_way()[1]) <= 1
    for client in clients:
        client.close()
