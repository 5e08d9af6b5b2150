"""Redis in company: a cluster of three masters, and a master watched by a sentinel."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.servers.ports import free_port
from tests.servers.process import ServerProcess
from tests.servers.redis import RedisServer


class RedisCluster:
    """Three masters without replicas, on `ports`."""

    def __init__(self, directory: Path):
        self.servers: list[RedisServer] = []
        try:
            for n in range(3):
                bus = {"cluster-enabled": "yes", "cluster-port": str(free_port()), "cluster-node-timeout": "2000"}
                self.servers.append(RedisServer(directory / str(n), options=bus))
            self.ports = [server.port for server in self.servers]
            nodes = [f"127.0.0.1:{port}" for port in self.ports]
            create = ["redis-cli", "--cluster", "create", *nodes, "--cluster-replicas", "0", "--cluster-yes"]
            subprocess.run(create, check=True, capture_output=True, timeout=30)
            for port in self.ports:
                _wait(lambda port=port: "cluster_state:ok" in _ask(port, "cluster", "info"))  # type: ignore[misc]
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        for server in self.servers:
            server.stop()


class RedisSentinel:
    """A sentinel on `port` that watches `master` under the name mymaster."""

    def __init__(self, directory: Path):
        self.master = RedisServer(directory / "master")
        self.port = free_port()
        conf = directory / "sentinel.conf"
        conf.write_text(f"port {self.port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {self.master.port} 1\n")
        try:
            argv = ["redis-server", str(conf), "--sentinel"]
            self.process = ServerProcess(argv, directory / "sentinel.log", cwd=directory)
            self.process.wait_connectable(self.port)
        except BaseException:
            self.master.stop()
            raise

    def stop(self) -> None:
        self.process.stop()
        self.master.stop()


def _ask(port: int, *command: str) -> str:
    return subprocess.run(
        ["redis-cli", "-p", str(port), *command], check=True, capture_output=True, text=True, timeout=5
    ).stdout


def _wait(ready: Callable[[], bool], timeout_s: float = 20) -> None:
    until = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > until:
            raise TimeoutError("the servers did not come together")
        time.sleep(0.05)
