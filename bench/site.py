"""The site that every gateway serves: 10 hosts × 10 paths in front of two upstream ports, weighted 2:1."""

from dataclasses import dataclass
from pathlib import Path

from tests.servers.ports import free_port
from tests.servers.process import ServerProcess

HOSTS = [f"h{number}.example" for number in range(10)]
PATHS = [f"/p{number}/" for number in range(10)]
BIG_BYTES = 100 * 1024
API_KEY = "a-key-of-some-length-0123456789"
# What a request must bring to the upstream besides Host, and the upstream's answer to a check request.
CHECK = "|".join(
    f"$http_{name}"
    for name in ("host", "x_real_ip", "x_forwarded_for", "x_forwarded_proto", "x_forwarded_host", "x_forwarded_port")
)

_UPSTREAM = """
daemon off; user root; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log warn;
worker_rlimit_nofile 65536;
events {{ worker_connections 32768; }}
http {{
    access_log off; default_type text/plain; keepalive_requests 100000000; keepalive_timeout 600s;
    sendfile on; tcp_nopush on;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi; open_file_cache max=10;
    server {{
        listen 127.0.0.1:{ports[0]} backlog=4096; listen 127.0.0.1:{ports[1]} backlog=4096;
        location / {{ return 200 "{small}"; }}
        location ~ /check$ {{ return 200 "{check}|$server_port"; }}
        location ~ /big$ {{ alias {dir}/big.bin; }}
    }}
}}
"""


@dataclass(frozen=True)
class Site:
    """Where the two upstream ports are."""

    ports: tuple[int, int]


class Upstream:
    """The nginx behind the gateways, on `cpus` (a taskset list)."""

    def __init__(self, directory: Path, cpus: str):
        directory.mkdir(parents=True)
        self.site = Site((free_port(), free_port()))
        (directory / "big.bin").write_bytes(bytes(range(32, 127)) * (BIG_BYTES // 95) + b"x" * (BIG_BYTES % 95))
        conf = directory / "nginx.conf"
        conf.write_text(_UPSTREAM.format(dir=directory, ports=self.site.ports, small="x" * 128, check=CHECK))
        argv = ["taskset", "-c", cpus, "/usr/sbin/nginx", "-p", str(directory), "-c", str(conf)]
        self.process = ServerProcess(argv, directory / "output.log")
        for port in self.site.ports:
            self.process.wait_connectable(port)

    def stop(self) -> None:
        self.process.stop()


def expected_check(host: str, port: int) -> str:
    """The upstream's answer to a check request that came through a gateway on `port`, less the upstream's port.

    The forwarded address is a pattern: for a client on the loopback, Envoy names the machine's own address.
    """
    return f"{host}|127.0.0.1|*.*.*.*|http|{host}|{port}"
