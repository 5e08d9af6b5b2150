"""What observers are told of tries: cut responses, a status that is tried again."""

import contextlib
import threading
import time
from collections.abc import Callable

from tests.servers.acting import ActingNode, ok, reset_in_body, status
from tests.servers.gateway import Gateway
from tests.servers.raw import Closed, Message, RawClient, RawConnection


def test_a_node_that_cuts_its_answers(gateway: Callable[..., Gateway]) -> None:
    nodes = [ActingNode(reset_in_body), ActingNode()]
    try:
        outliers = {"consecutive_gateway_errors": 2}
        upstream = {"nodes": {node.address: 1 for node in nodes}, "outlier_detection": outliers}
        serving = gateway({"routes": [{"id": "1", "uri": "/*", "upstream": upstream}]})
        cuts = 0
        for _ in range(20):
            with contextlib.suppress(Closed), serving.client() as client:
                cuts += 1
                assert client.request("GET", "/").status == 200
                cuts -= 1
        assert cuts == len(nodes[0].seen) == 2
        assert f"node {nodes[0].address}: ejected for 10 s: 2 responses were cut" in serving.log
    finally:
        for node in nodes:
            node.stop()


def test_a_status_that_is_tried_again_is_an_answer_too(gateway: Callable[..., Gateway]) -> None:
    """A node that is slow with one request and answers another 503 isn't stalled."""
    release = threading.Event()

    def held(connection: RawConnection, request: Message) -> None:
        release.wait(30)
        ok(connection, request)

    nodes = [ActingNode(held), ActingNode()]
    nodes[0].play(held, status(503), held)
    clients: list[RawClient] = []
    try:
        upstream = {
            "nodes": {node.address: 1 for node in nodes},
            "retry_policy": {"on": [503]},
            "outlier_detection": {"stalled": {"requests": 2, "after": 2}},
        }
        serving = gateway({"routes": [{"id": "1", "uri": "/*", "upstream": upstream}]})

        def ask_until_held(number: int) -> None:
            while len(nodes[0].seen) < number:
                client = serving.client()
                client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                clients.append(client)
                time.sleep(0.05)

        ask_until_held(1)
        began = time.monotonic()
        while time.monotonic() < began + 2.2:
            time.sleep(0.05)
        ask_until_held(3)  # 503, which the other node makes good, and one more that waits
        ask_until_held(4)
        release.set()
        assert [client.read_response().status for client in clients] == [200] * len(clients)
    finally:
        release.set()
        for client in clients:
            client.close()
        for node in nodes:
            node.stop()
