"""dnsmasq with a few records of its own, which can be changed: a real name server."""

from pathlib import Path

from tests.servers.ports import free_port
from tests.servers.process import ServerProcess


class Dnsmasq:
    """Serves `records` (lines as in dnsmasq.conf: host-record=…, srv-host=name,target,port,priority,weight) under the
    domain `test` with a TTL of 1 s, for UDP and TCP on `port`."""

    def __init__(self, directory: Path, *records: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.port = free_port()
        self._process: ServerProcess | None = None
        self.use(*records)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def use(self, *records: str) -> None:
        """Serves these records from now on."""
        self.stop()
        conf = self._directory / "dnsmasq.conf"
        fixed = ("no-resolv", "no-hosts", "bind-interfaces", "listen-address=127.0.0.1", "local=/test/", "local-ttl=1")
        conf.write_text("\n".join((f"port={self.port}", *fixed, *records)) + "\n")
        argv = ["dnsmasq", "--keep-in-foreground", "--user=", "--pid-file=", f"--conf-file={conf}", "--log-facility=-"]
        self._process = ServerProcess(argv, self._directory / "output.log", cwd=self._directory)
        self._process.wait_connectable(self.port)

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None
