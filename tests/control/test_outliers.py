import http.client
import json
import time
from collections.abc import Callable
from typing import Any

from bascule.control.outliers import outliers
from bascule.engine.node_guards import EJECTED, OUT
from bascule.observe.metrics import Metrics
from tests.servers.acting import ActingNode, slow
from tests.servers.gateway import Gateway


def test_what_workers_tell_is_counted() -> None:
    whole = Metrics()
    for number in range(3):
        worker = Metrics()
        worker.gauge(*EJECTED).child(("upstreams/1", "a:1", "latency")).set(1)
        worker.gauge(*EJECTED).child(("upstreams/1", "b:1", "5xx")).set(int(number == 0))
        worker.gauge(*EJECTED).child(("upstreams/1", "c:1", "5xx")).set(0)
        worker.gauge(*OUT).child(("upstreams/1", "a:1", "ejected")).set(1)
        worker.gauge(*OUT).child(("upstreams/2", "d:1", "open")).set(int(number == 1))
        whole.merge(worker.delta(), str(number))
    assert outliers(whole) == [
        {"upstream": "upstreams/1", "node": "a:1", "state": "ejected", "reason": "latency", "workers": 3},
        {"upstream": "upstreams/1", "node": "b:1", "state": "ejected", "reason": "5xx", "workers": 1},
        {"upstream": "upstreams/2", "node": "d:1", "state": "open", "reason": "breaker", "workers": 1},
    ]
    assert outliers(Metrics()) == []


def told(server: Gateway) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", server.control_port, timeout=20)
    connection.request("GET", "/v1/outliers")
    answer = connection.getresponse()
    assert answer.status == 200
    found = json.loads(answer.read())
    connection.close()
    return found


def test_a_slow_node_among_three(gateway: Callable[..., Gateway]) -> None:
    nodes = [ActingNode(slow(0.6)), ActingNode(), ActingNode()]
    try:
        upstream = {
            "nodes": {node.address: 1 for node in nodes},
            "outlier_detection": {
                "latency": {"min_requests": 3, "window": 60, "margin": 0.2},
                "base_ejection_time": 100,
            },
        }
        server = gateway({"routes": [{"id": "1", "uri": "/*", "upstream": upstream}]})
        assert told(server) == []
        began = time.monotonic()
        with server.client() as client:
            while not (found := told(server)):
                assert time.monotonic() - began < 40
                assert client.request("GET", "/").status == 200
            asked = len(nodes[0].seen)
            ports = {client.request("GET", "/").body.split()[0] for _ in range(20)}
        name = nodes[0].address
        assert found == [
            {"upstream": "routes/1#upstream", "node": name, "state": "ejected", "reason": "latency", "workers": 1}
        ]
        assert ports == {str(node.port).encode() for node in nodes[1:]}
        assert len(nodes[0].seen) == asked
        labels = f'upstream="routes/1#upstream",node="{name}"'
        assert f'bascule_node_ejected{{{labels},reason="latency"}} 1\n' in server.metrics()
        assert f'bascule_node_out{{{labels},state="ejected"}} 1\n' in server.metrics()
        assert f"node {name}: ejected for 100 s: it takes 0." in server.log
        assert server.status("/status/details")[1]["outliers"] == found
    finally:
        for node in nodes:
            node.stop()
