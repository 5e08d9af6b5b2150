"""Health checks as users see them: a whole gateway, real nodes that die, freeze, flap and come back."""

import http.client
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers.gateway import BASCULE, Gateway
from tests.servers.ports import free_port
from tests.servers.process import ServerProcess, run_tool

LIMIT_S = 30.0
# A node in a process of its own. Its status is what the file says, at the time of each request.
NODE = """
import sys, http.server
port, path = int(sys.argv[1]), sys.argv[2]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = str(port).encode()
        self.send_response(int(open(path).read()))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    def handle_error(self, *args):
        pass
Server(("127.0.0.1", port), Handler).serve_forever()
"""


class Node:
    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.name = f"127.0.0.1:{self.port}"
        self._directory = directory
        self._status = directory / f"{self.port}.status"
        self.answer(200)
        self.start()

    def start(self) -> None:
        argv = [sys.executable, "-S", "-c", NODE, str(self.port), str(self._status)]
        self.process = ServerProcess(argv, self._directory / f"{self.port}.log")
        self.process.wait_connectable(self.port)

    def answer(self, status: int) -> None:
        fresh = self._status.with_suffix(".new")
        fresh.write_text(str(status))
        fresh.rename(self._status)

    def freeze(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


def get(gateway: Gateway, path: str = "/", count: int = 1) -> Counter[tuple[int, str]]:
    """(status, body) of so many requests, each on a connection of its own: any worker may answer."""
    answers: Counter[tuple[int, str]] = Counter()
    for _ in range(count):
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
        connection.request("GET", path)
        answer = connection.getresponse()
        answers[answer.status, answer.read().decode()] += 1
        connection.close()
    return answers


def control(gateway: Gateway, path: str = "/v1/healthcheck", accept: str = "*/*") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.control_port, timeout=20)
    connection.request("GET", path, headers={"Accept": accept})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def statuses(gateway: Gateway, path: str) -> dict[int, str]:
    return {node["port"]: node["status"] for node in json.loads(control(gateway, path)[1])["nodes"]}


