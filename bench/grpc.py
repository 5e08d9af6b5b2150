"""Unary gRPC calls: h2load with a framed message, 8 connections × 32 streams, and an HTTP/2 upstream that answers a
fixed message with trailers. Envoy is what Bascule is compared with."""

import re
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.cpu import cpu_s
from bench.load import LoadFailed, Sample
from bench.pairs import compared, rounds
from bench.peers import Peer, bascule, envoy
from bench.site import HOSTS, PATHS, Site
from bench.speed import GATEWAY_CPUS, LOAD_CPUS, Bench
from tests.servers.ports import free_port
from tests.servers.process import ServerProcess

GRPC_PEERS = {"envoy": envoy, "bascule": bascule}
CLIENTS, STREAMS = 8, 32
MESSAGE = b"\0\0\0\0\x64" + b"x" * 100
_CHECK = "$http_host|$http_x_real_ip|$http_x_forwarded_proto|$http_x_forwarded_host|$content_type"
_UPSTREAM = """
daemon off; user root; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log warn;
events {{ worker_connections 32768; }}
http {{
    access_log off; default_type application/grpc; keepalive_requests 100000000; keepalive_timeout 600s;
    http2_max_concurrent_streams 1024; add_trailer grpc-status 0;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    server {{
        listen 127.0.0.1:{ports[0]} http2 backlog=4096; listen 127.0.0.1:{ports[1]} http2 backlog=4096;
        location / {{ return 200 "{reply}"; }}
        location ~ /Check$ {{ return 200 "{check}"; }}
    }}
}}
"""


def _upstream(directory: Path, stack: ExitStack) -> Site:
    directory.mkdir(parents=True)
    site = Site((free_port(), free_port()))
    conf = directory / "nginx.conf"
    conf.write_text(_UPSTREAM.format(dir=directory, ports=site.ports, reply="y" * 105, check=_CHECK))
    argv = ["taskset", "-c", LOAD_CPUS, "/usr/sbin/nginx", "-p", str(directory), "-c", str(conf)]
    process = ServerProcess(argv, directory / "output.log")
    stack.callback(process.stop)
    for port in site.ports:
        process.wait_connectable(port)
    return site


class H2Load:
    """Calls of one host's ten routes, in turn."""

    def __init__(self, directory: Path):
        self.body = directory / "message.bin"
        self.body.write_bytes(MESSAGE)
        self.directory = directory

    def _run(self, port: int, seconds: float) -> int:
        """How many calls succeeded."""
        listed = self.directory / f"{port}.uris"
        listed.write_text("".join(f"http://127.0.0.1:{port}{path}Call\n" for path in PATHS))
        argv = ["taskset", "-c", LOAD_CPUS, "h2load", "-D", str(max(1, round(seconds))), f"-c{CLIENTS}", f"-m{STREAMS}"]
        argv += ["-d", str(self.body), "-i", str(listed), "-H", f":authority: {HOSTS[3]}"]
        argv += ["-H", "content-type: application/grpc", "-H", "te: trailers", "-H", "user-agent: h2load"]
        said = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=seconds + 30).stdout
        done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", said)
        codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", said)
        if not done or not codes or int(done[2]) + int(codes[2]) + int(codes[3]) + int(codes[4]) or done[1] == "0":
            raise LoadFailed(f"port {port}: h2load said {said!r}")
        return int(done[1])

    def sample(self, peer: Peer, seconds: float) -> Sample:
        """Warms up for a second, then measures; without a latency."""
        self._run(peer.port, 1)
        before, begun = cpu_s(peer.pid), time.monotonic()
        calls = self._run(peer.port, seconds)
        return Sample(calls, cpu_s(peer.pid) - before, time.monotonic() - begun, 0.0)


def _check(peer: Peer) -> None:
    """Raises LoadFailed unless `peer` passes calls on with the same headers."""
    expected = f"{HOSTS[3]}|127.0.0.1|http|{HOSTS[3]}|application/grpc"
    argv = ["curl", "-sv", "--http2-prior-knowledge", "-d", "x", "-H", f"Host: {HOSTS[3]}", "-H", "TE: trailers"]
    argv += ["-H", "Content-Type: application/grpc", f"http://127.0.0.1:{peer.port}{PATHS[7]}Check"]
    deadline = time.monotonic() + 15
    while True:
        told = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=30)
        if told.stdout == expected:
            return
        if time.monotonic() > deadline:
            raise LoadFailed(f"{peer.name}: {told.stdout!r}, not {expected!r}: {told.stderr}")
        time.sleep(0.1)


def grpc(bench: Bench) -> dict[str, Any]:
    """Unary gRPC calls over HTTP/2 in clear text on both sides, 8 connections with 32 calls each at a time."""
    with ExitStack() as stack:
        site = _upstream(bench.directory / "grpc" / "upstream", stack)
        contenders = []
        for name, start in GRPC_PEERS.items():
            peer = start(site, bench.folder(f"grpc/{name}"), GATEWAY_CPUS, grpc=True)
            stack.callback(peer.stop)
            _check(peer)
            contenders.append((name, peer))
        load = H2Load(bench.directory / "grpc")
        samples = rounds(contenders, bench.rounds, lambda _, peer: load.sample(peer, bench.seconds), bench.say)
        return {"kind": "speed", "reference": "envoy", "peers": compared(samples, "envoy")}
