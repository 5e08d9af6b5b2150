"""A Redis server with nothing on disk."""

from pathlib import Path

from tests.servers.ports import free_port
from tests.servers.process import ServerProcess


class RedisServer:
    """redis-server on `port`; `password` and further `options` ("name value" pairs) are given on its command line."""

    def __init__(self, directory: Path, password: str | None = None, options: dict[str, str] | None = None):
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.password = password
        argv = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        for name, value in {**({"requirepass": password} if password else {}), **(options or {})}.items():
            argv += [f"--{name}", value]
        self.process = ServerProcess(argv, directory / "output.log", cwd=directory)
        self.process.wait_connectable(self.port)

    def stop(self) -> None:
        self.process.stop()