def until(holds: Callable[[], Any], what: str) -> float:
    """Seconds until it held."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < LIMIT_S, what
        time.sleep(0.02)
    return time.monotonic() - began


def unhealthy(gateway: Gateway) -> set[str]:
    return {entry["node"] for entry in gateway.status("/status/details")[1]["health"]["unhealthy_nodes"]}


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Node]]:
    made = [Node(tmp_path) for _ in range(3)]
    yield made
    for node in made:
        node.process.kill()


ACTIVE = {
    "type": "http",
    "http_path": "/",
    "timeout": 2,
    "healthy": {"interval": 1, "successes": 1},
    "unhealthy": {"interval": 1, "http_failures": 1, "tcp_failures": 1, "timeouts": 1},
}


def upstream(nodes: list[Node], **checks: Any) -> dict[str, Any]:
    return {"type": "roundrobin", "nodes": {node.name: 1 for node in nodes}, "checks": checks}


def test_nodes_that_die_freeze_and_come_back(gateway: Callable[..., Gateway], nodes: list[Node]) -> None:
    one, two, three = nodes
    # Not tried elsewhere: a request that meets a bad node shows it.
    conf = upstream(nodes, active=ACTIVE) | {"retries": 0, "timeout": {"connect": 2, "send": 2, "read": 2}}
    routes: list[dict[str, Any]] = [{"id": "1", "uri": "/*", "upstream": conf}]
    server = gateway({"routes": routes}, workers=2)

    # Killed: nobody is sent there any more, whichever worker answers.
    one.process.kill()
    until(lambda: unhealthy(server) == {one.name}, "the dead node is found")
    others = {(200, str(two.port)), (200, str(three.port))}
    until(lambda: set(get(server, count=30)) == others, "it gets no requests")
    assert statuses(server, "/v1/healthcheck/routes/1") == {
        one.port: "unhealthy",
        two.port: "healthy",
        three.port: "healthy",
    }
    assert f'apisix_upstream_status{{name="/routes/1",ip="127.0.0.1",port="{one.port}"}} 0' in server.metrics()
    assert f'apisix_upstream_status{{name="/routes/1",ip="127.0.0.1",port="{two.port}"}} 1' in server.metrics()
    assert f"/routes/1: node {one.name} is unhealthy: connection refused" in server.log
    status, page = control(server, accept="text/html")
    assert status == 200
    assert "<td>unhealthy</td>" in page

    # An edit keeps what is known, and so does a worker that takes another's place.
    server.reload(
        {"routes": [{"id": "1", "uri": "/*", "labels": {"a": "b"}, **{k: routes[0][k] for k in ("upstream",)}}]}
    )
    for pid in server.worker_pids():
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(server.worker_pids()) == 2 and server.status("/status/ready")[0] == 200, "new workers serve")
    assert set(get(server, count=30)) == others
    assert unhealthy(server) == {one.name}

    # Frozen: it takes connections and never answers.
    two.freeze()
    until(lambda: unhealthy(server) == {one.name, two.name}, "the frozen node is found")
    until(lambda: set(get(server, count=10)) == {(200, str(three.port))}, "it gets no requests")

    # Back.
    two.thaw()
    one.start()
    until(lambda: not unhealthy(server), "both are found healthy")
    until(lambda: set(get(server, count=30)) == {(200, str(node.port)) for node in nodes}, "all get requests")

    # All bad: all are used.
    for node in nodes:
        node.answer(500)
    until(lambda: len(unhealthy(server)) == 3, "all are found unhealthy")
    until(lambda: set(get(server, count=30)) == {(500, str(node.port)) for node in nodes}, "all get requests")

    # Flapping: every change is seen, and the gateway serves on.
    for status in (200, 500, 200):
        three.answer(status)
        until(lambda: (three.name not in unhealthy(server)) is (status == 200), f"it answers {status}")  # noqa: B023
    until(lambda: set(get(server, count=10)) == {(200, str(three.port))}, "only it gets requests")


def test_requests_alone_find_out(gateway: Callable[..., Gateway], nodes: list[Node]) -> None:
    one, two, three = nodes
    passive = {
        "healthy": {"successes": 2},
        "unhealthy": {"http_failures": 2, "tcp_failures": 1, "timeouts": 1, "retry_after": 1},
    }
    resources = {
        "upstreams": [{"id": "u", **upstream(nodes, passive=passive)}],
        "routes": [{"id": "1", "uri": "/*", "upstream_id": "u"}],
    }
    server = gateway(resources, workers=2)
    assert {status for status, _ in get(server, count=30)} == {200}
    assert statuses(server, "/v1/healthcheck/upstreams/u") == dict.fromkeys((n.port for n in nodes), "healthy")

    one.process.kill()
    until(lambda: get(server) and one.name in unhealthy(server), "a failed try is enough")
    began = time.monotonic()
    answers = get(server, count=12)
    if time.monotonic() - began < 0.8:  # else it may be on trial already
        assert set(answers) == {(200, str(two.port)), (200, str(three.port))}
    assert {status for status, _ in answers} == {200}  # tried again elsewhere

    # On trial again and again, it fails, and no client notices; then it is there again.
    until(lambda: get(server) and "on trial" in server.log, "it is tried again")
    until(lambda: get(server) and one.name in unhealthy(server), "and fails")
    one.start()
    until(
        lambda: get(server) and statuses(server, "/v1/healthcheck/upstreams/u")[one.port] == "healthy",
        "it is well again",
    )
    two.answer(500)
    until(lambda: get(server) and two.name in unhealthy(server), "answers with 500 count")


def test_what_the_page_shows_can_be_pasted(tmp_path: Path) -> None:
    page = Path(__file__).parents[3] / "docs" / "health-checks.md"
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    assert len(blocks) == 4
    files = [tmp_path / f"{number}.yaml" for number in range(4)]
    for file, block in zip(files, blocks, strict=True):
        file.write_text(block)
    run_tool(BASCULE, "check", *map(str, files))


def test_upstreams_of_plugins_and_nodes_of_services(
    gateway: Callable[..., Gateway], nodes: list[Node], tmp_path: Path
) -> None:
    good, dead = nodes[0], f"127.0.0.1:{free_port()}"
    services = tmp_path / "services.yaml"
    services.write_text(yaml.safe_dump({"shop": {good.name: 1, dead: 1}}))
    checks = {"active": ACTIVE}
    inline = {"nodes": {good.name: 1, dead: 1}, "retries": 0, "checks": checks}
    found = {"service_name": "shop", "discovery_type": "file", "retries": 0, "checks": checks}
    split = {"rules": [{"weighted_upstreams": [{"upstream": inline}]}]}
    routes = [
        {"id": "split", "uri": "/split", "plugins": {"traffic-split": split}, "upstream": {"nodes": {dead: 1}}},
        {"id": "found", "uri": "/found", "upstream": found},
    ]
    server = gateway({"routes": routes}, {"discovery": {"file": {"path": str(services)}}})
    until(lambda: server.status("/status/details")[1]["health"]["unhealthy"] == 2, "both are found")
    for path in ("/split", "/found"):
        until(lambda: get(server, path, 10) == {(200, str(good.port)): 10}, f"{path} leaves it out")  # noqa: B023
    services.write_text(yaml.safe_dump({"shop": {good.name: 1}}))
    until(lambda: statuses(server, "/v1/healthcheck/routes/found") == {good.port: "healthy"}, "another list")


def test_bad_nodes_are_named_and_the_rest_serves(gateway: Callable[..., Gateway], nodes: list[Node]) -> None:
    one = nodes[0]
    checks = {"active": ACTIVE}
    resources = {
        "routes": [
            {
                "id": "names",
                "uri": "/names",
                "upstream": {"nodes": {"no-such-host.invalid:80": 1, one.name: 1}, "checks": checks},
            },
            {"id": "port", "uri": "/port", "upstream": {"nodes": {"127.0.0.1:99999": 1}, "checks": checks}},
            {"id": "plain", "uri": "/plain", "upstream": {"nodes": {one.name: 1}}},
        ]
    }
    server = gateway(resources)
    until(lambda: unhealthy(server) == {"no-such-host.invalid:80"}, "the name is found out")
    assert set(get(server, "/names", 6)) == set(get(server, "/plain")) == {(200, str(one.port))}
    [trouble] = server.status("/status/details")[1]["health"]["unhealthy_nodes"]
    assert trouble["reason"].startswith("no-such-host.invalid can't be resolved: ")
    assert 'bascule_health_probes{name="/routes/names",result="unresolved"}' in server.metrics()
    assert [error["id"] for error in server.status("/status/details")[1]["refused"]] == ["port"]
    assert control(server, "/v1/healthcheck/routes/plain") == (404, '{"error_msg":"no checker for routes[plain]"}')

    # Switched off and on again while it runs.
    for off in (True, False):
        server.configure({"apisix": {"disable_upstream_healthcheck": off}})
        os.kill(server.process.pid, signal.SIGHUP)
        until(lambda: server.status("/status/details")[1]["health"]["enabled"] is not off, "SIGHUP")  # noqa: B023
        until(lambda: bool(unhealthy(server)) is not off, "nothing is probed any more, or again")  # noqa: B023
