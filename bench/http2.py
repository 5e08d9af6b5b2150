"""HTTP/2 over TLS towards clients, under h2load: 8 connections with 32 streams each."""

import re
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.cpu import cpu_s
from bench.load import LoadFailed, Sample, check_same_job
from bench.pairs import compared, rounds
from bench.peers import Peer, haproxy, nginx, start_bascule
from bench.site import HOSTS, PATHS
from bench.speed import GATEWAY_CPUS, LOAD_CPUS, Bench
from bench.tls import with_certificates
from tests.servers.certificates import Certificates
from tests.servers.ports import free_port

CONNECTIONS, STREAMS = 8, 32


class Http2Load:
    """h2load over ten routes of one host, in turn."""

    def __init__(self, directory: Path):
        self.listed = directory / "paths"

    def _run(self, port: int, cpus: str, seconds: float) -> tuple[int, float]:
        """Requests, wall seconds."""
        self.listed.write_text("".join(f"https://localhost:{port}{path}items?id=7\n" for path in PATHS))
        argv = [
            "taskset",
            "-c",
            cpus,
            "h2load",
            "-t1",
            f"-c{CONNECTIONS}",
            f"-m{STREAMS}",
            f"-D{max(1, round(seconds))}",
        ]
        argv += ["-H", f":authority: {HOSTS[3]}", "-i", str(self.listed)]
        said = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=seconds + 30).stdout
        done = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", said)
        answers = re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", said)
        wall = re.search(r"finished in ([\d.]+)(s|ms)", said)
        if not done or not answers or not wall or "Application protocol: h2" not in said or int(done[3]):
            raise LoadFailed(f"port {port}: h2load said {said!r}")
        return int(done[2]), float(wall[1]) / (1 if wall[2] == "s" else 1000)

    def sample(self, peer: Peer, *, seconds: float) -> Sample:
        """Warms up for a second, then measures. h2load tells no median."""
        self._run(peer.tls_port, LOAD_CPUS, 1)
        before = cpu_s(peer.pid)
        requests, wall_s = self._run(peer.tls_port, LOAD_CPUS, seconds)
        return Sample(requests, cpu_s(peer.pid) - before, wall_s, 0.0)


def http2(bench: Bench) -> dict[str, Any]:
    """HTTP/2 over TLS 1.3 with a P-256 certificate, 8 connections with 32 streams each, 128-byte answers."""
    with ExitStack() as stack:
        site = bench.upstream(stack, "http2")
        pair = Certificates(bench.directory / "http2" / "certs", ("localhost", *HOSTS)).server
        contenders: list[tuple[str, Peer]] = []

        def add(name: str, peer: Peer) -> None:
            stack.callback(peer.stop)
            check_same_job(peer, site)
            contenders.append((name, peer))

        add("nginx", nginx(site, bench.folder("http2/nginx"), GATEWAY_CPUS, pair, http2=True))
        resources = with_certificates(site, {"localhost": pair})
        folder = bench.folder("http2/bascule")
        add("bascule", start_bascule("bascule", resources, folder, GATEWAY_CPUS, tls_port=free_port()))
        if "haproxy" in bench.peers:
            add("haproxy", haproxy(site, bench.folder("http2/haproxy"), GATEWAY_CPUS, pair))
        load = Http2Load(bench.directory / "http2")
        figures = rounds(contenders, bench.rounds, lambda _, peer: load.sample(peer, seconds=bench.seconds), bench.say)
        return {"kind": "speed", "reference": "nginx", "peers": compared(figures, "nginx")}
