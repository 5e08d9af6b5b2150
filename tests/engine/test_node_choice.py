"""Nodes that stall are passed by while others don't."""

import threading
import time
from collections.abc import Callable

from tests.servers.acting import ActingNode, ok, slow
from tests.servers.gateway import Gateway
from tests.servers.raw import Message, RawClient, RawConnection


def test_a_stalled_node_gets_no_more_until_it_answers(gateway: Callable[..., Gateway]) -> None:
    """Two requests wait for it, and nothing comes: others pass it by."""
    release = threading.Event()

    def held(connection: RawConnection, request: Message) -> None:
        release.wait(30)
        ok(connection, request)

    nodes = [ActingNode(held), ActingNode()]
    clients: list[RawClient] = []
    try:
        upstream = {
            "nodes": {node.address: 1 for node in nodes},
            "outlier_detection": {"stalled": {"requests": 2, "after": 0.2}},
        }
        serving = gateway({"routes": [{"id": "1", "uri": "/*", "upstream": upstream}]})
        while len(nodes[0].seen) < 2:
            client = serving.client()
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            clients.append(client)
            time.sleep(0.02)
        began = time.monotonic()
        while time.monotonic() < began + 0.3:  # it has been silent for long enough after this
            time.sleep(0.05)
        before = len(nodes[0].seen)
        with serving.client() as client:
            assert [client.request("GET", "/").status for _ in range(20)] == [200] * 20
        assert len(nodes[0].seen) == before
        release.set()
        assert [client.read_response().status for client in clients] == [200] * len(clients)
        with serving.client() as client:
            assert [client.request("GET", "/").status for _ in range(20)] == [200] * 20
        assert len(nodes[0].seen) == before + 10
    finally:
        release.set()
        for client in clients:
            client.close()
        for node in nodes:
            node.stop()


def test_when_all_are_stalled_all_are_used(gateway: Callable[..., Gateway]) -> None:
    node = ActingNode(slow(0.3))
    try:
        upstream = {"nodes": {node.address: 1}, "outlier_detection": {"stalled": {"requests": 1, "after": 0.1}}}
        serving = gateway({"routes": [{"id": "1", "uri": "/*", "upstream": upstream}]})
        with serving.client() as one, serving.client() as other:
            one.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            time.sleep(0.2)
            assert other.request("GET", "/").status == 200
            assert one.read_response().status == 200
    finally:
        node.stop()
