import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bascule.cli.status import _duration, _outliers, _registries, _unhealthy, status
from tests.cli import commands
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port
from tests.servers.web import JsonServer


def ask(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return commands.run(["status", "--config", "config.yaml", *args], folder)


def test_a_gateway_that_is_well(gateway: Callable[..., Gateway]) -> None:
    server = gateway({"routes": [{"id": 1, "uri": "/", "upstream": {"nodes": {"127.0.0.1:1": 1}}}]}, workers=2)
    done = ask(server.directory)
    assert (done.returncode, done.stderr) == (0, "")
    first, second, *rest = done.stdout.splitlines()
    assert first.startswith("bascule ")
    assert f"process {server.process.pid}, up " in first
    assert second == "generation 1, 1 resource, from yaml"
    assert f"listening on http://127.0.0.1:{server.port}" in rest
    assert f"listening on control http://127.0.0.1:{server.control_port}/v1" in rest
    table = [line.split() for line in rest if line[:2] in ("0 ", "1 ")]
    assert sorted(int(row[1]) for row in table) == sorted(server.worker_pids())
    assert rest[-1] == "all is well"


def test_what_is_wrong_is_told(gateway: Callable[..., Gateway]) -> None:
    server = gateway({"routes": [{"id": 1, "uri": "/", "plugins": {"nonsense": {}}}], "plugins": [{"name": "cor"}]})
    os.kill(server.worker_pids()[0], signal.SIGKILL)
    done = ask(server.directory)
    assert done.returncode == 1
    assert 'routes[1] $.plugins.nonsense: unknown plugin "nonsense"' in done.stdout
    assert 'the list of plugins names "cor", and there is none of that name' in done.stdout
    assert "killed by signal 9" in done.stdout or "troubles:" in done.stdout
    found = ask(server.directory, "--json")
    assert found.returncode == 1
    assert json.loads(found.stdout)["refused"][0]["id"] == "1"


def test_unhealthy_nodes_are_told_and_are_no_fault_of_the_gateway(gateway: Callable[..., Gateway]) -> None:
    node = f"127.0.0.1:{free_port()}"
    checks = {"active": {"type": "tcp", "timeout": 20, "unhealthy": {"tcp_failures": 1}}}
    server = gateway({"routes": [{"id": 1, "uri": "/", "upstream": {"nodes": {node: 1}, "checks": checks}}]})
    server.process.wait_line("is unhealthy")
    done = ask(server.directory)
    [line] = [line for line in done.stdout.splitlines() if node in line]
    assert line.startswith(f"/routes/1: node {node} is unhealthy since 20")
    assert line.endswith(": connection refused")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "the gateway is well, but not all that it needs: see above"
    assert list(_unhealthy({"unhealthy": 3, "unhealthy_nodes": []})) == ["and 3 more"]


def test_nodes_that_workers_leave_out_are_told() -> None:
    nodes = [
        {"upstream": "upstreams/1", "node": "a:1", "state": "ejected", "reason": "latency", "workers": 2},
        {"upstream": "upstreams/1", "node": "b:1", "state": "half_open", "reason": "breaker", "workers": 1},
    ]
    assert list(_outliers(nodes, 2)) == [
        "upstreams/1: node a:1: ejected (latency) in 2 of 2 workers",
        "upstreams/1: node b:1: breaker half_open in 1 of 2 workers",
    ]


def test_registries_that_fail_are_told() -> None:
    troubles = [{"service": "consul web", "message": "refused"}, {"source": "", "message": "no file"}]
    consul = {"troubles": troubles[:1], "unknown": ["consul web", "consul api"], "more": 7}
    found = list(_registries({"consul": consul, "file": {"troubles": troubles[1:], "unknown": []}}))
    assert found == [
        "discovery consul web: refused",
        "discovery consul: and 7 more",
        "discovery consul api: has no nodes",
        "discovery file: no file",
    ]


def test_nothing_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    (tmp_path / "config.yaml").write_text(f"apisix: {{status: {{ip: 0.0.0.0, port: {port}}}}}")
    assert status(tmp_path / "config.yaml", False) == 2
    told = f"bascule: no gateway answers on 0.0.0.0:{port} (apisix.status): connection refused\n"
    assert capsys.readouterr().err == told
    (tmp_path / "config.yaml").write_text("nonsense: 1")
    assert status(tmp_path / "config.yaml", False) == 2
    assert status(tmp_path / "none.yaml", False) == 2


class Other(JsonServer):
    body: Any = None

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        return 200, self.body


def test_somebody_else_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = Other()
    (tmp_path / "config.yaml").write_text(f"apisix: {{status: {{port: {server.port}}}}}")
    try:
        for body in ({"status": "ok"}, b"<html>", []):
            server.body = body
            assert status(tmp_path / "config.yaml", False) == 2
            told = f"bascule: what answers on 127.0.0.1:{server.port} (apisix.status) isn't Bascule\n"
            assert capsys.readouterr().err == told
    finally:
        server.stop()


DETAILS: dict[str, Any] = {
    "version": "1",
    "pid": 7,
    "generation": 0,
    "latest_generation": 3,
    "uptime_s": 90000,
    "workers": [
        {
            "id": 0,
            "pid": None,
            "ready": False,
            "generation": 0,
            "restarts": 4,
            "uptime_s": 0,
            "last_exit": "exit code 1",
        }
    ],
    "resources": 2,
    "store": {"provider": "etcd", "trouble": "etcd doesn't answer"},
    "secrets": {"references": 1, "unresolved": [], "stale": [{"reference": "r", "message": "vault is away"}]},
    "refused": [],
    "broken_global": "global rule 1: is wrong",
    "plugin_errors": {"x.py": "x.py: syntax error"},
    "unknown_plugins": [],
    "listening": ["http://127.0.0.1:9080"],
    "services": [],
}


def test_every_trouble_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = Other()
    server.body = DETAILS
    (tmp_path / "config.yaml").write_text(f"apisix: {{status: {{port: {server.port}}}}}")
    try:
        assert status(tmp_path / "config.yaml", False) == 1
    finally:
        server.stop()
    assert capsys.readouterr().out.splitlines() == [
        "bascule 1, process 7, up 1 d 1 h",
        "generation 0, 2 resources, from etcd",
        "listening on http://127.0.0.1:9080",
        "",
        "worker  pid  uptime          generation  restarts  last exit",
        "0       -    does not serve  0           4         exit code 1",
        "",
        "6 troubles:",
        "  worker 0 does not serve: it ended last with exit code 1",
        "  a worker serves generation 0, not yet 3",
        "  the store: etcd doesn't answer",
        "  no request is served: global rule 1: is wrong",
        "  an older value is in use: vault is away",
        "  plugin code x.py: syntax error",
    ]


def test_durations() -> None:
    assert [_duration(s) for s in (0.9, 61, 3600, 90061)] == ["0 s", "1 min 1 s", "1 h 0 min", "1 d 1 h"]
