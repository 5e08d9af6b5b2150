"""Load by wrk, and a check before it: a gateway that answers otherwise than the others is not measured."""

import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from bench.cpu import cpu_s
from bench.peers import Peer
from bench.site import API_KEY, HOSTS, PATHS, Site, expected_check
from tests.servers.raw import RawClient

SCRIPT = """
local requests = {{}}
local position = 0
function init(args)
    for line in io.lines("{requests}") do
        local host, path = line:match("(%S+) (%S+)")
        local headers = {{ ["Host"] = host, ["User-Agent"] = "wrk", ["Accept"] = "*/*"{headers} }}
        requests[#requests + 1] = wrk.format("GET", path, headers)
    end
end
function request()
    position = position + 1
    if position > #requests then position = 1 end
    return requests[position]
end
"""
_UNITS_US = {"us": 1.0, "ms": 1e3, "s": 1e6}


class LoadFailed(Exception):
    """The load met errors, so that its figure means nothing."""


@dataclass(frozen=True)
class Sample:
    """One run: requests answered, CPU seconds of the gateway's processes, wall time, median latency."""

    requests: int
    cpu_s: float
    wall_s: float
    p50_us: float

    @property
    def requests_per_cpu_s(self) -> float:
        return self.requests / self.cpu_s if self.cpu_s else 0.0


class Load:
    """A wrk script over `requests` (host, target), in turn; `headers` go on each. `tls`: to the peers' TLS ports."""

    def __init__(
        self,
        directory: Path,
        name: str,
        requests: Iterable[tuple[str, str]],
        headers: Sequence[tuple[str, str]] = (),
        *,
        tls: bool = False,
    ):
        self.tls = tls
        listed = directory / f"{name}.requests"
        listed.write_text("".join(f"{host} {target}\n" for host, target in requests))
        self.script = directory / f"{name}.lua"
        more = "".join(f', ["{key}"] = "{value}"' for key, value in headers)
        self.script.write_text(SCRIPT.format(requests=listed, headers=more))

    def _wrk(self, port: int, cpus: str, connections: int, seconds: float) -> tuple[int, float, float]:
        """Requests, wall seconds, p50 in µs."""
        argv = ["taskset", "-c", cpus, "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
        argv += ["-s", str(self.script), f"https://localhost:{port}" if self.tls else f"http://127.0.0.1:{port}"]
        said = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=seconds + 30).stdout
        if bad := re.search(r"(Socket errors|Non-2xx or 3xx responses): (.*)", said):
            raise LoadFailed(f"port {port}: {bad[0]}")
        done = re.search(r"(\d+) requests in ([\d.]+)(\w+),", said)
        median = re.search(r"50%\s+([\d.]+)(us|ms|s)", said)
        if not done or not median:
            raise LoadFailed(f"port {port}: wrk said {said!r}")
        wall_s = float(done[2]) * _UNITS_US[done[3]] / 1e6 if done[3] in _UNITS_US else float(done[2]) * 60
        return int(done[1]), wall_s, float(median[1]) * _UNITS_US[median[2]]

    def sample(self, peer: Peer, *, cpus: str, connections: int, seconds: float) -> Sample:
        """Warms up for a second, then measures."""
        port = peer.tls_port if self.tls else peer.port
        self._wrk(port, cpus, connections, 1)
        before = cpu_s(peer.pid)
        requests, wall_s, p50_us = self._wrk(port, cpus, connections, seconds)
        return Sample(requests, cpu_s(peer.pid) - before, wall_s, p50_us)

    def requests(self, port: int, *, cpus: str, connections: int, seconds: float) -> int:
        """How many were answered, the warming up included."""
        return self._wrk(port, cpus, connections, seconds)[0]

    def latency_us(self, port: int, *, cpus: str, seconds: float) -> float:
        """Median latency at one connection."""
        return self._wrk(port, cpus, 1, seconds)[2]


def site_requests(target: str) -> list[tuple[str, str]]:
    """A request for each of the 100 routes."""
    return [(host, path + target) for host in HOSTS for path in PATHS]


def _wait_serving(peer: Peer) -> None:
    """Some gateways listen before they have read their routes."""
    deadline = time.monotonic() + 15
    while True:
        with RawClient(peer.port) as client:
            if client.request("GET", PATHS[0], [("Host", HOSTS[0]), ("apikey", API_KEY)]).status == 200:
                return
        if time.monotonic() > deadline:
            raise LoadFailed(f"{peer.name}: no 200 from its first route within 15 s")
        time.sleep(0.05)


def check_same_job(peer: Peer, site: Site) -> None:
    """Raises LoadFailed unless `peer` serves all 100 routes, same headers, 2:1 over the upstreams, kept alive."""
    ports: Counter[str] = Counter()
    _wait_serving(peer)
    with RawClient(peer.port) as client:
        # Thrice each: a gateway may count its turns for each route.
        for host, target in site_requests("check") * 3:
            answer = client.request("GET", target, [("Host", host), ("apikey", API_KEY)])
            text = answer.body.decode()
            told, _, upstream_port = text.rpartition("|")
            if answer.status != 200 or not fnmatchcase(told, expected_check(host, peer.port)):
                raise LoadFailed(f"{peer.name}: {host}{target}: {answer.status} {text!r}")
            ports[upstream_port] += 1
        missing = client.request("GET", "/nowhere", [("Host", HOSTS[0])])
        if missing.status != 404:
            raise LoadFailed(f"{peer.name}: no route, yet {missing.status}")
    share = ports[str(site.ports[0])] / ports.total()
    if not 0.5 < share < 0.8:
        raise LoadFailed(f"{peer.name}: {share:.0%} of the requests went to the upstream of weight 2 of 3")
