"""`bascule run` as a process, where it must not start: one clear line, no traceback."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from bascule.cli.run import worker_count
from bascule.model.config_yaml import parse_settings
from bascule.model.settings import Settings
from tests.servers.gateway import BASCULE, Gateway
from tests.servers.ports import free_port


def run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([BASCULE, "run", *args], cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    assert "Traceback" not in done.stderr
    return done


def config(folder: Path, text: str = "") -> None:
    ports = f"apisix: {{node_listen: {free_port()}, status: {{port: {free_port()}}}, control: {{port: {free_port()}}}}}"
    store = "deployment: {role: data_plane, role_data_plane: {config_provider: yaml}}"
    export = f"plugin_attr: {{prometheus: {{export_addr: {{port: {free_port()}}}}}}}"
    (folder / "config.yaml").write_text(f"{ports}\n{export}\n{store}\n{text}")


def test_how_many_workers() -> None:
    assert worker_count(Settings(), None) == worker_count(Settings(), "auto") == len(os.sched_getaffinity(0))
    assert worker_count(parse_settings(b"nginx_config: {worker_processes: 3}", None, {}), None) == 3
    assert worker_count(parse_settings(b"nginx_config: {worker_processes: 3}", None, {}), "2") == 2
    for option in ("0", "-1", "x", "1025"):
        with pytest.raises(ValueError, match="--workers takes"):
            worker_count(Settings(), option)


def test_bad_options(tmp_path: Path) -> None:
    assert run(tmp_path, "--workers", "x").returncode == 2
    assert run(tmp_path, "--nonsense").returncode == 2


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "config.yaml").write_text(f"apisix: {{node_listen: {port}, ssl: {{enable: false}}}}")
        done = run(tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"bascule: cannot listen on http://0.0.0.0:{port}: address already in use"


def test_a_status_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "config.yaml").write_text(f"apisix: {{node_listen: {free_port()}, status: {{port: {port}}}}}")
        done = run(tmp_path)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port} for the status server: address already in use" in done.stderr


def test_a_config_yaml_that_is_not_there(tmp_path: Path) -> None:
    done = run(tmp_path, "--config", "nothing.yaml")
    assert (done.returncode, done.stderr) == (1, "bascule: cannot read nothing.yaml: no such file or directory\n")


def test_a_config_yaml_with_errors(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("apisix: {node_listen: 99999}\nfoo: 1\n")
    done = run(tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "config.yaml:1: $.apisix.node_listen: must be at most 65535",
        'config.yaml:2: $.foo: unknown attribute "foo"',
        "bascule: 2 errors in the configuration",
    ]


def test_an_access_log_that_can_not_be_written(tmp_path: Path) -> None:
    config(tmp_path, "nginx_config: {http: {access_log: /proc/nothing/a.log}}")
    done = run(tmp_path)
    assert done.returncode == 1
    assert "bascule: cannot write /proc/nothing/a.log: no such file or directory" in done.stderr


def test_strict_refuses_any_error_and_tells_all(tmp_path: Path) -> None:
    config(tmp_path)
    (tmp_path / "apisix.yaml").write_text(
        "routes:\n- id: 1\n  uri: /x\n  plugins:\n    nonsense: {}\nservces: []\n#END"
    )
    done = run(tmp_path, "--strict", "--workers", "1")
    assert done.returncode == 1
    assert 'apisix.yaml:5: routes[1] $.plugins.nonsense: unknown plugin "nonsense"' in done.stderr
    assert 'apisix.yaml:6: $.servces: unknown kind of resource "servces"' in done.stderr
    assert "ready" not in done.stdout


def test_without_any_configuration_it_serves(tmp_path: Path) -> None:
    server = Gateway(tmp_path / "g", "", {"nginx_config": {"http": {"access_log": "logs/access.log"}}}, workers=2)
    try:
        server.resources_path.unlink()
        with server.client() as client:
            answer = client.request("GET", "/x")
        assert answer.status == 404
        assert answer.json() == {"error_msg": "404 Route Not Found"}
        assert (tmp_path / "g/logs/access.log").exists()
    finally:
        assert server.stop() == 0
