"""The gateway itself, as a user starts it: `bascule run` from this interpreter's environment."""

import contextlib
import http.client
import json
import os
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.servers.ports import free_port
from tests.servers.process import ServerFailed, ServerProcess
from tests.servers.raw import RawClient

BASCULE = str(Path(sys.executable).with_name("bascule"))
# A handler that crashed; any code of ours that did; and plugins' code too.
BAD_SIGNS = frozenset({"internal error at", "internal error", "Traceback"})


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`, objects merged, anything else replaced."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(value, Mapping) and isinstance(old, Mapping) else value
    return result


def as_resources(resources: str | Mapping[str, Any]) -> str:
    """The text of an apisix.yaml, with its end marker."""
    text = resources if isinstance(resources, str) else yaml.safe_dump(dict(resources), sort_keys=False)
    return text if text.rstrip().endswith("#END") else text + "\n#END\n"


class Gateway:
    """A running gateway with ports of its own.

    `config` (YAML text or a mapping) is laid over a config.yaml that picks free ports, the file provider, an access log
    in `directory`; `resources` is the content of apisix.yaml; `prefix` is a command that runs it all (taskset). The
    constructor returns once every worker serves.
    """

    def __init__(
        self,
        directory: Path,
        resources: str | Mapping[str, Any] = "routes: []",
        config: str | Mapping[str, Any] = "",
        *,
        workers: int = 1,
        env: Mapping[str, str] | None = None,
        args: tuple[str, ...] = (),
        prefix: tuple[str, ...] = (),
        wait: bool = True,
    ):
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port, self.status_port, self.metrics_port, self.control_port = (free_port() for _ in range(4))
        self.access_log_path = directory / "access.log"
        self.resources_path = directory / "apisix.yaml"
        base: dict[str, Any] = {
            "deployment": {"role": "data_plane", "role_data_plane": {"config_provider": "yaml"}},
            "apisix": {
                "node_listen": [{"ip": "127.0.0.1", "port": self.port}],
                "status": {"ip": "127.0.0.1", "port": self.status_port},
                "control": {"ip": "127.0.0.1", "port": self.control_port},
                "ssl": {"enable": False},
            },
            "nginx_config": {
                "error_log_level": "info",
                "http": {"access_log": str(self.access_log_path), "access_log_buffer": 0},
            },
            "bascule": {"access_log_flush": 0.02},
            "plugin_attr": {"prometheus": {"export_addr": {"ip": "127.0.0.1", "port": self.metrics_port}}},
        }
        given = yaml.safe_load(config) or {} if isinstance(config, str) else config
        config_path = directory / "config.yaml"
        self._config = base
        self.configure(given)
        self.resources_path.write_text(as_resources(resources))
        argv = [*prefix, BASCULE, "run", "--config", str(config_path), "--workers", str(workers), *args]
        self._argv = argv
        self._env = own = {"LD_PRELOAD": os.environ.get("LD_PRELOAD", ""), **(env or {})}
        self.process = ServerProcess(argv, directory / "output.log", cwd=directory, env=own)
        if wait:
            self.ready_line = self.process.wait_line(" workers=", timeout_s=30)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What the gateway wrote to stdout and stderr: its error log."""
        return self.process.log

    def access_log(self, lines: int = 0, timeout_s: float = 5) -> str:
        """The access log, once it holds at least `lines` lines: it is written off the request path."""
        deadline = time.monotonic() + timeout_s
        while True:
            text = self.access_log_path.read_text() if self.access_log_path.exists() else ""
            if text.count("\n") >= lines:
                return text
            if time.monotonic() > deadline:
                raise TimeoutError(f"{text.count(chr(10))} lines in the access log after {timeout_s} s, not {lines}")
            time.sleep(0.01)

    def logged(self, text: str, timeout_s: float = 10) -> str:
        """The first line of the access log that holds `text`, once it is there."""
        deadline = time.monotonic() + timeout_s
        while True:
            for line in self.access_log().splitlines():
                if text in line:
                    return line
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {text!r} in the access log after {timeout_s} s")
            time.sleep(0.01)

    def resident_bytes(self) -> int:
        """The memory that its first worker takes."""
        return int(Path(f"/proc/{self.worker_pids()[0]}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def client(self, **options: Any) -> RawClient:
        """A new raw connection to the gateway."""
        return RawClient(self.port, **options)

    def status(self, path: str = "/status") -> tuple[int, Any]:
        """The status server's answer: status code and decoded body."""
        return _get_json(self.status_port, path)

    def metrics(self) -> str:
        """The text of the Prometheus exporter."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=10)
        try:
            connection.request("GET", "/apisix/prometheus/metrics")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def configure(self, config: Mapping[str, Any]) -> None:
        """Lays `config` over what config.yaml says; SIGHUP makes the gateway read it."""
        self._config = merged(self._config, config)
        (self.directory / "config.yaml").write_text(yaml.safe_dump(self._config, sort_keys=False))

    def write(self, resources: str | Mapping[str, Any]) -> None:
        """Replaces apisix.yaml in one step; the gateway notices by itself."""
        fresh = self.resources_path.with_suffix(".new")
        fresh.write_text(as_resources(resources))
        os.replace(fresh, self.resources_path)

    def generation(self) -> int:
        """The number of the configuration that every worker serves."""
        return int(self.status("/status/details")[1]["generation"])

    def reload(self, resources: str | Mapping[str, Any], timeout_s: float = 15) -> None:
        """Replaces the resources and returns once every worker serves them."""
        before = self.generation()
        self.write(resources)
        deadline = time.monotonic() + timeout_s
        while self.generation() <= before:
            self.process.check_alive()
            if time.monotonic() > deadline:
                raise ServerFailed(f"still generation {before} after {timeout_s} s\n{self.log[-4000:]}")
            time.sleep(0.01)

    def worker_pids(self) -> list[int]:
        """The process ids of the workers."""
        return self._children("bascule.control.worker")

    def keeper_pids(self) -> list[int]:
        """Of the process that keeps the listening sockets; none while it is started again."""
        return self._children("keeper_process")

    def _children(self, program: str) -> list[int]:
        """The supervisor's living children that run this.

        From every process's parent: task/*/children is documented to miss some while others come and go.
        """
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                    if int(parent) == self.process.pid and state != "Z" and program in _command(entry):
                        found.append(int(entry.name))
        return sorted(found)

    def restart(self) -> None:
        """Stops it and starts it again, with the same files; the log begins anew."""
        self.stop()
        self.process.log_path.unlink()
        self.process = ServerProcess(self._argv, self.directory / "output.log", cwd=self.directory, env=self._env)
        self.ready_line = self.process.wait_line(" workers=", timeout_s=30)

    def stop(self) -> int:
        """SIGTERM: drains and ends; returns the exit code."""
        return self.process.stop(timeout_s=10)

    def finish(self, expected: Collection[str] = ()) -> None:
        """Stops it. All must have gone well: exit code 0, and of BAD_SIGNS only the `expected` ones in its log."""
        assert self.stop() == 0, self.log[-4000:]
        for sign in BAD_SIGNS.difference(expected):
            assert sign not in self.log, self.log[-4000:]


def _command(process: Path) -> str:
    return (process / "cmdline").read_bytes().decode(errors="replace")


def _get_json(port: int, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body else None
    finally:
        connection.close()
